import type { DatapathModules, KickKind, RingModule } from './datapath-thread.ts';

/** What a PMD worker is started with. */
export interface PmdWorkerData {
  memory: WebAssembly.Memory;
  modules: DatapathModules;
  /** Index of its THREAD record. */
  index: number;
  core: number;
  /** eventfd that wakes it from its sleep; owned by the control thread. */
  wakeFd: number;
  /** `clockOrigin()` of the control thread. */
  clockOrigin: number;
}

/** CLOCK_MONOTONIC minus this thread's performance.now(), in ms: two threads' times are compared through it. */
export function clockOrigin(): number {
  return Number(process.hrtime.bigint()) / 1e6 - performance.now();
}

/** An rxq that the PMD polls. Offsets in the arena. */
export interface PmdRxq {
  guest: number;
  vring: number;
  port: number;
  kickFd: number;
  /** `kickFd` is a packet socket or a tap, readable while it has frames; an eventfd otherwise. */
  socket?: 'packet' | 'tap';
}

/** Control thread → PMD. Each is answered by `{ ack: id }` between two runs: then the PMD has done it and left what it was told to leave. */
export type PmdRequest =
  | { type: 'guest'; guest: number; memory: WebAssembly.Memory; module?: RingModule }
  | { type: 'drop-guest'; guest: number }
  | { type: 'call-fd'; vring: number; fd: number; kick?: KickKind }
  | { type: 'rxqs'; rxqs: PmdRxq[] }
  | { type: 'sync' }
  | { type: 'exit' };

/** PMD → control thread. */
export type PmdReport =
  | { type: 'ready' }
  | { type: 'ack'; id: number }
  | { type: 'trap'; vring: number; message: string };
