import type { Duplex } from 'node:stream';
import { strerror } from '../base/errno.ts';
import { ZERO_UUID } from './atom.ts';
import type { Datum } from './datum.ts';
import { OvsdbError } from './error.ts';
import type { ReplicaSnapshot } from './idl-replica.ts';
import { Replica } from './idl-replica.ts';
import { Txn } from './idl-txn.ts';
import type { Idl, IdlChange, IdlOptions, IdlSnapshot, IdlState, IdlTxn, Uuid } from './idl-types.ts';
import type { Json } from './json.ts';
import { isArray, isObject, toText } from './json.ts';
import type { Message } from './jsonrpc.ts';
import { JsonRpcConnection } from './jsonrpc.ts';
import { Reconnect } from './reconnect.ts';
import type { Schema } from './schema.ts';
import { schemaFromJson } from './schema.ts';
import { connectStream, needsProbes, parseStreamName } from './stream.ts';

const DEFAULT_PROBE_MS = 5000;
const DEFAULT_MAX_BACKOFF_MS = 8000;

/** What came for a request: a result, or undefined for an error or a lost connection (then `error` tells them apart). */
interface Answer {
  readonly result?: Json;
  readonly error?: Json;
}

type Monitors = 'monitor_cond_since' | 'monitor_cond' | 'monitor';

/** The client behind `createIdl`: connects, locks, monitors, and starts over when the connection goes. */
export class IdlClient implements Idl {
  private readonly options: IdlOptions;
  private readonly replica = new Replica();
  private readonly reconnect: Reconnect;
  private readonly remotes: readonly string[];
  private readonly changeListeners = new Set<(snapshot: IdlSnapshot, changes: readonly IdlChange[]) => void>();
  private readonly stateListeners = new Set<() => void>();
  private readonly warned = new Set<string>();
  private readonly requests = new Map<number, (answer: Answer) => void>();
  private connection: JsonRpcConnection | undefined;
  private schema: Schema | undefined;
  private currentState: IdlState = 'idle';
  private lockName: string | null;
  private isLockHeld = false;
  private isLockRefused = false;
  private attempts = 0;
  private nextId = 0;
  private abort = new AbortController();
  private retryTimer: NodeJS.Timeout | undefined;
  hasEverConnected = false;

  constructor(options: IdlOptions) {
    this.options = options;
    this.lockName = options.lock ?? null;
    this.remotes = (options.remote ?? '').split(',').filter((remote) => remote !== '');
    const log = (level: 'info' | 'warn', text: string) => this.log(level, 'reconnect', text);
    this.reconnect = new Reconnect(options.maxBackoffMs ?? DEFAULT_MAX_BACKOFF_MS, log);
    if (!options.connect && this.remotes.length === 0) throw new TypeError('an IDL needs `remote` or `connect`');
    const bad = this.remotes.find((remote) => !parseStreamName(remote));
    if (bad !== undefined) throw new TypeError(`${bad}: not a connection method`);
  }

  get database(): string {
    return this.options.database ?? 'Open_vSwitch';
  }

  get state(): IdlState {
    return this.currentState;
  }

  get seqno(): number {
    return this.replica.seqno;
  }

  get hasLock(): boolean {
    return this.lockName === null || this.isLockHeld;
  }

  get isLockContended(): boolean {
    return this.lockName !== null && this.isLockRefused;
  }

  snapshot(): IdlSnapshot {
    return this.replica.snapshot();
  }

  onChange(callback: (snapshot: IdlSnapshot, changes: readonly IdlChange[]) => void): () => void {
    this.changeListeners.add(callback);
    return () => this.changeListeners.delete(callback);
  }

  onState(callback: () => void): () => void {
    this.stateListeners.add(callback);
    return () => this.stateListeners.delete(callback);
  }

  ready(): Promise<void> {
    if (this.state === 'monitoring') return Promise.resolve();
    return new Promise((resolve) => {
      const stop = this.onState(() => {
        if (this.state !== 'monitoring') return;
        stop();
        resolve();
      });
    });
  }

  hasColumn(table: string, column: string): boolean {
    return this.schema?.tables.get(table)?.byName.has(column) ?? false;
  }

  start(): void {
    if (this.state !== 'idle') return;
    void this.connect();
  }

  stop(): void {
    this.setState('stopped');
    this.abort.abort();
    clearTimeout(this.retryTimer);
    this.connection?.destroy();
    this.changeListeners.clear();
    this.stateListeners.clear();
  }

  forceReconnect(): void {
    if (this.state === 'stopped' || this.state === 'idle') return;
    this.reconnect.reset();
    if (this.connection) this.connection.destroy('forced');
    else if (this.state === 'backoff') {
      clearTimeout(this.retryTimer);
      void this.connect();
    }
  }

  txn(): IdlTxn {
    const client = this;
    return new Txn({
      database: this.database,
      get schema() {
        return client.state === 'monitoring' ? client.schema : undefined;
      },
      get lock() {
        return client.lockName;
      },
      get hasLock() {
        return client.hasLock;
      },
      datum: (table, uuid, column) => this.datum(table, uuid, column),
      warnMissing: (what) => this.warnMissing(what),
      transact: async (params) => (await this.request('transact', params)).result,
    });
  }

  private datum(table: string, uuid: Uuid, column: string): Datum | undefined {
    return this.replica.datum(table, uuid, column);
  }

  private log(level: 'dbg' | 'info' | 'warn' | 'err', module: string, message: string): void {
    this.options.log?.(level, module, message);
  }

  private warnMissing(what: string): void {
    if (this.warned.has(what)) return;
    this.warned.add(what);
    this.log('warn', 'ovsdb_idl', `${what} is missing from the server's schema (database needs upgrade?)`);
  }

  private setState(state: IdlState): void {
    if (this.currentState === state || this.currentState === 'stopped') return;
    this.currentState = state;
    this.stateChanged();
  }

  private stateChanged(): void {
    for (const listener of [...this.stateListeners]) listener();
  }

  // Connecting.

  private get target(): string {
    return this.remotes[this.attempts % Math.max(1, this.remotes.length)] ?? 'memory';
  }

  private async connect(): Promise<void> {
    const { target } = this;
    this.setState('connecting');
    this.abort = new AbortController();
    this.reconnect.connecting(target);
    try {
      const stream = await this.openStream(target);
      if (this.abort.signal.aborted) stream.destroy();
      else this.connected(stream, target);
    } catch (error) {
      this.retry(() => this.reconnect.failed(target, strerror(error)));
    }
  }

  private async openStream(target: string): Promise<Duplex> {
    if (this.options.connect) return this.options.connect();
    return connectStream(parseStreamName(target)!, this.options.tls ?? {}, this.abort.signal);
  }

  private connected(stream: Duplex, target: string): void {
    this.reconnect.connected(target);
    const name = parseStreamName(target);
    const usualProbeMs = name && needsProbes(name) ? DEFAULT_PROBE_MS : 0;
    this.connection = new JsonRpcConnection(
      stream,
      {
        message: (message) => this.received(message),
        closed: (reason) => this.disconnected(target, reason),
        warn: (text) => this.log('warn', 'jsonrpc', text),
        unresponsive: (text) => this.log('err', 'reconnect', text),
      },
      { name: target, probeIntervalMs: this.options.probeIntervalMs ?? usualProbeMs },
    );
    if (this.lockName !== null) void this.askForLock(this.lockName);
    void this.synchronize(this.connection);
  }

  private disconnected(target: string, reason: string | null): void {
    this.connection = undefined;
    this.setLockState(false, false);
    for (const answer of this.requests.values()) answer({});
    this.requests.clear();
    this.retry(() => this.reconnect.disconnected(target, reason));
  }

  /** Tries again after the pause that `decide` gives; it is not asked, and logs nothing, once we have stopped. */
  private retry(decide: () => number): void {
    if (this.state === 'stopped') return;
    const pause = decide();
    this.attempts++;
    this.retryTimer = setTimeout(() => void this.connect(), pause);
    this.setState('backoff');
  }

  // Talking.

  private request(method: string, params: Json): Promise<Answer> {
    return new Promise((resolve) => this.call(method, params, resolve));
  }

  /** Calls back at the very moment of the answer: before a notification that arrives right behind it. */
  private call(method: string, params: Json, answered: (answer: Answer) => void): void {
    const { connection } = this;
    if (!connection?.isOpen) {
      answered({});
      return;
    }
    const id = this.nextId++;
    this.requests.set(id, answered);
    connection.request(method, params, id);
  }

  private received(message: Message): void {
    switch (message.kind) {
      case 'reply':
        this.answered(message.id, { result: message.result });
        break;
      case 'error':
        this.answered(message.id, { error: message.error });
        break;
      case 'notification':
        this.notified(message.method, message.params);
        break;
      case 'request':
        this.connection?.replyError(message.id, 'unknown method');
    }
  }

  private answered(id: Json, answer: Answer): void {
    const resolve = this.requests.get(id as number);
    this.requests.delete(id as number);
    resolve?.(answer);
  }

  private notified(method: string, params: readonly Json[]): void {
    switch (method) {
      case 'update':
        this.updated(params[1], 1);
        break;
      case 'update2':
        this.updated(params[1], 2);
        break;
      case 'update3':
        this.updated(params[2], 2);
        break;
      case 'locked':
      case 'stolen':
        if (params[0] === this.lockName) this.setLockState(method === 'locked', method === 'stolen');
    }
  }

  private updated(updates: Json | undefined, format: 1 | 2): void {
    if (updates === undefined) return;
    try {
      this.announce(this.replica.apply(updates, format));
    } catch (error) {
      this.refuse(error);
    }
  }

  private announce(changes: readonly IdlChange[]): void {
    // A snapshot makes the next change copy its tables: none is taken for nobody.
    if (changes.length === 0 || this.changeListeners.size === 0) return;
    const snapshot = this.snapshot();
    for (const listener of [...this.changeListeners]) listener(snapshot, changes);
  }

  /** The server sent what cannot be understood: a fresh start is all that helps. */
  private refuse(error: unknown): void {
    if (!(error instanceof OvsdbError)) throw error;
    this.log('warn', 'ovsdb_cs', `${this.target}: received unexpected message: ${error}`);
    this.connection?.destroy('Protocol error');
  }

  // Synchronizing.

  /** Learns the schema and begins to monitor. Anything that goes wrong ends the connection. */
  private async synchronize(connection: JsonRpcConnection): Promise<void> {
    const { result, error } = await this.request('get_schema', [this.database]);
    if (this.connection !== connection) return;
    try {
      if (result === undefined) throw new OvsdbError('ovsdb error', `get_schema failed: ${toText(error ?? null)}`);
      const before = this.replica.snapshot();
      this.schema = schemaFromJson(result);
      this.startMonitor(connection, before);
    } catch (failure) {
      this.refuse(failure);
    }
  }

  private startMonitor(connection: JsonRpcConnection, before: ReplicaSnapshot): void {
    const requests = this.replica.reset(this.schema!, this.options.monitor, (what) => this.warnMissing(what));
    this.tryMonitor(['monitor_cond_since', 'monitor_cond', 'monitor'], requests, (method, answer) => {
      if (this.connection !== connection) return;
      try {
        if (answer.result === undefined) {
          throw new OvsdbError('ovsdb error', `${method} failed: ${toText(answer.error ?? null)}`);
        }
        this.monitoring(method, answer.result, before);
      } catch (failure) {
        this.refuse(failure);
      }
    });
  }

  /** Asks with the first method that the server knows. */
  private tryMonitor(
    [method, ...older]: readonly Monitors[],
    requests: { [table: string]: Json },
    done: (method: Monitors, answer: Answer) => void,
  ): void {
    this.call(method!, this.monitorParams(method!, requests), (answer) => {
      if (answer.error === 'unknown method' && older.length > 0) this.tryMonitor(older, requests, done);
      else done(method!, answer);
    });
  }

  /** The replica is empty now, so that it asks for everything. */
  private monitorParams(method: Monitors, requests: { [table: string]: Json }): Json {
    const params = [this.database, ['monid', this.database], requests];
    return method === 'monitor_cond_since' ? [...params, ZERO_UUID] : params;
  }

  private monitoring(method: Monitors, result: Json, before: ReplicaSnapshot): void {
    if (method === 'monitor_cond_since') {
      if (!isArray(result) || result.length !== 3) throw new OvsdbError('ovsdb error', 'bad monitor_cond_since reply');
      this.replica.apply(result[2]!, 2);
    } else {
      this.replica.apply(result, method === 'monitor' ? 1 : 2);
    }
    this.replica.seqno++;
    this.hasEverConnected = true;
    this.setState('monitoring');
    this.announce(this.replica.changesSince(before));
  }

  // Locking.

  setLock(name: string | null): void {
    if (name === this.lockName) return;
    if (this.lockName !== null) void this.request('unlock', [this.lockName]);
    this.lockName = name;
    this.isLockHeld = this.isLockRefused = false;
    this.stateChanged();
    if (name !== null && this.connection) void this.askForLock(name);
  }

  private async askForLock(name: string): Promise<void> {
    const { result } = await this.request('lock', [name]);
    if (name !== this.lockName || !isObject(result)) return;
    // A "locked" notification may have overtaken us.
    if (!this.isLockHeld) this.setLockState(result.locked === true, result.locked === false);
  }

  private setLockState(held: boolean, refused: boolean): void {
    if (held === this.isLockHeld && refused === this.isLockRefused) return;
    this.isLockHeld = held;
    this.isLockRefused = refused;
    if (this.state !== 'stopped') this.stateChanged();
  }
}
