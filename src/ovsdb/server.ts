import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { duplexPair } from 'node:stream';
import { openClusterFile } from './cluster-file.ts';
import type { Row } from './database.ts';
import { Database } from './database.ts';
import { OvsdbError, plainError } from './error.ts';
import { openDatabaseFile } from './file.ts';
import { sortedText } from './json.ts';
import { LockTable } from './locks.ts';
import { magicOf } from './log.ts';
import { Relay } from './relay.ts';
import type { Schema } from './schema.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';
import { ServedDb } from './served-db.ts';
import { SERVER_SCHEMA } from './server-schema.ts';
import type { SessionHost, SessionOptions } from './session.ts';
import { Session } from './session.ts';
import type { TlsConfig } from './tls.ts';
import { Transaction } from './transaction.ts';
import type { Atom } from './type.ts';

/** Where messages go: vlog's level and module. */
export type Log = (level: 'dbg' | 'info' | 'warn' | 'err', module: string, message: string) => void;

export interface OvsdbServerOptions {
  readonly log?: Log;
  /** Whether messages of level DBG of a module are wanted. Default: no. */
  readonly isDebugging?: (module: string) => boolean;
  /** Keeps other processes off a database file; returns how to let it go. Throws OvsdbError when another has it. */
  readonly lockFile?: (path: string, name: string) => () => void;
  readonly useColumnDiff?: boolean;
}

/** An OVSDB server without its listeners: databases, clients, locks and the `_Server` database. */
export class OvsdbServer implements SessionHost {
  readonly uuid: string = randomUUID();
  readonly dbs = new Map<string, ServedDb>();
  readonly sessions = new Set<Session>();
  readonly locks = new LockTable();
  readonly log: Log;
  readonly isDebugging: (module: string) => boolean;
  /** False after `ovsdb-server/disable-monitor-cond`. */
  hasMonitorCond = true;
  /** Called when a database was added, removed or converted, for what depends on its tables. */
  onDatabasesChanged: () => void = () => {};
  useColumnDiff: boolean;
  /** Where the databases that have a file have it: absolute. */
  readonly files = new Map<ServedDb, string>();
  private readonly meta: ServedDb;
  private isReadOnly = false;
  private readonly lockFile: (path: string, name: string) => () => void;

  constructor(options: OvsdbServerOptions = {}) {
    this.log = options.log ?? (() => {});
    this.isDebugging = options.isDebugging ?? (() => false);
    this.useColumnDiff = options.useColumnDiff ?? true;
    this.lockFile = options.lockFile ?? (() => () => {});
    this.meta = new ServedDb(new Database(schemaFromJson(SERVER_SCHEMA)), null);
    this.dbs.set(this.meta.name, this.meta);
    this.publish(this.meta);
  }

  /** Opens a database file and serves it. `name` is what it is called in messages. Throws OvsdbError. */
  openFile(path: string, name: string = path): ServedDb {
    const file = resolve(path);
    if ([...this.files.values()].includes(file)) throw plainError(`${name}: already open`);
    const unlock = this.lockFile(file, name);
    try {
      const served = magicOf(file, name) === 'CLUSTER' ? this.openCluster(file, name) : this.openStandalone(file, name);
      this.files.set(served, file);
      served.onClose = unlock;
      return this.addOrClose(served);
    } catch (error) {
      unlock();
      throw error;
    }
  }

  private openStandalone(file: string, name: string): ServedDb {
    const { db, log } = openDatabaseFile(file, (text) => this.log('err', 'ovsdb_server', text), { name });
    return new ServedDb(db, log, this.dbOptions());
  }

  /** A clustered database whose only member is this server. */
  private openCluster(file: string, name: string): ServedDb {
    const { db, log, history } = openClusterFile(file, (text) => this.log('err', 'ovsdb_server', text), name);
    log.lead();
    const served = new ServedDb(db, log, { ...this.dbOptions(), history });
    const { serverId, clusterId } = log.header;
    served.service = { model: 'clustered', isConnected: true, isLeader: true, serverId, clusterId, index: log.index };
    return served;
  }

  private addOrClose(served: ServedDb): ServedDb {
    try {
      return this.add(served);
    } catch (error) {
      this.files.delete(served);
      served.close();
      throw error;
    }
  }

  private dbOptions() {
    return {
      warn: (text: string) => this.log('warn', 'ovsdb_log', text),
      info: (text: string) => this.log('info', 'transaction', text),
      useColumnDiff: this.useColumnDiff,
    };
  }

  /** Serves a database that lives in memory only. Throws OvsdbError for a name that is taken or reserved. */
  addInMemory(schema: Schema): ServedDb {
    return this.add(new ServedDb(new Database(schema), null, this.dbOptions()));
  }

  /** Adds a database that follows another server's; until it has heard of that one it is not available. Throws OvsdbError. */
  addRelay(name: string, remotes: readonly string[], tls: TlsConfig): Relay {
    const schema: Schema = { name, version: '', cksum: '', tables: new Map() };
    const served = new ServedDb(new Database(schema), null, { ...this.dbOptions(), hasHistory: true });
    served.isAvailable = false;
    served.service = { model: 'relay', isConnected: false, isLeader: false };
    const relay = new Relay(this, this.add(served), remotes, tls);
    served.onClose = () => relay.stop();
    relay.start();
    return relay;
  }

  /** Gives a database another schema and no rows. */
  resetDatabase(served: ServedDb, schema: Schema): void {
    served.db = new Database(schema);
    const isNew = !served.isAvailable;
    served.isAvailable = true;
    if (!isNew) this.databaseGoes(served, `${served.name} database schema changed`);
    this.publish(served);
    this.onDatabasesChanged();
  }

  private add(served: ServedDb): ServedDb {
    if (served.name.startsWith('_')) throw plainError(`${served.name}: names beginning with "_" are reserved`);
    if (this.dbs.has(served.name)) throw plainError(`${served.name}: duplicate database name`);
    this.disconnectUnaware(`adding ${served.name} database`);
    this.dbs.set(served.name, served);
    this.publish(served);
    this.onDatabasesChanged();
    return served;
  }

  remove(served: ServedDb, why: string): void {
    this.databaseGoes(served, why);
    this.dbs.delete(served.name);
    this.files.delete(served);
    this.unpublish(served);
    served.close();
    this.onDatabasesChanged();
  }

  private databaseGoes(served: ServedDb, why: string): void {
    for (const session of this.sessions) session.databaseGoes(served);
    this.disconnectUnaware(why);
  }

  /** Converts a database to another schema. Throws OvsdbError. */
  convert(served: ServedDb, schema: Schema): void {
    served.convert(schema);
    this.databaseGoes(served, `committed ${served.name} database schema conversion`);
    this.publish(served);
    this.onDatabasesChanged();
  }

  /** A backup's clients may only read, those that are there and those that come. */
  setReadOnly(readOnly: boolean): void {
    this.isReadOnly = readOnly;
    for (const session of this.sessions) session.readOnly = readOnly;
  }

  /** Serves a client on any byte stream. */
  accept(stream: Duplex, options: SessionOptions): Session {
    const readOnly = this.isReadOnly || (options.readOnly ?? false);
    const session = new Session(this, stream, { ...options, readOnly });
    this.sessions.add(session);
    return session;
  }

  /** A connection within the process: the client's end. */
  connectInMemory(): Duplex {
    const [client, server] = duplexPair();
    // The pair passes on an orderly end, but not a destruction.
    client.once('close', () => server.destroy());
    server.once('close', () => client.destroy());
    this.accept(server, { name: 'memory' });
    return client;
  }

  sessionClosed(session: Session): void {
    this.sessions.delete(session);
  }

  private disconnectUnaware(why: string): void {
    for (const session of [...this.sessions]) if (!session.isDbChangeAware) session.disconnect(why);
  }

  disconnectAll(why: string): void {
    for (const session of [...this.sessions]) session.disconnect(why);
  }

  /** Compacts files that have grown a lot; call now and then. */
  compactWhereWorthwhile(): void {
    for (const served of this.dbs.values()) {
      if (!served.log?.hasGrownALot) continue;
      try {
        served.compact();
      } catch (error) {
        if (!(error instanceof OvsdbError)) throw error;
        this.log('info', 'ovsdb_server', error.toString());
      }
    }
  }

  close(): void {
    for (const session of [...this.sessions]) session.connection.destroy();
    for (const served of this.dbs.values()) served.close();
    this.dbs.clear();
  }

  /** Puts a database's row into `_Server`, or brings it up to date (ovsdb-server(5), "Database TABLE"). */
  publish(served: ServedDb): void {
    const table = this.meta.db.tables.get('Database')!;
    const txn = new Transaction(this.meta.db);
    const known = this.publishedRow(served);
    const row = known ? txn.modify(table, known) : table.newRow();
    if (!known) txn.insert(table, row);
    const set = (name: string, value: Atom) => {
      row.fields[table.schema.byName.get(name)!.index] = { keys: [value], values: null };
    };
    set('name', served.name);
    const { model, isConnected, isLeader, clusterId, serverId, index } = served.service;
    set('model', model);
    set('connected', isConnected);
    set('leader', isLeader);
    if (clusterId !== undefined) set('cid', clusterId);
    if (serverId !== undefined) set('sid', serverId);
    if (index !== undefined) set('index', index);
    if (served.isAvailable) set('schema', sortedText(schemaToJson(served.db.schema)));
    this.meta.apply(txn);
  }

  private unpublish(served: ServedDb): void {
    const row = this.publishedRow(served);
    if (!row) return;
    const txn = new Transaction(this.meta.db);
    txn.delete(this.meta.db.tables.get('Database')!, row);
    this.meta.apply(txn);
  }

  private publishedRow(served: ServedDb): Row | undefined {
    const table = this.meta.db.tables.get('Database')!;
    const { index } = table.schema.byName.get('name')!;
    return [...table.rows.values()].find((row) => row.fields[index]!.keys[0] === served.name);
  }
}
