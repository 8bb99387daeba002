import type { OdpPort } from '../base/types.ts';
import { VlogRateLimit } from '../base/vlog.ts';
import type { Dpif, Upcall } from '../dpif/dpif.ts';
import type { Flow } from '../flow/flow.ts';
import type { Continuation } from '../openflow/messages-nicira.ts';
import { Bridge, type BridgeBackend } from './bridge.ts';
import type { OfprotoDeps, TlsConfig } from './config.ts';
import { continuationOf } from './continuation.ts';
import { DpFeatures } from './dp-features.ts';
import { applyEffect, type EffectHooks } from './effects.ts';
import { MeterIds } from './meters.ts';
import type { OfprotoApi } from './ofproto.ts';
import { packetInMetadata } from './packet-in.ts';
import type { BridgePort } from './port.ts';
import { RecircIds } from './recirc.ts';
import type { Rule } from './rule.ts';
import { traceFlow } from './trace-run.ts';
import { cameByTunnel } from './tunnel-ports.ts';
import { Tunnels } from './tunnels.ts';
import { Udpif, type UdpifHost } from './udpif.ts';
import { thawMetadata } from './xlate/freeze.ts';
import type { Effect, XBridge } from './xlate/types.ts';

/** All bridges of one datapath. */

/** Open_vSwitch.other_config:bundle-idle-timeout. */
const DEFAULT_BUNDLE_IDLE_MS = 10_000;
const MIN_BUNDLE_IDLE_MS = 1000;

const XLATE_LIMIT = new VlogRateLimit(1, 5);
/** A trace is a lot of text. */
const TRACE_LIMIT = new VlogRateLimit(1, 1);

export class OfprotoBackend implements BridgeBackend, UdpifHost {
  readonly dpif: Dpif;
  readonly deps: OfprotoDeps;
  readonly udpif: Udpif;
  readonly hooks: EffectHooks;
  readonly recircs: RecircIds;
  readonly features: DpFeatures;
  readonly meterIds: MeterIds;
  readonly tunnels: Tunnels;
  bundleIdleMs = DEFAULT_BUNDLE_IDLE_MS;
  readonly #bridges = new Map<string, Bridge>();
  readonly #byOdp = new Map<OdpPort, BridgePort>();
  #tls: TlsConfig | undefined;

  constructor(dpif: Dpif, deps: OfprotoDeps) {
    this.dpif = dpif;
    this.deps = deps;
    this.features = new DpFeatures(() => dpif.features());
    this.recircs = new RecircIds(() => performance.now());
    this.meterIds = new MeterIds(dpif);
    this.tunnels = new Tunnels(this);
    this.hooks = {
      learned: () => this.changed(),
      reduceTimeouts: (rule, idle, hard) => this.#reduceTimeouts(rule, idle, hard),
    };
    dpif.onPortGone = (odpPort) => this.#portGone(odpPort);
    dpif.onPortMoved = (from, to) => this.#portMoved(from, to);
    this.udpif = new Udpif(dpif, deps.clock, this);
  }

  setFlowLimit(n: number): void {
    this.udpif.flowLimit = n;
  }

  setMaxIdle(ms: number): void {
    this.udpif.maxIdleMs = ms;
  }

  setMaxRevalidator(ms: number): void {
    this.udpif.maxRevalidatorMs = ms;
  }

  /** Undefined: the default. */
  setBundleIdleTimeout(seconds: number | undefined): void {
    this.bundleIdleMs = seconds ? Math.max(seconds * 1000, MIN_BUNDLE_IDLE_MS) : DEFAULT_BUNDLE_IDLE_MS;
  }

  releaseRecircs(ids: readonly number[]): void {
    for (const id of ids) this.recircs.unref(id);
  }

  setTls(tls: TlsConfig | undefined): void {
    this.#tls = tls;
  }

  setFlowRestoreWait(wait: boolean): void {
    this.udpif.upcallsHeld = wait;
  }

  flush(): void {
    this.udpif.purge();
  }

  tls(): TlsConfig | undefined {
    return this.#tls;
  }

  createOfproto(name: string, datapathId: bigint): OfprotoApi {
    const bridge = new Bridge(this, name, datapathId);
    this.#bridges.set(name, bridge);
    return bridge;
  }

  ofprotos(): Iterable<OfprotoApi> {
    return this.#bridges.values();
  }

  bridges(): Iterable<Bridge> {
    return this.#bridges.values();
  }

  bridge(name: string): Bridge | undefined {
    return this.#bridges.get(name);
  }

  async close(): Promise<void> {
    for (const bridge of [...this.#bridges.values()]) await bridge.destroy();
    this.udpif.close();
  }

  // For bridges.

  changed(): void {
    this.udpif?.changed();
  }

  pushStats(): void {
    this.udpif.pushStats();
  }

  creditOne(effects: readonly Effect[], bytes: number): void {
    const traffic = { packets: 1, bytes, usedMs: this.deps.clock.monotonicMs(), tcpFlags: 0 };
    for (const e of effects) applyEffect(e, traffic, this.hooks);
  }

  /** Also joins patches whose other end is there now. */
  portAdded(port: BridgePort): void {
    if (port.odpPort !== undefined && !port.tunnel) this.#byOdp.set(port.odpPort, port);
    if (port.netdev.io.kind !== 'none') return;
    for (const other of this.#patches()) {
      if (other === port || other.peerName !== port.name || other.name !== port.peerName) continue;
      other.peer = port;
      port.peer = other;
    }
  }

  portRemoved(port: BridgePort): void {
    if (port.odpPort !== undefined && !port.tunnel) this.#byOdp.delete(port.odpPort);
  }

  portNamed(name: string): BridgePort | undefined {
    const own = this.#bridges.get(name)?.portByName(name);
    if (own) return own;
    for (const bridge of this.#bridges.values()) {
      const port = bridge.portByName(name);
      if (port) return port;
    }
    return undefined;
  }

  forgetMac(mac: number, vlan: number, but: Bridge): void {
    for (const bridge of this.#bridges.values()) if (bridge !== but) bridge.macs.forget(mac, vlan);
  }

  /** A port that nobody here has deleted is no longer in the datapath: its bridge loses it too. */
  #portMoved(from: OdpPort, to: OdpPort): void {
    const port = this.#byOdp.get(from);
    if (!port) return;
    this.#byOdp.delete(from);
    port.odpPort = to;
    this.#byOdp.set(to, port);
    this.changed();
  }

  #portGone(odpPort: OdpPort): void {
    const port = this.#byOdp.get(odpPort);
    const bridge = port && this.#bridges.get(port.bridge.name);
    if (bridge) void bridge.portDel(port.ofpPort);
  }

  removed(bridge: Bridge): void {
    this.#bridges.delete(bridge.name);
    this.changed();
  }

  // For the datapath.

  portOf(odpPort: number, key: Flow): BridgePort | undefined {
    if (cameByTunnel(key)) return this.tunnels.receive(key);
    return this.#byOdp.get(odpPort as OdpPort);
  }

  controllerUpcall(upcall: Upcall): void {
    const { userdata } = upcall;
    if (userdata?.kind !== 'controller' || userdata.dontSend) return;
    const bridge = this.#bridges.get(userdata.bridge ?? '') ?? this.#bridgeOf(upcall);
    bridge?.connmgr.packetIn(
      {
        packet: upcall.packet.slice(),
        totalLen: upcall.packet.length,
        bufferId: 0xffffffff,
        reason: userdata.reason,
        tableId: userdata.tableId,
        cookie: userdata.cookie,
        metadata: packetInMetadata(this.#metadataOf(upcall, userdata.metadata)),
        maxLen: userdata.maxLen,
        ...(userdata.userdata ? { userdata: userdata.userdata } : {}),
        ...this.#continuation(upcall),
      },
      userdata.controllerId,
    );
  }

  /** What the datapath knows of the packet, and what it does not. */
  #metadataOf({ key }: Upcall, frozen: Flow): Flow {
    const flow = key.clone();
    thawMetadata(frozen, flow);
    return flow;
  }

  /** What the controller gets to resume a paused packet with. */
  #continuation({ userdata, key }: Upcall): { continuation?: Continuation } {
    if (userdata?.kind !== 'controller' || !userdata.continuation) return {};
    const state = this.recircs.find(userdata.recircId ?? 0);
    return state ? { continuation: continuationOf(state, key.inPort) } : {};
  }

  expire(): void {
    for (const bridge of this.#bridges.values()) bridge.age();
  }

  warn(text: string): void {
    const log = this.deps.vlog('ofproto_dpif_xlate');
    if (log.warnRl) log.warnRl(XLATE_LIMIT, text);
    else log.warn(text);
  }

  info(text: string): void {
    this.deps.vlog('ofproto_dpif_xlate').infoRl?.(XLATE_LIMIT, text);
  }

  warnTunnel(text: string): void {
    this.deps.vlog('tunnel').warnRl?.(XLATE_LIMIT, text);
  }

  /** The way of a packet that goes in circles, for the log. */
  tooLong(bridge: XBridge, flow: Flow): void {
    const log = this.deps.vlog('ofproto_dpif_upcall');
    log.warnRl?.(TRACE_LIMIT, () => traceFlow({ bridge: bridge as Bridge, flow }));
  }

  #bridgeOf(upcall: Upcall): Bridge | undefined {
    const port = this.portOf(upcall.key.inPort, upcall.key);
    return port && this.#bridges.get(port.bridge.name);
  }

  *#patches(): IterableIterator<BridgePort> {
    for (const bridge of this.#bridges.values())
      for (const port of bridge.bridgePorts()) if (port.netdev.io.kind === 'none') yield port;
  }

  #reduceTimeouts(rule: Rule, idle: number, hard: number): void {
    for (const bridge of this.#bridges.values())
      if (bridge.tables[rule.tableId].cls.has(rule)) bridge.flowTables.reduceTimeouts(rule, idle, hard);
  }
}
