/**
 * Segmentation in software: a frame of up to 64 KiB that a kernel left to the device to cut (virtio 1.1, 5.1.6.2: TCPV4, TCPV6, UDP_L4) leaves as frames of
 * its gso_size. The frame may lie in another memory: the caller has its first HEADERS_MAX bytes in the arena, and copies headers and payload of each segment into
 * a slot, where they are finished. As Linux' tcp_gso_segment: the IPv4 identification counts up, FIN and PSH are the last segment's, CWR the first's.
 */
import { fold64, sumBytes } from './full-checksum';
import { GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4 } from './offload';

const ETH_HEADER_SIZE: u32 = 14;
const VLAN_SIZE: u32 = 4;
const MPLS_SIZE: u32 = 4;
const IPV4_MIN: u32 = 20;
const IPV6_SIZE: u32 = 40;
const TCP_MIN: u32 = 20;
const UDP_SIZE: u32 = 8;
const TCP_FIN_PSH: u32 = 0x09;
const TCP_CWR: u32 = 0x80;
/** Longest headers before the payload: Ethernet, tags, labels, IPv6 with some options, TCP. */
export const HEADERS_MAX: u32 = 256;
const TCP_SEGMENT_MIN: u32 = 8;
const TCP_SEGMENTS_MAX: u32 = 1024;
const UDP_SEGMENTS_MAX: u32 = 128;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;

/** The frame that is cut: where its network and its transport header lie, and how long all headers are. */
let l3: u32 = 0;
let l4: u32 = 0;
export let headers: u32 = 0;
let isTcp: bool = false;
let isV4: bool = false;
/** Payload bytes of each segment but the last, and of all. */
let segSize: u32 = 0;
let payload: u32 = 0;

// @ts-ignore: decorator
@inline
function be16(at: u32): u32 {
  return bswap<u16>(load<u16>(at));
}

/** Offset of the network header, behind all tags and labels; 0 when it is not before `end`. */
function networkHeader(frame: u32, end: u32): u32 {
  let at: u32 = 12;
  let type: u32 = 0;
  for (;;) {
    if (at + 2 > end) return 0;
    type = be16(frame + at);
    if (type != 0x8100 && type != 0x88a8) break;
    at += VLAN_SIZE;
  }
  at += 2;
  if (type != 0x8847 && type != 0x8848) return at;
  while (at + MPLS_SIZE <= end) {
    const bottom = load<u8>(frame + at, 2) & 1;
    at += MPLS_SIZE;
    if (bottom) return at;
  }
  return 0;
}

/** True when the transport header at `l4` is the one that the network header at `l3` is followed by, as far as that one says it itself. */
function isFollowed(frame: u32): bool {
  const proto = isTcp ? IPPROTO_TCP : IPPROTO_UDP;
  if (isV4) return l4 - l3 == <u32>(load<u8>(frame + l3) & 15) * 4 && load<u8>(frame + l3, 9) == proto;
  return l4 - l3 != IPV6_SIZE || load<u8>(frame + l3, 6) == proto;
}

/**
 * Looks at the headers of a frame of `len` bytes, of which the first HEADERS_MAX lie at `frame`. `longest`: bytes that a segment may have. False when the frame can't
 * be cut: a header that is not what `gsoType` says, no payload, or segments longer than that.
 */
export function openSegments(frame: u32, len: u32, gsoType: u32, gsoSize: u32, csumStart: u32, longest: u32): bool {
  const type = gsoType & ~GSO_ECN;
  isTcp = type == GSO_TCPV4 || type == GSO_TCPV6;
  if ((!isTcp && type != GSO_UDP_L4) || gsoSize == 0) return false;
  l4 = csumStart;
  headers = l4 + (isTcp ? TCP_MIN : UDP_SIZE);
  if (l4 < ETH_HEADER_SIZE || headers > len || headers > HEADERS_MAX) return false;
  if (isTcp) {
    const size = <u32>(load<u8>(frame + l4, 12) >> 4) * 4;
    headers = l4 + size;
    if (size < TCP_MIN || headers > HEADERS_MAX) return false;
  }
  if (headers >= len) return false;
  l3 = networkHeader(frame, l4);
  if (l3 == 0 || l3 >= l4) return false;
  const version = load<u8>(frame + l3) >> 4;
  isV4 = version == 4;
  if ((!isV4 && version != 6) || l3 + (isV4 ? IPV4_MIN : IPV6_SIZE) > l4 || !isFollowed(frame)) return false;
  if ((type == GSO_TCPV4 && !isV4) || (type == GSO_TCPV6 && isV4)) return false;
  payload = len - headers;
  const room = longest - headers;
  // TCP may be cut smaller than was asked for; datagrams have their size.
  if (gsoSize > room && !isTcp) return false;
  segSize = min(gsoSize, room);
  return true;
}

/** Payload bytes of each segment but the last of a TCP frame; 0 for datagrams. */
// @ts-ignore: decorator
@inline
export function cutSize(): u32 {
  return isTcp ? segSize : 0;
}

/**
 * True when the frame that was opened stands for more segments, or smaller ones, than a driver makes: a few words in a ring would cost the thread the time of
 * thousands of packets. Linux: TCP_MIN_SND_MSS is 48 and options take up to 40 of them; UDP_MAX_SEGMENTS.
 */
export function isTooSmall(gsoSize: u32): bool {
  const most = isTcp ? TCP_SEGMENTS_MAX : UDP_SEGMENTS_MAX;
  return (isTcp && gsoSize < TCP_SEGMENT_MIN) || (payload + segSize - 1) / segSize > most;
}

/** Where the checksum is in the transport header of the frame that was opened. */
export function checksumOffset(): u32 {
  return isTcp ? 16 : 6;
}

/** The segment at payload offset `at` of the frame that was opened: bytes of payload in it. */
// @ts-ignore: decorator
@inline
export function segmentPayload(at: u32): u32 {
  return min(segSize, payload - at);
}

/** True when the frame has no segment from payload offset `at` on. */
// @ts-ignore: decorator
@inline
export function segmentsDone(at: u32): bool {
  return at >= payload;
}

// @ts-ignore: decorator
@inline
function store16be(at: u32, value: u32): void {
  store<u16>(at, bswap<u16>(<u16>value));
}

/** Finishes the segment at payload offset `at`, whose headers and payload were copied to `data`. Returns its length. */
export function finishSegment(data: u32, at: u32): u32 {
  const size = segmentPayload(at);
  const len = headers + size;
  fixNetwork(data + l3, len - l3, at / segSize);
  fixTransport(data + l4, len - l4, payload + headers - l4, at, size);
  return len;
}

/** Length, identification and checksum of the network header; `size`: bytes from it to the end. */
// @ts-ignore: decorator
@inline
function fixNetwork(ip: u32, size: u32, index: u32): void {
  if (!isV4) {
    store16be(ip + 4, size - IPV6_SIZE);
    return;
  }
  store16be(ip + 2, size);
  store16be(ip + 4, <u32>bswap<u16>(load<u16>(ip + 4)) + index);
  store<u16>(ip + 10, 0);
  const ihl = min(<u32>(load<u8>(ip) & 15) * 4, l4 - l3);
  store<u16>(ip + 10, <u16>~fold64(sumBytes(ip, ihl)));
}

/** The checksum's field holds the sum of the pseudo-header with the length of the whole frame's transport part, `whole`. */
// @ts-ignore: decorator
@inline
function fixTransport(th: u32, size: u32, whole: u32, at: u32, payloadSize: u32): void {
  const field = th + (isTcp ? 16 : 6);
  const lengths = <u64>(~bswap<u32>(whole)) + <u64>bswap<u32>(size);
  store<u16>(field, <u16>fold64(<u64>load<u16>(field) + lengths));
  if (isTcp) {
    store<u32>(th + 4, bswap<u32>(bswap<u32>(load<u32>(th + 4)) + at));
    let flags: u32 = load<u8>(th + 13);
    if (at + payloadSize < payload) flags &= ~TCP_FIN_PSH;
    if (at != 0) flags &= ~TCP_CWR;
    store<u8>(th + 13, <u8>flags);
  } else {
    store16be(th + 4, size);
  }
  const sum = <u16>~fold64(sumBytes(th, size));
  store<u16>(field, sum == 0 && !isTcp ? 0xffff : sum);
}
