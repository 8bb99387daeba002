/**
 * Big frames: only the first SNAP_SIZE bytes are in the packet's slot, the tail is still in the sender's memory (PKT_TAIL). What has to see the whole frame, or
 * a header beyond the snapshot, pulls it up first: into the big slot of the packet's record.
 */
import {
  ARENA_SEG_SLOTS_STRIDE,
  ARENA_SLOTS_STRIDE,
  BIG_SLOT__SIZE,
  PACKET_HEADROOM,
  PKT__SIZE,
  PKT_DATA,
  PKT_LEN,
  PKT_TAIL_LEN,
  PKT_TAIL_SLOT,
  SEG_SLOT__SIZE,
  SLOT__SIZE,
} from './gen/arena';
import { bigSlots, pkts, segSlots, slots } from './thread';

/** Functions of a guest in the function table: its four from here on (`rxSlot` in src/dpif/userspace/datapath-thread.ts). */
const GUEST_SLOTS: u32 = 2;
const GUEST_SLOTS_EACH: u32 = 4;
const PULL: u32 = 2;
export const RELEASE_AFTER_RX: u32 = 3;

/** Bytes of the frame that are at PKT_DATA. */
// @ts-ignore: decorator
@inline
export function headLength(pkt: u32): u32 {
  return load<u32>(pkt, PKT_LEN) - load<u32>(pkt, PKT_TAIL_LEN);
}

// @ts-ignore: decorator
@inline
export function bigSlotAt(i: u32): u32 {
  return bigSlots + i * BIG_SLOT__SIZE;
}

/** True when the whole frame is in a slot of FRAME_MAX bytes. */
export function isSmall(pkt: u32): bool {
  return load<u32>(pkt, PKT_DATA) - slots < ARENA_SLOTS_STRIDE && load<u32>(pkt, PKT_TAIL_LEN) == 0;
}

/** Bytes of the slot before the frame. */
export function headroom(pkt: u32): u32 {
  const data = load<u32>(pkt, PKT_DATA);
  if (data - slots < ARENA_SLOTS_STRIDE) return (data - slots) % SLOT__SIZE;
  if (data - segSlots < ARENA_SEG_SLOTS_STRIDE) return (data - segSlots) % SEG_SLOT__SIZE;
  return (data - bigSlots) % BIG_SLOT__SIZE;
}

/** Copies the tail to `to`. */
export function copyTail(pkt: u32, to: u32): void {
  if (!load<u32>(pkt, PKT_TAIL_LEN)) return;
  call_indirect<u32>(GUEST_SLOTS + load<u32>(pkt, PKT_TAIL_SLOT) * GUEST_SLOTS_EACH + PULL, pkt, to);
}

/** Puts the whole frame together, when it is not. */
export function pullUp(pkt: u32): void {
  if (!load<u32>(pkt, PKT_TAIL_LEN)) return;
  const head = headLength(pkt);
  const to = bigSlotAt((pkt - pkts) / PKT__SIZE) + PACKET_HEADROOM;
  memory.copy(to, load<u32>(pkt, PKT_DATA), head);
  copyTail(pkt, to + head);
  store<u32>(pkt, to, PKT_DATA);
  store<u32>(pkt, 0, PKT_TAIL_LEN);
}

/** Copies the first `len` bytes of the frame, wherever they are, to `to`. */
export function copyFrame(pkt: u32, to: u32, len: u32): void {
  const tail = load<u32>(pkt, PKT_TAIL_LEN);
  const head = load<u32>(pkt, PKT_LEN) - tail;
  memory.copy(to, load<u32>(pkt, PKT_DATA), min(len, head));
  if (len <= head) return;
  store<u32>(pkt, len - head, PKT_TAIL_LEN);
  copyTail(pkt, to + head);
  store<u32>(pkt, tail, PKT_TAIL_LEN);
}
