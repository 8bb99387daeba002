import type { Ofpact, OfpactType } from '../../openflow/actions.ts';
import { OFPP_UNSET } from '../ports.ts';
import type { XlateCtx } from './context.ts';

/** write_actions, clear_actions, and the action set's execution (OpenFlow 1.3 section 5.10). */

/** Kinds of which the last one counts, in the order of execution. */
const ORDER: readonly OfpactType[] = [
  'strip_vlan',
  'pop_mpls',
  'decap',
  'encap',
  'push_mpls',
  'push_vlan',
  'dec_ttl',
  'dec_mpls_ttl',
  'dec_nsh_ttl',
];
/** Only one of these is done: the last kind of the list that is there. */
const FINAL: readonly OfpactType[] = ['ct', 'ct_clear', 'resubmit', 'output', 'group'];
const SET_OR_MOVE: ReadonlySet<OfpactType> = new Set<OfpactType>([
  'set_field',
  'reg_move',
  'set_eth_dst',
  'set_eth_src',
  'set_ip_dscp',
  'set_ip_ecn',
  'set_ip_ttl',
  'set_ipv4_dst',
  'set_ipv4_src',
  'set_l4_dst_port',
  'set_l4_src_port',
  'set_mpls_label',
  'set_mpls_tc',
  'set_mpls_ttl',
  'set_queue',
  'set_tunnel',
  'set_vlan_pcp',
  'set_vlan_vid',
]);

/** The list that an action set amounts to; empty without a final action. */
export function actionSetToList(set: readonly Ofpact[]): Ofpact[] {
  const slots = new Map<OfpactType, Ofpact>();
  const setOrMove: Ofpact[] = [];
  let final: Ofpact | undefined;
  for (const a of set) {
    if (ORDER.includes(a.type)) slots.set(a.type, a);
    else if (SET_OR_MOVE.has(a.type)) setOrMove.push(a);
    else if (FINAL.includes(a.type) && (!final || FINAL.indexOf(a.type) >= FINAL.indexOf(final.type))) final = a;
  }
  if (!final) return [];
  return [...ORDER.flatMap((type) => slots.get(type) ?? []), ...setOrMove, final];
}

/** Adds actions to the set, and keeps `actset_output` what the set says. */
export function addToActionSet(ctx: XlateCtx, actions: readonly Ofpact[]): void {
  for (const a of actions) {
    if (ctx.actionSetHasGroup) break;
    if (a.type === 'output') ctx.flow.actsetOutput = a.port;
    else if (a.type === 'group') {
      ctx.flow.actsetOutput = OFPP_UNSET;
      ctx.actionSetHasGroup = true;
    }
  }
  ctx.actionSet.push(...actions);
}

export function writeActions(ctx: XlateCtx, actions: readonly Ofpact[]): void {
  addToActionSet(ctx, actions);
  reportActionSet(ctx, 'is');
}

export function clearActions(ctx: XlateCtx): void {
  reportActionSet(ctx, 'was');
  ctx.actionSet = [];
  ctx.flow.actsetOutput = OFPP_UNSET;
  ctx.actionSetHasGroup = false;
}

function reportActionSet(ctx: XlateCtx, verb: string): void {
  if (!ctx.trace) return;
  const list = actionSetToList(ctx.actionSet);
  ctx.report(
    'detail',
    list.length ? `action set ${verb}: ${ctx.xin.trace!.format.actions(list)}` : `action set ${verb} empty`,
  );
}

/** Runs the action set and empties it. */
export function executeActionSet(ctx: XlateCtx): void {
  const list = actionSetToList(ctx.actionSet);
  ctx.actionSet = [];
  if (!list.length) return;
  ctx.inActionSet = true;
  ctx.nested(ctx.report('table', '--. Executing action set:'), () => ctx.run(list, { last: true }));
  ctx.inActionSet = false;
}
