import { strerror } from '../base/errno.ts';
import { parseUuid, ZERO_UUID } from './atom.ts';
import type { Table } from './database.ts';
import { datumApplyDiff, datumFromJson, defaultDatum } from './datum.ts';
import { OvsdbError, plainError, syntaxError } from './error.ts';
import type { Json, JsonObject } from './json.ts';
import { isArray, isObject, jsonEquals, toText } from './json.ts';
import type { Message } from './jsonrpc.ts';
import { Reconnect } from './reconnect.ts';
import type { RpcAnswer } from './rpc-client.ts';
import { RpcClient, RpcClosed } from './rpc-client.ts';
import type { Schema } from './schema.ts';
import { COL_UUID, COL_VERSION, schemaFromJson, schemaToJson } from './schema.ts';
import type { ServedDb } from './served-db.ts';
import type { TlsConfig } from './tls.ts';
import { Transaction } from './transaction.ts';
import { TxnHistory } from './txn-history.ts';
import { unconstrained } from './type.ts';

const MAX_BACKOFF_MS = 8000;
const PREFIX = 'relay:';

/** What `relay:DB:REMOTE[,REMOTE…]` on the command line says; undefined for another word. Throws OvsdbError. */
export function parseRelayName(
  word: string,
): { readonly name: string; readonly remotes: readonly string[] } | undefined {
  if (!word.startsWith(PREFIX)) return undefined;
  const [, name, remotes] = /^relay:([^:]+):(.+)$/.exec(word) ?? [];
  if (name === undefined) throw new OvsdbError('ovsdb error', `invalid syntax: ${word}`);
  return { name, remotes: remotes!.split(',') };
}

/** What a relay needs of its server. */
export interface RelayHost {
  log(level: 'dbg' | 'info' | 'warn', module: string, message: string): void;
  isDebugging(module: string): boolean;
  /** Shows in `_Server` what has changed of the database. */
  publish(served: ServedDb): void;
  /** Gives a database another schema and no rows. */
  resetDatabase(served: ServedDb, schema: Schema): void;
}

/** A transaction of a client that waits for the source. */
interface Forwarded {
  readonly params: Json;
  readonly done: (results: Json) => void;
  isSent: boolean;
}

/** Follows a database of another server and passes on what writes to it, so that many clients can be served without the source feeling them
 *  (ovsdb(7), "Relay Service Model"). */
export class Relay {
  readonly served: ServedDb;
  private readonly server: RelayHost;
  private readonly remotes: readonly string[];
  private readonly tls: TlsConfig;
  private readonly reconnect: Reconnect;
  private readonly abort = new AbortController();
  private readonly waiting = new Set<Forwarded>();
  private client: RpcClient | undefined;
  private timer: NodeJS.Timeout | undefined;
  private attempts = 0;
  private isMonitoring = false;

  constructor(server: RelayHost, served: ServedDb, remotes: readonly string[], tls: TlsConfig) {
    this.server = server;
    this.served = served;
    this.remotes = remotes;
    this.tls = tls;
    this.reconnect = new Reconnect(MAX_BACKOFF_MS, (level, text) => server.log(level, 'reconnect', text));
    served.forward = (params, done) => this.forward(params, done);
  }

  start(): void {
    void this.connect();
  }

  stop(): void {
    this.abort.abort();
    clearTimeout(this.timer);
    this.client?.close();
  }

  private async connect(): Promise<void> {
    const remote = this.remotes[this.attempts++ % this.remotes.length]!;
    this.reconnect.connecting(remote);
    try {
      const { server } = this;
      const debug = (text: () => string) => {
        if (server.isDebugging('jsonrpc')) server.log('dbg', 'jsonrpc', text());
      };
      const client = await RpcClient.open(remote, this.tls, this.abort.signal, { debug });
      this.client = client;
      this.reconnect.connected(remote);
      client.onMessage = (message) => this.received(message);
      await this.follow(client);
      const reason = await client.closed;
      this.lost();
      this.retry(() => this.reconnect.disconnected(remote, reason));
    } catch (error) {
      this.client?.close();
      this.lost();
      if (error instanceof OvsdbError) this.server.log('warn', 'relay', `${this.served.name}: ${error}`);
      const why = error instanceof RpcClosed ? error.message : strerror(error);
      this.retry(() => this.reconnect.failed(remote, why));
    }
  }

  private retry(decide: () => number): void {
    this.client = undefined;
    if (this.abort.signal.aborted) return;
    this.timer = setTimeout(() => void this.connect(), decide());
  }

  /** What had been sent may or may not have been carried out. */
  private lost(): void {
    this.isMonitoring = false;
    for (const forwarded of [...this.waiting]) {
      if (!forwarded.isSent) continue;
      this.waiting.delete(forwarded);
      forwarded.done(new OvsdbError('timed out', 'the connection to the relay source was lost').toJson());
    }
    if (!this.abort.signal.aborted) this.publish(false);
  }

  private publish(isConnected: boolean): void {
    const { service } = this.served;
    if (service.isConnected === isConnected) return;
    this.served.service = { ...service, isConnected };
    this.server.publish(this.served);
  }

  /** Learns the schema and begins to monitor. Throws OvsdbError or RpcClosed. */
  private async follow(client: RpcClient): Promise<void> {
    const { name } = this.served;
    const schema = schemaFromJson(resultOf('get_schema', await client.request('get_schema', [name])));
    const requests = Object.fromEntries([...schema.tables.keys()].map((table) => [table, [{}]]));
    const isSame = this.served.isAvailable && sameSchema(this.served.db.schema, schema);
    const lastId = isSame ? (this.served.history?.lastId ?? ZERO_UUID) : ZERO_UUID;
    const params = [name, ['monid', name], requests, lastId];
    await new Promise<void>((resolve, reject) => {
      // At once: an update may follow right behind.
      const take = (answer: RpcAnswer) => {
        try {
          this.begin(isSame ? undefined : schema, resultOf('monitor_cond_since', answer));
          resolve();
        } catch (error) {
          reject(error);
        }
      };
      client.call('monitor_cond_since', params, { resolve: take, reject });
    });
    this.isMonitoring = true;
    this.publish(true);
    for (const forwarded of this.waiting) this.send(forwarded);
  }

  private begin(schema: Schema | undefined, result: Json): void {
    if (!isArray(result) || result.length !== 3 || typeof result[1] !== 'string') {
      throw plainError('bad monitor_cond_since reply');
    }
    const [found, lastId, updates] = result as [Json, string, Json];
    if (schema) this.server.resetDatabase(this.served, schema);
    // Without ids of the source there is nothing by which clients could resume.
    if (found !== true) this.served.history = lastId === ZERO_UUID ? null : new TxnHistory();
    this.apply(updates, lastId, found !== true);
  }

  private received(message: Message): void {
    if (message.kind !== 'notification' || message.method !== 'update3') return;
    const [, id, updates] = message.params;
    try {
      this.apply(updates ?? null, typeof id === 'string' ? id : ZERO_UUID, false);
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      // A fresh start is all that helps.
      this.server.log('warn', 'relay', error.toString());
      this.served.history = null;
      this.client?.close();
    }
  }

  /** Applies a <table-updates2> in one transaction; with `isWhole` nothing else is kept. Throws OvsdbError. */
  private apply(updates: Json, id: string, isWhole: boolean): void {
    if (!isObject(updates)) throw plainError('<table-updates> is not object');
    const { db } = this.served;
    const txn = new Transaction(db);
    try {
      if (isWhole) for (const [name, table] of db.tables) deleteOthers(txn, table, updates[name]);
      for (const [name, rows] of Object.entries(updates)) {
        const table = db.tables.get(name);
        if (!table) throw new OvsdbError('unknown table', `unknown table ${name}`);
        applyTable(txn, table, rows);
      }
    } catch (error) {
      txn.abort();
      throw error;
    }
    this.served.apply(txn, id);
  }

  private forward(params: Json, done: (results: Json) => void): () => boolean {
    const forwarded: Forwarded = { params, done, isSent: false };
    this.waiting.add(forwarded);
    if (this.isMonitoring) this.send(forwarded);
    return () => this.waiting.delete(forwarded);
  }

  private send(forwarded: Forwarded): void {
    forwarded.isSent = true;
    const take = (answer: RpcAnswer) => {
      if (this.waiting.delete(forwarded)) forwarded.done('result' in answer ? answer.result : answer.error);
    };
    this.client!.call('transact', forwarded.params, { resolve: take, reject: () => {} });
  }
}

function resultOf(method: string, answer: RpcAnswer): Json {
  if ('result' in answer) return answer.result;
  throw plainError(`${method} failed: ${toText(answer.error)}`);
}

function sameSchema(a: Schema, b: Schema): boolean {
  return jsonEquals(schemaToJson(a), schemaToJson(b));
}

function deleteOthers(txn: Transaction, table: Table, kept: Json | undefined): void {
  for (const row of [...table.rows.values()]) {
    if (!isObject(kept) || !Object.hasOwn(kept, row.uuid)) txn.delete(table, row);
  }
}

function applyTable(txn: Transaction, table: Table, rows: Json): void {
  if (!isObject(rows)) throw new OvsdbError('Not a JSON object', '<table-update> for table is not object');
  for (const [text, update] of Object.entries(rows)) {
    const uuid = parseUuid(text);
    if (uuid === undefined) throw syntaxError(rows, '<table-update> names must be UUIDs', 'bad row UUID');
    if (!isObject(update)) throw new OvsdbError('Not a JSON object', '<row-update> is not object');
    applyRow(txn, table, uuid, update);
  }
}

function applyRow(txn: Transaction, table: Table, uuid: string, update: JsonObject): void {
  const known = table.rows.get(uuid);
  const whole = update.initial ?? update.insert;
  if (isObject(whole)) {
    const row = known ? txn.modify(table, known) : table.newRow(uuid);
    if (!known) txn.insert(table, row);
    for (const { name, index, type } of table.schema.columns) {
      if (index === COL_UUID || index === COL_VERSION) continue;
      row.fields[index] = whole[name] === undefined ? defaultDatum(type) : datumFromJson(whole[name], type);
    }
  } else if (isObject(update.modify)) {
    if (!known) throw new OvsdbError('consistency violation', `No row ${uuid} in table ${table.schema.name}.`);
    const row = txn.modify(table, known);
    for (const [name, json] of Object.entries(update.modify)) {
      const column = table.schema.byName.get(name);
      if (!column || column.index === COL_VERSION) continue;
      const { index, type } = column;
      row.fields[index] = datumApplyDiff(row.fields[index]!, datumFromJson(json, unconstrained(type)), type);
    }
  } else if (known) txn.delete(table, known);
}
