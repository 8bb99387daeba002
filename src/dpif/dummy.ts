import { type OdpPort, odpPort } from '../base/types.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import type { Flow, FlowWildcards } from '../flow/flow.ts';
import { hash5Tuple } from '../flow/flow-hash.ts';
import { type Netdev, NetdevError, type NetdevStats } from '../netdev/netdev.ts';
import { Bonds } from './bonds.ts';
import { logExecute, logFlowAdd, logFlowMessage, logFlowMod, logUpcall } from './dp-log.ts';
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
  DpUserdata,
  Upcall,
  UpcallHandler,
} from './dpif.ts';
import { DROP_COUNTERS } from './drop-names.ts';
import { DummyFlow } from './dummy/flow-table.ts';
import { type Cores, DummyPmds } from './dummy/pmds.ts';
import type { DummyThread } from './dummy/thread.ts';
import { NETDEV_FEATURES } from './features.ts';
import { MAX_BANDS, MAX_METERS, Meters } from './meters.ts';
import { executeActions, type TunnelPort } from './odp-execute.ts';
import { extractKey, metadataOf, portMetadata } from './packet-key.ts';

/**
 * A datapath in plain TypeScript, which forwards a packet before `receive` returns: the reference that faster ones are compared with, and what
 * ovs-vswitchd --enable-dummy and the tests run on. Its threads exist by name only: whoever hands in a packet does their work.
 */

interface Port extends DpPort {
  odpPort: OdpPort;
  stats: NetdevStats;
  /** Of a tunnel's port. */
  tunnel: TunnelPort | undefined;
}

const noStats = (): NetdevStats => ({
  rxPackets: 0n,
  txPackets: 0n,
  rxBytes: 0n,
  txBytes: 0n,
  rxErrors: 0n,
  txErrors: 0n,
  rxDropped: 0n,
  txDropped: 0n,
  custom: new Map(),
});

/** How deep recirculation and upcalls may nest (MAX_RECIRC_DEPTH). */
const MAX_DEPTH = 6;
const NO_PORT = 0xffffffff;

const log = vlogModule('dpif_netdev');
const limit = new VlogRateLimit(20, 20);

export interface DummyDpifOptions {
  name?: string;
  type?: string;
  /** The number that a port shall have by its name, when it is free and nothing else is asked for. */
  preferPort?: (name: string) => number | undefined;
  cores?: Cores;
}

/** One packet on its way through the datapath. */
interface Transit {
  thread: DummyThread;
  depth: number;
  /** Hash of the packet as it was received; undefined for those of the control side. */
  rssHash: number | undefined;
}

export class DummyDpif implements Dpif {
  readonly name: string;
  readonly type: string;
  readonly #ports = new Map<OdpPort, Port>();
  readonly #meters: Meters;
  readonly #bonds = new Bonds();
  readonly #drops = new Map<string, bigint>(DROP_COUNTERS.map((name) => [name, 0n]));
  readonly #nowMs: () => number;
  readonly #preferPort: (name: string) => number | undefined;
  readonly #pmds: DummyPmds;
  #handler: UpcallHandler = () => [];
  /** Thread whose upcall is being answered. */
  #asking: DummyThread | undefined;
  maxFlows = 1_000_000;
  onPortGone: (port: OdpPort) => void = () => {};
  onPortMoved: (from: OdpPort, to: OdpPort) => void = () => {};
  /** Undefined: that of the whole program. */
  vlanLimit: number | undefined;

  constructor(nowMs: () => number, options: DummyDpifOptions = {}) {
    this.#nowMs = nowMs;
    this.#meters = new Meters(nowMs);
    this.name = options.name ?? 'ovs-dummy';
    this.type = options.type ?? 'dummy';
    this.#preferPort = options.preferPort ?? (() => undefined);
    this.#pmds = new DummyPmds(options.cores ?? [{ core: 0, numa: 0 }], (thread) => this.#endThread(thread));
  }

  // Ports.

  async portAdd(netdev: Netdev, wanted?: OdpPort): Promise<OdpPort> {
    for (const p of this.#ports.values())
      if (p.name === netdev.name) throw new NetdevError(`${netdev.name}: File exists`);
    const port = this.#freePort(netdev.name, wanted);
    const { name, type, tunnel: config } = netdev;
    const tunnel = config && netdev.io.kind === 'tunnel' ? { config, state: { seq: 0 } } : undefined;
    const own: Port = { odpPort: port, name, type, netdev, stats: noStats(), tunnel };
    this.#ports.set(port, own);
    if (netdev.io.kind === 'soft') netdev.io.attach((frame, queue) => this.receive(own.odpPort, frame, queue));
    netdev.onChange(() => {
      if (this.#ports.get(own.odpPort)?.netdev === netdev && netdev.isPmd)
        this.#pmds.reconfigure([...this.#ports.values()]);
    });
    this.#pmds.reconfigure([...this.#ports.values()]);
    return port;
  }

  #freePort(name: string, asked?: OdpPort): OdpPort {
    const wanted = asked ?? this.#preferPort(name);
    if (wanted !== undefined && wanted > 0 && !this.#ports.has(odpPort(wanted))) return odpPort(wanted);
    let port = odpPort(1);
    while (this.#ports.has(port)) port = odpPort(port + 1);
    return port;
  }

  async portDel(port: OdpPort): Promise<void> {
    this.#ports.delete(port);
    this.#pmds.reconfigure([...this.#ports.values()]);
    this.onPortGone(port);
  }

  portMove(from: OdpPort, to: OdpPort): void {
    const port = this.#ports.get(from);
    if (!port || this.#ports.has(to)) return;
    this.#ports.delete(from);
    port.odpPort = to;
    this.#ports.set(to, port);
    this.#pmds.reconfigure([...this.#ports.values()]);
    this.onPortMoved(from, to);
  }

  ports(): Iterable<DpPort> {
    return this.#ports.values();
  }

  portStats(port: OdpPort): NetdevStats {
    return this.#ports.get(port)?.stats ?? noStats();
  }

  // Flows.

  setUpcallHandler(handler: UpcallHandler): void {
    this.#handler = handler;
  }

  flowPut(key: Flow, mask: FlowWildcards, actions: readonly DpAction[], pmd?: number): DpFlow | undefined {
    const thread = pmd === undefined ? (this.#asking ?? this.#pmds.main) : this.#pmds.byCore(pmd);
    if (!thread) return undefined;
    if (mask.inPort !== NO_PORT) {
      log.errRl(limit, 'failed to put[create] flow: in_port is not an exact match');
      return undefined;
    }
    const existing = thread.table.find(key, mask);
    if (existing) {
      this.flowMod(existing, actions);
      return existing;
    }
    if (this.flowCount() >= this.maxFlows) return undefined;
    const flow = new DummyFlow(key, mask, actions, thread.core);
    thread.table.insert(flow);
    logFlowAdd(flow);
    logFlowMessage(this.#fullName, 'put[create]', { ...this.#textOf(flow), actions });
    return flow;
  }

  get #fullName(): string {
    return `${this.type}@${this.name}`;
  }

  #textOf(flow: DummyFlow): { ufid: string; key: Flow; mask: FlowWildcards } {
    return { ufid: flow.ufid, key: flow.exact, mask: flow.mask };
  }

  flowMod(flow: DpFlow, actions: readonly DpAction[]): void {
    const own = flow as DummyFlow;
    const before = own.actions;
    own.actions = actions;
    logFlowMod(own, before);
    logFlowMessage(this.#fullName, 'put[modify]', { ...this.#textOf(own), actions });
  }

  flowDel(flow: DpFlow): DpFlowStats {
    const own = flow as DummyFlow;
    this.#pmds.byCore(own.pmd)?.table.remove(own);
    own.dead = true;
    logFlowMessage(this.#fullName, 'flow_del', { ufid: own.ufid, key: own.exact }, own.stats, this.#nowMs());
    return own.stats;
  }

  #endThread(thread: DummyThread): void {
    for (const flow of [...thread.table.values()]) this.flowDel(flow);
  }

  flowStats(flow: DpFlow): DpFlowStats {
    return (flow as DummyFlow).stats;
  }

  *flows(): Iterable<DpFlow> {
    for (const thread of this.#pmds.all()) yield* [...thread.table.values()];
  }

  logFlows(): void {
    const nowMs = this.#nowMs();
    for (const f of this.flows())
      logFlowMessage(
        this.#fullName,
        'flow_dump',
        { ...this.#textOf(f as DummyFlow), actions: f.actions },
        this.flowStats(f),
        nowMs,
      );
  }

  flowCount(): number {
    let n = 0;
    for (const thread of this.#pmds.all()) n += thread.table.size;
    return n;
  }

  // Packets.

  execute(packet: Uint8Array, key: Flow, actions: readonly DpAction[]): void {
    logExecute(this.#fullName, '', key, actions, 0);
    const thread = this.#asking ?? this.#pmds.main;
    this.#execute(packet, metadataOf(key), actions, { thread, depth: 0, rssHash: undefined });
  }

  /** A packet came in by a queue of a port. */
  receive(port: OdpPort, packet: Uint8Array, queue = 0): void {
    const p = this.#ports.get(port);
    if (!p) return;
    p.stats.rxPackets++;
    p.stats.rxBytes += BigInt(packet.length);
    const thread = this.#pmds.threadOf(p, queue);
    thread.stats.packetsReceived++;
    thread.stats.rxBatches++;
    this.#process(packet, portMetadata(port), { thread, depth: 0, rssHash: undefined });
  }

  #process(packet: Uint8Array, md: Flow, transit: Transit): void {
    const { thread } = transit;
    if (packet.length < 14 && md.packetType === 0) {
      this.#drop('datapath_drop_rx_invalid_packet');
      return;
    }
    const key = extractKey(packet, md, this.vlanLimit);
    const { settings } = this.#pmds.config;
    const simple = thread.stats.simpleHits;
    const flow = thread.lookup(key, settings);
    // The simple match is the one way of a packet without its hash.
    const rssHash = transit.rssHash ?? (thread.stats.simpleHits === simple ? hash5Tuple(key, 0) : undefined);
    const next = { ...transit, rssHash };
    if (!flow) {
      const actions = this.#ask({ type: 'miss', key, packet, pmd: thread.core }, thread);
      if (!actions) {
        thread.stats.lostUpcalls++;
        this.#drop('datapath_drop_upcall_error');
        return;
      }
      thread.stats.missUpcalls++;
      thread.learn(key, settings);
      this.#execute(packet, md, actions, next);
      return;
    }
    flow.stats.packets++;
    flow.stats.bytes += BigInt(packet.length);
    flow.stats.usedMs = this.#nowMs();
    flow.stats.tcpFlags |= key.tcpFlags;
    this.#execute(packet, md, flow.actions, next);
  }

  /** Undefined when the handler failed: that is one packet's misfortune. */
  #ask(upcall: Upcall, thread: DummyThread): readonly DpAction[] | undefined {
    const before = this.#asking;
    this.#asking = thread;
    logUpcall(this.name, upcall);
    try {
      return this.#handler(upcall);
    } catch (e) {
      log.warnRl(limit, `an upcall failed: ${(e as Error).stack}`);
      return undefined;
    } finally {
      this.#asking = before;
    }
  }

  #execute(packet: Uint8Array, md: Flow, actions: readonly DpAction[], transit: Transit): void {
    executeActions(packet, md, actions, {
      output: (port, p, out) => this.#output(port, p, out, transit),
      userspace: (userdata, p, up) => this.#userspace(userdata, p, up, transit),
      recirc: (_id, p, _hash, next) => this.#recirculate(p, next, transit),
      meter: (id, size) => this.#meters.run(id, size),
      drop: (reason) => this.#drop(reason),
      lbOutput: (id, p, hash, out) => this.#lbOutput(id, p, hash, out, transit),
      tunnelPort: (port) => this.#ports.get(port)?.tunnel,
      ...(transit.rssHash !== undefined && { rssHash: transit.rssHash }),
    });
  }

  #recirculate(packet: Uint8Array, md: Flow, transit: Transit): void {
    if (transit.depth >= MAX_DEPTH) {
      this.#drop('datapath_drop_recirc_error');
      log.warn('Packet dropped. Max recirculation depth exceeded.');
      return;
    }
    transit.thread.stats.recirculations++;
    this.#process(packet, md, { ...transit, depth: transit.depth + 1 });
  }

  #userspace(userdata: DpUserdata, packet: Uint8Array, md: Flow, transit: Transit): void {
    if (transit.depth >= MAX_DEPTH) return;
    const key = extractKey(packet, md, this.vlanLimit);
    const { thread } = transit;
    const actions = this.#ask({ type: 'action', key, packet, userdata, pmd: thread.core }, thread);
    if (!actions) this.#drop('datapath_drop_userspace_action_error');
    else if (actions.length) this.#execute(packet, md, actions, { ...transit, depth: transit.depth + 1 });
  }

  #lbOutput(id: number, packet: Uint8Array, hash: number, md: Flow, transit: Transit): void {
    const port = this.#bonds.choose(id, hash, packet.length);
    if (port === undefined) {
      this.#drop('datapath_drop_invalid_bond');
      return;
    }
    this.#output(port, packet, md, transit);
  }

  #output(port: OdpPort, packet: Uint8Array, md: Flow, { thread }: Transit): void {
    const p = this.#ports.get(port);
    if (p?.netdev.io.kind !== 'soft') {
      this.#drop('datapath_drop_invalid_port');
      return;
    }
    const queue = this.#pmds.txQueue(p, thread, () => hash5Tuple(extractKey(packet, md), 0));
    // A device takes Ethernet frames only.
    if (md.packetType === 0 && p.netdev.io.send(packet, queue)) {
      p.stats.txPackets++;
      p.stats.txBytes += BigInt(packet.length);
    } else p.stats.txDropped++;
  }

  #drop(reason: string): void {
    this.#drops.set(reason, (this.#drops.get(reason) ?? 0n) + 1n);
  }

  drops(): ReadonlyMap<string, bigint> {
    return this.#drops;
  }

  // Meters and bonds.

  meterSet(id: number, config: DpMeterConfig): boolean {
    return this.#meters.set(id, config);
  }

  meterGet(id: number): DpMeterStats | undefined {
    return this.#meters.get(id);
  }

  meterDel(id: number): DpMeterStats | undefined {
    return this.#meters.delete(id);
  }

  meterFeatures(): { maxMeters: number; maxBands: number } {
    return { maxMeters: MAX_METERS, maxBands: MAX_BANDS };
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

  // The whole.

  async configure(config: DpConfig): Promise<void> {
    this.#pmds.configure(config, [...this.#ports.values()]);
  }

  rebalance(): void {
    this.#pmds.rebalance([...this.#ports.values()]);
  }

  threads(): DpThread[] {
    return this.#pmds.all().map((t) => t.info());
  }

  clearThreadStats(): void {
    for (const thread of this.#pmds.all()) thread.clearStats();
  }

  stats(): ReturnType<Dpif['stats']> {
    const sum = { hit: 0n, missed: 0n, lost: 0n };
    let masks = 0;
    for (const { stats: s, table } of this.#pmds.all()) {
      sum.hit += s.simpleHits + s.emcHits + s.smcHits + s.megaflowHits;
      sum.missed += s.missUpcalls;
      sum.lost += s.lostUpcalls;
      masks += table.nMasks;
    }
    return { ...sum, flows: this.flowCount(), maskHit: 0n, masks };
  }

  features(): ReadonlyMap<string, boolean | number> {
    return new Map<string, boolean | number>([...NETDEV_FEATURES, ['Max VLAN headers', this.vlanLimit ?? 1]]);
  }

  async close(): Promise<void> {
    for (const port of [...this.#ports.keys()]) await this.portDel(port);
  }
}
