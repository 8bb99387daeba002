import type { Flow } from '../../flow/flow.ts';
import {
  ARENA_THREADS,
  ARENA_UPCALLS,
  ARENA_UPCALLS_STRIDE,
  KEY__SHORT_WORDS,
  KEY__SIZE,
  THREAD__SIZE,
  THREAD_MISS_TAIL,
  THREAD_UPCALL_HEAD,
  THREAD_UPCALL_TAIL,
  UPCALL__SIZE,
  UPCALL_DEPTH,
  UPCALL_FLAGS,
  UPCALL_KEY,
  UPCALL_LEN,
  UPCALL_LONG,
  UPCALL_MISS,
  UPCALL_PORT,
  UPCALL_RING_SIZE,
  UPCALL_RSS,
  UPCALL_SIZE,
  UPCALL_TYPE,
  UPCALL_USERDATA,
  UPCALL_WRAP,
} from '../../gen/arena.ts';
import type { Arena } from './arena.ts';
import { keyToFlow } from './flow-key.ts';
import type { PacketState } from './own-packets.ts';

/** A record of a thread's ring. `packet` is a view that is valid until the record is released. */
export interface UpcallRecord extends PacketState {
  type: number;
  port: number;
  userdata: number;
  /** Headers when they were looked up, and the metadata of now. */
  key: Flow;
  packet: Uint8Array;
}

/** Reads the ring of records that thread `index` sends to the control thread (src/fastpath/upcall.ts). */
export class UpcallReader {
  readonly index: number;
  readonly #arena: Arena;
  readonly #head: number;
  readonly #tail: number;
  readonly #missTail: number;
  readonly #ring: number;

  constructor(arena: Arena, index: number) {
    this.#arena = arena;
    this.index = index;
    this.#head = ARENA_THREADS + index * THREAD__SIZE + THREAD_UPCALL_HEAD;
    this.#tail = ARENA_THREADS + index * THREAD__SIZE + THREAD_UPCALL_TAIL;
    this.#missTail = ARENA_THREADS + index * THREAD__SIZE + THREAD_MISS_TAIL;
    this.#ring = ARENA_UPCALLS + index * ARENA_UPCALLS_STRIDE;
  }

  /** Handles up to `max` records, each released after `handle` returns. Returns true when more are left. */
  drain(max: number, handle: (record: UpcallRecord) => void): boolean {
    for (let n = 0; n < max; n++) {
      const tail = this.#arena.get(this.#tail);
      if (tail === this.#arena.load(this.#head)) return false;
      const at = this.#ring + (tail & (UPCALL_RING_SIZE - 1));
      const size = this.#arena.get(at + UPCALL_SIZE);
      const type = this.#arena.get(at + UPCALL_TYPE);
      try {
        if (type !== UPCALL_WRAP) handle(this.#record(at, type));
      } finally {
        if (type === UPCALL_MISS) this.#arena.publish(this.#missTail, (this.#arena.get(this.#missTail) + size) >>> 0);
        this.#arena.publish(this.#tail, (tail + size) >>> 0);
      }
    }
    return this.#arena.get(this.#tail) !== this.#arena.load(this.#head);
  }

  #record(at: number, type: number): UpcallRecord {
    const start = at + UPCALL__SIZE;
    return {
      type,
      port: this.#arena.get(at + UPCALL_PORT),
      userdata: this.#arena.get(at + UPCALL_USERDATA),
      key: keyToFlow(
        this.#arena.u8.subarray(at + UPCALL_KEY, at + UPCALL_KEY + KEY__SIZE),
        this.#arena.u16[(at + UPCALL_LONG) >> 1] !== 0,
        KEY__SHORT_WORDS * 8,
      ),
      depth: this.#arena.u16[(at + UPCALL_DEPTH) >> 1]!,
      rss: this.#arena.get(at + UPCALL_RSS),
      flags: this.#arena.get(at + UPCALL_FLAGS),
      packet: this.#arena.u8.subarray(start, start + this.#arena.get(at + UPCALL_LEN)),
    };
  }
}
