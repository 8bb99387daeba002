import type { FieldPrereq, MatchField } from '../../protocols/fields.ts';
import type { Flow, FlowWildcards, Match } from '../flow/flow.ts';
import { VLAN_CFI } from './field.ts';

/** Whether a flow is of the kind that a field belongs to. `wc`, where given, collects the bits that were looked at. */

export const ETH_TYPE_IP = 0x0800;
export const ETH_TYPE_ARP = 0x0806;
export const ETH_TYPE_RARP = 0x8035;
export const ETH_TYPE_IPV6 = 0x86dd;
export const ETH_TYPE_MPLS = 0x8847;
export const ETH_TYPE_MPLS_MCAST = 0x8848;
export const ETH_TYPE_NSH = 0x894f;
export const ETH_TYPE_VLAN = 0x8100;
export const ETH_TYPE_VLAN_8021AD = 0x88a8;
export const IPPROTO_ICMP = 1;
export const IPPROTO_IGMP = 2;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
export const IPPROTO_ICMPV6 = 58;
export const IPPROTO_SCTP = 132;
export const ND_NEIGHBOR_SOLICIT = 135;
export const ND_NEIGHBOR_ADVERT = 136;
export const FLOW_NW_FRAG_ANY = 1;
export const FLOW_NW_FRAG_LATER = 2;

const PT_NS_ETHERTYPE = 1;

/** The Ethertype of an Ethernet packet, or of a packet of a type that names one; else 0. */
export function getDlType(flow: Flow): number {
  const pt = flow.packetType;
  if (pt === 0) return flow.dlType;
  return pt >>> 16 === PT_NS_ETHERTYPE ? pt & 0xffff : 0;
}

export function isEthernet(flow: Flow, wc?: FlowWildcards): boolean {
  if (wc) wc.packetType = 0xffffffff;
  return flow.packetType === 0;
}

export function isVlan(flow: Flow, wc?: FlowWildcards): boolean {
  if (!isEthernet(flow, wc)) return false;
  if (wc) wc.vlanTci0 |= VLAN_CFI;
  return (flow.vlanTci0 & VLAN_CFI) !== 0;
}

export function isIpAny(flow: Flow): boolean {
  const type = getDlType(flow);
  return type === ETH_TYPE_IP || type === ETH_TYPE_IPV6;
}

export function isArp(flow: Flow): boolean {
  const type = getDlType(flow);
  return type === ETH_TYPE_ARP || type === ETH_TYPE_RARP;
}

export function isMplsType(ethertype: number): boolean {
  return ethertype === ETH_TYPE_MPLS || ethertype === ETH_TYPE_MPLS_MCAST;
}

function isProto(flow: Flow, proto: number, wc?: FlowWildcards): boolean {
  if (wc) wc.nwProto = 0xff;
  return flow.nwProto === proto;
}

function isNd(flow: Flow, wc?: FlowWildcards): boolean {
  if (getDlType(flow) !== ETH_TYPE_IPV6 || !isProto(flow, IPPROTO_ICMPV6, wc)) return false;
  if (wc) wc.tpDst = 0xffff;
  if (flow.tpDst !== 0) return false;
  if (wc) wc.tpSrc = 0xffff;
  return flow.tpSrc === ND_NEIGHBOR_SOLICIT || flow.tpSrc === ND_NEIGHBOR_ADVERT;
}

const CS_NEW = 0x01;
const CS_ESTABLISHED = 0x02;
const CS_RELATED = 0x04;
const CS_REPLY_DIR = 0x08;
const CS_INVALID = 0x10;
const CS_TRACKED = 0x20;
const CS_SRC_NAT = 0x40;
const CS_DST_NAT = 0x80;

/** In a packet a valid entry is new, established or a reply. */
function isCtValid(flow: Flow, wc?: FlowWildcards): boolean {
  const bits = CS_NEW | CS_ESTABLISHED | CS_REPLY_DIR;
  if (wc) wc.ctState |= bits;
  return (flow.ctState & bits) !== 0;
}

/** A match must ask for a bit that only a valid entry has, or for "tracked and not invalid". */
export function isMatchCtValid(m: Match): boolean {
  const state = m.flow.ctState;
  if (state & (CS_NEW | CS_ESTABLISHED | CS_RELATED | CS_REPLY_DIR | CS_SRC_NAT | CS_DST_NAT)) return true;
  return (state & CS_TRACKED) !== 0 && (m.wc.ctState & CS_INVALID) !== 0 && (state & CS_INVALID) === 0;
}

type Check = (flow: Flow, wc?: FlowWildcards) => boolean;
const notLater: Check = (flow) => (flow.nwFrag & FLOW_NW_FRAG_LATER) === 0;
const l4 =
  (proto: number): Check =>
  (flow, wc) =>
    isIpAny(flow) && isProto(flow, proto, wc) && notLater(flow);

const CHECKS: Readonly<Record<FieldPrereq, Check>> = {
  none: () => true,
  ethernet: isEthernet,
  arp: isArp,
  vlan: isVlan,
  ipv4: (flow) => getDlType(flow) === ETH_TYPE_IP,
  ipv6: (flow) => getDlType(flow) === ETH_TYPE_IPV6,
  ip: isIpAny,
  mpls: (flow) => isMplsType(getDlType(flow)),
  nsh: (flow) => getDlType(flow) === ETH_TYPE_NSH,
  ct: isCtValid,
  tcp: l4(IPPROTO_TCP),
  udp: l4(IPPROTO_UDP),
  sctp: l4(IPPROTO_SCTP),
  icmp4: (flow, wc) => getDlType(flow) === ETH_TYPE_IP && isProto(flow, IPPROTO_ICMP, wc),
  icmp6: (flow, wc) => getDlType(flow) === ETH_TYPE_IPV6 && isProto(flow, IPPROTO_ICMPV6, wc),
  nd: isNd,
  nd_solicit: (flow, wc) => isNd(flow, wc) && flow.tpSrc === ND_NEIGHBOR_SOLICIT,
  nd_advert: (flow, wc) => isNd(flow, wc) && flow.tpSrc === ND_NEIGHBOR_ADVERT,
};

/** True when a packet with these headers has the field. */
export function isFieldPrereqOk(flow: Flow, f: MatchField, wc?: FlowWildcards): boolean {
  return CHECKS[f.prereq](flow, wc);
}

/** True when every packet of the match has the field. */
export function isMatchPrereqOk(m: Match, f: MatchField): boolean {
  return f.prereq === 'ct' ? isMatchCtValid(m) : CHECKS[f.prereq](m.flow);
}
