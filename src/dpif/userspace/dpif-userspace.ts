import { type OdpPort, odpPort } from '../../base/types.ts';
import type { Flow, FlowWildcards } from '../../flow/flow.ts';
import {
  ARENA_HEADER,
  ARENA_PORTS,
  BIG_FRAME_MAX,
  FLOWS_MAX,
  HEADER_EMC_INSERT_MIN,
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
} from '../../gen/arena.ts';
import { type Netdev, NetdevError, type NetdevStats } from '../../netdev/netdev.ts';
import { onTunnelSourcePorts, tunnelSourcePorts } from '../../netdev/tunnel-config.ts';
import { close } from '../../sys/fd.ts';
import { getAffinity } from '../../sys/sched.ts';
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
  UpcallHandler,
} from '../dpif.ts';
import { DROP_COUNTERS } from '../drop-names.ts';
import { NETDEV_FEATURES } from '../features.ts';
import { MAX_BANDS, MAX_METERS } from '../meters.ts';
import type { TunnelPort } from '../odp-execute.ts';
import { hasTunnel } from '../odp-tunnel-text.ts';
import { type Arena, createArena } from './arena.ts';
import { ArenaBonds } from './arena-bonds.ts';
import { ArenaMeters } from './arena-meters.ts';
import { popKind } from './compile-tunnel.ts';
import { ControlPackets } from './control-packets.ts';
import { Counters } from './counters.ts';
import { DatapathThread, loadModules } from './datapath-thread.ts';
import { FlowTable } from './flow-table.ts';
import { ArenaHeap } from './heap.ts';
import { Megaflows } from './megaflows.ts';
import { type UserspaceDpifOptions, vlanLimitOf } from './options.ts';
import { OwnPackets } from './own-packets.ts';
import { PmdCores } from './pmd-cores.ts';
import { type OnTrap, PmdPool } from './pmd-pool.ts';
import { Rcu } from './rcu.ts';
import { looksBeyondKey, SlowPath } from './slow-path.ts';
import { SocketPorts } from './socket-ports.ts';
import { UserdataTable } from './userdata-table.ts';
import { VhostPorts } from './vhost-ports.ts';
import { VringRecords } from './vring-records.ts';

const REAP_EVERY_MS = 100;
/** Turns of the reaper from one ranking of the subtables to the next. */
const REAPS_A_RANKING = 10;
const ETHERNET_OVERHEAD = 18;

/** The userspace datapath (`netdev`): megaflows and ports in the arena, PMD workers that forward (`PmdCores`), this thread that answers misses (`ControlPackets`). */
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
  readonly #packets: ControlPackets;
  readonly #pool: PmdPool;
  readonly #cores: PmdCores;
  readonly #rcu: Rcu;
  readonly #table: FlowTable;
  readonly #vhost: VhostPorts;
  readonly #sockets: SocketPorts;
  readonly #counters: Counters;
  readonly #ports = new Map<number, DpPort>();
  readonly #flows: Megaflows;
  readonly #preferPort: (name: string) => number | undefined;
  readonly #nowMs: () => number;
  readonly #reapTimer: NodeJS.Timeout;
  readonly #meters: ArenaMeters;
  readonly #bonds: ArenaBonds;
  readonly #slow: SlowPath;
  readonly #slowDrops = new Map<string, bigint>(DROP_COUNTERS.map((name) => [name, 0n]));
  readonly #maxFlows: number;
  readonly #endSourcePorts: () => void;
  #closed = false;

  constructor(options: UserspaceDpifOptions = {}) {
    this.name = options.name ?? 'ovs-netdev';
    this.type = options.type ?? 'netdev';
    const warn = options.warn ?? (() => {});
    this.#preferPort = options.preferPort ?? (() => undefined);
    this.#nowMs = options.clock ? () => options.clock!.monotonicMs() : () => Math.trunc(performance.now());
    this.#maxFlows = options.maxFlows ?? FLOWS_MAX;
    const modules = loadModules();
    const { arena, fd } = createArena();
    this.#arena = arena;
    this.#arenaFd = fd;
    this.#main = new DatapathThread(0, arena, modules);
    const onTrap: OnTrap = (vring, message) => this.#cores.onTrap(vring, message);
    this.#pool = new PmdPool(arena, modules, onTrap);
    this.#rcu = new Rcu(arena, () => this.#pool.nThreads);
    this.#meters = new ArenaMeters({ arena, heap: this.#heap, rcu: this.#rcu, nowMs: this.#nowMs });
    this.#bonds = new ArenaBonds({ arena, rcu: this.#rcu, nThreads: () => this.#pool.nThreads, warn });
    this.#slow = new SlowPath({
      output: (port, packet, inPort) => this.#packets.outputSlow(port, packet, inPort),
      recirculate: (packet, md, state) => this.#packets.recirculateSlow(packet, md, state),
      ask: (upcall) => this.#packets.ask(upcall),
      recirculated: (hit) => this.#counters.recirculated(hit),
      isFull: () => this.#isFull(),
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
      isFull: () => this.#isFull(),
      nThreads: () => this.#pool.nThreads,
    });
    const records = new VringRecords();
    this.#vhost = new VhostPorts(arena, this.#pool, this.#main, () => this.#cores.assign(), records);
    this.#sockets = new SocketPorts(arena, this.#pool, this.#main, () => this.#cores.assign(), records);
    this.#counters = new Counters(arena);
    this.#packets = new ControlPackets({
      name: this.name,
      arena,
      main: this.#main,
      own: new OwnPackets(arena, this.#main, this.#nowMs, onTrap),
      heap: this.#heap,
      flows: this.#flows,
      slow: this.#slow,
      userdata: this.#userdata,
      counters: this.#counters,
      ports: this.#ports,
      warn,
    });
    this.#cores = new PmdCores({
      pool: this.#pool,
      vhost: this.#vhost,
      sockets: this.#sockets,
      counters: this.#counters,
      defaultCores: options.defaultCores ?? getAffinity().slice(0, 1),
      onThread: (index) => this.#packets.listenTo(index),
      warn,
    });
    this.#setCaches(100, false);
    this.#endSourcePorts = onTunnelSourcePorts(() => {
      this.#arena.set(ARENA_HEADER + HEADER_TUNNEL_PORT_MIN, tunnelSourcePorts.min);
      this.#arena.set(ARENA_HEADER + HEADER_TUNNEL_PORT_SPAN, tunnelSourcePorts.max - tunnelSourcePorts.min);
    });
    let turn = 0;
    this.#reapTimer = setInterval(() => {
      if (++turn % REAPS_A_RANKING === 0) this.#table.rank();
      this.#rcu.reap();
      this.#cores.warnOfBroken();
      this.#cores.tick(this.#nowMs());
    }, REAP_EVERY_MS).unref();
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
      await this.#cores.ensureStarted();
      const vhost = this.#vhost.add(port, netdev.name);
      this.#arena.publish(record + PORT_KIND, PORT_KIND_VHOST);
      netdev.io.attach(vhost);
      await this.#cores.assign();
    } else if (netdev.io.kind === 'rings') {
      await this.#cores.ensureStarted();
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
        if (this.#ports.get(port)?.netdev === netdev) this.#packets.receive(port, frame);
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
    this.#packets.drain();
    this.#tunnels.delete(port);
    this.#ports.delete(port);
  }

  ports(): Iterable<DpPort> {
    return this.#ports.values();
  }

  portStats(port: OdpPort): NetdevStats {
    return this.#counters.port(port);
  }

  // Packets of the control thread.

  setUpcallHandler(handler: UpcallHandler): void {
    this.#packets.setHandler(handler);
  }

  execute(packet: Uint8Array, key: Flow, actions: readonly DpAction[]): void {
    this.#packets.execute(packet, key, actions);
  }

  // Flows.

  /** What the fast path can't tell apart has no flow, but for packets that were recirculated or come from tunnels: those are told apart on the control thread. */
  flowPut(key: Flow, mask: FlowWildcards, actions: readonly DpAction[], pmd?: number): DpFlow | undefined {
    if (key.packetType !== 0 || ((key.recircId !== 0 || hasTunnel(key)) && looksBeyondKey(mask, key)))
      return this.#slow.put(key, mask, actions);
    // A flow for a thread that is named answers no packet's upcall: it is put in by hand.
    return looksBeyondKey(mask) ? undefined : this.#flows.put(key, mask, actions, pmd !== undefined);
  }

  #isFull(): boolean {
    return this.flowCount() >= this.#maxFlows;
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

  // Threads.

  configure(config: DpConfig): Promise<void> {
    return this.#cores.configure(config, () => {
      this.#setCaches(config.emcInsertInvProb, config.smcEnable);
      this.#arena.set(ARENA_HEADER + HEADER_VLAN_LIMIT, vlanLimitOf(config.otherConfig?.get('vlan-limit')));
    });
  }

  #setCaches(emcInsertInvProb: number, smcEnable: boolean): void {
    const min = emcInsertInvProb === 0 ? 0 : Math.floor(0xffffffff / emcInsertInvProb);
    this.#arena.set(ARENA_HEADER + HEADER_EMC_INSERT_MIN, min);
    this.#arena.set(ARENA_HEADER + HEADER_SMC_ENABLE, smcEnable ? 1 : 0);
  }

  rebalance(): void {
    void this.#cores.rebalance();
  }

  threads(): DpThread[] {
    const main: DpThread = { core: -1, numa: 0, rxqs: [], stats: this.#counters.thread(0) };
    return [main, ...this.#cores.threads()];
  }

  clearThreadStats(): void {
    this.#counters.clearThreads();
  }

  stats(): ReturnType<Dpif['stats']> {
    const sum = this.#counters.total();
    return { ...sum, flows: this.flowCount(), masks: this.#table.nMasks };
  }

  /** Packets that ended in the fast path, by reason (protocols/drop-reasons.ts). */
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
    this.#packets.close();
    clearInterval(this.#reapTimer);
    this.#endSourcePorts();
    for (const port of [...this.#ports.keys()]) await this.portDel(odpPort(port));
    await this.#cores.stop();
    close(this.#arenaFd);
  }
}

/** Makes the userspace datapath. Needs the modules that `npm run build` makes. */
export function createUserspaceDpif(options: UserspaceDpifOptions = {}): UserspaceDpif {
  return new UserspaceDpif(options);
}
