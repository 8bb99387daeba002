/**
 * Packets that go through lookup again (`recirc`, and what takes an encapsulation off): each gets a record in the batch of the next depth, where it waits until
 * the groups of its own batch are through; `forwardWaiting` in datapath.ts then handles them together. A record and its frame stay as they are until what waits
 * to leave has left.
 */
import {
  BATCH_MAX,
  DROP_RECIRC_ERROR,
  FIRST_RECIRC_PKT,
  FRAME_MAX,
  GROUP__SIZE,
  KEY__META_WORD,
  KEY__SIZE,
  KEY_IN_PORT,
  KEY_RECIRC_ID,
  PACKET_HEADROOM,
  PKT__SIZE,
  PKT_DATA,
  PKT_FLOW,
  PKT_KEY,
  PKT_LEN,
  PKT_LONG,
  PKT_NEXT,
  PKT_RSS,
  PKT_TAIL_LEN,
  PKT_TRUNC,
  RECIRC_DEPTH_MAX,
  THREAD_RECIRC_DONE,
  THREAD_RECIRC_USED,
} from './gen/arena';
import { drop, groupsBase, pkts, setBatch, slotAt, thread } from './thread';
import { rssHash } from './packet-hash';
import { setFinished } from './offload';
import { bigSlotAt, headLength } from './tail';

const META: u32 = KEY__META_WORD * 8;

/** How often the packets that are being handled were recirculated. */
export let depth: u32 = 0;

// @ts-ignore: decorator
@inline
function usedAt(d: u32): u32 {
  return thread + THREAD_RECIRC_USED + d * 4;
}

// @ts-ignore: decorator
@inline
function doneAt(d: u32): u32 {
  return thread + THREAD_RECIRC_DONE + d * 4;
}

/** Index of the first record of a depth. */
// @ts-ignore: decorator
@inline
function firstOf(d: u32): u32 {
  return FIRST_RECIRC_PKT + (d - 1) * BATCH_MAX;
}

/** Packets are handled that were recirculated `d` times. The batch is the one that was received, or the spare packet. */
export function startAt(d: u32): void {
  depth = min(d, RECIRC_DEPTH_MAX);
  setBatch(pkts, groupsBase + depth * BATCH_MAX * GROUP__SIZE);
}

/** All that waited to leave has left: every record is free. */
export function freeRecords(): void {
  for (let d: u32 = 1; d <= RECIRC_DEPTH_MAX; d++) {
    store<u32>(usedAt(d), 0);
    store<u32>(doneAt(d), 0);
  }
}

/** Packets of the next depth that wait to be looked up. */
// @ts-ignore: decorator
@inline
export function waiting(): u32 {
  if (depth == RECIRC_DEPTH_MAX) return 0;
  return load<u32>(usedAt(depth + 1)) - load<u32>(doneAt(depth + 1));
}

/** True when `n` more packets find a record. */
// @ts-ignore: decorator
@inline
export function hasRoom(n: u32): bool {
  return depth == RECIRC_DEPTH_MAX || load<u32>(usedAt(depth + 1)) + n <= BATCH_MAX;
}

/** The records of the next depth are free: they were handled, and what waited to leave has left. */
export function freeNext(): void {
  if (depth == RECIRC_DEPTH_MAX) return;
  store<u32>(usedAt(depth + 1), 0);
  store<u32>(doneAt(depth + 1), 0);
}

/** Makes the packets that wait the batch, one depth down; returns their number. */
export function descend(): u32 {
  const n = waiting();
  depth++;
  const done = load<u32>(doneAt(depth));
  store<u32>(doneAt(depth), done + n);
  setBatch(pkts + (firstOf(depth) + done) * PKT__SIZE, groupsBase + depth * BATCH_MAX * GROUP__SIZE);
  return n;
}

/** Back from `descend`; the batch is not the one of before. */
export function ascend(): void {
  depth--;
}

/** Copies a packet's frame, but for its tail, into slot `index`, and has `pkt` name the copy. */
function copyHead(pkt: u32, index: u32): void {
  const size = headLength(pkt);
  const data = (size > FRAME_MAX + PACKET_HEADROOM ? bigSlotAt(index) : slotAt(index)) + PACKET_HEADROOM;
  memory.copy(data, load<u32>(pkt, PKT_DATA), size);
  store<u32>(pkt, data, PKT_DATA);
}

/** Takes `cut` bytes off the packet's end. */
// @ts-ignore: decorator
@inline
export function shorten(pkt: u32, cut: u32): void {
  const head = headLength(pkt);
  const len = load<u32>(pkt, PKT_LEN);
  const left = len > cut ? len - cut : 0;
  store<u32>(pkt, left, PKT_LEN);
  store<u32>(pkt, left > head ? left - head : 0, PKT_TAIL_LEN);
  // What is left of a frame that was to be cut is no frame of that kind any more; a checksum has been completed by `trunc`.
  setFinished(pkt);
}

/** Metadata of the key: kept, or zero when it was never written. */
// @ts-ignore: decorator
@inline
function copyMetadata(to: u32, from: u32): void {
  store<u32>(to + PKT_KEY, load<u32>(from + PKT_KEY, KEY_IN_PORT), KEY_IN_PORT);
  const at = PKT_KEY + META;
  if (load<u16>(from, PKT_LONG)) memory.copy(to + at, from + at, KEY__SIZE - META);
  else memory.fill(to + at, 0, KEY__SIZE - META);
}

/**
 * Has the packet looked up again with `recircId` and its present metadata, without what `trunc` took off. `last`: nobody uses the packet after this; else
 * it is copied. The caller has seen to it that there is room (ACTIONS_F_RECIRC). Returns the new record, of which the caller may still change
 * KEY_IN_PORT, KEY_RECIRC_ID and the metadata words of the key, or 0 when the packet was recirculated too often, which is counted.
 */
export function lookUpAgain(pkt: u32, recircId: u32, last: bool): u32 {
  const cut = load<u32>(pkt, PKT_TRUNC);
  store<u32>(pkt, 0, PKT_TRUNC);
  if (depth == RECIRC_DEPTH_MAX) {
    drop(DROP_RECIRC_ERROR, 1);
    return 0;
  }
  const i = load<u32>(usedAt(depth + 1));
  store<u32>(usedAt(depth + 1), i + 1);
  const index = firstOf(depth + 1) + i;
  const next = pkts + index * PKT__SIZE;
  memory.copy(next, pkt, PKT_KEY);
  if (cut) shorten(next, cut);
  store<u32>(next, rssHash(pkt), PKT_RSS);
  store<u32>(next, 0, PKT_FLOW);
  store<u32>(next, 0, PKT_NEXT);
  copyMetadata(next, pkt);
  store<u32>(next + PKT_KEY, recircId, KEY_RECIRC_ID);
  if (!last) copyHead(next, index);
  return next;
}
