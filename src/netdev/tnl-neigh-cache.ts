import { formatMac, formatMapped } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';

/** Neighbours that tunnels send to, by bridge and address. */

const DEFAULT_AGING_S = 15 * 60;
export const MAX_AGING_S = 3600;
const EXPIRE_MS = 1000;

interface Entry {
  bridge: string;
  ip: Uint8Array;
  mac: Uint8Array;
  expiresMs: number;
}

export class TnlNeighCache {
  readonly #entries = new Map<string, Entry>();
  readonly #clock: Clock;
  #agingS = DEFAULT_AGING_S;

  readonly #listeners: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
    clock.every(EXPIRE_MS, () => this.#expire());
  }

  /** Called when a neighbour came, went, or has another address. */
  onChange(cb: () => void): void {
    this.#listeners.push(cb);
  }

  #changed(): void {
    for (const cb of this.#listeners) cb();
  }

  #expire(): void {
    const now = this.#clock.monotonicMs();
    const { size } = this.#entries;
    for (const [key, { expiresMs }] of this.#entries) if (expiresMs <= now) this.#entries.delete(key);
    if (this.#entries.size !== size) this.#changed();
  }

  get agingS(): number {
    return this.#agingS;
  }

  /** Entries that would live longer are cut to it. */
  setAging(seconds: number): void {
    this.#agingS = seconds;
    const latest = this.#clock.monotonicMs() + seconds * 1000;
    for (const entry of this.#entries.values()) entry.expiresMs = Math.min(entry.expiresMs, latest);
  }

  set(bridge: string, ip: Uint8Array, mac: Uint8Array): void {
    const expiresMs = this.#clock.monotonicMs() + this.#agingS * 1000;
    const key = `${bridge} ${formatMapped(ip)}`;
    const before = this.#entries.get(key);
    this.#entries.set(key, { bridge, ip, mac, expiresMs });
    if (!before || Buffer.compare(before.mac, mac) !== 0) this.#changed();
  }

  /** The MAC of a neighbour that is known and fresh; it stays so for the time of its ageing. */
  lookup(bridge: string, ip: Uint8Array): Uint8Array | undefined {
    const entry = this.#entries.get(`${bridge} ${formatMapped(ip)}`);
    const now = this.#clock.monotonicMs();
    if (!entry || entry.expiresMs <= now) return undefined;
    entry.expiresMs = now + this.#agingS * 1000;
    return entry.mac;
  }

  flush(bridge?: string): void {
    const { size } = this.#entries;
    for (const [key, entry] of this.#entries)
      if (bridge === undefined || entry.bridge === bridge) this.#entries.delete(key);
    if (this.#entries.size !== size) this.#changed();
  }

  /** The text of `tnl/neigh/show`. */
  show(): string {
    const now = this.#clock.monotonicMs();
    const head = `${'IP'.padEnd(46)}${'MAC'.padEnd(20)}Bridge\n${'='.repeat(74)}\n`;
    const line = ({ bridge, ip, mac, expiresMs }: Entry) =>
      `${formatMapped(ip).padEnd(46)}${formatMac(mac)}   ${bridge}${expiresMs <= now ? ' STALE' : ''}\n`;
    return head + [...this.#entries.values()].map(line).join('');
  }
}
