/** Actions that make a frame longer or shorter: VLAN tags and MPLS labels. The slot's headroom takes what is pushed. */
import {
  BIG_FRAME_MAX,
  FRAME_MAX,
  PACKET_HEADROOM,
  PKT_DATA,
  PKT_L2_5,
  PKT_L3,
  PKT_L4,
  PKT_LEN,
} from './gen/arena';
import { isUnfinished, shiftHeaders } from './offload';
import { headroom, isSmall } from './tail';

const NO_OFFSET: u32 = 0xffff;
const TAG_SIZE: u32 = 4;

// @ts-ignore: decorator
@inline
function shiftOffset(at: u32, by: i32): void {
  const offset: u32 = load<u16>(at);
  if (offset != NO_OFFSET) store<u16>(at, <u16>(offset + by));
}

/** True when the slot has room for `size` bytes before the frame, and the frame stays one that fits any slot. */
export function hasRoom(pkt: u32, size: u32): bool {
  const max = (isSmall(pkt) ? FRAME_MAX : BIG_FRAME_MAX) + PACKET_HEADROOM;
  return headroom(pkt) >= size && load<u32>(pkt, PKT_LEN) + size <= max;
}

/** Moves the frame's start by `-by` bytes and the header offsets with it. */
export function grow(pkt: u32, by: i32): void {
  store<u32>(pkt, load<u32>(pkt, PKT_DATA) - by, PKT_DATA);
  store<u32>(pkt, load<u32>(pkt, PKT_LEN) + by, PKT_LEN);
  shiftOffset(pkt + PKT_L2_5, by);
  shiftOffset(pkt + PKT_L3, by);
  shiftOffset(pkt + PKT_L4, by);
  if (isUnfinished(pkt)) shiftHeaders(pkt, by);
}

/** `tag`: TPID in the low half, TCI in the high half, host order; the CFI bit is not sent. False, and nothing changed, when the slot has no room for it. */
export function pushVlan(pkt: u32, tag: u32): bool {
  if (!hasRoom(pkt, TAG_SIZE)) return false;
  grow(pkt, TAG_SIZE);
  const data = load<u32>(pkt, PKT_DATA);
  memory.copy(data, data + TAG_SIZE, 12);
  store<u16>(data + 12, bswap<u16>(<u16>tag));
  store<u16>(data + 14, bswap<u16>(<u16>((tag >> 16) & 0xefff)));
  return true;
}

/** A frame without a tag stays as it is. */
export function popVlan(pkt: u32): void {
  const data = load<u32>(pkt, PKT_DATA);
  const tpid: u32 = load<u16>(data + 12);
  if (load<u32>(pkt, PKT_LEN) < 18 || (tpid != 0x0081 && tpid != 0xa888)) return;
  memory.copy(data + TAG_SIZE, data, 12);
  grow(pkt, -<i32>TAG_SIZE);
}

/**
 * Puts a label stack entry (host order) before what follows the Ethernet header, whose type becomes `ethertype`; a frame without a payload stays as it is.
 * False, and nothing changed, when the slot has no room for it.
 */
export function pushMpls(pkt: u32, ethertype: u32, lse: u32): bool {
  let start: u32 = load<u16>(pkt, PKT_L2_5);
  if (start == NO_OFFSET) start = load<u16>(pkt, PKT_L3);
  if (start == NO_OFFSET) return true;
  if (!hasRoom(pkt, TAG_SIZE)) return false;
  store<u16>(pkt, <u16>start, PKT_L2_5);
  grow(pkt, TAG_SIZE);
  store<u16>(pkt, <u16>start, PKT_L2_5);
  const data = load<u32>(pkt, PKT_DATA);
  memory.copy(data, data + TAG_SIZE, start);
  store<u16>(data + start - 2, bswap<u16>(<u16>ethertype));
  store<u32>(data + start, bswap<u32>(lse));
  return true;
}

export function popMpls(pkt: u32, ethertype: u32): void {
  const start: u32 = load<u16>(pkt, PKT_L2_5);
  if (start == NO_OFFSET || load<u32>(pkt, PKT_LEN) < start + TAG_SIZE) return;
  const data = load<u32>(pkt, PKT_DATA);
  store<u16>(data + start - 2, bswap<u16>(<u16>ethertype));
  memory.copy(data + TAG_SIZE, data, start);
  grow(pkt, -<i32>TAG_SIZE);
  const labels = ethertype == 0x8847 || ethertype == 0x8848;
  store<u16>(pkt, <u16>(labels ? start : NO_OFFSET), PKT_L2_5);
  if (!labels) store<u16>(pkt, <u16>start, PKT_L3);
}
