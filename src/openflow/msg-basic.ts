import { OFP12_VERSION, OFP13_VERSION } from '../../protocols/openflow.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { errorFromWire, errorToWire, type OfErrorName, type WireError } from './error.ts';
import { emptyCodec, type MessageCodec, type MessageCodecs } from './message-codec.ts';
import type { ControllerRole, FragHandling, MessageOf, SwitchConfig } from './messages.ts';

/** Messages about the connection itself: hello, error, echo, configuration, role. */

const log = vlogModule('ofp_util');
const rl = new VlogRateLimit(1, 5);
const logErrors = vlogModule('ofp_errors');

const HELLO_VERSION_BITMAP = 1;

/** Versions up to the header's. */
const versionsUpTo = (version: number): number => (version < 32 ? (2 ** version - 1) * 2 : 0xfffffffe) >>> 0;

/** The first word of a version bitmap; undefined when it says nothing. */
function pullVersionBitmap(r: Reader): number | undefined {
  if (r.left === 0 || r.left % 4) return undefined;
  const raw = r.readU32();
  if (raw & 1) log.warnRl(rl, 'peer claims to support invalid OpenFlow version 0x00');
  if (raw >>> 1) return (raw & ~1) >>> 0;
  log.warnRl(rl, 'peer does not support any OpenFlow version (between 0x01 and 0x1f)');
  return undefined;
}

/** Nothing in a hello is an error: what is not understood only makes it `partial`. */
const hello: MessageCodec<'hello'> = {
  decode(r, { version }) {
    let versions = versionsUpTo(version);
    let understood = true;
    while (r.left > 0) {
      const element = pullHelloElement(r);
      if (!element) {
        understood = false;
        break;
      }
      const bitmap = element.type === HELLO_VERSION_BITMAP ? pullVersionBitmap(element.body) : undefined;
      if (bitmap === undefined) understood = false;
      else versions = bitmap;
    }
    r.skip(r.left);
    return { type: 'hello', versions, ...(understood ? {} : { partial: true }) };
  },
  encode(w, { versions }) {
    // Every version up to the highest: the header says it all.
    const consecutive = ((versions >>> 1) & ((versions >>> 1) + 1)) === 0;
    if (consecutive) return;
    w.putU16(HELLO_VERSION_BITMAP);
    w.putU16(8);
    w.putU32(versions);
  },
};

function pullHelloElement(r: Reader): { type: number; body: Reader } | undefined {
  if (r.left < 4) return undefined;
  const [type, length] = [r.readU16(), r.readU16()];
  const padded = (length + 7) & ~7;
  if (length < 4 || padded - 4 > r.left) return undefined;
  const body = r.sub(length - 4);
  r.skip(padded - length);
  return { type, body };
}

const ET_NX_VENDOR = 0xb0c2;
const ET_EXPERIMENTER = 0xffff;

const error: MessageCodec<'error'> = {
  decode(r, { version }) {
    const type = r.readU16();
    const code = r.readU16();
    const wire = { vendor: 0, type, code };
    if (type === ET_NX_VENDOR && code === 0) {
      [wire.vendor, wire.type, wire.code] = [r.readU32(), r.readU16(), r.readU16()];
    } else if (type === ET_EXPERIMENTER) {
      [wire.vendor, wire.type, wire.code] = [r.readU32(), code, 0];
    }
    const name = errorFromWire(wire, version);
    if (!name) throw new OfDecodeError('OFPBRC_BAD_TYPE', `error ${type}, ${code}`);
    return { type: 'error', error: { name }, data: r.rest() };
  },
  encode(w, m, { version }) {
    putError(w, m.error.name, version);
    w.putBytes(m.data);
  },
};

const rlErrors = new VlogRateLimit(1, 5);

/** An error that the version can't say is NXBRC_UNENCODABLE_ERROR. */
function putError(w: Writer, name: OfErrorName, version: number): void {
  const wire = errorToWire(name, version) ?? unencodable(name, version);
  if (wire.vendor === 0) {
    w.putU16(wire.type);
    w.putU16(wire.code);
  } else if (version < OFP12_VERSION) {
    w.putU16(ET_NX_VENDOR);
    w.putU16(0);
    w.putU32(wire.vendor);
    w.putU16(wire.type);
    w.putU16(wire.code);
  } else {
    w.putU16(ET_EXPERIMENTER);
    w.putU16(wire.type);
    w.putU32(wire.vendor);
  }
}

function unencodable(name: OfErrorName, version: number): WireError {
  logErrors.errRl(rlErrors, `cannot encode ${name} for OpenFlow 1.${version - 1}`);
  return errorToWire('NXBRC_UNENCODABLE_ERROR', version) as WireError;
}

function echo<T extends 'echo_request' | 'echo_reply'>(type: T): MessageCodec<T> {
  return {
    decode: (r) => ({ type, data: r.rest() }) as MessageOf<T>,
    encode: (w, m: MessageOf<'echo_request' | 'echo_reply'>) => w.putBytes(m.data),
  };
}

const FRAG: readonly FragHandling[] = ['normal', 'drop', 'reasm', 'nx-match'];
const INVALID_TTL_TO_CONTROLLER = 4;

function pullConfig(r: Reader, version: number, reply: boolean): SwitchConfig {
  const flags = r.readU16();
  const invalidTtl = version < OFP13_VERSION;
  if (!reply && flags & ~(invalidTtl ? 7 : 3)) throw new OfDecodeError('OFPSCFC_BAD_FLAGS');
  const config: SwitchConfig = { frag: FRAG[flags & 3], missSendLen: r.readU16() };
  if (invalidTtl) config.invalidTtlToController = (flags & INVALID_TTL_TO_CONTROLLER) !== 0;
  return config;
}

function putConfig(w: Writer, c: SwitchConfig, version: number): void {
  const ttl = c.invalidTtlToController && version < OFP13_VERSION;
  w.putU16(FRAG.indexOf(c.frag) | (ttl ? INVALID_TTL_TO_CONTROLLER : 0));
  w.putU16(c.missSendLen);
}

function config<T extends 'get_config_reply' | 'set_config'>(type: T): MessageCodec<T> {
  return {
    decode: (r, { version }) => ({ type, ...pullConfig(r, version, type === 'get_config_reply') }) as MessageOf<T>,
    encode: (w, m, { version }) => putConfig(w, m, version),
  };
}

const ROLES: readonly ControllerRole[] = ['nochange', 'equal', 'primary', 'secondary'];
const NX_ROLES: readonly ControllerRole[] = ['equal', 'primary', 'secondary'];
const NO_GENERATION = 0xffff_ffff_ffff_ffffn;

function role<T extends 'role_request' | 'role_reply'>(type: T): MessageCodec<T> {
  return {
    decode(r, { raw }) {
      const nx = raw.startsWith('NXT');
      const roles = nx ? NX_ROLES : ROLES;
      const n = r.readU32();
      if (n >= roles.length) throw new OfDecodeError('OFPRRFC_BAD_ROLE');
      if (nx) return { type, role: roles[n] } as MessageOf<T>;
      r.skip(4);
      const generationId = r.readU64();
      const fenced = type === 'role_reply' ? generationId !== NO_GENERATION : n > 1;
      return { type, role: roles[n], ...(fenced ? { generationId } : {}) } as MessageOf<T>;
    },
    encode(w, m: MessageOf<'role_request' | 'role_reply'>, { raw }) {
      if (raw.startsWith('NXT')) {
        w.putU32(Math.max(0, NX_ROLES.indexOf(m.role)));
        return;
      }
      w.putU32(ROLES.indexOf(m.role));
      w.putZeros(4);
      w.putU64(m.generationId ?? (type === 'role_reply' ? NO_GENERATION : 0n));
    },
  };
}

const roleStatus: MessageCodec<'role_status'> = {
  decode(r) {
    const n = r.readU32();
    if (n >= ROLES.length) throw new OfDecodeError('OFPRRFC_BAD_ROLE');
    const reason = r.readU8();
    r.skip(3);
    const generationId = r.readU64();
    r.skip(r.left);
    return { type: 'role_status', role: ROLES[n], reason, generationId };
  },
  encode(w, m) {
    w.putU32(ROLES.indexOf(m.role));
    w.putU8(m.reason);
    w.putZeros(3);
    w.putU64(m.generationId);
  },
};

export const BASIC: MessageCodecs = {
  hello,
  error,
  echo_request: echo('echo_request'),
  echo_reply: echo('echo_reply'),
  features_request: emptyCodec({ type: 'features_request' }),
  get_config_request: emptyCodec({ type: 'get_config_request' }),
  get_config_reply: config('get_config_reply'),
  set_config: config('set_config'),
  barrier_request: emptyCodec({ type: 'barrier_request' }),
  barrier_reply: emptyCodec({ type: 'barrier_reply' }),
  role_request: role('role_request'),
  role_reply: role('role_reply'),
  role_status: roleStatus,
};
