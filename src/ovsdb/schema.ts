import { syntaxError } from './error.ts';
import type { Json, JsonObject } from './json.ts';
import { isArray } from './json.ts';
import { isId, MemberParser } from './parser.ts';
import type { BaseType, ColumnType } from './type.ts';
import { isStrongRef, isWeakRef } from './type.ts';
import { typeFromJson, typeToJson } from './type-json.ts';

/** Indexes of the two columns that every table has. */
export const COL_UUID = 0;
export const COL_VERSION = 1;

export interface Column {
  readonly name: string;
  /** Its place in a row's `fields`. */
  readonly index: number;
  readonly type: ColumnType;
  readonly mutable: boolean;
  /** False for RFC 7047's "ephemeral". */
  readonly persistent: boolean;
}

export interface TableSchema {
  readonly name: string;
  /** By index; the first two are _uuid and _version. */
  readonly columns: readonly Column[];
  readonly byName: ReadonlyMap<string, Column>;
  readonly mutable: boolean;
  readonly isRoot: boolean;
  /** Infinity when there is no limit. */
  readonly maxRows: number;
  readonly indexes: readonly (readonly Column[])[];
}

export interface Schema {
  readonly name: string;
  /** Empty in very old databases. */
  readonly version: string;
  readonly cksum: string;
  readonly tables: ReadonlyMap<string, TableSchema>;
}

const UUID_TYPE: ColumnType = { key: { type: 'uuid' }, value: null, min: 1, max: 1 };

function standardColumns(): Column[] {
  return [
    { name: '_uuid', index: COL_UUID, type: UUID_TYPE, mutable: false, persistent: true },
    { name: '_version', index: COL_VERSION, type: UUID_TYPE, mutable: false, persistent: false },
  ];
}

function checkName(name: string, json: Json): void {
  if (name.startsWith('_')) throw syntaxError(json, 'names beginning with "_" are reserved');
  if (!isId(name)) throw syntaxError(json, 'name must be a valid id');
}

function columnFromJson(json: Json, name: string, index: number): Column {
  const parser = new MemberParser(json, `schema for column ${name}`);
  const mutable = (parser.optional('mutable', 'boolean') ?? true) as boolean;
  const ephemeral = (parser.optional('ephemeral', 'boolean') ?? false) as boolean;
  const typeJson = parser.required('type', 'string', 'object');
  parser.finish();
  const type = typeFromJson(typeJson);
  // A weak reference has to change when its target goes.
  return {
    name,
    index,
    type,
    mutable: mutable || isWeakRef(type.key) || isWeakRef(type.value),
    persistent: !ephemeral,
  };
}

function tableFromJson(json: Json, name: string): TableSchema {
  const parser = new MemberParser(json, `table schema for table ${name}`);
  const columnsJson = parser.required('columns', 'object') as JsonObject;
  const mutable = (parser.optional('mutable', 'boolean') ?? true) as boolean;
  const maxRows = parser.optional('maxRows', 'integer') as number | undefined;
  const isRoot = (parser.optional('isRoot', 'boolean') ?? false) as boolean;
  const indexesJson = (parser.optional('indexes', 'array') ?? []) as readonly Json[];
  parser.finish();
  if (maxRows !== undefined && maxRows <= 0) throw syntaxError(json, 'maxRows must be at least 1');
  const columns = standardColumns();
  for (const [columnName, column] of Object.entries(columnsJson)) {
    checkName(columnName, json);
    columns.push(columnFromJson(column, columnName, columns.length));
  }
  if (columns.length === 2) throw syntaxError(json, 'table must have at least one column');
  const table = { name, columns, byName: byName(columns), mutable, isRoot, maxRows: maxRows ?? Infinity };
  return { ...table, indexes: indexesJson.map((index) => indexFromJson(index, { ...table, indexes: [] }, json)) };
}

function byName(columns: readonly Column[]): ReadonlyMap<string, Column> {
  return new Map(columns.map((column) => [column.name, column]));
}

function indexFromJson(json: Json, table: TableSchema, tableJson: Json): readonly Column[] {
  const columns = columnSetFromJson(json, table);
  if (columns.length === 0) throw syntaxError(tableJson, 'index must have at least one column');
  const ephemeral = columns.find((column) => !column.persistent);
  if (ephemeral) {
    throw syntaxError(tableJson, `ephemeral columns (such as ${ephemeral.name}) may not be indexed`);
  }
  return columns;
}

/** An array of distinct column names; undefined stands for all columns of the table. */
export function columnSetFromJson(json: Json | undefined, table: TableSchema): readonly Column[] {
  if (json === undefined) return table.columns;
  const refusal = () => syntaxError(json, 'array of distinct column names expected');
  if (!isArray(json)) throw refusal();
  const columns = new Set<Column>();
  for (const name of json) {
    if (typeof name !== 'string') throw refusal();
    const column = table.byName.get(name);
    if (!column) throw syntaxError(json, `${name} is not a valid column name`);
    if (columns.has(column)) throw refusal();
    columns.add(column);
  }
  return [...columns];
}

/** `columns "a", "b" and "c"`, for messages. */
export function columnSetToString(columns: readonly Column[]): string {
  const names = columns.map((column) => `"${column.name}"`);
  return `column${names.length > 1 ? 's' : ''} ${joinEnglish(names)}`;
}

/** `a`, `a and b`, `a, b, and c`. */
export function joinEnglish(words: readonly string[]): string {
  if (words.length < 3) return words.join(' and ');
  return `${words.slice(0, -1).join(', ')}, and ${words.at(-1)}`;
}

/** Parses and checks RFC 7047's <database-schema>. Throws OvsdbError. */
export function schemaFromJson(json: Json): Schema {
  const parser = new MemberParser(json, 'database schema');
  const name = parser.required('name', 'id') as string;
  const version = (parser.optional('version', 'string') ?? '') as string;
  const hasVersion = Object.hasOwn(parser.json, 'version');
  const cksum = (parser.optional('cksum', 'string') ?? '') as string;
  const tablesJson = parser.required('tables', 'object') as JsonObject;
  parser.finish();
  if (hasVersion && !/^\d+\.\d+\.\d+$/.test(version)) {
    throw syntaxError(json, `schema version "${version}" not in format x.y.z`);
  }
  const tables = Object.entries(tablesJson).map(([tableName, table]) => {
    checkName(tableName, json);
    return tableFromJson(table, tableName);
  });
  return { name, version, cksum, tables: resolveReferences(withRoots(tables)) };
}

/** Without any isRoot every table is one: the schema is older than garbage collection (RFC 7047 section 3.2). */
function withRoots(tables: readonly TableSchema[]): readonly TableSchema[] {
  return tables.some((table) => table.isRoot) ? tables : tables.map((table) => ({ ...table, isRoot: true }));
}

function resolveReferences(tables: readonly TableSchema[]): ReadonlyMap<string, TableSchema> {
  const map = new Map(tables.map((table) => [table.name, table]));
  for (const table of tables) {
    const columns = table.columns.map((column) => resolveColumn(column, map));
    const indexes = table.indexes.map((index) => index.map((column) => columns[column.index]!));
    map.set(table.name, { ...table, columns, byName: byName(columns), indexes });
  }
  return map;
}

/** A strong reference into a table that is not a root must last: replaying the file would collect its target otherwise. */
function resolveColumn(column: Column, tables: ReadonlyMap<string, TableSchema>): Column {
  const { key, value } = column.type;
  const bases: readonly (readonly [string, BaseType | null])[] = [
    ['key', key],
    ['value', value],
  ];
  let persistent = column.persistent;
  for (const [side, base] of bases) {
    if (base?.refTable === undefined) continue;
    const target = tables.get(base.refTable);
    if (!target) {
      throw syntaxError(undefined, `column ${column.name} ${side} refers to undefined table ${base.refTable}`);
    }
    if (isStrongRef(base) && !target.isRoot) persistent = true;
  }
  return { ...column, persistent };
}

function columnToJson(column: Column): Json {
  const json: { [key: string]: Json } = {};
  if (!column.mutable) json.mutable = false;
  if (!column.persistent) json.ephemeral = true;
  json.type = typeToJson(column.type);
  return json;
}

function tableToJson(table: TableSchema, defaultIsRoot: boolean): Json {
  const json: { [key: string]: Json } = {};
  if (!table.mutable) json.mutable = false;
  if (table.isRoot !== defaultIsRoot) json.isRoot = table.isRoot;
  json.columns = Object.fromEntries(table.columns.slice(2).map((column) => [column.name, columnToJson(column)]));
  if (table.maxRows !== Infinity) json.maxRows = table.maxRows;
  if (table.indexes.length) json.indexes = table.indexes.map((index) => index.map((column) => column.name));
  return json;
}

export function schemaToJson(schema: Schema): JsonObject {
  const json: { [key: string]: Json } = { name: schema.name };
  if (schema.version) json.version = schema.version;
  if (schema.cksum) json.cksum = schema.cksum;
  const tables = [...schema.tables.values()];
  const allRoots = tables.every((table) => table.isRoot);
  json.tables = Object.fromEntries(tables.map((table) => [table.name, tableToJson(table, allRoots)]));
  return json;
}

/** The JSON of a schema whose columns all last, as in a cluster. */
export function persistentSchemaJson(schema: Schema): JsonObject {
  const json = schemaToJson(schema);
  const tables = Object.entries(json.tables as JsonObject).map(([name, table]): [string, Json] => {
    const columns = Object.entries((table as JsonObject).columns as JsonObject).map(
      ([column, value]): [string, Json] => {
        const { ephemeral: _dropped, ...rest } = value as JsonObject;
        return [column, rest];
      },
    );
    return [name, { ...(table as JsonObject), columns: Object.fromEntries(columns) }];
  });
  return { ...json, tables: Object.fromEntries(tables) };
}
