/**
 * The rings of a packet socket (TPACKET_V2, packet(7) and Linux' Documentation/networking/packet_mmap.rst): slots of one size, each with a status word that
 * says whose it is. One instance a thread: memory 0 is the arena, memory 1 holds the rings of all sockets, which the kernel shares with nobody but this
 * process. The same exports as src/fastpath/vring.ts, so that queues of both kinds stand in one function table.
 *
 * ```
 * slot, from the kernel: | status len snaplen mac net sec nsec vlan_tci vlan_tpid | … | virtio_net_hdr (10) | frame (snaplen) |
 *                        0    4   8       12  14  16  20   24       26                  mac − 10              mac
 * slot, to the kernel:   | status len … | virtio_net_hdr (10) | frame |
 *                        0    4          32                    42
 * ```
 * A tap's slots have the same form; there the thread's TypeScript reads and writes the tap. The slots of devices that are nothing but memory
 * (VRING_F_*) have the form for both ways.
 */
import {
  ARENA_SLOTS,
  ARENA_SLOTS_STRIDE,
  BATCH_MAX,
  DROP_SOCKET_RX_BAD_FRAME,
  DROP_SOCKET_RX_BAD_OFFLOAD,
  DROP_SOCKET_RX_OVERSIZE,
  DROP_SOCKET_RX_RUNT,
  DROP_SOCKET_TX_NOT_READY,
  DROP_SOCKET_TX_OVERSIZE,
  DROP_SOCKET_TX_RING_FULL,
  FRAME_MAX,
  PACKET_HEADROOM,
  PKT_CUT,
  PKT_DATA,
  PKT_LEN,
  SLOT__SIZE,
  VRING_DESC,
  VRING_F_ENDLESS,
  VRING_F_LOOP,
  VRING_F_SINK,
  VRING_FLAGS,
  VRING_FRAME_SIZE,
  VRING_LAST_AVAIL,
  VRING_SEG_NEXT,
  VRING_SIZE,
} from './gen/arena';
import { completeChecksum } from './full-checksum';
import { copyIn, copyOut, gAtomicLoad32, gAtomicStore32, gLoad16, gLoad32, gStore16, gStore32, gStore64 } from './guest';
import { appendSegment, closeFrame, forgetOpen, isOpen, mergedLength, openFrame } from './merge';
import { cutSize, finishSegment, HEADERS_MAX, headers, openSegments, segmentPayload, segmentsDone } from './segment';
import { completeSctp, countRxDrop, countSent, countTxDrops, keep, SCTP_CRC_AT, usable, wantCall } from './socket-ring';

const STATUS_USER: u32 = 1;
const STATUS_VLAN_VALID: u32 = 1 << 4;
const STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
const STATUS_SEND_REQUEST: u32 = 1;
const STATUS_WRONG_FORMAT: u32 = 4;

const SLOT_LEN: u32 = 4;
const SLOT_SNAPLEN: u32 = 8;
const SLOT_MAC: u32 = 12;
const SLOT_VLAN_TCI: u32 = 24;
const SLOT_VLAN_TPID: u32 = 26;
/** sizeof(struct tpacket2_hdr); what is sent follows it. */
const SLOT_HEADER: u32 = 32;
const VNET_SIZE: u32 = 10;

const VNET_NEEDS_CSUM: u32 = 1;
const ETH_HEADER_SIZE: u32 = 14;
const ETH_ADDRESSES: u32 = 12;
const VLAN_SIZE: u32 = 4;
const ETH_TYPE_VLAN: u32 = 0x8100;

/** The frame of the slot that is read. Each word of the slot is read once. */
let frame: u32 = 0;
let frameLen: u32 = 0;
/** The tag that the kernel took out, as it lies in a frame; 0 when there was none. */
let tag: u32 = 0;
let vnetFlags: u32 = 0;
let gsoType: u32 = 0;
let gsoSize: u32 = 0;
let csumStart: u32 = 0;
let csumOffset: u32 = 0;
/** Why the frame was not taken. */
let dropReason: u32 = 0;

// @ts-ignore: decorator
@inline
function slotAt(ring: u32, i: u32): u32 {
  return load<u32>(ring, VRING_DESC) + i * load<u32>(ring, VRING_FRAME_SIZE);
}

// @ts-ignore: decorator
@inline
function next(ring: u32, i: u32): u32 {
  i++;
  return i == load<u32>(ring, VRING_SIZE) ? 0 : i;
}

/** Reads what a slot says of its frame. False with `dropReason` when that cannot be. */
function openSlot(ring: u32, slot: u32, status: u32): bool {
  const len = gLoad32(slot + SLOT_LEN);
  const snaplen = gLoad32(slot + SLOT_SNAPLEN);
  const mac = gLoad16(slot + SLOT_MAC);
  const size = load<u32>(ring, VRING_FRAME_SIZE);
  dropReason = DROP_SOCKET_RX_BAD_FRAME;
  if (mac < SLOT_HEADER + VNET_SIZE || mac > size || snaplen > size - mac) return false;
  dropReason = DROP_SOCKET_RX_OVERSIZE;
  if (snaplen != len) return false;
  dropReason = DROP_SOCKET_RX_RUNT;
  if (len < ETH_HEADER_SIZE) return false;
  frame = slot + mac;
  frameLen = len;
  tag = 0;
  if (status & STATUS_VLAN_VALID) {
    const tpid = status & STATUS_VLAN_TPID_VALID ? gLoad16(slot + SLOT_VLAN_TPID) : ETH_TYPE_VLAN;
    tag = bswap<u32>((tpid << 16) | gLoad16(slot + SLOT_VLAN_TCI));
  }
  const vnet = frame - VNET_SIZE;
  const kinds = gLoad16(vnet);
  vnetFlags = kinds & 0xff;
  gsoType = kinds >> 8;
  gsoSize = gLoad16(vnet + 4);
  csumStart = gLoad16(vnet + 6);
  csumOffset = gLoad16(vnet + 8);
  return true;
}

/** Puts the tag into the frame of `len` bytes at `data`. Returns its new length. */
// @ts-ignore: decorator
@inline
function putTag(data: u32, len: u32): u32 {
  memory.copy(data + ETH_ADDRESSES + VLAN_SIZE, data + ETH_ADDRESSES, len - ETH_ADDRESSES);
  store<u32>(data + ETH_ADDRESSES, tag);
  return len + VLAN_SIZE;
}

/** Copies the frame with its tag. */
// @ts-ignore: decorator
@inline
function copyFrame(data: u32): u32 {
  if (!tag) {
    copyIn(data, frame, frameLen);
    return frameLen;
  }
  copyIn(data, frame, ETH_ADDRESSES);
  store<u32>(data + ETH_ADDRESSES, tag);
  copyIn(data + ETH_ADDRESSES + VLAN_SIZE, frame + ETH_ADDRESSES, frameLen - ETH_ADDRESSES);
  return frameLen + VLAN_SIZE;
}

/** Takes the whole frame into the slot `data`. Returns its length, or 0 with `dropReason`. */
// @ts-ignore: decorator
@inline
function takeWhole(data: u32): u32 {
  const room = tag ? FRAME_MAX - VLAN_SIZE : FRAME_MAX;
  dropReason = DROP_SOCKET_RX_OVERSIZE;
  if (frameLen > room) return 0;
  const len = copyFrame(data);
  if (vnetFlags & VNET_NEEDS_CSUM) {
    dropReason = DROP_SOCKET_RX_BAD_OFFLOAD;
    const start = csumStart + (tag ? VLAN_SIZE : 0);
    const isSctp = csumOffset == SCTP_CRC_AT;
    if (csumStart < ETH_HEADER_SIZE || start + csumOffset + (isSctp ? 4 : 2) > len) return 0;
    if (isSctp) completeSctp(data + start, len - start);
    else completeChecksum(data, len, start, csumOffset);
  }
  return len;
}

/** Looks at the headers of a frame that is to be cut; the slot `data` is free. False when it can't be. */
function openUncut(data: u32): bool {
  copyIn(data, frame, min(frameLen, HEADERS_MAX));
  return openSegments(data, frameLen, gsoType, gsoSize, csumStart, tag ? FRAME_MAX - VLAN_SIZE : FRAME_MAX);
}

/** Makes segments of the open frame from packet `n` on, as many as the batch has room for; SEG_NEXT tells where to go on. Returns the number of packets. */
function takeSegments(thread: u32, ring: u32, slots: u32, n: u32): u32 {
  let at = load<u32>(ring, VRING_SEG_NEXT);
  while (n < BATCH_MAX && !segmentsDone(at)) {
    const data = slots + n * SLOT__SIZE;
    copyIn(data, frame, headers);
    copyIn(data + headers, frame + headers + at, segmentPayload(at));
    let len = finishSegment(data, at);
    if (tag) len = putTag(data, len);
    store<u16>(keep(thread, n, data, len), <u16>cutSize(), PKT_CUT);
    at += segmentPayload(at);
    n++;
  }
  store<u32>(ring, segmentsDone(at) ? 0 : at, VRING_SEG_NEXT);
  return n;
}

/**
 * Takes up to BATCH_MAX packets from the socket into the slots of `thread`; packet i gets PKT_DATA and PKT_LEN. Returns how many. Frames that are refused are
 * counted under their drop reason.
 */
export function rx(thread: u32, ring: u32): u32 {
  if (!usable(ring)) return 0;
  const slots = ARENA_SLOTS + thread * ARENA_SLOTS_STRIDE + PACKET_HEADROOM;
  let i = load<u32>(ring, VRING_LAST_AVAIL);
  let n: u32 = 0;
  // A ring of frames that are all refused does not hold the thread for ever.
  for (let seen: u32 = 0; n < BATCH_MAX && seen < BATCH_MAX; seen++) {
    const slot = slotAt(ring, i);
    const status = gAtomicLoad32(slot);
    if (!(status & STATUS_USER)) break;
    const data = slots + n * SLOT__SIZE;
    if (!openSlot(ring, slot, status)) {
      store<u32>(ring, 0, VRING_SEG_NEXT);
      countRxDrop(thread, ring, dropReason);
    } else if (gsoType == 0) {
      const len = takeWhole(data);
      if (len == 0) countRxDrop(thread, ring, dropReason);
      else keep(thread, n++, data, len);
    } else if (!openUncut(data)) {
      store<u32>(ring, 0, VRING_SEG_NEXT);
      dropReason = DROP_SOCKET_RX_BAD_OFFLOAD;
      countRxDrop(thread, ring, dropReason);
    } else {
      n = takeSegments(thread, ring, slots, n);
      if (load<u32>(ring, VRING_SEG_NEXT)) break;
    }
    if (!(load<u32>(ring, VRING_FLAGS) & VRING_F_ENDLESS)) gAtomicStore32(slot, 0);
    i = next(ring, i);
  }
  store<u32>(ring, i, VRING_LAST_AVAIL);
  return n;
}

/** Fills a slot. hdr_len says that all of the frame shall lie in the packet's linear part. */
// @ts-ignore: decorator
@inline
function putFrame(ring: u32, slot: u32, data: u32, len: u32): void {
  if (load<u32>(ring, VRING_FLAGS) & VRING_F_LOOP) {
    gStore32(slot + SLOT_LEN, len);
    gStore32(slot + SLOT_SNAPLEN, len);
    gStore16(slot + SLOT_MAC, SLOT_HEADER + VNET_SIZE);
  } else {
    gStore32(slot + SLOT_LEN, len + VNET_SIZE);
  }
  gStore64(slot + SLOT_HEADER, <u64>min<u32>(len, 0xffff) << 16);
  gStore16(slot + SLOT_HEADER + 8, 0);
  copyOut(slot + SLOT_HEADER + VNET_SIZE, data, len);
}

/** The kernel takes it at the thread's next send(2). */
// @ts-ignore: decorator
@inline
function publish(slot: u32): void {
  gAtomicStore32(slot, STATUS_SEND_REQUEST);
}

/** Closes the frame that is open, in the slot. */
function finish(slot: u32): void {
  gStore32(slot + SLOT_LEN, mergedLength() + VNET_SIZE);
  closeFrame(slot + SLOT_HEADER);
  publish(slot);
}

/**
 * Puts the `n` packets whose PKT offsets stand at `list` into the socket's ring. Returns how many it took; the others are counted as dropped. The caller
 * holds the ring's lock where several threads may send.
 */
export function tx(thread: u32, ring: u32, list: u32, n: u32): u32 {
  if (!usable(ring)) {
    countTxDrops(thread, ring, DROP_SOCKET_TX_NOT_READY, n);
    return 0;
  }
  const longest = load<u32>(ring, VRING_FRAME_SIZE) - SLOT_HEADER - VNET_SIZE;
  let i = load<u32>(ring, VRING_LAST_AVAIL);
  const flags = load<u32>(ring, VRING_FLAGS);
  let slot: u32 = 0;
  let sent: u32 = 0;
  let bytes: u64 = 0;
  forgetOpen();
  for (let done: u32 = 0; done < n; done++) {
    const pkt = load<u32>(list + done * 4);
    const len = load<u32>(pkt, PKT_LEN);
    if (len > longest) {
      countTxDrops(thread, ring, DROP_SOCKET_TX_OVERSIZE, 1);
      continue;
    }
    if (flags & VRING_F_SINK || (isOpen() && appendSegment(pkt, longest))) {
      sent++;
      bytes += len;
      continue;
    }
    if (isOpen()) finish(slot);
    slot = slotAt(ring, i);
    const status = gAtomicLoad32(slot);
    if (status != 0 && status != STATUS_WRONG_FORMAT) {
      countTxDrops(thread, ring, DROP_SOCKET_TX_RING_FULL, n - done);
      break;
    }
    putFrame(ring, slot, load<u32>(pkt, PKT_DATA), len);
    if (flags || !openFrame(pkt, slot + SLOT_HEADER + VNET_SIZE)) publish(slot);
    i = next(ring, i);
    sent++;
    bytes += len;
  }
  if (isOpen()) finish(slot);
  store<u32>(ring, i, VRING_LAST_AVAIL);
  countSent(thread, ring, sent, bytes);
  wantCall(thread, ring);
  return sent;
}

/** 1 when a frame waits. */
export function pending(ring: u32): u32 {
  return usable(ring) && gAtomicLoad32(slotAt(ring, load<u32>(ring, VRING_LAST_AVAIL))) & STATUS_USER ? 1 : 0;
}

/** The kernel wakes whoever waits for the socket; there is nothing to turn on. */
export function setNotify(_ring: u32, _on: u32): void {}

export function startRing(_ring: u32): void {}
