import type { OfpPort } from '../../base/types.ts';
import type { Flow } from '../../flow/flow.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import { PC_NO_FWD, PC_NO_RECV } from '../../openflow/messages.ts';
import { OFPP_UNSET } from '../ports.ts';
import { executeActionSet } from './action-set.ts';
import type { XlateCtx } from './context.ts';
import { tableAction } from './table.ts';
import type { XPort } from './types.ts';

/** Output to one port: the datapath's, or a patch into another bridge. */

/** Sends the packet as it is now out of a port, or over a patch. `truncLen`: at most that many bytes of it. */
export function outputToPort(ctx: XlateCtx, ofpPort: number, truncLen?: number): void {
  const port = ctx.bridge.xport(ofpPort as OfpPort);
  if (!port) {
    ctx.report('warn', 'Nonexistent output port');
    return;
  }
  if (port.config & PC_NO_FWD) {
    ctx.report('detail', 'OFPPC_NO_FWD set, skipping output');
    return;
  }
  if (bothProtected(ctx, port)) {
    ctx.report('warn', 'Flow is between protected ports, skipping output.');
    return;
  }
  if (port.peer) {
    if (truncLen !== undefined) ctx.reportError('Cannot truncate output to patch port');
    patchPortOutput(ctx, port, port.peer);
    return;
  }
  if (port.odpPort === undefined) return;
  if (truncLen !== undefined) ctx.actions.push({ type: 'trunc', maxLen: truncLen });
  ctx.commit();
  ctx.actions.push({ type: 'output', port: port.odpPort });
}

function bothProtected(ctx: XlateCtx, out: XPort): boolean {
  const from = ctx.bridge.xport(ctx.flow.inPort as OfpPort);
  return from?.bundle?.protected === true && out.bundle?.protected === true;
}

const TUNNEL_END = FLOW_MEMBERS.tun_metadata.offset + FLOW_MEMBERS.tun_metadata.size;
const REGS = [FLOW_MEMBERS.reg0.offset, FLOW_MEMBERS.reg15.offset + 4] as const;

/** Forgets what belongs to one bridge's pipeline: tunnel, metadata, registers. */
function clearPipelineFields(flow: Flow): void {
  flow.u8.fill(0, 0, TUNNEL_END);
  flow.metadata = 0n;
  flow.u8.fill(0, REGS[0], REGS[1]);
  flow.actsetOutput = OFPP_UNSET;
}

/** Goes on in the bridge at the other end of a patch; then everything is as before but for what went out. */
function patchPortOutput(ctx: XlateCtx, from: XPort, to: XPort): void {
  const { flow, bridge, actionSet, actionSetHasGroup, stack, wc } = ctx;
  const tunnelMask = wc.u8.slice(0, TUNNEL_END);
  ctx.flow = flow.clone();
  ctx.flow.inPort = to.ofpPort;
  clearPipelineFields(ctx.flow);
  wc.u8.fill(0, 0, TUNNEL_END);
  [ctx.bridge, ctx.actionSet, ctx.actionSetHasGroup, ctx.stack] = [to.bridge, [], false, []];
  ctx.effects.push({ type: 'patch', tx: from, rx: to });
  ctx.nested(ctx.report('bridge', `bridge("${to.bridge.name}")`), () => {
    if (to.config & PC_NO_RECV) return;
    tableAction(ctx, to.ofpPort, 0, true, true);
    executeActionSet(ctx);
  });
  [ctx.flow, ctx.bridge, ctx.actionSet, ctx.actionSetHasGroup, ctx.stack] = [
    flow,
    bridge,
    actionSet,
    actionSetHasGroup,
    stack,
  ];
  wc.u8.set(tunnelMask, 0);
  // What happens beyond the patch neither ends nor fails this side. A loop ends all the same: depth counts on.
  ctx.exit = false;
  ctx.error = undefined;
}
