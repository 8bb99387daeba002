/**
 * What a frame's sender left to be done and its receiver does not take is done here: checksums are completed where they lie, segments are made in slots of
 * their own.
 */
import {
  BATCH_MAX,
  DROP_OFFLOAD_BAD_HEADER,
  KEY__SIZE,
  PACKET_HEADROOM,
  PKT_CUT,
  PKT__SIZE,
  PKT_DATA,
  PKT_KEY,
  PKT_LEN,
  PKT_NEXT,
  PKT_VNET_CSUM_OFFSET,
  PKT_VNET_CSUM_START,
  PKT_VNET_GSO_SIZE,
  SEG_SLOT__SIZE,
  SEGMENT_MAX,
} from './gen/arena';
import { completeChecksum } from './full-checksum';
import { gsoTypeOf, hasItsChecksum, isUnfinished, setFinished } from './offload';
import { cutSize, finishSegment, headers, openSegments, segmentPayload, segmentsDone } from './segment';
import { pullUp } from './tail';
import { drop, segPkts, segSlots } from './thread';

/** Completes the checksum, if there is one to be completed. The frame is the same to whoever has it to send already. False when its place is not in the frame, which is counted. */
export function finishChecksum(pkt: u32): bool {
  if (!isUnfinished(pkt)) return true;
  if (!hasItsChecksum(pkt)) {
    drop(DROP_OFFLOAD_BAD_HEADER, 1);
    return false;
  }
  pullUp(pkt);
  const start: u32 = load<u16>(pkt, PKT_VNET_CSUM_START);
  completeChecksum(load<u32>(pkt, PKT_DATA), load<u32>(pkt, PKT_LEN), start, load<u16>(pkt, PKT_VNET_CSUM_OFFSET));
  setFinished(pkt);
  return true;
}

/** Payload offset of the next segment of the packet that is being cut. */
let nextAt: u32 = 0;

/** Begins to cut a packet. False when it can't be, which is counted. */
export function startSegments(pkt: u32): bool {
  pullUp(pkt);
  nextAt = 0;
  const gsoSize: u32 = load<u16>(pkt, PKT_VNET_GSO_SIZE);
  const start: u32 = load<u16>(pkt, PKT_VNET_CSUM_START);
  const type = gsoTypeOf(pkt);
  if (openSegments(load<u32>(pkt, PKT_DATA), load<u32>(pkt, PKT_LEN), type, gsoSize, start, SEGMENT_MAX)) return true;
  drop(DROP_OFFLOAD_BAD_HEADER, 1);
  return false;
}

// @ts-ignore: decorator
@inline
export function allSegmentsMade(): bool {
  return segmentsDone(nextAt);
}

/** Makes the next segment of the packet in record `i` of those for segments, with the packet's key; returns the record. */
export function nextSegment(pkt: u32, i: u32): u32 {
  const segment = segPkts + i * PKT__SIZE;
  const data = segSlots + i * SEG_SLOT__SIZE + PACKET_HEADROOM;
  const from = load<u32>(pkt, PKT_DATA);
  memory.copy(segment, pkt, PKT_KEY + KEY__SIZE);
  memory.copy(data, from, headers);
  memory.copy(data + headers, from + headers + nextAt, segmentPayload(nextAt));
  const len = finishSegment(data, nextAt);
  nextAt += segmentPayload(nextAt);
  store<u32>(segment, data, PKT_DATA);
  store<u32>(segment, len, PKT_LEN);
  setFinished(segment);
  store<u16>(segment, <u16>cutSize(), PKT_CUT);
  return segment;
}

/** Makes the next segments of the packet, up to BATCH_MAX, linked; returns the first. */
export function nextSegments(pkt: u32): u32 {
  const first = nextSegment(pkt, 0);
  let last = first;
  for (let i: u32 = 1; i < BATCH_MAX && !allSegmentsMade(); i++) {
    const segment = nextSegment(pkt, i);
    store<u32>(last, segment, PKT_NEXT);
    last = segment;
  }
  store<u32>(last, 0, PKT_NEXT);
  return first;
}
