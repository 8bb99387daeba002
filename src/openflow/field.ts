import { FIELDS, type MatchField } from '../../protocols/fields.ts';
import type { Flow, FlowWildcards, Match } from '../flow/flow.ts';
import { FLOW_MEMBERS } from '../gen/flow.ts';
import { prefixLength } from './address-text.ts';
import { P_ANY, P_NONE, P_NXM_OXM_ANY, P_OF10_STD_ANY, P_OF11_STD, type Protocols } from './protocol.ts';
import {
  isTunMetadata,
  isTunMetadataPresent,
  matchSetTunMetadata,
  readTunMetadata,
  tunMetadataIndex,
  writeTunMetadata,
} from './tun-metadata.ts';

export type { MatchField };

/**
 * Reading and writing match fields in a Flow. A value is `field.nBytes` bytes in network order, its significant bits at the end.
 * All functions run on the control thread and allocate only what they return.
 */

/** A set of match fields. */
export type FieldSet = ReadonlySet<MatchField>;

const byName = new Map<string, MatchField>();
for (const f of FIELDS) {
  byName.set(f.name, f);
  if (f.alias) byName.set(f.alias, f);
}

/** By name or alias, exactly as written in flow text. */
export function fieldByName(name: string): MatchField | undefined {
  return byName.get(name);
}

/** The field of that name; throws when there is none (for names in code). */
export function mf(name: string): MatchField {
  const f = byName.get(name);
  if (!f) throw new Error(`no match field is called ${name}`);
  return f;
}

const IN_PORT = mf('in_port');
const NW_TOS = mf('nw_tos');
const VLAN_TCI = mf('vlan_tci');
const DL_VLAN = mf('dl_vlan');
const VLAN_VID = mf('vlan_vid');
const DL_VLAN_PCP = mf('dl_vlan_pcp');
const VLAN_PCP = mf('vlan_pcp');
const ARP_OP = mf('arp_op');
const VLAN_FIELDS: FieldSet = new Set([VLAN_TCI, DL_VLAN, VLAN_VID, DL_VLAN_PCP, VLAN_PCP]);
const IPV6_LABEL = mf('ipv6_label');

export const VLAN_CFI = 0x1000;
export const VLAN_VID_MASK = 0x0fff;
export const VLAN_PCP_MASK = 0xe000;
export const VLAN_PCP_SHIFT = 13;
export const OFP10_VLAN_NONE = 0xffff;
const ETH_P_8021Q = 0x8100;

/** Where a field lies in the bytes of a Flow. `bytewise`: whole bytes, `start` their first; else a number of at most 4 bytes. */
interface Place {
  start: number;
  size: number;
  shift: number;
  mask: number;
  bytewise: boolean;
  wide: boolean;
}

function placeOf(f: MatchField): Place | undefined {
  const at =
    f === IN_PORT
      ? { member: 'in_port', shift: 0, bits: 32, wide: false }
      : f === NW_TOS
        ? { member: 'nw_tos', shift: 0, bits: 8, wide: false }
        : f.slice;
  if (!at) return undefined;
  const member = FLOW_MEMBERS[at.member as keyof typeof FLOW_MEMBERS];
  const bytes = at.bits / 8;
  // A register pair or quad starts at its first register, which is the high half.
  const bytewise = at.shift % 8 === 0 && at.bits === f.nBytes * 8 && f !== IN_PORT && !at.wide;
  const start = bytewise && bytes <= member.size ? member.offset + member.size - at.shift / 8 - bytes : member.offset;
  const mask = at.bits >= 32 ? 0xffffffff : ((2 ** at.bits - 1) << at.shift) >>> 0;
  return { start, size: bytewise ? bytes : member.size, shift: at.shift, mask, bytewise, wide: at.wide };
}

const PLACES: readonly (Place | undefined)[] = FIELDS.map(placeOf);

/** True for every field that a Flow holds, in a place of its own or in its tunnel metadata. */
export function fieldSupported(f: MatchField): boolean {
  return PLACES[f.id] !== undefined || isTunMetadata(f);
}

function place(f: MatchField): Place {
  const p = PLACES[f.id];
  if (!p) throw new Error(`${f.name} is not supported`);
  return p;
}

/** Where the field's bytes lie in a flow one by one, if that is all there is to a match of it and every value is good; else undefined. */
export function bytePlace(f: MatchField): number | undefined {
  const p = PLACES[f.id];
  const plain = p?.bytewise && f.nBits === f.nBytes * 8 && !VLAN_FIELDS.has(f) && !BIT_FIELDS.has(f.name);
  return plain && f !== NW_TOS && f !== ARP_OP && f !== NSH_MDTYPE && f !== NSH_TTL && f !== CT_STATE
    ? p.start
    : undefined;
}

/** The last `size` (at most 4) bytes from `start` as a number. */
function load(u8: Uint8Array, start: number, size: number): number {
  let n = 0;
  for (let i = 0; i < size; i++) n = (n << 8) | u8[start + i];
  return n >>> 0;
}

function store(u8: Uint8Array, start: number, size: number, n: number): void {
  for (let i = size - 1; i >= 0; i--) {
    u8[start + i] = n;
    n >>>= 8;
  }
}

/** OpenFlow 1.0's 16-bit port as a 32-bit one. */
export function portFromOfp10(port: number): number {
  return port >= 0xff00 ? (port | 0xffff0000) >>> 0 : port;
}

/** A 32-bit port in 16 bits; reserved ports fold. Undefined when it does not fit. */
export function portToOfp10(port: number): number | undefined {
  if (port < 0xff00) return port;
  return port >= 0xffffff00 ? port & 0xffff : undefined;
}

/** Bits of the value that may be 1 at all: `valueMask(tcp_flags)` is 0x0fff. */
function significantOk(f: MatchField, value: Uint8Array): boolean {
  const bits = f === VLAN_VID ? 13 : f === ARP_OP ? 8 : f.nBits;
  const zero = f.nBytes * 8 - bits;
  for (let i = 0; i < zero >> 3; i++) if (value[i]) return false;
  return zero % 8 === 0 || value[zero >> 3] >> (8 - (zero % 8)) === 0;
}

const PORT32 = new Set(['in_port_oxm', 'actset_output']);
const CT_STATE = mf('ct_state');
const CT_SUPPORTED = 0xff;
const NSH_TTL = mf('nsh_ttl');
const NSH_MDTYPE = mf('nsh_mdtype');

/** True when `value` can be part of a match at all (ovs-fields(7)); only bits that make no sense to test are refused. */
export function fieldValueOk(f: MatchField, value: Uint8Array): boolean {
  if (f === NW_TOS) return (value[0] & 3) === 0;
  if (f === CT_STATE) return load(value, 0, 4) <= CT_SUPPORTED;
  if (f === NSH_TTL) return value[0] <= 63;
  if (f === NSH_MDTYPE) return value[0] === 1 || value[0] === 2;
  if (PORT32.has(f.name)) {
    const port = load(value, 0, 4);
    return port < 0xff00 || port >= 0xffffff00;
  }
  if (f.name.startsWith('tun_erspan')) return true;
  return f.nBits === f.nBytes * 8 && f !== ARP_OP ? true : significantOk(f, value);
}

export function isAllOnes(b: Uint8Array): boolean {
  for (const byte of b) if (byte !== 0xff) return false;
  return true;
}

export function isAllZeros(b: Uint8Array): boolean {
  for (const byte of b) if (byte !== 0) return false;
  return true;
}

/** True when the field may be matched with this mask. */
export function fieldMaskOk(f: MatchField, mask: Uint8Array): boolean {
  return f.maskable || isAllZeros(mask) || isAllOnes(mask);
}

/** The field's exact-match mask: ones in its significant bits, for `set_field` and for printing. */
export function exactMask(f: MatchField): Uint8Array {
  const mask = new Uint8Array(f.nBytes);
  for (let bit = 0; bit < f.nBits; bit++) mask[f.nBytes - 1 - (bit >> 3)] |= 1 << (bit & 7);
  return mask;
}

/** The field's value in a flow. The caller has checked its prerequisites. */
export function getField(flow: Flow, f: MatchField): Uint8Array {
  if (isTunMetadata(f)) return readTunMetadata(flow, f);
  const value = new Uint8Array(f.nBytes);
  readField(flow, f, value);
  return value;
}

function readField(flow: Flow, f: MatchField, value: Uint8Array): void {
  const p = place(f);
  if (p.bytewise) {
    for (let i = 0; i < p.size; i++) value[i] = flow.u8[p.start + i];
    if (f === NW_TOS) value[0] &= 0xfc;
    return;
  }
  const n = ((load(flow.u8, p.start, p.size) & p.mask) >>> 0) >>> p.shift;
  store(value, 0, f.nBytes, n);
}

/** The field's value as a number, for fields of at most 32 bits. */
export function getFieldNumber(flow: Flow, f: MatchField): number {
  const p = place(f);
  const n = load(flow.u8, p.start, p.size);
  if (f === NW_TOS) return n & 0xfc;
  if (f === IN_PORT) return n & 0xffff;
  return p.bytewise ? n : ((n & p.mask) >>> 0) >>> p.shift;
}

/** The tag's TPID follows its TCI: 0x8100 for a new tag, 0 for none. */
function fixVlanTpid(flow: Flow): void {
  if ((flow.vlanTci0 & VLAN_CFI) === 0) flow.vlanTpid0 = 0;
  else if (flow.vlanTpid0 === 0) flow.vlanTpid0 = ETH_P_8021Q;
}

/** Writes the VLAN fields, which bring the "tag present" bit with them. False for other fields. */
function setVlanField(flow: Flow, f: MatchField, value: Uint8Array): boolean {
  const n = load(value, 0, f.nBytes);
  const tci = flow.vlanTci0;
  if (f === VLAN_TCI) flow.vlanTci0 = n;
  else if (f === DL_VLAN)
    flow.vlanTci0 = n === OFP10_VLAN_NONE ? 0 : (tci & VLAN_PCP_MASK) | VLAN_CFI | (n & VLAN_VID_MASK);
  else if (f === VLAN_VID) flow.vlanTci0 = (tci & VLAN_PCP_MASK) | (n & (VLAN_CFI | VLAN_VID_MASK));
  else if (f === DL_VLAN_PCP || f === VLAN_PCP)
    flow.vlanTci0 = (tci & (VLAN_CFI | VLAN_VID_MASK)) | VLAN_CFI | ((n & 7) << VLAN_PCP_SHIFT);
  else return false;
  return true;
}

/** Sets the field in a packet's flow, whole. The VLAN fields also keep the tag's TPID right. */
export function setField(flow: Flow, f: MatchField, value: Uint8Array): void {
  if (setVlanField(flow, f, value)) {
    fixVlanTpid(flow);
    return;
  }
  writeField(flow, f, value);
}

function writeField(flow: Flow, f: MatchField, value: Uint8Array): void {
  if (isTunMetadata(f)) {
    writeTunMetadata(flow, f, value);
    return;
  }
  const p = place(f);
  if (f === NW_TOS) {
    flow.nwTos = (flow.nwTos & 3) | (value[0] & 0xfc);
  } else if (p.bytewise) {
    for (let i = 0; i < p.size; i++) flow.u8[p.start + i] = value[i];
  } else if (f === IN_PORT) {
    flow.inPort = portFromOfp10(load(value, 0, 2));
  } else {
    const n = load(value, 0, f.nBytes);
    const keep = p.wide ? 0 : load(flow.u8, p.start, p.size) & ~p.mask;
    store(flow.u8, p.start, p.size, keep | ((n << p.shift) & p.mask));
  }
}

/** Sets the bits of the field that are in `mask`. */
export function setFieldMasked(flow: Flow, f: MatchField, value: Uint8Array, mask: Uint8Array): void {
  const now = getField(flow, f);
  for (let i = 0; i < now.length; i++) now[i] = (now[i] & ~mask[i]) | (value[i] & mask[i]);
  setField(flow, f, now);
}

/** Marks every bit of the field as looked at. The tag-present bit goes with the VLAN fields. */
export function maskField(wc: FlowWildcards, f: MatchField): void {
  if (isTunMetadata(f)) {
    writeTunMetadata(wc, f, new Uint8Array(f.nBytes).fill(0xff));
    return;
  }
  const p = place(f);
  if (f === NW_TOS) wc.nwTos |= 0xfc;
  else if (f === DL_VLAN || f === VLAN_VID) wc.vlanTci0 |= VLAN_CFI | VLAN_VID_MASK;
  else if (f === DL_VLAN_PCP || f === VLAN_PCP) wc.vlanTci0 |= VLAN_CFI | VLAN_PCP_MASK;
  else if (p.bytewise || p.wide) wc.u8.fill(0xff, p.start, p.start + p.size);
  else store(wc.u8, p.start, p.size, load(wc.u8, p.start, p.size) | p.mask);
}

/** Marks the bits of `mask` (in the place of the field's value) as looked at. */
export function maskFieldBits(wc: FlowWildcards, f: MatchField, mask: Uint8Array): void {
  if (isTunMetadata(f)) {
    const now = readTunMetadata(wc, f);
    writeTunMetadata(
      wc,
      f,
      now.map((b, i) => b | mask[i]),
    );
    return;
  }
  const p = place(f);
  if (!p.bytewise) {
    maskField(wc, f);
    return;
  }
  for (let i = 0; i < p.size; i++) wc.u8[p.start + i] |= mask[i] & (f === NW_TOS ? 0xfc : 0xff);
}

/** True when no bit of the field is matched. */
export function fieldIsWild(wc: FlowWildcards, f: MatchField): boolean {
  if (isTunMetadata(f)) return !isTunMetadataPresent(wc, tunMetadataIndex(f));
  const p = place(f);
  if (f === NW_TOS) return (wc.nwTos & 0xfc) === 0;
  if (!p.bytewise) return (load(wc.u8, p.start, p.size) & p.mask) === 0;
  for (let i = 0; i < p.size; i++) if (wc.u8[p.start + i]) return false;
  return true;
}

/**
 * Puts `value` (and `mask`; undefined: all of it) into a match, as nx_match and flow text do. An all-zero mask is "any". Returns what
 * is wrong (tunnel metadata that has no room), in Open vSwitch's words.
 */
export function matchSetField(m: Match, f: MatchField, value: Uint8Array, mask?: Uint8Array): string | undefined {
  if (isTunMetadata(f)) return matchSetTunMetadata(m, f, value, mask);
  if (BIT_FIELDS.has(f.name)) {
    setPlaced(m, f, value, mask);
    setField(m.wc, f, value);
  } else setPlaced(m, f, value, f === IPV6_LABEL && mask && coversLabel(mask) ? undefined : mask);
  return undefined;
}

/** Open vSwitch 3.1 matches of these the bits that are set, whatever the mask says. */
const BIT_FIELDS: ReadonlySet<string> = new Set([
  'tun_erspan_ver',
  'tun_erspan_dir',
  'tun_erspan_hwid',
  'tun_gtpu_flags',
  'tun_gtpu_msgtype',
]);

const coversLabel = (mask: Uint8Array): boolean => (load(mask, 0, 4) & 0xfffff) === 0xfffff;

function setPlaced(m: Match, f: MatchField, value: Uint8Array, mask: Uint8Array | undefined): void {
  const p = place(f);
  if (f === VLAN_VID) matchSetVlanVid(m, value, mask);
  else if (f === DL_VLAN && load(value, 0, 2) === OFP10_VLAN_NONE) {
    m.flow.vlanTci0 = 0;
    m.wc.vlanTci0 = 0xffff;
  } else if (!mask || !f.maskable) {
    if (mask && isAllZeros(mask)) {
      clearField(m, f, p);
      return;
    }
    if (!setVlanField(m.flow, f, value)) writeField(m.flow, f, value);
    maskField(m.wc, f);
  } else if (p.bytewise) {
    for (let i = 0; i < p.size; i++) {
      m.flow.u8[p.start + i] = value[i] & mask[i];
      m.wc.u8[p.start + i] = mask[i];
    }
  } else {
    const bits = (load(mask, 0, f.nBytes) << p.shift) & p.mask;
    const n = (load(value, 0, f.nBytes) << p.shift) & bits;
    store(m.flow.u8, p.start, p.size, (load(m.flow.u8, p.start, p.size) & ~p.mask) | n);
    store(m.wc.u8, p.start, p.size, (load(m.wc.u8, p.start, p.size) & ~p.mask) | bits);
  }
}

/** The field is no longer matched. */
function clearField(m: Match, f: MatchField, p: Place): void {
  const keep = f === NW_TOS ? ~0xfc : p.bytewise || p.wide ? 0 : ~p.mask;
  const [start, size] = p.bytewise && p.size > 4 ? [p.start, 4] : [p.start, p.size];
  for (const side of [m.flow, m.wc]) store(side.u8, start, size, load(side.u8, start, size) & keep);
}

function matchSetVlanVid(m: Match, value: Uint8Array, mask: Uint8Array | undefined): void {
  const bits = (mask ? load(mask, 0, 2) : 0xffff) & (VLAN_CFI | VLAN_VID_MASK);
  m.flow.vlanTci0 = (m.flow.vlanTci0 & VLAN_PCP_MASK) | (load(value, 0, 2) & bits);
  m.wc.vlanTci0 = (m.wc.vlanTci0 & VLAN_PCP_MASK) | bits;
}

/** A number as the value of a field (at most 32 significant bits). */
export function fieldValue(f: MatchField, n: number): Uint8Array {
  const value = new Uint8Array(f.nBytes);
  const size = Math.min(f.nBytes, 4);
  store(value, f.nBytes - size, size, n);
  return value;
}

/** A big number as the value of a field. */
export function fieldValueBig(f: MatchField, n: bigint): Uint8Array {
  const value = new Uint8Array(f.nBytes);
  for (let i = f.nBytes - 1; i >= 0 && n > 0n; i--) {
    value[i] = Number(n & 0xffn);
    n >>= 8n;
  }
  return value;
}

export function valueToBigInt(value: Uint8Array): bigint {
  let n = 0n;
  for (const byte of value) n = (n << 8n) | BigInt(byte);
  return n;
}

/** The flow formats that can match all of a field, or set it. */
export function exactProtocols(f: MatchField): Protocols {
  if (f === DL_VLAN || f === DL_VLAN_PCP) return P_ANY;
  return (f.of10 ? P_OF10_STD_ANY : 0) | (f.of11 ? P_OF11_STD : 0) | (f.headers.length ? P_NXM_OXM_ANY : 0);
}

/** The flow formats that can match a field with this mask. */
export function matchProtocols(f: MatchField, mask: Uint8Array): Protocols {
  if (isAllOnes(mask)) return exactProtocols(f);
  if (isAllZeros(mask) && !isTunMetadata(f)) return P_ANY;
  if (!f.maskable) return P_NONE;
  const of10 = f.of10 === 'cidr' && f.nBytes === 4 && prefixLength(mask) !== undefined;
  return (of10 ? P_OF10_STD_ANY : 0) | (f.of11 === 'bitwise' ? P_OF11_STD : 0) | (f.headers.length ? P_NXM_OXM_ANY : 0);
}
