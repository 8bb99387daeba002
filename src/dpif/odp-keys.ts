import type { Flow } from '../flow/flow.ts';
import { FLOW_MEMBERS, type FlowFields, type FlowMemberName } from '../gen/flow.ts';
import type { DpSetAttr } from './dpif.ts';

/**
 * The headers of a datapath flow key as attributes, with the layout of linux/openvswitch.h: one row a field, in the order of the bytes
 * and of the text. Formatting, parsing, the `set` action and its commit all come from here.
 */

/** How a field is written: `u8`/`be16` decimal, `u8x`/`be32x` hexadecimal. */
export type OdpFormat = 'mac' | 'ipv4' | 'ipv6' | 'u8' | 'u8x' | 'be16' | 'be32x' | 'label' | 'frag';

export interface OdpField {
  readonly name: string;
  readonly size: number;
  readonly format: OdpFormat;
  readonly member: FlowMemberName;
  /** The member is wider than the field; its low bytes count. */
  readonly low?: boolean;
}

const f = (name: string, size: number, format: OdpFormat, member: FlowMemberName): OdpField =>
  size < FLOW_MEMBERS[member].size ? { name, size, format, member, low: true } : { name, size, format, member };

const ports = [f('src', 2, 'be16', 'tp_src'), f('dst', 2, 'be16', 'tp_dst')] as const;
const icmp = [f('type', 1, 'u8', 'tp_src'), f('code', 1, 'u8', 'tp_dst')] as const;

/** Header attributes: name in text, fields. */
export const ODP_HEADERS = {
  ethernet: { text: 'eth', fields: [f('src', 6, 'mac', 'dl_src'), f('dst', 6, 'mac', 'dl_dst')] },
  ipv4: {
    text: 'ipv4',
    fields: [
      f('src', 4, 'ipv4', 'nw_src'),
      f('dst', 4, 'ipv4', 'nw_dst'),
      f('proto', 1, 'u8', 'nw_proto'),
      f('tos', 1, 'u8x', 'nw_tos'),
      f('ttl', 1, 'u8', 'nw_ttl'),
      f('frag', 1, 'frag', 'nw_frag'),
    ],
  },
  ipv6: {
    text: 'ipv6',
    fields: [
      f('src', 16, 'ipv6', 'ipv6_src'),
      f('dst', 16, 'ipv6', 'ipv6_dst'),
      f('label', 4, 'label', 'ipv6_label'),
      f('proto', 1, 'u8', 'nw_proto'),
      f('tclass', 1, 'u8x', 'nw_tos'),
      f('hlimit', 1, 'u8', 'nw_ttl'),
      f('frag', 1, 'frag', 'nw_frag'),
    ],
  },
  tcp: { text: 'tcp', fields: ports },
  udp: { text: 'udp', fields: ports },
  sctp: { text: 'sctp', fields: ports },
  icmp: { text: 'icmp', fields: icmp },
  icmpv6: { text: 'icmpv6', fields: icmp },
  arp: {
    text: 'arp',
    fields: [
      f('sip', 4, 'ipv4', 'nw_src'),
      f('tip', 4, 'ipv4', 'nw_dst'),
      { name: 'op', size: 2, format: 'be16', member: 'nw_proto' },
      f('sha', 6, 'mac', 'arp_sha'),
      f('tha', 6, 'mac', 'arp_tha'),
    ],
  },
  nd: {
    text: 'nd',
    fields: [f('target', 16, 'ipv6', 'nd_target'), f('sll', 6, 'mac', 'arp_sha'), f('tll', 6, 'mac', 'arp_tha')],
  },
  nd_ext: {
    text: 'nd_ext',
    fields: [f('nd_reserved', 4, 'be32x', 'nd_reserved'), f('nd_options_type', 1, 'u8', 'nd_options_type')],
  },
  mpls: { text: 'mpls', fields: [f('lse', 4, 'be32x', 'mpls_lse0')] },
  nsh: {
    text: 'nsh',
    fields: [
      f('flags', 1, 'u8', 'nsh_flags'),
      f('ttl', 1, 'u8', 'nsh_ttl'),
      f('mdtype', 1, 'u8', 'nsh_mdtype'),
      f('np', 1, 'u8', 'nsh_np'),
      f('path_hdr', 4, 'be32x', 'nsh_path_hdr'),
      f('c1', 4, 'be32x', 'nsh_context0'),
      f('c2', 4, 'be32x', 'nsh_context1'),
      f('c3', 4, 'be32x', 'nsh_context2'),
      f('c4', 4, 'be32x', 'nsh_context3'),
    ],
  },
  skb_priority: { text: 'skb_priority', fields: [f('', 4, 'be32x', 'skb_priority')] },
  skb_mark: { text: 'skb_mark', fields: [f('', 4, 'be32x', 'pkt_mark')] },
} as const satisfies Record<DpSetAttr, { text: string; fields: readonly OdpField[] }>;

/** Attributes by their name in text. */
export const odpAttrByText: ReadonlyMap<string, DpSetAttr> = new Map(
  (Object.keys(ODP_HEADERS) as DpSetAttr[]).map((attr) => [ODP_HEADERS[attr].text, attr]),
);

export const FLOW_NW_FRAG_ANY = 1;
export const FLOW_NW_FRAG_LATER = 2;
/** `enum ovs_frag_type` by name. */
export const ODP_FRAG_TYPES = ['no', 'first', 'later'] as const;

export const odpHeaderFields = (attr: DpSetAttr): readonly OdpField[] => ODP_HEADERS[attr].fields;

export function odpHeaderSize(attr: DpSetAttr): number {
  let size = 0;
  for (const field of odpHeaderFields(attr)) size += field.size;
  return size;
}

/** Bytes of one field of `flow`, network byte order. `isMask`: the flow is a mask. */
export function getOdpField(flow: FlowFields, field: OdpField, isMask: boolean, out: Uint8Array, at: number): void {
  const { offset, size } = FLOW_MEMBERS[field.member];
  if (field.format === 'frag') {
    const frag = flow.u8[offset];
    if (isMask) out[at] = frag & FLOW_NW_FRAG_ANY ? 0xff : 0;
    else out[at] = !(frag & FLOW_NW_FRAG_ANY) ? 0 : frag & FLOW_NW_FRAG_LATER ? 2 : 1;
  } else if (field.size > size) {
    out.fill(0, at, at + field.size);
    out[at + field.size - 1] = flow.u8[offset];
    // The flow keeps the low byte of the ARP opcode only: a full mask of it is a full mask of the opcode.
    if (isMask && out[at + field.size - 1] === 0xff) out.fill(0xff, at, at + field.size);
  } else {
    const skip = size - field.size;
    for (let i = 0; i < field.size; i++) out[at + i] = flow.u8[offset + skip + i];
  }
}

/** Writes one field's bytes into `flow`. */
export function setOdpField(flow: FlowFields, field: OdpField, isMask: boolean, from: Uint8Array, at: number): void {
  const { offset, size } = FLOW_MEMBERS[field.member];
  if (field.format === 'frag') {
    const v = from[at];
    if (isMask) flow.u8[offset] = v ? FLOW_NW_FRAG_ANY | FLOW_NW_FRAG_LATER : 0;
    else flow.u8[offset] = v === 0 ? 0 : v === 1 ? FLOW_NW_FRAG_ANY : FLOW_NW_FRAG_ANY | FLOW_NW_FRAG_LATER;
  } else if (field.size > size) {
    flow.u8[offset] = from[at + field.size - 1];
  } else {
    const skip = size - field.size;
    for (let i = 0; i < field.size; i++) flow.u8[offset + skip + i] = from[at + i];
  }
}

/** One attribute of `flow`, in the kernel's layout. */
export function getOdpHeader(flow: FlowFields, attr: DpSetAttr, isMask: boolean): Uint8Array {
  const out = new Uint8Array(odpHeaderSize(attr));
  let at = 0;
  for (const field of odpHeaderFields(attr)) {
    getOdpField(flow, field, isMask, out, at);
    at += field.size;
  }
  return out;
}

/** The transport attribute that a flow's packets have, if any. Later fragments have none. */
export function odpTransport(flow: Flow): 'tcp' | 'udp' | 'sctp' | 'icmp' | 'icmpv6' | undefined {
  const ip = flow.dlType === 0x0800;
  if ((!ip && flow.dlType !== 0x86dd) || flow.nwFrag & FLOW_NW_FRAG_LATER) return undefined;
  switch (flow.nwProto) {
    case 6:
      return 'tcp';
    case 17:
      return 'udp';
    case 132:
      return 'sctp';
    case 1:
      return ip ? 'icmp' : undefined;
    case 58:
      return ip ? undefined : 'icmpv6';
    default:
      return undefined;
  }
}

export const isVlanType = (dlType: number): boolean => dlType === 0x8100 || dlType === 0x88a8;
export const isMplsType = (dlType: number): boolean => dlType === 0x8847 || dlType === 0x8848;
export const isArpType = (dlType: number): boolean => dlType === 0x0806 || dlType === 0x8035;

/** An ICMPv6 neighbour solicitation or advertisement. */
export const isNd = (flow: Flow): boolean =>
  odpTransport(flow) === 'icmpv6' && flow.tpDst === 0 && (flow.tpSrc === 135 || flow.tpSrc === 136);
