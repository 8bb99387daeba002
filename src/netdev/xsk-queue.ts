import { close } from '../sys/fd.ts';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_SHARED, mmap, PROT_READ, PROT_WRITE } from '../sys/memory.ts';
import {
  type XskRingLayout,
  type XskRingName,
  xskBind,
  xskMakeRings,
  xskMapRing,
  xskOpen,
  xskRegisterUmem,
} from '../sys/xdp-socket.ts';
import type { SocketRing } from './netdev.ts';
import { socketMemory } from './socket-memory.ts';

/** A frame and the kernel's headroom before it (256 bytes). */
const CHUNK_SIZE = 4096;
/** Of each direction, and descriptors of each ring. */
const N_CHUNKS = 2048;
const HALF = CHUNK_SIZE * N_CHUNKS;
const UMEM_SIZE = 2 * HALF;
/** A stack of chunks and a word for each of them. */
const FREE_SIZE = 2 * 4 * N_CHUNKS;
const RING_NAMES: readonly XskRingName[] = ['rx', 'tx', 'fill', 'completion'];

export interface XskQueueOptions {
  ifindex: number;
  queue: number;
  /** XDP_COPY, XDP_ZEROCOPY, XDP_USE_NEED_WAKEUP. */
  bindFlags: number;
  needWakeup: boolean;
  partial: boolean;
}

/**
 * One AF_XDP socket with its rings and packet memory, which lie in the socket memory: packet memory (receive chunks, then transmit chunks), stack of free
 * chunks, then the four rings. Control thread only.
 */
export class XskQueue {
  readonly fd: number;
  readonly queue: number;
  readonly #options: XskQueueOptions;
  #place = -1;
  readonly #at = {} as Record<XskRingName, number>;
  #layouts!: Record<XskRingName, XskRingLayout>;

  /** Throws a system error of whichever step the kernel refused. */
  constructor(options: XskQueueOptions) {
    this.queue = options.queue;
    this.#options = options;
    this.fd = xskOpen();
    try {
      this.#map();
      this.#fill();
      xskBind(this.fd, options.ifindex, options.queue, options.bindFlags);
    } catch (e) {
      this.close();
      throw e;
    }
  }

  #map(): void {
    const memory = socketMemory();
    this.#layouts = xskMakeRings(this.fd, N_CHUNKS);
    const own = UMEM_SIZE + FREE_SIZE;
    this.#place = memory.take(RING_NAMES.reduce((size, name) => size + this.#layouts[name].size, own));
    const addr = memory.address(this.#place);
    mmap({
      addr,
      length: own,
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED,
    });
    xskRegisterUmem(this.fd, addr, UMEM_SIZE, CHUNK_SIZE);
    let at = this.#place + own;
    for (const name of RING_NAMES) {
      xskMapRing(this.fd, name, memory.address(at), this.#layouts[name].size);
      this.#at[name] = at;
      at += this.#layouts[name].size;
    }
  }

  /** The kernel gets all receive chunks, the stack all transmit chunks. */
  #fill(): void {
    const { buffer } = socketMemory().memory;
    const fill = new BigUint64Array(buffer, this.#at.fill + this.#layouts.fill.desc, N_CHUNKS);
    const stack = new Uint32Array(buffer, this.#place + UMEM_SIZE, N_CHUNKS);
    for (let i = 0; i < N_CHUNKS; i++) {
      fill[i] = BigInt(i * CHUNK_SIZE);
      stack[i] = i;
    }
    Atomics.store(new Uint32Array(buffer), (this.#at.fill + this.#layouts.fill.producer) >>> 2, N_CHUNKS);
  }

  ring(direction: 'rx' | 'tx'): SocketRing {
    const isRx = direction === 'rx';
    const back = isRx ? 'fill' : 'completion';
    const word = (name: XskRingName, of: 'producer' | 'consumer' | 'desc' | 'flags') => {
      return this.#at[name] + this.#layouts[name][of];
    };
    return {
      kind: 'xsk',
      direction,
      offset: word(direction, 'desc'),
      frameSize: CHUNK_SIZE,
      nFrames: N_CHUNKS,
      fd: this.fd,
      xsk: {
        producer: word(direction, 'producer'),
        consumer: word(direction, 'consumer'),
        position: 0,
        back: {
          desc: word(back, 'desc'),
          producer: word(back, 'producer'),
          consumer: word(back, 'consumer'),
          position: isRx ? N_CHUNKS : 0,
        },
        wakeup: word(isRx ? 'fill' : 'tx', 'flags'),
        needWakeup: this.#options.needWakeup,
        umem: this.#place + (isRx ? 0 : HALF),
        umemBase: isRx ? 0 : HALF,
        free: this.#place + UMEM_SIZE,
        partial: this.#options.partial,
      },
    };
  }

  /** No thread uses its rings any more. */
  close(): void {
    close(this.fd);
    if (this.#place >= 0) socketMemory().release(this.#place);
    this.#place = -1;
  }
}
