import {
  ARENA_PORT_STATS,
  ARENA_PORT_STATS_STRIDE,
  ARENA_THREADS,
  BATCH_MAX,
  DROP_SOCKET_TX_NOT_READY,
  PORT_STATS__SIZE,
  PORT_STATS_TX_BYTES,
  PORT_STATS_TX_DROPPED,
  PORT_STATS_TX_PACKETS,
  THREAD__SIZE,
  THREAD_DROPS,
  VRING_DESC,
  VRING_FRAME_SIZE,
  VRING_LAST_USED,
  VRING_PORT,
  VRING_SIZE,
  VRING_STARTED,
} from '../../gen/arena.ts';
import { readAt, writeAt } from '../../sys/fd.ts';
import { addressOf } from '../../sys/memory.ts';
import type { Arena } from './arena.ts';

/** The kernel's part in a tap's ring, played by the thread that polls it, where the kernel itself has no ring: see src/fastpath/tpacket.ts for the slots. */
const STATUS_USER = 1;
const STATUS_SEND_REQUEST = 1;
/** Of the frame in a slot; the virtio_net_hdr stands before it. */
const MAC = 64;
const VNET_SIZE = 10;
const SEND_AT = 32;
const PCAP_RECORD = 16;

/** One thread's reads and writes of taps. The ring's LAST_USED is the next slot of the pump's side. Allocates nothing. */
export class TapPump {
  readonly #arena: Arena;
  readonly #thread: number;
  readonly #base: number;
  readonly #u32: Uint32Array;
  readonly #i32: Int32Array;
  readonly #u16: Uint16Array;
  readonly #view: DataView;

  constructor(arena: Arena, thread: number, memory: WebAssembly.Memory) {
    this.#arena = arena;
    this.#thread = thread;
    this.#base = Number(addressOf(memory.buffer));
    this.#u32 = new Uint32Array(memory.buffer);
    this.#i32 = new Int32Array(memory.buffer);
    this.#u16 = new Uint16Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
  }

  /** Reads up to a batch of frames from the tap into the receive ring; returns how many. */
  receive(ring: number, fd: number): number {
    const arena = this.#arena;
    if (arena.load(ring + VRING_STARTED) === 0) return 0;
    const frameSize = arena.get(ring + VRING_FRAME_SIZE);
    let i = arena.get(ring + VRING_LAST_USED);
    let n = 0;
    while (n < BATCH_MAX) {
      const slot = arena.get(ring + VRING_DESC) + i * frameSize;
      if (Atomics.load(this.#i32, slot >>> 2) !== 0) break;
      const size = readAt(fd, this.#base + slot + MAC - VNET_SIZE, frameSize - MAC + VNET_SIZE);
      if (size <= VNET_SIZE) break;
      this.#u32[(slot + 4) >>> 2] = size - VNET_SIZE;
      this.#u32[(slot + 8) >>> 2] = size - VNET_SIZE;
      this.#u16[(slot + 12) >>> 1] = MAC;
      Atomics.store(this.#i32, slot >>> 2, STATUS_USER);
      if (++i === arena.get(ring + VRING_SIZE)) i = 0;
      n++;
    }
    arena.set(ring + VRING_LAST_USED, i);
    return n;
  }

  /** Writes what stands in the transmit ring, which no other thread fills or reads. A frame that the tap does not take was not sent after all. */
  send(ring: number, fd: number): void {
    const arena = this.#arena;
    const frameSize = arena.get(ring + VRING_FRAME_SIZE);
    let i = arena.get(ring + VRING_LAST_USED);
    for (;;) {
      const slot = arena.get(ring + VRING_DESC) + i * frameSize;
      if (Atomics.load(this.#i32, slot >>> 2) !== STATUS_SEND_REQUEST) break;
      const size = this.#u32[(slot + 4) >>> 2]!;
      if (writeAt(fd, this.#base + slot + SEND_AT, size) !== size) this.#dropFrame(ring, slot, size - VNET_SIZE);
      Atomics.store(this.#i32, slot >>> 2, 0);
      if (++i === arena.get(ring + VRING_SIZE)) i = 0;
    }
    arena.set(ring + VRING_LAST_USED, i);
  }

  /** Appends what stands in the transmit ring to a pcap file (microseconds, little-endian), each frame in one write, so that threads can share it. */
  capture(ring: number, fd: number): void {
    const arena = this.#arena;
    const frameSize = arena.get(ring + VRING_FRAME_SIZE);
    const now = Date.now();
    let i = arena.get(ring + VRING_LAST_USED);
    for (;;) {
      const slot = arena.get(ring + VRING_DESC) + i * frameSize;
      if (Atomics.load(this.#i32, slot >>> 2) !== STATUS_SEND_REQUEST) break;
      const size = this.#u32[(slot + 4) >>> 2]! - VNET_SIZE;
      const record = slot + SEND_AT + VNET_SIZE - PCAP_RECORD;
      this.#view.setUint32(record, now / 1000, true);
      this.#view.setUint32(record + 4, (now % 1000) * 1000, true);
      this.#view.setUint32(record + 8, size, true);
      this.#view.setUint32(record + 12, size, true);
      if (writeAt(fd, this.#base + record, PCAP_RECORD + size) !== PCAP_RECORD + size) this.#drop(ring, 1, size);
      Atomics.store(this.#i32, slot >>> 2, 0);
      if (++i === arena.get(ring + VRING_SIZE)) i = 0;
    }
    arena.set(ring + VRING_LAST_USED, i);
  }

  /** Segments that were put together count one by one, each with its headers. */
  #dropFrame(ring: number, slot: number, size: number): void {
    const gsoSize = this.#view.getUint16(slot + SEND_AT + 4, true);
    if (gsoSize === 0) {
      this.#drop(ring, 1, size);
      return;
    }
    const l4 = this.#view.getUint16(slot + SEND_AT + 6, true);
    const headers = l4 + (this.#view.getUint8(slot + SEND_AT + VNET_SIZE + l4 + 12) >> 4) * 4;
    const n = Math.ceil((size - headers) / gsoSize);
    this.#drop(ring, n, size + (n - 1) * headers);
  }

  #drop(ring: number, n: number, size: number): void {
    const port = this.#arena.get(ring + VRING_PORT);
    const stats = ARENA_PORT_STATS + this.#thread * ARENA_PORT_STATS_STRIDE + port * PORT_STATS__SIZE;
    this.#arena.addCounter(stats + PORT_STATS_TX_PACKETS, BigInt(-n));
    this.#arena.addCounter(stats + PORT_STATS_TX_BYTES, BigInt(-size));
    this.#arena.addCounter(stats + PORT_STATS_TX_DROPPED, BigInt(n));
    const drops = ARENA_THREADS + this.#thread * THREAD__SIZE + THREAD_DROPS;
    this.#arena.addCounter(drops + DROP_SOCKET_TX_NOT_READY * 8, BigInt(n));
  }
}
