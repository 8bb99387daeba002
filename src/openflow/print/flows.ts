import { formatActions, formatDuration, formatFlowFlags, formatFlowStats, formatMatch } from '../flow-text.ts';
import { OFP_DEFAULT_PRIORITY } from '../match-text.ts';
import {
  FF_RESET_COUNTS,
  type FlowMod,
  type FlowRemovedReason,
  type FlowStatsRequest,
  OFP_NO_BUFFER,
  UINT64_MAX,
} from '../messages.ts';
import type { FlowMonitorRequest, FlowUpdate } from '../messages-monitor.ts';
import { formatPort, formatTable, type PortNames } from '../port.ts';
import { formatGroupMod } from './groups.ts';
import { formatMeterMod } from './meters.ts';
import type { PrintContext, Printers } from './printer.ts';
import { rawMatchText } from './raw-match.ts';
import { bitNames, chomp, hexOf } from './text.ts';

/** Flow entries: changes, statistics, removal, monitors. */

const OFPP_ANY = 0xffffffff;
const OFPG_ANY = 0xffffffff;

const COMMANDS = {
  add: 'ADD',
  modify: 'MOD',
  modify_strict: 'MOD_STRICT',
  delete: 'DEL',
  delete_strict: 'DEL_STRICT',
} as const;

const hexCookie = (n: bigint): string => `0x${n.toString(16)}`;

function flowModText(m: FlowMod, p: PrintContext): string {
  const { names, version } = p;
  const hasTable = m.tableId !== 0 || names?.tableNameOf?.(m.tableId) !== undefined;
  const raw = p.verbosity >= 3 ? rawMatchText(p) : undefined;
  const match = raw ?? formatMatch(m.match, m.priority, names);
  // OpenFlow 1.0 and 1.1 have no such flag.
  const flags = version <= 2 ? m.flags & ~FF_RESET_COUNTS : m.flags;
  const unless = (absent: boolean, text: string) => (absent ? '' : `${text} `);
  return [
    ` ${COMMANDS[m.command]}${hasTable ? ` table:${formatTable(m.tableId, names)}` : ''} `,
    match === '' ? '' : `${match} `,
    unless(m.newCookie === 0n || m.newCookie === UINT64_MAX, `cookie:${hexCookie(m.newCookie)}`),
    unless(m.cookieMask === 0n, `cookie:${hexCookie(m.cookie)}/${hexCookie(m.cookieMask)}`),
    unless(m.idleTimeout === 0, `idle:${m.idleTimeout}`),
    unless(m.hardTimeout === 0, `hard:${m.hardTimeout}`),
    unless(m.importance === 0, `importance:${m.importance}`),
    unless(raw === undefined || m.priority === OFP_DEFAULT_PRIORITY, `pri:${m.priority}`),
    unless(m.bufferId === OFP_NO_BUFFER, `buf:${hexCookie(BigInt(m.bufferId))}`),
    unless(m.outPort === OFPP_ANY, `out_port:${formatPort(m.outPort, names)}`),
    formatFlowFlags(flags),
    `actions=${formatActions(m.actions, names)}`,
  ].join('');
}

function statsRequestText(m: FlowStatsRequest, { names }: PrintContext): string {
  const table = m.tableId === 255 ? '' : ` table=${formatTable(m.tableId, names)}`;
  const port = m.outPort === OFPP_ANY ? '' : ` out_port=${formatPort(m.outPort, names)}`;
  return `${table}${port} ${formatMatch(m.match, undefined, names)}`;
}

export const FLOW_REMOVED_REASONS: Readonly<Record<FlowRemovedReason, string>> = {
  idle_timeout: 'idle',
  hard_timeout: 'hard',
  delete: 'delete',
  group_delete: 'group_delete',
  meter_delete: 'meter_delete',
  eviction: 'eviction',
};

const MONITOR_FLAGS = new Map([
  [1 << 0, 'initial'],
  [1 << 1, 'add'],
  [1 << 2, 'delete'],
  [1 << 3, 'modify'],
  [1 << 4, 'actions'],
  [1 << 5, 'no-abbrev'],
  [1 << 6, 'own'],
]);

function monitorRequestText(r: FlowMonitorRequest, names: PortNames | undefined): string {
  if (r.command === 'delete') return `\n id=${r.monitorId} command=delete`;
  const out = [`\n id=${r.monitorId} flags=${bitNames(r.flags, MONITOR_FLAGS, ',')}`];
  if (r.outPort !== OFPP_ANY) out.push(` out_port=${formatPort(r.outPort, names)}`);
  if (r.outGroup && r.outGroup !== OFPG_ANY) out.push(` out_group=${r.outGroup | 0}`);
  if (r.tableId !== 255) out.push(` table=${formatTable(r.tableId, names)}`);
  out.push(chomp(` ${formatMatch(r.match, undefined, names)}`, ' '));
  return out.join('');
}

const EVENTS = { initial: 'INITIAL', added: 'ADDED', removed: 'DELETED', modified: 'MODIFIED' } as const;

function updateText(u: FlowUpdate, names: PortNames | undefined): string {
  if (u.event === 'abbrev') return `\n event=ABBREV xid=0x${u.xid.toString(16)}`;
  if (u.event === 'paused' || u.event === 'resumed') return `\n event=${u.event.toUpperCase()}`;
  const match = formatMatch(u.match, undefined, names);
  return [
    `\n event=${EVENTS[u.event]}`,
    u.event === 'removed' ? ` reason=${u.reason ? FLOW_REMOVED_REASONS[u.reason] : ''}` : '',
    ` table=${formatTable(u.tableId, names)}`,
    u.idleTimeout ? ` idle_timeout=${u.idleTimeout}` : '',
    u.hardTimeout ? ` hard_timeout=${u.hardTimeout}` : '',
    ` cookie=${hexOf(u.cookie)} ${match}`,
    u.actions.length ? `${match === '' ? '' : ' '}actions=${formatActions(u.actions, names)}` : '',
  ].join('');
}

export const FLOWS: Printers = {
  flow_mod: flowModText,
  flow_removed: (m, { names }) =>
    [
      ` ${formatMatch(m.match, m.priority, names)} reason=${FLOW_REMOVED_REASONS[m.reason] ?? m.reason}`,
      m.tableId === 255 ? '' : ` table_id=${formatTable(m.tableId, names)}`,
      m.cookie ? ` cookie:${hexCookie(m.cookie)}` : '',
      ` duration${formatDuration(m.durationSec, m.durationNsec)} idle${m.idleTimeout}`,
      m.hardTimeout ? ` hard${m.hardTimeout}` : '',
      ` pkts${m.packetCount} bytes${m.byteCount}\n`,
    ].join(''),
  flow_stats_request: statsRequestText,
  aggregate_stats_request: statsRequestText,
  flow_stats_reply: (m, { names }) => m.flows.map((f) => `\n ${formatFlowStats(f, true, names)}`).join(''),
  aggregate_stats_reply: (m) => ` packet_count=${m.packetCount} byte_count=${m.byteCount} flow_count=${m.flowCount}`,
  flow_monitor_cancel: (m) => ` id=${m.monitorId}`,
  flow_monitor_stats_request: (m, { names }) => m.monitors.map((r) => monitorRequestText(r, names)).join(''),
  flow_monitor_stats_reply: (m, { names }) => m.updates.map((u) => updateText(u, names)).join(''),
  requestforward: (m, p) =>
    m.request.type === 'group_mod'
      ? ` reason=group_mod${formatGroupMod(m.request, p)}`
      : ` reason=meter_mod${formatMeterMod(m.request)}`,
};
