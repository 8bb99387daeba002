import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import type { Flow } from '../flow/flow.ts';
import { FLOW_MEMBERS } from '../gen/flow.ts';
import type { TunnelConfig } from '../netdev/tunnel-config.ts';
import { TUNNEL_F_CSUM, TUNNEL_F_KEY, TUNNEL_F_OAM } from './dpif.ts';
import { findHeaders } from './packet-headers.ts';
import { PT_ETH, PT_NSH } from './packet-key.ts';
import { setRawGeneve } from './tunnel-geneve.ts';
import { sumPseudo, sumWords } from './tunnel-push.ts';

/** Takes the outer headers off a packet, as another host sent it: every length is checked before it is believed. */

const log = vlogModule('native_tnl');
const limit = new VlogRateLimit(60, 5);

const PT_IPV4 = 0x10800;
const PT_IPV6 = 0x186dd;
const TEB = 0x6558;
const GRE_CSUM = 0x8000;
const GRE_KEY = 0x2000;
const GRE_SEQ = 0x1000;
const ERSPAN1 = 0x88be;
const ERSPAN2 = 0x22eb;
const GTPU_GPDU = 255;
const TUNNEL_END = FLOW_MEMBERS.tun_metadata.offset + FLOW_MEMBERS.tun_metadata.size;

/** What a header says of the packet inside. */
interface Inner {
  /** Where it starts. */
  at: number;
  packetType: number;
}

type Popper = (p: Buffer, l4: number, md: Flow, tunnel: Pick<TunnelConfig, 'gbp'>) => Inner | undefined;

/** Fills the outer addresses in; undefined: the IP header is not to be trusted. `end`: of the IP packet; like Open
 *  vSwitch, checksums go so far, and what is behind it stays with the packet inside. */
function outerIp(p: Buffer, md: Flow): { l3: number; l4: number; end: number; proto: number } | undefined {
  const { l3, l3Type, l4, ipProto: proto } = findHeaders(p);
  if (l3 < 0) return undefined;
  const six = l3Type === 0x86dd;
  if (!six && (l3Type !== 0x0800 || p[l3] >>> 4 !== 4)) return undefined;
  const ihl = (p[l3] & 15) * 4;
  if (!six && (l3 + 20 > p.length || ihl < 20 || l3 + ihl > p.length)) return undefined;
  if (!six && sumWords(p, l3, l3 + ihl) !== 0xffff) {
    log.warnRl(limit, 'ip packet has invalid checksum');
    return undefined;
  }
  if (l4 < 0) return undefined;
  const size = p.length - l3;
  const total = six ? 40 + p.readUInt16BE(l3 + 4) : p.readUInt16BE(l3 + 2);
  if (l3 + total < l4) return undefined;
  if (six && total > size) return undefined;
  if (!six) {
    if (total > size) {
      log.warnRl(limit, `ip packet is truncated (IP length ${total}, actual ${size})`);
      return undefined;
    }
    if (ihl > 20) {
      log.warnRl(limit, `ip options not supported on tunnel packets (${ihl} bytes)`);
      return undefined;
    }
    [md.tunSrc, md.tunDst] = [p.readUInt32BE(l3 + 12), p.readUInt32BE(l3 + 16)];
    [md.tunTos, md.tunTtl] = [p[l3 + 1], p[l3 + 8]];
  } else {
    md.tunIpv6Src = p.subarray(l3 + 8, l3 + 24);
    md.tunIpv6Dst = p.subarray(l3 + 24, l3 + 40);
    [md.tunTos, md.tunTtl] = [(p.readUInt16BE(l3) >>> 4) & 0xff, p[l3 + 7]];
  }
  return { l3, l4, end: l3 + total, proto };
}

/** The UDP header; returns where the tunnel's starts. */
function outerUdp(p: Buffer, l3: number, l4: number, md: Flow): number | undefined {
  const size = p.length - l4;
  if (size < 8) return undefined;
  if (p.readUInt16BE(l4 + 6) !== 0) {
    if (sumWords(p, l4, p.length, sumPseudo(p, l3, 17, size)) !== 0xffff) return undefined;
    md.tunFlags |= TUNNEL_F_CSUM;
  }
  [md.tunTpSrc, md.tunTpDst] = [p.readUInt16BE(l4), p.readUInt16BE(l4 + 2)];
  return l4 + 8;
}

function setKey(md: Flow, key: number): void {
  md.tunId = BigInt(key);
  md.tunFlags |= TUNNEL_F_KEY;
}

const VXLAN_FLAGS = 0x08000000;
const VXLAN_GPE = 0x04000000;
const VXLAN_GBP = 0x80000000;
/** Bits that GPE gives a meaning: version, OAM, next protocol. */
const VXLAN_GPE_BITS = 0x350000ff;
const GPE_TYPES: Readonly<Record<number, number>> = { 1: PT_IPV4, 2: PT_IPV6, 3: PT_ETH, 4: PT_NSH };
const GPE_OAM = 0x01000000;
/** Don't learn, and policy applied. */
const GBP_FLAGS = 0x48;

const popVxlan: Popper = (p, at, md, { gbp }) => {
  if (at + 8 > p.length) return undefined;
  let flags = p.readUInt32BE(at);
  const vni = p.readUInt32BE(at + 4);
  let packetType = PT_ETH;
  if (flags & VXLAN_GPE) {
    const next = GPE_TYPES[flags & 0xff];
    if (flags & GPE_OAM || next === undefined) return undefined;
    flags = (flags & ~VXLAN_GPE_BITS) >>> 0;
    packetType = next;
  } else if (gbp && flags & VXLAN_GBP) {
    md.tunGbpFlags = (flags >>> 16) & GBP_FLAGS;
    md.tunGbpId = flags & 0xffff;
    flags &= 0x7f000000;
  }
  if (flags !== VXLAN_FLAGS || vni & 0xff) {
    log.warnRl(limit, `invalid vxlan flags=0x${flags.toString(16)} vni=0x${vni.toString(16)}\n`);
    return undefined;
  }
  setKey(md, vni >>> 8);
  return { at: at + 8, packetType };
};

const popGeneve: Popper = (p, at, md) => {
  if (at + 8 > p.length) {
    log.warnRl(limit, `geneve packet too small: min header=16 packet size=${p.length - at + 8}\n`);
    return undefined;
  }
  const options = (p[at] & 0x3f) * 4;
  const end = at + 8 + options;
  if (end > p.length) {
    log.warnRl(limit, `geneve packet too small: header len=${end} packet size=${p.length}\n`);
    return undefined;
  }
  if (p[at] >>> 6 !== 0) {
    log.warnRl(limit, `unknown geneve version: ${p[at] >>> 6}\n`);
    return undefined;
  }
  const proto = p.readUInt16BE(at + 2);
  if (proto !== TEB) {
    log.warnRl(limit, `unknown geneve encapsulated protocol: 0x${proto.toString(16)}\n`);
    return undefined;
  }
  if (p[at + 1] & 0x80) md.tunFlags |= TUNNEL_F_OAM;
  setKey(md, p.readUInt32BE(at + 4) >>> 8);
  setRawGeneve(md, p.subarray(at + 8, end));
  return { at: end, packetType: PT_ETH };
};

const popGre: Popper = (p, at, md) => {
  if (at + 4 > p.length) return undefined;
  const flags = p.readUInt16BE(at);
  if (flags & ~(GRE_CSUM | GRE_KEY | GRE_SEQ)) return undefined;
  const word = (bit: number) => (flags & bit ? 4 : 0);
  const end = at + 4 + word(GRE_CSUM) + word(GRE_KEY) + word(GRE_SEQ);
  if (end > p.length) return undefined;
  if (flags & GRE_CSUM) {
    if (sumWords(p, at, p.length) !== 0xffff) return undefined;
    md.tunFlags |= TUNNEL_F_CSUM;
  }
  if (flags & GRE_KEY) setKey(md, p.readUInt32BE(at + 4 + word(GRE_CSUM)));
  const proto = p.readUInt16BE(at + 2);
  if (proto < 0x600) return undefined;
  return { at: end, packetType: proto === TEB ? PT_ETH : (0x10000 | proto) >>> 0 };
};

const popErspan: Popper = (p, at, md) => {
  if (at + 16 > p.length) return undefined;
  const [flags, proto] = [p.readUInt16BE(at), p.readUInt16BE(at + 2)];
  if ((proto !== ERSPAN1 && proto !== ERSPAN2) || flags & ~GRE_SEQ) return undefined;
  const word = p.readUInt32BE(at + 8);
  const version = word >>> 28;
  setKey(md, word & 0x3ff);
  md.tunErspanVer = version;
  if (version === 1) {
    md.tunErspanIdx = p.readUInt32BE(at + 12);
    return { at: at + 16, packetType: PT_ETH };
  }
  if (version !== 2) {
    log.warnRl(limit, `ERSPAN version error ${version}`);
    return undefined;
  }
  if (at + 20 > p.length) return undefined;
  const last = p.readUInt16BE(at + 18);
  md.tunErspanDir = (last >>> 3) & 1;
  md.tunErspanHwid = (last >>> 4) & 63;
  return { at: at + 20, packetType: PT_ETH };
};

const popGtpu: Popper = (p, at, md) => {
  if (at + 8 > p.length) return undefined;
  const [flags, type] = [p[at], p[at + 1]];
  md.tunGtpuFlags = flags;
  md.tunGtpuMsgtype = type;
  md.tunId = BigInt(p.readUInt32BE(at + 4));
  // Other messages stay whole, for whoever handles them.
  if (type !== GTPU_GPDU) return { at: 0, packetType: PT_ETH };
  const end = at + 8 + (flags & 2 ? 4 : 0);
  if (end + 1 > p.length) return undefined;
  const version = p[end] >>> 4;
  if (version !== 4 && version !== 6) {
    log.warnRl(limit, 'GTP-U: Receive non-IP packet.');
    return undefined;
  }
  return { at: end, packetType: version === 4 ? PT_IPV4 : PT_IPV6 };
};

const UDP: Readonly<Record<string, Popper>> = { vxlan: popVxlan, geneve: popGeneve, gtpu: popGtpu };
const GRE: Readonly<Record<string, Popper>> = {
  gre: popGre,
  ip6gre: popGre,
  erspan: popErspan,
  ip6erspan: popErspan,
};

/** The packet inside and its metadata, with `port` as its input port; undefined: malformed, to be dropped. */
export function popTunnel(
  packet: Uint8Array,
  before: Flow,
  port: number,
  tunnel: Pick<TunnelConfig, 'type' | 'gbp'>,
): { packet: Uint8Array; md: Flow } | undefined {
  const md = before.clone();
  md.u8.fill(0, 0, TUNNEL_END);
  md.inPort = port;
  md.recircId = md.dpHash = 0;
  const p = Buffer.from(packet.buffer, packet.byteOffset, packet.length);
  const outer = outerIp(p, md);
  if (!outer) return undefined;
  const { l3, l4, end, proto } = outer;
  const whole = p.subarray(0, end);
  const udp = UDP[tunnel.type];
  const at = !udp ? l4 : proto === 17 ? outerUdp(whole, l3, l4, md) : undefined;
  const pop = udp ?? (proto === 47 ? GRE[tunnel.type] : undefined);
  if (at === undefined) return undefined;
  const inner = pop?.(whole, at, md, tunnel);
  if (!inner) return undefined;
  md.packetType = inner.packetType;
  return { packet: packet.slice(inner.at), md };
}
