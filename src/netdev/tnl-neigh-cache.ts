import { formatMac } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { formatMapped } from './ovs-router.ts';

/** Neighbours that tunnels send to, by bridge and address. */

const DEFAULT_AGING_S = 15 * 60;
export const MAX_AGING_S = 3600;

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

  constructor(clock: Clock) {
    this.#clock = clock;
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
    this.#entries.set(`${bridge} ${formatMapped(ip)}`, { bridge, ip, mac, expiresMs });
  }

  /** The MAC of a neighbour that is known and fresh. */
  lookup(bridge: string, ip: Uint8Array): Uint8Array | undefined {
    const entry = this.#entries.get(`${bridge} ${formatMapped(ip)}`);
    return entry && entry.expiresMs > this.#clock.monotonicMs() ? entry.mac : undefined;
  }

  flush(bridge?: string): void {
    for (const [key, entry] of this.#entries)
      if (bridge === undefined || entry.bridge === bridge) this.#entries.delete(key);
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
