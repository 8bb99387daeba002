/**
 * Actions that rewrite header fields in place. `operands`: the new bytes, then as many bytes of mask, in the layout of the `DpSetAttr` (dpif.ts),
 * padded to words. A header that the packet does not have is left alone. Checksums follow.
 */
import { KEY_DL_TYPE, KEY_NW_FRAG, KEY_NW_PROTO, PKT_DATA, PKT_KEY, PKT_L2_5, PKT_L3, PKT_L4, PKT_LEN, PKT_VNET_CSUM_OFFSET, PKT_VNET_CSUM_START } from './gen/arena';
import { lengthenKey } from './extract';
import { addDelta, applyDelta, delta32, fixTransport, sctpChecksum } from './checksums';
import { hasItsChecksum, isUnfinished } from './offload';
import { pullUp } from './tail';

const NO_OFFSET: u32 = 0xffff;
const IPPROTO_ROUTING: u32 = 43;
const IPPROTO_ICMP: u32 = 1;
const IPPROTO_ICMPV6: u32 = 58;
const IPPROTO_SCTP: u32 = 132;
// Ethertypes as they lie in memory.
const ETH_IPV4: u32 = 0x0008;
const ETH_IPV6: u32 = 0xdd86;
const ETH_ARP: u32 = 0x0608;
const ETH_RARP: u32 = 0x3580;
const FRAG_LATER: u32 = 2;

// @ts-ignore: decorator
@inline
function merge(at: u32, key: u32, mask: u32): u32 {
  return (load<u32>(at) & ~load<u32>(mask)) | (load<u32>(key) & load<u32>(mask));
}

// @ts-ignore: decorator
@inline
function mergeBytes(at: u32, key: u32, mask: u32, size: u32): void {
  for (let i: u32 = 0; i < size; i++) {
    const m = load<u8>(mask + i);
    store<u8>(at + i, (load<u8>(at + i) & ~m) | (load<u8>(key + i) & m));
  }
}

// @ts-ignore: decorator
@inline
function dlType(pkt: u32): u32 {
  return load<u16>(pkt + PKT_KEY, KEY_DL_TYPE);
}

// @ts-ignore: decorator
@inline
function nwProto(pkt: u32): u32 {
  return load<u8>(pkt + PKT_KEY, KEY_NW_PROTO);
}

/** Start of the transport header, 0 when there is none (truncated, or a later fragment). */
// @ts-ignore: decorator
@inline
function transportAt(pkt: u32): u32 {
  const l4: u32 = load<u16>(pkt, PKT_L4);
  if (l4 == NO_OFFSET || load<u8>(pkt + PKT_KEY, KEY_NW_FRAG) & FRAG_LATER) return 0;
  return load<u32>(pkt, PKT_DATA) + l4;
}

// @ts-ignore: decorator
@inline
function transportLeft(pkt: u32): u32 {
  return load<u32>(pkt, PKT_LEN) - load<u16>(pkt, PKT_L4);
}

/** True when the checksum of the transport header is still to be completed: its field holds the sum of the pseudo-header alone. */
// @ts-ignore: decorator
@inline
function isPartial(pkt: u32): bool {
  return isUnfinished(pkt) && load<u16>(pkt, PKT_VNET_CSUM_START) == load<u16>(pkt, PKT_L4);
}

function fixPseudoHeader(pkt: u32, delta: u32): void {
  const l4 = transportAt(pkt);
  if (!l4) return;
  if (!isPartial(pkt)) fixTransport(nwProto(pkt), l4, transportLeft(pkt), delta);
  else if (hasItsChecksum(pkt)) addDelta(l4 + load<u16>(pkt, PKT_VNET_CSUM_OFFSET), delta);
}

/** src[6] dst[6] */
export function setEth(pkt: u32, operands: u32): void {
  const data = load<u32>(pkt, PKT_DATA);
  mergeBytes(data + 6, operands, operands + 12, 6);
  mergeBytes(data, operands + 6, operands + 18, 6);
}

/** Replaces the word at `at`; returns what a checksum over it has to add. */
// @ts-ignore: decorator
@inline
function replace32(at: u32, key: u32, mask: u32): u32 {
  const before = load<u32>(at);
  const after = merge(at, key, mask);
  store<u32>(at, after);
  return before == after ? 0 : delta32(before, after);
}

/** src[4] dst[4] proto tos ttl frag; proto and frag are not written. */
export function setIpv4(pkt: u32, operands: u32): void {
  if (load<u16>(pkt, PKT_L4) == <u16>NO_OFFSET || dlType(pkt) != ETH_IPV4) return;
  const ip = load<u32>(pkt, PKT_DATA) + load<u16>(pkt, PKT_L3);
  const mask = operands + 12;
  const addresses = replace32(ip + 12, operands, mask) + replace32(ip + 16, operands + 4, mask + 4);
  let header = addresses;
  const tosBefore: u32 = load<u8>(ip + 1);
  mergeBytes(ip + 1, operands + 9, mask + 9, 1);
  header += delta32(tosBefore << 8, <u32>load<u8>(ip + 1) << 8);
  const ttlBefore: u32 = load<u8>(ip + 8);
  mergeBytes(ip + 8, operands + 10, mask + 10, 1);
  header += delta32(ttlBefore, load<u8>(ip + 8));
  applyDelta(ip + 10, header);
  if (addresses && nwProto(pkt) != IPPROTO_ICMPV6) fixPseudoHeader(pkt, addresses);
}

/** True when a routing header has segments left: then the checksum is that of another destination (RFC 8200, section 8.1). */
function isRouted(ip: u32, l4: u32): bool {
  let proto: u32 = load<u8>(ip, 6);
  let at = ip + 40;
  while (at + 8 <= l4) {
    if (proto == IPPROTO_ROUTING && load<u8>(at, 3) != 0) return true;
    const words: u32 = load<u8>(at, 1);
    const size: u32 = proto == 44 ? 8 : proto == 51 ? (words + 2) * 4 : (words + 1) * 8;
    proto = load<u8>(at);
    at += size;
  }
  return false;
}

/** src[16] dst[16] label[4] proto tclass hlimit frag */
export function setIpv6(pkt: u32, operands: u32): void {
  if (load<u16>(pkt, PKT_L4) == <u16>NO_OFFSET || dlType(pkt) != ETH_IPV6) return;
  const ip = load<u32>(pkt, PKT_DATA) + load<u16>(pkt, PKT_L3);
  const mask = operands + 40;
  let delta: u32 = 0;
  let deltaDst: u32 = 0;
  for (let i: u32 = 0; i < 16; i += 4) delta += replace32(ip + 8 + i, operands + i, mask + i);
  for (let i: u32 = 16; i < 32; i += 4) deltaDst += replace32(ip + 8 + i, operands + i, mask + i);
  if (deltaDst && !isRouted(ip, load<u32>(pkt, PKT_DATA) + load<u16>(pkt, PKT_L4))) delta += deltaDst;
  if (delta) fixPseudoHeader(pkt, delta);
  const label = bswap<u32>(load<u32>(operands, 32)) & 0xfffff;
  const labelMask = bswap<u32>(load<u32>(mask, 32)) & 0xfffff;
  const tclass = <u32>load<u8>(operands, 37) << 20;
  const tclassMask = <u32>load<u8>(mask, 37) << 20;
  const first = bswap<u32>(load<u32>(ip));
  const bits = labelMask | tclassMask;
  store<u32>(ip, bswap<u32>((first & ~bits) | ((label | tclass) & bits)));
  mergeBytes(ip + 7, operands + 38, mask + 38, 1);
}

/** nw_proto, src[2] dst[2], mask of both */
export function setTransport(pkt: u32, operands: u32): void {
  const proto = load<u32>(operands);
  if (nwProto(pkt) != proto) return;
  if (proto == IPPROTO_SCTP) pullUp(pkt);
  const l4 = transportAt(pkt);
  const left = transportLeft(pkt);
  if (!l4 || left < 8) return;
  if (proto == IPPROTO_SCTP) {
    setSctp(pkt, l4, operands);
    return;
  }
  const delta = replace32(l4, operands + 4, operands + 8);
  if (delta && !isPartial(pkt)) fixTransport(proto, l4, left, delta);
}

/** Bytes from the transport header to the end of the IP packet: what lies behind it is Ethernet's padding. */
function transportSize(pkt: u32, l4: u32): u32 {
  const ip = load<u32>(pkt, PKT_DATA) + load<u16>(pkt, PKT_L3);
  const size: u32 = dlType(pkt) == ETH_IPV4 ? bswap<u16>(load<u16>(ip, 2)) : 40 + <u32>bswap<u16>(load<u16>(ip, 4));
  return min(ip + size - l4, transportLeft(pkt));
}

/** The checksum is that of the new ports, or as wrong as it was. */
function setSctp(pkt: u32, l4: u32, operands: u32): void {
  const size = transportSize(pkt, l4);
  if (size < 12) return;
  const was = load<u32>(l4 + 8);
  store<u32>(l4 + 8, 0);
  const before = sctpChecksum(l4, size);
  replace32(l4, operands + 4, operands + 8);
  store<u32>(l4 + 8, was ^ before ^ sctpChecksum(l4, size));
}

/** sip[4] tip[4] op[2] sha[6] tha[6] */
export function setArp(pkt: u32, operands: u32): void {
  const l3: u32 = load<u16>(pkt, PKT_L3);
  const type = dlType(pkt);
  if ((type != ETH_ARP && type != ETH_RARP) || l3 == NO_OFFSET || load<u32>(pkt, PKT_LEN) < l3 + 28) return;
  const arp = load<u32>(pkt, PKT_DATA) + l3;
  const mask = operands + 24;
  mergeBytes(arp + 14, operands, mask, 4);
  mergeBytes(arp + 24, operands + 4, mask + 4, 4);
  mergeBytes(arp + 6, operands + 8, mask + 8, 2);
  mergeBytes(arp + 8, operands + 10, mask + 10, 6);
  mergeBytes(arp + 18, operands + 16, mask + 16, 6);
}

/** type code: the checksum covers both */
export function setIcmp(pkt: u32, operands: u32): void {
  const l4 = transportAt(pkt);
  const proto = nwProto(pkt);
  if (!l4 || transportLeft(pkt) < 4 || (proto != IPPROTO_ICMP && proto != IPPROTO_ICMPV6)) return;
  const before: u32 = load<u16>(l4);
  mergeBytes(l4, operands, operands + 4, 2);
  if (!isPartial(pkt)) applyDelta(l4 + 2, delta32(before, load<u16>(l4)));
}

/** target[16] sll[6] tll[6] */
export function setNd(pkt: u32, operands: u32): void {
  pullUp(pkt);
  const l4 = transportAt(pkt);
  let left = transportLeft(pkt);
  if (!l4 || left < 24 || nwProto(pkt) != IPPROTO_ICMPV6) return;
  const mask = operands + 28;
  let delta: u32 = 0;
  for (let i: u32 = 0; i < 16; i += 4) delta += replace32(l4 + 8 + i, operands + i, mask + i);
  let option = l4 + 24;
  left -= 24;
  while (left >= 8) {
    const type: u32 = load<u8>(option);
    const size = <u32>load<u8>(option + 1) * 8;
    if (size == 0 || size > left) break;
    if ((type == 1 || type == 2) && size == 8) delta += setNdOption(option, operands, mask, type == 1 ? 16 : 22);
    option += size;
    left -= size;
  }
  if (!isPartial(pkt)) applyDelta(l4 + 2, (delta & 0xffff) + (delta >> 16));
}

/** Rewrites a link-layer address option's six bytes; returns the checksum's delta. */
function setNdOption(option: u32, operands: u32, mask: u32, offset: u32): u32 {
  const before0 = load<u32>(option);
  const before1 = load<u32>(option, 4);
  mergeBytes(option + 2, operands + offset, mask + offset, 6);
  return delta32(before0, load<u32>(option)) + delta32(before1, load<u32>(option, 4));
}

/** lse[4] of the outermost label */
export function setMpls(pkt: u32, operands: u32): void {
  const l2_5: u32 = load<u16>(pkt, PKT_L2_5);
  if (l2_5 == NO_OFFSET || load<u32>(pkt, PKT_LEN) < l2_5 + 4) return;
  const at = load<u32>(pkt, PKT_DATA) + l2_5;
  store<u32>(at, merge(at, operands, operands + 4));
}

/** Offset in the key, value, mask: packet metadata lives in the key. */
export function setMeta(pkt: u32, operands: u32): void {
  lengthenKey(pkt);
  const at = pkt + PKT_KEY + load<u32>(operands);
  store<u32>(at, merge(at, operands + 4, operands + 8));
}
