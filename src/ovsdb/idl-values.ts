import type { Datum } from './datum.ts';
import { datumFromJson, EMPTY_MAP, EMPTY_SET, sortedDatum } from './datum.ts';
import type { ColumnInput, ColumnValue, Uuid } from './idl-types.ts';
import type { Json } from './json.ts';
import { normalizeInteger } from './json.ts';
import type { Atom, BaseType, ColumnType } from './type.ts';
import { isOptionalScalar, isScalar, unconstrained } from './type.ts';

/** A datum as the IDL's users see it. */
export function datumToValue({ keys, values }: Datum, type: ColumnType): ColumnValue {
  if (type.value) return new Map(keys.map((key, i) => [key, values![i]!]));
  if (isScalar(type)) return keys[0]!;
  if (isOptionalScalar(type)) return keys[0] ?? null;
  return Object.freeze(keys.slice());
}

function expected(base: BaseType, atom: unknown): TypeError {
  return new TypeError(`expected ${base.type}, got ${typeof atom === 'bigint' ? `${atom}n` : JSON.stringify(atom)}`);
}

function checkAtomType(atom: unknown, base: BaseType): Atom {
  switch (base.type) {
    case 'integer':
      if (typeof atom === 'bigint' || Number.isInteger(atom)) return normalizeInteger(atom as number | bigint);
      break;
    case 'real':
      if (typeof atom === 'number' && Number.isFinite(atom)) return atom;
      break;
    case 'boolean':
      if (typeof atom === 'boolean') return atom;
      break;
    case 'string':
    case 'uuid':
      if (typeof atom === 'string') return atom;
  }
  throw expected(base, atom);
}

function isMapInput(input: ColumnInput): input is Exclude<ColumnInput, Atom | null | readonly Atom[]> {
  return typeof input === 'object' && input !== null && !Array.isArray(input);
}

/** What a user wrote as a datum. Constraints are for the server to check. Throws TypeError for a value of another type. */
export function valueToDatum(input: ColumnInput, type: ColumnType): Datum {
  if (type.value) {
    if (Array.isArray(input)) return keysToDatum(input as readonly Atom[], type.key);
    if (input === null) return EMPTY_MAP;
    if (!isMapInput(input)) throw expected(type.key, input);
    return pairsToDatum(input instanceof Map ? [...input] : Object.entries(input), type);
  }
  if (input === null) return EMPTY_SET;
  if (isMapInput(input)) throw expected(type.key, input);
  return keysToDatum(Array.isArray(input) ? (input as readonly Atom[]) : [input as Atom], type.key);
}

function keysToDatum(members: readonly Atom[], base: BaseType): Datum {
  const unique = new Set(members.map((member) => checkAtomType(member, base)));
  return sortedDatum([...unique], null);
}

function pairsToDatum(pairs: readonly (readonly [Atom, Atom])[], type: ColumnType): Datum {
  const keys = pairs.map(([key]) => checkAtomType(key, type.key));
  return sortedDatum(
    keys,
    pairs.map(([, value]) => checkAtomType(value, type.value!)),
  );
}

/** The name under which a row that is being inserted is known to the server. */
export function rowName(uuid: Uuid): string {
  return `row${uuid.replaceAll('-', '_')}`;
}

function atomToJson(atom: Atom, base: BaseType, isNew: (uuid: Uuid) => boolean): Json {
  if (base.type !== 'uuid') return atom;
  return isNew(atom as Uuid) ? ['named-uuid', rowName(atom as Uuid)] : ['uuid', atom];
}

/** The JSON of a datum in which some uuids stand for rows that the same transaction inserts. */
export function datumToTxnJson({ keys, values }: Datum, type: ColumnType, isNew: (uuid: Uuid) => boolean): Json {
  const keyJson = keys.map((key) => atomToJson(key, type.key, isNew));
  if (values) return ['map', keyJson.map((key, i) => [key, atomToJson(values[i]!, type.value!, isNew)])];
  return keyJson.length === 1 ? keyJson[0]! : ['set', keyJson];
}

/** A datum from the server, which is trusted to obey its own constraints. */
export function datumFromServer(json: Json, type: ColumnType): Datum {
  return datumFromJson(json, unconstrained(type));
}
