/**
 * Actions that change what a packet starts with: an Ethernet header, an NSH (RFC 8300), or what stands behind those. Its type lies in its key, in network
 * order; the rest of the key is that of before until `parseNow`. `src/dpif/odp-execute.ts` is the reference.
 */
import {
  ACT_POP_ETH,
  ACT_POP_NSH,
  ACT_PUSH_ETH,
  ACT_PUSH_NSH,
  DROP_NSH_DECAP_ERROR,
  DROP_UNSUPPORTED_ACTION,
  KEY_PACKET_TYPE,
  PKT_DATA,
  PKT_KEY,
  PKT_LEN,
  PKT_NEXT,
} from './gen/arena';
import { grow, hasRoom } from './encap';
import { extractAgain, lengthenKey } from './extract';
import { finishChecksum } from './finish';
import { rssHash } from './packet-hash';
import { pullUp } from './tail';
import { drop } from './thread';

const PT_ETH: u32 = 0;
const PT_IPV4: u32 = 0x10800;
const PT_IPV6: u32 = 0x186dd;
const PT_NSH: u32 = 0x1894f;
const ETHERNET_NS: u32 = 0x10000;
const ETH_HEADER: u32 = 14;
const KEPT: u32 = 0xffffffff;

// @ts-ignore: decorator
@inline
function be16(at: u32): u32 {
  return bswap<u16>(load<u16>(at));
}

export function packetType(pkt: u32): u32 {
  lengthenKey(pkt);
  return bswap<u32>(load<u32>(pkt + PKT_KEY, KEY_PACKET_TYPE));
}

// @ts-ignore: decorator
@inline
function setType(pkt: u32, type: u32): void {
  store<u32>(pkt + PKT_KEY, bswap<u32>(type), KEY_PACKET_TYPE);
}

/** Has the key of an Ethernet frame say what its headers are now. */
export function parseNow(pkt: u32): void {
  rssHash(pkt);
  lengthenKey(pkt);
  extractAgain(pkt);
}

/** `addresses`: dst[6] src[6]. */
function pushEth(pkt: u32, addresses: u32): u32 {
  const type = packetType(pkt);
  if (!hasRoom(pkt, ETH_HEADER)) return DROP_UNSUPPORTED_ACTION;
  grow(pkt, ETH_HEADER);
  const data = load<u32>(pkt, PKT_DATA);
  memory.copy(data, addresses, 12);
  store<u16>(data + 12, bswap<u16>(<u16>type));
  setType(pkt, PT_ETH);
  parseNow(pkt);
  return KEPT;
}

/** Bytes before what the Ethernet header and tags of a frame carry; all of the tags when the fast path knows what that is, none otherwise. */
function etherSize(type: u32, typeAt: u32): u32 {
  const known = type == 0x0800 || type == 0x86dd || type == 0x0806 || type == 0x8035 || type == 0x8847 || type == 0x8848;
  return known ? typeAt + 2 : ETH_HEADER;
}

function popEth(pkt: u32): u32 {
  const len = load<u32>(pkt, PKT_LEN);
  if (packetType(pkt) != PT_ETH || len < ETH_HEADER) return KEPT;
  const data = load<u32>(pkt, PKT_DATA);
  let typeAt: u32 = 12;
  while (typeAt + 4 <= len && (be16(data + typeAt) == 0x8100 || be16(data + typeAt) == 0x88a8)) typeAt += 4;
  const type: u32 = typeAt + 2 <= len ? be16(data + typeAt) : 0;
  rssHash(pkt);
  grow(pkt, -(<i32>etherSize(type, typeAt)));
  setType(pkt, ETHERNET_NS | type);
  return KEPT;
}

/** RFC 8300, section 2.2: next protocol. */
// @ts-ignore: decorator
@inline
function nextProtocol(type: u32): u8 {
  return type == PT_IPV4 ? 1 : type == PT_IPV6 ? 2 : type == PT_ETH ? 3 : type == PT_NSH ? 4 : 0;
}

function pushNsh(pkt: u32, size: u32, header: u32): u32 {
  const type = packetType(pkt);
  if (!hasRoom(pkt, size)) return DROP_UNSUPPORTED_ACTION;
  rssHash(pkt);
  grow(pkt, size);
  const data = load<u32>(pkt, PKT_DATA);
  memory.copy(data, header, size);
  store<u8>(data + 3, nextProtocol(type));
  setType(pkt, PT_NSH);
  return KEPT;
}

function popNsh(pkt: u32): u32 {
  if (packetType(pkt) != PT_NSH) return KEPT;
  const data = load<u32>(pkt, PKT_DATA);
  const len = load<u32>(pkt, PKT_LEN);
  const size: u32 = len < 4 ? 0 : <u32>(load<u8>(data + 1) & 63) * 4;
  const next: u32 = size < 8 ? 0 : <u32>load<u8>(data + 3);
  if (size < 8 || size > len || next < 1 || next > 4) return DROP_NSH_DECAP_ERROR;
  grow(pkt, -(<i32>size));
  setType(pkt, next == 1 ? PT_IPV4 : next == 2 ? PT_IPV6 : next == 3 ? PT_ETH : PT_NSH);
  return KEPT;
}

/** Carries one of these actions out on each packet of the group. Returns the first of those that are left. */
export function changeTypes(head: u32, op: u32, operands: u32): u32 {
  let first: u32 = 0;
  let last: u32 = 0;
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) {
    // What is taken off shortens the snapshot, and then headers might lie beyond it. Checksums are completed in Ethernet frames only.
    pullUp(pkt);
    if (!finishChecksum(pkt)) continue;
    let end: u32 = KEPT;
    if (op == ACT_PUSH_ETH) end = pushEth(pkt, operands);
    else if (op == ACT_POP_ETH) end = popEth(pkt);
    else if (op == ACT_PUSH_NSH) end = pushNsh(pkt, load<u32>(operands), operands + 4);
    else if (op == ACT_POP_NSH) end = popNsh(pkt);
    if (end != KEPT) {
      drop(end, 1);
      continue;
    }
    if (last) store<u32>(last, pkt, PKT_NEXT);
    else first = pkt;
    last = pkt;
  }
  if (last) store<u32>(last, 0, PKT_NEXT);
  return first;
}

/** Replaces the bits of `mask` in a byte. */
// @ts-ignore: decorator
@inline
function merge8(now: u32, key: u32, mask: u32): u32 {
  return (now & ~mask) | (key & mask);
}

/** flags ttl mdtype np path_hdr[4] context[16], and a mask; a packet that does not start with an NSH, or has none behind its Ethernet header, stays as it is. */
export function setNsh(pkt: u32, operands: u32): void {
  pullUp(pkt);
  const data = load<u32>(pkt, PKT_DATA);
  const len = load<u32>(pkt, PKT_LEN);
  const bare = packetType(pkt) != PT_ETH;
  if (bare ? packetType(pkt) != PT_NSH : len < ETH_HEADER || be16(data + 12) != 0x894f) return;
  const start: u32 = bare ? 0 : ETH_HEADER;
  if (start + 8 > len) return;
  const nsh = data + start;
  const mask = operands + 24;
  const word = be16(nsh);
  const flags = merge8((word >> 12) & 3, load<u8>(operands), load<u8>(mask)) & 3;
  const ttl = merge8((word >> 6) & 63, load<u8>(operands, 1), load<u8>(mask, 1)) & 63;
  store<u16>(nsh, bswap<u16>(<u16>((word & 0xc03f) | (flags << 12) | (ttl << 6))));
  const end = (load<u8>(nsh, 2) & 15) == 1 ? 24 : 8;
  for (let at: u32 = 4; at < <u32>end && start + at + 4 <= len; at += 4) {
    const m = load<u32>(mask + at);
    store<u32>(nsh + at, (load<u32>(nsh + at) & ~m) | (load<u32>(operands + at) & m));
  }
}
