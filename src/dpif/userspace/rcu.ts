import {
  ARENA_HEADER,
  ARENA_THREADS,
  EPOCH_OFFLINE,
  HEADER_EPOCH,
  THREAD__SIZE,
  THREAD_EPOCH,
} from '../../gen/arena.ts';
import type { Arena } from './arena.ts';

/**
 * Frees what the datapath threads may still read: an action runs once every thread has passed a quiescent point after the moment it was
 * retired. Thread 0, the control thread, holds nothing between two turns of its event loop. Control thread only.
 */
export class Rcu {
  readonly #arena: Arena;
  readonly #nThreads: () => number;
  #retired: { epoch: number; free: () => void }[] = [];

  constructor(arena: Arena, nThreads: () => number) {
    this.#arena = arena;
    this.#nThreads = nThreads;
  }

  /** The thing must already be unreachable for a reader that starts now. */
  retire(free: () => void): void {
    const epoch = (this.#epoch() + 1) % EPOCH_OFFLINE;
    this.#arena.publish(ARENA_HEADER + HEADER_EPOCH, epoch);
    this.#retired.push({ epoch, free });
    if (this.#retired.length >= 1024 && this.#retired.length % 1024 === 0) this.reap();
  }

  /** Frees what no thread can see any more. */
  reap(): void {
    const current = this.#epoch();
    const lag = this.#greatestLag(current);
    let n = 0;
    while (n < this.#retired.length && distance(this.#retired[n]!.epoch, current) >= lag) this.#retired[n++]!.free();
    if (n > 0) this.#retired = this.#retired.slice(n);
  }

  get pending(): number {
    return this.#retired.length;
  }

  #epoch(): number {
    return this.#arena.get(ARENA_HEADER + HEADER_EPOCH);
  }

  /** How many epochs the slowest thread is behind. */
  #greatestLag(current: number): number {
    let lag = 0;
    for (let i = 1; i < this.#nThreads(); i++) {
      const epoch = this.#arena.load(ARENA_THREADS + i * THREAD__SIZE + THREAD_EPOCH);
      if (epoch !== EPOCH_OFFLINE) lag = Math.max(lag, distance(epoch, current));
    }
    return lag;
  }
}

/** Epochs from one to a later one: they go round below EPOCH_OFFLINE, once in hours of new flows. */
const distance = (from: number, to: number) => (to - from + EPOCH_OFFLINE) % EPOCH_OFFLINE;
