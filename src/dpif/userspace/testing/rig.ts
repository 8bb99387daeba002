import { odpPort } from '../../../base/types.ts';
import {
  ARENA_BIG_SLOTS,
  ARENA_HEADER,
  ARENA_PKTS,
  ARENA_PORTS,
  ARENA_RXQS,
  ARENA_SLOTS,
  ARENA_TAILS,
  ARENA_THREADS,
  ARENA_TX_BATCHES,
  BATCH_MAX,
  BIG_FRAME_MAX,
  BIG_SLOT__SIZE,
  FRAME_MAX,
  HEADER_EMC_INSERT_MIN,
  HEADER_SMC_ENABLE,
  HEADER_VLAN_LIMIT,
  KEY__SIZE,
  KEY_IN_PORT,
  PACKET_HEADROOM,
  PKT__SIZE,
  PKT_DATA,
  PKT_FLAGS,
  PKT_KEY,
  PKT_LEN,
  PKT_RSS,
  PKT_TAIL,
  PKT_TAIL_LEN,
  PKT_TAIL_SLOT,
  PKT_VNET_FLAGS,
  PORT__SIZE,
  PORT_KIND,
  PORT_KIND_SOFT,
  PORT_KIND_VHOST,
  PORT_MAX_FRAME,
  RXQ__SIZE,
  RXQ_PORT,
  RXQ_SLOT,
  RXQ_VRING,
  SLOT__SIZE,
  THREAD_EMC_ASKED,
  THREAD_EMC_FOUND,
  THREAD_EMC_REST,
  THREAD_NOW_MS,
  THREAD_NRXQS,
  THREAD_UNRELEASED,
  UPCALL_OUTPUT,
  VRING_BROKEN,
} from '../../../gen/arena.ts';
import type { DpAction } from '../../dpif.ts';
import { type Arena, createArena } from '../arena.ts';
import { ArenaBonds } from '../arena-bonds.ts';
import { ArenaMeters } from '../arena-meters.ts';
import { actionFlags, compileActions } from '../compile-actions.ts';
import { Counters } from '../counters.ts';
import {
  type DatapathExports,
  type DatapathModules,
  DatapathThread,
  loadModules,
  rxSlot,
  type VringExports,
} from '../datapath-thread.ts';
import { FlowTable } from '../flow-table.ts';
import { ArenaHeap } from '../heap.ts';
import { PmdPool } from '../pmd-pool.ts';
import { Rcu } from '../rcu.ts';
import { SocketPorts } from '../socket-ports.ts';
import { UpcallReader, type UpcallRecord } from '../upcall-reader.ts';
import { type VhostPort, VhostPorts } from '../vhost-ports.ts';
import { VringRecords } from '../vring-records.ts';
import type { FakeRing } from './fake-guest.ts';

/** A ring that the rig runs: what the fast path calls, and its record. */
export interface RunningRing {
  ring: FakeRing;
  exports: VringExports;
  /** VRING record. */
  at: number;
  port: VhostPort;
}

export interface Output {
  port: number;
  frame: Uint8Array;
}

/** The fast path of one thread, index 0, on an arena of its own, without workers: a test calls its parts one by one. */
export class Rig {
  readonly arena: Arena;
  readonly thread: DatapathThread;
  readonly counters: Counters;
  readonly heap = new ArenaHeap();
  readonly rcu: Rcu;
  readonly bonds: ArenaBonds;
  readonly meters: ArenaMeters;
  readonly table: FlowTable;
  readonly vhost: VhostPorts;
  readonly sockets: SocketPorts;
  readonly #upcalls: UpcallReader;
  readonly #freePorts = Array.from({ length: 64 }, (_, i) => 163 - i);

  constructor(modules: DatapathModules = loadModules()) {
    this.arena = createArena().arena;
    this.thread = new DatapathThread(0, this.arena, modules);
    this.counters = new Counters(this.arena);
    const pool = new PmdPool(this.arena, modules, () => {});
    this.rcu = new Rcu(this.arena, () => 1);
    this.bonds = new ArenaBonds({ arena: this.arena, rcu: this.rcu, nThreads: () => 1, warn: (m) => console.warn(m) });
    const now = () => this.arena.f64[(ARENA_THREADS + THREAD_NOW_MS) >> 3]!;
    this.meters = new ArenaMeters({ arena: this.arena, heap: this.heap, rcu: this.rcu, nowMs: now });
    this.table = new FlowTable(this.arena, this.heap, this.rcu, (flow) => this.exports.flowHash(flow) >>> 0);
    const records = new VringRecords();
    this.vhost = new VhostPorts(this.arena, pool, this.thread, () => Promise.resolve(), records);
    this.sockets = new SocketPorts(this.arena, pool, this.thread, () => Promise.resolve(), records);
    this.#upcalls = new UpcallReader(this.arena, 0);
  }

  get exports(): DatapathExports {
    return this.thread.exports;
  }

  setVlanLimit(limit: number): void {
    this.arena.set(ARENA_HEADER + HEADER_VLAN_LIMIT, limit);
  }

  /** The time that this thread's packets see. */
  setNowMs(now: number): void {
    this.arena.f64[(ARENA_THREADS + THREAD_NOW_MS) >> 3] = now;
  }

  /** `emc`: every packet is put in, none is. An EMC that has turned itself off is asked again. */
  setCaches(emc: boolean, smc: boolean): void {
    this.arena.set(ARENA_HEADER + HEADER_EMC_INSERT_MIN, emc ? 0xffffffff : 0);
    this.arena.set(ARENA_HEADER + HEADER_SMC_ENABLE, smc ? 1 : 0);
    for (const field of [THREAD_EMC_ASKED, THREAD_EMC_FOUND, THREAD_EMC_REST]) this.arena.set(ARENA_THREADS + field, 0);
  }

  /** A port whose frames come back from `outputs`. */
  softPort(port: number): void {
    this.arena.set(ARENA_PORTS + port * PORT__SIZE + PORT_MAX_FRAME, 0);
    this.arena.publish(ARENA_PORTS + port * PORT__SIZE + PORT_KIND, PORT_KIND_SOFT);
  }

  vhostPort(): VhostPort {
    const free = this.#freePorts.pop();
    if (free === undefined) throw new Error('rig: no more ports');
    const port = odpPort(free);
    const vhost = this.vhost.add(port, `vhost${port}`);
    this.arena.set(ARENA_PORTS + port * PORT__SIZE + PORT_MAX_FRAME, BIG_FRAME_MAX);
    this.arena.publish(ARENA_PORTS + port * PORT__SIZE + PORT_KIND, PORT_KIND_VHOST);
    return vhost;
  }

  async removePort(port: VhostPort): Promise<void> {
    await this.vhost.remove(port.port);
    this.#freePorts.push(port.port);
  }

  async start(ring: FakeRing, port = this.vhostPort()): Promise<RunningRing> {
    await port.ringStart(ring.config, ring.guest);
    const exports = this.thread.guest(port.guest);
    if (!exports) throw new Error('rig: the guest has no ring module');
    return { ring, exports, at: port.rings.get(ring.config.index)!.at, port };
  }

  broken(running: RunningRing): number {
    return this.arena.get(running.at + VRING_BROKEN);
  }

  /** These are the rings that `poll` serves, as a PMD does. */
  serve(rings: readonly RunningRing[]): void {
    for (const [i, { at, port }] of rings.entries()) {
      const rxq = ARENA_RXQS + i * RXQ__SIZE;
      this.arena.u8.fill(0, rxq, rxq + RXQ__SIZE);
      this.arena.set(rxq + RXQ_SLOT, rxSlot(port.guest));
      this.arena.set(rxq + RXQ_VRING, at);
      this.arena.set(rxq + RXQ_PORT, port.port);
    }
    this.arena.set(ARENA_THREADS + THREAD_NRXQS, rings.length);
  }

  /** One pass over what is served, at that time. */
  poll(nowMs: number): void {
    this.arena.f64[(ARENA_THREADS + THREAD_NOW_MS) >> 3] = nowMs;
    this.exports.run(1);
  }

  /** Polls the ring once; the frames that the fast path took. */
  rx(running: RunningRing): Uint8Array[] {
    const n = running.exports.rx(0, running.at);
    const frames = Array.from({ length: n }, (_, i) => this.packet(i));
    if (this.arena.get(ARENA_THREADS + THREAD_UNRELEASED) !== 0) {
      this.arena.set(ARENA_THREADS + THREAD_UNRELEASED, 0);
      running.exports.release!(0, running.at);
    }
    return frames;
  }

  /** A copy of packet `i` of the batch, with its tail. */
  packet(i: number): Uint8Array {
    const record = ARENA_PKTS + i * PKT__SIZE;
    const at = this.arena.get(record + PKT_DATA);
    const tailLen = this.arena.get(record + PKT_TAIL_LEN);
    const head = this.arena.u8.slice(at, at + this.arena.get(record + PKT_LEN) - tailLen);
    if (tailLen === 0) return head;
    const to = ARENA_BIG_SLOTS + BATCH_MAX * BIG_SLOT__SIZE;
    this.thread.guest(this.arena.get(record + PKT_TAIL_SLOT))!.pull!(record, to);
    return Uint8Array.from([...head, ...this.arena.u8.slice(to, to + tailLen)]);
  }

  /** Puts a frame into slot `i` of the batch; gives the packet's record. */
  place(i: number, frame: Uint8Array): number {
    const slot = frame.length > FRAME_MAX ? ARENA_BIG_SLOTS + i * BIG_SLOT__SIZE : ARENA_SLOTS + i * SLOT__SIZE;
    const data = slot + PACKET_HEADROOM;
    const record = ARENA_PKTS + i * PKT__SIZE;
    this.arena.u8.set(frame, data);
    this.arena.set(record + PKT_DATA, data);
    this.arena.set(record + PKT_LEN, frame.length);
    this.arena.u8.fill(0, record + PKT_VNET_FLAGS, record + PKT_KEY);
    return record;
  }

  /**
   * Puts the first `cut` bytes of a frame into slot `i` and leaves the others in the memory of `running`'s guest, in two pieces at `at`.
   */
  placeTail(i: number, frame: Uint8Array, cut: number, running: RunningRing, at: number): void {
    const record = this.place(i, frame.subarray(0, cut));
    const rest = frame.subarray(cut);
    if (rest.length === 0) return;
    const first = rest.length >> 1;
    const { u8 } = running.ring.guest;
    u8.set(rest.subarray(first), at);
    u8.set(rest.subarray(0, first), at + 65536);
    const pieces = [at + 65536, first, at, rest.length - first];
    this.arena.u32.set(pieces, ARENA_TAILS >> 2);
    this.arena.set(record + PKT_LEN, frame.length);
    this.arena.set(record + PKT_TAIL_LEN, rest.length);
    this.arena.set(record + PKT_TAIL, ARENA_TAILS);
    this.arena.set(record + PKT_TAIL_SLOT, running.port.guest);
  }

  /** Sends up to BATCH_MAX frames to the guest; how many it took. */
  tx(running: RunningRing, frames: readonly Uint8Array[]): number {
    const list = ARENA_TX_BATCHES + 64;
    frames.forEach((frame, i) => {
      this.arena.set(list + i * 4, this.place(i, frame));
    });
    return running.exports.tx(0, running.at, list, frames.length);
  }

  /** Runs `work`; the drop counters that moved, by name. */
  dropsDuring(work: () => void): Record<string, number> {
    const before = this.counters.drops();
    work();
    const moved: Record<string, number> = {};
    for (const [name, value] of this.counters.drops()) {
      const by = Number(value - before.get(name)!);
      if (by !== 0) moved[name] = by;
    }
    return moved;
  }

  /** All records of this thread that wait for the control thread, copied. */
  records(): UpcallRecord[] {
    const out: UpcallRecord[] = [];
    while (this.#upcalls.drain(1024, (r) => out.push({ ...r, packet: r.packet.slice() }))) {}
    return out;
  }

  /** Handles `n` records, as the control thread does. */
  take(n: number): void {
    this.#upcalls.drain(n, () => {});
  }

  /** The frames that left by soft ports, in order. */
  outputs(): Output[] {
    return this.records()
      .filter((r) => r.type === UPCALL_OUTPUT)
      .map(({ port, packet }) => ({ port, frame: packet }));
  }

  /** Compiles an action list into the arena; its offset. Never freed. `userdata` numbers are 1. */
  actions(actions: readonly DpAction[]): number {
    const words = compileActions(actions, () => 1);
    const at = this.heap.alloc(words.length * 4);
    if (at === undefined) throw new Error('rig: the heap is full');
    this.arena.u32.set(words, at >> 2);
    return at;
  }

  /** Puts a frame that came in by `inPort` into the spare record, and has its headers extracted. */
  prepare(frame: Uint8Array, inPort: number): void {
    this.place(BATCH_MAX, frame);
    this.extractSpare(inPort);
  }

  /** Has the headers of the packet in the spare record extracted. */
  extractSpare(inPort: number): void {
    const record = ARENA_PKTS + BATCH_MAX * PKT__SIZE;
    this.arena.u8.fill(0, record + PKT_KEY, record + PKT_KEY + KEY__SIZE);
    this.arena.set(record + PKT_KEY + KEY_IN_PORT, inPort);
    this.arena.set(record + PKT_RSS, 0);
    this.arena.set(record + PKT_FLAGS, 0);
    this.exports.prepareSpare();
  }

  /** The same with the flags of the list, as a megaflow names it. */
  flowActions(actions: readonly DpAction[]): number {
    return this.actions(actions) | actionFlags(actions);
  }

  /** Runs an action list on a frame that came in by `inPort`; what left, in order. */
  execute(frame: Uint8Array, inPort: number, actions: number): Output[] {
    this.prepare(frame, inPort);
    this.exports.executeSpare(actions, 0);
    return this.outputs();
  }
}
