import { parseUuid } from './atom.ts';
import type { Row, Table } from './database.ts';
import { Database } from './database.ts';
import { datumApplyDiff, datumDiff, datumFromJson, datumToJson, isDefaultDatum } from './datum.ts';
import { OvsdbError, plainError, syntaxError } from './error.ts';
import type { Json, JsonObject } from './json.ts';
import { isInteger, isObject } from './json.ts';
import type { LogOptions } from './log.ts';
import { LogFile } from './log.ts';
import type { Schema } from './schema.ts';
import { COL_UUID, COL_VERSION, schemaFromJson, schemaToJson } from './schema.ts';
import type { TxnRow } from './transaction.ts';
import { Transaction } from './transaction.ts';

type JsonMembers = { [key: string]: Json };

/** What the file says of one row: null when it went, undefined when nothing lasting changed. */
function rowToFile({ table, old, now, changed }: TxnRow, useDiff: boolean): Json | undefined {
  if (!now) return null;
  const row: JsonMembers = {};
  for (const { index, name, type, persistent } of table.schema.columns) {
    if (index === COL_UUID || !persistent) continue;
    const field = now.fields[index]!;
    if (!old) {
      if (!isDefaultDatum(field, type)) row[name] = datumToJson(field, type);
    } else if (changed.has(index)) {
      row[name] = datumToJson(useDiff ? datumDiff(old.fields[index]!, field, type) : field, type);
    }
  }
  return old && Object.keys(row).length === 0 ? undefined : row;
}

/** The record of a prepared transaction (ovsdb(5), "Standalone Format"), or undefined when nothing in it has to last. `comment` and
 *  `_date` are for people. */
export function transactionToFile(txn: Transaction, useDiff = true): JsonObject | undefined {
  const record: { [table: string]: JsonMembers } = {};
  for (const change of txn.changes()) {
    const row = rowToFile(change, useDiff);
    if (row === undefined) continue;
    const name = change.table.schema.name;
    record[name] ??= {};
    record[name][change.uuid] = row;
  }
  if (Object.keys(record).length === 0) return undefined;
  return annotate(record, txn.comments.join('\n'), useDiff);
}

function annotate(record: JsonMembers, comment: string, useDiff: boolean): JsonObject {
  if (comment) record._comment = comment;
  if (useDiff) record._is_diff = true;
  record._date = Date.now();
  return record;
}

/** A single record that makes the whole content from nothing. `useDiff`: marked as one of differences, as all that a server writes. */
export function databaseToFile(db: Database, comment: string, useDiff = true): JsonObject {
  const record: JsonMembers = {};
  for (const table of db.tables.values()) {
    if (table.rows.size === 0) continue;
    const rows: JsonMembers = {};
    for (const row of table.rows.values()) rows[row.uuid] = rowToFile(asInsertion(table, row), true)!;
    record[table.schema.name] = rows;
  }
  return annotate(record, comment, useDiff);
}

function asInsertion(table: Table, row: Row): TxnRow {
  return { table, uuid: row.uuid, old: null, now: row, changed: new Set(), nRefs: row.nRefs };
}

/** Applies a record to `db`. With `converting`, tables and columns that the schema lacks are passed over. Throws OvsdbError, and
 *  `db` is as before. `applied` hears what has changed. */
export function applyRecord(
  db: Database,
  record: JsonObject,
  converting = false,
  applied: (changes: Iterable<TxnRow>) => void = () => {},
): void {
  const txn = new Transaction(db);
  try {
    const isDiff = record._is_diff === true;
    for (const [name, rows] of Object.entries(record)) {
      const table = db.tables.get(name);
      if (table) applyTable(txn, table, rows, { isDiff, converting });
      else if (!converting && !isAnnotation(name, rows)) {
        throw syntaxError(record, `No table named ${name}.`, 'unknown table');
      }
    }
    txn.prepare();
    applied([...txn.changes()]);
    txn.complete();
  } catch (error) {
    txn.abort();
    throw error;
  }
}

function isAnnotation(name: string, value: Json): boolean {
  if (name === '_date') return isInteger(value);
  if (name === '_is_diff') return typeof value === 'boolean';
  return name === '_comment';
}

interface ApplyOptions {
  readonly isDiff: boolean;
  readonly converting: boolean;
}

function applyTable(txn: Transaction, table: Table, rows: Json, options: ApplyOptions): void {
  if (!isObject(rows)) throw syntaxError(rows, 'object expected');
  for (const [text, json] of Object.entries(rows)) {
    const uuid = parseUuid(text);
    if (uuid === undefined) throw syntaxError(rows, `"${text}" is not a valid UUID`);
    applyRow(txn, table, uuid, json, options);
  }
}

function applyRow(txn: Transaction, table: Table, uuid: string, json: Json, options: ApplyOptions): void {
  const row = table.rows.get(uuid);
  if (json === null) {
    if (!row) throw syntaxError(undefined, `transaction deletes row ${uuid} that does not exist`);
    txn.delete(table, row);
  } else if (row) {
    fillRow(table, txn.modify(table, row), json, options);
  } else {
    const inserted = table.newRow(uuid);
    fillRow(table, inserted, json, options);
    txn.insert(table, inserted);
  }
}

function fillRow(table: Table, row: Row, json: Json, { isDiff, converting }: ApplyOptions): void {
  if (!isObject(json)) throw syntaxError(json, 'row must be JSON object');
  for (const [name, value] of Object.entries(json)) {
    const column = table.schema.byName.get(name);
    if (!column) {
      if (converting) continue;
      throw syntaxError(json, `No column ${name} in table ${table.schema.name}.`, 'unknown column');
    }
    const { index, type } = column;
    const field = row.fields[index]!;
    if (isDiff && !isDefaultDatum(field, type)) {
      // A difference may have more members than the column allows.
      const diff = datumFromJson(value, type.max > 1 ? { ...type, min: 0, max: Infinity } : type);
      row.fields[index] = datumApplyDiff(field, diff, type);
    } else {
      row.fields[index] = datumFromJson(value, type);
    }
  }
}

/** A database and the file that holds it. */
export interface OpenFile {
  readonly db: Database;
  readonly log: LogFile;
}

/** Opens a database file. A damaged end is reported to `warn` and left out; the next transaction overwrites it.
 *  Throws OvsdbError for a file that is none. */
export function openDatabaseFile(path: string, warn: (text: string) => void, options: LogOptions = {}): OpenFile {
  const log = LogFile.open(path, options);
  try {
    let db: Database | undefined;
    for (const { json, offset } of log.records((error) => warn(error.toString()))) {
      if (!db) db = new Database(schemaFromJson(json));
      else if (!replay(db, json, warn)) {
        log.rewind(offset);
        break;
      }
    }
    if (!db) throw plainError(`${log.name}: database file contains no schema`);
    return { db, log };
  } catch (error) {
    log.close();
    throw error;
  }
}

function replay(db: Database, record: JsonObject, warn: (text: string) => void): boolean {
  try {
    applyRecord(db, record);
    return true;
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
    warn(error.toString());
    return false;
  }
}

/** Makes a new file that holds `schema` and no rows. Throws OvsdbError, also when there is one already. */
export function createDatabaseFile(path: string, schema: Schema): void {
  const log = LogFile.open(path, { create: true });
  try {
    log.append(schemaToJson(schema));
  } finally {
    log.close();
  }
}

/** The content of `db` under another schema: columns by their names, what the new schema lacks is left out. Throws OvsdbError when
 *  the data break the new schema. */
export function convertDatabase(db: Database, schema: Schema): Database {
  const converted = new Database(schema);
  const txn = new Transaction(converted);
  for (const [name, from] of db.tables) {
    const to = converted.tables.get(name);
    if (to) for (const row of from.rows.values()) txn.insert(to, convertRow(from, row, to));
  }
  txn.prepare();
  txn.complete();
  return converted;
}

function convertRow(from: Table, row: Row, to: Table): Row {
  const converted = to.newRow(row.uuid);
  for (const column of from.schema.columns) {
    const target = to.schema.byName.get(column.name);
    if (!target || column.index === COL_UUID || column.index === COL_VERSION) continue;
    converted.fields[target.index] = datumFromJson(datumToJson(row.fields[column.index]!, column.type), target.type);
  }
  return converted;
}
