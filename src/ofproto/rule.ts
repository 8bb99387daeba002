import { type ClsConjunction, ClsRule } from '../flow/classifier.ts';
import type { Ofpact } from '../openflow/actions.ts';

/** What a flow entry is made of, beside its match and priority. */
export interface RuleSpec {
  tableId: number;
  cookie: bigint;
  idleTimeout: number;
  hardTimeout: number;
  importance: number;
  /** `FF_*` of a flow-mod that stay with the flow. */
  flags: number;
  actions: readonly Ofpact[];
}

/** An OpenFlow flow entry. Counters are numbers (exact to 2^53). */
export class Rule extends ClsRule {
  readonly tableId: number;
  cookie: bigint;
  idleTimeout: number;
  hardTimeout: number;
  importance: number;
  flags: number;
  actions: readonly Ofpact[];
  readonly createdMs: number;
  modifiedMs: number;
  /** Time of the last packet; that of creation when there was none. */
  usedMs: number;
  packets = 0;
  bytes = 0;
  /** Out of its table. */
  removed = false;
  /** The flow that took its place: it gets the packets that are still on their way. */
  successor: Rule | undefined;
  /** Installed by the switch itself: not shown, and out of a controller's reach. */
  readonly hidden: boolean;

  constructor(priority: number, spec: RuleSpec, nowMs: number, hidden = false) {
    super(priority);
    this.tableId = spec.tableId;
    this.cookie = spec.cookie;
    this.idleTimeout = spec.idleTimeout;
    this.hardTimeout = spec.hardTimeout;
    this.importance = spec.importance;
    this.flags = spec.flags;
    this.actions = spec.actions;
    this.createdMs = nowMs;
    this.modifiedMs = nowMs;
    this.usedMs = nowMs;
    this.hidden = hidden;
    this.conjunctions = conjunctionsOf(spec.actions);
  }

  /** Counts packets that hit it. */
  credit(packets: number, bytes: number, usedMs: number): void {
    if (this.successor) {
      this.successor.credit(packets, bytes, usedMs);
      return;
    }
    this.packets += packets;
    this.bytes += bytes;
    if (usedMs > this.usedMs) this.usedMs = usedMs;
  }

  /** Matches everything at priority 0 (OpenFlow 1.3 section 5.4). */
  get isTableMiss(): boolean {
    return this.priority === 0 && this.subtable !== undefined && this.subtable.words.length === 0;
  }
}

function conjunctionsOf(actions: readonly Ofpact[]): readonly ClsConjunction[] | undefined {
  const list = actions.filter((a) => a.type === 'conjunction');
  return list.length ? list : undefined;
}
