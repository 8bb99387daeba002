import { OFP10_VERSION, OFP12_VERSION, OFP13_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import { type OfpPort, ofpPort } from '../base/types.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { errorFromWire, errorToWire, type OfErrorName } from './error.ts';
import { emptyCodec, type MessageCodec, type MessageCodecs } from './message-codec.ts';
import type {
  AsyncConfig,
  AsyncConfigHalf,
  ControllerRole,
  FragHandling,
  MessageOf,
  PacketInFormat,
  QueueConfig,
  SwitchConfig,
} from './messages.ts';
import { pullPortNo, putPortNo } from './msg-port.ts';

/** Messages about the connection itself: hello, error, echo, config, role, asynchronous messages, formats. */

const HELLO_VERSION_BITMAP = 1;

const hello: MessageCodec<'hello'> = {
  decode(r, { version }) {
    let versions = (2 ** (version + 1) - 2) >>> 0;
    while (r.left >= 4) {
      const type = r.readU16();
      const length = r.readU16();
      if (length < 4 || length - 4 > r.left) throw new OfDecodeError('OFPHFC_INCOMPATIBLE');
      const body = r.sub(length - 4);
      if (type === HELLO_VERSION_BITMAP && length >= 8) versions = body.readU32();
      r.skip(Math.min(r.left, -length & 7));
    }
    return { type: 'hello', versions };
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

const ET_NX_VENDOR = 0xb0c2;
const ET_EXPERIMENTER = 0xffff;

const error: MessageCodec<'error'> = {
  decode(r, { version }) {
    const type = r.readU16();
    const code = r.readU16();
    const wire = { vendor: 0, type, code };
    if (version < OFP12_VERSION && type === ET_NX_VENDOR && code === 0) {
      [wire.vendor, wire.type, wire.code] = [r.readU32(), r.readU16(), r.readU16()];
    } else if (version >= OFP12_VERSION && type === ET_EXPERIMENTER) {
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

/** An error that the version does not have is sent as the nearest it has. */
function putError(w: Writer, name: OfErrorName, version: number): void {
  const wire = errorToWire(name, version) ?? errorToWire(substitute(name), version) ?? { vendor: 0, type: 1, code: 1 };
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

function substitute(name: OfErrorName): OfErrorName {
  if (name.startsWith('OFPBMC_')) return 'NXBRC_NXM_INVALID';
  if (name.startsWith('OFPBIC_') || name.startsWith('OFPBAC_')) return 'OFPBAC_BAD_ARGUMENT';
  if (name.startsWith('OFPBPC_')) return 'OFPBRC_BAD_LEN';
  return 'OFPBRC_BAD_TYPE';
}

function echo<T extends 'echo_request' | 'echo_reply'>(type: T): MessageCodec<T> {
  return {
    decode: (r) => ({ type, data: r.rest() }) as MessageOf<T>,
    encode: (w, m: MessageOf<'echo_request' | 'echo_reply'>) => w.putBytes(m.data),
  };
}

const FRAG: readonly FragHandling[] = ['normal', 'drop', 'reasm', 'nx-match'];
const INVALID_TTL_TO_CONTROLLER = 4;

function pullConfig(r: Reader, version: number): SwitchConfig {
  const flags = r.readU16();
  const invalidTtl = version > OFP10_VERSION && version < OFP13_VERSION;
  if (flags & ~(invalidTtl ? 7 : 3)) throw new OfDecodeError('OFPSCFC_BAD_FLAGS');
  const config: SwitchConfig = { frag: FRAG[flags & 3], missSendLen: r.readU16() };
  if (invalidTtl) config.invalidTtlToController = (flags & INVALID_TTL_TO_CONTROLLER) !== 0;
  return config;
}

function putConfig(w: Writer, c: SwitchConfig, version: number): void {
  const ttl = c.invalidTtlToController && version < OFP13_VERSION && version > OFP10_VERSION;
  w.putU16(FRAG.indexOf(c.frag) | (ttl ? INVALID_TTL_TO_CONTROLLER : 0));
  w.putU16(c.missSendLen);
}

function config<T extends 'get_config_reply' | 'set_config'>(type: T): MessageCodec<T> {
  return {
    decode: (r, { version }) => ({ type, ...pullConfig(r, version) }) as MessageOf<T>,
    encode: (w, m, { version }) => putConfig(w, m, version),
  };
}

const ROLES: readonly ControllerRole[] = ['nochange', 'equal', 'primary', 'secondary'];
const NX_ROLES: readonly ControllerRole[] = ['equal', 'primary', 'secondary'];
const NO_GENERATION = 0xffff_ffff_ffff_ffffn;

function role<T extends 'role_request' | 'role_reply'>(type: T): MessageCodec<T> {
  return {
    decode(r, { family }) {
      const roles = family === 'NXT' ? NX_ROLES : ROLES;
      const n = r.readU32();
      if (n >= roles.length) throw new OfDecodeError('OFPRRFC_BAD_ROLE');
      if (family === 'NXT') return { type, role: roles[n] } as MessageOf<T>;
      r.skip(4);
      const generationId = r.readU64();
      const fenced = type === 'role_reply' ? generationId !== NO_GENERATION : n > 1;
      return { type, role: roles[n], ...(fenced ? { generationId } : {}) } as MessageOf<T>;
    },
    encode(w, m: MessageOf<'role_request' | 'role_reply'>, { family }) {
      if (family === 'NXT') {
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
    return { type: 'role_status', role: ROLES[n], reason, generationId: r.readU64() };
  },
  encode(w, m) {
    w.putU32(ROLES.indexOf(m.role));
    w.putU8(m.reason);
    w.putZeros(3);
    w.putU64(m.generationId);
  },
};

/** In the order of the properties of OpenFlow 1.4: secondary has the even number. */
const ASYNC_KINDS: readonly (keyof AsyncConfigHalf)[] = [
  'packetIn',
  'portStatus',
  'flowRemoved',
  'roleStatus',
  'tableStatus',
  'requestForward',
];
type AsyncPartial = { primary: Partial<AsyncConfigHalf>; secondary: Partial<AsyncConfigHalf> };

function pullAsync(r: Reader, properties: boolean): AsyncPartial {
  const out: AsyncPartial = { primary: {}, secondary: {} };
  if (!properties) {
    for (const kind of ASYNC_KINDS.slice(0, 3)) {
      out.primary[kind] = r.readU32();
      out.secondary[kind] = r.readU32();
    }
    return out;
  }
  while (r.left > 0) {
    const type = r.readU16();
    const length = r.readU16();
    if (type > 11) throw new OfDecodeError('OFPBPC_BAD_TYPE');
    if (length !== 8) throw new OfDecodeError('OFPBPC_BAD_LEN');
    out[type % 2 ? 'primary' : 'secondary'][ASYNC_KINDS[type >> 1]] = r.readU32();
  }
  return out;
}

function putAsync(w: Writer, c: AsyncPartial, properties: boolean): void {
  ASYNC_KINDS.forEach((kind, i) => {
    if (!properties && i >= 3) return;
    const values = [c.secondary[kind], c.primary[kind]];
    if (!properties) {
      w.putU32(values[1] ?? 0);
      w.putU32(values[0] ?? 0);
      return;
    }
    values.forEach((value, primary) => {
      if (value === undefined) return;
      w.putU16(2 * i + primary);
      w.putU16(8);
      w.putU32(value);
    });
  });
}

const HALF: AsyncConfigHalf = {
  packetIn: 0,
  portStatus: 0,
  flowRemoved: 0,
  roleStatus: 0,
  tableStatus: 0,
  requestForward: 0,
};
const whole = (p: AsyncPartial): AsyncConfig => ({
  primary: { ...HALF, ...p.primary },
  secondary: { ...HALF, ...p.secondary },
});

const getAsyncReply: MessageCodec<'get_async_reply'> = {
  decode: (r, { version }) => ({ type: 'get_async_reply', config: whole(pullAsync(r, version >= OFP14_VERSION)) }),
  encode: (w, m, { version }) => putAsync(w, m.config, version >= OFP14_VERSION),
};

const setAsync: MessageCodec<'set_async_config'> = {
  decode: (r, { version, family }) => ({
    type: 'set_async_config',
    config: pullAsync(r, family === 'OFPT' && version >= OFP14_VERSION),
  }),
  encode: (w, m, { version, family }) => putAsync(w, m.config, family === 'OFPT' && version >= OFP14_VERSION),
};

const PACKET_IN_FORMATS: readonly PacketInFormat[] = ['standard', 'nxt_packet_in', 'nxt_packet_in2'];

const setPacketInFormat: MessageCodec<'set_packet_in_format'> = {
  decode(r) {
    const n = r.readU32();
    if (n >= PACKET_IN_FORMATS.length) throw new OfDecodeError('OFPBRC_EPERM');
    return { type: 'set_packet_in_format', format: PACKET_IN_FORMATS[n] };
  },
  encode: (w, m) => w.putU32(PACKET_IN_FORMATS.indexOf(m.format)),
};

const NXFF_NXM = 2;

const setFlowFormat: MessageCodec<'set_flow_format'> = {
  decode(r) {
    const n = r.readU32();
    if (n !== 0 && n !== NXFF_NXM) throw new OfDecodeError('OFPBRC_EPERM');
    return { type: 'set_flow_format', format: n === NXFF_NXM ? 'nxm' : 'openflow10' };
  },
  encode: (w, m) => w.putU32(m.format === 'nxm' ? NXFF_NXM : 0),
};

const flowModTableId: MessageCodec<'flow_mod_table_id'> = {
  decode(r) {
    const enable = r.readU8() !== 0;
    r.skip(7);
    return { type: 'flow_mod_table_id', enable };
  },
  encode(w, m) {
    w.putU8(m.enable ? 1 : 0);
    w.putZeros(7);
  },
};

const setControllerId: MessageCodec<'set_controller_id'> = {
  decode(r) {
    if (!r.zeros(6)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
    return { type: 'set_controller_id', controllerId: r.readU16() };
  },
  encode(w, m) {
    w.putZeros(6);
    w.putU16(m.controllerId);
  },
};

const BUNDLE_TYPES = [
  'open_request',
  'open_reply',
  'close_request',
  'close_reply',
  'commit_request',
  'commit_reply',
  'discard_request',
  'discard_reply',
] as const;

const bundleControl: MessageCodec<'bundle_control'> = {
  decode(r) {
    const bundleId = r.readU32();
    const n = r.readU16();
    if (n >= BUNDLE_TYPES.length) throw new OfDecodeError('OFPBFC_BAD_TYPE');
    return { type: 'bundle_control', bundleId, control: BUNDLE_TYPES[n], flags: r.readU16() };
  },
  encode(w, m) {
    w.putU32(m.bundleId);
    w.putU16(BUNDLE_TYPES.indexOf(m.control));
    w.putU16(m.flags);
  },
};

const bundleAdd: MessageCodec<'bundle_add_message'> = {
  decode(r) {
    const bundleId = r.readU32();
    r.skip(2);
    const flags = r.readU16();
    if (r.left < 8) throw new OfDecodeError('OFPBRC_BAD_LEN');
    const length = r.view.getUint16(r.pos + 2);
    if (length < 8 || length > r.left) throw new OfDecodeError('OFPBFC_MSG_BAD_LEN');
    const message = r.bytes(length);
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

const queueGetConfigRequest: MessageCodec<'queue_get_config_request'> = {
  decode(r, { version }) {
    const portNo = pullPortNo(r, version);
    if (version >= OFP14_VERSION) return { type: 'queue_get_config_request', portNo, queueId: r.readU32() };
    r.skip(version === OFP10_VERSION ? 2 : 4);
    return { type: 'queue_get_config_request', portNo, queueId: 0xffffffff };
  },
  encode(w, m, { version }) {
    putPortNo(w, m.portNo, version);
    if (version >= OFP14_VERSION) w.putU32(m.queueId);
    else w.putZeros(version === OFP10_VERSION ? 2 : 4);
  },
};

const RATE_PROPERTIES = { min: 1, max: 2 } as const;

/** Sizes of a queue's and a property's header: OpenFlow 1.0 and 1.1; 1.2 and 1.3; 1.4 (where the port is the queue's). */
const QUEUE_HEAD = (version: number): number => (version < OFP12_VERSION ? 8 : 16);

function pullQueue(r: Reader, version: number, ofPort: OfpPort): QueueConfig {
  const portNo = version >= OFP14_VERSION ? pullPortNo(r, version) : ofPort;
  const queueId = r.readU32();
  if (version >= OFP12_VERSION && version < OFP14_VERSION) r.skip(4);
  const length = r.readU16();
  r.skip(version < OFP12_VERSION ? 2 : 6);
  const q: QueueConfig = { portNo, queueId };
  const props = r.sub(length - QUEUE_HEAD(version));
  while (props.left >= 8) {
    const type = props.readU16();
    const size = props.readU16();
    if (size < 8) throw new OfDecodeError('OFPBRC_BAD_LEN');
    const p = props.sub(size - 4);
    if (version < OFP14_VERSION) p.skip(4);
    const rate = p.readU16();
    if (type === RATE_PROPERTIES.min) q.minRate = rate;
    if (type === RATE_PROPERTIES.max) q.maxRate = rate;
  }
  return q;
}

function putQueue(w: Writer, q: QueueConfig, version: number): void {
  const start = w.length;
  const v14 = version >= OFP14_VERSION;
  if (v14) w.putU32(q.portNo);
  w.putU32(q.queueId);
  if (version >= OFP12_VERSION && !v14) w.putU32(q.portNo);
  const lengthAt = w.length;
  w.putU16(0);
  w.putZeros(version < OFP12_VERSION ? 2 : 6);
  for (const [type, rate] of [
    [RATE_PROPERTIES.min, q.minRate],
    [RATE_PROPERTIES.max, q.maxRate],
  ] as const) {
    if (rate === undefined) continue;
    w.putU16(type);
    w.putU16(v14 ? 8 : 16);
    w.putZeros(v14 ? 0 : 4);
    w.putU16(rate);
    w.putZeros(v14 ? 2 : 6);
  }
  w.setU16(lengthAt, w.length - start);
}

/** In OpenFlow 1.4 the reply is a list of queues, each with its port; `portNo` is then that of the first. */
const queueGetConfigReply: MessageCodec<'queue_get_config_reply'> = {
  decode(r, { version }) {
    const v14 = version >= OFP14_VERSION;
    const portNo = v14 ? ofpPort(r.left >= 4 ? r.peekU32() : 0xffffffff) : pullPortNo(r, version);
    if (!v14) r.skip(version === OFP10_VERSION ? 6 : 4);
    const queues: QueueConfig[] = [];
    while (r.left > 0) queues.push(pullQueue(r, version, portNo));
    return { type: 'queue_get_config_reply', portNo, queues };
  },
  encode(w, m, { version }) {
    if (version < OFP14_VERSION) {
      putPortNo(w, m.portNo, version);
      w.putZeros(version === OFP10_VERSION ? 6 : 4);
    }
    for (const q of m.queues) putQueue(w, q, version);
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
  get_async_request: emptyCodec({ type: 'get_async_request' }),
  get_async_reply: getAsyncReply,
  set_async_config: setAsync,
  set_packet_in_format: setPacketInFormat,
  set_flow_format: setFlowFormat,
  flow_mod_table_id: flowModTableId,
  set_controller_id: setControllerId,
  flow_age: emptyCodec({ type: 'flow_age' }),
  bundle_control: bundleControl,
  bundle_add_message: bundleAdd,
  queue_get_config_request: queueGetConfigRequest,
  queue_get_config_reply: queueGetConfigReply,
};
