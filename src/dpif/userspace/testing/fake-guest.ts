import type { GuestMemory, GuestRegion, VringConfig } from '../../../netdev/netdev.ts';
import {
  addressOf,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  mmap,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../../../sys/memory.ts';

/**
 * A guest in plain TypeScript: a memory of 4 GiB that is PROT_NONE but for its regions, and the driver's side of split rings (virtio 1.2,
 * section 2.7). It does what a test says, however wrong. Little-endian hosts only.
 */

export const DESC_F_NEXT = 1;
export const DESC_F_WRITE = 2;
export const DESC_F_INDIRECT = 4;
export const AVAIL_F_NO_INTERRUPT = 1;

const MEMORY_SIZE = 2 ** 32;
const WASM_PAGE = 65536;

/** Guest-physical address, size, and where it is mapped; multiples of 4096. */
export interface RegionSpec {
  gpa: bigint;
  size: number;
  offset: number;
}

export const DEFAULT_REGIONS: readonly RegionSpec[] = [{ gpa: 0x4000_0000n, size: 4 << 20, offset: 0x10000 }];

/** V8 reserves 10 GiB of addresses for a memory: those of guests that are gone are used again. */
const pool: WebAssembly.Memory[] = [];

function forbid(memory: WebAssembly.Memory): void {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  mmap({ addr: addressOf(memory.buffer), length: MEMORY_SIZE, prot: PROT_NONE, flags });
}

function newMemory(): WebAssembly.Memory {
  const pages = MEMORY_SIZE / WASM_PAGE;
  const memory = pool.pop() ?? new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  forbid(memory);
  return memory;
}

export class FakeGuest implements GuestMemory {
  readonly memory: WebAssembly.Memory;
  readonly regions: readonly GuestRegion[];
  readonly u8: Uint8Array;
  readonly #view: DataView;
  /** Next free byte of the first region, as an offset. */
  #free: number;

  constructor(regions: readonly RegionSpec[] = DEFAULT_REGIONS) {
    this.memory = newMemory();
    const base = addressOf(this.memory.buffer);
    const flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;
    for (const { offset, size } of regions)
      mmap({ addr: base + BigInt(offset), length: size, prot: PROT_READ | PROT_WRITE, flags });
    this.regions = regions.map(({ gpa, size, offset }) => ({ gpa, userAddr: gpa, size: BigInt(size), offset }));
    this.u8 = new Uint8Array(this.memory.buffer);
    this.#view = new DataView(this.memory.buffer);
    this.#free = regions[0]!.offset;
  }

  /** The fast path must have left the memory. */
  release(): void {
    forbid(this.memory);
    pool.push(this.memory);
  }

  /** Takes away the page at `offset`: an access to it traps. */
  protect(offset: number, size = 4096): void {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    const addr = addressOf(this.memory.buffer) + BigInt(offset);
    mmap({ addr, length: size, prot: PROT_NONE, flags });
  }

  /** Offset of `size` fresh bytes in the first region. */
  alloc(size: number, align = 16): number {
    const at = Math.ceil(this.#free / align) * align;
    const { offset, size: regionSize } = this.regions[0]!;
    if (at + size > offset + Number(regionSize)) throw new Error('fake guest: the region is full');
    this.#free = at + size;
    return at;
  }

  /** Guest-physical address of an offset. */
  gpa(offset: number): bigint {
    const region = this.regions.find((r) => offset >= r.offset && offset < r.offset + Number(r.size));
    if (!region) throw new Error(`fake guest: offset ${offset} is in no region`);
    return region.gpa + BigInt(offset - region.offset);
  }

  /** Offset of a guest-physical address; undefined when it is in no region. */
  offsetOf(gpa: bigint): number | undefined {
    const region = this.regions.find((r) => gpa >= r.gpa && gpa < r.gpa + r.size);
    return region && region.offset + Number(gpa - region.gpa);
  }

  get16(at: number): number {
    return this.#view.getUint16(at, true);
  }

  set16(at: number, value: number): void {
    this.#view.setUint16(at, value, true);
  }

  get32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  set32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  set64(at: number, value: bigint): void {
    this.#view.setBigUint64(at, value, true);
  }

  /** A copy of all regions' bytes, one after the other. */
  snapshot(): Uint8Array {
    return Buffer.concat(this.regions.map((r) => this.u8.slice(r.offset, r.offset + Number(r.size))));
  }
}

/** A descriptor as it is in memory. */
export interface Desc {
  addr: bigint;
  len: number;
  flags?: number;
  next?: number;
}

export interface RingOptions {
  /** vhost index: even = the guest receives, odd = it transmits. */
  index: number;
  size: number;
  hdrSize: 10 | 12;
  features: bigint;
  /** Value of both indices when the ring starts. */
  position?: number;
  kickFd?: number;
  callFd?: number;
}

export const F_MRG_RXBUF = 1n << 15n;
export const F_INDIRECT = 1n << 28n;

/** How a packet that is sent lies in memory. */
export interface SendLayout {
  /** Sizes of the buffers; what is left goes into a last one. None: a single buffer. */
  split?: readonly number[];
  /** By an indirect table. */
  indirect?: boolean;
  /** First bytes of the virtio_net_hdr; the rest is zero. */
  header?: readonly number[];
}

/** The driver's side of one ring. Buffers are made as they are needed and never freed. */
export class FakeRing {
  readonly guest: FakeGuest;
  readonly config: VringConfig;
  readonly size: number;
  availIdx: number;
  #nextDesc = 0;
  #usedSeen: number;
  /** Buffers of each posted chain, by its head. */
  readonly #posted = new Map<number, { at: number; size: number }[]>();

  constructor(guest: FakeGuest, options: RingOptions) {
    const { size } = options;
    this.guest = guest;
    this.size = size;
    const position = options.position ?? 0;
    this.config = {
      index: options.index,
      size,
      desc: guest.alloc(size * 16, 16),
      avail: guest.alloc(6 + size * 2, 2),
      used: guest.alloc(6 + size * 8, 4),
      lastAvail: position,
      lastUsed: position,
      kickFd: options.kickFd ?? -1,
      callFd: options.callFd ?? -1,
      features: options.features,
      hdrSize: options.hdrSize,
    };
    this.availIdx = position;
    this.#usedSeen = position;
    this.setAvailIdx(position);
    guest.set16(this.config.used + 2, position);
  }

  setDesc(index: number, desc: Desc, table = this.config.desc): void {
    const at = table + index * 16;
    this.guest.set64(at, desc.addr);
    this.guest.set32(at + 8, desc.len);
    this.guest.set16(at + 12, desc.flags ?? 0);
    this.guest.set16(at + 14, desc.next ?? 0);
  }

  setAvailIdx(value: number): void {
    this.availIdx = value & 0xffff;
    this.guest.set16(this.config.avail + 2, this.availIdx);
  }

  setAvailFlags(flags: number): void {
    this.guest.set16(this.config.avail, flags);
  }

  get usedIdx(): number {
    return this.guest.get16(this.config.used + 2);
  }

  get usedFlags(): number {
    return this.guest.get16(this.config.used);
  }

  /** Puts a chain's head into the ring. */
  publish(head: number): void {
    this.guest.set16(this.config.avail + 4 + (this.availIdx % this.size) * 2, head);
    this.setAvailIdx(this.availIdx + 1);
  }

  /** The used entries that are new. */
  takeUsed(): { id: number; len: number }[] {
    const out: { id: number; len: number }[] = [];
    const end = this.usedIdx;
    for (; this.#usedSeen !== end; this.#usedSeen = (this.#usedSeen + 1) & 0xffff) {
      const at = this.config.used + 4 + (this.#usedSeen % this.size) * 8;
      out.push({ id: this.guest.get32(at), len: this.guest.get32(at + 4) });
    }
    return out;
  }

  /** Writes a chain of descriptors over the next free entries and gives its head; not published. */
  writeChain(descs: readonly Desc[]): number {
    const head = this.#nextDesc;
    descs.forEach((desc, i) => {
      const index = (head + i) % this.size;
      const last = i === descs.length - 1;
      const flags = (desc.flags ?? 0) | (last ? 0 : DESC_F_NEXT);
      this.setDesc(index, { ...desc, flags, next: last ? 0 : (index + 1) % this.size });
    });
    this.#nextDesc = (head + descs.length) % this.size;
    return head;
  }

  /** Writes an indirect table of those descriptors; gives the descriptor that stands for it. */
  indirectTable(descs: readonly Desc[]): Desc {
    const table = this.guest.alloc(descs.length * 16);
    descs.forEach((desc, i) => {
      const last = i === descs.length - 1;
      const flags = (desc.flags ?? 0) | (last ? 0 : DESC_F_NEXT);
      this.setDesc(i, { ...desc, flags, next: last ? 0 : i + 1 }, table);
    });
    return { addr: this.guest.gpa(table), len: descs.length * 16, flags: DESC_F_INDIRECT };
  }

  /** Sends a frame; gives the chain's head. */
  send(frame: Uint8Array, layout: SendLayout = {}): number {
    const bytes = new Uint8Array(this.config.hdrSize + frame.length);
    bytes.set(layout.header ?? []);
    bytes.set(frame, this.config.hdrSize);
    const descs: Desc[] = [];
    let from = 0;
    for (const size of [...(layout.split ?? []), Infinity]) {
      const part = bytes.subarray(from, from + size);
      if (part.length === 0 && size === Infinity && descs.length > 0) break;
      const at = this.guest.alloc(Math.max(part.length, 1));
      this.guest.u8.set(part, at);
      descs.push({ addr: this.guest.gpa(at), len: part.length });
      from += part.length;
    }
    const head = this.writeChain(layout.indirect ? [this.indirectTable(descs)] : descs);
    this.publish(head);
    return head;
  }

  /** Posts one chain of empty buffers of those sizes; gives its head. */
  post(sizes: readonly number[], indirect = false): number {
    const buffers = sizes.map((size) => ({ at: this.guest.alloc(Math.max(size, 1)), size }));
    const descs = buffers.map(({ at, size }) => ({ addr: this.guest.gpa(at), len: size, flags: DESC_F_WRITE }));
    const head = this.writeChain(indirect ? [this.indirectTable(descs)] : descs);
    this.#posted.set(head, buffers);
    this.publish(head);
    return head;
  }

  #bytesOf(head: number, len: number): Uint8Array {
    const parts = (this.#posted.get(head) ?? []).map(({ at, size }) => this.guest.u8.slice(at, at + size));
    return Buffer.concat(parts).subarray(0, len);
  }

  /** The frames that came since the last call, joined over mergeable buffers; buffers that came back empty are left out. */
  received(): Uint8Array[] {
    return this.receivedWhole().map((packet) => packet.subarray(this.config.hdrSize));
  }

  /** The same with the virtio_net_hdr before each. */
  receivedWhole(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    const used = this.takeUsed();
    for (let i = 0; i < used.length; ) {
      const first = this.#bytesOf(used[i]!.id, used[i]!.len);
      const nBuffers = this.config.hdrSize === 12 && first.length >= 12 ? first[10]! | (first[11]! << 8) : 1;
      const rest = used.slice(i + 1, i + nBuffers).map(({ id, len }) => this.#bytesOf(id, len));
      if (first.length > 0) frames.push(Uint8Array.from(Buffer.concat([first, ...rest])));
      i += Math.max(1, nBuffers);
    }
    return frames;
  }
}
