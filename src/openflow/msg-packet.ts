import { OFP10_VERSION, OFP11_VERSION, OFP13_VERSION, OFP14_VERSION, OFP15_VERSION } from '../../protocols/openflow.ts';
import { ofpPort } from '../base/types.ts';
import { checkActions } from './action-check.ts';
import { encodeActions } from './action-encode.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { portFromOfp10 } from './field.ts';
import { pullActions } from './instruction.ts';
import { catchallMatch, type Match } from './match.ts';
import type { EncodeContext, MessageCodec, MessageCodecs } from './message-codec.ts';
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
import { pullNxMatchPadded, putNxMatchPadded } from './msg-flow.ts';
import { pullNxMatch, pullOxmMatch, putNxMatch, putOxmMatch } from './nx-match.ts';
import { portFromOfp11 } from './port.ts';

/** Packet-in in its six forms, and packet-out. */

function inPortMatch(port: number): Match {
  const m = catchallMatch();
  m.flow.inPort = port;
  m.wc.inPort = 0xffffffff;
  return m;
}

const NXT_PACKET_IN2 = 30;
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

function pullPacketIn2(r: Reader): PacketIn {
  const m: PacketIn = {
    type: 'packet_in',
    packet: new Uint8Array(0),
    totalLen: 0,
    bufferId: OFP_NO_BUFFER,
    reason: OFPR_NO_MATCH,
    tableId: 0,
    cookie: UINT64_MAX,
    metadata: catchallMatch(),
    format: 'nxt_packet_in2',
  };
  let fullLen: number | undefined;
  while (r.left >= 4) {
    const type = r.readU16();
    const length = r.readU16();
    if (length < 4) throw new OfDecodeError('OFPBPC_BAD_LEN');
    const p = r.sub(length - 4, 'OFPBPC_BAD_LEN');
    if (type === NXPINT.PACKET) m.packet = p.rest();
    else if (type === NXPINT.FULL_LEN) fullLen = p.readU32();
    else if (type === NXPINT.BUFFER_ID) m.bufferId = p.readU32();
    else if (type === NXPINT.TABLE_ID) m.tableId = p.readU8();
    else if (type === NXPINT.COOKIE) {
      p.skip(4);
      m.cookie = p.readU64();
    } else if (type === NXPINT.REASON) m.reason = p.readU8();
    else if (type === NXPINT.METADATA) m.metadata = pullNxMatch(p, p.left, { loose: true }).match;
    else if (type === NXPINT.USERDATA) m.userdata = p.rest();
    else if (!(type & 0x8000)) throw new OfDecodeError('OFPBPC_BAD_TYPE');
    r.skip(Math.min(r.left, -length & 7));
  }
  m.totalLen = fullLen ?? m.packet.length;
  return m;
}

/** Reasons that a version does not know are said as others (OpenFlow 1.4 brought 3 to 5). */
function reasonOnWire(reason: number, version: number): number {
  if (reason === OFPR_EXPLICIT_MISS || reason === OFPR_IMPLICIT_MISS)
    return reason === OFPR_EXPLICIT_MISS && version < OFP13_VERSION ? OFPR_ACTION : OFPR_NO_MATCH;
  if (version < OFP14_VERSION && (reason === OFPR_ACTION_SET || reason === OFPR_GROUP)) return OFPR_ACTION;
  if (version < OFP14_VERSION && reason === OFPR_PACKET_OUT) return OFPR_NO_MATCH;
  return reason;
}

const cut = (m: PacketIn): Uint8Array =>
  m.packet.subarray(0, m.bufferId === OFP_NO_BUFFER ? m.maxLen : (m.maxLen ?? 128));

function putPacketIn2(w: Writer, m: PacketIn, version: number): void {
  const prop = (type: number, put: () => void) => {
    const start = w.length;
    w.putU16(type);
    w.putU16(0);
    put();
    w.setU16(start + 2, w.length - start);
    w.padTo(8, start);
  };
  const packet = cut(m);
  prop(NXPINT.PACKET, () => w.putBytes(packet));
  if (packet.length !== m.totalLen) prop(NXPINT.FULL_LEN, () => w.putU32(m.totalLen));
  if (m.bufferId !== OFP_NO_BUFFER) prop(NXPINT.BUFFER_ID, () => w.putU32(m.bufferId));
  prop(NXPINT.TABLE_ID, () => w.putU8(m.tableId));
  if (m.cookie !== UINT64_MAX) {
    prop(NXPINT.COOKIE, () => {
      w.putZeros(4);
      w.putU64(m.cookie);
    });
  }
  prop(NXPINT.REASON, () => w.putU8(reasonOnWire(m.reason, Math.max(version, OFP14_VERSION))));
  prop(NXPINT.METADATA, () => putNxMatch(w, m.metadata, version));
  const { userdata } = m;
  if (userdata?.length) prop(NXPINT.USERDATA, () => w.putBytes(userdata));
}

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
  decode(r, { version, family, number }) {
    if (family === 'NXT' && number === NXT_PACKET_IN2) return pullPacketIn2(r);
    const head =
      family === 'NXT'
        ? pullPacketInNx(r)
        : version === OFP10_VERSION
          ? pullPacketIn10(r)
          : version === OFP11_VERSION
            ? pullPacketIn11(r)
            : pullPacketIn12(r, version);
    return { type: 'packet_in', ...head, packet: r.rest() };
  },
  encode(w, m, { version, family, number }: EncodeContext) {
    if (family === 'NXT' && number === NXT_PACKET_IN2) {
      putPacketIn2(w, m, version);
      return;
    }
    if (family === 'NXT') putPacketInNx(w, m, version);
    else putPacketInStandard(w, m, version);
    w.putBytes(cut(m));
  },
};

/** Ports that a packet can be said to come from. */
function checkInPort(port: number): void {
  const special = port === 0xfffffffe || port === 0xffffffff || port === 0xfffffffd;
  if (!special && port >= 0xff00) throw new OfDecodeError('OFPBRC_BAD_PORT', `in_port ${port}`);
}

const packetOut: MessageCodec<'packet_out'> = {
  decode(r, { version, nTables }) {
    const bufferId = r.readU32();
    let metadata: Match;
    let actionsLen: number;
    if (version >= OFP15_VERSION) {
      actionsLen = r.readU16();
      r.skip(2);
      metadata = pullOxmMatch(r);
    } else {
      metadata = inPortMatch(
        version === OFP10_VERSION ? portFromOfp10(r.readU16()) : portFromOfp11(r.readU32(), 'OFPBRC_BAD_PORT'),
      );
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

export const PACKET: MessageCodecs = { packet_in: packetIn, packet_out: packetOut };
