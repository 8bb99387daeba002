import { parseUuid } from '../../ovsdb/atom.ts';
import { datumGet } from '../../ovsdb/datum.ts';
import type { Column } from '../../ovsdb/schema.ts';
import { parseToken } from '../../ovsdb/text-format.ts';
import type { Atom } from '../../ovsdb/type.ts';
import type { CtlContext } from './command.ts';
import { CtlError } from './errors.ts';
import type { Model, Row, Table } from './model.ts';

/** How a record may be named besides by its uuid: by a column of its own, or by that of a record that refers to it. */
interface RowId {
  readonly table: string;
  readonly nameColumn: string;
  /** Of `table`: it refers to the record that is meant. */
  readonly uuidColumn?: string;
}

const own = (table: string, nameColumn: string): RowId => ({ table, nameColumn });
const via = (table: string, uuidColumn: string): RowId => ({ table, nameColumn: 'name', uuidColumn });

/** By table (ovs-vsctl(8), "Identifying Tables, Records, and Columns"). */
export const ROW_IDS: Readonly<Record<string, RowId>> = {
  AutoAttach: via('Bridge', 'auto_attach'),
  Bridge: own('Bridge', 'name'),
  Controller: via('Bridge', 'controller'),
  Flow_Sample_Collector_Set: own('Flow_Sample_Collector_Set', 'id'),
  Flow_Table: own('Flow_Table', 'name'),
  IPFIX: via('Bridge', 'ipfix'),
  Interface: own('Interface', 'name'),
  Manager: own('Manager', 'target'),
  Mirror: own('Mirror', 'name'),
  NetFlow: via('Bridge', 'netflow'),
  Port: own('Port', 'name'),
  QoS: via('Port', 'qos'),
  sFlow: via('Bridge', 'sflow'),
};

const EXACT = Number.MAX_SAFE_INTEGER;

/** How well `word` fits `name`: case does not count, dashes stand for underscores, a beginning is enough. 0: not at all. */
function matchScore(name: string, word: string): number {
  if (name === word) return EXACT;
  const plain = (text: string) => text.replaceAll('-', '_').toLowerCase();
  const [wanted, given] = [plain(name), plain(word)];
  if (wanted === given) return EXACT - 1;
  return wanted.startsWith(given) ? given.length : 0;
}

function bestMatches<T extends { readonly name: string }>(candidates: Iterable<T>, word: string): T[] {
  let best: T[] = [];
  let bestScore = 1;
  for (const candidate of candidates) {
    const score = matchScore(candidate.name, word);
    if (score < bestScore) continue;
    if (score > bestScore) best = [];
    best.push(candidate);
    bestScore = score;
  }
  return best;
}

const names = (matches: readonly { readonly name: string }[]) =>
  matches
    .map(({ name }) => name)
    .sort()
    .join(', ');

/** The table that `word` means, perhaps shortened. */
export function findTable(db: Model, word: string): Table {
  const matches = bestMatches(db.tables, word);
  if (matches.length === 1) return matches[0]!;
  if (matches.length === 0) throw new CtlError(`unknown table "${word}"`);
  throw new CtlError(`"${word}" matches multiple table names: ${names(matches)}`);
}

/** Columns in the order of their names, without _uuid and _version. */
export function columnsOf(table: Table): Column[] {
  return table.schema.columns.slice(2).sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function findColumn(table: Table, word: string): Column {
  const matches = bestMatches(columnsOf(table), word);
  if (matches.length === 1) return matches[0]!;
  if (matches.length === 0) {
    throw new CtlError(`${table.name} does not contain a column whose name matches "${word}"`);
  }
  throw new CtlError(`${table.name} contains more than one column whose name matches "${word}": ${names(matches)}`);
}

/** Has a table fetched with what its records may be named by. */
export function fetchTable(db: Model, word: string): Table {
  const table = findTable(db, word);
  db.fetch(table.name);
  const id = ROW_IDS[table.name];
  if (id) db.fetch(id.table, id.nameColumn, ...(id.uuidColumn === undefined ? [] : [id.uuidColumn]));
  return table;
}

export function fetchColumn(table: Table, word: string): void {
  table.db.fetch(table.name, findColumn(table, word).name);
}

/** Has the column of an argument such as `options:key=value` fetched. */
export function fetchColumnOf(table: Table, argument: string): void {
  fetchColumn(table, columnName(argument).token);
}

function columnName(argument: string): { token: string; end: number } {
  const parsed = parseToken(argument, 0);
  if (parsed.token === '') throw new CtlError(`${argument}: missing column name`);
  return parsed;
}

export interface ColumnArgument {
  readonly column: Column;
  readonly key: string | undefined;
  readonly operator: string;
  readonly value: string;
}

/** COLUMN[:KEY], or with `operators` COLUMN[:KEY]OPERATOR VALUE. */
export function parseColumnArgument(table: Table, argument: string, operators?: readonly string[]): ColumnArgument {
  const { token, end } = columnName(argument);
  const column = findColumn(table, token);
  let at = end;
  let key: string | undefined;
  if (argument[at] === ':') {
    const parsed = parseToken(argument, at + 1);
    key = parsed.token;
    at = parsed.end;
  }
  const rest = argument.slice(at);
  if (!operators) {
    if (rest !== '') throw new CtlError(`${argument}: trailing garbage "${rest}" in argument`);
    return { column, key, operator: '', value: '' };
  }
  const fitting = operators.filter((one) => rest.startsWith(one) && rest.length > one.length);
  const operator = fitting.sort((a, b) => b.length - a.length)[0];
  if (operator === undefined) throw new CtlError(missingOperator(argument, operators));
  return { column, key, operator, value: rest.slice(operator.length) };
}

function missingOperator(argument: string, operators: readonly string[]): string {
  const quoted = operators.map((operator) => `"${operator}"`);
  const list = quoted.length < 3 ? quoted.join(' or ') : `${quoted.slice(0, -1).join(', ')}, or ${quoted.at(-1)}`;
  return `${argument}: argument does not end in ${list} followed by a value.`;
}

/** The record that `word` means; undefined when there is none. */
export function findRow(ctx: Pick<CtlContext, 'db'>, table: Table, word: string): Row | undefined {
  const uuid = parseUuid(word);
  const exact = uuid === undefined ? undefined : table.get(uuid);
  if (exact) return exact;
  if (word === '.' && table.rows().length === 1) return table.rows()[0];
  return rowByName(ctx.db, table, word) ?? rowByPartialUuid(table, word);
}

export function mustFindRow(ctx: Pick<CtlContext, 'db'>, table: Table, word: string): Row {
  const row = findRow(ctx, table, word);
  if (!row) throw new CtlError(`no row "${word}" in table ${table.name}`);
  return row;
}

function rowByName(db: Model, table: Table, word: string): Row | undefined {
  const id = ROW_IDS[table.name];
  if (!id) return undefined;
  const named = db.table(id.table);
  const column = named.schema.byName.get(id.nameColumn)!;
  if (column.type.key.type === 'integer' && !/^[0-9]+$/.test(word)) return undefined;
  const found = named.rows().filter((row) => {
    const { keys } = row.read(column);
    return keys.length === 1 && isNamed(keys[0]!, word);
  });
  if (found.length > 1) throw new CtlError(`multiple rows in ${named.name} match "${word}"`);
  const [row] = found;
  if (!row || id.uuidColumn === undefined) return row;
  row.verify(id.uuidColumn);
  const { keys } = row.read(id.uuidColumn);
  return keys.length === 1 ? table.get(keys[0] as string) : undefined;
}

/** A name that is itself a uuid may be shortened like one. */
function isNamed(name: Atom, word: string): boolean {
  if (typeof name !== 'string') return name === Number(word);
  return name === word || (word.length >= 4 && parseUuid(name) !== undefined && name.startsWith(word));
}

const UUID_SHAPE = 'xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx';

function isPartialUuid(word: string): boolean {
  if (word.length < 4 || word.length > UUID_SHAPE.length) return false;
  return [...word].every((char, i) => (UUID_SHAPE[i] === 'x' ? /[0-9a-fA-F]/.test(char) : char === '-'));
}

function rowByPartialUuid(table: Table, word: string): Row | undefined {
  if (!isPartialUuid(word)) return undefined;
  const found = table.rows().filter((row) => row.uuid.startsWith(word));
  if (found.length > 1) {
    throw new CtlError(
      `${table.name} contains 2 or more rows whose UUIDs begin with ${word}: at least ${found[0]!.uuid} and ${found[1]!.uuid}`,
    );
  }
  return found[0];
}

/** A member of a map column, or undefined. */
export function memberOf(row: Row, column: Column, key: Atom): Atom | undefined {
  return datumGet(row.read(column), key);
}
