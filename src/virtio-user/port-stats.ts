/** The counters of a port, read from the driver's memory. Any thread: each is one aligned 64-bit load. */
import type { DriverMemory } from './driver-memory.ts';
import { portBase } from './generator.ts';
import * as L from './kernel/layout.ts';

export interface PortStats {
  rxPackets: bigint;
  rxBytes: bigint;
  /** Times that the device broke the rx ring's rules. */
  rxErrors: bigint;
  /** Times that the pool had no buffer for the rx ring. */
  rxNoBuffer: bigint;
  txPackets: bigint;
  txBytes: bigint;
  /** Frames that a forward mode could not put into the tx ring. */
  txDropped: bigint;
  /** Frames that were in the tx ring when the switch went away. */
  txAborted: bigint;
  /** Received frames that ended here by design. */
  rxConsumed: bigint;
}

const OFFSETS: Record<keyof PortStats, number> = {
  rxPackets: L.RX_PACKETS,
  rxBytes: L.RX_BYTES,
  rxErrors: L.RX_ERRORS,
  rxNoBuffer: L.RX_NO_BUFFER,
  txPackets: L.TX_PACKETS,
  txBytes: L.TX_BYTES,
  txDropped: L.TX_DROPPED,
  txAborted: L.TX_ABORTED,
  rxConsumed: L.RX_CONSUMED,
};

const NAMES = Object.keys(OFFSETS) as (keyof PortStats)[];

export function readStats(memory: WebAssembly.Memory, port: number): PortStats {
  const words = new BigUint64Array(memory.buffer);
  const stats = {} as PortStats;
  for (const name of NAMES) stats[name] = Atomics.load(words, (portBase(port) + OFFSETS[name]) / 8);
  return stats;
}

/** One counter as a number, without allocating: for the lcore, which writes it. Exact up to 2^53. */
export function counterOf(mem: DriverMemory, port: number, offset: number): number {
  const at = portBase(port) + offset;
  return mem.view.getUint32(at, true) + mem.view.getUint32(at + 4, true) * 2 ** 32;
}

/** a - b, counter by counter. */
export function subtractStats(a: PortStats, b: PortStats): PortStats {
  const stats = {} as PortStats;
  for (const name of NAMES) stats[name] = a[name] - b[name];
  return stats;
}

export function sumStats(all: readonly PortStats[]): PortStats {
  const stats = {} as PortStats;
  for (const name of NAMES) stats[name] = all.reduce((n, s) => n + s[name], 0n);
  return stats;
}
