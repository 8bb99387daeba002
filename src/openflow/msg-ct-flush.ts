import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import type { MessageCodec } from './message-codec.ts';
import {
  type Prop,
  propNested,
  propU8,
  propU16,
  pullProps,
  putProp,
  putPropNested,
  putPropU8,
  putPropU16,
} from './message-prop.ts';
import type { CtMatch, CtTuple } from './messages-nicira.ts';

/** NXT_CT_FLUSH: which connections to forget. Properties that are not known are skipped. */

const PROP = { ORIG_TUPLE: 0, REPLY_TUPLE: 1, ZONE_ID: 2 } as const;
const TUPLE = { SRC: 0, DST: 1, SRC_PORT: 2, DST_PORT: 3, ICMP_ID: 4, ICMP_TYPE: 5, ICMP_CODE: 6 } as const;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;

export function emptyTuple(): CtTuple {
  return { src: new Uint8Array(16), dst: new Uint8Array(16), srcPort: 0, dstPort: 0 };
}

const isZero = (b: Uint8Array): boolean => b.every((byte) => byte === 0);
const isV4Mapped = (b: Uint8Array): boolean => isZero(b.subarray(0, 10)) && b[10] === 0xff && b[11] === 0xff;

function pullAddress({ body }: Prop, m: CtMatch): Uint8Array {
  const address = body.bytes(16);
  const l3 = isZero(address) ? 0 : isV4Mapped(address) ? AF_INET : AF_INET6;
  if (m.l3Type && l3 && m.l3Type !== l3) throw new OfDecodeError('OFPBPC_BAD_VALUE');
  m.l3Type = l3;
  return address;
}

function pullTuple(r: Reader, t: CtTuple, m: CtMatch): void {
  for (const p of pullProps(r)) {
    if (p.experimenter) continue;
    if (p.type === TUPLE.SRC) t.src = pullAddress(p, m);
    else if (p.type === TUPLE.DST) t.dst = pullAddress(p, m);
    else if (p.type === TUPLE.SRC_PORT || p.type === TUPLE.ICMP_ID) t.srcPort = propU16(p);
    else if (p.type === TUPLE.DST_PORT) t.dstPort = propU16(p);
    else if (p.type === TUPLE.ICMP_TYPE) t.icmpType = propU8(p);
    else if (p.type === TUPLE.ICMP_CODE) t.icmpCode = propU8(p);
  }
}

function putTuple(w: Writer, type: number, t: CtTuple, ipProto: number): void {
  const start = w.length;
  putPropNested(w, type, () => {
    if (!isZero(t.src)) putProp(w, TUPLE.SRC, () => w.putBytes(t.src));
    if (!isZero(t.dst)) putProp(w, TUPLE.DST, () => w.putBytes(t.dst));
    if (ipProto === IPPROTO_ICMP || ipProto === IPPROTO_ICMPV6) {
      putPropU16(w, TUPLE.ICMP_ID, t.srcPort);
      putPropU8(w, TUPLE.ICMP_TYPE, t.icmpType ?? 0);
      putPropU8(w, TUPLE.ICMP_CODE, t.icmpCode ?? 0);
      return;
    }
    if (t.srcPort) putPropU16(w, TUPLE.SRC_PORT, t.srcPort);
    if (t.dstPort) putPropU16(w, TUPLE.DST_PORT, t.dstPort);
  });
  const empty = w.length === start + 8;
  if (empty) w.length = start;
}

export const CT_FLUSH: MessageCodec<'ct_flush'> = {
  decode(r) {
    const match: CtMatch = { ipProto: r.readU8(), l3Type: 0, orig: emptyTuple(), reply: emptyTuple() };
    if (!r.zeros(7)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
    let zoneId: number | undefined;
    for (const p of pullProps(r)) {
      if (p.experimenter) continue;
      if (p.type === PROP.ORIG_TUPLE) pullTuple(propNested(p), match.orig, match);
      else if (p.type === PROP.REPLY_TUPLE) pullTuple(propNested(p), match.reply, match);
      else if (p.type === PROP.ZONE_ID) zoneId = propU16(p);
    }
    return { type: 'ct_flush', ...(zoneId === undefined ? {} : { zoneId }), match };
  },
  encode(w, { match, zoneId }) {
    w.putU8(match.ipProto);
    w.putZeros(7);
    putTuple(w, PROP.ORIG_TUPLE, match.orig, match.ipProto);
    putTuple(w, PROP.REPLY_TUPLE, match.reply, match.ipProto);
    if (zoneId !== undefined) putPropU16(w, PROP.ZONE_ID, zoneId);
  },
};
