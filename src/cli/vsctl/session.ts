import { strerror } from '../../base/errno.ts';
import { vlogModule } from '../../base/vlog.ts';
import { ZERO_UUID } from '../../ovsdb/atom.ts';
import type { Json } from '../../ovsdb/json.ts';
import { isArray, isObject, toText } from '../../ovsdb/json.ts';
import type { Message } from '../../ovsdb/jsonrpc.ts';
import { Reconnect } from '../../ovsdb/reconnect.ts';
import type { RpcAnswer } from '../../ovsdb/rpc-client.ts';
import { RpcClient, RpcClosed } from '../../ovsdb/rpc-client.ts';
import { isPassive, parseStreamName, TlsError } from '../../ovsdb/stream.ts';
import type { TlsConfig } from '../../ovsdb/tls.ts';
import { CtlError } from './errors.ts';
import type { Model } from './model.ts';

const MAX_PAUSE_MS = 8000;
const METHODS = ['monitor_cond_since', 'monitor_cond', 'monitor'] as const;
type Method = (typeof METHODS)[number];

const log = vlogModule('ovsdb_idl');
const reconnectLog = vlogModule('reconnect');

const isUnknownMethod = (answer: RpcAnswer): boolean => 'error' in answer && answer.error === 'unknown method';

/** Keeps `db` like the server's database. */
export class CtlSession {
  readonly #remotes: readonly string[];
  readonly #name: string;
  readonly #tls: TlsConfig;
  readonly #db: Model;
  #retries: boolean;
  readonly #reconnect = new Reconnect(MAX_PAUSE_MS, (level, text) => reconnectLog.log(level, text));
  #client: RpcClient | undefined;
  #attempts = 0;
  #changed: () => void = () => {};
  /** Grows with each change that was received. */
  seqno = 0;

  /** `name` is what `--db` says: one or more connection methods with commas between. */
  constructor(name: string, tls: TlsConfig, db: Model, retries: boolean) {
    this.#name = name;
    this.#remotes = name.split(',').filter((remote) => remote !== '');
    this.#tls = tls;
    this.#db = db;
    this.#retries = retries || this.#remotes.some(isPassiveName);
  }

  /** From now on a lost connection is made again. */
  enableReconnect(): void {
    this.#retries = true;
  }

  /** Connects and fetches what is wanted. Throws CtlError when that fails and must not be tried again. */
  async open(): Promise<void> {
    for (;;) {
      const remote = this.#remotes[this.#attempts % Math.max(1, this.#remotes.length)] ?? this.#name;
      this.#attempts++;
      this.#reconnect.connecting(remote);
      try {
        this.#client = await RpcClient.open(remote, this.#tls);
        this.#reconnect.connected(remote);
        await this.#monitor(this.#client);
        return;
      } catch (error) {
        await this.#failed(remote, error);
      }
    }
  }

  /** Waits before the next attempt, or throws CtlError when there is none. */
  async #failed(remote: string, error: unknown): Promise<void> {
    if (error instanceof CtlError) throw error;
    if (error instanceof TlsError) vlogModule('stream_ssl').warn(`SSL_connect: ${error.detail}`);
    const why = error instanceof RpcClosed ? error.message : strerror(error);
    const pause =
      error instanceof RpcClosed
        ? this.#reconnect.disconnected(remote, error.isOrderly ? null : why)
        : this.#reconnect.failed(remote, why);
    if (!this.#retries && this.#attempts >= this.#remotes.length) {
      throw new CtlError(`${this.#name}: database connection failed (${why})`);
    }
    await new Promise((resolve) => setTimeout(resolve, this.#retries ? pause : 0));
  }

  async #monitor(client: RpcClient): Promise<void> {
    client.onMessage = (message) => this.#received(message);
    let requests = this.#requests();
    for (let at = 0, isReduced = false; at < METHODS.length; ) {
      const method = METHODS[at]!;
      const answer = await this.#startMonitor(client, method, requests);
      if (isUnknownMethod(answer)) at++;
      else if ('result' in answer) return;
      else if (isReduced) throw new CtlError(`${this.#name}: cannot monitor the database: ${toText(answer.error)}`);
      else {
        // An older server lacks tables or columns.
        requests = await this.#reduce(client);
        isReduced = true;
      }
    }
  }

  #requests(): { [table: string]: Json } {
    const wanted = this.#db.tables.filter((table) => table.isFetched);
    const request = (columns: Iterable<{ readonly name: string }>) => [
      { columns: [...columns].map(({ name }) => name) },
    ];
    return Object.fromEntries(wanted.map((table) => [table.name, request(table.columns)]));
  }

  /** Asks the server what it has, and leaves out what it lacks. */
  async #reduce(client: RpcClient): Promise<{ [table: string]: Json }> {
    const { name } = this.#db.schema;
    const answer = await client.request('get_schema', [name]);
    if (!('result' in answer)) {
      throw new CtlError(`${this.#name}: database connection failed (${describe(answer.error)})`);
    }
    const tables = isObject(answer.result) && isObject(answer.result.tables) ? answer.result.tables : {};
    for (const table of this.#db.tables.filter((one) => one.isFetched)) {
      const theirs = tables[table.name];
      if (!isObject(theirs) || !isObject(theirs.columns)) {
        log.warn(`${name} database lacks ${table.name} table (database needs upgrade?)`);
        table.isFetched = false;
        continue;
      }
      for (const column of table.columns) {
        if (Object.hasOwn(theirs.columns, column.name)) continue;
        log.warn(`${table.name} table in ${name} database lacks ${column.name} column (database needs upgrade?)`);
        table.columns.delete(column);
      }
    }
    return this.#requests();
  }

  #startMonitor(client: RpcClient, method: Method, requests: Json): Promise<RpcAnswer> {
    const { name } = this.#db.schema;
    const params: Json[] = [name, ['monid', name], requests];
    if (method === 'monitor_cond_since') params.push(ZERO_UUID);
    return new Promise((resolve, reject) => {
      // At once: an update may follow right behind.
      const take = (answer: RpcAnswer) => {
        if ('result' in answer) {
          this.seqno++;
          this.#db.clear();
          this.#db.update(isArray(answer.result) ? answer.result[2]! : answer.result);
        }
        resolve(answer);
      };
      client.call(method, params, { resolve: take, reject });
    });
  }

  #received(message: Message): void {
    if (message.kind !== 'notification' || !message.method.startsWith('update')) return;
    this.#db.update(message.params.at(-1)!);
    this.seqno++;
    this.#changed();
  }

  /** The server's answer to a transaction, or undefined when the connection was lost. */
  async transact(operations: readonly Json[]): Promise<Json | undefined> {
    try {
      const answer = await this.#client!.request('transact', [this.#db.schema.name, ...operations]);
      if ('result' in answer) return answer.result;
      return answer.error === 'canceled' ? undefined : [{ error: 'error', details: answer.error }];
    } catch (error) {
      if (!(error instanceof RpcClosed)) throw error;
      return undefined;
    }
  }

  /** Resolves when there was a change after `seqno`; connects again where that is needed and allowed. */
  async changeAfter(seqno: number): Promise<void> {
    if (this.seqno !== seqno) return;
    const client = this.#client!;
    const changed = new Promise<void>((resolve) => {
      this.#changed = resolve;
    });
    const lost = client.closed.then((reason) => new RpcClosed(reason));
    const failure = await Promise.race([changed, lost]);
    if (!(failure instanceof RpcClosed)) return;
    await this.#failed(this.#name, failure);
    await this.open();
  }

  close(): void {
    this.#client?.close();
  }
}

function isPassiveName(remote: string): boolean {
  const name = parseStreamName(remote);
  return name !== undefined && isPassive(name);
}

function describe(error: Json): string {
  return isObject(error) && typeof error.error === 'string' ? `${error.error}: ${error.details ?? ''}` : toText(error);
}
