import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { OfpPort } from '../base/types.ts';
import type { NetdevQueue } from '../netdev/netdev.ts';
import type { FlowStatsRequest, QueueConfig, QueueStats } from '../openflow/messages.ts';
import { flowStats } from './flow-stats.ts';
import type { RuleCriteria } from './flow-tables.ts';
import { isNicira, type Outcome, type Request, type RequestHost, reply } from './mods.ts';
import { chunks, sendInSlices } from './multipart.ts';
import { N_TABLES } from './oftable.ts';
import type { BridgePort } from './port.ts';
import { openflowPortStats } from './port-stats.ts';
import { OFPP_NONE } from './ports.ts';
import type { Rule } from './rule.ts';
import type { Steps } from './transaction.ts';

/** Statistics of flows, ports and queues. */

/** Flows of one message at most. */
const FLOWS_PER_MESSAGE = 128;

const criteriaError = (m: FlowStatsRequest): OfErrorName | undefined =>
  m.tableId !== 255 && m.tableId >= N_TABLES ? 'OFPBRC_BAD_TABLE_ID' : undefined;

/** The flows that meet the criteria; undefined now and then, when there was none for a while. */
function* found(host: RequestHost, c: RuleCriteria): IterableIterator<Rule | undefined> {
  const { tables } = host.flowTables;
  if (c.cookieMask === 0xffff_ffff_ffff_ffffn || c.tableId !== 255) {
    yield* host.flowTables.collect(c);
    return;
  }
  for (const table of tables) {
    if (table.cls.size === 0 || !host.flowTables.tablesOf(255).includes(table)) continue;
    yield* host.flowTables.collect({ ...c, tableId: table.id });
    yield undefined;
  }
}

export function flowStatsReply(r: Request<'flow_stats_request'>): Outcome {
  const { host, conn, env, m } = r;
  const error = criteriaError(m);
  if (error) return error;
  host.pushStats();
  const nxm = isNicira(r.raw);
  return sendInSlices(
    conn,
    chunks(found(host, m), FLOWS_PER_MESSAGE, (part, more) => {
      const nowMs = host.nowMs();
      const flows = part.map((rule) => flowStats(rule, nowMs));
      conn.reply({ type: 'flow_stats_reply', flows, more }, env.xid, nxm);
    }),
  );
}

export function aggregate(r: Request<'aggregate_stats_request'>): Outcome {
  const { host, m } = r;
  const error = criteriaError(m);
  if (error) return error;
  host.pushStats();
  return sendInSlices(r.conn, sum(r));
}

function* sum(r: Request<'aggregate_stats_request'>): Steps<void> {
  let [packets, bytes, flowCount, looked] = [0, 0, 0, 0];
  for (const rule of found(r.host, r.m)) {
    if (++looked % FLOWS_PER_MESSAGE === 0) yield;
    if (!rule) continue;
    packets += rule.packets;
    bytes += rule.bytes;
    flowCount++;
  }
  const [packetCount, byteCount] = [BigInt(packets), BigInt(bytes)];
  reply(r, { type: 'aggregate_stats_reply', packetCount, byteCount, flowCount });
}

/** The ports that a request names. */
export function portsOf(host: RequestHost, portNo: OfpPort): BridgePort[] {
  const all = [...host.bridgePorts()];
  return portNo === OFPP_NONE ? all : all.filter((p) => p.ofpPort === portNo);
}

export function portStats(r: Request<'port_stats_request'>): undefined {
  r.host.pushStats();
  const nowMs = r.host.nowMs();
  const ports = portsOf(r.host, r.m.portNo).map((p) => openflowPortStats(p, nowMs));
  return reply(r, { type: 'port_stats_reply', ports, more: false });
}

const OFPQ_ALL = 0xffffffff;

const queuesOf = (port: BridgePort): readonly NetdevQueue[] => port.netdev.qosQueues?.() ?? [];

/** The queues that a request names; a port or queue that is not there is an error. */
function selectQueues(
  host: RequestHost,
  portNo: OfpPort,
  queueId: number,
): { port: BridgePort; queue: NetdevQueue }[] | OfErrorName {
  const ports = portsOf(host, portNo);
  if (!ports.length && portNo !== OFPP_NONE) return 'OFPQOFC_BAD_PORT';
  const all = ports.flatMap((port) => queuesOf(port).map((queue) => ({ port, queue })));
  if (queueId === OFPQ_ALL) return all;
  const some = all.filter(({ queue }) => queue.id === queueId);
  return some.length ? some : 'OFPQOFC_BAD_QUEUE';
}

export function queueStats(r: Request<'queue_stats_request'>): OfErrorName | undefined {
  const selected = selectQueues(r.host, r.m.portNo, r.m.queueId);
  if (typeof selected === 'string') return selected;
  const nowMs = r.host.nowMs();
  const queues = selected.map(({ port, queue }): QueueStats => {
    const { txBytes, txPackets, txErrors, createdMs } = queue;
    const stats = { portNo: port.ofpPort, queueId: queue.id, txBytes, txPackets, txErrors };
    if (createdMs === undefined) return stats;
    const ms = Math.max(0, nowMs - createdMs);
    return { ...stats, durationSec: Math.floor(ms / 1000), durationNsec: Math.round((ms % 1000) * 1e6) };
  });
  return reply(r, { type: 'queue_stats_reply', queues, more: false });
}

export function queueConfig(r: Request<'queue_get_config_request'>): OfErrorName | undefined {
  const selected = selectQueues(r.host, r.m.portNo, r.m.queueId);
  if (typeof selected === 'string') return selected;
  const queues = selected.map(({ port, queue }): QueueConfig => ({ portNo: port.ofpPort, queueId: queue.id }));
  return reply(r, { type: 'queue_get_config_reply', portNo: r.m.portNo, queues, more: false });
}
