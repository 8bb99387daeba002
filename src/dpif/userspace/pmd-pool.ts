import { Worker } from 'node:worker_threads';
import { ARENA_THREADS, EPOCH_OFFLINE, THREAD__SIZE, THREAD_EPOCH, THREAD_STOP, THREADS_MAX } from '../../gen/arena.ts';
import { eventfd, eventfdWrite } from '../../sys/eventfd.ts';
import { close } from '../../sys/fd.ts';
import type { Arena } from './arena.ts';
import type { DatapathModules } from './datapath-thread.ts';
import { clockOrigin, type PmdReport, type PmdRequest, type PmdRxq, type PmdWorkerData } from './pmd-messages.ts';

/** Called when a guest made the fast path trap; its ring is broken from then on. `vring` is 0 when no ring was to blame. */
export type OnTrap = (vring: number, message: string) => void;

/** The control thread's end of one PMD worker. */
export class PmdHandle {
  readonly index: number;
  readonly core: number;
  rxqs: PmdRxq[] = [];
  readonly #worker: Worker;
  readonly #arena: Arena;
  readonly #wakeFd: number;
  readonly #waiting = new Map<number, () => void>();
  #gone = false;
  #nextId = 1;
  readonly #ready: Promise<void>;
  readonly #exited: Promise<void>;

  constructor(index: number, core: number, arena: Arena, modules: DatapathModules, onTrap: OnTrap) {
    this.index = index;
    this.core = core;
    this.#arena = arena;
    this.#wakeFd = eventfd();
    const workerData: PmdWorkerData = {
      memory: arena.memory,
      modules,
      index,
      core,
      wakeFd: this.#wakeFd,
      clockOrigin: clockOrigin(),
    };
    this.#worker = new Worker(new URL('./pmd-worker.ts', import.meta.url), { workerData, name: `pmd-c${core}` });
    this.#exited = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve())).then(() =>
      this.#onExit(),
    );
    this.#ready = new Promise((resolve, reject) => {
      this.#worker.once('error', (e: Error) => {
        reject(e);
        onTrap(0, `the PMD thread on core ${core} has ended: ${e.message}`);
      });
      this.#worker.on('message', (report: PmdReport) => {
        if (report.type === 'ready') resolve();
        else if (report.type === 'ack') this.#acknowledge(report.id);
        else onTrap(report.vring, report.message);
      });
    });
  }

  ready(): Promise<void> {
    return this.#ready;
  }

  #acknowledge(id: number): void {
    this.#waiting.get(id)?.();
    this.#waiting.delete(id);
  }

  /** A thread that has ended holds nothing: who waits for it goes on, and so does RCU. */
  #onExit(): void {
    this.#gone = true;
    this.#arena.publish(ARENA_THREADS + this.index * THREAD__SIZE + THREAD_EPOCH, EPOCH_OFFLINE);
    for (const resolve of this.#waiting.values()) resolve();
    this.#waiting.clear();
    close(this.#wakeFd);
  }

  /** Resolves when the PMD has carried the request out, between two runs, or has ended. */
  request(request: PmdRequest): Promise<void> {
    if (this.#gone) return Promise.resolve();
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#worker.postMessage({ id, request });
      this.#arena.publish(ARENA_THREADS + this.index * THREAD__SIZE + THREAD_STOP, 1);
      eventfdWrite(this.#wakeFd);
    });
  }

  setRxqs(rxqs: PmdRxq[]): Promise<void> {
    this.rxqs = rxqs;
    return this.request({ type: 'rxqs', rxqs });
  }

  async exit(): Promise<void> {
    await this.request({ type: 'exit' });
    await this.#exited;
  }
}

/** What has to happen before a new PMD gets rxqs. */
export interface Newcomer {
  /** `nThreads` has grown. Resolves when the other threads have seen what follows from it. */
  threadsChanged(): Promise<void>;
  /** Everything that it, the thread of that index, has to know. */
  requests(index: number): PmdRequest[];
}

/** All PMDs. Thread records 1… belong to them; 0 is the control thread. */
export class PmdPool {
  readonly #arena: Arena;
  readonly #modules: DatapathModules;
  readonly #onTrap: OnTrap;
  #pmds: PmdHandle[] = [];

  constructor(arena: Arena, modules: DatapathModules, onTrap: OnTrap) {
    this.#arena = arena;
    this.#modules = modules;
    this.#onTrap = onTrap;
  }

  get pmds(): readonly PmdHandle[] {
    return this.#pmds;
  }

  #nThreads = 1;

  /** Threads that may have counters: the highest index that was ever in use, plus one. */
  get nThreads(): number {
    return this.#nThreads;
  }

  /**
   * Starts and ends PMDs so that there is one on each of `cores`. One that ends is told everything until it has ended; one that starts is told,
   * in one go with its joining, what the others know.
   */
  async setCores(cores: readonly number[], newcomer: Newcomer): Promise<void> {
    for (const pmd of this.#pmds.filter((p) => !cores.includes(p.core))) {
      await pmd.exit();
      this.#pmds = this.#pmds.filter((p) => p !== pmd);
    }
    for (const core of cores) {
      if (this.#pmds.some((p) => p.core === core)) continue;
      const index = this.#freeIndex();
      if (index === undefined) throw new Error(`no more than ${THREADS_MAX - 1} PMD threads are possible`);
      const pmd = new PmdHandle(index, core, this.#arena, this.#modules, this.#onTrap);
      this.#nThreads = Math.max(this.#nThreads, index + 1);
      await pmd.ready();
      await newcomer.threadsChanged();
      this.#pmds = [...this.#pmds, pmd];
      await Promise.all(newcomer.requests(index).map((request) => pmd.request(request)));
    }
  }

  #freeIndex(): number | undefined {
    for (let i = 1; i < THREADS_MAX; i++) if (!this.#pmds.some((p) => p.index === i)) return i;
    return undefined;
  }

  /** Resolves when every PMD has carried the request out. */
  async all(request: PmdRequest): Promise<void> {
    await Promise.all(this.#pmds.map((p) => p.request(request)));
  }
}
