import {
  NXAST,
  OFPPPC,
  OFPPPT_PROP_NSH_MDTYPE,
  OFPPPT_PROP_NSH_TLV,
  PT_ETH,
  PT_MPLS,
  PT_MPLS_MC,
  PT_NSH,
  PT_USE_NEXT_PROTO,
} from '../../protocols/openflow-actions.ts';
import { putNicira } from './action-wire.ts';
import type { OfpactOf } from './actions.ts';
import { hex, hexBytes } from './address-text.ts';
import { OfDecodeError, Reader, Writer } from './buffer.ts';
import { parseKeyValues } from './key-value.ts';
import { FlowTextError, parseHexBytes, strToU8, strToU16 } from './number-text.ts';

/** `encap` and `decap` (NXAST_ENCAP, NXAST_DECAP): bytes and text, and encap's properties. */

type Encap = OfpactOf<'encap'>;
type Decap = OfpactOf<'decap'>;

/** A property of encap. */
export type EdProp =
  | { type: 'md_type'; mdType: number }
  /** `data` without its padding. */
  | { type: 'tlv'; tlvClass: number; tlvType: number; data: Uint8Array };

const HEADER_SIZE = 4;
const MDTYPE_SIZE = 8;
const TLV_SIZE = 8;
const round8 = (n: number): number => (n + 7) & ~7;

function pullEdProp(r: Reader): EdProp {
  if (r.left < HEADER_SIZE) throw new OfDecodeError('OFPBAC_BAD_LEN');
  const [propClass, type, len] = [r.readU16(), r.readU8(), r.readU8()];
  if (len < HEADER_SIZE || round8(len) - HEADER_SIZE > r.left) throw new OfDecodeError('OFPBAC_BAD_LEN');
  const body = r.sub(round8(len) - HEADER_SIZE);
  if (propClass !== OFPPPC.NSH) throw new OfDecodeError('NXBAC_UNKNOWN_ED_PROP');
  if (type === OFPPPT_PROP_NSH_MDTYPE) {
    if (len > MDTYPE_SIZE) throw new OfDecodeError('NXBAC_BAD_ED_PROP');
    return { type: 'md_type', mdType: body.left ? body.readU8() : 0 };
  }
  if (type !== OFPPPT_PROP_NSH_TLV) throw new OfDecodeError('NXBAC_UNKNOWN_ED_PROP');
  const [tlvClass, tlvType, size] = [body.readU16(), body.readU8(), body.readU8()];
  if (len !== TLV_SIZE + round8(size)) throw new OfDecodeError('NXBAC_BAD_ED_PROP');
  return { type: 'tlv', tlvClass, tlvType, data: body.bytes(size) };
}

function putEdProp(w: Writer, p: EdProp): void {
  const start = w.length;
  w.putU16(OFPPPC.NSH);
  if (p.type === 'md_type') {
    w.putU8(OFPPPT_PROP_NSH_MDTYPE);
    w.putU8(HEADER_SIZE + 1);
    w.putU8(p.mdType);
  } else {
    w.putU8(OFPPPT_PROP_NSH_TLV);
    w.putU8(TLV_SIZE + round8(p.data.length));
    w.putU16(p.tlvClass);
    w.putU8(p.tlvType);
    w.putU8(p.data.length);
    w.putBytes(p.data);
  }
  w.padTo(8, start);
}

/** The properties of an encap action. */
export function edProps(a: Encap): EdProp[] {
  const r = new Reader(a.props);
  const out: EdProp[] = [];
  while (r.left > 0) out.push(pullEdProp(r));
  return out;
}

function propsToBytes(props: readonly EdProp[]): Uint8Array {
  const w = new Writer();
  for (const p of props) putEdProp(w, p);
  return w.done().slice();
}

const HEADERS: Readonly<Record<string, number>> = {
  ethernet: PT_ETH,
  nsh: PT_NSH,
  mpls: PT_MPLS,
  mpls_mc: PT_MPLS_MC,
};

export function decodeEncap(r: Reader): Encap {
  const hdrSize = r.readU16();
  const packetType = r.readU32();
  if (!Object.values(HEADERS).includes(packetType)) throw new OfDecodeError('NXBAC_BAD_HEADER_TYPE');
  const props: EdProp[] = [];
  while (r.left > 0) props.push(pullEdProp(r));
  const a: Encap = { type: 'encap', packetType, props: propsToBytes(props) };
  if (hdrSize) a.hdrSize = hdrSize;
  return a;
}

export function encodeEncap(w: Writer, a: Encap): void {
  putNicira(w, NXAST.ENCAP, () => {
    w.putU16(a.hdrSize ?? 0);
    w.putU32(a.packetType);
    w.putBytes(a.props);
  });
}

export function decodeDecap(r: Reader): Decap {
  r.skip(2);
  const packetType = r.readU32();
  if (r.left > 0) throw new OfDecodeError('NXBAC_UNKNOWN_ED_PROP');
  return { type: 'decap', packetType };
}

export function encodeDecap(w: Writer, a: Decap): void {
  putNicira(w, NXAST.DECAP, () => {
    w.putZeros(2);
    w.putU32(a.packetType);
  });
}

function formatEdProp(p: EdProp): string {
  if (p.type === 'md_type') return `md_type=${p.mdType}`;
  return `tlv(0x${p.tlvClass.toString(16).padStart(4, '0')},${p.tlvType},${hexBytes(p.data)})`;
}

export function formatEncap(a: Encap): string {
  const name = Object.keys(HEADERS).find((k) => HEADERS[k] === a.packetType) ?? 'UNKNOWN';
  const props = edProps(a).map(formatEdProp);
  return `encap(${name}${props.length ? `(${props.join(',')})` : ''})`;
}

export function formatDecap(a: Decap): string {
  if (a.packetType === PT_USE_NEXT_PROTO) return 'decap()';
  return `decap(packet_type(ns=${a.packetType >>> 16},type=${hex(a.packetType & 0xffff)}))`;
}

function parseEdProp(header: string, key: string, value: string): EdProp {
  if (header !== 'nsh' || (key !== 'md_type' && key !== 'tlv')) throw new FlowTextError(`Invalid property: ${key}`);
  if (value === '') throw new FlowTextError('Value missing for encap property');
  if (key === 'md_type') {
    const mdType = strToU8(value, 'md_type');
    if (mdType < 1 || mdType > 2) throw new FlowTextError('invalid md_type');
    return { type: 'md_type', mdType };
  }
  const m = /^0x([0-9a-fA-F]+),(\d+),0x([0-9a-fA-F]{1,251})/.exec(value);
  if (!m || Number.parseInt(m[1], 16) > 0xffff || Number(m[2]) > 0xff)
    throw new FlowTextError(`Invalid NSH TLV header: ${value}`);
  return { type: 'tlv', tlvClass: Number.parseInt(m[1], 16), tlvType: Number(m[2]), data: parseHexBytes(m[3]).bytes };
}

export function parseEncap(s: string): Encap {
  const [first] = parseKeyValues(s);
  if (!first) throw new FlowTextError(`Missing encap hdr: ${s}`);
  const { key, value } = first;
  if (!Object.hasOwn(HEADERS, key)) throw new FlowTextError(`Encap hdr not supported: ${value}`);
  const props = parseKeyValues(value).map((p) => parseEdProp(key, p.key, p.value));
  return { type: 'encap', packetType: HEADERS[key], props: propsToBytes(props) };
}

/** Packet type namespaces that there are. */
const N_NAMESPACES = 5;

export function parseDecap(s: string): Decap {
  const [first] = parseKeyValues(s);
  if (!first) return { type: 'decap', packetType: PT_USE_NEXT_PROTO };
  if (first.key !== 'packet_type') throw new FlowTextError(`Invalid decap argument: ${first.key}`);
  const [ns, type] = parseKeyValues(first.value);
  if (ns?.key !== 'ns') throw new FlowTextError('Missing packet_type attribute ns');
  const nsNumber = strToU16(ns.value, 'ns');
  if (nsNumber >= N_NAMESPACES) throw new FlowTextError(`Unsupported ns value: ${nsNumber}`);
  if (type?.key !== 'type') throw new FlowTextError('Missing packet_type attribute type');
  return { type: 'decap', packetType: ((nsNumber << 16) | strToU16(type.value, 'type')) >>> 0 };
}
