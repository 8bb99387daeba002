import type { MatchField } from '../../protocols/fields.ts';
import type { Match } from '../flow/flow.ts';
import { mappedField } from './action-wire.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import {
  fieldIsWild,
  fieldMaskOk,
  fieldValueOk,
  getField,
  isAllOnes,
  matchSetField,
  mf,
  VLAN_CFI,
  VLAN_PCP_SHIFT,
  VLAN_VID_MASK,
} from './field.ts';
import {
  ETH_TYPE_IP,
  getDlType,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  isArp,
  isIpAny,
  isMatchPrereqOk,
  isMplsType,
  ND_NEIGHBOR_ADVERT,
  ND_NEIGHBOR_SOLICIT,
} from './field-prereq.ts';
import { catchallMatch, clearMatch, hasDefaultPacketType, setDefaultPacketType } from './match.ts';
import { checkMaskCovers, isCookieHeader, newOxmEntry, putOxm, putOxmBytes, readOxmHeader } from './oxm.ts';
import { matchedTunMetadata } from './tun-metadata.ts';

/** nx_match and OXM matches: a row of entries, each a header, a value and perhaps a mask. */

export interface PulledMatch {
  match: Match;
  /** Of the pseudo field NXM_NX_COOKIE; mask 0 when it is not there. */
  cookie: bigint;
  cookieMask: bigint;
}

export interface PullOptions {
  /** NXM_NX_COOKIE may be in it. */
  cookie?: boolean;
  /** Skip unknown fields and do not check prerequisites. */
  loose?: boolean;
  /** Others than metadata of the pipeline are an error, as in a packet-out. */
  pipelineFieldsOnly?: boolean;
}

const entry = newOxmEntry();

/** Decodes `length` bytes of entries. Throws OFPBMC_*. */
export function pullNxMatch(r: Reader, length: number, o: PullOptions = {}): PulledMatch {
  const sub = r.sub(length, 'OFPBMC_BAD_LEN');
  const out: PulledMatch = { match: r.scratch ? clearMatch(r.scratch) : catchallMatch(), cookie: 0n, cookieMask: 0n };
  out.match.flow.tunTable = out.match.wc.tunTable = r.tunTable;
  while (sub.left > 0) {
    if (o.cookie && sub.left >= 4 && isCookieHeader(sub.peekU32())) pullCookie(sub, out);
    else pullEntry(sub, out.match, o);
  }
  return out;
}

function pullCookie(r: Reader, out: PulledMatch): void {
  readOxmHeader(r, entry);
  if (entry.length !== (entry.hasMask ? 16 : 8)) throw new OfDecodeError('OFPBMC_BAD_FIELD');
  if (r.left < entry.length) throw new OfDecodeError('OFPBMC_BAD_LEN');
  if (out.cookieMask !== 0n) throw new OfDecodeError('OFPBMC_DUP_FIELD');
  const { hasMask } = entry;
  out.cookie = r.readU64();
  out.cookieMask = hasMask ? r.readU64() : 0xffff_ffff_ffff_ffffn;
  if (out.cookie & ~out.cookieMask) throw new OfDecodeError('OFPBMC_BAD_WILDCARDS');
}

/** Value or mask of a field: tunnel metadata of any width is right-aligned in the field's. */
function alignTo(f: MatchField, bytes: Uint8Array): Uint8Array {
  if (bytes.length === f.nBytes) return bytes;
  const out = new Uint8Array(f.nBytes);
  const size = Math.min(bytes.length, f.nBytes);
  out.set(bytes.subarray(0, size), f.nBytes - size);
  return out;
}

function pullEntry(r: Reader, match: Match, o: PullOptions): void {
  readOxmHeader(r, entry);
  const { hasMask, length } = entry;
  const known = entry.field;
  const f = known && mappedField(r, known);
  const at = r.take(length);
  const width = hasMask ? length >> 1 : length;
  if (hasMask) checkMaskCovers(r.u8, at, width, entry);
  if (!f) {
    if (o.loose) return;
    throw new OfDecodeError('OFPBMC_BAD_FIELD');
  }
  const value = alignTo(f, r.u8.subarray(at, at + width));
  const mask = hasMask ? alignTo(f, r.u8.subarray(at + width, at + length)) : undefined;
  if (mask && !fieldMaskOk(f, mask)) throw new OfDecodeError('OFPBMC_BAD_MASK', f.name);
  if (!fieldValueOk(f, value)) throw new OfDecodeError('OFPBMC_BAD_VALUE', f.name);
  if (!o.loose && f.prereq !== 'none' && !isMatchPrereqOk(match, f))
    throw new OfDecodeError('OFPBMC_BAD_PREREQ', f.name);
  if (!fieldIsWild(match.wc, f)) throw new OfDecodeError('OFPBMC_DUP_FIELD', f.name);
  if (o.pipelineFieldsOnly && !isPipelineField(f)) throw new OfDecodeError('OFPBRC_PIPELINE_FIELDS_ONLY', f.name);
  const error = matchSetField(match, f, value, mask && isAllOnes(mask) ? undefined : mask);
  if (error) throw new OfDecodeError('OFPBMC_BAD_VALUE', error);
  if (f.prereq !== 'none') setDefaultPacketType(match);
}

/** What a packet-out's match may have: metadata that the pipeline keeps. */
function isPipelineField(f: MatchField): boolean {
  return /^(metadata|in_port|in_port_oxm|packet_type|x{0,2}reg\d+)$/.test(f.name) || /^tun_(?!tos|ttl)/.test(f.name);
}

/** Decodes an `ofp_match` of OpenFlow 1.2+ (type OFPMT_OXM, length, entries, padding to 8). */
export function pullOxmMatch(r: Reader, loose = false, pipelineFieldsOnly = false): Match {
  if (r.left < 4) throw new OfDecodeError('OFPBMC_BAD_LEN');
  const type = r.readU16();
  const length = r.readU16();
  if (length < 4) throw new OfDecodeError('OFPBMC_BAD_LEN');
  if (type !== 1) throw new OfDecodeError('OFPBMC_BAD_TYPE');
  const padded = (length + 7) & ~7;
  if (padded - 4 > r.left) throw new OfDecodeError('OFPBMC_BAD_LEN');
  const { match } = pullNxMatch(r, length - 4, { loose, pipelineFieldsOnly });
  r.skip(padded - length);
  return match;
}

const fields = (...names: string[]): MatchField[] => names.map(mf);
const PACKET_TYPE = mf('packet_type');
const METADATA_1 = fields('dp_hash', 'recirc_id', 'conj_id');
const IN_PORT = mf('in_port');
const IN_PORT_OXM = mf('in_port_oxm');
const ETHERNET = fields('actset_output', 'eth_src', 'eth_dst', 'eth_type');
const VLAN_TCI = mf('vlan_tci');
const VLAN_VID = mf('vlan_vid');
const VLAN_PCP = mf('vlan_pcp');
const MPLS = fields('mpls_tc', 'mpls_bos', 'mpls_ttl', 'mpls_label');
const IPV4 = fields('ip_src', 'ip_dst');
const IPV6 = fields('ipv6_src', 'ipv6_dst');
const IP_FRAG = mf('ip_frag');
const NW_TOS = mf('nw_tos');
const IP_DSCP = mf('ip_dscp');
const IP_REST = fields('nw_ecn', 'nw_ttl', 'ipv6_label', 'nw_proto');
const ARP = fields('arp_op', 'arp_spa', 'arp_tpa', 'arp_sha', 'arp_tha');
const NSH_SPI = mf('nsh_spi');
const TRANSPORT: Readonly<Record<number, MatchField[]>> = {
  [IPPROTO_TCP]: fields('tcp_src', 'tcp_dst', 'tcp_flags'),
  [IPPROTO_UDP]: fields('udp_src', 'udp_dst'),
  [IPPROTO_SCTP]: fields('sctp_src', 'sctp_dst'),
};
const ICMP4 = fields('icmp_type', 'icmp_code');
const ICMP6 = fields('icmpv6_type', 'icmpv6_code');
const ND = fields('nd_reserved', 'nd_target', 'nd_options_type');
const ND_SLL = fields('nd_sll');
const ND_TLL = fields('nd_tll');
const TUNNEL = fields(
  'tun_id',
  'tun_flags',
  'tun_src',
  'tun_dst',
  'tun_ipv6_src',
  'tun_ipv6_dst',
  'tun_gbp_id',
  'tun_gbp_flags',
);
const TUNNEL_2 = fields(
  'tun_erspan_idx',
  'tun_erspan_ver',
  'tun_erspan_dir',
  'tun_erspan_hwid',
  'tun_gtpu_flags',
  'tun_gtpu_msgtype',
  'nsh_flags',
  'nsh_ttl',
  'nsh_mdtype',
  'nsh_np',
  'nsh_spi',
  'nsh_si',
  'nsh_c1',
  'nsh_c2',
  'nsh_c3',
  'nsh_c4',
);
const REGS = Array.from({ length: 16 }, (_, i) => mf(`reg${i}`));
const XREGS = Array.from({ length: 8 }, (_, i) => mf(`xreg${i}`));
const CONNTRACK = fields(
  'pkt_mark',
  'ct_state',
  'ct_zone',
  'ct_mark',
  'ct_label',
  'ct_nw_src',
  'ct_ipv6_src',
  'ct_nw_dst',
  'ct_ipv6_dst',
);
const CT_PROTO = fields('ct_nw_proto', 'ct_tp_src', 'ct_tp_dst');
const METADATA = mf('metadata');
const TUN_METADATA = Array.from({ length: 64 }, (_, i) => mf(`tun_metadata${i}`));

/** What has been appended so far says "Ethernet packet" by itself. */
interface PutState {
  w: Writer;
  m: Match;
  version: number;
  impliedEthernet: boolean;
}

function putEntry(s: PutState, f: MatchField, value: Uint8Array, mask?: Uint8Array): void {
  putOxm(s.w, f, s.version, value, mask);
  if (f.prereq !== 'none') s.impliedEthernet = true;
}

/** Appends the field if any bit of it is matched. */
function putField(s: PutState, f: MatchField): void {
  if (fieldIsWild(s.m.wc, f)) return;
  const value = getField(s.m.flow, f);
  if (!f.maskable) {
    putEntry(s, f, value);
    return;
  }
  const mask = getField(s.m.wc, f);
  const exact = isAllOnes(mask) || (f === IP_FRAG && mask[0] === 3);
  putEntry(s, f, value, exact ? undefined : mask);
}

function putFields(s: PutState, list: readonly MatchField[]): void {
  for (const f of list) putField(s, f);
}

function putVlan(s: PutState): void {
  if (s.version === 0) {
    putField(s, VLAN_TCI);
    return;
  }
  const bits = VLAN_VID_MASK | VLAN_CFI;
  const vid = s.m.flow.vlanTci0 & bits;
  const mask = s.m.wc.vlanTci0 & bits;
  const be16 = (n: number) => Uint8Array.of(n >> 8, n & 0xff);
  if (mask) putEntry(s, VLAN_VID, be16(vid), mask === bits ? undefined : be16(mask));
  if (vid && s.m.wc.vlanTci0 >> VLAN_PCP_SHIFT)
    putEntry(s, VLAN_PCP, Uint8Array.of(s.m.flow.vlanTci0 >> VLAN_PCP_SHIFT));
}

function putIp(s: PutState): void {
  const { flow, wc } = s.m;
  const v4 = getDlType(flow) === ETH_TYPE_IP;
  putFields(s, v4 ? IPV4 : IPV6);
  putField(s, IP_FRAG);
  if (wc.nwTos & 0xfc) {
    if (s.version) putEntry(s, IP_DSCP, Uint8Array.of(flow.nwTos >> 2));
    else putEntry(s, NW_TOS, Uint8Array.of(flow.nwTos & 0xfc));
  }
  putFields(s, IP_REST);
  if (!wc.nwProto) return;
  const transport = TRANSPORT[flow.nwProto];
  if (transport) putFields(s, transport);
  else if (v4 && flow.nwProto === IPPROTO_ICMP) putFields(s, ICMP4);
  else if (!v4 && flow.nwProto === IPPROTO_ICMPV6) putIcmp6(s);
}

function putIcmp6(s: PutState): void {
  const { flow } = s.m;
  putFields(s, ICMP6);
  const type = flow.tpSrc;
  if (flow.tpDst !== 0 || (type !== ND_NEIGHBOR_SOLICIT && type !== ND_NEIGHBOR_ADVERT)) return;
  putFields(s, ND);
  putFields(s, type === ND_NEIGHBOR_SOLICIT ? ND_SLL : ND_TLL);
}

function putL3(s: PutState): void {
  if (isMplsType(getDlType(s.m.flow))) putFields(s, MPLS);
  if (isIpAny(s.m.flow)) putIp(s);
  else if (isArp(s.m.flow)) putFields(s, ARP);
}

/**
 * Appends the entries of a match, without padding, and returns their length. `version` is a wire version, or 0 for NXM. The cookie goes
 * in as NXM_NX_COOKIE when its mask is not zero.
 */
export function putNxMatch(w: Writer, m: Match, version: number, cookie = 0n, cookieMask = 0n): number {
  const start = w.length;
  const s: PutState = { w, m, version, impliedEthernet: false };
  const defaultPt = hasDefaultPacketType(m);
  if (!defaultPt) putField(s, PACKET_TYPE);
  putFields(s, METADATA_1);
  putField(s, version ? IN_PORT_OXM : IN_PORT);
  putFields(s, ETHERNET);
  putVlan(s);
  putL3(s);
  putFields(s, TUNNEL);
  putTunMetadata(s);
  for (const f of TUNNEL_2) {
    if (f === NSH_SPI && m.wc.nshPathHdr >>> 8 === 0xffffff) putEntry(s, f, getField(m.flow, f));
    else putField(s, f);
  }
  putFields(s, version < 6 ? REGS : XREGS);
  putFields(s, CONNTRACK);
  if (m.flow.ctNwProto) putFields(s, CT_PROTO);
  putField(s, METADATA);
  if (cookieMask !== 0n) putCookie(w, cookie, cookieMask);
  if (defaultPt && !s.impliedEthernet) insertPacketType(w, start, version);
  return w.length - start;
}

function putCookie(w: Writer, cookie: bigint, mask: bigint): void {
  const exact = mask === 0xffff_ffff_ffff_ffffn;
  w.putU32((0x0001 << 16) | (30 << 9) | (exact ? 8 : 0x100 | 16));
  w.putU64(cookie & mask);
  if (!exact) w.putU64(mask);
}

function putTunMetadata(s: PutState): void {
  for (const t of matchedTunMetadata(s.m)) {
    putOxmBytes(s.w, TUN_METADATA[t.index], s.version, t.value, t.masked ? t.mask : undefined);
  }
}

/** Nothing else in the match says that packets are Ethernet: say so in front. */
function insertPacketType(w: Writer, start: number, version: number): void {
  const tail = w.u8.slice(start, w.length);
  w.length = start;
  putOxm(w, PACKET_TYPE, version, new Uint8Array(4));
  w.putBytes(tail);
}

/** Appends an `ofp_match` of OpenFlow 1.2+ with its padding. */
export function putOxmMatch(w: Writer, m: Match, version: number): void {
  const start = w.length;
  w.putU16(1);
  w.putU16(0);
  const length = putNxMatch(w, m, version) + 4;
  w.setU16(start + 2, length);
  w.padTo(8, start);
}
