import { request } from 'node:http';

/** Docker's engine by its API (v1.41 and later: paths without a version are the engine's own). */

export interface Container {
  readonly id: string;
  readonly name: string;
  readonly isRunning: boolean;
  /** 0 while it does not run. */
  readonly pid: number;
  readonly mounts: readonly { readonly source: string; readonly destination: string }[];
}

export interface ContainerEvent {
  readonly action: 'start' | 'destroy';
  readonly id: string;
}

/** What the engine says when it refuses, or why it cannot be reached. */
export class EngineError extends Error {
  override name = 'EngineError';
}

export interface Engine {
  /** A name, an id or the beginning of one; undefined when there is no such container. Rejects with EngineError. */
  inspect(reference: string): Promise<Container | undefined>;
  /** Yields from the moment when `onOpen` is called until the engine ends the connection or `signal` is aborted. */
  events(onOpen: () => void, signal: AbortSignal): AsyncIterable<ContainerEvent>;
}

type Target = { socketPath: string } | { host: string; port: number };

/** Where DOCKER_HOST says, else /var/run/docker.sock. Throws EngineError for what cannot be spoken here. */
export function engineTarget(dockerHost: string | undefined): Target {
  const text = dockerHost || 'unix:///var/run/docker.sock';
  const path = /^unix:\/\/(\/.+)$/.exec(text)?.[1];
  if (path !== undefined) return { socketPath: path };
  const [, host, port] = /^(?:tcp|http):\/\/(\[[^\]]+\]|[^:/]+)(?::(\d+))?\/?$/.exec(text) ?? [];
  if (host !== undefined) return { host: host.replace(/^\[|\]$/g, ''), port: Number(port ?? 2375) };
  throw new EngineError(`DOCKER_HOST=${text}: only unix:// and tcp:// (without TLS) are spoken here`);
}

/** The most that the answer to one request may take. */
const MAX_ANSWER = 16 << 20;

export class HttpEngine implements Engine {
  readonly #target: Target;

  constructor(dockerHost: string | undefined) {
    this.#target = engineTarget(dockerHost);
  }

  async inspect(reference: string): Promise<Container | undefined> {
    const { status, body } = await this.#get(`/containers/${encodeURIComponent(reference)}/json`);
    if (status === 404) return undefined;
    if (status !== 200) throw new EngineError(`the Docker engine answers ${status}: ${messageOf(body)}`);
    return parseContainer(parseJson(body));
  }

  async *events(onOpen: () => void, signal: AbortSignal): AsyncIterable<ContainerEvent> {
    const filters = JSON.stringify({ type: ['container'], event: ['start', 'destroy'] });
    const response = await this.#open(`/events?filters=${encodeURIComponent(filters)}`, signal);
    if (response.statusCode !== 200) throw new EngineError(`the Docker engine answers ${response.statusCode}`);
    onOpen();
    let rest = '';
    for await (const chunk of response.setEncoding('utf8')) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const event = line.trim() === '' ? undefined : parseEvent(parseJson(line));
        if (event) yield event;
      }
    }
  }

  async #get(path: string): Promise<{ status: number; body: string }> {
    const response = await this.#open(path);
    let body = '';
    for await (const chunk of response.setEncoding('utf8')) {
      body += chunk;
      if (body.length > MAX_ANSWER) throw new EngineError('the Docker engine answers without end');
    }
    return { status: response.statusCode ?? 0, body };
  }

  #open(path: string, signal?: AbortSignal): Promise<import('node:http').IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<import('node:http').IncomingMessage>();
    const where = 'socketPath' in this.#target ? this.#target.socketPath : `${this.#target.host}:${this.#target.port}`;
    const call = request({ ...this.#target, path, headers: { host: 'docker' }, agent: false, signal }, resolve);
    call.on('error', (error) =>
      reject(new EngineError(`the Docker engine at ${where} does not answer: ${error.message}`)),
    );
    call.end();
    return promise;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new EngineError('the Docker engine does not answer in JSON');
  }
}

interface InspectJson {
  Id?: unknown;
  Name?: unknown;
  State?: { Running?: unknown; Pid?: unknown };
  Mounts?: { Source?: unknown; Destination?: unknown }[];
}

function parseContainer(json: unknown): Container {
  const { Id: id, Name: name, State: state, Mounts: mounts } = json as InspectJson;
  if (typeof id !== 'string' || typeof name !== 'string' || typeof state !== 'object') {
    throw new EngineError('the Docker engine describes a container without Id, Name or State');
  }
  return {
    id,
    name: name.replace(/^\//, ''),
    isRunning: state.Running === true,
    pid: typeof state.Pid === 'number' ? state.Pid : 0,
    mounts: (mounts ?? []).map((m) => ({ source: String(m.Source), destination: String(m.Destination) })),
  };
}

function parseEvent(json: unknown): ContainerEvent | undefined {
  const { Action: action, Actor: actor } = json as { Action?: unknown; Actor?: { ID?: unknown } };
  if ((action !== 'start' && action !== 'destroy') || typeof actor?.ID !== 'string') return undefined;
  return { action, id: actor.ID };
}

function messageOf(body: string): string {
  try {
    return String((JSON.parse(body) as { message?: unknown }).message ?? body);
  } catch {
    return body;
  }
}
