import type { MatchField } from '../../protocols/fields.ts';
import { type OfpPort, ofpPort } from '../base/types.ts';
import { checkUsable } from './action-check.ts';
import { parseInstructionsText } from './action-parse.ts';
import { formatActions } from './action-text.ts';
import { fieldByName, getField, isAllOnes, matchProtocols, matchSetField } from './field.ts';
import { ETH_TYPE_IPV6 } from './field-prereq.ts';
import { FlowTextError, formatField, parseField, parseSubfield } from './field-text.ts';
import { parseKeyValues } from './key-value.ts';
import { catchallMatch, cloneMatch, type Match, setDefaultPacketType } from './match.ts';
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
import { normalizeMatch } from './normalize.ts';
import { parseIntString, scanNumber, strToU16, strToU64 } from './number-text.ts';
import { formatTable, type PortNames, parsePort, parseTable } from './port.ts';
import {
  P_ANY,
  P_NXM_OF11_UP,
  P_NXM_OXM_ANY,
  P_OF11_UP,
  P_OF12_UP,
  P_OF13_UP,
  P_TID,
  type Protocols,
} from './protocol.ts';
import { copyBits, fitsBits, setBits } from './subfield.ts';

export { type ParsedActions, parseActions, parseActionsText, parseInstructionsText } from './action-parse.ts';
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

/** Takes a word that stands for an Ethertype, perhaps with an IP protocol. */
function protocolWord(m: Match, key: string): boolean {
  if (!Object.hasOwn(PROTOCOLS, key)) return false;
  const [dlType, nwProto] = PROTOCOLS[key];
  m.flow.dlType = dlType;
  m.wc.dlType = 0xffff;
  if (nwProto) {
    m.flow.nwProto = nwProto;
    m.wc.nwProto = 0xff;
  }
  setDefaultPacketType(m);
  return true;
}

/** What a parser of flows finds out beside the flow. */
interface FlowContext {
  m: Match;
  names: PortNames | undefined;
  protocols: Protocols;
}

function matchField(c: FlowContext, field: MatchField, value: Uint8Array, mask: Uint8Array): void {
  const error = matchSetField(c.m, field, value, isAllOnes(mask) ? undefined : mask);
  if (error) throw new FlowTextError(error);
  c.protocols &= matchProtocols(field, mask);
  if (field.prereq !== 'none') setDefaultPacketType(c.m);
}

/** Takes one item if it belongs to a match. */
function matchItem(c: FlowContext, key: string, value: string): boolean {
  if (protocolWord(c.m, key)) return true;
  if (key === 'eth') {
    c.m.flow.packetType = 0;
    c.m.wc.packetType = 0xffffffff;
    return true;
  }
  const field = fieldByName(key);
  if (field) {
    const parsed = parseField(field, value === '' ? '0/0' : value, c.names);
    matchField(c, field, parsed.value, parsed.mask);
    return true;
  }
  if (!key.includes('[')) return false;
  matchBits(c, key, value);
  return true;
}

/** `reg0[0..7]=5`: some bits of a field, beside what is matched of it already. */
function matchBits(c: FlowContext, key: string, text: string): void {
  const { field, ofs, nBits } = parseSubfield(key);
  const parsed = parseIntString(text, field.nBytes);
  if (typeof parsed === 'string' || parsed.tail) throw new FlowTextError(`${key}: cannot parse integer value: ${text}`);
  if (!fitsBits(parsed.value, nBits))
    throw new FlowTextError(`${key}: value ${formatField(field, parsed.value)} does not fit into ${nBits} bits`);
  const [value, mask] = [getField(c.m.flow, field), getField(c.m.wc, field)];
  copyBits(parsed.value, 0, value, ofs, nBits);
  setBits(mask, ofs, nBits);
  matchField(c, field, value, mask);
}

/** Parses a match alone: `in_port=1,tcp,nw_src=10.0.0.0/8`, the syntax of ofproto/trace too. */
export function parseMatch(s: string, names?: PortNames): Match {
  const c: FlowContext = { m: catchallMatch(), names, protocols: P_ANY };
  for (const { key, value } of parseKeyValues(s)) {
    if (!matchItem(c, key, value)) throw new FlowTextError(`${s}: unknown field ${key}`);
  }
  takeTypeOfPacketType(c.m);
  return c.m;
}

/** A packet type that names an Ethertype is the Ethertype of the flow. */
function takeTypeOfPacketType({ flow, wc }: Match): void {
  if (wc.packetType === 0xffffffff && flow.packetType >>> 16 === 1) flow.dlType = flow.packetType & 0xffff;
}

const FLAG_WORDS: Readonly<Record<string, number>> = {
  send_flow_rem: FF_SEND_FLOW_REM,
  check_overlap: FF_CHECK_OVERLAP,
  reset_counts: FF_RESET_COUNTS,
  no_packet_counts: FF_NO_PKT_COUNTS,
  no_byte_counts: FF_NO_BYT_COUNTS,
};
/** Flags that not every version has. */
const FLAG_PROTOCOLS: Readonly<Record<string, Protocols>> = {
  reset_counts: P_OF12_UP,
  no_packet_counts: P_OF13_UP,
  no_byte_counts: P_OF13_UP,
};
/** What `dump-flows` prints and flows may have when they are read back. */
const IGNORED = new Set(['duration', 'n_packets', 'n_bytes', 'idle_age', 'hard_age']);

/** How a flow's text is meant: a flow-mod's command, or criteria only ('match'), or a command is its first word ('any'). */
export type FlowTextCommand = FlowModCommand | 'match' | 'any';

type Part = 'out' | 'actions' | 'importance' | 'timeout' | 'priority' | 'flags';
/** What each command may say. */
const PARTS: Readonly<Record<FlowModCommand | 'match', readonly Part[]>> = {
  match: ['out'],
  add: ['actions', 'timeout', 'priority', 'flags', 'importance'],
  modify: ['actions', 'timeout', 'priority', 'flags'],
  modify_strict: ['actions', 'timeout', 'priority', 'flags'],
  delete: ['out'],
  delete_strict: ['out', 'priority'],
};

interface FlowModContext extends FlowContext {
  fm: FlowMod;
  command: FlowModCommand | 'match';
  parts: readonly Part[];
}

type FlowModItem = readonly [part: Part | undefined, take: (c: FlowModContext, value: string, key: string) => void];

/** Items of a flow-mod that have a value. */
const ITEMS: Readonly<Record<string, FlowModItem>> = {
  table: [
    undefined,
    (c, value) => {
      const table = parseTable(value, c.names);
      if (table === undefined) throw new FlowTextError(`unknown table "${value}"`);
      c.fm.tableId = table;
      if (table !== 255) c.protocols &= P_TID;
    },
  ],
  out_port: [
    'out',
    (c, value) => {
      c.fm.outPort = outPort(value, c.names);
    },
  ],
  out_group: [
    'out',
    (c, value) => {
      c.protocols &= P_OF11_UP;
      c.fm.outGroup = outGroup(value);
    },
  ],
  priority: [
    'priority',
    (c, value, key) => {
      c.fm.priority = strToU16(value, key);
    },
  ],
  idle_timeout: [
    'timeout',
    (c, value, key) => {
      c.fm.idleTimeout = strToU16(value, key);
    },
  ],
  hard_timeout: [
    'timeout',
    (c, value, key) => {
      c.fm.hardTimeout = strToU16(value, key);
    },
  ],
  importance: [
    'importance',
    (c, value, key) => {
      c.fm.importance = strToU16(value, key);
    },
  ],
  cookie: [undefined, cookie],
};

function outPort(value: string, names: PortNames | undefined): OfpPort {
  const port = parsePort(value, names);
  if (port === undefined) throw new FlowTextError(`${value} is not a valid OpenFlow port`);
  return port;
}

const OFPG_MAX = 0xffffff00;

/** `any`, `all` or a group's number. */
export function parseGroupId(s: string): number | undefined {
  if (/^any$/i.test(s)) return 0xffffffff;
  if (/^all$/i.test(s)) return 0xfffffffc;
  const x = scanNumber(s);
  return x && !x.tail && x.n >= 0n && x.n <= BigInt(OFPG_MAX) ? Number(x.n) : undefined;
}

function outGroup(value: string): number {
  const group = parseGroupId(value);
  if (group === undefined) throw new FlowTextError(`${value} is not a valid OpenFlow group`);
  return group;
}

function cookie(c: FlowModContext, value: string): void {
  const { fm, command } = c;
  const slash = value.indexOf('/');
  if (slash >= 0) {
    if (command === 'add') throw new FlowTextError('flow additions cannot use a cookie mask');
    fm.cookie = strToU64(value.slice(0, slash));
    fm.cookieMask = strToU64(value.slice(slash + 1));
    if (fm.cookieMask !== 0n) c.protocols &= P_NXM_OF11_UP;
    return;
  }
  if (!c.parts.includes('flags'))
    throw new FlowTextError(`cannot set cookie (to match on a cookie, specify a mask, e.g. cookie=${value}/-1)`);
  fm.newCookie = strToU64(value);
  fm.modifyCookie = true;
}

/** Takes one item, a flow-mod's or a match's. */
function flowModItem(c: FlowModContext, key: string, value: string): void {
  const flag = c.parts.includes('flags') && Object.hasOwn(FLAG_WORDS, key) ? FLAG_WORDS[key] : 0;
  if (flag) {
    c.fm.flags |= flag;
    c.protocols &= FLAG_PROTOCOLS[key] ?? P_ANY;
    return;
  }
  if (key === 'no_readonly_table' || key === 'allow_hidden_fields' || matchItem(c, key, value)) return;
  if (value === '') throw new FlowTextError(`field ${key} missing value`);
  const [part, take] = Object.hasOwn(ITEMS, key) ? ITEMS[key] : [undefined, undefined];
  if (take && (part === undefined || c.parts.includes(part))) take(c, value, key);
  else if (!IGNORED.has(key)) throw new FlowTextError(`unknown keyword ${key}`);
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

const COMMAND_WORDS: readonly FlowModCommand[] = ['add', 'delete', 'delete_strict', 'modify', 'modify_strict'];

/** The command that a text begins with (add when it is none), and the rest. A word may be cut short. */
function takeCommand(s: string): [FlowModCommand, string] {
  const text = s.trimStart();
  const word = /^[^, \t\r\n]*/.exec(text)?.[0] ?? '';
  const command = COMMAND_WORDS.find((w) => w.startsWith(word));
  return command ? [command, text.slice(word.length)] : ['add', text];
}

/** Cuts a text at `actions=`; undefined when there are none. */
function splitActions(s: string): [string, string] | undefined {
  const at = s.indexOf('action');
  const equals = at < 0 ? -1 : s.indexOf('=', at + 1);
  return equals < 0 ? undefined : [s.slice(0, at), s.slice(equals + 1)];
}

/** A flow, and the flow formats that can carry it. */
export interface ParsedFlow {
  fm: FlowMod;
  protocols: Protocols;
}

/** Parses a flow as add-flow and its like take it. Actions are checked against the match. */
export function parseFlow(s: string, command: FlowTextCommand = 'add', names?: PortNames): ParsedFlow {
  const [used, text] = command === 'any' ? takeCommand(s) : ([command, s] as const);
  const fm = emptyFlowMod(used === 'match' ? 'delete' : used);
  const parts = PARTS[used];
  const split = parts.includes('actions') ? splitActions(text) : undefined;
  if (parts.includes('actions') && !split) throw new FlowTextError('must specify an action');
  const c: FlowModContext = { fm, m: fm.match, names, protocols: P_ANY, command: used, parts };
  for (const { key, value } of parseKeyValues(split ? split[0] : text)) flowModItem(c, key, value);
  takeTypeOfPacketType(fm.match);
  const { flow, wc } = fm.match;
  if (flow.dlType === ETH_TYPE_IPV6 && (wc.nwProto || wc.nwTos || wc.tpSrc || wc.tpDst)) c.protocols &= P_NXM_OXM_ANY;
  if (fm.newCookie === UINT64_MAX && fm.cookieMask === 0n) fm.newCookie = 0n;
  if (split) c.protocols &= takeActions(fm, split[1], c.protocols, names);
  return { fm, protocols: c.protocols };
}

/** Returns the formats that can carry the actions. */
function takeActions(fm: FlowMod, text: string, protocols: Protocols, names: PortNames | undefined): Protocols {
  const parsed = parseInstructionsText(text, names);
  const checked = checkUsable(parsed.actions, fm.match, { tableId: fm.tableId, nTables: 255 });
  const usable = parsed.protocols & checked.protocols;
  const error = checked.error ?? (usable & protocols ? undefined : 'OFPBAC_MATCH_INCONSISTENT');
  if (error) throw new FlowTextError(`actions are invalid with specified match (${error})`);
  fm.actions = parsed.actions;
  return usable;
}

/** The same for a flow-mod that is sent; what OpenFlow will ignore of its match is logged. */
export function parseFlowMod(s: string, command: FlowTextCommand = 'add', names?: PortNames): ParsedFlow {
  const parsed = parseFlow(s, command, names);
  normalizeMatch(cloneMatch(parsed.fm.match));
  return parsed;
}

/** The flow alone. */
export function parse(s: string, command: FlowModCommand = 'add', names?: PortNames): FlowMod {
  return parseFlow(s, command, names).fm;
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
  add(
    stats || fs.tableId !== 0 || names?.tableNameOf?.(fs.tableId) !== undefined,
    `table=${formatTable(fs.tableId, names)}`,
  );
  const counter = (n: bigint) => (n === UINT64_MAX ? '?' : n);
  add(stats, `n_packets=${counter(fs.packetCount)}`);
  add(stats, `n_bytes=${counter(fs.byteCount)}`);
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
