import { vlogModule } from '../../base/vlog.ts';
import type { Row } from '../../ovsdb/database.ts';
import type { Datum } from '../../ovsdb/datum.ts';
import { isDefaultDatum } from '../../ovsdb/datum.ts';
import { rowName } from '../../ovsdb/idl-values.ts';
import type { Json } from '../../ovsdb/json.ts';
import { isArray, isObject, jsonEquals, toText } from '../../ovsdb/json.ts';
import { composeRecord } from '../../ovsdb/log.ts';
import type { Schema, TableSchema } from '../../ovsdb/schema.ts';
import { COL_VERSION, schemaToJson } from '../../ovsdb/schema.ts';
import type { Atom, BaseType, ColumnType } from '../../ovsdb/type.ts';
import { readDatabase } from '../ovsdb-tool/database-file.ts';
import { readSchema } from '../ovsdb-tool/schema-file.ts';
import { rowsOf } from './queries.ts';
import type { ClientCall, OpenedSession } from './session.ts';
import { ClientError, openSession } from './session.ts';

/** Saving, restoring and converting whole databases. */

/** Writes the database to stdout in the form of a database file. */
export async function backup({ session, database }: OpenedSession): Promise<void> {
  if (process.stdout.isTTY) {
    throw new ClientError('not writing backup to a terminal; please redirect stdout to a file');
  }
  const schema = await session.schema(database);
  const tables = [...schema.tables.values()];
  const operations = tables.map(({ name, columns }) => ({
    op: 'select',
    table: name,
    where: [],
    columns: columns.filter(({ persistent }) => persistent).map((column) => column.name),
  }));
  const results = await session.request('transact', [database, ...operations]);
  if (!isArray(results) || results.length !== tables.length) {
    throw new ClientError(`reply is not array of ${tables.length} elements: ${toText(results)}`);
  }
  const record: { [table: string]: Json } = {};
  for (const [i, { name }] of tables.entries()) {
    const rows = rowsOf(name, results[i]!).map((row) => savedRow(name, row));
    if (rows.length > 0) record[name] = Object.fromEntries(rows);
  }
  const notes = { _comment: 'produced by "ovsdb-client backup"', _is_diff: true, _date: Date.now() };
  process.stdout.write(composeRecord(schemaToJson(schema)));
  process.stdout.write(composeRecord({ ...record, ...notes }));
}

/** A row's uuid and its columns. */
function savedRow(table: string, json: Json): [string, Json] {
  if (!isObject(json)) throw new ClientError(`${table} table reply row is not an object: ${toText(json)}`);
  const { _uuid: uuid, ...columns } = json;
  if (!isArray(uuid) || typeof uuid[1] !== 'string') {
    throw new ClientError(`${table} table reply row lacks _uuid member: ${toText(json)}`);
  }
  return [uuid[1], columns];
}

/** Replaces the content of the database by that of a backup on stdin. */
export async function restore({ session, database }: OpenedSession): Promise<void> {
  if (process.stdin.isTTY) {
    throw new ClientError('not reading backup from a terminal; please redirect stdin from a file');
  }
  const { db, log } = readDatabase('/dev/stdin', { readOnly: true });
  log.close();
  checkSchemas(db.schema, await session.schema(database), session.settings.force);
  const operations: Json[] = [];
  for (const { schema, rows } of db.tables.values()) {
    operations.push({ op: 'delete', table: schema.name, where: [] });
    for (const row of rows.values()) {
      operations.push({
        op: 'insert',
        table: schema.name,
        'uuid-name': rowName(row.uuid),
        row: restoredRow(row, schema),
      });
    }
  }
  await session.transact([db.schema.name, ...operations]);
}

function checkSchemas(saved: Schema, online: Schema, force: boolean): void {
  if (jsonEquals(schemaToJson(saved), schemaToJson(online))) return;
  const difference =
    saved.version === online.version
      ? `backup schema and database schema are both version ${saved.version} but still differ`
      : `backup schema has version "${saved.version}" but database schema has version "${online.version}"`;
  if (!force) {
    throw new ClientError(
      `${difference} (use --force to override differences, or "ovsdb-client convert" to change the schema)`,
    );
  }
  vlogModule('ovsdb_client').info(difference);
}

function restoredRow(row: Row, { columns }: TableSchema): Json {
  const json: { [column: string]: Json } = {};
  for (const { name, index, type, persistent } of columns) {
    const field = row.fields[index]!;
    if (index > COL_VERSION && persistent && !isDefaultDatum(field, type)) json[name] = namedJson(field, type);
  }
  return json;
}

/** Rows that are referred to get new uuids: they are called by names. */
function namedAtom(atom: Atom, base: BaseType): Json {
  if (base.type !== 'uuid') return atom;
  return base.refTable === undefined ? ['uuid', atom] : ['named-uuid', rowName(atom as string)];
}

function namedJson({ keys, values }: Datum, type: ColumnType): Json {
  const keyJson = keys.map((key) => namedAtom(key, type.key));
  if (values) return ['map', keyJson.map((key, i) => [key, namedAtom(values[i]!, type.value!)])];
  return keyJson.length === 1 ? keyJson[0]! : ['set', keyJson];
}

export async function convert({ args, settings }: ClientCall): Promise<void> {
  const schema = readSchema(args.at(-1)!);
  const { session } = await openSession(args, settings, { minArgs: 1, needsDatabase: true, database: schema.name });
  await session.setDbChangeAware();
  await session.request('convert', [schema.name, schemaToJson(schema)]);
  session.close();
}

export async function needsConversion({ args, settings }: ClientCall): Promise<void> {
  const wanted = readSchema(args.at(-1)!);
  const { session } = await openSession(args, settings, { minArgs: 1, needsDatabase: true, database: wanted.name });
  const online = await session.schema(wanted.name);
  process.stdout.write(jsonEquals(schemaToJson(wanted), schemaToJson(online)) ? 'no\n' : 'yes\n');
  session.close();
}
