import type { MatchField } from '../../protocols/fields.ts';
import {
  NX_VENDOR_ID,
  OFP10_VERSION,
  OFP12_VERSION,
  OFP13_VERSION,
  OFP14_VERSION,
  OFP15_VERSION,
  ONF_VENDOR_ID,
} from '../../protocols/openflow.ts';
import { NXAST, OFPAT10, OFPAT11, ONFACT_COPY_FIELD } from '../../protocols/openflow-actions.ts';
import { ofpPort } from '../base/types.ts';
import { decodeCt, decodeNat } from './action-ct.ts';
import { decodeDecap, decodeEncap } from './action-encap.ts';
import { decodeBundle, decodeMultipath } from './action-hash.ts';
import { decodeLearn, decodeLearn2 } from './action-learn.ts';
import { checkOutputPort } from './action-port.ts';
import { decodeSample } from './action-sample.ts';
import { verifyActions } from './action-verify.ts';
import { decodeOfsNbits, mappedField, mustBeZero, pullFieldHeader, pullNxmField, throwError } from './action-wire.ts';
import type { Ofpact, OfpactOf, Subfield } from './actions.ts';
import { OfDecodeError, type Reader } from './buffer.ts';
import { fieldValueOk, mf, portFromOfp10, VLAN_CFI } from './field.ts';
import { formatField } from './field-text.ts';
import { actionInfo, actionWarn, hexDump } from './openflow-log.ts';
import { checkMaskCovers, newOxmEntry, readOxmHeader } from './oxm.ts';
import { portFromOfp11 } from './port.ts';
import { checkDst, checkSrc } from './subfield.ts';

/** Actions off the wire. Each decoder gets a reader of its action alone, past the header (4 bytes; 10 for Nicira's). */

type Decoder = (r: Reader, version: number) => Ofpact;
/** Length of the whole action: smallest, greatest (`Infinity`: any multiple of 8). */
type Row = readonly [min: number, max: number, decode: Decoder];

const fixed = (size: number, decode: Decoder): Row => [size, size, decode];
const open = (size: number, decode: Decoder): Row => [size, Number.POSITIVE_INFINITY, decode];
const plain = (type: 'exit' | 'strip_vlan' | 'pop_queue' | 'dec_mpls_ttl' | 'ct_clear' | 'dec_nsh_ttl'): Decoder => {
  const a: Ofpact = { type };
  return () => a;
};
/** Those that a switch takes in test mode only. */
const debug =
  (type: 'debug_slow' | 'debug_recirc'): Decoder =>
  () => {
    if (!debugActions) throw new OfDecodeError('OFPBAC_BAD_VENDOR_TYPE');
    return { type };
  };
let debugActions = false;

/** Lets debug_slow and debug_recirc be decoded, as --enable-dummy does. */
export function enableDebugActions(): void {
  debugActions = true;
}

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

const OFPP_IN_PORT = 0xfffffff8;
const OFPP_LOCAL = 0xfffffffe;

function output(port: number, maxLen: number): Ofpact {
  throwError(checkOutputPort(port));
  return { type: 'output', port: ofpPort(port), maxLen };
}

/** OpenFlow 1.0. */
const STANDARD10: Readonly<Record<number, Row>> = {
  [OFPAT10.OUTPUT]: fixed(8, (r) => output(portFromOfp10(r.readU16()), r.readU16())),
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
    if (port >= 0xff00 && port !== OFPP_IN_PORT && port !== OFPP_LOCAL) throw new OfDecodeError('OFPBAC_BAD_OUT_PORT');
    return { type: 'enqueue', port, queue: r.readU32() };
  }),
};

/** OpenFlow 1.1 and later. */
const STANDARD11: Readonly<Record<number, Row>> = {
  [OFPAT11.OUTPUT]: fixed(16, (r) => output(portFromOfp11(r.readU32()), r.readU16())),
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
  [OFPAT11.SET_MPLS_LABEL]: fixed(8, (r) => ({ type: 'set_mpls_label', label: r.readU32() })),
  [OFPAT11.SET_MPLS_TC]: fixed(8, (r) => ({ type: 'set_mpls_tc', tc: r.readU8() })),
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
  [OFPAT11.COPY_FIELD]: open(16, copyField),
  [OFPAT11.METER]: fixed(8, (r) => ({ type: 'meter', meterId: r.readU32() })),
};

const entry = newOxmEntry();

/** A field's value of `length` bytes from `at`; tunnel metadata is right-aligned in the field's width. */
function fieldBytes(r: Reader, f: MatchField, at: number, length: number): Uint8Array {
  const size = Math.min(length, f.nBytes);
  if (size === f.nBytes) return r.u8.slice(at, at + size);
  const value = new Uint8Array(f.nBytes);
  value.set(r.u8.subarray(at, at + size), f.nBytes - size);
  return value;
}

/** A header with value, and mask (all ones when there is none). */
function pullEntry(r: Reader, mayMask: boolean): { field: MatchField; value: Uint8Array; mask: Uint8Array } {
  r.error = 'OFPBMC_BAD_LEN';
  readOxmHeader(r, entry);
  const { hasMask, length } = entry;
  if (entry.badLength && length > 0) throw new OfDecodeError('OFPBAC_BAD_SET_LEN');
  if (!entry.field) throw new OfDecodeError('OFPBAC_BAD_SET_TYPE');
  const field = mappedField(r, entry.field);
  const at = r.take(length);
  const width = hasMask ? length >> 1 : length;
  if (hasMask) checkMaskCovers(r.u8, at, width, entry);
  if (hasMask && !mayMask) throw new OfDecodeError('OFPBAC_BAD_SET_MASK');
  return {
    field,
    value: fieldBytes(r, field, at, width),
    mask: hasMask ? fieldBytes(r, field, at + width, width) : new Uint8Array(field.nBytes).fill(0xff),
  };
}

const IN_PORT_OXM = mf('in_port_oxm');
const VLAN_VID = mf('vlan_vid');

function decodeSetField(r: Reader, version: number): Ofpact {
  const { field, value, mask } = pullEntry(r, version >= OFP15_VERSION);
  mustBeZero(r, 'OFPBAC_BAD_SET_ARGUMENT');
  if (field === IN_PORT_OXM) throw new OfDecodeError('OFPBAC_BAD_SET_ARGUMENT');
  mustBeWritable(field);
  const cfi = VLAN_CFI >> 8;
  if (!fieldValueOk(field, value) || (field === VLAN_VID && !(mask[0] & value[0] & cfi))) {
    actionWarn(() => `Invalid value for set field ${field.name}: ${formatField(field, value)}`);
    throw new OfDecodeError('OFPBAC_BAD_SET_ARGUMENT');
  }
  return { type: 'set_field', field, value, mask, load: false };
}

function mustBeWritable(f: MatchField): void {
  if (f.writable) return;
  actionWarn(`destination field ${f.name} is not writable`);
  throw new OfDecodeError('OFPBAC_BAD_SET_ARGUMENT');
}

function decodeRegLoad2(r: Reader): Ofpact {
  const { field, value, mask } = pullEntry(r, true);
  mustBeZero(r, 'OFPBAC_BAD_SET_ARGUMENT');
  mustBeWritable(field);
  return { type: 'set_field', field, value, mask, load: false, raw: NXAST.REG_LOAD2 };
}

function regMove(r: Reader, raw: number, nBits: number, srcOfs: number, dstOfs: number): Ofpact {
  const src: Subfield = { field: pullFieldHeader(r), ofs: srcOfs, nBits };
  const dst: Subfield = { field: pullFieldHeader(r), ofs: dstOfs, nBits };
  mustBeZero(r);
  throwError(checkSrc(src) ?? checkDst(dst));
  return raw === NXAST.REG_MOVE ? { type: 'reg_move', src, dst } : { type: 'reg_move', src, dst, raw };
}

function copyField(r: Reader): Ofpact {
  const nBits = r.readU16();
  const [srcOfs, dstOfs] = [r.readU16(), r.readU16()];
  r.skip(2);
  return regMove(r, ONFACT_COPY_FIELD, nBits, srcOfs, dstOfs);
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
  const { ofs, nBits } = decodeOfsNbits(r.readU16());
  const field = pullNxmField(r);
  const v = r.readU64();
  throwError(checkDst({ field, ofs, nBits }));
  if (nBits < 64 && v >> BigInt(nBits)) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT', field.name);
  return { type: 'set_field', field, ...loadBits(field, ofs, nBits, v), load: true };
}

function decodeStack(type: 'stack_push' | 'stack_pop'): Decoder {
  return (r) => {
    const ofs = r.readU16();
    const field = pullFieldHeader(r);
    const subfield = { field, ofs, nBits: r.readU16() };
    mustBeZero(r);
    throwError(type === 'stack_pop' ? checkDst(subfield) : checkSrc(subfield));
    return { type, subfield };
  };
}

function decodeOutputReg(r: Reader): Ofpact {
  const bits = decodeOfsNbits(r.readU16());
  const src = { field: pullNxmField(r), ...bits };
  const maxLen = r.readU16();
  mustBeZero(r, 'OFPBAC_BAD_ARGUMENT');
  throwError(checkSrc(src));
  return { type: 'output_reg', src, maxLen };
}

function decodeOutputReg2(r: Reader): Ofpact {
  const bits = decodeOfsNbits(r.readU16());
  const maxLen = r.readU16();
  const src = { field: pullFieldHeader(r), ...bits };
  mustBeZero(r);
  throwError(checkSrc(src));
  return { type: 'output_reg', src, maxLen, raw: NXAST.OUTPUT_REG2 };
}

function decodeCheckPktLarger(r: Reader): Ofpact {
  const [pktLen, ofs] = [r.readU16(), r.readU16()];
  const dst = { field: pullFieldHeader(r), ofs, nBits: 1 };
  mustBeZero(r);
  throwError(checkDst(dst));
  return { type: 'check_pkt_larger', pktLen, dst };
}

function decodeConjunction(r: Reader): Ofpact {
  const [clause, nClauses, id] = [r.readU8(), r.readU8(), r.readU32()];
  if (nClauses < 2 || nClauses > 64 || clause >= nClauses) throw new OfDecodeError('NXBAC_BAD_CONJUNCTION');
  return { type: 'conjunction', id, clause, nClauses };
}

function decodeOutputTrunc(r: Reader): Ofpact {
  const [port, maxLen] = [ofpPort(portFromOfp10(r.readU16())), r.readU32()];
  if (maxLen < 14) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return { type: 'output_trunc', port, maxLen };
}

function decodeClone(r: Reader, version: number): Ofpact {
  r.skip(6);
  const actions = decodeActions(r, version);
  verifyActions(actions, version, { instructions: false });
  return { type: 'clone', actions };
}

type Controller = OfpactOf<'controller'>;
/** NXAC2PT_*: what becomes of a property. Numbers of 8 and 16 bits may be followed by padding. */
const CONTROLLER_PROPS: readonly ((a: Controller, r: Reader) => void)[] = [
  (a, r) => {
    a.maxLen = r.readU16();
  },
  (a, r) => {
    a.controllerId = r.readU16();
  },
  (a, r) => {
    a.reason = r.readU8();
  },
  (a, r) => {
    a.userdata = r.rest();
  },
  (a) => {
    a.pause = true;
  },
  (a, r) => {
    if (r.left !== 4) throw new OfDecodeError('OFPBPC_BAD_LEN');
    a.meterId = r.readU32();
  },
];

function decodeController2(r: Reader): Ofpact {
  if (!r.zeros(6)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
  const a: Controller = { type: 'controller', maxLen: 0xffff, reason: 1, controllerId: 0, raw: NXAST.CONTROLLER2 };
  while (r.left > 0) {
    r.error = 'OFPBPC_BAD_LEN';
    const [type, length] = [r.readU16(), r.readU16()];
    if (length < 4) throw new OfDecodeError('OFPBPC_BAD_LEN');
    const p = r.sub(length - 4);
    r.skip(-length & 7);
    const set = CONTROLLER_PROPS[type];
    if (!set) throw new OfDecodeError('OFPBPC_BAD_TYPE', `${type}`);
    set(a, p);
  }
  return a;
}

function decodeCntIds(r: Reader): Ofpact {
  const n = r.readU16();
  if (!r.zeros(4)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
  if (n * 2 > r.left) {
    actionWarn(
      `Nicira action dec_ttl_cnt_ids only has ${r.left} bytes allocated for controller ids.  ${n * 2} bytes are required for ${n} controllers.`,
    );
    throw new OfDecodeError('OFPBAC_BAD_LEN');
  }
  return { type: 'dec_ttl', ids: Array.from({ length: n }, () => r.readU16()), raw: NXAST.DEC_TTL_CNT_IDS };
}

function resubmit(r: Reader, withTable: boolean, withCtOrig: boolean): Ofpact {
  const inPort = ofpPort(portFromOfp10(r.readU16()));
  const tableId = withTable ? r.readU8() : 255;
  if (withTable && !r.zeros(3)) throw new OfDecodeError('OFPBAC_BAD_ARGUMENT');
  return withTable
    ? { type: 'resubmit', inPort, tableId, withCtOrig }
    : { type: 'resubmit', inPort, tableId, withCtOrig, raw: NXAST.RESUBMIT };
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
  [NXAST.SET_TUNNEL64]: fixed(24, (r) => ({
    type: 'set_tunnel',
    tunId: at16(r).readU64(),
    raw: NXAST.SET_TUNNEL64,
  })),
  [NXAST.SET_QUEUE]: fixed(16, (r) => ({ type: 'set_queue', queue: at12(r).readU32() })),
  [NXAST.POP_QUEUE]: fixed(16, plain('pop_queue')),
  [NXAST.REG_MOVE]: open(16, (r) => regMove(r, NXAST.REG_MOVE, r.readU16(), r.readU16(), r.readU16())),
  [NXAST.REG_LOAD]: fixed(24, decodeRegLoad),
  [NXAST.REG_LOAD2]: open(16, decodeRegLoad2),
  [NXAST.NOTE]: open(16, (r) => ({ type: 'note', data: r.rest() })),
  [NXAST.OUTPUT_REG]: fixed(24, decodeOutputReg),
  [NXAST.OUTPUT_REG2]: fixed(24, decodeOutputReg2),
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
  [NXAST.WRITE_METADATA]: fixed(32, (r) => {
    if (!r.zeros(6)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
    return { type: 'write_metadata', metadata: r.readU64(), mask: r.readU64() };
  }),
  [NXAST.PUSH_MPLS]: fixed(16, (r) => ({ type: 'push_mpls', ethertype: mplsType(r.readU16()) })),
  [NXAST.POP_MPLS]: fixed(16, (r) => ({ type: 'pop_mpls', ethertype: r.readU16() })),
  [NXAST.SET_MPLS_TTL]: fixed(16, (r) => ({ type: 'set_mpls_ttl', ttl: r.readU8() })),
  [NXAST.DEC_MPLS_TTL]: fixed(16, plain('dec_mpls_ttl')),
  [NXAST.SET_MPLS_LABEL]: fixed(16, (r) => ({ type: 'set_mpls_label', label: at12(r).readU32() })),
  [NXAST.SET_MPLS_TC]: fixed(16, (r) => ({ type: 'set_mpls_tc', tc: r.readU8() })),
  [NXAST.STACK_PUSH]: fixed(24, decodeStack('stack_push')),
  [NXAST.STACK_POP]: fixed(24, decodeStack('stack_pop')),
  [NXAST.CONJUNCTION]: fixed(16, decodeConjunction),
  [NXAST.OUTPUT_TRUNC]: fixed(16, decodeOutputTrunc),
  [NXAST.GROUP]: fixed(16, (r) => ({ type: 'group', groupId: at12(r).readU32() })),
  [NXAST.CLONE]: open(16, decodeClone),
  [NXAST.MULTIPATH]: fixed(32, decodeMultipath),
  [NXAST.BUNDLE]: open(32, (r) => decodeBundle(r, false)),
  [NXAST.BUNDLE_LOAD]: open(32, (r) => decodeBundle(r, true)),
  [NXAST.LEARN]: open(32, decodeLearn),
  [NXAST.LEARN2]: open(40, decodeLearn2),
  [NXAST.SAMPLE]: fixed(24, (r) => decodeSample(r, NXAST.SAMPLE)),
  [NXAST.SAMPLE2]: fixed(32, (r) => decodeSample(r, NXAST.SAMPLE2)),
  [NXAST.SAMPLE3]: fixed(32, (r) => decodeSample(r, NXAST.SAMPLE3)),
  [NXAST.CT]: open(24, (r, version) => decodeCt(r, version, (nested) => decodeActions(nested, version))),
  [NXAST.NAT]: open(16, decodeNat),
  [NXAST.ENCAP]: open(16, decodeEncap),
  [NXAST.DECAP]: open(16, decodeDecap),
  [NXAST.CHECK_PKT_LARGER]: open(24, decodeCheckPktLarger),
  [NXAST.DELETE_FIELD]: fixed(24, (r) => ({ type: 'delete_field', field: pullFieldHeader(r) })),
  [NXAST.CT_CLEAR]: fixed(16, plain('ct_clear')),
  [NXAST.DEC_NSH_TTL]: fixed(16, plain('dec_nsh_ttl')),
  [NXAST.DEBUG_SLOW]: fixed(16, debug('debug_slow')),
  [NXAST.DEBUG_RECIRC]: fixed(16, debug('debug_recirc')),
};

/** Nicira's actions that OpenFlow 1.0 alone has, since later versions have a standard one; and those of some versions only. */
const NX_VERSIONS: Readonly<Record<number, readonly [from: number, to: number]>> = {
  ...Object.fromEntries(
    [
      NXAST.SET_MPLS_LABEL,
      NXAST.SET_MPLS_TC,
      NXAST.SET_MPLS_TTL,
      NXAST.DEC_MPLS_TTL,
      NXAST.PUSH_MPLS,
      NXAST.POP_MPLS,
      NXAST.SET_QUEUE,
      NXAST.GROUP,
      NXAST.DEC_TTL,
    ].map((subtype) => [subtype, [OFP10_VERSION, OFP10_VERSION]] as const),
  ),
  [NXAST.REG_LOAD]: [OFP10_VERSION, OFP14_VERSION],
  [NXAST.REG_LOAD2]: [OFP10_VERSION, OFP14_VERSION],
  [NXAST.REG_MOVE]: [OFP10_VERSION, OFP14_VERSION],
  [NXAST.ENCAP]: [OFP13_VERSION, OFP15_VERSION],
  [NXAST.DECAP]: [OFP13_VERSION, OFP15_VERSION],
  [NXAST.DEC_NSH_TTL]: [OFP13_VERSION, OFP15_VERSION],
};

function niciraRow(subtype: number, version: number): Row | undefined {
  const [from, to] = NX_VERSIONS[subtype] ?? [OFP10_VERSION, OFP15_VERSION];
  return version >= from && version <= to ? NICIRA[subtype] : undefined;
}

/** ONF's copy-field for OpenFlow 1.3 and 1.4. */
const ONF_COPY_FIELD: Row = open(24, (r) => {
  r.skip(2);
  return copyField(r);
});

function onfRow(subtype: number, version: number): Row | undefined {
  const has = version === OFP13_VERSION || version === OFP14_VERSION;
  return has && subtype === ONFACT_COPY_FIELD ? ONF_COPY_FIELD : undefined;
}

/** Standard types from SET_VLAN_VID to SET_MPLS_TTL have made way for set-field. */
function isDeprecated(type: number, version: number): boolean {
  return version >= OFP12_VERSION && type >= OFPAT11.SET_VLAN_VID && type <= OFPAT11.SET_MPLS_TTL;
}

/** From which and to which version a standard type of 1.1+ exists, where that is not all of them. */
function inVersion(type: number, version: number): boolean {
  if (type === OFPAT11.SET_FIELD) return version >= OFP12_VERSION;
  return type < OFPAT11.COPY_FIELD || version >= OFP15_VERSION;
}

const versionName = (version: number): string => `OpenFlow1${version - 1}`;

function unknownAction(version: number, vendor: number, type: number): OfDecodeError {
  actionWarn(
    () =>
      `unknown ${versionName(version)} action for vendor ${vendor ? `0x${vendor.toString(16)}` : '0'} and type ${type}`,
  );
  return new OfDecodeError(vendor ? 'OFPBAC_BAD_VENDOR_TYPE' : 'OFPBAC_BAD_TYPE', `${type}`);
}

function rowOf(r: Reader, start: number, type: number, version: number): Row {
  if (type !== 0xffff) {
    const row = version === OFP10_VERSION ? STANDARD10[type] : inVersion(type, version) ? STANDARD11[type] : undefined;
    if (!row) throw unknownAction(version, 0, type);
    if (isDeprecated(type, version))
      actionInfo(() => `${OFPAT11_NAMES[type]} is deprecated in ${versionName(version)} (use Set-Field)`);
    return row;
  }
  const vendor = r.readU32();
  if (vendor !== NX_VENDOR_ID && vendor !== ONF_VENDOR_ID) {
    actionWarn(() => `OpenFlow action has unknown vendor 0x${vendor.toString(16)}`);
    throw new OfDecodeError('OFPBAC_BAD_VENDOR');
  }
  if (r.end - start < 16) throw new OfDecodeError('OFPBAC_BAD_LEN');
  const subtype = r.readU16();
  const row = vendor === NX_VENDOR_ID ? niciraRow(subtype, version) : onfRow(subtype, version);
  if (!row) throw unknownAction(version, vendor, subtype);
  return row;
}

/** Names of actions by number, as the log has them. */
const namesOf = (prefix: string, table: Readonly<Record<string, number>>): Readonly<Record<number, string>> =>
  Object.fromEntries(Object.entries(table).map(([name, type]) => [type, `${prefix}_${name}`]));
const OFPAT10_NAMES = namesOf('OFPAT', OFPAT10);
const OFPAT11_NAMES = namesOf('OFPAT', OFPAT11);
const NXAST_NAMES = namesOf('NXAST', NXAST);

/** The name of the action that starts at `start`. */
function nameAt(r: Reader, start: number, version: number): string | undefined {
  const type = r.view.getUint16(start);
  if (type !== 0xffff) return (version === OFP10_VERSION ? OFPAT10_NAMES : OFPAT11_NAMES)[type];
  const nicira = r.view.getUint32(start + 4) === NX_VENDOR_ID;
  return nicira ? NXAST_NAMES[r.view.getUint16(start + 8)] : 'ONFACT_COPY_FIELD';
}

function lengthError(length: number, row: Row, left: number): string | undefined {
  const [min, max] = row;
  if (length > left) return `length ${length} exceeds action buffer length ${left}`;
  if (length < min || length > max) return `length ${length} not in valid range [${min},${Math.min(max, 65528)}]`;
  return length % 8 ? `length ${length} is not a multiple of 8` : undefined;
}

function decodeOne(r: Reader, version: number): Ofpact {
  const start = r.pos;
  if (r.left < 8) throw new OfDecodeError('OFPBAC_BAD_LEN');
  const type = r.readU16();
  const length = r.readU16();
  const row = rowOf(r, start, type, version);
  const wrong = lengthError(length, row, r.end - start);
  if (wrong) {
    actionWarn(() => `OpenFlow action ${nameAt(r, start, version)} ${wrong}`);
    throw new OfDecodeError('OFPBAC_BAD_LEN');
  }
  const sub = r.sub(start + length - r.pos, 'OFPBAC_BAD_LEN');
  return row[2](sub, version);
}

/** Lists within lists: a whole message of them would be thousands, each a frame or more of the stack. As many as text may have. */
const MAX_DEPTH = 100;
let depth = 0;

/** Decodes a list of actions to the end of `r`. What is wrong is logged, with the bytes. */
export function decodeActions(r: Reader, version: number): Ofpact[] {
  if (depth > MAX_DEPTH) throw new OfDecodeError('OFPBAC_TOO_MANY');
  depth++;
  try {
    return decodeList(r, version);
  } finally {
    depth--;
  }
}

function decodeList(r: Reader, version: number): Ofpact[] {
  const out: Ofpact[] = [];
  const first = r.pos;
  while (r.left > 0) {
    const start = r.pos;
    try {
      out.push(decodeOne(r, version));
    } catch (e) {
      if (e instanceof OfDecodeError)
        actionWarn(
          () => `bad action at offset ${start - first} (${e.ofError}):\n${hexDump(r.u8.subarray(first, r.end))}`,
        );
      throw e;
    }
  }
  return out;
}
