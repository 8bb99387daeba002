import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  ARENA_THREADS,
  ARENA_VRINGS,
  GUESTS_MAX,
  THREAD__SIZE,
  THREAD_CALLS_PENDING,
  THREAD_LAST_TX,
  THREAD_UNRELEASED,
  VRING__SIZE,
  VRING_CALL_PENDING,
  VRINGS_MAX,
} from '../../gen/arena.ts';
import { eventfdSignal } from '../../sys/eventfd-signal.ts';
import { packetFlush } from '../../sys/packet-socket.ts';
import { xskFill, xskFlush } from '../../sys/xdp-socket.ts';
import type { Arena } from './arena.ts';
import { TapPump } from './tap-pump.ts';

/** What the datapath module exports; see src/fastpath/datapath.ts. */
export interface DatapathExports {
  initThread(index: number): void;
  run(iterations: number): number;
  process(count: number, inPort: number): void;
  goOffline(): void;
  goOnline(): void;
  lookupSpare(): number;
  prepareSpare(): void;
  countSpare(flow: number): void;
  executeSpare(actions: number, depth: number): void;
  flowActions(flow: number): number;
  flowHash(flow: number): number;
  resetBatch(): void;
}

/** What the ring module exports; see src/fastpath/vring.ts. */
export interface VringExports {
  rx(thread: number, vring: number): number;
  tx(thread: number, vring: number, list: number, n: number): number;
  /** Not of rings of packet sockets, whose frames are never left where they are. */
  pull?(pkt: number, to: number): number;
  release?(thread: number, vring: number): number;
  pending(vring: number): number;
  setNotify(vring: number, on: number): void;
  startRing(vring: number): void;
}

/** Kinds of ring; each is a module of its own with the same exports. */
export type RingModule = 'vring' | 'tpacket' | 'xsk';

/** How the other side of a ring learns that it was given something: an eventfd; a packet socket that is to take what stands in its ring;
 *  a tap or a capture file that it is to be written into; an AF_XDP socket that is to look at its transmit or its fill ring. */
export type KickKind = 'eventfd' | 'packet' | 'tap' | 'pcap' | 'xsk-tx' | 'xsk-rx';

const KICK_CODES: Record<KickKind, number> = { eventfd: 0, packet: 1, tap: 2, pcap: 3, 'xsk-tx': 4, 'xsk-rx': 5 };

/** Compiled once by the control thread, posted to every PMD. */
export type DatapathModules = { datapath: WebAssembly.Module } & Record<RingModule, WebAssembly.Module>;

/** The number, beside those of the guests, of the memory that holds the rings of all packet sockets and taps. */
export const SOCKET_MEMORY = GUESTS_MAX;
/** The same memory, for the module of AF_XDP sockets. */
export const XSK_MEMORY = GUESTS_MAX + 1;

/**
 * Reads the modules that `tools/build.ts` made. `bin/turnout` has V8 compile them by its optimising compiler at once (`--no-liftoff` and what it
 * implies). Those flags must stand on the command line: set at run time they abort the process when a background thread is just compiling
 * the WebAssembly of Node itself, which strips the types. Without them the functions get fast by being called. Throws with what to do when
 * a module is missing.
 */
export function loadModules(buildDir = join(import.meta.dirname, '../../../build')): DatapathModules {
  const load = (name: string) => {
    try {
      return new WebAssembly.Module(readFileSync(join(buildDir, `${name}.wasm`)));
    } catch (e) {
      throw new Error(`${name}.wasm can't be loaded (${(e as Error).message}); run 'npm run build'`);
    }
  };
  return { datapath: load('datapath'), vring: load('vring'), tpacket: load('tpacket'), xsk: load('xsk') };
}

/** Slots of a guest's functions in the function table (rx, tx, pull, release); 0 and 1 stay empty so that a cleared record traps. src/fastpath/tail.ts knows them too. */
export const rxSlot = (guest: number) => 2 + guest * 4;
export const txSlot = (guest: number) => 3 + guest * 4;
const GUEST_FUNCTIONS = ['rx', 'tx', 'pull', 'release'] as const;

/**
 * One thread's instance of the fast path: the datapath module and, for every guest, a ring module over that guest's memory. Lives on the
 * thread that runs it: a PMD worker, or the control thread (index 0).
 */
export class DatapathThread {
  readonly index: number;
  readonly arena: Arena;
  readonly exports: DatapathExports;
  readonly #modules: DatapathModules;
  readonly #table: WebAssembly.Table;
  readonly #guests = new Map<number, { exports: VringExports; memory: WebAssembly.Memory }>();
  /** eventfd that interrupts the guest, by vring number; -1: none. */
  readonly #callFds = new Int32Array(VRINGS_MAX).fill(-1);
  /** KICK_CODES of that fd. */
  readonly #callKinds = new Uint8Array(VRINGS_MAX);
  /** Once there is a tap or a packet socket. */
  #pump: TapPump | undefined;
  /** No vring from here on ever had one. */
  #callFdsEnd = 0;
  readonly #callsPendingAt: number;

  constructor(index: number, arena: Arena, modules: DatapathModules) {
    this.index = index;
    this.arena = arena;
    this.#modules = modules;
    this.#callsPendingAt = ARENA_THREADS + index * THREAD__SIZE + THREAD_CALLS_PENDING;
    this.#table = new WebAssembly.Table({ element: 'anyfunc', initial: rxSlot(XSK_MEMORY + 1) });
    const env = { memory: arena.memory, table: this.#table };
    this.exports = new WebAssembly.Instance(modules.datapath, { env }).exports as unknown as DatapathExports;
    this.exports.initThread(index);
    this.#forgetBatch();
  }

  /** Whoever had this record before may have been killed in the middle of a batch: what it had queued lies where the next batch is put. */
  #forgetBatch(): void {
    const record = ARENA_THREADS + this.index * THREAD__SIZE;
    this.arena.set(record + THREAD_LAST_TX, 0);
    this.arena.set(record + THREAD_UNRELEASED, 0);
    this.exports.resetBatch();
  }

  /** Makes the guest's memory reachable: instantiates the ring module over it. */
  addGuest(guest: number, memory: WebAssembly.Memory, module: RingModule = 'vring'): VringExports {
    const known = this.#guests.get(guest);
    if (known && known.memory === memory) return known.exports;
    const imports = { env: { memory: this.arena.memory }, guest: { memory } };
    const exports = new WebAssembly.Instance(this.#modules[module], imports).exports as unknown as VringExports;
    this.#guests.set(guest, { exports, memory });
    if (module === 'tpacket') this.#pump = new TapPump(this.arena, this.index, memory);
    for (const [i, name] of GUEST_FUNCTIONS.entries()) this.#table.set(rxSlot(guest) + i, exports[name] ?? null);
    return exports;
  }

  dropGuest(guest: number): void {
    this.#guests.delete(guest);
    for (const i of GUEST_FUNCTIONS.keys()) this.#table.set(rxSlot(guest) + i, null);
  }

  guest(guest: number): VringExports | undefined {
    return this.#guests.get(guest)?.exports;
  }

  /** Fills the receive ring of a tap; returns how many frames there were. */
  receiveTap(ring: number, fd: number): number {
    return this.#pump?.receive(ring, fd) ?? 0;
  }

  setCallFd(vring: number, fd: number, kick: KickKind = 'eventfd'): void {
    const i = (vring - ARENA_VRINGS) / VRING__SIZE;
    this.#callFds[i] = fd;
    this.#callKinds[i] = KICK_CODES[kick];
    this.#callFdsEnd = Math.max(this.#callFdsEnd, i + 1);
  }

  /** Interrupts the guests that this thread's last run gave something to, and has the kernel take what it put into sockets. */
  interruptGuests(): void {
    if (this.arena.get(this.#callsPendingAt) === 0) return;
    this.arena.set(this.#callsPendingAt, 0);
    const u32 = this.arena.u32;
    for (let i = 0; i < this.#callFdsEnd; i++) {
      const fd = this.#callFds[i]!;
      if (fd < 0) continue;
      const at = (ARENA_VRINGS + i * VRING__SIZE + VRING_CALL_PENDING) >> 2;
      if (u32[at] === 0 || Atomics.exchange(u32, at, 0) === 0) continue;
      const kind = this.#callKinds[i];
      if (kind === KICK_CODES.packet) packetFlush(fd);
      else if (kind === KICK_CODES.tap) this.#pump?.send(ARENA_VRINGS + i * VRING__SIZE, fd);
      else if (kind === KICK_CODES.pcap) this.#pump?.capture(ARENA_VRINGS + i * VRING__SIZE, fd);
      else if (kind === KICK_CODES['xsk-tx']) xskFlush(fd);
      else if (kind === KICK_CODES['xsk-rx']) xskFill(fd);
      else eventfdSignal(fd);
    }
  }
}
