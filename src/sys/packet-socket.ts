import { close } from './fd.ts';
import { check, errno, libc, pinnedBuffer, pointer } from './libc.ts';
import { MAP_FIXED, MAP_SHARED, mmap, PROT_READ, PROT_WRITE } from './memory.ts';

/**
 * Packet sockets (packet(7)): the frames of a network interface, by rings that are shared with the kernel. Needs CAP_NET_RAW (EPERM).
 * Every call works on any thread.
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

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const ETH_P_ALL = 3;

const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_SNDBUFFORCE = 32;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_RX_RING = 5;
const PACKET_STATISTICS = 6;
const PACKET_VERSION = 10;
const PACKET_TX_RING = 13;
const PACKET_LOSS = 14;
const PACKET_VNET_HDR = 15;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;
const TPACKET_V2 = 1;

const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/** What may be on its way to the device at once: more than a ring holds, so that the ring is the limit. */
const SEND_BUFFER = 1 << 30;

/** A ring of slots of `frameSize` bytes; a block is `blockFrames` of them, a multiple of the page size without a gap. */
export interface PacketRing {
  frameSize: number;
  blockFrames: number;
  nBlocks: number;
}

export const ringSize = (ring: PacketRing): number => ring.frameSize * ring.blockFrames * ring.nBlocks;
export const ringFrames = (ring: PacketRing): number => ring.blockFrames * ring.nBlocks;

function ints(...values: number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(values).buffer);
}

function setOption(fd: number, level: number, name: number, value: Uint8Array, label: string): void {
  check(cSetsockopt(fd, level, name, value, value.length), `setsockopt(${label})`);
}

function setRing(fd: number, name: number, ring: PacketRing, label: string): void {
  // struct tpacket_req { block_size, block_nr, frame_size, frame_nr }.
  const blockSize = ring.frameSize * ring.blockFrames;
  setOption(fd, SOL_PACKET, name, ints(blockSize, ring.nBlocks, ring.frameSize, ringFrames(ring)), label);
}

/**
 * A socket with a ring each way, each frame preceded by a virtio_net_hdr of 10 bytes, that hears nothing yet: map its rings, then `packetBind`. Frames that
 * the host itself sends are left out.
 */
export function packetOpen(rx: PacketRing, tx: PacketRing): number {
  const fd = check(cSocket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), 'socket(AF_PACKET)');
  try {
    setOption(fd, SOL_PACKET, PACKET_VERSION, ints(TPACKET_V2), 'PACKET_VERSION');
    setOption(fd, SOL_PACKET, PACKET_VNET_HDR, ints(1), 'PACKET_VNET_HDR');
    setOption(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, ints(1), 'PACKET_IGNORE_OUTGOING');
    // A frame that the device refuses must not stop those behind it.
    setOption(fd, SOL_PACKET, PACKET_LOSS, ints(1), 'PACKET_LOSS');
    setRing(fd, PACKET_RX_RING, rx, 'PACKET_RX_RING');
    setRing(fd, PACKET_TX_RING, tx, 'PACKET_TX_RING');
    // Without CAP_NET_ADMIN the system's own limit stays.
    cSetsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, ints(SEND_BUFFER), 4);
    return fd;
  } catch (e) {
    close(fd);
    throw e;
  }
}

/** Maps both rings, the receive ring first, to `addr`, a multiple of the page size. */
export function packetMap(fd: number, addr: bigint, length: number): void {
  mmap({ addr, length, prot: PROT_READ | PROT_WRITE, flags: MAP_SHARED | MAP_FIXED, fd });
}

/** From now on the socket hears all frames of the interface, whoever they are for. ENODEV when it is gone. */
export function packetBind(fd: number, ifindex: number): void {
  // struct packet_mreq { int ifindex; u16 type; u16 alen; u8 address[8] }.
  setOption(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, ints(ifindex, PACKET_MR_PROMISC, 0, 0), 'PACKET_ADD_MEMBERSHIP');
  // struct sockaddr_ll { u16 family; be16 protocol; int ifindex; u16 hatype; u8 pkttype, halen, addr[8] }.
  const address = new Uint8Array(20);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, ETH_P_ALL);
  view.setInt32(4, ifindex, true);
  check(cBind(fd, address, address.length), 'bind(AF_PACKET)');
}

/** A socket that hears nothing, and for as long as it is open has the interface take frames whoever they are for. The caller owns the fd. */
export function promiscuous(ifindex: number): number {
  const fd = check(cSocket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), 'socket(AF_PACKET)');
  try {
    setOption(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, ints(ifindex, PACKET_MR_PROMISC, 0, 0), 'PACKET_ADD_MEMBERSHIP');
    return fd;
  } catch (e) {
    close(fd);
    throw e;
  }
}

/** Has the kernel take what stands in the transmit ring; never blocks. False when it left something. Allocates nothing. */
export function packetFlush(fd: number): boolean {
  return cSend(fd, 0, 0, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

const scratch = pinnedBuffer(16);
const scratchInts = new Uint32Array(scratch);
const scratchAddress = pointer(scratch);

/** Frames that found no room in the receive ring since the last call. */
export function packetDrops(fd: number): number {
  // struct tpacket_stats { u32 packets, drops }.
  scratchInts[2] = 8;
  check(
    cGetsockopt(fd, SOL_PACKET, PACKET_STATISTICS, scratchAddress, scratchAddress + 8),
    'getsockopt(PACKET_STATISTICS)',
  );
  return scratchInts[1]!;
}

/** Takes the socket's pending error (the interface went down), so that poll(2) waits again. Returns its errno, 0 for none. */
export function takeSocketError(fd: number): number {
  scratchInts[2] = 4;
  if (cGetsockopt(fd, SOL_SOCKET, SO_ERROR, scratchAddress, scratchAddress + 8) < 0) return errno();
  return scratchInts[0]!;
}
