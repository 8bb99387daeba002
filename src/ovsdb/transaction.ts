import { randomUUID } from 'node:crypto';
import { ZERO_UUID } from './atom.ts';
import type { Database, Reference, Row, Table } from './database.ts';
import { indexKey, uuidDatum } from './database.ts';
import type { Datum } from './datum.ts';
import { compareDatums, countAtoms, datumEquals, datumToString, filterDatum } from './datum.ts';
import { constraintViolation, OvsdbError } from './error.ts';
import { getOrMake } from './get-or-make.ts';
import type { Column } from './schema.ts';
import { COL_VERSION, columnSetToString, joinEnglish } from './schema.ts';

/** What a transaction does to one row. `old` null: inserted; `now` null: deleted. While `now` is `old` itself the row is only here because
 *  its reference count changes. */
export interface TxnRow {
  readonly table: Table;
  readonly uuid: string;
  readonly old: Row | null;
  now: Row | null;
  /** Indexes of the columns that differ between `old` and `now`; known from `prepare` on. */
  readonly changed: Set<number>;
  nRefs: number;
}

/** Changes to a database that all happen or none. One at a time per database, and never across an await: the tables show its changes
 *  at once.
 *
 *  insert/modify/delete → prepare (checks everything; throws OvsdbError) → the caller makes it durable → complete. `abort` at any
 *  time before `complete` puts the tables back. */
export class Transaction {
  readonly db: Database;
  readonly comments: string[] = [];
  private readonly tables = new Map<Table, Map<string, TxnRow>>();
  /** In the order of their arrival; rows that are pulled in during a walk are walked too. */
  private list: TxnRow[] = [];

  constructor(db: Database) {
    this.db = db;
  }

  /** The rows that really change; valid after `prepare`. */
  *changes(): IterableIterator<TxnRow> {
    for (const row of this.list) if (row.old !== row.now) yield row;
  }

  get isEmpty(): boolean {
    return this.changes().next().done === true;
  }

  touchedUuids(table: Table): Iterable<string> {
    return this.tables.get(table)?.keys() ?? [];
  }

  mayInsert(table: Table, uuid: string): boolean {
    return !table.rows.has(uuid) && !this.find(table, uuid);
  }

  insert(table: Table, row: Row): void {
    this.add({ table, uuid: row.uuid, old: null, now: row, changed: new Set(), nRefs: 0 });
    table.rows.set(row.uuid, row);
  }

  /** A version of the row that this transaction may write to. */
  modify(table: Table, row: Row): Row {
    return this.writable(this.pull(table, row.uuid)!);
  }

  delete(table: Table, row: Row): void {
    const txnRow = this.pull(table, row.uuid)!;
    txnRow.now = null;
    table.rows.delete(row.uuid);
    if (!txnRow.old) this.forget(txnRow);
  }

  abort(): void {
    for (const { table, uuid, old, now } of this.list) {
      if (old === now) continue;
      if (old) table.rows.set(uuid, old);
      else table.rows.delete(uuid);
    }
    this.list = [];
    this.tables.clear();
  }

  /** Checks all of RFC 7047's rules, collects garbage, drops dead weak references, gives new versions. */
  prepare(): void {
    this.determineChanges();
    this.walk((row) => this.countStrongRefs(row));
    this.walk(checkNotReferenced);
    this.walk((row) => {
      if (row.now && row.nRefs === 0) this.collect(row);
    });
    for (const table of this.tables.keys()) checkMaxRows(table);
    this.walk((row) => this.markReferrers(row));
    this.walk(dropDeadWeakRefs);
    for (const [table, rows] of this.tables) checkIndexes(table, rows);
    for (const row of this.changes()) {
      if (row.old && row.now) row.now.fields[COL_VERSION] = uuidDatum(randomUUID());
    }
  }

  /** Brings indexes, reference counts and reverse references up to date. Cannot fail. */
  complete(): void {
    for (const row of this.list) {
      if (row.old !== row.now) {
        reindex(row);
        updateReferrers(row);
        this.db.nAtoms += countMembers(row.now) - countMembers(row.old);
      }
      if (row.now) row.now.nRefs = row.nRefs;
    }
    this.tables.clear();
  }

  private find(table: Table, uuid: string): TxnRow | undefined {
    return this.tables.get(table)?.get(uuid);
  }

  private add(row: TxnRow): TxnRow {
    getOrMake(this.tables, row.table, () => new Map()).set(row.uuid, row);
    this.list.push(row);
    return row;
  }

  private forget(row: TxnRow): void {
    this.tables.get(row.table)!.delete(row.uuid);
    this.list.splice(this.list.lastIndexOf(row), 1);
  }

  /** The transaction's row, made from the table's where there is none yet; undefined when the table has none either. */
  private pull(table: Table, uuid: string): TxnRow | undefined {
    const found = this.find(table, uuid);
    if (found) return found;
    const row = table.rows.get(uuid);
    return row && this.add({ table, uuid, old: row, now: row, changed: new Set(), nRefs: row.nRefs });
  }

  private writable(row: TxnRow): Row {
    if (row.now === row.old) {
      row.now = { uuid: row.uuid, fields: row.old!.fields.slice(), nRefs: 0 };
      row.table.rows.set(row.uuid, row.now);
    }
    return row.now!;
  }

  private walk(visit: (row: TxnRow) => void): void {
    for (let i = 0; i < this.list.length; i++) visit(this.list[i]!);
  }

  /** Fills `changed`; rows that are as they were go back to their old version. */
  private determineChanges(): void {
    for (const row of this.list) {
      const { columns } = row.table.schema;
      for (const { index } of columns) {
        if (!row.old || !row.now || !datumEquals(row.old.fields[index]!, row.now.fields[index]!))
          row.changed.add(index);
      }
      if (row.changed.size === 0 && row.old) {
        row.now = row.old;
        row.table.rows.set(row.uuid, row.old);
      }
    }
  }

  private countStrongRefs(row: TxnRow): void {
    if (row.changed.size === 0) return;
    for (const ref of row.table.strongRefs) {
      if (!row.changed.has(ref.column.index)) continue;
      countAtoms(row.old?.fields[ref.column.index], row.now?.fields[ref.column.index], ref.side, (uuid, delta) => {
        if (uuid !== row.uuid) this.adjustRefs(row, ref, uuid as string, delta);
      });
    }
  }

  private adjustRefs(source: TxnRow, ref: Reference, uuid: string, delta: number): void {
    const target = this.pull(ref.table, uuid);
    if (target) target.nRefs += delta;
    else if (delta > 0) {
      throw new OvsdbError(
        'referential integrity violation',
        `Table ${source.table.schema.name} column ${ref.column.name} row ${source.uuid} ` +
          `references nonexistent row ${uuid} in table ${ref.table.schema.name}.`,
      );
    }
  }

  /** Deletes a row that nobody refers to and that its table does not keep by itself, and then what it referred to. */
  private collect(row: TxnRow): void {
    if (row.table.schema.isRoot) return;
    const { fields } = row.now!;
    row.now = null;
    row.table.rows.delete(row.uuid);
    for (const { index } of row.table.schema.columns) row.changed.add(index);
    for (const ref of row.table.strongRefs) {
      for (const uuid of fields[ref.column.index]![ref.side] ?? []) {
        if (uuid === row.uuid) continue;
        const target = this.pull(ref.table, uuid as string)!;
        if (--target.nRefs === 0 && target.now) this.collect(target);
      }
    }
  }

  /** Pulls in the rows that refer weakly to a deleted row, as having changed in those columns. */
  private markReferrers(row: TxnRow): void {
    if (row.now) return;
    for (const { table, uuid } of row.table.referrers.get(row.uuid)?.values() ?? []) {
      const referrer = this.pull(table, uuid);
      if (!referrer?.now) continue;
      this.writable(referrer);
      for (const ref of table.weakRefs) if (ref.table === row.table) referrer.changed.add(ref.column.index);
    }
  }
}

function checkNotReferenced(row: TxnRow): void {
  if (row.now || row.nRefs === 0) return;
  throw new OvsdbError(
    'referential integrity violation',
    `cannot delete ${row.table.schema.name} row ${row.uuid} because of ${row.nRefs} remaining reference(s)`,
  );
}

function checkMaxRows({ schema, rows }: Table): void {
  if (rows.size <= schema.maxRows) return;
  throw constraintViolation(
    `transaction causes "${schema.name}" table to contain ${rows.size} rows, ` +
      `greater than the schema-defined limit of ${schema.maxRows} row(s)`,
  );
}

function dropDeadWeakRefs(row: TxnRow): void {
  if (!row.now || row.changed.size === 0) return;
  for (const ref of row.table.weakRefs) {
    if (row.changed.has(ref.column.index)) dropDeadWeakRef(row, row.now, ref);
  }
}

function dropDeadWeakRef(row: TxnRow, now: Row, ref: Reference): void {
  const { index, type } = ref.column;
  const datum = now.fields[index]!;
  const target = (_key: unknown, i: number) => datum[ref.side]![i] as string;
  const alive = filterDatum(datum, (key, i) => ref.table.rows.has(target(key, i)));
  if (alive === datum) {
    // Marked on suspicion: another of the row's columns had the dead reference.
    if (row.old && datumEquals(row.old.fields[index]!, datum)) row.changed.delete(index);
    return;
  }
  now.fields[index] = alive;
  if (alive.keys.length < type.min) throw emptiedByWeakRefs(row, ref, datum, datum.keys.length - alive.keys.length);
}

function emptiedByWeakRefs(row: TxnRow, ref: Reference, datum: Datum, nDropped: number): OvsdbError {
  const place = `column "${ref.column.name}" in "${row.table.schema.name}" row ${row.uuid}`;
  const inserted = row.old ? '' : '(inserted within this transaction) ';
  if (!row.old && datum[ref.side]!.includes(ZERO_UUID)) {
    return constraintViolation(
      `Weak reference ${place} ${inserted}contained all-zeros UUID (probably as the default value for this column) ` +
        'but deleting this value caused a constraint volation because this column is not allowed to be empty.',
    );
  }
  return constraintViolation(
    `Deletion of ${nDropped} weak reference(s) to deleted (or never-existing) rows from ${place} ${inserted}` +
      'caused this column to become empty, but constraints on this column disallow an empty column.',
  );
}

function checkIndexes(table: Table, rows: ReadonlyMap<string, TxnRow>): void {
  table.schema.indexes.forEach((columns, i) => {
    const seen = new Map<string, TxnRow>();
    for (const row of rows.values()) {
      if (!row.now || row.changed.size === 0) continue;
      const key = indexKey(row.now, columns);
      const twin = seen.get(key);
      if (twin) throw duplicateIndex(table, columns, twin, row);
      seen.set(key, row);
      const committed = table.indexes[i]!.get(key);
      if (!committed || committed.uuid === row.uuid) continue;
      const other = rows.get(committed.uuid) ?? untouched(table, committed);
      if (other.changed.size === 0) throw duplicateIndex(table, columns, other, row);
    }
  });
}

function untouched(table: Table, row: Row): TxnRow {
  return { table, uuid: row.uuid, old: row, now: row, changed: new Set(), nRefs: row.nRefs };
}

function duplicateIndex(table: Table, columns: readonly Column[], a: TxnRow, b: TxnRow): OvsdbError {
  const [first, second] = compareRows(table, a.now!, b.now!) < 0 ? [b, a] : [a, b];
  const values = indexValues(a.now!, columns);
  return constraintViolation(
    `Transaction causes multiple rows in "${table.schema.name}" table to have identical values (${values}) for index on ` +
      `${columnSetToString(columns)}.  First row, with UUID ${first.uuid}, ${history(first, columns)}  ` +
      `Second row, with UUID ${second.uuid}, ${history(second, columns)}`,
  );
}

/** Orders two rows by their columns in the order of the columns' names, the random _uuid and _version last, so that messages do not
 *  depend on chance. */
function compareRows(table: Table, a: Row, b: Row): number {
  const byName = (x: Column, y: Column) => (x.name < y.name ? -1 : 1);
  const { columns } = table.schema;
  for (const { index } of [...columns.slice(2).sort(byName), ...columns.slice(0, 2)]) {
    const order = compareDatums(a.fields[index]!, b.fields[index]!);
    if (order) return order;
  }
  return 0;
}

function indexValues(row: Row, columns: readonly Column[]): string {
  return joinEnglish(columns.map((column) => datumToString(row.fields[column.index]!, column.type)));
}

function history(row: TxnRow, columns: readonly Column[]): string {
  if (!row.old) return 'was inserted by this transaction.';
  if (row.changed.size === 0) {
    return 'existed in the database before this transaction and was not modified by the transaction.';
  }
  if (indexKey(row.old, columns) === indexKey(row.now!, columns)) {
    return (
      "existed in the database before this transaction, which modified some of the row's columns " +
      'but not any columns in this index.'
    );
  }
  return `had the following index values before the transaction: ${indexValues(row.old, columns)}.`;
}

function reindex({ table, old, now }: TxnRow): void {
  table.schema.indexes.forEach((columns, i) => {
    const index = table.indexes[i]!;
    const oldKey = old && indexKey(old, columns);
    // Another row of the same transaction may have taken the place over already.
    if (oldKey !== null && index.get(oldKey) === old) index.delete(oldKey);
    if (now) index.set(indexKey(now, columns), now);
  });
}

function updateReferrers({ table, uuid, old, now, changed }: TxnRow): void {
  for (const { column, side, table: target } of table.weakRefs) {
    if (!changed.has(column.index)) continue;
    countAtoms(old?.fields[column.index], now?.fields[column.index], side, (atom, delta) => {
      adjustReferrer(target, atom as string, table, uuid, delta);
    });
  }
}

function adjustReferrer(target: Table, targetUuid: string, table: Table, uuid: string, delta: number): void {
  const id = `${table.schema.name} ${uuid}`;
  const referrers = getOrMake(target.referrers, targetUuid, () => new Map());
  const referrer = referrers.get(id) ?? { table, uuid, count: 0 };
  referrer.count += delta;
  if (referrer.count > 0) referrers.set(id, referrer);
  else referrers.delete(id);
  if (referrers.size === 0) target.referrers.delete(targetUuid);
}

function countMembers(row: Row | null): number {
  if (!row) return 0;
  let n = 0;
  for (const { keys, values } of row.fields) n += keys.length + (values?.length ?? 0);
  return n;
}
