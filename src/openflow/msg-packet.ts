import { OFP10_VERSION, OFP11_VERSION, OFP13_VERSION, OFP14_VERSION, OFP15_VERSION } from '../../protocols/openflow.ts';
import { ofpPort } from '../base/types.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { checkActions } from './action-check.ts';
import { encodeActions } from './action-encode.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { portFromOfp10 } from './field.ts';
import { pullActions } from './instruction.ts';
import { catchallMatch, type Match } from './match.ts';
import type { DecodeContext, EncodeContext, MessageCodec, MessageCodecs } from './message-codec.ts';
import {
  type Prop,
  propNested,
  propU8,
  propU32,
  propU64,
  pullProps,
  putProp,
  putPropNested,
  putPropU8,
  putPropU32,
  putPropU64,
  unknownProp,
} from './message-prop.ts';
import {
  OFP_NO_BUFFER,
  OFPR_ACTION,
  OFPR_ACTION_SET,
  OFPR_EXPLICIT_MISS,
  OFPR_GROUP,
  OFPR_IMPLICIT_MISS,
  OFPR_NO_MATCH,
  OFPR_PACKET_OUT,
  type PacketIn,
  UINT64_MAX,
} from './messages.ts';
import { pullContinuation, putContinuation } from './msg-continuation.ts';
import { pullNxMatchPadded, putNxMatchPadded } from './msg-flow.ts';
import { pullNxMatch, pullOxmMatch, putNxMatch, putOxmMatch } from './nx-match.ts';
import { portFromOfp11 } from './port.ts';

/** Packet-in in its six forms, packet-out, and resume. */

const log = vlogModule('ofp_packet');
const rl = new VlogRateLimit(1, 5);

function inPortMatch(port: number): Match {
  const m = catchallMatch();
  m.flow.inPort = port;
  m.wc.inPort = 0xffffffff;
  return m;
}

/** Properties of NXT_PACKET_IN2. */
const NXPINT = {
  PACKET: 0,
  FULL_LEN: 1,
  BUFFER_ID: 2,
  TABLE_ID: 3,
  COOKIE: 4,
  REASON: 5,
  METADATA: 6,
  USERDATA: 7,
  CONTINUATION: 8,
} as const;

type Head = Omit<PacketIn, 'type' | 'packet'>;

function pullPacketIn10(r: Reader): Head {
  const bufferId = r.readU32();
  const totalLen = r.readU16();
  const metadata = inPortMatch(portFromOfp10(r.readU16()));
  const reason = r.readU8();
  r.skip(1);
  return { bufferId, totalLen, reason, tableId: 0, cookie: UINT64_MAX, metadata };
}

function pullPacketIn11(r: Reader): Head {
  const bufferId = r.readU32();
  const metadata = inPortMatch(portFromOfp11(r.readU32()));
  r.skip(4);
  return { bufferId, metadata, totalLen: r.readU16(), reason: r.readU8(), tableId: r.readU8(), cookie: UINT64_MAX };
}

function pullPacketIn12(r: Reader, version: number): Head {
  const head = { bufferId: r.readU32(), totalLen: r.readU16(), reason: r.readU8(), tableId: r.readU8() };
  const cookie = version >= OFP13_VERSION ? r.readU64() : UINT64_MAX;
  const metadata = pullOxmMatch(r, true);
  r.skip(2);
  return { ...head, cookie, metadata };
}

function pullPacketInNx(r: Reader): Head {
  const head = {
    bufferId: r.readU32(),
    totalLen: r.readU16(),
    reason: r.readU8(),
    tableId: r.readU8(),
    cookie: r.readU64(),
  };
  const matchLen = r.readU16();
  r.skip(6);
  const { match } = pullNxMatchPadded(r, matchLen, false, true);
  r.skip(2);
  return { ...head, metadata: match, format: 'nxt_packet_in' };
}

type Packet2 = Omit<PacketIn, 'type' | 'format' | 'maxLen'>;

/** What NXT_PACKET_IN2 and NXT_RESUME share. */
function pullPacket2(r: Reader, ctx: DecodeContext): Packet2 {
  const m: Packet2 = {
    packet: new Uint8Array(0),
    totalLen: 0,
    bufferId: OFP_NO_BUFFER,
    reason: OFPR_NO_MATCH,
    tableId: 0,
    cookie: UINT64_MAX,
    metadata: catchallMatch(),
  };
  for (const p of pullProps(r)) readProp2(m, p, ctx);
  const bad = (text: string) => {
    log.warnRl(rl, `NXT_PACKET_IN2 ${text}`);
    return new OfDecodeError('OFPBRC_BAD_LEN', text);
  };
  if (m.packet.length === 0) throw bad('lacks packet');
  if (m.totalLen === 0) m.totalLen = m.packet.length;
  if (m.totalLen < m.packet.length) throw bad('claimed full_len < len');
  return m;
}

function readProp2(m: Packet2, p: Prop, ctx: DecodeContext): void {
  const { body } = p;
  switch (p.experimenter ? undefined : p.type) {
    case NXPINT.PACKET:
      m.packet = body.rest();
      break;
    case NXPINT.FULL_LEN:
      m.totalLen = propU32(p);
      break;
    case NXPINT.BUFFER_ID:
      m.bufferId = propU32(p);
      break;
    case NXPINT.TABLE_ID:
      m.tableId = propU8(p);
      break;
    case NXPINT.COOKIE:
      m.cookie = propU64(p);
      break;
    case NXPINT.REASON:
      m.reason = propU8(p);
      break;
    case NXPINT.METADATA:
      m.metadata = pullNxMatch(body, body.left, { loose: ctx.loose }).match;
      break;
    case NXPINT.USERDATA:
      m.userdata = body.rest();
      break;
    case NXPINT.CONTINUATION:
      m.continuation = pullContinuation(propNested(p), ctx.version, ctx.loose);
      break;
    default:
      unknownProp(log, ctx.loose, 'NX_PACKET_IN2', p);
  }
}

/** Reasons that a version does not know are said as others (OpenFlow 1.4 brought 3 to 5). */
function reasonOnWire(reason: number, version: number): number {
  if (reason === OFPR_EXPLICIT_MISS) return version < OFP13_VERSION ? OFPR_ACTION : OFPR_NO_MATCH;
  if (reason === OFPR_IMPLICIT_MISS) return OFPR_NO_MATCH;
  const since14 = reason === OFPR_ACTION_SET || reason === OFPR_GROUP || reason === OFPR_PACKET_OUT;
  return since14 && version < OFP14_VERSION ? OFPR_ACTION : reason;
}

const cut = (m: PacketIn): Uint8Array =>
  m.packet.subarray(0, m.bufferId === OFP_NO_BUFFER ? m.maxLen : (m.maxLen ?? 128));

/** All properties but the userdata, which a resume does not give back. */
function putPacket2(w: Writer, m: Packet2, packet: Uint8Array, version: number): void {
  putProp(w, NXPINT.PACKET, () => w.putBytes(packet));
  if (packet.length !== m.totalLen) putPropU32(w, NXPINT.FULL_LEN, m.totalLen);
  if (m.bufferId !== OFP_NO_BUFFER) putPropU32(w, NXPINT.BUFFER_ID, m.bufferId);
  putPropU8(w, NXPINT.TABLE_ID, m.tableId);
  if (m.cookie !== UINT64_MAX) putPropU64(w, NXPINT.COOKIE, m.cookie);
  putPropU8(w, NXPINT.REASON, reasonOnWire(m.reason, version));
  putProp(w, NXPINT.METADATA, () => putNxMatch(w, m.metadata, version));
  const { continuation } = m;
  if (continuation) putPropNested(w, NXPINT.CONTINUATION, () => putContinuation(w, continuation, version));
}

function putPacketIn2(w: Writer, m: PacketIn, version: number): void {
  putPacket2(w, m, cut(m), version);
  const { userdata } = m;
  if (userdata?.length) putProp(w, NXPINT.USERDATA, () => w.putBytes(userdata));
}

const resume: MessageCodec<'nxt_resume'> = {
  decode: (r, ctx) => ({ type: 'nxt_resume', ...pullPacket2(r, ctx) }),
  encode: (w, m, { version }) => putPacket2(w, m, m.packet, version),
};

function putPacketInNx(w: Writer, m: PacketIn, version: number): void {
  w.putU32(m.bufferId);
  w.putU16(m.totalLen);
  w.putU8(reasonOnWire(m.reason, version));
  w.putU8(m.tableId);
  w.putU64(m.cookie);
  const lengthAt = w.length;
  w.putU16(0);
  w.putZeros(6);
  putNxMatchPadded(w, lengthAt, m.metadata);
  w.putZeros(2);
}

function putPacketInStandard(w: Writer, m: PacketIn, version: number): void {
  w.putU32(m.bufferId);
  if (version === OFP10_VERSION) {
    w.putU16(m.totalLen);
    w.putU16(m.metadata.flow.inPort & 0xffff);
    w.putU8(reasonOnWire(m.reason, version));
    w.putZeros(1);
    return;
  }
  if (version === OFP11_VERSION) {
    w.putU32(m.metadata.flow.inPort);
    w.putU32(m.metadata.flow.inPort);
  }
  w.putU16(m.totalLen);
  w.putU8(reasonOnWire(m.reason, version));
  w.putU8(m.tableId);
  if (version >= OFP13_VERSION) w.putU64(m.cookie);
  if (version > OFP11_VERSION) {
    putOxmMatch(w, m.metadata, version);
    w.putZeros(2);
  }
}

const packetIn: MessageCodec<'packet_in'> = {
  decode(r, ctx) {
    const { version, raw } = ctx;
    if (raw === 'NXT_PACKET_IN2')
      return { type: 'packet_in', ...pullPacket2(r, { ...ctx, loose: true }), format: 'nxt_packet_in2' };
    const head =
      raw === 'NXT_PACKET_IN'
        ? pullPacketInNx(r)
        : version === OFP10_VERSION
          ? pullPacketIn10(r)
          : version === OFP11_VERSION
            ? pullPacketIn11(r)
            : pullPacketIn12(r, version);
    return { type: 'packet_in', ...head, packet: r.rest() };
  },
  encode(w, m, { version, raw }: EncodeContext) {
    if (raw === 'NXT_PACKET_IN2') {
      putPacketIn2(w, m, version);
      return;
    }
    if (raw === 'NXT_PACKET_IN') putPacketInNx(w, m, version);
    else putPacketInStandard(w, m, version);
    w.putBytes(cut(m));
  },
};

/** Ports that a packet can be said to come from. */
function checkInPort(port: number): void {
  const special = port === 0xfffffffe || port === 0xffffffff || port === 0xfffffffd;
  if (special || port < 0xff00) return;
  log.warnRl(rl, `packet-out has bad input port 0x${port.toString(16)}`);
  throw new OfDecodeError('OFPBRC_BAD_PORT', `in_port ${port}`);
}

const packetOut: MessageCodec<'packet_out'> = {
  decode(r, { version, nTables }) {
    const bufferId = r.readU32();
    let metadata: Match;
    let actionsLen: number;
    if (version >= OFP15_VERSION) {
      actionsLen = r.readU16();
      r.skip(2);
      metadata = pullOxmMatch(r, true, true);
      if (!metadata.wc.inPort) throw new OfDecodeError('OFPBRC_BAD_PORT');
    } else {
      metadata = inPortMatch(version === OFP10_VERSION ? portFromOfp10(r.readU16()) : portFromOfp11(r.readU32()));
      actionsLen = r.readU16();
      if (version !== OFP10_VERSION) r.skip(6);
    }
    const inPort = ofpPort(metadata.flow.inPort);
    checkInPort(inPort);
    if (actionsLen > r.left) throw new OfDecodeError('OFPBRC_BAD_LEN');
    const actions = pullActions(r.sub(actionsLen), version, version === OFP10_VERSION);
    const error = checkActions(actions, catchallMatch(), { tableId: 255, nTables, allowInconsistent: true });
    if (error && error !== 'OFPBAC_MATCH_INCONSISTENT') throw new OfDecodeError(error);
    return { type: 'packet_out', bufferId, metadata, inPort, actions, packet: r.rest() };
  },
  encode(w, m, { version }) {
    w.putU32(m.bufferId);
    const body = () => {
      const start = w.length;
      encodeActions(w, m.actions, version);
      w.setU16(lengthAt, w.length - start);
      if (m.bufferId === OFP_NO_BUFFER) w.putBytes(m.packet);
    };
    if (version === OFP10_VERSION) w.putU16(m.inPort & 0xffff);
    else if (version < OFP15_VERSION) w.putU32(m.inPort);
    const lengthAt = w.length;
    w.putU16(0);
    if (version >= OFP15_VERSION) {
      w.putZeros(2);
      putOxmMatch(w, m.metadata, version);
    } else if (version !== OFP10_VERSION) w.putZeros(6);
    body();
  },
};

export const PACKET: MessageCodecs = { packet_in: packetIn, packet_out: packetOut, nxt_resume: resume };
