import { NXAST } from '../../protocols/openflow-actions.ts';
import { ofpPort } from '../base/types.ts';
import { parseCt, parseNat } from './action-ct.ts';
import { parseDecap, parseEncap } from './action-encap.ts';
import { actionFields } from './action-fields.ts';
import { parseBundle, parseMultipath } from './action-hash.ts';
import { parseLearn } from './action-learn.ts';
import { parseSample } from './action-sample.ts';
import { OFPR_NAMES } from './action-text.ts';
import { findVerifyError, type VerifyOptions } from './action-verify.ts';
import type { Ofpact, OfpactOf } from './actions.ts';
import { parseIpv4 } from './address-text.ts';
import { exactProtocols, fieldByName, fieldValueOk, valueToBigInt } from './field.ts';
import {
  formatField,
  parseField,
  parseFieldName,
  parseMove,
  parseSubfield,
  parseSubfieldPrefix,
} from './field-text.ts';
import { parseKeyValues } from './key-value.ts';
import { OFPR_ACTION } from './messages.ts';
import {
  atoi,
  FlowTextError,
  parseHexBytes,
  parseIntString,
  scanNumber,
  strToU8,
  strToU16,
  strToU32,
  strToU64,
  Tokens,
} from './number-text.ts';
import { type PortNames, parsePort, parseTable } from './port.ts';
import { P_ANY, P_NXM_OF11_UP, P_OF11_UP, P_OF13_UP, P_OF15_UP, type Protocols } from './protocol.ts';
import { copyBits, fitsBits, setBits } from './subfield.ts';

/** Actions from ovs-ofctl's text. Throws FlowTextError, in ovs-ofctl's words. */

/** What a parser knows and finds out. */
interface ParseContext {
  readonly names: PortNames | undefined;
  /** The flow formats that can carry what was parsed so far. */
  protocols: Protocols;
  depth: number;
  /** Bytes that Open vSwitch would hold the list in: it has a limit. */
  size: number;
}

type Parser = (value: string, ctx: ParseContext) => Ofpact;

const CONTROLLER = ofpPort(0xfffffffd);
const IN_PORT = ofpPort(0xfffffff8);
const LOCAL = ofpPort(0xfffffffe);
/** The shortest that a packet is cut to: an Ethernet header. */
const LEAST_LENGTH = 14;
const MAX_DEPTH = 100;
const MAX_SIZE = 0xffff;

function parseOutput(s: string, { names }: ParseContext): Ofpact {
  if (s.includes('port') && s.includes('max_len')) return parseOutputTrunc(s, names);
  const n = parsePort(s, names);
  if (n !== undefined) return { type: 'output', port: n, maxLen: n === CONTROLLER ? 0xffff : 0 };
  try {
    return { type: 'output_reg', src: parseSubfield(s), maxLen: 0xffff };
  } catch {
    throw new FlowTextError(`${s}: output to unknown port`);
  }
}

function truncatePort(s: string, names: PortNames | undefined) {
  const port = parsePort(s, names);
  if (port === undefined) throw new FlowTextError(`output to unknown truncate port: ${s}`);
  if ((port & 0xffff) > 0xff00 && port !== LOCAL && port !== IN_PORT)
    throw new FlowTextError(`output to unsupported truncate port: ${s}`);
  return port;
}

function parseOutputTrunc(s: string, names: PortNames | undefined): Ofpact {
  const a: OfpactOf<'output_trunc'> = { type: 'output_trunc', port: ofpPort(0), maxLen: 0 };
  for (const { key, value } of parseKeyValues(s)) {
    if (key === 'port') a.port = truncatePort(value, names);
    else if (key === 'max_len') {
      a.maxLen = strToU32(value);
      if (a.maxLen < LEAST_LENGTH)
        throw new FlowTextError(`max_len ${a.maxLen} is less than the minimum value ${LEAST_LENGTH}`);
    } else throw new FlowTextError(`invalid key '${key}' in output_trunc argument`);
  }
  return a;
}

function parseHex(s: string, what: string): Uint8Array {
  const { bytes, rest } = parseHexBytes(s);
  if (rest) throw new FlowTextError(`bad hex digit in ${what}`);
  return bytes;
}

function parseController(s: string): Ofpact {
  const a: OfpactOf<'controller'> = { type: 'controller', maxLen: 0xffff, reason: OFPR_ACTION, controllerId: 0 };
  if (/^\d+$/.test(s)) a.maxLen = strToU16(s, 'max_len');
  else for (const { key, value } of parseKeyValues(s)) controllerItem(a, key, value);
  if (a.reason !== OFPR_ACTION || a.controllerId || a.userdata || a.pause || a.meterId !== undefined) return a;
  return { type: 'output', port: CONTROLLER, maxLen: a.maxLen };
}

function controllerItem(a: OfpactOf<'controller'>, key: string, value: string): void {
  if (key === 'max_len') a.maxLen = strToU16(value, 'max_len');
  else if (key === 'id') a.controllerId = strToU16(value, 'id');
  else if (key === 'userdata') a.userdata = parseHex(value, "`controller' action `userdata'");
  else if (key === 'pause') a.pause = true;
  else if (key === 'meter_id') a.meterId = strToU32(value);
  else if (key === 'reason') {
    a.reason = (OFPR_NAMES as readonly string[]).indexOf(value.toLowerCase());
    if (a.reason < 0) throw new FlowTextError(`unknown reason "${value}"`);
  } else throw new FlowTextError(`unknown key "${key}" parsing controller action`);
}

function resubmitTable(s: string, names: PortNames | undefined): number {
  const table = parseTable(s, names);
  if (table === undefined) throw new FlowTextError(`${s}: resubmit to unknown table`);
  return table;
}

function parseResubmit(s: string, { names }: ParseContext): Ofpact {
  const [portText, tableText, ct] = s.split(',');
  const inPort = portText ? parsePort(portText, names) : IN_PORT;
  if (inPort === undefined) throw new FlowTextError(`${portText}: resubmit to unknown port`);
  const tableId = tableText ? resubmitTable(tableText, names) : 255;
  if (ct && ct !== 'ct') throw new FlowTextError(`${ct}: unknown parameter`);
  if (inPort === IN_PORT && tableId === 255)
    throw new FlowTextError('at least one "in_port" or "table" must be specified on resubmit');
  return { type: 'resubmit', inPort, tableId, withCtOrig: ct === 'ct' };
}

/** Splits `value->name`. */
function arrow(s: string): [value: string, name: string] {
  const at = s.indexOf('->');
  if (at < 0) throw new FlowTextError(`${s}: missing \`->'`);
  if (at + 2 === s.length) throw new FlowTextError(`${s}: missing field name following \`->'`);
  return [s.slice(0, at), s.slice(at + 2)];
}

function parseSetField(s: string, ctx: ParseContext): Ofpact {
  const [text, name] = arrow(s);
  const field = fieldByName(name);
  if (!field) throw new FlowTextError(`${name} is not a valid OXM field name`);
  if (!field.writable) throw new FlowTextError(`${name} is read-only`);
  const { value, mask } = parseField(field, text, ctx.names);
  if (!fieldValueOk(field, value)) throw new FlowTextError(`${text} is not a valid value for field ${name}`);
  ctx.protocols &= exactProtocols(field);
  return { type: 'set_field', field, value, mask, load: false };
}

function parseLoad(s: string): Ofpact {
  const [text, name] = arrow(s);
  const { field, ofs, nBits } = parseSubfield(name);
  const parsed = parseIntString(text, field.nBytes);
  if (typeof parsed === 'string') throw new FlowTextError(`${s}: cannot parse integer value`);
  if (!fitsBits(parsed.value, nBits))
    throw new FlowTextError(`${s}: value ${formatField(field, parsed.value)} does not fit into ${nBits} bits`);
  const [value, mask] = [new Uint8Array(field.nBytes), new Uint8Array(field.nBytes)];
  copyBits(parsed.value, 0, value, ofs, nBits);
  setBits(mask, ofs, nBits);
  return { type: 'set_field', field, value, mask, load: true };
}

function parseEnqueue(s: string, { names }: ParseContext): Ofpact {
  const tokens = new Tokens(s);
  const [portText, queue] = [tokens.next(':q,'), tokens.rest()];
  if (portText === undefined || queue === undefined)
    throw new FlowTextError('"enqueue" syntax is "enqueue:PORT:QUEUE" or "enqueue(PORT,QUEUE)"');
  const port = parsePort(portText, names);
  if (port === undefined) throw new FlowTextError(`${portText}: enqueue to unknown port`);
  return { type: 'enqueue', port, queue: strToU32(queue) };
}

function parseDecTtl(s: string): Ofpact {
  if (s === '') return { type: 'dec_ttl', ids: [0] };
  const words = s.split(/[, ]+/).filter((w) => w !== '');
  if (!words.length) throw new FlowTextError('dec_ttl_cnt_ids: expected at least one controller id.');
  return { type: 'dec_ttl', ids: words.map((w) => atoi(w) & 0xffff), raw: NXAST.DEC_TTL_CNT_IDS };
}

function parseConjunction(s: string): Ofpact {
  const m = /^\s*([+-]?(?:0[xX][0-9a-fA-F]+|\d+))\s*,\s*(\d+)\s*\/\s*(\d+)\s*$/.exec(s);
  if (!m) throw new FlowTextError('"conjunction" syntax is "conjunction(id,i/n)"');
  const id = Number(BigInt.asUintN(32, scanNumber(m[1])?.n ?? 0n));
  const [i, n] = [Number(m[2]), Number(m[3])];
  if (n < 2) throw new FlowTextError('conjunction must have at least 2 clauses');
  if (n > 64) throw new FlowTextError('conjunction must have at most 64 clauses');
  if (i < 1) throw new FlowTextError('clause index must be positive');
  if (i > n) throw new FlowTextError('clause index must be less than or equal to number of clauses');
  return { type: 'conjunction', id, clause: i - 1, nClauses: n };
}

function parseFinTimeout(s: string): Ofpact {
  const a: OfpactOf<'fin_timeout'> = { type: 'fin_timeout', idleTimeout: 0, hardTimeout: 0 };
  for (const { key, value } of parseKeyValues(s)) {
    if (key === 'idle_timeout') a.idleTimeout = strToU16(value, key);
    else if (key === 'hard_timeout') a.hardTimeout = strToU16(value, key);
    else throw new FlowTextError(`invalid key '${key}' in 'fin_timeout' argument`);
  }
  return a;
}

function parseWriteMetadata(s: string, ctx: ParseContext): Ofpact {
  ctx.protocols &= P_NXM_OF11_UP;
  const slash = s.indexOf('/');
  const mask = slash < 0 ? 0xffff_ffff_ffff_ffffn : strToU64(s.slice(slash + 1));
  return { type: 'write_metadata', metadata: strToU64(slash < 0 ? s : s.slice(0, slash)), mask };
}

function parseCheckPktLarger(s: string): Ofpact {
  const [text, name] = arrow(s);
  const dst = parseSubfield(name);
  if (dst.nBits !== 1) throw new FlowTextError('Only 1-bit destination field is allowed');
  return { type: 'check_pkt_larger', pktLen: strToU16(text.endsWith(')') ? text.slice(0, -1) : text, '(null)'), dst };
}

function parseStack(type: 'stack_push' | 'stack_pop'): Parser {
  return (s) => {
    const { subfield, rest } = parseSubfieldPrefix(s);
    if (rest) throw new FlowTextError(`${rest}: trailing garbage following push or pop`);
    return { type, subfield };
  };
}

function ipv4(s: string): number {
  const b = parseIpv4(s);
  if (!b) throw new FlowTextError(`${s}: could not convert to IP address`);
  return Number(valueToBigInt(b));
}

function macOf(s: string): Uint8Array {
  const m = /^\s*([0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5})/.exec(s);
  if (!m) throw new FlowTextError(`invalid mac address ${s}`);
  return Uint8Array.from(m[1].split(':'), (b) => Number.parseInt(b, 16));
}

/** `what`: of what `s` is no valid one when a bit of `bad` is set in it. */
function withoutBits(n: number, bad: number, s: string, what: string): number {
  if (n & bad) throw new FlowTextError(`${s}: not a valid ${what}`);
  return n;
}

const vlanVid =
  (pushIfNeeded: boolean): Parser =>
  (s) => ({
    type: 'set_vlan_vid',
    vid: withoutBits(strToU16(s, 'VLAN VID'), 0xf000, s, 'VLAN VID'),
    pushIfNeeded,
    flowHasVlan: false,
  });
const vlanPcp =
  (pushIfNeeded: boolean): Parser =>
  (s) => ({
    type: 'set_vlan_pcp',
    pcp: withoutBits(strToU8(s, 'VLAN PCP'), 0xf8, s, 'VLAN PCP'),
    pushIfNeeded,
    flowHasVlan: false,
  });

function parsePushVlan(s: string, ctx: ParseContext): Ofpact {
  ctx.protocols &= P_OF11_UP;
  const ethertype = strToU16(s, 'ethertype');
  if (ethertype !== 0x8100 && ethertype !== 0x88a8) throw new FlowTextError(`${s}: not a valid VLAN ethertype`);
  return { type: 'push_vlan', ethertype };
}

function parseGotoTable(s: string, { names }: ParseContext): Ofpact {
  const tableId = parseTable(s, names);
  if (tableId === undefined) throw new FlowTextError(`unknown table "${s}"`);
  return { type: 'goto_table', tableId };
}

const constant =
  (a: Ofpact): Parser =>
  () =>
    ({ ...a }) as Ofpact;
const u32 =
  (make: (n: number) => Ofpact): Parser =>
  (s) =>
    make(strToU32(s));
/** A parser that refuses an empty argument. */
const required =
  (error: string, parse: Parser): Parser =>
  (s, ctx) => {
    if (s === '') throw new FlowTextError(error);
    return parse(s, ctx);
  };
const ttl: Parser = (s) => ({ type: 'set_ip_ttl', ttl: strToU8(s, 'TTL') });

const PARSERS: Readonly<Record<string, Parser>> = {
  output: parseOutput,
  output_reg: parseOutput,
  output_trunc: (s) => {
    throw new FlowTextError(`unknown action ${s}`);
  },
  group: u32((groupId) => ({ type: 'group', groupId })),
  controller: parseController,
  enqueue: parseEnqueue,
  bundle: (s, { names }) => parseBundle(s, false, names),
  bundle_load: (s, { names }) => parseBundle(s, true, names),
  set_field: parseSetField,
  load: parseLoad,
  move: (s) => ({ type: 'reg_move', ...parseMove(s) }),
  mod_vlan_vid: vlanVid(true),
  set_vlan_vid: vlanVid(false),
  mod_vlan_pcp: vlanPcp(true),
  set_vlan_pcp: vlanPcp(false),
  strip_vlan: constant({ type: 'strip_vlan' }),
  pop_vlan: constant({ type: 'strip_vlan', popVlan: true }),
  push_vlan: parsePushVlan,
  mod_dl_src: (s) => ({ type: 'set_eth_src', mac: macOf(s) }),
  mod_dl_dst: (s) => ({ type: 'set_eth_dst', mac: macOf(s) }),
  mod_nw_src: (s) => ({ type: 'set_ipv4_src', ip: ipv4(s) }),
  mod_nw_dst: (s) => ({ type: 'set_ipv4_dst', ip: ipv4(s) }),
  mod_nw_tos: (s) => ({ type: 'set_ip_dscp', dscp: withoutBits(strToU8(s, 'TOS'), 3, s, 'TOS') }),
  mod_nw_ecn: (s) => ({ type: 'set_ip_ecn', ecn: withoutBits(strToU8(s, 'ECN'), 0xfc, s, 'ECN') }),
  mod_nw_ttl: ttl,
  set_nw_ttl: ttl,
  mod_tp_src: (s) => ({ type: 'set_l4_src_port', port: strToU16(s, 'source port'), flowIpProto: 0 }),
  mod_tp_dst: (s) => ({ type: 'set_l4_dst_port', port: strToU16(s, 'destination port'), flowIpProto: 0 }),
  dec_ttl: parseDecTtl,
  set_mpls_label: required('set_mpls_label: expected label.', (s) => ({
    type: 'set_mpls_label',
    label: withoutBits(strToU32(s), ~0xfffff, s, 'MPLS label'),
  })),
  set_mpls_tc: required('set_mpls_tc: expected tc.', (s) => ({
    type: 'set_mpls_tc',
    tc: withoutBits(strToU8(s, 'MPLS TC'), 0xf8, s, 'MPLS TC'),
  })),
  set_mpls_ttl: required('set_mpls_ttl: expected ttl.', (s) => ({ type: 'set_mpls_ttl', ttl: strToU8(s, 'MPLS TTL') })),
  dec_mpls_ttl: constant({ type: 'dec_mpls_ttl' }),
  dec_nsh_ttl: constant({ type: 'dec_nsh_ttl' }),
  push_mpls: (s) => ({ type: 'push_mpls', ethertype: strToU16(s, 'push_mpls') }),
  pop_mpls: (s) => ({ type: 'pop_mpls', ethertype: strToU16(s, 'pop_mpls') }),
  delete_field: (s) => ({ type: 'delete_field', field: parseFieldName(s) }),
  encap: (s, ctx) => {
    ctx.protocols &= P_OF13_UP;
    return parseEncap(s);
  },
  decap: (s) => parseDecap(s),
  set_tunnel: (s) => ({ type: 'set_tunnel', tunId: strToU64(s), raw: NXAST.SET_TUNNEL }),
  set_tunnel64: (s) => ({ type: 'set_tunnel', tunId: strToU64(s), raw: NXAST.SET_TUNNEL64 }),
  set_queue: u32((queue) => ({ type: 'set_queue', queue })),
  pop_queue: constant({ type: 'pop_queue' }),
  fin_timeout: parseFinTimeout,
  push: parseStack('stack_push'),
  pop: parseStack('stack_pop'),
  resubmit: parseResubmit,
  learn: (s, { names }) => parseLearn(s, names),
  conjunction: parseConjunction,
  multipath: (s) => parseMultipath(s),
  note: (s) => ({ type: 'note', data: parseHex(s, "`note' argument") }),
  exit: constant({ type: 'exit' }),
  unroll_xlate: () => {
    throw new FlowTextError("UNROLL is an internal action that shouldn't be used via OpenFlow");
  },
  sample: (s, { names }) => parseSample(s, names),
  ct: (s, ctx) => parseCt(s, ctx.names, (nested) => parseNested(nested, ctx, 'ct')),
  ct_clear: constant({ type: 'ct_clear' }),
  nat: (s) => parseNat(s),
  clone: (s, ctx) => ({ type: 'clone', actions: parseNested(s, ctx, 'clone') }),
  check_pkt_larger: parseCheckPktLarger,
  debug_recirc: constant({ type: 'debug_recirc' }),
  debug_slow: constant({ type: 'debug_slow' }),
  meter: (s, ctx) => {
    ctx.protocols &= P_OF13_UP;
    return { type: 'meter', meterId: strToU32(s) };
  },
  clear_actions: constant({ type: 'clear_actions' }),
  write_actions: (s, ctx) => ({ type: 'write_actions', actions: parseNested(s, ctx, 'write_actions') }),
  write_metadata: parseWriteMetadata,
  goto_table: parseGotoTable,
};

/** About what an action takes in Open vSwitch's memory: 8 bytes' steps, 16 at least. */
function sizeOf(a: Ofpact): number {
  const round8 = (n: number) => (n + 7) & ~7;
  switch (a.type) {
    case 'set_field':
      return 16 + 2 * round8(a.field.nBytes);
    case 'note':
      return round8(6 + a.data.length);
    case 'bundle':
      return 40 + round8(4 * a.members.length);
    case 'learn':
      return 64 + a.specs.length * 48;
    case 'controller':
      return 24 + round8(a.userdata?.length ?? 0);
    case 'dec_ttl':
      return round8(8 + 2 * a.ids.length);
    case 'reg_move':
    case 'multipath':
    case 'ct':
      return 40;
    case 'encap':
      return 16 + a.props.length;
    default:
      return 16;
  }
}

/** Some fields are words of flow text alone (dl_vlan): no action can name them in bytes. */
function sayable(a: Ofpact): Ofpact {
  const field = actionFields(a).find((f) => f.headers.length === 0);
  if (field) throw new FlowTextError(`${field.name} is not a valid OXM field name`);
  return a;
}

function parseOne(key: string, value: string, ctx: ParseContext): Ofpact {
  const name = key.toLowerCase();
  const parser = Object.hasOwn(PARSERS, name) ? PARSERS[name] : undefined;
  if (parser) return sayable(parser(value, ctx));
  const port = parsePort(key, ctx.names);
  if (port !== undefined) return { type: 'output', port, maxLen: 0 };
  throw new FlowTextError(`unknown action ${key}`);
}

function parseList(s: string, ctx: ParseContext, verify: VerifyOptions): Ofpact[] {
  if (ctx.depth >= MAX_DEPTH) throw new FlowTextError('Action nested too deeply');
  ctx.depth++;
  const out: Ofpact[] = [];
  let drop = false;
  for (const { key, value } of parseKeyValues(s)) {
    const name = key.toLowerCase();
    if (name === 'drop') drop = true;
    else if (name === 'apply_actions') throw new FlowTextError('apply_actions is the default instruction');
    else {
      const a = parseOne(key, value, ctx);
      if (a.type === 'meter' && verify.instructions === false) ctx.protocols &= P_OF15_UP;
      out.push(a);
      ctx.size += sizeOf(a);
      if (ctx.size > MAX_SIZE) throw new FlowTextError('input too big');
    }
  }
  if (drop && out.length) throw new FlowTextError('"drop" must not be accompanied by any other action or instruction');
  const error = findVerifyError(out, 2, verify);
  if (error) throw new FlowTextError(error.text);
  ctx.depth--;
  return out;
}

function parseNested(s: string, ctx: ParseContext, outer: NonNullable<VerifyOptions['outer']>): Ofpact[] {
  return parseList(s, ctx, { instructions: false, meter: true, outer });
}

/** Actions, and the flow formats that can carry them. */
export interface ParsedActions {
  actions: Ofpact[];
  protocols: Protocols;
}

function parseWith(s: string, names: PortNames | undefined, verify: VerifyOptions): ParsedActions {
  const ctx: ParseContext = { names, protocols: P_ANY, depth: 0, size: 0 };
  const actions = parseList(s, ctx, verify);
  return { actions, protocols: ctx.protocols };
}

/** Parses actions and instructions, as flows have them. */
export function parseInstructionsText(s: string, names?: PortNames): ParsedActions {
  return parseWith(s, names, {});
}

/** Parses actions alone, as buckets and packet-outs have them. */
export function parseActionsText(s: string, names?: PortNames): ParsedActions {
  return parseWith(s, names, { instructions: false, meter: true });
}

/** Parses a list of actions and instructions. */
export function parseActions(s: string, names?: PortNames): Ofpact[] {
  return parseInstructionsText(s, names).actions;
}
