import { chmodSync, existsSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { coverageCounter } from './coverage.ts';
import { absFileName, ovsRundir } from './dirs.ts';
import { strerror } from './errno.ts';
import { JsonSplitter } from './json-splitter.ts';
import { programName, programVersion } from './program.ts';
import { withSocketPath } from './unix-path.ts';
import { UnixctlError, type UnixctlHandler, type UnixctlRegistry } from './unixctl-registry.ts';

/**
 * The control socket that ovs-appctl talks to: JSON-RPC 1.0 over a unix socket, one command a request, answered in order
 * (ovs-appctl(8), lib/unixctl of Open vSwitch).
 */

export { UnixctlError, type UnixctlHandler, type UnixctlRegistry };

interface Command {
  usage: string | undefined;
  minArgs: number;
  maxArgs: number;
  handler: UnixctlHandler;
}

/** Characters of one request: a packet or a flow in hexadecimal digits is the longest that there is. */
const MAX_REQUEST_SIZE = 1 << 22;

const received = coverageCounter('unixctl_received');
const replied = coverageCounter('unixctl_replied');

/** Holds commands and runs them; the server's half without a socket. */
export class UnixctlCommands implements UnixctlRegistry {
  readonly #commands = new Map<string, Command>();

  constructor() {
    this.register('list-commands', '', 0, 0, () => this.#list());
    this.register('version', '', 0, 0, () => programVersion());
  }

  register(name: string, usage: string | undefined, minArgs: number, maxArgs: number, handler: UnixctlHandler): void {
    if (!this.#commands.has(name)) this.#commands.set(name, { usage, minArgs, maxArgs, handler });
  }

  has(name: string): boolean {
    return this.#commands.has(name);
  }

  #list(): string {
    const names = [...this.#commands.keys()].sort((a, b) => (a < b ? -1 : 1));
    const shown = names.filter((name) => this.#commands.get(name)!.usage !== undefined);
    const lines = shown.map((name) => `  ${name.padEnd(23)} ${this.#commands.get(name)!.usage}\n`);
    return `The available commands are:\n${lines.join('')}`;
  }

  /** Runs a command. Throws UnixctlError with Open vSwitch's wording when it can't be called like that. */
  async run(name: string, params: readonly unknown[]): Promise<string> {
    const command = this.#commands.get(name);
    if (!command) {
      throw new UnixctlError(`"${name}" is not a valid command (use "list-commands" to see a list of valid commands)`);
    }
    if (params.length < command.minArgs) {
      throw new UnixctlError(`"${name}" command requires at least ${command.minArgs} arguments`);
    }
    if (params.length > command.maxArgs) {
      throw new UnixctlError(`"${name}" command takes at most ${command.maxArgs} arguments`);
    }
    if (!params.every((p) => typeof p === 'string')) {
      throw new UnixctlError(`"${name}" command has non-string argument`);
    }
    return command.handler(params);
  }
}

/** What a log of the server's own troubles is told; given in by who makes it, for vlog itself uses this module. */
export interface UnixctlLog {
  dbg(text: () => string): void;
  warn(text: string): void;
}

export class UnixctlServer extends UnixctlCommands {
  /** Absolute path of the socket, or undefined when there is none (`--unixctl=none`). */
  path: string | undefined;
  readonly #log: UnixctlLog | undefined;
  #server: Server | undefined;
  readonly #connections = new Set<Socket>();
  readonly #unlink = (): void => {
    try {
      if (this.path !== undefined) unlinkSync(this.path);
    } catch {
      // Somebody else has removed it.
    }
  };

  constructor(log?: UnixctlLog) {
    super();
    this.#log = log;
  }

  /** Listens on `path` (from OVS_RUNDIR; default `PROGRAM.PID.ctl`; `none`: nowhere). The socket goes with the process.
   *  Throws an Error in Open vSwitch's words when it can't. */
  async listen(path?: string): Promise<void> {
    if (path === 'none') return;
    this.path = absFileName(ovsRundir(), path ?? `${programName()}.${process.pid}.ctl`);
    this.#unlink();
    const server = createServer((socket) => this.#serve(socket));
    this.#server = server;
    try {
      await withSocketPath(this.path, (name) => listenOn(server, name));
      chmodSync(this.path, 0o750);
    } catch (e) {
      // libuv says EACCES for a folder that is not there.
      const reason = existsSync(dirname(this.path)) ? strerror(e) : strerror({ code: 'ENOENT' });
      throw new Error(`${this.path}: could not initialize control socket (${reason})`);
    }
    process.once('exit', this.#unlink);
  }

  /** Stops listening, drops the connections and removes the socket. */
  close(): void {
    this.#server?.close();
    for (const socket of this.#connections) socket.destroy();
    this.#unlink();
    process.removeListener('exit', this.#unlink);
  }

  /** One connection: its requests are answered one after the other, and nothing more is read meanwhile. */
  #serve(socket: Socket): void {
    const splitter = new JsonSplitter(MAX_REQUEST_SIZE);
    this.#connections.add(socket);
    socket.setEncoding('utf8');
    socket.on('close', () => this.#connections.delete(socket));
    socket.on('error', () => socket.destroy());
    const take = async (chunk: string): Promise<void> => {
      socket.pause();
      try {
        for (const text of splitter.push(chunk)) await this.#answer(socket, JSON.parse(text));
        socket.resume();
      } catch {
        this.#log?.warn('received invalid JSON message on a control connection');
        socket.destroy();
      }
    };
    socket.on('data', (chunk: string) => void take(chunk));
  }

  async #answer(socket: Socket, request: unknown): Promise<void> {
    const { id, method, params } = (request ?? {}) as { id?: unknown; method?: unknown; params?: unknown };
    if (typeof method !== 'string' || !Array.isArray(params) || id === undefined || id === null) {
      this.#log?.warn('received unexpected message on a control connection');
      socket.destroy();
      return;
    }
    received.inc();
    this.#log?.dbg(() => `received request ${method}${JSON.stringify(params)}, id=${JSON.stringify(id)}`);
    const { success, body } = await this.#outcome(method, params);
    replied.inc();
    this.#log?.dbg(() => `replying with ${success ? 'success' : 'error'}, id=${JSON.stringify(id)}: "${body}"`);
    const text = body === '' || body.endsWith('\n') ? body : `${body}\n`;
    const reply = success ? { id, result: text, error: null } : { id, result: null, error: text };
    if (!socket.destroyed && !socket.write(JSON.stringify(reply))) await untilDrained(socket);
  }

  async #outcome(method: string, params: readonly unknown[]): Promise<{ success: boolean; body: string }> {
    try {
      return { success: true, body: await this.run(method, params) };
    } catch (e) {
      if (!(e instanceof UnixctlError)) this.#log?.warn(`${method}: ${e instanceof Error ? e.stack : String(e)}`);
      return { success: false, body: e instanceof Error ? e.message : String(e) };
    }
  }
}

function untilDrained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('drain', resolve);
    socket.once('close', resolve);
  });
}

function listenOn(server: Server, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(name, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}
