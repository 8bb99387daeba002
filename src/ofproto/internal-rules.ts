import { Flow, FlowWildcards, type Match } from '../flow/flow.ts';
import type { Ofpact } from '../openflow/actions.ts';
import { OFPR_IMPLICIT_MISS } from '../openflow/messages.ts';
import type { FlowTables } from './flow-tables.ts';
import { TBL_INTERNAL } from './oftable.ts';
import { Rule } from './rule.ts';

/**
 * The rules that every bridge has of its own, in the internal table: three that translation takes when no flow matches (their matches, on
 * reg0, only tell them apart), and one that ends lookups there of packets that were not recirculated.
 */

const RUNAWAY_PRIORITY = 2;

/** Of no controller's making. Goes into a table by `FlowTables.addHidden`. */
export function internalRule(priority: number, actions: Ofpact[], nowMs: number, tableId = TBL_INTERNAL): Rule {
  const spec = { tableId, cookie: 0n, idleTimeout: 0, hardTimeout: 0, importance: 0, flags: 0, actions };
  return new Rule(priority, spec, nowMs, true);
}

function reg0Is(value: number): Match {
  const match = { flow: new Flow(), wc: new FlowWildcards() };
  match.flow.reg0 = value;
  match.wc.reg0 = 0xffffffff;
  return match;
}

function isNotRecirculated(): Match {
  const match = { flow: new Flow(), wc: new FlowWildcards() };
  match.wc.recircId = 0xffffffff;
  return match;
}

export class InternalRules {
  readonly miss: Rule;
  readonly noPacketIn: Rule;
  readonly dropFrags: Rule;

  constructor(tables: FlowTables, nowMs: number) {
    const toController = { type: 'controller', maxLen: 0xffff, reason: OFPR_IMPLICIT_MISS, controllerId: 0 } as const;
    this.miss = internalRule(0, [toController], nowMs);
    this.noPacketIn = internalRule(0, [], nowMs);
    this.dropFrags = internalRule(0, [], nowMs);
    tables.addHidden(this.miss, reg0Is(1));
    tables.addHidden(this.noPacketIn, reg0Is(2));
    tables.addHidden(this.dropFrags, reg0Is(3));
    tables.addHidden(internalRule(RUNAWAY_PRIORITY, [], nowMs), isNotRecirculated());
  }
}
