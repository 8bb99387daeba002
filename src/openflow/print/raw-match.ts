import { ofpPort } from '../../base/types.ts';
import { formatIpv4, formatMac } from '../address-text.ts';
import { Reader } from '../buffer.ts';
import { nxMatchToString } from '../nx-match-text.ts';
import { formatPort, type PortNames } from '../port.ts';
import type { PrintContext } from './printer.ts';

/** Matches of flow-mods as they are on the wire, for those who want to see more than what they mean. */

const WILD = {
  IN_PORT: 1 << 0,
  DL_VLAN: 1 << 1,
  DL_SRC: 1 << 2,
  DL_DST: 1 << 3,
  DL_TYPE: 1 << 4,
  NW_PROTO: 1 << 5,
  TP_SRC: 1 << 6,
  TP_DST: 1 << 7,
  DL_VLAN_PCP: 1 << 20,
  NW_TOS: 1 << 21,
} as const;

const TYPES: Readonly<Record<number, string>> = { 2054: 'arp', 32821: 'rarp', 34887: 'mpls', 34888: 'mplsm' };
const PROTOCOLS: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 132: 'sctp' };
const ETH_TYPE_IP = 0x0800;
const NXT_FLOW_MOD_MATCH_AT = 48;

/** `ofp_match` of OpenFlow 1.0, every field in its order, `*` for those that are wild. */
function ofp10MatchText(r: Reader, names: PortNames | undefined): string {
  const w = r.readU32();
  const out: string[] = [];
  const wildly = (name: string, bit: number, value: string | number) => out.push(`${name}=${w & bit ? '*' : value}`);
  const address = (name: string, shift: number, ip: Uint8Array) => {
    const bits = (w >>> shift) & 63;
    out.push(`${name}=${bits >= 32 ? '*' : `${formatIpv4(ip)}${bits ? `/${32 - bits}` : ''}`}`);
  };
  const inPort = r.readU16();
  const [dlSrc, dlDst] = [r.bytes(6), r.bytes(6)];
  const [dlVlan, dlVlanPcp] = [r.readU16(), r.readU8()];
  r.skip(1);
  const dlType = r.readU16();
  const [nwTos, nwProto] = [r.readU8(), r.readU8()];
  r.skip(2);
  const [nwSrc, nwDst] = [r.bytes(4), r.bytes(4)];
  const [tpSrc, tpDst] = [r.readU16(), r.readU16()];
  const ip = !(w & WILD.DL_TYPE) && dlType === ETH_TYPE_IP;
  const protocol = ip && !(w & WILD.NW_PROTO) ? PROTOCOLS[nwProto] : undefined;
  const type = w & WILD.DL_TYPE ? undefined : ip ? (protocol ?? 'ip') : TYPES[dlType];
  if (type) out.push(type);
  wildly('in_port', WILD.IN_PORT, formatPort(ofpPort(inPort < 0xff00 ? inPort : (inPort | 0xffff0000) >>> 0), names));
  wildly('dl_vlan', WILD.DL_VLAN, dlVlan);
  wildly('dl_vlan_pcp', WILD.DL_VLAN_PCP, dlVlanPcp);
  wildly('dl_src', WILD.DL_SRC, formatMac(dlSrc));
  wildly('dl_dst', WILD.DL_DST, formatMac(dlDst));
  if (!type) wildly('dl_type', WILD.DL_TYPE, `0x${dlType.toString(16).padStart(4, '0')}`);
  address('nw_src', 8, nwSrc);
  address('nw_dst', 14, nwDst);
  const arp = dlType === 0x0806 || dlType === 0x8035;
  if (!protocol) wildly(arp ? 'arp_op' : 'nw_proto', WILD.NW_PROTO, nwProto);
  wildly('nw_tos', WILD.NW_TOS, nwTos);
  wildly(nwProto === 1 ? 'icmp_type' : 'tp_src', WILD.TP_SRC, tpSrc);
  wildly(nwProto === 1 ? 'icmp_code' : 'tp_dst', WILD.TP_DST, tpDst);
  return out.join(',');
}

/** The match of a flow-mod of OpenFlow 1.0 or Nicira's; undefined for others. */
export function rawMatchText({ family, version, bytes, names }: PrintContext): string | undefined {
  if (family === 'OFPT') return version === 1 ? ofp10MatchText(new Reader(bytes, 8), names) : undefined;
  const r = new Reader(bytes, NXT_FLOW_MOD_MATCH_AT - 8);
  const length = r.readU16();
  return nxMatchToString(bytes.subarray(NXT_FLOW_MOD_MATCH_AT, NXT_FLOW_MOD_MATCH_AT + length));
}
