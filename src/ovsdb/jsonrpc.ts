import type { Duplex } from 'node:stream';
import { strerror } from '../base/errno.ts';
import type { Json, JsonObject } from './json.ts';
import { isArray, isObject, JsonSyntaxError, toText } from './json.ts';
import type { JsonStreamLimits } from './json-stream.ts';
import { DEFAULT_LIMITS, JsonStream } from './json-stream.ts';

/** A JSON-RPC 1.0 message (RFC 7047 section 4). */
export type Message =
  | { readonly kind: 'request'; readonly method: string; readonly params: readonly Json[]; readonly id: Json }
  | { readonly kind: 'notification'; readonly method: string; readonly params: readonly Json[] }
  | { readonly kind: 'reply'; readonly result: Json; readonly id: Json }
  | { readonly kind: 'error'; readonly error: Json; readonly id: Json };

const MEMBERS: ReadonlySet<string> = new Set(['method', 'params', 'result', 'error', 'id']);

/** Sorts out what `json` is; a string says what is wrong with it. */
export function messageFromJson(json: Json): Message | string {
  if (!isObject(json)) return 'message is not a JSON object';
  const unexpected = Object.keys(json).find((name) => !MEMBERS.has(name));
  if (unexpected !== undefined) return `unexpected member "${unexpected}"`;
  const { method = null, params = null, result = null, error = null, id = null } = json;
  if (method === null) return responseFromJson(json, result, error, id);
  if (typeof method !== 'string') return 'method is not a JSON string';
  const kind = id === null ? 'notification' : 'request';
  if (params === null) return `${kind} must have "params"`;
  if (!isArray(params)) return '"params" must be JSON array';
  if (error !== null) return `${kind} must not have "error"`;
  if (result !== null) return `${kind} must not have "result"`;
  return kind === 'request' ? { kind, method, params, id } : { kind, method, params };
}

function responseFromJson(json: { readonly params?: Json }, result: Json, error: Json, id: Json): Message | string {
  const kind = error === null ? 'reply' : 'error';
  if ((json.params ?? null) !== null) return `${kind} must not have "params"`;
  if (error !== null && result !== null) return 'error must not have "result"';
  if (id === null) return `${kind} must have "id"`;
  return kind === 'reply' ? { kind, result, id } : { kind, error, id };
}

/** A message as Open vSwitch's log shows it. */
function describe(message: Message | JsonObject): string {
  const { method, params, result, error, id } = message as JsonObject;
  const isSet = (json: Json | undefined): json is Json => json !== undefined && json !== null;
  const kind = isSet(method) ? (isSet(id) ? 'request' : 'notification') : isSet(error) ? 'error' : 'reply';
  const members = Object.entries({ method, params, result, error, id }).filter(([, json]) => isSet(json));
  return kind + members.map(([name, json]) => `, ${name}=${toText(json!)}`).join('');
}

export interface ConnectionHandlers {
  message(message: Message): void;
  /** Once, after the last message. `reason` is `null` when the peer closed in order. */
  closed(reason: string | null): void;
  /** What has been sent has left after `isBusy` was true. */
  drained?(): void;
  warn?(text: string): void;
  /** Every message that comes or goes; the text is made only when it is wanted. */
  debug?(text: () => string): void;
  /** The peer did not answer a probe; the connection is about to be closed. */
  unresponsive?(text: string): void;
}

export interface ConnectionOptions {
  /** What the peer is called in messages. */
  readonly name: string;
  /** Silence after which an echo is sent, and after as much again the connection is dropped. 0: never. */
  readonly probeIntervalMs?: number;
  readonly limits?: JsonStreamLimits;
}

/** JSON-RPC over a byte stream. Answers echo requests by itself; stops reading while the peer does not read what it is sent. */
export class JsonRpcConnection {
  readonly name: string;
  private readonly stream: Duplex;
  private readonly handlers: ConnectionHandlers;
  private readonly parser: JsonStream;
  private probeIntervalMs = 0;
  private probeTimer: NodeJS.Timeout | undefined;
  private lastActivity = performance.now();
  private isProbing = false;
  /** What was sent in this turn. */
  private outgoing = '';
  private isPaused = false;
  private isClosed = false;
  private reason: string | null = null;

  constructor(stream: Duplex, handlers: ConnectionHandlers, options: ConnectionOptions) {
    this.name = options.name;
    this.stream = stream;
    this.handlers = handlers;
    this.parser = new JsonStream(options.limits ?? DEFAULT_LIMITS);
    this.setProbeInterval(options.probeIntervalMs ?? 0);
    stream.on('data', (chunk: Buffer) => this.received(chunk));
    stream.on('drain', () => this.drained());
    stream.on('end', () => {
      this.flush();
      this.stream.end();
    });
    stream.on('error', (error) => {
      this.reason ??= strerror(error);
    });
    stream.on('close', () => this.finish());
  }

  /** True while the peer is slow to take what it was sent. */
  get isBusy(): boolean {
    return this.stream.writableNeedDrain;
  }

  /** Bytes that were sent and have not left yet. */
  get backlogSize(): number {
    return this.stream.writableLength + this.outgoing.length;
  }

  get isOpen(): boolean {
    return !this.isClosed && !this.stream.destroyed;
  }

  setProbeInterval(ms: number): void {
    this.probeIntervalMs = ms;
    this.isProbing = false;
    this.armProbe();
  }

  request(method: string, params: Json, id: Json): void {
    this.write({ id, method, params });
  }

  notify(method: string, params: Json): void {
    this.write({ id: null, method, params });
  }

  reply(id: Json, result: Json): void {
    this.write({ id, result, error: null });
  }

  replyError(id: Json, error: Json): void {
    this.write({ id, result: null, error });
  }

  /** Reads nothing until `resume`. */
  pause(): void {
    this.isPaused = true;
    this.stream.pause();
  }

  resume(): void {
    this.isPaused = false;
    this.stream.resume();
  }

  /** Closes after what was sent has left; what still comes is not read. */
  end(): void {
    this.flush();
    this.stream.removeAllListeners('data');
    this.stream.resume();
    this.stream.end(() => this.stream.destroy());
  }

  /** Closes at once. */
  destroy(reason: string | null = null): void {
    this.reason ??= reason;
    this.stream.destroy();
  }

  private write(json: Json): void {
    if (!this.isOpen || this.stream.writableEnded) return;
    this.handlers.debug?.(() => `${this.name}: send ${describe(json as JsonObject)}`);
    // What is sent in one turn leaves with one system call.
    if (this.outgoing === '') process.nextTick(() => this.flush());
    this.outgoing += toText(json);
  }

  private flush(): void {
    const text = this.outgoing;
    this.outgoing = '';
    if (text === '' || !this.isOpen || this.stream.writableEnded) return;
    if (!this.stream.write(text)) this.stream.pause();
  }

  private drained(): void {
    if (this.isClosed) return;
    if (!this.isPaused) this.stream.resume();
    this.handlers.drained?.();
  }

  private received(chunk: Buffer): void {
    this.lastActivity = performance.now();
    this.isProbing = false;
    let values: Json[];
    try {
      values = this.parser.feed(chunk);
    } catch (error) {
      if (!(error instanceof JsonSyntaxError)) throw error;
      this.refuse(`error parsing stream: ${error.message}`);
      return;
    }
    for (const value of values) {
      if (!this.isOpen) return;
      const message = messageFromJson(value);
      if (typeof message === 'string') {
        this.refuse(`received bad JSON-RPC message: ${message}`);
        return;
      }
      this.dispatch(message);
    }
  }

  private dispatch(message: Message): void {
    this.handlers.debug?.(() => `${this.name}: received ${describe(message)}`);
    if (message.kind === 'request' && message.method === 'echo') this.reply(message.id, message.params);
    else if (message.kind !== 'reply' || message.id !== 'echo') this.handlers.message(message);
  }

  private refuse(why: string): void {
    this.handlers.warn?.(`${this.name}: ${why}`);
    this.destroy('Protocol error');
  }

  private armProbe(): void {
    clearTimeout(this.probeTimer);
    if (!this.probeIntervalMs || this.isClosed) return;
    const left = this.lastActivity + this.probeIntervalMs * (this.isProbing ? 2 : 1) - performance.now();
    this.probeTimer = setTimeout(() => this.probe(), Math.max(left, 1));
  }

  private probe(): void {
    const silence = performance.now() - this.lastActivity;
    if (this.isProbing && silence >= 2 * this.probeIntervalMs) {
      const seconds = this.probeIntervalMs / 1000;
      this.handlers.unresponsive?.(
        `${this.name}: no response to inactivity probe after ${seconds} seconds, disconnecting`,
      );
      this.destroy('Connection timed out');
      return;
    }
    if (!this.isProbing && silence >= this.probeIntervalMs) {
      this.isProbing = true;
      this.request('echo', [], 'echo');
    }
    this.armProbe();
  }

  private finish(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    clearTimeout(this.probeTimer);
    this.handlers.closed(this.reason);
  }
}
