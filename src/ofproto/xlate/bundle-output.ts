import type { XlateCtx } from './context.ts';
import { outputToPort } from './port-output.ts';
import type { BondRecirc, XBundle, XPort } from './types.ts';
import { putTags, type Tags, translateOutput, VLAN_PCP } from './vlan.ts';

/** Output to a Port of the database: with its VLAN rules, and by the member of a bond that the packet belongs to. */

/** `tags`: of the packet inside the switch. */
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
