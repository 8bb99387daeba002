import type { OfpPort } from '../base/types.ts';
import type { Ofpact } from './actions.ts';
import type { OfError } from './error.ts';
import type { Match } from './match.ts';
import type { GroupMessage } from './messages-group.ts';
import type { MeterMessage } from './messages-meter.ts';
import type { FlowRemovedReason, MonitorMessage } from './messages-monitor.ts';
import type { Continuation, NiciraMessage, PacketInFormat } from './messages-nicira.ts';
import type { TableMessage } from './messages-table.ts';

export type { FlowRemovedReason } from './messages-monitor.ts';
export type { PacketInFormat } from './messages-nicira.ts';
export type {
  TableActionFeatures,
  TableFeatures,
  TableInstructionFeatures,
  TableMiss,
  TableStats,
} from './messages-table.ts';

/**
 * OpenFlow messages as version-independent values, named as Open vSwitch names them (`OFPTYPE_*`, lower case). Numbers are in host order,
 * MAC addresses 6 bytes. Counters that a version does not carry are UINT64_MAX; times that are unknown are undefined.
 */

export const UINT64_MAX = 0xffff_ffff_ffff_ffffn;
export const OFP_NO_BUFFER = 0xffffffff;

export type FlowModCommand = 'add' | 'modify' | 'modify_strict' | 'delete' | 'delete_strict';

/** `OFPUTIL_FF_*`. */
export const FF_SEND_FLOW_REM = 1;
export const FF_NO_PKT_COUNTS = 2;
export const FF_NO_BYT_COUNTS = 4;
export const FF_CHECK_OVERLAP = 8;
export const FF_RESET_COUNTS = 16;
export const FF_EMERG = 32;

export interface FlowMod {
  type: 'flow_mod';
  match: Match;
  /** 0–65535. OpenFlow 1.0: an exact match has 65535. */
  priority: number;
  /** Only flows whose cookie agrees with `cookie` in `cookieMask` are affected; mask 0 for add. */
  cookie: bigint;
  cookieMask: bigint;
  /** Cookie to install, UINT64_MAX for none. */
  newCookie: bigint;
  /** Modify: set the cookie of flows that exist to `newCookie`. */
  modifyCookie: boolean;
  /** 255: the switch chooses (add), or all tables (delete). */
  tableId: number;
  command: FlowModCommand;
  idleTimeout: number;
  hardTimeout: number;
  bufferId: number;
  /** OFPP_ANY (0xffffffff): no restriction. */
  outPort: OfpPort;
  outGroup: number;
  /** `FF_*`. */
  flags: number;
  importance: number;
  actions: Ofpact[];
}

export interface FlowStatsRequest {
  match: Match;
  cookie: bigint;
  cookieMask: bigint;
  /** OFPP_ANY (0xffffffff): no restriction. */
  outPort: OfpPort;
  outGroup: number;
  /** 255: all. */
  tableId: number;
}

export interface FlowStats {
  match: Match;
  cookie: bigint;
  tableId: number;
  priority: number;
  idleTimeout: number;
  hardTimeout: number;
  durationSec: number;
  durationNsec: number;
  /** Seconds since the last packet and since the last change; -1 unknown. NXST_FLOW only. */
  idleAge: number;
  hardAge: number;
  packetCount: bigint;
  byteCount: bigint;
  flags: number;
  importance: number;
  actions: Ofpact[];
}

/** `OFPUTIL_PC_*`: port configuration. */
export const PC_PORT_DOWN = 1 << 0;
export const PC_NO_STP = 1 << 1;
export const PC_NO_RECV = 1 << 2;
export const PC_NO_RECV_STP = 1 << 3;
export const PC_NO_FLOOD = 1 << 4;
export const PC_NO_FWD = 1 << 5;
export const PC_NO_PACKET_IN = 1 << 6;
/** `OFPUTIL_PS_*`: port state. The STP states are a number, shifted by 8 (OpenFlow 1.0). */
export const PS_LINK_DOWN = 1 << 0;
export const PS_BLOCKED = 1 << 1;
export const PS_LIVE = 1 << 2;
export const PS_STP_SHIFT = 8;
/** `NETDEV_F_*`: port features, in OpenFlow 1.1's bits. */
export const NETDEV_F_10MB_HD = 1 << 0;
export const NETDEV_F_10MB_FD = 1 << 1;
export const NETDEV_F_100MB_HD = 1 << 2;
export const NETDEV_F_100MB_FD = 1 << 3;
export const NETDEV_F_1GB_HD = 1 << 4;
export const NETDEV_F_1GB_FD = 1 << 5;
export const NETDEV_F_10GB_FD = 1 << 6;
export const NETDEV_F_40GB_FD = 1 << 7;
export const NETDEV_F_100GB_FD = 1 << 8;
export const NETDEV_F_1TB_FD = 1 << 9;
export const NETDEV_F_OTHER = 1 << 10;
export const NETDEV_F_COPPER = 1 << 11;
export const NETDEV_F_FIBER = 1 << 12;
export const NETDEV_F_AUTONEG = 1 << 13;
export const NETDEV_F_PAUSE = 1 << 14;
export const NETDEV_F_PAUSE_ASYM = 1 << 15;

export interface PhyPort {
  portNo: OfpPort;
  hwAddr: Uint8Array;
  /** The wire carries 15 bytes; what is longer is cut. */
  name: string;
  /** `PC_*`. */
  config: number;
  /** `PS_*`. */
  state: number;
  /** `NETDEV_F_*`. */
  curr: number;
  advertised: number;
  supported: number;
  peer: number;
  /** kbit/s. */
  currSpeed: number;
  maxSpeed: number;
}

/** Counters of RFC 2819 (RMON) and its like, as Intel's property of OpenFlow 1.4+ has them in this order. */
export const RFC2819_COUNTERS = [
  'rx1To64Packets',
  'rx65To127Packets',
  'rx128To255Packets',
  'rx256To511Packets',
  'rx512To1023Packets',
  'rx1024To1522Packets',
  'rx1523ToMaxPackets',
  'tx1To64Packets',
  'tx65To127Packets',
  'tx128To255Packets',
  'tx256To511Packets',
  'tx512To1023Packets',
  'tx1024To1522Packets',
  'tx1523ToMaxPackets',
  'txMulticastPackets',
  'rxBroadcastPackets',
  'txBroadcastPackets',
  'rxUndersizedErrors',
  'rxOversizeErrors',
  'rxFragmentedErrors',
  'rxJabberErrors',
] as const;
export type Rfc2819Stats = Record<(typeof RFC2819_COUNTERS)[number], bigint>;

/** Counters that are unknown are UINT64_MAX. */
export interface PortStats {
  portNo: OfpPort;
  rxPackets: bigint;
  txPackets: bigint;
  rxBytes: bigint;
  txBytes: bigint;
  rxDropped: bigint;
  txDropped: bigint;
  rxErrors: bigint;
  txErrors: bigint;
  rxFrameErr: bigint;
  rxOverErr: bigint;
  rxCrcErr: bigint;
  collisions: bigint;
  /** Absent when unknown. */
  durationSec?: number;
  durationNsec?: number;
  /** OpenFlow 1.4+; absent when nothing of it is known. */
  rfc2819?: Rfc2819Stats;
  /** OpenFlow 1.4+ Intel custom statistics. */
  custom?: { name: string; value: bigint }[];
}

/** `OFPUTIL_C_*`: switch capabilities, OpenFlow 1.3's bits; ARP_MATCH_IP and STP are of 1.0. */
export const C_FLOW_STATS = 1 << 0;
export const C_TABLE_STATS = 1 << 1;
export const C_PORT_STATS = 1 << 2;
export const C_GROUP_STATS = 1 << 3;
export const C_IP_REASM = 1 << 5;
export const C_QUEUE_STATS = 1 << 6;
export const C_ARP_MATCH_IP = 1 << 7;
export const C_PORT_BLOCKED = 1 << 8;
export const C_BUNDLES = 1 << 9;
export const C_FLOW_MONITORING = 1 << 10;
export const C_STP = 1 << 16;

export interface FeaturesReply {
  type: 'features_reply';
  datapathId: bigint;
  nBuffers: number;
  nTables: number;
  auxiliaryId: number;
  /** `C_*`. */
  capabilities: number;
  /** OpenFlow 1.0: types of the actions that are supported. */
  actions: readonly Ofpact['type'][];
  /** OpenFlow 1.0–1.2 carry the ports here; ignored by 1.3+. */
  ports: PhyPort[];
}

export type FragHandling = 'normal' | 'drop' | 'reasm' | 'nx-match';
export interface SwitchConfig {
  frag: FragHandling;
  /** OpenFlow 1.0-1.2 (an extension of 1.0); undefined otherwise. */
  invalidTtlToController?: boolean;
  missSendLen: number;
}

/** `OFPR_*`. */
export const OFPR_NO_MATCH = 0;
export const OFPR_ACTION = 1;
export const OFPR_INVALID_TTL = 2;
export const OFPR_ACTION_SET = 3;
export const OFPR_GROUP = 4;
export const OFPR_PACKET_OUT = 5;
/** Internal reasons, sent as others. */
export const OFPR_EXPLICIT_MISS = 6;
export const OFPR_IMPLICIT_MISS = 7;

export interface PacketIn {
  type: 'packet_in';
  /** Encoding: the whole packet, cut to `maxLen`. Decoding: what came. */
  packet: Uint8Array;
  /** Length of the packet before it was cut. */
  totalLen: number;
  bufferId: number;
  reason: number;
  tableId: number;
  /** UINT64_MAX: no flow. */
  cookie: bigint;
  /** in_port and other metadata. */
  metadata: Match;
  userdata?: Uint8Array;
  /** NXT_PACKET_IN2 only: the packet is paused, and what NXT_RESUME has to give back. */
  continuation?: Continuation;
  /** Encoding: most bytes of the packet to send. */
  maxLen?: number;
  /** Encoding: the connection's format. Default `standard`. */
  format?: PacketInFormat;
}

/** NXT_RESUME: the packet-in of a packet that was paused, sent back. */
export interface Resume extends Omit<PacketIn, 'type' | 'format' | 'maxLen'> {
  type: 'nxt_resume';
}

export interface PacketOut {
  type: 'packet_out';
  /** Empty when `bufferId` is given. */
  packet: Uint8Array;
  bufferId: number;
  /** in_port (OFPP_CONTROLLER, OFPP_NONE and the like too) and, with OpenFlow 1.5, other metadata. */
  metadata: Match;
  inPort: OfpPort;
  actions: Ofpact[];
}

export interface FlowRemoved {
  type: 'flow_removed';
  match: Match;
  cookie: bigint;
  priority: number;
  reason: FlowRemovedReason;
  /** 255: unknown (OpenFlow 1.0). */
  tableId: number;
  durationSec: number;
  durationNsec: number;
  idleTimeout: number;
  hardTimeout: number;
  packetCount: bigint;
  byteCount: bigint;
}

export type ControllerRole = 'nochange' | 'equal' | 'primary' | 'secondary';

/** One bitmap (1 << reason) for each kind of asynchronous message, for primary/equal and for secondary. */
export interface AsyncConfigHalf {
  packetIn: number;
  portStatus: number;
  flowRemoved: number;
  roleStatus: number;
  tableStatus: number;
  requestForward: number;
}
export interface AsyncConfig {
  primary: AsyncConfigHalf;
  secondary: AsyncConfigHalf;
}

export interface QueueStats {
  portNo: OfpPort;
  queueId: number;
  txBytes: bigint;
  txPackets: bigint;
  txErrors: bigint;
  durationSec?: number;
  durationNsec?: number;
}

/** OpenFlow 1.0–1.3 and 1.4's queue description. Rates in tenths of a percent; above 1000: disabled. */
export interface QueueConfig {
  portNo: OfpPort;
  queueId: number;
  minRate?: number;
  maxRate?: number;
}

/** `OFPCRR_*`: why a controller's role changed. */
export const CRR_PRIMARY_REQUEST = 0;
export const CRR_CONFIG = 1;
export const CRR_EXPERIMENTER = 2;

/** `OFPBF_*`. */
export const BF_ATOMIC = 1 << 0;
export const BF_ORDERED = 1 << 1;

export type BundleControlType =
  | 'open_request'
  | 'open_reply'
  | 'close_request'
  | 'close_reply'
  | 'commit_request'
  | 'commit_reply'
  | 'discard_request'
  | 'discard_reply';

export type Message =
  /** `versions`: bit n set = version n (wire value) is spoken. `partial`: something in it was not understood. */
  | { type: 'hello'; versions: number; partial?: boolean }
  /** `data`: the start of the message that caused it (a string for OFPHFC). */
  | { type: 'error'; error: OfError; data: Uint8Array }
  | { type: 'echo_request'; data: Uint8Array }
  | { type: 'echo_reply'; data: Uint8Array }
  | { type: 'features_request' }
  | FeaturesReply
  | { type: 'get_config_request' }
  | ({ type: 'get_config_reply' } & SwitchConfig)
  | ({ type: 'set_config' } & SwitchConfig)
  | PacketIn
  | PacketOut
  | FlowMod
  | FlowRemoved
  | { type: 'port_status'; reason: 'add' | 'delete' | 'modify'; port: PhyPort }
  | { type: 'port_mod'; portNo: OfpPort; hwAddr: Uint8Array; config: number; mask: number; advertise: number }
  | { type: 'barrier_request' }
  | { type: 'barrier_reply' }
  | { type: 'role_request'; role: ControllerRole; generationId?: bigint }
  | { type: 'role_reply'; role: ControllerRole; generationId?: bigint }
  | { type: 'role_status'; role: ControllerRole; reason: number; generationId: bigint }
  | { type: 'get_async_request' }
  | { type: 'get_async_reply'; config: AsyncConfig }
  /** What a half of `config` leaves undefined stays as it is. */
  | {
      type: 'set_async_config';
      config: { primary: Partial<AsyncConfigHalf>; secondary: Partial<AsyncConfigHalf> };
    }
  | GroupMessage
  | MeterMessage
  | TableMessage
  | MonitorMessage
  | NiciraMessage
  | Resume
  | { type: 'bundle_control'; bundleId: number; control: BundleControlType; flags: number }
  /** `message` has its own header. */
  | { type: 'bundle_add_message'; bundleId: number; flags: number; message: Uint8Array }
  // Statistics (multipart).
  | { type: 'desc_stats_request' }
  | { type: 'desc_stats_reply'; mfrDesc: string; hwDesc: string; swDesc: string; serialNum: string; dpDesc: string }
  | ({ type: 'flow_stats_request' } & FlowStatsRequest)
  /** `more`: other parts follow. */
  | { type: 'flow_stats_reply'; flows: FlowStats[]; more: boolean }
  | ({ type: 'aggregate_stats_request' } & FlowStatsRequest)
  | { type: 'aggregate_stats_reply'; packetCount: bigint; byteCount: bigint; flowCount: number }
  | { type: 'port_stats_request'; portNo: OfpPort }
  | { type: 'port_stats_reply'; ports: PortStats[]; more: boolean }
  | { type: 'port_desc_stats_request'; portNo: OfpPort }
  | { type: 'port_desc_stats_reply'; ports: PhyPort[]; more: boolean }
  | { type: 'queue_stats_request'; portNo: OfpPort; queueId: number }
  | { type: 'queue_stats_reply'; queues: QueueStats[]; more: boolean }
  /** OpenFlow 1.4+: OFPP_ANY and OFPQ_ALL (0xffffffff) stand for all. */
  | { type: 'queue_get_config_request'; portNo: OfpPort; queueId: number }
  /** `portNo`: that of the request (OpenFlow 1.0–1.3). */
  | { type: 'queue_get_config_reply'; portNo: OfpPort; queues: QueueConfig[]; more?: boolean };

export type MessageType = Message['type'];
/** The member of the union with this type. */
export type MessageOf<T extends MessageType> = Extract<Message, { type: T }>;

/** Of `decode`: one message with its header. */
export interface Envelope {
  /** Wire version: 1 = OpenFlow 1.0 … 6 = OpenFlow 1.5. */
  version: number;
  xid: number;
  message: Message;
}
