/**
 * Numbers of the messages: for each, the families and the wire versions in which it exists. OFPT: the header's type; STATS: type of a
 * statistics (multipart) request or reply; NXT, ONFT: subtype of a vendor message; NXSTATS: subtype of vendor statistics.
 */
export type MessageFamily =
  | 'OFPT'
  | 'STATS_REQUEST'
  | 'STATS_REPLY'
  | 'NXT'
  | 'ONFT'
  | 'NXSTATS_REQUEST'
  | 'NXSTATS_REPLY';
export type MessageNumber = readonly [type: string, family: MessageFamily, from: number, to: number, number: number];

/** Header types of the messages that carry other families. */
export const OFPT_VENDOR = 4;
export const OFPT_STATS_REQUEST = { v10: 16, v11: 18 } as const;
export const OFPT_STATS_REPLY = { v10: 17, v11: 19 } as const;
export const OFPST_VENDOR = 0xffff;

/** Where two rows fit, the first is what is sent by default. */
export const MESSAGE_NUMBERS: readonly MessageNumber[] = [
  ['hello', 'OFPT', 1, 6, 0],
  ['error', 'OFPT', 1, 6, 1],
  ['echo_request', 'OFPT', 1, 6, 2],
  ['echo_reply', 'OFPT', 1, 6, 3],
  ['features_request', 'OFPT', 1, 6, 5],
  ['features_reply', 'OFPT', 1, 6, 6],
  ['get_config_request', 'OFPT', 1, 6, 7],
  ['get_config_reply', 'OFPT', 1, 6, 8],
  ['set_config', 'OFPT', 1, 6, 9],
  ['packet_in', 'OFPT', 1, 6, 10],
  ['flow_removed', 'OFPT', 1, 6, 11],
  ['port_status', 'OFPT', 1, 6, 12],
  ['packet_out', 'OFPT', 1, 6, 13],
  ['flow_mod', 'OFPT', 1, 6, 14],
  ['port_mod', 'OFPT', 1, 1, 15],
  ['barrier_request', 'OFPT', 1, 1, 18],
  ['barrier_reply', 'OFPT', 1, 1, 19],
  ['queue_get_config_request', 'OFPT', 1, 1, 20],
  ['queue_get_config_reply', 'OFPT', 1, 1, 21],
  ['group_mod', 'OFPT', 2, 6, 15],
  ['port_mod', 'OFPT', 2, 6, 16],
  ['table_mod', 'OFPT', 2, 6, 17],
  ['barrier_request', 'OFPT', 2, 6, 20],
  ['barrier_reply', 'OFPT', 2, 6, 21],
  ['queue_get_config_request', 'OFPT', 2, 4, 22],
  ['queue_get_config_reply', 'OFPT', 2, 4, 23],
  ['role_request', 'OFPT', 3, 6, 24],
  ['role_reply', 'OFPT', 3, 6, 25],
  ['get_async_request', 'OFPT', 4, 6, 26],
  ['get_async_reply', 'OFPT', 4, 6, 27],
  ['set_async_config', 'OFPT', 4, 6, 28],
  ['meter_mod', 'OFPT', 4, 6, 29],
  ['role_status', 'OFPT', 5, 6, 30],
  ['table_status', 'OFPT', 5, 6, 31],
  ['requestforward', 'OFPT', 5, 6, 32],
  ['bundle_control', 'OFPT', 5, 6, 33],
  ['bundle_add_message', 'OFPT', 5, 6, 34],

  ['desc_stats_request', 'STATS_REQUEST', 1, 6, 0],
  ['desc_stats_reply', 'STATS_REPLY', 1, 6, 0],
  ['flow_stats_request', 'STATS_REQUEST', 1, 6, 1],
  ['flow_stats_reply', 'STATS_REPLY', 1, 6, 1],
  ['aggregate_stats_request', 'STATS_REQUEST', 1, 6, 2],
  ['aggregate_stats_reply', 'STATS_REPLY', 1, 6, 2],
  ['table_stats_request', 'STATS_REQUEST', 1, 6, 3],
  ['table_stats_reply', 'STATS_REPLY', 1, 6, 3],
  ['port_stats_request', 'STATS_REQUEST', 1, 6, 4],
  ['port_stats_reply', 'STATS_REPLY', 1, 6, 4],
  ['queue_stats_request', 'STATS_REQUEST', 1, 6, 5],
  ['queue_stats_reply', 'STATS_REPLY', 1, 6, 5],
  ['group_stats_request', 'STATS_REQUEST', 2, 6, 6],
  ['group_stats_reply', 'STATS_REPLY', 2, 6, 6],
  ['group_desc_stats_request', 'STATS_REQUEST', 2, 6, 7],
  ['group_desc_stats_reply', 'STATS_REPLY', 2, 6, 7],
  ['group_features_stats_request', 'STATS_REQUEST', 3, 6, 8],
  ['group_features_stats_reply', 'STATS_REPLY', 3, 6, 8],
  ['meter_stats_request', 'STATS_REQUEST', 4, 6, 9],
  ['meter_stats_reply', 'STATS_REPLY', 4, 6, 9],
  ['meter_config_stats_request', 'STATS_REQUEST', 4, 6, 10],
  ['meter_config_stats_reply', 'STATS_REPLY', 4, 6, 10],
  ['meter_features_stats_request', 'STATS_REQUEST', 4, 6, 11],
  ['meter_features_stats_reply', 'STATS_REPLY', 4, 6, 11],
  ['table_features_stats_request', 'STATS_REQUEST', 4, 6, 12],
  ['table_features_stats_reply', 'STATS_REPLY', 4, 6, 12],
  ['port_desc_stats_request', 'STATS_REQUEST', 1, 6, 13],
  ['port_desc_stats_reply', 'STATS_REPLY', 1, 6, 13],
  ['table_desc_request', 'STATS_REQUEST', 5, 6, 14],
  ['table_desc_reply', 'STATS_REPLY', 5, 6, 14],
  ['queue_get_config_request', 'STATS_REQUEST', 5, 6, 15],
  ['queue_get_config_reply', 'STATS_REPLY', 5, 6, 15],
  ['flow_monitor_stats_request', 'STATS_REQUEST', 5, 6, 16],
  ['flow_monitor_stats_reply', 'STATS_REPLY', 5, 6, 16],

  ['role_request', 'NXT', 1, 2, 10],
  ['role_reply', 'NXT', 1, 2, 11],
  ['set_flow_format', 'NXT', 1, 6, 12],
  ['flow_mod', 'NXT', 1, 6, 13],
  ['flow_removed', 'NXT', 1, 6, 14],
  ['flow_mod_table_id', 'NXT', 1, 6, 15],
  ['set_packet_in_format', 'NXT', 1, 6, 16],
  ['packet_in', 'NXT', 1, 6, 17],
  ['flow_age', 'NXT', 1, 6, 18],
  ['set_async_config', 'NXT', 1, 6, 19],
  ['set_controller_id', 'NXT', 1, 6, 20],
  ['flow_monitor_cancel', 'NXT', 1, 4, 21],
  ['flow_monitor_paused', 'NXT', 1, 4, 22],
  ['flow_monitor_resumed', 'NXT', 1, 4, 23],
  ['nxt_tlv_table_mod', 'NXT', 1, 6, 24],
  ['nxt_tlv_table_request', 'NXT', 1, 6, 25],
  ['nxt_tlv_table_reply', 'NXT', 1, 6, 26],
  ['nxt_resume', 'NXT', 1, 6, 28],
  ['ct_flush_zone', 'NXT', 1, 6, 29],
  ['packet_in', 'NXT', 1, 6, 30],
  ['ct_flush', 'NXT', 1, 6, 32],

  ['bundle_control', 'ONFT', 4, 4, 2300],
  ['bundle_add_message', 'ONFT', 4, 4, 2301],

  ['flow_stats_request', 'NXSTATS_REQUEST', 1, 6, 0],
  ['flow_stats_reply', 'NXSTATS_REPLY', 1, 6, 0],
  ['aggregate_stats_request', 'NXSTATS_REQUEST', 1, 6, 1],
  ['aggregate_stats_reply', 'NXSTATS_REPLY', 1, 6, 1],
  ['flow_monitor_stats_request', 'NXSTATS_REQUEST', 1, 4, 2],
  ['flow_monitor_stats_reply', 'NXSTATS_REPLY', 1, 4, 2],
  ['ipfix_bridge_stats_request', 'NXSTATS_REQUEST', 1, 6, 3],
  ['ipfix_bridge_stats_reply', 'NXSTATS_REPLY', 1, 6, 3],
  ['ipfix_flow_stats_request', 'NXSTATS_REQUEST', 1, 6, 4],
  ['ipfix_flow_stats_reply', 'NXSTATS_REPLY', 1, 6, 4],
];
