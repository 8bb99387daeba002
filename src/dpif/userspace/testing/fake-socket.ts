import type { SocketRing, SocketRings } from '../../../netdev/netdev.ts';

const MEMORY_PAGES = 65536;
const FRAME_SIZE = 69632;
const N_FRAMES = 8;
const RX_AT = 65536;
const TX_AT = RX_AT + FRAME_SIZE * N_FRAMES;
/** Where the kernel puts frames; anything behind the slot's header and the virtio_net_hdr would do. */
const MAC = 82;
const VNET_SIZE = 10;

export const STATUS_USER = 1;
export const STATUS_VLAN = 1 << 4;
export const STATUS_TPID = 1 << 6;

/** One for all tests: each costs address space. */
const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES, shared: true });

export interface FakeFrame {
  status?: number;
  len?: number;
  snaplen?: number;
  mac?: number;
  tci?: number;
  tpid?: number;
  /** virtio_net_hdr. */
  flags?: number;
  gsoType?: number;
  gsoSize?: number;
  csumStart?: number;
  csumOffset?: number;
}

/** The kernel's side of a packet socket's two rings, without a kernel. */
export class FakeSocket {
  readonly rings: SocketRings;
  readonly nFrames = N_FRAMES;
  readonly #view = new DataView(memory.buffer);
  readonly #u8 = new Uint8Array(memory.buffer);
  #next = 0;
  #nextSent = 0;

  constructor() {
    this.#u8.fill(0, RX_AT, TX_AT + FRAME_SIZE * N_FRAMES);
    const ring = (direction: 'rx' | 'tx', offset: number): SocketRing => {
      return { kind: 'packet', direction, offset, frameSize: FRAME_SIZE, nFrames: N_FRAMES, fd: -1 };
    };
    this.rings = { memory, rings: [ring('rx', RX_AT), ring('tx', TX_AT)] };
  }

  #slot(base: number, i: number): number {
    return base + (i % N_FRAMES) * FRAME_SIZE;
  }

  status(i: number): number {
    return this.#view.getUint32(this.#slot(RX_AT, i), true);
  }

  /** Lets the socket hear a frame. Returns its slot's number. */
  hear(frame: Uint8Array, fields: FakeFrame = {}): number {
    const i = this.#next++;
    const slot = this.#slot(RX_AT, i);
    const mac = fields.mac ?? MAC;
    const v = this.#view;
    v.setUint32(slot + 4, fields.len ?? frame.length, true);
    v.setUint32(slot + 8, fields.snaplen ?? frame.length, true);
    v.setUint16(slot + 12, mac, true);
    v.setUint16(slot + 24, fields.tci ?? 0, true);
    v.setUint16(slot + 26, fields.tpid ?? 0, true);
    const vnet = slot + MAC - VNET_SIZE;
    v.setUint8(vnet, fields.flags ?? 0);
    v.setUint8(vnet + 1, fields.gsoType ?? 0);
    v.setUint16(vnet + 4, fields.gsoSize ?? 0, true);
    v.setUint16(vnet + 6, fields.csumStart ?? 0, true);
    v.setUint16(vnet + 8, fields.csumOffset ?? 0, true);
    this.#u8.set(frame, slot + MAC);
    v.setUint32(slot, fields.status ?? STATUS_USER, true);
    return i;
  }

  /** What the switch has put into the transmit ring since the last call; `take`: the kernel is done with it. */
  sent(take = true): { vnet: Uint8Array; frame: Uint8Array }[] {
    const out: { vnet: Uint8Array; frame: Uint8Array }[] = [];
    for (let i = this.#nextSent; i < this.#nextSent + N_FRAMES; i++) {
      const slot = this.#slot(TX_AT, i);
      if (this.#view.getUint32(slot, true) !== 1) break;
      const end = slot + 32 + this.#view.getUint32(slot + 4, true);
      out.push({ vnet: this.#u8.slice(slot + 32, slot + 42), frame: this.#u8.slice(slot + 42, end) });
      if (take) this.#view.setUint32(slot, 0, true);
    }
    if (take) this.#nextSent += out.length;
    return out;
  }

  /** Writes over the words of a slot. */
  scribble(i: number, bytes: Uint8Array): void {
    this.#u8.set(bytes, this.#slot(RX_AT, i));
  }

  /** The kernel's word for a transmit slot. */
  setSendStatus(i: number, status: number): void {
    this.#view.setUint32(this.#slot(TX_AT, i), status, true);
  }
}
