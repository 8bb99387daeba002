import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { Match } from './match.ts';
import type { TunTable } from './tun-metadata.ts';

/** Why a message can't be decoded. Thrown inside the codec only; `decode` turns it into its result. */
export class OfDecodeError extends Error {
  readonly ofError: OfErrorName;
  constructor(ofError: OfErrorName, detail = '') {
    super(detail ? `${ofError} (${detail})` : ofError);
    this.ofError = ofError;
  }
}

/** Reads big-endian numbers from `[pos, end)`; reading past the end is `error` (OFPBRC_BAD_LEN by default). Keeps no copy. */
export class Reader {
  readonly u8: Uint8Array;
  #view: DataView | undefined = undefined;
  pos: number;
  end: number;
  error: OfErrorName;
  /** The bridge's TLV table, for what is read on its behalf; a client has none. */
  tunTable: TunTable | undefined = undefined;
  /** What a match is decoded into, instead of a fresh one. */
  scratch: Match | undefined = undefined;

  constructor(u8: Uint8Array, pos = 0, end: number = u8.length, error: OfErrorName = 'OFPBRC_BAD_LEN') {
    this.u8 = u8;
    this.pos = pos;
    this.end = end;
    this.error = error;
  }

  /** The bytes, for who reads them by place. */
  get view(): DataView {
    this.#view ??= new DataView(this.u8.buffer, this.u8.byteOffset, this.u8.byteLength);
    return this.#view;
  }

  get left(): number {
    return this.end - this.pos;
  }

  /** Moves past `n` bytes and returns where they start. */
  take(n: number): number {
    const at = this.pos;
    if (n < 0 || at + n > this.end) throw new OfDecodeError(this.error, `${n} bytes wanted, ${this.end - at} left`);
    this.pos = at + n;
    return at;
  }

  readU8(): number {
    return this.u8[this.take(1)];
  }

  readU16(): number {
    const at = this.take(2);
    return (this.u8[at] << 8) | this.u8[at + 1];
  }

  readU32(): number {
    const at = this.take(4);
    return this.#u32At(at);
  }

  /** The next 4 bytes, which stay. */
  peekU32(): number {
    const n = this.readU32();
    this.pos -= 4;
    return n;
  }

  readU64(): bigint {
    const at = this.take(8);
    const [high, low] = [this.#u32At(at), this.#u32At(at + 4)];
    return high ? (BigInt(high) << 32n) | BigInt(low) : BigInt(low);
  }

  #u32At(at: number): number {
    const { u8 } = this;
    return ((u8[at] << 24) | (u8[at + 1] << 16) | (u8[at + 2] << 8) | u8[at + 3]) >>> 0;
  }

  skip(n: number): void {
    this.take(n);
  }

  /** A copy of the next `n` bytes. */
  bytes(n: number): Uint8Array {
    const at = this.take(n);
    return this.u8.slice(at, at + n);
  }

  /** A copy of all that is left. */
  rest(): Uint8Array {
    return this.bytes(this.left);
  }

  /** A NUL-padded string of `n` bytes. */
  string(n: number): string {
    const at = this.take(n);
    const nul = this.u8.indexOf(0, at);
    const stop = nul < 0 || nul > at + n ? at + n : nul;
    return Buffer.from(this.u8.buffer, this.u8.byteOffset + at, stop - at).toString('latin1');
  }

  /** The next `n` bytes as a reader of their own; this one moves past them. */
  sub(n: number, error: OfErrorName = this.error): Reader {
    const at = this.take(n);
    const r = new Reader(this.u8, at, at + n, error);
    r.tunTable = this.tunTable;
    r.scratch = this.scratch;
    return r;
  }

  zeros(n: number): boolean {
    const at = this.take(n);
    for (let i = 0; i < n; i++) if (this.u8[at + i]) return false;
    return true;
  }
}

/** Appends big-endian numbers to a growing buffer. */
export class Writer {
  u8: Uint8Array;
  view: DataView;
  length = 0;

  constructor(capacity = 256) {
    this.u8 = new Uint8Array(capacity);
    this.view = new DataView(this.u8.buffer);
  }

  private room(n: number): number {
    const at = this.length;
    if (at + n > this.u8.length) {
      const bigger = new Uint8Array(Math.max(this.u8.length * 2, at + n));
      bigger.set(this.u8);
      this.u8 = bigger;
      this.view = new DataView(bigger.buffer);
    }
    this.length = at + n;
    return at;
  }

  putU8(n: number): void {
    const at = this.room(1);
    this.u8[at] = n;
  }

  putU16(n: number): void {
    const at = this.room(2);
    this.view.setUint16(at, n);
  }

  putU32(n: number): void {
    const at = this.room(4);
    this.view.setUint32(at, n);
  }

  putU64(n: bigint): void {
    const at = this.room(8);
    this.view.setBigUint64(at, n);
  }

  putBytes(b: Uint8Array): void {
    const at = this.room(b.length);
    this.u8.set(b, at);
  }

  putZeros(n: number): void {
    const at = this.room(n);
    this.u8.fill(0, at, at + n);
  }

  /** `s` in `n` bytes, cut to `n` - 1 and padded with NUL. */
  putString(s: string, n: number): void {
    const bytes = Buffer.from(s, 'latin1').subarray(0, n - 1);
    this.putBytes(bytes);
    this.putZeros(n - bytes.length);
  }

  /** Zeros until the length since `start` is a multiple of `align`. */
  padTo(align: number, start = 0): void {
    const over = (this.length - start) % align;
    if (over) this.putZeros(align - over);
  }

  setU16(at: number, n: number): void {
    this.view.setUint16(at, n);
  }

  setU32(at: number, n: number): void {
    this.view.setUint32(at, n);
  }

  /** What was written, without a copy. */
  done(): Uint8Array {
    return this.u8.subarray(0, this.length);
  }
}
