import type { OfpPort } from '../../base/types.ts';
import { FLOW_NW_FRAG_ANY } from '../../dpif/odp-keys.ts';
import type { Flow } from '../../flow/flow.ts';
import { FLOW_MEMBERS, type FlowMemberName } from '../../gen/flow.ts';
import type { OfpactOf } from '../../openflow/actions.ts';
import { isIpAny } from '../../openflow/field-prereq.ts';
import { PC_NO_PACKET_IN } from '../../openflow/messages.ts';
import { N_TABLES, TBL_INTERNAL } from '../oftable.ts';
import { OFPP_IN_PORT } from '../ports.ts';
import type { Rule } from '../rule.ts';
import type { Runner, XlateCtx } from './context.ts';
import { triggerFreeze } from './freeze.ts';

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
      return bridge.internalRules.dropFrags;
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
  if (!mayPacketIn) return bridge.internalRules.noPacketIn;
  const miss = honorMiss ? bridge.tables[ctx.tableId].missConfig : 'continue';
  if (miss === 'default')
    return bridge.wantsPacketInOnMiss() ? bridge.internalRules.miss : bridge.internalRules.noPacketIn;
  if (miss === 'drop') return bridge.internalRules.noPacketIn;
  const port = bridge.xport(inPort as OfpPort);
  return port && !(port.config & PC_NO_PACKET_IN) ? bridge.internalRules.miss : bridge.internalRules.noPacketIn;
}

/** Adds the node of a lookup's result; returns where the rule's actions are traced. */
export function reportTable(ctx: XlateCtx, rule: Rule, tableId: number): typeof ctx.trace {
  if (!ctx.trace) return undefined;
  const { miss, noPacketIn, dropFrags } = ctx.bridge.internalRules;
  const what =
    rule === miss
      ? 'No match, and a "packet-in" is called for.'
      : rule === noPacketIn
        ? 'No match.'
        : rule === dropFrags
          ? 'Packets are IP fragments and the fragment handling mode is "drop".'
          : ctx.xin.trace!.format.rule(rule, ctx.bridge);
  return ctx.report('table', `${`${tableId}`.padStart(2)}. ${what}`);
}

/** False, and says why, when translation has gone on for too long. */
export function resourcesLeft(ctx: XlateCtx): boolean {
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

const swapMembers = (flow: Flow, a: FlowMemberName, b: FlowMemberName): void => {
  const [x, y] = [FLOW_MEMBERS[a], FLOW_MEMBERS[b]];
  const saved = flow.u8.slice(x.offset, x.offset + x.size);
  flow.u8.copyWithin(x.offset, y.offset, y.offset + y.size);
  flow.u8.set(saved, y.offset);
};

/** Exchanges the packet's addresses and ports for those that its connection began with. */
function swapTuple(flow: Flow, ipv4: boolean): void {
  swapMembers(flow, 'nw_proto', 'ct_nw_proto');
  swapMembers(flow, ipv4 ? 'nw_src' : 'ipv6_src', ipv4 ? 'ct_nw_src' : 'ct_ipv6_src');
  swapMembers(flow, ipv4 ? 'nw_dst' : 'ipv6_dst', ipv4 ? 'ct_nw_dst' : 'ct_ipv6_dst');
  swapMembers(flow, 'tp_src', 'ct_tp_src');
  swapMembers(flow, 'tp_dst', 'ct_tp_dst');
}

export interface TableOptions {
  inPort: number;
  tableId: number;
  mayPacketIn?: boolean;
  honorMiss?: boolean;
  /** Look up the tuple that the packet's connection began with. */
  withCtOrig?: boolean;
  last?: boolean;
  /** How the rule's actions are run; absent: as part of this packet's. */
  runner?: Runner;
}

/** Looks the packet up in a table and runs what it finds. */
export function tableAction(ctx: XlateCtx, opts: TableOptions): void {
  if (ctx.wasMpls) {
    triggerFreeze(ctx);
    return;
  }
  if (!resourcesLeft(ctx)) return;
  if (opts.withCtOrig && (ctx.flow.ctNwProto === 0 || !isIpAny(ctx.flow))) {
    ctx.reportError('resubmit(ct) with non-tracked or non-IP packet!');
    return;
  }
  const { inPort, tableId, mayPacketIn = false, honorMiss = false } = opts;
  const outer = ctx.tableId;
  ctx.tableId = tableId;
  const swap = () => {
    if (!opts.withCtOrig) return;
    const ipv4 = ctx.flow.dlType === 0x0800;
    swapTuple(ctx.flow, ipv4);
    swapTuple(ctx.wc, ipv4);
  };
  swap();
  const rule = lookupFromTable(ctx, inPort, mayPacketIn, honorMiss);
  swap();
  ctx.nested(reportTable(ctx, rule, tableId), () => runRule(ctx, rule, tableId <= outer, opts));
  ctx.tableId = outer;
}

/** Runs a rule's actions; `deepens`: the table is not beyond the one that called. */
function runRule(ctx: XlateCtx, rule: Rule, deepens: boolean, { last = false, runner }: TableOptions): void {
  const { rule: outerRule, ruleCookie } = ctx;
  ctx.effects.push({ type: 'rule', rule });
  ctx.resubmits++;
  if (deepens) ctx.depth++;
  ctx.rule = rule;
  ctx.ruleCookie = rule.cookie;
  if (runner) runner(ctx, rule.actions, { last });
  else ctx.run(rule.actions, { last });
  if (deepens) ctx.depth--;
  ctx.rule = outerRule;
  ctx.ruleCookie = ruleCookie;
}

export function resubmit(ctx: XlateCtx, a: OfpactOf<'resubmit'>, last: boolean): void {
  const internal = ctx.rule?.tableId === TBL_INTERNAL;
  tableAction(ctx, {
    inPort: a.inPort === OFPP_IN_PORT ? ctx.flow.inPort : a.inPort,
    tableId: a.tableId === 255 ? ctx.tableId : a.tableId,
    mayPacketIn: internal,
    honorMiss: internal,
    withCtOrig: a.withCtOrig,
    last,
  });
}
