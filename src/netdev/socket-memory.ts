import { addressOf, MAP_ANONYMOUS, MAP_FIXED, MAP_NORESERVE, MAP_PRIVATE, mmap, PROT_NONE } from '../sys/memory.ts';
import { NetdevError } from './netdev.ts';

/**
 * The WebAssembly memory onto which the rings of all packet sockets are mapped: the kernel writes them and nobody else, so that one memory serves all of
 * them, and a packet goes from one socket's ring to another's within it. What is not mapped is PROT_NONE. Control thread only.
 */

const MEMORY_SIZE = 2 ** 32;
const WASM_PAGE = 65536;
/** Nothing lies at offset 0, and between two places there is room that can't be touched. */
const GAP = WASM_PAGE;

/** Offset of `size` bytes between the `taken` places, or -1. Pure. */
export function findPlace(taken: ReadonlyMap<number, number>, size: number): number {
  let at = GAP;
  for (const [offset, length] of [...taken].sort(([a], [b]) => a - b)) {
    if (at + size + GAP <= offset) return at;
    at = Math.ceil((offset + length) / WASM_PAGE) * WASM_PAGE + GAP;
  }
  return at + size <= MEMORY_SIZE ? at : -1;
}

export class SocketMemory {
  readonly memory: WebAssembly.Memory;
  readonly #base: bigint;
  readonly #taken = new Map<number, number>();

  constructor() {
    const pages = MEMORY_SIZE / WASM_PAGE;
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.#base = addressOf(this.memory.buffer);
    this.#forbid(0, MEMORY_SIZE);
  }

  /** Keeps `size` bytes for the caller, who maps them. Returns their offset. */
  take(size: number): number {
    const at = findPlace(this.#taken, size);
    if (at < 0) throw new NetdevError('the rings of all ports do not fit into 4 GiB');
    this.#taken.set(at, size);
    return at;
  }

  address(offset: number): bigint {
    return this.#base + BigInt(offset);
  }

  /** Unmaps what lies there; no thread may use it any more. */
  release(offset: number): void {
    const size = this.#taken.get(offset);
    if (size === undefined) return;
    this.#forbid(offset, size);
    this.#taken.delete(offset);
  }

  #forbid(offset: number, length: number): void {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    mmap({ addr: this.address(offset), length: Math.ceil(length / 4096) * 4096, prot: PROT_NONE, flags });
  }
}

let shared: SocketMemory | undefined;

/** The one of this process, made at its first use. */
export function socketMemory(): SocketMemory {
  shared ??= new SocketMemory();
  return shared;
}
