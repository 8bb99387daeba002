import { type OfpPort, ofpPort } from '../base/types.ts';
import { checkActions } from './action-check.ts';
import { parseActions, parseNumber, parseU64 } from './action-parse.ts';
import { formatActions } from './action-text.ts';
import { fieldByName, getField, matchSetField } from './field.ts';
import { FlowTextError, parseField, parseSubfield } from './field-text.ts';
import { parseKeyValues } from './key-value.ts';
import { catchallMatch, type Match, setDefaultPacketType } from './match.ts';
import { formatMatch, OFP_DEFAULT_PRIORITY } from './match-text.ts';
import {
  FF_CHECK_OVERLAP,
  FF_NO_BYT_COUNTS,
  FF_NO_PKT_COUNTS,
  FF_RESET_COUNTS,
  FF_SEND_FLOW_REM,
  type FlowMod,
  type FlowModCommand,
  type FlowStats,
  UINT64_MAX,
} from './messages.ts';
import { type PortNames, parsePort } from './port.ts';

export { parseActions } from './action-parse.ts';
export { formatAction, formatActions } from './action-text.ts';
export { FlowTextError } from './field-text.ts';
export { formatMatch } from './match-text.ts';

/** Flows in ovs-ofctl's syntax (ovs-ofctl(8), "Flow Syntax"). Parsers throw FlowTextError. */

/** Words that stand for an Ethertype, and an IP protocol (0: any). */
export const PROTOCOLS: Readonly<Record<string, readonly [dlType: number, nwProto: number]>> = {
  ip: [0x0800, 0],
  ipv4: [0x0800, 0],
  ip4: [0x0800, 0],
  arp: [0x0806, 0],
  icmp: [0x0800, 1],
  tcp: [0x0800, 6],
  udp: [0x0800, 17],
  sctp: [0x0800, 132],
  ipv6: [0x86dd, 0],
  ip6: [0x86dd, 0],
  icmp6: [0x86dd, 58],
  tcp6: [0x86dd, 6],
  udp6: [0x86dd, 17],
  sctp6: [0x86dd, 132],
  rarp: [0x8035, 0],
  mpls: [0x8847, 0],
  mplsm: [0x8848, 0],
};

/** Short names that mean another field where the Ethertype or protocol says so. */
function fieldFor(key: string, m: Match) {
  const { dlType, nwProto } = m.flow;
  if (dlType === 0x0806 || dlType === 0x8035) {
    if (key === 'nw_src') return fieldByName('arp_spa');
    if (key === 'nw_dst') return fieldByName('arp_tpa');
    if (key === 'nw_proto') return fieldByName('arp_op');
  }
  if (dlType === 0x86dd && nwProto === 58) {
    if (key === 'icmp_type') return fieldByName('icmpv6_type');
    if (key === 'icmp_code') return fieldByName('icmpv6_code');
  }
  return fieldByName(key);
}

/** Takes one item if it belongs to a match. */
function matchItem(m: Match, key: string, value: string, names: PortNames | undefined): boolean {
  const protocol = value === '' ? PROTOCOLS[key] : undefined;
  if (protocol) {
    m.flow.dlType = protocol[0];
    m.wc.dlType = 0xffff;
    if (protocol[1]) {
      m.flow.nwProto = protocol[1];
      m.wc.nwProto = 0xff;
    }
    setDefaultPacketType(m);
    return true;
  }
  if (key === 'eth' && value === '') {
    setDefaultPacketType(m);
    return true;
  }
  const field = fieldFor(key, m);
  if (field) {
    const parsed = parseField(field, value === '' ? '*' : value, names);
    matchSetField(m, field, parsed.value, parsed.mask.every((b) => b === 0xff) ? undefined : parsed.mask);
    if (field.prereq !== 'none') setDefaultPacketType(m);
    return true;
  }
  return key.includes('[') && matchBits(m, key, value);
}

/** `reg0[0..7]=5`: some bits of a field, beside what is matched of it already. */
function matchBits(m: Match, key: string, value: string): boolean {
  const { field, ofs, nBits } = parseSubfield(key);
  const n = parseU64(value);
  if (n >> BigInt(nBits)) throw new FlowTextError(`${key}: value ${value} does not fit into ${nBits} bits`);
  const [v, mask] = [getField(m.flow, field), getField(m.wc, field)];
  for (let i = 0; i < nBits; i++) {
    const at = field.nBytes - 1 - ((ofs + i) >> 3);
    const bit = 1 << ((ofs + i) & 7);
    mask[at] |= bit;
    v[at] = (n >> BigInt(i)) & 1n ? v[at] | bit : v[at] & ~bit;
  }
  matchSetField(m, field, v, mask);
  if (field.prereq !== 'none') setDefaultPacketType(m);
  return true;
}

/** Parses a match alone: `in_port=1,tcp,nw_src=10.0.0.0/8`, the syntax of ofproto/trace too. */
export function parseMatch(s: string, names?: PortNames): Match {
  const m = catchallMatch();
  for (const { key, value } of parseKeyValues(s)) {
    if (!matchItem(m, key, value, names)) throw new FlowTextError(`${s}: unknown field ${key}`);
  }
  return m;
}

const FLAG_WORDS: Readonly<Record<string, number>> = {
  send_flow_rem: FF_SEND_FLOW_REM,
  check_overlap: FF_CHECK_OVERLAP,
  reset_counts: FF_RESET_COUNTS,
  no_packet_counts: FF_NO_PKT_COUNTS,
  no_byte_counts: FF_NO_BYT_COUNTS,
};
/** What `dump-flows` prints and flows may have when they are read back. */
const IGNORED = new Set([
  'duration',
  'n_packets',
  'n_bytes',
  'idle_age',
  'hard_age',
  'no_readonly_table',
  'allow_hidden_fields',
]);

const U16 = 0xffff;

/** Takes one item if it belongs to a flow-mod. */
function flowModItem(fm: FlowMod, key: string, value: string, names: PortNames | undefined): boolean {
  if (value === '' && FLAG_WORDS[key]) fm.flags |= FLAG_WORDS[key];
  else if (IGNORED.has(key)) return true;
  else if (key === 'table') fm.tableId = parseNumber(value, 'table', 255);
  else if (key === 'priority') fm.priority = parseNumber(value, key, U16);
  else if (key === 'idle_timeout') fm.idleTimeout = parseNumber(value, key, U16);
  else if (key === 'hard_timeout') fm.hardTimeout = parseNumber(value, key, U16);
  else if (key === 'importance') fm.importance = parseNumber(value, key, U16);
  else if (key === 'out_port') fm.outPort = outPort(value, names);
  else if (key === 'out_group') fm.outGroup = parseNumber(value, key, 0xffffffff);
  else if (key === 'cookie') cookie(fm, value);
  else return false;
  return true;
}

function outPort(value: string, names: PortNames | undefined): OfpPort {
  const port = parsePort(value, names);
  if (port === undefined) throw new FlowTextError(`${value} is not a valid OpenFlow port`);
  return port;
}

function cookie(fm: FlowMod, value: string): void {
  const [n, mask] = value.split('/');
  if (mask !== undefined) {
    if (fm.command === 'add') throw new FlowTextError('flow additions cannot use a cookie mask');
    fm.cookie = parseU64(n);
    fm.cookieMask = parseU64(mask);
    return;
  }
  if (fm.command.startsWith('delete')) {
    throw new FlowTextError(`cannot set cookie (to match on a cookie, specify a mask, e.g. cookie=${n}/-1)`);
  }
  fm.newCookie = parseU64(n);
  fm.modifyCookie = true;
}

function emptyFlowMod(command: FlowModCommand): FlowMod {
  return {
    type: 'flow_mod',
    match: catchallMatch(),
    priority: OFP_DEFAULT_PRIORITY,
    cookie: 0n,
    cookieMask: 0n,
    newCookie: command.startsWith('modify') ? UINT64_MAX : 0n,
    modifyCookie: false,
    tableId: 255,
    command,
    idleTimeout: 0,
    hardTimeout: 0,
    bufferId: 0xffffffff,
    outPort: ofpPort(0xffffffff),
    outGroup: 0xffffffff,
    flags: 0,
    importance: 0,
    actions: [],
  };
}

/** Parses a flow as add-flow (and mod-flows, del-flows) takes it. Actions are checked against the match. */
export function parse(s: string, command: FlowModCommand = 'add', names?: PortNames): FlowMod {
  const fm = emptyFlowMod(command);
  const split = /actions?\s*=/.exec(s);
  if (!split && !command.startsWith('delete')) throw new FlowTextError('must specify an action');
  for (const { key, value } of parseKeyValues(split ? s.slice(0, split.index) : s)) {
    if (flowModItem(fm, key, value, names) || matchItem(fm.match, key, value, names)) continue;
    throw new FlowTextError(`unknown keyword ${key}`);
  }
  if (fm.newCookie === UINT64_MAX && fm.cookieMask === 0n && command.startsWith('modify')) fm.newCookie = 0n;
  if (!split) return fm;
  fm.actions = parseActions(s.slice(split.index + split[0].length), names);
  const error = checkActions(fm.actions, fm.match, { tableId: fm.tableId, nTables: 255, allowInconsistent: true });
  if (error) throw new FlowTextError(`actions are invalid with specified match (${error})`);
  return fm;
}

/** `5.123s`: decimals only as far as they are known. */
export function formatDuration(sec: number, nsec: number): string {
  if (nsec === 0) return `${sec}s`;
  const msec = nsec % 1_000_000 === 0;
  const decimals = msec ? String(nsec / 1_000_000).padStart(3, '0') : String(nsec).padStart(9, '0').replace(/0+$/, '');
  return `${sec}.${decimals}s`;
}

/** The flags of a flow, each followed by a space. */
export function formatFlowFlags(flags: number): string {
  return Object.entries(FLAG_WORDS)
    .filter(([, bit]) => flags & bit)
    .map(([word]) => `${word} `)
    .join('');
}

/** A line of `ovs-ofctl dump-flows`, without its leading space; `stats` false: only what installs the flow again. */
export function formatFlowStats(fs: FlowStats, stats = true, names?: PortNames): string {
  const out: string[] = [];
  const add = (when: boolean, text: string) => {
    if (when) out.push(`${text}, `);
  };
  add(stats || fs.cookie !== 0n, `cookie=0x${fs.cookie.toString(16)}`);
  add(stats, `duration=${formatDuration(fs.durationSec, fs.durationNsec)}`);
  add(stats || fs.tableId !== 0, `table=${fs.tableId}`);
  add(stats && fs.packetCount !== UINT64_MAX, `n_packets=${fs.packetCount}`);
  add(stats && fs.byteCount !== UINT64_MAX, `n_bytes=${fs.byteCount}`);
  add(fs.idleTimeout !== 0, `idle_timeout=${fs.idleTimeout}`);
  add(fs.hardTimeout !== 0, `hard_timeout=${fs.hardTimeout}`);
  out.push(formatFlowFlags(fs.flags));
  add(fs.importance !== 0, `importance=${fs.importance}`);
  add(stats && fs.idleAge >= 0, `idle_age=${fs.idleAge}`);
  add(stats && fs.hardAge >= 0 && fs.hardAge !== fs.durationSec, `hard_age=${fs.hardAge}`);
  return out.join('') + format(fs.match, fs.actions, fs.priority, names);
}

/** `priority=100,ip,in_port=1 actions=output:4`. */
export function format(
  match: Match,
  actions: FlowMod['actions'],
  priority = OFP_DEFAULT_PRIORITY,
  names?: PortNames,
): string {
  const text = formatMatch(match, priority, names);
  return `${text}${text ? ' ' : ''}actions=${formatActions(actions, names)}`;
}
