import { atomToString, parseUuid } from '../../ovsdb/atom.ts';
import type { Datum } from '../../ovsdb/datum.ts';
import { datumSubtract, datumToJson, datumToString, datumUnion, emptyDatum } from '../../ovsdb/datum.ts';
import type { Column } from '../../ovsdb/schema.ts';
import { atomFromString, datumFromString, TextError } from '../../ovsdb/text-format.ts';
import type { ColumnType } from '../../ovsdb/type.ts';
import { isMap } from '../../ovsdb/type.ts';
import type { Cell, TextTable } from '../text-table.ts';
import type { CtlCommand, CtlContext } from './command.ts';
import { UNLIMITED_ARGS } from './command.ts';
import { conditionHolds } from './conditions.ts';
import { CtlError } from './errors.ts';
import type { Row, Table } from './model.ts';
import {
  columnsOf,
  fetchColumn,
  fetchColumnOf,
  fetchTable,
  findColumn,
  findRow,
  findTable,
  memberOf,
  mustFindRow,
  parseColumnArgument,
} from './record.ts';

/** The commands that work on any table (ovs-vsctl(8), "Database Command Syntax"). */

type Prepare = NonNullable<CtlCommand['prepare']>;
const UUID_TYPE: ColumnType = { key: { type: 'uuid' }, value: null, min: 1, max: 1 };

const isUuidColumn = (word: string) => /^[_-]uuid$/i.test(word);

/** The record, or undefined when `--if-exists` allows that there is none. */
function rowOf(ctx: CtlContext, table: Table, word: string): Row | undefined {
  return ctx.options.has('--if-exists') ? findRow(ctx, table, word) : mustFindRow(ctx, table, word);
}

function checkMutable(row: Row, column: Column): void {
  if (column.mutable || !row.old) return;
  throw new CtlError(`cannot modify read-only column ${column.name} in table ${row.table.name}`);
}

const prepareArguments: Prepare = ({ argv, db }) => {
  const table = fetchTable(db, argv[1]!);
  for (const argument of argv.slice(3)) fetchColumnOf(table, argument);
};

const prepareGet: Prepare = ({ argv, options, db, warn }) => {
  if (!options.has('--id') && argv.length <= 3 && process.stdout.isTTY) {
    warn('"get" command without row arguments or "--id" is possibly erroneous');
  }
  const table = fetchTable(db, argv[1]!);
  for (const argument of argv.slice(3)) if (!isUuidColumn(argument)) fetchColumnOf(table, argument);
};

function get(ctx: CtlContext): string {
  const id = ctx.options.get('--id');
  if (id !== undefined && ctx.options.has('--if-exists')) {
    throw new CtlError('--if-exists and --id may not be specified together');
  }
  const table = findTable(ctx.db, ctx.argv[1]!);
  const row = rowOf(ctx, table, ctx.argv[2]!);
  if (!row) return '';
  if (id !== undefined) ctx.symbols.define(id, row.uuid);
  return ctx.argv
    .slice(3)
    .map((argument) => (isUuidColumn(argument) ? `${row.uuid}\n` : getColumn(ctx, row, argument)))
    .join('');
}

function getColumn(ctx: CtlContext, row: Row, argument: string): string {
  const { column, key } = parseColumnArgument(row.table, argument);
  row.verify(column);
  if (key === undefined) return `${datumToString(row.read(column), column.type)}\n`;
  if (!column.type.value) throw new CtlError(`cannot specify key to get for non-map column ${column.name}`);
  const value = memberOf(row, column, atomFromString(key, column.type.key, ctx.symbols));
  if (value !== undefined) return `${atomToString(value, column.type.value.type)}\n`;
  if (ctx.options.has('--if-exists')) return '\n';
  throw new CtlError(`no key "${key}" in ${row.table.name} record "${ctx.argv[2]}" column ${column.name}`);
}

/** What `--columns` asks for; undefined stands for the uuid. */
function listedColumns(table: Table, words: string | undefined): (Column | undefined)[] {
  if (words === undefined) return [undefined, ...columnsOf(table)];
  const given = words.split(/[, ]+/).filter((word) => word !== '');
  if (given.length === 0) throw new CtlError('must specify at least one column name');
  return given.map((word) => (word.toLowerCase() === '_uuid' ? undefined : findColumn(table, word)));
}

const prepareList: Prepare = ({ argv, options, db }) => {
  const table = fetchTable(db, argv[1]!);
  for (const column of listedColumns(table, options.get('--columns'))) if (column) db.fetch(table.name, column.name);
};

function tableOf(rows: readonly Row[], columns: readonly (Column | undefined)[]): TextTable {
  return {
    headings: columns.map((column) => column?.name ?? '_uuid'),
    rows: rows.map((row) => columns.map((column) => cellOf(row, column))),
  };
}

function cellOf(row: Row, column: Column | undefined): Cell {
  if (!column) return { json: ['uuid', row.uuid], type: UUID_TYPE };
  return { json: datumToJson(row.read(column), column.type), type: column.type };
}

function list(ctx: CtlContext): TextTable {
  const table = findTable(ctx.db, ctx.argv[1]!);
  const columns = listedColumns(table, ctx.options.get('--columns'));
  if (ctx.argv.length <= 2) return tableOf(table.rows(), columns);
  const rows = ctx.argv.slice(2).map((word) => rowOf(ctx, table, word));
  return tableOf(
    rows.filter((row) => row !== undefined),
    columns,
  );
}

const prepareFind: Prepare = (ctx) => {
  prepareList(ctx);
  const table = findTable(ctx.db, ctx.argv[1]!);
  for (const argument of ctx.argv.slice(2)) fetchColumnOf(table, argument);
};

function find(ctx: CtlContext): TextTable {
  const table = findTable(ctx.db, ctx.argv[1]!);
  const columns = listedColumns(table, ctx.options.get('--columns'));
  const wanted = (row: Row) => ctx.argv.slice(2).every((argument) => conditionHolds(ctx, row, argument));
  return tableOf(table.rows().filter(wanted), columns);
}

/** Carries out COLUMN[:KEY]=VALUE. `isLast`: one member of a map may be set without naming the others. */
export function setColumn(ctx: Pick<CtlContext, 'symbols'>, row: Row, argument: string, isLast: boolean): void {
  const { column, key, value } = parseColumnArgument(row.table, argument, ['=']);
  checkMutable(row, column);
  const { type } = column;
  if (key === undefined) {
    row.write(column, datumFromString(value, type, ctx.symbols));
    return;
  }
  if (!type.value) throw new CtlError(`cannot specify key to set for non-map column ${column.name}`);
  const keyAtom = atomFromString(key, type.key, ctx.symbols);
  const member: Datum = { keys: [keyAtom], values: [atomFromString(value, type.value, ctx.symbols)] };
  if (isLast) {
    row.add(column, member);
    return;
  }
  const before = row.read(column);
  row.verify(column);
  row.write(column, datumUnion(member, before));
}

function set(ctx: CtlContext): undefined {
  const row = rowOf(ctx, findTable(ctx.db, ctx.argv[1]!), ctx.argv[2]!);
  if (!row) return;
  for (const argument of ctx.argv.slice(3)) setColumn(ctx, row, argument, ctx.isLast);
  ctx.cache.invalidate();
}

const prepareMembers: Prepare = ({ argv, db }) => fetchColumn(fetchTable(db, argv[1]!), argv[3]!);

function add(ctx: CtlContext): undefined {
  const table = findTable(ctx.db, ctx.argv[1]!);
  const column = findColumn(table, ctx.argv[3]!);
  const row = rowOf(ctx, table, ctx.argv[2]!);
  if (!row) return;
  checkMutable(row, column);
  const { type } = column;
  let datum = ctx.isLast ? emptyDatum(type) : row.read(column);
  for (const argument of ctx.argv.slice(4)) {
    datum = datumUnion(datum, datumFromString(argument, { ...type, min: 1, max: Infinity }, ctx.symbols));
  }
  if (ctx.isLast) {
    datum.keys.forEach((key, i) => {
      row.add(column, { keys: [key], values: datum.values && [datum.values[i]!] });
    });
  } else {
    if (datum.keys.length > type.max) throw wrongCount('add', row, column, datum.keys.length, 'maximum', type.max);
    row.verify(column);
    row.write(column, datum);
  }
  ctx.cache.invalidate();
}

function wrongCount(verb: string, row: Row, column: Column, n: number, limit: string, allowed: number): CtlError {
  const what = column.type.value ? 'pairs' : 'values';
  return new CtlError(
    `"${verb}" operation would put ${n} ${what} in column ${column.name} of table ${row.table.name} ` +
      `but the ${limit} number is ${allowed}`,
  );
}

function remove(ctx: CtlContext): undefined {
  const table = findTable(ctx.db, ctx.argv[1]!);
  const column = findColumn(table, ctx.argv[3]!);
  const row = rowOf(ctx, table, ctx.argv[2]!);
  if (!row) return;
  checkMutable(row, column);
  let datum = row.read(column);
  for (const argument of ctx.argv.slice(4)) datum = datumSubtract(datum, parseRemoved(ctx, column.type, argument));
  const n = datum.keys.length;
  if (n < column.type.min) throw wrongCount('remove', row, column, n, 'minimum', column.type.min);
  row.verify(column);
  row.write(column, datum);
  ctx.cache.invalidate();
}

/** From a map, pairs or bare keys may be taken. */
function parseRemoved(ctx: CtlContext, type: ColumnType, argument: string): Datum {
  const loose = { ...type, min: 1 as const, max: Infinity };
  if (!isMap(type)) return datumFromString(argument, loose, ctx.symbols);
  try {
    return datumFromString(argument, loose, ctx.symbols);
  } catch (error) {
    if (!(error instanceof TextError)) throw error;
    return datumFromString(argument, { ...loose, value: null }, ctx.symbols);
  }
}

const prepareClear: Prepare = ({ argv, db }) => {
  const table = fetchTable(db, argv[1]!);
  for (const word of argv.slice(3)) fetchColumn(table, word);
};

function clear(ctx: CtlContext): undefined {
  const table = findTable(ctx.db, ctx.argv[1]!);
  const row = rowOf(ctx, table, ctx.argv[2]!);
  if (!row) return;
  for (const word of ctx.argv.slice(3)) {
    const column = findColumn(table, word);
    checkMutable(row, column);
    if (column.type.min > 0) {
      throw new CtlError(
        `"clear" operation cannot be applied to column ${column.name} of table ${table.name}, which is not allowed to be empty`,
      );
    }
    row.write(column, emptyDatum(column.type));
  }
  ctx.cache.invalidate();
}

const prepareCreate: Prepare = ({ argv, options, db, warn }) => {
  const table = findTable(db, argv[1]!);
  if (options.has('--id') || table.schema.isRoot) return;
  warn(`applying "create" command to table ${table.name} without --id option will have no effect`);
};

function create(ctx: CtlContext): string {
  const id = ctx.options.get('--id');
  const table = findTable(ctx.db, ctx.argv[1]!);
  const chosen = id === undefined ? undefined : parseUuid(id);
  const provisional = id === undefined ? undefined : (chosen ?? ctx.symbols.create(id, table.schema.isRoot));
  const row = table.insert(provisional);
  row.keepsUuid = chosen !== undefined;
  for (const argument of ctx.argv.slice(2)) setColumn(ctx, row, argument, false);
  return row.uuid;
}

function destroy(ctx: CtlContext): undefined {
  const isAll = ctx.options.has('--all');
  const table = findTable(ctx.db, ctx.argv[1]!);
  const words = ctx.argv.slice(2);
  if (isAll && words.length > 0) throw new CtlError('--all and records argument should not be specified together');
  if (isAll && ctx.options.has('--if-exists')) {
    throw new CtlError('--all and --if-exists should not be specified together');
  }
  if (!isAll && words.length === 0) {
    ctx.warn('either --all or records argument should be specified');
    return;
  }
  if (isAll) for (const row of table.rows()) row.delete();
  for (const word of words) rowOf(ctx, table, word)?.delete();
  ctx.cache.invalidate();
}

function waitUntil(ctx: CtlContext): undefined | 'try again' {
  const table = findTable(ctx.db, ctx.argv[1]!);
  const row = findRow(ctx, table, ctx.argv[2]!);
  if (!row) return 'try again';
  return ctx.argv.slice(3).every((argument) => conditionHolds(ctx, row, argument)) ? undefined : 'try again';
}

export const DB_COMMANDS: readonly CtlCommand[] = [
  { name: 'comment', minArgs: 0, maxArgs: UNLIMITED_ARGS, args: '[ARG]...', options: '', writes: false },
  {
    name: 'get',
    minArgs: 2,
    maxArgs: UNLIMITED_ARGS,
    args: 'TABLE RECORD [COLUMN[:KEY]]...',
    options: '--if-exists,--id=',
    writes: false,
    prepare: prepareGet,
    run: get,
  },
  {
    name: 'list',
    minArgs: 1,
    maxArgs: UNLIMITED_ARGS,
    args: 'TABLE [RECORD]...',
    options: '--if-exists,--columns=',
    writes: false,
    prepare: prepareList,
    run: list,
  },
  {
    name: 'find',
    minArgs: 1,
    maxArgs: UNLIMITED_ARGS,
    args: 'TABLE [COLUMN[:KEY]=VALUE]...',
    options: '--columns=',
    writes: false,
    prepare: prepareFind,
    run: find,
  },
  {
    name: 'set',
    minArgs: 3,
    maxArgs: UNLIMITED_ARGS,
    args: 'TABLE RECORD COLUMN[:KEY]=VALUE...',
    options: '--if-exists',
    writes: true,
    prepare: prepareArguments,
    run: set,
  },
  {
    name: 'add',
    minArgs: 4,
    maxArgs: UNLIMITED_ARGS,
    args: 'TABLE RECORD COLUMN [KEY=]VALUE...',
    options: '--if-exists',
    writes: true,
    prepare: prepareMembers,
    run: add,
  },
  {
    name: 'remove',
    minArgs: 4,
    maxArgs: UNLIMITED_ARGS,
    args: 'TABLE RECORD COLUMN KEY|VALUE|KEY=VALUE...',
    options: '--if-exists',
    writes: true,
    prepare: prepareMembers,
    run: remove,
  },
  {
    name: 'clear',
    minArgs: 3,
    maxArgs: UNLIMITED_ARGS,
    args: 'TABLE RECORD COLUMN...',
    options: '--if-exists',
    writes: true,
    prepare: prepareClear,
    run: clear,
  },
  {
    name: 'create',
    minArgs: 2,
    maxArgs: UNLIMITED_ARGS,
    args: 'TABLE COLUMN[:KEY]=VALUE...',
    options: '--id=',
    writes: true,
    prepare: prepareCreate,
    run: create,
    finish: (output, uuids) => `${uuids(output)}\n`,
  },
  {
    name: 'destroy',
    minArgs: 1,
    maxArgs: UNLIMITED_ARGS,
    args: 'TABLE [RECORD]...',
    options: '--if-exists,--all',
    writes: true,
    prepare: ({ argv, db }) => void fetchTable(db, argv[1]!),
    run: destroy,
  },
  {
    name: 'wait-until',
    minArgs: 2,
    maxArgs: UNLIMITED_ARGS,
    args: 'TABLE RECORD [COLUMN[:KEY]=VALUE]...',
    options: '',
    writes: false,
    prepare: prepareArguments,
    run: waitUntil,
  },
];
