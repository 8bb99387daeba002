import type { MatchField } from '../../protocols/fields.ts';
import type { OfpPort } from '../base/types.ts';

/**
 * OpenFlow actions and instructions as version-independent values, named as Open vSwitch names them (`OFPACT_*`, lower case). A list is
 * flat: the actions of apply_actions first, then the instructions in the order meter, clear_actions, write_actions, write_metadata,
 * goto_table. Byte strings are in network order; numbers in host order.
 */

/** Part of a field: `nBits` bits from bit `ofs` (0 = least significant). */
export interface Subfield {
  field: MatchField;
  ofs: number;
  nBits: number;
}

/** One specification of `learn`. */
export interface LearnSpec {
  /** Where the bits come from: a field of the packet, or an immediate of ceil(nBits / 8) bytes, right-aligned. */
  src: Subfield | Uint8Array;
  dstType: 'match' | 'load' | 'output';
  /** Absent for `output`. */
  dst?: Subfield;
  nBits: number;
}

/**
 * Where an action has several wire forms: the NXAST_* (or, for reg_move, ONFACT_COPY_FIELD) that it came in, so that it goes back in the
 * same form. Absent: the form that is smallest.
 */
export interface RawForm {
  raw?: number;
}

/** The range of addresses and ports of `nat`; addresses are 4 or 16 bytes. */
export interface NatRange {
  addrMin?: Uint8Array;
  addrMax?: Uint8Array;
  portMin?: number;
  portMax?: number;
}

export type Ofpact =
  // Output.
  /** `maxLen` counts for port CONTROLLER only. */
  | { type: 'output'; port: OfpPort; maxLen: number }
  | { type: 'output_trunc'; port: OfpPort; maxLen: number }
  | ({ type: 'output_reg'; src: Subfield; maxLen: number } & RawForm)
  /** `reason` is an OFPR_*; `userdata`, `pause`, `meterId` and `controllerId` are Nicira extensions. */
  | ({
      type: 'controller';
      maxLen: number;
      reason: number;
      controllerId: number;
      userdata?: Uint8Array;
      pause?: boolean;
      meterId?: number;
    } & RawForm)
  | { type: 'enqueue'; port: OfpPort; queue: number }
  | { type: 'group'; groupId: number }
  /** `fields` are NX_HASH_FIELDS_*; `dst`: bundle_load. */
  | {
      type: 'bundle';
      algorithm: 'active_backup' | 'hrw';
      fields: number;
      basis: number;
      members: OfpPort[];
      dst?: Subfield;
    }
  // Headers.
  /**
   * Sets the bits of `mask`; both have `field.nBytes` bytes. `load`: it came as (and is shown as) reg_load. `flowHasVlan`: see
   * set_vlan_vid.
   */
  | ({
      type: 'set_field';
      field: MatchField;
      value: Uint8Array;
      mask: Uint8Array;
      load: boolean;
      flowHasVlan?: boolean;
    } & RawForm)
  | ({ type: 'reg_move'; src: Subfield; dst: Subfield } & RawForm)
  /** OpenFlow 1.0 adds a tag when there is none (`pushIfNeeded`); `flowHasVlan`: the match guarantees a tag. */
  | { type: 'set_vlan_vid'; vid: number; pushIfNeeded: boolean; flowHasVlan: boolean }
  | { type: 'set_vlan_pcp'; pcp: number; pushIfNeeded: boolean; flowHasVlan: boolean }
  /** `popVlan`: it came as (and is shown as) pop_vlan, OpenFlow 1.1's name. */
  | { type: 'strip_vlan'; popVlan?: boolean }
  | { type: 'push_vlan'; ethertype: number }
  | { type: 'set_eth_src'; mac: Uint8Array }
  | { type: 'set_eth_dst'; mac: Uint8Array }
  | { type: 'set_ipv4_src'; ip: number }
  | { type: 'set_ipv4_dst'; ip: number }
  /** Upper six bits of the TOS byte, in place (0–0xfc). */
  | { type: 'set_ip_dscp'; dscp: number }
  | { type: 'set_ip_ecn'; ecn: number }
  | { type: 'set_ip_ttl'; ttl: number }
  /** `flowIpProto`: the IP protocol that the match guarantees, 0 when unknown. */
  | { type: 'set_l4_src_port'; port: number; flowIpProto: number }
  | { type: 'set_l4_dst_port'; port: number; flowIpProto: number }
  /** Packets whose TTL runs out go to these controllers; plain dec_ttl has [0]. */
  | ({ type: 'dec_ttl'; ids: number[] } & RawForm)
  | { type: 'set_mpls_label'; label: number }
  | { type: 'set_mpls_tc'; tc: number }
  | { type: 'set_mpls_ttl'; ttl: number }
  | { type: 'dec_mpls_ttl' }
  | { type: 'push_mpls'; ethertype: number }
  | { type: 'pop_mpls'; ethertype: number }
  | { type: 'dec_nsh_ttl' }
  | { type: 'delete_field'; field: MatchField }
  /** `props` are as on the wire, padding zero: `edProps` of action-encap.ts takes them apart. */
  | { type: 'encap'; packetType: number; props: Uint8Array; hdrSize?: number }
  | { type: 'decap'; packetType: number }
  // Metadata.
  | ({ type: 'set_tunnel'; tunId: bigint } & RawForm)
  | { type: 'set_queue'; queue: number }
  | { type: 'pop_queue' }
  | { type: 'fin_timeout'; idleTimeout: number; hardTimeout: number }
  | { type: 'stack_push'; subfield: Subfield }
  | { type: 'stack_pop'; subfield: Subfield }
  // Flow table interaction.
  /** `tableId` 255 is the current table; `inPort` OFPP_IN_PORT keeps the packet's. */
  | ({ type: 'resubmit'; inPort: OfpPort; tableId: number; withCtOrig: boolean } & RawForm)
  /** `flags` are NX_LEARN_F_*; `limit` 0: none. */
  | ({
      type: 'learn';
      idleTimeout: number;
      hardTimeout: number;
      priority: number;
      tableId: number;
      cookie: bigint;
      flags: number;
      finIdleTimeout: number;
      finHardTimeout: number;
      limit: number;
      resultDst?: Subfield;
      specs: LearnSpec[];
    } & RawForm)
  | { type: 'conjunction'; id: number; clause: number; nClauses: number }
  // Arithmetic.
  | {
      type: 'multipath';
      fields: number;
      basis: number;
      algorithm: 'modulo_n' | 'hash_threshold' | 'hrw' | 'iter_hash';
      maxLink: number;
      arg: number;
      dst: Subfield;
    }
  // Other.
  | { type: 'note'; data: Uint8Array }
  | { type: 'exit' }
  | ({
      type: 'sample';
      probability: number;
      collectorSetId: number;
      obsDomainId: number;
      obsPointId: number;
      samplingPort: OfpPort;
      direction: 'default' | 'ingress' | 'egress';
    } & RawForm)
  /** `flags` are NX_CT_F_*; `recircTable` NX_CT_RECIRC_NONE: none; `alg` is the helper's port (21: FTP, 69: TFTP). `nat` is in `actions`. */
  | {
      type: 'ct';
      flags: number;
      zone: number | Subfield;
      recircTable: number;
      alg: number;
      actions: Ofpact[];
    }
  | { type: 'ct_clear' }
  /** `flags` are NX_NAT_F_*. */
  | { type: 'nat'; flags: number; range: NatRange }
  | { type: 'clone'; actions: Ofpact[] }
  | { type: 'check_pkt_larger'; pktLen: number; dst: Subfield }
  | { type: 'debug_recirc' }
  | { type: 'debug_slow' }
  // Instructions.
  | { type: 'meter'; meterId: number }
  | { type: 'clear_actions' }
  | { type: 'write_actions'; actions: Ofpact[] }
  | { type: 'write_metadata'; metadata: bigint; mask: bigint }
  | { type: 'goto_table'; tableId: number };

export type OfpactType = Ofpact['type'];
/** The member of the union with this type. */
export type OfpactOf<T extends OfpactType> = Extract<Ofpact, { type: T }>;

/** Names of the types in ovs-ofctl's words, where they are others than ours. */
const OFPACT_NAMES: Readonly<Partial<Record<OfpactType, string>>> = {
  set_eth_src: 'mod_dl_src',
  set_eth_dst: 'mod_dl_dst',
  set_ipv4_src: 'mod_nw_src',
  set_ipv4_dst: 'mod_nw_dst',
  set_ip_dscp: 'mod_nw_tos',
  set_ip_ecn: 'mod_nw_ecn',
  set_ip_ttl: 'mod_nw_ttl',
  set_l4_src_port: 'mod_tp_src',
  set_l4_dst_port: 'mod_tp_dst',
  reg_move: 'move',
  stack_push: 'push',
  stack_pop: 'pop',
};

/** What ovs-ofctl calls actions of this type. */
export const ofpactName = (type: OfpactType): string => OFPACT_NAMES[type] ?? type;

const INSTRUCTIONS: ReadonlySet<OfpactType> = new Set<OfpactType>([
  'meter',
  'clear_actions',
  'write_actions',
  'write_metadata',
  'goto_table',
]);

/** True for what OpenFlow 1.1+ carries as an instruction other than apply_actions. */
export function isInstruction(a: Ofpact): boolean {
  return INSTRUCTIONS.has(a.type);
}
