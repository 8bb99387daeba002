import type { MatchField } from '../../protocols/fields.ts';
import { NX_VENDOR_ID, OFP10_VERSION, OFP12_VERSION, OFP15_VERSION, ONF_VENDOR_ID } from '../../protocols/openflow.ts';
import { NXAST, OFPAT10, OFPAT11 } from '../../protocols/openflow-actions.ts';
import { ofpPort } from '../base/types.ts';
import type { Ofpact, Subfield } from './actions.ts';
import { OfDecodeError, type Reader } from './buffer.ts';
import { fieldSupported, fieldValueOk, isAllOnes, mf, portFromOfp10, VLAN_CFI } from './field.ts';
import { type OxmEntry, readOxmHeader } from './oxm.ts';
import { portFromOfp11 } from './port.ts';

/** Actions off the wire. Each decoder gets a reader of its action alone, past the header (4 bytes; 10 for Nicira's). */

type Decoder = (r: Reader, version: number) => Ofpact;
/** Length of the whole action: smallest, greatest (`Infinity`: any multiple of 8). */
type Row = readonly [min: number, max: number, decode: Decoder];

const fixed = (size: number, decode: Decoder): Row => [size, size, decode];
const open = (size: number, decode: Decoder): Row => [size, Number.POSITIVE_INFINITY, decode];
const plain = (
  type:
    | 'exit'
    | 'strip_vlan'
    | 'pop_queue'
    | 'dec_mpls_ttl'
    | 'ct_clear'
    | 'dec_nsh_ttl'
    | 'debug_slow'
    | 'debug_recirc',
): Decoder => {
  const a: Ofpact = { type };
  return () => a;
};
const decTtl: Decoder = () => ({ type: 'dec_ttl', ids: [0] });

const mac = (r: Reader): Uint8Array => r.bytes(6);
const vid = (r: Reader): number => {
  const n = r.readU16();
  if (n & ~0xfff) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return n;
};
const pcp = (r: Reader): number => {
  const n = r.readU8();
  if (n & ~7) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return n;
};
const dscp = (r: Reader): number => {
  const n = r.readU8();
  if (n & 3) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return n;
};
const limited = (n: number, max: number): number => {
  if (n > max) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return n;
};
const mplsType = (n: number): number => {
  if (n !== 0x8847 && n !== 0x8848) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return n;
};

const setVlanVid =
  (pushIfNeeded: boolean): Decoder =>
  (r) => ({ type: 'set_vlan_vid', vid: vid(r), pushIfNeeded, flowHasVlan: false });
const setVlanPcp =
  (pushIfNeeded: boolean): Decoder =>
  (r) => ({ type: 'set_vlan_pcp', pcp: pcp(r), pushIfNeeded, flowHasVlan: false });
const setEthSrc: Decoder = (r) => ({ type: 'set_eth_src', mac: mac(r) });
const setEthDst: Decoder = (r) => ({ type: 'set_eth_dst', mac: mac(r) });
const setNwSrc: Decoder = (r) => ({ type: 'set_ipv4_src', ip: r.readU32() });
const setNwDst: Decoder = (r) => ({ type: 'set_ipv4_dst', ip: r.readU32() });
const setNwTos: Decoder = (r) => ({ type: 'set_ip_dscp', dscp: dscp(r) });
const setTpSrc: Decoder = (r) => ({ type: 'set_l4_src_port', port: r.readU16(), flowIpProto: 0 });
const setTpDst: Decoder = (r) => ({ type: 'set_l4_dst_port', port: r.readU16(), flowIpProto: 0 });

/** OpenFlow 1.0. */
const STANDARD10: Readonly<Record<number, Row>> = {
  [OFPAT10.OUTPUT]: fixed(8, (r) => ({
    type: 'output',
    port: ofpPort(portFromOfp10(r.readU16())),
    maxLen: r.readU16(),
  })),
  [OFPAT10.SET_VLAN_VID]: fixed(8, setVlanVid(true)),
  [OFPAT10.SET_VLAN_PCP]: fixed(8, setVlanPcp(true)),
  [OFPAT10.STRIP_VLAN]: fixed(8, plain('strip_vlan')),
  [OFPAT10.SET_DL_SRC]: fixed(16, setEthSrc),
  [OFPAT10.SET_DL_DST]: fixed(16, setEthDst),
  [OFPAT10.SET_NW_SRC]: fixed(8, setNwSrc),
  [OFPAT10.SET_NW_DST]: fixed(8, setNwDst),
  [OFPAT10.SET_NW_TOS]: fixed(8, setNwTos),
  [OFPAT10.SET_TP_SRC]: fixed(8, setTpSrc),
  [OFPAT10.SET_TP_DST]: fixed(8, setTpDst),
  [OFPAT10.ENQUEUE]: fixed(16, (r) => {
    const port = ofpPort(portFromOfp10(r.readU16()));
    r.skip(6);
    return { type: 'enqueue', port, queue: r.readU32() };
  }),
};

/** OpenFlow 1.1 and later. */
const STANDARD11: Readonly<Record<number, Row>> = {
  [OFPAT11.OUTPUT]: fixed(16, (r) => ({ type: 'output', port: portFromOfp11(r.readU32()), maxLen: r.readU16() })),
  [OFPAT11.SET_VLAN_VID]: fixed(8, setVlanVid(false)),
  [OFPAT11.SET_VLAN_PCP]: fixed(8, setVlanPcp(false)),
  [OFPAT11.SET_DL_SRC]: fixed(16, setEthSrc),
  [OFPAT11.SET_DL_DST]: fixed(16, setEthDst),
  [OFPAT11.SET_NW_SRC]: fixed(8, setNwSrc),
  [OFPAT11.SET_NW_DST]: fixed(8, setNwDst),
  [OFPAT11.SET_NW_TOS]: fixed(8, setNwTos),
  [OFPAT11.SET_NW_ECN]: fixed(8, (r) => ({ type: 'set_ip_ecn', ecn: limited(r.readU8(), 3) })),
  [OFPAT11.SET_TP_SRC]: fixed(8, setTpSrc),
  [OFPAT11.SET_TP_DST]: fixed(8, setTpDst),
  [OFPAT11.SET_MPLS_LABEL]: fixed(8, (r) => ({ type: 'set_mpls_label', label: limited(r.readU32(), 0xfffff) })),
  [OFPAT11.SET_MPLS_TC]: fixed(8, (r) => ({ type: 'set_mpls_tc', tc: limited(r.readU8(), 7) })),
  [OFPAT11.SET_MPLS_TTL]: fixed(8, (r) => ({ type: 'set_mpls_ttl', ttl: r.readU8() })),
  [OFPAT11.DEC_MPLS_TTL]: fixed(8, plain('dec_mpls_ttl')),
  [OFPAT11.PUSH_VLAN]: fixed(8, (r) => {
    const ethertype = r.readU16();
    if (ethertype !== 0x8100 && ethertype !== 0x88a8) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
    return { type: 'push_vlan', ethertype };
  }),
  [OFPAT11.POP_VLAN]: fixed(8, () => ({ type: 'strip_vlan', popVlan: true })),
  [OFPAT11.PUSH_MPLS]: fixed(8, (r) => ({ type: 'push_mpls', ethertype: mplsType(r.readU16()) })),
  [OFPAT11.POP_MPLS]: fixed(8, (r) => ({ type: 'pop_mpls', ethertype: r.readU16() })),
  [OFPAT11.SET_QUEUE]: fixed(8, (r) => ({ type: 'set_queue', queue: r.readU32() })),
  [OFPAT11.GROUP]: fixed(8, (r) => ({ type: 'group', groupId: r.readU32() })),
  [OFPAT11.SET_NW_TTL]: fixed(8, (r) => ({ type: 'set_ip_ttl', ttl: r.readU8() })),
  [OFPAT11.DEC_NW_TTL]: fixed(8, decTtl),
  [OFPAT11.SET_FIELD]: open(8, decodeSetField),
  [OFPAT11.COPY_FIELD]: open(16, (r) => {
    const nBits = r.readU16();
    const [srcOfs, dstOfs] = [r.readU16(), r.readU16()];
    r.skip(2);
    return regMove(r, nBits, srcOfs, dstOfs);
  }),
  [OFPAT11.METER]: fixed(8, (r) => ({ type: 'meter', meterId: r.readU32() })),
};

const entry: OxmEntry = { field: undefined, hasMask: false, length: 0, badLength: false };

/** A field header alone, without a value. */
function fieldHeader(r: Reader): MatchField {
  readOxmHeader(r, entry);
  if (!entry.field || !fieldSupported(entry.field)) throw new OfDecodeError('OFPBMC_BAD_FIELD');
  if (entry.hasMask) throw new OfDecodeError('OFPBMC_BAD_MASK');
  return entry.field;
}

function decodeSetField(r: Reader, version: number): Ofpact {
  const mayMask = version >= OFP15_VERSION;
  const a = pullSetField(r, mayMask, false);
  if (!r.zeros(r.left)) throw new OfDecodeError('OFPBAC_BAD_SET_ARGUMENT');
  return a;
}

function pullSetField(r: Reader, mayMask: boolean, load: boolean): Ofpact {
  r.error = 'OFPBAC_BAD_SET_LEN';
  readOxmHeader(r, entry);
  const { field: f, hasMask, length, badLength } = entry;
  if (badLength) throw new OfDecodeError('OFPBAC_BAD_SET_LEN');
  if (!f || !fieldSupported(f)) throw new OfDecodeError('OFPBAC_BAD_SET_TYPE');
  if (hasMask && !mayMask) throw new OfDecodeError('OFPBAC_BAD_SET_MASK');
  const value = r.bytes(f.nBytes);
  const mask = hasMask ? r.bytes(length - f.nBytes) : new Uint8Array(f.nBytes).fill(0xff);
  if (value.some((b, i) => b & ~mask[i])) throw new OfDecodeError('OFPBMC_BAD_WILDCARDS');
  if (!f.maskable && !isAllOnes(mask)) throw new OfDecodeError('OFPBAC_BAD_SET_MASK');
  if (!f.writable || !fieldValueOk(f, value)) throw new OfDecodeError('OFPBAC_BAD_SET_ARGUMENT', f.name);
  if (f === VLAN_VID && !(value[0] & (VLAN_CFI >> 8))) throw new OfDecodeError('OFPBAC_BAD_SET_ARGUMENT');
  return { type: 'set_field', field: f, value, mask, load };
}
const VLAN_VID = mf('vlan_vid');

function checkSubfield(s: Subfield): Subfield {
  if (s.nBits === 0 || s.ofs + s.nBits > s.field.nBits) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT', s.field.name);
  return s;
}

function regMove(r: Reader, nBits: number, srcOfs: number, dstOfs: number): Ofpact {
  const src = checkSubfield({ field: fieldHeader(r), ofs: srcOfs, nBits });
  const dst = checkSubfield({ field: fieldHeader(r), ofs: dstOfs, nBits });
  if (!dst.field.writable || !r.zeros(r.left)) throw new OfDecodeError('OFPBAC_BAD_SET_ARGUMENT');
  return { type: 'reg_move', src, dst };
}

/** `ofs_nbits`: offset in the upper 10 bits, number of bits less one in the lower 6. */
function ofsNbits(word: number): { ofs: number; nBits: number } {
  return { ofs: word >> 6, nBits: (word & 0x3f) + 1 };
}

/** Bits `ofs`… of a field-sized byte string set from a 64-bit value; and the mask of those bits. */
function loadBits(f: MatchField, ofs: number, nBits: number, v: bigint): { value: Uint8Array; mask: Uint8Array } {
  const value = new Uint8Array(f.nBytes);
  const mask = new Uint8Array(f.nBytes);
  let high = Number(v >> 32n);
  let low = Number(v & 0xffffffffn);
  for (let i = ofs; i < ofs + nBits; i++) {
    const at = f.nBytes - 1 - (i >> 3);
    mask[at] |= 1 << (i & 7);
    if (low & 1) value[at] |= 1 << (i & 7);
    low = (low >>> 1) | ((high & 1) << 31);
    high >>>= 1;
  }
  return { value, mask };
}

function decodeRegLoad(r: Reader): Ofpact {
  const { ofs, nBits } = ofsNbits(r.readU16());
  const field = fieldHeader(r);
  const v = r.readU64();
  checkSubfield({ field, ofs, nBits });
  if (!field.writable || (nBits < 64 && v >> BigInt(nBits))) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT', field.name);
  return { type: 'set_field', field, ...loadBits(field, ofs, nBits, v), load: true };
}

function decodeStack(type: 'stack_push' | 'stack_pop'): Decoder {
  return (r) => {
    const ofs = r.readU16();
    const field = fieldHeader(r);
    const subfield = checkSubfield({ field, ofs, nBits: r.readU16() });
    if (type === 'stack_pop' && !field.writable) throw new OfDecodeError('OFPBAC_BAD_SET_ARGUMENT');
    return { type, subfield };
  };
}

function decodeController2(r: Reader): Ofpact {
  if (!r.zeros(6)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
  const a: Extract<Ofpact, { type: 'controller' }> = { type: 'controller', maxLen: 0xffff, reason: 1, controllerId: 0 };
  while (r.left >= 4) {
    const type = r.readU16();
    const length = r.readU16();
    if (length < 4) throw new OfDecodeError('OFPBPC_BAD_LEN');
    const p = r.sub(length - 4, 'OFPBPC_BAD_LEN');
    if (type === 0) a.maxLen = p.readU16();
    else if (type === 1) a.controllerId = p.readU16();
    else if (type === 2) a.reason = p.readU8();
    else if (type === 3) a.userdata = p.rest();
    else if (type === 4) a.pause = true;
    else if (type === 5) a.meterId = p.readU32();
    else throw new OfDecodeError('OFPBPC_BAD_TYPE');
    r.skip(Math.min(r.left, -length & 7));
  }
  return a;
}

function decodeCntIds(r: Reader): Ofpact {
  const n = r.readU16();
  if (!r.zeros(4)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
  if (n * 2 > r.left) throw new OfDecodeError('OFPBAC_BAD_LEN');
  return { type: 'dec_ttl', ids: Array.from({ length: n }, () => r.readU16()) };
}

function resubmit(r: Reader, withTable: boolean, withCtOrig: boolean): Ofpact {
  const inPort = ofpPort(portFromOfp10(r.readU16()));
  const tableId = withTable ? r.readU8() : 255;
  if (withTable && !r.zeros(3)) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return { type: 'resubmit', inPort, tableId, withCtOrig };
}

const at12 = (r: Reader): Reader => {
  r.skip(2);
  return r;
};
const at16 = (r: Reader): Reader => {
  r.skip(6);
  return r;
};

/** Nicira's, by subtype. */
const NICIRA: Readonly<Record<number, Row>> = {
  [NXAST.RESUBMIT]: fixed(16, (r) => resubmit(r, false, false)),
  [NXAST.RESUBMIT_TABLE]: fixed(16, (r) => resubmit(r, true, false)),
  [NXAST.RESUBMIT_TABLE_CT]: fixed(16, (r) => resubmit(r, true, true)),
  [NXAST.SET_TUNNEL]: fixed(16, (r) => ({ type: 'set_tunnel', tunId: BigInt(at12(r).readU32()) })),
  [NXAST.SET_TUNNEL64]: fixed(24, (r) => ({ type: 'set_tunnel', tunId: at16(r).readU64() })),
  [NXAST.SET_QUEUE]: fixed(16, (r) => ({ type: 'set_queue', queue: at12(r).readU32() })),
  [NXAST.POP_QUEUE]: fixed(16, plain('pop_queue')),
  [NXAST.REG_MOVE]: open(24, (r) => regMove(r, r.readU16(), r.readU16(), r.readU16())),
  [NXAST.REG_LOAD]: fixed(24, decodeRegLoad),
  [NXAST.REG_LOAD2]: open(24, (r) => pullSetField(at16(r), true, true)),
  [NXAST.NOTE]: open(16, (r) => ({ type: 'note', data: r.rest() })),
  [NXAST.OUTPUT_REG]: fixed(24, (r) => {
    const bits = ofsNbits(r.readU16());
    const src = checkSubfield({ field: fieldHeader(r), ...bits });
    return { type: 'output_reg', src, maxLen: r.readU16() };
  }),
  [NXAST.OUTPUT_REG2]: open(24, (r) => {
    const bits = ofsNbits(r.readU16());
    const maxLen = r.readU16();
    return { type: 'output_reg', src: checkSubfield({ field: fieldHeader(r), ...bits }), maxLen };
  }),
  [NXAST.EXIT]: fixed(16, plain('exit')),
  [NXAST.DEC_TTL]: fixed(16, decTtl),
  [NXAST.DEC_TTL_CNT_IDS]: open(16, decodeCntIds),
  [NXAST.FIN_TIMEOUT]: fixed(16, (r) => ({ type: 'fin_timeout', idleTimeout: r.readU16(), hardTimeout: r.readU16() })),
  [NXAST.CONTROLLER]: fixed(16, (r) => ({
    type: 'controller',
    maxLen: r.readU16(),
    controllerId: r.readU16(),
    reason: r.readU8(),
  })),
  [NXAST.CONTROLLER2]: open(16, decodeController2),
  [NXAST.WRITE_METADATA]: fixed(32, (r) => ({
    type: 'write_metadata',
    metadata: at16(r).readU64(),
    mask: r.readU64(),
  })),
  [NXAST.PUSH_MPLS]: fixed(16, (r) => ({ type: 'push_mpls', ethertype: mplsType(r.readU16()) })),
  [NXAST.POP_MPLS]: fixed(16, (r) => ({ type: 'pop_mpls', ethertype: r.readU16() })),
  [NXAST.SET_MPLS_TTL]: fixed(16, (r) => ({ type: 'set_mpls_ttl', ttl: r.readU8() })),
  [NXAST.DEC_MPLS_TTL]: fixed(16, plain('dec_mpls_ttl')),
  [NXAST.SET_MPLS_LABEL]: fixed(16, (r) => ({ type: 'set_mpls_label', label: limited(at12(r).readU32(), 0xfffff) })),
  [NXAST.SET_MPLS_TC]: fixed(16, (r) => ({ type: 'set_mpls_tc', tc: limited(r.readU8(), 7) })),
  [NXAST.STACK_PUSH]: fixed(24, decodeStack('stack_push')),
  [NXAST.STACK_POP]: fixed(24, decodeStack('stack_pop')),
  [NXAST.CONJUNCTION]: fixed(16, (r) => ({
    type: 'conjunction',
    clause: r.readU8(),
    nClauses: r.readU8(),
    id: r.readU32(),
  })),
  [NXAST.OUTPUT_TRUNC]: fixed(16, (r) => ({
    type: 'output_trunc',
    port: ofpPort(portFromOfp10(r.readU16())),
    maxLen: r.readU32(),
  })),
  [NXAST.GROUP]: fixed(16, (r) => ({ type: 'group', groupId: at12(r).readU32() })),
  [NXAST.CLONE]: open(16, (r, version) => ({ type: 'clone', actions: decodeActions(at16(r), version) })),
  [NXAST.CT_CLEAR]: fixed(16, plain('ct_clear')),
  [NXAST.DEC_NSH_TTL]: fixed(16, plain('dec_nsh_ttl')),
  [NXAST.DEBUG_SLOW]: fixed(16, plain('debug_slow')),
  [NXAST.DEBUG_RECIRC]: fixed(16, plain('debug_recirc')),
};

/** From which and to which version a standard type of 1.1+ exists, where that is not all of them. */
function inVersion(type: number, version: number): boolean {
  if (type === OFPAT11.SET_FIELD) return version >= OFP12_VERSION;
  return type < OFPAT11.COPY_FIELD || version >= OFP15_VERSION;
}

function rowOf(r: Reader, start: number, type: number, version: number): Row {
  if (type !== 0xffff) {
    const row = version === OFP10_VERSION ? STANDARD10[type] : inVersion(type, version) ? STANDARD11[type] : undefined;
    if (!row) throw new OfDecodeError('OFPBAC_BAD_TYPE', `${type}`);
    return row;
  }
  if (r.end - start < 10) throw new OfDecodeError('OFPBAC_BAD_LEN');
  const vendor = r.readU32();
  const subtype = r.readU16();
  if (vendor !== NX_VENDOR_ID && vendor !== ONF_VENDOR_ID) throw new OfDecodeError('OFPBAC_BAD_VENDOR');
  const row = vendor === NX_VENDOR_ID ? NICIRA[subtype] : undefined;
  if (!row) throw new OfDecodeError('OFPBAC_BAD_VENDOR_TYPE', `${subtype}`);
  return row;
}

function decodeOne(r: Reader, version: number): Ofpact {
  const start = r.pos;
  if (r.left < 8) throw new OfDecodeError('OFPBAC_BAD_LEN');
  const type = r.readU16();
  const length = r.readU16();
  const [min, max, decoder] = rowOf(r, start, type, version);
  if (length < min || length > max || length % 8 !== 0 || start + length > r.end)
    throw new OfDecodeError('OFPBAC_BAD_LEN');
  const sub = r.sub(start + length - r.pos, 'OFPBAC_BAD_LEN');
  return decoder(sub, version);
}

/** Decodes a list of actions to the end of `r`. */
export function decodeActions(r: Reader, version: number): Ofpact[] {
  const out: Ofpact[] = [];
  while (r.left > 0) out.push(decodeOne(r, version));
  return out;
}
