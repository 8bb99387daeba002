/** Names of what a userspace datapath drops, as Open vSwitch's coverage counters have them. */

/** Why an explicit `drop` is there, when the translation failed. */
const BY_ERROR: Readonly<Record<string, string>> = {
  bridge_not_found: 'drop_action_bridge_not_found',
  recursion_too_deep: 'drop_action_recursion_too_deep',
  too_many_resubmits: 'drop_action_too_many_resubmit',
  stack_too_deep: 'drop_action_stack_too_deep',
  no_recirculation_context: 'drop_action_no_recirculation_context',
  recirculation_conflict: 'drop_action_recirculation_conflict',
  too_many_mpls_labels: 'drop_action_too_many_mpls_labels',
  invalid_tunnel_metadata: 'drop_action_invalid_tunnel_metadata',
  unsupported_packet_type: 'drop_action_unsupported_packet_type',
  congestion_drop: 'drop_action_congestion',
  forwarding_disabled: 'drop_action_forwarding_disabled',
};
const OF_PIPELINE = 'drop_action_of_pipeline';

/** The counter of a `drop` action with that reason. */
export const dropActionCounter = (reason: string): string => BY_ERROR[reason] ?? OF_PIPELINE;

/** Every one can be read from the start. */
export const DROP_COUNTERS: readonly string[] = [
  OF_PIPELINE,
  ...Object.values(BY_ERROR),
  'datapath_drop_meter',
  'datapath_drop_upcall_error',
  'datapath_drop_lock_error',
  'datapath_drop_userspace_action_error',
  'datapath_drop_tunnel_push_error',
  'datapath_drop_tunnel_pop_error',
  'datapath_drop_recirc_error',
  'datapath_drop_invalid_port',
  'datapath_drop_invalid_bond',
  'datapath_drop_invalid_tnl_port',
  'datapath_drop_rx_invalid_packet',
  'datapath_drop_hw_miss_recover',
  'datapath_drop_sample_error',
  'datapath_drop_nsh_decap_error',
];
