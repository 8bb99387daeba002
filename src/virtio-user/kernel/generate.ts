/**
 * The generator of `pktgen`, and of testpmd's txonly and flowgen: copies a template into a buffer, then writes the fields that vary
 * (ranges) and the checksums that cover them. The template holds zeros in those fields, so that a checksum is the template's
 * constant sum plus the values' words.
 */
import {
  BUF_ROOM,
  BURST,
  GEN_CREDIT,
  GEN_IP_BASE,
  GEN_IP_SUM,
  GEN_L4_BASE,
  GEN_L4_IS_UDP,
  GEN_L4_SUM,
  GEN_LEFT,
  GEN_N_RANGES,
  GEN_N_TEMPLATES,
  GEN_NEXT,
  GEN_RANGES,
  GEN_TEMPLATES,
  HDR_SIZE,
  PORT_TX,
  RANGE_BIAS,
  RANGE_BIAS2,
  RANGE_INC,
  RANGE_MAX,
  RANGE_MIN,
  RANGE_NOW,
  RANGE_OFFSET,
  RANGE_OFFSET2,
  RANGE_SIZE,
  RANGE_STRIDE,
  RANGE_SUMS,
  RANGE_WIDTH,
  SUM_IP,
  SUM_L4,
} from './layout';
import { bufAlloc, bufData, bufHdr, bufSet, bufSetNext, packetFree, poolFree } from './pool';
import { sendBurst } from './ports';
import { txRoom } from './virtqueue';

/** Copies `len` bytes; may write up to 63 beyond them: short frames go by 64 bytes, which a buffer has room for. */
function copyFrame(to: u32, from: u32, len: u32): void {
  if (len > 256) {
    memory.copy(to, from, len);
    return;
  }
  for (let i: u32 = 0; i < len; i += 64) {
    v128.store(to + i, v128.load(from + i));
    v128.store(to + i, v128.load(from + i, 16), 16);
    v128.store(to + i, v128.load(from + i, 32), 32);
    v128.store(to + i, v128.load(from + i, 48), 48);
  }
}

/** Copies a template into as many buffers as it takes; the first one's number. There are buffers enough. */
function copyTemplate(from: u32, len: u32): u32 {
  const head = bufAlloc();
  let part = min<u32>(len, BUF_ROOM);
  copyFrame(bufData(head), from, part);
  bufSet(head, part, 0);
  let last = head;
  for (let at = part; at < len; at += part) {
    const buf = bufAlloc();
    part = min<u32>(len - at, BUF_ROOM + HDR_SIZE);
    memory.copy(bufHdr(buf), from + at, part);
    bufSet(buf, part, 0);
    bufSetNext(last, buf + 1);
    last = buf;
  }
  return head;
}

/** Buffers that a frame of `len` bytes takes. */
function buffersFor(len: u32): u32 {
  if (len <= <u32>BUF_ROOM) return 1;
  return 1 + (len - BUF_ROOM + BUF_ROOM + HDR_SIZE - 1) / (BUF_ROOM + HDR_SIZE);
}

/** Writes `value` big endian, `width` bytes. */
function writeField(at: u32, width: u32, value: u64): void {
  if (width == 4) store<u32>(at, bswap<u32>(<u32>value));
  else if (width == 2) store<u16>(at, bswap<u16>(<u16>value));
  else if (width == 6) {
    store<u16>(at, bswap<u16>(<u16>(value >> 32)));
    store<u32>(at, bswap<u32>(<u32>value), 2);
  } else if (width == 8) store<u64>(at, bswap<u64>(value));
  else store<u8>(at, <u8>value);
}

/** Sum of the value's 16-bit words, not folded. */
function sumWords(value: u64): u32 {
  return <u32>(value & 0xffff) + <u32>((value >> 16) & 0xffff) + <u32>((value >> 32) & 0xffff) + <u32>(value >> 48);
}

/** The Internet checksum (RFC 1071) of an unfolded sum. */
function fold(sum: u32): u32 {
  let s = (sum & 0xffff) + (sum >> 16);
  s = (s & 0xffff) + (s >> 16);
  return ~s & 0xffff;
}

/** The value that a range has for this frame; the range goes on to the next. */
function rangeNext(range: u32): u64 {
  const now = load<u64>(range, RANGE_NOW);
  const max = load<u64>(range, RANGE_MAX);
  const inc = load<u64>(range, RANGE_INC);
  store<u64>(range, inc > max - now ? load<u64>(range, RANGE_MIN) : now + inc, RANGE_NOW);
  return now;
}

/** Sets the frame's size to `size`, and the two length fields with it; returns what that adds to the IP and L4 sums. */
function writeSize(range: u32, head: u32, data: u32, size: u32): u64 {
  bufSet(head, size, 0);
  const at = load<u32>(range, RANGE_OFFSET);
  const at2 = load<u32>(range, RANGE_OFFSET2);
  let ip: u32 = 0;
  let l4: u32 = 0;
  if (at != 0) {
    ip = size - load<u32>(range, RANGE_BIAS);
    store<u16>(data + at, bswap<u16>(<u16>ip));
  }
  if (at2 != 0) store<u16>(data + at2, bswap<u16>(<u16>(size - load<u32>(range, RANGE_BIAS2))));
  // The pseudo-header's length always counts; UDP's own length field counts once more.
  l4 = size - load<u32>(range, RANGE_BIAS2);
  if (at2 != 0) l4 <<= 1;
  return <u64>ip | ((<u64>l4) << 32);
}

/** Writes the fields that vary into the frame of buffer `head`. */
function applyRanges(port: u32, head: u32, n: u32): void {
  const data = bufData(head);
  let ipSum = load<u32>(port, GEN_IP_BASE);
  let l4Sum = load<u32>(port, GEN_L4_BASE);
  for (let i: u32 = 0; i < n; i++) {
    const range = port + GEN_RANGES + i * RANGE_STRIDE;
    const value = rangeNext(range);
    const width = load<u32>(range, RANGE_WIDTH);
    const sums = load<u32>(range, RANGE_SUMS);
    if (width == RANGE_SIZE) {
      const added = writeSize(range, head, data, <u32>value);
      ipSum += <u32>added;
      if ((sums & SUM_L4) != 0) l4Sum += <u32>(added >> 32);
      continue;
    }
    writeField(data + load<u32>(range, RANGE_OFFSET), width, value);
    // The one-byte field, the TTL, is the high half of its word.
    const words = width == 1 ? (<u32>value) << 8 : sumWords(value);
    if ((sums & SUM_IP) != 0) ipSum += words;
    if ((sums & SUM_L4) != 0) l4Sum += words;
  }
  const ipAt = load<u32>(port, GEN_IP_SUM);
  if (ipAt != 0) store<u16>(data + ipAt, bswap<u16>(<u16>fold(ipSum)));
  const l4At = load<u32>(port, GEN_L4_SUM);
  if (l4At == 0) return;
  const sum = fold(l4Sum);
  // RFC 768: a UDP checksum of zero means none; a computed zero is sent as all ones.
  const none = sum == 0 && load<u32>(port, GEN_L4_IS_UDP) != 0;
  store<u16>(data + l4At, bswap<u16>(<u16>(none ? 0xffff : sum)));
}

/** Builds `n` frames of one port; how many there were buffers for. Their numbers go to BURST. */
function buildBurst(port: u32, n: u32): u32 {
  const table = load<u32>(port, GEN_TEMPLATES);
  const nTemplates = load<u32>(port, GEN_N_TEMPLATES);
  const nRanges = load<u32>(port, GEN_N_RANGES);
  let next = load<u32>(port, GEN_NEXT);
  let built: u32 = 0;
  for (; built < n; built++) {
    const entry = table + (next << 3);
    const len = load<u32>(entry, 4);
    if (buffersFor(len) > poolFree()) break;
    const head = copyTemplate(load<u32>(entry), len);
    if (nRanges != 0) applyRanges(port, head, nRanges);
    store<u32>(BURST + (built << 2), head);
    next = next + 1 == nTemplates ? 0 : next + 1;
  }
  store<u32>(port, next, GEN_NEXT);
  return built;
}

/**
 * Sends up to `burst` generated frames on a port: as many as its credit, its count and its ring allow, so that none is built in
 * vain. Returns how many.
 */
export function generateBurst(port: u32, burst: u32): u32 {
  const left = load<u64>(port, GEN_LEFT);
  let n = min<u32>(burst, load<u32>(port, GEN_CREDIT));
  if (left < <u64>n) n = <u32>left;
  if (n == 0 || load<u32>(port, GEN_N_TEMPLATES) == 0) return 0;
  n = min<u32>(n, txRoom(port + PORT_TX));
  const built = buildBurst(port, n);
  const sent = sendBurst(port, BURST, built);
  // Only a multi-segment frame can find the ring too small; it is built again.
  for (let i = sent; i < built; i++) packetFree(load<u32>(BURST + (i << 2)));
  store<u32>(port, load<u32>(port, GEN_CREDIT) - sent, GEN_CREDIT);
  store<u64>(port, left - sent, GEN_LEFT);
  return sent;
}
