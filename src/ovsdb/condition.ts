import type { SymbolTable } from './atom.ts';
import { compareAtoms } from './atom.ts';
import type { Row, Table } from './database.ts';
import type { Datum } from './datum.ts';
import { datumEquals, datumExcludesAll, datumFromJson, datumHashKey, datumIncludesAll } from './datum.ts';
import { syntaxError } from './error.ts';
import type { Json } from './json.ts';
import { isArray } from './json.ts';
import type { Column, TableSchema } from './schema.ts';
import { COL_UUID } from './schema.ts';
import type { ColumnType } from './type.ts';
import { isOptionalScalar, isScalar, typeToEnglish } from './type.ts';

type Relation = '<' | '<=' | '==' | '!=' | '>=' | '>' | 'includes' | 'excludes';
const RELATIONS: readonly string[] = ['<', '<=', '==', '!=', '>=', '>', 'includes', 'excludes'];

/** RFC 7047's <condition>, or `true`/`false`, which Open vSwitch's conditional monitors add. */
export type Clause = boolean | { readonly column: Column; readonly relation: Relation; readonly arg: Datum };

/** A list of clauses: a query wants all of them to hold, a conditional monitor any. */
export type Condition = readonly Clause[];

export function conditionFromJson(json: readonly Json[], table: TableSchema, symbols?: SymbolTable): Condition {
  return json.map((clause) => clauseFromJson(clause, table, symbols));
}

function clauseFromJson(json: Json, table: TableSchema, symbols: SymbolTable | undefined): Clause {
  if (typeof json === 'boolean') return json;
  if (!isArray(json) || json.length !== 3 || typeof json[0] !== 'string' || typeof json[1] !== 'string') {
    throw syntaxError(json, 'Parse error in condition.');
  }
  const column = table.byName.get(json[0]);
  if (!column) throw syntaxError(json, `No column ${json[0]} in table ${table.name}.`, 'unknown column');
  if (!RELATIONS.includes(json[1])) {
    throw syntaxError(undefined, `No function named ${json[1]}.`, 'unknown function');
  }
  const relation = json[1] as Relation;
  const arg = datumFromJson(json[2]!, argumentType(column, relation, json), symbols);
  return { column, relation, arg };
}

/** What may stand right of `relation` (RFC 7047 section 5.1, <condition>). */
function argumentType({ name, type }: Column, relation: Relation, json: Json): ColumnType {
  switch (relation) {
    case '==':
    case '!=':
      return type;
    case 'includes':
      return isScalar(type) ? type : { ...type, min: 0 };
    case 'excludes':
      return isScalar(type) ? type : { ...type, min: 0, max: Infinity };
    default:
      if (!(isScalar(type) || isOptionalScalar(type)) || (type.key.type !== 'integer' && type.key.type !== 'real')) {
        throw syntaxError(
          json,
          `Type mismatch: "${relation}" operator may not be applied to column ${name} of type ${typeToEnglish(type)}.`,
        );
      }
      return { ...type, min: 1 };
  }
}

function clauseHolds(fields: readonly Datum[], clause: Clause): boolean {
  if (typeof clause === 'boolean') return clause;
  const { column, relation, arg } = clause;
  const field = fields[column.index]!;
  switch (relation) {
    case '==':
      return datumEquals(field, arg);
    case '!=':
      return !datumEquals(field, arg);
    case 'includes':
      return datumIncludesAll(arg, field);
    case 'excludes':
      return datumExcludesAll(arg, field);
    default:
      return field.keys.length === 1 && orderHolds(compareAtoms(field.keys[0]!, arg.keys[0]!), relation);
  }
}

function orderHolds(order: number, relation: '<' | '<=' | '>=' | '>'): boolean {
  switch (relation) {
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '>=':
      return order >= 0;
    case '>':
      return order > 0;
  }
}

export function everyClauseHolds(row: Row, condition: Condition): boolean {
  return condition.every((clause) => clauseHolds(row.fields, clause));
}

/** Tests rows against a monitor's condition: true when it is empty or any clause holds. `==` clauses are looked up by hash, so a
 *  condition of a thousand names costs as much as one of one. */
export function anyClauseMatcher(condition: Condition): (row: Row) => boolean {
  if (condition.length === 0 || condition.includes(true)) return () => true;
  const equalities = new Map<Column, Set<string>>();
  const others: Clause[] = [];
  for (const clause of condition) {
    if (typeof clause === 'boolean' || clause.relation !== '==') others.push(clause);
    else equalities.set(clause.column, (equalities.get(clause.column) ?? new Set()).add(datumHashKey(clause.arg)));
  }
  return (row) => {
    for (const [column, wanted] of equalities) if (wanted.has(datumHashKey(row.fields[column.index]!))) return true;
    return others.some((clause) => clauseHolds(row.fields, clause));
  };
}

/** The rows of `table` that fulfil every clause. `touched` are the uuids that the running transaction has changed: the table's
 *  indexes do not know of those. The result is a list of its own, so that the caller may change the table. */
export function queryRows(table: Table, condition: Condition, touched: Iterable<string>): Row[] {
  const candidates =
    candidatesByUuid(table, condition) ?? candidatesByIndex(table, condition, touched) ?? table.rows.values();
  const rows: Row[] = [];
  for (const row of candidates) if (everyClauseHolds(row, condition)) rows.push(row);
  return rows;
}

function equalityOn(condition: Condition, column: Column): Datum | undefined {
  for (const clause of condition) {
    if (typeof clause === 'boolean' || clause.column !== column) continue;
    if (clause.relation === '==' || (clause.relation === 'includes' && isScalar(column.type))) return clause.arg;
  }
  return undefined;
}

function candidatesByUuid(table: Table, condition: Condition): Iterable<Row> | undefined {
  const wanted = equalityOn(condition, table.schema.columns[COL_UUID]!);
  if (!wanted) return undefined;
  const row = table.rows.get(wanted.keys[0] as string);
  return row ? [row] : [];
}

function candidatesByIndex(table: Table, condition: Condition, touched: Iterable<string>): Iterable<Row> | undefined {
  if (condition.length === 0) return undefined;
  for (const [i, columns] of table.schema.indexes.entries()) {
    const values = columns.map((column) => equalityOn(condition, column));
    if (values.includes(undefined)) continue;
    const key = values.map((value) => datumHashKey(value!)).join('\n');
    return currentRows(table, table.indexes[i]!.get(key)?.uuid, touched);
  }
  return undefined;
}

function currentRows(table: Table, indexed: string | undefined, touched: Iterable<string>): Row[] {
  const uuids = new Set(touched);
  if (indexed !== undefined) uuids.add(indexed);
  return [...uuids].map((uuid) => table.rows.get(uuid)).filter((row) => row !== undefined);
}
