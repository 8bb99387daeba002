import type { Duplex } from 'node:stream';
import { parseUuid, ZERO_UUID } from './atom.ts';
import { OvsdbError, syntaxError } from './error.ts';
import type { Json } from './json.ts';
import { jsonEquals, sortedText } from './json.ts';
import type { Message } from './jsonrpc.ts';
import { JsonRpcConnection } from './jsonrpc.ts';
import type { LockHolder, LockTable } from './locks.ts';
import type { MonitorVersion } from './monitor.ts';
import { Monitor } from './monitor.ts';
import { isId } from './parser.ts';
import type { Schema } from './schema.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';

import type { ServedDb } from './served-db.ts';

export interface SessionOptions {
  /** What the peer is called in messages. */
  readonly name: string;
  readonly readOnly?: boolean;
  readonly probeIntervalMs?: number;
  /** Once, when the connection is gone. `reason` null: closed in order. */
  readonly closed?: (reason: string | null) => void;
}

interface OpenMonitor {
  readonly monitor: Monitor;
  readonly served: ServedDb;
  readonly stop: () => void;
}

type Request = Extract<Message, { kind: 'request' }>;

const MONITOR_VERSIONS: { readonly [method: string]: MonitorVersion } = {
  monitor: 1,
  monitor_cond: 2,
  monitor_cond_since: 3,
};

/** What a session needs of its server. */
export interface SessionHost {
  readonly uuid: string;
  readonly dbs: ReadonlyMap<string, ServedDb>;
  readonly locks: LockTable;
  readonly hasMonitorCond: boolean;
  log(level: 'dbg' | 'info' | 'warn' | 'err', module: string, message: string): void;
  isDebugging(module: string): boolean;
  convert(served: ServedDb, schema: Schema): void;
  sessionClosed(session: Session): void;
}

interface PendingRequest {
  readonly id: Json;
  readonly served: ServedDb;
  /** False when it is past being canceled. */
  readonly cancel: () => boolean;
}

/** One client: its requests, monitors and locks (RFC 7047 section 4.1; ovsdb-server(7)). */
export class Session implements LockHolder {
  readonly connection: JsonRpcConnection;
  /** The client watches `_Server` by itself and need not be disconnected when databases come and go. */
  isDbChangeAware = false;
  readOnly: boolean;
  /** Locks that were asked for and not given up, by name; true once stolen from us. */
  readonly locks = new Set<string>();
  private readonly server: SessionHost;
  private readonly monitors = new Map<string, OpenMonitor>();
  /** Requests that are not answered yet, by their ids' text. */
  private readonly pending = new Map<string, PendingRequest>();
  private isFlushScheduled = false;

  constructor(server: SessionHost, stream: Duplex, options: SessionOptions) {
    this.server = server;
    this.readOnly = options.readOnly ?? false;
    const handlers = {
      message: (message: Message) => this.received(message),
      drained: () => this.flush(),
      warn: (text: string) => server.log('warn', 'jsonrpc', text),
      debug: (text: () => string) => {
        if (server.isDebugging('jsonrpc')) server.log('dbg', 'jsonrpc', text());
      },
      unresponsive: (text: string) => server.log('err', 'reconnect', text),
      closed: (reason: string | null) => {
        this.cleanUp();
        options.closed?.(reason);
      },
    };
    const { name, probeIntervalMs = 0 } = options;
    this.connection = new JsonRpcConnection(stream, handlers, { name, probeIntervalMs });
  }

  get nPending(): number {
    return this.pending.size;
  }

  get nMonitors(): number {
    return this.monitors.size;
  }

  disconnect(why: string): void {
    this.server.log('info', 'ovsdb_jsonrpc_server', `${this.connection.name}: disconnecting (${why})`);
    this.connection.end();
  }

  lockChanged(name: string, event: 'locked' | 'stolen'): void {
    this.flush();
    this.connection.notify(event, [name]);
  }

  /** The database goes or gets another schema: its monitors end and the requests that wait on it are canceled. */
  databaseGoes(served: ServedDb): void {
    for (const [key, open] of this.monitors) {
      if (open.served !== served) continue;
      this.closeMonitor(key);
      if (this.isDbChangeAware) this.connection.notify('monitor_canceled', [open.monitor.id]);
    }
    for (const request of [...this.pending.values()]) if (request.served === served) this.drop(request);
  }

  private cleanUp(): void {
    for (const key of [...this.monitors.keys()]) this.closeMonitor(key);
    for (const { cancel } of this.pending.values()) cancel();
    this.pending.clear();
    for (const name of this.locks) this.server.locks.release(name, this);
    this.locks.clear();
    this.server.sessionClosed(this);
  }

  /** A defect of ours must not take the other clients along: it ends this one. */
  private received(message: Message): void {
    try {
      this.dispatch(message);
    } catch (error) {
      const text = `${this.connection.name}: internal error, disconnecting: ${(error as Error).stack}`;
      this.server.log('err', 'ovsdb_jsonrpc_server', text);
      this.connection.destroy('internal error');
    }
  }

  private dispatch(message: Message): void {
    if (message.kind === 'request') {
      this.request(message);
    } else if (message.kind === 'notification') {
      if (message.method === 'cancel' && message.params.length === 1) this.cancel(message.params[0]!);
    } else {
      const { name } = this.connection;
      this.server.log('warn', 'ovsdb_jsonrpc_server', `${name}: received unexpected ${message.kind} message`);
      this.connection.destroy();
    }
  }

  private request(request: Request): void {
    try {
      const result = this.execute(request);
      if (result !== undefined) this.reply(request.id, result);
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      this.replyError(request.id, error.toJson());
    }
  }

  /** What a client is told of the database comes before the answer that may depend on it. */
  private reply(id: Json, result: Json): void {
    this.flush(true);
    this.connection.reply(id, result);
  }

  private replyError(id: Json, error: Json): void {
    this.flush(true);
    this.connection.replyError(id, error);
  }

  /** The result, or undefined when the reply has been or will be sent some other way. Throws OvsdbError. */
  private execute(request: Request): Json | undefined {
    const { method, params, id } = request;
    switch (method) {
      case 'transact':
        return this.transact(this.lookUp(request), params, id);
      case 'monitor':
      case 'monitor_cond':
      case 'monitor_cond_since':
        if (method !== 'monitor' && !this.server.hasMonitorCond) break;
        return this.monitor(this.lookUp(request), params, MONITOR_VERSIONS[method]!);
      case 'monitor_cond_change':
        return this.changeConditions(params);
      case 'monitor_cancel':
        return this.cancelMonitor(params, id);
      case 'get_schema':
        return schemaToJson(this.lookUp(request).db.schema);
      case 'list_dbs':
        return [...this.server.dbs.keys()];
      case 'get_server_id':
        return this.server.uuid;
      case 'lock':
      case 'steal':
        return this.lock(request);
      case 'unlock':
        return this.unlock(request);
      case 'set_db_change_aware':
        return this.setDbChangeAware(request);
      case 'convert':
        return this.convert(this.lookUp(request), params);
    }
    this.replyError(id, 'unknown method');
    return undefined;
  }

  private lookUp({ method, params }: Request): ServedDb {
    const name = params[0];
    if (typeof name !== 'string') throw syntaxError(params, `${method} request params must begin with <db-name>`);
    const served = this.server.dbs.get(name);
    if (served && !served.isAvailable) {
      const details = `${method} request specifies database ${name} which is not yet available because it has not completed joining its cluster`;
      throw syntaxError(params, details, 'database not available');
    }
    if (served) return served;
    throw syntaxError(params, `${method} request specifies unknown database ${name}`, 'unknown database');
  }

  private transact(served: ServedDb, params: readonly Json[], id: Json): undefined {
    const key = sortedText(id);
    if (this.pending.has(key)) throw syntaxError(params, 'transact: duplicate request ID');
    let isDone = false;
    const cancel = served.transact(
      params,
      () => ({ readOnly: this.readOnly, ownsLock: (name) => this.server.locks.isOwner(name, this) }),
      (results) => {
        isDone = true;
        this.pending.delete(key);
        this.reply(id, results);
      },
    );
    if (!isDone) this.pending.set(key, { id, served, cancel });
    return undefined;
  }

  private cancel(id: Json): void {
    const request = this.pending.get(sortedText(id));
    if (request && this.withdraw(request)) this.replyError(id, 'canceled');
  }

  /** A client that is about to be disconnected takes that for its answer. */
  private drop(request: PendingRequest): void {
    if (this.withdraw(request) && this.isDbChangeAware) this.replyError(request.id, 'canceled');
  }

  /** False for a request that has been executed and waits for the disk only: it is answered when that is done. */
  private withdraw(request: PendingRequest): boolean {
    return request.cancel() && this.pending.delete(sortedText(request.id));
  }

  private monitor(served: ServedDb, params: readonly Json[], version: MonitorVersion): Json {
    const wanted = { 1: [2, 3], 2: [3], 3: [4] }[version];
    if (!wanted.includes(params.length) || params.length < 3) throw syntaxError(params, 'invalid parameters');
    const [, id, requests, lastId] = params as [Json, Json, Json, Json?];
    const key = sortedText(id);
    if (typeof requests === 'object' && this.monitors.has(key)) throw syntaxError(id, 'duplicate monitor ID');
    const monitor = new Monitor(served.db, version, id, requests);
    if (version === 3) checkLastId(lastId!);
    const stop = served.listen((changes, txnId) => {
      if (monitor.note(changes, txnId)) this.scheduleFlush();
    });
    this.monitors.set(key, { monitor, served, stop });
    return version === 3 ? replySince(monitor, served, lastId as string) : monitor.initial();
  }

  private closeMonitor(key: string): boolean {
    this.monitors.get(key)?.stop();
    return this.monitors.delete(key);
  }

  private changeConditions(params: readonly Json[]): Json {
    if (params.length !== 3) throw syntaxError(params, 'invalid parameters');
    const [oldId, newId, requests] = params as [Json, Json, Json];
    const open = this.monitors.get(sortedText(oldId));
    if (!open) throw syntaxError(oldId, 'unknown monitor session');
    const isRenamed = !jsonEquals(oldId, newId);
    if (isRenamed && this.monitors.has(sortedText(newId))) throw syntaxError(newId, 'duplicate monitor ID');
    this.flush(true);
    const update = open.monitor.changeConditions(newId, requests);
    if (isRenamed) {
      this.monitors.delete(sortedText(oldId));
      this.monitors.set(sortedText(newId), open);
    }
    if (update) this.connection.notify(update.method, update.params);
    return {};
  }

  private cancelMonitor(params: readonly Json[], id: Json): Json | undefined {
    if (params.length !== 1) this.replyError(id, 'invalid parameters');
    else if (this.closeMonitor(sortedText(params[0]!))) return {};
    else this.replyError(id, 'unknown monitor');
    return undefined;
  }

  private lockName({ method, params }: Request): string {
    const [name] = params;
    if (params.length === 1 && typeof name === 'string' && isId(name)) return name;
    throw syntaxError(params, `${method} request params must be <id>`);
  }

  private refuseReadOnlyLock(id: Json): undefined {
    this.replyError(id, 'lock and unlock methods not allowed, DB server is read only.');
  }

  private lock(request: Request): Json | undefined {
    if (this.readOnly) return this.refuseReadOnlyLock(request.id);
    const name = this.lockName(request);
    if (this.locks.has(name)) {
      throw syntaxError(request.params, `must issue "unlock" before new "${request.method}"`);
    }
    this.locks.add(name);
    return { locked: this.server.locks.request(name, this, request.method === 'steal') };
  }

  private unlock(request: Request): Json | undefined {
    if (this.readOnly) return this.refuseReadOnlyLock(request.id);
    const name = this.lockName(request);
    if (!this.locks.delete(name)) {
      throw syntaxError(request.params, 'unlock: "unlock" without "lock" or "steal"');
    }
    this.server.locks.release(name, this);
    return {};
  }

  private setDbChangeAware({ params }: Request): Json {
    if (params.length !== 1 || typeof params[0] !== 'boolean') {
      throw syntaxError(params, 'set_db_change_aware: true or false parameter expected');
    }
    this.isDbChangeAware = params[0];
    return {};
  }

  private convert(served: ServedDb, params: readonly Json[]): Json {
    if (params.length !== 2) throw syntaxError(params, 'array expected');
    if (this.readOnly) throw new OvsdbError('not allowed', 'the database server is in read only mode');
    this.server.convert(served, schemaFromJson(params[1]!));
    return {};
  }

  private scheduleFlush(): void {
    if (this.isFlushScheduled) return;
    this.isFlushScheduled = true;
    setImmediate(() => {
      this.isFlushScheduled = false;
      this.flush();
    });
  }

  /** Sends what the monitors have gathered, unless the client is slow to take what it got: then it gathers on. */
  private flush(evenIfBusy = false): void {
    if (this.connection.isBusy && !evenIfBusy) return;
    for (const { monitor } of this.monitors.values()) {
      const update = monitor.flush();
      if (update) this.connection.notify(update.method, update.params);
    }
  }
}

/** The reply to "monitor_cond_since": only what came after `lastId`, if that is known. */
function replySince(monitor: Monitor, served: ServedDb, lastId: string): Json {
  const newest = served.history?.lastId ?? ZERO_UUID;
  const missed = served.history?.since(lastId);
  monitor.lastTxnId = newest;
  if (!missed) return [false, newest, monitor.initial()];
  for (const { changes, id } of missed) monitor.note(changes, id);
  return [true, newest, monitor.takePending()];
}

function checkLastId(json: Json): void {
  if (typeof json !== 'string') throw syntaxError(json, 'last-txn-id must be string');
  if (parseUuid(json) === undefined) throw syntaxError(json, 'last-txn-id must be UUID format.');
}
