import type { Ofpact } from './actions.ts';

/** Nicira's own: tunnel option tables, conntrack flushes, IPFIX statistics, and the state that a paused packet resumes with. */

export interface TlvMap {
  optionClass: number;
  optionType: number;
  /** Bytes, 4–124 in steps of 4. */
  optionLen: number;
  /** n of the field tun_metadata<n>. */
  index: number;
}

export type TlvTableCommand = 'add' | 'delete' | 'clear';

/** One side of a connection. Addresses have 16 bytes; IPv4 is mapped (::ffff:a.b.c.d). All zero: any. */
export interface CtTuple {
  src: Uint8Array;
  dst: Uint8Array;
  /** Or the ICMP id. */
  srcPort: number;
  dstPort: number;
  icmpType?: number;
  icmpCode?: number;
}

export interface CtMatch {
  ipProto: number;
  /** AF_INET 2, AF_INET6 10, 0 unknown. */
  l3Type: number;
  orig: CtTuple;
  reply: CtTuple;
}

export interface IpfixStats {
  /** Of flow-based IPFIX; otherwise 0. */
  collectorSetId: number;
  totalFlows: bigint;
  currentFlows: bigint;
  pkts: bigint;
  ipv4Pkts: bigint;
  ipv6Pkts: bigint;
  errorPkts: bigint;
  ipv4ErrorPkts: bigint;
  ipv6ErrorPkts: bigint;
  txPkts: bigint;
  txErrors: bigint;
}

/** Actions that are still to do, with the table and the cookie that they belong to. */
export interface ContinuationActions {
  tableId: number;
  cookie: bigint;
  actions: Ofpact[];
}

/** NXPINT_CONTINUATION: the state of a packet that was paused; private to the switch that made it. */
export interface Continuation {
  /** The bridge's UUID in text. */
  bridge: string;
  /** As the stack is kept, bottom first: each entry's value, 1–127 bytes. */
  stack: Uint8Array[];
  mirrors: number;
  conntracked: boolean;
  actions: ContinuationActions[];
  actionSet: Ofpact[];
  /** Of a packet_type that needs it. Absent: none. */
  odpPort?: number;
}

export type NiciraMessage =
  | { type: 'set_packet_in_format'; format: PacketInFormat }
  | { type: 'set_flow_format'; format: 'openflow10' | 'nxm' }
  | { type: 'flow_mod_table_id'; enable: boolean }
  | { type: 'set_controller_id'; controllerId: number }
  | { type: 'flow_age' }
  | { type: 'nxt_tlv_table_mod'; command: TlvTableCommand; mappings: TlvMap[] }
  | { type: 'nxt_tlv_table_request' }
  | { type: 'nxt_tlv_table_reply'; maxOptionSpace: number; maxFields: number; mappings: TlvMap[] }
  | { type: 'ct_flush_zone'; zoneId: number }
  /** `zoneId` undefined: every zone. */
  | { type: 'ct_flush'; zoneId?: number; match: CtMatch }
  | { type: 'ipfix_bridge_stats_request' }
  | ({ type: 'ipfix_bridge_stats_reply' } & { stats: IpfixStats })
  | { type: 'ipfix_flow_stats_request' }
  | { type: 'ipfix_flow_stats_reply'; stats: IpfixStats[]; more: boolean };

export type PacketInFormat = 'standard' | 'nxt_packet_in' | 'nxt_packet_in2';
