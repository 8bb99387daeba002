import { ARENA__SIZE, ARENA_HEAP } from '../../gen/arena.ts';

const MIN_CLASS = 6; // 64 bytes

/** Blocks of the arena's heap, in powers of two from 64 bytes, aligned to 64. Control thread only. */
export class ArenaHeap {
  #next = ARENA_HEAP;
  readonly #free: number[][] = Array.from({ length: 31 }, () => []);
  #used = 0;

  /** Offset of a block of at least `size` bytes, not cleared, or undefined when the heap is full. */
  alloc(size: number): number | undefined {
    const cls = classOf(size);
    const free = this.#free[cls]!.pop();
    if (free !== undefined) {
      this.#used += 1 << cls;
      return free;
    }
    const bytes = 1 << cls;
    if (this.#next + bytes > ARENA__SIZE) return undefined;
    const at = this.#next;
    this.#next += bytes;
    this.#used += bytes;
    return at;
  }

  /** Gives a block back; `size` as it was asked for. No thread may still read it (see `Rcu`). */
  free(at: number, size: number): void {
    const cls = classOf(size);
    this.#used -= 1 << cls;
    this.#free[cls]!.push(at);
  }

  get usedBytes(): number {
    return this.#used;
  }
}

function classOf(size: number): number {
  return Math.max(MIN_CLASS, 32 - Math.clz32(size - 1));
}
