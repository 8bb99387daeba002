import {
  countMplsLabels,
  MAX_MPLS_LABELS,
  MPLS_LABEL_MASK,
  MPLS_TC_MASK,
  MPLS_TTL_MASK,
  popMpls,
  pushMpls,
  setLseBits,
} from '../../flow/mpls.ts';
import { isMplsType } from '../../openflow/field-prereq.ts';
import { OFPR_INVALID_TTL } from '../../openflow/messages.ts';
import type { XlateCtx } from './context.ts';
import { controllerAction } from './controller.ts';

/** MPLS labels. */

export function tooManyLabels(ctx: XlateCtx, what: string): void {
  if (ctx.xin.packet)
    ctx.reportError(`dropping packet on which an ${what} more MPLS LSEs than the ${MAX_MPLS_LABELS} supported.`);
  ctx.error = 'too_many_mpls_labels';
}

export function pushMplsAction(ctx: XlateCtx, ethertype: number): void {
  const n = countMplsLabels(ctx.flow, ctx.wc);
  // Changes of the headers that go out of reach are done first.
  if (n === 0) ctx.commit();
  else if (n >= MAX_MPLS_LABELS) {
    tooManyLabels(ctx, "MPLS push action can't be performed as it would have");
    return;
  }
  pushMpls(ctx.flow, n, ethertype, ctx.wc, true);
}

export function popMplsAction(ctx: XlateCtx, ethertype: number): void {
  const n = countMplsLabels(ctx.flow, ctx.wc);
  if (popMpls(ctx.flow, n, ethertype, ctx.wc)) {
    if (!isMplsType(ethertype)) ctx.wasMpls = true;
  } else if (n >= MAX_MPLS_LABELS) {
    tooManyLabels(ctx, "MPLS pop action can't be performed as it has");
    ctx.actions.length = 0;
  }
}

/** Replaces the bits `mask` of the outermost label entry, if there is one. */
function setBits({ flow, wc }: XlateCtx, mask: number, value: number): void {
  if (!isMplsType(flow.dlType)) return;
  wc.mplsLse0 = (wc.mplsLse0 | mask) >>> 0;
  setLseBits(flow, mask, value);
}

export const setMplsLabel = (ctx: XlateCtx, label: number): void => setBits(ctx, MPLS_LABEL_MASK, label << 12);
export const setMplsTc = (ctx: XlateCtx, tc: number): void => setBits(ctx, MPLS_TC_MASK, (tc & 7) << 9);
export const setMplsTtl = (ctx: XlateCtx, ttl: number): void => setBits(ctx, MPLS_TTL_MASK, ttl);

/** True when the TTL ran out, or there is none: the rest of the actions is not run. */
export function decMplsTtl(ctx: XlateCtx): boolean {
  const { flow, wc } = ctx;
  if (isMplsType(flow.dlType)) {
    const ttl = flow.mplsLse0 & MPLS_TTL_MASK;
    wc.mplsLse0 = (wc.mplsLse0 | MPLS_TTL_MASK) >>> 0;
    if (ttl > 1) {
      setLseBits(flow, MPLS_TTL_MASK, ttl - 1);
      return false;
    }
    controllerAction(ctx, 0xffff, OFPR_INVALID_TTL, 0);
  }
  ctx.report('warn', 'MPLS decrement TTL exception');
  return true;
}
