import { NX_VENDOR_ID, OFP10_VERSION, OFP15_VERSION, ONF_VENDOR_ID } from '../../protocols/openflow.ts';
import {
  MESSAGE_NUMBERS,
  type MessageFamily,
  OFPST_VENDOR,
  OFPT_STATS_REPLY,
  OFPT_STATS_REQUEST,
  OFPT_VENDOR,
} from '../../protocols/openflow-messages.ts';
import { OfDecodeError, Reader, Writer } from './buffer.ts';
import { type OfError, ofError } from './error.ts';
import type { EncodeContext, MessageCodec, MessageCodecs } from './message-codec.ts';
import type { Envelope, Message, MessageType } from './messages.ts';
import { BASIC } from './msg-basic.ts';
import { FLOW } from './msg-flow.ts';
import { NICIRA } from './msg-nicira.ts';
import { PACKET } from './msg-packet.ts';
import { PORT } from './msg-port.ts';
import { STATS } from './msg-stats.ts';
import { TABLE } from './msg-table.ts';

/**
 * The OpenFlow codec, versions 1.0 to 1.4 and the parts of 1.5 that come for free, with Nicira's extensions. Control thread; decoding
 * copies whatever outlives the call, encoding returns buffers of its own.
 */

const CODECS: MessageCodecs = { ...BASIC, ...FLOW, ...NICIRA, ...PACKET, ...PORT, ...STATS, ...TABLE };

type AnyCodec = MessageCodec<MessageType>;
function codecOf(type: MessageType): AnyCodec {
  return (CODECS[type] ?? notYet(type)) as unknown as AnyCodec;
}

/** A message that is recognised and whose body is not read yet. */
function notYet(type: MessageType): MessageCodec<MessageType> {
  return {
    decode: (r) => {
      r.skip(r.left);
      return { type } as Message;
    },
    encode: () => undefined,
  };
}

/** One row of `MESSAGE_NUMBERS` with its coder. */
interface Kind {
  type: MessageType;
  family: MessageFamily;
  from: number;
  to: number;
  number: number;
  codec: AnyCodec;
}

const byWire = new Map<string, Kind[]>();
const byType = new Map<MessageType, Kind[]>();
for (const [type, family, from, to, number] of MESSAGE_NUMBERS) {
  const kind: Kind = { type: type as MessageType, family, from, to, number, codec: codecOf(type as MessageType) };
  const key = `${family} ${number}`;
  byWire.set(key, [...(byWire.get(key) ?? []), kind]);
  byType.set(kind.type, [...(byType.get(kind.type) ?? []), kind]);
}

/** `byWire` for the header's types alone, by version: what most messages need. */
const standard: (Kind | undefined)[][] = [];
for (let version = 0; version <= OFP15_VERSION; version++) {
  standard.push(Array.from({ length: 256 }, (_, number) => findKind('OFPT', number, version)));
}

function findKind(family: MessageFamily, number: number, version: number): Kind | undefined {
  return byWire.get(`${family} ${number}`)?.find((k) => k.from <= version && version <= k.to);
}

/** What the codec must know of the switch and the connection beside the bytes. */
export interface CodecContext {
  /** Number of tables that goto_table is checked against; default 255: not checked. */
  nTables?: number;
  /** The peer has turned on NXT_FLOW_MOD_TABLE_ID. */
  flowModTableId?: boolean;
  /** The version that was negotiated: another one is OFPBRC_BAD_VERSION (hello and error excepted). Default: any. */
  version?: number;
}

export type DecodeResult = { ok: true; value: Envelope } | { ok: false; error: OfError; version: number; xid: number };

/** What the headers say. */
interface Head {
  kind: Kind;
  more: boolean;
}

const statsTypes = (version: number, of: typeof OFPT_STATS_REQUEST | typeof OFPT_STATS_REPLY): number =>
  version === OFP10_VERSION ? of.v10 : of.v11;

function readHead(r: Reader, version: number, type: number): Head {
  const request = type === statsTypes(version, OFPT_STATS_REQUEST);
  const reply = type === statsTypes(version, OFPT_STATS_REPLY);
  if (request || reply) return readStatsHead(r, version, request);
  if (type === OFPT_VENDOR) return { kind: readVendor(r, version, false), more: false };
  const kind = standard[version][type];
  if (!kind) throw new OfDecodeError('OFPBRC_BAD_TYPE', `type ${type}`);
  return { kind, more: false };
}

function readStatsHead(r: Reader, version: number, request: boolean): Head {
  const type = r.readU16();
  const more = (r.readU16() & 1) !== 0;
  if (version !== OFP10_VERSION) r.skip(4);
  if (type === OFPST_VENDOR) return { kind: readVendor(r, version, true, request), more };
  const kind = findKind(request ? 'STATS_REQUEST' : 'STATS_REPLY', type, version);
  if (!kind) throw new OfDecodeError('OFPBRC_BAD_STAT', `statistics ${type}`);
  return { kind, more };
}

function readVendor(r: Reader, version: number, stats: boolean, request = false): Kind {
  const vendor = r.readU32();
  if (vendor !== NX_VENDOR_ID && vendor !== ONF_VENDOR_ID)
    throw new OfDecodeError('OFPBRC_BAD_VENDOR', `vendor ${vendor}`);
  const subtype = r.readU32();
  if (stats && version === OFP10_VERSION) r.skip(4);
  const nx: MessageFamily = !stats ? 'NXT' : request ? 'NXSTATS_REQUEST' : 'NXSTATS_REPLY';
  const kind =
    vendor === NX_VENDOR_ID || !stats ? findKind(vendor === NX_VENDOR_ID ? nx : 'ONFT', subtype, version) : undefined;
  if (!kind) throw new OfDecodeError('OFPBRC_BAD_SUBTYPE', `subtype ${subtype}`);
  return kind;
}

/** Decodes one message. Trailing bytes that its type has no use for are OFPBRC_BAD_LEN. */
export function decode(msg: Uint8Array, ctx: CodecContext = {}): DecodeResult {
  const version = msg[0] ?? 0;
  const xid = msg.length >= 8 ? ((msg[4] << 24) | (msg[5] << 16) | (msg[6] << 8) | msg[7]) >>> 0 : 0;
  try {
    return { ok: true, value: { version, xid, message: decodeMessage(msg, version, ctx) } };
  } catch (e) {
    if (!(e instanceof OfDecodeError)) throw e;
    return { ok: false, error: ofError(e.ofError), version, xid };
  }
}

const OFPT_ERROR = 1;

function decodeMessage(msg: Uint8Array, version: number, ctx: CodecContext): Message {
  if (msg.length < 8 || ((msg[2] << 8) | msg[3]) !== msg.length) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const type = msg[1];
  const foreign = ctx.version !== undefined && version !== ctx.version && type > OFPT_ERROR;
  if (version < OFP10_VERSION || version > OFP15_VERSION || foreign) {
    // A hello of a version to come still says what else its sender speaks.
    if (type !== 0 || version === 0) throw new OfDecodeError('OFPBRC_BAD_VERSION', `version ${version}`);
  }
  const r = new Reader(msg, 8);
  const known = Math.min(version, OFP15_VERSION);
  const { kind, more } = readHead(r, known, type);
  const { family, number, codec } = kind;
  const { nTables = 255, flowModTableId = false } = ctx;
  const message = codec.decode(r, {
    version: type === 0 ? version : known,
    family,
    number,
    more,
    nTables,
    flowModTableId,
  });
  if (r.left > 0) throw new OfDecodeError('OFPBRC_BAD_LEN', `${r.left} bytes too many`);
  return message;
}

export interface EncodeOptions {
  /** Use Nicira's form of flow-mods, flow-removed, and flow and aggregate statistics (OpenFlow 1.0). */
  nxm?: boolean;
  /** Flow-mods carry their table (NXT_FLOW_MOD_TABLE_ID). */
  flowModTableId?: boolean;
}

const NXM_FAMILIES: ReadonlySet<MessageFamily> = new Set<MessageFamily>(['NXT', 'NXSTATS_REQUEST', 'NXSTATS_REPLY']);

function chooseKind(m: Message, version: number, nxm: boolean): Kind {
  const fits = (byType.get(m.type) ?? []).filter((k) => k.from <= version && version <= k.to);
  let kind = (nxm ? fits.find((k) => NXM_FAMILIES.has(k.family)) : undefined) ?? fits[0];
  if (m.type === 'packet_in' && m.format && m.format !== 'standard') {
    const number = m.format === 'nxt_packet_in' ? 17 : 30;
    kind = fits.find((k) => k.family === 'NXT' && k.number === number) ?? kind;
  }
  if (!kind) throw new Error(`OpenFlow version ${version} has no ${m.type}`);
  return kind;
}

/** Headers of OpenFlow, vendor and statistics; returns where the flags of statistics are. */
function putHead(w: Writer, kind: Kind, version: number, xid: number): number {
  const { family, number } = kind;
  const request = family.endsWith('_REQUEST');
  const stats = request || family.endsWith('_REPLY');
  const statsType = statsTypes(version, request ? OFPT_STATS_REQUEST : OFPT_STATS_REPLY);
  w.putU8(version);
  w.putU8(stats ? statsType : family === 'OFPT' ? number : OFPT_VENDOR);
  w.putU16(0);
  w.putU32(xid);
  const vendorStats = family.startsWith('NXSTATS');
  const flagsAt = w.length + 2;
  if (stats) {
    w.putU16(vendorStats ? OFPST_VENDOR : number);
    w.putZeros(version === OFP10_VERSION ? 2 : 6);
  }
  if (family === 'OFPT' || (stats && !vendorStats)) return flagsAt;
  w.putU32(family === 'ONFT' ? ONF_VENDOR_ID : NX_VENDOR_ID);
  w.putU32(number);
  if (vendorStats && version === OFP10_VERSION) w.putZeros(4);
  return flagsAt;
}

function finish(w: Writer): Uint8Array {
  if (w.length > 0xffff) throw new Error(`an OpenFlow message of ${w.length} bytes`);
  w.setU16(2, w.length);
  return w.done();
}

const MORE = 1;

/** Puts the elements of a reply into as few messages as hold them. */
function encodeParts(parts: ((w: Writer) => void)[], head: (w: Writer) => number, more: boolean): Uint8Array[] {
  const out: Uint8Array[] = [];
  let w = new Writer(1024);
  let flagsAt = head(w);
  const empty = w.length;
  const one = new Writer(512);
  for (const part of parts) {
    one.length = 0;
    part(one);
    if (w.length + one.length > 0xffff && w.length > empty) {
      w.setU16(flagsAt, MORE);
      out.push(finish(w));
      w = new Writer(0x10000);
      flagsAt = head(w);
    }
    w.putBytes(one.done());
  }
  if (more) w.setU16(flagsAt, MORE);
  out.push(finish(w));
  return out;
}

/**
 * Encodes a message; statistics replies that are longer than 65,535 bytes become several, all but the last with the MORE flag.
 * Throws when `version` has no form of the message.
 */
export function encode(message: Message, version: number, xid: number, opts: EncodeOptions = {}): Uint8Array[] {
  const kind = chooseKind(message, version, opts.nxm === true);
  const { family, number, codec } = kind;
  const ctx: EncodeContext = { version, family, number, flowModTableId: opts.flowModTableId === true };
  const head = (w: Writer) => putHead(w, kind, version, xid);
  const more = 'more' in message && message.more === true;
  if (codec.parts) return encodeParts(codec.parts(message as never, ctx), head, more);
  const w = new Writer();
  const flagsAt = head(w);
  codec.encode(w, message as never, ctx);
  if (more) w.setU16(flagsAt, MORE);
  return [finish(w)];
}

/** An error message that answers `request`; it carries the request's first 64 bytes and its xid. */
export function encodeError(error: OfError, request: Uint8Array, version: number): Uint8Array {
  const xid = request.length >= 8 ? new DataView(request.buffer, request.byteOffset).getUint32(4) : 0;
  return encode({ type: 'error', error, data: request.slice(0, 64) }, version, xid)[0];
}
