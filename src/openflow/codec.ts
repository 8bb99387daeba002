import { OFP10_VERSION, OFP14_VERSION, OFP15_VERSION } from '../../protocols/openflow.ts';
import type { MessageFamily, RawName } from '../../protocols/openflow-messages.ts';
import { OfDecodeError, Reader, Writer } from './buffer.ts';
import { type OfError, ofError } from './error.ts';
import type { Match } from './match.ts';
import type { EncodeContext, MessageCodec, MessageCodecs } from './message-codec.ts';
import { checkLength, type Head, putHead, RAWS, type Raw, rawByName, rawsOf, readHead } from './message-raw.ts';
import type { Envelope, Message, MessageType } from './messages.ts';
import { ASYNC } from './msg-async.ts';
import { BASIC } from './msg-basic.ts';
import { BUNDLE } from './msg-bundle.ts';
import { FLOW } from './msg-flow.ts';
import { FLOW_REMOVED } from './msg-flow-removed.ts';
import { FLOW_STATS } from './msg-flow-stats.ts';
import { GROUP } from './msg-group.ts';
import { METER } from './msg-meter.ts';
import { MONITOR, monitorInVersion14 } from './msg-monitor.ts';
import { NICIRA } from './msg-nicira.ts';
import { PACKET } from './msg-packet.ts';
import { PORT } from './msg-port.ts';
import { QUEUE } from './msg-queue.ts';
import { STATS } from './msg-stats.ts';
import { TABLE } from './msg-table.ts';
import { TABLE_FEATURES } from './msg-table-features.ts';
import type { TunTable } from './tun-metadata.ts';

/**
 * The OpenFlow codec, versions 1.0 to 1.5, with Nicira's and ONF's extensions. Control thread; decoding copies whatever outlives the call,
 * encoding returns buffers of its own.
 */

const CODECS: MessageCodecs = {
  ...ASYNC,
  ...BASIC,
  ...BUNDLE,
  ...FLOW,
  ...FLOW_REMOVED,
  ...FLOW_STATS,
  ...GROUP,
  ...METER,
  ...MONITOR,
  ...NICIRA,
  ...PACKET,
  ...PORT,
  ...QUEUE,
  ...STATS,
  ...TABLE,
  ...TABLE_FEATURES,
};

type AnyCodec = MessageCodec<MessageType>;
function codecOf(type: MessageType): AnyCodec {
  const codec = CODECS[type];
  if (!codec) throw new Error(`no codec for ${type}`);
  return codec as unknown as AnyCodec;
}
for (const { type } of RAWS) codecOf(type);

/** What the codec must know of the switch and the connection beside the bytes. */
export interface CodecContext {
  /** Number of tables that goto_table is checked against; default 255: not checked. */
  nTables?: number;
  /** The peer has turned on NXT_FLOW_MOD_TABLE_ID. */
  flowModTableId?: boolean;
  /** The version that was negotiated: another one is OFPBRC_BAD_VERSION (hello and error excepted). Default: any. */
  version?: number;
  /** A controller's view, and that of who prints a message: what is not understood is left out. */
  loose?: boolean;
  /** The bridge's TLV table: gives tunnel metadata its widths and places; what it does not map is an error. */
  tunTable?: TunTable;
  /** A flow-mod's match is decoded into this one, and is right until the next time. Without it, it is a fresh one. */
  scratch?: Match;
}

export type DecodeResult = { ok: true; value: Envelope } | { ok: false; error: OfError; version: number; xid: number };

/** Decodes one message. Trailing bytes that its type has no use for are OFPBRC_BAD_LEN. */
export function decode(msg: Uint8Array, ctx: CodecContext = {}): DecodeResult {
  const version = msg[0] ?? 0;
  const xid = msg.length >= 8 ? ((msg[4] << 24) | (msg[5] << 16) | (msg[6] << 8) | msg[7]) >>> 0 : 0;
  try {
    return { ok: true, value: { version, xid, message: decodeMessage(msg, version, xid, ctx) } };
  } catch (e) {
    if (!(e instanceof OfDecodeError)) throw e;
    return { ok: false, error: ofError(e.ofError), version, xid };
  }
}

const OFPT_HELLO = 0;
const OFPT_ERROR = 1;

/** The form of a message by its headers alone; the body may be cut short. */
export function identify(msg: Uint8Array): { ok: true; raw: Raw } | { ok: false; error: OfError } {
  try {
    if (msg.length < 8) throw new OfDecodeError('OFPBRC_BAD_LEN');
    const version = msg[1] === OFPT_HELLO ? Math.min(msg[0], OFP15_VERSION) : msg[0];
    return { ok: true, raw: readHead(new Reader(msg, 8), version, msg[1]).raw };
  } catch (e) {
    if (!(e instanceof OfDecodeError)) throw e;
    return { ok: false, error: ofError(e.ofError) };
  }
}

/** The type of a message whose headers and length are right, whatever its body is. */
export function typeOf(msg: Uint8Array): MessageType | undefined {
  try {
    const r = new Reader(msg, 8);
    const { raw } = readHead(r, msg[0], msg[1]);
    checkLength(raw, r.pos, msg.length);
    return raw.type;
  } catch (e) {
    if (e instanceof OfDecodeError) return undefined;
    throw e;
  }
}

function decodeMessage(msg: Uint8Array, version: number, xid: number, ctx: CodecContext): Message {
  if (msg.length < 8 || ((msg[2] << 8) | msg[3]) !== msg.length) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const type = msg[1];
  checkVersion(version, type, ctx.version);
  const known = Math.min(version, OFP15_VERSION);
  const r = new Reader(msg, 8);
  r.tunTable = ctx.tunTable;
  const head = readHead(r, known, type);
  checkLength(head.raw, r.pos, msg.length);
  return decodeBody(r, head, type === OFPT_HELLO ? version : known, xid, ctx);
}

/** A hello of a version to come still says what else its sender speaks. */
function checkVersion(version: number, type: number, negotiated: number | undefined): void {
  const foreign = negotiated !== undefined && version !== negotiated && type > OFPT_ERROR;
  const ours = version >= OFP10_VERSION && version <= OFP15_VERSION && !foreign;
  if (!ours && (type !== OFPT_HELLO || version === 0)) throw new OfDecodeError('OFPBRC_BAD_VERSION');
}

function decodeBody(r: Reader, { raw, more }: Head, version: number, xid: number, ctx: CodecContext): Message {
  const { nTables = 255, flowModTableId = false, loose = false } = ctx;
  const codec = codecOf(raw.type);
  if (ctx.scratch && raw.type === 'flow_mod') r.scratch = ctx.scratch;
  const message = codec.decode(r, { version, raw: raw.name, more, nTables, flowModTableId, loose, xid });
  if (r.left > 0) throw new OfDecodeError('OFPBRC_BAD_LEN', `${r.left} bytes too many`);
  return message;
}

export interface EncodeOptions {
  /** Use Nicira's form where there is one, e.g. of flow-mods, flow-removed, and flow and aggregate statistics (OpenFlow 1.0). */
  nxm?: boolean;
  /** Flow-mods carry their table (NXT_FLOW_MOD_TABLE_ID). */
  flowModTableId?: boolean;
  /** Exactly this form, where a version has several. */
  raw?: RawName;
}

const NX: ReadonlySet<MessageFamily> = new Set<MessageFamily>(['NXT', 'NXST']);

function chooseRaw(m: Message, version: number, { nxm, raw: wanted }: EncodeOptions): Raw {
  const fits = rawsOf(m.type, version);
  const exact = fits.find((k) => k.name === wanted);
  if (exact) return exact;
  if (m.type === 'packet_in' && m.format && m.format !== 'standard')
    return rawByName(m.format === 'nxt_packet_in' ? 'NXT_PACKET_IN' : 'NXT_PACKET_IN2');
  const raw = (nxm ? fits.find((k) => NX.has(k.family)) : undefined) ?? fits[0];
  if (!raw) throw new Error(`OpenFlow version ${version} has no ${m.type}`);
  return raw;
}

function finish(w: Writer): Uint8Array {
  if (w.length > 0xffff) throw new Error(`an OpenFlow message of ${w.length} bytes`);
  w.setU16(2, w.length);
  return w.done();
}

const MORE = 1;

/** Puts the elements of a list into as few messages as hold them. */
function encodeParts(
  parts: ((w: Writer) => void)[],
  head: (w: Writer) => number,
  more: boolean,
  tooLong: (() => void) | undefined,
): Uint8Array[] {
  const out: Uint8Array[] = [];
  let w = new Writer(1024);
  let flagsAt = head(w);
  const empty = w.length;
  const one = new Writer(512);
  for (const part of parts) {
    one.length = 0;
    part(one);
    if (tooLong && empty + one.length > 0xffff) {
      tooLong();
      continue;
    }
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

/** What OpenFlow 1.4+ says as part of something else. */
function inOwnWords(m: Message, version: number): Message {
  const monitor =
    m.type === 'flow_monitor_cancel' || m.type === 'flow_monitor_paused' || m.type === 'flow_monitor_resumed';
  return monitor && version >= OFP14_VERSION ? monitorInVersion14(m) : m;
}

/**
 * Encodes a message; statistics that are longer than 65,535 bytes become several messages, all but the last with the MORE flag.
 * Throws when `version` has no form of the message.
 */
export function encode(message: Message, version: number, xid: number, opts: EncodeOptions = {}): Uint8Array[] {
  const m = inOwnWords(message, version);
  const raw = chooseRaw(m, version, opts);
  const codec = codecOf(m.type);
  const ctx: EncodeContext = { version, raw: raw.name, flowModTableId: opts.flowModTableId === true };
  const head = (w: Writer) => putHead(w, raw, version, xid);
  const more = 'more' in m && m.more === true;
  if (codec.parts) return encodeParts(codec.parts(m as never, ctx), head, more, codec.tooLong);
  const w = new Writer();
  const flagsAt = head(w);
  codec.encode(w, m as never, ctx);
  if (more) w.setU16(flagsAt, MORE);
  return [finish(w)];
}

/** Bytes of a request that an error has room for: its own headers take at most 32. */
const ERROR_ROOM = 0xffff - 32;

/** An error message that answers `request`; it carries the request, as much of it as fits, and its xid. */
export function encodeError(error: OfError, request: Uint8Array, version: number): Uint8Array {
  const xid = request.length >= 8 ? new DataView(request.buffer, request.byteOffset).getUint32(4) : 0;
  return encode({ type: 'error', error, data: request.slice(0, ERROR_ROOM) }, version, xid)[0];
}
