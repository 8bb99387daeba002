/**
 * The split ring of a guest, seen from the device (virtio 1.1, section 2.6). One instance a guest and thread: memory 0 is the arena, memory 1 the
 * guest's. `rx` takes what the guest transmits, `tx` fills what the guest receives.
 *
 * Nothing that a guest writes is believed: each 16-byte descriptor is copied once and the copy is checked, every range is checked against
 * the region table before it is touched, chains end at the ring's size, and nothing here reads or writes outside the guest's memory and the
 * thread's own slots.
 */
import {
  ARENA_PKTS,
  ARENA_PKTS_STRIDE,
  ARENA_PORT_STATS,
  ARENA_PORT_STATS_STRIDE,
  ARENA_SLOTS,
  ARENA_SLOTS_STRIDE,
  ARENA_THREADS,
  BATCH_MAX,
  DROP_VHOST_BAD_INDEX,
  DROP_VHOST_RX_BAD_CHAIN,
  DROP_VHOST_RX_BAD_DESCRIPTOR,
  DROP_VHOST_RX_BAD_HEADER,
  DROP_VHOST_RX_OVERSIZE,
  DROP_VHOST_RX_RUNT,
  DROP_VHOST_TX_BAD_DESCRIPTOR,
  DROP_VHOST_TX_NOT_READY,
  DROP_VHOST_TX_OVERSIZE,
  DROP_VHOST_TX_RING_FULL,
  FRAME_MAX,
  PACKET_HEADROOM,
  PKT__SIZE,
  PKT_DATA,
  PKT_FLOW,
  PKT_KEY,
  PKT_LEN,
  PKT_VNET_FLAGS,
  PORT_STATS__SIZE,
  PORT_STATS_RX_BAD_DESC,
  PORT_STATS_RX_BAD_HDR,
  PORT_STATS_RX_DROPPED,
  PORT_STATS_RX_ERRORS,
  PORT_STATS_RX_OVERSIZE,
  PORT_STATS_TX_BAD,
  PORT_STATS_TX_BYTES,
  PORT_STATS_TX_DROPPED,
  PORT_STATS_TX_PACKETS,
  PORT_STATS_TX_RING_FULL,
  REGION__SIZE,
  REGION_GPA,
  REGION_OFFSET,
  REGION_SIZE,
  REGION_TABLE_COUNT,
  REGION_TABLE_ENTRIES,
  SLOT__SIZE,
  THREAD__SIZE,
  THREAD_CALLS_PENDING,
  THREAD_DROPS,
  VRING_AVAIL,
  VRING_BROKEN,
  VRING_BROKEN_CHAIN,
  VRING_BROKEN_INDEX,
  VRING_CALL_PENDING,
  VRING_DESC,
  VRING_F_INDIRECT,
  VRING_F_MRG_RXBUF,
  VRING_FLAGS,
  VRING_HDR_SIZE,
  VRING_LAST_AVAIL,
  VRING_LAST_USED,
  VRING_PORT,
  VRING_REGIONS,
  VRING_SIZE,
  VRING_STARTED,
  VRING_USED,
} from './gen/arena';
import {
  copyIn,
  copyOut,
  gAtomicLoad16,
  gAtomicStore16,
  gLoad8,
  gLoad16,
  gLoad32,
  gLoad64,
  gStore8,
  gStore16,
  gStore32,
  gStore64,
} from './guest';

const DESC_F_NEXT: u32 = 1;
const DESC_F_WRITE: u32 = 2;
const DESC_F_INDIRECT: u32 = 4;
const DESC_F_ANY: u32 = 7;
const AVAIL_F_NO_INTERRUPT: u32 = 1;
const USED_F_NO_NOTIFY: u32 = 1;
/** The ring indices follow two 16-bit words, flags and idx. */
const RING_ENTRIES: u32 = 4;
const NOWHERE: u32 = 0xffffffff;
const ETH_HEADER_SIZE: u32 = 14;
/** Descriptors of one packet; Linux uses up to 19, DPDK's vhost library takes 256. */
const DESCS_MAX: u32 = 256;

const VIRTIO_NET_HDR_F_NEEDS_CSUM: u32 = 1;
/** num_buffers = 1 behind csum_offset = 0, as one word at offset 8 of the header. */
const ONE_BUFFER: u32 = 1 << 16;

/** The chain that is walked: where its table is, which entry comes next. */
let table: u32 = 0;
let tableSize: u32 = 0;
let inIndirect: bool = false;
let walked: u32 = 0;
/** Descriptors that the packet may still take: long chains of empty buffers would cost the other guests the thread's time. */
let descsLeft: u32 = 0;
/** The descriptor that `nextDesc` copied. */
let descAddr: u64 = 0;
let descLen: u32 = 0;
let descFlags: u32 = 0;
let descNext: u32 = 0;
/** Why the last packet was not taken. */
let dropReason: u32 = 0;

// @ts-ignore: decorator
@inline
function threadAt(thread: u32): u32 {
  return ARENA_THREADS + thread * THREAD__SIZE;
}

// @ts-ignore: decorator
@inline
function portStats(thread: u32, vring: u32): u32 {
  return ARENA_PORT_STATS + thread * ARENA_PORT_STATS_STRIDE + load<u32>(vring, VRING_PORT) * PORT_STATS__SIZE;
}

// @ts-ignore: decorator
@inline
function bump(counter: u32, by: u64): void {
  store<u64>(counter, load<u64>(counter) + by);
}

function countDrop(thread: u32, reason: u32, counter: u32, total: u32): void {
  bump(threadAt(thread) + THREAD_DROPS + reason * 8, 1);
  bump(counter, 1);
  bump(total, 1);
}

/** Offset in the guest's memory of `[gpa, gpa + size)`, or NOWHERE when that is not inside one region. */
function translate(regions: u32, gpa: u64, size: u32): u32 {
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
function startChain(vring: u32): void {
  table = load<u32>(vring, VRING_DESC);
  tableSize = load<u32>(vring, VRING_SIZE);
  inIndirect = false;
  walked = 0;
}

/** The fields of a descriptor that was read as two words. */
// @ts-ignore: decorator
@inline
function splitDesc(addr: u64, rest: u64): void {
  descAddr = addr;
  descLen = <u32>rest;
  descFlags = <u32>(rest >> 32) & 0xffff;
  descNext = <u32>(rest >> 48);
}

/** Copies descriptor `index` of the current table once, entering an indirect table. False when the chain is impossible. */
function nextDesc(vring: u32, index: u32): bool {
  if (index >= tableSize || walked >= tableSize || descsLeft == 0) return false;
  walked++;
  descsLeft--;
  const at = table + index * 16;
  splitDesc(gLoad64(at), gLoad64(at + 8));
  return descFlags & DESC_F_INDIRECT ? enterIndirect(vring) : true;
}

/** Goes on in the indirect table of the current descriptor: not nested, not chained, a whole number of descriptors, no longer than the ring. */
function enterIndirect(vring: u32): bool {
  if (inIndirect || !(load<u32>(vring, VRING_FLAGS) & VRING_F_INDIRECT)) return false;
  if (descFlags & DESC_F_NEXT || descLen == 0 || descLen & 15) return false;
  const count = descLen >> 4;
  if (count > load<u32>(vring, VRING_SIZE)) return false;
  const at = translate(load<u32>(vring, VRING_REGIONS), descAddr, descLen);
  if (at == NOWHERE) return false;
  table = at;
  tableSize = count;
  inIndirect = true;
  walked = 0;
  return nextDesc(vring, 0);
}

// @ts-ignore: decorator
@inline
function indexDistance(vring: u32): u32 {
  return (gAtomicLoad16(load<u32>(vring, VRING_AVAIL) + 2) - load<u32>(vring, VRING_LAST_AVAIL)) & 0xffff;
}

/** Entries between the guest's index and ours; 0 when the guest's index is impossible: the ring is then marked broken, which is counted. */
function available(thread: u32, vring: u32): u32 {
  const count = indexDistance(vring);
  if (count <= load<u32>(vring, VRING_SIZE)) return count;
  store<u32>(vring, VRING_BROKEN_INDEX, VRING_BROKEN);
  bump(threadAt(thread) + THREAD_DROPS + DROP_VHOST_BAD_INDEX * 8, 1);
  return 0;
}

// @ts-ignore: decorator
@inline
function usable(vring: u32): bool {
  return atomic.load<u32>(vring, VRING_STARTED) != 0 && load<u32>(vring, VRING_BROKEN) == 0;
}

/** Makes the used entries up to `lastUsed` visible and notes when the guest wants an interrupt. */
function publishUsed(thread: u32, vring: u32, lastUsed: u32): void {
  store<u32>(vring, lastUsed & 0xffff, VRING_LAST_USED);
  gAtomicStore16(load<u32>(vring, VRING_USED) + 2, lastUsed & 0xffff);
  if (gAtomicLoad16(load<u32>(vring, VRING_AVAIL)) & AVAIL_F_NO_INTERRUPT) return;
  store<u32>(vring, 1, VRING_CALL_PENDING);
  store<u32>(threadAt(thread), 1, THREAD_CALLS_PENDING);
}

// @ts-ignore: decorator
@inline
function putUsed(vring: u32, lastUsed: u32, head: u32, written: u32): void {
  const at = load<u32>(vring, VRING_USED) + RING_ENTRIES + (lastUsed & (load<u32>(vring, VRING_SIZE) - 1)) * 8;
  gStore64(at, <u64>head | (<u64>written << 32));
}

/** No offload is negotiated, so a header that asks for one (its first word: flags, gso_type) is wrong. */
// @ts-ignore: decorator
@inline
function badHeader(word: u32): bool {
  return (word & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0 || word >> 8 != 0;
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

/** Any chain: gathers what follows the header, which may itself lie over several descriptors. Returns the frame's length or 0. */
function takeChain(vring: u32, data: u32): u32 {
  const regions = load<u32>(vring, VRING_REGIONS);
  let hdrLeft = load<u32>(vring, VRING_HDR_SIZE);
  let hdrWord: u32 = 0;
  let hdrSeen: u32 = 0;
  let len: u32 = 0;
  for (;;) {
    if (descFlags & DESC_F_WRITE) {
      dropReason = DROP_VHOST_RX_BAD_DESCRIPTOR;
      return 0;
    }
    let size = descLen;
    let at: u32 = 0;
    if (size != 0) {
      at = translate(regions, descAddr, size);
      if (at == NOWHERE) {
        dropReason = DROP_VHOST_RX_BAD_DESCRIPTOR;
        return 0;
      }
    }
    while (hdrLeft != 0 && size != 0) {
      if (hdrSeen < 2) hdrWord |= gLoad8(at) << (8 * hdrSeen);
      hdrSeen++;
      hdrLeft--;
      at++;
      size--;
    }
    if (len + size > FRAME_MAX || len + size < len) {
      dropReason = DROP_VHOST_RX_OVERSIZE;
      return 0;
    }
    if (size != 0) copyIn(data + len, at, size);
    len += size;
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
  if (badHeader(hdrWord)) {
    dropReason = DROP_VHOST_RX_BAD_HEADER;
    return 0;
  }
  return len;
}

/** A chain of one descriptor that holds header and frame, as DPDK sends it. Returns the frame's length or 0. */
// @ts-ignore: decorator
@inline
function takeSingle(vring: u32, pkt: u32, data: u32): u32 {
  const hdrSize = load<u32>(vring, VRING_HDR_SIZE);
  const len = <u32>load<u64>(pkt, NOTE_REST) - hdrSize;
  if (len > FRAME_MAX) {
    dropReason = DROP_VHOST_RX_OVERSIZE;
    return 0;
  }
  if (badHeader(load<u32>(pkt, NOTE_HEADER))) {
    dropReason = DROP_VHOST_RX_BAD_HEADER;
    return 0;
  }
  copyIn(data, load<u32>(pkt, NOTE_AT) + hdrSize, len);
  return len;
}

/** Starts a chain at the descriptor that was read for `pkt`. */
function openChain(vring: u32, pkt: u32): bool {
  startChain(vring);
  if (load<u32>(pkt, PKT_FLOW) >= tableSize) return false;
  walked = 1;
  descsLeft = DESCS_MAX - 1;
  splitDesc(load<u64>(pkt, NOTE_ADDR), load<u64>(pkt, NOTE_REST));
  return descFlags & DESC_F_INDIRECT ? enterIndirect(vring) : true;
}

/** Takes the packet of `pkt`, whose first descriptor was read, into `data`. Returns its length, or 0 with `dropReason`. */
// @ts-ignore: decorator
@inline
function takePacket(vring: u32, pkt: u32, data: u32): u32 {
  const inRing = load<u32>(pkt, PKT_FLOW) < load<u32>(vring, VRING_SIZE);
  if (inRing && load<u32>(pkt, NOTE_AT) != NOWHERE) return takeSingle(vring, pkt, data);
  if (openChain(vring, pkt)) return takeChain(vring, data);
  dropReason = DROP_VHOST_RX_BAD_CHAIN;
  store<u32>(vring, VRING_BROKEN_CHAIN, VRING_BROKEN);
  return 0;
}

function countRxDrop(thread: u32, vring: u32): void {
  const stats = portStats(thread, vring);
  let counter = stats + PORT_STATS_RX_BAD_DESC;
  if (dropReason == DROP_VHOST_RX_OVERSIZE) counter = stats + PORT_STATS_RX_OVERSIZE;
  else if (dropReason == DROP_VHOST_RX_BAD_HEADER) counter = stats + PORT_STATS_RX_BAD_HDR;
  const total = dropReason == DROP_VHOST_RX_RUNT ? PORT_STATS_RX_DROPPED : PORT_STATS_RX_ERRORS;
  countDrop(thread, dropReason, counter, stats + total);
}

/**
 * Takes up to BATCH_MAX packets that the guest sent on `vring` into the slots of `thread`; packet i gets PKT_DATA and PKT_LEN. Returns how many.
 * Packets that are refused are counted under their drop reason and given back to the guest.
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
  readHeads(vring, lastAvail, pkts, count);
  readDescs(vring, pkts, count);
  touchBuffers(vring, pkts, count);
  let n: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const noted = pkts + i * PKT__SIZE;
    const head = load<u32>(noted, PKT_FLOW);
    const data = slots + n * SLOT__SIZE;
    const len = takePacket(vring, noted, data);
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
      n++;
    }
    putUsed(vring, lastUsed + i, head, 0);
  }
  store<u32>(vring, (lastAvail + count) & 0xffff, VRING_LAST_AVAIL);
  publishUsed(thread, vring, lastUsed + count);
  return n;
}

/** State of the packet that is being put into the guest's buffers. */
let txHead: u32 = 0;
let txAvailLeft: u32 = 0;
let txAvail: u32 = 0;
let txUsed: u32 = 0;
let txBuffers: u32 = 0;
let txWritten: u32 = 0;
let txHdrAt: u32 = 0;

/** Takes the next chain of the guest's receive ring. False when there is none or it is impossible. */
function openBuffer(vring: u32): bool {
  if (txAvailLeft == 0) {
    dropReason = DROP_VHOST_TX_RING_FULL;
    return false;
  }
  if (descsLeft == 0) {
    dropReason = DROP_VHOST_TX_OVERSIZE;
    return false;
  }
  const mask = load<u32>(vring, VRING_SIZE) - 1;
  txHead = gLoad16(load<u32>(vring, VRING_AVAIL) + RING_ENTRIES + (txAvail & mask) * 2);
  txAvail++;
  txAvailLeft--;
  txBuffers++;
  txWritten = 0;
  startChain(vring);
  if (nextDesc(vring, txHead)) return true;
  store<u32>(vring, VRING_BROKEN_CHAIN, VRING_BROKEN);
  dropReason = DROP_VHOST_TX_BAD_DESCRIPTOR;
  return false;
}

/** Goes to the next descriptor, or with mergeable buffers to the next chain, whose predecessor is then used up. */
function advance(vring: u32): bool {
  if (descFlags & DESC_F_NEXT) {
    if (nextDesc(vring, descNext)) return true;
    store<u32>(vring, VRING_BROKEN_CHAIN, VRING_BROKEN);
    dropReason = DROP_VHOST_TX_BAD_DESCRIPTOR;
    return false;
  }
  if (!(load<u32>(vring, VRING_FLAGS) & VRING_F_MRG_RXBUF)) {
    dropReason = DROP_VHOST_TX_OVERSIZE;
    return false;
  }
  putUsed(vring, txUsed++, txHead, txWritten);
  return openBuffer(vring);
}

/** Where the current descriptor's bytes are, checked to be writable; NOWHERE otherwise. */
// @ts-ignore: decorator
@inline
function writableDesc(vring: u32): u32 {
  if (!(descFlags & DESC_F_WRITE)) return NOWHERE;
  return translate(load<u32>(vring, VRING_REGIONS), descAddr, descLen);
}

/** Puts one frame into the guest's buffers; false with `dropReason` when it does not fit. */
function putPacket(vring: u32, data: u32, len: u32): bool {
  txBuffers = 0;
  descsLeft = DESCS_MAX;
  if (!openBuffer(vring)) return false;
  const hdrSize = load<u32>(vring, VRING_HDR_SIZE);
  let at = writableDesc(vring);
  if (at == NOWHERE || descLen < hdrSize) {
    dropReason = DROP_VHOST_TX_BAD_DESCRIPTOR;
    return false;
  }
  txHdrAt = at;
  gStore64(at, 0);
  gStore16(at + 8, 0);
  let room = descLen - hdrSize;
  at += hdrSize;
  txWritten = hdrSize;
  for (;;) {
    const size = min(room, len);
    if (size != 0) copyOut(at, data, size);
    txWritten += size;
    len -= size;
    if (len == 0) break;
    data += size;
    if (!advance(vring)) return false;
    at = writableDesc(vring);
    room = descLen;
    if (at == NOWHERE) {
      dropReason = DROP_VHOST_TX_BAD_DESCRIPTOR;
      return false;
    }
  }
  if (hdrSize == 12) gStore16(txHdrAt + 10, txBuffers);
  putUsed(vring, txUsed++, txHead, txWritten);
  return true;
}

/** Puts a frame into a buffer of one writable descriptor, which is what guests post. False when the next chain is another; nothing is done then. */
// @ts-ignore: decorator
@inline
function putSingle(vring: u32, hdrSize: u32, data: u32, len: u32): bool {
  const size = load<u32>(vring, VRING_SIZE);
  const head = gLoad16(load<u32>(vring, VRING_AVAIL) + RING_ENTRIES + (txAvail & (size - 1)) * 2);
  if (head >= size) return false;
  const desc = load<u32>(vring, VRING_DESC) + head * 16;
  const addr = gLoad64(desc);
  const rest = gLoad64(desc + 8);
  const room = <u32>rest;
  if ((<u32>(rest >> 32) & DESC_F_ANY) != DESC_F_WRITE || room < hdrSize + len) return false;
  const at = translate(load<u32>(vring, VRING_REGIONS), addr, room);
  if (at == NOWHERE) return false;
  gStore64(at, 0);
  if (hdrSize == 12) gStore32(at + 8, ONE_BUFFER);
  else gStore16(at + 8, 0);
  copyOut(at + hdrSize, data, len);
  putUsed(vring, txUsed, head, hdrSize + len);
  txUsed++;
  txAvail++;
  txAvailLeft--;
  return true;
}

function countTxDrops(thread: u32, vring: u32, count: u32): void {
  const stats = portStats(thread, vring);
  const full = dropReason == DROP_VHOST_TX_RING_FULL || dropReason == DROP_VHOST_TX_NOT_READY;
  bump(threadAt(thread) + THREAD_DROPS + dropReason * 8, count);
  bump(stats + (full ? PORT_STATS_TX_RING_FULL : PORT_STATS_TX_BAD), count);
  bump(stats + PORT_STATS_TX_DROPPED, count);
}

/**
 * Puts the `n` packets whose PKT offsets stand at `list` into the guest's receive ring. Returns how many it took; the others are counted as
 * dropped. The caller holds the ring's lock where several threads may send.
 */
export function tx(thread: u32, vring: u32, list: u32, n: u32): u32 {
  txAvailLeft = usable(vring) ? available(thread, vring) : 0;
  if (!usable(vring)) {
    dropReason = DROP_VHOST_TX_NOT_READY;
    countTxDrops(thread, vring, n);
    return 0;
  }
  const lastUsed = load<u32>(vring, VRING_LAST_USED);
  txAvail = load<u32>(vring, VRING_LAST_AVAIL);
  txUsed = lastUsed;
  const hdrSize = load<u32>(vring, VRING_HDR_SIZE);
  let done: u32 = 0;
  let sent: u32 = 0;
  let bytes: u64 = 0;
  for (; done < n; done++) {
    const pkt = load<u32>(list + done * 4);
    const len = load<u32>(pkt, PKT_LEN);
    if (txAvailLeft != 0 && putSingle(vring, hdrSize, load<u32>(pkt, PKT_DATA), len)) {
      sent++;
      bytes += len;
      continue;
    }
    const avail = txAvail;
    const left = txAvailLeft;
    const used = txUsed;
    if (putPacket(vring, load<u32>(pkt, PKT_DATA), len)) {
      sent++;
      bytes += len;
      continue;
    }
    // Buffers that were opened for this packet stay the guest's.
    txAvail = avail;
    txAvailLeft = left;
    txUsed = used;
    if (dropReason == DROP_VHOST_TX_RING_FULL || load<u32>(vring, VRING_BROKEN)) break;
    countTxDrops(thread, vring, 1);
    skipBuffer(vring);
  }
  if (done < n) countTxDrops(thread, vring, n - done);
  const stats = portStats(thread, vring);
  bump(stats + PORT_STATS_TX_PACKETS, sent);
  bump(stats + PORT_STATS_TX_BYTES, bytes);
  if (txUsed != lastUsed) {
    store<u32>(vring, txAvail & 0xffff, VRING_LAST_AVAIL);
    publishUsed(thread, vring, txUsed);
  }
  return sent;
}

/** Gives the next buffer back unused, so that one bad buffer does not stop the ring. */
function skipBuffer(vring: u32): void {
  const mask = load<u32>(vring, VRING_SIZE) - 1;
  const head = gLoad16(load<u32>(vring, VRING_AVAIL) + RING_ENTRIES + (txAvail & mask) * 2);
  txAvail++;
  txAvailLeft--;
  putUsed(vring, txUsed++, head, 0);
}

/** 1 when the guest has something for us on this ring. */
export function pending(vring: u32): u32 {
  if (!usable(vring)) return 0;
  return indexDistance(vring) != 0 ? 1 : 0;
}

/** Asks the guest to kick (on = 1) or not to (on = 0). A caller that turns it on looks at `pending` again afterwards. */
export function setNotify(vring: u32, on: u32): void {
  if (!usable(vring)) return;
  gAtomicStore16(load<u32>(vring, VRING_USED), on ? 0 : USED_F_NO_NOTIFY);
}

/** Publishes our index as the guest must see it when the ring starts. */
export function startRing(vring: u32): void {
  gAtomicStore16(load<u32>(vring, VRING_USED) + 2, load<u32>(vring, VRING_LAST_USED) & 0xffff);
}
