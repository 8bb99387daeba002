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
  parseFlags,
  parseIpv4,
  parseIpv6,
  parseMac,
  prefixMask,
  TCP_FLAG_NAMES,
  TUN_FLAG_NAMES,
} from './address-text.ts';
import {
  fieldByName,
  fieldMaskOk,
  fieldValue,
  fieldValueBig,
  isAllOnes,
  isAllZeros,
  portFromOfp10,
  valueToBigInt,
} from './field.ts';
import { fieldByOxmName, oxmHeaderOf } from './oxm.ts';
import { formatPort, type PortNames, parsePort } from './port.ts';

/** Values of match fields in text (ovs-fields(7)). */

/** What is wrong with a flow's text; the message is ovs-ofctl's. */
export class FlowTextError extends Error {}

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

function parseInteger(f: MatchField, s: string, what: string, whole: string): Uint8Array {
  if (!/^(0[xX][0-9a-fA-F]+|-?\d+)$/.test(s)) throw new FlowTextError(`${whole}: bad syntax for ${f.name} ${what}`);
  const limit = 1n << BigInt(f.nBytes * 8);
  const n = s.startsWith('-') ? limit + BigInt(s) : BigInt(/^0\d+$/.test(s) ? `0o${s.slice(1)}` : s);
  if (n >= limit || n < 0n) throw new FlowTextError(`${whole}: ${what} too large for ${f.nBytes}-byte field ${f.name}`);
  return fieldValueBig(f, n);
}

/** `value` or `value/mask`, each parsed by `one`. */
function parseMasked(f: MatchField, s: string, one: (s: string) => Uint8Array | undefined, what: string): MaskedValue {
  const slash = s.indexOf('/');
  const value = one(slash < 0 ? s : s.slice(0, slash));
  const mask = slash < 0 ? ones(f.nBytes) : one(s.slice(slash + 1));
  if (!value || !mask) throw new FlowTextError(`${s}: invalid ${what}`);
  return { value, mask };
}

const prefix = (f: MatchField, one: (s: string) => Uint8Array | undefined) => (s: string) =>
  /^\d+$/.test(s) && Number(s) <= f.nBytes * 8 ? prefixMask(f.nBytes, Number(s)) : one(s);

function parsePortValue(f: MatchField, s: string, names: PortNames | undefined): MaskedValue {
  const port = parsePort(s, names);
  if (port === undefined) throw new FlowTextError(`${s}: invalid or unknown port for ${f.name}`);
  return { value: fieldValue(f, f.format === 'port16' ? port & 0xffff : port), mask: ones(f.nBytes) };
}

function parseFlagsValue(f: MatchField, s: string, flagNames: FlagNames, all: number): MaskedValue {
  const parsed = parseFlags(s, flagNames, all);
  if (!parsed) throw new FlowTextError(`${s}: unknown ${f.name} flag(s)`);
  const exact = parsed.mask === all && f.format === 'tcp-flags';
  return { value: fieldValue(f, parsed.flags), mask: exact ? ones(f.nBytes) : fieldValue(f, parsed.mask) };
}

function parsePacketType(f: MatchField, s: string): MaskedValue {
  const m = /^\(?(0x[0-9a-fA-F]+|\d+),(0x[0-9a-fA-F]+|\d+)\)?$/.exec(s);
  if (!m) throw new FlowTextError(`${s}: packet type not properly formatted`);
  return { value: fieldValue(f, ((Number(m[1]) << 16) | Number(m[2])) >>> 0), mask: ones(f.nBytes) };
}

function parseFrag(f: MatchField, s: string): MaskedValue {
  const frag = FRAGS.find(([, , name]) => name === s.toLowerCase());
  if (!frag)
    throw new FlowTextError(`${s}: unknown fragment type (valid types are "no", "yes", "first", "later", "not_later")`);
  return { value: fieldValue(f, frag[0]), mask: fieldValue(f, frag[1] === 3 ? 0xff : frag[1]) };
}

function parseValue(f: MatchField, s: string, names: PortNames | undefined): MaskedValue {
  const flags = FLAGS[f.format];
  if (flags) return parseFlagsValue(f, s, flags[0], flags[1]);
  switch (f.format) {
    case 'port16':
    case 'port32':
      return parsePortValue(f, s, names);
    case 'ethernet':
      return parseMasked(f, s, parseMac, 'Ethernet address');
    case 'ipv4':
      return parsePrefixed(f, s, parseIpv4, 'IP address');
    case 'ipv6':
      return parsePrefixed(f, s, parseIpv6, 'IPv6 address');
    case 'frag':
      return parseFrag(f, s);
    case 'packet-type':
      return parsePacketType(f, s);
    default: {
      const [value, mask] = s.split('/');
      return {
        value: parseInteger(f, value, 'value', s),
        mask: mask === undefined ? ones(f.nBytes) : parseInteger(f, mask, 'mask', s),
      };
    }
  }
}

function parsePrefixed(
  f: MatchField,
  s: string,
  one: (s: string) => Uint8Array | undefined,
  what: string,
): MaskedValue {
  const slash = s.indexOf('/');
  const { value } = parseMasked(f, slash < 0 ? s : s.slice(0, slash), one, what);
  const mask = slash < 0 ? ones(f.nBytes) : prefix(f, one)(s.slice(slash + 1));
  if (!mask) throw new FlowTextError(`${s}: invalid ${what} mask`);
  return { value, mask };
}

/** Parses a value and its mask (all ones when none is given). Throws FlowTextError. */
export function parseField(f: MatchField, s: string, names?: PortNames): MaskedValue {
  if (s === '*' || s === 'ANY') return { value: new Uint8Array(f.nBytes), mask: new Uint8Array(f.nBytes) };
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

/** The reverse; a field's short name, with or without brackets, does too. */
export function parseSubfield(s: string): Subfield {
  const m = /^([^[-]+)(?:\[(?:(\d+)(?:\.\.(\d+))?)?\])?$/.exec(s);
  const name = m?.[1] ?? s;
  const field = fieldByOxmName(name) ?? fieldByName(name);
  if (!field) throw new FlowTextError(`${s}: unknown field \`${name.replace(/\[.*/, '')}'`);
  const start = Number(m?.[2] ?? 0);
  const end = m?.[3] !== undefined ? Number(m[3]) : m?.[2] !== undefined ? start : field.nBits - 1;
  if (start > end) throw new FlowTextError(`${s}: starting bit ${start} is after ending bit ${end}`);
  const tooWide = (which: string, bit: number) =>
    new FlowTextError(`${s}: ${which} bit ${bit} is not valid because field is only ${field.nBits} bits wide`);
  if (start >= field.nBits) throw tooWide('starting', start);
  if (end >= field.nBits) throw tooWide('ending', end);
  return { field, ofs: start, nBits: end - start + 1 };
}
