/**
 * The driver's half of a split virtqueue (VIRTIO 1.2, section 2.7). Words that the device writes are read by atomic accessors,
 * once, and checked: a device that breaks the rules gets its queue marked broken, and nothing outside the ring is touched.
 * A descriptor's address field is the buffer's address in this memory: memory-map.ts announces regions that way.
 */
import {
  AVAIL_F_NO_INTERRUPT,
  BUF_ROOM,
  CHAIN_END,
  DESC_F_NEXT,
  DESC_F_WRITE,
  HDR_NUM_BUFFERS,
  HDR_SIZE,
  KICKS_PENDING,
  USED_F_NO_NOTIFY,
  VQ_AVAIL,
  VQ_AVAIL_IDX,
  VQ_BAD_NUM_BUFFERS,
  VQ_BAD_USED_ID,
  VQ_BAD_USED_INDEX,
  VQ_BAD_USED_LEN,
  VQ_BROKEN,
  VQ_DESC,
  VQ_FREE,
  VQ_FREE_STACK,
  VQ_KICK,
  VQ_LINKS,
  VQ_LIVE,
  VQ_SIZE,
  VQ_SLOTS,
  VQ_USED,
  VQ_USED_IDX,
} from './layout';
import { bufAlloc, bufFree, bufHdr, bufLen, bufNext, bufSet, bufSetNext, packetSegments, poolFree } from './pool';

/** No descriptor: what takeUsed returns for an element that broke the queue. */
const NONE: u32 = 0xffffffff;

/** Makes an empty ring of `size` (a power of two) descriptors. The three parts are zeroed; interrupts start switched off. */
export function vqInit(
  vq: u32,
  size: u32,
  desc: u32,
  avail: u32,
  used: u32,
  slots: u32,
  links: u32,
  freeStack: u32,
): void {
  store<u32>(vq, size, VQ_SIZE);
  store<u32>(vq, desc, VQ_DESC);
  store<u32>(vq, avail, VQ_AVAIL);
  store<u32>(vq, used, VQ_USED);
  store<u32>(vq, slots, VQ_SLOTS);
  store<u32>(vq, links, VQ_LINKS);
  store<u32>(vq, freeStack, VQ_FREE_STACK);
  vqClear(vq);
}

/** Starts the ring anew: both indices 0, every descriptor free. Buffers in it must have been taken back by vqAbort. */
export function vqClear(vq: u32): void {
  const size = load<u32>(vq, VQ_SIZE);
  memory.fill(load<u32>(vq, VQ_DESC), 0, size << 4);
  memory.fill(load<u32>(vq, VQ_AVAIL), 0, 6 + (size << 1));
  memory.fill(load<u32>(vq, VQ_USED), 0, 6 + (size << 3));
  memory.fill(load<u32>(vq, VQ_SLOTS), 0, size << 2);
  const stack = load<u32>(vq, VQ_FREE_STACK);
  for (let i: u32 = 0; i < size; i++) store<u16>(stack + (i << 1), <u16>(size - 1 - i));
  store<u32>(vq, size, VQ_FREE);
  store<u32>(vq, 0, VQ_AVAIL_IDX);
  store<u32>(vq, 0, VQ_USED_IDX);
  store<u32>(vq, 0, VQ_KICK);
  store<u32>(vq, 0, VQ_BROKEN);
  atomic.store<u16>(load<u32>(vq, VQ_AVAIL), AVAIL_F_NO_INTERRUPT);
}

/** Frees every buffer the device still holds; returns how many packets those were. The ring needs vqClear before it is used again. */
export function vqAbort(vq: u32): u32 {
  const size = load<u32>(vq, VQ_SIZE);
  const slots = load<u32>(vq, VQ_SLOTS);
  const links = load<u32>(vq, VQ_LINKS);
  let ends: u32 = 0;
  for (let d: u32 = 0; d < size; d++) {
    const slot = load<u32>(slots + (d << 2));
    if (slot == 0) continue;
    bufFree(slot - 1);
    store<u32>(slots + (d << 2), 0);
    if (load<u16>(links + (d << 1)) == CHAIN_END) ends++;
  }
  return ends;
}

export function vqUsable(vq: u32): bool {
  return load<u32>(vq, VQ_LIVE) != 0 && load<u32>(vq, VQ_BROKEN) == 0;
}

function breakQueue(vq: u32, why: u32): u32 {
  store<u32>(vq, why, VQ_BROKEN);
  return 0;
}

/** How many used elements wait. */
export function vqUsedCount(vq: u32): u32 {
  const idx = <u32>atomic.load<u16>(load<u32>(vq, VQ_USED), 2);
  const n = (idx - load<u32>(vq, VQ_USED_IDX)) & 0xffff;
  const held = load<u32>(vq, VQ_SIZE) - load<u32>(vq, VQ_FREE);
  if (n > held) return breakQueue(vq, VQ_BAD_USED_INDEX);
  return n;
}

/** The address of the used element `i` places after the last one taken. */
function usedElem(vq: u32, i: u32): u32 {
  const at = (load<u32>(vq, VQ_USED_IDX) + i) & (load<u32>(vq, VQ_SIZE) - 1);
  return load<u32>(vq, VQ_USED) + 4 + (at << 3);
}

/** The head descriptor of the used element at `elem`, or NONE when the device does not hold such a one. */
function usedHead(vq: u32, elem: u32): u32 {
  const id = atomic.load<u32>(elem);
  if (id >= load<u32>(vq, VQ_SIZE) || load<u32>(load<u32>(vq, VQ_SLOTS) + (id << 2)) == 0) {
    breakQueue(vq, VQ_BAD_USED_ID);
    return NONE;
  }
  return id;
}

function pushFreeDesc(vq: u32, d: u32): void {
  const free = load<u32>(vq, VQ_FREE);
  store<u16>(load<u32>(vq, VQ_FREE_STACK) + (free << 1), <u16>d);
  store<u32>(vq, free + 1, VQ_FREE);
}

function popFreeDesc(vq: u32): u32 {
  const free = load<u32>(vq, VQ_FREE) - 1;
  store<u32>(vq, free, VQ_FREE);
  return <u32>load<u16>(load<u32>(vq, VQ_FREE_STACK) + (free << 1));
}

/** Takes descriptor `d` back from the device; returns the number of its buffer. */
function takeDesc(vq: u32, d: u32): u32 {
  const slot = load<u32>(vq, VQ_SLOTS) + (d << 2);
  const buf = load<u32>(slot) - 1;
  store<u32>(slot, 0);
  pushFreeDesc(vq, d);
  return buf;
}

function writeDesc(vq: u32, d: u32, addr: u32, len: u32, flags: u32, next: u32): void {
  const desc = load<u32>(vq, VQ_DESC) + (d << 4);
  store<u64>(desc, addr);
  store<u64>(desc, <u64>len | ((<u64>flags) << 32) | ((<u64>next) << 48), 8);
}

/** Notes in the driver's own arrays that descriptor `d` carries `buf`. */
function noteDesc(vq: u32, d: u32, buf: u32, link: u32): void {
  store<u32>(load<u32>(vq, VQ_SLOTS) + (d << 2), buf + 1);
  store<u16>(load<u32>(vq, VQ_LINKS) + (d << 1), <u16>link);
}

/** Puts head `d` into the avail ring, `i` places after what is published. */
function offer(vq: u32, i: u32, d: u32): void {
  const at = (load<u32>(vq, VQ_AVAIL_IDX) + i) & (load<u32>(vq, VQ_SIZE) - 1);
  store<u16>(load<u32>(vq, VQ_AVAIL) + 4 + (at << 1), <u16>d);
}

/** Publishes `n` heads with one atomic store, and notes whether the device asked to be kicked for it. */
function publish(vq: u32, n: u32): void {
  const idx = (load<u32>(vq, VQ_AVAIL_IDX) + n) & 0xffff;
  store<u32>(vq, idx, VQ_AVAIL_IDX);
  atomic.store<u16>(load<u32>(vq, VQ_AVAIL), <u16>idx, 2);
  // Sequentially consistent: the flags are read after the index is visible, as section 2.7.10 wants.
  if ((atomic.load<u16>(load<u32>(vq, VQ_USED)) & USED_F_NO_NOTIFY) != 0) return;
  store<u32>(vq, 1, VQ_KICK);
  store<u32>(KICKS_PENDING, 1);
}

/** Frees what the device has sent. */
export function txReclaim(vq: u32): void {
  const n = vqUsedCount(vq);
  if (n == 0) return;
  const links = load<u32>(vq, VQ_LINKS);
  for (let i: u32 = 0; i < n; i++) {
    let d = usedHead(vq, usedElem(vq, i));
    if (d == NONE) return;
    while (d != CHAIN_END) {
      const next = <u32>load<u16>(links + (d << 1));
      bufFree(takeDesc(vq, d));
      d = next;
    }
  }
  store<u32>(vq, (load<u32>(vq, VQ_USED_IDX) + n) & 0xffff, VQ_USED_IDX);
}

/** Puts a packet's segments into a chain of descriptors and returns the head. There are free descriptors enough. */
function writeChain(vq: u32, head: u32): u32 {
  const first = popFreeDesc(vq);
  const hdr = bufHdr(head);
  store<u64>(hdr, 0);
  store<u32>(hdr, 0, 8);
  let d = first;
  let buf = head;
  let addr = hdr;
  let len = bufLen(head) + HDR_SIZE;
  for (;;) {
    const next = bufNext(buf);
    if (next == 0) break;
    const following = popFreeDesc(vq);
    writeDesc(vq, d, addr, len, DESC_F_NEXT, following);
    noteDesc(vq, d, buf, following);
    d = following;
    buf = next - 1;
    addr = bufHdr(buf);
    len = bufLen(buf);
  }
  writeDesc(vq, d, addr, len, 0, 0);
  noteDesc(vq, d, buf, CHAIN_END);
  return first;
}

/**
 * Sends up to `n` of the packets whose numbers stand at `packets` (u32 each), in order; returns how many the ring took. The
 * device owns those; the rest stay the caller's.
 */
export function txBurst(vq: u32, packets: u32, n: u32): u32 {
  if (!vqUsable(vq)) return 0;
  txReclaim(vq);
  let sent: u32 = 0;
  while (sent < n) {
    const head = load<u32>(packets + (sent << 2));
    const segments: u32 = bufNext(head) == 0 ? 1 : packetSegments(head);
    if (segments > load<u32>(vq, VQ_FREE)) break;
    offer(vq, sent, writeChain(vq, head));
    sent++;
  }
  if (sent != 0) publish(vq, sent);
  return sent;
}

/** How many descriptors can be filled now. */
export function txRoom(vq: u32): u32 {
  if (!vqUsable(vq)) return 0;
  txReclaim(vq);
  return load<u32>(vq, VQ_FREE);
}

/** Gives the device empty buffers for all free descriptors, in batches of 32 at least; returns how many it could not for want of buffers. */
export function rxRefill(vq: u32): u32 {
  const free = load<u32>(vq, VQ_FREE);
  if (free < 32 && free != load<u32>(vq, VQ_SIZE)) return 0;
  const n = min(free, poolFree());
  for (let i: u32 = 0; i < n; i++) {
    const d = popFreeDesc(vq);
    const buf = bufAlloc();
    writeDesc(vq, d, bufHdr(buf), BUF_ROOM + HDR_SIZE, DESC_F_WRITE, 0);
    noteDesc(vq, d, buf, CHAIN_END);
    offer(vq, i, d);
  }
  if (n != 0) publish(vq, n);
  return free - n;
}

/** Takes used element `i`; its buffer, with the length set, or NONE when it broke the queue. `hdr`: bytes before the data. */
function rxTake(vq: u32, i: u32, hdr: u32): u32 {
  const elem = usedElem(vq, i);
  const d = usedHead(vq, elem);
  if (d == NONE) return NONE;
  const len = atomic.load<u32>(elem, 4);
  if (len > <u32>(BUF_ROOM + HDR_SIZE) || len < hdr) {
    breakQueue(vq, VQ_BAD_USED_LEN);
    return NONE;
  }
  const buf = takeDesc(vq, d);
  bufSet(buf, len - hdr, 0);
  return buf;
}

/**
 * Joins the `n - 1` buffers after element `first` to `head`. They carry no header: their data starts where the first one's header
 * does. False when the device's elements broke the queue.
 */
function rxJoin(vq: u32, head: u32, first: u32, n: u32): bool {
  let last = head;
  for (let k: u32 = 1; k < n; k++) {
    const buf = rxTake(vq, first + k, 0);
    if (buf == NONE) return false;
    bufSetNext(last, buf + 1);
    last = buf;
  }
  return true;
}

/**
 * Receives up to `limit` packets; their numbers (u32 each) go to `out`, and belong to the caller. A packet that the device spread
 * over several buffers (MRG_RXBUF) comes as one chain.
 */
export function rxBurst(vq: u32, out: u32, limit: u32): u32 {
  if (!vqUsable(vq)) return 0;
  const avail = vqUsedCount(vq);
  let taken: u32 = 0;
  let packets: u32 = 0;
  while (packets < limit && taken < avail) {
    const head = rxTake(vq, taken, HDR_SIZE);
    if (head == NONE) break;
    const n = <u32>load<u16>(bufHdr(head), HDR_NUM_BUFFERS);
    store<u32>(out + (packets << 2), head);
    packets++;
    if (n > 1 && n > avail - taken) {
      breakQueue(vq, VQ_BAD_NUM_BUFFERS);
      break;
    }
    if (n > 1 && !rxJoin(vq, head, taken, n)) break;
    taken += n > 1 ? n : 1;
  }
  store<u32>(vq, (load<u32>(vq, VQ_USED_IDX) + taken) & 0xffff, VQ_USED_IDX);
  return packets;
}

/** Asks for interrupts (`on` = 1) or not. Returns how many used elements wait already: with those no interrupt need come. */
export function vqInterrupts(vq: u32, on: u32): u32 {
  atomic.store<u16>(load<u32>(vq, VQ_AVAIL), <u16>(on != 0 ? 0 : AVAIL_F_NO_INTERRUPT));
  return vqUsedCount(vq);
}
