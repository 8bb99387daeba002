import { randomUUID } from 'node:crypto';
import { compareAtoms } from '../../ovsdb/atom.ts';
import type { Datum } from '../../ovsdb/datum.ts';
import {
  datumApplyDiff,
  datumEquals,
  datumFromJson,
  datumGet,
  defaultDatum,
  isDefaultDatum,
} from '../../ovsdb/datum.ts';
import { rowName } from '../../ovsdb/idl-values.ts';
import type { Json, JsonObject } from '../../ovsdb/json.ts';
import { isArray, isObject } from '../../ovsdb/json.ts';
import type { Column, Schema, TableSchema } from '../../ovsdb/schema.ts';
import type { Atom, BaseType, ColumnType } from '../../ovsdb/type.ts';
import { isMap, unconstrained } from '../../ovsdb/type.ts';

/** What ovs-vsctl sees of the database: the wanted columns of the wanted tables, and on top of them the changes of the transaction that
 *  is being put together, which its own commands can already read. */

export class Row {
  readonly table: Table;
  readonly uuid: string;
  /** In the database; null for a row that the transaction makes. By column name; without those that the server lacks. */
  old: ReadonlyMap<string, Datum> | null;
  /** The transaction deletes it. */
  isDeleted = false;
  /** The server is to take the very uuid of the row. */
  keepsUuid = false;
  readonly written = new Map<Column, Datum>();
  /** Columns that must still hold what they held when the transaction was thought out. */
  readonly verified = new Set<Column>();
  /** Members to be added to columns, each a datum of one member. */
  readonly added = new Map<Column, Datum[]>();

  constructor(table: Table, uuid: string, old: ReadonlyMap<string, Datum> | null) {
    this.table = table;
    this.uuid = uuid;
    this.old = old;
  }

  column(name: string): Column {
    return this.table.schema.byName.get(name)!;
  }

  read(column: Column | string): Datum {
    const wanted = typeof column === 'string' ? this.column(column) : column;
    return this.written.get(wanted) ?? this.old?.get(wanted.name) ?? this.table.defaults.get(wanted)!;
  }

  /** The only atom of a column, or undefined. */
  scalar(column: string): Atom | undefined {
    return this.read(column).keys[0];
  }

  string(column: string): string {
    return (this.scalar(column) ?? '') as string;
  }

  /** Rows that the keys of a column refer to and that are there. */
  refs(column: string): Row[] {
    const target = this.table.db.table(this.column(column).type.key.refTable!);
    return this.read(column).keys.flatMap((uuid) => target.get(uuid as string) ?? []);
  }

  /** The value of `key` in a map. */
  member(column: string, key: Atom): Atom | undefined {
    return datumGet(this.read(column), key);
  }

  write(column: Column | string, datum: Datum): void {
    this.table.db.touch(this);
    this.written.set(typeof column === 'string' ? this.column(column) : column, datum);
  }

  /** Sets a column to the atoms (none: empties it). */
  set(column: string, ...keys: readonly Atom[]): void {
    this.write(column, {
      keys: [...new Set(keys)].sort(compareAtoms),
      values: this.column(column).type.value ? [] : null,
    });
  }

  setRefs(column: string, rows: readonly Row[]): void {
    this.set(column, ...rows.map((row) => row.uuid));
  }

  /** Adds one member when the transaction is carried out; `read` does not see it. */
  add(column: Column, member: Datum): void {
    this.table.db.touch(this);
    this.added.set(column, [...(this.added.get(column) ?? []), member]);
  }

  verify(column: Column | string): void {
    const wanted = typeof column === 'string' ? this.column(column) : column;
    if (!this.old || this.written.has(wanted) || !this.table.columns.has(wanted)) return;
    this.table.db.touch(this);
    this.verified.add(wanted);
  }

  delete(): void {
    this.isDeleted = true;
    if (this.old) this.table.db.touch(this);
    else this.table.forget(this);
  }

  /** Drops what the transaction did to it. */
  reset(): void {
    this.isDeleted = false;
    this.written.clear();
    this.verified.clear();
    this.added.clear();
    if (!this.old) this.table.forget(this);
  }
}

export class Table {
  readonly db: Model;
  readonly schema: TableSchema;
  readonly defaults: ReadonlyMap<Column, Datum>;
  /** The columns that are fetched. */
  readonly columns = new Set<Column>();
  isFetched = false;
  readonly #rows = new Map<string, Row>();

  constructor(db: Model, schema: TableSchema) {
    this.db = db;
    this.schema = schema;
    this.defaults = new Map(schema.columns.map((column) => [column, defaultDatum(column.type)]));
  }

  get name(): string {
    return this.schema.name;
  }

  /** A row that the transaction has not deleted. */
  get(uuid: string): Row | undefined {
    const row = this.#rows.get(uuid);
    return row?.isDeleted ? undefined : row;
  }

  rows(): Row[] {
    return [...this.#rows.values()].filter((row) => !row.isDeleted);
  }

  /** Whether it has rows apart from those that the transaction makes. */
  hadRows(): boolean {
    return [...this.#rows.values()].some((row) => row.old !== null);
  }

  insert(uuid: string = randomUUID()): Row {
    const row = new Row(this, uuid, null);
    this.#rows.set(uuid, row);
    this.db.touch(row);
    return row;
  }

  forget(row: Row): void {
    this.#rows.delete(row.uuid);
    this.db.touched.delete(row);
  }

  clear(): void {
    this.#rows.clear();
  }

  /** Takes on a <row-update2> or a <row-update> of the server. */
  update(uuid: string, json: JsonObject): void {
    const old = this.#rows.get(uuid)?.old ?? null;
    const fields = this.#newFields(old, json);
    if (!fields) this.#rows.delete(uuid);
    else if (old) this.#rows.get(uuid)!.old = fields;
    else this.#rows.set(uuid, new Row(this, uuid, fields));
  }

  #newFields(old: ReadonlyMap<string, Datum> | null, json: JsonObject): ReadonlyMap<string, Datum> | undefined {
    const whole = json.initial ?? json.insert ?? json.new;
    if (isObject(whole)) return this.#fields(new Map(json.new ? old : null), whole);
    if (!isObject(json.modify)) return undefined;
    const fields = new Map(old);
    for (const [name, value] of Object.entries(json.modify)) {
      const column = this.schema.byName.get(name);
      if (!column) continue;
      const before = fields.get(name) ?? this.defaults.get(column)!;
      fields.set(name, datumApplyDiff(before, fromServer(value, column.type), column.type));
    }
    return fields;
  }

  #fields(fields: Map<string, Datum>, json: JsonObject): Map<string, Datum> {
    for (const [name, value] of Object.entries(json)) {
      const column = this.schema.byName.get(name);
      if (column) fields.set(name, fromServer(value, column.type));
    }
    return fields;
  }
}

/** The server is trusted to obey its own constraints. */
function fromServer(json: Json, type: ColumnType): Datum {
  return datumFromJson(json, unconstrained(type));
}

export class Model {
  readonly schema: Schema;
  /** In the order of their names. */
  readonly tables: readonly Table[];
  /** Rows with changes or conditions of the transaction, in the order in which it came to them. */
  readonly touched = new Set<Row>();
  readonly #byName: ReadonlyMap<string, Table>;

  constructor(schema: Schema) {
    this.schema = schema;
    this.tables = [...schema.tables.values()]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((table) => new Table(this, table));
    this.#byName = new Map(this.tables.map((table) => [table.name, table]));
  }

  table(name: string): Table {
    return this.#byName.get(name)!;
  }

  touch(row: Row): void {
    this.touched.add(row);
  }

  /** Has the column fetched, and the tables that it refers to. */
  fetch(table: string, ...columns: readonly string[]): void {
    const wanted = this.table(table);
    wanted.isFetched = true;
    for (const name of columns) {
      const column = wanted.schema.byName.get(name)!;
      wanted.columns.add(column);
      for (const base of [column.type.key, column.type.value]) {
        if (base?.refTable !== undefined) this.table(base.refTable).isFetched = true;
      }
    }
  }

  /** The rows of the server, anew or changed. */
  update(updates: Json): void {
    if (!isObject(updates)) return;
    for (const [name, rows] of Object.entries(updates)) {
      const table = this.#byName.get(name);
      if (!table || !isObject(rows)) continue;
      for (const [uuid, row] of Object.entries(rows)) if (isObject(row)) table.update(uuid, row);
    }
  }

  clear(): void {
    for (const table of this.tables) table.clear();
    this.touched.clear();
  }

  /** Drops the transaction. */
  rollBack(): void {
    for (const row of [...this.touched]) row.reset();
    this.touched.clear();
  }
}

/** A transaction as it is sent. */
export interface Composed {
  readonly operations: Json[];
  /** The operation that inserts a row, by its provisional uuid. */
  readonly inserted: ReadonlyMap<string, number>;
  /** Whether it would change anything. */
  readonly hasUpdates: boolean;
}

/** The operations of the transaction on `model`, in RFC 7047's words. */
export function composeTransaction(model: Model): Composed {
  const isNew = (uuid: Atom) => newUuids.has(uuid as string);
  const newUuids = new Set([...model.touched].filter((row) => !row.old && !row.keepsUuid).map((row) => row.uuid));
  const operations: Json[] = [];
  const inserted = new Map<string, number>();
  let hasUpdates = false;
  for (const row of model.touched) if (row.old && row.verified.size > 0) operations.push(waitForRow(row));
  for (const table of model.tables) if (fillsSingleton(table)) operations.push(waitForEmpty(table));
  for (const row of model.touched) {
    const table = row.table.name;
    const where = [['_uuid', '==', atomJson(row.uuid, { type: 'uuid' }, isNew)]];
    if (row.isDeleted) {
      // Whether another one goes is for the server's garbage collection to decide.
      if (row.table.schema.isRoot) {
        operations.push({ op: 'delete', table, where });
        hasUpdates = true;
      }
      continue;
    }
    const values = writtenJson(row, isNew);
    if (!row.old) {
      const name: JsonObject = row.keepsUuid ? { uuid: row.uuid } : { 'uuid-name': rowName(row.uuid) };
      inserted.set(row.uuid, operations.length);
      operations.push({ op: 'insert', table, ...name, row: values });
      hasUpdates = true;
    } else if (Object.keys(values).length > 0) {
      operations.push({ op: 'update', table, where, row: values });
      hasUpdates ||= [...row.written].some(([column, datum]) => !datumEquals(datum, originalOf(row, column)));
    }
    const mutations = mutationsJson(row, isNew);
    if (mutations.length > 0) {
      operations.push({ op: 'mutate', table, where, mutations });
      hasUpdates = true;
    }
  }
  return { operations, inserted, hasUpdates };
}

function originalOf(row: Row, column: Column): Datum {
  return row.old?.get(column.name) ?? row.table.defaults.get(column)!;
}

function waitForRow(row: Row): Json {
  const columns = [...row.verified];
  const values = columns.map((column): [string, Json] => [column.name, toJson(originalOf(row, column), column.type)]);
  return {
    op: 'wait',
    table: row.table.name,
    timeout: 0,
    where: [['_uuid', '==', ['uuid', row.uuid]]],
    until: '==',
    columns: columns.map((column) => column.name),
    rows: [Object.fromEntries(values)],
  };
}

/** Somebody else may be about to make the only row of a table that may have one: then nothing must happen. */
function fillsSingleton(table: Table): boolean {
  return table.schema.maxRows === 1 && !table.hadRows() && table.rows().length === 1;
}

function waitForEmpty(table: Table): Json {
  return { op: 'wait', table: table.name, timeout: 0, where: [], until: '==', rows: [] };
}

function writtenJson(row: Row, isNew: (uuid: Atom) => boolean): { [column: string]: Json } {
  const values: { [column: string]: Json } = {};
  for (const [column, datum] of row.written) {
    if (row.old || !isDefaultDatum(datum, column.type)) values[column.name] = toJson(datum, column.type, isNew);
  }
  return values;
}

function mutationsJson(row: Row, isNew: (uuid: Atom) => boolean): Json[] {
  const mutations: Json[] = [];
  for (const [column, members] of row.added) {
    const { key, value } = column.type;
    const before = row.read(column);
    if (!isMap(column.type)) {
      mutations.push([column.name, 'insert', ['set', members.map(({ keys }) => atomJson(keys[0]!, key, isNew))]]);
      continue;
    }
    // Inserting does not replace: a key that has another value goes first.
    const inserted = members.filter(({ keys, values }) => datumGet(before, keys[0]!) !== values![0]);
    const replaced = inserted.filter(({ keys }) => datumGet(before, keys[0]!) !== undefined);
    const keyJson = ({ keys }: Datum) => atomJson(keys[0]!, key, isNew);
    if (replaced.length > 0) mutations.push([column.name, 'delete', ['set', replaced.map(keyJson)]]);
    const pairs = inserted.map((pair) => [keyJson(pair), atomJson(pair.values![0]!, value!, isNew)]);
    if (pairs.length > 0) mutations.push([column.name, 'insert', ['map', pairs]]);
  }
  return mutations;
}

function atomJson(atom: Atom, base: BaseType, isNew: (uuid: Atom) => boolean): Json {
  if (base.type !== 'uuid') return atom;
  return isNew(atom) ? ['named-uuid', rowName(atom as string)] : ['uuid', atom];
}

function toJson({ keys, values }: Datum, type: ColumnType, isNew: (uuid: Atom) => boolean = () => false): Json {
  const keyJson = keys.map((key) => atomJson(key, type.key, isNew));
  if (values) return ['map', keyJson.map((key, i) => [key, atomJson(values[i]!, type.value!, isNew)])];
  return keyJson.length === 1 ? keyJson[0]! : ['set', keyJson];
}

/** How a reply to "transact" is to be understood. */
export type Outcome =
  | { readonly kind: 'success'; readonly results: readonly JsonObject[] }
  | { readonly kind: 'try again' }
  /** `json` is what the server said. */
  | { readonly kind: 'error'; readonly json: Json };

/** "aborted" is what a dry run asks for. */
export function interpretReply(results: Json): Outcome {
  if (!isArray(results)) return { kind: 'error', json: results };
  let isIncomplete = false;
  let refusal: Json | undefined;
  for (const result of results) {
    if (result === null) isIncomplete = true;
    else if (!isObject(result)) refusal = result;
    else if (typeof result.error === 'string') {
      if (result.error === 'timed out' || result.error === 'unknown database') isIncomplete = true;
      else if (result.error !== 'aborted') refusal = result;
    }
  }
  if (refusal !== undefined) return { kind: 'error', json: refusal };
  return isIncomplete ? { kind: 'try again' } : { kind: 'success', results: results as readonly JsonObject[] };
}
