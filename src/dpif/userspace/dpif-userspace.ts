import { type OdpPort, odpPort } from '../../base/types.ts';
import type { Flow, FlowWildcards } from '../../flow/flow.ts';
import {
  ARENA_HEADER,
  ARENA_PORTS,
  BIG_FRAME_MAX,
  DROP_UPCALL_ERROR,
  DROP_USERSPACE_ACTION_ERROR,
  DROP_VHOST_TX_OVERSIZE,
  FLOWS_MAX,
  HEADER_EMC_INSERT_MIN,
  HEADER_NOTIFY,
  HEADER_SMC_ENABLE,
  HEADER_TUNNEL_PORT_MIN,
  HEADER_TUNNEL_PORT_SPAN,
  HEADER_VLAN_LIMIT,
  PORT__SIZE,
  PORT_KIND,
  PORT_KIND_NONE,
  PORT_KIND_SOFT,
  PORT_KIND_VHOST,
  PORT_MAX_FRAME,
  PORT_TUNNEL,
  PORTS_MAX,
  TUNNEL_NONE,
  UPCALL_ACTION,
  UPCALL_MISS,
  UPCALL_OUTPUT,
} from '../../gen/arena.ts';
import { type Netdev, NetdevError, type NetdevStats } from '../../netdev/netdev.ts';
import { onTunnelSourcePorts, tunnelSourcePorts } from '../../netdev/tunnel-config.ts';
import { close } from '../../sys/fd.ts';
import { getAffinity } from '../../sys/sched.ts';
import { logUpcall } from '../dp-log.ts';
import type {
  DpAction,
  DpConfig,
  DpFlow,
  DpFlowStats,
  Dpif,
  DpMeterConfig,
  DpMeterStats,
  DpPort,
  DpThread,
  Upcall,
  UpcallHandler,
} from '../dpif.ts';
import { DROP_COUNTERS } from '../drop-names.ts';
import { NETDEV_FEATURES } from '../features.ts';
import { MAX_BANDS, MAX_METERS } from '../meters.ts';
import type { TunnelPort } from '../odp-execute.ts';
import { hasTunnel } from '../odp-tunnel-text.ts';
import { extractKey, metadataOf, portMetadata } from '../packet-key.ts';
import { type Arena, createArena } from './arena.ts';
import { ArenaBonds } from './arena-bonds.ts';
import { ArenaMeters } from './arena-meters.ts';
import { isCompilable } from './compile-actions.ts';
import { popKind } from './compile-tunnel.ts';
import { Counters } from './counters.ts';
import { DatapathThread, loadModules } from './datapath-thread.ts';
import { FlowTable } from './flow-table.ts';
import { ArenaHeap } from './heap.ts';
import { Megaflows } from './megaflows.ts';
import { type UserspaceDpifOptions, vlanLimitOf } from './options.ts';
import { MADE_HERE, OwnPackets, type PacketState, RECEIVED } from './own-packets.ts';
import { type Newcomer, type PmdHandle, PmdPool } from './pmd-pool.ts';
import { Rcu } from './rcu.ts';
import { assignRxqs, type RxqPlacement } from './rxq-assignment.ts';
import { carriesBeyondKey, looksBeyondKey, SlowPath } from './slow-path.ts';
import { SocketPorts } from './socket-ports.ts';
import { UpcallReader, type UpcallRecord } from './upcall-reader.ts';
import { UserdataTable } from './userdata-table.ts';
import { VhostPorts } from './vhost-ports.ts';
import { VringRecords } from './vring-records.ts';

const ETH_TYPE_NSH = 0x894f;
/** Upcalls handled in one turn of the event loop. */
const UPCALLS_A_TURN = 128;
const REAP_EVERY_MS = 100;
/** Turns of the reaper from one ranking of the subtables to the next. */
const REAPS_A_RANKING = 10;
const ETHERNET_OVERHEAD = 18;
/** Frames that soft ports may answer with before the event loop goes on. */
const FRAMES_A_TURN = 1024;

/** The userspace datapath (`netdev`): megaflows and ports in the arena, PMD workers that forward, this thread that answers misses. */
export class UserspaceDpif implements Dpif {
  readonly name: string;
  readonly type: string;
  readonly #arena: Arena;
  readonly #arenaFd: number;
  readonly #heap = new ArenaHeap();
  readonly #userdata = new UserdataTable();
  /** Ports of tunnels. */
  readonly #tunnels = new Map<OdpPort, TunnelPort>();
  readonly #main: DatapathThread;
  readonly #own: OwnPackets;
  readonly #pool: PmdPool;
  readonly #rcu: Rcu;
  readonly #table: FlowTable;
  readonly #vhost: VhostPorts;
  readonly #sockets: SocketPorts;
  readonly #counters: Counters;
  readonly #readers = new Map<number, UpcallReader>();
  readonly #ports = new Map<number, DpPort>();
  readonly #flows: Megaflows;
  readonly #warn: (message: string) => void;
  readonly #preferPort: (name: string) => number | undefined;
  readonly #nowMs: () => number;
  readonly #reapTimer: NodeJS.Timeout;
  readonly #meters: ArenaMeters;
  readonly #bonds: ArenaBonds;
  readonly #slow: SlowPath;
  readonly #slowDrops = new Map<string, bigint>(DROP_COUNTERS.map((name) => [name, 0n]));
  readonly #maxFlows: number;
  readonly #endSourcePorts: () => void;
  #handler: UpcallHandler = () => [];
  #affinity: DpConfig['rxqAffinity'] = new Map();
  #placement: RxqPlacement[] = [];
  /** What was said of the last assignment: it is not said again with each queue that comes. */
  #assignWarnings: ReadonlySet<string> = new Set();
  #cores: readonly number[];
  #coresStarted = false;
  #configuring: Promise<void> = Promise.resolve();
  #assigning: Promise<void> = Promise.resolve();
  #closed = false;
  #draining = false;
  #received: { port: OdpPort; frame: Uint8Array }[] = [];

  constructor(options: UserspaceDpifOptions = {}) {
    this.name = options.name ?? 'ovs-netdev';
    this.type = options.type ?? 'netdev';
    this.#warn = options.warn ?? (() => {});
    this.#preferPort = options.preferPort ?? (() => undefined);
    this.#nowMs = options.clock ? () => options.clock!.monotonicMs() : () => Math.trunc(performance.now());
    this.#maxFlows = options.maxFlows ?? FLOWS_MAX;
    this.#cores = options.defaultCores ?? getAffinity().slice(0, 1);
    const modules = loadModules();
    const { arena, fd } = createArena();
    this.#arena = arena;
    this.#arenaFd = fd;
    this.#main = new DatapathThread(0, arena, modules);
    this.#own = new OwnPackets(arena, this.#main, this.#nowMs, (vring, message) => this.#onTrap(vring, message));
    this.#pool = new PmdPool(arena, modules, (vring, message) => this.#onTrap(vring, message));
    this.#rcu = new Rcu(arena, () => this.#pool.nThreads);
    this.#meters = new ArenaMeters({ arena, heap: this.#heap, rcu: this.#rcu, nowMs: this.#nowMs });
    this.#bonds = new ArenaBonds({ arena, rcu: this.#rcu, nThreads: () => this.#pool.nThreads, warn: this.#warn });
    this.#slow = new SlowPath({
      output: (port, packet, inPort) => this.#outputSlow(port, packet, inPort),
      recirculate: (packet, md, state) => this.#recirculateSlow(packet, md, state),
      ask: (upcall) => this.#ask(upcall),
      drop: (reason) => this.#slowDrops.set(reason, (this.#slowDrops.get(reason) ?? 0n) + 1n),
      nowMs: () => this.#nowMs(),
      vlanLimit: () => this.#arena.get(ARENA_HEADER + HEADER_VLAN_LIMIT),
      meters: this.#meters,
      bonds: this.#bonds,
      tunnelPort: (port) => this.#tunnels.get(port),
    });
    this.#table = new FlowTable(arena, this.#heap, this.#rcu, (flow) => this.#main.exports.flowHash(flow) >>> 0);
    this.#flows = new Megaflows({
      arena,
      heap: this.#heap,
      rcu: this.#rcu,
      table: this.#table,
      userdata: this.#userdata,
      maxFlows: options.maxFlows ?? FLOWS_MAX,
      nThreads: () => this.#pool.nThreads,
    });
    const records = new VringRecords();
    this.#vhost = new VhostPorts(arena, this.#pool, this.#main, () => this.#assign(), records);
    this.#sockets = new SocketPorts(arena, this.#pool, this.#main, () => this.#assign(), records);
    this.#counters = new Counters(arena);
    this.#setCaches(100, false);
    this.#endSourcePorts = onTunnelSourcePorts(() => {
      this.#arena.set(ARENA_HEADER + HEADER_TUNNEL_PORT_MIN, tunnelSourcePorts.min);
      this.#arena.set(ARENA_HEADER + HEADER_TUNNEL_PORT_SPAN, tunnelSourcePorts.max - tunnelSourcePorts.min);
    });
    this.#readers.set(0, new UpcallReader(arena, 0));
    let turn = 0;
    this.#reapTimer = setInterval(() => {
      if (++turn % REAPS_A_RANKING === 0) this.#table.rank();
      this.#rcu.reap();
      this.#warnOfBroken();
    }, REAP_EVERY_MS).unref();
    void this.#watch();
  }

  // Ports.

  async portAdd(netdev: Netdev, wanted?: OdpPort): Promise<OdpPort> {
    const port = this.#freePort(netdev, wanted);
    this.#ports.set(port, { odpPort: port, name: netdev.name, type: netdev.type, netdev });
    this.#counters.clearPort(port);
    this.#publishMtu(port, netdev);
    netdev.onChange(() => this.#publishMtu(port, netdev));
    try {
      await this.#attach(port, netdev);
    } catch (e) {
      // Its number, its rings and what else it has so far are another's again.
      await this.portDel(port);
      throw e;
    }
    return port;
  }

  async #attach(port: OdpPort, netdev: Netdev): Promise<void> {
    const record = ARENA_PORTS + port * PORT__SIZE;
    if (netdev.io.kind === 'vhost') {
      await this.#ensureCores();
      const vhost = this.#vhost.add(port, netdev.name);
      this.#arena.publish(record + PORT_KIND, PORT_KIND_VHOST);
      netdev.io.attach(vhost);
      await this.#assign();
    } else if (netdev.io.kind === 'rings') {
      await this.#ensureCores();
      const socket = this.#sockets.add(port, netdev.name);
      this.#arena.publish(record + PORT_KIND, PORT_KIND_VHOST);
      await netdev.io.attach(socket);
    } else if (netdev.io.kind === 'tunnel') {
      if (netdev.tunnel) {
        this.#tunnels.set(port, { config: netdev.tunnel, state: { seq: 0 } });
        this.#arena.publish(record + PORT_TUNNEL, popKind(netdev.tunnel));
      }
    } else if (netdev.io.kind === 'soft') {
      this.#arena.publish(record + PORT_KIND, PORT_KIND_SOFT);
      netdev.io.attach((frame) => {
        if (this.#ports.get(port)?.netdev === netdev) this.#receive(port, frame);
      });
    }
  }

  /** Longest frame that may leave by the port: its MTU, an Ethernet header and a tag. */
  #publishMtu(port: OdpPort, netdev: Netdev): void {
    if (this.#ports.get(port)?.netdev !== netdev) return;
    const max = netdev.mtu() > 0 ? Math.min(netdev.mtu() + ETHERNET_OVERHEAD, BIG_FRAME_MAX) : BIG_FRAME_MAX;
    this.#arena.set(ARENA_PORTS + port * PORT__SIZE + PORT_MAX_FRAME, max);
  }

  #freePort(netdev: Netdev, asked?: OdpPort): OdpPort {
    const wanted = asked ?? this.#preferPort(netdev.name);
    if (wanted !== undefined && wanted < PORTS_MAX - 1 && !this.#ports.has(wanted)) return odpPort(wanted);
    for (let n = 1; n < PORTS_MAX - 1; n++) if (!this.#ports.has(n)) return odpPort(n);
    throw new NetdevError(`${netdev.name}: the datapath has no free port number (${PORTS_MAX - 2} ports)`);
  }

  async portDel(port: OdpPort): Promise<void> {
    const record = ARENA_PORTS + port * PORT__SIZE;
    this.#arena.publish(record + PORT_KIND, PORT_KIND_NONE);
    this.#arena.publish(record + PORT_TUNNEL, TUNNEL_NONE);
    await this.#vhost.remove(port);
    await this.#sockets.remove(port);
    await this.#pool.all({ type: 'sync' });
    // What was sent up from it, or for it, must not meet another port with its number.
    for (const reader of this.#readers.values())
      if (reader.index !== 0) while (reader.drain(UPCALLS_A_TURN, (record) => this.#onRecord(record, reader.index))) {}
    this.#drainOwn();
    this.#tunnels.delete(port);
    this.#ports.delete(port);
  }

  ports(): Iterable<DpPort> {
    return this.#ports.values();
  }

  portStats(port: OdpPort): NetdevStats {
    return this.#counters.port(port);
  }

  /** A frame that a soft port received: goes through the fast path on this thread. */
  #receive(port: OdpPort, frame: Uint8Array): void {
    if (frame.length > BIG_FRAME_MAX) {
      this.#counters.rxOversize(port);
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
    this.#own.place(0, frame);
    this.#own.guarded(() => this.#main.exports.process(1, port));
  }

  // Upcalls.

  setUpcallHandler(handler: UpcallHandler): void {
    this.#handler = handler;
  }

  /** Waits for threads to send something up, and handles it in turns. */
  async #watch(): Promise<void> {
    const word = (ARENA_HEADER + HEADER_NOTIFY) >> 2;
    while (!this.#closed) {
      const seen = Atomics.load(this.#arena.i32, word);
      if (this.#drainAll()) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      const wait = Atomics.waitAsync(this.#arena.i32, word, seen);
      if (wait.async) await wait.value;
    }
  }

  /** One turn over all rings; true when something is left. */
  #drainAll(): boolean {
    let more = false;
    for (const reader of this.#readers.values()) {
      if (reader.index !== 0)
        more = reader.drain(UPCALLS_A_TURN, (record) => this.#onRecord(record, reader.index)) || more;
    }
    this.#drainOwn();
    return more;
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
        while (own.drain(UPCALLS_A_TURN, (record) => this.#onRecord(record, 0))) {}
        const next = this.#received.shift();
        if (!next) break;
        this.#forward(next.port, next.frame);
      }
    } finally {
      this.#draining = false;
    }
    if (this.#received.length > 0 && !this.#closed) setImmediate(() => this.#drainOwn());
    this.#main.interruptGuests();
  }

  #onRecord(record: UpcallRecord, thread: number): void {
    if (record.type === UPCALL_OUTPUT) this.#output(record);
    else if (record.type === UPCALL_MISS) this.#onMiss(record, thread);
    else if (record.type === UPCALL_ACTION) this.#onUserspace(record, thread);
  }

  #output(record: UpcallRecord): void {
    const io = this.#ports.get(record.port)?.netdev.io;
    if (io?.kind !== 'soft' || !io.send(record.packet)) this.#counters.softTxDrop(record.port, record.packet.length);
  }

  /** A packet that was not found when it was looked up. */
  #onMiss(record: UpcallRecord, thread: number): void {
    this.#again(record.packet, record.key, record, thread);
  }

  /**
   * Another packet of the same flow may have been answered since: then the megaflow carries this one too. Otherwise the packet is asked about. Of `md` only
   * the metadata counts. True when there was a megaflow.
   */
  #again(packet: Uint8Array, md: Flow, state: PacketState, thread: number): boolean {
    this.#own.prepare(packet, md, state);
    const flow = this.#main.exports.lookupSpare();
    if (flow !== 0) {
      this.#main.exports.countSpare(flow);
      this.#own.guarded(() => this.#main.exports.executeSpare(this.#main.exports.flowActions(flow), state.depth));
      this.#main.interruptGuests();
      return true;
    }
    const key = this.#preparedKey(packet, md);
    const slow = key.recircId === 0 ? undefined : this.#slow.count(key, packet.length);
    const actions = slow ?? this.#ask({ type: 'miss', key, packet, pmd: thread - 1 });
    if (actions) this.#executeOn(packet, md, actions, state);
    return slow !== undefined;
  }

  /** The whole key of a packet in the spare record: what the fast path does not extract is read here. */
  #preparedKey(packet: Uint8Array, md: Flow): Flow {
    const key = this.#own.spareKey();
    return key.dlType === ETH_TYPE_NSH ? extractKey(packet, md) : key;
  }

  /** Sends what the slow path made. */
  #outputSlow(port: OdpPort, packet: Uint8Array, inPort: number): void {
    if (packet.length > BIG_FRAME_MAX) this.#counters.drop(DROP_VHOST_TX_OVERSIZE);
    else this.#executeOn(packet, portMetadata(inPort), [{ type: 'output', port }], RECEIVED);
  }

  /** A packet of the slow path is recirculated. The fast path takes it on, unless it carries metadata that its key has no room for. */
  #recirculateSlow(packet: Uint8Array, md: Flow, state: PacketState): boolean {
    if (md.packetType !== 0 || packet.length > BIG_FRAME_MAX || carriesBeyondKey(md)) return false;
    this.#counters.recirculated(this.#again(packet, md, state, 0));
    return true;
  }

  #onUserspace(record: UpcallRecord, thread: number): void {
    const userdata = this.#userdata.get(record.userdata);
    if (userdata?.kind === 'slow_list') {
      this.#runSlow(record.packet, record.key, userdata.actions, record);
      return;
    }
    if (!userdata) {
      // The flow that sent it up is gone already.
      this.#counters.drop(DROP_USERSPACE_ACTION_ERROR);
      return;
    }
    this.#own.prepare(record.packet, record.key, record);
    const actions = this.#ask({
      type: 'action',
      key: this.#preparedKey(record.packet, record.key),
      packet: record.packet,
      userdata,
      pmd: thread - 1,
    });
    if (actions && actions.length > 0) this.#executeOn(record.packet, record.key, actions, record);
  }

  /** A packet that an action fails on is dropped, named and logged, as one that the handler fails on. */
  #runSlow(packet: Uint8Array, md: Flow, actions: readonly DpAction[], state: PacketState): void {
    try {
      this.#slow.run(packet.slice(), metadataOf(md), actions, state);
    } catch (e) {
      this.#counters.drop(DROP_UPCALL_ERROR);
      this.#warn(`a packet on the slow path failed: ${(e as Error).stack}`);
    }
  }

  /** A packet that the handler fails on is dropped, named and logged: the next one may be another's. */
  #ask(upcall: Upcall): readonly DpAction[] | undefined {
    logUpcall(this.name, upcall);
    try {
      return this.#handler(upcall);
    } catch (e) {
      this.#counters.drop(DROP_UPCALL_ERROR);
      this.#warn(`an upcall failed: ${(e as Error).stack}`);
      return undefined;
    }
  }

  // Flows.

  /** What the fast path can't tell apart has no flow, but for packets that were recirculated or come from tunnels: those are told apart on the control thread. */
  flowPut(key: Flow, mask: FlowWildcards, actions: readonly DpAction[]): DpFlow | undefined {
    if (this.flowCount() >= this.#maxFlows && !this.#flows.has(key, mask)) return undefined;
    if (key.packetType !== 0 || ((key.recircId !== 0 || hasTunnel(key)) && looksBeyondKey(mask, key)))
      return this.#slow.put(key, mask, actions);
    return looksBeyondKey(mask) ? undefined : this.#flows.put(key, mask, actions);
  }

  flowMod(flow: DpFlow, actions: readonly DpAction[]): void {
    if (this.#slow.owns(flow)) this.#slow.modify(flow, actions);
    else this.#flows.modify(flow, actions);
  }

  flowDel(flow: DpFlow, onLate?: (final: DpFlowStats) => void): DpFlowStats {
    return this.#slow.owns(flow) ? this.#slow.delete(flow) : this.#flows.delete(flow, onLate);
  }

  flowStats(flow: DpFlow): DpFlowStats {
    return this.#slow.owns(flow) ? this.#slow.stats(flow) : this.#flows.stats(flow);
  }

  *flows(): Iterable<DpFlow> {
    yield* this.#flows.values();
    yield* this.#slow.flows();
  }

  flowCount(): number {
    return this.#flows.size + this.#slow.size;
  }

  // Packets of the control thread.

  execute(packet: Uint8Array, key: Flow, actions: readonly DpAction[]): void {
    if (packet.length > BIG_FRAME_MAX) {
      this.#counters.drop(DROP_VHOST_TX_OVERSIZE);
      return;
    }
    this.#executeOn(packet, metadataOf(key), actions, MADE_HERE);
    this.#drainOwn();
  }

  /** Of `md` only the metadata counts. */
  #executeOn(packet: Uint8Array, md: Flow, actions: readonly DpAction[], state: PacketState): void {
    if (md.packetType !== 0 || !isCompilable(actions)) {
      this.#runSlow(packet, md, actions, state);
      return;
    }
    const code = this.#flows.compile(actions);
    if (!code) {
      this.#counters.drop(DROP_UPCALL_ERROR);
      return;
    }
    this.#own.prepare(packet, md, state);
    this.#own.guarded(() => this.#main.exports.executeSpare(code.at, state.depth));
    this.#main.interruptGuests();
    // A `userspace` action's data is wanted when its record is read, a little later.
    this.#heap.free(code.at, code.size);
    if (code.userdata.length > 0) setTimeout(() => this.#userdata.delete(code.userdata), 1000).unref();
  }

  // Threads.

  meterSet(id: number, config: DpMeterConfig): boolean {
    return this.#meters.set(id, config);
  }

  meterGet(id: number): DpMeterStats | undefined {
    return this.#meters.get(id);
  }

  meterDel(id: number): DpMeterStats | undefined {
    return this.#meters.delete(id);
  }

  bondSet(id: number, members: readonly (OdpPort | undefined)[]): void {
    this.#bonds.set(id, members);
  }

  bondDel(id: number): void {
    this.#bonds.delete(id);
  }

  bondStats(id: number): readonly bigint[] | undefined {
    return this.#bonds.stats(id);
  }

  bonds(): ReadonlyMap<number, readonly (OdpPort | undefined)[]> {
    return this.#bonds.all();
  }

  meterFeatures(): { maxMeters: number; maxBands: number } {
    return { maxMeters: MAX_METERS, maxBands: MAX_BANDS };
  }

  configure(config: DpConfig): Promise<void> {
    return this.#inTurn(() => this.#configure(config));
  }

  async #configure(config: DpConfig): Promise<void> {
    this.#setCaches(config.emcInsertInvProb, config.smcEnable);
    this.#arena.set(ARENA_HEADER + HEADER_VLAN_LIMIT, vlanLimitOf(config.otherConfig?.get('vlan-limit')));
    this.#affinity = config.rxqAffinity;
    if (config.pmdCpus.length > 0) this.#cores = config.pmdCpus;
    if (this.#coresStarted) await this.#startCores();
    await this.#assign();
  }

  #setCaches(emcInsertInvProb: number, smcEnable: boolean): void {
    const min = emcInsertInvProb === 0 ? 0 : Math.floor(0xffffffff / emcInsertInvProb);
    this.#arena.set(ARENA_HEADER + HEADER_EMC_INSERT_MIN, min);
    this.#arena.set(ARENA_HEADER + HEADER_SMC_ENABLE, smcEnable ? 1 : 0);
  }

  /** PMDs start with the first port that needs one. */
  async #ensureCores(): Promise<void> {
    if (this.#coresStarted) return;
    this.#coresStarted = true;
    await this.#inTurn(() => this.#startCores());
  }

  /** Changes of the threads are made one after the other, also after one that failed. */
  #inTurn(change: () => Promise<void>): Promise<void> {
    const done = this.#configuring.then(change);
    this.#configuring = done.catch(() => {});
    return done;
  }

  /** What a new PMD is told. */
  #newcomer(): Newcomer {
    return {
      threadsChanged: () => {
        this.#sockets.threadsChanged();
        return this.#vhost.threadsChanged();
      },
      requests: (index) => [...this.#vhost.requests(), ...this.#sockets.requests(index)],
    };
  }

  async #startCores(): Promise<void> {
    try {
      await this.#pool.setCores(this.#cores, this.#newcomer());
    } finally {
      for (const pmd of this.#pool.pmds) {
        if (!this.#readers.has(pmd.index)) this.#readers.set(pmd.index, new UpcallReader(this.#arena, pmd.index));
      }
      await this.#assign();
    }
  }

  /** Assignments are made one after the other. */
  #assign(): Promise<void> {
    this.#assigning = this.#assigning.then(() => this.#assignNow());
    return this.#assigning;
  }

  /** A ring has one reader: a PMD that loses an rxq has left it before another gets it. */
  async #assignNow(): Promise<void> {
    const { pmds } = this.#pool;
    const cores = pmds.map((p) => p.core);
    const { placement, warnings } = assignRxqs([...this.#vhost.rxqs(), ...this.#sockets.rxqs()], cores, this.#affinity);
    this.#placement = placement;
    for (const text of warnings) if (!this.#assignWarnings.has(text)) this.#warn(text);
    this.#assignWarnings = new Set(warnings);
    const rxqsOf = (pmd: PmdHandle) =>
      this.#placement.filter((p) => p.core === pmd.core && p.rxq.enabled).map((p) => p.rxq);
    const kept = (pmd: PmdHandle) => {
      const next = new Set(rxqsOf(pmd).map((q) => q.vring));
      return pmd.rxqs.filter((q) => next.has(q.vring));
    };
    const losers = pmds.filter((pmd) => kept(pmd).length < pmd.rxqs.length);
    await Promise.all(losers.map((pmd) => pmd.setRxqs(kept(pmd))));
    await Promise.all(pmds.map((pmd) => pmd.setRxqs(rxqsOf(pmd))));
  }

  #onTrap(vring: number, message: string): void {
    const vhost = vring ? (this.#vhost.portOfVring(vring) ?? this.#sockets.portOfRing(vring)) : undefined;
    this.#warn(
      vhost ? `${vhost.name}: a ring of the guest is broken (${message})` : `the fast path trapped: ${message}`,
    );
  }

  #warnOfBroken(): void {
    for (const { name, index, why } of this.#vhost.takeBroken())
      this.#warn(
        `${name}: the guest broke its ring ${index} (${why}); it is left alone until the guest sets it up anew`,
      );
  }

  threads(): DpThread[] {
    const main: DpThread = { core: -1, numa: 0, rxqs: [], stats: this.#counters.thread(0) };
    const pmds = this.#pool.pmds.map((pmd) => ({
      core: pmd.core,
      numa: 0,
      isolated: this.#placement.some((p) => p.core === pmd.core && p.pinned),
      rxqs: this.#rxqsOf(pmd),
      stats: this.#counters.thread(pmd.index),
      perf: this.#counters.perf(pmd.index),
    }));
    return [main, ...pmds];
  }

  /** The PMD's queues, its busy time shared out by the packets of each. */
  #rxqsOf(pmd: PmdHandle): DpThread['rxqs'] {
    const packets = new Map(pmd.rxqs.map((q, i) => [q.vring, this.#counters.rxqPackets(pmd.index, i)]));
    const all = [...packets.values()].reduce((sum, n) => sum + n, 0);
    const usage = this.#counters.usage(pmd.index);
    return this.#placement
      .filter((p) => p.core === pmd.core)
      .map(({ rxq: { name, queue, enabled, vring } }) => {
        const share = all === 0 ? 0 : (packets.get(vring) ?? 0) / all;
        return { port: name, queue, enabled, usagePercent: Math.round(usage * share) };
      });
  }

  clearThreadStats(): void {
    this.#counters.clearThreads();
  }

  stats(): ReturnType<Dpif['stats']> {
    const sum = this.#counters.total();
    return { ...sum, flows: this.flowCount(), masks: this.#table.nMasks };
  }

  /** Packets that ended in the fast path, by reason (protocols/arena.ts, DROP_REASONS). */
  drops(): ReadonlyMap<string, bigint> {
    const all = new Map(this.#slowDrops);
    for (const [name, n] of this.#counters.drops()) all.set(name, (all.get(name) ?? 0n) + n);
    return all;
  }

  features(): ReadonlyMap<string, boolean | number> {
    const vlans = this.#arena.get(ARENA_HEADER + HEADER_VLAN_LIMIT);
    return new Map<string, boolean | number>([...NETDEV_FEATURES, ['Max VLAN headers', vlans]]);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#reapTimer);
    this.#endSourcePorts();
    for (const port of [...this.#ports.keys()]) await this.portDel(odpPort(port));
    await this.#pool.setCores([], this.#newcomer());
    const word = (ARENA_HEADER + HEADER_NOTIFY) >> 2;
    Atomics.add(this.#arena.i32, word, 1);
    Atomics.notify(this.#arena.i32, word);
    close(this.#arenaFd);
  }
}

/** Makes the userspace datapath. Needs the modules that `npm run build` makes. */
export function createUserspaceDpif(options: UserspaceDpifOptions = {}): UserspaceDpif {
  return new UserspaceDpif(options);
}
