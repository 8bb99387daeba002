import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { OfpPort } from '../base/types.ts';
import { tlvBitmap } from '../openflow/action-fields.ts';
import type { Ofpact } from '../openflow/actions.ts';
import type { FlowMod, FlowRemovedReason, FragHandling, PacketOut, Resume } from '../openflow/messages.ts';
import type { GroupMod } from '../openflow/messages-group.ts';
import { type MeterMod, OFPM_CONTROLLER, OFPM_SLOWPATH } from '../openflow/messages-meter.ts';
import type { CtMatch } from '../openflow/messages-nicira.ts';
import { TUN_METADATA_NUM_OPTS, TUN_METADATA_TOT_OPT_SIZE, TunTable } from '../openflow/tun-metadata.ts';
import type { Logger, OfprotoDeps, OfprotoDesc } from './config.ts';
import { Connmgr, type ConnmgrHost } from './connmgr.ts';
import { FF_STATE, FlowModOp } from './flow-mod.ts';
import { flowRemovedMessage } from './flow-stats.ts';
import { FlowTables } from './flow-tables.ts';
import { GroupTable } from './group-table.ts';
import { InBand } from './in-band.ts';
import { actionsEqual } from './megaflow.ts';
import { type MeterIds, MeterTable } from './meters.ts';
import type { RequestHost, StagedPacketOut } from './mods.ts';
import { FlowMonitors } from './monitors.ts';
import type { Ofconn } from './ofconn.ts';
import type { TableSettings } from './oftable.ts';
import type { BridgePort } from './port.ts';
import { OFPP_LOCAL } from './ports.ts';
import { handleRequest } from './requests.ts';
import type { Rule } from './rule.ts';
import { change, type Requester, runNow, Slicer } from './transaction.ts';

/** The OpenFlow side of a bridge: its tables, groups, meters, monitors and connections, which belong together. */

/** What it needs of the bridge. */
export interface OpenflowBridge {
  readonly name: string;
  readonly desc: OfprotoDesc;
  frag: FragHandling;
  datapathId(): bigint;
  bridgePorts(): Iterable<BridgePort>;
  bridgePort(port: OfpPort): BridgePort | undefined;
  pushStats(): void;
  changed(): void;
  packetOut(m: PacketOut, allowInconsistent?: boolean): StagedPacketOut | OfErrorName;
  resume(m: Resume): OfErrorName | undefined;
  portConfigChanged(port: BridgePort, by: Ofconn): void;
  ctFlush(zone: number | undefined, match?: CtMatch): OfErrorName | undefined;
}

export type OpenflowEvents = Pick<ConnmgrHost, 'controllersChanged' | 'connectionChanged' | 'tls'>;

export interface OpenflowDeps {
  deps: OfprotoDeps;
  meterIds: MeterIds;
  dpif: ConstructorParameters<typeof MeterTable>[0];
  /** Open_vSwitch.other_config:bundle-idle-timeout. */
  bundleIdleMs: () => number;
}

/** A large change tells of so many flows while it is under way, so that its end does not hold the thread. */
const EVENTS_AT_ONCE = 256;

export class OpenflowHost implements RequestHost {
  readonly flowTables: FlowTables;
  readonly groupTable: GroupTable;
  readonly meters: MeterTable;
  readonly monitors: FlowMonitors;
  readonly connmgr: Connmgr;
  readonly slicer = new Slicer();
  readonly inBand: InBand;
  /** Bridge.other_config:in-band-queue. */
  inBandQueue: number | undefined = undefined;
  tunTable = TunTable.EMPTY;
  readonly #bridge: OpenflowBridge;
  readonly #deps: OpenflowDeps;
  /** Flows whose controllers are told that they are gone once the monitors have been. */
  #removed: { rule: Rule; reason: FlowRemovedReason }[] = [];

  constructor(bridge: OpenflowBridge, deps: OpenflowDeps, events: OpenflowEvents) {
    this.#bridge = bridge;
    this.#deps = deps;
    const { clock, vlog } = deps.deps;
    const nowMs = () => clock.monotonicMs();
    this.monitors = new FlowMonitors(() => this.flowTables);
    this.meters = new MeterTable(deps.dpif, deps.meterIds, nowMs);
    this.flowTables = new FlowTables(this.#tableEvents(), nowMs, {
      check: (actions) => this.#check(actions),
      ruleIn: (rule) => this.#ruleIn(rule),
      ruleOut: (rule) => this.#ruleOut(rule),
    });
    this.flowTables.pushStats = () => bridge.pushStats();
    this.groupTable = new GroupTable({
      view: this.flowTables.view,
      nowMs,
      info: (text) => vlog('ofproto').info(text),
      dbg: (text) => vlog('ofproto_dpif').dbg(text),
    });
    this.connmgr = new Connmgr(
      {
        name: bridge.name,
        request: (conn, env, raw) => handleRequest(this, conn, env, raw),
        gone: (conn) => this.monitors.gone(conn),
        drained: (conn) => this.monitors.drained(conn),
        tunTable: () => this.tunTable,
        bundleIdleMs: () => this.bundleIdleMs,
        ...events,
      },
      deps.deps,
    );
    this.inBand = new InBand(
      {
        name: bridge.name,
        flowTables: this.flowTables,
        local: () => this.#local(),
        remotes: () => this.connmgr.inBandRemotes(),
        nowMs,
        log: vlog('in_band'),
      },
      () => this.inBandQueue,
    );
  }

  #local(): { mac: Uint8Array; routed: boolean } | undefined {
    const port = this.#bridge.bridgePort(OFPP_LOCAL);
    return port && { mac: port.netdev.mac(), routed: port.netdev.type === 'tap' };
  }

  get name(): string {
    return this.#bridge.name;
  }

  get desc(): OfprotoDesc {
    return this.#bridge.desc;
  }

  get frag(): FragHandling {
    return this.#bridge.frag;
  }

  set frag(frag: FragHandling) {
    this.#bridge.frag = frag;
  }

  get bundleIdleMs(): number {
    return this.#deps.bundleIdleMs();
  }

  datapathId(): bigint {
    return this.#bridge.datapathId();
  }

  bridgePorts(): Iterable<BridgePort> {
    return this.#bridge.bridgePorts();
  }

  bridgePort(port: OfpPort): BridgePort | undefined {
    return this.#bridge.bridgePort(port);
  }

  nowMs(): number {
    return this.#deps.deps.clock.monotonicMs();
  }

  pushStats(): void {
    this.#bridge.pushStats();
  }

  changed(): void {
    this.#bridge.changed();
  }

  log(module: string): Logger {
    return this.#deps.deps.vlog(module);
  }

  conns(): Iterable<Ofconn> {
    return this.connmgr.conns();
  }

  get generationId(): bigint | undefined {
    return this.connmgr.generationId;
  }

  set generationId(id: bigint | undefined) {
    this.connmgr.generationId = id;
  }

  packetOut(m: PacketOut, allowInconsistent?: boolean): StagedPacketOut | OfErrorName {
    return this.#check(m.actions) ?? this.#bridge.packetOut(m, allowInconsistent);
  }

  resume(m: Resume): OfErrorName | undefined {
    return this.#bridge.resume(m);
  }

  ctFlush(zone: number | undefined, match?: CtMatch): OfErrorName | undefined {
    return this.#bridge.ctFlush(zone, match);
  }

  portConfigChanged(port: BridgePort, by: Ofconn): void {
    this.#bridge.portConfigChanged(port, by);
  }

  forwardRequest(m: GroupMod | MeterMod, by: Requester): void {
    this.connmgr.requestForward(m, by);
  }

  roleStatus(conn: Ofconn, reason: number): void {
    this.connmgr.roleStatus(conn, reason);
  }

  // Tunnel metadata.

  tunMetadataInUse(): bigint {
    let bits = 0n;
    for (const table of this.flowTables.tables)
      for (const rule of table.cls.rules()) bits |= tlvBitmap(rule.actions) | rule.match().flow.tunMetadataPresent;
    return bits;
  }

  tlvReply(): ReturnType<RequestHost['tlvReply']> {
    return {
      maxOptionSpace: TUN_METADATA_TOT_OPT_SIZE,
      maxFields: TUN_METADATA_NUM_OPTS,
      mappings: this.tunTable.mappings(),
    };
  }

  // What translation reads.

  get controllerMeter(): number | undefined {
    return this.meters.providerId(OFPM_CONTROLLER);
  }

  get slowpathMeter(): number | undefined {
    return this.meters.providerId(OFPM_SLOWPATH);
  }

  // Changes by the switch itself.

  /** Once a second, and after each round of revalidation. */
  expire(): void {
    if (!this.flowTables.anyMortal || this.flowTables.view.busy) return;
    this.pushStats();
    this.flowTables.expire();
  }

  /** Deletes all flows, groups and meters, whatever is under way. */
  flush(): void {
    this.slicer.drain();
    this.flowTables.flush();
    this.groupTable.flush();
    this.meters.flush(this.flowTables);
  }

  configureTables(settings: ReadonlyMap<number, TableSettings>): void {
    this.slicer.drain();
    this.flowTables.configure(settings);
  }

  /**
   * Makes sure that a learned flow is there, and that its time runs anew. With a `limit`, a new one is added only when its table has fewer
   * flows with its cookie.
   */
  learn(fm: FlowMod, limit: number): void {
    const old = this.flowTables.tables[fm.tableId].cls.findExactly(fm.match, fm.priority);
    if (old && isSameFlow(old, fm)) {
      old.modifiedMs = this.nowMs();
      return;
    }
    if (!old && limit && this.learnedCount(fm.tableId, fm.newCookie, limit) >= limit) {
      this.log('ofproto').info(`Learn limit for flow ${fm.newCookie} reached.`);
      return;
    }
    const op = FlowModOp.init(this.flowTables, fm);
    if (typeof op === 'string') return;
    if (this.flowTables.view.busy)
      this.slicer.run(
        () => change(this.flowTables, [op]),
        () => undefined,
      );
    else runNow(this.flowTables, [op]);
  }

  /** How many flows of a table have a cookie; not counted beyond `limit`. */
  learnedCount(tableId: number, cookie: bigint, limit: number): number {
    return this.flowTables.countCookie(tableId, cookie, limit);
  }

  close(): Promise<void> {
    this.slicer.drain();
    return this.connmgr.close();
  }

  /** What is wrong with actions that name a meter or a group. */
  checkReferences(actions: readonly Ofpact[]): OfErrorName | undefined {
    return this.#check(actions);
  }

  #check(actions: readonly Ofpact[]): OfErrorName | undefined {
    for (const a of actions) {
      if (a.type === 'write_actions' || a.type === 'clone' || a.type === 'ct') {
        const error = this.#check(a.actions);
        if (error) return error;
      }
      if (a.type === 'meter' && !this.meters.get(a.meterId)) return 'OFPMMFC_INVALID_METER';
      if (a.type === 'group' && !this.groupTable.next(a.groupId)) return 'OFPBAC_BAD_OUT_GROUP';
      if (a.type === 'controller' && a.meterId !== undefined && !this.meters.get(a.meterId))
        this.log('ofproto').info(`${this.name}: controller action specified an unknown meter id: ${a.meterId}`);
    }
    return undefined;
  }

  #ruleIn(rule: Rule): void {
    if (!namesOthers(rule.actions)) return;
    this.groupTable.ruleIn(rule);
    this.meters.ruleIn(rule);
  }

  #ruleOut(rule: Rule): void {
    if (!namesOthers(rule.actions)) return;
    this.groupTable.ruleOut(rule);
    this.meters.ruleOut(rule);
  }

  #tableEvents(): ConstructorParameters<typeof FlowTables>[0] {
    return {
      removed: (rule, reason) => {
        this.#removed.push({ rule, reason });
        if (this.#removed.length >= EVENTS_AT_ONCE) this.#flushEvents();
      },
      monitor: (rule, event, reason, by, old) => {
        this.monitors.report(rule, event, reason, by, old);
        if (this.monitors.waiting >= EVENTS_AT_ONCE) this.#flushEvents();
      },
      monitorFlush: () => this.#flushEvents(),
      vacancy: (table, event) => this.connmgr.tableStatus(event, table.desc()),
      changed: () => this.#bridge.changed(),
    };
  }

  #flushEvents(): void {
    this.monitors.flush();
    const nowMs = this.nowMs();
    for (const { rule, reason } of this.#removed.splice(0))
      if (rule.flags & 1) this.connmgr.flowRemoved(() => flowRemovedMessage(rule, reason, nowMs), reason);
  }
}

/** Most flows name neither groups nor meters. */
function namesOthers(actions: readonly Ofpact[]): boolean {
  for (const a of actions) {
    if (a.type === 'group' || a.type === 'meter') return true;
    if (a.type === 'write_actions' || a.type === 'clone' || a.type === 'ct') return true;
  }
  return false;
}

function isSameFlow(rule: Rule, fm: FlowMod): boolean {
  return (
    rule.idleTimeout === fm.idleTimeout &&
    rule.hardTimeout === fm.hardTimeout &&
    rule.importance === fm.importance &&
    rule.flags === (fm.flags & FF_STATE) &&
    (!fm.modifyCookie || fm.newCookie === rule.cookie) &&
    actionsEqual(rule.actions as never, fm.actions as never)
  );
}
