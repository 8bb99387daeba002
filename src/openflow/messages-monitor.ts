import type { OfpPort } from '../base/types.ts';
import type { Ofpact } from './actions.ts';
import type { Match } from './match.ts';
import type { GroupMod } from './messages-group.ts';
import type { MeterMod } from './messages-meter.ts';

/** Flow monitors (Nicira's for OpenFlow 1.0–1.2, ONF extension 187 for 1.3, OpenFlow 1.4+) and forwarded requests. */

export type FlowRemovedReason =
  | 'idle_timeout'
  | 'hard_timeout'
  | 'delete'
  | 'group_delete'
  | 'meter_delete'
  | 'eviction';

/** `OFPFMF14_*`; Nicira's bits are others on the wire. */
export const FMF_INITIAL = 1 << 0;
export const FMF_ADD = 1 << 1;
export const FMF_REMOVED = 1 << 2;
export const FMF_MODIFY = 1 << 3;
export const FMF_INSTRUCTIONS = 1 << 4;
export const FMF_NO_ABBREV = 1 << 5;
export const FMF_ONLY_OWN = 1 << 6;

export interface FlowMonitorRequest {
  monitorId: number;
  /** Before OpenFlow 1.4 always `add`. */
  command: 'add' | 'modify' | 'delete';
  /** `FMF_*`. */
  flags: number;
  /** OFPP_ANY: no restriction. */
  outPort: OfpPort;
  /** OFPG_ANY: no restriction. */
  outGroup: number;
  /** 255: all. */
  tableId: number;
  match: Match;
}

export interface FlowUpdateFull {
  event: 'initial' | 'added' | 'removed' | 'modified';
  /** Of `removed`. */
  reason?: FlowRemovedReason;
  idleTimeout: number;
  hardTimeout: number;
  tableId: number;
  priority: number;
  cookie: bigint;
  match: Match;
  /** Empty when the monitor did not ask for them. */
  actions: Ofpact[];
}

export type FlowUpdate =
  | FlowUpdateFull
  /** The request with this xid, of the same controller, did it. */
  | { event: 'abbrev'; xid: number }
  /** OpenFlow 1.4+; earlier they are messages of their own. */
  | { event: 'paused' }
  | { event: 'resumed' };

export type MonitorMessage =
  | { type: 'flow_monitor_stats_request'; monitors: FlowMonitorRequest[]; more?: boolean }
  | { type: 'flow_monitor_stats_reply'; updates: FlowUpdate[]; more: boolean }
  /** Encoding for OpenFlow 1.4+ gives the request or reply that says it there. */
  | { type: 'flow_monitor_cancel'; monitorId: number }
  | { type: 'flow_monitor_paused' }
  | { type: 'flow_monitor_resumed' }
  /** `xid`: that of the request that is forwarded. */
  | { type: 'requestforward'; xid: number; request: GroupMod | MeterMod };
