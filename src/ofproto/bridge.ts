import { randomUUID } from 'node:crypto';
import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { ClockTimer } from '../base/clock.ts';
import { OVS_VERSION } from '../base/program.ts';
import { type OdpPort, type OfpPort, ofpPort } from '../base/types.ts';
import { type Netdev, NetdevError, type NetdevStats } from '../netdev/netdev.ts';
import type { Ofpact } from '../openflow/actions.ts';
import { catchallMatch } from '../openflow/match.ts';
import { type FlowMod, type FragHandling, OFP_NO_BUFFER, type PacketOut, type Resume } from '../openflow/messages.ts';
import type { CtMatch } from '../openflow/messages-nicira.ts';
import type { TunTable } from '../openflow/tun-metadata.ts';
import type {
  BundleConfig,
  ControllerConfig,
  ControllerStatus,
  FailMode,
  MirrorConfig,
  OfprotoDeps,
  OfprotoDesc,
  OfpVersion,
  PolicingConfig,
} from './config.ts';
import type { Connmgr } from './connmgr.ts';
import { logCtFlush } from './ct-flush.ts';
import type { DpFeatures } from './dp-features.ts';
import { FailOpen } from './fail-open.ts';
import { applyFlowMod } from './flow-mod.ts';
import type { FlowTables } from './flow-tables.ts';
import type { Group } from './group.ts';
import { InternalRules, internalRule } from './internal-rules.ts';
import { Links, type LinksHost } from './links.ts';
import { MacLearning } from './mac-learning.ts';
import type { MeterIds } from './meters.ts';
import type { StagedPacketOut } from './mods.ts';
import type { Ofconn } from './ofconn.ts';
import type { OfprotoApi, OfprotoBackendApi } from './ofproto.ts';
import type { OfTable, TableSettings } from './oftable.ts';
import { type OpenflowBridge, OpenflowHost } from './openflow-host.ts';
import { resumePacket, stagePacketOut } from './packet-out.ts';
import { BridgePort, OfportAllocator } from './port.ts';
import { netdevStats } from './port-stats.ts';
import { OFPP_LOCAL, OFPP_MAX, OFPP_NONE, OFPP_NORMAL, OFPP_TABLE } from './ports.ts';
import type { RecircIds } from './recirc.ts';
import type { Tunnels } from './tunnels.ts';
import type { DpSupport, Effect, XBridge, XBundle, XPort } from './xlate/types.ts';

/** A bridge: its ports, tables and connections. Control thread only. */

/** What a bridge needs of the backend that it lives in. */
export interface BridgeBackend extends OfprotoBackendApi {
  readonly deps: OfprotoDeps;
  /** Translations may come out differently. */
  changed(): void;
  pushStats(): void;
  readonly recircs: RecircIds;
  readonly tunnels: Tunnels;
  readonly features: DpFeatures;
  /** Says what is wrong with a translation. */
  warn(text: string): void;
  /** Runs what one packet-out does beside being forwarded. */
  creditOne(effects: readonly Effect[], bytes: number): void;
  /** Gives references to recirculation numbers back. */
  releaseRecircs(ids: readonly number[]): void;
  readonly meterIds: MeterIds;
  readonly bundleIdleMs: number;
  bridges(): Iterable<Bridge>;
  portAdded(port: BridgePort): void;
  portRemoved(port: BridgePort): void;
  removed(bridge: Bridge): void;
  /** Forgets a station in the bridges but `but`. */
  forgetMac(mac: number, vlan: number, but: Bridge): void;
  tls(): ReturnType<ConstructorParameters<typeof Connmgr>[0]['tls']>;
}

/** Above every OpenFlow priority. */
const FAIL_OPEN_PRIORITY = 0xf0f0f0;
const normalActions = (): Ofpact[] => [{ type: 'output', port: OFPP_NORMAL, maxLen: 0 }];

export class Bridge implements OfprotoApi, XBridge, OpenflowBridge {
  readonly name: string;
  readonly backend: BridgeBackend;
  /** Names it in what controllers keep of a paused packet. */
  readonly uuid = randomUUID();
  readonly openflow: OpenflowHost;
  readonly macs: MacLearning<XBundle>;
  readonly desc: OfprotoDesc = {
    mfrDesc: 'Nicira, Inc.',
    hwDesc: 'Open vSwitch',
    swDesc: OVS_VERSION,
    serialDesc: 'None',
    dpDesc: 'None',
  };
  frag: FragHandling = 'normal';
  forwardBpdu = false;
  readonly internalRules: InternalRules;
  readonly #failOpen: FailOpen;
  /** Its Ports: members, bonds, LACP, mirrors. */
  readonly links: Links;
  readonly #ports = new Map<number, BridgePort>();
  readonly #ofports: OfportAllocator;
  #datapathId: bigint;
  #expireTimer: ClockTimer;

  constructor(backend: BridgeBackend, name: string, datapathId: bigint) {
    const { clock } = backend.deps;
    this.backend = backend;
    this.name = name;
    this.#datapathId = datapathId;
    this.macs = new MacLearning(() => clock.monotonicMs());
    this.#ofports = new OfportAllocator(
      (port) => this.#ports.has(port),
      () => clock.monotonicMs(),
    );
    this.openflow = new OpenflowHost(
      this,
      {
        deps: backend.deps,
        meterIds: backend.meterIds,
        dpif: backend.dpif,
        bundleIdleMs: () => backend.bundleIdleMs,
      },
      {
        controllersChanged: () => this.#flushFlows(),
        connectionChanged: () => {
          this.#failOpen.run();
          this.openflow.inBand.run();
        },
        tls: () => backend.tls(),
      },
    );
    const { connmgr, flowTables } = this;
    const nowMs = clock.monotonicMs();
    this.internalRules = new InternalRules(flowTables, nowMs);
    const rule = internalRule(FAIL_OPEN_PRIORITY, normalActions(), nowMs, 0);
    const host = { connmgr, flowTables, flush: () => this.openflow.flush() };
    this.#failOpen = new FailOpen(host, rule, backend.deps.vlog('fail_open'), clock);
    this.links = new Links(this.#linksHost());
    this.#expireTimer = clock.every(1000, () => this.age());
    this.#flushFlows();
  }

  // What translation reads.

  destroyed = false;

  get recircs(): RecircIds {
    return this.backend.recircs;
  }

  get tunnels(): Tunnels {
    return this.backend.tunnels;
  }

  get tunTable(): TunTable {
    return this.openflow.tunTable;
  }

  get support(): DpSupport {
    return this.backend.features.support;
  }

  get alive(): boolean {
    return this.connmgr.anyConnected;
  }

  get flowTables(): FlowTables {
    return this.openflow.flowTables;
  }

  get connmgr(): Connmgr {
    return this.openflow.connmgr;
  }

  meterProviderId(meterId: number): number | undefined {
    return this.openflow.meters.providerId(meterId);
  }

  get controllerMeter(): number | undefined {
    return this.openflow.controllerMeter;
  }

  get slowpathMeter(): number | undefined {
    return this.openflow.slowpathMeter;
  }

  readonly ipfix: boolean = false;

  get tables(): readonly OfTable[] {
    return this.flowTables.tables;
  }

  *xports(): Iterable<XPort> {
    yield* [...this.#ports.values()].sort((a, b) => a.ofpPort - b.ofpPort);
  }

  xport(port: OfpPort): XPort | undefined {
    return this.#ports.get(port);
  }

  xbundles(): Iterable<XBundle> {
    return this.links.bundles.values();
  }

  group(id: number): Group | undefined {
    return this.openflow.groupTable.get(id);
  }

  get mirrors(): XBridge['mirrors'] {
    return this.links.mirrors.list;
  }

  wantsPacketInOnMiss(): boolean {
    return this.connmgr.wantsPacketInOnMiss();
  }

  learnFlow(flowMod: FlowMod, limit: number): void {
    this.openflow.learn(flowMod, limit);
  }

  // Ports.

  async portAdd(netdev: Netdev, options: { ofportRequest?: number | undefined } = {}): Promise<OfpPort> {
    const number = netdev.name === this.name ? OFPP_LOCAL : this.#ofports.allocate(options.ofportRequest);
    if (number === undefined || (number === OFPP_LOCAL && this.#ports.has(OFPP_LOCAL)))
      throw new NetdevError('No space left on device');
    // Held while the datapath is asked: another port may be added meanwhile.
    const { clock } = this.backend.deps;
    const make = (odp: OdpPort | undefined) =>
      new BridgePort(this, number, netdev, odp, clock.monotonicMs(), (p) => netdevStats(p, this.backend.dpif));
    this.#ports.set(number, make(undefined));
    try {
      const port = make(await this.#datapathPort(netdev));
      if (port.tunnel) await this.tunnels.add(port);
      this.#portAdded(port);
    } catch (e) {
      this.#ports.delete(number);
      throw e;
    }
    return number;
  }

  /** Undefined: the datapath has no such port. Throws NetdevError. */
  async #datapathPort(netdev: Netdev): Promise<OdpPort | undefined> {
    switch (netdev.io.kind) {
      case 'none':
        return undefined;
      case 'tunnel':
        return this.tunnels.acquire(netdev);
      default:
        return this.backend.dpif.portAdd(netdev);
    }
  }

  #portAdded(port: BridgePort): void {
    this.#ports.set(port.ofpPort, port);
    this.backend.portAdded(port);
    port.netdev.onChange(() => {
      if (this.#ports.get(port.ofpPort) !== port) return;
      if (port.tunnel) {
        const failed = (e: unknown) => this.backend.warn(`${port.name}: ${(e as Error).message}`);
        this.tunnels.reconfigure(port).catch(failed);
      } else this.tunnels.deviceChanged();
      this.links.portChanged(port);
    });
    port.shown = port.phy();
    this.connmgr.portStatus('add', port.phy());
    this.links.portChanged(port);
    this.backend.changed();
  }

  /** Tells controllers, if what they see of the port is another than what they were told. */
  #portShownChanged(port: BridgePort, by?: Ofconn): void {
    if (this.#ports.get(port.ofpPort) !== port) return;
    const phy = port.phy();
    const { shown } = port;
    if (shown && JSON.stringify(phy) === JSON.stringify(shown)) return;
    port.shown = phy;
    this.connmgr.portStatus('modify', phy, shown, by);
  }

  #linksHost(): LinksHost {
    return {
      xbridge: this,
      clock: this.backend.deps.clock,
      dpif: this.backend.dpif,
      recircs: this.backend.recircs,
      meterIds: this.backend.meterIds,
      macs: this.macs,
      flowTables: this.flowTables,
      vlog: (module) => this.backend.deps.vlog(module),
      port: (number) => this.#ports.get(number),
      changed: () => this.backend.changed(),
      pushStats: () => this.backend.pushStats(),
      send: (port, packet) => this.#send(port, packet),
      portShownChanged: (port) => this.#portShownChanged(port),
      forgetElsewhere: (mac, vlan) => this.backend.forgetMac(mac, vlan, this),
      statusChanged: () => this.onStatusChange(),
    };
  }

  /** Has the tables send a packet of the switch's own, as if it came in by a port. */
  sendFrom(inPort: OfpPort, packet: Uint8Array): void {
    const actions: Ofpact[] = [{ type: 'output', port: OFPP_TABLE, maxLen: 0 }];
    const metadata = catchallMatch();
    const m = { type: 'packet_out', bufferId: OFP_NO_BUFFER, metadata, inPort, actions, packet } as const;
    const staged = this.packetOut(m);
    if (typeof staged !== 'string') staged.finish();
  }

  /** Sends a packet of the switch's own. */
  #send(port: BridgePort, packet: Uint8Array): void {
    const actions: Ofpact[] = [{ type: 'output', port: port.ofpPort, maxLen: 0 }];
    const metadata = catchallMatch();
    const m = { type: 'packet_out', bufferId: OFP_NO_BUFFER, metadata, inPort: OFPP_NONE, actions, packet } as const;
    const staged = this.packetOut(m);
    if (typeof staged !== 'string') staged.finish();
  }

  async portDel(number: OfpPort): Promise<void> {
    const port = this.#ports.get(number);
    if (!port) return;
    this.#ports.delete(number);
    if (number < OFPP_MAX) this.#ofports.release(number);
    this.backend.portRemoved(port);
    this.links.portRemoved(port);
    if (port.peer) port.peer.peer = undefined;
    this.connmgr.portStatus('delete', port.phy());
    this.backend.changed();
    this.tunnels.portGone(port.name);
    if (port.tunnel) await this.tunnels.remove(port);
    else if (port.odpPort !== undefined) await this.backend.dpif.portDel(port.odpPort);
  }

  portByName(name: string): BridgePort | undefined {
    for (const port of this.#ports.values()) if (port.name === name) return port;
    return undefined;
  }

  *netdevs(): Iterable<Netdev> {
    for (const port of this.#ports.values()) yield port.netdev;
  }

  portStats(port: OfpPort): NetdevStats {
    const p = this.#ports.get(port);
    if (!p) throw new Error(`${this.name} has no port ${port}`);
    if (p.odpPort === undefined) this.backend.pushStats();
    return p.stats();
  }

  bridgePorts(): Iterable<BridgePort> {
    return [...this.#ports.values()].sort((a, b) => a.ofpPort - b.ofpPort);
  }

  bridgePort(port: OfpPort): BridgePort | undefined {
    return this.#ports.get(port);
  }

  bundleSet(portName: string, config: BundleConfig): void {
    this.links.bundleSet(portName, config);
  }

  bundleDel(portName: string): void {
    this.links.bundleDel(portName);
  }

  setMirrors(mirrors: readonly MirrorConfig[]): void {
    this.links.setMirrors(mirrors);
  }

  mirrorStats(id: string): { packets: number; bytes: number } | undefined {
    this.backend.pushStats();
    return this.links.mirrors.stats(id);
  }

  setPolicing(number: OfpPort, config: PolicingConfig | undefined): void {
    const port = this.#ports.get(number);
    if (port) this.links.setPolicing(port, config);
  }

  setQueues(number: OfpPort, dscp: ReadonlyMap<number, number>): void {
    const port = this.#ports.get(number);
    if (port) this.links.setQueues(port, dscp);
  }

  setFloodVlans(vlans: readonly number[]): void {
    const { seq } = this.macs;
    this.macs.setFloodVlans(vlans);
    if (this.macs.seq !== seq) this.backend.changed();
  }

  bondActiveMac(portName: string): Uint8Array | undefined {
    return this.links.bundles.get(portName)?.bond?.activeMac;
  }

  portLink(number: OfpPort): { resets: number; lacpCurrent: boolean | undefined } {
    const port = this.#ports.get(number);
    return { resets: port?.carrierResets ?? 0, lacpCurrent: port?.bundle?.lacpState?.isCurrent(port) };
  }

  onStatusChange: () => void = () => {};

  setPatchPeer(number: OfpPort, peerName: string | undefined): void {
    const port = this.#ports.get(number);
    if (!port || port.peerName === peerName) return;
    port.peerName = peerName;
    if (port.peer) port.peer.peer = undefined;
    port.peer = undefined;
    this.backend.portAdded(port);
    this.backend.changed();
  }

  portConfigChanged(port: BridgePort, by: Ofconn): void {
    this.#portShownChanged(port, by);
    this.backend.changed();
  }

  // Settings.

  datapathId(): bigint {
    return this.#datapathId;
  }

  /** Controllers have to see the new one: their connections are closed. */
  setDatapathId(id: bigint): void {
    if (id === this.#datapathId) return;
    this.#datapathId = id;
    this.reconnectControllers();
  }

  /** Closes the connections to controllers, to be made anew. */
  reconnectControllers(): void {
    for (const conn of [...this.connmgr.conns()]) if (conn.type === 'primary') conn.stream.close('');
  }

  setFailMode(mode: FailMode): void {
    if (mode === this.#failOpen.mode) return;
    this.#failOpen.mode = mode;
    this.#failOpen.run();
    if (!this.connmgr.hasControllers) this.#flushFlows();
  }

  setProtocols(versions: readonly OfpVersion[]): void {
    this.connmgr.setVersions(versions);
  }

  setControllers(controllers: readonly ControllerConfig[]): void {
    this.connmgr.setControllers(controllers);
  }

  setInBandQueue(queue: number | undefined): void {
    this.openflow.inBandQueue = queue;
  }

  controllerStatus(): ControllerStatus[] {
    return this.connmgr.status();
  }

  async listenServices(): Promise<void> {
    await this.connmgr.listenServices();
  }

  configureTables(settings: ReadonlyMap<number, TableSettings>): void {
    this.openflow.configureTables(settings);
  }

  configureMac(agingTimeS: number, tableSize: number): void {
    this.macs.setIdleTime(agingTimeS);
    this.macs.setMaxEntries(tableSize);
  }

  setForwardBpdu(forward: boolean): void {
    if (forward === this.forwardBpdu) return;
    this.forwardBpdu = forward;
    this.backend.changed();
  }

  setDesc(desc: Partial<OfprotoDesc>): void {
    Object.assign(this.desc, desc);
  }

  async destroy(): Promise<void> {
    this.destroyed = true;
    this.#expireTimer.cancel();
    this.links.close();
    await this.openflow.close();
    for (const number of [...this.#ports.keys()]) await this.portDel(ofpPort(number));
    this.openflow.flush();
    this.backend.removed(this);
  }

  // OpenFlow.

  nowMs(): number {
    return this.backend.deps.clock.monotonicMs();
  }

  pushStats(): void {
    this.backend.pushStats();
  }

  changed(): void {
    this.backend.changed();
  }

  /** Translates a controller's packet. OpenFlow 1.0 allows actions that do not suit it. */
  packetOut(m: PacketOut, allowInconsistent = false): StagedPacketOut | OfErrorName {
    return stagePacketOut(this, m, allowInconsistent);
  }

  resume(m: Resume): OfErrorName | undefined {
    return resumePacket(this, m);
  }

  ctFlush(zone: number | undefined, match?: CtMatch): OfErrorName | undefined {
    // Nothing is tracked yet.
    const { type, name } = this.backend.dpif;
    logCtFlush(`${type}@${name}`, zone, match);
    return undefined;
  }

  /** Back to the tables of a new bridge: empty, or NORMAL where no controller is to decide. */
  #flushFlows(): void {
    this.openflow.flush();
    this.#failOpen.flushed();
    if (this.connmgr.hasControllers || this.#failOpen.mode !== 'standalone') return;
    applyFlowMod(this.flowTables, {
      type: 'flow_mod',
      match: catchallMatch(),
      priority: 0,
      cookie: 0n,
      cookieMask: 0n,
      newCookie: 0n,
      modifyCookie: false,
      tableId: 0,
      command: 'add',
      idleTimeout: 0,
      hardTimeout: 0,
      bufferId: OFP_NO_BUFFER,
      outPort: OFPP_NONE,
      outGroup: 0xffffffff,
      flags: 0,
      importance: 0,
      actions: normalActions(),
    });
  }

  /** Once a second, and after each round of revalidation. */
  age(): void {
    this.openflow.expire();
    if (this.macs.size === 0) return;
    const { seq } = this.macs;
    this.macs.expire();
    if (this.macs.seq !== seq) this.backend.changed();
  }
}
