/**
 * Puts the header of a tunnel in front of packets: one that was made once for the flow, in which lengths, checksums and the UDP source port are filled in.
 * `src/dpif/tunnel-push.ts` is the reference in TypeScript.
 */
import {
  ARENA_HEADER,
  DROP_TUNNEL_PUSH_ERROR,
  HEADER_TUNNEL_PORT_MIN,
  HEADER_TUNNEL_PORT_SPAN,
  KEY_PACKET_TYPE,
  PKT_DATA,
  PKT_F_NO_RSS,
  PKT_FLAGS,
  PKT_KEY,
  PKT_L2_5,
  PKT_L3,
  PKT_L4,
  PKT_LEN,
  PKT_LONG,
  PKT_NEXT,
  PKT_TRUNC,
  TUNNEL_GRE,
  TUNNEL_PUSH_F_CSUM,
  TUNNEL_PUSH_F_LOOK,
} from './gen/arena';
import { grow, hasRoom } from './encap';
import { extract } from './extract';
import { finishChecksum } from './finish';
import { fold64, sumBytes } from './full-checksum';
import { hash5Tuple, rssHash } from './packet-hash';
import { shorten } from './recirc';
import { pullUp } from './tail';
import { drop } from './thread';

const ETH_LEN: u32 = 14;
const IPV4_LEN: u32 = 20;
const IPV6_LEN: u32 = 40;
const ETH_IPV6: u32 = 0xdd86;
const IPPROTO_UDP: u32 = 17;

// @ts-ignore: decorator
@inline
function be16(n: u32): u16 {
  return bswap<u16>(<u16>n);
}

/** The source port spreads flows over paths and queues. */
// @ts-ignore: decorator
@inline
function sourcePort(hash: u32): u32 {
  const span: u64 = load<u32>(ARENA_HEADER + HEADER_TUNNEL_PORT_SPAN);
  return <u32>((<u64>hash * span) >> 32) + load<u32>(ARENA_HEADER + HEADER_TUNNEL_PORT_MIN);
}

/** Hash of the packet that goes in. */
// @ts-ignore: decorator
@inline
function hashOf(pkt: u32): u32 {
  if (load<u32>(pkt, PKT_FLAGS) & PKT_F_NO_RSS) return hash5Tuple(pkt, 0);
  return rssHash(pkt);
}

/** Length and checksum of the IP header; returns where the next one starts. */
// @ts-ignore: decorator
@inline
function finishIp(data: u32, len: u32, sum: u32): u32 {
  if (<u32>load<u16>(data, 12) == ETH_IPV6) {
    store<u16>(data, be16(len - ETH_LEN - IPV6_LEN), ETH_LEN + 4);
    return ETH_LEN + IPV6_LEN;
  }
  const total = len - ETH_LEN;
  store<u16>(data, be16(total), ETH_LEN + 2);
  store<u16>(data, be16(~fold64(sum + total)), ETH_LEN + 10);
  return ETH_LEN + IPV4_LEN;
}

function finishUdp(data: u32, len: u32, l4: u32, hash: u32, csum: bool): void {
  const size = len - l4;
  store<u16>(data + l4, be16(sourcePort(hash)));
  store<u16>(data + l4, be16(size), 4);
  if (!csum) return;
  store<u16>(data + l4, 0, 6);
  // Both addresses stand before the transport header.
  const addresses: u32 = l4 == ETH_LEN + IPV4_LEN ? 8 : 32;
  const pseudo = sumBytes(data + l4 - addresses, addresses) + be16(IPPROTO_UDP) + be16(size);
  const sum = <u16>~fold64(pseudo + sumBytes(data + l4, size));
  store<u16>(data + l4, sum ? sum : 0xffff, 6); // RFC 768: zero means no checksum
}

/** What goes on is a packet of the underlay, as if it had come from the port that it is to leave by. */
function becomeOuter(pkt: u32, outPort: u32, l4: u32, look: bool): void {
  if (look) {
    extract(pkt, outPort);
    return;
  }
  if (load<u16>(pkt, PKT_LONG)) store<u32>(pkt + PKT_KEY, 0, KEY_PACKET_TYPE);
  store<u16>(pkt, 0xffff, PKT_L2_5);
  store<u16>(pkt, <u16>ETH_LEN, PKT_L3);
  store<u16>(pkt, <u16>l4, PKT_L4);
}

/** Puts the header before what `trunc` has left of the packet. The caller has seen to it that there is room. */
function pushOne(pkt: u32, operands: u32): void {
  const cut = load<u32>(pkt, PKT_TRUNC);
  store<u32>(pkt, 0, PKT_TRUNC);
  if (cut) shorten(pkt, cut);
  const how = load<u32>(operands, 4);
  const size = how >> 16;
  const hash = hashOf(pkt);
  if ((how >> 8) & TUNNEL_PUSH_F_CSUM) pullUp(pkt);
  grow(pkt, size);
  const data = load<u32>(pkt, PKT_DATA);
  const len = load<u32>(pkt, PKT_LEN);
  memory.copy(data, operands + 12, size);
  const flags = (how >> 8) & 0xff;
  const l4 = finishIp(data, len, load<u32>(operands, 8));
  const csum = (flags & TUNNEL_PUSH_F_CSUM) != 0;
  if ((how & 0xff) != TUNNEL_GRE) finishUdp(data, len, l4, hash, csum);
  else if (csum) store<u16>(data + l4, <u16>~fold64(sumBytes(data + l4, len - l4)), 4);
  becomeOuter(pkt, load<u32>(operands), l4, (flags & TUNNEL_PUSH_F_LOOK) != 0);
}

/** Longest frame of the underlay: the length in an IPv4 header has 16 bits. */
const OUTER_MAX: u32 = ETH_LEN + 0xffff;

// @ts-ignore: decorator
@inline
function outerLength(pkt: u32, size: u32): u32 {
  const len = load<u32>(pkt, PKT_LEN);
  const cut = load<u32>(pkt, PKT_TRUNC);
  return (len > cut ? len - cut : 0) + size;
}

/**
 * Returns the packets that go on, linked: those without room in their slot, and those that get too long for IP, are dropped. A checksum that was left to be
 * completed is, for none is left in a tunnel; segments were cut before (ACTIONS_F_SEGMENTS).
 */
export function pushTunnels(head: u32, operands: u32): u32 {
  const size = load<u32>(operands, 4) >> 16;
  let first: u32 = 0;
  let last: u32 = 0;
  let pkt = head;
  while (pkt) {
    const next = load<u32>(pkt, PKT_NEXT);
    if (!hasRoom(pkt, size) || outerLength(pkt, size) > OUTER_MAX) drop(DROP_TUNNEL_PUSH_ERROR, 1);
    else if (finishChecksum(pkt)) {
      pushOne(pkt, operands);
      if (last) store<u32>(last, pkt, PKT_NEXT);
      else first = pkt;
      last = pkt;
    }
    pkt = next;
  }
  if (last) store<u32>(last, 0, PKT_NEXT);
  return first;
}
