/**
 * The rings of an AF_XDP socket (Linux' Documentation/networking/af_xdp.rst): receive and transmit rings of descriptors, and fill and completion rings by
 * which chunks of the packet memory (UMEM) go to the kernel and come back. One instance a thread: memory 0 is the arena, memory 1 holds the rings and
 * packet memories of all sockets. The same exports as src/fastpath/vring.ts, so that queues of all kinds stand in one function table.
 *
 * ```
 * descriptor of rx and tx: | address u64 | length u32 | options u32 |      of fill and completion: | address u64 |
 * rx:  kernel -> (AVAIL: its producer; USED: our consumer) -> copied to the arena -> fill ring (BACK_*, LAST_USED: our position) -> kernel
 * tx:  chunk from the stack at FREE -> (AVAIL: our producer) -> kernel -> completion ring (BACK_*, LAST_USED: our position) -> stack
 * ```
 * Each has SIZE chunks of its own, as many as each of its rings has descriptors, so that no ring can run over. Our own positions are in the arena and never
 * read back from what the kernel can write. A position or an address that cannot be stops the ring.
 */
import {
  ARENA_SLOTS,
  ARENA_SLOTS_STRIDE,
  BATCH_MAX,
  DROP_SOCKET_RX_BAD_FRAME,
  DROP_SOCKET_RX_OVERSIZE,
  DROP_SOCKET_RX_RUNT,
  DROP_SOCKET_TX_NOT_READY,
  DROP_SOCKET_TX_OVERSIZE,
  DROP_SOCKET_TX_RING_FULL,
  FRAME_MAX,
  PACKET_HEADROOM,
  PKT_DATA,
  PKT_LEN,
  SLOT__SIZE,
  VRING_AVAIL,
  VRING_BACK_CONSUMER,
  VRING_BACK_DESC,
  VRING_BACK_PRODUCER,
  VRING_BROKEN,
  VRING_BROKEN_INDEX,
  VRING_DESC,
  VRING_F_NEED_WAKEUP,
  VRING_F_PARTIAL,
  VRING_FLAGS,
  VRING_FRAME_SIZE,
  VRING_FREE,
  VRING_LAST_AVAIL,
  VRING_LAST_USED,
  VRING_SEG_NEXT,
  VRING_SIZE,
  VRING_UMEM,
  VRING_UMEM_BASE,
  VRING_USED,
  VRING_WAKEUP,
} from './gen/arena';
import { copyIn, copyOut, gAtomicLoad32, gAtomicStore32, gLoad32, gLoad64, gStore32, gStore64 } from './guest';
import { completePartial } from './partial-checksum';
import { countRxDrop, countSent, countTxDrops, keep, usable, wantCall } from './socket-ring';

const DESC_SIZE: u32 = 16;
const ADDRESS_SIZE: u32 = 8;
const RING_NEED_WAKEUP: u32 = 1;
const ETH_HEADER_SIZE: u32 = 14;

/** The kernel wants a call for what was put into the ring. */
function wakeKernel(thread: u32, ring: u32): void {
  if (gAtomicLoad32(load<u32>(ring, VRING_WAKEUP)) & RING_NEED_WAKEUP) wantCall(thread, ring);
}

function breakRing(ring: u32): void {
  atomic.store<u32>(ring, VRING_BROKEN_INDEX, VRING_BROKEN);
}

/** Copies the frame of a descriptor into the slot `data`. Returns its length, or 0 with `dropReason`. */
// @ts-ignore: decorator
@inline
function takeFrame(ring: u32, data: u32, chunk: u32, within: u32, len: u32, options: u32): u32 {
  dropReason = DROP_SOCKET_RX_BAD_FRAME;
  // A frame in several chunks was not asked for.
  if (options != 0 || len > load<u32>(ring, VRING_FRAME_SIZE) - within) return 0;
  dropReason = DROP_SOCKET_RX_OVERSIZE;
  if (len > FRAME_MAX) return 0;
  dropReason = DROP_SOCKET_RX_RUNT;
  if (len < ETH_HEADER_SIZE) return 0;
  copyIn(data, load<u32>(ring, VRING_UMEM) + chunk + within, len);
  if (load<u32>(ring, VRING_FLAGS) & VRING_F_PARTIAL) completePartial(data, len);
  return len;
}

/** Why the frame was not taken. */
let dropReason: u32 = 0;

/**
 * Takes up to BATCH_MAX packets from the socket into the slots of `thread`; packet i gets PKT_DATA and PKT_LEN. Returns how many. Frames that are refused are
 * counted under their drop reason.
 */
export function rx(thread: u32, ring: u32): u32 {
  if (!usable(ring)) return 0;
  const size = load<u32>(ring, VRING_SIZE);
  let at = load<u32>(ring, VRING_LAST_AVAIL);
  const waiting = gAtomicLoad32(load<u32>(ring, VRING_AVAIL)) - at;
  const needsWakeup = (load<u32>(ring, VRING_FLAGS) & VRING_F_NEED_WAKEUP) != 0;
  if (waiting == 0) {
    if (needsWakeup) wakeKernel(thread, ring);
    return 0;
  }
  let back = load<u32>(ring, VRING_LAST_USED);
  const given = back - gAtomicLoad32(load<u32>(ring, VRING_BACK_CONSUMER));
  if (waiting > size || given > size) {
    countRxDrop(thread, ring, DROP_SOCKET_RX_BAD_FRAME);
    breakRing(ring);
    return 0;
  }
  const frameSize = load<u32>(ring, VRING_FRAME_SIZE);
  const desc = load<u32>(ring, VRING_DESC);
  const backDesc = load<u32>(ring, VRING_BACK_DESC);
  const base: u64 = load<u32>(ring, VRING_UMEM_BASE);
  const slots = ARENA_SLOTS + thread * ARENA_SLOTS_STRIDE + PACKET_HEADROOM;
  // Chunks that are received twice go back once.
  let room = size - given;
  let n: u32 = 0;
  const end = at + min(waiting, BATCH_MAX);
  for (; at != end; at++) {
    const d = desc + (at & (size - 1)) * DESC_SIZE;
    const relative = gLoad64(d) - base;
    if (relative >= <u64>size * frameSize) {
      countRxDrop(thread, ring, DROP_SOCKET_RX_BAD_FRAME);
      continue;
    }
    const within = <u32>relative & (frameSize - 1);
    const chunk = <u32>relative - within;
    const data = slots + n * SLOT__SIZE;
    const len = takeFrame(ring, data, chunk, within, gLoad32(d + 8), gLoad32(d + 12));
    if (len == 0) countRxDrop(thread, ring, dropReason);
    else keep(thread, n++, data, len);
    if (room == 0) continue;
    room--;
    gStore64(backDesc + (back & (size - 1)) * ADDRESS_SIZE, base + chunk);
    back++;
  }
  gAtomicStore32(load<u32>(ring, VRING_BACK_PRODUCER), back);
  gAtomicStore32(load<u32>(ring, VRING_USED), at);
  store<u32>(ring, at, VRING_LAST_AVAIL);
  store<u32>(ring, back, VRING_LAST_USED);
  if (needsWakeup) wakeKernel(thread, ring);
  return n;
}

/** Takes back what the kernel has sent. False: it returned what it did not have, and the ring is broken. */
function reclaim(ring: u32): bool {
  const size = load<u32>(ring, VRING_SIZE);
  let at = load<u32>(ring, VRING_LAST_USED);
  const end = gAtomicLoad32(load<u32>(ring, VRING_BACK_PRODUCER));
  if (end == at) return true;
  if (end - at > size) return false;
  const frameSize = load<u32>(ring, VRING_FRAME_SIZE);
  const backDesc = load<u32>(ring, VRING_BACK_DESC);
  const base: u64 = load<u32>(ring, VRING_UMEM_BASE);
  const stack = load<u32>(ring, VRING_FREE);
  let free = load<u32>(ring, VRING_SEG_NEXT);
  for (; at != end; at++) {
    const relative = gLoad64(backDesc + (at & (size - 1)) * ADDRESS_SIZE) - base;
    if (relative >= <u64>size * frameSize) return false;
    const i = <u32>relative / frameSize;
    const lent = stack + (size + i) * 4;
    if (gLoad32(lent) == 0 || free >= size) return false;
    gStore32(lent, 0);
    gStore32(stack + free * 4, i);
    free++;
  }
  store<u32>(ring, at, VRING_LAST_USED);
  store<u32>(ring, free, VRING_SEG_NEXT);
  gAtomicStore32(load<u32>(ring, VRING_BACK_CONSUMER), at);
  return true;
}

/**
 * Puts the `n` packets whose PKT offsets stand at `list` into the socket's ring. Returns how many it took; the others are counted as dropped. The caller
 * holds the ring's lock where several threads may send.
 */
export function tx(thread: u32, ring: u32, list: u32, n: u32): u32 {
  if (usable(ring) && !reclaim(ring)) breakRing(ring);
  if (!usable(ring)) {
    countTxDrops(thread, ring, DROP_SOCKET_TX_NOT_READY, n);
    return 0;
  }
  const size = load<u32>(ring, VRING_SIZE);
  const frameSize = load<u32>(ring, VRING_FRAME_SIZE);
  const desc = load<u32>(ring, VRING_DESC);
  const umem = load<u32>(ring, VRING_UMEM);
  const base: u64 = load<u32>(ring, VRING_UMEM_BASE);
  const stack = load<u32>(ring, VRING_FREE);
  let free = load<u32>(ring, VRING_SEG_NEXT);
  let at = load<u32>(ring, VRING_LAST_AVAIL);
  let sent: u32 = 0;
  let bytes: u64 = 0;
  for (let done: u32 = 0; done < n; done++) {
    const pkt = load<u32>(list + done * 4);
    const len = load<u32>(pkt, PKT_LEN);
    if (len > frameSize) {
      countTxDrops(thread, ring, DROP_SOCKET_TX_OVERSIZE, 1);
      continue;
    }
    if (free == 0) {
      countTxDrops(thread, ring, DROP_SOCKET_TX_RING_FULL, n - done);
      break;
    }
    const i = gLoad32(stack + --free * 4);
    gStore32(stack + (size + i) * 4, 1);
    copyOut(umem + i * frameSize, load<u32>(pkt, PKT_DATA), len);
    const d = desc + (at & (size - 1)) * DESC_SIZE;
    gStore64(d, base + <u64>i * frameSize);
    gStore64(d + 8, len); // and no options
    at++;
    sent++;
    bytes += len;
  }
  store<u32>(ring, free, VRING_SEG_NEXT);
  store<u32>(ring, at, VRING_LAST_AVAIL);
  gAtomicStore32(load<u32>(ring, VRING_AVAIL), at);
  countSent(thread, ring, sent, bytes);
  if (load<u32>(ring, VRING_FLAGS) & VRING_F_NEED_WAKEUP) wakeKernel(thread, ring);
  else wantCall(thread, ring);
  return sent;
}

/** 1 when a frame waits. */
export function pending(ring: u32): u32 {
  return usable(ring) && gAtomicLoad32(load<u32>(ring, VRING_AVAIL)) != load<u32>(ring, VRING_LAST_AVAIL) ? 1 : 0;
}

/** The kernel wakes whoever waits for the socket; there is nothing to turn on. */
export function setNotify(_ring: u32, _on: u32): void {}

export function startRing(_ring: u32): void {}
