import { atomToString, checkAtom, parseUuid } from './atom.ts';
import type { Datum } from './datum.ts';
import { datumToString, sortedDatum } from './datum.ts';
import { constraintViolation, OvsdbError } from './error.ts';
import { JsonParser, JsonSyntaxError, normalizeInteger } from './json.ts';
import type { Atom, AtomicType, BaseType, ColumnType } from './type.ts';
import { typeToEnglish } from './type.ts';

/** Values as users of ovs-vsctl write them: `tag=5`, `trunks=[1, 2, 10-12]`, `options:key="a b"` (ovs-vsctl(8), "Database Values"). */

/** What a user wrote wrong; the message is for him. */
export class TextError extends Error {
  override name = 'TextError';
}

/** Rows that are being made and have names (`@name`). */
export interface NamedRows {
  /** The uuid that stands for `name`, whose place in the database has the type `base`. */
  refer(name: string, base: BaseType): string;
}

/** Longest list that a range such as `1-9` may stand for. */
const MAX_RANGE = 4096n;
const DELIMITERS = ':=, []{}!<>';
const INT64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };

/** A token of `text` from `at` on: up to the next delimiter that is neither quoted nor behind a backslash. Quotes stay in the token. */
export function parseToken(text: string, at: number): { token: string; end: number } {
  let token = '';
  let isQuoted = false;
  let end = at;
  while (end < text.length) {
    const char = text[end]!;
    if (char === '\\') {
      if (isQuoted) token += char;
      if (end + 1 >= text.length) throw new TextError(`${text.slice(at)}: backslash at end of argument`);
      token += text[end + 1];
      end += 2;
      continue;
    }
    if (!isQuoted && DELIMITERS.includes(char)) break;
    if (char === '"') isQuoted = !isQuoted;
    token += char;
    end++;
  }
  if (isQuoted) throw new TextError(`${text.slice(at)}: quoted string extends past end of argument`);
  return { token, end };
}

/** An atom, or with `allowsRange` all the integers of a range. Constraints are checked. Throws TextError. */
export function atomsFromString(text: string, base: BaseType, names?: NamedRows, allowsRange = false): Atom[] {
  const atoms = parseAtoms(text, base, names, allowsRange);
  try {
    for (const atom of atoms) checkAtom(atom, base);
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
    throw new TextError(error.toString());
  }
  return atoms;
}

/** One atom. Throws TextError. */
export function atomFromString(text: string, base: BaseType, names?: NamedRows): Atom {
  return atomsFromString(text, base, names)[0]!;
}

function parseAtoms(text: string, base: BaseType, names: NamedRows | undefined, allowsRange: boolean): Atom[] {
  switch (base.type) {
    case 'integer':
      return parseIntegers(text, base, allowsRange);
    case 'real':
      return [parseReal(text)];
    case 'boolean':
      return [parseBoolean(text)];
    case 'string':
      return [parseString(text)];
    case 'uuid':
      return [parseReference(text, base, names)];
  }
}

function parseInt64(text: string): bigint | undefined {
  if (!/^[ \t\n\v\f\r]*[+-]?[0-9]+$/.test(text)) return undefined;
  const value = BigInt(text.trim().replace(/^\+/, ''));
  return value < INT64.min || value > INT64.max ? undefined : value;
}

function parseIntegers(text: string, base: BaseType, allowsRange: boolean): Atom[] {
  const range = allowsRange ? /^([ \t\n\v\f\r]*[+-]?[0-9]+)-([\s\S]+)$/.exec(text) : null;
  const first = range && parseInt64(range[1]!);
  const last = range && parseInt64(range[2]!);
  if (typeof first === 'bigint' && typeof last === 'bigint') return expandRange(text, first, last, base);
  const value = parseInt64(text);
  if (value === undefined) throw new TextError(`"${text}" is not a valid integer or range`);
  return [normalizeInteger(value)];
}

function expandRange(text: string, first: bigint, last: bigint, base: BaseType): Atom[] {
  if (last < first) {
    throw new TextError(`"${text}" is not a valid range. Range end cannot be before start.`);
  }
  if (last - first < MAX_RANGE) {
    return Array.from({ length: Number(last - first) + 1 }, (_, i) => normalizeInteger(first + BigInt(i)));
  }
  const ends: Atom[] = atomsFromString(`${first}`, base).concat(atomsFromString(`${last}`, base));
  const details = `Range "${ends[0]}-${ends[1]}" is too big. Maximum allowed size is ${MAX_RANGE}.`;
  throw new TextError(constraintViolation(details).toString());
}

function parseReal(text: string): Atom {
  if (!/^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    throw new TextError(`"${text}" is not a valid real number`);
  }
  // Negative zero is zero, as in JSON from Open vSwitch.
  return Number(text) + 0;
}

function parseBoolean(text: string): boolean {
  if (['true', 'yes', 'on', '1'].includes(text)) return true;
  if (['false', 'no', 'off', '0'].includes(text)) return false;
  throw new TextError(`"${text}" is not a valid boolean (use "true" or "false")`);
}

function parseString(text: string): string {
  if (text === '') {
    throw new TextError('An empty string is not valid as input; use "" to represent the empty string');
  }
  if (!text.startsWith('"')) return text;
  if (text.length < 2 || !text.endsWith('"')) throw new TextError(`${text}: missing quote at end of quoted string`);
  try {
    return new JsonParser(text).parse() as string;
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new TextError(`${text}: ${error.message.replace(/^line \d+, column \d+, byte \d+: /, '')}`);
  }
}

function parseReference(text: string, base: BaseType, names: NamedRows | undefined): string {
  if (text.startsWith('@') && names) return names.refer(text, base);
  const uuid = parseUuid(text);
  if (uuid === undefined) throw new TextError(`"${text}" is not a valid UUID`);
  return uuid;
}

/** A column's value: atoms or `key=value` pairs between blanks or commas, in brackets or not. Throws TextError. */
export function datumFromString(text: string, type: ColumnType, names?: NamedRows): Datum {
  return new DatumParser(text, type, names).parse();
}

class DatumParser {
  private readonly text: string;
  private readonly type: ColumnType;
  private readonly names: NamedRows | undefined;
  private readonly keys: Atom[] = [];
  private readonly values: Atom[] | null;
  private at = 0;

  constructor(text: string, type: ColumnType, names: NamedRows | undefined) {
    this.text = text;
    this.type = type;
    this.names = names;
    this.values = type.value ? [] : null;
  }

  parse(): Datum {
    const close = this.open();
    while (this.at < this.text.length && this.text[this.at] !== close) this.member();
    this.finish(close);
    this.checkCount();
    try {
      return sortedDatum(this.keys, this.values);
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      throw new TextError(
        `${this.text}: ${this.values ? 'map contains duplicate key' : 'set contains duplicate value'}`,
      );
    }
  }

  private skipSpaces(): void {
    while (this.at < this.text.length && ' \t\n\v\f\r'.includes(this.text[this.at]!)) this.at++;
  }

  /** The bracket that must end the value, or undefined when it has none. */
  private open(): string | undefined {
    this.skipSpaces();
    const [open, close] = this.values ? ['{', '}'] : ['[', ']'];
    if (this.at === this.text.length) {
      throw new TextError(`use "${open}${close}" to specify the empty ${this.values ? 'map' : 'set'}`);
    }
    if (this.text[this.at] !== open) return undefined;
    this.at++;
    this.skipSpaces();
    return close;
  }

  private token(): string {
    const { token, end } = parseToken(this.text, this.at);
    this.at = end;
    return token;
  }

  private member(): void {
    const start = this.at;
    const char = this.text[start]!;
    if (DELIMITERS.includes(char)) {
      throw new TextError(`${this.text}: unexpected "${char}" parsing ${typeToEnglish(this.type)}`);
    }
    const keys = atomsFromString(this.token(), this.type.key, this.names, true);
    const value = this.values && this.pairValue(start);
    for (const key of keys) {
      this.keys.push(key);
      this.values?.push(value!);
    }
    this.skipSpaces();
    if (this.text[this.at] !== ',') return;
    this.at++;
    this.skipSpaces();
  }

  private pairValue(start: number): Atom {
    this.skipSpaces();
    if (this.text[this.at] !== '=') {
      const found = this.text[this.at];
      // Where the text ends, so does Open vSwitch's message.
      const expected = found === undefined ? '' : `${found}" expecting "="`;
      throw new TextError(`${this.text.slice(start)}: syntax error at "${expected}`);
    }
    this.at++;
    this.skipSpaces();
    return atomFromString(this.token(), this.type.value!, this.names);
  }

  private finish(close: string | undefined): void {
    if (close === undefined) return;
    if (this.text[this.at] !== close) throw new TextError(`${this.text}: missing "${close}" at end of data`);
    this.at++;
    this.skipSpaces();
    if (this.at < this.text.length) throw new TextError(`${this.text}: trailing garbage after "${close}"`);
  }

  private checkCount(): void {
    const n = this.keys.length;
    const { min, max } = this.type;
    const what = this.values ? 'pair(s)' : 'value(s)';
    if (n < min) throw new TextError(`${this.text}: ${n} ${what} specified but the minimum number is ${min}`);
    if (n > max) throw new TextError(`${this.text}: ${n} ${what} specified but the maximum number is ${max}`);
  }
}

function atomToBare(atom: Atom, type: AtomicType): string {
  return type === 'string' ? (atom as string) : atomToString(atom, type);
}

/** Without quotes and brackets, for scripts (`--data=bare`). */
export function datumToBare({ keys, values }: Datum, type: ColumnType): string {
  const members = keys.map((key, i) => {
    const text = atomToBare(key, type.key.type);
    return values ? `${text}=${atomToBare(values[i]!, type.value!.type)}` : text;
  });
  return members.join(' ');
}

export { datumToString };
