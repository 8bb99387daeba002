/**
 * Takes the header of a tunnel off packets, as another host sent it, and has what is inside looked up, with what the header said in its key. Every length is
 * checked before it is believed. `src/dpif/tunnel-pop.ts` is the reference in TypeScript.
 */
import {
  ACT_F_LAST_USE,
  DROP_TUNNEL_POP_ERROR,
  KEY__SIZE,
  KEY_DP_HASH,
  KEY_IN_PORT,
  KEY_NW_FRAG,
  KEY_NW_PROTO,
  KEY_TUN_DST,
  KEY_TUN_FLAGS,
  KEY_TUN_GBP_FLAGS,
  KEY_TUN_GBP_ID,
  KEY_TUN_ID,
  KEY_TUN_IPV6_DST,
  KEY_TUN_IPV6_SRC,
  KEY_TUN_METADATA,
  KEY_TUN_METADATA_PRESENT,
  KEY_TUN_SRC,
  KEY_TUN_TOS,
  KEY_TUN_TP_SRC,
  KEY_TUN_TTL,
  PKT_DATA,
  PKT_KEY,
  PKT_L3,
  PKT_L4,
  PKT_LEN,
  PKT_NEXT,
  PKT_TRUNC,
  PORT_TUNNEL,
  PORTS_MAX,
  TUNNEL_F_GBP,
  TUNNEL_GENEVE,
  TUNNEL_GRE,
  TUNNEL_KIND_MASK,
  TUNNEL_NONE,
  TUNNEL_VXLAN,
} from './gen/arena';
import { finishChecksum } from './finish';
import { fold64, sumBytes } from './full-checksum';
import { lookUpAgain } from './recirc';
import { pullUp } from './tail';
import { drop, portAt } from './thread';
import { sendUserspace } from './upcall';

const NO_OFFSET: u32 = 0xffff;
const ETH_IPV4: u32 = 0x0008; // as it lies in memory
const ETH_IPV6: u32 = 0xdd86;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_GRE: u32 = 47;
const FRAG_LATER: u32 = 2;
const TEB: u32 = 0x6558;

/** FLOW_TNL_F_*, and that Geneve's options stand in the key as they were in the packet. */
const F_OAM: u32 = 1;
const F_CSUM: u32 = 4;
const F_KEY: u32 = 8;
const F_RAW: u32 = 16;

const GRE_CSUM: u32 = 0x8000;
const GRE_KEY: u32 = 0x2000;
const GRE_SEQ: u32 = 0x1000;

const VXLAN_FLAGS: u32 = 0x08000000;
const VXLAN_GPE: u32 = 0x04000000;
const VXLAN_GBP: u32 = 0x80000000;

/** Bytes of options that a key has room for. */
const OPTIONS_MAX: u32 = KEY__SIZE - KEY_TUN_METADATA;

/** What becomes of a packet, beside its popped size: dropped, or handed to the control thread. */
const BAD: u32 = 0;
const SLOW: u32 = 0xffffffff;

// What the outer headers say.
let six: bool = false;
let udp: bool = false;
let l3: u32 = 0;
let l4: u32 = 0;
let end: u32 = 0;
let flags: u32 = 0;
let id: u32 = 0;
let gbpId: u32 = 0;
let gbpFlags: u32 = 0;
/** Address and size of Geneve's options. */
let options: u32 = 0;
let optionsSize: u32 = 0;

// @ts-ignore: decorator
@inline
function be16(at: u32): u32 {
  return bswap<u16>(load<u16>(at));
}

// @ts-ignore: decorator
@inline
function be32(at: u32): u32 {
  return bswap<u32>(load<u32>(at));
}

/** Looks at the IP header, which `extract` has found: BAD, SLOW, or 1. */
function outerIp(pkt: u32): u32 {
  const data = load<u32>(pkt, PKT_DATA);
  const at: u32 = load<u16>(pkt, PKT_L3);
  if (at == NO_OFFSET || at < 14) return BAD;
  const type: u32 = load<u16>(data + at - 2);
  // More tags than are looked into.
  if (type != ETH_IPV4 && type != ETH_IPV6) return SLOW;
  if (load<u16>(pkt, PKT_L4) == 0xffff || load<u8>(pkt + PKT_KEY, KEY_NW_FRAG) & FRAG_LATER) return BAD;
  l3 = data + at;
  l4 = data + load<u16>(pkt, PKT_L4);
  six = type == ETH_IPV6;
  if (six) end = l3 + 40 + be16(l3 + 4);
  else {
    // Options are not supported; with 20 bytes of header the length was checked.
    if (load<u8>(l3) != 0x45 || fold64(sumBytes(l3, 20)) != 0xffff) return BAD;
    end = l3 + be16(l3 + 2);
  }
  return end >= l4 && end <= data + load<u32>(pkt, PKT_LEN) ? 1 : BAD;
}

/** The UDP header; false: its checksum is wrong. */
function outerUdp(): bool {
  if (end - l4 < 8) return false;
  if (load<u16>(l4, 6) == 0) return true;
  const addresses: u32 = six ? 32 : 8;
  const from = six ? l3 + 8 : l3 + 12;
  const size = end - l4;
  const pseudo = sumBytes(from, addresses) + (IPPROTO_UDP << 8) + bswap<u16>(<u16>size);
  if (fold64(pseudo + sumBytes(l4, size)) != 0xffff) return false;
  flags |= F_CSUM;
  return true;
}

/** Each returns where the packet inside starts, BAD or SLOW. */
function vxlan(at: u32, port: u32): u32 {
  if (at + 8 > end) return BAD;
  let bits = be32(at);
  const vni = be32(at + 4);
  if (bits & VXLAN_GPE) return SLOW; // may be without an Ethernet header
  if (port & TUNNEL_F_GBP && bits & VXLAN_GBP) {
    gbpId = bits & 0xffff;
    gbpFlags = (bits >> 16) & 0x48; // don't learn, and policy applied
    bits &= 0x7f000000;
  }
  if (bits != VXLAN_FLAGS || vni & 0xff) return BAD;
  id = vni >> 8;
  flags |= F_KEY;
  return at + 8;
}

function geneve(at: u32): u32 {
  if (at + 8 > end) return BAD;
  const first: u32 = load<u8>(at);
  optionsSize = (first & 0x3f) * 4;
  options = at + 8;
  if (options + optionsSize > end || first >> 6 || be16(at + 2) != TEB) return BAD;
  if (optionsSize > OPTIONS_MAX) return SLOW;
  if (load<u8>(at, 1) & 0x80) flags |= F_OAM;
  id = be32(at + 4) >> 8;
  flags |= F_KEY | F_RAW;
  return options + optionsSize;
}

function gre(at: u32): u32 {
  if (at + 4 > end) return BAD;
  const bits = be16(at);
  if (bits & ~(GRE_CSUM | GRE_KEY | GRE_SEQ)) return BAD;
  let inner = at + 4;
  if (bits & GRE_CSUM) inner += 4;
  const key = inner;
  if (bits & GRE_KEY) inner += 4;
  if (bits & GRE_SEQ) inner += 4;
  if (inner > end) return BAD;
  if (bits & GRE_CSUM) {
    if (fold64(sumBytes(at, end - at)) != 0xffff) return BAD;
    flags |= F_CSUM;
  }
  const proto = be16(at + 2);
  if (proto < 0x600) return BAD;
  if (proto != TEB) return SLOW;
  if (bits & GRE_KEY) {
    id = be32(key);
    flags |= F_KEY;
  }
  return inner;
}

/** Bytes to take off, BAD or SLOW. */
function readOuter(pkt: u32, port: u32): u32 {
  const kind = port & TUNNEL_KIND_MASK;
  if (kind == TUNNEL_NONE || load<u32>(pkt, PKT_TRUNC)) return SLOW;
  pullUp(pkt);
  const ip = outerIp(pkt);
  if (ip != 1) return ip;
  flags = 0;
  id = 0;
  gbpId = 0;
  gbpFlags = 0;
  optionsSize = 0;
  udp = kind != TUNNEL_GRE;
  const proto: u32 = load<u8>(pkt + PKT_KEY, KEY_NW_PROTO);
  let inner: u32 = BAD;
  if (!udp) {
    if (proto == IPPROTO_GRE) inner = gre(l4);
  } else if (proto == IPPROTO_UDP && outerUdp()) {
    if (kind == TUNNEL_VXLAN) inner = vxlan(l4 + 8, port);
    else if (kind == TUNNEL_GENEVE) inner = geneve(l4 + 8);
  }
  return inner == BAD || inner == SLOW ? inner : inner - load<u32>(pkt, PKT_DATA);
}

/** Writes what the outer headers said into a key whose metadata words are written. */
function storeTunnel(key: u32): void {
  memory.fill(key + KEY_TUN_ID, 0, KEY__SIZE - KEY_TUN_ID);
  store<u64>(key, bswap<u64>(id), KEY_TUN_ID);
  if (six) {
    memory.copy(key + KEY_TUN_IPV6_SRC, l3 + 8, 16);
    memory.copy(key + KEY_TUN_IPV6_DST, l3 + 24, 16);
    store<u8>(key, <u8>(be16(l3) >> 4), KEY_TUN_TOS);
    store<u8>(key, load<u8>(l3, 7), KEY_TUN_TTL);
  } else {
    store<u32>(key, load<u32>(l3, 12), KEY_TUN_SRC);
    store<u32>(key, load<u32>(l3, 16), KEY_TUN_DST);
    store<u8>(key, load<u8>(l3, 1), KEY_TUN_TOS);
    store<u8>(key, load<u8>(l3, 8), KEY_TUN_TTL);
  }
  store<u16>(key, bswap<u16>(<u16>flags), KEY_TUN_FLAGS);
  if (udp) store<u32>(key, load<u32>(l4), KEY_TUN_TP_SRC); // and TP_DST
  store<u16>(key, bswap<u16>(<u16>gbpId), KEY_TUN_GBP_ID);
  store<u8>(key, <u8>gbpFlags, KEY_TUN_GBP_FLAGS);
  store<u16>(key, bswap<u16>(<u16>optionsSize), KEY_TUN_METADATA_PRESENT);
  memory.copy(key + KEY_TUN_METADATA, options, optionsSize);
}

function popOne(pkt: u32, port: u32, operands: u32): void {
  // The outer checksum is that of the finished packet.
  if (!finishChecksum(pkt)) return;
  const kind = port < PORTS_MAX ? load<u32>(portAt(port), PORT_TUNNEL) : TUNNEL_NONE;
  const size = readOuter(pkt, kind);
  if (size == SLOW) {
    sendUserspace(pkt, load<u32>(operands, 8));
    return;
  }
  if (size == BAD) {
    drop(DROP_TUNNEL_POP_ERROR, 1);
    return;
  }
  const inner = lookUpAgain(pkt, 0, (load<u32>(operands, 4) & ACT_F_LAST_USE) != 0);
  if (!inner) return;
  store<u32>(inner, load<u32>(inner, PKT_DATA) + size, PKT_DATA);
  store<u32>(inner, load<u32>(inner, PKT_LEN) - size, PKT_LEN);
  const key = inner + PKT_KEY;
  store<u32>(key, port, KEY_IN_PORT);
  store<u32>(key, 0, KEY_DP_HASH);
  storeTunnel(key);
}

/** Packets that the fast path has no code for are handed to the control thread. */
export function popTunnels(head: u32, operands: u32): void {
  const port = load<u32>(operands);
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) popOne(pkt, port, operands);
}
