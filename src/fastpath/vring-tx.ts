/** Sending: what the guest receives, put into the buffers that it made available, over several of them where MRG_RXBUF allows it. */
import {
  DROP_VHOST_TX_BAD_DESCRIPTOR,
  DROP_VHOST_TX_NOT_READY,
  DROP_VHOST_TX_OVERSIZE,
  DROP_VHOST_TX_RING_FULL,
  PKT_DATA,
  PKT_LEN,
  PKT_VNET_CSUM_OFFSET,
  PKT_VNET_FLAGS,
  PORT_STATS_TX_BAD,
  PORT_STATS_TX_BYTES,
  PORT_STATS_TX_DROPPED,
  PORT_STATS_TX_PACKETS,
  PORT_STATS_TX_RING_FULL,
  THREAD_DROPS,
  VRING_BROKEN,
  VRING_BROKEN_CHAIN,
  VRING_DESC,
  VRING_F_MRG_RXBUF,
  VRING_FLAGS,
  VRING_HDR_SIZE,
  VRING_LAST_AVAIL,
  VRING_LAST_USED,
  VRING_REGIONS,
  VRING_SIZE,
} from './gen/arena';
import { descAddr, descFlags, descLen, descNext, hasDescs, nextDesc, openChain, startPacket } from './chain';
import { copyOut, gLoad64, gStore16, gStore32, gStore64 } from './guest';
import {
  availHead,
  available,
  bump,
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

/** num_buffers = 1 behind csum_offset, as one word at offset 8 of the header. */
const ONE_BUFFER: u32 = 1 << 16;

/** Why the last packet was not sent. */
let dropReason: u32 = 0;

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
  if (!hasDescs()) {
    dropReason = DROP_VHOST_TX_OVERSIZE;
    return false;
  }
  txHead = availHead(vring, txAvail);
  txAvail++;
  txAvailLeft--;
  txBuffers++;
  txWritten = 0;
  if (openChain(vring, txHead)) return true;
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
function putPacket(vring: u32, pkt: u32): bool {
  let data = load<u32>(pkt, PKT_DATA);
  let len = load<u32>(pkt, PKT_LEN);
  txBuffers = 0;
  startPacket();
  if (!openBuffer(vring)) return false;
  const hdrSize = load<u32>(vring, VRING_HDR_SIZE);
  let at = writableDesc(vring);
  if (at == NOWHERE || descLen < hdrSize) {
    dropReason = DROP_VHOST_TX_BAD_DESCRIPTOR;
    return false;
  }
  txHdrAt = at;
  gStore64(at, load<u64>(pkt, PKT_VNET_FLAGS));
  gStore16(at + 8, load<u16>(pkt, PKT_VNET_CSUM_OFFSET));
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
function putSingle(vring: u32, hdrSize: u32, pkt: u32, len: u32): bool {
  const size = load<u32>(vring, VRING_SIZE);
  const head = availHead(vring, txAvail);
  if (head >= size) return false;
  const desc = load<u32>(vring, VRING_DESC) + head * 16;
  const addr = gLoad64(desc);
  const rest = gLoad64(desc + 8);
  const room = <u32>rest;
  if ((<u32>(rest >> 32) & DESC_F_ANY) != DESC_F_WRITE || room < hdrSize + len) return false;
  const at = translate(load<u32>(vring, VRING_REGIONS), addr, room);
  if (at == NOWHERE) return false;
  gStore64(at, load<u64>(pkt, PKT_VNET_FLAGS));
  const csumOffset: u32 = load<u16>(pkt, PKT_VNET_CSUM_OFFSET);
  if (hdrSize == 12) gStore32(at + 8, csumOffset | ONE_BUFFER);
  else gStore16(at + 8, csumOffset);
  copyOut(at + hdrSize, load<u32>(pkt, PKT_DATA), len);
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
    if (txAvailLeft != 0 && putSingle(vring, hdrSize, pkt, len)) {
      sent++;
      bytes += len;
      continue;
    }
    const avail = txAvail;
    const left = txAvailLeft;
    const used = txUsed;
    if (putPacket(vring, pkt)) {
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
    store<u32>(vring, txUsed & 0xffff, VRING_LAST_USED);
    publishUsed(thread, vring);
  }
  return sent;
}

/** Gives the next buffer back unused, so that one bad buffer does not stop the ring. */
function skipBuffer(vring: u32): void {
  const head = availHead(vring, txAvail);
  txAvail++;
  txAvailLeft--;
  putUsed(vring, txUsed++, head, 0);
}
