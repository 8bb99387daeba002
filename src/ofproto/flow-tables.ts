import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { Match } from '../flow/flow.ts';
import type { Ofpact } from '../openflow/actions.ts';
import {
  FF_CHECK_OVERLAP,
  FF_EMERG,
  FF_RESET_COUNTS,
  type FlowMod,
  type FlowRemovedReason,
  UINT64_MAX,
} from '../openflow/messages.ts';
import { N_TABLES, OfTable, TBL_INTERNAL } from './oftable.ts';
import { OFPP_NONE } from './ports.ts';
import { Rule } from './rule.ts';

/** The flow tables of one bridge, and what a flow-mod does to them (OpenFlow 1.3 section 6.4, with Open vSwitch's choices). */

const ALL_TABLES = 255;

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

export interface FlowTablesEvents {
  /** A flow left its table (not: was replaced by another with the same match). */
  removed(rule: Rule, reason: FlowRemovedReason): void;
  /** Lookups may have new answers. */
  changed(): void;
}

const OFPG_ANY = 0xffffffff;

function outputsTo(actions: readonly Ofpact[], port: number): boolean {
  return actions.some((a) => {
    if (a.type === 'output' || a.type === 'output_trunc' || a.type === 'enqueue') return a.port === port;
    if (a.type === 'controller') return port === 0xfffffffd;
    if (a.type === 'write_actions' || a.type === 'clone') return outputsTo(a.actions, port);
    return a.type === 'bundle' && a.members.includes(port as never);
  });
}

const usesGroup = (actions: readonly Ofpact[], id: number): boolean =>
  actions.some((a) =>
    a.type === 'group' ? a.groupId === id : a.type === 'write_actions' ? usesGroup(a.actions, id) : false,
  );

function meets(rule: Rule, c: RuleCriteria): boolean {
  if (rule.hidden || (c.cookieMask !== 0n && (rule.cookie ^ c.cookie) & c.cookieMask)) return false;
  if (c.outPort !== OFPP_NONE && !outputsTo(rule.actions, c.outPort)) return false;
  return c.outGroup === OFPG_ANY || usesGroup(rule.actions, c.outGroup);
}

export class FlowTables {
  readonly tables: readonly OfTable[] = Array.from({ length: N_TABLES }, (_, i) => new OfTable(i));
  /** Flows that have a timeout. */
  readonly #mortal = new Set<Rule>();
  readonly #events: FlowTablesEvents;
  readonly #nowMs: () => number;
  /** How to undo what the transaction has done so far, last first; undefined outside one. */
  #undo: (() => void)[] | undefined;
  /** Flows that the transaction has removed; told when it is through. */
  #gone: { rule: Rule; reason: FlowRemovedReason }[] = [];

  constructor(events: FlowTablesEvents, nowMs: () => number) {
    this.#events = events;
    this.#nowMs = nowMs;
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
    if (!table.cls.replace(rule, match)) table.hidden++;
    rule.removed = false;
    this.#events.changed();
  }

  removeHidden(rule: Rule): void {
    const table = this.tables[rule.tableId];
    if (rule.removed || !table.cls.remove(rule)) return;
    table.hidden--;
    rule.removed = true;
    this.#events.changed();
  }

  /** Runs `f`; when it returns false, every flow-mod in it is undone. */
  transaction(f: () => boolean): void {
    this.#undo = [];
    const kept = f();
    const [undo, gone] = [this.#undo, this.#gone];
    this.#undo = undefined;
    this.#gone = [];
    if (kept) for (const { rule, reason } of gone) this.#events.removed(rule, reason);
    else for (const step of undo.reverse()) step();
    this.#events.changed();
  }

  /** Applies a flow-mod that a controller sent. The error's name, or undefined. */
  flowMod(fm: FlowMod): OfErrorName | undefined {
    if (fm.flags & FF_EMERG) return 'OFPFMFC_TABLE_FULL';
    switch (fm.command) {
      case 'add':
        return this.#add(fm);
      case 'modify':
      case 'modify_strict':
        return this.#modify(fm);
      case 'delete':
      case 'delete_strict':
        return this.#delete(fm);
    }
  }

  /** Flows that meet the criteria, loosely. */
  *collect(c: RuleCriteria): IterableIterator<Rule> {
    for (const table of this.#tablesOf(c.tableId))
      for (const rule of table.cls.matching(c.match)) if (meets(rule, c)) yield rule;
  }

  /** Takes a rule out. */
  remove(rule: Rule, reason: FlowRemovedReason): void {
    if (rule.removed || !this.tables[rule.tableId].cls.remove(rule)) return;
    rule.removed = true;
    this.#mortal.delete(rule);
    if (this.#undo) {
      this.#gone.push({ rule, reason });
      this.#undo.push(() => this.#putBack(rule));
      return;
    }
    this.#events.removed(rule, reason);
    this.#events.changed();
  }

  /** Undoes a removal. */
  #putBack(rule: Rule): void {
    rule.removed = false;
    rule.successor = undefined;
    this.tables[rule.tableId].cls.replace(rule, rule.match());
    this.#track(rule);
  }

  /** Undoes an addition. */
  #takeBack(rule: Rule, old: Rule | undefined): void {
    if (old) this.#putBack(old);
    else this.tables[rule.tableId].cls.remove(rule);
    rule.removed = true;
    this.#mortal.delete(rule);
  }

  flush(): void {
    for (const table of this.tables) {
      if (table.id === TBL_INTERNAL) continue;
      for (const rule of [...table.cls.rules()]) if (!rule.hidden) this.remove(rule, 'delete');
    }
  }

  /** Removes the flows whose time is over. Their counters must be up to date. */
  expire(): void {
    const nowMs = this.#nowMs();
    for (const rule of this.#mortal) {
      if (rule.hardTimeout && nowMs >= rule.modifiedMs + rule.hardTimeout * 1000) this.remove(rule, 'hard_timeout');
      else if (rule.idleTimeout && nowMs >= rule.usedMs + rule.idleTimeout * 1000) this.remove(rule, 'idle_timeout');
    }
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
    this.#track(rule);
  }

  #tablesOf(tableId: number): readonly OfTable[] {
    if (tableId === ALL_TABLES) return this.tables.slice(0, TBL_INTERNAL);
    return tableId < N_TABLES ? [this.tables[tableId]] : [];
  }

  #track(rule: Rule): void {
    if (!rule.removed && (rule.idleTimeout || rule.hardTimeout)) this.#mortal.add(rule);
  }

  #add(fm: FlowMod): OfErrorName | undefined {
    const tableId = fm.tableId === ALL_TABLES ? 0 : fm.tableId;
    if (tableId >= N_TABLES) return 'OFPBRC_BAD_TABLE_ID';
    if (tableId === TBL_INTERNAL) return 'OFPBRC_EPERM';
    const { cls } = this.tables[tableId];
    if (
      fm.flags & FF_CHECK_OVERLAP &&
      !cls.findExactly(fm.match, fm.priority) &&
      cls.findOverlap(fm.match, fm.priority)
    )
      return 'OFPFMFC_OVERLAP';
    const cookie = fm.newCookie === UINT64_MAX ? 0n : fm.newCookie;
    const rule = new Rule(fm.priority, { ...fm, tableId, cookie }, this.#nowMs());
    const old = cls.replace(rule, fm.match);
    if (old) this.#inherit(rule, old, (fm.flags & FF_RESET_COUNTS) === 0);
    this.#track(rule);
    if (this.#undo) this.#undo.push(() => this.#takeBack(rule, old));
    else this.#events.changed();
    return undefined;
  }

  /** `rule` took the place of `old`. */
  #inherit(rule: Rule, old: Rule, counts: boolean): void {
    old.removed = true;
    this.#mortal.delete(old);
    old.successor = rule;
    if (!counts) return;
    rule.packets = old.packets;
    rule.bytes = old.bytes;
    rule.usedMs = Math.max(rule.usedMs, old.usedMs);
  }

  #modify(fm: FlowMod): OfErrorName | undefined {
    const found = this.#select(fm);
    if (typeof found === 'string') return found;
    if (found.length === 0) return fm.cookieMask === 0n && fm.newCookie !== UINT64_MAX ? this.#add(fm) : undefined;
    const nowMs = this.#nowMs();
    for (const rule of found) {
      const { actions, modifiedMs, cookie, packets, bytes } = rule;
      this.#undo?.push(() => Object.assign(rule, { actions, modifiedMs, cookie, packets, bytes }));
      rule.actions = fm.actions;
      rule.modifiedMs = nowMs;
      if (fm.modifyCookie && fm.newCookie !== UINT64_MAX) rule.cookie = fm.newCookie;
      if (fm.flags & FF_RESET_COUNTS) rule.packets = rule.bytes = 0;
    }
    if (!this.#undo) this.#events.changed();
    return undefined;
  }

  #delete(fm: FlowMod): OfErrorName | undefined {
    const found = this.#select(fm);
    if (typeof found === 'string') return found;
    for (const rule of found) this.remove(rule, 'delete');
    return undefined;
  }

  /** The flows that a modify or delete is about. */
  #select(fm: FlowMod): Rule[] | OfErrorName {
    if (fm.tableId !== ALL_TABLES && fm.tableId >= N_TABLES) return 'OFPBRC_BAD_TABLE_ID';
    if (fm.tableId === TBL_INTERNAL) return 'OFPBRC_EPERM';
    const del = fm.command.startsWith('delete');
    const criteria = del ? fm : { ...fm, outPort: OFPP_NONE, outGroup: OFPG_ANY };
    if (!fm.command.endsWith('_strict')) return [...this.collect(criteria)];
    return this.#tablesOf(fm.tableId).flatMap((table) => {
      const rule = table.cls.findExactly(fm.match, fm.priority);
      return rule && meets(rule, criteria) ? [rule] : [];
    });
  }
}
