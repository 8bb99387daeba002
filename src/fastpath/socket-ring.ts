/** What the rings of packet sockets and of AF_XDP sockets have in common: counters, drops, and the packet's record. */
import {
  ARENA_PKTS,
  ARENA_PKTS_STRIDE,
  ARENA_PORT_STATS,
  ARENA_PORT_STATS_STRIDE,
  ARENA_THREADS,
  DROP_SOCKET_RX_BAD_OFFLOAD,
  DROP_SOCKET_RX_OVERSIZE,
  DROP_SOCKET_RX_RUNT,
  DROP_SOCKET_TX_OVERSIZE,
  PKT__SIZE,
  PKT_DATA,
  PKT_LEN,
  PKT_VNET_FLAGS,
  PORT_STATS__SIZE,
  PORT_STATS_RX_BAD_DESC,
  PORT_STATS_RX_BAD_HDR,
  PORT_STATS_RX_DROPPED,
  PORT_STATS_RX_ERRORS,
  PORT_STATS_RX_OVERSIZE,
  PORT_STATS_TX_BAD,
  PORT_STATS_TX_BYTES,
  PORT_STATS_TX_DROPPED,
  PORT_STATS_TX_PACKETS,
  PORT_STATS_TX_RING_FULL,
  THREAD__SIZE,
  THREAD_CALLS_PENDING,
  THREAD_DROPS,
  VRING_BROKEN,
  VRING_CALL_PENDING,
  VRING_PORT,
  VRING_STARTED,
} from './gen/arena';
import { sctpChecksum } from './checksums';

// @ts-ignore: decorator
@inline
export function threadAt(thread: u32): u32 {
  return ARENA_THREADS + thread * THREAD__SIZE;
}

// @ts-ignore: decorator
@inline
export function portStats(thread: u32, ring: u32): u32 {
  return ARENA_PORT_STATS + thread * ARENA_PORT_STATS_STRIDE + load<u32>(ring, VRING_PORT) * PORT_STATS__SIZE;
}

// @ts-ignore: decorator
@inline
export function bump(counter: u32, by: u64): void {
  store<u64>(counter, load<u64>(counter) + by);
}

// @ts-ignore: decorator
@inline
export function usable(ring: u32): bool {
  return atomic.load<u32>(ring, VRING_STARTED) != 0 && load<u32>(ring, VRING_BROKEN) == 0;
}

/** Where SCTP's CRC-32c stands (RFC 9260, 3.1): no protocol has an Internet checksum there. */
export const SCTP_CRC_AT: u32 = 8;

/** The kernel leaves the CRC of SCTP to the device as it leaves checksums, and marks it in the same way. */
export function completeSctp(at: u32, size: u32): void {
  store<u32>(at, 0, SCTP_CRC_AT);
  store<u32>(at, sctpChecksum(at, size), SCTP_CRC_AT);
}

/** Counts a frame that was refused. */
export function countRxDrop(thread: u32, ring: u32, dropReason: u32): void {
  bump(threadAt(thread) + THREAD_DROPS + dropReason * 8, 1);
  const stats = portStats(thread, ring);
  if (dropReason == DROP_SOCKET_RX_RUNT) {
    bump(stats + PORT_STATS_RX_DROPPED, 1);
    return;
  }
  let counter = stats + PORT_STATS_RX_BAD_DESC;
  if (dropReason == DROP_SOCKET_RX_OVERSIZE) counter = stats + PORT_STATS_RX_OVERSIZE;
  else if (dropReason == DROP_SOCKET_RX_BAD_OFFLOAD) counter = stats + PORT_STATS_RX_BAD_HDR;
  bump(counter, 1);
  bump(stats + PORT_STATS_RX_ERRORS, 1);
}

/** Makes the packet's record. Returns it. */
// @ts-ignore: decorator
@inline
export function keep(thread: u32, n: u32, data: u32, len: u32): u32 {
  const pkt = ARENA_PKTS + thread * ARENA_PKTS_STRIDE + n * PKT__SIZE;
  store<u32>(pkt, data, PKT_DATA);
  store<u32>(pkt, len, PKT_LEN);
  v128.store(pkt, v128.splat<u8>(0), PKT_VNET_FLAGS); // up to and with TAIL_LEN
  return pkt;
}

export function countTxDrops(thread: u32, ring: u32, reason: u32, count: u32): void {
  const stats = portStats(thread, ring);
  bump(threadAt(thread) + THREAD_DROPS + reason * 8, count);
  bump(stats + (reason == DROP_SOCKET_TX_OVERSIZE ? PORT_STATS_TX_BAD : PORT_STATS_TX_RING_FULL), count);
  bump(stats + PORT_STATS_TX_DROPPED, count);
}

export function countSent(thread: u32, ring: u32, sent: u32, bytes: u64): void {
  const stats = portStats(thread, ring);
  bump(stats + PORT_STATS_TX_PACKETS, sent);
  bump(stats + PORT_STATS_TX_BYTES, bytes);
}

/** The thread calls the kernel for this ring once its run is over. */
// @ts-ignore: decorator
@inline
export function wantCall(thread: u32, ring: u32): void {
  store<u32>(ring, 1, VRING_CALL_PENDING);
  store<u32>(threadAt(thread), 1, THREAD_CALLS_PENDING);
}
