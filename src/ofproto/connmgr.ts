import { isIPv4, type Server, type Socket } from 'node:net';
import type { ClockTimer } from '../base/clock.ts';
import { VlogRateLimit } from '../base/vlog.ts';
import { encode } from '../openflow/codec.ts';
import type { Envelope, FlowRemovedReason, Message, PacketIn, PhyPort } from '../openflow/messages.ts';
import type { GroupMod } from '../openflow/messages-group.ts';
import type { MeterMod } from '../openflow/messages-meter.ts';
import type { TableDesc, TableStatusReason } from '../openflow/messages-table.ts';
import { messageName, readHeader } from '../openflow/print/header.ts';
import { ofpToString } from '../openflow/print/ofp-print.ts';
import type { TunTable } from '../openflow/tun-metadata.ts';
import { expireBundles } from './bundles.ts';
import {
  type ControllerConfig,
  type ControllerStatus,
  type Logger,
  OFP13_VERSION,
  OFP14_VERSION,
  OFP15_VERSION,
  type OfprotoDeps,
  type OfpVersion,
  type TlsConfig,
} from './config.ts';
import type { Remote } from './in-band.ts';
import { expireParts } from './multipart-requests.ts';
import { OfStream } from './of-stream.ts';
import { Ofconn, type OfconnEvents, type OfconnType, versionText } from './ofconn.ts';
import { errorText, Rconn } from './rconn.ts';
import { listenTarget, parseTarget } from './vconn.ts';

/** The OpenFlow connections of one bridge: controllers, management services, snoopers. */

export interface ConnmgrHost {
  readonly name: string;
  request(conn: Ofconn, env: Envelope, raw: Uint8Array): void;
  /** From no controller to some, or back. */
  controllersChanged(): void;
  /** A controller came or went. */
  connectionChanged(): void;
  /** A connection is gone, with what it had under way. */
  gone(conn: Ofconn): void;
  /** A connection has sent all that was queued. */
  drained(conn: Ofconn): void;
  tunTable(): TunTable;
  /** A bundle that nobody has touched for so long is forgotten. */
  bundleIdleMs(): number;
  tls(): TlsConfig | undefined;
}

const DEFAULT_VERSIONS: readonly OfpVersion[] = [1, 2, 3, 4, 5, 6];
const PROBE_CHECK_MS = 1000;
/** Flow-mods are logged so long after the first. */
const FLOW_MOD_REPORT_MS = 10_000;
const OFPT_ECHO_XID = 0;

/** A row of the Controller table, and what came of it. */
interface Controller {
  config: ControllerConfig;
  rconn: Rconn | undefined;
  server: Server | undefined;
  conns: Set<Ofconn>;
  /** Tokens of the packet-in rate limit, and when they were counted. */
  tokens: number;
  countedMs: number;
}

/** Messages in the log: a burst, and as many a minute. */
const TRAFFIC_LIMIT = new VlogRateLimit(600, 600);

/** Numbers accepted connections. */
let nextPeer = 0;

/** Which controller a snooper listens to. */
const SNOOP_PREFERENCE = { primary: 3, equal: 2, secondary: 1, none: 0 } as const;

const ROLE_NAMES = { equal: 'other', primary: 'master', secondary: 'slave' } as const;

export class Connmgr {
  readonly #host: ConnmgrHost;
  readonly #deps: OfprotoDeps;
  readonly #log: Logger;
  readonly #conns = new Set<Ofconn>();
  readonly #controllers = new Map<string, Controller>();
  readonly #servers: Server[] = [];
  readonly #owner = new WeakMap<Ofconn, Controller>();
  /** What each snooper listens to. */
  readonly #snooped = new WeakMap<Ofconn, Controller>();
  readonly #echoSentMs = new WeakMap<Ofconn, number>();
  #versions: readonly OfpVersion[] = DEFAULT_VERSIONS;
  #probe: ClockTimer;
  #over = false;
  /** Largest generation id seen in a role request (OpenFlow 1.2 section 6.3.4). */
  generationId: bigint | undefined;
  /** Packet-ins that a slow controller or its rate limit made us drop. */
  droppedPacketIns = 0;

  constructor(host: ConnmgrHost, deps: OfprotoDeps) {
    this.#host = host;
    this.#deps = deps;
    this.#log = deps.vlog('rconn');
    this.#probe = deps.clock.every(PROBE_CHECK_MS, () => this.#checkProbes());
  }

  get hasControllers(): boolean {
    return this.#controllers.size > 0;
  }

  /** Some controller is there and listens. */
  get anyConnected(): boolean {
    for (const c of this.#conns) if (c.type === 'primary' && c.version !== 0) return true;
    return false;
  }

  /** Some controller has shown that it takes this switch. */
  get anyAdmitted(): boolean {
    for (const c of this.#conns) if (c.type === 'primary' && c.admitted) return true;
    return false;
  }

  /** The longest of the controllers' probe intervals. */
  maxProbeIntervalMs(): number {
    const primaries = [...this.#controllers.values()].filter((c) => c.config.type === 'primary');
    return Math.max(0, ...primaries.map((c) => c.config.inactivityProbeMs));
  }

  /** Controllers of which the way leads through the bridge. */
  inBandRemotes(): Remote[] {
    return [...this.#controllers.values()].flatMap(({ config }) => {
      const target = config.inBand ? parseTarget(config.target) : undefined;
      if (!target || target.passive || target.kind === 'unix' || !isIPv4(target.host)) return [];
      const ip = target.host.split('.').reduce((n, b) => n * 256 + Number(b), 0);
      return [{ ip, port: target.port }];
    });
  }

  /** Closes all connections; those that the switch makes come back. */
  reconnect(): void {
    for (const conn of [...this.#conns]) conn.stream.close('');
  }

  /** Milliseconds since the last controller was there; 0 while one is. */
  disconnectedForMs(): number {
    if (this.anyConnected) return 0;
    const nowMs = this.#deps.clock.monotonicMs();
    let sinceMs = 0;
    for (const c of this.#controllers.values()) if (c.rconn) sinceMs = Math.max(sinceMs, c.rconn.failedSinceMs);
    return nowMs - sinceMs;
  }

  conns(): Iterable<Ofconn> {
    return this.#conns;
  }

  /** Who speaks OpenFlow 1.2 or earlier, or may come to, gets table misses: controllers, and those that connect to the bridge. */
  wantsPacketInOnMiss(): boolean {
    for (const c of this.#controllers.values()) if (c.rconn && c.conns.size === 0) return true;
    for (const conn of this.#conns) if (conn.controllerId === 0 && conn.version <= 3) return true;
    return false;
  }

  setVersions(versions: readonly OfpVersion[]): void {
    const next = versions.length ? versions : DEFAULT_VERSIONS;
    if (next.join() === this.#versions.join()) return;
    this.#versions = next;
    const allowed = this.#versionBits();
    for (const conn of [...this.#conns])
      if (conn.version && !(allowed & (1 << conn.version))) conn.stream.close('version is no longer allowed');
  }

  setControllers(configs: readonly ControllerConfig[]): void {
    const had = this.hasControllers;
    const wanted = new Map(configs.map((c) => [c.target, c]));
    for (const [target, controller] of [...this.#controllers]) {
      const config = wanted.get(target);
      if (config && config.type === controller.config.type) {
        controller.config = config;
        if (controller.rconn) controller.rconn.config = config;
      } else this.#drop(controller);
    }
    for (const config of wanted.values()) if (!this.#controllers.has(config.target)) this.#addController(config);
    if (had !== this.hasControllers) this.#host.controllersChanged();
  }

  status(): ControllerStatus[] {
    return [...this.#controllers.values()].map((c) => this.#statusOf(c));
  }

  /** Listens on the bridge's own sockets. */
  async listenServices(): Promise<void> {
    const path = `${this.#deps.rundir}/${this.#host.name}`;
    await this.#listen(`punix:${path}.mgmt`, (socket) => this.#accept(socket, 'service', undefined));
    await this.#listen(`punix:${path}.snoop`, (socket) => this.#acceptSnoop(socket));
  }

  async close(): Promise<void> {
    this.#over = true;
    this.#probe.cancel();
    for (const c of [...this.#controllers.values()]) this.#drop(c);
    for (const conn of [...this.#conns]) conn.stream.close('');
    const closed = this.#servers.map((s) => new Promise<void>((resolve) => s.close(() => resolve())));
    await Promise.all(closed);
  }

  /** Sends a packet to the controllers that want it. */
  packetIn(pin: Omit<PacketIn, 'type' | 'format'>, controllerId: number): void {
    // There are no buffers, so the packet goes whole, as Open vSwitch sends it: max_len and miss_send_len count for buffered ones.
    const { maxLen: _, ...whole } = pin;
    for (const conn of this.#conns) {
      if (conn.controllerId !== controllerId || !conn.wants('packetIn', pin.reason)) continue;
      const message: PacketIn = { type: 'packet_in', ...whole, format: conn.packetInFormat };
      if (!this.#withinRate(conn) || !conn.notify(message)) this.droppedPacketIns++;
    }
  }

  flowRemoved(make: () => Message, reason: FlowRemovedReason): void {
    const number = { idle_timeout: 0, hard_timeout: 1, delete: 2, group_delete: 3, meter_delete: 4, eviction: 5 };
    for (const conn of this.#conns) if (conn.wants('flowRemoved', number[reason])) conn.tell(make());
  }

  /**
   * `before`: what it was; who would see no difference is not told. `by`: whose port-mod it was; until OpenFlow 1.4 that one knows it
   * (EXT-338).
   */
  portStatus(reason: 'add' | 'delete' | 'modify', port: PhyPort, before?: PhyPort, by?: Ofconn): void {
    const number = { add: 0, delete: 1, modify: 2 }[reason];
    for (const conn of this.#conns) {
      if (!conn.wants('portStatus', number) || (conn === by && conn.version < OFP15_VERSION)) continue;
      if (
        before &&
        conn.looksSame({ type: 'port_status', reason, port: before }, { type: 'port_status', reason, port })
      )
        continue;
      conn.tell({ type: 'port_status', reason, port });
    }
  }

  /** Tells the other controllers of a group-mod or meter-mod. */
  requestForward(request: GroupMod | MeterMod, by: { conn: Ofconn; xid: number }): void {
    const reason = request.type === 'group_mod' ? 0 : 1;
    for (const conn of this.#conns) {
      if (conn === by.conn || (reason === 1 && conn.version < OFP13_VERSION)) continue;
      if (conn.wants('requestForward', reason)) conn.tell({ type: 'requestforward', xid: by.xid, request });
    }
  }

  tableStatus(reason: TableStatusReason, desc: TableDesc): void {
    const number = reason === 'vacancy_down' ? 3 : 4;
    for (const conn of this.#conns)
      if (conn.version >= OFP14_VERSION && conn.wants('tableStatus', number))
        conn.tell({ type: 'table_status', reason, desc });
  }

  /** Tells a controller that its role is another. */
  roleStatus(conn: Ofconn, reason: number): void {
    if (conn.version >= OFP13_VERSION && conn.role !== 'equal')
      conn.tell({
        type: 'role_status',
        role: conn.role,
        reason,
        generationId: this.generationId ?? 0xffff_ffff_ffff_ffffn,
      });
  }

  #versionBits(): number {
    return this.#versions.reduce<number>((m, v) => m | (1 << v), 0);
  }

  #addController(config: ControllerConfig): void {
    const target = parseTarget(config.target);
    if (!target) {
      this.#deps.vlog('connmgr').warn(`${this.#host.name}: unsupported controller "${config.target}"`);
      return;
    }
    const nowMs = this.#deps.clock.monotonicMs();
    const controller: Controller = {
      config,
      rconn: undefined,
      server: undefined,
      conns: new Set(),
      tokens: config.burstLimit ?? 0,
      countedMs: nowMs,
    };
    this.#controllers.set(config.target, controller);
    this.#deps.vlog('connmgr').info(`${this.#host.name}: added ${config.type} controller "${config.target}"`);
    if (target.passive) {
      void this.#listen(config.target, (socket) => this.#accept(socket, 'service', controller), controller);
      return;
    }
    const name = `${this.#host.name}<->${config.target}`;
    controller.rconn = new Rconn(name, config, target, this.#deps.clock, this.#log, {
      connected: (socket) => this.#accept(socket, config.type, controller),
      tls: () => this.#host.tls(),
    });
  }

  #drop(c: Controller): void {
    this.#controllers.delete(c.config.target);
    this.#deps.vlog('connmgr').info(`${this.#host.name}: removed ${c.config.type} controller "${c.config.target}"`);
    c.rconn?.close();
    c.server?.close();
    for (const conn of [...c.conns]) conn.stream.close('');
  }

  async #listen(name: string, accept: (socket: Socket) => void, controller?: Controller): Promise<void> {
    try {
      const server = await listenTarget(parseTarget(name)!, this.#host.tls(), accept);
      // The controller may have been taken away meanwhile, or the bridge.
      if (this.#over || (controller && this.#controllers.get(controller.config.target) !== controller)) server.close();
      else if (controller) controller.server = server;
      else this.#servers.push(server);
    } catch (e) {
      const { code, message } = e as NodeJS.ErrnoException;
      this.#deps.vlog('connmgr').err(`failed to listen on ${name}: ${code ? errorText(code) : message}`);
    }
  }

  #events(): OfconnEvents {
    return {
      request: (conn, env, raw) => this.#request(conn, env, raw),
      ready: (conn) => this.#ready(conn),
      traffic: (conn, raw, way) => {
        this.#logTraffic(conn, raw, way);
        if (conn.version) this.#snoop(conn, raw);
      },
      negotiated: (conn, ours, theirs) => this.#negotiated(conn, ours, theirs),
      badVersion: (conn, raw) => {
        const hex = (n: number) => n.toString(16).padStart(2, '0');
        this.#deps
          .vlog('vconn')
          .err(`${conn.peer}: received OpenFlow version 0x${hex(raw[0])} != expected ${hex(conn.version)}`);
      },
      error: (conn, name, request) =>
        this.#deps.vlog('connmgr').info(`${conn.name}: sending ${name} error reply to ${requestName(request)} message`),
    };
  }

  #accept(socket: Socket, type: OfconnType, controller: Controller | undefined): Ofconn {
    // As Open vSwitch names them: an accepted connection by the kind of its socket and a number.
    const peer = controller?.rconn ? controller.config.target : `unix#${nextPeer++}`;
    const name = `${this.#host.name}<->${peer}`;
    const stream = new OfStream(socket, {
      message: (raw) => {
        conn.lastActivityMs = this.#deps.clock.monotonicMs();
        controller?.rconn?.setIdle(false);
        conn.receive(raw);
      },
      closed: (reason) => this.#closed(conn, controller, reason),
      drained: () => this.#host.drained(conn),
    });
    const enableAsync = controller?.config.enableAsyncMsgs ?? true;
    const conn = new Ofconn(type, name, stream, this.#versionBits(), this.#events(), enableAsync, () =>
      this.#host.tunTable(),
    );
    conn.peer = peer;
    conn.lastActivityMs = this.#deps.clock.monotonicMs();
    if (controller) {
      controller.conns.add(conn);
      this.#owner.set(conn, controller);
    }
    this.#conns.add(conn);
    conn.start();
    return conn;
  }

  /** Snoopers hear what is said to the bridge's controllers; without one there is nothing to hear. */
  #acceptSnoop(socket: Socket): void {
    const active = [...this.#controllers.values()].filter((c) => c.rconn);
    const preference = (c: Controller) => SNOOP_PREFERENCE[[...c.conns][0]?.role ?? 'none'];
    active.sort((a, b) => preference(b) - preference(a));
    if (active.length) this.#snooped.set(this.#accept(socket, 'snoop', undefined), active[0]);
    else {
      this.#deps.vlog('connmgr').info('no controller connection to snoop');
      socket.destroy();
    }
  }

  #closed(conn: Ofconn, controller: Controller | undefined, reason: string): void {
    this.#conns.delete(conn);
    controller?.conns.delete(conn);
    this.#host.gone(conn);
    this.#reportFlowMods(conn, this.#deps.clock.monotonicMs(), 0);
    if (!controller?.rconn) return;
    controller.rconn.lost(reason);
    this.#host.connectionChanged();
  }

  #ready(conn: Ofconn): void {
    this.#owner.get(conn)?.rconn?.healthy();
    if (conn.type === 'primary') this.#host.connectionChanged();
  }

  #request(conn: Ofconn, env: Envelope, raw: Uint8Array): void {
    if (conn.type === 'snoop') return;
    this.#host.request(conn, env, raw);
  }

  #logTraffic(conn: Ofconn, raw: Uint8Array, way: 'sent' | 'received'): void {
    const what = way === 'sent' ? 'sent (Success)' : 'received';
    // The bytes are the caller's: a text is made at once, if at all.
    this.#deps.vlog('vconn').dbgRl?.(TRAFFIC_LIMIT, () => `${conn.peer}: ${what}: ${ofpToString(raw, 1).trimEnd()}`);
  }

  #negotiated(conn: Ofconn, ours: number, theirs: number): void {
    const log = this.#deps.vlog('vconn');
    const support = `(we support ${versionText(ours)}, peer supports ${versionText(theirs)})`;
    const hex = `0x${conn.version.toString(16).padStart(2, '0')}`;
    if (conn.version) log.dbg(() => `${conn.peer}: negotiated OpenFlow version ${hex} ${support}`);
    else log.warn(`${conn.peer}: version negotiation failed ${support}`);
  }

  #snoop(conn: Ofconn, raw: Uint8Array): void {
    const controller = this.#owner.get(conn);
    if (!controller?.rconn) return;
    for (const c of this.#conns)
      if (c.type === 'snoop' && c.version !== 0 && this.#snooped.get(c) === controller)
        c.stream.sendAsync([raw.slice()]);
  }

  /** Token bucket of Controller.controller_rate_limit and controller_burst_limit. */
  #withinRate(conn: Ofconn): boolean {
    const c = this.#owner.get(conn);
    const rate = c?.config.rateLimit;
    if (!c || !rate) return true;
    const nowMs = this.#deps.clock.monotonicMs();
    const burst = Math.max(c.config.burstLimit ?? rate / 4, 1);
    c.tokens = Math.min(burst, c.tokens + ((nowMs - c.countedMs) * rate) / 1000);
    c.countedMs = nowMs;
    if (c.tokens < 1) return false;
    c.tokens--;
    return true;
  }

  /** Asks controllers that have been silent whether they are alive, and gives up those that do not answer. */
  #checkProbes(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    for (const conn of [...this.#conns]) {
      expireBundles(conn, nowMs, this.#host.bundleIdleMs());
      expireParts(conn, nowMs);
      this.#reportFlowMods(conn, nowMs, FLOW_MOD_REPORT_MS);
      const probeMs = this.#owner.get(conn)?.config.inactivityProbeMs ?? 0;
      if (probeMs === 0 || conn.type !== 'primary') continue;
      const silentMs = nowMs - conn.lastActivityMs;
      if (silentMs >= 2 * probeMs) {
        this.#log.err(
          `${conn.name}: no response to inactivity probe after ${Math.floor(probeMs / 1000)} seconds, disconnecting`,
        );
        conn.stream.close('ETIMEDOUT');
      } else if (silentMs >= probeMs && (this.#echoSentMs.get(conn) ?? 0) < conn.lastActivityMs && conn.version) {
        this.#echoSentMs.set(conn, nowMs);
        this.#owner.get(conn)?.rconn?.setIdle(true);
        const idle = Math.floor(silentMs / 1000);
        this.#log.dbg(() => `${conn.name}: idle ${idle} seconds, sending inactivity probe`);
        conn.sendRaw(encode({ type: 'echo_request', data: new Uint8Array(0) }, conn.version, OFPT_ECHO_XID));
      }
    }
    this.#host.connectionChanged();
  }

  #reportFlowMods(conn: Ofconn, nowMs: number, ageMs: number): void {
    const text = conn.takeFlowModReport(nowMs, ageMs);
    if (text) this.#deps.vlog('connmgr').info(`${conn.name}: ${text}`);
  }

  #statusOf(c: Controller): ControllerStatus {
    const conn = [...c.conns][0];
    const nowMs = this.#deps.clock.monotonicMs();
    const status = new Map<string, string>();
    if (c.rconn) {
      status.set('state', c.rconn.state);
      const seconds = (sinceMs: number) => `${Math.floor((nowMs - sinceMs) / 1000)}`;
      if (c.rconn.connectedMs !== undefined) status.set('sec_since_connect', seconds(c.rconn.connectedMs));
      if (c.rconn.disconnectedMs !== undefined) status.set('sec_since_disconnect', seconds(c.rconn.disconnectedMs));
      if (c.rconn.lastError) status.set('last_error', c.rconn.lastError);
    }
    const isConnected = c.rconn ? c.rconn.isConnected : conn !== undefined && conn.version !== 0;
    return { target: c.config.target, isConnected, role: ROLE_NAMES[conn?.role ?? 'equal'], status };
  }
}

/** A request's type in the words of the log. */
function requestName(raw: Uint8Array): string {
  const head = readHeader(raw);
  return head ? messageName(head.family, head.type, head.number) : 'invalid';
}
