import { FLOW_NW_FRAG_LATER, isArpType, isMplsType, isNd } from '../dpif/odp-keys.ts';
import { type Flow, FlowWildcards } from '../flow/flow.ts';
import { FLOW_MEMBERS, type FlowMemberName } from '../gen/flow.ts';
import { formatMatch } from '../openflow/flow-text.ts';
import type { PortNames } from '../openflow/port.ts';

/** A packet's headers in the syntax of matches, as `ofproto/trace` shows them. */

const CONTEXT: readonly FlowMemberName[] = [
  'skb_priority',
  'pkt_mark',
  'recirc_id',
  'dp_hash',
  'ct_state',
  'ct_zone',
  'ct_mark',
  'in_port',
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

function maskNetwork(flow: Flow, wc: FlowWildcards): void {
  if (isArpType(flow.dlType)) mask(wc, 'nw_src', 'nw_dst', 'nw_proto', 'arp_sha', 'arp_tha');
  else if (isMplsType(flow.dlType)) maskMpls(flow, wc);
  if (flow.dlType === 0x0800) mask(wc, 'nw_src', 'nw_dst');
  else if (flow.dlType === 0x86dd) {
    mask(wc, 'ipv6_src', 'ipv6_dst', 'ipv6_label');
    if (isNd(flow)) mask(wc, 'arp_sha', 'arp_tha', 'nd_target');
  } else if (flow.dlType === 0x894f) mask(wc, ...NSH);
  else return;
  wc.nwFrag = 3;
  mask(wc, 'nw_tos', 'nw_ttl', 'nw_proto');
  maskTransport(flow, wc);
}

/** The members that a packet with these headers has, of its context those that are not zero. */
export function packetWildcards(flow: Flow): FlowWildcards {
  const wc = new FlowWildcards();
  for (const name of CONTEXT) if (!isZero(flow, name)) mask(wc, name);
  if (flow.tunDst) mask(wc, 'tun_id', 'tun_src', 'tun_dst', 'tun_flags', 'tun_tos', 'tun_ttl');
  else if (!isZero(flow, 'tun_id')) mask(wc, 'tun_id');
  mask(wc, 'packet_type', 'dl_dst', 'dl_src', 'dl_type', 'vlan_tpid0', 'vlan_tci0');
  if (flow.vlanTci0) mask(wc, 'vlan_tpid1', 'vlan_tci1');
  maskNetwork(flow, wc);
  return wc;
}

export const formatFlow = (flow: Flow, names?: PortNames): string =>
  formatMatch({ flow, wc: packetWildcards(flow) }, undefined, names);
