/**
 * The memory of a traffic tool: one shared WebAssembly memory. Its upper part, rings and packet buffers, lies over a memfd that the
 * switch maps too; the lower part, which kernel/layout.ts describes, is private.
 *
 *     0 ──────────── HEAP ─────────────────── sharedBase ──────────────────────────── end
 *     control, ports  arrays, templates        rings of all ports   buffers
 *
 * Both guest-physical and user addresses that the switch is told are plain offsets in this memory, so that a descriptor's address
 * and a WebAssembly pointer are the same number.
 */
import { close } from '../sys/fd.ts';
import * as mem from '../sys/memory.ts';
import { BUF_STRIDE, HEAP, MAX_PORTS } from './kernel/layout.ts';

const PAGE = 65536;
/** Frames in flight inside the tool, besides those in rings. */
const SPARE_BUFFERS = 1024;
/** Bytes for a port's template: a jumbo frame and its table entry. */
const TEMPLATE_ROOM = 10240;

export interface MemoryPlan {
  /** Descriptors of each port's rx and tx ring; powers of two. */
  ports: readonly { rxd: number; txd: number }[];
  /** Bytes for pcap frames, over all ports. */
  replaySize?: number;
}

/** Where one split ring lies. */
export interface RingPlace {
  size: number;
  desc: number;
  avail: number;
  used: number;
  /** The kernel's private arrays for it. */
  arrays: number;
}

export interface PortPlace {
  rx: RingPlace;
  tx: RingPlace;
  /** Room for the port's templates: TEMPLATE_ROOM bytes. */
  template: number;
}

export interface MemoryLayout {
  ports: PortPlace[];
  poolStack: number;
  poolMeta: number;
  nBuffers: number;
  buffers: number;
  /** pcap frames. */
  replay: number;
  replaySize: number;
  sharedBase: number;
  sharedSize: number;
  pages: number;
}

const alignUp = (n: number, to: number) => Math.ceil(n / to) * to;

/** Hands out consecutive places. */
class Cursor {
  at: number;
  constructor(at: number) {
    this.at = at;
  }
  take(size: number, align = 64): number {
    const place = alignUp(this.at, align);
    this.at = place + size;
    return place;
  }
}

/** Places a ring's three parts. An odd number of lines lies between rings, so that their heads do not share cache sets. */
function placeRing(shared: Cursor, size: number, arrays: number): RingPlace {
  const desc = shared.take(size * 16);
  const avail = shared.take(6 + size * 2);
  const used = shared.take(6 + size * 8);
  shared.take(192);
  return { size, desc, avail, used, arrays };
}

/** Plans a memory. Pure. Throws RangeError when it would not fit into 4 GiB or there are too many ports. */
export function planMemory(plan: MemoryPlan): MemoryLayout {
  if (plan.ports.length > MAX_PORTS) throw new RangeError(`at most ${MAX_PORTS} ports`);
  const nBuffers = plan.ports.reduce((n, p) => n + p.rxd + p.txd, SPARE_BUFFERS);
  const heap = new Cursor(HEAP);
  const poolStack = heap.take(nBuffers * 4);
  const poolMeta = heap.take(nBuffers * 8);
  const heads = plan.ports.map(({ rxd, txd }) => ({
    rxd,
    txd,
    rx: heap.take(rxd * 8),
    tx: heap.take(txd * 8),
    template: heap.take(TEMPLATE_ROOM),
  }));
  const replaySize = plan.replaySize ?? 0;
  const replay = heap.take(replaySize);
  const shared = new Cursor(alignUp(heap.at, PAGE));
  const sharedBase = shared.at;
  const ports = heads.map((h) => ({
    rx: placeRing(shared, h.rxd, h.rx),
    tx: placeRing(shared, h.txd, h.tx),
    template: h.template,
  }));
  const buffers = shared.take(nBuffers * BUF_STRIDE, 4096);
  const end = alignUp(shared.at, PAGE);
  if (end > 2 ** 32 - PAGE) throw new RangeError('the rings and buffers do not fit into 4 GiB');
  const sharedSize = end - sharedBase;
  const pages = end / PAGE;
  return { ports, poolStack, poolMeta, nBuffers, buffers, replay, replaySize, sharedBase, sharedSize, pages };
}

/** A planned memory, made. `memory` can be posted to workers; the memfd belongs to this object. */
export class DriverMemory {
  readonly layout: MemoryLayout;
  readonly memory: WebAssembly.Memory;
  readonly fd: number;
  readonly view: DataView<ArrayBufferLike>;
  readonly bytes: Uint8Array;

  constructor(layout: MemoryLayout) {
    this.layout = layout;
    this.memory = new WebAssembly.Memory({ initial: layout.pages, maximum: layout.pages, shared: true });
    this.fd = mapShared(this.memory, layout);
    this.view = new DataView(this.memory.buffer);
    this.bytes = new Uint8Array(this.memory.buffer);
  }

  /** Closes the memfd; the mapping stays until the memory is collected. */
  close(): void {
    close(this.fd);
  }
}

/** Puts a new memfd in place of the memory's upper pages. The fd is sealed: the switch need not fear that it shrinks. */
function mapShared(memory: WebAssembly.Memory, layout: MemoryLayout): number {
  const fd = mem.memfdCreate('turnout-virtio-user', mem.MFD_CLOEXEC | mem.MFD_ALLOW_SEALING);
  mem.ftruncate(fd, layout.sharedSize);
  mem.addSeals(fd, mem.F_SEAL_SHRINK | mem.F_SEAL_GROW);
  mem.mmap({
    addr: mem.addressOf(memory.buffer) + BigInt(layout.sharedBase),
    length: layout.sharedSize,
    prot: mem.PROT_READ | mem.PROT_WRITE,
    flags: mem.MAP_SHARED | mem.MAP_FIXED,
    fd,
  });
  return fd;
}
