import { randomBytes } from 'node:crypto';
import {
  ARENA__SIZE,
  ARENA_FLOWS,
  ARENA_HEADER,
  ARENA_MAGIC,
  ARENA_PORTS,
  ARENA_THREADS,
  ARENA_VERSION,
  ARENA_VRINGS,
  EPOCH_OFFLINE,
  FLOW_DEAD,
  HEADER_HASH_SEED,
  HEADER_MAGIC,
  HEADER_VERSION,
  HEADER_VLAN_LIMIT,
  PORT__SIZE,
  PORT_NTXQS,
  PORTS_MAX,
  THREAD__SIZE,
  THREAD_EPOCH,
  THREAD_RNG,
  THREADS_MAX,
  VRING__SIZE,
  VRING_STARTED,
  VRINGS_MAX,
} from '../../gen/arena.ts';
import {
  addressOf,
  fstat,
  ftruncate,
  MAP_FIXED,
  MAP_SHARED,
  memfdCreate,
  mmap,
  PROT_READ,
  PROT_WRITE,
} from '../../sys/memory.ts';

const PAGE = 65536;

/**
 * The shared memory of all datapath threads, with views of its words. Offsets in `src/gen/arena.ts` are bytes: divide by the size of the word.
 * Backed by a memfd, so that another process can map the same bytes.
 */
export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly u64: BigUint64Array;
  readonly f64: Float64Array;

  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
    const buffer = memory.buffer;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.f64 = new Float64Array(buffer);
  }

  get(at: number): number {
    return this.u32[at >> 2]!;
  }

  set(at: number, value: number): void {
    this.u32[at >> 2] = value;
  }

  /** Publishes a word to the other threads. */
  publish(at: number, value: number): void {
    Atomics.store(this.u32, at >> 2, value);
  }

  load(at: number): number {
    return Atomics.load(this.u32, at >> 2);
  }

  counter(at: number): bigint {
    return this.u64[at >> 3]!;
  }

  addCounter(at: number, by: bigint): void {
    this.u64[at >> 3]! += by;
  }
}

/** A new arena over a memfd. The caller owns the fd. */
export function createArena(): { arena: Arena; fd: number } {
  const pages = ARENA__SIZE / PAGE;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const fd = memfdCreate('turnout-arena');
  ftruncate(fd, ARENA__SIZE);
  mapArena(memory, fd);
  const arena = new Arena(memory);
  initArena(arena);
  return { arena, fd };
}

/**
 * Takes over the arena of a process that has ended, however it ended, by its memfd: flows, counters and caches are as it left them, no ring runs and no
 * thread is online. PMDs are to poll when all ports are served again: what leaves by another is dropped. The caller owns the fd. Throws when it has another layout.
 */
export function adoptArena(fd: number): Arena {
  const { size } = fstat(fd);
  if (size !== BigInt(ARENA__SIZE)) throw new Error(`arena: a file of ${size} bytes where ${ARENA__SIZE} are needed`);
  const pages = ARENA__SIZE / PAGE;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  mapArena(memory, fd);
  const arena = new Arena(memory);
  const magic = arena.get(ARENA_HEADER + HEADER_MAGIC);
  const version = arena.get(ARENA_HEADER + HEADER_VERSION);
  if (magic !== ARENA_MAGIC || version !== ARENA_VERSION) {
    throw new Error(`arena: layout ${magic.toString(16)} version ${version} where ${ARENA_VERSION} is needed`);
  }
  forgetOwners(arena);
  return arena;
}

/**
 * Nobody holds a ring or an epoch any more: no function stands where a port's record says that its guest's does, and a thread that was killed would be
 * waited for for ever.
 */
function forgetOwners(arena: Arena): void {
  for (let i = 0; i < PORTS_MAX; i++) arena.publish(ARENA_PORTS + i * PORT__SIZE + PORT_NTXQS, 0);
  for (let i = 0; i < VRINGS_MAX; i++) arena.publish(ARENA_VRINGS + i * VRING__SIZE + VRING_STARTED, 0);
  for (let i = 0; i < THREADS_MAX; i++) arena.publish(ARENA_THREADS + i * THREAD__SIZE + THREAD_EPOCH, EPOCH_OFFLINE);
}

function mapArena(memory: WebAssembly.Memory, fd: number): void {
  mmap({
    addr: addressOf(memory.buffer),
    length: ARENA__SIZE,
    prot: PROT_READ | PROT_WRITE,
    flags: MAP_SHARED | MAP_FIXED,
    fd,
  });
}

function initArena(arena: Arena): void {
  arena.set(ARENA_HEADER + HEADER_MAGIC, ARENA_MAGIC);
  arena.set(ARENA_HEADER + HEADER_VERSION, ARENA_VERSION);
  arena.set(ARENA_HEADER + HEADER_VLAN_LIMIT, 1);
  arena.u64[(ARENA_HEADER + HEADER_HASH_SEED) >> 3] = randomBytes(8).readBigUInt64LE();
  // Flow 0 stands for "none": never alive.
  arena.set(ARENA_FLOWS + FLOW_DEAD, 1);
  for (let i = 0; i < THREADS_MAX; i++) {
    arena.set(ARENA_THREADS + i * THREAD__SIZE + THREAD_EPOCH, EPOCH_OFFLINE);
    arena.set(ARENA_THREADS + i * THREAD__SIZE + THREAD_RNG, 0x9e3779b9 ^ (i * 0x85ebca6b));
  }
}
