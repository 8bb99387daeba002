import type { OfpPort } from '../../base/types.ts';
import { FLOW_NW_FRAG_ANY } from '../../dpif/odp-keys.ts';
import type { OfpactOf } from '../../openflow/actions.ts';
import { PC_NO_PACKET_IN } from '../../openflow/messages.ts';
import { N_TABLES, TBL_INTERNAL } from '../oftable.ts';
import { OFPP_IN_PORT } from '../ports.ts';
import type { Rule } from '../rule.ts';
import type { XlateCtx } from './context.ts';

/** Table lookups: the first one, resubmit and goto_table. */

const MAX_DEPTH = 64;
const MAX_RESUBMITS = MAX_DEPTH * MAX_DEPTH;

/** Looks `flow` up in tables from `ctx.tableId` on, as if it had come in by `inPort`. Sets `ctx.tableId` to where it ended. */
export function lookupFromTable(ctx: XlateCtx, inPort: number, mayPacketIn: boolean, honorMiss: boolean): Rule {
  const { flow, bridge } = ctx;
  const [tpSrc, tpDst, savedInPort] = [flow.tpSrc, flow.tpDst, flow.inPort];
  if (flow.nwFrag & FLOW_NW_FRAG_ANY && bridge.frag !== 'nx-match') {
    if (bridge.frag === 'drop') {
      ctx.effects.push({ type: 'table', table: bridge.tables[ctx.tableId], match: true });
      return bridge.dropFragsRule;
    }
    // In mode "normal" a fragment has no transport ports.
    flow.tpSrc = 0;
    flow.tpDst = 0;
  }
  flow.inPort = inPort;
  const rule = walkTables(ctx, honorMiss) ?? missRule(ctx, savedInPort, mayPacketIn, honorMiss);
  [flow.tpSrc, flow.tpDst, flow.inPort] = [tpSrc, tpDst, savedInPort];
  return rule;
}

function walkTables(ctx: XlateCtx, honorMiss: boolean): Rule | undefined {
  const { tables } = ctx.bridge;
  for (let id = ctx.tableId; id < N_TABLES; id++) {
    if (id === TBL_INTERNAL && id !== ctx.tableId) break;
    const table = tables[id];
    ctx.tableId = id;
    const rule = table.cls.size > 0 ? table.cls.lookup(ctx.flow, ctx.wc) : undefined;
    ctx.effects.push({ type: 'table', table, match: rule !== undefined });
    if (rule) return rule;
    if (!honorMiss || table.missConfig !== 'continue') break;
  }
  return undefined;
}

function missRule(ctx: XlateCtx, inPort: number, mayPacketIn: boolean, honorMiss: boolean): Rule {
  const { bridge } = ctx;
  if (!mayPacketIn) return bridge.noPacketInRule;
  const miss = honorMiss ? bridge.tables[ctx.tableId].missConfig : 'continue';
  if (miss === 'default') return bridge.wantsPacketInOnMiss() ? bridge.missRule : bridge.noPacketInRule;
  if (miss === 'drop') return bridge.noPacketInRule;
  const port = bridge.xport(inPort as OfpPort);
  return port && !(port.config & PC_NO_PACKET_IN) ? bridge.missRule : bridge.noPacketInRule;
}

/** Adds the node of a lookup's result; returns where the rule's actions are traced. */
export function reportTable(ctx: XlateCtx, rule: Rule, tableId: number): typeof ctx.trace {
  if (!ctx.trace) return undefined;
  const { missRule: miss, noPacketInRule, dropFragsRule } = ctx.bridge;
  const what =
    rule === miss
      ? 'No match, and a "packet-in" is called for.'
      : rule === noPacketInRule
        ? 'No match.'
        : rule === dropFragsRule
          ? 'Packets are IP fragments and the fragment handling mode is "drop".'
          : ctx.xin.trace!.format.rule(rule);
  return ctx.report('table', `${`${tableId}`.padStart(2)}. ${what}`);
}

function resourcesLeft(ctx: XlateCtx): boolean {
  if (ctx.depth >= MAX_DEPTH) {
    ctx.reportError(`over max translation depth ${MAX_DEPTH}`);
    ctx.error = 'recursion_too_deep';
  } else if (ctx.resubmits >= MAX_RESUBMITS) {
    ctx.reportError(`over ${MAX_RESUBMITS} resubmit actions`);
    ctx.error = 'too_many_resubmits';
  } else if (ctx.actions.length > 0xffff / 8) {
    ctx.reportError('resubmits yielded over 64 kB of actions');
    ctx.exit = true;
  } else if (ctx.stack.length > 65536 / 16) {
    ctx.reportError('resubmits yielded over 64 kB of stack');
    ctx.error = 'stack_too_deep';
  } else return true;
  return false;
}

/** Looks the packet up in `tableId` and runs what it finds. */
export function tableAction(
  ctx: XlateCtx,
  inPort: number,
  tableId: number,
  mayPacketIn: boolean,
  honorMiss: boolean,
): void {
  if (!resourcesLeft(ctx)) return;
  const outer = ctx.tableId;
  ctx.tableId = tableId;
  const rule = lookupFromTable(ctx, inPort, mayPacketIn, honorMiss);
  ctx.nested(reportTable(ctx, rule, tableId), () => runRule(ctx, rule, tableId <= outer));
  ctx.tableId = outer;
}

/** Runs a rule's actions; `deepens`: the table is not beyond the one that called. */
export function runRule(ctx: XlateCtx, rule: Rule, deepens: boolean): void {
  const { rule: outerRule, ruleCookie } = ctx;
  ctx.effects.push({ type: 'rule', rule });
  ctx.resubmits++;
  if (deepens) ctx.depth++;
  ctx.rule = rule;
  ctx.ruleCookie = rule.cookie;
  ctx.run(ctx, rule.actions);
  if (deepens) ctx.depth--;
  ctx.rule = outerRule;
  ctx.ruleCookie = ruleCookie;
}

export function resubmit(ctx: XlateCtx, a: OfpactOf<'resubmit'>): void {
  const inPort = a.inPort === OFPP_IN_PORT ? ctx.flow.inPort : a.inPort;
  const internal = ctx.rule?.tableId === TBL_INTERNAL;
  tableAction(ctx, inPort, a.tableId === 255 ? ctx.tableId : a.tableId, internal, internal);
}
