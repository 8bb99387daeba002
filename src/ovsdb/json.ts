/** JSON as OVSDB needs it: 64-bit integers survive, strings are well-formed Unicode, nesting is bounded (RFC 8259, RFC 7047 section 3.1).
 *
 *  An integer is a `number` while that is exact and a `bigint` beyond. */

export type Json = null | boolean | number | bigint | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** Deepest nesting that is accepted, as in Open vSwitch. */
export const MAX_HEIGHT = 1000;

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

export function isObject(json: Json | undefined): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

export function isArray(json: Json | undefined): json is readonly Json[] {
  return Array.isArray(json);
}

/** True for what JSON calls a number and OVSDB an integer: 1.0 is one, 1e30 is not. */
export function isInteger(json: Json | undefined): json is number | bigint {
  return typeof json === 'bigint' || (Number.isInteger(json) && Math.abs(json as number) < 2 ** 63);
}

/** An integer in its one representation, so that `===` compares. */
export function normalizeInteger(value: number | bigint): number | bigint {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value + 0 : BigInt(value);
  const small = Number(value);
  return Number.isSafeInteger(small) ? small : value;
}

function rawBigint(_key: string, value: unknown): unknown {
  return typeof value === 'bigint'
    ? (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(`${value}`)
    : value;
}

/** The text of `json`, on one line. */
export function toText(json: Json): string {
  try {
    return JSON.stringify(json);
  } catch {
    return JSON.stringify(json, rawBigint);
  }
}

/** The text with the members of every object in alphabetical order. */
export function sortedText(json: Json): string {
  if (isArray(json)) return `[${json.map(sortedText).join(',')}]`;
  if (!isObject(json)) return toText(json);
  const members = Object.keys(json).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${sortedText(json[name]!)}`).join(',')}}`;
}

/** Structural equality; the order of members does not matter. */
export function jsonEquals(a: Json, b: Json): boolean {
  return a === b || sortedText(a) === sortedText(b);
}

/** Parses a whole text with full checks. Throws JsonSyntaxError. Slower than `JSON.parse`, which `parseJson` prefers where it is exact. */
export class JsonParser {
  private readonly text: string;
  private pos = 0;
  private depth = 0;

  constructor(text: string) {
    this.text = text;
  }

  parse(): Json {
    this.skipBlanks();
    const value = this.value();
    this.skipBlanks();
    if (this.pos < this.text.length) this.fail('trailing garbage at end of input');
    return value;
  }

  private fail(message: string): never {
    const before = this.text.slice(0, this.pos);
    const line = before.split('\n').length - 1;
    const column = this.pos - (before.lastIndexOf('\n') + 1);
    throw new JsonSyntaxError(`line ${line}, column ${column}, byte ${Buffer.byteLength(before)}: ${message}`);
  }

  private skipBlanks(): void {
    while (this.pos < this.text.length && ' \t\r\n'.includes(this.text[this.pos]!)) this.pos++;
  }

  private value(): Json {
    const char = this.text[this.pos];
    if (char === undefined) this.fail('unexpected end of input');
    if (char === '{') return this.nested(() => this.object());
    if (char === '[') return this.nested(() => this.array());
    if (char === '"') return this.string();
    if (char === '-' || isDigit(char)) return this.number();
    return this.keyword();
  }

  private nested<T>(parse: () => T): T {
    if (++this.depth >= MAX_HEIGHT) this.fail(`input exceeds maximum nesting depth ${MAX_HEIGHT}`);
    this.pos++;
    const value = parse();
    this.depth--;
    return value;
  }

  private object(): JsonObject {
    const object: { [key: string]: Json } = {};
    this.skipBlanks();
    if (this.take('}')) return object;
    for (;;) {
      this.skipBlanks();
      if (this.text[this.pos] !== '"') this.fail('syntax error parsing object expecting string');
      const name = this.string();
      this.skipBlanks();
      if (!this.take(':')) this.fail("syntax error parsing object expecting ':'");
      this.skipBlanks();
      Object.defineProperty(object, name, {
        value: this.value(),
        enumerable: true,
        writable: true,
        configurable: true,
      });
      this.skipBlanks();
      if (this.take('}')) return object;
      if (!this.take(',')) this.fail("syntax error expecting '}' or ','");
    }
  }

  private array(): Json[] {
    const array: Json[] = [];
    this.skipBlanks();
    if (this.take(']')) return array;
    for (;;) {
      this.skipBlanks();
      array.push(this.value());
      this.skipBlanks();
      if (this.take(']')) return array;
      if (!this.take(',')) this.fail("syntax error expecting ']' or ','");
    }
  }

  private take(char: string): boolean {
    if (this.text[this.pos] !== char) return false;
    this.pos++;
    return true;
  }

  private string(): string {
    const start = this.pos++;
    for (; this.text[this.pos] !== '"'; this.pos++) {
      const code = this.text.charCodeAt(this.pos);
      if (Number.isNaN(code)) this.fail('unexpected end of input in quoted string');
      if (code < 0x20) this.fail(`U+${hex4(code)} must be escaped in quoted string`);
      if (code === 0x5c) this.escape();
    }
    this.pos++;
    const value = JSON.parse(this.text.slice(start, this.pos)) as string;
    if (value.includes('\0')) this.fail('null bytes not supported in quoted strings');
    if (!value.isWellFormed()) this.fail('malformed escaped surrogate pair');
    return value;
  }

  private escape(): void {
    const char = this.text[++this.pos];
    if (char === undefined || !'"\\/bfnrtu'.includes(char)) this.fail(`bad escape \\${char ?? ''}`);
    if (char !== 'u') return;
    if (!/^[0-9a-fA-F]{4}$/.test(this.text.slice(this.pos + 1, this.pos + 5))) this.fail('malformed \\u escape');
    this.pos += 4;
  }

  private number(): number | bigint {
    NUMBER.lastIndex = this.pos;
    const match = NUMBER.exec(this.text);
    if (!match) this.fail(this.text[this.pos] === '-' ? "'-' must be followed by digit" : 'syntax error in number');
    this.pos += match[0].length;
    const next = this.text[this.pos];
    if (next !== undefined && (isDigit(next) || next === '.')) this.fail('leading zeros not allowed');
    if (!match[1] && match[0].length > 15) {
      const exact = BigInt(match[0]);
      if (exact >= INT64_MIN && exact <= INT64_MAX) return normalizeInteger(exact);
    }
    const value = Number(match[0]);
    if (!Number.isFinite(value)) this.fail('number outside valid range');
    return value;
  }

  private keyword(): null | boolean {
    const word = /^[a-z]*/.exec(this.text.slice(this.pos, this.pos + 64))![0];
    if (word === 'true' || word === 'false' || word === 'null') {
      this.pos += word.length;
      return word === 'null' ? null : word === 'true';
    }
    if (word) this.fail(`invalid keyword '${word}'`);
    const char = this.text[this.pos]!;
    this.fail(`invalid character U+${hex4(char.codePointAt(0)!)} '${char}'`);
  }
}

const NUMBER = /-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)/y;

function isDigit(char: string): boolean {
  return char >= '0' && char <= '9';
}

function hex4(code: number): string {
  return code.toString(16).toUpperCase().padStart(4, '0');
}

export class JsonSyntaxError extends Error {}

/** Parses a whole text whose nesting is known to be bounded by MAX_HEIGHT. `isDelicate` says that it has a number of 16 digits or with an
 *  exponent, or a `\u` escape: there `JSON.parse` is not exact, or takes what is no Unicode. Throws JsonSyntaxError. */
export function parseJson(text: string, isDelicate = true): Json {
  if (!isDelicate) {
    try {
      return JSON.parse(text) as Json;
    } catch {
      // The careful parser says what is wrong.
    }
  }
  return new JsonParser(text).parse();
}
