import type { Daemon } from '../../base/daemon.ts';
import { ovsRundir } from '../../base/dirs.ts';
import { strerror } from '../../base/errno.ts';
import { vlogModule } from '../../base/vlog.ts';
import type { Json, JsonObject } from '../../ovsdb/json.ts';
import { isArray, isObject, JsonParser, JsonSyntaxError, sortedText, toText } from '../../ovsdb/json.ts';
import type { RpcAnswer } from '../../ovsdb/rpc-client.ts';
import { RpcClient, RpcClosed } from '../../ovsdb/rpc-client.ts';
import type { Schema } from '../../ovsdb/schema.ts';
import { schemaFromJson } from '../../ovsdb/schema.ts';
import { isPassive, parseStreamName, TlsError } from '../../ovsdb/stream.ts';
import type { TlsConfig } from '../../ovsdb/tls.ts';
import type { TablePrinter } from '../text-table.ts';
import { prettyText } from '../text-table.ts';

/** What ends the program with exit code 1 and a message behind the program's name. */
export class ClientError extends Error {
  override name = 'ClientError';
}

export interface ClientSettings {
  readonly tls: TlsConfig;
  readonly tables: TablePrinter;
  readonly daemon: Daemon;
  readonly timestamp: boolean;
  readonly force: boolean;
  readonly leaderOnly: boolean;
  /** Undefined: if the server can. */
  readonly dbChangeAware: boolean | undefined;
}

/** What a command works with. */
export interface ClientCall {
  /** Without the server and the database. */
  readonly args: readonly string[];
  readonly settings: ClientSettings;
}

export const defaultRemote = (): string => `unix:${ovsRundir()}/db.sock`;

/** `word` names a server rather than a database. */
export function isRemote(word: string): boolean {
  return /^[a-zA-Z]/.test(word) && word.includes(':');
}

export function parseText(text: string): Json {
  try {
    return new JsonParser(text).parse();
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new ClientError(`"${text}": ${error.message}`);
  }
}

export function jsonText(json: Json, { tables }: ClientSettings): string {
  return tables.style.pretty ? prettyText(json) : sortedText(json);
}

/** A connection to a server. */
export class ClientSession {
  readonly rpc: RpcClient;
  /** How the server was named. */
  readonly server: string;
  readonly settings: ClientSettings;

  private constructor(rpc: RpcClient, server: string, settings: ClientSettings) {
    this.rpc = rpc;
    this.server = server;
    this.settings = settings;
  }

  /** Connects to one server. Throws ClientError. */
  static async open(server: string, settings: ClientSettings): Promise<ClientSession> {
    const name = parseStreamName(server);
    const isListening = name !== undefined && isPassive(name);
    if (isListening) vlogModule('ovsdb_client').info(`${server}: waiting for connection...`);
    try {
      return new ClientSession(await RpcClient.open(server, settings.tls), server, settings);
    } catch (error) {
      if (error instanceof TlsError) vlogModule('stream_ssl').warn(`SSL_connect: ${error.detail}`);
      const what = isListening || !name ? 'failed to connect or listen to' : 'failed to connect to';
      throw new ClientError(`${what} "${server}" (${strerror(error)})`);
    }
  }

  /** The first of several servers that is up and has the database in an acceptable state. Throws ClientError. */
  static async openAny(
    servers: readonly string[],
    database: string | undefined,
    settings: ClientSettings,
  ): Promise<ClientSession> {
    for (const server of shuffled(servers)) {
      const session = await ClientSession.open(server, settings).catch((error: unknown) => {
        if (!(error instanceof ClientError)) throw error;
      });
      if (session && (database === undefined || (await session.isAcceptable(database)))) return session;
      session?.close();
    }
    throw new ClientError('no servers were available');
  }

  private async isAcceptable(database: string): Promise<boolean> {
    const op = { op: 'select', table: 'Database', where: [['name', '==', database]] };
    const answer = await this.rpc.request('transact', ['_Server', op]);
    const [result] = 'result' in answer && isArray(answer.result) ? answer.result : [];
    const [row] = isObject(result) && isArray(result.rows) ? result.rows : [];
    if (!isObject(row)) return false;
    if (row.model === 'standalone') return true;
    return row.connected === true && (!this.settings.leaderOnly || row.leader === true);
  }

  close(): void {
    this.rpc.close();
  }

  /** The result of a request. Throws ClientError for an error or a lost connection. */
  async request(method: string, params: Json): Promise<Json> {
    let answer: RpcAnswer;
    try {
      answer = await this.rpc.request(method, params);
    } catch (error) {
      if (!(error instanceof RpcClosed)) throw error;
      throw new ClientError(`transaction failed (${error.message})`);
    }
    if ('result' in answer) return answer.result;
    throw new ClientError(`transaction returned error: ${jsonText(answer.error, this.settings)}`);
  }

  async schema(database: string): Promise<Schema> {
    return schemaFromJson(await this.request('get_schema', [database]));
  }

  /** Names of the databases, sorted. */
  async databases(): Promise<string[]> {
    const result = await this.request('list_dbs', []);
    if (!isArray(result)) throw new ClientError('list_dbs response is not array');
    const wrong = result.findIndex((name) => typeof name !== 'string');
    if (wrong >= 0) throw new ClientError(`list_dbs response ${wrong} is not string`);
    return (result as readonly string[]).toSorted();
  }

  /** Asks not to be disconnected when databases come and go. */
  async setDbChangeAware(): Promise<void> {
    const wanted = this.settings.dbChangeAware;
    if (wanted === false) return;
    const answer = await this.rpc.request('set_db_change_aware', [true]);
    if ('error' in answer && wanted === true) {
      throw new ClientError(`${this.server}: set_db_change_aware failed (${toText(answer.error)})`);
    }
  }

  /** The results of a transaction, none of which is an error. Throws ClientError. */
  async transact(params: Json): Promise<JsonObject[]> {
    return checkResults(await this.request('transact', params));
  }
}

export function checkResults(results: Json): JsonObject[] {
  if (!isArray(results)) throw new ClientError('result is not array');
  return results.map((result) => {
    if (!isObject(result)) throw new ClientError('result array element is not object');
    if (result.error !== undefined) throw new ClientError(`server returned error reply: ${sortedText(result)}`);
    return result;
  });
}

function shuffled<T>(items: readonly T[]): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

/** A session and the database that a command is about, with what is left of its arguments. */
export interface OpenedSession {
  readonly session: ClientSession;
  readonly database: string;
  readonly args: readonly string[];
}

export interface OpenOptions {
  /** How many arguments the command needs besides. */
  readonly minArgs: number;
  readonly needsDatabase: boolean;
  readonly database?: string;
}

/** Takes the server and the database, both optional, from the front of the arguments. Throws ClientError. */
export async function openSession(
  words: readonly string[],
  settings: ClientSettings,
  { minArgs, needsDatabase, database }: OpenOptions,
): Promise<OpenedSession> {
  const args = [...words];
  const given = args.length > minArgs && isRemote(args[0]!) ? args.shift()! : defaultRemote();
  // A cluster's id may stand in front.
  const servers = given.split(',').filter((server) => server !== '' && !server.startsWith('cid:'));
  if (servers.length === 1) {
    const session = await ClientSession.open(servers[0]!, settings);
    if (!needsDatabase || database !== undefined) return { session, database: database ?? '', args };
    const databases = await session.databases();
    if (args.length > minArgs && databases.includes(args[0]!)) return { session, database: args.shift()!, args };
    return { session, database: defaultDatabase(databases), args };
  }
  let wanted = database;
  if (needsDatabase && wanted === undefined) {
    if (args.length <= minArgs) throw new ClientError('database name is required with multiple remotes');
    wanted = args.shift();
  }
  return { session: await ClientSession.openAny(servers, wanted, settings), database: wanted ?? '', args };
}

function defaultDatabase(databases: readonly string[]): string {
  if (databases.includes('Open_vSwitch')) return 'Open_vSwitch';
  const candidates = databases.filter((name) => !name.startsWith('_'));
  if (candidates.length === 1) return candidates[0]!;
  throw new ClientError('could not find a default database, please specify a database name');
}
