import type { Datum } from './datum.ts';
import { datumApplyDiff, datumEquals, defaultDatum } from './datum.ts';
import type { IdlChange, IdlRow, IdlSnapshot, MonitorColumns, Uuid } from './idl-types.ts';
import { datumFromServer, datumToValue } from './idl-values.ts';
import type { Json, JsonObject } from './json.ts';
import { isObject } from './json.ts';
import type { Column, Schema } from './schema.ts';

type Fields = ReadonlyMap<Column, Datum>;

interface ReplicaTable {
  readonly columns: readonly Column[];
  readonly byName: ReadonlyMap<string, Column>;
  readonly quiet: ReadonlySet<Column>;
  readonly fields: Map<Uuid, Fields>;
  /** The rows as users see them. Copied before the next change once a snapshot has it. */
  rows: Map<Uuid, IdlRow>;
  isShared: boolean;
}

/** How row updates are written: 1 as RFC 7047's <row-update>, 2 as "update2" and "update3". */
export type UpdateFormat = 1 | 2;

const NO_ROWS: ReadonlyMap<Uuid, IdlRow> = new Map();

export class ReplicaSnapshot implements IdlSnapshot {
  readonly seqno: number;
  private readonly tables: ReadonlyMap<string, ReadonlyMap<Uuid, IdlRow>>;

  constructor(seqno: number, tables: ReadonlyMap<string, ReadonlyMap<Uuid, IdlRow>>) {
    this.seqno = seqno;
    this.tables = tables;
  }

  table(name: string): ReadonlyMap<Uuid, IdlRow> {
    return this.tables.get(name) ?? NO_ROWS;
  }

  get(table: string, uuid: Uuid): IdlRow | undefined {
    return this.table(table).get(uuid);
  }

  first(table: string): IdlRow | undefined {
    return this.table(table).values().next().value;
  }

  tableNames(): Iterable<string> {
    return this.tables.keys();
  }
}

/** The copy of the monitored part of a database. */
export class Replica {
  seqno = 0;
  private tables = new Map<string, ReplicaTable>();
  private last = new ReplicaSnapshot(0, new Map());

  snapshot(): ReplicaSnapshot {
    if (this.last.seqno !== this.seqno) {
      const views = new Map<string, ReadonlyMap<Uuid, IdlRow>>();
      for (const [name, table] of this.tables) {
        table.isShared = true;
        views.set(name, table.rows);
      }
      this.last = new ReplicaSnapshot(this.seqno, views);
    }
    return this.last;
  }

  /** The present value of a monitored column; undefined when there is no such row or column. */
  datum(table: string, uuid: Uuid, column: string): Datum | undefined {
    const replica = this.tables.get(table);
    const found = replica?.byName.get(column);
    return found && replica?.fields.get(uuid)?.get(found);
  }

  /** Takes on what a (new) server's schema has of the wanted columns; the rows are dropped. Returns the request for them.
   *  `missing` is told of each table and column that the schema lacks. */
  reset(
    schema: Schema,
    wanted: { readonly [table: string]: MonitorColumns },
    missing: (what: string) => void,
  ): { [table: string]: Json } {
    const requests: { [table: string]: Json } = {};
    this.tables = new Map();
    for (const [name, choice] of Object.entries(wanted)) {
      const tableSchema = schema.tables.get(name);
      if (!tableSchema) {
        missing(`${name} table in ${schema.name} database`);
        continue;
      }
      const { names, quiet } = namesOf(choice, tableSchema.columns);
      const columns: Column[] = [];
      for (const columnName of names) {
        const column = tableSchema.byName.get(columnName);
        if (column) columns.push(column);
        else missing(`${columnName} column in ${name} table`);
      }
      this.tables.set(name, newTable(columns, quiet));
      requests[name] = [{ columns: columns.map((column) => column.name) }];
    }
    return requests;
  }

  /** What differs from an earlier view, for a reconnection. */
  changesSince(before: ReplicaSnapshot): IdlChange[] {
    const changes: IdlChange[] = [];
    const now = this.snapshot();
    for (const name of new Set([...before.tableNames(), ...now.tableNames()])) {
      for (const uuid of new Set([...before.table(name).keys(), ...now.table(name).keys()])) {
        const change = changeOf(name, uuid, before.get(name, uuid), now.get(name, uuid));
        if (change) changes.push(change);
      }
    }
    return changes;
  }

  /** Applies a <table-updates> object. Returns the changes that are not quiet. Throws OvsdbError for what does not parse. */
  apply(updates: Json, format: UpdateFormat): IdlChange[] {
    const changes: IdlChange[] = [];
    let hasChanged = false;
    for (const [name, rows] of Object.entries(isObject(updates) ? updates : {})) {
      const table = this.tables.get(name);
      if (!table || !isObject(rows)) continue;
      for (const [uuid, update] of Object.entries(rows)) {
        if (!isObject(update)) continue;
        const change = applyRow(name, table, uuid, update, format);
        hasChanged ||= change !== undefined;
        if (change && !change.isQuiet) changes.push(change.change);
      }
    }
    if (hasChanged) this.seqno++;
    return changes;
  }
}

function namesOf(choice: MonitorColumns, columns: readonly Column[]) {
  if (choice === true) return { names: columns.slice(2).map((column) => column.name), quiet: [] };
  const names = 'columns' in choice ? choice.columns : choice;
  return { names: new Set(names), quiet: 'columns' in choice ? (choice.quiet ?? []) : [] };
}

function newTable(columns: readonly Column[], quietNames: readonly string[]): ReplicaTable {
  return {
    columns,
    byName: new Map(columns.map((column) => [column.name, column])),
    quiet: new Set(columns.filter((column) => quietNames.includes(column.name))),
    fields: new Map(),
    rows: new Map(),
    isShared: false,
  };
}

function changeOf(table: string, uuid: Uuid, old: IdlRow | undefined, now: IdlRow | undefined): IdlChange | undefined {
  if (old && now && rowsEqual(old, now)) return undefined;
  return { table, uuid, ...(old && { old }), ...(now && { new: now }) };
}

function rowsEqual(a: IdlRow, b: IdlRow): boolean {
  return valueKey(a) === valueKey(b);
}

function valueKey(row: IdlRow): string {
  return JSON.stringify(row, (_name, value: unknown) => {
    if (value instanceof Map) return [...value];
    return typeof value === 'bigint' ? `${value}n` : value;
  });
}

function applyRow(name: string, table: ReplicaTable, uuid: Uuid, update: JsonObject, format: UpdateFormat) {
  const before = table.fields.get(uuid);
  const fields = format === 1 ? fieldsFromUpdate(table, update, before) : fieldsFromUpdate2(table, update, before);
  const changed = table.columns.filter((column) => !sameDatum(before?.get(column), fields?.get(column)));
  if (before && fields && changed.length === 0) return undefined;
  if (!before && !fields) return undefined;
  const old = table.rows.get(uuid);
  const now = fields && makeRow(uuid, fields, old, changed);
  store(table, uuid, fields, now);
  const change: IdlChange = { table: name, uuid, ...(old && { old }), ...(now && { new: now }) };
  const isQuiet = before !== undefined && fields !== undefined && changed.every((column) => table.quiet.has(column));
  return { change, isQuiet };
}

function sameDatum(a: Datum | undefined, b: Datum | undefined): boolean {
  return a !== undefined && b !== undefined && datumEquals(a, b);
}

function fieldsFromUpdate(table: ReplicaTable, update: JsonObject, before: Fields | undefined): Fields | undefined {
  return isObject(update.new) ? replaceFields(table, update.new, before) : undefined;
}

function fieldsFromUpdate2(table: ReplicaTable, update: JsonObject, before: Fields | undefined): Fields | undefined {
  const { initial, insert, modify } = update;
  if (isObject(initial)) return replaceFields(table, initial, undefined);
  if (isObject(insert)) return replaceFields(table, insert, undefined);
  if (!isObject(modify)) return undefined;
  const fields = new Map(before ?? defaults(table));
  for (const [name, json] of Object.entries(modify)) {
    const column = table.byName.get(name);
    if (column)
      fields.set(column, datumApplyDiff(fields.get(column)!, datumFromServer(json, column.type), column.type));
  }
  return fields;
}

function defaults(table: ReplicaTable): Map<Column, Datum> {
  return new Map(table.columns.map((column) => [column, defaultDatum(column.type)]));
}

function replaceFields(table: ReplicaTable, row: JsonObject, before: Fields | undefined): Fields {
  const fields = new Map(before ?? defaults(table));
  for (const [name, json] of Object.entries(row)) {
    const column = table.byName.get(name);
    if (column) fields.set(column, datumFromServer(json, column.type));
  }
  return fields;
}

function makeRow(uuid: Uuid, fields: Fields, old: IdlRow | undefined, changed: readonly Column[]): IdlRow {
  const row: Record<string, IdlRow[string]> = old ? { ...old } : { _uuid: uuid };
  for (const column of old ? changed : fields.keys()) row[column.name] = datumToValue(fields.get(column)!, column.type);
  return Object.freeze(row) as IdlRow;
}

function store(table: ReplicaTable, uuid: Uuid, fields: Fields | undefined, row: IdlRow | undefined): void {
  if (table.isShared) {
    table.rows = new Map(table.rows);
    table.isShared = false;
  }
  if (fields && row) {
    table.fields.set(uuid, fields);
    table.rows.set(uuid, row);
  } else {
    table.fields.delete(uuid);
    table.rows.delete(uuid);
  }
}
