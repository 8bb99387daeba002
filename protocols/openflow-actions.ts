/** Types of actions and instructions: OpenFlow 1.0 section 5.2.4, OpenFlow 1.1–1.5 sections A.2.4 and A.2.5, Nicira's subtypes. */

export const OFPAT10 = {
  OUTPUT: 0,
  SET_VLAN_VID: 1,
  SET_VLAN_PCP: 2,
  STRIP_VLAN: 3,
  SET_DL_SRC: 4,
  SET_DL_DST: 5,
  SET_NW_SRC: 6,
  SET_NW_DST: 7,
  SET_NW_TOS: 8,
  SET_TP_SRC: 9,
  SET_TP_DST: 10,
  ENQUEUE: 11,
} as const;

/** SET_FIELD since 1.2, COPY_FIELD and METER since 1.5; those from SET_VLAN_VID to SET_MPLS_TTL are deprecated since 1.2. */
export const OFPAT11 = {
  OUTPUT: 0,
  SET_VLAN_VID: 1,
  SET_VLAN_PCP: 2,
  SET_DL_SRC: 3,
  SET_DL_DST: 4,
  SET_NW_SRC: 5,
  SET_NW_DST: 6,
  SET_NW_TOS: 7,
  SET_NW_ECN: 8,
  SET_TP_SRC: 9,
  SET_TP_DST: 10,
  SET_MPLS_LABEL: 13,
  SET_MPLS_TC: 14,
  SET_MPLS_TTL: 15,
  DEC_MPLS_TTL: 16,
  PUSH_VLAN: 17,
  POP_VLAN: 18,
  PUSH_MPLS: 19,
  POP_MPLS: 20,
  SET_QUEUE: 21,
  GROUP: 22,
  SET_NW_TTL: 23,
  DEC_NW_TTL: 24,
  SET_FIELD: 25,
  COPY_FIELD: 28,
  METER: 29,
} as const;

export const OFPAT_EXPERIMENTER = 0xffff;

export const NXAST = {
  RESUBMIT: 1,
  SET_TUNNEL: 2,
  SET_QUEUE: 4,
  POP_QUEUE: 5,
  REG_MOVE: 6,
  REG_LOAD: 7,
  NOTE: 8,
  SET_TUNNEL64: 9,
  MULTIPATH: 10,
  BUNDLE: 12,
  BUNDLE_LOAD: 13,
  RESUBMIT_TABLE: 14,
  OUTPUT_REG: 15,
  LEARN: 16,
  EXIT: 17,
  DEC_TTL: 18,
  FIN_TIMEOUT: 19,
  CONTROLLER: 20,
  DEC_TTL_CNT_IDS: 21,
  WRITE_METADATA: 22,
  PUSH_MPLS: 23,
  POP_MPLS: 24,
  SET_MPLS_TTL: 25,
  DEC_MPLS_TTL: 26,
  STACK_PUSH: 27,
  STACK_POP: 28,
  SAMPLE: 29,
  SET_MPLS_LABEL: 30,
  SET_MPLS_TC: 31,
  OUTPUT_REG2: 32,
  REG_LOAD2: 33,
  CONJUNCTION: 34,
  CT: 35,
  NAT: 36,
  CONTROLLER2: 37,
  SAMPLE2: 38,
  OUTPUT_TRUNC: 39,
  GROUP: 40,
  SAMPLE3: 41,
  CLONE: 42,
  CT_CLEAR: 43,
  RESUBMIT_TABLE_CT: 44,
  LEARN2: 45,
  ENCAP: 46,
  DECAP: 47,
  DEC_NSH_TTL: 48,
  CHECK_PKT_LARGER: 49,
  DELETE_FIELD: 50,
  DEBUG_SLOW: 254,
  DEBUG_RECIRC: 255,
} as const;

/** ONF's extension of OpenFlow 1.3, by the subtype of its experimenter action. */
export const ONFACT_COPY_FIELD = 3200;

export const NX_CT_F_COMMIT = 1 << 0;
export const NX_CT_F_FORCE = 1 << 1;
export const NX_CT_RECIRC_NONE = 0xff;

export const NX_NAT_F_SRC = 1 << 0;
export const NX_NAT_F_DST = 1 << 1;
export const NX_NAT_F_PERSISTENT = 1 << 2;
export const NX_NAT_F_PROTO_HASH = 1 << 3;
export const NX_NAT_F_PROTO_RANDOM = 1 << 4;
/** Which parts of a range follow nx_action_nat, in this order. */
export const NX_NAT_RANGE = {
  IPV4_MIN: 1 << 0,
  IPV4_MAX: 1 << 1,
  IPV6_MIN: 1 << 2,
  IPV6_MAX: 1 << 3,
  PROTO_MIN: 1 << 4,
  PROTO_MAX: 1 << 5,
} as const;

export const NX_LEARN_F_SEND_FLOW_REM = 1 << 0;
export const NX_LEARN_F_DELETE_LEARNED = 1 << 1;
export const NX_LEARN_F_WRITE_RESULT = 1 << 2;
/** The word before a flow_mod_spec: width in bits, what is done with it, where it comes from. */
export const NX_LEARN_N_BITS_MASK = 0x3ff;
export const NX_LEARN_DST = { match: 0 << 11, load: 1 << 11, output: 2 << 11 } as const;
export const NX_LEARN_DST_MASK = 3 << 11;
export const NX_LEARN_SRC_IMMEDIATE = 1 << 13;

/** NX_HASH_FIELDS_* by number: what bundle and multipath hash. */
export const NX_HASH_FIELDS = [
  'eth_src',
  'symmetric_l4',
  'symmetric_l3l4',
  'symmetric_l3l4+udp',
  'nw_src',
  'nw_dst',
  'symmetric_l3',
] as const;

/** NX_MP_ALG_* by number. */
export const NX_MP_ALG = ['modulo_n', 'hash_threshold', 'hrw', 'iter_hash'] as const;
/** NX_BD_ALG_* by number. */
export const NX_BD_ALG = ['active_backup', 'hrw'] as const;
/** Most members of a bundle. */
export const BUNDLE_MAX_MEMBERS = 2048;

/** NX_ACTION_SAMPLE_* by number. */
export const NX_ACTION_SAMPLE_DIRECTION = ['default', 'ingress', 'egress'] as const;

/** Properties of encap: classes (ONF EXT-382), and types within the NSH class. */
export const OFPPPC = { BASIC: 0, MPLS: 1, GRE: 2, GTP: 3, NSH: 4 } as const;
export const OFPPPT_PROP_NSH_MDTYPE = 1;
export const OFPPPT_PROP_NSH_TLV = 2;
/** Packet types: namespace and type (OpenFlow 1.5 section 7.2.3.11). */
export const PT_ETH = 0;
export const PT_USE_NEXT_PROTO = 0xfffe;
export const PT_MPLS = 0x1_8847;
export const PT_MPLS_MC = 0x1_8848;
export const PT_NSH = 0x1_894f;
export const PT_UNKNOWN = 0xffff_ffff;

export const OFPIT = {
  GOTO_TABLE: 1,
  WRITE_METADATA: 2,
  WRITE_ACTIONS: 3,
  APPLY_ACTIONS: 4,
  CLEAR_ACTIONS: 5,
  METER: 6,
  EXPERIMENTER: 0xffff,
} as const;
