/**
 * Checksums that a kernel left to the device, in frames that come without a word about it: AF_XDP says nothing of a packet but its bytes. What stands in the
 * checksum's place of such a frame is the sum of its pseudo-header (as Linux' CHECKSUM_PARTIAL has it), or in SCTP zero; a whole checksum is that by
 * one chance in 65,536 (in 2^32), and then it is recognised as right.
 */
import { fold64, sumBytes, completeChecksum } from './full-checksum';
import { completeSctp, SCTP_CRC_AT } from './socket-ring';

const ETH_HEADER_SIZE: u32 = 14;
const VLAN_SIZE: u32 = 4;
const IPV4_MIN: u32 = 20;
const IPV6_SIZE: u32 = 40;
const PROTO_TCP: u32 = 6;
const PROTO_UDP: u32 = 17;
const PROTO_SCTP: u32 = 132;
const HOP_BY_HOP: u32 = 0;
const DESTINATION_OPTIONS: u32 = 60;
const TCP_CHECKSUM_AT: u32 = 16;
const UDP_CHECKSUM_AT: u32 = 6;
const TCP_MIN: u32 = 20;
const UDP_SIZE: u32 = 8;
const SCTP_SIZE: u32 = 12;
/** More fragments, and the offset. */
const FRAGMENT: u32 = 0x3fff;
const OPTIONS_MAX: u32 = 4;

// @ts-ignore: decorator
@inline
function be16(at: u32): u32 {
  return <u32>bswap<u16>(load<u16>(at));
}

/** Completes the checksum of the frame of `len` bytes at `data`, when it was left undone; touches nothing else. */
export function completePartial(data: u32, len: u32): void {
  let at: u32 = ETH_HEADER_SIZE;
  let type = be16(data + 12);
  for (let tags = 0; tags < 2 && (type == 0x8100 || type == 0x88a8); tags++) {
    if (at + VLAN_SIZE > len) return;
    type = be16(data + at + 2);
    at += VLAN_SIZE;
  }
  if (type == 0x0800) completeIpv4(data, at, len);
  else if (type == 0x86dd) completeIpv6(data, at, len);
}

function completeIpv4(data: u32, l3: u32, len: u32): void {
  if (l3 + IPV4_MIN > len) return;
  const ip = data + l3;
  const first: u32 = load<u8>(ip);
  const ihl = (first & 15) * 4;
  const size = be16(ip + 2);
  if (first >> 4 != 4 || ihl < IPV4_MIN || size < ihl || l3 + size > len || be16(ip + 6) & FRAGMENT) return;
  completeTransport(data, l3 + ihl, size - ihl, load<u8>(ip + 9), sumBytes(ip + 12, 8));
}

function completeIpv6(data: u32, l3: u32, len: u32): void {
  if (l3 + IPV6_SIZE > len) return;
  const ip = data + l3;
  const size = be16(ip + 4);
  if (load<u8>(ip) >> 4 != 6 || l3 + IPV6_SIZE + size > len) return;
  const end = l3 + IPV6_SIZE + size;
  let at = l3 + IPV6_SIZE;
  let proto: u32 = load<u8>(ip + 6);
  for (let n: u32 = 0; n < OPTIONS_MAX && (proto == HOP_BY_HOP || proto == DESTINATION_OPTIONS); n++) {
    if (at + 8 > end) return;
    proto = load<u8>(data + at);
    at += (<u32>load<u8>(data + at + 1) + 1) * 8;
  }
  if (at < end) completeTransport(data, at, end - at, proto, sumBytes(ip + 8, 32));
}

/** `addresses`: their part of the pseudo-header's sum. */
function completeTransport(data: u32, l4: u32, size: u32, proto: u32, addresses: u64): void {
  if (proto == PROTO_SCTP) {
    if (size >= SCTP_SIZE && load<u32>(data + l4 + SCTP_CRC_AT) == 0) completeSctp(data + l4, size);
    return;
  }
  if (!(proto == PROTO_TCP ? size >= TCP_MIN : proto == PROTO_UDP && size >= UDP_SIZE)) return;
  const offset = proto == PROTO_TCP ? TCP_CHECKSUM_AT : UDP_CHECKSUM_AT;
  const pseudo = fold64(addresses + <u64>bswap<u16>(<u16>size) + <u64>(proto << 8));
  if (<u32>load<u16>(data + l4 + offset) != pseudo) return;
  if (fold64(sumBytes(data + l4, size) + <u64>pseudo) == 0xffff) return;
  completeChecksum(data, l4 + size, l4, offset);
}
