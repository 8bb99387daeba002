import { NX_LEARN_F_SEND_FLOW_REM, NX_LEARN_F_WRITE_RESULT } from '../../../protocols/openflow-actions.ts';
import type { OfpPort } from '../../base/types.ts';
import type { LearnSpec, Ofpact, OfpactOf, Subfield } from '../../openflow/actions.ts';
import { catchallMatch, type Match, setDefaultPacketType } from '../../openflow/match.ts';
import { FF_SEND_FLOW_REM, type FlowMod, OFP_NO_BUFFER } from '../../openflow/messages.ts';
import { copyBits, matchSetSubfield, setBits } from '../../openflow/subfield.ts';
import { OFPP_ALL, OFPP_FLOOD, OFPP_IN_PORT, OFPP_LOCAL, OFPP_MAX, OFPP_NONE } from '../ports.ts';
import type { XlateCtx } from './context.ts';
import { loadSubfield, maskSubfield, readSubfield } from './fields.ts';

/** learn: the flow that a packet adds to a table. */

type Learn = OfpactOf<'learn'>;
const UINT64_MAX = 0xffff_ffff_ffff_ffffn;
const OFPG_ANY = 0xffffffff;

const isSubfield = (src: LearnSpec['src']): src is Subfield => !(src instanceof Uint8Array);

function loadAction(dst: Subfield, bits: Uint8Array): Ofpact {
  const value = new Uint8Array(dst.field.nBytes);
  const mask = new Uint8Array(dst.field.nBytes);
  copyBits(bits, 0, value, dst.ofs, dst.nBits);
  setBits(mask, dst.ofs, dst.nBits);
  return { type: 'set_field', field: dst.field, value, mask, load: true };
}

const RESERVED: ReadonlySet<number> = new Set([OFPP_IN_PORT, OFPP_FLOOD, OFPP_LOCAL, OFPP_ALL].map((p) => p & 0xffff));

/** Output to the port of 16 bits that a field names, if a flow may send packets there. */
function outputActions(bits: Uint8Array): Ofpact[] {
  if (bits.subarray(0, -2).some((b) => b !== 0)) return [];
  const port = bits.subarray(-2).reduce((n, b) => n * 256 + b, 0);
  if (port >= OFPP_MAX && !RESERVED.has(port)) return [];
  const wide = (port >= OFPP_MAX ? port | 0xffff0000 : port) >>> 0;
  return [{ type: 'output', port: wide as OfpPort, maxLen: 0 }];
}

/** Matches on what only Ethernet packets have are matches of Ethernet packets. */
function addEthernetPrereq(m: Match, { field }: Subfield): void {
  if (field.prereq !== 'none') setDefaultPacketType(m);
}

/** The flow that a packet with these headers adds. */
export function learnedFlow(a: Learn, ctx: Pick<XlateCtx, 'flow'>): FlowMod {
  const match = catchallMatch();
  const actions: Ofpact[] = [];
  if (a.finIdleTimeout || a.finHardTimeout)
    actions.push({ type: 'fin_timeout', idleTimeout: a.finIdleTimeout, hardTimeout: a.finHardTimeout });
  for (const { src, dst, dstType } of a.specs) {
    const bits = isSubfield(src) ? readSubfield(ctx.flow, src) : src;
    if (dstType === 'output') actions.push(...outputActions(bits));
    else if (dstType === 'load') actions.push(loadAction(dst!, bits));
    else {
      matchSetSubfield(match, dst!, bits);
      addEthernetPrereq(match, dst!);
    }
  }
  return {
    type: 'flow_mod',
    match,
    priority: a.priority,
    cookie: 0n,
    cookieMask: 0n,
    newCookie: a.cookie,
    modifyCookie: a.cookie !== UINT64_MAX,
    tableId: a.tableId,
    command: 'modify_strict',
    idleTimeout: a.idleTimeout,
    hardTimeout: a.hardTimeout,
    bufferId: OFP_NO_BUFFER,
    outPort: OFPP_NONE,
    outGroup: OFPG_ANY,
    flags: a.flags & NX_LEARN_F_SEND_FLOW_REM ? FF_SEND_FLOW_REM : 0,
    importance: 0,
    actions,
  };
}

/** Whether the table takes the flow: it is there, or there are fewer than `limit` with its cookie. */
function withinLimit(ctx: XlateCtx, fm: FlowMod, limit: number): 'known' | 'new' | 'full' {
  const { cls } = ctx.bridge.tables[fm.tableId];
  if (cls.findExactly(fm.match, fm.priority)) return 'known';
  let n = 0;
  for (const rule of cls.rules()) if (rule.cookie === fm.newCookie && ++n >= limit) return 'full';
  return 'new';
}

export function learn(ctx: XlateCtx, a: Learn): void {
  for (const { src } of a.specs) if (isSubfield(src)) maskSubfield(ctx, src);
  if (!ctx.sideEffects) {
    ctx.report('warn', 'suppressing side effects, so learn action ignored');
    return;
  }
  const flowMod = learnedFlow(a, ctx);
  if (ctx.trace) ctx.report('detail', ctx.xin.trace!.format.learned(flowMod));
  let success = true;
  if (a.limit) {
    const found = withinLimit(ctx, flowMod, a.limit);
    if (ctx.xin.packet) success = found !== 'full';
    // Without a packet nothing is learned: what the next one will do is not known.
    else if (found !== 'known') ctx.avoidCaching = true;
  }
  if (a.flags & NX_LEARN_F_WRITE_RESULT && a.resultDst) loadSubfield(ctx, a.resultDst, success ? 1 : 0);
  if (!success) {
    ctx.report('detail', 'Limit exceeded, learn failed');
    return;
  }
  if (ctx.xin.learnNow) ctx.bridge.learnFlow(flowMod, a.limit);
  ctx.effects.push({ type: 'learn_flow', bridge: ctx.bridge, flowMod, limit: a.limit });
}
