import type { Json } from './json.ts';
import { JsonSyntaxError, MAX_HEIGHT, parseJson } from './json.ts';

export interface JsonStreamLimits {
  /** Bytes of one value; a longer one is refused as soon as it is that long. */
  readonly maxBytes: number;
}

/** 128 MiB: several times the largest database in use; a peer that sends more is not a client. */
export const DEFAULT_LIMITS: JsonStreamLimits = { maxBytes: 128 << 20 };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACE = 0x7d;
const CLOSE_BRACKET = 0x5d;
const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;
const LETTER_E = 0x65;
const LETTER_U = 0x75;
/** A number of fewer digits is exact in a double. */
const LONG_NUMBER = 16;

/** Cuts a byte stream into top-level JSON objects and arrays, in one pass over the bytes and with bounded memory and nesting.
 *
 *  Bytes are only counted until a value is complete; then it is decoded (strict UTF-8) and parsed at once. */
export class JsonStream {
  private readonly limits: JsonStreamLimits;
  private readonly decoder = new TextDecoder('utf-8', { fatal: true });
  private chunks: Buffer[] = [];
  private bufferedSize = 0;
  private depth = 0;
  private inString = false;
  private escaped = false;
  /** Digits in a row just before the next byte, outside strings. */
  private nDigits = 0;
  /** The value has what `JSON.parse` is not exact about, or too lenient: a long or exponential number, an escape by code. */
  private isDelicate = false;

  constructor(limits: JsonStreamLimits = DEFAULT_LIMITS) {
    this.limits = limits;
  }

  /** Bytes that are kept for an unfinished value. */
  get pendingSize(): number {
    return this.bufferedSize;
  }

  /** Feeds bytes; returns the values that they complete. Throws JsonSyntaxError; the stream is of no use afterwards.
   *  Keeps references into `chunk`. */
  feed(chunk: Buffer): Json[] {
    const values: Json[] = [];
    let start = 0;
    let pos = 0;
    while (pos < chunk.length) {
      if (this.depth === 0) {
        pos = start = skipBlanks(chunk, pos);
        if (pos === chunk.length) break;
        this.checkFirst(chunk[pos]!);
      }
      pos = this.scan(chunk, pos);
      if (this.bufferedSize + pos - start > this.limits.maxBytes) throw new JsonSyntaxError('message is too long');
      if (this.depth === 0) {
        values.push(this.finish(chunk.subarray(start, pos)));
        start = pos;
      }
    }
    if (this.depth > 0 && start < chunk.length) this.keep(chunk.subarray(start));
    return values;
  }

  private checkFirst(byte: number): void {
    if (byte !== OPEN_BRACE && byte !== OPEN_BRACKET) {
      throw new JsonSyntaxError('line 0, column 0, byte 0: syntax error at beginning of input');
    }
  }

  /** Advances from `pos` to just behind the byte that closes the value, or to the end of the chunk. */
  private scan(chunk: Buffer, pos: number): number {
    let { depth, inString, escaped, nDigits, isDelicate } = this;
    const end = chunk.length;
    let at = pos;
    while (at < end) {
      const byte = chunk[at++]!;
      if (inString) {
        if (escaped) {
          escaped = false;
          if (byte === LETTER_U) isDelicate = true;
        } else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte >= DIGIT_0 && byte <= DIGIT_9) {
        if (++nDigits === LONG_NUMBER) isDelicate = true;
      } else {
        if (byte === QUOTE) inString = true;
        else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
          if (++depth >= MAX_HEIGHT) throw new JsonSyntaxError(`input exceeds maximum nesting depth ${MAX_HEIGHT}`);
        } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
          if (--depth === 0) break;
        } else if (nDigits > 0 && (byte | 0x20) === LETTER_E) isDelicate = true;
        nDigits = 0;
      }
    }
    this.depth = depth;
    this.inString = inString;
    this.escaped = escaped;
    this.nDigits = nDigits;
    this.isDelicate = isDelicate;
    return at;
  }

  private keep(rest: Buffer): void {
    this.chunks.push(rest);
    this.bufferedSize += rest.length;
  }

  private finish(last: Buffer): Json {
    const whole = this.chunks.length === 0 ? last : Buffer.concat([...this.chunks, last]);
    const { isDelicate } = this;
    this.chunks = [];
    this.bufferedSize = 0;
    this.nDigits = 0;
    this.isDelicate = false;
    return parseJson(this.decode(whole), isDelicate);
  }

  private decode(bytes: Buffer): string {
    try {
      return this.decoder.decode(bytes);
    } catch {
      throw new JsonSyntaxError('invalid UTF-8 sequence');
    }
  }
}

/** Parses a whole text of UTF-8 that holds one object or array. Throws JsonSyntaxError. */
export function parseJsonBytes(bytes: Buffer): Json {
  const values = new JsonStream({ maxBytes: Number.POSITIVE_INFINITY }).feed(bytes);
  if (values.length === 0) throw new JsonSyntaxError('unexpected end of input');
  if (values.length > 1) throw new JsonSyntaxError('trailing garbage at end of input');
  return values[0]!;
}

function skipBlanks(chunk: Buffer, pos: number): number {
  while (pos < chunk.length && isBlank(chunk[pos]!)) pos++;
  return pos;
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
