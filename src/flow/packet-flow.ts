import { FLOW_MEMBERS } from '../gen/flow.ts';
import { Flow } from './flow.ts';

/**
 * Headers of an Ethernet frame as a Flow, in plain TypeScript: for packets that are on the control thread anyway (packet-out, traces,
 * the dummy datapath). A header that is cut short, or lies about its length, ends the parse; what came before it stays.
 */

const FLOW_DL_TYPE_NONE = 0x5ff;
const FRAG_ANY = 1;
const FRAG_LATER = 2;

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

  u8(ofs = 0): number {
    return this.p[this.at + ofs];
  }

  be16(ofs = 0): number {
    return (this.p[this.at + ofs] << 8) | this.p[this.at + ofs + 1];
  }

  be32(ofs = 0): number {
    return ((this.be16(ofs) << 16) | this.be16(ofs + 2)) >>> 0;
  }

  bytes(ofs: number, n: number): Uint8Array {
    return this.p.subarray(this.at + ofs, this.at + ofs + n);
  }
}

const isVlan = (type: number): boolean => type === 0x8100 || type === 0x88a8;

function parseVlans(c: Cursor, flow: Flow, limit: number): void {
  for (let i = 0; i < limit && c.left >= 6 && isVlan(c.be16()); i++) {
    const [tpid, tci] = [c.be16(), c.be16(2) | 0x1000];
    if (i === 0) [flow.vlanTpid0, flow.vlanTci0] = [tpid, tci];
    else [flow.vlanTpid1, flow.vlanTci1] = [tpid, tci];
    c.at += 4;
  }
}

/** The Ethertype, also of a SNAP frame; steps over it. */
function parseType(c: Cursor): number {
  if (c.left < 2) return FLOW_DL_TYPE_NONE;
  const type = c.be16();
  c.at += 2;
  if (type >= 0x600) return type;
  const snap = c.left >= 8 && c.be32() === 0xaaaa0300 && c.be16(4) === 0;
  if (!snap || c.be16(6) < 0x600) return FLOW_DL_TYPE_NONE;
  c.at += 8;
  return c.be16(-2);
}

function parseMpls(c: Cursor, flow: Flow): void {
  for (const name of ['mplsLse0', 'mplsLse1', 'mplsLse2'] as const) {
    if (c.left < 4) return;
    flow[name] = c.be32();
    c.at += 4;
    if (flow[name] & 0x100) return;
  }
}

function parseIpv4(c: Cursor, flow: Flow): void {
  if (c.left < 20) return;
  const ihl = (c.u8() & 15) * 4;
  const total = c.be16(2);
  if (ihl < 20 || ihl > total || total > c.left) return;
  c.end = c.at + total;
  const frag = c.be16(6) & 0x3fff;
  flow.nwFrag = frag === 0 ? 0 : frag & 0x1fff ? FRAG_ANY | FRAG_LATER : FRAG_ANY;
  flow.nwTos = c.u8(1);
  flow.nwTtl = c.u8(8);
  flow.nwProto = c.u8(9);
  flow.nwSrc = c.be32(12);
  flow.nwDst = c.be32(16);
  c.at += ihl;
  if (!(flow.nwFrag & FRAG_LATER)) parseTransport(c, flow);
}

function parseIpv6(c: Cursor, flow: Flow): void {
  if (c.left < 40 || c.be16(4) > c.left - 40) return;
  const first = c.be32();
  const [nextHeader, hopLimit] = [c.u8(6), c.u8(7)];
  flow.ipv6Src = c.bytes(8, 16);
  flow.ipv6Dst = c.bytes(24, 16);
  c.end = c.at + 40 + c.be16(4);
  c.at += 40;
  const upper = skipExtensions(c, nextHeader);
  if (!upper) return;
  flow.ipv6Label = first & 0xfffff;
  flow.nwTos = (first >>> 20) & 255;
  flow.nwTtl = hopLimit;
  flow.nwProto = upper.proto;
  flow.nwFrag = upper.frag;
  if (!(upper.frag & FRAG_LATER)) parseTransport(c, flow);
}

const FRAGMENT = 44;
const AUTH = 51;
const EXTENSIONS: readonly number[] = [0, 43, 60, AUTH];

/** Steps over extension headers; undefined when one is cut short. */
function skipExtensions(c: Cursor, first: number): { proto: number; frag: number } | undefined {
  let proto = first;
  let frag = 0;
  while (proto === FRAGMENT || EXTENSIONS.includes(proto)) {
    if (c.left < 8) return undefined;
    if (proto === FRAGMENT) {
      const word = c.be16(2);
      if (word & 0xfff8) return { proto: FRAGMENT, frag: FRAG_ANY | FRAG_LATER };
      if (word) frag = FRAG_ANY;
    }
    const size = proto === FRAGMENT ? 8 : proto === AUTH ? (c.u8(1) + 2) * 4 : (c.u8(1) + 1) * 8;
    if (c.left < size) return undefined;
    proto = c.u8();
    c.at += size;
  }
  return { proto, frag };
}

function parseTransport(c: Cursor, flow: Flow): void {
  const v6 = flow.dlType === 0x86dd;
  const ports = (size: number) => {
    if (c.left >= size) [flow.tpSrc, flow.tpDst] = [c.be16(), c.be16(2)];
  };
  switch (flow.nwProto) {
    case 6:
      ports(20);
      if (c.left >= 20) flow.tcpFlags = c.be16(12) & 0xfff;
      break;
    case 17:
      ports(8);
      break;
    case 132:
      ports(12);
      break;
    case 1:
    case 2:
      if (v6 || c.left < 8) break;
      [flow.tpSrc, flow.tpDst] = [c.u8(), c.u8(1)];
      if (flow.nwProto === 2) flow.igmpGroupIp4 = c.be32(4);
      break;
    case 58:
      if (v6 && c.left >= 4) parseIcmpv6(c, flow);
      break;
  }
}

function parseIcmpv6(c: Cursor, flow: Flow): void {
  [flow.tpSrc, flow.tpDst] = [c.u8(), c.u8(1)];
  if (flow.tpDst !== 0 || (flow.tpSrc !== 135 && flow.tpSrc !== 136) || c.left < 24) return;
  flow.ndReserved = c.be32(4);
  flow.ndTarget = c.bytes(8, 16);
  c.at += 24;
  if (parseNdOptions(c, flow)) return;
  for (const name of ['nd_target', 'arp_sha', 'arp_tha'] as const) {
    const { offset, size } = FLOW_MEMBERS[name];
    flow.u8.fill(0, offset, offset + size);
  }
  flow.ndReserved = 0;
  flow.ndOptionsType = 0;
}

/** False when an option is malformed or repeated (RFC 4861 section 4.6). */
function parseNdOptions(c: Cursor, flow: Flow): boolean {
  while (c.left >= 8) {
    const [type, size] = [c.u8(), c.u8(1) * 8];
    if (size === 0 || size > c.left) return false;
    const member = type === 1 ? flow.arpSha : flow.arpTha;
    if ((type === 1 || type === 2) && size === 8) {
      if (member.some((b) => b !== 0)) return false;
      member.set(c.bytes(2, 6));
      flow.ndOptionsType = type;
    }
    c.at += size;
  }
  return true;
}

function parseArp(c: Cursor, flow: Flow): void {
  if (c.left < 28 || c.be16() !== 1 || c.be16(2) !== 0x0800 || c.u8(4) !== 6 || c.u8(5) !== 4) return;
  flow.nwProto = c.be16(6) <= 0xff ? c.be16(6) : 0;
  flow.nwSrc = c.be32(14);
  flow.nwDst = c.be32(24);
  if (flow.nwProto !== 1 && flow.nwProto !== 2) return;
  flow.arpSha = c.bytes(8, 6);
  flow.arpTha = c.bytes(18, 6);
}

/** Parses a frame. `vlanLimit`: how many tags are looked at (Open_vSwitch.other_config:vlan-limit). */
export function flowFromPacket(packet: Uint8Array, inPort: number, vlanLimit = 1): Flow {
  const flow = new Flow();
  flow.inPort = inPort;
  if (packet.length < 14) return flow;
  const c = new Cursor(packet);
  flow.dlDst = c.bytes(0, 6);
  flow.dlSrc = c.bytes(6, 6);
  c.at = 12;
  parseVlans(c, flow, vlanLimit);
  flow.dlType = parseType(c);
  if (flow.dlType === 0x0800) parseIpv4(c, flow);
  else if (flow.dlType === 0x86dd) parseIpv6(c, flow);
  else if (flow.dlType === 0x0806 || flow.dlType === 0x8035) parseArp(c, flow);
  else if (flow.dlType === 0x8847 || flow.dlType === 0x8848) parseMpls(c, flow);
  return flow;
}
