import { check, EAGAIN, errno, libc, pinnedBuffer, pointer } from './libc.ts';
import { MAP_FIXED, MAP_SHARED, mmap, PROT_READ, PROT_WRITE } from './memory.ts';

/**
 * AF_XDP sockets (Linux' Documentation/networking/af_xdp.rst): the frames of one queue of a network interface, by rings and a packet memory that are shared
 * with the kernel. Needs CAP_NET_RAW (EPERM). Every call works on any thread.
 */

const cSocket = libc<(domain: number, type: number, proto: number) => number>('int socket(int d, int type, int proto)');
const cBind = libc<(fd: number, addr: Uint8Array, size: number) => number>('int bind(int fd, void* addr, uint size)');
const cSetsockopt = libc<(fd: number, level: number, name: number, value: Uint8Array, size: number) => number>(
  'int setsockopt(int fd, int level, int name, const void* value, uint size)',
);
const cGetsockopt = libc<(fd: number, level: number, name: number, value: number, size: number) => number>(
  'int getsockopt(int fd, int level, int name, uintptr_t value, uintptr_t size)',
);
const cSend = libc<(fd: number, buf: number, size: number, flags: number) => number>(
  'long send(int fd, uintptr_t buf, size_t size, int flags)',
);
const cRecv = libc<(fd: number, buf: number, size: number, flags: number) => number>(
  'long recv(int fd, uintptr_t buf, size_t size, int flags)',
);

const AF_XDP = 44;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SEND_BUFFER = 1 << 30;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

const SOL_XDP = 283;
const XDP_MMAP_OFFSETS = 1;
const XDP_RX_RING = 2;
const XDP_TX_RING = 3;
const XDP_UMEM_REG = 4;
const XDP_UMEM_FILL_RING = 5;
const XDP_UMEM_COMPLETION_RING = 6;
const XDP_STATISTICS = 7;

export const XDP_COPY = 2;
export const XDP_ZEROCOPY = 4;
export const XDP_USE_NEED_WAKEUP = 8;

/** A call sends 32 frames of a ring at most (TX_BATCH_SIZE, in copy mode), and says by EAGAIN that there are more. */
const SENDS_MAX = 64;

const EBUSY = 16;
/** How often a busy queue is tried again, and how long lies between. */
const BUSY_BINDS_MAX = 50;
const BUSY_BIND_MS = 2;
const NEVER = new Int32Array(new SharedArrayBuffer(4));

export type XskRingName = 'rx' | 'tx' | 'fill' | 'completion';
/** In the order of struct xdp_mmap_offsets, with the offset that mmap(2) knows them by. */
const RINGS: readonly { name: XskRingName; option: number; pageOffset: number; descSize: number }[] = [
  { name: 'rx', option: XDP_RX_RING, pageOffset: 0, descSize: 16 },
  { name: 'tx', option: XDP_TX_RING, pageOffset: 0x80000000, descSize: 16 },
  { name: 'fill', option: XDP_UMEM_FILL_RING, pageOffset: 0x100000000, descSize: 8 },
  { name: 'completion', option: XDP_UMEM_COMPLETION_RING, pageOffset: 0x180000000, descSize: 8 },
];

/** Where the words of a ring lie in its mapping, and how long that is. */
export interface XskRingLayout {
  producer: number;
  consumer: number;
  desc: number;
  flags: number;
  size: number;
}

const pageUp = (size: number) => Math.ceil(size / 4096) * 4096;

const scratch = pinnedBuffer(160);
const scratchView = new DataView(scratch);
const scratchAddress = pointer(scratch);
const SIZE_AT = 144;

/** Reads an option of at most SIZE_AT bytes; returns how many came. */
function getOption(fd: number, name: number, label: string): number {
  scratchView.setUint32(SIZE_AT, SIZE_AT, true);
  check(cGetsockopt(fd, SOL_XDP, name, scratchAddress, scratchAddress + SIZE_AT), `getsockopt(${label})`);
  return scratchView.getUint32(SIZE_AT, true);
}

function setOption(fd: number, name: number, value: Uint8Array, label: string): void {
  check(cSetsockopt(fd, SOL_XDP, name, value, value.length), `setsockopt(${label})`);
}

/** A socket that is bound to nothing yet. EAFNOSUPPORT: the kernel has none. The caller owns the fd. */
export function xskOpen(): number {
  return check(cSocket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), 'socket(AF_XDP)');
}

/** Makes all four rings, of `nDescs` (a power of two) each. Returns their layouts. */
export function xskMakeRings(fd: number, nDescs: number): Record<XskRingName, XskRingLayout> {
  for (const { option, name } of RINGS)
    setOption(fd, option, new Uint8Array(Uint32Array.of(nDescs).buffer), `${name} ring`);
  // Four of struct xdp_ring_offset { u64 producer, consumer, desc, flags }; before Linux 5.4 without the last.
  if (getOption(fd, XDP_MMAP_OFFSETS, 'XDP_MMAP_OFFSETS') < 128)
    throw new Error('AF_XDP of this kernel is too old (Linux 5.4 is needed)');
  const layouts = RINGS.map(({ name, descSize }, i) => {
    const word = (n: number) => Number(scratchView.getBigUint64((i * 4 + n) * 8, true));
    const desc = word(2);
    const size = pageUp(desc + nDescs * descSize);
    return [name, { producer: word(0), consumer: word(1), desc, flags: word(3), size }] as const;
  });
  return Object.fromEntries(layouts) as Record<XskRingName, XskRingLayout>;
}

/** Maps a ring to `addr`, a multiple of the page size. */
export function xskMapRing(fd: number, name: XskRingName, addr: bigint, length: number): void {
  const offset = RINGS.find((ring) => ring.name === name)!.pageOffset;
  mmap({ addr, length, prot: PROT_READ | PROT_WRITE, flags: MAP_SHARED | MAP_FIXED, fd, offset });
}

/** Makes the memory there the socket's packet memory, in chunks of `chunkSize`. The kernel holds its pages until the socket is closed. */
export function xskRegisterUmem(fd: number, addr: bigint, length: number, chunkSize: number): void {
  // struct xdp_umem_reg { u64 addr, len; u32 chunk_size, headroom }.
  const value = new Uint8Array(24);
  const view = new DataView(value.buffer);
  view.setBigUint64(0, addr, true);
  view.setBigUint64(8, BigInt(length), true);
  view.setUint32(16, chunkSize, true);
  setOption(fd, XDP_UMEM_REG, value, 'XDP_UMEM_REG');
}

/**
 * EOPNOTSUPP: the driver can't (zero copy); EINVAL: there is no such queue; EBUSY: another socket has it. The kernel takes a closed socket off
 * its queue some time after the close, so that EBUSY counts only when it stays.
 */
export function xskBind(fd: number, ifindex: number, queue: number, flags: number): void {
  // Without CAP_NET_ADMIN the system's own limit stays.
  cSetsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, new Uint8Array(Int32Array.of(SEND_BUFFER).buffer), 4);
  // struct sockaddr_xdp { u16 family, flags; u32 ifindex, queue_id, shared_umem_fd }.
  const address = new Uint8Array(16);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_XDP, true);
  view.setUint16(2, flags, true);
  view.setUint32(4, ifindex, true);
  view.setUint32(8, queue, true);
  for (let i = 0; ; i++) {
    const result = cBind(fd, address, address.length);
    if (result >= 0 || errno() !== EBUSY || i === BUSY_BINDS_MAX) return void check(result, 'bind(AF_XDP)');
    Atomics.wait(NEVER, 0, 0, BUSY_BIND_MS);
  }
}

/** Has the kernel send what stands in the transmit ring; never blocks. Allocates nothing. */
export function xskFlush(fd: number): void {
  for (let i = 0; i < SENDS_MAX; i++) {
    if (cSend(fd, 0, 0, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno() !== EAGAIN) return;
  }
}

/** Has the driver look at the fill ring. Allocates nothing. */
export function xskFill(fd: number): void {
  cRecv(fd, 0, 0, MSG_DONTWAIT);
}

export interface XskStatistics {
  /** No chunk, or a frame longer than one. */
  rxDropped: bigint;
  rxInvalidDescs: bigint;
  txInvalidDescs: bigint;
  rxRingFull: bigint;
}

export function xskStatistics(fd: number): XskStatistics {
  // struct xdp_statistics { u64 rx_dropped, rx_invalid_descs, tx_invalid_descs, rx_ring_full, … }, the last since Linux 5.9.
  const size = getOption(fd, XDP_STATISTICS, 'XDP_STATISTICS');
  const word = (i: number) => (size >= (i + 1) * 8 ? scratchView.getBigUint64(i * 8, true) : 0n);
  return { rxDropped: word(0), rxInvalidDescs: word(1), txInvalidDescs: word(2), rxRingFull: word(3) };
}
