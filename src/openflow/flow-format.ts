import { type Flow, FlowWildcards } from '../flow/flow.ts';
import { FLOW_MEMBERS, type FlowMemberName } from '../gen/flow.ts';
import {
  ETH_TYPE_IP,
  ETH_TYPE_IPV6,
  ETH_TYPE_NSH,
  FLOW_NW_FRAG_LATER,
  getDlType,
  isArp,
  isMplsType,
} from './field-prereq.ts';
import { formatMatch } from './match-text.ts';
import type { PortNames } from './port.ts';

/** A packet's headers in the syntax of matches, as `ofproto/trace` and packet-ins show them. */

const CONTEXT: readonly FlowMemberName[] = [
  'skb_priority',
  'pkt_mark',
  'recirc_id',
  'dp_hash',
  'ct_state',
  'ct_zone',
  'ct_mark',
  'in_port',
  'ct_label',
  'metadata',
  ...Array.from({ length: 16 }, (_, i) => `reg${i}` as FlowMemberName),
];

function mask(wc: FlowWildcards, ...names: readonly FlowMemberName[]): void {
  for (const name of names) {
    const { offset, size } = FLOW_MEMBERS[name];
    wc.u8.fill(0xff, offset, offset + size);
  }
}

function isZero(flow: Flow, name: FlowMemberName): boolean {
  const { offset, size } = FLOW_MEMBERS[name];
  for (let i = offset; i < offset + size; i++) if (flow.u8[i] !== 0) return false;
  return true;
}

const TRANSPORT: readonly number[] = [1, 2, 6, 17, 58, 132];

function maskTransport(flow: Flow, wc: FlowWildcards): void {
  if (flow.nwFrag & FLOW_NW_FRAG_LATER || !TRANSPORT.includes(flow.nwProto)) return;
  mask(wc, 'tp_src', 'tp_dst');
  if (flow.nwProto === 6) mask(wc, 'tcp_flags');
  else if (flow.nwProto === 2) mask(wc, 'igmp_group_ip4');
}

/** The labels down to the bottom of the stack. */
function maskMpls(flow: Flow, wc: FlowWildcards): void {
  mask(wc, 'mpls_lse0');
  if (flow.mplsLse0 & MPLS_BOS) return;
  mask(wc, 'mpls_lse1');
  if (!(flow.mplsLse1 & MPLS_BOS)) mask(wc, 'mpls_lse2');
}

const MPLS_BOS = 0x100;
const NSH: readonly FlowMemberName[] = [
  'nsh_flags',
  'nsh_ttl',
  'nsh_mdtype',
  'nsh_np',
  'nsh_path_hdr',
  'nsh_context0',
  'nsh_context1',
  'nsh_context2',
  'nsh_context3',
];

const isNd = (flow: Flow): boolean =>
  flow.nwProto === 58 && flow.tpDst === 0 && (flow.tpSrc === 135 || flow.tpSrc === 136);

function maskNetwork(flow: Flow, wc: FlowWildcards): void {
  const dlType = getDlType(flow);
  if (isArp(flow)) mask(wc, 'nw_src', 'nw_dst', 'nw_proto', 'arp_sha', 'arp_tha');
  else if (isMplsType(dlType)) maskMpls(flow, wc);
  if (dlType === ETH_TYPE_IP) mask(wc, 'nw_src', 'nw_dst');
  else if (dlType === ETH_TYPE_IPV6) {
    mask(wc, 'ipv6_src', 'ipv6_dst', 'ipv6_label');
    if (isNd(flow)) mask(wc, 'arp_sha', 'arp_tha', 'nd_target');
    // By its own member: a packet type alone does not show an NSH header here.
  } else if (flow.dlType === ETH_TYPE_NSH) mask(wc, ...NSH);
  else return;
  wc.nwFrag = 3;
  mask(wc, 'nw_tos', 'nw_ttl', 'nw_proto');
  maskTransport(flow, wc);
  if (flow.ctNwProto && !isZero(flow, 'ct_state')) maskCtTuple(dlType, wc);
}

/** The original direction of the packet's connection. */
function maskCtTuple(dlType: number, wc: FlowWildcards): void {
  mask(wc, 'ct_nw_proto', 'ct_tp_src', 'ct_tp_dst');
  if (dlType === ETH_TYPE_IP) mask(wc, 'ct_nw_src', 'ct_nw_dst');
  else mask(wc, 'ct_ipv6_src', 'ct_ipv6_dst');
}

const TUNNEL = Object.keys(FLOW_MEMBERS).filter((n) => n.startsWith('tun_')) as FlowMemberName[];

function maskTunnel(flow: Flow, wc: FlowWildcards): void {
  const key = (flow.tunFlags & FLOW_TNL_F_KEY) !== 0;
  const metadata = !isZero(flow, 'tun_metadata_present');
  for (const name of TUNNEL) {
    if (name === 'tun_id' ? key : name === 'tun_metadata' ? metadata : name !== 'tun_metadata_present') mask(wc, name);
  }
  wc.tunMetadataPresent = flow.tunMetadataPresent;
}

const FLOW_TNL_F_KEY = 8;

/** The members that a packet with these headers has, of its context those that are not zero. */
export function packetWildcards(flow: Flow): FlowWildcards {
  const wc = new FlowWildcards();
  for (const name of CONTEXT) if (!isZero(flow, name)) mask(wc, name);
  if (flow.tunDst || !isZero(flow, 'tun_ipv6_dst')) maskTunnel(flow, wc);
  else if (!isZero(flow, 'tun_id')) mask(wc, 'tun_id');
  mask(wc, 'packet_type');
  if (flow.packetType === 0) {
    mask(wc, 'dl_dst', 'dl_src', 'dl_type', 'vlan_tpid0', 'vlan_tci0');
    if (flow.vlanTci0) mask(wc, 'vlan_tpid1', 'vlan_tci1');
  }
  maskNetwork(flow, wc);
  return wc;
}

export const formatFlow = (flow: Flow, names?: PortNames): string =>
  formatMatch({ flow, wc: packetWildcards(flow) }, undefined, names);
