import { constraintViolation, syntaxError } from './error.ts';
import type { Json } from './json.ts';
import { isArray, isInteger, normalizeInteger } from './json.ts';
import { isId } from './parser.ts';
import type { Atom, AtomicType, BaseType } from './type.ts';

export const ZERO_UUID = '00000000-0000-0000-0000-000000000000';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** The canonical text of a uuid, or undefined for something else. */
export function parseUuid(text: string): string | undefined {
  return UUID.test(text) ? text.toLowerCase() : undefined;
}

/** Gives meaning to `["named-uuid", name]` (RFC 7047 section 5.1): the uuid that the name stands for in this transaction. */
export interface SymbolTable {
  resolve(name: string): string;
}

export function compareAtoms(a: Atom, b: Atom): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

export function defaultAtom(type: AtomicType): Atom {
  switch (type) {
    case 'integer':
    case 'real':
      return 0;
    case 'boolean':
      return false;
    case 'string':
      return '';
    case 'uuid':
      return ZERO_UUID;
  }
}

/** Parses an atom of `base`'s type and checks its constraints. Without `symbols` a named-uuid is refused. */
export function atomFromJson(json: Json, base: BaseType, symbols?: SymbolTable): Atom {
  const atom = atomOfType(json, base, symbols);
  checkAtom(atom, base);
  return atom;
}

function atomOfType(json: Json, base: BaseType, symbols: SymbolTable | undefined): Atom {
  switch (base.type) {
    case 'integer':
      if (isInteger(json)) return normalizeInteger(json);
      break;
    case 'real':
      if (typeof json === 'number' || typeof json === 'bigint') return Number(json);
      break;
    case 'boolean':
      if (typeof json === 'boolean') return json;
      break;
    case 'string':
      if (typeof json === 'string') return json;
      break;
    case 'uuid':
      return uuidFromJson(json, symbols);
  }
  throw syntaxError(json, `expected ${base.type}`);
}

function tagged(json: Json, tag: string): string | undefined {
  return isArray(json) && json.length === 2 && json[0] === tag && typeof json[1] === 'string' ? json[1] : undefined;
}

function uuidFromJson(json: Json, symbols: SymbolTable | undefined): string {
  const text = tagged(json, 'uuid');
  if (text !== undefined) {
    const uuid = parseUuid(text);
    if (uuid === undefined) throw syntaxError(json, `"${text}" is not a valid UUID`);
    return uuid;
  }
  const name = symbols && tagged(json, 'named-uuid');
  if (symbols && name !== undefined) {
    if (!isId(name)) throw syntaxError(json, 'named-uuid string is not a valid <id>');
    return symbols.resolve(name);
  }
  throw syntaxError(json, 'expected ["uuid", <string>]');
}

export function atomToJson(atom: Atom, type: AtomicType): Json {
  return type === 'uuid' ? ['uuid', atom as string] : atom;
}

/** A real as C's `%.15g` prints it, an integer in full. */
export function numberToString(value: number | bigint): string {
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value);
  return Number(value.toPrecision(15))
    .toString()
    .replace(/e([+-])(\d)$/, 'e$10$2');
}

/** The atom as ovs-vsctl takes and prints it. */
export function atomToString(atom: Atom, type: AtomicType): string {
  if (type === 'string') return stringNeedsQuotes(atom as string) ? JSON.stringify(atom) : (atom as string);
  if (typeof atom === 'number' || typeof atom === 'bigint') return numberToString(atom);
  return String(atom);
}

function stringNeedsQuotes(text: string): boolean {
  return !/^[a-zA-Z_][a-zA-Z0-9_.-]*$/.test(text) || text === 'true' || text === 'false' || UUID.test(text);
}

/** Throws a constraint violation unless `atom` obeys `base`. References are not looked at: that is for the commit. */
export function checkAtom(atom: Atom, base: BaseType): void {
  if (base.enum && !base.enum.includes(atom)) {
    const valid = enumToString(base.enum, base.type);
    throw constraintViolation(`${atomToString(atom, base.type)} is not one of the allowed values (${valid})`);
  }
  if (base.type === 'integer' || base.type === 'real') checkRange(atom as number | bigint, base);
  else if (base.type === 'string') checkLength(atom as string, base);
}

function enumToString(values: readonly Atom[], type: AtomicType): string {
  const texts = values.map((value) => atomToString(value, type));
  return texts.length === 1 ? texts[0]! : `[${texts.join(', ')}]`;
}

function checkRange(value: number | bigint, { min, max }: BaseType): void {
  if ((min === undefined || value >= min) && (max === undefined || value <= max)) return;
  const shown = numberToString(value);
  if (min !== undefined && max !== undefined) {
    throw constraintViolation(
      `${shown} is not in the valid range ${numberToString(min)} to ${numberToString(max)} (inclusive)`,
    );
  }
  if (min !== undefined) {
    throw constraintViolation(`${shown} is less than minimum allowed value ${numberToString(min)}`);
  }
  throw constraintViolation(`${shown} is greater than maximum allowed value ${numberToString(max!)}`);
}

function checkLength(text: string, { minLength, maxLength }: BaseType): void {
  if (minLength === undefined && maxLength === undefined) return;
  const length = [...text].length;
  if (minLength !== undefined && length < minLength) {
    throw constraintViolation(`"${text}" length ${length} is less than minimum allowed length ${minLength}`);
  }
  if (maxLength !== undefined && length > maxLength) {
    throw constraintViolation(`"${text}" length ${length} is greater than maximum allowed length ${maxLength}`);
  }
}
