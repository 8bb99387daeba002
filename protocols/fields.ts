/**
 * The match fields of Open vSwitch 3.1 (ovs-fields(7)): one row a field, in the order of its field numbers. The parser and the printer of
 * flow text, NXM and OXM, and the field part of actions all come from these rows.
 *
 * A field lives in a slice of a member of `Flow` (protocols/flow.ts): `bits` bits from bit `shift` of the member, bit 0 being the least
 * significant of the big-endian number, which may be more than the significant ones (a match of all of tcp_flags is 0xffff). `wide`: a match of the field covers the whole member (ICMP's type lies in a 16-bit port).
 * A field without a slice is computed by src/openflow/field.ts, or is not supported yet (tun_metadata).
 */

export type FieldFormat =
  | 'decimal'
  | 'hex'
  | 'ethernet'
  | 'ipv4'
  | 'ipv6'
  | 'port16'
  | 'port32'
  | 'frag'
  | 'tunnel-flags'
  | 'tcp-flags'
  | 'ct-state'
  | 'packet-type';

/** What a flow must match before the field means anything. */
export type FieldPrereq =
  | 'none'
  | 'ethernet'
  | 'arp'
  | 'vlan'
  | 'ipv4'
  | 'ipv6'
  | 'ip'
  | 'mpls'
  | 'nsh'
  | 'ct'
  | 'tcp'
  | 'udp'
  | 'sctp'
  | 'icmp4'
  | 'icmp6'
  | 'nd'
  | 'nd_solicit'
  | 'nd_advert';

/** One way to write the field in a match: class and number, an experimenter's id for class 0xffff, and the first version to use it. */
export interface OxmHeader {
  readonly name: string;
  readonly oxmClass: number;
  readonly number: number;
  readonly experimenter: number;
  /** Wire version from which it is preferred; 1 for NXM and experimenters', 7: read, never written. */
  readonly version: number;
}

export interface FieldSlice {
  readonly member: string;
  readonly shift: number;
  readonly bits: number;
  readonly wide: boolean;
}

export interface MatchField {
  /** Position in `FIELDS`. */
  readonly id: number;
  readonly name: string;
  /** Second name, '' when there is none. */
  readonly alias: string;
  /** Size of its value in NXM, OXM and `set_field`; `nBits` are its significant low bits. */
  readonly nBytes: number;
  readonly nBits: number;
  readonly maskable: boolean;
  readonly writable: boolean;
  readonly format: FieldFormat;
  readonly prereq: FieldPrereq;
  readonly slice: FieldSlice | undefined;
  /** NXM first, then OXM by rising version. Empty: it can't be written. */
  readonly headers: readonly OxmHeader[];
  readonly variableLength: boolean;
  /** How much of it OpenFlow 1.0's and 1.1's fixed matches can say. */
  readonly of10: '' | 'exact' | 'cidr';
  readonly of11: '' | 'exact' | 'bitwise';
  /** tun_metadata with the width of its option in one bridge: `nBytes` is that width. */
  readonly mapped?: boolean;
}

const CLASSES: Readonly<Record<string, readonly [oxmClass: number, experimenter: number]>> = {
  NXM_OF_: [0x0000, 0],
  NXM_NX_: [0x0001, 0],
  ERICOXM_OF_: [0x1000, 0],
  OXM_OF_: [0x8000, 0],
  OXM_OF_PKT_REG: [0x8001, 0],
  ONFOXM_ET_: [0xffff, 0x4f4e4600],
  NXOXM_ET_: [0xffff, 0x00002320],
  NXOXM_NSH_: [0xffff, 0x005ad650],
};

/** `header('NXM_OF_ETH_SRC', 2)`: the class is that of the longest prefix in `CLASSES`. */
function header(name: string, number: number, version = 1): OxmHeader {
  const prefix = Object.keys(CLASSES)
    .filter((p) => name.startsWith(p))
    .sort((a, b) => b.length - a.length)[0];
  const [oxmClass, experimenter] = CLASSES[prefix];
  return { name, oxmClass, number, experimenter, version };
}

/** The width of a value: `[bytes, significant bits]`. */
type Width = readonly [number, number];
const u8: Width = [1, 8];
const be16: Width = [2, 16];
const be32: Width = [4, 32];
const be64: Width = [8, 64];
const be128: Width = [16, 128];
const mac: Width = [6, 48];
const low = (w: Width, bits: number): Width => [w[0], bits];

interface Options {
  alias?: string;
  /** Member of Flow; default the field's name. `null`: none. */
  in?: string | null;
  shift?: number;
  /** Width of the slice; default the field's significant bits. */
  bits?: number;
  wide?: boolean;
  variableLength?: boolean;
}

const rows: MatchField[] = [];

/** `access`: 'r' or 'rw', and 'm' when it may be masked bit by bit. */
function field(
  name: string,
  [nBytes, nBits]: Width,
  access: 'r' | 'rw' | 'rm' | 'rwm',
  format: FieldFormat,
  prereq: FieldPrereq,
  headers: readonly OxmHeader[],
  o: Options = {},
): void {
  const member = o.in === undefined ? name : o.in;
  rows.push({
    id: rows.length,
    name,
    alias: o.alias ?? '',
    nBytes,
    nBits,
    maskable: access.includes('m'),
    writable: access.includes('w'),
    format,
    prereq,
    slice: member === null ? undefined : { member, shift: o.shift ?? 0, bits: o.bits ?? nBits, wide: o.wide ?? false },
    headers,
    variableLength: o.variableLength ?? false,
    ...fixedMatch(name),
  });
}

/** Fields of OpenFlow 1.0's and 1.1's fixed matches. */
const FIXED: Readonly<Record<string, readonly ['' | 'exact' | 'cidr', 'exact' | 'bitwise']>> = {
  metadata: ['', 'bitwise'],
  in_port: ['exact', 'exact'],
  in_port_oxm: ['', 'exact'],
  eth_src: ['exact', 'bitwise'],
  eth_dst: ['exact', 'bitwise'],
  eth_type: ['exact', 'exact'],
  vlan_tci: ['exact', 'exact'],
  dl_vlan: ['exact', 'exact'],
  vlan_vid: ['exact', 'exact'],
  dl_vlan_pcp: ['exact', 'exact'],
  vlan_pcp: ['exact', 'exact'],
  mpls_label: ['', 'exact'],
  mpls_tc: ['', 'exact'],
  ip_src: ['cidr', 'bitwise'],
  ip_dst: ['cidr', 'bitwise'],
  nw_proto: ['exact', 'exact'],
  nw_tos: ['exact', 'exact'],
  ip_dscp: ['exact', 'exact'],
  nw_ecn: ['', 'exact'],
  arp_op: ['exact', 'exact'],
  arp_spa: ['cidr', 'bitwise'],
  arp_tpa: ['cidr', 'bitwise'],
  tcp_src: ['exact', 'exact'],
  tcp_dst: ['exact', 'exact'],
  udp_src: ['exact', 'exact'],
  udp_dst: ['exact', 'exact'],
  sctp_src: ['', 'exact'],
  sctp_dst: ['', 'exact'],
  icmp_type: ['exact', 'exact'],
  icmp_code: ['exact', 'exact'],
};

function fixedMatch(name: string): Pick<MatchField, 'of10' | 'of11'> {
  const [of10, of11] = FIXED[name] ?? ['', ''];
  return { of10, of11 };
}

const nxOf = (name: string, n: number) => header(`NXM_OF_${name}`, n);
const nx = (name: string, n: number) => header(`NXM_NX_${name}`, n);
const et = (name: string, n: number) => header(`NXOXM_ET_${name}`, n);
const nsh = (name: string, n: number) => header(`NXOXM_NSH_${name}`, n);
const oxm = (name: string, n: number, version = 3) => header(`OXM_OF_${name}`, n, version);
const onf = (name: string, n: number) => header(`ONFOXM_ET_${name}`, n, 4);
const eric = (name: string, n: number) => header(`ERICOXM_OF_${name}`, n);

// Metadata.
field('dp_hash', be32, 'rm', 'hex', 'none', [nx('DP_HASH', 35), header('NXOXM_ET_DP_HASH', 0, 7)]);
field('recirc_id', be32, 'r', 'decimal', 'none', [nx('RECIRC_ID', 36)]);
field('packet_type', be32, 'r', 'packet-type', 'none', [oxm('PACKET_TYPE', 44, 6)]);
field('conj_id', be32, 'r', 'decimal', 'none', [nx('CONJ_ID', 37)]);
// Tunnels.
field('tun_id', be64, 'rwm', 'hex', 'none', [nx('TUN_ID', 16), oxm('TUNNEL_ID', 38, 4)], { alias: 'tunnel_id' });
field('tun_src', be32, 'rwm', 'ipv4', 'none', [nx('TUN_IPV4_SRC', 31)]);
field('tun_dst', be32, 'rwm', 'ipv4', 'none', [nx('TUN_IPV4_DST', 32)]);
field('tun_ipv6_src', be128, 'rwm', 'ipv6', 'none', [nx('TUN_IPV6_SRC', 109)]);
field('tun_ipv6_dst', be128, 'rwm', 'ipv6', 'none', [nx('TUN_IPV6_DST', 110)]);
field('tun_flags', low(be16, 1), 'rwm', 'tunnel-flags', 'none', [nx('TUN_FLAGS', 104)]);
field('tun_ttl', u8, 'r', 'decimal', 'none', []);
field('tun_tos', u8, 'r', 'decimal', 'none', []);
field('tun_gbp_id', be16, 'rwm', 'decimal', 'none', [nx('TUN_GBP_ID', 38)]);
field('tun_gbp_flags', u8, 'rwm', 'hex', 'none', [nx('TUN_GBP_FLAGS', 39)]);
field('tun_erspan_idx', low(be32, 20), 'rwm', 'hex', 'none', [et('ERSPAN_IDX', 11)], { bits: 32 });
field('tun_erspan_ver', low(u8, 4), 'rwm', 'decimal', 'none', [et('ERSPAN_VER', 12)], { bits: 8 });
field('tun_erspan_dir', low(u8, 1), 'rwm', 'decimal', 'none', [et('ERSPAN_DIR', 13)], { bits: 8 });
field('tun_erspan_hwid', low(u8, 6), 'rwm', 'hex', 'none', [et('ERSPAN_HWID', 14)], { bits: 8 });
field('tun_gtpu_flags', u8, 'rm', 'hex', 'none', [et('GTPU_FLAGS', 15)]);
field('tun_gtpu_msgtype', u8, 'rm', 'decimal', 'none', [et('GTPU_MSGTYPE', 16)]);
for (let i = 0; i < 64; i++) {
  field(`tun_metadata${i}`, [124, 992], 'rwm', 'hex', 'none', [nx(`TUN_METADATA${i}`, 40 + i)], {
    in: null,
    variableLength: true,
  });
}
// More metadata.
field('metadata', be64, 'rwm', 'hex', 'none', [oxm('METADATA', 2)]);
field('in_port', be16, 'rw', 'port16', 'none', [nxOf('IN_PORT', 0)], { in: null });
field('in_port_oxm', be32, 'rw', 'port32', 'none', [oxm('IN_PORT', 0)], { in: 'in_port' });
field('actset_output', be32, 'r', 'port32', 'none', [onf('ACTSET_OUTPUT', 43), oxm('ACTSET_OUTPUT', 43, 6)]);
field('skb_priority', be32, 'r', 'hex', 'none', []);
field('pkt_mark', be32, 'rwm', 'hex', 'none', [nx('PKT_MARK', 33)]);
// Connection tracking.
field('ct_state', be32, 'rm', 'ct-state', 'none', [nx('CT_STATE', 105)], { bits: 8 });
field('ct_zone', be16, 'r', 'hex', 'none', [nx('CT_ZONE', 106)]);
field('ct_mark', be32, 'rwm', 'hex', 'none', [nx('CT_MARK', 107)]);
field('ct_label', be128, 'rwm', 'hex', 'none', [nx('CT_LABEL', 108)]);
field('ct_nw_proto', u8, 'r', 'decimal', 'ct', [nx('CT_NW_PROTO', 119)]);
field('ct_nw_src', be32, 'rm', 'ipv4', 'ct', [nx('CT_NW_SRC', 120)]);
field('ct_nw_dst', be32, 'rm', 'ipv4', 'ct', [nx('CT_NW_DST', 121)]);
field('ct_ipv6_src', be128, 'rm', 'ipv6', 'ct', [nx('CT_IPV6_SRC', 122)]);
field('ct_ipv6_dst', be128, 'rm', 'ipv6', 'ct', [nx('CT_IPV6_DST', 123)]);
field('ct_tp_src', be16, 'rm', 'decimal', 'ct', [nx('CT_TP_SRC', 124)]);
field('ct_tp_dst', be16, 'rm', 'decimal', 'ct', [nx('CT_TP_DST', 125)]);
// Registers. xregN is reg2N (high half) and reg2N+1; xxregN is reg4N to reg4N+3: neighbours in Flow.
for (let i = 0; i < 16; i++) field(`reg${i}`, be32, 'rwm', 'hex', 'none', [nx(`REG${i}`, i)]);
for (let i = 0; i < 8; i++) {
  field(`xreg${i}`, be64, 'rwm', 'hex', 'none', [header(`OXM_OF_PKT_REG${i}`, i, 4)], { in: `reg${2 * i}` });
}
for (let i = 0; i < 4; i++) {
  field(`xxreg${i}`, be128, 'rwm', 'hex', 'none', [nx(`XXREG${i}`, 111 + i)], { in: `reg${4 * i}` });
}
// Ethernet.
const dl = (name: string): Options => ({ alias: name, in: name });
field('eth_src', mac, 'rwm', 'ethernet', 'ethernet', [nxOf('ETH_SRC', 2), oxm('ETH_SRC', 4)], dl('dl_src'));
field('eth_dst', mac, 'rwm', 'ethernet', 'ethernet', [nxOf('ETH_DST', 1), oxm('ETH_DST', 3)], dl('dl_dst'));
field('eth_type', be16, 'r', 'hex', 'ethernet', [nxOf('ETH_TYPE', 3), oxm('ETH_TYPE', 5)], dl('dl_type'));
// 802.1Q. OXM's VLAN_VID has CFI (bit 12) for "tag present".
const tci = (shift: number, bits: number): Options => ({ in: 'vlan_tci0', shift, bits });
field('vlan_tci', be16, 'rwm', 'hex', 'ethernet', [nxOf('VLAN_TCI', 4)], tci(0, 16));
field('dl_vlan', low(be16, 12), 'rw', 'decimal', 'ethernet', [], tci(0, 12));
field('vlan_vid', low(be16, 12), 'rwm', 'decimal', 'ethernet', [oxm('VLAN_VID', 6)], tci(0, 13));
field('dl_vlan_pcp', low(u8, 3), 'rw', 'decimal', 'ethernet', [], tci(13, 3));
field('vlan_pcp', low(u8, 3), 'rw', 'decimal', 'vlan', [oxm('VLAN_PCP', 7)], tci(13, 3));
// MPLS.
const lse = (shift: number): Options => ({ in: 'mpls_lse0', shift });
field('mpls_label', low(be32, 20), 'rw', 'decimal', 'mpls', [oxm('MPLS_LABEL', 34)], lse(12));
field('mpls_tc', low(u8, 3), 'rw', 'decimal', 'mpls', [oxm('MPLS_TC', 35)], lse(9));
field('mpls_bos', low(u8, 1), 'r', 'decimal', 'mpls', [oxm('MPLS_BOS', 36, 4)], lse(8));
field('mpls_ttl', u8, 'rw', 'decimal', 'mpls', [nx('MPLS_TTL', 30)], lse(0));
// IP.
field('ip_src', be32, 'rwm', 'ipv4', 'ipv4', [nxOf('IP_SRC', 7), oxm('IPV4_SRC', 11)], dl('nw_src'));
field('ip_dst', be32, 'rwm', 'ipv4', 'ipv4', [nxOf('IP_DST', 8), oxm('IPV4_DST', 12)], dl('nw_dst'));
field('ipv6_src', be128, 'rwm', 'ipv6', 'ipv6', [nx('IPV6_SRC', 19), oxm('IPV6_SRC', 26)]);
field('ipv6_dst', be128, 'rwm', 'ipv6', 'ipv6', [nx('IPV6_DST', 20), oxm('IPV6_DST', 27)]);
field('ipv6_label', low(be32, 20), 'rwm', 'hex', 'ipv6', [nx('IPV6_LABEL', 27), oxm('IPV6_FLABEL', 28)], { bits: 32 });
field('nw_proto', u8, 'r', 'decimal', 'ip', [nxOf('IP_PROTO', 6), oxm('IP_PROTO', 10)], { alias: 'ip_proto' });
// nw_tos keeps DSCP in place; ip_dscp has it shifted down.
field('nw_tos', u8, 'rw', 'decimal', 'ip', [nxOf('IP_TOS', 5)], { in: null });
field('ip_dscp', low(u8, 6), 'rw', 'decimal', 'ip', [oxm('IP_DSCP', 8)], { in: 'nw_tos', shift: 2 });
field('nw_ecn', low(u8, 2), 'rw', 'decimal', 'ip', [nx('IP_ECN', 28), oxm('IP_ECN', 9)], {
  alias: 'ip_ecn',
  in: 'nw_tos',
});
field('nw_ttl', u8, 'rw', 'decimal', 'ip', [nx('IP_TTL', 29)]);
field('ip_frag', low(u8, 2), 'rm', 'frag', 'ip', [nx('IP_FRAG', 26)], { alias: 'nw_frag', in: 'nw_frag' });
// ARP.
field('arp_op', be16, 'rw', 'decimal', 'arp', [nxOf('ARP_OP', 15), oxm('ARP_OP', 21)], { in: 'nw_proto', bits: 8 });
field('arp_spa', be32, 'rwm', 'ipv4', 'arp', [nxOf('ARP_SPA', 16), oxm('ARP_SPA', 22)], { in: 'nw_src' });
field('arp_tpa', be32, 'rwm', 'ipv4', 'arp', [nxOf('ARP_TPA', 17), oxm('ARP_TPA', 23)], { in: 'nw_dst' });
field('arp_sha', mac, 'rwm', 'ethernet', 'arp', [nx('ARP_SHA', 17), oxm('ARP_SHA', 24)]);
field('arp_tha', mac, 'rwm', 'ethernet', 'arp', [nx('ARP_THA', 18), oxm('ARP_THA', 25)]);
// Transport.
const tpSrc: Options = { in: 'tp_src' };
const tpDst: Options = { in: 'tp_dst' };
field('tcp_src', be16, 'rwm', 'decimal', 'tcp', [nxOf('TCP_SRC', 9), oxm('TCP_SRC', 13)], {
  ...tpSrc,
  alias: 'tp_src',
});
field('tcp_dst', be16, 'rwm', 'decimal', 'tcp', [nxOf('TCP_DST', 10), oxm('TCP_DST', 14)], {
  ...tpDst,
  alias: 'tp_dst',
});
field(
  'tcp_flags',
  low(be16, 12),
  'rm',
  'tcp-flags',
  'tcp',
  [nx('TCP_FLAGS', 34), onf('TCP_FLAGS', 42), oxm('TCP_FLAGS', 42, 6)],
  { bits: 16 },
);
field('udp_src', be16, 'rwm', 'decimal', 'udp', [nxOf('UDP_SRC', 11), oxm('UDP_SRC', 15)], tpSrc);
field('udp_dst', be16, 'rwm', 'decimal', 'udp', [nxOf('UDP_DST', 12), oxm('UDP_DST', 16)], tpDst);
field('sctp_src', be16, 'rwm', 'decimal', 'sctp', [oxm('SCTP_SRC', 17)], tpSrc);
field('sctp_dst', be16, 'rwm', 'decimal', 'sctp', [oxm('SCTP_DST', 18)], tpDst);
field('icmp_type', u8, 'rw', 'decimal', 'icmp4', [nxOf('ICMP_TYPE', 13), oxm('ICMPV4_TYPE', 19)], {
  ...tpSrc,
  wide: true,
});
field('icmp_code', u8, 'rw', 'decimal', 'icmp4', [nxOf('ICMP_CODE', 14), oxm('ICMPV4_CODE', 20)], {
  ...tpDst,
  wide: true,
});
field('icmpv6_type', u8, 'rw', 'decimal', 'icmp6', [nx('ICMPV6_TYPE', 21), oxm('ICMPV6_TYPE', 29)], {
  ...tpSrc,
  wide: true,
});
field('icmpv6_code', u8, 'rw', 'decimal', 'icmp6', [nx('ICMPV6_CODE', 22), oxm('ICMPV6_CODE', 30)], {
  ...tpDst,
  wide: true,
});
// Neighbour discovery.
field('nd_target', be128, 'rwm', 'ipv6', 'nd', [nx('ND_TARGET', 23), oxm('IPV6_ND_TARGET', 31)]);
field('nd_sll', mac, 'rwm', 'ethernet', 'nd_solicit', [nx('ND_SLL', 24), oxm('IPV6_ND_SLL', 32)], { in: 'arp_sha' });
field('nd_tll', mac, 'rwm', 'ethernet', 'nd_advert', [nx('ND_TLL', 25), oxm('IPV6_ND_TLL', 33)], { in: 'arp_tha' });
field('nd_reserved', be32, 'rw', 'decimal', 'nd', [eric('ICMPV6_ND_RESERVED', 1)]);
field('nd_options_type', u8, 'rw', 'decimal', 'nd', [eric('ICMPV6_ND_OPTIONS_TYPE', 2)]);
// NSH.
field('nsh_flags', u8, 'rwm', 'decimal', 'nsh', [nsh('FLAGS', 1)]);
field('nsh_mdtype', u8, 'r', 'decimal', 'nsh', [nsh('MDTYPE', 2)]);
field('nsh_np', u8, 'r', 'decimal', 'nsh', [nsh('NP', 3)]);
field('nsh_spi', low(be32, 24), 'rw', 'hex', 'nsh', [nsh('SPI', 4)], { alias: 'nsp', in: 'nsh_path_hdr', shift: 8 });
field('nsh_si', u8, 'rw', 'decimal', 'nsh', [nsh('SI', 5)], { alias: 'nsi', in: 'nsh_path_hdr' });
for (let i = 0; i < 4; i++) {
  field(`nsh_c${i + 1}`, be32, 'rwm', 'hex', 'nsh', [nsh(`C${i + 1}`, 6 + i)], { in: `nsh_context${i}` });
}
field('nsh_ttl', u8, 'rw', 'decimal', 'nsh', [nsh('TTL', 10)]);

/** Every field, by id. */
export const FIELDS: readonly MatchField[] = rows;
