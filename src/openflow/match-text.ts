import { ofpPort } from '../base/types.ts';
import type { Match } from '../flow/flow.ts';
import { FLOW_MEMBERS } from '../gen/flow.ts';
import {
  CT_STATE_FLAGS,
  formatFlags,
  formatMaskedMac,
  formatPrefixed,
  hex,
  hexBytes,
  TCP_FLAG_NAMES,
  TUN_FLAG_NAMES,
} from './address-text.ts';
import { fieldIsWild, getField, mf, VLAN_CFI, VLAN_PCP_MASK, VLAN_PCP_SHIFT, VLAN_VID_MASK } from './field.ts';
import {
  ETH_TYPE_ARP,
  ETH_TYPE_IP,
  ETH_TYPE_IPV6,
  ETH_TYPE_MPLS,
  ETH_TYPE_MPLS_MCAST,
  ETH_TYPE_NSH,
  ETH_TYPE_RARP,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  isIpAny,
} from './field-prereq.ts';
import { formatField } from './field-text.ts';
import { hasDefaultPacketType } from './match.ts';
import { formatPort, type PortNames } from './port.ts';
import { matchedTunMetadata } from './tun-metadata.ts';

/** A match as ovs-ofctl prints it. */

export const OFP_DEFAULT_PRIORITY = 0x8000;

const IP4_NAMES: Readonly<Record<number, string>> = {
  [IPPROTO_ICMP]: 'icmp',
  [IPPROTO_TCP]: 'tcp',
  [IPPROTO_UDP]: 'udp',
  [IPPROTO_SCTP]: 'sctp',
};
const IP6_NAMES: Readonly<Record<number, string>> = {
  [IPPROTO_ICMPV6]: 'icmp6',
  [IPPROTO_TCP]: 'tcp6',
  [IPPROTO_UDP]: 'udp6',
  [IPPROTO_SCTP]: 'sctp6',
};
const TYPE_NAMES: Readonly<Record<number, string>> = {
  [ETH_TYPE_ARP]: 'arp',
  [ETH_TYPE_RARP]: 'rarp',
  [ETH_TYPE_MPLS]: 'mpls',
  [ETH_TYPE_MPLS_MCAST]: 'mplsm',
};

/** Collects `name=value` items. */
class Items {
  readonly out: string[] = [];
  readonly m: Match;
  readonly names: PortNames | undefined;

  constructor(m: Match, names: PortNames | undefined) {
    this.m = m;
    this.names = names;
  }

  add(name: string, value: string | number | bigint): void {
    this.out.push(`${name}=${value}`);
  }

  /** A 16-bit number (or another, with `all` of its bits): decimal, or hexadecimal with its mask. */
  number(name: string, value: number, mask: number, all = 0xffff): void {
    if (mask) this.add(name, mask === all ? value : `0x${value.toString(16)}/0x${mask.toString(16)}`);
  }

  /** An 8-bit number: decimal, or two digits of hexadecimal with its mask. */
  byte(name: string, value: number, mask: number): void {
    const digits = (n: number) => `0x${n.toString(16).padStart(2, '0')}`;
    if (mask) this.add(name, mask === 0xff ? value : `${digits(value)}/${digits(mask)}`);
  }

  /** Always hexadecimal. */
  hex(name: string, value: number | bigint, mask: number | bigint, all: number | bigint): void {
    if (mask) this.add(name, mask === all ? hex(value) : `${hex(value)}/${hex(mask)}`);
  }

  ip(name: string, ip: Uint8Array, mask: Uint8Array): void {
    if (!mask.every((b) => b === 0)) this.add(name, formatPrefixed(ip, mask));
  }

  mac(name: string, mac: Uint8Array, mask: Uint8Array): void {
    if (!mask.every((b) => b === 0)) this.add(name, formatMaskedMac(mac, mask));
  }

  /** A field by its row. */
  field(name: string, fieldName = name): void {
    const f = mf(fieldName);
    if (fieldIsWild(this.m.wc, f)) return;
    this.add(name, formatField(f, getField(this.m.flow, f), getField(this.m.wc, f), this.names));
  }
}

const ALL32 = 0xffffffff;
const ALL64 = 0xffff_ffff_ffff_ffffn;

/** What comes before the protocol: metadata of the packet. `dlType` is the Ethertype of a packet of an Ethertype's type. */
function putMetadata(s: Items): void {
  const { flow: f, wc } = s.m;
  s.hex('pkt_mark', f.pktMark, wc.pktMark, ALL32);
  s.hex('recirc_id', f.recircId, wc.recircId, ALL32);
  s.hex('dp_hash', f.dpHash, wc.dpHash, ALL32);
  if (wc.conjId) s.add('conj_id', f.conjId);
  if (wc.skbPriority) s.add('skb_priority', hex(f.skbPriority));
  if (wc.actsetOutput) s.add('actset_output', formatPort(ofpPort(f.actsetOutput), s.names));
  if (wc.ctState) s.add('ct_state', formatFlags(f.ctState, wc.ctState, 0xff, CT_STATE_FLAGS));
  s.number('ct_zone', f.ctZone, wc.ctZone);
  s.hex('ct_mark', f.ctMark, wc.ctMark, ALL32);
  s.field('ct_label');
  s.field('ct_nw_src');
  s.field('ct_ipv6_src');
  s.field('ct_nw_dst');
  s.field('ct_ipv6_dst');
  if (wc.ctNwProto) {
    s.add('ct_nw_proto', f.ctNwProto);
    s.number('ct_tp_src', f.ctTpSrc, wc.ctTpSrc);
    s.number('ct_tp_dst', f.ctTpDst, wc.ctTpDst);
  }
}

function putPacketType(s: Items): number {
  const { flow: f, wc } = s.m;
  if (wc.packetType === 0 || (hasDefaultPacketType(s.m) && wc.recircId === 0)) return f.dlType;
  const packetType = mf('packet_type');
  s.out.push(formatField(packetType, getField(f, packetType), getField(wc, packetType)));
  return f.packetType >>> 16 === 1 ? f.packetType & 0xffff : f.dlType;
}

interface Protocol {
  name: string | undefined;
  saysProto: boolean;
}

/** The word that stands for the Ethertype, and perhaps for the IP protocol too. */
function protocolOf(m: Match, dlType: number): Protocol {
  if (!m.wc.dlType) return { name: undefined, saysProto: false };
  if (dlType !== ETH_TYPE_IP && dlType !== ETH_TYPE_IPV6) return { name: TYPE_NAMES[dlType], saysProto: false };
  const v4 = dlType === ETH_TYPE_IP;
  const named = m.wc.nwProto ? (v4 ? IP4_NAMES : IP6_NAMES)[m.flow.nwProto] : undefined;
  return { name: named ?? (v4 ? 'ip' : 'ipv6'), saysProto: named !== undefined };
}

function putRegisters(s: Items): void {
  const [value, mask] = [
    new DataView(s.m.flow.u8.buffer, s.m.flow.u8.byteOffset),
    new DataView(s.m.wc.u8.buffer, s.m.wc.u8.byteOffset),
  ];
  REG_OFFSETS.forEach((at, i) => {
    s.hex(`reg${i}`, value.getUint32(at), mask.getUint32(at), ALL32);
  });
}
const REG_OFFSETS = Array.from({ length: 16 }, (_, i) => FLOW_MEMBERS[`reg${i}` as 'reg0'].offset);

function putTunnel(s: Items): void {
  const { flow: f, wc } = s.m;
  s.hex('tun_id', f.tunId, wc.tunId, ALL64);
  for (const name of ['tun_src', 'tun_dst', 'tun_ipv6_src', 'tun_ipv6_dst']) s.field(name);
  s.number('tun_gbp_id', f.tunGbpId, wc.tunGbpId);
  if (wc.tunGbpFlags) s.add('tun_gbp_flags', hex(f.tunGbpFlags));
  if (wc.tunTos) s.add('tun_tos', f.tunTos.toString(16));
  if (wc.tunTtl) s.add('tun_ttl', f.tunTtl);
  if (wc.tunErspanVer) s.add('tun_erspan_ver', f.tunErspanVer);
  if (wc.tunErspanIdx && f.tunErspanVer === 1) s.add('tun_erspan_idx', hex(f.tunErspanIdx));
  if (wc.tunErspanDir && f.tunErspanVer === 2) s.add('tun_erspan_dir', f.tunErspanDir);
  if (wc.tunErspanHwid && f.tunErspanVer === 2) s.add('tun_erspan_hwid', hex(f.tunErspanHwid));
  if (wc.tunGtpuFlags) s.add('gtpu_flags', hex(f.tunGtpuFlags));
  if (wc.tunGtpuMsgtype) s.add('gtpu_msgtype', f.tunGtpuMsgtype);
  if (wc.tunFlags & 0xf) s.add('tun_flags', formatFlags(f.tunFlags & 0xf, wc.tunFlags & 0xf, 0xf, TUN_FLAG_NAMES));
  putTunMetadata(s);
  s.hex('metadata', f.metadata, wc.metadata, ALL64);
}

function putTunMetadata(s: Items): void {
  for (const t of matchedTunMetadata(s.m)) {
    const name = `tun_metadata${t.index}`;
    const exact = t.mask.every((b) => b === 0xff);
    if (t.absent) s.add(name, 'NP');
    else if (t.masked && t.mask.every((b) => b === 0)) s.out.push(name);
    else s.add(name, exact ? hexBytes(t.value) : `${hexBytes(t.value)}/${hexBytes(t.mask)}`);
  }
}

const hex4 = (n: number): string => `0x${n.toString(16).padStart(4, '0')}`;

/** False: this tag, and the ones below it, are not matched. */
function putVlan(s: Items, suffix: string, tci: number, mask: number): boolean {
  if (!mask) return false;
  const [vid, pcp] = [mask & VLAN_VID_MASK, mask & VLAN_PCP_MASK];
  const tagged = (mask & VLAN_CFI) !== 0 && (tci & VLAN_CFI) !== 0;
  const whole = (!vid || vid === VLAN_VID_MASK) && (!pcp || pcp === VLAN_PCP_MASK);
  if (tagged && whole && (vid || pcp)) {
    if (vid) s.add(`dl_vlan${suffix}`, tci & VLAN_VID_MASK);
    if (pcp) s.add(`dl_vlan_pcp${suffix}`, tci >> VLAN_PCP_SHIFT);
  } else s.add(`vlan_tci${suffix}`, mask === 0xffff ? hex4(tci) : `${hex4(tci)}/${hex4(mask)}`);
  return true;
}

function putNetwork(s: Items, dlType: number): void {
  const { flow: f, wc } = s.m;
  if (dlType === ETH_TYPE_IPV6) {
    s.field('ipv6_src');
    s.field('ipv6_dst');
    const hex5 = (n: number) => `0x${n.toString(16).padStart(5, '0')}`;
    const mask = wc.ipv6Label;
    if (mask) s.add('ipv6_label', mask === ALL32 ? hex5(f.ipv6Label) : `${hex5(f.ipv6Label)}/${hex5(mask)}`);
  } else if (dlType === ETH_TYPE_ARP || dlType === ETH_TYPE_RARP) {
    s.field('arp_spa');
    s.field('arp_tpa');
  } else if (dlType === ETH_TYPE_NSH) putNsh(s);
  else {
    s.field('nw_src');
    s.field('nw_dst');
  }
}

/** A label entry as a number, under a partial mask in hexadecimal. */
function putLse(s: Items, name: string, lse: number, mask: number): void {
  const hex8 = (n: number) => `0x${n.toString(16).padStart(8, '0')}`;
  if (mask) s.add(name, mask === ALL32 ? lse : `${hex8(lse)}/${hex8(mask)}`);
}

const NSH_CONTEXTS = [
  ['nsh_c1', 'nshContext0'],
  ['nsh_c2', 'nshContext1'],
  ['nsh_c3', 'nshContext2'],
  ['nsh_c4', 'nshContext3'],
] as const;

function putNsh(s: Items): void {
  const { flow: f, wc } = s.m;
  s.byte('nsh_flags', f.nshFlags, wc.nshFlags);
  s.byte('nsh_ttl', f.nshTtl, wc.nshTtl);
  s.byte('nsh_mdtype', f.nshMdtype, wc.nshMdtype);
  s.byte('nsh_np', f.nshNp, wc.nshNp);
  if (wc.nshPathHdr >>> 8) s.add('nsh_spi', `0x${(f.nshPathHdr >>> 8).toString(16)}`);
  s.byte('nsh_si', f.nshPathHdr & 0xff, wc.nshPathHdr & 0xff);
  if (wc.nshMdtype !== 0xff || f.nshMdtype !== 1) return;
  const hex = (n: number) => `0x${n.toString(16)}`;
  for (const [name, key] of NSH_CONTEXTS) {
    const [value, mask] = [f[key], wc[key]];
    if (mask) s.add(name, mask === ALL32 ? hex(value) : `${hex(value)}/${hex(mask)}`);
  }
}

const FRAGS: Readonly<Record<number, readonly string[]>> = {
  3: ['no', 'first', '<error>', 'later'],
  1: ['no', 'yes', 'no', 'yes'],
  2: ['not_later', 'not_later', 'later', 'later'],
};

function putIp(s: Items, dlType: number, saysProto: boolean): void {
  const { flow: f, wc } = s.m;
  const arp = dlType === ETH_TYPE_ARP || dlType === ETH_TYPE_RARP;
  if (!saysProto && wc.nwProto) s.add(arp ? 'arp_op' : 'nw_proto', f.nwProto);
  if (arp) {
    s.field('arp_sha');
    s.field('arp_tha');
  }
  if (wc.nwTos & 0xfc) s.add('nw_tos', f.nwTos & 0xfc);
  if (wc.nwTos & 3) s.add('nw_ecn', f.nwTos & 3);
  if (wc.nwTtl) s.add('nw_ttl', f.nwTtl);
  if (wc.mplsLse0 & 0xfffff000) s.add('mpls_label', f.mplsLse0 >>> 12);
  if (wc.mplsLse0 & 0xe00) s.add('mpls_tc', (f.mplsLse0 >>> 9) & 7);
  if (wc.mplsLse0 & 0xff) s.add('mpls_ttl', f.mplsLse0 & 0xff);
  if (wc.mplsLse0 & 0x100) s.add('mpls_bos', (f.mplsLse0 >>> 8) & 1);
  putLse(s, 'mpls_lse1', f.mplsLse1, wc.mplsLse1);
  putLse(s, 'mpls_lse2', f.mplsLse2, wc.mplsLse2);
  const frag = FRAGS[wc.nwFrag & 3]?.[f.nwFrag & 3];
  if (frag) s.add('nw_frag', frag);
}

function putTransport(s: Items, dlType: number): void {
  const { flow: f, wc } = s.m;
  const icmp4 = dlType === ETH_TYPE_IP && f.nwProto === IPPROTO_ICMP;
  const icmp6 = dlType === ETH_TYPE_IPV6 && f.nwProto === IPPROTO_ICMPV6;
  s.number(icmp4 || icmp6 ? 'icmp_type' : 'tp_src', f.tpSrc, wc.tpSrc);
  s.number(icmp4 || icmp6 ? 'icmp_code' : 'tp_dst', f.tpDst, wc.tpDst);
  if (icmp6) {
    s.ip('nd_target', f.ndTarget, wc.ndTarget);
    s.mac('nd_sll', f.arpSha, wc.arpSha);
    s.mac('nd_tll', f.arpTha, wc.arpTha);
    s.number('nd_reserved', f.ndReserved, wc.ndReserved, ALL32);
    s.byte('nd_options_type', f.ndOptionsType, wc.ndOptionsType);
  }
  const tcp = isIpAny(f) && f.nwProto === IPPROTO_TCP;
  if (tcp && wc.tcpFlags)
    s.add('tcp_flags', formatFlags(f.tcpFlags & 0xfff, wc.tcpFlags & 0xfff, 0xfff, TCP_FLAG_NAMES));
}

/** `priority=7,tcp,in_port=1,nw_dst=10.0.0.0/8`; the default priority (or none) is not said. '' matches everything. */
export function formatMatch(m: Match, priority: number = OFP_DEFAULT_PRIORITY, names?: PortNames): string {
  const s = new Items(m, names);
  const { flow: f, wc } = m;
  if (priority !== OFP_DEFAULT_PRIORITY) s.add('priority', priority);
  putMetadata(s);
  const dlType = putPacketType(s);
  const protocol = protocolOf(m, dlType);
  if (protocol.name) s.out.push(protocol.name);
  putRegisters(s);
  putTunnel(s);
  if (wc.inPort) s.add('in_port', formatPort(ofpPort(f.inPort), names));
  if (putVlan(s, '', f.vlanTci0, wc.vlanTci0)) putVlan(s, '1', f.vlanTci1, wc.vlanTci1);
  s.mac('dl_src', f.dlSrc, wc.dlSrc);
  s.mac('dl_dst', f.dlDst, wc.dlDst);
  if (!protocol.name && wc.dlType) s.add('dl_type', hex4(dlType));
  putNetwork(s, dlType);
  putIp(s, dlType, protocol.saysProto);
  putTransport(s, dlType);
  return s.out.join(',');
}
