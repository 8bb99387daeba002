import type { XlateCtx } from './context.ts';
import type { XPort } from './types.ts';

/** Packets that the switch itself is meant to get: they take part in no forwarding. */

const ETH_TYPE_LACP = 0x8809;

/** Takes a packet that came in by `port`, if it is one of those; true when it was. */
export function processSpecial(ctx: XlateCtx, port: XPort | undefined): boolean {
  if (!port?.bundle?.lacp || ctx.flow.dlType !== ETH_TYPE_LACP) return false;
  ctx.slow.add('lacp');
  if (ctx.xin.packet) ctx.effects.push({ type: 'lacp', port, packet: ctx.xin.packet.slice() });
  return true;
}
