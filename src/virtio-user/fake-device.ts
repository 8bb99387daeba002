/**
 * A vhost device in TypeScript for tests: plays the switch's side of one port's split rings, slowly and plainly, after VIRTIO 1.2
 * section 2.7. Addresses are offsets in the driver's memory.
 */
import type { DriverMemory, RingPlace } from './driver-memory.ts';
import { HDR_NUM_BUFFERS, HDR_SIZE } from './kernel/layout.ts';

const DESC_F_NEXT = 1;
const DESC_F_WRITE = 2;

interface Desc {
  addr: number;
  len: number;
  flags: number;
  next: number;
}

/** One ring as the device sees it. */
export class FakeRing {
  readonly #mem: DriverMemory;
  readonly #ring: RingPlace;
  /** Position in the avail ring. */
  lastAvail = 0;
  usedIdx = 0;

  constructor(mem: DriverMemory, ring: RingPlace) {
    this.#mem = mem;
    this.#ring = ring;
  }

  #u16(at: number): number {
    return this.#mem.view.getUint16(at, true);
  }

  get interruptsOff(): boolean {
    return (this.#u16(this.#ring.avail) & 1) === 1;
  }

  /** Tells the driver whether it has to kick. */
  wantKicks(on: boolean): void {
    this.#mem.view.setUint16(this.#ring.used, on ? 0 : 1, true);
  }

  /** Heads that the driver has made available and that were not popped. */
  get waiting(): number {
    return (this.#u16(this.#ring.avail + 2) - this.lastAvail) & 0xffff;
  }

  pop(): number {
    const at = this.lastAvail & (this.#ring.size - 1);
    this.lastAvail = (this.lastAvail + 1) & 0xffff;
    return this.#u16(this.#ring.avail + 4 + at * 2);
  }

  desc(d: number): Desc {
    const at = this.#ring.desc + d * 16;
    const { view } = this.#mem;
    return {
      addr: Number(view.getBigUint64(at, true)),
      len: view.getUint32(at + 8, true),
      flags: this.#u16(at + 12),
      next: this.#u16(at + 14),
    };
  }

  chain(head: number): Desc[] {
    const descs = [this.desc(head)];
    while (descs.at(-1)!.flags & DESC_F_NEXT) descs.push(this.desc(descs.at(-1)!.next));
    return descs;
  }

  /** Writes a used element at the next place without publishing it. */
  putUsed(id: number, len: number): void {
    const at = this.#ring.used + 4 + (this.usedIdx & (this.#ring.size - 1)) * 8;
    this.#mem.view.setUint32(at, id, true);
    this.#mem.view.setUint32(at + 4, len, true);
    this.usedIdx = (this.usedIdx + 1) & 0xffff;
  }

  publishUsed(): void {
    this.#mem.view.setUint16(this.#ring.used + 2, this.usedIdx, true);
  }

  bytes(addr: number, len: number): Uint8Array {
    return this.#mem.bytes.subarray(addr, addr + len);
  }
}

export class FakeDevice {
  readonly tx: FakeRing;
  readonly rx: FakeRing;

  constructor(mem: DriverMemory, port: number) {
    this.tx = new FakeRing(mem, mem.layout.ports[port]!.tx);
    this.rx = new FakeRing(mem, mem.layout.ports[port]!.rx);
  }

  /** Takes every frame the driver has sent. */
  receive(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    for (; this.tx.waiting > 0; ) {
      const head = this.tx.pop();
      const parts = this.tx.chain(head).map((d) => this.tx.bytes(d.addr, d.len));
      frames.push(new Uint8Array(Buffer.concat(parts)).subarray(HDR_SIZE));
      this.tx.putUsed(head, 0);
    }
    this.tx.publishUsed();
    return frames;
  }

  /** Gives the driver a frame, over as many of its buffers as it takes. False when it has too few; nothing is published then. */
  send(frame: Uint8Array, publish = true): boolean {
    const data = new Uint8Array(HDR_SIZE + frame.length);
    data.set(frame, HDR_SIZE);
    const used: { head: number; len: number }[] = [];
    let first: Uint8Array | undefined;
    for (let at = 0; at < data.length; ) {
      if (this.rx.waiting === 0) return false;
      const head = this.rx.pop();
      const d = this.rx.desc(head);
      if ((d.flags & DESC_F_WRITE) === 0) throw new Error('rx descriptor is not writable');
      const part = data.subarray(at, at + d.len);
      const room = this.rx.bytes(d.addr, part.length);
      room.set(part);
      first ??= room;
      used.push({ head, len: part.length });
      at += part.length;
    }
    new DataView(first!.buffer, first!.byteOffset).setUint16(HDR_NUM_BUFFERS, used.length, true);
    for (const u of used) this.rx.putUsed(u.head, u.len);
    if (publish) this.rx.publishUsed();
    return true;
  }
}
