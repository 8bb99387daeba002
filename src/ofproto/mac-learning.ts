/**
 * The MAC learning table of a bridge: which bundle a station's address was last seen on, by VLAN. Ages on the clock it is given.
 * `B` is the owner's idea of a port.
 */

export interface MacEntry<B> {
  /** 48 bits as a number. */
  readonly mac: number;
  readonly vlan: number;
  bundle: B;
  /** Monotonic time at which it is forgotten. */
  expiresMs: number;
  /** Until then, gratuitous ARP on a bond is not learned from. */
  gratArpLockMs: number;
}

export const MAC_ENTRY_DEFAULT_IDLE_TIME_S = 300;
export const MAC_DEFAULT_MAX = 8192;
const GRAT_ARP_LOCK_MS = 5000;

/** Six bytes of `b` from `at` as a number. */
export const macNumber = (b: Uint8Array, at = 0): number =>
  ((b[at] << 8) | b[at + 1]) * 0x1_0000_0000 +
  (((b[at + 2] << 24) | (b[at + 3] << 16) | (b[at + 4] << 8) | b[at + 5]) >>> 0);

export const macBytes = (mac: number): Uint8Array =>
  Uint8Array.from([40, 32, 24, 16, 8, 0], (shift) => Math.floor(mac / 2 ** shift) & 255);

export const isMulticastMac = (mac: number): boolean => (Math.floor(mac / 2 ** 40) & 1) === 1;

export class MacLearning<B> {
  /** Per VLAN, by address. */
  readonly #vlans = new Map<number, Map<number, MacEntry<B>>>();
  /** Least recently seen first. */
  readonly #lru = new Set<MacEntry<B>>();
  readonly #perBundle = new Map<B, Set<MacEntry<B>>>();
  readonly #nowMs: () => number;
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
    for (const e of this.#lru) e.expiresMs += shift;
    this.#idleMs = idleMs;
  }

  /** At least 10. */
  setMaxEntries(n: number): void {
    this.maxEntries = Math.min(Math.max(n, 10), 1_000_000);
    while (this.#lru.size > this.maxEntries) this.#evict();
  }

  /** Where `mac` is, or undefined; multicast is nowhere. */
  lookup(mac: number, vlan: number): MacEntry<B> | undefined {
    return isMulticastMac(mac) ? undefined : this.#vlans.get(vlan)?.get(mac);
  }

  /** Notes that `mac` was seen on `bundle`. True when that is news. */
  learn(mac: number, vlan: number, bundle: B, gratuitousArp = false): boolean {
    if (isMulticastMac(mac)) return false;
    let e = this.lookup(mac, vlan);
    const nowMs = this.#nowMs();
    if (e) {
      this.#lru.delete(e);
      this.#lru.add(e);
    } else {
      e = this.#insert(mac, vlan, bundle);
      this.#touch(e, nowMs, gratuitousArp);
      this.seq++;
      return true;
    }
    this.#touch(e, nowMs, gratuitousArp);
    const moved = e.bundle !== bundle;
    this.#own(e, bundle);
    if (!moved) return false;
    this.totalMoved++;
    this.seq++;
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

  /** Forgets what was not seen for the idle time. */
  expire(): void {
    const nowMs = this.#nowMs();
    for (const e of this.#lru) {
      if (e.expiresMs > nowMs) break;
      this.#remove(e);
      this.totalExpired++;
    }
  }

  flush(bundle?: B): void {
    for (const e of [...this.#lru]) if (bundle === undefined || e.bundle === bundle) this.#remove(e);
  }

  #touch(e: MacEntry<B>, nowMs: number, gratuitousArp: boolean): void {
    e.expiresMs = nowMs + this.#idleMs;
    if (gratuitousArp) e.gratArpLockMs = nowMs + GRAT_ARP_LOCK_MS;
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
    this.totalLearned++;
    return e;
  }

  /** Takes the oldest entry of the bundle that has most, so that one port can't push out the others' (faults row 21). */
  #evict(): void {
    let most: Set<MacEntry<B>> | undefined;
    for (const entries of this.#perBundle.values()) if (!most || entries.size > most.size) most = entries;
    const oldest = most?.values().next().value;
    if (!oldest) return;
    this.#remove(oldest);
    this.totalEvicted++;
  }

  /** Makes `e` the most recently seen entry of `bundle`. */
  #own(e: MacEntry<B>, bundle: B): void {
    this.#disown(e);
    e.bundle = bundle;
    const entries = this.#perBundle.get(bundle);
    if (entries) entries.add(e);
    else this.#perBundle.set(bundle, new Set([e]));
  }

  #disown(e: MacEntry<B>): void {
    const entries = this.#perBundle.get(e.bundle);
    entries?.delete(e);
    if (entries?.size === 0) this.#perBundle.delete(e.bundle);
  }

  #remove(e: MacEntry<B>): void {
    const macs = this.#vlans.get(e.vlan)!;
    macs.delete(e.mac);
    if (macs.size === 0) this.#vlans.delete(e.vlan);
    this.#lru.delete(e);
    this.#disown(e);
    this.seq++;
  }
}
