import { isMapped } from '../base/address.ts';
import type { Flow } from '../flow/flow.ts';
import type { TunnelConfig } from '../netdev/tunnel-config.ts';
import { geneveOptions } from '../openflow/tun-metadata.ts';

/**
 * The headers that a tunnel puts in front of packets of a flow: all of them but what depends on the packet (lengths, checksums, UDP source
 * port, sequence numbers), which is zero here, but for a UDP checksum of 0xffff: one is to be computed.
 */

const [IPPROTO_UDP, IPPROTO_GRE] = [17, 47];
/** FLOW_TNL_F_* of `tun_flags`. */
const [F_OAM, F_DONT_FRAGMENT, F_CSUM] = [1, 2, 4];
const ETH_TYPE_TEB = 0x6558;
const PT_ETH = 0;
const GRE_CSUM = 0x8000;
const GRE_KEY = 0x2000;
const GRE_SEQ = 0x1000;
const GTPU_F_S = 2;
/** Version 1, GTP (and not GTP'). */
const GTPU_FLAGS = 0x30;
const GTPU_GPDU = 255;
const ERSPAN_SID_MAX = 0x3ff;

/** Ends of the underlay. Addresses are 16 bytes, IPv4 mapped. */
export interface Underlay {
  dmac: Uint8Array;
  smac: Uint8Array;
  source: Uint8Array;
}

export interface TunnelHeader {
  /** `tunnelType` of a tunnel_push. */
  type: string;
  bytes: Uint8Array;
}

const be16 = (n: number): number[] => [n >> 8, n & 0xff];
const be32 = (n: number): number[] => [n >>> 24, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff];
const zeros = (n: number): number[] => new Array<number>(n).fill(0);

/** The packet's tunnel leads over IPv6. */
const isSix = (flow: Flow): boolean => flow.tunDst === 0;

function ipHeader(flow: Flow, { source }: Underlay, proto: number): number[] {
  const { tunTos: tos, tunTtl: ttl } = flow;
  if (isSix(flow)) return [...be32(((6 << 28) | (tos << 20)) >>> 0), 0, 0, proto, ttl, ...source, ...flow.tunIpv6Dst];
  const frag = flow.tunFlags & F_DONT_FRAGMENT ? 0x4000 : 0;
  const src = isMapped(source) ? [...source.subarray(12)] : zeros(4);
  return [0x45, tos, 0, 0, 0, 0, ...be16(frag), ttl, proto, 0, 0, ...src, ...be32(flow.tunDst)];
}

function udpHeader({ dstPort }: TunnelConfig, flow: Flow): number[] {
  const csum = isSix(flow) || flow.tunFlags & F_CSUM ? 0xffff : 0;
  return [0, 0, ...be16(dstPort), 0, 0, ...be16(csum)];
}

/** A network identifier of 24 bits, and 8 bits that are reserved. */
const vni = (flow: Flow): number[] => be32((Number(flow.tunId & 0xffffffn) << 8) >>> 0);

/** What is in the tunnel's packets (RFC 9014 and draft-ietf-nvo3-vxlan-gpe), by Ethertype. */
const GPE_NEXT: Readonly<Record<number, number>> = { 2048: 1, 34525: 2, [ETH_TYPE_TEB]: 3, 35151: 4 };
const GPE_ETHERNET = 3;

function vxlan(config: TunnelConfig, flow: Flow): number[] | undefined {
  const head = [...udpHeader(config, flow)];
  if (config.gpe) {
    const next = flow.packetType === PT_ETH ? GPE_ETHERNET : GPE_NEXT[flow.packetType & 0xffff];
    return next === undefined ? undefined : [...head, 0x0c, 0, 0, next, ...vni(flow)];
  }
  if (!config.gbp) return [...head, 8, 0, 0, 0, ...vni(flow)];
  return [...head, 0x88, flow.tunGbpFlags, ...be16(flow.tunGbpId), ...vni(flow)];
}

function geneve(config: TunnelConfig, flow: Flow): number[] {
  const { options, critical } = geneveOptions(flow);
  const flags = (flow.tunFlags & F_OAM ? 0x80 : 0) | (critical ? 0x40 : 0);
  return [...udpHeader(config, flow), options.length / 4, flags, ...be16(ETH_TYPE_TEB), ...vni(flow), ...options];
}

const key32 = (flow: Flow): number[] => be32(Number(flow.tunId & 0xffffffffn));

function gre({ outKey, seq }: TunnelConfig, flow: Flow): number[] {
  const keyed = outKey.kind !== 'none';
  const csum = (flow.tunFlags & F_CSUM) !== 0;
  const flags = (csum ? GRE_CSUM : 0) | (keyed ? GRE_KEY : 0) | (seq ? GRE_SEQ : 0);
  const proto = flow.packetType === PT_ETH ? ETH_TYPE_TEB : flow.packetType & 0xffff;
  return [...be16(flags), ...be16(proto), ...zeros(csum ? 4 : 0), ...(keyed ? key32(flow) : []), ...zeros(seq ? 4 : 0)];
}

/** Version and session; what comes behind depends on the version. */
function erspan({ erspan: e }: TunnelConfig, flow: Flow): number[] | undefined {
  const session = Number(flow.tunId & 0xffffffffn);
  const version = e.ver ?? flow.tunErspanVer;
  if (session > ERSPAN_SID_MAX || (version !== 1 && version !== 2)) return undefined;
  const greHead = [...be16(GRE_SEQ), ...be16(version === 1 ? 0x88be : 0x22eb), ...zeros(4)];
  const head = [...greHead, version << 4, 0, ...be16(session)];
  if (version === 1) return [...head, ...be32(e.idx ?? flow.tunErspanIdx)];
  const hwid = e.hwid ?? flow.tunErspanHwid;
  const dir = e.dir ?? flow.tunErspanDir;
  return [...head, ...zeros(6), ...be16(((hwid & 0x3f) << 4) | ((dir & 1) << 3))];
}

function gtpu(config: TunnelConfig, flow: Flow): number[] {
  const flags = (flow.tunGtpuFlags || GTPU_FLAGS) | (config.seq ? GTPU_F_S : 0);
  const type = flow.tunGtpuMsgtype || GTPU_GPDU;
  return [...udpHeader(config, flow), flags, type, 0, 0, ...key32(flow), ...zeros(config.seq ? 4 : 0)];
}

function tunnelPart(config: TunnelConfig, flow: Flow): { proto: number; bytes: number[] | undefined } {
  switch (config.type) {
    case 'vxlan':
      return { proto: IPPROTO_UDP, bytes: vxlan(config, flow) };
    case 'geneve':
      return { proto: IPPROTO_UDP, bytes: geneve(config, flow) };
    case 'gtpu':
      return { proto: IPPROTO_UDP, bytes: gtpu(config, flow) };
    case 'erspan':
    case 'ip6erspan':
      return { proto: IPPROTO_GRE, bytes: erspan(config, flow) };
    case 'gre':
    case 'ip6gre':
      return { proto: IPPROTO_GRE, bytes: gre(config, flow) };
    case 'lisp':
      return { proto: 0, bytes: undefined };
  }
}

/** Undefined: the tunnel can't carry the packet, or what the flow says does not fit into its header. */
export function buildTunnelHeader(config: TunnelConfig, flow: Flow, underlay: Underlay): TunnelHeader | undefined {
  const { proto, bytes } = tunnelPart(config, flow);
  if (!bytes) return undefined;
  const six = isSix(flow);
  const ether = [...underlay.dmac, ...underlay.smac, ...be16(six ? 0x86dd : 0x0800)];
  const ip = ipHeader(flow, underlay, proto);
  const family = config.type.replace('ip6', '');
  const type = proto === IPPROTO_GRE && six ? `ip6${family}` : family;
  return { type, bytes: Uint8Array.from([...ether, ...ip, ...bytes]) };
}
