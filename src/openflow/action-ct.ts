import {
  NX_CT_F_COMMIT,
  NX_CT_F_FORCE,
  NX_CT_RECIRC_NONE,
  NX_NAT_F_DST,
  NX_NAT_F_PERSISTENT,
  NX_NAT_F_PROTO_HASH,
  NX_NAT_F_PROTO_RANDOM,
  NX_NAT_F_SRC,
  NX_NAT_RANGE,
  NXAST,
} from '../../protocols/openflow-actions.ts';
import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { verifyActions } from './action-verify.ts';
import { decodeOfsNbits, encodeOfsNbits, nxmWord, pullNxmField, putNicira, throwError } from './action-wire.ts';
import type { NatRange, Ofpact, OfpactOf, Subfield } from './actions.ts';
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from './address-text.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { isAllZeros } from './field.ts';
import { ETH_TYPE_IP, ETH_TYPE_IPV6, getDlType, IPPROTO_TCP, IPPROTO_UDP, isIpAny } from './field-prereq.ts';
import { formatSubfield, parseSubfield } from './field-text.ts';
import { parseKeyValues } from './key-value.ts';
import type { Match } from './match.ts';
import { FlowTextError, strToU16 } from './number-text.ts';
import { actionWarn } from './openflow-log.ts';
import { formatTable, type PortNames, parseTable } from './port.ts';
import { checkSrc } from './subfield.ts';

/** `ct` and `nat` (NXAST_CT, NXAST_NAT): bytes, text, consistency. */

type Ct = OfpactOf<'ct'>;
type Nat = OfpactOf<'nat'>;

const IPPORT_FTP = 21;
const IPPORT_TFTP = 69;
const CS_INVALID = 0x10;
const NAT_FLAGS = NX_NAT_F_SRC | NX_NAT_F_DST | NX_NAT_F_PERSISTENT | NX_NAT_F_PROTO_HASH | NX_NAT_F_PROTO_RANDOM;

const bad = (): OfDecodeError => new OfDecodeError('OFPBAC_BAD_ARGUMENT');

function pullZone(r: Reader): number | Subfield {
  const immediate = r.peekU32() === 0;
  if (immediate) {
    r.skip(4);
    return r.readU16();
  }
  const field = pullNxmField(r);
  const zone: Subfield = { field, ...decodeOfsNbits(r.readU16()) };
  throwError(checkSrc(zone));
  if (zone.nBits !== 16) {
    actionWarn(`zone n_bits ${zone.nBits} not within valid range [16..16]`);
    throw new OfDecodeError('OFPBAC_BAD_SET_LEN');
  }
  return zone;
}

/** `nested` decodes the actions that follow. */
export function decodeCt(r: Reader, version: number, nested: (r: Reader) => Ofpact[]): Ct {
  const flags = r.readU16();
  if (flags & NX_CT_F_FORCE && !(flags & NX_CT_F_COMMIT)) throw bad();
  const zone = pullZone(r);
  const recircTable = r.readU8();
  r.skip(3);
  const alg = r.readU16();
  if (r.left % 8 !== 0) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const actions = nested(r);
  verifyActions(actions, version, { instructions: false, outer: 'ct' });
  if (!(flags & NX_CT_F_COMMIT) && actions.some((a) => a.type !== 'nat' || a.flags !== 0 || a.range.addrMin)) {
    actionWarn('CT action requires commit flag if actions other than NAT without arguments are specified.');
    throw bad();
  }
  return { type: 'ct', flags, zone, recircTable, alg, actions };
}

export function encodeCt(w: Writer, a: Ct, nested: (actions: readonly Ofpact[]) => void): void {
  const { zone } = a;
  putNicira(w, NXAST.CT, () => {
    w.putU16(a.flags);
    w.putU32(typeof zone === 'number' ? 0 : nxmWord(zone.field));
    w.putU16(typeof zone === 'number' ? zone : encodeOfsNbits(zone.ofs, zone.nBits));
    w.putU8(a.recircTable);
    w.putZeros(3);
    w.putU16(a.alg);
    nested(a.actions);
  });
}

function pullAddress(r: Reader, present: number, bit: number, size: number): Uint8Array | undefined {
  if (!(present & bit)) return undefined;
  r.error = 'OFPBAC_BAD_ARGUMENT';
  return r.bytes(size);
}

const less = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) < 0;

export function decodeNat(r: Reader): Nat {
  r.skip(2);
  const flags = r.readU16();
  const present = r.readU16();
  const both = (bits: number) => (flags & bits) === bits;
  if (flags & ~NAT_FLAGS || both(NX_NAT_F_SRC | NX_NAT_F_DST) || both(NX_NAT_F_PROTO_HASH | NX_NAT_F_PROTO_RANDOM))
    throw bad();
  return { type: 'nat', flags, range: pullRange(r, present) };
}

function pullRange(r: Reader, present: number): NatRange {
  const { IPV4_MIN, IPV4_MAX, IPV6_MIN, IPV6_MAX, PROTO_MIN, PROTO_MAX } = NX_NAT_RANGE;
  const range: NatRange = {};
  const v4 = (present & IPV4_MIN) !== 0;
  const v6 = (present & IPV6_MIN) !== 0;
  if (v4 && present & (IPV6_MIN | IPV6_MAX)) throw bad();
  if ((!v4 && present & IPV4_MAX) || (!v6 && present & IPV6_MAX)) throw bad();
  const min = v4 ? pullAddress(r, present, IPV4_MIN, 4) : pullAddress(r, present, IPV6_MIN, 16);
  const max = v4 ? pullAddress(r, present, IPV4_MAX, 4) : pullAddress(r, present, IPV6_MAX, 16);
  if (min) {
    if (isAllZeros(min) || (max && less(max, min))) throw bad();
    range.addrMin = min;
    if (max) range.addrMax = max;
  }
  pullPorts(r, range, (present & PROTO_MIN) !== 0, (present & PROTO_MAX) !== 0);
  return range;
}

function pullPorts(r: Reader, range: NatRange, hasMin: boolean, hasMax: boolean): void {
  if (!hasMin && hasMax) throw bad();
  if (!hasMin) return;
  r.error = 'OFPBAC_BAD_ARGUMENT';
  const min = range.addrMin ? r.readU16() : 0;
  if (!min) throw bad();
  range.portMin = min;
  if (!hasMax) return;
  range.portMax = r.readU16();
  if (range.portMax < min) throw bad();
}

export function encodeNat(w: Writer, a: Nat): void {
  const { addrMin, addrMax, portMin, portMax } = a.range;
  const parts = NX_NAT_RANGE;
  const v4 = addrMin?.length === 4;
  let present = 0;
  putNicira(w, NXAST.NAT, () => {
    w.putZeros(2);
    w.putU16(a.flags);
    const at = w.length;
    w.putU16(0);
    const address = (ip: Uint8Array | undefined, bit4: number, bit6: number) => {
      if (!ip || isAllZeros(ip)) return;
      w.putBytes(ip);
      present |= v4 ? bit4 : bit6;
    };
    const port = (n: number | undefined, bit: number) => {
      if (!n || !addrMin) return;
      w.putU16(n);
      present |= bit;
    };
    address(addrMin, parts.IPV4_MIN, parts.IPV6_MIN);
    address(addrMax, parts.IPV4_MAX, parts.IPV6_MAX);
    port(portMin, parts.PROTO_MIN);
    port(portMax, parts.PROTO_MAX);
    w.setU16(at, present);
  });
}

function formatRange({ addrMin, addrMax, portMin, portMax }: NatRange): string {
  if (!addrMin) return '';
  const one = (ip: Uint8Array) => {
    if (ip.length === 4) return formatIpv4(ip);
    return portMin ? `[${formatIpv6(ip)}]` : formatIpv6(ip);
  };
  let out = `=${one(addrMin)}`;
  if (addrMax && !isAllZeros(addrMax) && Buffer.compare(addrMax, addrMin) !== 0) out += `-${one(addrMax)}`;
  if (portMin) out += `:${portMin}${portMax && portMax !== portMin ? `-${portMax}` : ''}`;
  return out;
}

export function formatNat(a: Nat): string {
  if (!(a.flags & (NX_NAT_F_SRC | NX_NAT_F_DST))) return 'nat';
  let out = (a.flags & NX_NAT_F_SRC ? 'src' : 'dst') + formatRange(a.range);
  if (a.range.addrMin) {
    if (a.flags & NX_NAT_F_PERSISTENT) out += ',persistent';
    if (a.flags & NX_NAT_F_PROTO_HASH) out += ',hash';
    if (a.flags & NX_NAT_F_PROTO_RANDOM) out += ',random';
  }
  return `nat(${out})`;
}

function formatAlg(alg: number): string {
  return alg === IPPORT_FTP ? 'ftp' : alg === IPPORT_TFTP ? 'tftp' : String(alg);
}

export function formatCt(a: Ct, names: PortNames | undefined, nested: (actions: readonly Ofpact[]) => string): string {
  const out: string[] = [];
  if (a.flags & NX_CT_F_COMMIT) out.push('commit');
  if (a.flags & NX_CT_F_FORCE) out.push('force');
  if (a.recircTable !== NX_CT_RECIRC_NONE) out.push(`table=${formatTable(a.recircTable, names)}`);
  if (typeof a.zone !== 'number') out.push(`zone=${formatSubfield(a.zone)}`);
  else if (a.zone) out.push(`zone=${a.zone}`);
  const [first, ...others] = a.actions;
  const rest = first?.type === 'nat' ? others : a.actions;
  if (first?.type === 'nat') out.push(formatNat(first));
  if (rest.length) out.push(`exec(${nested(rest)})`);
  if (a.alg) out.push(`alg=${formatAlg(a.alg)}`);
  return `ct(${out.join(',')})`;
}

const IP4 = /^(\d{1,3}(?:\.\d{1,3}){3})/;
const IP6 = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9a-fA-F:.]+))/;

/** An address at the start of `s`; `length`: how much of it was read, an address or not. */
function scanAddress(s: string): { ip: Uint8Array | undefined; length: number } {
  const v4 = IP4.exec(s);
  const ip4 = v4 ? parseIpv4(v4[1]) : undefined;
  if (v4 && ip4) return { ip: ip4, length: v4[0].length };
  const v6 = IP6.exec(s);
  if (!v6) return { ip: undefined, length: 0 };
  return { ip: parseIpv6(v6[1] ?? v6[2]), length: v6[0].length };
}

function parseNatRange(s: string): NatRange {
  const range: NatRange = {};
  const invalid = () => new FlowTextError(`invalid nat range "${s}"`);
  let { ip, length: at } = scanAddress(s);
  if (ip) {
    range.addrMin = ip;
    if (s[at] === '-') {
      const max = scanAddress(s.slice(at + 1));
      if (max.ip?.length !== ip.length || less(max.ip, ip)) throw invalid();
      range.addrMax = max.ip;
      at += 1 + max.length;
    }
    const ports = /^:(\d+)?(?:(-)(\d+)?)?/.exec(s.slice(at));
    if (ports) {
      setPorts(range, ports, invalid);
      at += ports[0].length;
    }
  }
  if (at !== s.length) throw new FlowTextError(`garbage (${s.slice(at)}) after nat range "${s}" (pos: ${at})`);
  return range;
}

function setPorts(range: NatRange, [, min, dash, max]: RegExpExecArray, invalid: () => FlowTextError): void {
  if (min === undefined) throw invalid();
  const least = Number(BigInt(min) & 0xffffn);
  if (least) range.portMin = least;
  if (!dash) return;
  const most = Number(BigInt(max ?? 0) & 0xffffn);
  if (max === undefined || most < least) throw invalid();
  if (most) range.portMax = most;
}

const NAT_FLAG_WORDS: Readonly<Record<string, number>> = {
  src: NX_NAT_F_SRC,
  dst: NX_NAT_F_DST,
  persistent: NX_NAT_F_PERSISTENT,
  hash: NX_NAT_F_PROTO_HASH,
  random: NX_NAT_F_PROTO_RANDOM,
};

export function parseNat(s: string): Nat {
  const a: Nat = { type: 'nat', flags: 0, range: {} };
  for (const { key, value } of parseKeyValues(s)) {
    const flag = Object.hasOwn(NAT_FLAG_WORDS, key) ? NAT_FLAG_WORDS[key] : undefined;
    if (flag === undefined) throw new FlowTextError(`invalid key "${key}" in "nat" argument`);
    a.flags |= flag;
    if (key === 'src' || key === 'dst') a.range = parseNatRange(value);
  }
  checkNatText(a);
  return a;
}

function checkNatText({ flags, range }: Nat): void {
  if (flags & NX_NAT_F_SRC && flags & NX_NAT_F_DST) throw new FlowTextError('May only specify one of "src" or "dst".');
  if (!(flags & (NX_NAT_F_SRC | NX_NAT_F_DST))) {
    if (flags) throw new FlowTextError('Flags allowed only with "src" or "dst".');
    if (range.addrMin) throw new FlowTextError('Range allowed only with "src" or "dst".');
  }
  if (flags & NX_NAT_F_PROTO_HASH && flags & NX_NAT_F_PROTO_RANDOM)
    throw new FlowTextError('Both "hash" and "random" are not allowed.');
}

function parseCtTable(value: string, names: PortNames | undefined): number {
  const table = parseTable(value, names);
  if (table === undefined) throw new FlowTextError(`unknown table ${value}`);
  if (table === NX_CT_RECIRC_NONE) throw new FlowTextError('invalid table 0xff');
  return table;
}

function parseZone(value: string): number | Subfield {
  try {
    return strToU16(value, 'zone');
  } catch {
    return parseSubfield(value);
  }
}

function parseAlg(value: string): number {
  if (value === 'ftp') return IPPORT_FTP;
  if (value === 'tftp') return IPPORT_TFTP;
  throw new FlowTextError(`invalid conntrack helper "${value}"`);
}

/** `nested` parses the actions of `exec`. */
export function parseCt(s: string, names: PortNames | undefined, nested: (s: string) => Ofpact[]): Ct {
  const a: Ct = { type: 'ct', flags: 0, zone: 0, recircTable: NX_CT_RECIRC_NONE, alg: 0, actions: [] };
  for (const { key, value } of parseKeyValues(s)) {
    if (key === 'commit') a.flags |= NX_CT_F_COMMIT;
    else if (key === 'force') a.flags |= NX_CT_F_FORCE;
    else if (key === 'table') a.recircTable = parseCtTable(value, names);
    else if (key === 'zone') a.zone = parseZone(value);
    else if (key === 'alg') a.alg = parseAlg(value);
    else if (key === 'nat') a.actions.push(parseNat(value));
    else if (key === 'exec') a.actions.push(...nested(value));
    else throw new FlowTextError(`invalid argument to "ct" action: \`${key}'`);
  }
  if (a.flags & NX_CT_F_FORCE && !(a.flags & NX_CT_F_COMMIT))
    throw new FlowTextError('"force" flag requires "commit" flag.');
  return a;
}

/** What is wrong with tracking packets of `m`, the nested actions aside. */
export function checkCt(a: Ct, m: Match): OfErrorName | undefined {
  const { flow } = m;
  if (
    !isIpAny(flow) ||
    (flow.ctState & CS_INVALID && a.flags & NX_CT_F_COMMIT) ||
    (a.alg === IPPORT_FTP && flow.nwProto !== IPPROTO_TCP) ||
    (a.alg === IPPORT_TFTP && flow.nwProto !== IPPROTO_UDP)
  )
    return 'OFPBAC_MATCH_INCONSISTENT';
  return typeof a.zone === 'number' ? undefined : checkSrc(a.zone, m);
}

export function checkNat(a: Nat, m: Match): OfErrorName | undefined {
  const type = getDlType(m.flow);
  const wanted = a.range.addrMin?.length === 4 ? ETH_TYPE_IP : a.range.addrMin ? ETH_TYPE_IPV6 : type;
  return isIpAny(m.flow) && type === wanted ? undefined : 'OFPBAC_MATCH_INCONSISTENT';
}
