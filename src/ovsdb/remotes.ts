import type { Row, Table } from './database.ts';
import type { Column } from './schema.ts';
import type { ServedDb } from './served-db.ts';
import type { OvsdbServer } from './server.ts';
import type { Atom } from './type.ts';

/** How to treat a remote (Manager table of ovs-vswitchd.conf.db(5)). Undefined: the default. */
export interface RemoteOptions {
  readonly maxBackoffMs?: number | undefined;
  readonly probeIntervalMs?: number | undefined;
  readonly readOnly?: boolean | undefined;
}

/** A column that a `db:DB,TABLE,COLUMN` names. */
export interface DbColumn {
  readonly served: ServedDb;
  readonly table: Table;
  readonly column: Column;
}

/** Finds what `db:DB,TABLE,COLUMN` names; a string says what is wrong with it. */
export function parseDbColumn(server: OvsdbServer, name: string): DbColumn | string {
  const [db, tableName, columnName] = name.replace(/^db:/, '').split(',');
  if (!db || !tableName || !columnName) return `"${name}": invalid syntax`;
  const served = server.dbs.get(db);
  if (!served) return `"${name}": no database named ${db}`;
  const table = served.db.tables.get(tableName);
  if (!table) return `"${name}": no table named ${tableName}`;
  const column = table.schema.byName.get(columnName);
  if (!column) return `"${name}": table "${tableName}" has no column "${columnName}"`;
  return { served, table, column };
}

/** The value of a string option: itself, or the first non-empty string of the column that it names. `problem` is told what is wrong. */
export function resolveString(
  server: OvsdbServer,
  option: string | undefined,
  problem: (text: string) => void,
): string | undefined {
  if (option === undefined || !option.startsWith('db:')) return option;
  const found = parseDbColumn(server, option);
  if (typeof found === 'string') {
    problem(found);
    return undefined;
  }
  const { table, column } = found;
  if (column.type.key.type !== 'string' || column.type.value) {
    problem(`"${option}": table "${table.schema.name}" column "${column.name}" is not string or set of strings`);
    return undefined;
  }
  for (const row of table.rows.values()) {
    const value = row.fields[column.index]!.keys.find((key) => key !== '');
    if (value !== undefined) return value as string;
  }
  return undefined;
}

function scalar(table: Table, row: Row, name: string): Atom | undefined {
  const column = table.schema.byName.get(name);
  return column && row.fields[column.index]!.keys[0];
}

/** The rows of a table such as Manager that `column` refers to. */
export function referredRows({ served, table, column }: DbColumn): { table: Table; rows: Row[] } | undefined {
  const { key, value } = column.type;
  const target = key.refTable === undefined || value ? undefined : served.db.tables.get(key.refTable);
  if (!target) return undefined;
  const uuids = [...table.rows.values()].flatMap((row) => row.fields[column.index]!.keys as string[]);
  const rows = uuids.map((uuid) => target.rows.get(uuid)).filter((row) => row !== undefined);
  return { table: target, rows };
}

/** Turns configured remotes, among them `db:…`, into connection methods with their options. */
export function resolveRemotes(
  server: OvsdbServer,
  remotes: Iterable<string>,
  problem: (text: string) => void,
): Map<string, RemoteOptions> {
  const resolved = new Map<string, RemoteOptions>();
  for (const remote of remotes) {
    if (!remote.startsWith('db:')) {
      resolved.set(remote, resolved.get(remote) ?? {});
      continue;
    }
    const found = parseDbColumn(server, remote);
    if (typeof found === 'string') problem(found);
    else addFromColumn(found, resolved);
  }
  return resolved;
}

function addFromColumn(found: DbColumn, resolved: Map<string, RemoteOptions>): void {
  const { table, column } = found;
  if (column.type.key.type === 'string' && !column.type.value) {
    for (const row of table.rows.values()) {
      for (const target of row.fields[column.index]!.keys) resolved.set(target as string, {});
    }
    return;
  }
  const referred = referredRows(found);
  for (const row of referred?.rows ?? []) {
    const target = scalar(referred!.table, row, 'target');
    if (typeof target === 'string' && target) resolved.set(target, optionsOf(referred!.table, row));
  }
}

function optionsOf(table: Table, row: Row): RemoteOptions {
  return {
    maxBackoffMs: scalar(table, row, 'max_backoff') as number | undefined,
    probeIntervalMs: scalar(table, row, 'inactivity_probe') as number | undefined,
    readOnly: scalar(table, row, 'read_only') as boolean | undefined,
  };
}
