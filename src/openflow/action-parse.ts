import { ofpPort } from '../base/types.ts';
import { OFPR_NAMES } from './action-text.ts';
import type { Ofpact } from './actions.ts';
import { parseIpv4, parseMac } from './address-text.ts';
import { OfDecodeError } from './buffer.ts';
import { fieldByName, fieldValueBig, fieldValueOk, valueToBigInt } from './field.ts';
import { FlowTextError, parseField, parseSubfield } from './field-text.ts';
import { verifyActions } from './instruction.ts';
import { parseKeyValues } from './key-value.ts';
import { OFPR_ACTION } from './messages.ts';
import { type PortNames, parsePort } from './port.ts';

/** Actions from ovs-ofctl's text. Throws FlowTextError, in ovs-ofctl's words where it has them. */

type Parser = (value: string, names: PortNames | undefined) => Ofpact;

/** A number in decimal, octal or hexadecimal, at most `max`. */
export function parseNumber(s: string, what: string, max: number): number {
  const n = /^(0[xX][0-9a-fA-F]+|\d+)$/.test(s) ? Number(s) : Number.NaN;
  if (!(n <= max)) throw new FlowTextError(`invalid ${what} "${s}"`);
  return n;
}

/** A 64-bit number; `-1` is all ones. */
export function parseU64(s: string): bigint {
  if (!/^(0[xX][0-9a-fA-F]+|-?\d+)$/.test(s)) throw new FlowTextError(`invalid numeric format "${s}"`);
  return BigInt.asUintN(64, BigInt(s));
}

function port(s: string, names: PortNames | undefined, error: string) {
  const n = parsePort(s, names);
  if (n === undefined) throw new FlowTextError(`${s}: ${error}`);
  return n;
}

const CONTROLLER = ofpPort(0xfffffffd);
const IN_PORT = ofpPort(0xfffffff8);

function parseOutput(s: string, names: PortNames | undefined): Ofpact {
  if (s.includes('port') && s.includes('max_len')) return parseOutputTrunc(s, names);
  const n = parsePort(s, names);
  if (n !== undefined) return { type: 'output', port: n, maxLen: n === CONTROLLER ? 0xffff : 0 };
  try {
    return { type: 'output_reg', src: parseSubfield(s), maxLen: 0xffff };
  } catch {
    throw new FlowTextError(`${s}: output to unknown port`);
  }
}

function parseOutputTrunc(s: string, names: PortNames | undefined): Ofpact {
  const items = new Map(parseKeyValues(s).map(({ key, value }) => [key, value]));
  const maxLen = parseNumber(items.get('max_len') ?? '', 'max_len', 0xffffffff);
  if (maxLen < 14) throw new FlowTextError(`max_len ${maxLen} is less than the minimum value 14`);
  return {
    type: 'output_trunc',
    port: port(items.get('port') ?? '', names, 'output to unknown truncate port'),
    maxLen,
  };
}

function parseHex(s: string, what: string): Uint8Array {
  const digits = s.replaceAll('.', '');
  if (digits.length % 2 || !/^[0-9a-fA-F]*$/.test(digits)) throw new FlowTextError(`bad hex digit in ${what}`);
  return Uint8Array.from(digits.match(/../g) ?? [], (b) => Number.parseInt(b, 16));
}

function parseController(s: string): Ofpact {
  const a: Extract<Ofpact, { type: 'controller' }> = {
    type: 'controller',
    maxLen: 0xffff,
    reason: OFPR_ACTION,
    controllerId: 0,
  };
  if (/^\d+$/.test(s)) a.maxLen = parseNumber(s, 'max_len', 0xffff);
  else for (const { key, value } of parseKeyValues(s)) controllerItem(a, key, value);
  if (a.reason !== OFPR_ACTION || a.controllerId || a.userdata || a.pause || a.meterId !== undefined) return a;
  return { type: 'output', port: CONTROLLER, maxLen: a.maxLen };
}

function controllerItem(a: Extract<Ofpact, { type: 'controller' }>, key: string, value: string): void {
  if (key === 'max_len') a.maxLen = parseNumber(value, 'max_len', 0xffff);
  else if (key === 'id') a.controllerId = parseNumber(value, 'id', 0xffff);
  else if (key === 'userdata') a.userdata = parseHex(value, "`controller' action `userdata'");
  else if (key === 'pause') a.pause = true;
  else if (key === 'meter_id') a.meterId = parseNumber(value, 'meter_id', 0xffffffff);
  else if (key === 'reason') {
    a.reason = (OFPR_NAMES as readonly string[]).indexOf(value);
    if (a.reason < 0) throw new FlowTextError(`unknown reason "${value}"`);
  } else throw new FlowTextError(`unknown key "${key}" parsing controller action`);
}

function parseResubmit(s: string, names: PortNames | undefined): Ofpact {
  const [inPort, table, ct] = s.split(',').map((x) => x.trim());
  if (!inPort && !table) throw new FlowTextError('at least one "in_port" or "table" must be specified on resubmit');
  if (ct !== undefined && ct !== 'ct') throw new FlowTextError(`${ct}: resubmit to unknown table`);
  return {
    type: 'resubmit',
    inPort: inPort ? port(inPort, names, 'resubmit to unknown port') : IN_PORT,
    tableId: table ? parseNumber(table, 'table', 255) : 255,
    withCtOrig: ct === 'ct',
  };
}

/** Splits `value->name`. */
function arrow(s: string): [string, string] {
  const at = s.indexOf('->');
  if (at < 0) throw new FlowTextError(`${s}: missing \`->'`);
  if (at === 0) throw new FlowTextError(`${s}: missing value`);
  return [s.slice(0, at).trim(), s.slice(at + 2).trim()];
}

function parseSetField(s: string, names: PortNames | undefined): Ofpact {
  const [text, name] = arrow(s);
  const field = fieldByName(name);
  if (!field) throw new FlowTextError(`${name} is not a valid OXM field name`);
  if (!field.writable) throw new FlowTextError(`${name} is read-only`);
  const { value, mask } = parseField(field, text, names);
  if (!fieldValueOk(field, value)) throw new FlowTextError(`${text} is not a valid value for field ${name}`);
  return { type: 'set_field', field, value, mask, load: false };
}

function parseLoad(s: string): Ofpact {
  const [text, name] = arrow(s);
  const { field, ofs, nBits } = parseSubfield(name);
  if (!/^(0[xX][0-9a-fA-F]+|\d+)$/.test(text)) throw new FlowTextError(`${s}: cannot parse integer value`);
  const n = BigInt(text);
  if (n >> BigInt(nBits)) throw new FlowTextError(`${s}: value ${text} does not fit into ${nBits} bits`);
  return {
    type: 'set_field',
    field,
    value: fieldValueBig(field, n << BigInt(ofs)),
    mask: fieldValueBig(field, ((1n << BigInt(nBits)) - 1n) << BigInt(ofs)),
    load: true,
  };
}

function parseMove(s: string): Ofpact {
  const [from, to] = arrow(s);
  const [src, dst] = [parseSubfield(from), parseSubfield(to)];
  if (src.nBits !== dst.nBits)
    throw new FlowTextError(`${s}: source field is ${src.nBits} bits wide but destination is ${dst.nBits} bits wide`);
  return { type: 'reg_move', src, dst };
}

function parseEnqueue(s: string, names: PortNames | undefined): Ofpact {
  const m = /^([^:q,]+)[:q,]+(.+)$/.exec(s);
  if (!m) throw new FlowTextError('"enqueue" syntax is "enqueue:PORT:QUEUE" or "enqueue(PORT,QUEUE)"');
  return {
    type: 'enqueue',
    port: port(m[1], names, 'enqueue to unknown port'),
    queue: parseNumber(m[2], 'queue', 0xffffffff),
  };
}

function parseDecTtl(s: string): Ofpact {
  return {
    type: 'dec_ttl',
    ids: s === '' ? [0] : s.split(/[, ]+/).map((x) => parseNumber(x, 'controller id', 0xffff)),
  };
}

function parseConjunction(s: string): Ofpact {
  const m = /^\s*(\d+)\s*,\s*(\d+)\s*\/\s*(\d+)\s*$/.exec(s);
  if (!m) throw new FlowTextError('"conjunction" syntax is "conjunction(id,i/n)"');
  const [id, i, n] = m.slice(1).map(Number);
  if (n < 2) throw new FlowTextError('conjunction must have at least 2 clauses');
  if (n > 64) throw new FlowTextError('conjunction must have at most 64 clauses');
  if (i < 1) throw new FlowTextError('clause index must be positive');
  if (i > n) throw new FlowTextError(`clause index must be less than or equal to number of clauses`);
  return { type: 'conjunction', id, clause: i - 1, nClauses: n };
}

/** In a note the data fills its action: 6 bytes, then 8 more each. */
function parseNote(s: string): Ofpact {
  const data = parseHex(s, "`note' argument");
  const padded = new Uint8Array(Math.ceil((Math.max(data.length, 6) - 6) / 8) * 8 + 6);
  padded.set(data);
  return { type: 'note', data: padded };
}

function parseFinTimeout(s: string): Ofpact {
  const a: Extract<Ofpact, { type: 'fin_timeout' }> = { type: 'fin_timeout', idleTimeout: 0, hardTimeout: 0 };
  for (const { key, value } of parseKeyValues(s)) {
    if (key === 'idle_timeout') a.idleTimeout = parseNumber(value, key, 0xffff);
    else if (key === 'hard_timeout') a.hardTimeout = parseNumber(value, key, 0xffff);
    else throw new FlowTextError(`invalid key '${key}' in 'fin_timeout' argument`);
  }
  return a;
}

function parseWriteMetadata(s: string): Ofpact {
  const [value, mask] = s.split('/');
  return {
    type: 'write_metadata',
    metadata: parseU64(value),
    mask: mask === undefined ? 0xffff_ffff_ffff_ffffn : parseU64(mask),
  };
}

function ipv4(s: string): number {
  const b = parseIpv4(s);
  if (!b) throw new FlowTextError(`${s}: invalid IP address`);
  return Number(valueToBigInt(b));
}

function macOf(s: string): Uint8Array {
  const b = parseMac(s);
  if (!b) throw new FlowTextError(`${s}: invalid Ethernet address`);
  return b;
}

const vlanVid =
  (pushIfNeeded: boolean): Parser =>
  (s) => ({ type: 'set_vlan_vid', vid: vlan(s, 'VID', 0xfff), pushIfNeeded, flowHasVlan: false });
const vlanPcp =
  (pushIfNeeded: boolean): Parser =>
  (s) => ({ type: 'set_vlan_pcp', pcp: vlan(s, 'PCP', 7), pushIfNeeded, flowHasVlan: false });
function vlan(s: string, what: string, max: number): number {
  const n = parseNumber(s, `VLAN ${what}`, 0xffff);
  if (n > max) throw new FlowTextError(`${s}: not a valid VLAN ${what}`);
  return n;
}

function ethertype(s: string, allowed: readonly number[], what: string): number {
  const n = parseNumber(s, 'ethertype', 0xffff);
  if (allowed.length && !allowed.includes(n)) throw new FlowTextError(`${s}: not a valid ${what} ethertype`);
  return n;
}

const constant =
  (a: Ofpact): Parser =>
  () =>
    ({ ...a }) as Ofpact;
const number =
  (what: string, max: number, make: (n: number) => Ofpact): Parser =>
  (s) =>
    make(parseNumber(s, what, max));

const PARSERS: Readonly<Record<string, Parser>> = {
  output: parseOutput,
  group: number('group', 0xffffffff, (groupId) => ({ type: 'group', groupId })),
  controller: parseController,
  enqueue: parseEnqueue,
  set_field: parseSetField,
  load: parseLoad,
  move: parseMove,
  mod_vlan_vid: vlanVid(true),
  set_vlan_vid: vlanVid(false),
  mod_vlan_pcp: vlanPcp(true),
  set_vlan_pcp: vlanPcp(false),
  strip_vlan: constant({ type: 'strip_vlan' }),
  pop_vlan: constant({ type: 'strip_vlan', popVlan: true }),
  push_vlan: (s) => ({ type: 'push_vlan', ethertype: ethertype(s, [0x8100, 0x88a8], 'VLAN') }),
  mod_dl_src: (s) => ({ type: 'set_eth_src', mac: macOf(s) }),
  mod_dl_dst: (s) => ({ type: 'set_eth_dst', mac: macOf(s) }),
  mod_nw_src: (s) => ({ type: 'set_ipv4_src', ip: ipv4(s) }),
  mod_nw_dst: (s) => ({ type: 'set_ipv4_dst', ip: ipv4(s) }),
  mod_nw_tos: (s) => {
    const dscp = parseNumber(s, 'TOS', 0xff);
    if (dscp & 3) throw new FlowTextError(`${s}: not a valid TOS`);
    return { type: 'set_ip_dscp', dscp };
  },
  mod_nw_ecn: number('ECN', 3, (ecn) => ({ type: 'set_ip_ecn', ecn })),
  mod_nw_ttl: number('TTL', 0xff, (ttl) => ({ type: 'set_ip_ttl', ttl })),
  set_nw_ttl: number('TTL', 0xff, (ttl) => ({ type: 'set_ip_ttl', ttl })),
  mod_tp_src: number('source port', 0xffff, (n) => ({ type: 'set_l4_src_port', port: n, flowIpProto: 0 })),
  mod_tp_dst: number('destination port', 0xffff, (n) => ({ type: 'set_l4_dst_port', port: n, flowIpProto: 0 })),
  dec_ttl: parseDecTtl,
  set_mpls_label: number('MPLS label', 0xfffff, (label) => ({ type: 'set_mpls_label', label })),
  set_mpls_tc: number('MPLS TC', 7, (tc) => ({ type: 'set_mpls_tc', tc })),
  set_mpls_ttl: number('MPLS TTL', 0xff, (ttl) => ({ type: 'set_mpls_ttl', ttl })),
  dec_mpls_ttl: constant({ type: 'dec_mpls_ttl' }),
  dec_nsh_ttl: constant({ type: 'dec_nsh_ttl' }),
  push_mpls: (s) => ({ type: 'push_mpls', ethertype: ethertype(s, [0x8847, 0x8848], 'MPLS') }),
  pop_mpls: (s) => ({ type: 'pop_mpls', ethertype: ethertype(s, [], 'MPLS') }),
  set_tunnel: (s) => ({ type: 'set_tunnel', tunId: parseU64(s) }),
  set_tunnel64: (s) => ({ type: 'set_tunnel', tunId: parseU64(s) }),
  set_queue: number('queue', 0xffffffff, (queue) => ({ type: 'set_queue', queue })),
  pop_queue: constant({ type: 'pop_queue' }),
  fin_timeout: parseFinTimeout,
  push: (s) => ({ type: 'stack_push', subfield: parseSubfield(s) }),
  pop: (s) => ({ type: 'stack_pop', subfield: parseSubfield(s) }),
  resubmit: parseResubmit,
  conjunction: parseConjunction,
  note: parseNote,
  exit: constant({ type: 'exit' }),
  ct_clear: constant({ type: 'ct_clear' }),
  clone: (s, names) => ({ type: 'clone', actions: parseList(s, names) }),
  debug_recirc: constant({ type: 'debug_recirc' }),
  debug_slow: constant({ type: 'debug_slow' }),
  meter: number('meter', 0xffffffff, (meterId) => ({ type: 'meter', meterId })),
  clear_actions: constant({ type: 'clear_actions' }),
  write_actions: (s, names) => ({ type: 'write_actions', actions: parseList(s, names) }),
  write_metadata: parseWriteMetadata,
  goto_table: number('table', 0xff, (tableId) => ({ type: 'goto_table', tableId })),
};

function parseOne(key: string, value: string, names: PortNames | undefined): Ofpact {
  const parser = PARSERS[key.toLowerCase()];
  if (parser) return parser(value, names);
  const n = parsePort(key, names);
  if (n !== undefined) return { type: 'output', port: n, maxLen: 0 };
  throw new FlowTextError(`unknown action ${key}`);
}

function parseList(s: string, names: PortNames | undefined): Ofpact[] {
  const out: Ofpact[] = [];
  let drop = false;
  for (const { key, value } of parseKeyValues(s)) {
    if (key.toLowerCase() === 'drop') drop = true;
    else if (key.toLowerCase() === 'apply_actions') throw new FlowTextError('apply_actions is the default instruction');
    else out.push(parseOne(key, value, names));
  }
  if (drop && out.length) throw new FlowTextError('"drop" must not be accompanied by any other action or instruction');
  return out;
}

/** Parses a list of actions and instructions. */
export function parseActions(s: string, names?: PortNames): Ofpact[] {
  const out = parseList(s, names);
  try {
    verifyActions(out, 1);
  } catch (e) {
    if (e instanceof OfDecodeError) throw new FlowTextError(e.ofError);
    throw e;
  }
  return out;
}
