/** Numbers in the text of flows, as C's strtoul and Open vSwitch's helpers read them: decimal, octal (0…) and hexadecimal (0x…). */

/** What is wrong with a flow's text; the message is ovs-ofctl's. */
export class FlowTextError extends Error {}

const U64 = 0xffff_ffff_ffff_ffffn;

export interface Scanned {
  /** Clamped to 64 bits where `overflow`; a minus sign makes it negative. */
  n: bigint;
  negative: boolean;
  overflow: boolean;
  /** What follows the number. */
  tail: string;
}

/** A number at the start of `s`, after white space; undefined when there is none. */
export function scanNumber(s: string): Scanned | undefined {
  const m = /^\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)/.exec(s);
  if (!m) return undefined;
  const [all, sign, digits] = m;
  const n = BigInt(/^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits);
  const negative = sign === '-';
  return {
    n: n > U64 ? U64 : negative ? -n : n,
    negative,
    overflow: n > U64,
    tail: s.slice(all.length),
  };
}

/** A whole number that fits an `int`; undefined otherwise. */
function wholeInt(s: string): number | undefined {
  const x = scanNumber(s);
  if (!x || x.tail || x.n < -0x8000_0000n || x.n > 0x7fff_ffffn) return undefined;
  return Number(x.n);
}

function bounded(s: string, name: string, max: number): number {
  const n = wholeInt(s);
  if (n === undefined || n < 0 || n > max) throw new FlowTextError(`invalid ${name} "${s}"`);
  return n;
}

export const strToU8 = (s: string, name: string): number => bounded(s, name, 0xff);
export const strToU16 = (s: string, name: string): number => bounded(s, name, 0xffff);

/** A 64-bit number; `-1` is all ones. */
export function strToU64(s: string): bigint {
  if (s === '') throw new FlowTextError('missing required numeric argument');
  const x = scanNumber(s);
  if (!x || x.overflow || x.tail) throw new FlowTextError(`invalid numeric format ${s}`);
  return BigInt.asUintN(64, x.n);
}

/** The low 32 bits of a 64-bit number, as on Open vSwitch's usual machines. */
export const strToU32 = (s: string): number => Number(strToU64(s) & 0xffff_ffffn);

/** C's atoi: 0 for what is no number. */
export function atoi(s: string): number {
  const m = /^\s*([+-]?\d+)/.exec(s);
  return m ? Number(BigInt.asIntN(32, BigInt(m[1].replace('+', '')))) : 0;
}

/** C's strtoull with base 0, whatever follows: 0 for what is no number. */
export function strtoull(s: string): bigint {
  return BigInt.asUintN(64, scanNumber(s)?.n ?? 0n);
}

/**
 * An unsigned number of at most `width` bytes at the start of `s`, in network order, and what follows it. Hexadecimal numbers may be of
 * any width, with white space between the digits. 'range': it does not fit.
 */
export function parseIntString(s: string, width: number): { value: Uint8Array; tail: string } | 'range' | 'invalid' {
  return /^0[xX]/.test(s) ? parseHexString(s, width) : parseDecimalString(s, width);
}

function parseHexString(s: string, width: number) {
  const text = /^0[xX]([\s0-9a-fA-F]*)/.exec(s) as RegExpExecArray;
  const digits = text[1].replace(/\s+/g, '').replace(/^0+/, '');
  if (digits.length > width * 2) return 'range' as const;
  return { value: Uint8Array.from(Buffer.from(digits.padStart(width * 2, '0'), 'hex')), tail: s.slice(text[0].length) };
}

function parseDecimalString(s: string, width: number) {
  const x = scanNumber(s);
  if (!x) return 'invalid' as const;
  if (x.overflow) return 'range' as const;
  let n = BigInt.asUintN(64, x.n);
  const value = new Uint8Array(width);
  for (let i = width - 1; i >= 0; i--) {
    value[i] = Number(n & 0xffn);
    n >>= 8n;
  }
  return n ? ('range' as const) : { value, tail: x.tail };
}

/** Bytes in hexadecimal, dots and white space between them allowed; `rest` is where they end. */
export function parseHexBytes(s: string): { bytes: Uint8Array; rest: string } {
  const bytes: number[] = [];
  let at = 0;
  for (;;) {
    const m = /^[\s.]*([0-9a-fA-F]{2})/.exec(s.slice(at, at + 64));
    if (!m) break;
    bytes.push(Number.parseInt(m[1], 16));
    at += m[0].length;
  }
  return { bytes: Uint8Array.from(bytes), rest: s.slice(at).replace(/^[\s.]+/, '') };
}

/** Words between any of `delimiters`, one after the other, as strtok_r finds them. */
export class Tokens {
  #rest: string;

  constructor(s: string) {
    this.#rest = s;
  }

  /** The next word, undefined at the end. */
  next(delimiters: string): string | undefined {
    let start = 0;
    while (start < this.#rest.length && delimiters.includes(this.#rest[start])) start++;
    if (start === this.#rest.length) return undefined;
    let end = start;
    while (end < this.#rest.length && !delimiters.includes(this.#rest[end])) end++;
    const word = this.#rest.slice(start, end);
    this.#rest = this.#rest.slice(end + 1);
    return word;
  }

  /** All that is left, undefined when that is nothing. */
  rest(): string | undefined {
    return this.#rest || undefined;
  }
}
