import { Worker } from 'node:worker_threads';
import { THREADS_MAX } from '../../gen/arena.ts';
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
  readonly #wakeFd: number;
  readonly #waiting = new Map<number, () => void>();
  #nextId = 1;
  readonly #ready: Promise<void>;
  readonly #exited: Promise<void>;

  constructor(index: number, core: number, arena: Arena, modules: DatapathModules, onTrap: OnTrap) {
    this.index = index;
    this.core = core;
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
    this.#exited = new Promise((resolve) => this.#worker.once('exit', () => resolve()));
    this.#ready = new Promise((resolve, reject) => {
      this.#worker.once('error', reject);
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

  /** Resolves when the PMD has carried the request out, between two runs. */
  request(request: PmdRequest): Promise<void> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#worker.postMessage({ id, request });
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
    close(this.#wakeFd);
  }
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

  /** Starts and ends PMDs so that there is one on each of `cores`. `prepare` teaches a new one what the others know. */
  async setCores(cores: readonly number[], prepare: (pmd: PmdHandle) => Promise<void>): Promise<void> {
    const gone = this.#pmds.filter((p) => !cores.includes(p.core));
    this.#pmds = this.#pmds.filter((p) => cores.includes(p.core));
    for (const pmd of gone) await pmd.exit();
    for (const core of cores) {
      if (this.#pmds.some((p) => p.core === core)) continue;
      const index = this.#freeIndex();
      if (index === undefined) throw new Error(`no more than ${THREADS_MAX - 1} PMD threads are possible`);
      const pmd = new PmdHandle(index, core, this.#arena, this.#modules, this.#onTrap);
      this.#nThreads = Math.max(this.#nThreads, index + 1);
      await pmd.ready();
      await prepare(pmd);
      this.#pmds.push(pmd);
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
