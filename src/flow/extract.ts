import { FLOW_MEMBERS } from '../gen/flow.ts';
import type { Flow } from './flow.ts';

/**
 * Headers of a frame as a Flow: the reference for the fast path's `extract`, and what the control thread uses. The rules, which are those
 * of Open vSwitch 3.1:
 *
 * - A header that is truncated, or says something impossible about its own length, sets none of its fields, and parsing ends there.
 *   What was set before stays: a frame whose IPv4 header is bad still has its dl_type.
 * - IPv4: IHL below 5 or beyond the total length, and a total length beyond the frame, are impossible. Bytes after the total length are
 *   padding and are never looked at. Checksums are not checked.
 * - Later fragments have no transport header; nw_proto of a later IPv6 fragment is 44.
 * - IPv6 extension headers are stepped over; when one is truncated only the addresses are set. Every step takes 8 bytes at least, so the
 *   frame bounds their number.
 * - At most `vlanLimit` tags; the TCI always has CFI, for "present". At most three MPLS labels; nothing behind MPLS is parsed.
 * - dl_type below 0x600 is an 802.3 length: FLOW_DL_TYPE_NONE (0x5ff), unless a SNAP header gives a type.
 * - Neighbour discovery: an option that comes twice, has length 0 or ends beyond the packet clears nd_target, nd_sll and nd_tll
 *   (RFC 4861 section 4.6 would drop the packet; Open vSwitch 3.1 ignores the rest when the length is wrong).
 */

const FLOW_DL_TYPE_NONE = 0x5ff;
const ETH_MIN = 0x600;
const CFI = 0x1000;
const FRAG_ANY = 1;
const FRAG_LATER = 2;

/** Tags that are looked at when the configuration does not say otherwise. */
export const VLAN_LIMIT_DEFAULT = 1;
const VLAN_HEADERS_MAX = 2;
let vlanLimitOfAll = VLAN_LIMIT_DEFAULT;

/** Open_vSwitch.other_config:vlan-limit, which counts for the whole program: 0 is as many as a Flow has. False when it was so before. */
export function setVlanLimit(limit: number): boolean {
  const next = limit <= 0 ? VLAN_HEADERS_MAX : Math.min(limit, VLAN_HEADERS_MAX);
  const changed = next !== vlanLimitOfAll;
  vlanLimitOfAll = next;
  return changed;
}

/** Puts the tags beyond the limit out of sight: the first of them is what the packet holds. */
export function limitVlans(flow: Flow): void {
  if (vlanLimitOfAll >= VLAN_HEADERS_MAX || !flow.vlanTci1) return;
  flow.u8.fill(0, FLOW_MEMBERS.nw_src.offset);
  flow.dlType = flow.vlanTpid1;
  flow.vlanTpid1 = flow.vlanTci1 = 0;
}

/** The bytes from `at` to `end`. */
class Cursor {
  readonly p: Uint8Array;
  at = 0;
  end: number;

  constructor(p: Uint8Array) {
    this.p = p;
    this.end = p.length;
  }

  get left(): number {
    return this.end - this.at;
  }

  u8(ofs: number): number {
    return this.p[this.at + ofs];
  }

  be16(ofs: number): number {
    return (this.p[this.at + ofs] << 8) | this.p[this.at + ofs + 1];
  }

  be32(ofs: number): number {
    return ((this.be16(ofs) << 16) | this.be16(ofs + 2)) >>> 0;
  }

  bytes(ofs: number, n: number): Uint8Array {
    return this.p.subarray(this.at + ofs, this.at + ofs + n);
  }
}

const isTag = (type: number): boolean => type === 0x8100 || type === 0x88a8;

function parseVlans(c: Cursor, flow: Flow, limit: number): void {
  for (let i = 0; i < Math.min(limit, VLAN_HEADERS_MAX) && c.left >= 6 && isTag(c.be16(0)); i++) {
    if (i === 0) {
      flow.vlanTpid0 = c.be16(0);
      flow.vlanTci0 = c.be16(2) | CFI;
    } else {
      flow.vlanTpid1 = c.be16(0);
      flow.vlanTci1 = c.be16(2) | CFI;
    }
    c.at += 4;
  }
}

/** Steps over the Ethertype, and over a SNAP header (RFC 1042) that stands for one. */
function parseEthertype(c: Cursor): number {
  const type = c.be16(0);
  c.at += 2;
  if (type >= ETH_MIN) return type;
  if (c.left < 8 || c.be32(0) !== 0xaaaa0300 || c.be16(4) !== 0 || c.be16(6) < ETH_MIN) return FLOW_DL_TYPE_NONE;
  c.at += 8;
  return c.be16(-2);
}

function parseMpls(c: Cursor, flow: Flow): void {
  for (const name of ['mplsLse0', 'mplsLse1', 'mplsLse2'] as const) {
    if (c.left < 4) return;
    const lse = c.be32(0);
    flow[name] = lse;
    c.at += 4;
    if (lse & 0x100) return;
  }
}

function parseIpv4(c: Cursor, flow: Flow): void {
  if (c.left < 20) return;
  const headerSize = (c.u8(0) & 15) * 4;
  const total = c.be16(2);
  if (headerSize < 20 || headerSize > total || total > c.left) return;
  c.end = c.at + total;
  const frag = c.be16(6) & 0x3fff;
  flow.nwSrc = c.be32(12);
  flow.nwDst = c.be32(16);
  flow.nwFrag = frag === 0 ? 0 : frag & 0x1fff ? FRAG_ANY | FRAG_LATER : FRAG_ANY;
  flow.nwTos = c.u8(1);
  flow.nwTtl = c.u8(8);
  flow.nwProto = c.u8(9);
  c.at += headerSize;
  if (!(flow.nwFrag & FRAG_LATER)) parseTransport(c, flow, false);
}

function parseIpv6(c: Cursor, flow: Flow): void {
  if (c.left < 40 || c.be16(4) > c.left - 40) return;
  const first = c.be32(0);
  const [nextHeader, hopLimit] = [c.u8(6), c.u8(7)];
  flow.ipv6Src = c.bytes(8, 16);
  flow.ipv6Dst = c.bytes(24, 16);
  c.end = c.at + 40 + c.be16(4);
  c.at += 40;
  const upper = skipExtensions(c, nextHeader);
  if (!upper) return;
  flow.ipv6Label = first & 0xfffff;
  flow.nwTos = (first >>> 20) & 0xff;
  flow.nwTtl = hopLimit;
  flow.nwProto = upper.proto;
  flow.nwFrag = upper.frag;
  if (!(upper.frag & FRAG_LATER)) parseTransport(c, flow, true);
}

const IPPROTO_FRAGMENT = 44;
const IPPROTO_AH = 51;
/** Hop-by-hop options, routing, destination options. */
const OPTIONS: readonly number[] = [0, 43, 60];

/** Steps over extension headers (RFC 8200 section 4); undefined when one is truncated. */
function skipExtensions(c: Cursor, first: number): { proto: number; frag: number } | undefined {
  let proto = first;
  let frag = 0;
  for (;;) {
    const options = OPTIONS.includes(proto);
    if (!options && proto !== IPPROTO_AH && proto !== IPPROTO_FRAGMENT) return { proto, frag };
    if (c.left < 8) return undefined;
    const next = c.u8(0);
    const size = options ? (c.u8(1) + 1) * 8 : proto === IPPROTO_AH ? (c.u8(1) + 2) * 4 : 8;
    if (size > c.left) return undefined;
    const fragment = proto === IPPROTO_FRAGMENT ? c.be16(2) : 0;
    c.at += size;
    proto = next;
    if (fragment) frag = FRAG_ANY;
    if (fragment & 0xfff8) return { proto: IPPROTO_FRAGMENT, frag: FRAG_ANY | FRAG_LATER };
  }
}

function parsePorts(c: Cursor, flow: Flow): void {
  flow.tpSrc = c.be16(0);
  flow.tpDst = c.be16(2);
}

function parseTcp(c: Cursor, flow: Flow): void {
  if (c.left < 20) return;
  const headerSize = (c.u8(12) >> 4) * 4;
  if (headerSize < 20 || headerSize > c.left) return;
  parsePorts(c, flow);
  flow.tcpFlags = c.be16(12) & 0xfff;
}

/** ICMP's and IGMP's type and code are 16-bit numbers in a flow. */
function parseIcmp(c: Cursor, flow: Flow): void {
  flow.tpSrc = c.u8(0);
  flow.tpDst = c.u8(1);
}

/** ICMP counts in IPv4 and ICMPv6 in IPv6 only. */
function parseTransport(c: Cursor, flow: Flow, v6: boolean): void {
  const proto = flow.nwProto;
  if (proto === 6) parseTcp(c, flow);
  else if (proto === 17 && c.left >= 8) parsePorts(c, flow);
  else if (proto === 132 && c.left >= 12) parsePorts(c, flow);
  else if (proto === 1 && !v6 && c.left >= 8) parseIcmp(c, flow);
  else if (proto === 2 && !v6 && c.left >= 8) {
    parseIcmp(c, flow);
    flow.igmpGroupIp4 = c.be32(4);
  } else if (proto === 58 && v6 && c.left >= 8) parseIcmpv6(c, flow);
}

const ND_SOLICIT = 135;
const ND_ADVERT = 136;

function parseIcmpv6(c: Cursor, flow: Flow): void {
  parseIcmp(c, flow);
  if (flow.tpDst !== 0 || (flow.tpSrc !== ND_SOLICIT && flow.tpSrc !== ND_ADVERT)) return;
  flow.ndReserved = c.be32(4);
  if (c.left < 24) return;
  flow.ndTarget = c.bytes(8, 16);
  c.at += 24;
  if (parseNdOptions(c, flow)) return;
  for (const name of ['nd_target', 'arp_sha', 'arp_tha'] as const) {
    const { offset, size } = FLOW_MEMBERS[name];
    flow.u8.fill(0, offset, offset + size);
  }
}

/** Source (1) and target (2) link-layer address. False when an option is malformed or comes twice. */
function parseNdOptions(c: Cursor, flow: Flow): boolean {
  while (c.left >= 8) {
    const [type, size] = [c.u8(0), c.u8(1) * 8];
    if (size === 0 || size > c.left) return false;
    if ((type === 1 || type === 2) && size === 8) {
      const address = type === 1 ? flow.arpSha : flow.arpTha;
      if (address.some((b) => b !== 0)) return false;
      address.set(c.bytes(2, 6));
      if (flow.ndOptionsType === 0) flow.ndOptionsType = type;
    }
    c.at += size;
  }
  return true;
}

/** ARP and RARP for IPv4 over Ethernet; an opcode above 255 is not set. */
function parseArp(c: Cursor, flow: Flow): void {
  if (c.left < 28 || c.be32(0) !== 0x00010800 || c.be16(4) !== 0x0604) return;
  const op = c.be16(6);
  if (op <= 0xff) flow.nwProto = op;
  flow.arpSha = c.bytes(8, 6);
  flow.nwSrc = c.be32(14);
  flow.arpTha = c.bytes(18, 6);
  flow.nwDst = c.be32(24);
}

/** Network service header (RFC 8300) of version 0; contexts of metadata type 1. */
function parseNsh(c: Cursor, flow: Flow): void {
  if (c.left < 8) return;
  const word = c.be16(0);
  const size = (word & 0x3f) * 4;
  const mdtype = c.u8(2) & 0x0f;
  if (word >>> 14 !== 0 || size > c.left || size < 8 || (mdtype === 1 && size !== 24)) return;
  flow.nshFlags = (word >>> 12) & 3;
  flow.nshTtl = (word >>> 6) & 0x3f;
  flow.nshMdtype = c.u8(2);
  flow.nshNp = c.u8(3);
  flow.nshPathHdr = c.be32(4);
  if (mdtype !== 1) return;
  flow.nshContext0 = c.be32(8);
  flow.nshContext1 = c.be32(12);
  flow.nshContext2 = c.be32(16);
  flow.nshContext3 = c.be32(20);
}

const PARSERS: Readonly<Record<number, (c: Cursor, flow: Flow) => void>> = {
  2048: parseIpv4,
  34525: parseIpv6,
  2054: parseArp,
  32821: parseArp,
  34887: parseMpls,
  34888: parseMpls,
  35151: parseNsh,
};

const METADATA_END = FLOW_MEMBERS.dl_dst.offset;

/**
 * Sets the header members of `into` from a frame, zero where the frame has no such header; the metadata (in_port, registers, tunnel…)
 * stays as it is. A frame shorter than an Ethernet header has none. Keeps no reference to `packet`. `packetType`, when given, is what the
 * packet starts with (0: an Ethernet header; ns 1: the header of that Ethertype), and becomes `into.packetType`.
 */
export function extract(packet: Uint8Array, into: Flow, vlanLimit: number = vlanLimitOfAll, packetType?: number): void {
  into.u8.fill(0, METADATA_END);
  if (packetType !== undefined) into.packetType = packetType;
  const c = new Cursor(packet);
  if (packetType) into.dlType = packetType & 0xffff;
  else if (packet.length < 14) return;
  else {
    into.dlDst = c.bytes(0, 6);
    into.dlSrc = c.bytes(6, 6);
    c.at = 12;
    parseVlans(c, into, vlanLimit);
    into.dlType = parseEthertype(c);
  }
  PARSERS[into.dlType]?.(c, into);
}
