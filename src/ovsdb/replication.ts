import { strerror } from '../base/errno.ts';
import { parseUuid } from './atom.ts';
import type { Row, Table } from './database.ts';
import { datumEquals, datumFromJson } from './datum.ts';
import { OvsdbError, plainError, syntaxError } from './error.ts';
import { getOrMake } from './get-or-make.ts';
import type { Json, JsonObject } from './json.ts';
import { isArray, isObject, jsonEquals, toText } from './json.ts';
import type { Message } from './jsonrpc.ts';
import { JsonRpcConnection } from './jsonrpc.ts';
import { Reconnect } from './reconnect.ts';
import type { Schema } from './schema.ts';
import { COL_UUID, COL_VERSION, schemaFromJson, schemaToJson } from './schema.ts';
import type { ServedDb } from './served-db.ts';
import type { OvsdbServer } from './server.ts';
import { connectStream, parseStreamName } from './stream.ts';
import type { TlsConfig } from './tls.ts';
import { Transaction } from './transaction.ts';

const MAX_BACKOFF_MS = 8000;
export const REPLICATION_PROBE_MS = 60_000;

/** Tables that are not replicated, by database. */
export type ExcludedTables = ReadonlyMap<string, ReadonlySet<string>>;

/** Parses `DB:TABLE,DB:TABLE…`; a string says what is wrong. */
export function parseExcludedTables(text: string): ExcludedTables | string {
  const excluded = new Map<string, Set<string>>();
  for (const name of text.split(/[ ,]+/).filter((word) => word !== '')) {
    const [db, table] = name.split(':');
    if (!db || !table) return `Can't parse excluded table: ${name}`;
    getOrMake(excluded, db, () => new Set<string>()).add(table);
  }
  return excluded;
}

export function excludedTablesToString(excluded: ExcludedTables): string {
  const names = [...excluded].flatMap(([db, tables]) => [...tables].map((table) => `${db}:${table}`));
  return names.sort().join(',');
}

/** A local database and the schema that the active server has of it. */
interface Target {
  readonly served: ServedDb;
  readonly schema: Schema;
}

export interface ReplicationOptions {
  readonly remote: string;
  readonly excluded: ExcludedTables;
  readonly probeIntervalMs: number;
  readonly tls: TlsConfig;
  /** Called when it has ended for good, for a reason that trying again would not mend. */
  readonly failed: () => void;
}

/** Keeps the databases of a server as those of another, the active one, are (ovsdb(7), "Active-Backup Database Service Model"). */
export class Replication {
  private readonly server: OvsdbServer;
  private readonly options: ReplicationOptions;
  private readonly reconnect: Reconnect;
  private readonly abort = new AbortController();
  private readonly requests = new Map<number, (message: Message) => void>();
  private readonly targets = new Map<string, Target>();
  private connection: JsonRpcConnection | undefined;
  private timer: NodeJS.Timeout | undefined;
  private nextId = 0;
  private nSynced = 0;
  private hasFailed = false;

  constructor(server: OvsdbServer, options: ReplicationOptions) {
    this.server = server;
    this.options = options;
    this.reconnect = new Reconnect(MAX_BACKOFF_MS, (level, text) => server.log(level, 'reconnect', text));
  }

  start(): void {
    void this.connect();
  }

  stop(): void {
    this.abort.abort();
    clearTimeout(this.timer);
    this.connection?.destroy();
  }

  /** The lines of `ovsdb-server/sync-status` below the first. */
  status(): string {
    const { remote, excluded } = this.options;
    if (this.hasFailed) return `Replication to (${remote}) failed\n`;
    if (!this.connection) return `not connected to ${remote}`;
    if (this.nSynced === 0 || this.nSynced < this.targets.size) return `connecting: ${remote}`;
    const exclude = excluded.size === 0 ? '' : `\nexclude: ${excludedTablesToString(excluded)}`;
    return `replicating: ${remote}\ndatabase: ${[...this.targets.keys()].join(', ')}${exclude}`;
  }

  setProbeInterval(ms: number): void {
    this.connection?.setProbeInterval(ms);
  }

  private log(level: 'info' | 'warn' | 'err', message: string): void {
    this.server.log(level, 'replication', message);
  }

  private async connect(): Promise<void> {
    const { remote, tls, probeIntervalMs } = this.options;
    const name = parseStreamName(remote);
    this.reconnect.connecting(remote);
    try {
      if (!name) throw Object.assign(new Error(), { code: 'EAFNOSUPPORT' });
      const stream = await connectStream(name, tls, this.abort.signal);
      if (this.abort.signal.aborted) {
        stream.destroy();
        return;
      }
      const handlers = {
        message: (message: Message) => this.received(message),
        closed: (reason: string | null) => this.retry(() => this.reconnect.disconnected(remote, reason)),
      };
      this.reconnect.connected(remote);
      this.connection = new JsonRpcConnection(stream, handlers, { name: remote, probeIntervalMs });
      this.begin();
    } catch (error) {
      this.retry(() => this.reconnect.failed(remote, strerror(error)));
    }
  }

  private retry(decide: () => number): void {
    this.connection = undefined;
    this.requests.clear();
    if (this.abort.signal.aborted || this.hasFailed) return;
    this.timer = setTimeout(() => void this.connect(), decide());
  }

  private received(message: Message): void {
    if (message.kind === 'notification' && message.method === 'update') {
      this.attempt(() => this.updated(message.params));
    } else if (message.kind === 'reply' || message.kind === 'error') {
      const answered = this.requests.get(message.id as number);
      this.requests.delete(message.id as number);
      this.attempt(() => answered?.(message));
    }
  }

  /** What cannot be understood or does not fit ends the replication. */
  private attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      this.log('warn', `unexpected ovsdb error: ${error}`);
      this.fail();
    }
  }

  private fail(): void {
    this.hasFailed = true;
    this.connection?.destroy();
    this.options.failed();
  }

  /** Asks; `answered` gets the result at the moment of its arrival. */
  private ask(method: string, params: Json, answered: (result: Json) => void): void {
    const id = this.nextId++;
    this.requests.set(id, (message) => {
      if (message.kind === 'reply') answered(message.result);
      else throw plainError(`${method} failed: ${toText(message.kind === 'error' ? message.error : null)}`);
    });
    this.connection!.request(method, params, id);
  }

  private begin(): void {
    this.targets.clear();
    this.nSynced = 0;
    this.ask('get_server_id', [], (id) => {
      if (typeof id !== 'string' || parseUuid(id) === undefined) throw plainError('Server ID is not valid UUID');
      if (id === this.server.uuid) {
        throw new OvsdbError('Server ID check failed', 'Self replicating is not allowed');
      }
      this.ask('list_dbs', [], (names) => this.askSchemas(names));
    });
  }

  private askSchemas(names: Json): void {
    if (!isArray(names)) throw new OvsdbError('list_dbs failed', 'list_dbs response is not array');
    const common = names.filter(
      (name): name is string => typeof name === 'string' && !name.startsWith('_') && this.server.dbs.has(name),
    );
    let left = common.length;
    const counted = () => {
      if (--left <= 0) this.monitorAll();
    };
    if (left === 0) counted();
    for (const name of common) {
      this.ask('get_schema', [name], (json) => {
        this.addTarget(this.server.dbs.get(name)!, schemaFromJson(json));
        counted();
      });
    }
  }

  private addTarget(served: ServedDb, schema: Schema): void {
    if (!jsonEquals(schemaToJson(served.db.schema), schemaToJson(schema))) {
      this.log('info', `Schema version mismatch, checking if ${schema.name} can still be replicated or not.`);
      const obstacle = findObstacle(served.db.schema, schema);
      if (obstacle !== undefined) {
        this.log('info', obstacle);
        this.log('info', `${schema.name} cannot be replicated.`);
        return;
      }
      this.log('info', `${schema.name} can be replicated.`);
    }
    this.targets.set(schema.name, { served, schema });
  }

  private monitorAll(): void {
    if (this.targets.size === 0) {
      this.log('warn', 'Nothing to replicate.');
      this.fail();
      return;
    }
    for (const [name, { served, schema }] of this.targets) {
      const tables = [...schema.tables.keys()].filter((table) => !this.isExcluded(name, table));
      const requests = Object.fromEntries(tables.map((table) => [table, [{}]]));
      this.ask('monitor', [name, name, requests], (updates) => {
        this.log('info', 'Monitor request received. Resetting the database');
        this.apply(served, updates, tables);
        this.nSynced++;
      });
    }
  }

  private isExcluded(db: string, table: string): boolean {
    return this.options.excluded.get(db)?.has(table) ?? false;
  }

  private updated([name, updates]: readonly Json[]): void {
    const target = typeof name === 'string' ? this.targets.get(name) : undefined;
    if (target) this.apply(target.served, updates ?? null, []);
  }

  /** Applies a <table-updates> in one transaction. What the tables of `reset` have beyond it is deleted. */
  private apply(served: ServedDb, updates: Json, reset: readonly string[]): void {
    if (!isObject(updates)) throw plainError('<table-updates> is not object');
    const txn = new Transaction(served.db);
    try {
      for (const name of reset) {
        const table = served.db.tables.get(name);
        const kept = updates[name];
        if (table) deleteOthers(txn, table, isObject(kept) ? kept : {});
      }
      for (const [name, update] of Object.entries(updates)) {
        const table = served.db.tables.get(name);
        if (!table) throw new OvsdbError('unknown table', `unknown table ${name}`);
        applyTable(txn, table, update);
      }
    } catch (error) {
      txn.abort();
      throw error;
    }
    served.apply(txn);
  }
}

/** Why `schema` of an active server cannot be replicated into `local`: it must have every table and column, of the same type. */
function findObstacle(local: Schema, schema: Schema): string | undefined {
  const localJson = schemaToJson(local).tables as JsonObject;
  for (const [table, json] of Object.entries(schemaToJson(schema).tables as JsonObject)) {
    const localTable = localJson[table] as JsonObject | undefined;
    if (!localTable) return `Table ${table} not present in the local db schema`;
    for (const [column, columnJson] of Object.entries((json as JsonObject).columns as JsonObject)) {
      const localColumn = (localTable.columns as JsonObject)[column];
      if (localColumn === undefined) return `Column ${column} not present in the local db schema table ${table}.`;
      if (!jsonEquals(localColumn, columnJson)) return `Column ${column} mismatch in local db schema table ${table}.`;
    }
  }
  return undefined;
}

function deleteOthers(txn: Transaction, table: Table, kept: JsonObject): void {
  for (const row of [...table.rows.values()]) if (!Object.hasOwn(kept, row.uuid)) txn.delete(table, row);
}

function applyTable(txn: Transaction, table: Table, update: Json): void {
  if (!isObject(update)) throw new OvsdbError('Not a JSON object', '<table-update> for table is not object');
  for (const [text, row] of Object.entries(update)) {
    const uuid = parseUuid(text);
    if (uuid === undefined) throw syntaxError(update, '<table-update> names must be UUIDs', 'bad row UUID');
    if (!isObject(row)) throw new OvsdbError('Not a JSON object', '<row-update> is not object');
    const known = table.rows.get(uuid);
    if (isObject(row.new)) fill(table, known ? txn.modify(table, known) : inserted(txn, table, uuid), row.new);
    else if (known) txn.delete(table, known);
  }
}

function inserted(txn: Transaction, table: Table, uuid: string): Row {
  const row = table.newRow(uuid);
  txn.insert(table, row);
  return row;
}

function fill(table: Table, row: Row, json: JsonObject): void {
  for (const [name, value] of Object.entries(json)) {
    const column = table.schema.byName.get(name);
    if (!column || column.index === COL_UUID || column.index === COL_VERSION) continue;
    const datum = datumFromJson(value, column.type);
    if (!datumEquals(row.fields[column.index]!, datum)) row.fields[column.index] = datum;
  }
}
