import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { ClsView, STAGE_COMING, STAGE_GOING, STAGE_NEVER, STAGE_STABLE } from '../flow/classifier.ts';
import type { Match } from '../flow/flow.ts';
import type { Ofpact } from '../openflow/actions.ts';
import { catchallMatch } from '../openflow/match.ts';
import type { FlowRemovedReason } from '../openflow/messages.ts';
import type { TableStatusReason } from '../openflow/messages-table.ts';
import { N_TABLES, OfTable, type TableSettings, TBL_INTERNAL } from './oftable.ts';
import { OFPP_NONE } from './ports.ts';
import { flattened, type Rule } from './rule.ts';
import type { Requester } from './transaction.ts';

/**
 * The flow tables of one bridge. Changes are made in two steps, so that many of them can come into force at once: first rules are staged
 * (`stageIn`, `stageOut`), which lookups do not see, then, after `view.next` has been set, each is settled (`settleIn`, `settleOut`). A staged
 * rule can be taken back instead (`unstageIn`, `unstageOut`), in the opposite order.
 */

export const ALL_TABLES = 255;
export const OFPG_ANY = 0xffffffff;

/** Which flows a request is about. */
export interface RuleCriteria {
  match: Match;
  /** 255: all that a controller sees. */
  tableId: number;
  cookie: bigint;
  cookieMask: bigint;
  outPort: number;
  outGroup: number;
}

export type MonitorEvent = 'added' | 'modified' | 'removed';

export interface FlowTablesEvents {
  /** A flow left its table (not: was replaced by another with the same match). */
  removed(rule: Rule, reason: FlowRemovedReason): void;
  /** For flow monitors. `oldActions`: what a modification replaced, if it did. */
  monitor(
    rule: Rule,
    event: MonitorEvent,
    reason: FlowRemovedReason | undefined,
    by: Requester | undefined,
    oldActions?: readonly Ofpact[],
  ): void;
  /** A change is through: what it had to tell can be sent. */
  monitorFlush(): void;
  vacancy(table: OfTable, event: TableStatusReason): void;
  /** Lookups may have new answers. */
  changed(): void;
}

/** Groups and meters, which know the flows that use them. */
export interface RuleUsers {
  /** The error when the actions name something that is not there. */
  check(actions: readonly Ofpact[]): OfErrorName | undefined;
  ruleIn(rule: Rule): void;
  ruleOut(rule: Rule): void;
}

/** LEARN's flag delete_learned (`NX_LEARN_F_DELETE_LEARNED`). */
const LEARN_F_DELETE = 2;

export function outputsTo(actions: readonly Ofpact[], port: number): boolean {
  for (const a of flattened(actions)) {
    if (a.type === 'output' || a.type === 'output_trunc' || a.type === 'enqueue') {
      if (a.port === port) return true;
    } else if (a.type === 'controller') {
      if (port === 0xfffffffd) return true;
    } else if (a.type === 'bundle' && a.members.includes(port as never)) return true;
  }
  return false;
}

export function usesGroup(actions: readonly Ofpact[], id: number): boolean {
  for (const a of flattened(actions)) if (a.type === 'group' && a.groupId === id) return true;
  return false;
}

export const hasOutPort = (rule: Rule, port: number): boolean => port === OFPP_NONE || outputsTo(rule.actions, port);
export const hasOutGroup = (rule: Rule, group: number): boolean => group === OFPG_ANY || usesGroup(rule.actions, group);

function meets(rule: Rule, c: RuleCriteria): boolean {
  // Who asks for the internal table sees what is in it.
  if (
    (rule.hidden && rule.tableId !== TBL_INTERNAL) ||
    rule.removed ||
    (c.cookieMask !== 0n && (rule.cookie ^ c.cookie) & c.cookieMask)
  )
    return false;
  return hasOutPort(rule, c.outPort) && hasOutGroup(rule, c.outGroup);
}

const EXACT_COOKIE = 0xffff_ffff_ffff_ffffn;

export class FlowTables {
  readonly view = new ClsView();
  readonly tables: readonly OfTable[] = Array.from({ length: N_TABLES }, (_, i) => new OfTable(i, this.view));
  readonly events: FlowTablesEvents;
  readonly users: RuleUsers;
  readonly nowMs: () => number;
  /** Called before flows go whose counters matter. */
  pushStats: (() => void) | undefined = undefined;
  /** Flows that have a timeout. */
  readonly #mortal = new Set<Rule>();
  /** The first flow with each cookie but 0. */
  readonly #cookies = new Map<bigint, Rule>();
  /** How many flows have a learn action with delete_learned, by table and cookie of what they learn. */
  readonly #learners = new Map<string, number>();

  constructor(events: FlowTablesEvents, nowMs: () => number, users: RuleUsers = NO_USERS) {
    this.events = events;
    this.nowMs = nowMs;
    this.users = users;
  }

  /** Number of flows that a controller sees. */
  get flowCount(): number {
    let n = 0;
    for (const t of this.tables) if (t.id !== TBL_INTERNAL) n += t.activeCount;
    return n;
  }

  /** Puts in a rule of the switch itself. */
  addHidden(rule: Rule, match: Match): void {
    const table = this.tables[rule.tableId];
    if (table.cls.has(rule)) return;
    table.cls.insert(rule, match);
    table.hidden++;
    table.nFlows++;
    rule.removed = false;
    this.events.changed();
  }

  removeHidden(rule: Rule): void {
    const table = this.tables[rule.tableId];
    if (rule.removed || !table.cls.remove(rule)) return;
    table.hidden--;
    table.nFlows--;
    rule.removed = true;
    this.events.changed();
  }

  /** Flows that meet the criteria, loosely; as they are, or (`next`) as they will be after the change under way. */
  *collect(c: RuleCriteria, next = this.view.next): IterableIterator<Rule> {
    if (c.cookieMask === EXACT_COOKIE && c.cookie !== 0n) {
      yield* this.#withCookie(c, next);
      return;
    }
    for (const table of this.tablesOf(c.tableId))
      for (const rule of table.cls.matching(c.match, next)) if (meets(rule, c)) yield rule;
  }

  *#withCookie(c: RuleCriteria, next: boolean): IterableIterator<Rule> {
    const found: Rule[] = [];
    for (let r = this.#cookies.get(c.cookie); r; r = r.cookieNext) found.push(r);
    // What is on its way out is in the index no longer.
    if (!next && this.view.busy)
      for (const table of this.tablesOf(c.tableId))
        for (const rule of table.cls.matching(c.match, false))
          if (rule.stage === STAGE_GOING && rule.cookie === c.cookie) found.push(rule);
    for (const rule of found) {
      const table = this.tables[rule.tableId];
      const shown = rule.tableId === c.tableId || (c.tableId === ALL_TABLES && rule.tableId !== TBL_INTERNAL);
      if (shown && table.cls.sees(rule, next) && table.cls.isLoose(rule, c.match) && meets(rule, c)) yield rule;
    }
  }

  /** The flow with exactly that match and priority in each table named, as after the change under way. */
  *collectStrict(c: RuleCriteria, priority: number): IterableIterator<Rule> {
    for (const table of this.tablesOf(c.tableId)) {
      const rule = table.cls.findExactly(c.match, priority);
      if (rule && meets(rule, c)) yield rule;
    }
  }

  /** How many flows of a table have a cookie; not counted beyond `limit`. */
  countCookie(tableId: number, cookie: bigint, limit: number): number {
    let n = 0;
    const all = { match: catchallMatch(), tableId, cookieMask: EXACT_COOKIE, outPort: OFPP_NONE, outGroup: OFPG_ANY };
    for (const _ of this.collect({ ...all, cookie }, true)) if (++n >= limit) break;
    return n;
  }

  tablesOf(tableId: number): readonly OfTable[] {
    if (tableId === ALL_TABLES) return this.tables.slice(0, TBL_INTERNAL);
    return tableId < N_TABLES ? [this.tables[tableId]] : [];
  }

  /** Takes a rule out at once; nothing may be staged. */
  remove(rule: Rule, reason: FlowRemovedReason): void {
    this.removeAll([rule], reason);
  }

  removeAll(rules: readonly Rule[], reason: FlowRemovedReason): void {
    let any = false;
    for (const rule of rules) {
      if (rule.removed) continue;
      any = true;
      this.stageOut(rule);
      this.settleOut(rule, reason, undefined);
    }
    if (!any) return;
    this.events.changed();
    this.events.monitorFlush();
  }

  flush(): void {
    for (const table of this.tables) {
      if (table.id === TBL_INTERNAL) continue;
      this.removeAll(
        [...table.cls.rules()].filter((r) => !r.hidden),
        'delete',
      );
    }
  }

  // Staging.

  /** Puts a rule, which has its match, in for lookups after the change. */
  stageIn(rule: Rule): void {
    rule.stage = STAGE_COMING;
    rule.removed = false;
    const table = this.tables[rule.tableId];
    table.cls.insert(rule);
    table.nFlows++;
    this.#index(rule);
  }

  unstageIn(rule: Rule): void {
    const table = this.tables[rule.tableId];
    this.#unindex(rule);
    table.cls.remove(rule);
    table.nFlows--;
    rule.removed = true;
  }

  /** Takes a rule out, for lookups after the change. */
  stageOut(rule: Rule): void {
    rule.stage = rule.stage === STAGE_COMING ? STAGE_NEVER : STAGE_GOING;
    this.tables[rule.tableId].nFlows--;
    this.#unindex(rule);
  }

  unstageOut(rule: Rule): void {
    rule.stage = rule.stage === STAGE_NEVER ? STAGE_COMING : STAGE_STABLE;
    this.tables[rule.tableId].nFlows++;
    rule.removedReason = undefined;
    this.#index(rule);
  }

  /** The rule is in for good. One that was staged out again stays as it is. */
  settleIn(rule: Rule): void {
    if (rule.stage === STAGE_COMING) rule.stage = STAGE_STABLE;
  }

  /** The rule is gone for good, with the reason that its flow-removed message gives; undefined: it was replaced. */
  settleOut(rule: Rule, reason: FlowRemovedReason | undefined, by: Requester | undefined): void {
    const table = this.tables[rule.tableId];
    table.cls.remove(rule);
    rule.stage = STAGE_STABLE;
    rule.removed = true;
    if (!reason) return;
    rule.removedReason = reason;
    this.events.monitor(rule, 'removed', reason, by);
    this.vacancy(table);
    this.events.removed(rule, reason);
    this.learnersOut(rule.actions);
  }

  vacancy(table: OfTable): void {
    const event = table.takeVacancyEvent();
    if (event) this.events.vacancy(table, event);
  }

  // Learned flows that go with the last flow that learns them.

  learnersIn(actions: readonly Ofpact[]): void {
    for (const a of actions) {
      if (a.type !== 'learn' || !(a.flags & LEARN_F_DELETE)) continue;
      const key = `${a.tableId} ${a.cookie}`;
      this.#learners.set(key, (this.#learners.get(key) ?? 0) + 1);
    }
  }

  learnersOut(actions: readonly Ofpact[]): void {
    for (const a of actions) {
      if (a.type !== 'learn' || !(a.flags & LEARN_F_DELETE)) continue;
      const key = `${a.tableId} ${a.cookie}`;
      const n = (this.#learners.get(key) ?? 1) - 1;
      if (n > 0) this.#learners.set(key, n);
      else {
        this.#learners.delete(key);
        this.#orphans.push({ tableId: a.tableId, cookie: a.cookie });
      }
    }
  }

  readonly #orphans: { tableId: number; cookie: bigint }[] = [];

  /** Deletes what nobody learns any more. Returns whether there was anything. */
  removeOrphans(): void {
    for (let o = this.#orphans.pop(); o; o = this.#orphans.pop()) {
      if (this.#learners.has(`${o.tableId} ${o.cookie}`)) continue;
      const all = { match: catchallMatch(), outPort: OFPP_NONE, outGroup: OFPG_ANY };
      this.removeAll([...this.collect({ ...all, ...o, cookieMask: EXACT_COOKIE })], 'delete');
    }
  }

  // Time.

  /** Removes the flows whose time is over. Their counters must be up to date, and nothing may be staged. */
  expire(): void {
    const nowMs = this.nowMs();
    for (const rule of this.#mortal) {
      if (rule.hardTimeout && nowMs > rule.modifiedMs + rule.hardTimeout * 1000) this.remove(rule, 'hard_timeout');
      else if (rule.idleTimeout && nowMs > rule.usedMs + rule.idleTimeout * 1000) this.remove(rule, 'idle_timeout');
    }
    this.removeOrphans();
    for (const table of this.tables) table.eviction?.refresh();
  }

  /** True when some flow could expire. */
  get anyMortal(): boolean {
    return this.#mortal.size > 0;
  }

  /** Lowers timeouts (fin_timeout). */
  reduceTimeouts(rule: Rule, idleTimeout: number, hardTimeout: number): void {
    const lower = (now: number, to: number) => (to && (now === 0 || now > to) ? to : now);
    rule.idleTimeout = lower(rule.idleTimeout, idleTimeout);
    rule.hardTimeout = lower(rule.hardTimeout, hardTimeout);
    if (!rule.removed && rule.stage === STAGE_STABLE && (rule.idleTimeout || rule.hardTimeout)) this.#mortal.add(rule);
  }

  // Configuration.

  /** Settings of each table that has a row of Flow_Table; the others have the defaults. Nothing may be staged. */
  configure(settings: ReadonlyMap<number, TableSettings>): void {
    let changed = false;
    for (const table of this.tables) {
      if (table.id === TBL_INTERNAL) continue;
      changed = table.configure(settings.get(table.id) ?? {}) || changed;
      this.#evictExcess(table);
    }
    if (changed) this.events.changed();
  }

  #evictExcess(table: OfTable): void {
    while (table.nFlows > table.maxFlows) {
      const rule = table.eviction?.choose();
      if (!rule) return;
      this.remove(rule, 'eviction');
    }
  }

  // Indexes of the flows that are in after the change.

  #index(rule: Rule): void {
    if (rule.idleTimeout || rule.hardTimeout) this.#mortal.add(rule);
    if (rule.cookie !== 0n) {
      const first = this.#cookies.get(rule.cookie);
      rule.cookieNext = first;
      if (first) first.cookiePrev = rule;
      this.#cookies.set(rule.cookie, rule);
    }
    this.tables[rule.tableId].eviction?.add(rule);
    this.users.ruleIn(rule);
  }

  #unindex(rule: Rule): void {
    this.#mortal.delete(rule);
    if (rule.cookie !== 0n) {
      const { cookieNext: next, cookiePrev: prev } = rule;
      if (next) next.cookiePrev = prev;
      if (prev) prev.cookieNext = next;
      else if (next) this.#cookies.set(rule.cookie, next);
      else this.#cookies.delete(rule.cookie);
      rule.cookieNext = rule.cookiePrev = undefined;
    }
    this.tables[rule.tableId].eviction?.remove(rule);
    this.users.ruleOut(rule);
  }
}

const NO_USERS: RuleUsers = { check: () => undefined, ruleIn: () => undefined, ruleOut: () => undefined };
