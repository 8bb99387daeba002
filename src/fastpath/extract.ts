/**
 * Headers of a frame → flow key. The rules are those of `src/flow/extract.ts`, its reference in TypeScript: a header that is truncated
 * or contradicts itself leaves its fields, and those of everything inside it, zero.
 */
import {
  ARENA_HEADER,
  HEADER_VLAN_LIMIT,
  KEY_ARP_SHA,
  KEY_ARP_THA,
  KEY_DL_DST,
  KEY_DL_SRC,
  KEY_DL_TYPE,
  KEY_IGMP_GROUP_IP4,
  KEY_IN_PORT,
  KEY_IPV6_DST,
  KEY_IPV6_LABEL,
  KEY_IPV6_SRC,
  KEY_MPLS_LSE0,
  KEY_ND_OPTIONS_TYPE,
  KEY_ND_RESERVED,
  KEY_ND_TARGET,
  KEY_NW_DST,
  KEY_NW_FRAG,
  KEY_NW_PROTO,
  KEY_NW_SRC,
  KEY_NW_TOS,
  KEY_NW_TTL,
  KEY_RECIRC_ID,
  KEY_TCP_FLAGS,
  KEY_TP_DST,
  KEY_TP_SRC,
  KEY_VLAN_TCI0,
  KEY_VLAN_TPID0,
  KEY_VLAN_TPID1,
  KEY__META_WORD,
  KEY__SHORT_WORDS,
  KEY__SIZE,
  PKT_DATA,
  PKT_KEY,
  PKT_L2_5,
  PKT_L3,
  PKT_L4,
  PKT_LEN,
  PKT_LONG,
  PKT_TAIL_LEN,
} from './gen/arena';
import { headLength, pullUp } from './tail';

const MAC_MASK: u64 = 0xffffffffffff;

// EtherTypes and protocol numbers; the first as they lie in memory (a little-endian load of network order).
const ETH_IPV4: u32 = 0x0008;
const ETH_IPV6: u32 = 0xdd86;
const ETH_ARP: u32 = 0x0608;
const ETH_RARP: u32 = 0x3580;
const ETH_VLAN: u32 = 0x0081;
const ETH_QINQ: u32 = 0xa888;
const ETH_MPLS: u32 = 0x4788;
const ETH_MPLS_MCAST: u32 = 0x4888;
/** FLOW_DL_TYPE_NONE, 0x05ff: a frame without an Ethertype. */
const DL_TYPE_NONE: u32 = 0xff05;

const IPPROTO_ICMP: u32 = 1;
const IPPROTO_IGMP: u32 = 2;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_FRAGMENT: u32 = 44;
const IPPROTO_ICMPV6: u32 = 58;
const IPPROTO_SCTP: u32 = 132;

const FRAG_ANY: u32 = 1;
const FRAG_LATER: u32 = 2;

const MPLS_LABELS_MAX: u32 = 3;
const NO_OFFSET: u32 = 0xffff;
const CFI: u32 = 0x10; // 0x1000 in network order

/** The packet that is parsed: start of the frame, where we are, bytes left. */
let frame: u32 = 0;
let at: u32 = 0;
let left: u32 = 0;
let key: u32 = 0;
let pkt: u32 = 0;

// @ts-ignore: decorator
@inline
function be16(v: u32): u32 {
  return ((v & 0xff) << 8) | ((v >> 8) & 0xff);
}

// @ts-ignore: decorator
@inline
function skip(size: u32): void {
  at += size;
  left -= size;
}

/** Writes the key words beyond the short ones as zero. */
// @ts-ignore: decorator
@inline
export function lengthenKey(pkt: u32): void {
  if (load<u16>(pkt, PKT_LONG)) return;
  store<u16>(pkt, 1, PKT_LONG);
  const zero = v128.splat<u8>(0);
  for (let i: u32 = KEY__SHORT_WORDS * 8; i < KEY__SIZE; i += 16) v128.store(pkt + PKT_KEY + i, zero);
}

/** A header needs no more bytes than this from where its parsing began. */
const HEADER_REACH: u32 = 64;

/** Extracts the key of the frame of `packet` (PKT_DATA, PKT_LEN) that came in by `inPort`. What headers lie beyond its snapshot is pulled up. */
export function extract(packet: u32, inPort: u32): void {
  startKey(packet, inPort);
  parse(packet);
  if (!isBeyondSnapshot(packet)) return;
  pullUp(packet);
  startKey(packet, inPort);
  parse(packet);
}

// @ts-ignore: decorator
@inline
function startKey(packet: u32, inPort: u32): void {
  store<u16>(packet, 0, PKT_LONG);
  store<u64>(packet + PKT_KEY, inPort, KEY_IN_PORT); // and no KEY_RECIRC_ID
}

/** True when the parser came to what is not at PKT_DATA, or near it. */
// @ts-ignore: decorator
@inline
function isBeyondSnapshot(packet: u32): bool {
  return load<u32>(packet, PKT_TAIL_LEN) != 0 && at + HEADER_REACH > frame + headLength(packet);
}

/** The same where the port, the recirculation and the metadata words stand in the key already. */
export function extractAgain(packet: u32): void {
  keepMetadata(packet);
  parse(packet);
  if (!isBeyondSnapshot(packet)) return;
  pullUp(packet);
  keepMetadata(packet);
  parse(packet);
}

/** Clears the key words between the short ones and those of metadata, when there is metadata. */
function keepMetadata(packet: u32): void {
  const at = packet + PKT_KEY;
  let metadata: u64 = 0;
  for (let i: u32 = KEY__META_WORD * 8; i < KEY__SIZE; i += 8) metadata |= load<u64>(at + i);
  store<u16>(packet, metadata ? 1 : 0, PKT_LONG);
  if (metadata) memory.fill(at + KEY__SHORT_WORDS * 8, 0, (KEY__META_WORD - KEY__SHORT_WORDS) * 8);
}

function parse(packet: u32): void {
  pkt = packet;
  key = pkt + PKT_KEY;
  frame = load<u32>(pkt, PKT_DATA);
  at = frame;
  left = load<u32>(pkt, PKT_LEN);
  store<u32>(pkt, 0xffffffff, PKT_L2_5); // and L3: absent
  store<u16>(pkt, 0xffff, PKT_L4);
  store<u64>(key, 0, KEY_NW_PROTO);
  store<u64>(key, 0, KEY_NW_SRC);
  store<u64>(key, 0, KEY_TCP_FLAGS);
  if (left < 14) {
    store<u64>(key, 0, KEY_DL_DST);
    store<u64>(key, 0, KEY_DL_SRC);
    return;
  }
  store<u64>(key, load<u64>(at) & MAC_MASK, KEY_DL_DST);
  store<u64>(key, load<u64>(at + 6) & MAC_MASK, KEY_DL_SRC);
  skip(12);
  let type: u32 = load<u16>(at);
  if (type == ETH_VLAN || type == ETH_QINQ) {
    parseVlans();
    type = load<u16>(at);
  }
  skip(2);
  if (be16(type) < 0x600) type = parseLlc();
  store<u16>(key, <u16>type, KEY_DL_TYPE);
  parseNetwork(type);
}

/** Up to two tags (other_config:vlan-limit); `at` is left on the Ethertype of what follows. */
function parseVlans(): void {
  const limit = load<u32>(ARENA_HEADER + HEADER_VLAN_LIMIT);
  for (let i: u32 = 0; i < limit; i++) {
    const tpid: u32 = load<u16>(at);
    if ((tpid != ETH_VLAN && tpid != ETH_QINQ) || left < 6) return;
    const tci = <u32>load<u16>(at + 2) | CFI;
    if (i == 0) {
      store<u16>(key, <u16>tpid, KEY_VLAN_TPID0);
      store<u16>(key, <u16>tci, KEY_VLAN_TCI0);
    } else {
      store<u32>(key, tpid | (tci << 16), KEY_VLAN_TPID1);
    }
    skip(4);
  }
}

/** The type of an 802.3 frame: that of its SNAP header when it has a good one. */
function parseLlc(): u32 {
  if (left < 8) return DL_TYPE_NONE;
  // DSAP and SSAP 0xaa, control 3, organisation 0.
  if ((load<u64>(at) & 0xffffffffffff) != 0x00000003aaaa) return DL_TYPE_NONE;
  const type: u32 = load<u16>(at + 6);
  if (be16(type) < 0x600) return DL_TYPE_NONE;
  skip(8);
  return type;
}

// @ts-ignore: decorator
@inline
function parseNetwork(type: u32): void {
  if (type == ETH_MPLS || type == ETH_MPLS_MCAST) {
    parseMpls();
    return;
  }
  store<u16>(pkt, <u16>(at - frame), PKT_L3);
  if (type == ETH_IPV4) parseIpv4();
  else if (type == ETH_IPV6) parseIpv6();
  else if (type == ETH_ARP || type == ETH_RARP) parseArp();
}

function parseMpls(): void {
  store<u16>(pkt, <u16>(at - frame), PKT_L2_5);
  lengthenKey(pkt);
  for (let i: u32 = 0; i < MPLS_LABELS_MAX; i++) {
    if (left < 4) return;
    const lse = load<u32>(at);
    store<u32>(key + i * 4, lse, KEY_MPLS_LSE0);
    skip(4);
    if (lse & 0x00010000) return; // bottom of stack: bit 8 of the label stack entry
  }
}

function parseIpv4(): void {
  if (left < 20) return;
  const ihl = <u32>(load<u8>(at) & 0x0f) * 4;
  const total = be16(load<u16>(at + 2));
  if (ihl < 20 || left < ihl || total > left || ihl > total) return;
  left = total;
  const frag = be16(load<u16>(at + 6)) & 0x3fff; // more fragments, offset
  let fragBits: u32 = 0;
  if (frag) fragBits = frag & 0x1fff ? FRAG_ANY | FRAG_LATER : FRAG_ANY;
  const proto: u32 = load<u8>(at + 9);
  store<u64>(key, load<u64>(at + 12), KEY_NW_SRC);
  store<u32>(key, proto | (<u32>load<u8>(at + 1) << 8) | (<u32>load<u8>(at + 8) << 16) | (fragBits << 24), KEY_NW_PROTO);
  skip(ihl);
  store<u16>(pkt, <u16>(at - frame), PKT_L4);
  if (!(fragBits & FRAG_LATER)) parseTransport(proto, false);
}

// @ts-ignore: decorator
@inline
function parseTransport(proto: u32, v6: bool): void {
  if (proto == IPPROTO_UDP) {
    if (left >= 8) store<u32>(key, load<u32>(at), KEY_TP_SRC);
  } else if (proto == IPPROTO_TCP) {
    const size = <u32>(load<u8>(at + 12) >> 4) * 4;
    if (left >= 20 && size >= 20 && left >= size) {
      store<u32>(key, load<u32>(at), KEY_TP_SRC);
      store<u16>(key, load<u16>(at + 12) & 0xff0f, KEY_TCP_FLAGS);
    }
  } else if (proto == IPPROTO_SCTP) {
    if (left >= 12) store<u32>(key, load<u32>(at), KEY_TP_SRC);
  } else if (!v6 && proto == IPPROTO_ICMP) {
    if (left >= 8) storeIcmp();
  } else if (!v6 && proto == IPPROTO_IGMP) {
    if (left >= 8) {
      storeIcmp();
      lengthenKey(pkt);
      store<u32>(key, load<u32>(at + 4), KEY_IGMP_GROUP_IP4);
    }
  } else if (v6 && proto == IPPROTO_ICMPV6) {
    if (left >= 8) parseIcmpv6();
  }
}

/** Type and code, each as a 16-bit number in network order. */
// @ts-ignore: decorator
@inline
function storeIcmp(): void {
  store<u32>(key, (<u32>load<u8>(at) << 8) | (<u32>load<u8>(at + 1) << 24), KEY_TP_SRC);
}

function parseIpv6(): void {
  if (left < 40) return;
  const payload = be16(load<u16>(at + 4));
  if (payload > left - 40) return;
  lengthenKey(pkt);
  v128.store(key + KEY_IPV6_SRC, v128.load(at + 8));
  v128.store(key + KEY_IPV6_DST, v128.load(at + 24));
  const first = load<u32>(at); // version, traffic class, flow label
  const tclass = ((first & 0x0f) << 4) | ((first >> 12) & 0x0f);
  const ttl: u32 = load<u8>(at + 7);
  let proto: u32 = load<u8>(at + 6);
  left = payload + 40;
  skip(40);
  const frag = skipExtensions(proto);
  if (frag == 0xffffffff) return;
  store<u32>(key, first & 0xffff0f00, KEY_IPV6_LABEL);
  proto = frag & 0xff;
  const fragBits = frag >> 8;
  store<u32>(key, proto | (tclass << 8) | (ttl << 16) | (fragBits << 24), KEY_NW_PROTO);
  if (at - frame >= NO_OFFSET) return;
  store<u16>(pkt, <u16>(at - frame), PKT_L4);
  if (!(fragBits & FRAG_LATER)) parseTransport(proto, true);
}

/** Steps over extension headers. Returns the upper protocol and the fragment bits << 8, or 0xffffffff when one is truncated. */
function skipExtensions(first: u32): u32 {
  let proto = first;
  let fragBits: u32 = 0;
  while (true) {
    if (proto == IPPROTO_FRAGMENT) {
      if (left < 8) return 0xffffffff;
      const word = be16(load<u16>(at + 2));
      proto = load<u8>(at);
      skip(8);
      if (word == 0) continue;
      if (word & 0xfff8) return IPPROTO_FRAGMENT | ((FRAG_ANY | FRAG_LATER) << 8);
      fragBits = FRAG_ANY;
    } else if (proto == 0 || proto == 43 || proto == 60 || proto == 51) {
      if (left < 8) return 0xffffffff;
      const words: u32 = load<u8>(at + 1);
      const size = proto == 51 ? (words + 2) * 4 : (words + 1) * 8;
      if (left < size) return 0xffffffff;
      proto = load<u8>(at);
      skip(size);
    } else {
      break;
    }
  }
  return proto | (fragBits << 8);
}

const ND_NEIGHBOR_SOLICIT: u32 = 135;
const ND_NEIGHBOR_ADVERT: u32 = 136;

function parseIcmpv6(): void {
  storeIcmp();
  const type: u32 = load<u8>(at);
  const code: u32 = load<u8>(at + 1);
  if (code != 0 || (type != ND_NEIGHBOR_SOLICIT && type != ND_NEIGHBOR_ADVERT)) return;
  store<u32>(key, load<u32>(at + 4), KEY_ND_RESERVED);
  if (left < 4 + 4 + 16) return;
  v128.store(key + KEY_ND_TARGET, v128.load(at + 8));
  skip(24);
  parseNdOptions();
}

/** Source (1) and target (2) link-layer address; a malformed or repeated option clears what ND gave. */
function parseNdOptions(): void {
  while (left >= 8) {
    const type: u32 = load<u8>(at);
    const size = <u32>load<u8>(at + 1) * 8;
    if (size == 0 || size > left) {
      clearNd();
      return;
    }
    if ((type == 1 || type == 2) && size == 8) {
      const member = type == 1 ? KEY_ARP_SHA : KEY_ARP_THA;
      if (load<u64>(key + member) & MAC_MASK) {
        clearNd();
        return;
      }
      const rest = load<u64>(key + member) & ~MAC_MASK;
      store<u64>(key + member, (load<u64>(at + 2) & MAC_MASK) | rest);
      if (load<u8>(key, KEY_ND_OPTIONS_TYPE) == 0) store<u8>(key, <u8>type, KEY_ND_OPTIONS_TYPE);
    }
    skip(size);
  }
}

function clearNd(): void {
  const zero = v128.splat<u8>(0);
  v128.store(key + KEY_ND_TARGET, zero);
  store<u64>(key, load<u64>(key, KEY_ARP_SHA) & ~MAC_MASK, KEY_ARP_SHA); // the first option's type stays
  store<u64>(key, 0, KEY_ARP_THA);
}

function parseArp(): void {
  if (left < 28) return;
  // Ethernet (1), IPv4 (0x0800), sizes 6 and 4.
  if ((load<u64>(at) & MAC_MASK) != 0x040600080100) return;
  const op = be16(load<u16>(at + 6));
  if (op <= 0xff) store<u8>(key, <u8>op, KEY_NW_PROTO);
  lengthenKey(pkt);
  store<u64>(key, load<u64>(at + 8) & MAC_MASK, KEY_ARP_SHA);
  store<u64>(key, load<u64>(at + 18) & MAC_MASK, KEY_ARP_THA);
  store<u32>(key, load<u32>(at + 14), KEY_NW_SRC);
  store<u32>(key, load<u32>(at + 24), KEY_NW_DST);
}
