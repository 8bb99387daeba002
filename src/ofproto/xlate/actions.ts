import type { OfpactType } from '../../openflow/actions.ts';
import { mf } from '../../openflow/field.ts';
import { clearActions, writeActions } from './action-set.ts';
import { checkPktLarger, cloneActions } from './clone.ts';
import { ct, ctClear } from './conntrack.ts';
import type { RunOptions, XlateCtx } from './context.ts';
import { controllerOfpact } from './controller.ts';
import { decap, decNshTtl, encap } from './encap.ts';
import { deleteField, regMove, setFieldAction, stackPop, stackPush } from './fields.ts';
import { freezeActions, triggerFreeze } from './freeze.ts';
import { groupAction } from './group.ts';
import {
  decTtl,
  popVlan,
  pushVlan,
  setEth,
  setIpv4,
  setL4Port,
  setTos,
  setTtl,
  setVlanPcp,
  setVlanVid,
} from './headers.ts';
import { learn } from './learn.ts';
import { decMplsTtl, popMplsAction, pushMplsAction, setMplsLabel, setMplsTc, setMplsTtl } from './mpls-actions.ts';
import { bundle, multipath } from './multipath.ts';
import { enqueue, outputAction, outputReg, outputTrunc, popQueue, setQueue } from './output.ts';
import { sample } from './sample.ts';
import { resubmit, tableAction } from './table.ts';
import type { XlateOfpact } from './types.ts';

/** Lists of actions: one handler an action. */

type XlateOfpactOf<T extends XlateOfpact['type']> = Extract<XlateOfpact, { type: T }>;

/**
 * What follows an action, beside the rest of the list: `stop`, nothing; `froze`, the rest when the packet comes back (after any other
 * action that freezes, that action and the rest); `nested`, what the action found in a table has been frozen already.
 */
type Outcome = 'stop' | 'froze' | 'nested' | undefined;

type Handler<T extends XlateOfpact['type']> = (
  ctx: XlateCtx,
  a: XlateOfpactOf<T>,
  opts: Required<RunOptions>,
  rest: () => readonly XlateOfpact[],
  // biome-ignore lint/suspicious/noConfusingVoidType: most handlers have nothing to say.
) => Outcome | void;

const stopIf = (stop: boolean): Outcome => (stop ? 'stop' : undefined);

const HANDLERS: { readonly [T in XlateOfpact['type']]: Handler<T> } = {
  output: (ctx, a, opts) => outputAction(ctx, a.port, { ...opts, maxLen: a.maxLen, mayPacketIn: true }),
  output_trunc: outputTrunc,
  output_reg: outputReg,
  controller: (ctx, a) => (controllerOfpact(ctx, a) ? undefined : 'froze'),
  enqueue,
  group: (ctx, a, { last }) => stopIf(!groupAction(ctx, a.groupId, last)),
  bundle,
  set_field: setFieldAction,
  reg_move: regMove,
  set_vlan_vid: setVlanVid,
  set_vlan_pcp: setVlanPcp,
  strip_vlan: popVlan,
  push_vlan: (ctx, a) => pushVlan(ctx, a.ethertype),
  set_eth_src: (ctx, a) => setEth(ctx, 'src', a.mac),
  set_eth_dst: (ctx, a) => setEth(ctx, 'dst', a.mac),
  set_ipv4_src: (ctx, a) => setIpv4(ctx, 'nwSrc', a.ip),
  set_ipv4_dst: (ctx, a) => setIpv4(ctx, 'nwDst', a.ip),
  set_ip_dscp: (ctx, a) => setTos(ctx, 0xfc, a.dscp),
  set_ip_ecn: (ctx, a) => setTos(ctx, 0x03, a.ecn),
  set_ip_ttl: (ctx, a) => setTtl(ctx, a.ttl),
  set_l4_src_port: (ctx, a) => setL4Port(ctx, 'tpSrc', a.port),
  set_l4_dst_port: (ctx, a) => setL4Port(ctx, 'tpDst', a.port),
  dec_ttl: (ctx, a) => stopIf(decTtl(ctx, a)),
  set_mpls_label: (ctx, a) => setMplsLabel(ctx, a.label),
  set_mpls_tc: (ctx, a) => setMplsTc(ctx, a.tc),
  set_mpls_ttl: (ctx, a) => setMplsTtl(ctx, a.ttl),
  dec_mpls_ttl: (ctx) => stopIf(decMplsTtl(ctx)),
  push_mpls: (ctx, a) => pushMplsAction(ctx, a.ethertype),
  pop_mpls: (ctx, a) => popMplsAction(ctx, a.ethertype),
  dec_nsh_ttl: (ctx) => stopIf(decNshTtl(ctx)),
  delete_field: deleteField,
  encap,
  decap: (ctx, a) => (decap(ctx, a) ? undefined : 'froze'),
  set_tunnel: (ctx, a) => {
    ctx.flow.tunId = a.tunId;
  },
  set_queue: setQueue,
  pop_queue: popQueue,
  fin_timeout: (ctx, a) => {
    ctx.wc.nwProto = 0xff;
    const { rule } = ctx;
    if (rule) ctx.effects.push({ type: 'fin', rule, idleTimeout: a.idleTimeout, hardTimeout: a.hardTimeout });
  },
  stack_push: (ctx, a) => stackPush(ctx, a.subfield),
  stack_pop: (ctx, a) => stackPop(ctx, a.subfield),
  resubmit: (ctx, a, { last }) => {
    resubmit(ctx, a, last);
    return 'nested';
  },
  goto_table: (ctx, { tableId }, { last }) => {
    tableAction(ctx, { inPort: ctx.flow.inPort, tableId, mayPacketIn: true, honorMiss: true, last });
    return 'nested';
  },
  learn,
  conjunction: (ctx) => ctx.reportError('executing no-op conjunction action'),
  multipath,
  note: () => undefined,
  exit: (ctx) => {
    ctx.exit = true;
  },
  sample,
  ct: (ctx, a, { last }) => ct(ctx, a, last),
  ct_clear: ctClear,
  nat: (ctx, a) => {
    ctx.ctNat = a;
  },
  clone: (ctx, a, { last }) => cloneActions(ctx, a.actions, { last }),
  check_pkt_larger: (ctx, a, _opts, rest) => stopIf(checkPktLarger(ctx, a, rest())),
  debug_recirc: (ctx) => {
    triggerFreeze(ctx);
    return 'froze';
  },
  debug_slow: (ctx) => {
    ctx.slow.add('action');
  },
  meter: (ctx, a) => {
    const meterId = ctx.bridge.meterProviderId(a.meterId);
    if (meterId !== undefined) ctx.actions.push({ type: 'meter', meterId });
  },
  clear_actions: clearActions,
  write_actions: (ctx, a) => writeActions(ctx, a.actions),
  write_metadata: ({ flow }, a) => {
    flow.metadata = (flow.metadata & ~a.mask) | (a.metadata & a.mask);
  },
  unroll_xlate: (ctx, a) => {
    ctx.tableId = a.tableId;
    ctx.ruleCookie = a.cookie;
    const cookie = a.cookie ? `0x${swap64(a.cookie).toString(16)}` : '0';
    ctx.report('thaw', `restored state: table=${a.tableId}, cookie=${cookie}`);
  },
};

/** The reference switch shows the cookie's bytes in the order of a little-endian machine here. */
function swap64(n: bigint): bigint {
  const b = Buffer.alloc(8);
  b.writeBigUInt64BE(n);
  return b.readBigUInt64LE();
}

/** Actions that do without what is behind the labels that were popped. */
const WITHOUT_L3: ReadonlySet<XlateOfpact['type']> = new Set<OfpactType>([
  'output',
  'output_trunc',
  'enqueue',
  'output_reg',
  'set_vlan_vid',
  'set_vlan_pcp',
  'set_eth_src',
  'set_eth_dst',
  'set_tunnel',
  'set_queue',
  'group',
]);
const FIRST_L3_FIELD = mf('nw_src').id;

/** After the last label was popped, an action on what was behind it has to wait until the packet was parsed anew. */
function freezeForMpls(ctx: XlateCtx, a: XlateOfpact): void {
  if (ctx.exit || !ctx.wasMpls || WITHOUT_L3.has(a.type)) return;
  if (a.type === 'set_field' && a.field.id < FIRST_L3_FIELD) return;
  triggerFreeze(ctx);
}

/** Runs one action of a list; true when the list ends here. */
function runAction(ctx: XlateCtx, actions: readonly XlateOfpact[], i: number, opts: Required<RunOptions>): boolean {
  const a = actions[i];
  if (ctx.trace) ctx.report('action', ctx.xin.trace!.format.action(a, ctx.bridge));
  const handler = HANDLERS[a.type] as Handler<typeof a.type>;
  const outcome = handler(ctx, a as never, opts, () => actions.slice(i + 1));
  if (outcome === 'stop') return true;
  if (outcome === 'nested' || ctx.error || !ctx.freezing || ctx.frozenActions.length) return false;
  freezeActions(ctx, actions.slice(outcome === 'froze' ? i + 1 : i));
  return true;
}

/** Runs a list of actions on the packet. */
export function doXlateActions(ctx: XlateCtx, actions: readonly XlateOfpact[], opts: RunOptions): void {
  const { last = false, bucket = false } = opts;
  if (!actions.length) {
    ctx.report('action', 'drop');
    ctx.dropReason = ctx.rule === ctx.bridge.internalRules.noPacketIn ? 'table_miss' : 'explicit_drop';
    return;
  }
  for (let i = 0; i < actions.length && !ctx.error; i++) {
    freezeForMpls(ctx, actions[i]);
    if (ctx.exit) {
      if (ctx.freezing) freezeActions(ctx, actions.slice(i));
      break;
    }
    const isLast = last && i === actions.length - 1 && ctx.actionSet.length === 0;
    if (runAction(ctx, actions, i, { last: isLast, bucket })) break;
  }
}
