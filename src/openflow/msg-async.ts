import { OFP13_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import type { RawName } from '../../protocols/openflow-messages.ts';
import { vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { type DecodeContext, emptyCodec, type MessageCodec, type MessageCodecs } from './message-codec.ts';
import { badProp, propU32, pullProps, putPropU32, unknownProp } from './message-prop.ts';
import type { AsyncConfig, AsyncConfigHalf } from './messages.ts';

/** Which asynchronous messages a controller wants: six masks of OpenFlow 1.3 and Nicira's, or the properties of 1.4. */

const log = vlogModule('ofp_connection');

interface Kind {
  key: keyof AsyncConfigHalf;
  /** OAM_*'s name. */
  name: string;
  /** Reasons there are, before OpenFlow 1.4 and since. */
  allowed10: number;
  allowed14: number;
}

const kind = (key: keyof AsyncConfigHalf, name: string, allowed10: number, allowed14 = allowed10): Kind => ({
  key,
  name,
  allowed10,
  allowed14,
});

/** In the order of the properties: secondary has the even number. */
const KINDS: readonly Kind[] = [
  kind('packetIn', 'PACKET_IN', 0x07, 0x3f),
  kind('portStatus', 'PORT_STATUS', 0x07),
  kind('flowRemoved', 'FLOW_REMOVED', 0x3f),
  kind('roleStatus', 'ROLE_STATUS', 0x07),
  kind('tableStatus', 'TABLE_STATUS', 0x18),
  kind('requestForward', 'REQUESTFORWARD', 0x03),
];
const LEGACY = KINDS.slice(0, 3);

type Half = Partial<AsyncConfigHalf>;
type Partials = { primary: Half; secondary: Half };

const allowed = (k: Kind, version: number): number => (version >= OFP14_VERSION ? k.allowed14 : k.allowed10);

/** OFPR_EXPLICIT_MISS and OFPR_IMPLICIT_MISS stand with OFPR_NO_MATCH. */
const EXPLICIT_MISS = 1 << 6;
const IMPLICIT_MISS = 1 << 7;

function readMask(raw: number, k: Kind, version: number, loose: boolean): number {
  const may = allowed(k, version);
  if (raw & ~may) {
    const hex = (n: number) => (n === 0 ? '0' : `0x${n.toString(16)}`);
    badProp(log, loose, 'OFPACFC_INVALID', `bad value ${hex(raw)} for ${k.name} (allowed mask ${hex(may)})`);
  }
  let mask = raw & may;
  if (k.key === 'packetIn' && mask & 1) {
    mask |= EXPLICIT_MISS;
    if (version < OFP13_VERSION) mask |= IMPLICIT_MISS;
  }
  return mask;
}

function pullLegacy(r: Reader, version: number): Partials {
  const out: Partials = { primary: {}, secondary: {} };
  for (const k of LEGACY) {
    out.primary[k.key] = readMask(r.readU32(), k, version, true);
    out.secondary[k.key] = readMask(r.readU32(), k, version, true);
  }
  return out;
}

/** Async properties also use 0xfffe for experimenters. */
const MIN_EXPERIMENTER = 0xfffe;

function pullAsyncProps(r: Reader, { version, loose }: DecodeContext): Partials {
  const out: Partials = { primary: {}, secondary: {} };
  for (const p of pullProps(r, MIN_EXPERIMENTER)) {
    const k = p.experimenter ? undefined : KINDS[p.type >> 1];
    if (k) out[p.type & 1 ? 'primary' : 'secondary'][k.key] = readMask(propU32(p), k, version, loose);
    else unsupported(() => unknownProp(log, loose, 'async config', p));
  }
  return out;
}

/** OFPBPC_BAD_TYPE has a name of its own here. */
function unsupported(check: () => void): void {
  try {
    check();
  } catch (e) {
    if (e instanceof OfDecodeError && e.ofError === 'OFPBPC_BAD_TYPE') throw new OfDecodeError('OFPACFC_UNSUPPORTED');
    throw e;
  }
}

const LEGACY_RAWS: ReadonlySet<RawName> = new Set<RawName>([
  'OFPT13_GET_ASYNC_REPLY',
  'OFPT13_SET_ASYNC',
  'NXT_SET_ASYNC_CONFIG',
]);

/** The masks of OpenFlow 1.3 set everything: what they can't name is off. */
function pullAsync(r: Reader, ctx: DecodeContext): Partials {
  if (!LEGACY_RAWS.has(ctx.raw)) return pullAsyncProps(r, ctx);
  const { primary, secondary } = pullLegacy(r, ctx.version);
  return { primary: { ...OFF, ...primary }, secondary: { ...OFF, ...secondary } };
}

function putAsync(w: Writer, c: Partials, version: number, raw: RawName): void {
  for (const [i, k] of KINDS.entries()) {
    const [primary, secondary] = [c.primary[k.key], c.secondary[k.key]];
    const may = allowed(k, version);
    if (LEGACY_RAWS.has(raw)) {
      if (i >= LEGACY.length) continue;
      w.putU32((primary ?? 0) & may);
      w.putU32((secondary ?? 0) & may);
      continue;
    }
    if (secondary !== undefined) putPropU32(w, 2 * i, secondary & may);
    if (primary !== undefined) putPropU32(w, 2 * i + 1, primary & may);
  }
}

const OFF: AsyncConfigHalf = {
  packetIn: 0,
  portStatus: 0,
  flowRemoved: 0,
  roleStatus: 0,
  tableStatus: 0,
  requestForward: 0,
};
const whole = (p: Partials): AsyncConfig => ({
  primary: { ...OFF, ...p.primary },
  secondary: { ...OFF, ...p.secondary },
});

const getAsyncReply: MessageCodec<'get_async_reply'> = {
  decode: (r, ctx) => ({ type: 'get_async_reply', config: whole(pullAsync(r, ctx)) }),
  encode: (w, m, { version, raw }) => putAsync(w, m.config, version, raw),
};

const setAsync: MessageCodec<'set_async_config'> = {
  decode: (r, ctx) => ({ type: 'set_async_config', config: pullAsync(r, { ...ctx, loose: false }) }),
  encode: (w, m, { version, raw }) => putAsync(w, m.config, version, raw),
};

export const ASYNC: MessageCodecs = {
  get_async_request: emptyCodec({ type: 'get_async_request' }),
  get_async_reply: getAsyncReply,
  set_async_config: setAsync,
};
