import { programName } from '../../base/program.ts';
import { UnixctlServer } from '../../base/unixctl.ts';
import { vlogModule } from '../../base/vlog.ts';
import { parseUuid, ZERO_UUID } from '../../ovsdb/atom.ts';
import { conditionFromJson } from '../../ovsdb/condition.ts';
import type { Json, JsonObject } from '../../ovsdb/json.ts';
import { isArray, isObject, JsonParser } from '../../ovsdb/json.ts';
import type { Message } from '../../ovsdb/jsonrpc.ts';
import type { RpcAnswer } from '../../ovsdb/rpc-client.ts';
import type { Column, TableSchema } from '../../ovsdb/schema.ts';
import type { Cell } from '../text-table.ts';
import type { ClientSession, OpenedSession } from './session.ts';
import { ClientError, jsonText, parseText } from './session.ts';

/** `monitor` and its variants: shows what is in tables and how it changes. */

type Method = 'monitor' | 'monitor_cond' | 'monitor_cond_since';
const NOTIFICATIONS: Readonly<Record<Method, string>> = {
  monitor: 'update',
  monitor_cond: 'update2',
  monitor_cond_since: 'update3',
};

interface MonitoredTable {
  readonly table: TableSchema;
  readonly columns: Column[];
}

interface Wanted {
  readonly tables: MonitoredTable[];
  readonly requests: { [table: string]: Json };
}

function complain(text: string): void {
  process.stderr.write(`${programName()}: ${text}\n`);
}

const KINDS = ['initial', 'insert', 'delete', 'modify'] as const;

/** A <monitor-request> of `COLUMN,!initial,…`; the columns are added to the table's. */
function parseColumns(
  text: string,
  { table, columns }: MonitoredTable,
  { session, database }: OpenedSession,
): JsonObject {
  const words = text.split(',').filter((word) => word !== '');
  const off = new Set(words.filter((word) => KINDS.some((kind) => word === `!${kind}`)));
  const named = words
    .filter((word) => !off.has(word))
    .map((word) => {
      const column = table.byName.get(word);
      if (column) return column;
      throw new ClientError(
        `${session.server}: table "${table.name}" in ${database} does not have a column named "${word}"`,
      );
    });
  const chosen = named.length > 0 ? named : allColumns(table);
  for (const column of chosen) {
    if (columns.includes(column)) {
      throw new ClientError(`${session.server}: column "${column.name}" mentioned multiple times`);
    }
    columns.push(column);
  }
  const request: { [member: string]: Json } = { columns: chosen.map(({ name }) => name) };
  if (off.size > 0) request.select = Object.fromEntries(KINDS.map((kind) => [kind, !off.has(`!${kind}`)]));
  return request;
}

function allColumns(table: TableSchema): Column[] {
  const own = table.columns.slice(2).sort((a, b) => (a.name < b.name ? -1 : 1));
  return [...own, table.byName.get('_version')!];
}

function addTable(
  wanted: Wanted,
  table: TableSchema,
  words: readonly string[],
  opened: OpenedSession,
  condition?: Json,
): void {
  const monitored: MonitoredTable = { table, columns: [] };
  wanted.tables.push(monitored);
  const requests = (words.length > 0 ? words : ['']).map((word, i) => ({
    ...parseColumns(word, monitored, opened),
    ...(i === 0 && condition !== undefined && { where: condition }),
  }));
  wanted.requests[table.name] = requests;
}

async function wantedTables(opened: OpenedSession, args: readonly string[], condition?: Json): Promise<Wanted> {
  const { session, database } = opened;
  const schema = await session.schema(database);
  const [name, ...words] = args as [string, ...string[]];
  const wanted: Wanted = { tables: [], requests: {} };
  if (name !== 'ALL') {
    const table = schema.tables.get(name);
    if (!table) throw new ClientError(`${session.server}: ${database} does not have a table named "${name}"`);
    addTable(wanted, table, words, opened, condition);
    return wanted;
  }
  if (condition !== undefined) throw new ClientError('ALL tables are not allowed with condition');
  for (const table of [...schema.tables.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    addTable(wanted, table, words, opened);
  }
  return wanted;
}

/** Prints what a monitor tells. */
class MonitorPrinter {
  readonly #session: ClientSession;
  readonly #method: Method;
  readonly #tables: readonly MonitoredTable[];

  constructor(session: ClientSession, method: Method, tables: readonly MonitoredTable[]) {
    this.#session = session;
    this.#method = method;
    this.#tables = tables;
  }

  initial(result: Json): void {
    if (this.#method !== 'monitor_cond_since') {
      this.#updates(result, true);
      return;
    }
    if (!isArray(result) || result.length !== 3) {
      complain(
        isArray(result) ? `<result> should have 3 elements, but has ${result.length}.` : '<result> is not array',
      );
      return;
    }
    process.stdout.write(`found: ${result[0]}, last_id: ${result[1]}\n`);
    this.#updates(result[2]!, true);
  }

  notification(method: string, params: readonly Json[]): void {
    if (method !== NOTIFICATIONS[this.#method] || params[0] !== null) return;
    if (this.#method === 'monitor_cond_since') process.stdout.write(`\nlast_id: ${params[1]}`);
    this.#updates(params.at(-1)!, false);
  }

  #updates(updates: Json, isInitial: boolean): void {
    if (!isObject(updates)) {
      complain('<table-updates> is not object');
      return;
    }
    for (const monitored of this.#tables) {
      const update = updates[monitored.table.name];
      if (update !== undefined) this.#table(monitored, update, isInitial);
    }
  }

  #table({ table, columns }: MonitoredTable, update: Json, isInitial: boolean): void {
    if (!isObject(update)) {
      complain(`<table-update> for table ${table.name} is not object`);
      return;
    }
    const rows: Cell[][] = [];
    for (const [uuid, row] of Object.entries(update)) {
      if (!isObject(row)) complain('<row-update> is not object');
      else if (this.#method === 'monitor') rows.push(...rowUpdate(uuid, row, columns, isInitial));
      else rows.push(...rowUpdate2(uuid, row, columns));
    }
    const { tables, timestamp } = this.#session.settings;
    const headings = ['row', 'action', ...columns.map(({ name }) => name)];
    const caption = this.#tables.length > 1 ? table.name : undefined;
    process.stdout.write(tables.format({ caption, headings, rows }, timestamp));
  }
}

function cells(uuid: string, action: string, row: Json | undefined, columns: readonly Column[]): Cell[][] {
  if (row === undefined) {
    complain(`missing ${action} row`);
    return [];
  }
  if (!isObject(row)) {
    complain('<row> is not object');
    return [];
  }
  const values = columns.map(({ name, type }): Cell => {
    const json = row[name];
    return json === undefined ? '' : { json, type };
  });
  return [[uuid, action, ...values]];
}

function rowUpdate(uuid: string, update: JsonObject, columns: readonly Column[], isInitial: boolean): Cell[][] {
  const { old, new: now } = update;
  if (isInitial) return cells(uuid, 'initial', now, columns);
  if (old === undefined) return cells(uuid, 'insert', now, columns);
  if (now === undefined) return cells(uuid, 'delete', old, columns);
  return [...cells(uuid, 'old', old, columns), ...cells('', 'new', now, columns)];
}

function rowUpdate2(uuid: string, update: JsonObject, columns: readonly Column[]): Cell[][] {
  if (update.delete !== undefined) return [[uuid, 'delete']];
  const action = ['initial', 'modify', 'insert'].find((one) => update[one] !== undefined);
  return action === undefined ? [] : cells(uuid, action, update[action], columns);
}

/** Shows until it is told to exit or the connection ends, which is an error. */
async function show(
  opened: OpenedSession,
  method: Method,
  args: readonly string[],
  condition?: Json,
  lastId?: string,
): Promise<void> {
  const { session, database } = opened;
  const { rpc, settings } = session;
  const exit = Promise.withResolvers<void>();
  const unixctl = settings.daemon.detaching ? await listen(session, exit.resolve) : undefined;
  const wanted = await wantedTables(opened, args, condition);
  await session.setDbChangeAware();
  const printer = new MonitorPrinter(session, method, wanted.tables);
  rpc.onMessage = (message: Message) => {
    if (message.kind !== 'notification') return;
    if (message.method === 'monitor_canceled') {
      exit.reject(new ClientError(`${session.server}: ${database} database was removed`));
    } else printer.notification(message.method, message.params);
  };
  const params: Json[] = [database, null, wanted.requests];
  if (method === 'monitor_cond_since') params.push(lastId ?? ZERO_UUID);
  const take = (answer: RpcAnswer) => {
    if ('result' in answer) printer.initial(answer.result);
    else exit.reject(new ClientError(`${method} failed: ${jsonText(answer.error, settings)}`));
    settings.daemon.complete(true);
  };
  rpc.call(method, params, { resolve: take, reject: () => {} });
  const lost = rpc.closed.then((reason) => {
    throw new ClientError(`${session.server}: receive failed (${reason ?? 'End of file'})`);
  });
  await Promise.race([exit.promise, lost]);
  unixctl?.close();
}

/** The commands of a monitor in the background. */
async function listen(session: ClientSession, exit: () => void): Promise<UnixctlServer> {
  const { rpc } = session;
  const unixctl = new UnixctlServer(vlogModule('unixctl'));
  let isBlocked = false;
  unixctl.register('exit', '', 0, 0, () => {
    setImmediate(exit);
    return '';
  });
  unixctl.register('ovsdb-client/block', '', 0, 0, () => {
    if (isBlocked) return 'already blocking';
    isBlocked = true;
    rpc.pause();
    return '';
  });
  unixctl.register('ovsdb-client/unblock', '', 0, 0, () => {
    if (!isBlocked) return 'already unblocked';
    isBlocked = false;
    rpc.resume();
    return '';
  });
  unixctl.register('ovsdb-client/cond_change', 'TABLE COND', 2, 2, ([table, condition]) => {
    const where = new JsonParser(condition!).parse();
    rpc.call('monitor_cond_change', [null, null, { [table!]: [{ where }] }], { resolve: () => {}, reject: () => {} });
    return 'condition changed';
  });
  await unixctl.listen();
  return unixctl;
}

export function monitor(opened: OpenedSession): Promise<void> {
  return show(opened, 'monitor', opened.args);
}

async function monitorCondition(
  opened: OpenedSession,
  method: Method,
  args: readonly string[],
  lastId?: string,
): Promise<void> {
  const { session, database } = opened;
  const [text, name, ...words] = args as [string, string, ...string[]];
  const schema = await session.schema(database);
  const table = schema.tables.get(name);
  if (!table) throw new ClientError(`${database} does not have a table named "${name}"`);
  const condition = parseText(text);
  conditionFromJson(condition as readonly Json[], table);
  await show(opened, method, [name, ...words], condition, lastId);
}

export function monitorCond(opened: OpenedSession): Promise<void> {
  return monitorCondition(opened, 'monitor_cond', opened.args);
}

/** `[LASTID] CONDITION TABLE [COLUMN,…]…`. */
export function monitorCondSince(opened: OpenedSession): Promise<void> {
  const lastId = parseUuid(opened.args[0]!);
  const args = lastId === undefined ? opened.args : opened.args.slice(1);
  return monitorCondition(opened, 'monitor_cond_since', args, lastId);
}
