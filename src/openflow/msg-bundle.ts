import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { OfDecodeError, Reader } from './buffer.ts';
import type { DecodeContext, MessageCodec, MessageCodecs } from './message-codec.ts';
import { checkLength, readHead, typeText } from './message-raw.ts';
import type { BundleControlType, MessageType } from './messages.ts';

/** Bundles: OpenFlow 1.4 section 7.3.9, and ONF extension 230 for 1.3. */

const log = vlogModule('ofp_bundle');
const rlUnparsable = new VlogRateLimit(1, 5);
const rlNotAllowed = new VlogRateLimit(1, 5);

const CONTROLS: readonly BundleControlType[] = [
  'open_request',
  'open_reply',
  'close_request',
  'close_reply',
  'commit_request',
  'commit_reply',
  'discard_request',
  'discard_reply',
];

const bundleControl: MessageCodec<'bundle_control'> = {
  decode(r) {
    const bundleId = r.readU32();
    const control = CONTROLS[r.readU16()];
    if (!control) throw new OfDecodeError('OFPBFC_BAD_TYPE');
    const flags = r.readU16();
    r.skip(r.left);
    return { type: 'bundle_control', bundleId, control, flags };
  },
  encode(w, m) {
    w.putU32(m.bundleId);
    w.putU16(CONTROLS.indexOf(m.control));
    w.putU16(m.flags);
  },
};

/** What can be part of a bundle. */
const BUNDLABLE: ReadonlySet<MessageType> = new Set<MessageType>(['port_mod', 'flow_mod', 'group_mod', 'packet_out']);

const HEADER_SIZE = 8;

/** The message in the bundle, as long as its header says, without a copy. Throws OFPBFC_*. */
function pullInner(r: Reader, { version, xid }: DecodeContext): Uint8Array {
  if (r.left < HEADER_SIZE) throw new OfDecodeError('OFPBFC_MSG_BAD_LEN');
  const { u8, pos } = r;
  if (u8[pos] !== version) throw new OfDecodeError('OFPBFC_BAD_VERSION');
  const length = (u8[pos + 2] << 8) | u8[pos + 3];
  if (length < HEADER_SIZE || length > r.left) throw new OfDecodeError('OFPBFC_MSG_BAD_LEN');
  const inner = u8.subarray(r.take(length), pos + length);
  if (new Reader(inner, 4).readU32() !== xid) throw new OfDecodeError('OFPBFC_MSG_BAD_XID');
  return inner;
}

function checkBundlable(message: Uint8Array): void {
  const type = typeOf(message);
  if (BUNDLABLE.has(type)) return;
  log.warnRl(rlNotAllowed, `${typeText(type)} message not allowed inside OFPT14_BUNDLE_ADD_MESSAGE`);
  throw new OfDecodeError('OFPBFC_MSG_UNSUP', type);
}

function typeOf(message: Uint8Array): MessageType {
  try {
    const r = new Reader(message, HEADER_SIZE);
    const { raw } = readHead(r, message[0], message[1]);
    checkLength(raw, r.pos, message.length);
    return raw.type;
  } catch (e) {
    if (!(e instanceof OfDecodeError)) throw e;
    log.warnRl(rlUnparsable, `OFPT14_BUNDLE_ADD_MESSAGE contained message is unparsable (${e.ofError})`);
    throw new OfDecodeError('OFPBFC_MSG_UNSUP', e.ofError);
  }
}

const bundleAdd: MessageCodec<'bundle_add_message'> = {
  decode(r, ctx) {
    const bundleId = r.readU32();
    r.skip(2);
    const flags = r.readU16();
    const message = pullInner(r, ctx);
    checkBundlable(message);
    r.skip(r.left);
    return { type: 'bundle_add_message', bundleId, flags, message };
  },
  encode(w, m) {
    w.putU32(m.bundleId);
    w.putZeros(2);
    w.putU16(m.flags);
    w.putBytes(m.message);
  },
};

export const BUNDLE: MessageCodecs = { bundle_control: bundleControl, bundle_add_message: bundleAdd };
