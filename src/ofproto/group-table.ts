import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { ClsView } from '../flow/classifier.ts';
import {
  GFC_CHAINING,
  GFC_SELECT_LIVENESS,
  GFC_SELECT_WEIGHT,
  type GroupDesc,
  type GroupFeatures,
  type GroupMod,
  type GroupStats,
  type GroupType,
  OFPG_ALL,
  OFPG_MAX,
  OFPG15_BUCKET_ALL,
  OFPG15_BUCKET_FIRST,
  OFPG15_BUCKET_LAST,
  OFPG15_BUCKET_MAX,
} from '../openflow/messages-group.ts';
import type { FlowTables } from './flow-tables.ts';
import { type BucketSpec, Group } from './group.ts';
import { flattened, type Rule } from './rule.ts';
import { SUPPORTED_ACTIONS } from './table-features.ts';
import { type ModOp, type Requester, type Steps, YIELD_EVERY } from './transaction.ts';

/** The groups of one bridge (OpenFlow 1.5 sections 5.10 and 7.3.4.3). They are staged with the flow tables: see transaction.ts. */

export const GROUP_TYPES: readonly GroupType[] = ['all', 'select', 'indirect', 'ff'];

export interface GroupTableDeps {
  view: ClsView;
  nowMs: () => number;
  info: (text: string) => void;
  dbg: (text: string) => void;
}

export class GroupTable {
  readonly deps: GroupTableDeps;
  readonly #groups = new Map<number, Group>();
  /** What the change under way makes of some of them. */
  readonly #staged = new Map<number, Group | undefined>();

  constructor(deps: GroupTableDeps) {
    this.deps = deps;
  }

  /** As lookups see it. */
  get(id: number): Group | undefined {
    return this.deps.view.next ? this.next(id) : this.#groups.get(id);
  }

  /** As it will be after the change under way. */
  next(id: number): Group | undefined {
    return this.#staged.has(id) ? this.#staged.get(id) : this.#groups.get(id);
  }

  /** All of them, after the change under way, by rising number. */
  *all(): IterableIterator<Group> {
    const ids = new Set([...this.#groups.keys(), ...this.#staged.keys()]);
    for (const id of [...ids].sort((a, b) => a - b)) {
      const group = this.next(id);
      if (group) yield group;
    }
  }

  *named(id: number): IterableIterator<Group> {
    if (id === OFPG_ALL) yield* this.all();
    else {
      const group = this.next(id);
      if (group) yield group;
    }
  }

  /** @internal */
  stage(id: number, group: Group | undefined): void {
    this.#staged.set(id, group);
  }

  /** @internal The staged state of a group is final. */
  settle(id: number): void {
    if (!this.#staged.has(id)) return;
    const group = this.#staged.get(id);
    this.#staged.delete(id);
    if (group) this.#groups.set(id, group);
    else this.#groups.delete(id);
  }

  /** @internal Nothing is staged of it any more. */
  unstage(id: number, group: Group | undefined): void {
    if (group === this.#groups.get(id)) this.#staged.delete(id);
    else this.#staged.set(id, group);
  }

  /** Puts a group in at once; nothing may be staged. */
  put(group: Group): void {
    this.#groups.set(group.id, group);
  }

  /** Forgets all, without their flows; nothing may be staged. */
  flush(): void {
    this.#groups.clear();
  }

  ruleIn(rule: Rule): void {
    for (const a of flattened(rule.actions)) if (a.type === 'group') this.next(a.groupId)?.rules.add(rule);
  }

  ruleOut(rule: Rule): void {
    for (const a of flattened(rule.actions)) if (a.type === 'group') this.next(a.groupId)?.rules.delete(rule);
  }

  features(): GroupFeatures {
    return {
      types: new Set(GROUP_TYPES),
      capabilities: GFC_CHAINING | GFC_SELECT_LIVENESS | GFC_SELECT_WEIGHT,
      maxGroups: [OFPG_MAX, OFPG_MAX, OFPG_MAX, OFPG_MAX],
      ofpacts: [SUPPORTED_ACTIONS, SUPPORTED_ACTIONS, SUPPORTED_ACTIONS, SUPPORTED_ACTIONS],
    };
  }
}

export function groupDesc(g: Group): GroupDesc {
  const buckets = g.buckets.map(({ packets: _, bytes: __, ...b }) => ({ ...b, actions: [...b.actions] }));
  return { groupType: g.type, groupId: g.id, buckets, props: g.props };
}

export function groupStats(g: Group, nowMs: number): GroupStats {
  const ms = Math.max(0, nowMs - g.createdMs);
  return {
    groupId: g.id,
    refCount: g.rules.size,
    packetCount: BigInt(g.packets),
    byteCount: BigInt(g.bytes),
    durationSec: Math.floor(ms / 1000),
    durationNsec: Math.round((ms % 1000) * 1e6),
    buckets: g.buckets.map((b) => ({ packetCount: BigInt(b.packets), byteCount: BigInt(b.bytes) })),
  };
}

/** One group-mod. */
export class GroupModOp implements ModOp {
  readonly #groups: GroupTable;
  readonly #tables: FlowTables;
  readonly #m: GroupMod;
  /** Told about the change when it is through. */
  readonly #forward: (m: GroupMod, by: Requester) => void;
  #old: Group[] = [];
  #new: Group | undefined;
  /** Flows that go with deleted groups, in the order in which they were staged. */
  readonly #rules: Rule[] = [];

  constructor(groups: GroupTable, tables: FlowTables, m: GroupMod, forward: (m: GroupMod, by: Requester) => void) {
    this.#groups = groups;
    this.#tables = tables;
    this.#m = m;
    this.#forward = forward;
  }

  get deletes(): boolean {
    return this.#m.command === 'delete';
  }

  *start(): Steps<OfErrorName | undefined> {
    if (this.#m.command === 'delete') {
      yield* this.#startDelete();
      return undefined;
    }
    const { command, groupId } = this.#m;
    const exists = this.#groups.next(groupId) !== undefined;
    switch (command) {
      case 'add':
        return exists ? 'OFPGMFC_GROUP_EXISTS' : this.#put(undefined);
      case 'modify':
      case 'insert_bucket':
      case 'remove_bucket':
        return exists ? this.#put(this.#groups.next(groupId)) : 'OFPGMFC_UNKNOWN_GROUP';
      case 'add_or_mod':
        return this.#put(this.#groups.next(groupId));
    }
  }

  #put(old: Group | undefined): OfErrorName | undefined {
    const m = this.#m;
    if (m.groupId > OFPG_MAX) return 'OFPGMFC_INVALID_GROUP';
    const bucketCommand = m.command === 'insert_bucket' || m.command === 'remove_bucket';
    // A command about buckets changes neither type nor properties (EXT-570).
    const [type, props] = bucketCommand ? [old!.type, old!.props] : [m.groupType, m.props];
    const buckets = bucketCommand ? this.#editBuckets(old!) : m.buckets;
    if (typeof buckets === 'string') return buckets;
    const nowMs = this.#groups.deps.nowMs();
    const times = { createdMs: old?.createdMs ?? nowMs, modifiedMs: nowMs };
    const group = new Group(m.groupId, type, buckets, props, times, this.#groups.deps.dbg);
    if (old) {
      [group.rules, old.rules] = [old.rules, group.rules];
      this.#old.push(old);
    }
    this.#new = group;
    this.#groups.stage(m.groupId, group);
    return undefined;
  }

  #editBuckets(old: Group): readonly BucketSpec[] | OfErrorName {
    const { command, commandBucketId: id, buckets } = this.#m;
    const mine = old.buckets;
    if (command === 'remove_bucket') {
      if (id === OFPG15_BUCKET_ALL) return [];
      if (id === OFPG15_BUCKET_FIRST) return mine.slice(1);
      if (id === OFPG15_BUCKET_LAST) return mine.slice(0, -1);
      return mine.some((b) => b.bucketId === id) ? mine.filter((b) => b.bucketId !== id) : 'OFPGMFC_UNKNOWN_BUCKET';
    }
    const at = mine.findIndex((b) => b.bucketId === id);
    if (id <= OFPG15_BUCKET_MAX && at < 0) return 'OFPGMFC_UNKNOWN_BUCKET';
    const ids = [...mine, ...buckets].map((b) => b.bucketId);
    if (new Set(ids).size < ids.length) {
      this.#groups.deps.info('Duplicate bucket id');
      return 'OFPGMFC_BUCKET_EXISTS';
    }
    if (id === OFPG15_BUCKET_LAST) return [...mine, ...buckets];
    if (id <= OFPG15_BUCKET_MAX) return [...mine.slice(0, at + 1), ...buckets, ...mine.slice(at + 1)];
    return [...buckets, ...mine];
  }

  /** The flows that use a group go with it; those that chain to it through other groups stay. */
  *#startDelete(): Steps<void> {
    for (const group of [...this.#groups.named(this.#m.groupId)]) {
      for (const rule of [...group.rules]) {
        this.#tables.stageOut(rule);
        this.#rules.push(rule);
        if (this.#rules.length % YIELD_EVERY === 0) yield;
      }
      this.#old.push(group);
      this.#groups.stage(group.id, undefined);
    }
  }

  *revert(): Steps<void> {
    if (this.#new) {
      const old = this.#old.at(0);
      if (old) [old.rules, this.#new.rules] = [this.#new.rules, old.rules];
      this.#groups.unstage(this.#m.groupId, old);
      return;
    }
    for (const group of this.#old) this.#groups.unstage(group.id, group);
    for (let i = this.#rules.length - 1; i >= 0; i--) {
      this.#tables.unstageOut(this.#rules[i]);
      if (i % YIELD_EVERY === 0) yield;
    }
  }

  *finish(by: Requester | undefined): Steps<void> {
    this.#groups.settle(this.#m.groupId);
    for (const group of this.#old) this.#groups.settle(group.id);
    for (let i = 0; i < this.#rules.length; i++) {
      this.#tables.settleOut(this.#rules[i], 'group_delete', undefined);
      if (i % YIELD_EVERY === YIELD_EVERY - 1) yield;
    }
    if (!by) return;
    const desc = this.#new && groupDesc(this.#new);
    // What adds or removes buckets does not say the group's type.
    const known = desc ? { groupType: desc.groupType, newBuckets: desc.buckets } : {};
    this.#forward({ ...this.#m, groupExisted: this.#old.length > 0, ...known }, by);
  }
}
