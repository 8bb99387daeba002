import type { SocketRing, SocketRings } from '../../../netdev/netdev.ts';

const MEMORY_PAGES = 65536;
export const N_CHUNKS = 64;
export const CHUNK = 4096;
const HALF = N_CHUNKS * CHUNK;
const UMEM = 65536;
const FREE = UMEM + 2 * HALF;
const RINGS = FREE + 8 * N_CHUNKS;
/** Bytes of a ring: its words at 0, 64 and 128, its descriptors at 320, as Linux has them on x86-64. */
const RING_SIZE = 4096;
const AT = { rx: RINGS, tx: RINGS + RING_SIZE, fill: RINGS + 2 * RING_SIZE, completion: RINGS + 3 * RING_SIZE };
const CONSUMER = 64;
const FLAGS = 128;
const DESC = 320;
/** What the kernel leaves before a frame. */
const HEADROOM = 256;

/** One for all tests: each costs address space. */
const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES, shared: true });

export interface FakeDescriptor {
  address?: bigint;
  len?: number;
  options?: number;
}

/** The kernel's side of an AF_XDP socket, without a kernel. `start`: where its free-running positions are. */
export class FakeXsk {
  readonly rings: SocketRings;
  readonly #view = new DataView(memory.buffer);
  readonly #u8 = new Uint8Array(memory.buffer);

  constructor({ start = 0, needWakeup = false, partial = false } = {}) {
    this.#u8.fill(0, UMEM, RINGS + 4 * RING_SIZE);
    for (let i = 0; i < N_CHUNKS; i++) {
      this.setAddress('fill', start + i, BigInt(i * CHUNK));
      this.#view.setUint32(FREE + i * 4, i, true);
    }
    for (const ring of ['rx', 'tx', 'completion'] as const) this.setPositions(ring, start, start);
    this.setPositions('fill', start + N_CHUNKS, start);
    const ring = (direction: 'rx' | 'tx'): SocketRing => {
      const isRx = direction === 'rx';
      const back = AT[isRx ? 'fill' : 'completion'];
      const position = isRx ? start + N_CHUNKS : start;
      const xsk = {
        producer: AT[direction],
        consumer: AT[direction] + CONSUMER,
        position: start,
        back: { desc: back + DESC, producer: back, consumer: back + CONSUMER, position },
        wakeup: AT[isRx ? 'fill' : 'tx'] + FLAGS,
        needWakeup,
        umem: UMEM + (isRx ? 0 : HALF),
        umemBase: isRx ? 0 : HALF,
        free: FREE,
        partial,
      };
      const offset = AT[direction] + DESC;
      return { kind: 'xsk', direction, offset, frameSize: CHUNK, nFrames: N_CHUNKS, fd: -1, xsk };
    };
    this.rings = { memory, rings: [ring('rx'), ring('tx')] };
  }

  setPositions(ring: keyof typeof AT, producer: number, consumer: number): void {
    this.#view.setUint32(AT[ring], producer, true);
    this.#view.setUint32(AT[ring] + CONSUMER, consumer, true);
  }

  producer(ring: keyof typeof AT): number {
    return this.#view.getUint32(AT[ring], true);
  }

  consumer(ring: keyof typeof AT): number {
    return this.#view.getUint32(AT[ring] + CONSUMER, true);
  }

  setAddress(ring: 'fill' | 'completion', i: number, address: bigint): void {
    this.#view.setBigUint64(AT[ring] + DESC + ((i >>> 0) % N_CHUNKS) * 8, address, true);
  }

  wantWakeup(ring: 'tx' | 'fill', on: boolean): void {
    this.#view.setUint32(AT[ring] + FLAGS, on ? 1 : 0, true);
  }

  /** Chunks that the kernel has to receive into. */
  get nFilled(): number {
    return (this.producer('fill') - this.consumer('fill')) >>> 0;
  }

  /** Lets the socket receive a frame in the next chunk of the fill ring. */
  hear(frame: Uint8Array, odd: FakeDescriptor = {}): void {
    const taken = this.consumer('fill');
    const at = this.#view.getBigUint64(AT.fill + DESC + (taken % N_CHUNKS) * 8, true);
    this.setPositions('fill', this.producer('fill'), taken + 1);
    this.#u8.set(frame, UMEM + Number(at) + HEADROOM);
    this.push({ address: at + BigInt(HEADROOM), len: frame.length, ...odd });
  }

  /** Puts a descriptor into the receive ring, whatever it says. */
  push({ address = 0n, len = 60, options = 0 }: FakeDescriptor): void {
    const i = this.producer('rx');
    const desc = AT.rx + DESC + (i % N_CHUNKS) * 16;
    this.#view.setBigUint64(desc, address, true);
    this.#view.setUint32(desc + 8, len, true);
    this.#view.setUint32(desc + 12, options, true);
    this.setPositions('rx', i + 1, this.consumer('rx'));
  }

  /** Takes what the switch has put into the transmit ring; `complete`: and gives the chunks back, the last first. */
  sent(complete = true): Uint8Array[] {
    const frames: Uint8Array[] = [];
    const chunks: bigint[] = [];
    const end = this.producer('tx');
    for (let i = this.consumer('tx'); i !== end; i = (i + 1) >>> 0) {
      const desc = AT.tx + DESC + (i % N_CHUNKS) * 16;
      const address = this.#view.getBigUint64(desc, true);
      const at = UMEM + Number(address);
      frames.push(this.#u8.slice(at, at + this.#view.getUint32(desc + 8, true)));
      chunks.unshift(address);
    }
    this.setPositions('tx', end, end);
    if (complete) for (const address of chunks) this.complete(address);
    return frames;
  }

  complete(address: bigint): void {
    const i = this.producer('completion');
    this.setAddress('completion', i, address);
    this.setPositions('completion', i + 1, this.consumer('completion'));
  }
}

/** What the kernel calls the switch's `i`th transmit chunk. */
export const txChunk = (i: number) => BigInt(HALF + i * CHUNK);
