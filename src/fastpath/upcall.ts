/** The thread's ring of records to the control thread: misses, `userspace` actions, frames for ports that have no ring. One writer, one reader. */
import {
  ARENA_HEADER,
  DROP_UPCALL_RING_FULL,
  HEADER_NOTIFY,
  PKT_FLAGS,
  PKT_KEY,
  PKT_LEN,
  PKT_LONG,
  PKT_RSS,
  PKT_TRUNC,
  KEY__SIZE,
  KEY_IN_PORT,
  THREAD_MISS_HEAD,
  THREAD_UPCALL_HEAD,
  THREAD_UPCALL_TAIL,
  THREAD_UPCALLS_NEW,
  UPCALL_ACTION,
  UPCALL_DEPTH,
  UPCALL_FLAGS,
  UPCALL_KEY,
  UPCALL_LEN,
  UPCALL_LONG,
  UPCALL_MISS,
  UPCALL_MISS_RESERVE,
  UPCALL_PORT,
  UPCALL_RING_SIZE,
  UPCALL_RSS,
  UPCALL_SIZE,
  UPCALL_TYPE,
  UPCALL_USERDATA,
  UPCALL_WRAP,
  UPCALL__SIZE,
} from './gen/arena';
import { depth } from './recirc';
import { allSegmentsMade, finishChecksum, nextSegment, startSegments } from './finish';
import { gsoTypeOf, isUnfinished } from './offload';
import { copyFrame } from './tail';
import { drop, thread, upcalls } from './thread';

/** Writes a record with the packet behind it; false when there is no room. `len` bytes of the packet go along. */
export function sendUp(type: u32, pkt: u32, port: u32, userdata: u32, len: u32): bool {
  const size = (UPCALL__SIZE + len + 7) & ~7;
  let head = load<u32>(thread, THREAD_UPCALL_HEAD);
  const used = head - atomic.load<u32>(thread, THREAD_UPCALL_TAIL);
  let at = head & (UPCALL_RING_SIZE - 1);
  const toEnd = UPCALL_RING_SIZE - at;
  const wrap = toEnd < size ? toEnd : 0;
  const room = type == UPCALL_MISS ? UPCALL_RING_SIZE : UPCALL_RING_SIZE - UPCALL_MISS_RESERVE;
  if (used + wrap + size > room) return false;
  if (wrap) {
    store<u32>(upcalls + at, UPCALL_WRAP, UPCALL_TYPE);
    store<u32>(upcalls + at, wrap, UPCALL_SIZE);
    head += wrap;
    at = 0;
  }
  const record = upcalls + at;
  store<u32>(record, type, UPCALL_TYPE);
  store<u32>(record, size, UPCALL_SIZE);
  store<u32>(record, port, UPCALL_PORT);
  store<u32>(record, userdata, UPCALL_USERDATA);
  store<u32>(record, len, UPCALL_LEN);
  store<u32>(record, load<u32>(pkt, PKT_RSS), UPCALL_RSS);
  store<u32>(record, load<u32>(pkt, PKT_FLAGS), UPCALL_FLAGS);
  store<u16>(record, <u16>depth, UPCALL_DEPTH);
  store<u16>(record, load<u16>(pkt, PKT_LONG), UPCALL_LONG);
  memory.copy(record + UPCALL_KEY, pkt + PKT_KEY, KEY__SIZE);
  copyFrame(pkt, record + UPCALL__SIZE, len);
  if (type == UPCALL_MISS) store<u32>(thread, load<u32>(thread, THREAD_MISS_HEAD) + size, THREAD_MISS_HEAD);
  atomic.store<u32>(thread, head + size, THREAD_UPCALL_HEAD);
  store<u32>(thread, 1, THREAD_UPCALLS_NEW);
  return true;
}

/**
 * The same for a packet of which something may still be to be done: the control thread gets finished frames, as many as it takes, each with the first
 * `maxLen` bytes.
 */
export function sendUpFinished(type: u32, pkt: u32, port: u32, userdata: u32, maxLen: u32): bool {
  if (!isUnfinished(pkt)) return sendUp(type, pkt, port, userdata, min(load<u32>(pkt, PKT_LEN), maxLen));
  // What is refused is counted there, and is not lost for want of room.
  if (gsoTypeOf(pkt) == 0) return !finishChecksum(pkt) || sendUp(type, pkt, port, userdata, min(load<u32>(pkt, PKT_LEN), maxLen));
  if (!startSegments(pkt)) return true;
  while (!allSegmentsMade()) {
    const segment = nextSegment(pkt, 0);
    if (!sendUp(type, segment, port, userdata, min(load<u32>(segment, PKT_LEN), maxLen))) return false;
  }
  return true;
}

/** Hands a packet, without what `trunc` took off, to the control thread for a `userspace` action; counted as a drop when there is no room. */
export function sendUserspace(pkt: u32, userdata: u32): void {
  const len = load<u32>(pkt, PKT_LEN);
  const cut = min(load<u32>(pkt, PKT_TRUNC), len);
  store<u32>(pkt, 0, PKT_TRUNC);
  if (!sendUpFinished(UPCALL_ACTION, pkt, load<u32>(pkt + PKT_KEY, KEY_IN_PORT), userdata, len - cut)) drop(DROP_UPCALL_RING_FULL, 1);
}

/** Wakes the control thread when this batch sent something up. */
// @ts-ignore: decorator
@inline
export function notifyControl(): void {
  if (!load<u32>(thread, THREAD_UPCALLS_NEW)) return;
  store<u32>(thread, 0, THREAD_UPCALLS_NEW);
  atomic.add<u32>(ARENA_HEADER + HEADER_NOTIFY, 1);
  atomic.notify(ARENA_HEADER + HEADER_NOTIFY, 1);
}
