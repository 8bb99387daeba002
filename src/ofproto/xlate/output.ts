import { OFPR_ACTION, OFPR_ACTION_SET, OFPR_PACKET_OUT, PC_NO_FLOOD } from '../../openflow/messages.ts';
import { OFPP_ALL, OFPP_CONTROLLER, OFPP_FLOOD, OFPP_IN_PORT, OFPP_NONE, OFPP_NORMAL, OFPP_TABLE } from '../ports.ts';
import type { XlateCtx } from './context.ts';
import { controllerAction } from './controller.ts';
import { normal } from './normal.ts';
import { outputToPort } from './port-output.ts';
import { tableAction } from './table.ts';

/** Output to ports, reserved ports and over patches. */

export function outputAction(ctx: XlateCtx, port: number, maxLen: number, mayPacketIn: boolean, trunc = false): void {
  switch (port) {
    case OFPP_IN_PORT:
      outputToPort(ctx, ctx.flow.inPort, trunc ? maxLen : undefined);
      break;
    case OFPP_TABLE:
      tableAction(ctx, ctx.flow.inPort, 0, mayPacketIn, true);
      break;
    case OFPP_NORMAL:
      normal(ctx);
      break;
    case OFPP_FLOOD:
    case OFPP_ALL:
      flood(ctx, port === OFPP_ALL);
      break;
    case OFPP_CONTROLLER:
      controllerAction(ctx, maxLen, controllerReason(ctx), 0);
      break;
    case OFPP_NONE:
      break;
    default:
      if (port === ctx.flow.inPort) ctx.report('warn', 'skipping output to input port');
      else outputToPort(ctx, port, trunc ? maxLen : undefined);
  }
}

function controllerReason(ctx: XlateCtx): number {
  if (ctx.xin.inPacketOut) return OFPR_PACKET_OUT;
  return ctx.inActionSet ? OFPR_ACTION_SET : OFPR_ACTION;
}

function flood(ctx: XlateCtx, all: boolean): void {
  for (const port of [...ctx.bridge.xports()])
    if (port.ofpPort !== ctx.flow.inPort && (all || !(port.config & PC_NO_FLOOD))) outputToPort(ctx, port.ofpPort);
}
