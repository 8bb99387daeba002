import { eventfdDrain, eventfdWrite } from '../../src/sys/eventfd.ts';
import { type FrontEnd, GPA_BASE, ringOffsets } from './vhost-front-end.ts';

/** Entries of each ring, all of them in use. */
export const RING_SIZE = 256;

const BUFFER_SIZE = 256;
const HDR_SIZE = 12;
const DESC_F_WRITE = 2;
/** Where the buffers of ring 0 and ring 1 lie in the memory file. */
const BUFFERS = [0x10000, 0x20000] as const;

/** A guest's driver over a front end's first two rings: each entry has a buffer of its own. It receives by ring 0 and sends by ring 1. */
export class VhostGuest {
  readonly fe: FrontEnd;
  readonly #view: DataView;
  readonly #u16: Uint16Array;
  /** Free-running, as in the rings. */
  readonly #avail = [0, 0];
  #usedSeen = 0;

  constructor(fe: FrontEnd) {
    this.fe = fe;
    this.#view = fe.view;
    this.#u16 = new Uint16Array(fe.memory.buffer);
    for (const ring of [0, 1]) {
      for (let i = 0; i < RING_SIZE; i++) {
        const at = ringOffsets(ring).desc + i * 16;
        this.#view.setBigUint64(at, GPA_BASE + BigInt(BUFFERS[ring]! + i * BUFFER_SIZE), true);
        this.#view.setUint32(at + 8, BUFFER_SIZE, true);
        this.#view.setUint16(at + 12, ring === 0 ? DESC_F_WRITE : 0, true);
      }
    }
    for (let i = 0; i < RING_SIZE; i++) this.#give(0, i);
  }

  #give(ring: 0 | 1, head: number): void {
    const { avail } = ringOffsets(ring);
    const idx = this.#avail[ring]!;
    this.#view.setUint16(avail + 4 + (idx % RING_SIZE) * 2, head, true);
    this.#avail[ring] = (idx + 1) & 0xffff;
    Atomics.store(this.#u16, (avail + 2) >> 1, this.#avail[ring]);
  }

  #used(ring: 0 | 1): number {
    return Atomics.load(this.#u16, (ringOffsets(ring).used + 2) >> 1);
  }

  /** Sent frames that the switch has not taken yet. */
  get waiting(): number {
    return (this.#avail[1]! - this.#used(1)) & 0xffff;
  }

  /** Puts a frame into the ring, which must have room; the switch is not told. */
  put(frame: Uint8Array): void {
    if (this.waiting >= RING_SIZE) throw new Error('guest: the ring is full');
    // A switch gives buffers back in the order in which it took them.
    const head = this.#avail[1]! % RING_SIZE;
    const at = BUFFERS[1] + head * BUFFER_SIZE;
    const bytes = new Uint8Array(this.fe.memory.buffer, at, HDR_SIZE + frame.length);
    bytes.fill(0, 0, HDR_SIZE);
    bytes.set(frame, HDR_SIZE);
    this.#view.setUint32(ringOffsets(1).desc + head * 16 + 8, bytes.length, true);
    this.#give(1, head);
  }

  kick(): void {
    eventfdWrite(this.fe.eventFds.get('SET_VRING_KICK/1')!);
  }

  /** How often it was interrupted for what it received since the last call. */
  interrupts(): number {
    return eventfdDrain(this.fe.eventFds.get('SET_VRING_CALL/0')!);
  }

  /** Copies of the frames that have come; their buffers are the switch's again. */
  received(): Uint8Array[] {
    const { used } = ringOffsets(0);
    const frames: Uint8Array[] = [];
    for (const end = this.#used(0); this.#usedSeen !== end; this.#usedSeen = (this.#usedSeen + 1) & 0xffff) {
      const at = used + 4 + (this.#usedSeen % RING_SIZE) * 8;
      const head = this.#view.getUint32(at, true);
      const len = this.#view.getUint32(at + 4, true);
      const from = BUFFERS[0] + head * BUFFER_SIZE;
      frames.push(new Uint8Array(this.fe.memory.buffer).slice(from + HDR_SIZE, from + len));
      this.#give(0, head);
    }
    return frames;
  }
}
