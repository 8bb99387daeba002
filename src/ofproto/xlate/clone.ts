import type { OfpactOf, OfpactType } from '../../openflow/actions.ts';
import { executeActionSet } from './action-set.ts';
import type { Runner, RunOptions, XlateCtx } from './context.ts';
import { writeSubfield } from './fields.ts';
import { finishFreezing } from './freeze.ts';
import { resourcesLeft } from './table.ts';
import type { XlateOfpact } from './types.ts';

/** Actions on a copy of the packet: clone, and the two branches of check_pkt_larger. */

/** What another action of the datapath can't undo afterwards. */
const IRREVERSIBLE: ReadonlySet<XlateOfpact['type']> = new Set<OfpactType>([
  'ct',
  'meter',
  'nat',
  'output_trunc',
  'encap',
  'decap',
  'dec_nsh_ttl',
]);

/** Runs a list to its end: action set, or freezing. */
function runToEnd(ctx: XlateCtx, actions: readonly XlateOfpact[], opts: RunOptions): void {
  ctx.run(actions, opts);
  if (!ctx.freezing) executeActionSet(ctx);
  if (ctx.freezing) finishFreezing(ctx);
}

/** Runs `f`; after it the headers in the datapath, and what follows from them, are taken to be as before. */
function keepingPacket(ctx: XlateCtx, f: () => void): void {
  const { base, wasMpls, conntracked } = ctx;
  ctx.base = base.clone();
  f();
  [ctx.base, ctx.wasMpls, ctx.conntracked] = [base, wasMpls, conntracked];
}

/** Runs `f`; after it headers, metadata, stack and action set are as before. */
function keepingPipeline(ctx: XlateCtx, f: () => void): void {
  const { flow, actionSet, stack } = ctx;
  ctx.flow = flow.clone();
  ctx.actionSet = [...actionSet];
  ctx.stack = [...stack];
  f();
  [ctx.flow, ctx.actionSet, ctx.stack] = [flow, actionSet, stack];
}

/** Runs actions so that what follows sees neither the packet nor the pipeline changed. */
export const cloneActions: Runner = (ctx, actions, { last = false }) => {
  keepingPipeline(ctx, () => {
    if (last || !actions.some((a) => IRREVERSIBLE.has(a.type))) runToEnd(ctx, actions, { last });
    else datapathClone(ctx, actions);
  });
};

function datapathClone(ctx: XlateCtx, actions: readonly XlateOfpact[]): void {
  const { clone, sampleNesting } = ctx.support;
  // Once, and not in the clone and after it again.
  ctx.commit();
  keepingPacket(ctx, () => {
    if (!clone && sampleNesting <= 3) {
      ctx.reportError('Failed to compose clone action');
      return;
    }
    const inner = ctx.nestedActions(() => runToEnd(ctx, actions, { last: true }));
    if (!inner.length) return;
    ctx.actions.push(
      clone ? { type: 'clone', actions: inner } : { type: 'sample', probability: 0xffffffff, actions: inner },
    );
  });
}

const bit = (set: boolean): Uint8Array => Uint8Array.of(set ? 1 : 0);

/** Runs the `rest` of a list once for packets above the length and once for the others. False: the datapath can't tell, and
 *  the register says what holds for this very packet. */
export function checkPktLarger(ctx: XlateCtx, a: OfpactOf<'check_pkt_larger'>, rest: readonly XlateOfpact[]): boolean {
  if (!ctx.support.checkPktLen) {
    writeSubfield(ctx.flow, a.dst, bit((ctx.xin.packet?.length ?? 0) > a.pktLen));
    ctx.slow.add('action');
    return false;
  }
  // Each doubles what is behind it.
  if (!resourcesLeft(ctx)) return true;
  ctx.resubmits++;
  ctx.commit();
  const branch = (larger: boolean) =>
    ctx.nestedActions(() =>
      keepingPipeline(ctx, () =>
        keepingPacket(ctx, () => {
          writeSubfield(ctx.flow, a.dst, bit(larger));
          runToEnd(ctx, rest, { last: true });
        }),
      ),
    );
  const ifGreater = branch(true);
  const { exit } = ctx;
  ctx.exit = false;
  const ifLessEqual = branch(false);
  ctx.exit = exit;
  ctx.actions.push({ type: 'check_pkt_len', pktLen: a.pktLen, ifGreater, ifLessEqual });
  return true;
}
