/** Receiving: what the guest transmits, taken in passes over a burst, so that the cache misses of 32 packets overlap. */
import {
  ARENA_PKTS,
  ARENA_PKTS_STRIDE,
  ARENA_SLOTS,
  ARENA_SLOTS_STRIDE,
  ARENA_TAILS,
  ARENA_TAILS_STRIDE,
  BATCH_MAX,
  BIG_FRAME_MAX,
  DROP_VHOST_RX_BAD_CHAIN,
  DROP_VHOST_RX_BAD_DESCRIPTOR,
  DROP_VHOST_RX_BAD_HEADER,
  DROP_VHOST_RX_OVERSIZE,
  DROP_VHOST_RX_RUNT,
  DROP_VHOST_RX_TOO_MANY_SEGMENTS,
  FRAME_MAX,
  PACKET_HEADROOM,
  PKT__SIZE,
  PKT_DATA,
  PKT_FLOW,
  PKT_KEY,
  PKT_LEN,
  PKT_TAIL,
  PKT_TAIL_LEN,
  PKT_TAIL_SLOT,
  PKT_VNET_CSUM_OFFSET,
  PKT_VNET_FLAGS,
  PORT_STATS_RX_BAD_DESC,
  PORT_STATS_RX_BAD_HDR,
  PORT_STATS_RX_DROPPED,
  PORT_STATS_RX_ERRORS,
  PORT_STATS_RX_OVERSIZE,
  SEGMENT_MAX,
  SLOT__SIZE,
  SNAP_SIZE,
  TAIL__SIZE,
  THREAD_UNRELEASED,
  VRING_AVAIL,
  VRING_BROKEN,
  VRING_BROKEN_CHAIN,
  VRING_DESC,
  VRING_GUEST,
  VRING_HDR_SIZE,
  VRING_LAST_AVAIL,
  VRING_LAST_USED,
  VRING_OFFLOADS,
  VRING_REGIONS,
  VRING_SIZE,
} from './gen/arena';
import { descAddr, descFlags, descLen, descNext, nextDesc, openReadChain } from './chain';
import { copyIn, gLoad8, gLoad16, gLoad32, gLoad64 } from './guest';
import {
  available,
  countDrop,
  DESC_F_ANY,
  DESC_F_NEXT,
  DESC_F_WRITE,
  NOWHERE,
  portStats,
  publishUsed,
  putUsed,
  threadAt,
  translate,
  usable,
} from './ring';

import { isInFrame, offloadsOf, VNET_NEEDS_CSUM } from './offload';
import { checksumOffset, headers, isTooSmall, openSegments } from './segment';

const ETH_HEADER_SIZE: u32 = 14;
const RING_ENTRIES: u32 = 4;
/** Bytes of the header that mean something to a receiver; num_buffers follows. */
const HEADER_WORDS: u32 = 10;

/** Why the last packet was not taken. */
let dropReason: u32 = 0;
/** Bytes of the packet that was taken last that stay in the guest's memory. */
let tailLen: u32 = 0;

/** The header of the packet that was taken last, as it goes on: flags to csum_start, and csum_offset; 0: nothing is left to be done. */
let vnet: u64 = 0;
let vnetCsumOffset: u32 = 0;

/** True when a header (its first word: flags, gso_type) leaves something to be done. */
// @ts-ignore: decorator
@inline
function isUnfinished(word: u32): bool {
  return (word & VNET_NEEDS_CSUM) != 0 || word >> 8 != 0;
}

/**
 * Checks what a header asks for against what was negotiated and against the frame of `len` bytes, whose first SNAP_SIZE are at `data`. `rest`: the words
 * hdr_len, gso_size, csum_start, csum_offset. False with `dropReason`.
 */
function acceptOffload(vring: u32, data: u32, len: u32, word: u32, rest: u64): bool {
  dropReason = DROP_VHOST_RX_BAD_HEADER;
  const gsoType = word >> 8;
  const gsoSize = <u32>(rest >> 16) & 0xffff;
  const start = <u32>(rest >> 32) & 0xffff;
  const offset = <u32>(rest >> 48);
  if (!(word & VNET_NEEDS_CSUM) || offloadsOf(gsoType) & ~load<u32>(vring, VRING_OFFLOADS)) return false;
  if (!isInFrame(len, start, offset) || (<u32>rest & 0xffff) > len) return false;
  vnet = VNET_NEEDS_CSUM | (<u64>start << 48);
  vnetCsumOffset = offset;
  if (gsoType == 0) return true;
  if (!openSegments(data, len, gsoType, gsoSize, start, SEGMENT_MAX) || offset != checksumOffset()) return false;
  if (isTooSmall(gsoSize)) {
    dropReason = DROP_VHOST_RX_TOO_MANY_SEGMENTS;
    return false;
  }
  // Within the frame the driver's hdr_len is a hint only (5.1.6.2): from here on it is right.
  vnet |= ((<u64>gsoType) << 8) | (<u64>headers << 16) | (<u64>gsoSize << 32);
  return true;
}

/**
 * What the passes of `rx` note of a packet before it is copied, in the place of its key: the first descriptor as it was read once, where it
 * lies in the guest's memory, and the first word of the header.
 */
const NOTE_ADDR: u32 = PKT_KEY;
const NOTE_REST: u32 = PKT_KEY + 8;
const NOTE_AT: u32 = PKT_KEY + 16;
const NOTE_HEADER: u32 = PKT_KEY + 20;
const NOTE_TOUCH: u32 = PKT_KEY + 24;

/** Reads the heads of the chains. */
// @ts-ignore: decorator
@inline
function readHeads(vring: u32, lastAvail: u32, pkts: u32, count: u32): void {
  const mask = load<u32>(vring, VRING_SIZE) - 1;
  const ring = load<u32>(vring, VRING_AVAIL) + RING_ENTRIES;
  for (let i: u32 = 0; i < count; i++) {
    store<u32>(pkts + i * PKT__SIZE, gLoad16(ring + ((lastAvail + i) & mask) * 2), PKT_FLOW);
  }
}

/** Copies the first descriptor of each chain, once. A head outside the ring gets one that no check lets through. */
// @ts-ignore: decorator
@inline
function readDescs(vring: u32, pkts: u32, count: u32): void {
  const size = load<u32>(vring, VRING_SIZE);
  const table = load<u32>(vring, VRING_DESC);
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pkts + i * PKT__SIZE;
    const at = table + min(load<u32>(pkt, PKT_FLOW), size - 1) * 16;
    store<u64>(pkt, gLoad64(at), NOTE_ADDR);
    store<u64>(pkt, gLoad64(at + 8), NOTE_REST);
  }
}

/** Finds the buffers and touches them: the cache misses of a whole burst overlap. NOTE_AT stays NOWHERE for all but single buffers. */
// @ts-ignore: decorator
@inline
function touchBuffers(vring: u32, pkts: u32, count: u32): void {
  const regions = load<u32>(vring, VRING_REGIONS);
  const hdrSize = load<u32>(vring, VRING_HDR_SIZE);
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pkts + i * PKT__SIZE;
    const rest = load<u64>(pkt, NOTE_REST);
    const len = <u32>rest;
    let at = NOWHERE;
    if (!(<u32>(rest >> 32) & DESC_F_ANY) && len >= hdrSize + ETH_HEADER_SIZE) at = translate(regions, load<u64>(pkt, NOTE_ADDR), len);
    store<u32>(pkt, at, NOTE_AT);
    if (at == NOWHERE) continue;
    store<u32>(pkt, gLoad16(at), NOTE_HEADER);
    store<u32>(pkt, gLoad32(at + hdrSize), NOTE_TOUCH);
  }
}

/** Takes a frame that a chain of descriptors describes: the pieces behind the first SNAP_SIZE bytes are listed at `tail`, and copied when it is not big. */
function finishFrame(data: u32, len: u32, tail: u32, end: u32): void {
  if (len > FRAME_MAX) {
    tailLen = len - SNAP_SIZE;
    return;
  }
  let to = data + SNAP_SIZE;
  for (let piece = tail; piece != end; piece += 8) {
    const size = load<u32>(piece, 4);
    copyIn(to, load<u32>(piece), size);
    to += size;
  }
}

/** Any chain: gathers what follows the header, which may itself lie over several descriptors. Returns the frame's length or 0. */
function takeChain(vring: u32, data: u32, tail: u32): u32 {
  const regions = load<u32>(vring, VRING_REGIONS);
  let hdrLeft = load<u32>(vring, VRING_HDR_SIZE);
  let hdrWord: u32 = 0;
  let hdrRest: u64 = 0;
  let hdrSeen: u32 = 0;
  let len: u32 = 0;
  let piece = tail;
  for (;;) {
    let size = descLen;
    let at: u32 = 0;
    if (!(descFlags & DESC_F_WRITE)) at = size != 0 ? translate(regions, descAddr, size) : 0;
    else at = NOWHERE;
    if (at == NOWHERE) {
      dropReason = DROP_VHOST_RX_BAD_DESCRIPTOR;
      return 0;
    }
    while (hdrLeft != 0 && size != 0) {
      if (hdrSeen < 2) hdrWord |= gLoad8(at) << (8 * hdrSeen);
      else if (hdrSeen < HEADER_WORDS) hdrRest |= <u64>gLoad8(at) << (8 * (hdrSeen - 2));
      hdrSeen++;
      hdrLeft--;
      at++;
      size--;
    }
    if (size > BIG_FRAME_MAX - len) {
      dropReason = DROP_VHOST_RX_OVERSIZE;
      return 0;
    }
    if (len < SNAP_SIZE && size != 0) {
      const snap = min(size, SNAP_SIZE - len);
      copyIn(data + len, at, snap);
      len += snap;
      at += snap;
      size -= snap;
    }
    if (size != 0) {
      store<u32>(piece, at);
      store<u32>(piece, size, 4);
      piece += 8;
      len += size;
    }
    if (!(descFlags & DESC_F_NEXT)) break;
    if (!nextDesc(vring, descNext)) {
      dropReason = DROP_VHOST_RX_BAD_CHAIN;
      store<u32>(vring, VRING_BROKEN_CHAIN, VRING_BROKEN);
      return 0;
    }
  }
  if (hdrLeft != 0 || len < ETH_HEADER_SIZE) {
    dropReason = DROP_VHOST_RX_RUNT;
    return 0;
  }
  if (isUnfinished(hdrWord) && !acceptOffload(vring, data, len, hdrWord, hdrRest)) return 0;
  finishFrame(data, len, tail, piece);
  return len;
}

/** The same for a big frame in one descriptor, `at` in the guest's memory. */
function takeBigSingle(data: u32, at: u32, len: u32, tail: u32): u32 {
  if (len > BIG_FRAME_MAX) {
    dropReason = DROP_VHOST_RX_OVERSIZE;
    return 0;
  }
  copyIn(data, at, SNAP_SIZE);
  store<u32>(tail, at + SNAP_SIZE);
  store<u32>(tail, len - SNAP_SIZE, 4);
  tailLen = len - SNAP_SIZE;
  return len;
}

/** The same for a header that leaves something to be done. Each of its words is read once. */
function takeUnfinished(vring: u32, pkt: u32, data: u32, at: u32, len: u32, tail: u32): u32 {
  const rest = gLoad64(load<u32>(pkt, NOTE_AT) + 2);
  if (len > FRAME_MAX) {
    if (!takeBigSingle(data, at, len, tail)) return 0;
  } else {
    copyIn(data, at, len);
  }
  return acceptOffload(vring, data, len, load<u32>(pkt, NOTE_HEADER), rest) ? len : 0;
}

/** A chain of one descriptor that holds header and frame, as DPDK sends it. Returns the frame's length or 0. */
// @ts-ignore: decorator
@inline
function takeSingle(vring: u32, pkt: u32, data: u32, tail: u32): u32 {
  const hdrSize = load<u32>(vring, VRING_HDR_SIZE);
  const len = <u32>load<u64>(pkt, NOTE_REST) - hdrSize;
  const at = load<u32>(pkt, NOTE_AT) + hdrSize;
  if (isUnfinished(load<u32>(pkt, NOTE_HEADER))) return takeUnfinished(vring, pkt, data, at, len, tail);
  if (len > FRAME_MAX) return takeBigSingle(data, at, len, tail);
  copyIn(data, at, len);
  return len;
}

/**
 * Takes the packet of `pkt`, whose first descriptor was read: its frame to `data`, or the first SNAP_SIZE bytes of it and the list of its other pieces to
 * `tail`. Returns its length, or 0 with `dropReason`.
 */
// @ts-ignore: decorator
@inline
function takePacket(vring: u32, pkt: u32, data: u32, tail: u32): u32 {
  const head = load<u32>(pkt, PKT_FLOW);
  tailLen = 0;
  vnet = 0;
  if (head < load<u32>(vring, VRING_SIZE) && load<u32>(pkt, NOTE_AT) != NOWHERE) return takeSingle(vring, pkt, data, tail);
  if (openReadChain(vring, head, load<u64>(pkt, NOTE_ADDR), load<u64>(pkt, NOTE_REST))) return takeChain(vring, data, tail);
  dropReason = DROP_VHOST_RX_BAD_CHAIN;
  store<u32>(vring, VRING_BROKEN_CHAIN, VRING_BROKEN);
  return 0;
}

function countRxDrop(thread: u32, vring: u32): void {
  const stats = portStats(thread, vring);
  let counter = stats + PORT_STATS_RX_BAD_DESC;
  if (dropReason == DROP_VHOST_RX_OVERSIZE) counter = stats + PORT_STATS_RX_OVERSIZE;
  else if (dropReason == DROP_VHOST_RX_BAD_HEADER || dropReason == DROP_VHOST_RX_TOO_MANY_SEGMENTS) counter = stats + PORT_STATS_RX_BAD_HDR;
  const total = dropReason == DROP_VHOST_RX_RUNT ? PORT_STATS_RX_DROPPED : PORT_STATS_RX_ERRORS;
  countDrop(thread, dropReason, counter, stats + total);
}

/**
 * Takes up to BATCH_MAX packets that the guest sent on `vring` into the slots of `thread`; packet i gets PKT_DATA and PKT_LEN. Returns how many.
 * A big frame's tail stays where it is: then the guest gets none of the burst back before `release`, and THREAD_UNRELEASED says so. Packets that are refused are counted under their drop reason and given back to the guest.
 */
export function rx(thread: u32, vring: u32): u32 {
  if (!usable(vring)) return 0;
  let count = available(thread, vring);
  if (count == 0) return 0;
  if (count > BATCH_MAX) count = BATCH_MAX;
  const lastAvail = load<u32>(vring, VRING_LAST_AVAIL);
  const lastUsed = load<u32>(vring, VRING_LAST_USED);
  const pkts = ARENA_PKTS + thread * ARENA_PKTS_STRIDE;
  const slots = ARENA_SLOTS + thread * ARENA_SLOTS_STRIDE + PACKET_HEADROOM;
  const tails = ARENA_TAILS + thread * ARENA_TAILS_STRIDE;
  let unreleased: u32 = 0;
  readHeads(vring, lastAvail, pkts, count);
  readDescs(vring, pkts, count);
  touchBuffers(vring, pkts, count);
  let n: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const noted = pkts + i * PKT__SIZE;
    const head = load<u32>(noted, PKT_FLOW);
    const data = slots + n * SLOT__SIZE;
    const len = takePacket(vring, noted, data, tails + n * TAIL__SIZE);
    if (len == 0) {
      countRxDrop(thread, vring);
      if (load<u32>(vring, VRING_BROKEN)) {
        count = i;
        break;
      }
    } else {
      const pkt = pkts + n * PKT__SIZE;
      store<u32>(pkt, data, PKT_DATA);
      store<u32>(pkt, len, PKT_LEN);
      v128.store(pkt, v128.splat<u8>(0), PKT_VNET_FLAGS); // up to and with TAIL_LEN
      if (vnet) {
        store<u64>(pkt, vnet, PKT_VNET_FLAGS);
        store<u32>(pkt, vnetCsumOffset, PKT_VNET_CSUM_OFFSET);
      }
      if (tailLen) {
        store<u32>(pkt, tailLen, PKT_TAIL_LEN);
        store<u32>(pkt, tails + n * TAIL__SIZE, PKT_TAIL);
        store<u32>(pkt, load<u32>(vring, VRING_GUEST), PKT_TAIL_SLOT);
        unreleased = vring;
      }
      n++;
    }
    putUsed(vring, lastUsed + i, head, 0);
  }
  store<u32>(vring, (lastAvail + count) & 0xffff, VRING_LAST_AVAIL);
  store<u32>(vring, (lastUsed + count) & 0xffff, VRING_LAST_USED);
  if (unreleased) store<u32>(threadAt(thread), vring, THREAD_UNRELEASED);
  else publishUsed(thread, vring);
  return n;
}

/** Gives the buffers of the last burst back to the guest: its tails are not needed any more. */
export function release(thread: u32, vring: u32): u32 {
  publishUsed(thread, vring);
  return 0;
}

/** Copies the tail of `pkt` into the arena at `to`. Returns its size. */
export function pull(pkt: u32, to: u32): u32 {
  const size = load<u32>(pkt, PKT_TAIL_LEN);
  let left = size;
  for (let piece = load<u32>(pkt, PKT_TAIL); left != 0; piece += 8) {
    const part = min(load<u32>(piece, 4), left);
    copyIn(to, load<u32>(piece), part);
    to += part;
    left -= part;
  }
  return size;
}
