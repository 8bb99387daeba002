import { type OdpPort, odpPort } from '../base/types.ts';
import type { Flow, FlowWildcards } from '../flow/flow.ts';
import { Flow as FlowClass, FlowWildcards as WildcardsClass } from '../flow/flow.ts';
import { flowFromPacket } from '../flow/packet-flow.ts';
import { FLOW_SIZE } from '../gen/flow.ts';
import { type Netdev, NetdevError, type NetdevStats } from '../netdev/netdev.ts';
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
import { MAX_BANDS, MAX_METERS, Meters } from './meters.ts';
import { executeActions } from './odp-execute.ts';

/**
 * A datapath in plain TypeScript, without caches or threads: every packet is looked up by a walk over the megaflows and forwarded at once.
 * The reference that faster ones are compared with, and what ofproto is tested on.
 */

class DummyFlow implements DpFlow {
  readonly ufid: string;
  readonly key: Flow;
  readonly mask: FlowWildcards;
  actions: readonly DpAction[];
  dead = false;
  readonly stats: DpFlowStats = { packets: 0n, bytes: 0n, usedMs: 0, tcpFlags: 0 };

  constructor(ufid: string, key: Flow, mask: FlowWildcards, actions: readonly DpAction[]) {
    this.ufid = ufid;
    this.key = key;
    this.mask = mask;
    this.actions = actions;
  }
}

interface Port extends DpPort {
  stats: NetdevStats;
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

/** How deep recirculation and upcalls may nest. */
const MAX_DEPTH = 6;

export class DummyDpif implements Dpif {
  readonly name: string;
  readonly type: string;
  readonly #ports = new Map<OdpPort, Port>();
  readonly #flows = new Set<DummyFlow>();
  readonly #meters: Meters;
  readonly #nowMs: () => number;
  #handler: UpcallHandler = () => [];
  #nextUfid = 1;
  #hit = 0n;
  #missed = 0n;
  maxFlows = 1_000_000;
  vlanLimit = 1;

  constructor(nowMs: () => number, name = 'ovs-dummy', type = 'dummy') {
    this.#nowMs = nowMs;
    this.#meters = new Meters(nowMs);
    this.name = name;
    this.type = type;
  }

  async portAdd(netdev: Netdev, wanted?: OdpPort): Promise<OdpPort> {
    for (const p of this.#ports.values())
      if (p.name === netdev.name) throw new NetdevError(`${netdev.name}: File exists`);
    let port = wanted !== undefined && !this.#ports.has(wanted) ? wanted : odpPort(1);
    while (this.#ports.has(port)) port = odpPort(port + 1);
    this.#ports.set(port, { odpPort: port, name: netdev.name, type: netdev.type, netdev, stats: noStats() });
    if (netdev.io.kind === 'soft') netdev.io.attach((frame) => this.receive(port, frame));
    return port;
  }

  async portDel(port: OdpPort): Promise<void> {
    this.#ports.delete(port);
  }

  ports(): Iterable<DpPort> {
    return this.#ports.values();
  }

  portStats(port: OdpPort): NetdevStats {
    return this.#ports.get(port)?.stats ?? noStats();
  }

  setUpcallHandler(handler: UpcallHandler): void {
    this.#handler = handler;
  }

  flowPut(key: Flow, mask: FlowWildcards, actions: readonly DpAction[]): DpFlow | undefined {
    const masked = new FlowClass();
    masked.copyFrom(key);
    masked.maskWith(mask);
    for (const f of this.#flows) {
      if (!f.mask.equals(mask) || !f.key.equals(masked)) continue;
      f.actions = actions;
      return f;
    }
    if (this.#flows.size >= this.maxFlows) return undefined;
    const copy = new WildcardsClass();
    copy.copyFrom(mask);
    const flow = new DummyFlow((this.#nextUfid++).toString(16).padStart(32, '0'), masked, copy, actions);
    this.#flows.add(flow);
    return flow;
  }

  flowMod(flow: DpFlow, actions: readonly DpAction[]): void {
    (flow as DummyFlow).actions = actions;
  }

  flowDel(flow: DpFlow): DpFlowStats {
    const f = flow as DummyFlow;
    this.#flows.delete(f);
    f.dead = true;
    return f.stats;
  }

  flowStats(flow: DpFlow): DpFlowStats {
    return (flow as DummyFlow).stats;
  }

  flows(): Iterable<DpFlow> {
    return this.#flows.values();
  }

  flowCount(): number {
    return this.#flows.size;
  }

  execute(packet: Uint8Array, key: Flow, actions: readonly DpAction[]): void {
    this.#execute(packet, key, actions, 0);
  }

  /** A packet came in by a port. */
  receive(port: OdpPort, packet: Uint8Array): void {
    const p = this.#ports.get(port);
    if (!p) return;
    p.stats.rxPackets++;
    p.stats.rxBytes += BigInt(packet.length);
    this.#process(packet, flowFromPacket(packet, port, this.vlanLimit), 0);
  }

  #process(packet: Uint8Array, key: Flow, depth: number): void {
    if (depth > MAX_DEPTH) return;
    const flow = this.#lookup(key);
    if (flow) {
      this.#hit++;
      flow.stats.packets++;
      flow.stats.bytes += BigInt(packet.length);
      flow.stats.usedMs = this.#nowMs();
      flow.stats.tcpFlags |= key.tcpFlags;
      this.#execute(packet, key, flow.actions, depth);
    } else {
      this.#missed++;
      this.#execute(packet, key, this.#upcall({ type: 'miss', key, packet, pmd: -1 }), depth);
    }
  }

  #lookup(key: Flow): DummyFlow | undefined {
    for (const f of this.#flows) {
      let same = true;
      for (let i = 0; same && i < FLOW_SIZE / 4; i++) same = ((key.u32[i] ^ f.key.u32[i]) & f.mask.u32[i]) === 0;
      if (same) return f;
    }
    return undefined;
  }

  #upcall(upcall: Upcall): readonly DpAction[] {
    return this.#handler(upcall);
  }

  #execute(packet: Uint8Array, key: Flow, actions: readonly DpAction[], depth: number): void {
    executeActions(packet, key, actions, {
      output: (port, p) => this.#output(port, p),
      userspace: (userdata, p) => this.#userspace(userdata, p, key, depth),
      recirc: (recircId, p, dpHash) => {
        const next = flowFromPacket(p, key.inPort, this.vlanLimit);
        next.recircId = recircId;
        next.dpHash = dpHash;
        this.#process(p, next, depth + 1);
      },
    });
  }

  #userspace(userdata: DpUserdata, packet: Uint8Array, key: Flow, depth: number): void {
    if (depth > MAX_DEPTH) return;
    const now = flowFromPacket(packet, key.inPort, this.vlanLimit);
    const actions = this.#upcall({ type: 'action', key: now, packet, userdata, pmd: -1 });
    if (actions.length) this.#execute(packet, now, actions, depth + 1);
  }

  #output(port: OdpPort, packet: Uint8Array): void {
    const p = this.#ports.get(port);
    if (p?.netdev.io.kind !== 'soft') return;
    if (p.netdev.io.send(packet)) {
      p.stats.txPackets++;
      p.stats.txBytes += BigInt(packet.length);
    } else p.stats.txDropped++;
  }

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

  async configure(_config: DpConfig): Promise<void> {}

  threads(): DpThread[] {
    return [];
  }

  clearThreadStats(): void {
    this.#hit = 0n;
    this.#missed = 0n;
  }

  stats(): ReturnType<Dpif['stats']> {
    return { hit: this.#hit, missed: this.#missed, lost: 0n, flows: this.#flows.size, maskHit: 0n, masks: 0 };
  }

  features(): ReadonlyMap<string, boolean | number> {
    return new Map<string, boolean | number>([['Masked set action', true]]);
  }

  async close(): Promise<void> {
    for (const f of this.#flows) f.dead = true;
    this.#flows.clear();
    this.#ports.clear();
  }
}
