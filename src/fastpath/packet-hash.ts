/**
 * Hashes of a packet that choose among links and buckets: the values of `src/flow/flow-hash.ts`, their reference in TypeScript, by MurmurHash3 in steps
 * (`src/base/hash.ts`).
 */
import {
  KEY_DL_DST,
  KEY_DL_SRC,
  KEY_DL_TYPE,
  KEY_IPV6_DST,
  KEY_IPV6_SRC,
  KEY_NW_DST,
  KEY_NW_FRAG,
  KEY_NW_PROTO,
  KEY_NW_SRC,
  KEY_PACKET_TYPE,
  KEY_TP_DST,
  KEY_TP_SRC,
  KEY_VLAN_TCI0,
  KEY_VLAN_TCI1,
  PKT_F_NO_RSS,
  PKT_FLAGS,
  PKT_KEY,
  PKT_LONG,
  PKT_RSS,
} from './gen/arena';
import { lengthenKey } from './extract';

const MAC_MASK: u64 = 0xffffffffffff;
// Ethertypes and TCI bits as they lie in memory.
const ETH_IPV4: u32 = 0x0008;
const ETH_IPV6: u32 = 0xdd86;
const ETH_ARP: u32 = 0x0608;
const VLAN_VID: u32 = 0xff0f;
const IPPROTO_ICMP: u32 = 1;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_ICMPV6: u32 = 58;
const IPPROTO_SCTP: u32 = 132;

// @ts-ignore: decorator
@inline
function add(hash: u32, word: u32): u32 {
  const k = rotl<u32>(word * 0xcc9e2d51, 15) * 0x1b873593;
  return rotl<u32>(hash ^ k, 13) * 5 + 0xe6546b64;
}

// @ts-ignore: decorator
@inline
function finish(hash: u32, final: u32): u32 {
  let x = hash ^ final;
  x = (x ^ (x >> 16)) * 0x85ebca6b;
  x = (x ^ (x >> 13)) * 0xc2b2ae35;
  return x ^ (x >> 16);
}

function add16Bytes(hash: u32, at: u32): u32 {
  let h = hash;
  for (let i: u32 = 0; i < 16; i += 4) h = add(h, load<u32>(at + i));
  return h;
}

/** The addresses of a packet that is IPv6: zero where its header is not whole. */
// @ts-ignore: decorator
@inline
function withAddresses(pkt: u32): u32 {
  lengthenKey(pkt);
  return pkt + PKT_KEY;
}

function addXored(hash: u32, key: u32): u32 {
  let h = hash;
  for (let i: u32 = 0; i < 16; i += 4) h = add(h, load<u32>(key + i, KEY_IPV6_SRC) ^ load<u32>(key + i, KEY_IPV6_DST));
  return h;
}

/** Of the addresses, ports and protocol in the packet's key. */
export function hash5Tuple(pkt: u32, basis: u32): u32 {
  const key = pkt + PKT_KEY;
  const type: u32 = load<u16>(key, KEY_DL_TYPE);
  let h = basis;
  if (type == ETH_IPV6) h = add16Bytes(add16Bytes(h, withAddresses(pkt) + KEY_IPV6_SRC), key + KEY_IPV6_DST);
  else if (type == ETH_IPV4 || type == ETH_ARP) h = add(add(h, load<u32>(key, KEY_NW_SRC)), load<u32>(key, KEY_NW_DST));
  else return finish(h, 42);
  const proto: u32 = load<u8>(key, KEY_NW_PROTO);
  h = add(h, proto);
  const ports = proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
  if (ports || proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) h = add(h, load<u32>(key, KEY_TP_SRC));
  return finish(h, 42);
}

function hashSymmetricL2(key: u32, long: bool, basis: u32): u32 {
  if (long && load<u32>(key, KEY_PACKET_TYPE)) return 0;
  const vlan = (<u32>load<u16>(key, KEY_VLAN_TCI0) ^ <u32>load<u16>(key, KEY_VLAN_TCI1)) & VLAN_VID;
  const mac = (load<u64>(key, KEY_DL_SRC) ^ load<u64>(key, KEY_DL_DST)) & MAC_MASK;
  const h = add(basis, <u32>load<u16>(key, KEY_DL_TYPE) | (vlan << 16));
  return finish(add(add(h, <u32>mac), <u32>(mac >> 32)), basis);
}

/** The same for both directions of a connection. */
export function hashSymmetricL3L4(pkt: u32, basis: u32): u32 {
  const key = pkt + PKT_KEY;
  const type: u32 = load<u16>(key, KEY_DL_TYPE);
  if (type != ETH_IPV4 && type != ETH_IPV6) return hashSymmetricL2(key, load<u16>(pkt, PKT_LONG) != 0, basis);
  let h = basis;
  if (type == ETH_IPV4) h = add(h, load<u32>(key, KEY_NW_SRC) ^ load<u32>(key, KEY_NW_DST));
  else h = addXored(h, withAddresses(pkt));
  const proto: u32 = load<u8>(key, KEY_NW_PROTO);
  h = add(h, proto);
  if (!load<u8>(key, KEY_NW_FRAG) && (proto == IPPROTO_TCP || proto == IPPROTO_SCTP))
    h = add(h, <u32>load<u16>(key, KEY_TP_SRC) ^ <u32>load<u16>(key, KEY_TP_DST));
  return finish(h, basis);
}

/** The packet's hash as its device would have given it: of its headers when it was received, which its key still has. 0 for the control thread's packets. */
export function rssHash(pkt: u32): u32 {
  const known = load<u32>(pkt, PKT_RSS);
  if (known || load<u32>(pkt, PKT_FLAGS) & PKT_F_NO_RSS) return known;
  const hash = hash5Tuple(pkt, 0);
  store<u32>(pkt, hash, PKT_RSS);
  return hash;
}

/** Hash of a hash and another word. */
export function hash2Words(x: u32, y: u32): u32 {
  return finish(add(add(x, 0), y), 8);
}
