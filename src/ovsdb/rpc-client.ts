import type { Duplex } from 'node:stream';
import type { Json } from './json.ts';
import type { Message } from './jsonrpc.ts';
import { JsonRpcConnection } from './jsonrpc.ts';
import type { Listener, StreamName } from './stream.ts';
import { connectStream, isPassive, listenStream, needsProbes, parseStreamName } from './stream.ts';
import type { TlsConfig } from './tls.ts';

const PROBE_MS = 5000;

/** Where a connection tells of itself. */
export interface RpcLog {
  warn?(text: string): void;
  /** Every message; the text is made only when it is wanted. */
  debug?(text: () => string): void;
}

/** The answer to a request. */
export type RpcAnswer = { readonly result: Json } | { readonly error: Json };

/** The connection went away while an answer was awaited. */
export class RpcClosed extends Error {
  /** The peer closed in order. */
  readonly isOrderly: boolean;

  constructor(reason: string | null) {
    super(reason ?? 'End of file');
    this.isOrderly = reason === null;
  }
}

/** Opens a connection to a server; with a passive method (`punix:…`) waits for one. Rejects with a system error. */
export async function openStream(name: StreamName, tls: TlsConfig, signal?: AbortSignal): Promise<Duplex> {
  if (!isPassive(name)) return connectStream(name, tls, signal);
  let listener: Listener | undefined;
  const stream = await new Promise<Duplex>((resolve, reject) => {
    listenStream(name, tls, { accepted: resolve, warn: () => {} }).then((opened) => {
      listener = opened;
    }, reject);
  });
  listener?.close();
  return stream;
}

/** One JSON-RPC connection of a command line tool: requests with answers, and what the server sends by itself. */
export class RpcClient {
  /** Of the server's notifications and requests. */
  onMessage: (message: Message) => void = () => {};
  readonly closed: Promise<string | null>;
  private readonly connection: JsonRpcConnection;
  private readonly waiting = new Map<number, { resolve(answer: RpcAnswer): void; reject(error: RpcClosed): void }>();
  private nextId = 0;

  constructor(stream: Duplex, name: string, probeIntervalMs = 0, log: RpcLog = {}) {
    const { promise, resolve } = Promise.withResolvers<string | null>();
    this.closed = promise;
    const handlers = {
      message: (message: Message) => this.received(message),
      closed: (reason: string | null) => {
        for (const { reject } of this.waiting.values()) reject(new RpcClosed(reason));
        this.waiting.clear();
        resolve(reason);
      },
      ...log,
    };
    this.connection = new JsonRpcConnection(stream, handlers, { name, probeIntervalMs });
  }

  /** Connects to `remote`, e.g. `unix:db.sock`. Rejects with a system error. */
  static async open(remote: string, tls: TlsConfig = {}, signal?: AbortSignal, log?: RpcLog): Promise<RpcClient> {
    const name = parseStreamName(remote);
    if (!name) throw Object.assign(new Error('not a connection method'), { code: 'EAFNOSUPPORT' });
    const stream = await openStream(name, tls, signal);
    return new RpcClient(stream, remote, needsProbes(name) ? PROBE_MS : 0, log);
  }

  get isOpen(): boolean {
    return this.connection.isOpen;
  }

  /** Rejects with RpcClosed when the connection goes before the answer comes. */
  request(method: string, params: Json): Promise<RpcAnswer> {
    return new Promise((resolve, reject) => this.call(method, params, { resolve, reject }));
  }

  /** As `request`, but the answer is handed over before any message that follows it. */
  call(
    method: string,
    params: Json,
    waiter: { resolve(answer: RpcAnswer): void; reject(error: RpcClosed): void },
  ): void {
    if (!this.connection.isOpen) {
      waiter.reject(new RpcClosed(null));
      return;
    }
    const id = this.nextId++;
    this.waiting.set(id, waiter);
    this.connection.request(method, params, id);
  }

  notify(method: string, params: Json): void {
    this.connection.notify(method, params);
  }

  /** Reads nothing until `resume`. */
  pause(): void {
    this.connection.pause();
  }

  resume(): void {
    this.connection.resume();
  }

  close(): void {
    this.connection.destroy();
  }

  private received(message: Message): void {
    if (message.kind !== 'reply' && message.kind !== 'error') {
      this.onMessage(message);
      return;
    }
    const waiter = this.waiting.get(message.id as number);
    this.waiting.delete(message.id as number);
    waiter?.resolve(message.kind === 'reply' ? { result: message.result } : { error: message.error });
  }
}
