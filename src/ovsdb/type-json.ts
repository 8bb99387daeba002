import { datumFromJson, datumToJson } from './datum.ts';
import { syntaxError } from './error.ts';
import type { Json } from './json.ts';
import { isInteger, isObject } from './json.ts';
import { MemberParser } from './parser.ts';
import type { Atom, AtomicType, BaseType, ColumnType } from './type.ts';
import { isScalar } from './type.ts';

const ATOMIC_TYPES: readonly string[] = ['integer', 'real', 'boolean', 'string', 'uuid'];
const UINT_MAX = 0xffffffff;

function atomicTypeFromJson(json: Json): AtomicType {
  if (typeof json !== 'string') throw syntaxError(json, 'atomic-type expected');
  if (!ATOMIC_TYPES.includes(json)) throw syntaxError(json, `"${json}" is not an atomic-type`);
  return json as AtomicType;
}

export function baseTypeFromJson(json: Json): BaseType {
  if (typeof json === 'string') return { type: atomicTypeFromJson(json) };
  const parser = new MemberParser(json, 'ovsdb type');
  const type = atomicTypeFromJson(parser.required('type', 'string'));
  const values = parser.optional('enum', 'any');
  const base: BaseType = values === undefined ? constraints(parser, type) : { type, enum: enumFromJson(values, type) };
  parser.finish();
  return base;
}

function enumFromJson(json: Json, type: AtomicType): readonly Atom[] {
  return datumFromJson(json, { key: { type }, value: null, min: 1, max: Infinity }).keys;
}

function constraints(parser: MemberParser, type: AtomicType): BaseType {
  switch (type) {
    case 'integer':
      return { type, ...range(parser, 'Integer', 'integer') };
    case 'real':
      return { type, ...range(parser, 'Real', 'number') };
    case 'string':
      return { type, ...lengths(parser) };
    case 'uuid':
      return { type, ...reference(parser) };
    case 'boolean':
      return { type };
  }
}

function range(parser: MemberParser, suffix: string, kind: 'integer' | 'number') {
  const min = parser.optional(`min${suffix}`, kind) as number | bigint | undefined;
  const max = parser.optional(`max${suffix}`, kind) as number | bigint | undefined;
  if (min !== undefined && max !== undefined && min > max) {
    throw syntaxError(parser.json, `min${suffix} exceeds max${suffix}`);
  }
  return { ...(min !== undefined && { min }), ...(max !== undefined && { max }) };
}

function optionalUint(parser: MemberParser, member: string): number | undefined {
  const json = parser.optional(member, 'integer');
  if (json === undefined) return undefined;
  const value = Number(json);
  if (value < 0 || value > UINT_MAX) throw syntaxError(json, `${member} out of valid range 0 to ${UINT_MAX}`);
  return value;
}

function lengths(parser: MemberParser) {
  const minLength = optionalUint(parser, 'minLength');
  const maxLength = optionalUint(parser, 'maxLength');
  if ((minLength ?? 0) > (maxLength ?? UINT_MAX)) throw syntaxError(parser.json, 'minLength exceeds maxLength');
  return { ...(minLength && { minLength }), ...(maxLength !== undefined && maxLength !== UINT_MAX && { maxLength }) };
}

function reference(parser: MemberParser) {
  const refTable = parser.optional('refTable', 'id') as string | undefined;
  if (refTable === undefined) return {};
  const refType = (parser.optional('refType', 'id') ?? 'strong') as string;
  if (refType !== 'strong' && refType !== 'weak') {
    throw syntaxError(parser.json, `refType must be "strong" or "weak" (not "${refType}")`);
  }
  return { refTable, refType } as const;
}

export function typeFromJson(json: Json): ColumnType {
  if (typeof json === 'string') return { key: baseTypeFromJson(json), value: null, min: 1, max: 1 };
  if (!isObject(json)) throw syntaxError(json, 'ovsdb type expected');
  const parser = new MemberParser(json, 'ovsdb type');
  const key = parser.required('key', 'string', 'object');
  const value = parser.optional('value', 'string', 'object');
  const min = parser.optional('min', 'integer');
  const max = parser.optional('max', 'integer', 'string');
  parser.finish();
  const type = {
    key: baseTypeFromJson(key),
    value: value === undefined ? null : baseTypeFromJson(value),
    min: countFromJson(min),
    max: max === 'unlimited' ? Infinity : countFromJson(max),
  };
  if (type.min > 1 || type.max < 1) throw syntaxError(json, 'ovsdb type fails constraint checks');
  return type as ColumnType;
}

function countFromJson(json: Json | undefined): number {
  if (json === undefined) return 1;
  if (isInteger(json) && json >= 0 && json < UINT_MAX) return Number(json);
  throw syntaxError(json, 'bad min or max value');
}

/** The shortest JSON that means `base`. */
export function baseTypeToJson(base: BaseType): Json {
  const json: { [key: string]: Json } = { type: base.type };
  if (base.enum)
    json.enum = datumToJson({ keys: base.enum, values: null }, { ...SET_OF_ANY, key: { type: base.type } });
  const suffix = base.type === 'integer' ? 'Integer' : 'Real';
  if (base.min !== undefined) json[`min${suffix}`] = base.min;
  if (base.max !== undefined) json[`max${suffix}`] = base.max;
  if (base.minLength !== undefined) json.minLength = base.minLength;
  if (base.maxLength !== undefined) json.maxLength = base.maxLength;
  if (base.refTable !== undefined) json.refTable = base.refTable;
  if (base.refType === 'weak') json.refType = 'weak';
  return Object.keys(json).length === 1 ? base.type : json;
}

const SET_OF_ANY = { value: null, min: 0, max: Infinity } as const;

export function typeToJson(type: ColumnType): Json {
  const key = baseTypeToJson(type.key);
  if (isScalar(type) && typeof key === 'string') return key;
  const json: { [key: string]: Json } = { key };
  if (type.value) json.value = baseTypeToJson(type.value);
  if (type.min !== 1) json.min = type.min;
  if (type.max !== 1) json.max = type.max === Infinity ? 'unlimited' : type.max;
  return json;
}
