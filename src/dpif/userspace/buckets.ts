import {
  BUCKET__SIZE,
  BUCKET_FLOWS,
  BUCKET_HASHES,
  BUCKET_NEXT,
  BUCKET_WAYS,
  SUBTABLE_BUCKET_MASK,
  SUBTABLE_BUCKETS,
} from '../../gen/arena.ts';
import type { Arena } from './arena.ts';
import type { ArenaHeap } from './heap.ts';
import type { Subtable } from './subtable.ts';

/**
 * The buckets of a subtable: BUCKET_WAYS flows with their hashes in each, and a chain of more where those are not enough. Readers go by
 * SUBTABLE_BUCKETS → BUCKET_FLOWS and BUCKET_NEXT. Control thread only.
 */
export class Buckets {
  readonly #arena: Arena;
  readonly #heap: ArenaHeap;

  constructor(arena: Arena, heap: ArenaHeap) {
    this.#arena = arena;
    this.#heap = heap;
  }

  /** `n` empty buckets; undefined when the heap is full. */
  alloc(n: number): number | undefined {
    const at = this.#heap.alloc(n * BUCKET__SIZE);
    if (at !== undefined) this.#arena.u8.fill(0, at, at + n * BUCKET__SIZE);
    return at;
  }

  free(at: number, n: number, chained: readonly number[]): void {
    this.#heap.free(at, n * BUCKET__SIZE);
    for (const bucket of chained) this.#heap.free(bucket, BUCKET__SIZE);
  }

  /** Writes the flow into a free way of its bucket or of a chained one; false when the heap is full. */
  place(subtable: Subtable, hash: number, flow: number): boolean {
    let bucket = this.#first(subtable, hash);
    for (;;) {
      for (let way = 0; way < BUCKET_WAYS; way++) {
        if (this.#flow(bucket, way)) continue;
        this.#arena.set(bucket + BUCKET_HASHES + way * 4, hash >>> 0);
        this.#arena.publish(bucket + BUCKET_FLOWS + way * 4, flow);
        return true;
      }
      const next = this.#arena.get(bucket + BUCKET_NEXT) || this.#chain(subtable, bucket);
      if (next === 0) return false;
      bucket = next;
    }
  }

  /** Appends a bucket to one that has none after it; 0 when the heap is full. */
  #chain(subtable: Subtable, bucket: number): number {
    const extra = this.alloc(1);
    if (extra === undefined) return 0;
    subtable.chained.push(extra);
    this.#arena.publish(bucket + BUCKET_NEXT, extra);
    return extra;
  }

  /** Takes out a flow that `place` put there. */
  unplace(subtable: Subtable, hash: number, flow: number): void {
    for (let bucket = this.#first(subtable, hash); bucket; bucket = this.#arena.get(bucket + BUCKET_NEXT)) {
      for (let way = 0; way < BUCKET_WAYS; way++) {
        if (this.#flow(bucket, way) !== flow) continue;
        this.#arena.publish(bucket + BUCKET_FLOWS + way * 4, 0);
        return;
      }
    }
    throw new Error(`datapath: flow ${flow} is in no bucket`);
  }

  /** The first flow where that hash belongs that `matches`, or 0. */
  search(subtable: Subtable, hash: number, matches: (flow: number) => boolean): number {
    for (let bucket = this.#first(subtable, hash); bucket; bucket = this.#arena.get(bucket + BUCKET_NEXT)) {
      for (let way = 0; way < BUCKET_WAYS; way++) {
        const flow = this.#flow(bucket, way);
        if (flow && matches(flow)) return flow;
      }
    }
    return 0;
  }

  /** Everything that was placed. */
  flowsOf(subtable: Subtable): { hash: number; flow: number }[] {
    const flows: { hash: number; flow: number }[] = [];
    for (const bucket of this.#all(subtable)) {
      for (let way = 0; way < BUCKET_WAYS; way++) {
        const flow = this.#flow(bucket, way);
        if (flow) flows.push({ hash: this.#arena.get(bucket + BUCKET_HASHES + way * 4), flow });
      }
    }
    return flows;
  }

  *#all(subtable: Subtable): Generator<number> {
    const first = this.#arena.get(subtable.at + SUBTABLE_BUCKETS);
    for (let i = 0; i < subtable.nBuckets; i++) yield first + i * BUCKET__SIZE;
    yield* subtable.chained;
  }

  #first({ at }: Subtable, hash: number): number {
    const mask = this.#arena.get(at + SUBTABLE_BUCKET_MASK);
    return this.#arena.get(at + SUBTABLE_BUCKETS) + ((hash & mask) >>> 0) * BUCKET__SIZE;
  }

  #flow(bucket: number, way: number): number {
    return this.#arena.get(bucket + BUCKET_FLOWS + way * 4);
  }
}
