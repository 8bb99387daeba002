import { randomUUID } from 'node:crypto';
import type { Datum } from './datum.ts';
import { datumHashKey, datumToJson, defaultDatum } from './datum.ts';
import type { Json } from './json.ts';
import type { Column, Schema, TableSchema } from './schema.ts';
import { COL_UUID, COL_VERSION } from './schema.ts';
import type { BaseType } from './type.ts';
import { isStrongRef, isWeakRef } from './type.ts';

/** One version of a row. Once its transaction is complete nothing in it changes but `nRefs`. */
export interface Row {
  readonly uuid: string;
  /** By column index. Written only by the transaction that made this version. */
  readonly fields: Datum[];
  /** Strong references to the row from other rows. */
  nRefs: number;
}

/** A place in a column that can refer to a row: the keys or the values. */
export interface Reference {
  readonly column: Column;
  readonly side: 'keys' | 'values';
  readonly table: Table;
}

/** A row that has weak references to another. */
export interface Referrer {
  readonly table: Table;
  readonly uuid: string;
  count: number;
}

/** A table's rows, indexes and reverse references. During a transaction `rows` already shows its changes; the rest does not. */
export class Table {
  readonly schema: TableSchema;
  readonly rows = new Map<string, Row>();
  /** For each index of the schema: row by `indexKey`. */
  readonly indexes: readonly Map<string, Row>[];
  /** Who refers weakly to a row of this table: row's uuid → referrer's table and uuid → referrer. */
  readonly referrers = new Map<string, Map<string, Referrer>>();
  strongRefs: readonly Reference[] = [];
  weakRefs: readonly Reference[] = [];
  /** Changes are logged (ovsdb-server/tlog-set). */
  isLogged = false;
  private readonly defaults: readonly Datum[];

  constructor(schema: TableSchema) {
    this.schema = schema;
    this.indexes = schema.indexes.map(() => new Map());
    this.defaults = schema.columns.map((column) => defaultDatum(column.type));
  }

  /** A row of default values that is in no table yet. */
  newRow(uuid: string = randomUUID()): Row {
    const row = { uuid, fields: this.defaults.slice(), nRefs: 0 };
    row.fields[COL_UUID] = uuidDatum(uuid);
    row.fields[COL_VERSION] = uuidDatum(randomUUID());
    return row;
  }
}

export function uuidDatum(uuid: string): Datum {
  return { keys: [uuid], values: null };
}

/** The text under which `row` stands in an index over `columns`. */
export function indexKey(row: Row, columns: readonly Column[]): string {
  if (columns.length === 1) return datumHashKey(row.fields[columns[0]!.index]!);
  return columns.map((column) => datumHashKey(row.fields[column.index]!)).join('\n');
}

export function rowToJson(row: Row, columns: readonly Column[]): { [column: string]: Json } {
  const json: { [column: string]: Json } = {};
  for (const column of columns) json[column.name] = datumToJson(row.fields[column.index]!, column.type);
  return json;
}

/** A database in memory. */
export class Database {
  readonly schema: Schema;
  readonly tables: ReadonlyMap<string, Table>;
  /** Members of all columns of all rows: the measure of `memory/show`. */
  nAtoms = 0;

  constructor(schema: Schema) {
    this.schema = schema;
    this.tables = new Map([...schema.tables.values()].map((table) => [table.name, new Table(table)]));
    for (const table of this.tables.values()) {
      table.strongRefs = this.references(table.schema, isStrongRef);
      table.weakRefs = this.references(table.schema, isWeakRef);
    }
  }

  get name(): string {
    return this.schema.name;
  }

  private references(schema: TableSchema, wanted: (base: BaseType | null) => boolean): Reference[] {
    const found: Reference[] = [];
    for (const column of schema.columns) {
      const { key, value } = column.type;
      if (wanted(key)) found.push({ column, side: 'keys', table: this.tables.get(key.refTable!)! });
      if (wanted(value)) found.push({ column, side: 'values', table: this.tables.get(value!.refTable!)! });
    }
    return found;
  }
}
