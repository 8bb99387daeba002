import type { SymbolTable } from './atom.ts';
import { checkAtom } from './atom.ts';
import type { Datum } from './datum.ts';
import { datumFromJson, datumSubtract, datumUnion, sortedDatum } from './datum.ts';
import { constraintViolation, OvsdbError, syntaxError } from './error.ts';
import type { Json } from './json.ts';
import { isArray, normalizeInteger } from './json.ts';
import type { Column, TableSchema } from './schema.ts';
import type { Atom, ColumnType } from './type.ts';
import { isMap, isScalar, isSet, typeToEnglish } from './type.ts';

type Arithmetic = '+=' | '-=' | '*=' | '/=' | '%=';
type Mutator = Arithmetic | 'insert' | 'delete';
const MUTATORS: readonly string[] = ['+=', '-=', '*=', '/=', '%=', 'insert', 'delete'];

/** RFC 7047's <mutation>. */
export interface Mutation {
  readonly column: Column;
  readonly mutator: Mutator;
  readonly arg: Datum;
}

export function mutationFromJson(json: Json, table: TableSchema, symbols?: SymbolTable): Mutation {
  if (!isArray(json) || json.length !== 3 || typeof json[0] !== 'string' || typeof json[1] !== 'string') {
    throw syntaxError(json, 'Parse error in mutation.');
  }
  const [name, mutator] = json;
  const column = table.byName.get(name);
  if (!column) throw syntaxError(json, `No column ${name} in table ${table.name}.`, 'unknown column');
  if (!column.mutable) {
    throw syntaxError(json, `Cannot mutate immutable column ${name} in table ${table.name}.`, 'constraint violation');
  }
  if (!MUTATORS.includes(mutator)) throw syntaxError(undefined, `No mutator named ${mutator}.`, 'unknown mutator');
  return { column, mutator: mutator as Mutator, arg: argument(column, mutator as Mutator, json, symbols) };
}

function argument(column: Column, mutator: Mutator, json: readonly Json[], symbols: SymbolTable | undefined): Datum {
  const { type } = column;
  const mismatch = () =>
    syntaxError(
      json,
      `Type mismatch: "${mutator}" operator may not be applied to column ${column.name} of type ${typeToEnglish(type)}.`,
    );
  if (mutator !== 'insert' && mutator !== 'delete') {
    if (!allowsArithmetic(type, mutator)) throw mismatch();
    return datumFromJson(json[2]!, { ...type, key: { type: type.key.type }, min: 1, max: 1 }, symbols);
  }
  if (!isSet(type) && !isMap(type)) throw mismatch();
  if (mutator === 'insert') return datumFromJson(json[2]!, { ...type, min: 0 }, symbols);
  return deletions(json[2]!, { ...type, min: 0, max: Infinity }, symbols);
}

function allowsArithmetic(type: ColumnType, mutator: Arithmetic): boolean {
  if (isMap(type) && !isScalar(type)) return false;
  return type.key.type === 'integer' || (type.key.type === 'real' && mutator !== '%=');
}

/** From a map, pairs or bare keys may be deleted. */
function deletions(json: Json, type: ColumnType, symbols: SymbolTable | undefined): Datum {
  if (!type.value) return datumFromJson(json, type, symbols);
  try {
    return datumFromJson(json, type, symbols);
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
    return datumFromJson(json, { ...type, value: null }, symbols);
  }
}

/** The column's value after the mutation. Throws OvsdbError: domain, range, constraint. */
export function mutate(datum: Datum, { column, mutator, arg }: Mutation): Datum {
  switch (mutator) {
    case 'insert':
      return checkCount(datumUnion(datum, arg), column.type);
    case 'delete':
      return checkCount(datumSubtract(datum, arg), column.type);
    default:
      return mutateScalars(datum, column.type, mutator, arg.keys[0] as number | bigint);
  }
}

function checkCount(datum: Datum, type: ColumnType): Datum {
  const n = datum.keys.length;
  if (n < type.min || n > type.max) {
    throw constraintViolation(`Attempted to store ${n} elements in ${typeToEnglish(type)}.`);
  }
  return datum;
}

function mutateScalars(datum: Datum, type: ColumnType, mutator: Arithmetic, y: number | bigint): Datum {
  const operate = type.key.type === 'integer' ? operateInteger : operateReal;
  const keys = datum.keys.map((x) => {
    const result: Atom = operate(x as number | bigint, mutator, y);
    checkAtom(result, type.key);
    return result;
  });
  try {
    return sortedDatum(keys, null);
  } catch {
    throw constraintViolation(`Result of "${mutator}" operation contains duplicates.`);
  }
}

function outOfRange(mutator: Arithmetic): OvsdbError {
  return new OvsdbError('range error', `Result of "${mutator}" operation is out of range.`);
}

function divisionByZero(): OvsdbError {
  return new OvsdbError('domain error', 'Division by zero.');
}

function operateInteger(x: number | bigint, mutator: Arithmetic, y: number | bigint): number | bigint {
  const result = integerResult(BigInt(x), mutator, BigInt(y));
  if (result !== BigInt.asIntN(64, result)) throw outOfRange(mutator);
  return normalizeInteger(result);
}

function integerResult(x: bigint, mutator: Arithmetic, y: bigint): bigint {
  switch (mutator) {
    case '+=':
      return x + y;
    case '-=':
      return x - y;
    case '*=':
      return x * y;
    case '/=':
      if (y === 0n) throw divisionByZero();
      return x / y;
    case '%=':
      if (y === 0n) throw divisionByZero();
      return x % y;
  }
}

function operateReal(x: number | bigint, mutator: Arithmetic, y: number | bigint): number {
  const result = realResult(Number(x), mutator, Number(y));
  if (!Number.isFinite(result)) throw outOfRange(mutator);
  return result;
}

function realResult(x: number, mutator: Arithmetic, y: number): number {
  switch (mutator) {
    case '+=':
      return x + y;
    case '-=':
      return x - y;
    case '*=':
      return x * y;
    case '/=':
      if (y === 0) throw divisionByZero();
      return x / y;
    case '%=':
      throw new Error('the parser refuses %= on reals');
  }
}
