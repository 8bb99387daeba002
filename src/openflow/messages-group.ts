import type { MatchField } from '../../protocols/fields.ts';
import type { OfpPort } from '../base/types.ts';
import type { Ofpact } from './actions.ts';

/** Groups: OpenFlow 1.1+ section 5.6, and 1.5's in OpenFlow 1.0 (NXT_GROUP_MOD). */

export const OFPG_MAX = 0xffffff00;
export const OFPG_ALL = 0xfffffffc;
export const OFPG_ANY = 0xffffffff;

/** `OFPG15_BUCKET_*`: the last id that a bucket can have, and what stands for several buckets in a command. */
export const OFPG15_BUCKET_MAX = 0xffffff00;
export const OFPG15_BUCKET_FIRST = 0xfffffffd;
export const OFPG15_BUCKET_LAST = 0xfffffffe;
export const OFPG15_BUCKET_ALL = 0xffffffff;

export type GroupType = 'all' | 'select' | 'indirect' | 'ff';

/** `add_or_mod` is Open vSwitch's own (0x8000). */
export type GroupCommand = 'add' | 'modify' | 'delete' | 'insert_bucket' | 'remove_bucket' | 'add_or_mod';

export interface Bucket {
  /** Relative weight in a select group. */
  weight: number;
  /** OFPP_ANY: none. */
  watchPort: OfpPort;
  /** OFPG_ANY: none. */
  watchGroup: number;
  /** Before OpenFlow 1.5 the position in the list, from 0. */
  bucketId: number;
  actions: Ofpact[];
}

/** A field of a selection method; the mask has the field's size and says which bits count. */
export interface GroupField {
  field: MatchField;
  mask: Uint8Array;
}

/** What `NTR_SELECTION_METHOD` carries (OpenFlow 1.5 form only). */
export interface GroupProps {
  /** `''`: none given. `hash` or `dp_hash`. */
  selectionMethod: string;
  selectionMethodParam: bigint;
  /** In the order of the fields' numbers (`FIELDS`). */
  fields: GroupField[];
}

export interface GroupMod {
  type: 'group_mod';
  command: GroupCommand;
  groupType: GroupType;
  groupId: number;
  /** Of `insert_bucket` and `remove_bucket`; otherwise OFPG15_BUCKET_ALL. */
  commandBucketId: number;
  buckets: Bucket[];
  props: GroupProps;
  /** Encoding (requestforward): all buckets after an `insert_bucket` or `remove_bucket`, which OpenFlow 1.1–1.4 say as `modify`. */
  newBuckets?: Bucket[];
  /** Encoding (requestforward): whether the group was there before `add_or_mod`, which is then said as `modify` or `add`. */
  groupExisted?: boolean;
}

export interface GroupDesc {
  groupType: GroupType;
  groupId: number;
  buckets: Bucket[];
  props: GroupProps;
}

export interface BucketStats {
  packetCount: bigint;
  byteCount: bigint;
}

export interface GroupStats {
  groupId: number;
  refCount: number;
  /** UINT64_MAX: unknown. */
  packetCount: bigint;
  byteCount: bigint;
  /** Absent when unknown (before OpenFlow 1.3). */
  durationSec?: number;
  durationNsec?: number;
  buckets: BucketStats[];
}

/** `OFPGFC12_*`. */
export const GFC_SELECT_WEIGHT = 1 << 0;
export const GFC_SELECT_LIVENESS = 1 << 1;
export const GFC_CHAINING = 1 << 2;
export const GFC_CHAINING_CHECKS = 1 << 3;

export interface GroupFeatures {
  types: ReadonlySet<GroupType>;
  /** `GFC_*`. */
  capabilities: number;
  /** Of all, select, indirect, ff. */
  maxGroups: readonly [number, number, number, number];
  /** Actions that buckets of all, select, indirect, ff may have. */
  ofpacts: readonly [
    ReadonlySet<Ofpact['type']>,
    ReadonlySet<Ofpact['type']>,
    ReadonlySet<Ofpact['type']>,
    ReadonlySet<Ofpact['type']>,
  ];
}

export type GroupMessage =
  | GroupMod
  /** OFPG_ALL: every group. */
  | { type: 'group_stats_request'; groupId: number }
  | { type: 'group_stats_reply'; groups: GroupStats[]; more: boolean }
  /** OpenFlow 1.1–1.4 can ask for every group only (OFPG_ALL). */
  | { type: 'group_desc_stats_request'; groupId: number }
  | { type: 'group_desc_stats_reply'; groups: GroupDesc[]; more: boolean }
  | { type: 'group_features_stats_request' }
  | ({ type: 'group_features_stats_reply' } & GroupFeatures);

/** Properties of a group that has none. */
export const noGroupProps = (): GroupProps => ({ selectionMethod: '', selectionMethodParam: 0n, fields: [] });
