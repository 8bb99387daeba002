import { FIELDS } from '../../protocols/fields.ts';
import type { OfpactType } from '../openflow/actions.ts';
import { fieldSupported } from '../openflow/field.ts';
import type { TableFeatures, TableInstructionFeatures } from '../openflow/messages.ts';
import { type OfTable, TBL_INTERNAL } from './oftable.ts';

/** What the tables can do, for table features and OpenFlow 1.0–1.2's table statistics. */

/** Actions that translation knows. */
export const SUPPORTED_ACTIONS: ReadonlySet<OfpactType> = new Set<OfpactType>([
  'output',
  'output_trunc',
  'output_reg',
  'controller',
  'enqueue',
  'group',
  'bundle',
  'set_field',
  'reg_move',
  'set_vlan_vid',
  'set_vlan_pcp',
  'strip_vlan',
  'push_vlan',
  'set_eth_src',
  'set_eth_dst',
  'set_ipv4_src',
  'set_ipv4_dst',
  'set_ip_dscp',
  'set_ip_ecn',
  'set_ip_ttl',
  'set_l4_src_port',
  'set_l4_dst_port',
  'dec_ttl',
  'set_mpls_label',
  'set_mpls_tc',
  'set_mpls_ttl',
  'dec_mpls_ttl',
  'push_mpls',
  'pop_mpls',
  'dec_nsh_ttl',
  'delete_field',
  'encap',
  'decap',
  'set_tunnel',
  'set_queue',
  'pop_queue',
  'fin_timeout',
  'stack_push',
  'stack_pop',
  'resubmit',
  'learn',
  'conjunction',
  'multipath',
  'note',
  'exit',
  'sample',
  'ct',
  'ct_clear',
  'nat',
  'clone',
  'check_pkt_larger',
  'meter',
  'clear_actions',
  'write_actions',
  'write_metadata',
  'goto_table',
]);

/** Instruction numbers: goto_table, write_metadata, write_actions, apply_actions, clear_actions, meter. */
const INSTRUCTIONS = [1, 2, 3, 4, 5, 6];

const fields = FIELDS.filter(fieldSupported);
const matchable = new Set(fields.filter((f) => f.headers.length > 0));
const maskable = new Set(fields.filter((f) => f.headers.length > 0 && f.maskable));
const writable = new Set(fields.filter((f) => f.headers.length > 0 && f.writable));

function instructions(id: number): TableInstructionFeatures {
  const next = new Set<number>();
  for (let i = id + 1; i < TBL_INTERNAL; i++) next.add(i);
  const actions = { ofpacts: SUPPORTED_ACTIONS, setFields: writable };
  return {
    next,
    instructions: new Set(next.size ? INSTRUCTIONS : INSTRUCTIONS.slice(1)),
    write: actions,
    apply: actions,
  };
}

const MAX_ENTRIES = 1_000_000;

export function tableFeatures(table: OfTable): TableFeatures {
  const nonmiss = instructions(table.id);
  return {
    tableId: table.id,
    name: table.givenName,
    metadataMatch: 0xffff_ffff_ffff_ffffn,
    metadataWrite: 0xffff_ffff_ffff_ffffn,
    maxEntries: Math.min(table.maxFlows, MAX_ENTRIES),
    missConfig: table.missConfig,
    supportsEviction: false,
    supportsVacancyEvents: false,
    nonmiss,
    miss: nonmiss,
    match: matchable,
    mask: maskable,
    wildcard: matchable,
  };
}
