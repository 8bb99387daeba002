import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import {
  type AsyncConfigHalf,
  C_ARP_MATCH_IP,
  C_BUNDLES,
  C_FLOW_STATS,
  C_GROUP_STATS,
  C_PORT_STATS,
  C_QUEUE_STATS,
  C_TABLE_STATS,
  CRR_PRIMARY_REQUEST,
  type Envelope,
  type MessageType,
} from '../openflow/messages.ts';
import { OFPM_ALL } from '../openflow/messages-meter.ts';
import { bundleAdd, bundleControl } from './bundles.ts';
import { groupDesc, groupStats } from './group-table.ts';
import type { Meter } from './meters.ts';
import {
  type AnyRequest,
  applyPortMod,
  flowMod,
  groupMod,
  inSlices,
  meterMod,
  type Outcome,
  packetOut,
  type Request,
  type RequestHost,
  reply,
} from './mods.ts';
import { joinParts } from './multipart-requests.ts';
import { OFP_DEFAULT_MISS_SEND_LEN, type Ofconn, SECONDARY_MAY_NOT } from './ofconn.ts';
import { TBL_INTERNAL } from './oftable.ts';
import { aggregate, flowStatsReply, portStats, portsOf, queueConfig, queueStats } from './stats-requests.ts';
import { tableDesc, tableFeaturesReply, tableMod, tableStats } from './table-requests.ts';
import { step } from './transaction.ts';

/** What a bridge does for each OpenFlow request. */

/** Answers by itself, or gives the error to answer with, now or later. */
type Handler<T extends MessageType> = (r: Request<T>) => Outcome;
type Handlers = { [T in MessageType]?: Handler<T> };

/** Other requests of the connection wait until this one is through. */
export function handleRequest(host: RequestHost, conn: Ofconn, env: Envelope, raw: Uint8Array): void {
  const m = joinParts(conn, env, raw, host.nowMs());
  if (m === undefined) return;
  const outcome =
    typeof m === 'string'
      ? m
      : conn.role === 'secondary' && SECONDARY_MAY_NOT.has(m.type)
        ? 'OFPBRC_IS_SECONDARY'
        : dispatch({ host, conn, m, env, raw });
  if (!(outcome instanceof Promise)) {
    if (outcome) conn.sendError(outcome, raw);
    return;
  }
  const request = raw.slice();
  conn.stream.hold();
  void outcome
    .then((error) => {
      if (error) conn.sendError(error, request);
    })
    .finally(() => conn.stream.release());
}

function dispatch(r: Request): Outcome {
  const handler = HANDLERS[r.m.type] as Handler<MessageType> | undefined;
  if (handler) return handler(r);
  return r.m.type.includes('stats') ? 'OFPBRC_BAD_STAT' : 'OFPBRC_BAD_TYPE';
}

function features(r: Request<'features_request'>): undefined {
  const ports = [...r.host.bridgePorts()].map((p) => p.phy());
  return reply(r, {
    type: 'features_reply',
    datapathId: r.host.datapathId(),
    nBuffers: 0,
    nTables: TBL_INTERNAL,
    auxiliaryId: 0,
    capabilities:
      C_FLOW_STATS | C_TABLE_STATS | C_PORT_STATS | C_GROUP_STATS | C_QUEUE_STATS | C_ARP_MATCH_IP | C_BUNDLES,
    actions: [
      'output',
      'set_vlan_vid',
      'set_vlan_pcp',
      'strip_vlan',
      'set_eth_src',
      'set_eth_dst',
      'set_ipv4_src',
      'set_ipv4_dst',
      'set_ip_dscp',
      'set_l4_src_port',
      'set_l4_dst_port',
      'enqueue',
    ],
    ports,
  });
}

function setConfig(r: Request<'set_config'>): OfErrorName | undefined {
  const { frag, missSendLen } = r.m;
  // A secondary controller may say how it is told of misses, and nothing else.
  const mayChange = r.conn.type !== 'primary' || r.conn.role !== 'secondary';
  if (mayChange && frag !== r.host.frag) {
    if (frag === 'reasm') r.host.log('ofproto').warn(`${r.host.name}: unsupported fragment handling mode ${frag}`);
    else {
      r.host.frag = frag;
      r.host.changed();
    }
  }
  if (r.m.invalidTtlToController !== undefined) r.conn.setInvalidTtlToController(r.m.invalidTtlToController);
  r.conn.missSendLen = missSendLen;
  return undefined;
}

/** Reasons that a controller can't name stand with those that it can. */
function completeReasons(half: Partial<AsyncConfigHalf>, version: number): Partial<AsyncConfigHalf> {
  if (half.packetIn === undefined) return half;
  let { packetIn } = half;
  if (packetIn & 1) packetIn |= (1 << 6) | (version < 4 ? 1 << 7 : 0);
  if (version < 5 && packetIn & 2) packetIn |= (1 << 3) | (1 << 4) | (1 << 5);
  return { ...half, packetIn };
}

function setAsync({ conn, m }: Request<'set_async_config'>): undefined {
  const now = conn.asyncConfig();
  const defined = (half: Partial<AsyncConfigHalf>) =>
    Object.fromEntries(Object.entries(completeReasons(half, conn.version)).filter(([, v]) => v !== undefined));
  conn.async = {
    primary: { ...now.primary, ...defined(m.config.primary) },
    secondary: { ...now.secondary, ...defined(m.config.secondary) },
  };
  if (conn.type === 'service' && conn.missSendLen === 0) conn.missSendLen = OFP_DEFAULT_MISS_SEND_LEN;
}

function role(r: Request<'role_request'>): OfErrorName | undefined {
  const { host, conn, m } = r;
  if (m.role === 'primary' || m.role === 'secondary') {
    const id = m.generationId;
    if (id !== undefined && host.generationId !== undefined && BigInt.asIntN(64, id - host.generationId) < 0n)
      return 'OFPRRFC_STALE';
    if (id !== undefined) host.generationId = id;
  }
  if (m.role === 'primary' && conn.role !== 'primary') demoteOthers(host, conn);
  if (m.role !== 'nochange') conn.role = m.role;
  const generationId = host.generationId;
  return reply(r, {
    type: 'role_reply',
    role: conn.role,
    ...(generationId === undefined ? {} : { generationId }),
  });
}

/** There is one primary; the one that was it is told that it is so no longer. */
function demoteOthers(host: RequestHost, conn: Ofconn): void {
  for (const other of host.conns()) {
    if (other === conn || other.role !== 'primary') continue;
    other.role = 'secondary';
    host.roleStatus(other, CRR_PRIMARY_REQUEST);
  }
}

function groups<T>(r: AnyRequest, id: number, of: (g: Parameters<typeof groupDesc>[0]) => T): T[] {
  r.host.pushStats();
  return [...r.host.groupTable.named(id)].map(of);
}

/** The meters that a request names, or the error. */
function metersOf(host: RequestHost, id: number): Meter[] | OfErrorName {
  if (id === OFPM_ALL) return host.meters.all();
  const meter = host.meters.get(id);
  return meter ? [meter] : 'OFPMMFC_UNKNOWN_METER';
}

function meterStats(r: Request<'meter_stats_request'>): OfErrorName | undefined {
  const meters = metersOf(r.host, r.m.meterId);
  if (typeof meters === 'string') return meters;
  return reply(r, { type: 'meter_stats_reply', meters: meters.map((x) => r.host.meters.stats(x)), more: false });
}

function meterConfig(r: Request<'meter_config_stats_request'>): OfErrorName | undefined {
  const meters = metersOf(r.host, r.m.meterId);
  if (typeof meters === 'string') return meters;
  return reply(r, { type: 'meter_config_stats_reply', meters: meters.map((x) => x.config), more: false });
}

function flowMonitor(r: Request<'flow_monitor_stats_request'>): Outcome {
  return inSlices(r.host.slicer, () =>
    step(() => {
      // It may have gone while others changed the tables; nobody would take its monitors away any more.
      if (r.conn.stream.closed) return undefined;
      const updates = r.host.monitors.request(r.conn, r.m.monitors);
      if (typeof updates === 'string') return updates;
      return reply(r, { type: 'flow_monitor_stats_reply', updates, more: false });
    }),
  );
}

function tlvTableMod({ host, m }: Request<'nxt_tlv_table_mod'>): OfErrorName | undefined {
  const next = host.tunTable.mod(m.command, m.mappings, host.tunMetadataInUse());
  if (typeof next === 'string') return next;
  host.tunTable = next;
  return undefined;
}

function setFlowFormat({ conn, m }: Request<'set_flow_format'>): undefined {
  conn.nxm = m.format === 'nxm';
}

const nothing = (): undefined => undefined;

/** There is no IPFIX exporter to have statistics. */
const noIpfix = (): Outcome => 'NXST_NOT_CONFIGURED';

const HANDLERS: Handlers = {
  hello: nothing,
  error: nothing,
  echo_reply: nothing,
  echo_request: (r) => reply(r, { type: 'echo_reply', data: r.m.data }),
  features_request: features,
  get_config_request: (r) =>
    reply(r, {
      type: 'get_config_reply',
      frag: r.host.frag,
      missSendLen: r.conn.missSendLen,
      invalidTtlToController: r.conn.invalidTtlToController(),
    }),
  set_config: setConfig,
  packet_out: packetOut,
  flow_mod: flowMod,
  group_mod: groupMod,
  meter_mod: meterMod,
  ipfix_bridge_stats_request: noIpfix,
  ipfix_flow_stats_request: noIpfix,
  port_mod: (r) => applyPortMod(r.host, r.m, r.conn),
  table_mod: tableMod,
  barrier_request: (r) => reply(r, { type: 'barrier_reply' }),
  role_request: role,
  get_async_request: (r) => reply(r, { type: 'get_async_reply', config: r.conn.asyncConfig() }),
  set_async_config: setAsync,
  set_packet_in_format: ({ conn, m }) => {
    conn.packetInFormat = m.format;
    return undefined;
  },
  set_flow_format: setFlowFormat,
  flow_mod_table_id: ({ conn, m }) => {
    conn.flowModTableId = m.enable;
    return undefined;
  },
  set_controller_id: ({ conn, m }) => {
    conn.controllerId = m.controllerId;
    return undefined;
  },
  flow_age: nothing,
  nxt_resume: (r) => r.host.resume(r.m),
  desc_stats_request: (r) => {
    const { mfrDesc, hwDesc, swDesc, serialDesc, dpDesc } = r.host.desc;
    return reply(r, { type: 'desc_stats_reply', mfrDesc, hwDesc, swDesc, serialNum: serialDesc, dpDesc });
  },
  flow_stats_request: flowStatsReply,
  aggregate_stats_request: aggregate,
  table_stats_request: tableStats,
  table_desc_request: tableDesc,
  table_features_stats_request: tableFeaturesReply,
  port_stats_request: portStats,
  port_desc_stats_request: (r) =>
    reply(r, {
      type: 'port_desc_stats_reply',
      ports: portsOf(r.host, r.m.portNo).map((p) => p.phy()),
      more: false,
    }),
  queue_stats_request: queueStats,
  queue_get_config_request: queueConfig,
  group_stats_request: (r) => {
    const nowMs = r.host.nowMs();
    return reply(r, {
      type: 'group_stats_reply',
      groups: groups(r, r.m.groupId, (g) => groupStats(g, nowMs)),
      more: false,
    });
  },
  group_desc_stats_request: (r) =>
    reply(r, { type: 'group_desc_stats_reply', groups: groups(r, r.m.groupId, groupDesc), more: false }),
  group_features_stats_request: (r) =>
    reply(r, { type: 'group_features_stats_reply', ...r.host.groupTable.features() }),
  meter_stats_request: meterStats,
  meter_config_stats_request: meterConfig,
  meter_features_stats_request: (r) => reply(r, { type: 'meter_features_stats_reply', ...r.host.meters.features() }),
  flow_monitor_stats_request: flowMonitor,
  flow_monitor_cancel: (r) => r.host.monitors.cancel(r.conn, r.m.monitorId),
  nxt_tlv_table_request: (r) => reply(r, { type: 'nxt_tlv_table_reply', ...r.host.tlvReply() }),
  nxt_tlv_table_mod: tlvTableMod,
  ct_flush_zone: (r) => r.host.ctFlush(r.m.zoneId),
  ct_flush: (r) => r.host.ctFlush(r.m.zoneId, r.m.match),
  bundle_control: bundleControl,
  bundle_add_message: bundleAdd,
};
