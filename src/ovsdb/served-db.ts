import { randomUUID } from 'node:crypto';
import { ZERO_UUID } from './atom.ts';
import type { Database } from './database.ts';
import type { DatabaseLog } from './database-log.ts';
import { OvsdbError } from './error.ts';
import type { ExecuteContext } from './execute.ts';
import { Execution } from './execute.ts';
import { convertDatabase, databaseToFile, transactionToFile } from './file.ts';
import type { Json } from './json.ts';
import type { Schema } from './schema.ts';
import { schemaToJson } from './schema.ts';
import type { Transaction, TxnRow } from './transaction.ts';
import { TxnHistory } from './txn-history.ts';

/** Hears of every completed transaction, in order; `id` is the transaction's, zero where they have none. */
export type ChangeListener = (changes: readonly TxnRow[], id: string) => void;

/** Whether a database has an id for each transaction, and how it appears in `_Server` (ovsdb-server(5), "Database TABLE"). */
export interface ServiceModel {
  readonly model: 'standalone' | 'clustered' | 'relay';
  readonly isConnected: boolean;
  readonly isLeader: boolean;
  readonly clusterId?: string | undefined;
  readonly serverId?: string | undefined;
  readonly index?: number | undefined;
}

/** Carries out a transaction elsewhere; returns how to give it up. */
export type Forward = (params: Json, done: (results: Json) => void) => () => boolean;

/** A "transact" request that may have to wait. */
interface Trigger {
  readonly params: Json;
  readonly context: () => Omit<ExecuteContext, 'elapsedMs'>;
  readonly since: number;
  readonly done: (results: Json) => void;
  timer: NodeJS.Timeout | undefined;
  /** Set once it has been forwarded. */
  giveUp: (() => boolean) | undefined;
}

export interface ServedDbOptions {
  /** A message of vlog's level WARN. */
  readonly warn?: (text: string) => void;
  readonly info?: (text: string) => void;
  /** Write differences of columns, as Open vSwitch since 2.17 does. Default true. */
  readonly useColumnDiff?: boolean;
  /** Every transaction has an id, and the last ones are kept for clients that come back. */
  readonly hasHistory?: boolean;
  readonly history?: TxnHistory;
}

/** A database in service: executes requests, keeps the file, tells the listeners. */
export class ServedDb {
  db: Database;
  readonly log: DatabaseLog | null;
  /** False while a relay has not heard of its source. */
  isAvailable = true;
  /** The last transactions, where each has an id. */
  history: TxnHistory | null;
  service: ServiceModel = { model: 'standalone', isConnected: true, isLeader: true };
  /** Set for a relay: what writes is carried out there. */
  forward: Forward | null = null;
  useColumnDiff: boolean;
  /** Called when the file has been closed. */
  onClose: () => void = () => {};
  private readonly options: ServedDbOptions;
  private readonly listeners = new Set<ChangeListener>();
  private readonly waiting = new Set<Trigger>();
  private isRetryScheduled = false;
  private lazySyncTimer: NodeJS.Timeout | undefined;

  constructor(db: Database, log: DatabaseLog | null, options: ServedDbOptions = {}) {
    this.db = db;
    this.log = log;
    this.options = options;
    this.useColumnDiff = options.useColumnDiff ?? true;
    this.history = options.history ?? (options.hasHistory ? new TxnHistory() : null);
  }

  get name(): string {
    return this.db.name;
  }

  get nWaiting(): number {
    return this.waiting.size;
  }

  listen(listener: ChangeListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Executes a "transact" request; `done` gets the reply's result, at once or after a wait or a sync. The returned function cancels
   *  a request that is still waiting (and says whether it was): then `done` is not called. */
  transact(
    params: Json,
    context: () => Omit<ExecuteContext, 'elapsedMs'>,
    done: (results: Json) => void,
  ): () => boolean {
    const trigger: Trigger = { params, context, since: performance.now(), done, timer: undefined, giveUp: undefined };
    this.attempt(trigger);
    return () => (trigger.giveUp ? trigger.giveUp() : this.forget(trigger));
  }

  private forget(trigger: Trigger): boolean {
    clearTimeout(trigger.timer);
    return this.waiting.delete(trigger);
  }

  private attempt(trigger: Trigger): void {
    const elapsedMs = this.waiting.has(trigger) ? performance.now() - trigger.since : 0;
    const outcome = new Execution(this.db, { ...trigger.context(), elapsedMs }).run(trigger.params);
    if (outcome.kind === 'waiting') {
      if (!this.waiting.has(trigger)) this.enqueue(trigger, outcome.timeoutMs);
      return;
    }
    this.forget(trigger);
    if (outcome.kind === 'failed') trigger.done(outcome.results);
    else if (this.forward && outcome.writes) {
      outcome.txn.abort();
      trigger.giveUp = this.forward(trigger.params, trigger.done);
    } else this.commit(outcome.txn, outcome.results, outcome.durable, trigger.done);
  }

  private enqueue(trigger: Trigger, timeoutMs: number): void {
    this.waiting.add(trigger);
    if (timeoutMs === Infinity) return;
    const left = Math.max(0, timeoutMs - (performance.now() - trigger.since));
    // A timer may fire a little early by the clock that `elapsedMs` is taken from.
    trigger.timer = setTimeout(() => this.timeOut(trigger, timeoutMs), Math.min(left, 0x7fffffff));
  }

  private timeOut(trigger: Trigger, timeoutMs: number): void {
    const left = timeoutMs - (performance.now() - trigger.since);
    if (left > 0) trigger.timer = setTimeout(() => this.timeOut(trigger, timeoutMs), Math.min(left + 1, 0x7fffffff));
    else this.attempt(trigger);
  }

  private commit(txn: Transaction, results: Json[], durable: boolean, done: (results: Json) => void): void {
    try {
      this.apply(txn);
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      results.push(error.toJson());
      done(results);
      return;
    }
    if (this.log && (durable || this.log.isAlwaysDurable)) {
      this.log.sync().then(
        () => done(results),
        (error: OvsdbError) => done([...results, error.toJson()]),
      );
    } else {
      done(results);
    }
  }

  /** Commits a transaction: checks, file, memory, listeners. Throws OvsdbError, and then nothing has happened. `id` is what it is called
   *  elsewhere already. */
  apply(txn: Transaction, id?: string): void {
    let changes: TxnRow[];
    const txnId = id ?? (this.history ? randomUUID() : ZERO_UUID);
    try {
      txn.prepare();
      changes = [...txn.changes()];
      if (changes.length > 0) this.store(txn, txnId);
    } catch (error) {
      txn.abort();
      throw error;
    }
    txn.complete();
    if (changes.length === 0) return;
    this.history?.add(txnId, changes, this.db.nAtoms);
    this.announce(changes, txnId);
  }

  private store(txn: Transaction, id: string): void {
    if (!this.log) return;
    const record = transactionToFile(txn, this.useColumnDiff);
    if (!record) return;
    try {
      this.log.append(record, id);
    } catch (error) {
      this.options.warn?.(String(error));
      throw error;
    }
    this.syncLazily();
  }

  /** Nobody waits for this one: it bounds what a power cut can take. */
  private syncLazily(): void {
    this.lazySyncTimer ??= setTimeout(() => {
      this.lazySyncTimer = undefined;
      this.log?.sync().catch((error: OvsdbError) => this.options.warn?.(error.toString()));
    }, 1000).unref();
  }

  private announce(changes: readonly TxnRow[], id: string): void {
    for (const listener of this.listeners) listener(changes, id);
    for (const change of changes) if (change.table.isLogged) this.logChange(change);
    if (this.waiting.size === 0 || this.isRetryScheduled) return;
    this.isRetryScheduled = true;
    setImmediate(() => {
      this.isRetryScheduled = false;
      for (const trigger of [...this.waiting]) if (this.waiting.has(trigger)) this.attempt(trigger);
    });
  }

  private logChange({ table, old, now, uuid }: TxnRow): void {
    const op = !old ? 'inserted' : now ? 'updated' : 'deleted';
    this.options.info?.(`table:${table.schema.name},op:${op},_uuid:${uuid}`);
  }

  /** Rewrites the file as one transaction that makes the present content. Throws OvsdbError. */
  compact(comment = 'compacting database online'): void {
    this.log?.replaceAll(schemaToJson(this.db.schema), databaseToFile(this.db, comment));
  }

  /** Takes on another schema of the same name; the file is rewritten. Throws OvsdbError. */
  convert(schema: Schema): void {
    if (schema.name !== this.name) {
      const details = `new schema name (${schema.name}) does not match database name (${this.name})`;
      throw new OvsdbError('invalid parameters', details);
    }
    const converted = convertDatabase(this.db, schema);
    this.log?.replaceAll(schemaToJson(schema), databaseToFile(converted, 'converted by ovsdb-server'));
    this.db = converted;
  }

  close(): void {
    clearTimeout(this.lazySyncTimer);
    for (const trigger of [...this.waiting]) this.forget(trigger);
    this.log?.close();
    this.onClose();
  }
}
