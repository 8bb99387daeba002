import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { OfpPort } from '../base/types.ts';
import {
  type AsyncConfigHalf,
  C_ARP_MATCH_IP,
  C_BUNDLES,
  C_FLOW_STATS,
  C_PORT_STATS,
  C_QUEUE_STATS,
  C_TABLE_STATS,
  type Envelope,
  type FlowStatsRequest,
  type Message,
  type MessageType,
  type PortStats,
} from '../openflow/messages.ts';
import { bundleAdd, bundleControl } from './bundles.ts';
import { flowStats } from './flow-stats.ts';
import { applyFlowMod, applyPortMod, type Request, type RequestHost } from './mods.ts';
import { defaultAsyncConfig, type Ofconn } from './ofconn.ts';
import { TBL_INTERNAL } from './oftable.ts';
import type { BridgePort } from './port.ts';
import { openflowPortStats } from './port-stats.ts';
import { OFPP_NONE } from './ports.ts';
import { tableFeatures } from './table-features.ts';

/** What a bridge does for each OpenFlow request. */

/** Answers by itself, or returns the error to answer with. */
type Handler<T extends MessageType> = (r: Request<T>) => OfErrorName | undefined;
type Handlers = { [T in MessageType]?: Handler<T> };

const reply = (r: Pick<Request, 'conn' | 'env' | 'raw'>, m: Message): undefined => {
  r.conn.reply(m, r.env.xid, isNicira(r.raw));
};

const OFPST_VENDOR = 0xffff;

/** A statistics request in Nicira's form gets its reply in it. */
const isNicira = (raw: Uint8Array): boolean =>
  raw[0] === 1 && raw[1] === 16 && ((raw[8] << 8) | raw[9]) === OFPST_VENDOR;

/** What a secondary controller may not do (OpenFlow 1.2 section 6.3.4). */
const SECONDARY_MAY_NOT: ReadonlySet<MessageType> = new Set<MessageType>([
  'flow_mod',
  'packet_out',
  'port_mod',
  'table_mod',
  'set_config',
  'group_mod',
  'meter_mod',
  'bundle_control',
  'bundle_add_message',
]);

export function handleRequest(host: RequestHost, conn: Ofconn, env: Envelope, raw: Uint8Array): void {
  const { message: m } = env;
  const error =
    conn.role === 'secondary' && SECONDARY_MAY_NOT.has(m.type)
      ? 'OFPBRC_IS_SECONDARY'
      : dispatch({ host, conn, m, env, raw });
  if (error) conn.sendError(error, raw);
}

function dispatch(r: Request): OfErrorName | undefined {
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
    capabilities: C_FLOW_STATS | C_TABLE_STATS | C_PORT_STATS | C_QUEUE_STATS | C_ARP_MATCH_IP | C_BUNDLES,
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
  if (frag !== 'reasm' && frag !== r.host.frag) {
    r.host.frag = frag;
    r.host.changed();
  }
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
  const now = conn.async ?? defaultAsyncConfig(conn.version);
  const defined = (half: Partial<AsyncConfigHalf>) =>
    Object.fromEntries(Object.entries(completeReasons(half, conn.version)).filter(([, v]) => v !== undefined));
  conn.async = {
    primary: { ...now.primary, ...defined(m.config.primary) },
    secondary: { ...now.secondary, ...defined(m.config.secondary) },
  };
}

function role(r: Request<'role_request'>): OfErrorName | undefined {
  const { host, conn, m } = r;
  if (m.role === 'primary' || m.role === 'secondary') {
    const id = m.generationId;
    if (id !== undefined && host.generationId !== undefined && BigInt.asIntN(64, id - host.generationId) < 0n)
      return 'OFPRRFC_STALE';
    if (id !== undefined) host.generationId = id;
  }
  if (m.role === 'primary') for (const c of host.conns()) if (c !== conn && c.role === 'primary') c.role = 'secondary';
  if (m.role !== 'nochange') conn.role = m.role;
  const generationId = host.generationId;
  return reply(r, {
    type: 'role_reply',
    role: conn.role,
    ...(generationId === undefined ? {} : { generationId }),
  });
}

const statsCriteria = (m: FlowStatsRequest): OfErrorName | FlowStatsRequest =>
  m.tableId !== 255 && m.tableId >= TBL_INTERNAL ? 'OFPBRC_BAD_TABLE_ID' : m;

function flowStatsReply(r: Request<'flow_stats_request'>): OfErrorName | undefined {
  const criteria = statsCriteria(r.m);
  if (typeof criteria === 'string') return criteria;
  r.host.pushStats();
  const nowMs = r.host.nowMs();
  const flows = [...r.host.flowTables.collect(criteria)].map((rule) => flowStats(rule, nowMs));
  return reply(r, { type: 'flow_stats_reply', flows, more: false });
}

function aggregate(r: Request<'aggregate_stats_request'>): OfErrorName | undefined {
  const criteria = statsCriteria(r.m);
  if (typeof criteria === 'string') return criteria;
  r.host.pushStats();
  let [packets, bytes, flowCount] = [0, 0, 0];
  for (const rule of r.host.flowTables.collect(criteria)) {
    packets += rule.packets;
    bytes += rule.bytes;
    flowCount++;
  }
  return reply(r, {
    type: 'aggregate_stats_reply',
    packetCount: BigInt(packets),
    byteCount: BigInt(bytes),
    flowCount,
  });
}

function tableStats(r: Request<'table_stats_request'>): undefined {
  r.host.pushStats();
  const tables = r.host.flowTables.tables.filter((t) => t.id !== TBL_INTERNAL);
  return reply(r, {
    type: 'table_stats_reply',
    tables: tables.map((t) => ({
      tableId: t.id,
      activeCount: t.activeCount,
      lookupCount: BigInt(t.matched + t.missed),
      matchedCount: BigInt(t.matched),
    })),
    features: tables.map(tableFeatures),
    more: false,
  });
}

/** The ports that a request names. */
function portsOf(host: RequestHost, portNo: OfpPort): BridgePort[] {
  const all = [...host.bridgePorts()];
  return portNo === OFPP_NONE ? all : all.filter((p) => p.ofpPort === portNo);
}

function portStats(r: Request<'port_stats_request'>): OfErrorName | undefined {
  r.host.pushStats();
  const ports = portsOf(r.host, r.m.portNo);
  const nowMs = r.host.nowMs();
  const stats: PortStats[] = ports.map((p) => openflowPortStats(p, nowMs));
  return reply(r, { type: 'port_stats_reply', ports: stats, more: false });
}

const TLV_ERRORS = { add: 'NXTTMFC_TABLE_FULL', delete: 'NXTTMFC_INVALID_TLV_DEL', clear: undefined } as const;

const tlvTableMod = ({ m }: Request<'nxt_tlv_table_mod'>): OfErrorName | undefined =>
  m.mappings.length ? TLV_ERRORS[m.command] : undefined;

function queueStats(r: Request<'queue_stats_request'>): OfErrorName | undefined {
  const { portNo, queueId } = r.m;
  if (portNo !== OFPP_NONE && portNo !== 0xfffffffc && !r.host.bridgePort(portNo)) return 'OFPQOFC_BAD_PORT';
  if (queueId !== 0xffffffff) return 'OFPQOFC_BAD_QUEUE';
  return reply(r, { type: 'queue_stats_reply', queues: [], more: false });
}

function tableFeaturesReply(r: Request<'table_features_stats_request'>): OfErrorName | undefined {
  if (r.m.tables.length) return 'OFPTFFC_EPERM';
  const tables = r.host.flowTables.tables.filter((t) => t.id !== TBL_INTERNAL).map(tableFeatures);
  return reply(r, { type: 'table_features_stats_reply', tables, more: false });
}

function tableMod({ host, m }: Request<'table_mod'>): OfErrorName | undefined {
  const { tables } = host.flowTables;
  if (m.tableId !== 255 && m.tableId >= TBL_INTERNAL) return 'OFPTMFC_BAD_TABLE';
  for (const t of m.tableId === 255 ? tables.slice(0, TBL_INTERNAL) : [tables[m.tableId]]) t.missConfig = m.miss;
  host.changed();
  return undefined;
}

const nothing = (): undefined => undefined;

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
      invalidTtlToController: false,
    }),
  set_config: setConfig,
  packet_out: (r) => r.host.packetOut(r.m),
  flow_mod: (r) => applyFlowMod(r.host, r.m),
  port_mod: (r) => applyPortMod(r.host, r.m),
  table_mod: tableMod,
  barrier_request: (r) => reply(r, { type: 'barrier_reply' }),
  role_request: role,
  get_async_request: (r) =>
    reply(r, { type: 'get_async_reply', config: r.conn.async ?? defaultAsyncConfig(r.conn.version) }),
  set_async_config: setAsync,
  set_packet_in_format: ({ conn, m }) => {
    conn.packetInFormat = m.format;
    return undefined;
  },
  set_flow_format: ({ conn, m }) => {
    conn.nxm = m.format === 'nxm';
    return undefined;
  },
  flow_mod_table_id: ({ conn, m }) => {
    conn.flowModTableId = m.enable;
    return undefined;
  },
  set_controller_id: ({ conn, m }) => {
    conn.controllerId = m.controllerId;
    return undefined;
  },
  flow_age: nothing,
  desc_stats_request: (r) => {
    const { mfrDesc, hwDesc, swDesc, serialDesc, dpDesc } = r.host.desc;
    return reply(r, { type: 'desc_stats_reply', mfrDesc, hwDesc, swDesc, serialNum: serialDesc, dpDesc });
  },
  flow_stats_request: flowStatsReply,
  aggregate_stats_request: aggregate,
  table_stats_request: tableStats,
  port_stats_request: portStats,
  port_desc_stats_request: (r) =>
    reply(r, {
      type: 'port_desc_stats_reply',
      ports: portsOf(r.host, r.m.portNo).map((p) => p.phy()),
      more: false,
    }),
  queue_stats_request: queueStats,
  queue_get_config_request: (r) =>
    r.m.portNo !== OFPP_NONE && !r.host.bridgePort(r.m.portNo)
      ? 'OFPQOFC_BAD_PORT'
      : reply(r, { type: 'queue_get_config_reply', portNo: r.m.portNo, queues: [] }),
  table_features_stats_request: tableFeaturesReply,
  // No groups and no meters: nothing to list, and nothing can be made.
  group_stats_request: (r) => reply(r, { type: 'group_stats_reply', groups: [], more: false }),
  group_desc_stats_request: (r) => reply(r, { type: 'group_desc_stats_reply', groups: [], more: false }),
  meter_stats_request: (r) => reply(r, { type: 'meter_stats_reply', meters: [], more: false }),
  meter_config_stats_request: (r) => reply(r, { type: 'meter_config_stats_reply', meters: [], more: false }),
  // No tunnels: no option has a field. ovs-save asks all the same, and gives the empty table back.
  nxt_tlv_table_request: (r) =>
    reply(r, { type: 'nxt_tlv_table_reply', maxOptionSpace: 0, maxFields: 0, mappings: [] }),
  nxt_tlv_table_mod: tlvTableMod,
  bundle_control: bundleControl,
  bundle_add_message: bundleAdd,
};
