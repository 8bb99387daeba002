/**
 * The key that the fast path extracts from a packet and looks up: 64-bit words at fixed places. One row a word, members in order of
 * address. Bytes of the packet keep network order; `in_port` and `recirc_id` are native. Of Geneve's options (raw, with their size in
 * `tun_metadata_present`) there are as many as go in; packets with more are the control thread's.
 *
 * The first `FLOW_KEY_SHORT_WORDS` words hold all there is of an IPv4, TCP, UDP or plain Ethernet packet; a packet whose other words are all zero
 * is `short`, and those words are written only when a lookup wants them.
 *
 *     word 0   in_port:4  recirc_id:4
 *     word 1   dl_dst:6  dl_type:2
 *     …
 */
export type FlowKeyMember = readonly [name: string, bytes: number];

export const FLOW_KEY_SHORT_WORDS = 6;
/** The first of the words that hold a packet's metadata, up to the end: they are in no header, and are kept when it is looked up again. */
export const FLOW_KEY_META_WORD = 17;

export const FLOW_KEY_WORDS: readonly (readonly FlowKeyMember[])[] = [
  [
    ['in_port', 4],
    ['recirc_id', 4],
  ],
  [
    ['dl_dst', 6],
    ['dl_type', 2],
  ],
  [
    ['dl_src', 6],
    ['vlan_tci0', 2],
  ],
  [
    ['nw_proto', 1],
    ['nw_tos', 1],
    ['nw_ttl', 1],
    ['nw_frag', 1],
    ['tp_src', 2],
    ['tp_dst', 2],
  ],
  [
    ['nw_src', 4],
    ['nw_dst', 4],
  ],
  [
    ['tcp_flags', 2],
    ['vlan_tpid0', 2],
    ['vlan_tpid1', 2],
    ['vlan_tci1', 2],
  ],
  [
    ['arp_sha', 6],
    ['nd_options_type', 1],
    ['pad0', 1],
  ],
  [
    ['arp_tha', 6],
    ['pad1', 2],
  ],
  [['ipv6_src', 16]],
  [],
  [['ipv6_dst', 16]],
  [],
  [['nd_target', 16]],
  [],
  [
    ['ipv6_label', 4],
    ['nd_reserved', 4],
  ],
  [
    ['mpls_lse0', 4],
    ['mpls_lse1', 4],
  ],
  [
    ['mpls_lse2', 4],
    ['igmp_group_ip4', 4],
  ],
  [
    ['packet_type', 4],
    ['dp_hash', 4],
  ],
  [
    ['skb_priority', 4],
    ['pkt_mark', 4],
  ],
  [['tun_id', 8]],
  [
    ['tun_src', 4],
    ['tun_dst', 4],
  ],
  [['tun_ipv6_src', 16]],
  [],
  [['tun_ipv6_dst', 16]],
  [],
  [
    ['tun_flags', 2],
    ['tun_tos', 1],
    ['tun_ttl', 1],
    ['tun_tp_src', 2],
    ['tun_tp_dst', 2],
  ],
  [
    ['tun_gbp_id', 2],
    ['tun_gbp_flags', 1],
    ['pad2', 1],
    ['tun_metadata_present', 2],
    ['pad3', 2],
  ],
  [['tun_metadata', 24]],
  [],
  [],
];
