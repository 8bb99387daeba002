import { closeSync, constants, fstatSync, openSync, readFileSync, writeSync } from 'node:fs';
import { parsePcap } from '../base/pcap.ts';
import { FRAME_MAX, THREADS_MAX } from '../gen/arena.ts';
import { eventfd } from '../sys/eventfd.ts';
import { close } from '../sys/fd.ts';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_NORESERVE, MAP_SHARED, mmap, PROT_READ, PROT_WRITE } from '../sys/memory.ts';
import { BasicNetdev } from './basic.ts';
import { dpdkStatus } from './devargs.ts';
import { NetdevError, type NetdevIo, type SocketConsumer, type SocketRing } from './netdev.ts';
import { socketMemory } from './socket-memory.ts';

/** Devices without a wire: DPDK's net_null, net_ring and net_pcap. PMDs poll their rings as those of a packet socket. */

const SLOT_HEADER = 42;
/** Slots of what the datapath's buffers hold. */
const SLOT_SIZE = 2304;
const LOOP_FRAMES = 1024;
const NULL_FRAMES = 64;
const CAPTURE_FRAMES = 256;
/** Of a capture that is played. */
const CAPTURE_SIZE_MAX = 1 << 30;

const STATUS_USER = 1;

/** What the device receives and sends by; offsets are relative to its own `size` bytes. */
export interface MemoryLayout {
  size: number;
  rings: Omit<SocketRing, 'fd'>[];
  /** Given with each frame that is to be received at once. */
  frames: { at: number; data: Uint8Array }[];
}

/** Endless zeros of `size` bytes, or nothing, comes out; what goes in is gone. */
export function nullLayout(size: number, silent: boolean): MemoryLayout {
  const data = new Uint8Array(size);
  const frames = silent ? [] : Array.from({ length: NULL_FRAMES }, (_, i) => ({ at: i * SLOT_SIZE, data }));
  const common = { kind: 'memory', offset: 0, frameSize: SLOT_SIZE, nFrames: NULL_FRAMES } as const;
  return {
    size: NULL_FRAMES * SLOT_SIZE,
    rings: [
      { ...common, direction: 'rx', behaviour: 'endless' },
      { ...common, direction: 'tx', behaviour: 'sink' },
    ],
    frames,
  };
}

/** What goes in comes out. */
export function loopLayout(): MemoryLayout {
  const common = { kind: 'memory', offset: 0, frameSize: SLOT_SIZE, nFrames: LOOP_FRAMES, behaviour: 'loop' } as const;
  const rings = [
    { ...common, direction: 'rx' },
    { ...common, direction: 'tx' },
  ] as const;
  return { size: LOOP_FRAMES * SLOT_SIZE, rings: [...rings], frames: [] };
}

/** The frames of a capture come out, once or without end; what goes in goes to another file, or is gone. */
export function pcapLayout(frames: readonly Uint8Array[], endless: boolean, captures: boolean): MemoryLayout {
  const longest = frames.reduce((most, { length }) => Math.max(most, length), SLOT_SIZE - SLOT_HEADER);
  const frameSize = Math.ceil((SLOT_HEADER + longest) / 64) * 64;
  // A ring has at least one slot; without a frame it stays empty.
  const nFrames = Math.max(1, frames.length);
  const rxSize = Math.ceil((nFrames * frameSize) / 4096) * 4096;
  const rx = {
    kind: 'memory',
    direction: 'rx',
    offset: 0,
    frameSize,
    nFrames,
    ...(endless && { behaviour: 'endless' as const }),
  } as const;
  const tx = { direction: 'tx', frameSize: SLOT_SIZE, nFrames: CAPTURE_FRAMES } as const;
  const sink = { ...tx, kind: 'memory', offset: 0, behaviour: 'sink' } as const;
  const captureRings = Array.from({ length: THREADS_MAX }, (_, i) => {
    return { ...tx, kind: 'pcap', offset: rxSize + i * CAPTURE_FRAMES * SLOT_SIZE } as const;
  });
  return {
    size: rxSize + (captures ? THREADS_MAX * CAPTURE_FRAMES * SLOT_SIZE : 0),
    rings: captures ? [rx, ...captureRings] : [rx, sink],
    frames: frames.map((data, i) => ({ at: i * frameSize, data })),
  };
}

/** Opens a regular file, and waits for nobody: a FIFO has no end, and opening one would stop this thread. Throws. The caller owns the fd. */
function openFile(path: string, flags: number): number {
  const fd = openSync(path, flags | constants.O_NONBLOCK | constants.O_NOCTTY, 0o644);
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw new Error('not a regular file');
}

/** Reads a capture. Throws NetdevError. */
export function readCapture(path: string): Uint8Array[] {
  try {
    const fd = openFile(path, constants.O_RDONLY);
    try {
      if (fstatSync(fd).size > CAPTURE_SIZE_MAX) throw new Error(`longer than ${CAPTURE_SIZE_MAX} bytes`);
      return parsePcap(readFileSync(fd)).map(({ data }) => data);
    } finally {
      closeSync(fd);
    }
  } catch (e) {
    throw new NetdevError(`could not read the capture ${path}: ${(e as Error).message}`);
  }
}

/** Makes the file of a capture anew. Throws NetdevError. The caller owns the fd. */
export function makeCapture(path: string): number {
  try {
    const { O_WRONLY, O_CREAT, O_TRUNC, O_APPEND } = constants;
    const fd = openFile(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
    // magic (µs), version 2.4, zone, accuracy, snaplen, Ethernet.
    const header = Buffer.alloc(24);
    header.writeUInt32LE(0xa1b2c3d4, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(65535, 16);
    header.writeUInt32LE(1, 20);
    try {
      writeSync(fd, header);
    } catch (e) {
      closeSync(fd);
      throw e;
    }
    return fd;
  } catch (e) {
    throw new NetdevError(`could not write the capture ${path}: ${(e as Error).message}`);
  }
}

/** A device that is rings in memory. Its link is up from the start. */
export class MemoryNetdev extends BasicNetdev {
  readonly io: NetdevIo = { kind: 'rings', attach: (consumer) => this.#attach(consumer) };
  readonly #layout: MemoryLayout;
  readonly #wake = eventfd();
  readonly #captureFd: number;
  readonly #driver: string;
  #place = -1;
  #consumer: SocketConsumer | undefined;
  #closed = false;

  /** Takes ownership of `captureFd`, the file of the layout's pcap rings; -1: none. */
  constructor(name: string, layout: MemoryLayout, options: { driver: string; captureFd?: number }) {
    super(name, 'dpdk', { adminUp: true });
    this.#driver = options.driver;
    this.#layout = layout;
    this.#captureFd = options.captureFd ?? -1;
  }

  override setMtu(mtu: number): string | undefined {
    return mtu > FRAME_MAX ? 'Invalid argument' : super.setMtu(mtu);
  }

  async #attach(consumer: SocketConsumer): Promise<void> {
    this.#consumer = consumer;
    const shared = socketMemory();
    const { size, rings } = this.#layout;
    this.#place = shared.take(size);
    const flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    mmap({ addr: shared.address(this.#place), length: size, prot: PROT_READ | PROT_WRITE, flags });
    this.#fill(shared.memory.buffer);
    await consumer.ringsStart({ memory: shared.memory, rings: rings.map((ring) => this.#placed(ring)) });
  }

  #placed(ring: Omit<SocketRing, 'fd'>): SocketRing {
    const fd = ring.kind === 'pcap' ? this.#captureFd : ring.behaviour === 'sink' ? -1 : this.#wake;
    return { ...ring, offset: this.#place + ring.offset, fd };
  }

  /** The slots in the form of src/fastpath/tpacket.ts. */
  #fill(buffer: ArrayBufferLike): void {
    for (const { at, data } of this.#layout.frames) {
      const view = new DataView(buffer, this.#place + at, SLOT_HEADER + data.length);
      view.setUint32(4, data.length, true);
      view.setUint32(8, data.length, true);
      view.setUint16(12, SLOT_HEADER, true);
      new Uint8Array(buffer, this.#place + at + SLOT_HEADER, data.length).set(data);
      view.setUint32(0, STATUS_USER, true);
    }
  }

  override status(): ReadonlyMap<string, string> {
    return dpdkStatus(this.#driver);
  }

  override async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#consumer?.ringsStop();
    if (this.#place >= 0) socketMemory().release(this.#place);
    close(this.#wake);
    if (this.#captureFd >= 0) close(this.#captureFd);
    await super.close();
  }
}
