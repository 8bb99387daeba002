import assert from 'node:assert/strict';
import { eventfdWrite } from '../../../src/sys/eventfd.ts';
import { unixConnect } from '../../../src/sys/socket.ts';
import { FrontEnd, ringOffsets, until } from '../../support/vhost-front-end.ts';

/** A guest on a real vhost-user connection whose rings hold whatever a test writes into them. Offsets count from its memory's start. */

export const DESC_F_NEXT = 1;
export const DESC_F_WRITE = 2;
export const DESC_F_INDIRECT = 4;
export const RX = 0;
export const TX = 1;
export const RING_SIZE = 256;
export const HEADER_SIZE = 12;

/** Guest-physical address of the memory's first byte. */
export const GPA_BASE = 0x10000n;
const BUFFERS_AT = 0x20000;
const BUFFER_SIZE = 2048;
const MEMORY_SIZE = 2 << 20;
/** Bytes for a test's own tables and buffers. */
const SCRATCH_AT = BUFFERS_AT + 2 * RING_SIZE * BUFFER_SIZE;

export interface Desc {
  addr: bigint;
  len: number;
  flags?: number;
  next?: number;
}

export class HostileGuest extends FrontEnd {
  readonly kickFds: number[] = [];
  readonly #availIdx = [0, 0];
  #usedSeen = 0;
  #nextHead = 0;
  #scratch = SCRATCH_AT;

  constructor(path: string) {
    super(unixConnect(path), MEMORY_SIZE);
  }

  /** Connects and starts both rings; the receive ring is full of good buffers. */
  static async up(path: string, features?: bigint): Promise<HostileGuest> {
    const guest = new HostileGuest(path);
    for (let i = 0; i < RING_SIZE; i++) guest.post(i);
    await guest.start(features === undefined ? {} : { features });
    return guest;
  }

  override giveFd(name: 'SET_VRING_KICK' | 'SET_VRING_CALL' | 'SET_VRING_ERR', index: number, fd?: number): number {
    const given = super.giveFd(name, index, fd);
    if (name === 'SET_VRING_KICK') this.kickFds[index] = given;
    return given;
  }

  /** Offset of the buffer that belongs to descriptor `i` of a ring. */
  bufferAt(ring: number, i: number): number {
    return BUFFERS_AT + (ring * RING_SIZE + i) * BUFFER_SIZE;
  }

  /** Its guest-physical address. */
  bufferAddr(ring: number, i: number): bigint {
    return GPA_BASE + BigInt(this.bufferAt(ring, i));
  }

  /** Offset of `size` fresh bytes. */
  alloc(size: number): number {
    const at = this.#scratch;
    this.#scratch += Math.ceil(size / 16) * 16;
    assert.ok(this.#scratch <= this.memSize, 'the guest has no more memory');
    return at;
  }

  /** Guest-physical address of `size` fresh bytes. */
  buffer(size: number): bigint {
    return GPA_BASE + BigInt(this.alloc(size));
  }

  setDesc(ring: number, index: number, desc: Desc): void {
    this.setDescAt(ringOffsets(ring).desc + index * 16, desc);
  }

  setDescAt(at: number, { addr, len, flags = 0, next = 0 }: Desc): void {
    this.view.setBigUint64(at, addr, true);
    this.view.setUint32(at + 8, len, true);
    this.view.setUint16(at + 12, flags, true);
    this.view.setUint16(at + 14, next, true);
  }

  /** Makes chains available, by their heads, and kicks. */
  publish(ring: number, ...heads: number[]): void {
    const { avail } = ringOffsets(ring);
    for (const head of heads) {
      this.view.setUint16(avail + 4 + (this.#availIdx[ring]! % RING_SIZE) * 2, head, true);
      this.#availIdx[ring] = (this.#availIdx[ring]! + 1) & 0xffff;
    }
    this.setAvailIdx(ring, this.#availIdx[ring]!);
  }

  /** Writes the available index, possible or not, and kicks. */
  setAvailIdx(ring: number, index: number): void {
    Atomics.store(new Uint16Array(this.memory.buffer), (ringOffsets(ring).avail + 2) / 2, index);
    this.kick(ring);
  }

  kick(ring: number): void {
    if (this.kickFds[ring] !== undefined) eventfdWrite(this.kickFds[ring]);
  }

  usedIdx(ring: number): number {
    return Atomics.load(new Uint16Array(this.memory.buffer), (ringOffsets(ring).used + 2) / 2);
  }

  /** True while the switch has not given back all that was made available. */
  outstanding(ring = TX): boolean {
    return this.usedIdx(ring) !== this.#availIdx[ring];
  }

  /** Resolves when the switch has given back everything that was made available. */
  async taken(ring = TX): Promise<void> {
    await until(() => !this.outstanding(ring), `ring ${ring} is used up`);
  }

  /** Sends frames, each in one buffer behind `header`, and waits until the switch has taken them. */
  async transmit(frames: readonly Uint8Array[], header: readonly number[] = []): Promise<void> {
    for (let from = 0; from < frames.length; from += RING_SIZE) {
      this.publish(TX, ...frames.slice(from, from + RING_SIZE).map((frame) => this.#place(frame, header)));
      await this.taken();
    }
  }

  /** Sends frames, no more than fit the ring, and does not wait. */
  queue(frames: readonly Uint8Array[]): void {
    this.publish(TX, ...frames.map((frame) => this.#place(frame, [])));
  }

  #place(frame: Uint8Array, header: readonly number[]): number {
    const head = this.#nextHead++ % RING_SIZE;
    const at = this.bufferAt(TX, head);
    const bytes = new Uint8Array(this.memory.buffer, at, HEADER_SIZE + frame.length);
    bytes.fill(0).set(header);
    bytes.set(frame, HEADER_SIZE);
    this.setDesc(TX, head, { addr: GPA_BASE + BigInt(at), len: bytes.length });
    return head;
  }

  /** Makes the good buffer `i` of the receive ring available. */
  post(i: number): void {
    this.setDesc(RX, i, { addr: this.bufferAddr(RX, i), len: BUFFER_SIZE, flags: DESC_F_WRITE });
    this.publish(RX, i);
  }

  /** The frames that have come since the last call; their buffers are made available again. */
  receive(): Buffer[] {
    const { used } = ringOffsets(RX);
    const frames: Buffer[] = [];
    for (const end = this.usedIdx(RX); this.#usedSeen !== end; this.#usedSeen = (this.#usedSeen + 1) & 0xffff) {
      const entry = used + 4 + (this.#usedSeen % RING_SIZE) * 8;
      const head = this.view.getUint32(entry, true);
      const length = this.view.getUint32(entry + 4, true);
      const at = this.bufferAt(RX, head);
      frames.push(Buffer.from(new Uint8Array(this.memory.buffer).slice(at + HEADER_SIZE, at + length)));
      this.post(head);
    }
    return frames;
  }

  /** Waits for `n` frames and returns them. */
  async received(n: number): Promise<Buffer[]> {
    const frames: Buffer[] = [];
    await until(() => {
      frames.push(...this.receive());
      return frames.length >= n;
    }, `${n} frames`);
    return frames;
  }
}

/** A frame of `size` bytes: Ethernet of a local experiment's type, the rest tells its number. */
export function testFrame(seed: number, size = 64): Uint8Array {
  const frame = Uint8Array.from({ length: size }, (_, i) => (i * 7 + seed * 31) & 0xff);
  frame.set([2, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 3, 0x88, 0xb5]);
  return frame;
}
