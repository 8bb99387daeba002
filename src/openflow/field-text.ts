import type { MatchField } from '../../protocols/fields.ts';
import { ofpPort } from '../base/types.ts';
import type { Subfield } from './actions.ts';
import {
  CT_STATE_FLAGS,
  type FlagNames,
  formatFlags,
  formatMaskedMac,
  formatPrefixed,
  hexBytes,
  parseIpv4,
  parseIpv6,
  parseMac,
  prefixMask,
  TCP_FLAG_NAMES,
  TUN_FLAG_NAMES,
} from './address-text.ts';
import { fieldByName, fieldMaskOk, fieldValue, isAllOnes, isAllZeros, portFromOfp10, valueToBigInt } from './field.ts';
import { FlowTextError, parseIntString, scanNumber } from './number-text.ts';
import { fieldByOxmName, oxmHeaderOf } from './oxm.ts';
import { formatPort, type PortNames, parsePort } from './port.ts';

/** Values of match fields in text (ovs-fields(7)). */

export { FlowTextError };

export interface MaskedValue {
  value: Uint8Array;
  mask: Uint8Array;
}

const ones = (n: number): Uint8Array => new Uint8Array(n).fill(0xff);
const num = (b: Uint8Array): number => b.reduce((n, x) => n * 256 + x, 0);

/** `[value, mask, name]` of the words for IP fragments. */
const FRAGS: readonly (readonly [number, number, string])[] = [
  [0, 3, 'no'],
  [1, 1, 'yes'],
  [1, 3, 'first'],
  [3, 3, 'later'],
  [0, 2, 'not_later'],
];

/** Flags of a field: their names, and all that can be matched. */
const FLAGS: Readonly<Partial<Record<MatchField['format'], readonly [FlagNames, number]>>> = {
  'tcp-flags': [TCP_FLAG_NAMES, 0xfff],
  'ct-state': [CT_STATE_FLAGS, 0xff],
  'tunnel-flags': [TUN_FLAG_NAMES, 1],
};

function formatInteger(f: MatchField, value: Uint8Array, mask: Uint8Array | undefined): string {
  const text = f.format === 'hex' ? hexBytes(value) : valueToBigInt(value).toString();
  return mask ? `${text}/${hexBytes(mask)}` : text;
}

function formatPacketType(value: number, mask: number): string {
  if (value === 0 && mask === 0xffffffff) return 'eth';
  const half = (n: number, m: number) => {
    if (!m) return '*';
    const text = n > 9 ? `0x${n.toString(16)}` : String(n);
    return m === 0xffff ? text : `${text}/0x${m.toString(16)}`;
  };
  return `packet_type=(${half(value >>> 16, mask >>> 16)},${half(value & 0xffff, mask & 0xffff)})`;
}

/** A field's value; `mask` all ones or absent: exact. */
export function formatField(f: MatchField, value: Uint8Array, mask?: Uint8Array, names?: PortNames): string {
  if (mask && isAllZeros(mask)) return 'ANY';
  const partial = mask && !isAllOnes(mask) ? mask : undefined;
  const full = mask ?? ones(f.nBytes);
  const flags = FLAGS[f.format];
  if (flags) return formatFlags(num(value), num(full), flags[1], flags[0]);
  switch (f.format) {
    case 'port16':
      return partial ? formatInteger(f, value, partial) : formatPort(ofpPort(portFromOfp10(num(value))), names);
    case 'port32':
      return partial ? formatInteger(f, value, partial) : formatPort(ofpPort(num(value)), names);
    case 'ethernet':
      return formatMaskedMac(value, full);
    case 'ipv4':
    case 'ipv6':
      return formatPrefixed(value, full);
    case 'frag':
      return FRAGS.find(([v, m]) => (num(value) & m) === v && (num(full) & 3) === m)?.[2] ?? '<error>';
    case 'packet-type':
      return formatPacketType(num(value), num(full));
    default:
      return formatInteger(f, value, partial);
  }
}

function parseInteger(f: MatchField, s: string): MaskedValue {
  const wrong = (text: string, what: string, error: 'range' | 'invalid') =>
    new FlowTextError(
      error === 'range'
        ? `${text}: ${what} too large for ${f.nBytes}-byte field ${f.name}`
        : `${text}: bad syntax for ${f.name} ${what}`,
    );
  const value = parseIntString(s, f.nBytes);
  if (typeof value === 'string') throw wrong(s, 'value', value);
  if (value.tail === '') return { value: value.value, mask: ones(f.nBytes) };
  if (value.tail[0] !== '/') throw wrong(s, 'value', 'invalid');
  const mask = parseIntString(value.tail.slice(1), f.nBytes);
  if (typeof mask === 'string') throw wrong(s, 'mask', mask);
  if (mask.tail !== '') throw wrong(s, 'mask', 'invalid');
  return { value: value.value, mask: mask.value };
}

/** `value` or `value/mask`. */
function splitMask(s: string): [string, string | undefined] {
  const slash = s.indexOf('/');
  return slash < 0 ? [s, undefined] : [s.slice(0, slash), s.slice(slash + 1)];
}

function parseEthernet(f: MatchField, s: string): MaskedValue {
  const [v, m] = splitMask(s);
  const value = parseMac(v);
  const mask = m === undefined ? ones(f.nBytes) : parseMac(m);
  if (!value || !mask) throw new FlowTextError(`${s}: invalid Ethernet address`);
  return { value, mask };
}

/** The words of errors about an IP address, which differ between the versions. */
const IP_WORDS = {
  ipv4: { one: parseIpv4, bits: 32, name: 'IPv4', invalid: 'invalid IP address', badMask: 'invalid IP address' },
  ipv6: { one: parseIpv6, bits: 128, name: 'IPv6', invalid: 'invalid IPv6 address', badMask: 'Invalid IPv6 mask' },
} as const;

function parseIp(f: MatchField, s: string, words: (typeof IP_WORDS)['ipv4' | 'ipv6']): MaskedValue {
  const [v, m] = splitMask(s);
  const value = words.one(v);
  if (!value) throw new FlowTextError(`${s}: ${words.invalid}`);
  if (m === undefined) return { value, mask: ones(f.nBytes) };
  if (/^-?\d+$/.test(m)) {
    if (Number(m) < 0 || Number(m) > words.bits)
      throw new FlowTextError(`${s}: ${words.name} network prefix bits not between 0 and ${words.bits}, inclusive`);
    return { value, mask: prefixMask(f.nBytes, Number(m)) };
  }
  const mask = words.one(m);
  if (!mask) throw new FlowTextError(`${s}: ${/^[0-9a-fA-F:.]+$/.test(m) ? words.badMask : words.invalid}`);
  return { value, mask };
}

function parsePortValue(f: MatchField, s: string, names: PortNames | undefined): MaskedValue {
  const port = parsePort(s, names);
  const narrow = f.format === 'port16';
  if (port === undefined)
    throw new FlowTextError(`${s}: ${narrow ? 'invalid or unknown port' : 'port value out of range'} for ${f.name}`);
  return { value: fieldValue(f, narrow ? port & 0xffff : port), mask: ones(f.nBytes) };
}

/** What errors call a field's flags. */
const FLAG_KINDS: Readonly<Partial<Record<MatchField['format'], string>>> = {
  'tcp-flags': 'TCP',
  'tunnel-flags': 'tunnel',
  'ct-state': 'ct_state',
};

/** `+syn-ack`: those that must be set and those that must not. */
function parseSignedFlags(
  s: string,
  kind: string,
  bitOf: (name: string, rest: string) => number,
): { flags: number; mask: number } {
  let [flags, mask] = [0, 0];
  for (let rest = s; rest; ) {
    const m = /^([+-])([^+-]*)/.exec(rest);
    if (!m) throw new FlowTextError(`${rest}: ${kind} must be preceded by '+' (for SET) or '-' (NOT SET)`);
    const bit = bitOf(m[2], rest.slice(1));
    if (mask & bit) throw new FlowTextError(`${rest.slice(1)}: Each ${kind} flag can be specified only once`);
    mask |= bit;
    if (m[1] === '+') flags |= bit;
    rest = rest.slice(m[0].length);
  }
  return { flags, mask };
}

function parseFlags(f: MatchField, s: string, names: FlagNames, allowed: number): MaskedValue {
  const kind = FLAG_KINDS[f.format] ?? '';
  const unknown = (rest = s) => new FlowTextError(`${rest}: unknown ${kind} flag(s)`);
  const bitOf = (name: string, rest = s) => {
    const bit = names.includes(name) && name ? 1 << names.indexOf(name) : 0;
    if (!bit || bit & ~allowed) throw unknown(rest);
    return bit;
  };
  const number = (text: string) => {
    const x = scanNumber(text);
    if (!x || x.tail || x.n < 0n || x.n > 0xffffffffn || Number(x.n) & ~allowed) throw unknown();
    return Number(x.n);
  };
  const masked = /^(0[xX][0-9a-fA-F]+|\d+)\/(0[xX][0-9a-fA-F]+|\d+)$/.exec(s);
  if (masked) return { value: fieldValue(f, number(masked[1])), mask: fieldValue(f, number(masked[2])) };
  if (/^[+-]/.test(s)) {
    const { flags, mask } = parseSignedFlags(s, kind, bitOf);
    return { value: fieldValue(f, flags), mask: fieldValue(f, mask) };
  }
  let flags = 0;
  for (const word of s.split('|')) flags |= /^\d/.test(word) ? number(word) : bitOf(word);
  return { value: fieldValue(f, flags), mask: ones(f.nBytes) };
}

function parsePacketType(f: MatchField, s: string): MaskedValue {
  const wrong = (text: string, what: string) => new FlowTextError(`${text}: bad syntax for packet type ${what}`);
  if (s[0] !== '(') throw wrong(s, "missing '('");
  const ns = parseIntString(s.slice(1), 2);
  if (typeof ns === 'string') throw wrong(s.slice(1), 'ns');
  if (ns.tail[0] !== ',') throw wrong(s.slice(1), "missing ','");
  const type = parseIntString(ns.tail.slice(1), 2);
  if (typeof type === 'string') throw wrong(ns.tail.slice(1), 'ns_type');
  if (type.tail[0] !== ')') throw wrong(ns.tail.slice(1), "missing ')'");
  return { value: Uint8Array.of(...ns.value, ...type.value), mask: ones(f.nBytes) };
}

function parseFrag(f: MatchField, s: string): MaskedValue {
  const frag = FRAGS.find(([, , name]) => name === s.toLowerCase());
  if (!frag)
    throw new FlowTextError(`${s}: unknown fragment type (valid types are "no", "yes", "first", "later", "not_later"`);
  return { value: fieldValue(f, frag[0]), mask: fieldValue(f, frag[1] | 0xfc) };
}

function parseValue(f: MatchField, s: string, names: PortNames | undefined): MaskedValue {
  const flags = FLAGS[f.format];
  if (flags) return parseFlags(f, s, flags[0], flags[1]);
  switch (f.format) {
    case 'port16':
    case 'port32':
      return parsePortValue(f, s, names);
    case 'ethernet':
      return parseEthernet(f, s);
    case 'ipv4':
    case 'ipv6':
      return parseIp(f, s, IP_WORDS[f.format]);
    case 'frag':
      return parseFrag(f, s);
    case 'packet-type':
      return parsePacketType(f, s);
    default:
      return parseInteger(f, s);
  }
}

/** Parses a value and its mask (all ones when none is given); `*` is any value. Throws FlowTextError. */
export function parseField(f: MatchField, s: string, names?: PortNames): MaskedValue {
  if (s === '*') return { value: new Uint8Array(f.nBytes), mask: new Uint8Array(f.nBytes) };
  const v = parseValue(f, s, names);
  if (!fieldMaskOk(f, v.mask)) throw new FlowTextError(`${s}: invalid mask for field ${f.name}`);
  return v;
}

/** `NXM_NX_REG0[0..15]`, `NXM_OF_IP_SRC[]`. */
export function formatSubfield(s: Subfield): string {
  const name = oxmHeaderOf(s.field, 0)?.name ?? s.field.name;
  if (s.ofs === 0 && s.nBits === s.field.nBits) return `${name}[]`;
  return s.nBits === 1 ? `${name}[${s.ofs}]` : `${name}[${s.ofs}..${s.ofs + s.nBits - 1}]`;
}

/** A field by its NXM or OXM name (a `_W` at the end is ignored), or by its own. */
function fieldOfName(name: string): MatchField | undefined {
  return fieldByOxmName(name.length > 2 && name.endsWith('_W') ? name.slice(0, -2) : name) ?? fieldByName(name);
}

/** `[]`, `[5]` or `[0..5]` at the start of `s`, and what follows. */
function parseRange(whole: string, s: string, nBits: number): { start: number; end: number; rest: string } {
  if (s[0] !== '[') return { start: 0, end: nBits - 1, rest: s };
  const m = /^\[(?:\s*([+-]?\d+)(?:\.\.\s*([+-]?\d+))?)?\]/.exec(s);
  if (!m) throw new FlowTextError(`${whole}: syntax error expecting [] or [<bit>] or [<start>..<end>]`);
  const start = Number(m[1] ?? 0);
  return { start, end: Number(m[2] ?? m[1] ?? nBits - 1), rest: s.slice(m[0].length) };
}

/** A subfield at the start of `s`, and what follows. Throws FlowTextError. */
export function parseSubfieldPrefix(s: string): { subfield: Subfield; rest: string } {
  const name = /^[^[-]*/.exec(s)?.[0] ?? '';
  const field = fieldOfName(name);
  if (!field) throw new FlowTextError(`${s}: unknown field \`${name}'`);
  const { start, end, rest } = parseRange(s, s.slice(name.length), field.nBits);
  if (start > end) throw new FlowTextError(`${s}: starting bit ${start} is after ending bit ${end}`);
  const tooWide = (which: string, bit: number) =>
    new FlowTextError(`${s}: ${which} bit ${bit} is not valid because field is only ${field.nBits} bits wide`);
  if (start < 0 || start >= field.nBits) throw tooWide('starting', start);
  if (end >= field.nBits) throw tooWide('ending', end);
  return { subfield: { field, ofs: start, nBits: end - start + 1 }, rest };
}

/** The reverse of formatSubfield; a field's short name, with or without brackets, does too. */
export function parseSubfield(s: string): Subfield {
  const { subfield, rest } = parseSubfieldPrefix(s);
  if (rest) throw new FlowTextError('unexpected input following field syntax');
  return subfield;
}

/** The same; what is wrong as text. */
export function subfieldOrError(s: string): Subfield | string {
  try {
    return parseSubfield(s);
  } catch (e) {
    if (e instanceof FlowTextError) return e.message;
    throw e;
  }
}

/** `src->dst`, of the same width. */
export function parseMove(s: string): { src: Subfield; dst: Subfield } {
  const { subfield: src, rest } = parseSubfieldPrefix(s);
  if (!rest.startsWith('->')) throw new FlowTextError(`${s}: missing \`->' following source`);
  const dst = parseSubfield(rest.slice(2));
  if (src.nBits !== dst.nBits)
    throw new FlowTextError(`${s}: source field is ${src.nBits} bits wide but destination is ${dst.nBits} bits wide`);
  return { src, dst };
}

/** A whole field by any of its names. */
export function parseFieldName(s: string): MatchField {
  const field = fieldByOxmName(s) ?? fieldByName(s);
  if (!field) throw new FlowTextError(`unknown field \`${s}'`);
  return field;
}
