import { Flow } from '../../flow/flow.ts';
import { FLOW_MEMBERS } from '../../gen/flow.ts';
import type { OfpactOf } from '../../openflow/actions.ts';
import { OFPR_ACTION, OFPR_EXPLICIT_MISS } from '../../openflow/messages.ts';
import type { XlateCtx } from './context.ts';

/** Packet-ins by an action. */

const METADATA_END = FLOW_MEMBERS.dl_dst.offset;

/** The part of a flow that is not in the packet. */
function metadataOf(flow: Flow): Flow {
  const metadata = new Flow();
  metadata.u8.set(flow.u8.subarray(0, METADATA_END));
  return metadata;
}

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
  const shown = reason === OFPR_ACTION && ctx.rule?.isTableMiss ? OFPR_EXPLICIT_MISS : reason;
  const metadata = metadataOf(ctx.flow);
  const userdata = opts.userdata ? Buffer.from(opts.userdata).toString('hex') : '';
  const state = `${ctx.bridge.name}/${ctx.tableId}/${Buffer.from(metadata.u8.subarray(0, METADATA_END)).toString('latin1')}/${userdata}`;
  ctx.actions.push({
    type: 'userspace',
    userdata: {
      kind: 'controller',
      reason: shown,
      controllerId,
      maxLen,
      tableId: ctx.tableId,
      cookie: ctx.ruleCookie,
      metadata,
      bridge: ctx.bridge.name,
      dontSend: ctx.xin.dontSend ?? false,
      recircId: ctx.xin.recircId(state),
      ...(opts.userdata ? { userdata: opts.userdata } : {}),
      ...(opts.meterId === undefined ? {} : { meterId: opts.meterId }),
    },
  });
}

export function controllerOfpact(ctx: XlateCtx, a: OfpactOf<'controller'>): void {
  controllerAction(ctx, a.maxLen, a.reason, a.controllerId, { userdata: a.userdata, meterId: a.meterId });
}
