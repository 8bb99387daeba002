import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { EmbeddedOptions, FromWorker, ToWorker } from './embedded-types.ts';
import type { Log } from './server.ts';

export type { EmbeddedOptions } from './embedded-types.ts';

/** An OVSDB server in a thread of its own, so that a large transaction never holds up who started it. */
export interface EmbeddedServer {
  /** Runs one of the `ovsdb-server/…` commands (see commands.ts) or `memory/show`. Rejects with an Error in Open vSwitch's words. */
  command(name: string, args: readonly string[]): Promise<string>;
  /** Closes listeners, connections and the file. */
  stop(): Promise<void>;
  /** Rejects when the thread dies by itself; otherwise never settles before `stop`, which resolves it. */
  readonly ended: Promise<void>;
}

interface Waiter {
  readonly resolve: (text: string) => void;
  readonly reject: (error: Error) => void;
}

class Handle implements EmbeddedServer {
  readonly ended: Promise<void>;
  private readonly worker: Worker;
  private readonly log: Log;
  private readonly waiters = new Map<number, Waiter>();
  private nextId = 0;
  private started: Waiter | undefined;

  constructor(worker: Worker, log: Log) {
    this.worker = worker;
    this.log = log;
    this.ended = new Promise((resolve, reject) => {
      worker.once('error', reject);
      worker.once('exit', (code) => {
        if (code === 0) resolve();
        else reject(new Error(`the database thread ended with code ${code}`));
      });
    });
    // Whoever does not look at `ended` is told by `start` or by the log.
    this.ended.catch((error: Error) => {
      this.log('err', 'ovsdb_server', error.message);
      this.started?.reject(error);
    });
    worker.on('message', (message: FromWorker) => this.received(message));
  }

  start(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.started = { resolve, reject };
    });
  }

  private received(message: FromWorker): void {
    switch (message.kind) {
      case 'log':
        this.log(message.level, message.module, message.message);
        break;
      case 'ready':
        this.started?.resolve('');
        break;
      case 'failed':
        this.started?.reject(new Error(message.message));
        break;
      case 'result':
        this.settle(message);
        break;
      case 'stopped':
        break;
    }
  }

  private settle({ id, success, text }: Extract<FromWorker, { kind: 'result' }>): void {
    const waiter = this.waiters.get(id);
    this.waiters.delete(id);
    if (success) waiter?.resolve(text);
    else waiter?.reject(new Error(text));
  }

  private post(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  command(name: string, args: readonly string[]): Promise<string> {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiters.set(id, { resolve, reject });
      this.post({ kind: 'command', id, name, args });
    });
  }

  async stop(): Promise<void> {
    this.post({ kind: 'stop' });
    await this.ended;
  }
}

/** Keeps other processes off a database file; returns how to let it go. Throws when another has it. */
export type LockDatabase = (path: string, name: string) => () => void;

/** Starts the thread; resolves when the file is open and the remotes listen. Rejects with what is wrong with either. `lock` is called in
 *  this thread: such locks are the process's. */
export async function startEmbeddedServer(
  options: EmbeddedOptions,
  log: Log = () => {},
  lock: LockDatabase = () => () => {},
): Promise<EmbeddedServer> {
  mkdirSync(dirname(options.dbPath), { recursive: true });
  const unlock = lock(options.dbPath, options.dbPath);
  const worker = new Worker(new URL('./embedded-worker.ts', import.meta.url), {
    workerData: options,
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  worker.once('exit', unlock);
  const handle = new Handle(worker, log);
  await handle.start();
  return handle;
}
