/**
 * What receiving and sending share: a ring's indices and counters, and the region table. Nothing that a guest writes is believed: the
 * available index is checked against the ring's size, every range against the region table before it is touched.
 */
import {
  ARENA_PORT_STATS,
  ARENA_PORT_STATS_STRIDE,
  ARENA_THREADS,
  DROP_VHOST_BAD_INDEX,
  PORT_STATS__SIZE,
  REGION__SIZE,
  REGION_GPA,
  REGION_OFFSET,
  REGION_SIZE,
  REGION_TABLE_COUNT,
  REGION_TABLE_ENTRIES,
  THREAD__SIZE,
  THREAD_CALLS_PENDING,
  THREAD_DROPS,
  VRING_AVAIL,
  VRING_BROKEN,
  VRING_BROKEN_INDEX,
  VRING_CALL_PENDING,
  VRING_LAST_AVAIL,
  VRING_LAST_USED,
  VRING_PORT,
  VRING_SIZE,
  VRING_STARTED,
  VRING_USED,
} from './gen/arena';
import { gAtomicLoad16, gAtomicStore16, gLoad16, gStore64 } from './guest';

const AVAIL_F_NO_INTERRUPT: u32 = 1;
/** The ring indices follow two 16-bit words, flags and idx. */
const RING_ENTRIES: u32 = 4;
export const NOWHERE: u32 = 0xffffffff;
export const DESC_F_NEXT: u32 = 1;
export const DESC_F_WRITE: u32 = 2;
export const DESC_F_INDIRECT: u32 = 4;
export const DESC_F_ANY: u32 = 7;

// @ts-ignore: decorator
@inline
export function threadAt(thread: u32): u32 {
  return ARENA_THREADS + thread * THREAD__SIZE;
}

// @ts-ignore: decorator
@inline
export function portStats(thread: u32, vring: u32): u32 {
  return ARENA_PORT_STATS + thread * ARENA_PORT_STATS_STRIDE + load<u32>(vring, VRING_PORT) * PORT_STATS__SIZE;
}

// @ts-ignore: decorator
@inline
export function bump(counter: u32, by: u64): void {
  store<u64>(counter, load<u64>(counter) + by);
}

export function countDrop(thread: u32, reason: u32, counter: u32, total: u32): void {
  bump(threadAt(thread) + THREAD_DROPS + reason * 8, 1);
  bump(counter, 1);
  bump(total, 1);
}

/** Offset in the guest's memory of `[gpa, gpa + size)`, or NOWHERE when that is not inside one region. */
export function translate(regions: u32, gpa: u64, size: u32): u32 {
  const count = load<u32>(regions, REGION_TABLE_COUNT);
  let region = regions + REGION_TABLE_ENTRIES;
  for (let i: u32 = 0; i < count; i++) {
    const start = gpa - load<u64>(region, REGION_GPA);
    const length = load<u64>(region, REGION_SIZE);
    if (start < length && <u64>size <= length - start) return <u32>load<u64>(region, REGION_OFFSET) + <u32>start;
    region += REGION__SIZE;
  }
  return NOWHERE;
}

// @ts-ignore: decorator
@inline
export function indexDistance(vring: u32): u32 {
  return (gAtomicLoad16(load<u32>(vring, VRING_AVAIL) + 2) - load<u32>(vring, VRING_LAST_AVAIL)) & 0xffff;
}

/** Entries between the guest's index and ours; 0 when the guest's index is impossible: the ring is then marked broken, which is counted. */
export function available(thread: u32, vring: u32): u32 {
  const count = indexDistance(vring);
  if (count <= load<u32>(vring, VRING_SIZE)) return count;
  store<u32>(vring, VRING_BROKEN_INDEX, VRING_BROKEN);
  bump(threadAt(thread) + THREAD_DROPS + DROP_VHOST_BAD_INDEX * 8, 1);
  return 0;
}

// @ts-ignore: decorator
@inline
export function usable(vring: u32): bool {
  return atomic.load<u32>(vring, VRING_STARTED) != 0 && load<u32>(vring, VRING_BROKEN) == 0;
}

/** Makes the used entries up to VRING_LAST_USED visible and notes when the guest wants an interrupt. */
export function publishUsed(thread: u32, vring: u32): void {
  gAtomicStore16(load<u32>(vring, VRING_USED) + 2, load<u32>(vring, VRING_LAST_USED));
  if (gAtomicLoad16(load<u32>(vring, VRING_AVAIL)) & AVAIL_F_NO_INTERRUPT) return;
  store<u32>(vring, 1, VRING_CALL_PENDING);
  store<u32>(threadAt(thread), 1, THREAD_CALLS_PENDING);
}

// @ts-ignore: decorator
@inline
export function putUsed(vring: u32, lastUsed: u32, head: u32, written: u32): void {
  const at = load<u32>(vring, VRING_USED) + RING_ENTRIES + (lastUsed & (load<u32>(vring, VRING_SIZE) - 1)) * 8;
  gStore64(at, <u64>head | (<u64>written << 32));
}

/** Head of the chain that the guest made available at the free-running index `at`. */
// @ts-ignore: decorator
@inline
export function availHead(vring: u32, at: u32): u32 {
  const mask = load<u32>(vring, VRING_SIZE) - 1;
  return gLoad16(load<u32>(vring, VRING_AVAIL) + RING_ENTRIES + (at & mask) * 2);
}
