import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { type VlogModule, VlogRateLimit } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';

/**
 * Properties (OpenFlow 1.3+ section 7.2.3.1 and others): type, length, value, zeros to a multiple of 8. Type 0xffff is an experimenter's,
 * whose header goes on with its number and the number of the property.
 */

export interface Prop {
  /** Of a standard property; of an experimenter's its `expType`. */
  type: number;
  /** 0: standard. */
  experimenter: number;
  /** The type in the header: 0xffff for experimenters. */
  rawType: number;
  /** Behind the header, to the end of the property without padding. */
  body: Reader;
  /** Bytes of the header (4 or 12). */
  headerSize: number;
}

const EXPERIMENTER = 0xffff;

/** Pulls one property with its padding. Types from `minExp` on are experimenters'. Throws OFPBPC_*. */
export function pullProp(r: Reader, minExp = EXPERIMENTER): Prop {
  if (r.left < 4) throw new OfDecodeError('OFPBPC_BAD_LEN');
  const rawType = r.readU16();
  const length = r.readU16();
  const padding = -length & 7;
  if (length < 4 || length - 4 + padding > r.left) throw new OfDecodeError('OFPBPC_BAD_LEN');
  const body = r.sub(length - 4, 'OFPBPC_BAD_LEN');
  r.skip(padding);
  if (rawType < minExp) return { type: rawType, experimenter: 0, rawType, body, headerSize: 4 };
  if (length < 12) throw new OfDecodeError('OFPBPC_BAD_LEN');
  const experimenter = body.readU32();
  if (experimenter === 0) throw new OfDecodeError('OFPBPC_BAD_EXPERIMENTER');
  return { type: body.readU32(), experimenter, rawType, body, headerSize: 12 };
}

/** Pulls properties to the end of `r`. */
export function* pullProps(r: Reader, minExp = EXPERIMENTER): Generator<Prop> {
  while (r.left > 0) yield pullProp(r, minExp);
}

function wantLength(ok: boolean): void {
  if (!ok) throw new OfDecodeError('OFPBPC_BAD_LEN');
}

/** Properties with 8 or 16 bits may be longer: their length in the specification is odd. */
export function propU8({ body }: Prop): number {
  wantLength(body.left >= 1);
  return body.readU8();
}

export function propU16({ body }: Prop): number {
  wantLength(body.left >= 2);
  return body.readU16();
}

export function propU32({ body }: Prop): number {
  wantLength(body.left === 4);
  return body.readU32();
}

/** 64 bits stand at a multiple of 8. */
export function propU64(p: Prop): bigint {
  wantLength(p.body.left === 12);
  p.body.skip(4);
  return p.body.readU64();
}

/** What is nested in a property, from a multiple of 8 on. */
export function propNested({ body }: Prop): Reader {
  wantLength(body.left >= 4);
  body.skip(4);
  return body;
}

const rl = new VlogRateLimit(5, 5);

/** A property that nobody knows: an error, or (`loose`) skipped. */
export function unknownProp(log: VlogModule, loose: boolean, what: string, p: Prop): void {
  const text = p.experimenter
    ? `unknown ${what} property type for exp_id 0x${p.experimenter.toString(16)}, exp_type ${p.type}`
    : `unknown ${what} property type ${p.type}`;
  if (loose) {
    log.dbgRl(rl, text);
    return;
  }
  log.warnRl(rl, text);
  throw new OfDecodeError(p.experimenter ? 'OFPBPC_BAD_EXP_TYPE' : 'OFPBPC_BAD_TYPE', text);
}

/** Says what is wrong with a property: a warning and an error; with `loose`, for the debugger only. */
export function badProp(log: VlogModule, loose: boolean, error: OfErrorName, text: string): void {
  if (loose) {
    log.dbgRl(rl, text);
    return;
  }
  log.warnRl(rl, text);
  throw new OfDecodeError(error, text);
}

/** Appends a property: `put` writes its value. */
export function putProp(w: Writer, type: number, put?: () => void): void {
  const start = w.length;
  w.putU16(type);
  w.putU16(0);
  put?.();
  w.setU16(start + 2, w.length - start);
  w.padTo(8, start);
}

/** Appends an experimenter's property. */
export function putExpProp(w: Writer, experimenter: number, expType: number, put: () => void): void {
  putProp(w, EXPERIMENTER, () => {
    w.putU32(experimenter);
    w.putU32(expType);
    put();
  });
}

export const putPropU8 = (w: Writer, type: number, n: number): void => putProp(w, type, () => w.putU8(n));

/** 16 bits fill four bytes. */
export function putPropU16(w: Writer, type: number, n: number): void {
  putProp(w, type, () => {
    w.putU16(n);
    w.putZeros(2);
  });
}

export const putPropU32 = (w: Writer, type: number, n: number): void => putProp(w, type, () => w.putU32(n));

export function putPropU64(w: Writer, type: number, n: bigint): void {
  putProp(w, type, () => {
    w.putZeros(4);
    w.putU64(n);
  });
}

/** Appends a property whose value begins at a multiple of 8. */
export function putPropNested(w: Writer, type: number, put: () => void): void {
  putProp(w, type, () => {
    w.putZeros(4);
    put();
  });
}
