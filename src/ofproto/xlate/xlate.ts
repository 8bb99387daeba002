import type { OfpPort } from '../../base/types.ts';
import { type DpAction, TUNNEL_F_RAW } from '../../dpif/dpif.ts';
import { FLOW_NW_FRAG_ANY, FLOW_NW_FRAG_LATER, isMplsType, odpTransport } from '../../dpif/odp-keys.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import { isIpAny } from '../../openflow/field-prereq.ts';
import { PC_NO_RECV } from '../../openflow/messages.ts';
import { addToActionSet, executeActionSet } from './action-set.ts';
import { doXlateActions } from './actions.ts';
import { clearConntrack, clearTunnel, XlateCtx } from './context.ts';
import { finishFreezing, thawMetadata } from './freeze.ts';
import { mirrorIngress } from './mirror.ts';
import { outputNormal } from './port-output.ts';
import { processSpecial } from './special.ts';
import { lookupFromTable, reportTable } from './table.ts';
import { inheritCongestion, maskTunnel } from './tunnel.ts';
import type { FrozenState, XlateError, XlateIn, XlateOfpact, XlateOut, XPort } from './types.ts';

/**
 * Translation: what the tables of a bridge (and of those behind its patches) make of a packet. Pure: it reads the switch, and returns
 * datapath actions, the bits that decided, and the side effects that each packet of the flow has. (It also gives names to states that
 * it stops in; see recirc.ts.)
 */

/** Bits that every translation depends on. */
function initWildcards(ctx: XlateCtx): void {
  const { wc, flow } = ctx;
  wc.packetType = 0xffffffff;
  wc.inPort = 0xffffffff;
  wc.dlType = 0xffff;
  wc.recircId = 0xffffffff;
  if (isIpAny(flow)) wc.nwFrag |= FLOW_NW_FRAG_ANY | FLOW_NW_FRAG_LATER;
  maskTunnel(ctx);
}

const MACS_AT = FLOW_MEMBERS.dl_dst.offset;
const MACS_END = FLOW_MEMBERS.dl_src.offset + 6;

/** Drops from the mask what no packet of the megaflow can differ in, or what is no header. */
function finishWildcards(ctx: XlateCtx): void {
  const { wc } = ctx;
  const { flow } = ctx.xin;
  wc.metadata = 0n;
  wc.u8.fill(0, FLOW_MEMBERS.reg0.offset, FLOW_MEMBERS.reg15.offset + 4);
  wc.actsetOutput = 0;
  wc.conjId = 0;
  if (flow.packetType !== 0) wc.u8.fill(0, MACS_AT, MACS_END);
  const transport = odpTransport(ctx.flow);
  if (transport === 'icmp' || transport === 'icmpv6') {
    wc.tpSrc &= 0xff;
    wc.tpDst &= 0xff;
  }
  if (wc.vlanTci0) wc.vlanTci0 |= 0x1000;
  if (wc.vlanTci1) wc.vlanTci1 |= 0x1000;
  if (ctx.flow.nwFrag & FLOW_NW_FRAG_LATER) wc.tpSrc = wc.tpDst = 0;
  if (!isMplsType(flow.dlType)) wc.mplsLse0 = wc.mplsLse1 = wc.mplsLse2 = 0;
  if (!flow.vlanTpid0) wc.vlanTpid0 = wc.vlanTci0 = 0;
  if (!flow.vlanTpid1) wc.vlanTpid1 = wc.vlanTci1 = 0;
  if (!flow.tunDst && flow.tunIpv6Dst.every((b) => b === 0)) clearTunnel(wc);
}

/** Takes up a state that was frozen. False: it can't be. */
function thaw(ctx: XlateCtx, state: FrozenState): boolean {
  const { format } = ctx.xin.trace ?? {};
  if (ctx.xin.actions?.length) {
    ctx.reportError('Recirculation conflict (actions)!');
    ctx.error = 'recirculation_conflict';
    return false;
  }
  if (state.bridge.destroyed) {
    ctx.reportError('Frozen bridge no longer exists.');
    ctx.error = 'bridge_not_found';
    return false;
  }
  ctx.bridge = state.bridge;
  ctx.tableId = state.tableId;
  ctx.report('thaw', `Resuming from table ${state.tableId}`);
  ctx.conntracked = state.conntracked;
  if (!state.conntracked) clearConntrack(ctx.flow);
  thawMetadata(state.metadata, ctx.flow);
  ctx.flow.tunTable = ctx.wc.tunTable = state.bridge.tunTable;
  ctx.stack = [...state.stack];
  ctx.mirrors = state.mirrors;
  if (state.actionSet.length) {
    if (format) ctx.report('thaw', `Restoring action set: ${format.actions(state.actionSet)}`);
    addToActionSet(ctx, state.actionSet);
  }
  if (state.actions.length && format) ctx.report('thaw', `Restoring actions: ${format.actions(state.actions)}`);
  return true;
}

const CS_TRACKED = 0x20;

/** What is to be run: frozen actions, those of a packet-out, or the rule's that a lookup finds. */
function firstActions(ctx: XlateCtx): readonly XlateOfpact[] {
  const given = ctx.frozen?.actions.length ? ctx.frozen.actions : ctx.xin.actions;
  if (given) return given;
  const rule = lookupFromTable(ctx, ctx.flow.inPort, true, true);
  ctx.effects.push({ type: 'rule', rule });
  ctx.trace = reportTable(ctx, rule, ctx.tableId);
  ctx.rule = rule;
  ctx.ruleCookie = rule.cookie;
  return rule.actions;
}

/** A packet without an Ethernet header from a port that has none gets one, for the tables. */
function addDummyEthernet(ctx: XlateCtx, inPort: XPort | undefined): void {
  const { flow } = ctx;
  if (flow.packetType === 0 || inPort?.ptMode !== 'legacy_l3' || ctx.tableId !== 0) return;
  flow.packetType = 0;
  flow.u8.fill(0, MACS_AT, MACS_END);
  ctx.pendingEncap = true;
}

/** Runs the packet through the bridge. */
function run(ctx: XlateCtx): void {
  const { xin, frozen } = ctx;
  if (xin.flow.tunFlags & TUNNEL_F_RAW) {
    ctx.report('error', 'Invalid tunnel metadata');
    ctx.error = 'invalid_tunnel_metadata';
    return;
  }
  if (frozen) {
    const subs = ctx.report('thaw', 'thaw');
    let ok = false;
    ctx.nested(subs, () => {
      ok = thaw(ctx, frozen);
    });
    if (!ok) return;
  } else if (xin.flow.recircId) {
    ctx.reportError(`Recirculation context not found for ID ${xin.flow.recircId.toString(16)}`);
    ctx.error = 'no_recirculation_context';
    return;
  } else if (ctx.flow.ctState & CS_TRACKED) ctx.conntracked = true;
  // A thawed packet's input port may be beyond a patch; this is where it came into the switch.
  const inPort = xin.bridge.xport(xin.flow.inPort as OfpPort);
  if (inPort && !inPort.peer) ctx.xport = inPort;
  addDummyEthernet(ctx, inPort);
  if (!frozen && inPort?.tunnel) ctx.effects.push({ type: 'vport', rx: inPort });
  const actions = firstActions(ctx);
  if (!frozen && processSpecial(ctx, inPort)) mirrorIngress(ctx, outputNormal);
  else if (inPort?.bundle?.mirrorOut) {
    ctx.reportError(
      `dropping packet received on port ${inPort.bundle.name}, which is reserved exclusively for mirroring`,
    );
  } else if (!inheritCongestion(ctx)) ctx.error = 'congestion_drop';
  else if (inPort && inPort.config & PC_NO_RECV) ctx.dropReason = 'port_no_recv';
  else {
    if (!frozen) for (const meterId of inPort?.policingMeters ?? []) ctx.actions.push({ type: 'meter', meterId });
    mirrorIngress(ctx, outputNormal);
    ctx.run(actions, { last: true });
    if (ctx.error) return;
    if (!ctx.freezing) executeActionSet(ctx);
    if (ctx.freezing) finishFreezing(ctx);
  }
}

/** Tables that send a packet on and on fill the stack before any limit of Open vSwitch's is met: that is the packet's end, not the switch's. */
function runGuarded(ctx: XlateCtx): void {
  try {
    run(ctx);
  } catch (e) {
    if (!(e instanceof RangeError) || !e.message.includes('call stack')) throw e;
    ctx.reportError('over max translation depth');
    ctx.error = 'recursion_too_deep';
  }
}

/** What is not told as a failure, though the packet is dropped. */
const QUIET: ReadonlySet<XlateError> = new Set<XlateError>(['congestion_drop', 'forwarding_disabled']);

/** Most packets that the kernel queues for its software devices (net.core.netdev_max_backlog, unless changed). */
const MAX_OUTPUTS = 1000;
/** An action takes at least so many bytes in a netlink attribute, which holds 64 kB. */
const ACTION_BYTES = 8;

/** More than a datapath can be told, or does at once. */
function isTooMuch(actions: readonly DpAction[]): boolean {
  if (actions.length * ACTION_BYTES > 0xffff - 4) return true;
  if (actions.length <= MAX_OUTPUTS) return false;
  return actions.filter((a) => a.type === 'output' || a.type === 'lb_output').length > MAX_OUTPUTS;
}

export function xlateActions(xin: XlateIn): XlateOut {
  const ctx = new XlateCtx(xin, doXlateActions);
  initWildcards(ctx);
  const outer = ctx.trace;
  ctx.trace = ctx.report('bridge', `bridge("${xin.bridge.name}")`);
  runGuarded(ctx);
  ctx.trace = outer;
  const { error, actions } = ctx;
  if (isTooMuch(actions)) ctx.slow.add('action');
  // A trace of what failed shows all that was looked at.
  if (!error || !xin.trace) finishWildcards(ctx);
  // A clone at the end needs no copy.
  const final = actions.at(-1);
  if (final?.type === 'clone') actions.splice(-1, 1, ...final.actions);
  return {
    actions: error ? [] : actions,
    wc: ctx.wc,
    effects: ctx.effects,
    flow: ctx.flow,
    slow: error ? new Set() : ctx.slow,
    error: error && QUIET.has(error) ? undefined : error,
    recircs: ctx.recircs,
    avoidCaching: ctx.avoidCaching,
    dropReason: error ?? ctx.dropReason,
  };
}
