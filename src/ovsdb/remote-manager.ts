import { strerror } from '../base/errno.ts';
import type { Row, Table } from './database.ts';
import type { Datum } from './datum.ts';
import { datumEquals, sortedDatum } from './datum.ts';
import { OvsdbError } from './error.ts';
import { Reconnect } from './reconnect.ts';
import type { RemoteOptions } from './remotes.ts';
import { parseDbColumn, referredRows, resolveRemotes, resolveString } from './remotes.ts';
import type { OvsdbServer } from './server.ts';
import type { Session } from './session.ts';
import type { Listener, StreamName } from './stream.ts';
import { connectStream, isPassive, listenStream, needsProbes, parseStreamName } from './stream.ts';
import type { TlsConfig } from './tls.ts';
import { tlsFingerprint } from './tls.ts';
import { Transaction } from './transaction.ts';

const DEFAULT_PROBE_MS = 5000;
const DEFAULT_MAX_BACKOFF_MS = 8000;
const STATUS_INTERVAL_MS = 2500;

/** What the Manager table's status columns show. */
export interface RemoteStatus {
  readonly isConnected: boolean;
  readonly status: ReadonlyMap<string, string>;
}

function probeInterval(name: StreamName, options: RemoteOptions): number {
  return options.probeIntervalMs ?? (needsProbes(name) ? DEFAULT_PROBE_MS : 0);
}

/** A remote that clients connect to. */
class PassiveRemote {
  private readonly server: OvsdbServer;
  private readonly name: StreamName;
  private readonly label: string;
  private options: RemoteOptions;
  private listener: Listener | undefined;
  private readonly sessions = new Set<Session>();
  private isClosed = false;

  constructor(server: OvsdbServer, label: string, name: StreamName, options: RemoteOptions) {
    this.server = server;
    this.label = label;
    this.name = name;
    this.options = options;
  }

  async open(tls: TlsConfig): Promise<void> {
    const listener = await listenStream(this.name, tls, {
      accepted: (stream, peer) => this.accepted(stream, peer),
      warn: (text) => this.server.log('warn', 'stream_ssl', text),
      debug: (text) => this.server.log('dbg', 'stream_ssl', text),
    });
    this.listener = listener;
    if (this.isClosed) listener.close();
    else if (listener.boundPort) {
      const address = this.label.replace(/^[a-z]*:/, '');
      this.server.log('info', 'socket_util', `${address}: listening on port ${listener.boundPort}`);
    }
  }

  private accepted(stream: Parameters<OvsdbServer['accept']>[0], peer: string): void {
    const session = this.server.accept(stream, {
      name: peer,
      readOnly: this.options.readOnly ?? false,
      probeIntervalMs: probeInterval(this.name, this.options),
      closed: () => this.sessions.delete(session),
    });
    this.sessions.add(session);
  }

  setOptions(options: RemoteOptions): void {
    this.options = options;
    for (const { connection } of this.sessions) connection.setProbeInterval(probeInterval(this.name, options));
  }

  setTls(tls: TlsConfig): void {
    this.listener?.setTls(tls);
  }

  get status(): RemoteStatus {
    const status = new Map<string, string>();
    if (this.sessions.size > 1) status.set('n_connections', String(this.sessions.size));
    if (this.listener?.boundPort) status.set('bound_port', String(this.listener.boundPort));
    return { isConnected: this.sessions.size > 0, status };
  }

  close(): void {
    this.isClosed = true;
    this.listener?.close();
    for (const { connection } of this.sessions) connection.destroy();
  }
}

/** A remote that the server connects to, again and again. */
class ActiveRemote {
  private readonly server: OvsdbServer;
  private readonly name: StreamName;
  private readonly label: string;
  private readonly reconnect: Reconnect;
  private readonly abort = new AbortController();
  private options: RemoteOptions;
  private tls: TlsConfig = {};
  private session: Session | undefined;
  private state = 'BACKOFF';
  private lastError: string | undefined;
  private connectedAt: number | undefined;
  private disconnectedAt: number | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(server: OvsdbServer, label: string, name: StreamName, options: RemoteOptions) {
    this.server = server;
    this.label = label;
    this.name = name;
    this.options = options;
    this.reconnect = new Reconnect(options.maxBackoffMs ?? DEFAULT_MAX_BACKOFF_MS, (level, text) =>
      server.log(level, 'reconnect', text),
    );
  }

  async open(tls: TlsConfig): Promise<void> {
    this.tls = tls;
    void this.connect();
  }

  private async connect(): Promise<void> {
    this.state = 'CONNECTING';
    this.reconnect.connecting(this.label);
    try {
      const stream = await connectStream(this.name, this.tls, this.abort.signal);
      if (this.abort.signal.aborted) stream.destroy();
      else this.connected(stream);
    } catch (error) {
      this.retry(strerror(error), () => this.reconnect.failed(this.label, strerror(error)));
    }
  }

  private connected(stream: Parameters<OvsdbServer['accept']>[0]): void {
    this.state = 'ACTIVE';
    this.connectedAt = performance.now();
    this.lastError = undefined;
    this.reconnect.connected(this.label);
    this.session = this.server.accept(stream, {
      name: this.label,
      readOnly: this.options.readOnly ?? false,
      probeIntervalMs: probeInterval(this.name, this.options),
      closed: (reason) => this.disconnected(reason),
    });
  }

  private disconnected(reason: string | null): void {
    this.session = undefined;
    this.disconnectedAt = performance.now();
    this.retry(reason ?? 'End of file', () => this.reconnect.disconnected(this.label, reason));
  }

  private retry(error: string, decide: () => number): void {
    if (this.abort.signal.aborted) return;
    this.lastError = error;
    this.state = 'BACKOFF';
    this.timer = setTimeout(() => void this.connect(), decide());
  }

  setOptions(options: RemoteOptions): void {
    this.options = options;
    this.reconnect.maxMs = options.maxBackoffMs ?? DEFAULT_MAX_BACKOFF_MS;
    this.session?.connection.setProbeInterval(probeInterval(this.name, options));
  }

  setTls(tls: TlsConfig): void {
    this.tls = tls;
  }

  get status(): RemoteStatus {
    const status = new Map([['state', this.state]]);
    const seconds = (since: number) => String(Math.floor((performance.now() - since) / 1000));
    if (this.connectedAt !== undefined) status.set('sec_since_connect', seconds(this.connectedAt));
    if (this.disconnectedAt !== undefined) status.set('sec_since_disconnect', seconds(this.disconnectedAt));
    if (this.lastError !== undefined) status.set('last_error', this.lastError);
    this.addLocks(status);
    return { isConnected: this.session !== undefined, status };
  }

  private addLocks(status: Map<string, string>): void {
    const { session } = this;
    if (!session) return;
    const names = [...session.locks];
    const held = names.filter((name) => this.server.locks.isOwner(name, session));
    const waiting = names.filter((name) => !held.includes(name));
    if (held.length) status.set('locks_held', held.join(' '));
    if (waiting.length) status.set('locks_waiting', waiting.join(' '));
  }

  close(): void {
    this.abort.abort();
    clearTimeout(this.timer);
    this.session?.connection.destroy();
  }
}

/** Keeps a server's listeners and outgoing connections as the configured remotes and the database say. */
export class RemoteManager {
  /** As configured: connection methods and `db:…`. */
  readonly configured = new Set<string>();
  private readonly server: OvsdbServer;
  private readonly tlsOptions: TlsConfig;
  private readonly remotes = new Map<string, PassiveRemote | ActiveRemote>();
  private readonly failed = new Map<string, string>();
  private unlisten: (() => void)[] = [];
  private isScheduled = false;
  private pending: Promise<void> = Promise.resolve();
  private isStopped = false;
  private tls: TlsConfig = {};
  private tlsFingerprint = '';
  private lastProblem = '';
  private statusTimer: NodeJS.Timeout | undefined;

  constructor(server: OvsdbServer, tlsOptions: TlsConfig) {
    this.server = server;
    this.tlsOptions = tlsOptions;
  }

  /** Opens everything; the returned text says what is wrong with the configuration. Afterwards follows the database. */
  async start(): Promise<string> {
    this.follow();
    this.server.onDatabasesChanged = () => {
      this.follow();
      this.schedule();
    };
    this.statusTimer = setInterval(() => this.tick(), STATUS_INTERVAL_MS).unref();
    const problem = await this.reconfigure();
    this.lastProblem = problem;
    this.writeStatus();
    return problem;
  }

  /** Which of the remotes that were configured by themselves (not through the database) could not be opened, and why; empty when all is
   *  well. */
  failures(): string {
    const own = [...this.failed].filter(([label]) => this.configured.has(label));
    return own.map(([label, why]) => `${label}: listen failed: ${why}`).join('\n');
  }

  stop(): void {
    this.isStopped = true;
    clearInterval(this.statusTimer);
    for (const stop of this.unlisten) stop();
    for (const remote of this.remotes.values()) remote.close();
    this.remotes.clear();
  }

  async add(remote: string): Promise<string | undefined> {
    const problem = remote.startsWith('db:') ? parseDbColumn(this.server, remote) : undefined;
    if (typeof problem === 'string') return problem;
    this.configured.add(remote);
    await this.reconfigure();
    return undefined;
  }

  async remove(remote: string): Promise<boolean> {
    const wasThere = this.configured.delete(remote);
    await this.reconfigure();
    return wasThere;
  }

  /** Looks again whenever a database changes that a `db:` option names. */
  private follow(): void {
    for (const stop of this.unlisten) stop();
    const names = [...this.configured, ...Object.values(this.tlsOptions)].filter(
      (name): name is string => typeof name === 'string' && name.startsWith('db:'),
    );
    const dbs = new Set(
      names.map((name) => parseDbColumn(this.server, name)).map((found) => typeof found !== 'string' && found.served),
    );
    this.unlisten = [...dbs].filter((served) => served !== false).map((served) => served.listen(() => this.schedule()));
  }

  private schedule(): void {
    if (this.isScheduled || this.isStopped) return;
    this.isScheduled = true;
    this.pending = new Promise((resolve) => {
      setImmediate(() => {
        this.isScheduled = false;
        resolve(this.reconsider());
      });
    });
  }

  private async reconsider(): Promise<void> {
    const problem = await this.reconfigure();
    if (problem && problem !== this.lastProblem) this.server.log('warn', 'ovsdb_server', problem);
    this.lastProblem = problem;
  }

  /** Resolves when what the database said so far has been followed. */
  settled(): Promise<void> {
    return this.pending;
  }

  private async reconfigure(): Promise<string> {
    if (this.isStopped) return '';
    const problems: string[] = [];
    const problem = (text: string) => problems.push(text);
    this.resolveTls(problem);
    const wanted = resolveRemotes(this.server, this.configured, problem);
    for (const [label, remote] of this.remotes) {
      if (wanted.has(label)) continue;
      this.server.log('info', 'ovsdb_jsonrpc_server', `${label}: remote deconfigured`);
      remote.close();
      this.remotes.delete(label);
    }
    for (const label of this.failed.keys()) if (!wanted.has(label)) this.failed.delete(label);
    await Promise.all([...wanted].map(([label, options]) => this.openOrUpdate(label, options)));
    return problems.join('\n');
  }

  private resolveTls(problem: (text: string) => void): void {
    const resolve = (option: string | undefined) => resolveString(this.server, option, problem);
    const { privateKey, certificate, caCert, bootstrapCaCert, peerCaCert, protocols, ciphers } = this.tlsOptions;
    const tls = {
      privateKey: resolve(privateKey),
      certificate: resolve(certificate),
      caCert: resolve(caCert),
      bootstrapCaCert,
      peerCaCert,
      protocols: resolve(protocols),
      ciphers: resolve(ciphers),
    };
    const fingerprint = tlsFingerprint(tls);
    if (fingerprint === this.tlsFingerprint) return;
    this.tlsFingerprint = fingerprint;
    this.tls = tls;
    for (const remote of this.remotes.values()) remote.setTls(tls);
  }

  private async openOrUpdate(label: string, options: RemoteOptions): Promise<void> {
    const known = this.remotes.get(label);
    if (known) {
      known.setOptions(options);
      return;
    }
    const name = parseStreamName(label);
    if (!name) {
      this.fail(label, 'Address family not supported by protocol');
      return;
    }
    const remote = isPassive(name)
      ? new PassiveRemote(this.server, label, name, options)
      : new ActiveRemote(this.server, label, name, options);
    this.remotes.set(label, remote);
    try {
      await remote.open(this.tls);
      this.failed.delete(label);
    } catch (error) {
      this.remotes.delete(label);
      this.fail(label, strerror(error));
    }
  }

  private fail(label: string, why: string): void {
    if (this.failed.get(label) === why) return;
    this.failed.set(label, why);
    this.server.log('err', 'ovsdb_jsonrpc_server', `${label}: listen failed: ${why}`);
  }

  private tick(): void {
    this.writeStatus();
    // Key files may have been renewed.
    if (Object.keys(this.tlsOptions).length > 0) this.schedule();
  }

  /** Writes `is_connected` and `status` of the rows that `db:` remotes refer to. */
  writeStatus(): void {
    for (const name of this.configured) {
      const found = name.startsWith('db:') ? parseDbColumn(this.server, name) : '';
      if (typeof found === 'string') continue;
      const referred = referredRows(found);
      if (!referred || referred.rows.length === 0) continue;
      const txn = new Transaction(found.served.db);
      for (const row of referred.rows) this.writeRow(txn, referred.table, row);
      try {
        found.served.apply(txn);
      } catch (error) {
        if (!(error instanceof OvsdbError)) throw error;
        this.server.log('err', 'ovsdb_server', `Failed to update remote status: ${error}`);
      }
    }
  }

  private writeRow(txn: Transaction, table: Table, row: Row): void {
    const target = row.fields[table.schema.byName.get('target')?.index ?? 0]!.keys[0] as string;
    const { isConnected, status } = this.remotes.get(target)?.status ?? { isConnected: false, status: new Map() };
    const values: [string, Datum][] = [
      ['is_connected', { keys: [isConnected], values: null }],
      ['status', sortedDatum([...status.keys()], [...status.values()])],
    ];
    for (const [name, value] of values) {
      const index = table.schema.byName.get(name)?.index;
      const current = table.rows.get(row.uuid)!;
      if (index === undefined || datumEquals(current.fields[index]!, value)) continue;
      txn.modify(table, current).fields[index] = value;
    }
  }
}
