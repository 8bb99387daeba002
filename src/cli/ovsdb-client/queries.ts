import type { Datum } from '../../ovsdb/datum.ts';
import { compareDatums, datumFromJson, datumToJson } from '../../ovsdb/datum.ts';
import type { Json, JsonObject } from '../../ovsdb/json.ts';
import { isArray, isObject, sortedText, toText } from '../../ovsdb/json.ts';
import type { Column, TableSchema } from '../../ovsdb/schema.ts';
import { schemaToJson } from '../../ovsdb/schema.ts';
import { unconstrained } from '../../ovsdb/type.ts';
import { typeToJson } from '../../ovsdb/type-json.ts';
import type { Cell, TextTable } from '../text-table.ts';
import type { ClientCall, ClientSettings, OpenedSession } from './session.ts';
import { ClientError, jsonText, openSession, parseText } from './session.ts';

/** What databases there are, what is in them, and transactions. */

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function printTable(table: TextTable, { tables }: ClientSettings): void {
  process.stdout.write(tables.format(table));
}

export async function listDbs({ session }: OpenedSession): Promise<void> {
  for (const name of await session.databases()) say(name);
}

export async function getSchema({ session, database }: OpenedSession): Promise<void> {
  say(jsonText(schemaToJson(await session.schema(database)), session.settings));
}

export async function getSchemaVersion({ session, database }: OpenedSession): Promise<void> {
  say((await session.schema(database)).version);
}

export async function getSchemaCksum({ session, database }: OpenedSession): Promise<void> {
  say((await session.schema(database)).cksum);
}

export async function listTables({ session, database }: OpenedSession): Promise<void> {
  const { tables } = await session.schema(database);
  printTable({ headings: ['Table'], rows: [...tables.keys()].map((name) => [name]) }, session.settings);
}

export async function listColumns({ session, database, args: [wanted] }: OpenedSession): Promise<void> {
  const schema = await session.schema(database);
  const rows: Cell[][] = [];
  for (const { name, columns } of schema.tables.values()) {
    if (wanted !== undefined && name !== wanted) continue;
    for (const column of columns) {
      const cells: Cell[] = [column.name, { json: typeToJson(column.type) }];
      rows.push(wanted === undefined ? [name, ...cells] : cells);
    }
  }
  const headings = wanted === undefined ? ['Table', 'Column', 'Type'] : ['Column', 'Type'];
  printTable({ headings, rows }, session.settings);
}

/** The reply's result. Throws ClientError. */
async function runTransaction({ args, settings }: ClientCall, transaction: Json): Promise<Json> {
  const database = isArray(transaction) ? transaction[0] : undefined;
  if (typeof database !== 'string') throw new ClientError('not a valid OVSDB query');
  const { daemon } = settings;
  await daemon.detach();
  daemon.start();
  const { session } = await openSession(args, settings, { minArgs: 1, needsDatabase: true, database });
  if (settings.dbChangeAware) await session.setDbChangeAware();
  daemon.complete(true);
  const result = await session.request('transact', transaction);
  session.close();
  return result;
}

export async function transact(call: ClientCall): Promise<void> {
  say(jsonText(await runTransaction(call, parseText(call.args.at(-1)!)), call.settings));
}

/** A transaction that is undone at its end. */
export async function query(call: ClientCall): Promise<void> {
  const transaction = parseText(call.args.at(-1)!);
  if (!isArray(transaction)) throw new ClientError('not a valid OVSDB query');
  const result = await runTransaction(call, [...transaction, { op: 'abort' }]);
  const last = isArray(result) && result.length === transaction.length ? result.at(-1) : undefined;
  const isAborted = isObject(last) && last.error === 'aborted';
  say(jsonText(isAborted ? (result as readonly Json[]).slice(0, -1) : result, call.settings));
}

/** `dump [TABLE [COLUMN]...]`. */
export async function dump({ session, database, args }: OpenedSession): Promise<void> {
  const schema = await session.schema(database);
  const [wanted, ...words] = args;
  const tables = wanted === undefined ? [...schema.tables.values()].sort(byName) : [schema.tables.get(wanted)];
  const chosen = tables.map((table) => {
    if (!table) throw new ClientError(`No table "${wanted}" found.`);
    return { table, columns: dumpedColumns(table, words) };
  });
  const operations = chosen.map(({ table, columns }) => ({
    op: 'select',
    table: table.name,
    where: [],
    columns: columns.map(({ name }) => name),
  }));
  const results = await session.request('transact', [database, ...operations]);
  if (!isArray(results) || results.length !== chosen.length) {
    throw new ClientError(`reply is not array of ${chosen.length} elements: ${toText(results)}`);
  }
  for (const [i, { table, columns }] of chosen.entries()) {
    printTable(dumpTable(table.name, columns, rowsOf(table.name, results[i]!)), session.settings);
  }
}

const byName = (a: { readonly name: string }, b: { readonly name: string }) => (a.name < b.name ? -1 : 1);

function dumpedColumns(table: TableSchema, words: readonly string[]): Column[] {
  const columns = words.map((word) => {
    const column = table.byName.get(word);
    if (!column) throw new ClientError(`Table "${table.name}" has no column ${word}.`);
    return column;
  });
  return (words.length > 0 ? columns : [...table.columns]).filter(({ name }) => name !== '_version').sort(byName);
}

export function rowsOf(table: string, result: Json): readonly Json[] {
  if (isObject(result) && isArray(result.rows)) return result.rows;
  throw new ClientError(`${table} table reply is not an object with a "rows" member array: ${toText(result)}`);
}

/** Rows are in the order of their values, for the sake of comparisons; uuids, which tend to be random, count last. */
function dumpTable(name: string, columns: readonly Column[], rows: readonly Json[]): TextTable {
  const data = rows.map((row, y) => {
    if (!isObject(row)) {
      throw new ClientError(`row ${y} in table ${name} response is not a JSON object: ${sortedText(row)}`);
    }
    return columns.map((column) => fieldOf(name, row, y, column));
  });
  const isUuid = (column: Column) => column.type.key.type === 'uuid';
  const indexes = columns.map((_, x) => x);
  const order = [...indexes.filter((x) => !isUuid(columns[x]!)), ...indexes.filter((x) => isUuid(columns[x]!))];
  data.sort((a, b) => {
    for (const x of order) {
      const difference = compareDatums(a[x]!, b[x]!);
      if (difference) return difference;
    }
    return 0;
  });
  return {
    caption: `${name} table`,
    headings: columns.map((column) => column.name),
    rows: data.map((row) =>
      row.map((datum, x) => ({ json: datumToJson(datum, columns[x]!.type), type: columns[x]!.type })),
    ),
  };
}

function fieldOf(table: string, row: JsonObject, y: number, column: Column): Datum {
  const json = row[column.name];
  if (json === undefined) throw new ClientError(`row ${y} in table ${table} response lacks ${column.name} column`);
  return datumFromJson(json, unconstrained(column.type));
}
