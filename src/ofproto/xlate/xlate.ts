import type { OfpPort } from '../../base/types.ts';
import { FLOW_NW_FRAG_ANY, FLOW_NW_FRAG_LATER, isMplsType, odpTransport } from '../../dpif/odp-keys.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import type { Ofpact } from '../../openflow/actions.ts';
import { isIpAny } from '../../openflow/field-prereq.ts';
import { PC_NO_RECV } from '../../openflow/messages.ts';
import { OFPP_MAX } from '../ports.ts';
import { clearActions, executeActionSet, writeActions } from './action-set.ts';
import { XlateCtx } from './context.ts';
import { controllerOfpact } from './controller.ts';
import { maskSubfield, regMove, setFieldAction, stackPop, stackPush, subfieldNumber } from './fields.ts';
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
import { outputAction } from './output.ts';
import { lookupFromTable, reportTable, resubmit, tableAction } from './table.ts';
import type { XlateIn, XlateOut } from './types.ts';

/**
 * Translation: what the tables of a bridge (and of those behind its patches) make of a packet. Pure: it reads the switch, and returns
 * datapath actions, the bits that decided, and the side effects that each packet of the flow has.
 */

/** Bits that every translation depends on. */
function initWildcards(ctx: XlateCtx): void {
  const { wc, flow } = ctx;
  wc.packetType = 0xffffffff;
  wc.inPort = 0xffffffff;
  wc.dlType = 0xffff;
  wc.recircId = 0xffffffff;
  if (isIpAny(flow)) wc.nwFrag |= FLOW_NW_FRAG_ANY | FLOW_NW_FRAG_LATER;
}

const TUNNEL_END = FLOW_MEMBERS.tun_metadata.offset + FLOW_MEMBERS.tun_metadata.size;

/** Drops from the mask what no packet of the megaflow can differ in, or what is no header. */
function finishWildcards(ctx: XlateCtx): void {
  const { wc } = ctx;
  const { flow } = ctx.xin;
  wc.metadata = 0n;
  wc.u8.fill(0, FLOW_MEMBERS.reg0.offset, FLOW_MEMBERS.reg15.offset + 4);
  wc.actsetOutput = 0;
  wc.conjId = 0;
  const transport = odpTransport(flow);
  if (transport === 'icmp' || transport === 'icmpv6') {
    wc.tpSrc &= 0xff;
    wc.tpDst &= 0xff;
  }
  if (wc.vlanTci0) wc.vlanTci0 |= 0x1000;
  if (wc.vlanTci1) wc.vlanTci1 |= 0x1000;
  if (flow.nwFrag & FLOW_NW_FRAG_LATER) wc.tpSrc = wc.tpDst = 0;
  if (!isMplsType(flow.dlType)) wc.mplsLse0 = wc.mplsLse1 = wc.mplsLse2 = 0;
  if (!flow.vlanTpid0) wc.vlanTpid0 = wc.vlanTci0 = 0;
  if (!flow.vlanTpid1) wc.vlanTpid1 = wc.vlanTci1 = 0;
  if (!flow.tunDst) wc.u8.fill(0, 0, TUNNEL_END);
}

/** Runs the packet through the bridge. */
function run(ctx: XlateCtx): void {
  const { xin } = ctx;
  let actions = xin.actions;
  if (!actions) {
    const rule = lookupFromTable(ctx, ctx.flow.inPort, true, true);
    ctx.effects.push({ type: 'rule', rule });
    ctx.trace = reportTable(ctx, rule, ctx.tableId);
    ctx.rule = rule;
    ctx.ruleCookie = rule.cookie;
    actions = rule.actions;
  }
  const inPort = ctx.bridge.xport(xin.flow.inPort as OfpPort);
  if (inPort && inPort.config & PC_NO_RECV) {
    ctx.dropReason = 'port_no_recv';
    return;
  }
  doXlateActions(ctx, actions);
  if (!ctx.error) executeActionSet(ctx);
}

export function xlateActions(xin: XlateIn): XlateOut {
  const ctx = new XlateCtx(xin, doXlateActions);
  initWildcards(ctx);
  const outer = ctx.trace;
  ctx.trace = ctx.report('bridge', `bridge("${xin.bridge.name}")`);
  if (xin.flow.recircId) {
    ctx.reportError(`Recirculation context not found for ID ${xin.flow.recircId.toString(16)}`);
    ctx.error = 'no_recirculation_context';
  } else run(ctx);
  ctx.trace = outer;
  finishWildcards(ctx);
  const { error } = ctx;
  return {
    actions: error ? [] : ctx.actions,
    wc: ctx.wc,
    effects: ctx.effects,
    flow: ctx.flow,
    slow: error ? new Set() : ctx.slow,
    error,
    dropReason: error ?? ctx.dropReason,
  };
}

/** Runs a list of actions on the packet. */
export function doXlateActions(ctx: XlateCtx, actions: readonly Ofpact[]): void {
  if (!actions.length) {
    ctx.report('action', 'drop');
    ctx.dropReason = ctx.rule === ctx.bridge.noPacketInRule ? 'table_miss' : 'explicit_drop';
    return;
  }
  for (const a of actions) {
    if (ctx.error || ctx.exit) break;
    if (ctx.trace) ctx.report('action', ctx.xin.trace!.format.action(a));
    if (!xlateAction(ctx, a)) break;
  }
}

/** Runs one action; false: leave the rest of the list. */
function xlateAction(ctx: XlateCtx, a: Ofpact): boolean {
  switch (a.type) {
    case 'output':
      outputAction(ctx, a.port, a.maxLen, true);
      break;
    case 'output_trunc':
      outputAction(ctx, a.port, a.maxLen, true, true);
      break;
    case 'output_reg':
      outputReg(ctx, a);
      break;
    case 'controller':
      controllerOfpact(ctx, a);
      break;
    case 'enqueue':
      ctx.wc.skbPriority = 0xffffffff;
      outputAction(ctx, a.port, 0, true);
      break;
    case 'resubmit':
      resubmit(ctx, a);
      break;
    case 'goto_table':
      tableAction(ctx, ctx.flow.inPort, a.tableId, true, true);
      break;
    case 'dec_ttl':
      return !decTtl(ctx, a);
    case 'exit':
      ctx.exit = true;
      break;
    default:
      return xlateHeaderAction(ctx, a);
  }
  return true;
}

/** Actions that change headers or metadata. */
function xlateHeaderAction(ctx: XlateCtx, a: Ofpact): boolean {
  switch (a.type) {
    case 'set_field':
      setFieldAction(ctx, a);
      break;
    case 'reg_move':
      regMove(ctx, a);
      break;
    case 'set_vlan_vid':
      setVlanVid(ctx, a);
      break;
    case 'set_vlan_pcp':
      setVlanPcp(ctx, a);
      break;
    case 'strip_vlan':
      popVlan(ctx);
      break;
    case 'push_vlan':
      pushVlan(ctx, a.ethertype);
      break;
    case 'set_eth_src':
      setEth(ctx, 'src', a.mac);
      break;
    case 'set_eth_dst':
      setEth(ctx, 'dst', a.mac);
      break;
    case 'set_ipv4_src':
      setIpv4(ctx, 'nwSrc', a.ip);
      break;
    case 'set_ipv4_dst':
      setIpv4(ctx, 'nwDst', a.ip);
      break;
    case 'set_ip_dscp':
      setTos(ctx, 0xfc, a.dscp);
      break;
    case 'set_ip_ecn':
      setTos(ctx, 0x03, a.ecn);
      break;
    case 'set_ip_ttl':
      setTtl(ctx, a.ttl);
      break;
    case 'set_l4_src_port':
      setL4Port(ctx, 'tpSrc', a.port);
      break;
    case 'set_l4_dst_port':
      setL4Port(ctx, 'tpDst', a.port);
      break;
    default:
      return xlateMetadataAction(ctx, a);
  }
  return true;
}

/** Actions on metadata and on the pipeline itself. */
function xlateMetadataAction(ctx: XlateCtx, a: Ofpact): boolean {
  switch (a.type) {
    case 'set_tunnel':
      ctx.flow.tunId = a.tunId;
      break;
    case 'set_queue':
    case 'pop_queue':
      // No queues in this datapath: every queue has the default's priority.
      ctx.wc.skbPriority = 0xffffffff;
      break;
    case 'stack_push':
      stackPush(ctx, a.subfield);
      break;
    case 'stack_pop':
      stackPop(ctx, a.subfield);
      break;
    case 'write_metadata':
      ctx.flow.metadata = (ctx.flow.metadata & ~a.mask) | (a.metadata & a.mask);
      break;
    case 'write_actions':
      writeActions(ctx, a.actions);
      break;
    case 'clear_actions':
      clearActions(ctx);
      break;
    case 'fin_timeout':
      ctx.wc.nwProto = 0xff;
      if (ctx.rule)
        ctx.effects.push({ type: 'fin', rule: ctx.rule, idleTimeout: a.idleTimeout, hardTimeout: a.hardTimeout });
      break;
    case 'clone':
      cloneActions(ctx, a.actions);
      break;
    case 'conjunction':
      ctx.reportError('executing no-op conjunction action');
      break;
    case 'note':
    case 'ct_clear':
      break;
    default:
      ctx.reportError(`action ${a.type} is not supported`);
      ctx.error = 'unsupported_action';
      return false;
  }
  return true;
}

/** Runs actions on a copy: neither the packet nor the pipeline's state is changed for what follows. */
function cloneActions(ctx: XlateCtx, actions: readonly Ofpact[]): void {
  const { flow, actionSet, stack } = ctx;
  ctx.flow = flow.clone();
  ctx.actionSet = [...actionSet];
  ctx.stack = [...stack];
  doXlateActions(ctx, actions);
  [ctx.flow, ctx.actionSet, ctx.stack] = [flow, actionSet, stack];
  ctx.exit = false;
}

function outputReg(ctx: XlateCtx, a: Ofpact & { type: 'output_reg' }): void {
  const port = subfieldNumber(ctx.flow, a.src);
  if (port > 0xffff) {
    ctx.report('warn', `output port ${port} is out of range`);
    return;
  }
  ctx.report('detail', `output port is ${port}`);
  maskSubfield(ctx, a.src);
  // A register holds a 16-bit port; the reserved ones stand for their 32-bit forms.
  outputAction(ctx, port >= OFPP_MAX ? (port | 0xffff0000) >>> 0 : port, a.maxLen, false);
}
