import { type ClsConjunction, ClsRule } from '../flow/classifier.ts';
import type { Ofpact } from '../openflow/actions.ts';
import type { FlowRemovedReason } from '../openflow/messages.ts';

/** Flows of which one may have to go: see eviction.ts. */
export interface EvictionHeap {
  readonly key: string;
  readonly size: number;
  remove(rule: Rule): void;
}

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
  createdMs: number;
  modifiedMs: number;
  /** Time of the last packet; that of creation when there was none. */
  usedMs: number;
  packets = 0;
  bytes = 0;
  /** Out of its table, or never in it. */
  removed = false;
  /** Why it went, once that is decided. */
  removedReason: FlowRemovedReason | undefined = undefined;
  /** The flow that took its place: it gets the packets that are still on their way, and their counts if `forwardCounts`. */
  successor: Rule | undefined = undefined;
  forwardCounts = true;
  /** Installed by the switch itself: not shown, and out of a controller's reach. */
  readonly hidden: boolean;
  /** @internal Its place in the list of flows with the same cookie. */
  cookieNext: Rule | undefined = undefined;
  /** @internal */
  cookiePrev: Rule | undefined = undefined;
  /** @internal Where the overflow policy finds it. */
  evictionGroup: EvictionHeap | undefined = undefined;
  /** @internal Its index in that group's heap, and the priority that it has there. */
  evictionIndex = 0;
  evictionPriority = 0;
  /** @internal When flow monitors were last told of it (see monitors.ts). */
  addSeqno = 0;
  modifySeqno = 0;

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

  /** Its time begins now. */
  begin(nowMs: number): void {
    this.createdMs = this.modifiedMs = this.usedMs = nowMs;
  }

  /** Counts packets that hit it. */
  credit(packets: number, bytes: number, usedMs: number): void {
    if (this.successor) {
      if (this.forwardCounts) this.successor.credit(packets, bytes, usedMs);
      else this.successor.credit(0, 0, usedMs);
      return;
    }
    this.packets += packets;
    this.bytes += bytes;
    if (usedMs > this.usedMs) this.usedMs = usedMs;
  }

  /** Takes the place of `old`, with its counters if `keepCounts`. */
  succeed(old: Rule, keepCounts: boolean): void {
    old.successor = this;
    old.forwardCounts = keepCounts;
    this.usedMs = old.usedMs;
    if (!keepCounts) return;
    // It may have counted already.
    this.packets += old.packets;
    this.bytes += old.bytes;
  }

  /** Matches everything at priority 0 (OpenFlow 1.3 section 5.4). */
  get isTableMiss(): boolean {
    return this.priority === 0 && this.shape?.words.length === 0;
  }
}

function conjunctionsOf(actions: readonly Ofpact[]): readonly ClsConjunction[] | undefined {
  if (!actions.some((a) => a.type === 'conjunction')) return undefined;
  return actions.filter((a) => a.type === 'conjunction');
}

/** Every action of the list, those inside others too. */
export function* flattened(actions: readonly Ofpact[]): IterableIterator<Ofpact> {
  for (const a of actions) {
    yield a;
    if (a.type === 'write_actions' || a.type === 'clone' || a.type === 'ct') yield* flattened(a.actions);
  }
}
