import type { OfpPort } from '../../base/types.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import { PC_NO_FWD, PC_NO_RECV } from '../../openflow/messages.ts';
import { OFPP_UNSET } from '../ports.ts';
import { executeActionSet } from './action-set.ts';
import { cloneActions } from './clone.ts';
import { clearConntrack, clearTunnel, tunnelBytes, type XlateCtx } from './context.ts';
import { finishFreezing } from './freeze.ts';
import { mirrorEgress } from './mirror.ts';
import { processSpecial } from './special.ts';
import { tableAction } from './table.ts';
import { tunnelOutput } from './tunnel.ts';
import { tunnelEnd } from './tunnel-end.ts';
import type { BondRecirc, XBundle, XPort } from './types.ts';
import { putTags, type Tags, translateOutput, VLAN_PCP } from './vlan.ts';

/** Output to one port: the datapath's, or a patch into another bridge. */

export interface OutputOptions {
  /** Nothing follows. */
  last?: boolean;
  /** A `trunc` precedes. */
  truncate?: boolean;
}

/** Sends the packet as it is now out of a port, or over a patch. `recirc`: the datapath chooses among a bond's members. */
export function outputToPort(
  ctx: XlateCtx,
  ofpPort: number,
  opts: OutputOptions = {},
  recirc?: BondRecirc | undefined,
): void {
  const port = ctx.bridge.xport(ofpPort as OfpPort);
  if (!mayOutput(ctx, port)) return;
  const { flow } = ctx;
  const { packetType } = flow;
  if (port.ptMode === 'legacy_l3' && packetType === PT_ETH) {
    // The port's packets have no Ethernet header.
    flow.packetType = (PT_NS_ETHERTYPE | flow.dlType) >>> 0;
    ctx.pendingEncap = false;
  }
  if (port.peer) {
    if (opts.truncate) ctx.reportError('Cannot truncate output to patch port');
    ctx.effects.push({ type: 'vport', tx: port, rx: port.peer });
    patchPortOutput(ctx, port.peer, opts.last ?? false);
    return;
  }
  const { nwTos } = flow;
  markQueue(ctx, port);
  if (port.odpPort !== undefined) {
    if (port.tunnel && !recirc) sendByTunnel(ctx, port, opts);
    else {
      ctx.commit();
      putOutput(ctx, port, recirc);
    }
  }
  mirrorEgress(ctx, port, outputNormal);
  flow.nwTos = nwTos;
  flow.packetType = packetType;
}

const PT_ETH = 0;
const PT_NS_ETHERTYPE = 0x10000;
const IP_DSCP_MASK = 0xfc;

/** False, and says why, when nothing can be sent by the port. */
function mayOutput(ctx: XlateCtx, port: XPort | undefined): port is XPort {
  if (!port) ctx.report('warn', 'Nonexistent output port');
  else if (port.config & PC_NO_FWD) ctx.report('detail', 'OFPPC_NO_FWD set, skipping output');
  else if (ctx.mirrorSnaplen !== 0 && port.odpPort === undefined)
    ctx.report('warn', 'Mirror truncate to ODPP_NONE, skipping output');
  else if (bothProtected(ctx, port)) ctx.report('warn', 'Flow is between protected ports, skipping output.');
  else if (!port.peer && (port.ptMode ?? 'legacy_l2') === 'legacy_l2' && ctx.flow.packetType !== PT_ETH)
    ctx.report('warn', 'Trying to send non-Ethernet packet through legacy L2 port. Dropping packet.');
  else return true;
  return false;
}

function bothProtected(ctx: XlateCtx, out: XPort): boolean {
  const from = ctx.bridge.xport(ctx.flow.inPort as OfpPort);
  return from?.bundle?.protected === true && out.bundle?.protected === true;
}

/** Gives the packet the DSCP of the port's queue that it is in. */
function markQueue({ flow, wc }: XlateCtx, port: XPort): void {
  if (!port.queueDscp?.size) return;
  wc.skbPriority = 0xffffffff;
  const dscp = port.queueDscp.get(flow.skbPriority);
  if (dscp === undefined) return;
  wc.nwTos |= IP_DSCP_MASK;
  flow.nwTos = (flow.nwTos & ~IP_DSCP_MASK) | dscp;
}

function sendByTunnel(ctx: XlateCtx, port: XPort, { last = false, truncate = false }: OutputOptions): void {
  tunnelOutput(ctx, port, {
    last,
    truncate,
    enter: patchPortOutput,
    output: () => ctx.actions.push({ type: 'output', port: port.odpPort! }),
  });
}

function putOutput(ctx: XlateCtx, port: XPort, recirc: BondRecirc | undefined): void {
  if (recirc?.lbOutput) ctx.actions.push({ type: 'lb_output', bondId: recirc.recircId });
  else if (recirc) {
    ctx.actions.push({ type: 'hash', algorithm: 'l4', basis: recirc.basis });
    ctx.actions.push({ type: 'recirc', recircId: recirc.recircId });
  } else {
    const end = tunnelEnd(ctx, port);
    if (end !== undefined) {
      ctx.actions.push({ type: 'tunnel_pop', port: end });
      return;
    }
    if (ctx.mirrorSnaplen > 0 && ctx.mirrorSnaplen < 0xffff) {
      ctx.actions.push({ type: 'trunc', maxLen: ctx.mirrorSnaplen });
      if (!ctx.support.trunc) ctx.slow.add('action');
    }
    ctx.actions.push({ type: 'output', port: port.odpPort! });
  }
}

const REGS = [FLOW_MEMBERS.reg0.offset, FLOW_MEMBERS.reg15.offset + 4] as const;

/** Goes on in the bridge at the other end of a patch; then everything is as before but for what went out. */
function patchPortOutput(ctx: XlateCtx, to: XPort, last: boolean): void {
  const { flow, bridge, actionSet, actionSetHasGroup, stack, wc, conntracked, wasMpls, mirrors } = ctx;
  const tunnelMask = tunnelBytes(wc);
  ctx.flow = flow.clone();
  ctx.flow.inPort = to.ofpPort;
  clearPipeline(ctx);
  clearTunnel(wc);
  ctx.flow.tunTable = wc.tunTable = to.bridge.tunTable;
  [ctx.bridge, ctx.actionSet, ctx.actionSetHasGroup, ctx.stack] = [to.bridge, [], false, []];
  if (to.bridge !== bridge) ctx.mirrors = 0;
  ctx.nested(ctx.report('bridge', `bridge("${to.bridge.name}")`), () => {
    if (!processSpecial(ctx, to) && !(to.config & PC_NO_RECV)) enterBridge(ctx, to, last);
  });
  Object.assign(ctx, { flow, bridge, actionSet, actionSetHasGroup, stack, conntracked, wasMpls });
  if (to.bridge !== bridge) ctx.mirrors = mirrors;
  wc.u8.set(tunnelMask, 0);
  wc.tunTable = flow.tunTable;
  // What happens beyond the patch neither ends nor fails this side. A loop ends all the same: depth counts on.
  ctx.exit = false;
  ctx.error = undefined;
}

/** Forgets what belongs to one bridge's pipeline. */
function clearPipeline(ctx: XlateCtx): void {
  const { flow } = ctx;
  clearTunnel(flow);
  flow.metadata = 0n;
  flow.u8.fill(0, REGS[0], REGS[1]);
  flow.actsetOutput = OFPP_UNSET;
  ctx.conntracked = false;
  clearConntrack(flow);
}

function enterBridge(ctx: XlateCtx, { ofpPort: inPort }: XPort, last: boolean): void {
  tableAction(ctx, { inPort, tableId: 0, mayPacketIn: true, honorMiss: true, last, runner: cloneActions });
  if (!ctx.freezing) executeActionSet(ctx);
  if (ctx.freezing) finishFreezing(ctx);
}

/** Sends to a Port of the database: with its VLAN rules, by the member of a bond that the packet belongs to. `tags`: inside the switch. */
export function outputNormal(ctx: XlateCtx, out: XBundle, tags: Tags): void {
  const { flow, wc } = ctx;
  if (out.vlanMode === 'dot1q-tunnel' && out.cvlans) wc.vlanTci1 = 0xffff;
  const outTags = translateOutput(out, tags);
  if (out.priorityTags !== 'no') outTags[0] = { ...outTags[0], pcp: flow.vlanTci0 & VLAN_PCP };
  const { port, recirc } = chooseMember(ctx, out, outTags[0].vid);
  if (!port) return;
  const saved = [flow.vlanTpid0, flow.vlanTci0, flow.vlanTpid1, flow.vlanTci1];
  putTags(flow, outTags, out.priorityTags === 'always');
  outputToPort(ctx, port.ofpPort, {}, recirc);
  [flow.vlanTpid0, flow.vlanTci0, flow.vlanTpid1, flow.vlanTci1] = saved;
}

/** No port: nothing to send by. `recirc`: the datapath chooses. */
function chooseMember(
  ctx: XlateCtx,
  out: XBundle,
  vid: number,
): { port: XPort | undefined; recirc?: BondRecirc | undefined } {
  const { bond } = out;
  if (!bond) return { port: out.ports[0] };
  const recirc = bond.recirculation();
  const { port, bucket } = bond.chooseMember(ctx.flow, recirc ? undefined : ctx.wc, vid);
  if (port && !recirc && bucket !== undefined) ctx.effects.push({ type: 'bond', bond, bucket });
  return { port, recirc };
}
