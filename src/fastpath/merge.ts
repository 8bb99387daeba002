/**
 * Segments that were cut in software (segment.ts) and leave by the same ring one behind the other are put together again: the kernel behind it gets one
 * frame, with a virtio_net_hdr that says how to cut it, as it got it from the sender. Whatever the flow's actions did to the headers is kept, for two segments
 * are one frame only if all of their headers agree as those of one TCP stream do when a device cuts it (the reverse of Linux' tcp_gso_segment).
 *
 * One frame is open at a time; it lies in a slot of the ring, in the second memory, and its headers stay in the arena until it is closed.
 */
import { PKT_CUT, PKT_DATA, PKT_LEN } from './gen/arena';
import { fold64, sumBytes } from './full-checksum';
import { copyOut, gStore16, gStore64 } from './guest';

const ETH_HEADER_SIZE: u32 = 14;
const VLAN_SIZE: u32 = 4;
const IPV4_SIZE: u32 = 20;
const IPV6_SIZE: u32 = 40;
const TCP_MIN: u32 = 20;
const PROTO_TCP: u32 = 6;
const FLAG_FIN_PSH: u32 = 0x09;
const FLAG_ACK: u32 = 0x10;
const FLAG_CWR: u32 = 0x80;
/** These, and ECE. */
const FLAGS_CARRIED: u32 = 0xd9;
const DONT_FRAGMENT: u16 = 0x0040;
const VNET_NEEDS_CSUM: u64 = 1;
const GSO_TCPV4: u32 = 1;
const GSO_TCPV6: u32 = 4;
const GSO_ECN: u32 = 0x80;
const CSUM_AT: u32 = 16;
/** Of a frame: below what an IPv4 length, and hdr_len, can say. */
const MERGED_MAX: u32 = 65000;

/** The segment that was looked at last. */
let l3: u32 = 0;
let l4: u32 = 0;
let headers: u32 = 0;
let isV4: bool = false;

/** The open frame: its headers in the arena, where it lies in the ring; 0: none is open. */
let first: u32 = 0;
let target: u32 = 0;
let firstL3: u32 = 0;
let firstL4: u32 = 0;
let firstHeaders: u32 = 0;
let firstV4: bool = false;
let total: u32 = 0;
let segSize: u32 = 0;
let nSegments: u32 = 0;
let lastFlags: u32 = 0;
let cwr: u32 = 0;
/** No segment can follow. */
let ended: bool = false;

// @ts-ignore: decorator
@inline
function be16(at: u32): u32 {
  return <u32>bswap<u16>(load<u16>(at));
}

// @ts-ignore: decorator
@inline
function be32(at: u32): u32 {
  return bswap<u32>(load<u32>(at));
}

function networkHeader(data: u32): u32 {
  let at: u32 = 12;
  let type = be16(data + at);
  for (let tags = 0; tags < 2 && (type == 0x8100 || type == 0x88a8); tags++) {
    at += VLAN_SIZE;
    type = be16(data + at);
  }
  isV4 = type == 0x0800;
  return isV4 || type == 0x86dd ? at + 2 : 0;
}

/** Finds the headers of a segment of `len` bytes; false when it is none that can be part of a frame. */
function parse(data: u32, len: u32): bool {
  // What is read beyond the end of a shorter one is still in its slot, and then the headers do not fit.
  if (len < ETH_HEADER_SIZE + IPV4_SIZE + TCP_MIN) return false;
  l3 = networkHeader(data);
  if (l3 == 0) return false;
  const ip = data + l3;
  if (isV4) {
    if (load<u8>(ip) != 0x45 || load<u8>(ip + 9) != PROTO_TCP || be16(ip + 2) != len - l3) return false;
    if ((load<u16>(ip + 6) & ~DONT_FRAGMENT) != 0) return false;
  } else if (load<u8>(ip) >> 4 != 6 || load<u8>(ip + 6) != PROTO_TCP || be16(ip + 4) != len - l3 - IPV6_SIZE) {
    return false;
  }
  l4 = l3 + (isV4 ? IPV4_SIZE : IPV6_SIZE);
  const size = <u32>(load<u8>(data + l4 + 12) >> 4) * 4;
  headers = l4 + size;
  if (size < TCP_MIN || headers >= len) return false;
  const flags: u32 = load<u8>(data + l4 + 13);
  return (flags & FLAG_ACK) != 0 && (flags & ~FLAGS_CARRIED) == 0;
}

// @ts-ignore: decorator
@inline
function same(a: u32, b: u32, size: u32): bool {
  return memory.compare(a, b, size) == 0;
}

/** Whether the IP header of the parsed segment `data` is that of the open frame's next one. */
function sameNetwork(data: u32): bool {
  const a = first + l3;
  const b = data + l3;
  if (!isV4) return same(a, b, 4) && same(a + 6, b + 6, IPV6_SIZE - 6);
  const id = (be16(a + 4) + nSegments) & 0xffff;
  return load<u16>(a) == load<u16>(b) && be16(b + 4) == id && load<u32>(a + 6) == load<u32>(b + 6) && load<u64>(a + 12) == load<u64>(b + 12);
}

function sameTransport(data: u32, size: u32): bool {
  const a = first + l4;
  const b = data + l4;
  const flags: u32 = load<u8>(b + 13);
  return (
    load<u32>(a) == load<u32>(b) &&
    be32(b + 4) == be32(a + 4) + (total - firstHeaders) &&
    load<u32>(a + 8) == load<u32>(b + 8) &&
    load<u8>(a + 12) == load<u8>(b + 12) &&
    ((load<u8>(a + 13) ^ flags) & ~(FLAG_FIN_PSH | FLAG_CWR)) == 0 &&
    (flags & FLAG_CWR) == 0 &&
    load<u16>(a + 14) == load<u16>(b + 14) &&
    load<u16>(a + 18) == load<u16>(b + 18) &&
    same(a + TCP_MIN, b + TCP_MIN, size - TCP_MIN)
  );
}

/** What an earlier call, which trapped, may have left open. */
// @ts-ignore: decorator
@inline
export function forgetOpen(): void {
  first = 0;
}

// @ts-ignore: decorator
@inline
export function isOpen(): bool {
  return first != 0;
}

/** Bytes of the open frame. */
// @ts-ignore: decorator
@inline
export function mergedLength(): u32 {
  return total;
}

/**
 * Opens a frame with the packet `pkt`, whose frame the caller has copied to `to` in the second memory, when it may have successors: false when it may not.
 */
export function openFrame(pkt: u32, to: u32): bool {
  first = 0;
  const cut: u32 = load<u16>(pkt, PKT_CUT);
  if (cut == 0) return false;
  const data = load<u32>(pkt, PKT_DATA);
  const len = load<u32>(pkt, PKT_LEN);
  if (!parse(data, len) || len - headers != cut) return false;
  const flags: u32 = load<u8>(data + l4 + 13);
  if (flags & FLAG_FIN_PSH) return false;
  first = data;
  target = to;
  firstL3 = l3;
  firstL4 = l4;
  firstHeaders = headers;
  firstV4 = isV4;
  total = len;
  segSize = cut;
  nSegments = 1;
  lastFlags = 0;
  cwr = flags & FLAG_CWR;
  ended = false;
  return true;
}

/** Appends the packet to the open frame when it is the next segment and there is room for it up to `longest` bytes; false when it is not. */
export function appendSegment(pkt: u32, longest: u32): bool {
  if (ended || <u32>load<u16>(pkt, PKT_CUT) != segSize) return false;
  const data = load<u32>(pkt, PKT_DATA);
  const len = load<u32>(pkt, PKT_LEN);
  if (!parse(data, len) || isV4 != firstV4 || l3 != firstL3 || headers != firstHeaders) return false;
  const size = len - headers;
  if (size > segSize || total + size > min(longest, MERGED_MAX)) return false;
  if (!same(first, data, l3) || !sameNetwork(data) || !sameTransport(data, headers - l4)) return false;
  copyOut(target + total, data + headers, size);
  total += size;
  nSegments++;
  lastFlags = <u32>load<u8>(data + l4 + 13) & FLAG_FIN_PSH;
  ended = size < segSize || lastFlags != 0;
  return true;
}

// @ts-ignore: decorator
@inline
function put16be(at: u32, value: u32): void {
  store<u16>(at, bswap<u16>(<u16>value));
}

/** Sum of the pseudo-header of the open frame, whose network header is at `ip`: what stands in the checksum's place of a frame that a device is to complete. */
function pseudoSum(ip: u32): u32 {
  const addresses = firstV4 ? sumBytes(ip + 12, 8) : sumBytes(ip + 8, 32);
  return fold64(addresses + <u64>bswap<u32>(total - firstL4) + <u64>bswap<u32>(PROTO_TCP));
}

/**
 * Closes the open frame: writes its headers and, at `vnet`, its virtio_net_hdr. A frame of one segment is left as it is. The headers of the first
 * packet in the arena come out unchanged, for it may have to leave by other ports, too.
 */
export function closeFrame(vnet: u32): void {
  const data = first;
  first = 0;
  if (nSegments == 1) return;
  const ip = data + firstL3;
  const th = data + firstL4;
  const network = v128.load(ip);
  const check = load<u16>(th + CSUM_AT);
  const flags = load<u8>(th + 13);
  if (firstV4) {
    put16be(ip + 2, total - firstL3);
    store<u16>(ip + 10, 0);
    store<u16>(ip + 10, <u16>~fold64(sumBytes(ip, IPV4_SIZE)));
  } else {
    put16be(ip + 4, total - firstL3 - IPV6_SIZE);
  }
  store<u8>(th + 13, flags | <u8>lastFlags);
  store<u16>(th + CSUM_AT, <u16>pseudoSum(ip));
  copyOut(target, data, firstHeaders);
  v128.store(ip, network);
  store<u16>(th + CSUM_AT, check);
  store<u8>(th + 13, flags);
  putHeader(vnet);
}

/** hdr_len says that all of the frame shall lie in the packet's linear part: the slot is used anew before whoever gets the packet has read it. */
// @ts-ignore: decorator
@inline
function putHeader(vnet: u32): void {
  const type = (firstV4 ? GSO_TCPV4 : GSO_TCPV6) | (cwr ? GSO_ECN : 0);
  const words = VNET_NEEDS_CSUM | (<u64>type << 8) | (<u64>total << 16) | (<u64>segSize << 32) | (<u64>firstL4 << 48);
  gStore64(vnet, words);
  gStore16(vnet + 8, CSUM_AT);
}
