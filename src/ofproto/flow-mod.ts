import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import { CompactMatch } from '../flow/compact-match.ts';
import type { FlowAdd } from '../openflow/flow-add.ts';
import { catchallMatch } from '../openflow/match.ts';
import {
  FF_CHECK_OVERLAP,
  FF_EMERG,
  FF_NO_BYT_COUNTS,
  FF_NO_PKT_COUNTS,
  FF_RESET_COUNTS,
  FF_SEND_FLOW_REM,
  type FlowMod,
  OFP_NO_BUFFER,
  UINT64_MAX,
} from '../openflow/messages.ts';
import { ALL_TABLES, type FlowTables, OFPG_ANY } from './flow-tables.ts';
import { actionsEqual } from './megaflow.ts';
import { N_TABLES, TBL_INTERNAL } from './oftable.ts';
import { OFPP_NONE } from './ports.ts';
import { Rule } from './rule.ts';
import { type ModOp, type Requester, runNow, type Steps, YIELD_EVERY } from './transaction.ts';

/** What a flow-mod does to the tables (OpenFlow 1.3 section 6.4, with Open vSwitch's choices). */

const NO_MATCH = catchallMatch();

/** Flags that stay with the flow. */
export const FF_STATE = FF_SEND_FLOW_REM | FF_NO_PKT_COUNTS | FF_NO_BYT_COUNTS | FF_CHECK_OVERLAP | FF_RESET_COUNTS;

/** Applies a flow-mod at once; nothing may be staged. The error's name, or undefined. */
export function applyFlowMod(tables: FlowTables, fm: FlowMod, by?: Requester): OfErrorName | undefined {
  const op = FlowModOp.init(tables, fm);
  return typeof op === 'string' ? op : runNow(tables, [op], by);
}

const ruleOf = (fm: FlowMod, tableId: number, priority: number, nowMs: number): Rule => {
  const cookie = fm.newCookie === UINT64_MAX ? 0n : fm.newCookie;
  const { idleTimeout, hardTimeout, importance, actions } = fm;
  const spec = { tableId, cookie, idleTimeout, hardTimeout, importance, flags: fm.flags & FF_STATE, actions };
  return new Rule(priority, spec, nowMs);
};

/** A flow-mod that adds one flow: what it holds until it is through is the flow itself. */
export class FlowAddOp implements ModOp {
  readonly #tables: FlowTables;
  readonly #rule: Rule;
  /** The new flow brings no cookie of its own. */
  readonly #keepCookie: boolean;
  #old: Rule | undefined = undefined;
  #evicted = false;

  private constructor(tables: FlowTables, rule: Rule, keepCookie: boolean) {
    this.#tables = tables;
    this.#rule = rule;
    this.#keepCookie = keepCookie;
  }

  static of(tables: FlowTables, fm: FlowMod): FlowAddOp {
    const rule = ruleOf(fm, fm.tableId === ALL_TABLES ? 0 : fm.tableId, fm.priority, 0).setMatch(fm.match);
    return new FlowAddOp(tables, rule, fm.newCookie === UINT64_MAX);
  }

  static ofFlowAdd(tables: FlowTables, add: FlowAdd): FlowAddOp {
    return new FlowAddOp(tables, new Rule(add.priority, add, 0).setValues(add), add.keepCookie);
  }

  get command(): 'add' {
    return 'add';
  }

  get deletes(): boolean {
    return false;
  }

  start(): OfErrorName | undefined {
    const tables = this.#tables;
    const rule = this.#rule;
    const error = tables.users.check(rule.actions);
    if (error) return error;
    const table = tables.tables[rule.tableId];
    const { cls } = table;
    let old = cls.findLike(rule);
    if (!old) {
      if (rule.flags & FF_CHECK_OVERLAP && cls.findOverlap(rule.match(), rule.priority)) return 'OFPFMFC_OVERLAP';
      if (table.nFlows >= table.maxFlows) {
        old = table.eviction?.choose();
        if (!old) return 'OFPFMFC_TABLE_FULL';
        this.#evicted = true;
      }
    } else if (this.#keepCookie) rule.cookie = old.cookie;
    rule.begin(tables.nowMs());
    if (old) tables.stageOut(old);
    this.#old = old;
    tables.stageIn(rule);
    return undefined;
  }

  revert(): void {
    this.#tables.unstageIn(this.#rule);
    if (this.#old) this.#tables.unstageOut(this.#old);
  }

  finish(by: Requester | undefined): void {
    const tables = this.#tables;
    const rule = this.#rule;
    const old = this.#old;
    tables.settleIn(rule);
    tables.learnersIn(rule.actions);
    if (old && !this.#evicted) {
      replaced(tables, rule, old, by, (rule.flags & FF_RESET_COUNTS) !== 0);
      const sameActions = actionsEqual(rule.actions as never, old.actions as never);
      tables.events.monitor(rule, 'added', undefined, by, sameActions ? undefined : old.actions);
      return;
    }
    if (old) tables.settleOut(old, 'eviction', by);
    tables.events.monitor(rule, 'added', undefined, by);
    if (!old) tables.vacancy(tables.tables[rule.tableId]);
  }
}

/** `rule` has taken the place of `old`. */
function replaced(tables: FlowTables, rule: Rule, old: Rule, by: Requester | undefined, resetCounts: boolean): void {
  rule.succeed(old, !resetCounts);
  rule.addSeqno = old.addSeqno;
  rule.modifySeqno = old.modifySeqno;
  tables.settleOut(old, undefined, by);
  tables.learnersOut(old.actions);
}

export class FlowModOp implements ModOp {
  readonly #tables: FlowTables;
  #fm: FlowMod;
  /** The match, while it is put away. */
  #packed: CompactMatch | undefined;
  #old: Rule[] = [];
  #new: Rule[] = [];
  /** A modify that found nothing to modify. */
  #add: FlowAddOp | undefined;

  private constructor(tables: FlowTables, fm: FlowMod) {
    this.#tables = tables;
    this.#fm = fm;
  }

  /** Checks what can be checked without the tables' state. */
  static init(tables: FlowTables, fm: FlowMod): FlowAddOp | FlowModOp | OfErrorName {
    if (fm.flags & FF_EMERG) return 'OFPFMFC_TABLE_FULL';
    if (!fm.command.startsWith('delete')) {
      if (fm.tableId !== ALL_TABLES && fm.tableId >= N_TABLES) return 'OFPBRC_BAD_TABLE_ID';
      if (fm.tableId === TBL_INTERNAL) return 'OFPBRC_EPERM';
      if (fm.match.wc.recircId !== 0 || fm.match.wc.dpHash !== 0) return 'OFPBRC_EPERM';
      if (fm.bufferId !== OFP_NO_BUFFER) return 'OFPBRC_BUFFER_UNKNOWN';
    }
    return fm.command === 'add' ? FlowAddOp.of(tables, fm) : new FlowModOp(tables, fm);
  }

  get command(): FlowMod['command'] {
    return this.#fm.command;
  }

  get deletes(): boolean {
    return this.#fm.command.startsWith('delete');
  }

  /** It will be a while until it starts. */
  pack(): this {
    this.#packed = new CompactMatch(this.#fm.match);
    this.#fm = { ...this.#fm, match: NO_MATCH };
    return this;
  }

  *start(): Steps<OfErrorName | undefined> {
    if (this.#packed) this.#fm = { ...this.#fm, match: this.#packed.expand() };
    this.#packed = undefined;
    const error = yield* this.#stage();
    // It has what it needs from there on.
    this.#fm = { ...this.#fm, match: NO_MATCH };
    return error;
  }

  *#stage(): Steps<OfErrorName | undefined> {
    const found = yield* this.#select();
    if (typeof found === 'string') return found;
    if (!this.deletes) return yield* this.#startModify(found);
    for (let i = 0; i < found.length; i++) {
      this.#tables.stageOut(found[i]);
      if (i % YIELD_EVERY === YIELD_EVERY - 1) yield;
    }
    this.#old = found;
    return undefined;
  }

  *revert(): Steps<void> {
    this.#add?.revert();
    for (let i = this.#new.length - 1; i >= 0; i--) {
      this.#tables.unstageIn(this.#new[i]);
      if (i % YIELD_EVERY === 0) yield;
    }
    for (let i = this.#old.length - 1; i >= 0; i--) {
      this.#tables.unstageOut(this.#old[i]);
      if (i % YIELD_EVERY === 0) yield;
    }
  }

  *finish(by: Requester | undefined): Steps<void> {
    this.#add?.finish(by);
    const [old, added] = [this.#old, this.#new];
    for (let i = 0; i < Math.max(old.length, added.length); i++) {
      if (this.deletes) this.#tables.settleOut(old[i], 'delete', by);
      else this.#finishOne(added[i], old[i], by);
      if (i % YIELD_EVERY === YIELD_EVERY - 1) yield;
    }
  }

  #startAdd(): OfErrorName | undefined {
    const add = FlowAddOp.of(this.#tables, this.#fm);
    const error = add.start();
    if (!error) this.#add = add;
    return error;
  }

  /** What a flow takes over from the one that it replaces. */
  #inherit(rule: Rule, old: Rule): void {
    const { modifyCookie, newCookie } = this.#fm;
    rule.idleTimeout = old.idleTimeout;
    rule.hardTimeout = old.hardTimeout;
    rule.importance = old.importance;
    rule.flags = old.flags;
    rule.createdMs = old.createdMs;
    if (!modifyCookie || newCookie === UINT64_MAX) rule.cookie = old.cookie;
  }

  *#startModify(found: Rule[]): Steps<OfErrorName | undefined> {
    const fm = this.#fm;
    if (found.length === 0) return fm.cookieMask === 0n && fm.newCookie !== UINT64_MAX ? this.#startAdd() : undefined;
    const error = this.#tables.users.check(fm.actions);
    if (error) return error;
    for (let i = 0; i < found.length; i++) {
      const old = found[i];
      const rule = ruleOf(fm, old.tableId, old.priority, this.#tables.nowMs());
      rule.matchLike(old);
      this.#inherit(rule, old);
      this.#tables.stageOut(old);
      this.#tables.stageIn(rule);
      this.#old.push(old);
      this.#new.push(rule);
      if (i % YIELD_EVERY === YIELD_EVERY - 1) yield;
    }
    return undefined;
  }

  #finishOne(rule: Rule, old: Rule, by: Requester | undefined): void {
    const tables = this.#tables;
    tables.settleIn(rule);
    tables.learnersIn(rule.actions);
    replaced(tables, rule, old, by, (this.#fm.flags & FF_RESET_COUNTS) !== 0);
    const sameActions = actionsEqual(rule.actions as never, old.actions as never);
    if (!sameActions || rule.cookie !== old.cookie)
      tables.events.monitor(rule, 'modified', undefined, by, sameActions ? undefined : old.actions);
  }

  /** The flows that a modify or delete is about. */
  *#select(): Steps<Rule[] | OfErrorName> {
    const fm = this.#fm;
    if (fm.tableId !== ALL_TABLES && fm.tableId >= N_TABLES) return 'OFPBRC_BAD_TABLE_ID';
    if (fm.tableId === TBL_INTERNAL) return 'OFPBRC_EPERM';
    const criteria = this.deletes ? fm : { ...fm, outPort: OFPP_NONE, outGroup: OFPG_ANY };
    if (fm.command.endsWith('_strict')) return [...this.#tables.collectStrict(criteria, fm.priority)];
    const found: Rule[] = [];
    for (const rule of this.#tables.collect(criteria, true)) {
      found.push(rule);
      if (found.length % YIELD_EVERY === 0) yield;
    }
    return found;
  }
}
