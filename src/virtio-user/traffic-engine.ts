/** The main thread's handle on an lcore: starts the worker, sends it commands, reads counters. */
import { EventEmitter, once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { eventfd, eventfdWrite } from '../sys/eventfd.ts';
import { close } from '../sys/fd.ts';
import * as L from './kernel/layout.ts';
import type { LcoreCommand, LcoreConfig, LcoreEvent } from './lcore.ts';
import { type PortStats, readStats } from './port-stats.ts';

export interface TrafficEvents {
  link: [event: LcoreEvent & { kind: 'link' }];
  broken: [event: LcoreEvent & { kind: 'broken' }];
  done: [event: LcoreEvent & { kind: 'done' }];
  /** The worker failed; nothing moves any more. */
  error: [error: Error];
}

export class TrafficEngine extends EventEmitter<TrafficEvents> {
  readonly nPorts: number;
  /** Whether each port's rings are running. */
  readonly linkUp: boolean[];
  readonly #worker: Worker;
  readonly #controlFd: number;
  #memory: WebAssembly.Memory | undefined;
  readonly #syncs = new Map<number, () => void>();
  #nextSync = 0;

  private constructor(config: LcoreConfig) {
    super();
    this.nPorts = config.ports.length;
    this.linkUp = config.ports.map(() => false);
    this.#controlFd = eventfd();
    const file = new URL('./lcore-worker.ts', import.meta.url);
    this.#worker = new Worker(file, { workerData: { config, controlFd: this.#controlFd } });
    this.#worker.on('message', (event: LcoreEvent) => this.#onEvent(event));
  }

  /** Starts the worker; resolves when its memory is made. Rejects with the worker's error. */
  static async start(config: LcoreConfig): Promise<TrafficEngine> {
    const engine = new TrafficEngine(config);
    await new Promise<void>((resolve, reject) => {
      engine.#worker.once('message', () => resolve());
      engine.#worker.once('error', reject);
    });
    engine.#worker.removeAllListeners('error');
    engine.#worker.on('error', (e) => engine.emit('error', e as Error));
    return engine;
  }

  #onEvent(event: LcoreEvent): void {
    if (event.kind === 'ready') this.#memory = event.memory;
    else if (event.kind === 'link') {
      this.linkUp[event.port] = event.up;
      this.emit('link', event);
    } else if (event.kind === 'synced') {
      this.#syncs.get(event.id)?.();
      this.#syncs.delete(event.id);
    } else if (event.kind === 'broken') this.emit('broken', event);
    else this.emit('done', event);
  }

  send(command: LcoreCommand): void {
    this.#worker.postMessage(command);
    const interrupt = new Int32Array(this.#memory!.buffer, L.INTERRUPT, 1);
    Atomics.store(interrupt, 0, 1);
    Atomics.notify(interrupt, 0);
    eventfdWrite(this.#controlFd);
  }

  /** Resolves when the lcore has obeyed everything that was sent before. */
  sync(): Promise<void> {
    const id = this.#nextSync++;
    return new Promise((resolve) => {
      this.#syncs.set(id, resolve);
      this.send({ kind: 'sync', id });
    });
  }

  stats(port: number): PortStats {
    return readStats(this.#memory!, port);
  }

  allStats(): PortStats[] {
    return Array.from({ length: this.nPorts }, (_, i) => this.stats(i));
  }

  /** Resolves when the worker has closed its sockets and ended. */
  async quit(): Promise<void> {
    const exited = once(this.#worker, 'exit');
    this.send({ kind: 'quit' });
    await exited;
    close(this.#controlFd);
  }
}
