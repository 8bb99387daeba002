import { coverageCounter } from '../base/coverage.ts';
import { type HeapNode, MaxHeap } from '../base/heap.ts';

/**
 * The MAC learning table of a bridge: which bundle a station's address was last seen on, by VLAN. Ages on the clock it is given.
 * `B` is the owner's idea of a port.
 */

export interface MacEntry<B> {
  /** 48 bits as a number. */
  readonly mac: number;
  readonly vlan: number;
  bundle: B;
  /** Monotonic time at which it is forgotten; Infinity: never, it was set by hand. */
  expiresMs: number;
  /** Until then, gratuitous ARP on a bond is not learned from. */
  gratArpLockMs: number;
}

export const MAC_ENTRY_DEFAULT_IDLE_TIME_S = 300;
export const MAC_DEFAULT_MAX = 8192;
const GRAT_ARP_LOCK_MS = 5000;

const learned = coverageCounter('mac_learning_learned');
const expired = coverageCounter('mac_learning_expired');
const evicted = coverageCounter('mac_learning_evicted');
const moved = coverageCounter('mac_learning_moved');
const staticNoneMove = coverageCounter('mac_learning_static_none_move');

/** Six bytes of `b` from `at` as a number. */
export const macNumber = (b: Uint8Array, at = 0): number =>
  ((b[at] << 8) | b[at + 1]) * 0x1_0000_0000 +
  (((b[at + 2] << 24) | (b[at + 3] << 16) | (b[at + 4] << 8) | b[at + 5]) >>> 0);

export const macBytes = (mac: number): Uint8Array =>
  Uint8Array.from([40, 32, 24, 16, 8, 0], (shift) => Math.floor(mac / 2 ** shift) & 255);

export const isMulticastMac = (mac: number): boolean => (Math.floor(mac / 2 ** 40) & 1) === 1;

/** The entries of one bundle, least recently seen first. */
interface Usage<B> extends HeapNode {
  readonly entries: Set<MacEntry<B>>;
}

export class MacLearning<B> {
  /** Per VLAN, by address. */
  readonly #vlans = new Map<number, Map<number, MacEntry<B>>>();
  /** Least recently seen first. */
  readonly #lru = new Set<MacEntry<B>>();
  readonly #perBundle = new Map<B, Usage<B>>();
  /** The bundle with most entries on top. */
  readonly #usage = new MaxHeap<Usage<B>>();
  readonly #nowMs: () => number;
  /** Nothing is learned in these. */
  #floodVlans: ReadonlySet<number> = new Set();
  #nStatic = 0;
  #idleMs = MAC_ENTRY_DEFAULT_IDLE_TIME_S * 1000;
  maxEntries = MAC_DEFAULT_MAX;
  totalLearned = 0;
  totalExpired = 0;
  totalEvicted = 0;
  totalMoved = 0;
  /** Bumped whenever a lookup may have a new answer. */
  seq = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#lru.size;
  }

  /** Seconds, kept within 15 to 3600 as Open vSwitch does. */
  setIdleTime(seconds: number): void {
    const idleMs = Math.min(Math.max(seconds, 15), 3600) * 1000;
    const shift = idleMs - this.#idleMs;
    for (const e of this.#lru) e.expiresMs += shift; // Infinity stays what it is.
    this.#idleMs = idleMs;
  }

  /** At least 10. What is too much now goes with the next `expire`. */
  setMaxEntries(n: number): void {
    this.maxEntries = Math.min(Math.max(n, 10), 1_000_000);
  }

  /** VLANs in which every packet is flooded. Dynamic entries are forgotten when the set is another. */
  setFloodVlans(vlans: Iterable<number>): void {
    const next = new Set(vlans);
    if (next.size === this.#floodVlans.size && [...next].every((v) => this.#floodVlans.has(v))) return;
    this.#floodVlans = next;
    this.flush();
    this.seq++;
  }

  /** Entries that were set by hand. */
  get staticCount(): number {
    return this.#nStatic;
  }

  clearStatistics(): void {
    this.totalLearned = this.totalExpired = this.totalEvicted = this.totalMoved = 0;
  }

  /** Where `mac` is, or undefined; multicast is nowhere. */
  lookup(mac: number, vlan: number): MacEntry<B> | undefined {
    return isMulticastMac(mac) || this.#floodVlans.has(vlan) ? undefined : this.#vlans.get(vlan)?.get(mac);
  }

  isStatic(e: MacEntry<B>): boolean {
    return e.expiresMs === Number.POSITIVE_INFINITY;
  }

  /** Gratuitous ARP from a bond may be a reflection. */
  isGratArpLocked(e: MacEntry<B>): boolean {
    return this.#nowMs() < e.gratArpLockMs;
  }

  /** Whether `learn` would be told something new. */
  isNews(mac: number, vlan: number, bundle: B, gratuitousArp = false, inBond = false): boolean {
    if (isMulticastMac(mac) || this.#floodVlans.has(vlan)) return false;
    const e = this.lookup(mac, vlan);
    if (!e) return true;
    if (this.isStatic(e) || (gratuitousArp && inBond && this.isGratArpLocked(e))) return false;
    return e.bundle !== bundle;
  }

  /** Notes that `mac` was seen on `bundle`; `inBond`: which has several members. True when that is news. */
  learn(mac: number, vlan: number, bundle: B, gratuitousArp = false, inBond = false): boolean {
    if (isMulticastMac(mac) || this.#floodVlans.has(vlan)) return false;
    const known = this.lookup(mac, vlan);
    if (known && this.isStatic(known)) {
      if (known.bundle !== bundle) staticNoneMove.inc();
      return false;
    }
    const news = this.isNews(mac, vlan, bundle, gratuitousArp, inBond);
    const e = known ?? this.#insert(mac, vlan, bundle);
    if (!known) {
      this.totalLearned++;
      learned.inc();
    }
    const nowMs = this.#nowMs();
    this.#lru.delete(e);
    this.#lru.add(e);
    e.expiresMs = nowMs + this.#idleMs;
    // One that comes in by a single link may come back over the members of a bond.
    if (gratuitousArp && !inBond) e.gratArpLockMs = nowMs + GRAT_ARP_LOCK_MS;
    if (known && news) {
      this.totalMoved++;
      moved.inc();
    }
    this.#own(e, news ? bundle : e.bundle);
    if (news) this.seq++;
    return news;
  }

  /** Sets an entry by hand: it neither ages nor moves. */
  addStatic(mac: number, vlan: number, bundle: B): void {
    let e = this.#vlans.get(vlan)?.get(mac);
    e ??= this.#insert(mac, vlan, bundle);
    if (!this.isStatic(e)) this.#nStatic++;
    e.expiresMs = Number.POSITIVE_INFINITY;
    this.#lru.delete(e);
    this.#lru.add(e);
    this.#own(e, bundle);
    this.seq++;
  }

  /** False when there is no such entry set by hand. */
  delStatic(mac: number, vlan: number): boolean {
    const e = this.lookup(mac, vlan);
    if (!e || !this.isStatic(e)) return false;
    this.#remove(e);
    return true;
  }

  /** Seconds since the entry was seen. */
  ageS(e: MacEntry<B>): number {
    return Math.floor((this.#idleMs - (e.expiresMs - this.#nowMs())) / 1000);
  }

  /** Entries, least recently seen first. */
  entries(): Iterable<MacEntry<B>> {
    return this.#lru.values();
  }

  /** Forgets what was not seen for the idle time, and what is too much. */
  expire(): void {
    const nowMs = this.#nowMs();
    for (const e of this.#lru) {
      if (this.isStatic(e)) continue;
      if (e.expiresMs > nowMs && this.#lru.size <= this.maxEntries) break;
      this.#remove(e);
      this.totalExpired++;
      expired.inc();
    }
  }

  /** Forgets the entries of `bundle`; without one, all that were learned. */
  flush(bundle?: B): void {
    for (const e of [...this.#lru]) if (bundle === undefined ? !this.isStatic(e) : e.bundle === bundle) this.#remove(e);
  }

  /** Forgets one entry. */
  forget(mac: number, vlan: number): void {
    const e = this.lookup(mac, vlan);
    if (e) this.#remove(e);
  }

  #insert(mac: number, vlan: number, bundle: B): MacEntry<B> {
    if (this.#lru.size >= this.maxEntries) this.#evict();
    const e: MacEntry<B> = { mac, vlan, bundle, expiresMs: 0, gratArpLockMs: 0 };
    let macs = this.#vlans.get(vlan);
    if (!macs) {
      macs = new Map();
      this.#vlans.set(vlan, macs);
    }
    macs.set(mac, e);
    this.#lru.add(e);
    this.#own(e, bundle);
    return e;
  }

  /** Takes the oldest entry of the bundle that has most, so that one port can't push out the others'. Learned ones go first. */
  #evict(): void {
    const most = this.#usage.max()?.entries ?? [];
    const oldest = this.#firstLearned(most) ?? this.#firstLearned(this.#lru) ?? this.#lru.values().next().value;
    if (!oldest) return;
    this.#remove(oldest);
    this.totalEvicted++;
    evicted.inc();
  }

  #firstLearned(entries: Iterable<MacEntry<B>>): MacEntry<B> | undefined {
    for (const e of entries) if (!this.isStatic(e)) return e;
    return undefined;
  }

  /** Makes `e` the most recently seen entry of `bundle`. */
  #own(e: MacEntry<B>, bundle: B): void {
    let usage = this.#perBundle.get(bundle);
    if (usage?.entries.delete(e)) {
      usage.entries.add(e);
      return;
    }
    this.#disown(e);
    e.bundle = bundle;
    if (usage) this.#usage.change(usage, usage.priority + 1);
    else {
      usage = { entries: new Set(), priority: 1, index: 0 };
      this.#perBundle.set(bundle, usage);
      this.#usage.insert(usage);
    }
    usage.entries.add(e);
  }

  #disown(e: MacEntry<B>): void {
    const usage = this.#perBundle.get(e.bundle);
    if (!usage?.entries.delete(e)) return;
    if (usage.entries.size > 0) {
      this.#usage.change(usage, usage.priority - 1);
      return;
    }
    this.#usage.remove(usage);
    this.#perBundle.delete(e.bundle);
  }

  #remove(e: MacEntry<B>): void {
    const macs = this.#vlans.get(e.vlan)!;
    macs.delete(e.mac);
    if (macs.size === 0) this.#vlans.delete(e.vlan);
    this.#lru.delete(e);
    this.#disown(e);
    if (this.isStatic(e)) this.#nStatic--;
    this.seq++;
  }
}
