import type { OdpPort } from '../../base/types.ts';
import type { Flow } from '../../flow/flow.ts';
import {
  ARENA_HEADER,
  BIG_FRAME_MAX,
  DROP_UPCALL_ERROR,
  DROP_USERSPACE_ACTION_ERROR,
  DROP_VHOST_TX_OVERSIZE,
  HEADER_NOTIFY,
  UPCALL_ACTION,
  UPCALL_MISS,
  UPCALL_OUTPUT,
} from '../../gen/arena.ts';
import { logUpcall } from '../dp-log.ts';
import type { DpAction, DpPort, Upcall, UpcallHandler } from '../dpif.ts';
import { extractKey, metadataOf, portMetadata } from '../packet-key.ts';
import type { Arena } from './arena.ts';
import { isCompilable } from './compile-actions.ts';
import type { Counters } from './counters.ts';
import type { DatapathThread } from './datapath-thread.ts';
import type { ArenaHeap } from './heap.ts';
import type { Megaflows } from './megaflows.ts';
import { MADE_HERE, type OwnPackets, type PacketState, RECEIVED } from './own-packets.ts';
import { carriesBeyondKey, type SlowPath } from './slow-path.ts';
import { UpcallReader, type UpcallRecord } from './upcall-reader.ts';
import type { UserdataTable } from './userdata-table.ts';

const ETH_TYPE_NSH = 0x894f;
/** Upcalls handled in one turn of the event loop. */
const UPCALLS_A_TURN = 128;
/** Frames that soft ports may answer with before the event loop goes on. */
const FRAMES_A_TURN = 1024;
/** How long the data of a `userspace` action outlives the list that the control thread ran: its record is read a little later. */
const USERDATA_LINGERS_MS = 1000;
const NOTIFY_WORD = (ARENA_HEADER + HEADER_NOTIFY) >> 2;

export interface ControlPacketsDeps {
  /** Of the datapath, for the log. */
  name: string;
  arena: Arena;
  main: DatapathThread;
  own: OwnPackets;
  heap: ArenaHeap;
  flows: Megaflows;
  slow: SlowPath;
  userdata: UserdataTable;
  counters: Counters;
  ports: ReadonlyMap<number, DpPort>;
  warn(message: string): void;
}

/**
 * The packets that the control thread handles: those that other threads send up, those that soft ports receive, and those that it is asked to execute.
 * Whatever it can, it has the fast path do, in its own part of the arena. Control thread only.
 */
export class ControlPackets {
  readonly #deps: ControlPacketsDeps;
  /** By the index of the thread that sends; 0 is this one. */
  readonly #readers = new Map<number, UpcallReader>();
  #handler: UpcallHandler = () => [];
  #closed = false;
  #draining = false;
  /** Frames of soft ports that came while another was handled. */
  #received: { port: OdpPort; frame: Uint8Array }[] = [];

  constructor(deps: ControlPacketsDeps) {
    this.#deps = deps;
    this.listenTo(0);
    void this.#watch();
  }

  setHandler(handler: UpcallHandler): void {
    this.#handler = handler;
  }

  /** From now on, what the thread sends up is handled. */
  listenTo(thread: number): void {
    if (!this.#readers.has(thread)) this.#readers.set(thread, new UpcallReader(this.#deps.arena, thread));
  }

  /** Ends the watch. What threads send up from now on stays in their rings. */
  close(): void {
    this.#closed = true;
    Atomics.add(this.#deps.arena.i32, NOTIFY_WORD, 1);
    Atomics.notify(this.#deps.arena.i32, NOTIFY_WORD);
  }

  /** A frame that a soft port received goes through the fast path on this thread. Of `frame` nothing is kept. */
  receive(port: OdpPort, frame: Uint8Array): void {
    if (frame.length > BIG_FRAME_MAX) {
      this.#deps.counters.rxOversize(port);
      return;
    }
    // A device that answers what it is sent, at once: its frame waits until the one before is through.
    if (this.#draining) {
      this.#received.push({ port, frame: frame.slice() });
      return;
    }
    this.#forward(port, frame);
    this.#drainOwn();
  }

  #forward(port: OdpPort, frame: Uint8Array): void {
    const { own, main } = this.#deps;
    own.place(0, frame);
    own.guarded(() => main.exports.process(1, port));
  }

  /** See `Dpif.execute`. */
  execute(packet: Uint8Array, key: Flow, actions: readonly DpAction[]): void {
    if (packet.length > BIG_FRAME_MAX) {
      this.#deps.counters.drop(DROP_VHOST_TX_OVERSIZE);
      return;
    }
    this.#executeOn(packet, metadataOf(key), actions, MADE_HERE);
    this.#drainOwn();
  }

  // What was sent up.

  /** Waits for threads to send something up, and handles it in turns. */
  async #watch(): Promise<void> {
    const { i32 } = this.#deps.arena;
    while (!this.#closed) {
      const seen = Atomics.load(i32, NOTIFY_WORD);
      if (this.#drainAll()) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      const wait = Atomics.waitAsync(i32, NOTIFY_WORD, seen);
      if (wait.async) await wait.value;
    }
  }

  /** Handles everything that was sent up so far: nothing of it is to meet what comes next. */
  drain(): void {
    for (const reader of this.#readers.values()) if (reader.index !== 0) while (this.#turn(reader)) {}
    this.#drainOwn();
  }

  /** One turn over all rings; true when something is left. */
  #drainAll(): boolean {
    let more = false;
    for (const reader of this.#readers.values()) if (reader.index !== 0) more = this.#turn(reader) || more;
    this.#drainOwn();
    return more;
  }

  /** One turn over a ring; true when something is left. */
  #turn(reader: UpcallReader): boolean {
    return reader.drain(UPCALLS_A_TURN, (record) => this.#onRecord(record, reader.index));
  }

  /**
   * Handles what this thread sent itself, and the frames that soft ports received meanwhile, until nothing is left; after FRAMES_A_TURN of them
   * other work gets its turn. A call from within a record's handling leaves all that to the outer one.
   */
  #drainOwn(): void {
    if (this.#draining) return;
    this.#draining = true;
    const own = this.#readers.get(0)!;
    try {
      for (let n = 0; n < FRAMES_A_TURN; n++) {
        while (this.#turn(own)) {}
        const next = this.#received.shift();
        if (!next) break;
        this.#forward(next.port, next.frame);
      }
    } finally {
      this.#draining = false;
    }
    if (this.#received.length > 0 && !this.#closed) setImmediate(() => this.#drainOwn());
    this.#deps.main.interruptGuests();
  }

  #onRecord(record: UpcallRecord, thread: number): void {
    if (record.type === UPCALL_OUTPUT) this.#output(record);
    else if (record.type === UPCALL_MISS) this.#again(record.packet, record.key, record, thread);
    else if (record.type === UPCALL_ACTION) this.#onUserspace(record, thread);
  }

  #output(record: UpcallRecord): void {
    const { ports, counters } = this.#deps;
    const io = ports.get(record.port)?.netdev.io;
    if (io?.kind !== 'soft' || !io.send(record.packet)) counters.softTxDrop(record.port, record.packet.length);
  }

  /**
   * A packet that was not found when it was looked up. Another one of the same flow may have been answered since: then the megaflow carries this one too.
   * Otherwise the packet is asked about. Of `md` only the metadata counts. True when there was a megaflow.
   */
  #again(packet: Uint8Array, md: Flow, state: PacketState, thread: number): boolean {
    const { own, main, slow } = this.#deps;
    own.prepare(packet, md, state);
    const flow = main.exports.lookupSpare();
    if (flow !== 0) {
      main.exports.countSpare(flow);
      own.guarded(() => main.exports.executeSpare(main.exports.flowActions(flow), state.depth));
      main.interruptGuests();
      return true;
    }
    const key = this.#preparedKey(packet, md);
    const known = key.recircId === 0 ? undefined : slow.count(key, packet.length);
    const actions = known ?? this.ask({ type: 'miss', key, packet, pmd: thread - 1 });
    if (actions) this.#executeOn(packet, md, actions, state);
    return known !== undefined;
  }

  /** The whole key of a packet in the spare record: what the fast path does not extract is read here. */
  #preparedKey(packet: Uint8Array, md: Flow): Flow {
    const key = this.#deps.own.spareKey();
    return key.dlType === ETH_TYPE_NSH ? extractKey(packet, md) : key;
  }

  #onUserspace(record: UpcallRecord, thread: number): void {
    const { packet, key: md } = record;
    const userdata = this.#deps.userdata.get(record.userdata);
    if (userdata?.kind === 'slow_list') {
      this.#runSlow(packet, md, userdata.actions, record);
      return;
    }
    if (!userdata) {
      // The flow that sent it up is gone already.
      this.#deps.counters.drop(DROP_USERSPACE_ACTION_ERROR);
      return;
    }
    this.#deps.own.prepare(packet, md, record);
    const key = this.#preparedKey(packet, md);
    const actions = this.ask({ type: 'action', key, packet, userdata, pmd: thread - 1 });
    if (actions && actions.length > 0) this.#executeOn(packet, md, actions, record);
  }

  /** Asks the handler. A packet that it fails on is dropped, named and logged, and undefined is returned: the next one may be another's. */
  ask(upcall: Upcall): readonly DpAction[] | undefined {
    const { name, counters, warn } = this.#deps;
    logUpcall(name, upcall);
    try {
      return this.#handler(upcall);
    } catch (e) {
      counters.drop(DROP_UPCALL_ERROR);
      warn(`an upcall failed: ${(e as Error).stack}`);
      return undefined;
    }
  }

  // Action lists run here.

  /** Of `md` only the metadata counts. */
  #executeOn(packet: Uint8Array, md: Flow, actions: readonly DpAction[], state: PacketState): void {
    if (md.packetType !== 0 || !isCompilable(actions)) {
      this.#runSlow(packet, md, actions, state);
      return;
    }
    const { own, main, flows, heap, userdata, counters } = this.#deps;
    const code = flows.compile(actions);
    if (!code) {
      counters.drop(DROP_UPCALL_ERROR);
      return;
    }
    own.prepare(packet, md, state);
    own.guarded(() => main.exports.executeSpare(code.at, state.depth));
    main.interruptGuests();
    heap.free(code.at, code.size);
    if (code.userdata.length > 0) setTimeout(() => userdata.delete(code.userdata), USERDATA_LINGERS_MS).unref();
  }

  /** A packet that an action fails on is dropped, named and logged, as one that the handler fails on. */
  #runSlow(packet: Uint8Array, md: Flow, actions: readonly DpAction[], state: PacketState): void {
    try {
      this.#deps.slow.run(packet.slice(), metadataOf(md), actions, state);
    } catch (e) {
      this.#deps.counters.drop(DROP_UPCALL_ERROR);
      this.#deps.warn(`a packet on the slow path failed: ${(e as Error).stack}`);
    }
  }

  /** Sends what the slow path made. */
  outputSlow(port: OdpPort, packet: Uint8Array, inPort: number): void {
    if (packet.length > BIG_FRAME_MAX) this.#deps.counters.drop(DROP_VHOST_TX_OVERSIZE);
    else this.#executeOn(packet, portMetadata(inPort), [{ type: 'output', port }], RECEIVED);
  }

  /** A packet of the slow path is recirculated. The fast path takes it on, unless it carries metadata that its key has no room for. */
  recirculateSlow(packet: Uint8Array, md: Flow, state: PacketState): boolean {
    if (md.packetType !== 0 || packet.length > BIG_FRAME_MAX || carriesBeyondKey(md)) return false;
    this.#deps.counters.recirculated(this.#again(packet, md, state, 0));
    return true;
  }
}
