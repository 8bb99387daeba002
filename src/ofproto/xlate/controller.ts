import type { DpAction } from '../../dpif/dpif.ts';
import type { OfpactOf } from '../../openflow/actions.ts';
import { OFPR_ACTION, OFPR_EXPLICIT_MISS } from '../../openflow/messages.ts';
import type { XlateCtx } from './context.ts';
import { allocRecircId, controllerUserdata, snapshot, triggerFreeze } from './freeze.ts';

/** Packet-ins by an action. */

export interface ControllerOptions {
  userdata?: Uint8Array | undefined;
  meterId?: number | undefined;
}

/** Sends the packet as it is now to the controllers whose id is `controllerId`. */
export function controllerAction(
  ctx: XlateCtx,
  maxLen: number,
  reason: number,
  controllerId: number,
  opts: ControllerOptions = {},
): void {
  ctx.commit();
  const { userdata } = opts;
  const { tableId } = ctx;
  const userspace: DpAction = {
    type: 'userspace',
    userdata: controllerUserdata(ctx, {
      reason: reason === OFPR_ACTION && ctx.rule?.isTableMiss ? OFPR_EXPLICIT_MISS : reason,
      controllerId,
      maxLen,
      tableId,
      dontSend: !ctx.sideEffects,
      continuation: false,
      recircId: allocRecircId(ctx, snapshot(ctx, tableId, { userdata })),
      userdata,
    }),
  };
  const meterId = opts.meterId === undefined ? undefined : ctx.bridge.meterProviderId(opts.meterId);
  const meter = meterId ?? ctx.bridge.controllerMeter;
  if (meter === undefined) ctx.actions.push(userspace);
  else
    ctx.actions.push({
      type: 'sample',
      probability: 0xffffffff,
      actions: [{ type: 'meter', meterId: meter }, userspace],
    });
}

/** False: the pipeline pauses here until a controller resumes it. */
export function controllerOfpact(ctx: XlateCtx, a: OfpactOf<'controller'>): boolean {
  if (a.pause) {
    ctx.pause = a;
    triggerFreeze(ctx);
    return false;
  }
  controllerAction(ctx, a.maxLen, a.reason, a.controllerId, { userdata: a.userdata, meterId: a.meterId });
  return true;
}
