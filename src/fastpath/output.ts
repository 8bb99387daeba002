/** Output: packets for a port are gathered over the batch and leave by one call of the ring module. */
import {
  BATCH_MAX,
  DROP_INVALID_PORT,
  DROP_SOFT_TX_RING_FULL,
  DROP_VHOST_TX_NOT_READY,
  DROP_VHOST_TX_OVERSIZE,
  PKT_LEN,
  PKT_VNET_FLAGS,
  PORT_KIND,
  PORT_KIND_SOFT,
  PORT_KIND_VHOST,
  PORT_MAX_FRAME,
  PORT_NTXQS,
  PORT_OFFLOADS,
  PORT_STATS_TX_BAD,
  PORT_STATS_TX_BYTES,
  PORT_STATS_TX_DROPPED,
  PORT_STATS_TX_PACKETS,
  PORT_STATS_TX_RING_FULL,
  PORT_TX_LOCKED,
  PORT_TX_SLOT,
  PORT_TXQ,
  PORTS_MAX,
  THREAD_DIRTY,
  THREAD_LAST_TX,
  THREAD_NDIRTY,
  TX_BATCH_COUNT,
  TX_BATCH_PKTS,
  TXQS_MAX,
  UPCALL_OUTPUT,
  VRING_LOCK,
} from './gen/arena';
import { allSegmentsMade, finishChecksum, nextSegment, startSegments } from './finish';
import { gsoTypeOf, hasItsChecksum, isUnfinished, offloadsOf, wireLength } from './offload';
import { pullUp } from './tail';
import { bump, drop, portAt, portStatsAt, thread, threadIndex, txBatchAt } from './thread';
import { sendUp } from './upcall';

function countNotReady(port: u32, count: u32): void {
  drop(DROP_VHOST_TX_NOT_READY, count);
  const stats = portStatsAt(port);
  bump(stats + PORT_STATS_TX_DROPPED, count);
  bump(stats + PORT_STATS_TX_RING_FULL, count);
}

/** The ring module counts what it took and what it dropped. */
// @ts-ignore: decorator
@inline
function sendVhost(port: u32, list: u32, count: u32): void {
  const record = portAt(port);
  const nTxqs = load<u32>(record, PORT_NTXQS);
  if (nTxqs == 0) {
    countNotReady(port, count);
    return;
  }
  const vring = load<u32>(record + (threadIndex % nTxqs) * 4, PORT_TXQ);
  const locked = load<u32>(record, PORT_TX_LOCKED);
  if (locked) while (atomic.cmpxchg<u32>(vring + VRING_LOCK, 0, threadIndex + 1) != 0) {}
  store<u32>(thread, vring, THREAD_LAST_TX);
  call_indirect<u32>(load<u32>(record, PORT_TX_SLOT), threadIndex, vring, list, count);
  store<u32>(thread, 0, THREAD_LAST_TX);
  if (locked) atomic.store<u32>(vring + VRING_LOCK, 0);
}

function sendSoft(port: u32, list: u32, count: u32): void {
  const stats = portStatsAt(port);
  for (let i: u32 = 0; i < count; i++) {
    const pkt = load<u32>(list + i * 4);
    const len = load<u32>(pkt, PKT_LEN);
    if (sendUp(UPCALL_OUTPUT, pkt, port, 0, len)) {
      bump(stats + PORT_STATS_TX_PACKETS, 1);
      bump(stats + PORT_STATS_TX_BYTES, len);
    } else {
      bump(stats + PORT_STATS_TX_DROPPED, 1);
      drop(DROP_SOFT_TX_RING_FULL, 1);
    }
  }
}

/** Sends the packets whose offsets stand at `list` out of `port`. */
function send(port: u32, list: u32, count: u32): void {
  const kind = load<u32>(portAt(port), PORT_KIND);
  if (kind == PORT_KIND_VHOST) sendVhost(port, list, count);
  else if (kind == PORT_KIND_SOFT) sendSoft(port, list, count);
  else drop(DROP_INVALID_PORT, count);
}

// @ts-ignore: decorator
@inline
function fits(port: u32, pkt: u32): bool {
  const max = load<u32>(portAt(port), PORT_MAX_FRAME);
  if (load<u32>(pkt, PKT_LEN) <= max || max == 0 || wireLength(pkt) <= max) return true;
  drop(DROP_VHOST_TX_OVERSIZE, 1);
  const stats = portStatsAt(port);
  bump(stats + PORT_STATS_TX_BAD, 1);
  bump(stats + PORT_STATS_TX_DROPPED, 1);
  return false;
}

/** Cuts the packet and sends its segments; what waits for the port goes first. */
function outputSegments(port: u32, pkt: u32): void {
  const batch = txBatchAt(port);
  const list = batch + TX_BATCH_PKTS;
  const waiting = load<u32>(batch, TX_BATCH_COUNT);
  if (waiting) {
    unmarkDirty(port);
    store<u32>(batch, 0, TX_BATCH_COUNT);
    send(port, list, waiting);
  }
  if (!startSegments(pkt)) return;
  while (!allSegmentsMade()) {
    let n: u32 = 0;
    for (; n < BATCH_MAX && !allSegmentsMade(); n++) store<u32>(list + n * 4, nextSegment(pkt, n));
    send(port, list, n);
  }
}

/** Makes a packet one that the port takes, when its tail is elsewhere or something is to be done to it. False when it is done with: cut and sent, or dropped. */
function adapt(port: u32, pkt: u32): bool {
  pullUp(pkt);
  if (!isUnfinished(pkt)) return true;
  const gsoType = gsoTypeOf(pkt);
  if ((offloadsOf(gsoType) & ~load<u32>(portAt(port), PORT_OFFLOADS)) == 0 && hasItsChecksum(pkt)) return true;
  if (gsoType == 0) return finishChecksum(pkt);
  outputSegments(port, pkt);
  return false;
}

/** The packet is in one piece, and finished. */
// @ts-ignore: decorator
@inline
function isPlain(pkt: u32): bool {
  return !v128.any_true(v128.load(pkt, PKT_VNET_FLAGS)); // up to and with TAIL_LEN
}

/** Lets the packet leave by `port` at the end of the batch; it must not change until then. */
// @ts-ignore: decorator
@inline
export function queueOutput(port: u32, pkt: u32): void {
  if (port >= PORTS_MAX) {
    drop(DROP_INVALID_PORT, 1);
    return;
  }
  if (!fits(port, pkt)) return;
  if (!isPlain(pkt) && !adapt(port, pkt)) return;
  const batch = txBatchAt(port);
  let count = load<u32>(batch, TX_BATCH_COUNT);
  if (count == 0) markDirty(port);
  store<u32>(batch + count * 4, pkt, TX_BATCH_PKTS);
  count++;
  if (count == BATCH_MAX) {
    send(port, batch + TX_BATCH_PKTS, count);
    count = 0;
    unmarkDirty(port);
  }
  store<u32>(batch, count, TX_BATCH_COUNT);
}

// @ts-ignore: decorator
@inline
function markDirty(port: u32): void {
  const n = load<u32>(thread, THREAD_NDIRTY);
  store<u16>(thread + n * 2, <u16>port, THREAD_DIRTY);
  store<u32>(thread, n + 1, THREAD_NDIRTY);
}

function unmarkDirty(port: u32): void {
  const n = load<u32>(thread, THREAD_NDIRTY);
  for (let i: u32 = 0; i < n; i++) {
    if (load<u16>(thread + i * 2, THREAD_DIRTY) != <u16>port) continue;
    store<u16>(thread + i * 2, load<u16>(thread + (n - 1) * 2, THREAD_DIRTY), THREAD_DIRTY);
    store<u32>(thread, n - 1, THREAD_NDIRTY);
    return;
  }
}

/** Sends the packet now, as it is; what waits for the port goes first. */
export function outputNow(port: u32, pkt: u32): void {
  if (port >= PORTS_MAX) {
    drop(DROP_INVALID_PORT, 1);
    return;
  }
  if (!fits(port, pkt)) return;
  if (!isPlain(pkt) && !adapt(port, pkt)) return;
  const batch = txBatchAt(port);
  const count = load<u32>(batch, TX_BATCH_COUNT);
  store<u32>(batch + count * 4, pkt, TX_BATCH_PKTS);
  if (count) unmarkDirty(port);
  store<u32>(batch, 0, TX_BATCH_COUNT);
  send(port, batch + TX_BATCH_PKTS, count + 1);
}

/** Sends all that was queued. */
// @ts-ignore: decorator
@inline
export function flushOutputs(): void {
  const n = load<u32>(thread, THREAD_NDIRTY);
  for (let i: u32 = 0; i < n; i++) {
    const port: u32 = load<u16>(thread + i * 2, THREAD_DIRTY);
    const batch = txBatchAt(port);
    const count = load<u32>(batch, TX_BATCH_COUNT);
    store<u32>(batch, 0, TX_BATCH_COUNT);
    send(port, batch + TX_BATCH_PKTS, count);
  }
  store<u32>(thread, 0, THREAD_NDIRTY);
}
