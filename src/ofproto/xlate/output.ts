import type { OfpPort } from '../../base/types.ts';
import type { OfpactOf } from '../../openflow/actions.ts';
import { OFPR_ACTION, OFPR_ACTION_SET, OFPR_GROUP, OFPR_PACKET_OUT, PC_NO_FLOOD } from '../../openflow/messages.ts';
import { formatPort } from '../../openflow/port.ts';
import {
  OFPP_ALL,
  OFPP_CONTROLLER,
  OFPP_FLOOD,
  OFPP_IN_PORT,
  OFPP_MAX,
  OFPP_NONE,
  OFPP_NORMAL,
  OFPP_TABLE,
} from '../ports.ts';
import type { RunOptions, XlateCtx } from './context.ts';
import { controllerAction } from './controller.ts';
import { maskSubfield, subfieldNumber } from './fields.ts';
import { normal } from './normal.ts';
import { outputToPort } from './port-output.ts';
import { tableAction } from './table.ts';

/** Output to ports and reserved ports. */

export interface OutputActionOptions extends RunOptions {
  /** Of a packet for the controllers. */
  maxLen?: number;
  /** OFPP_TABLE may send the packet to the controllers. */
  mayPacketIn?: boolean;
  truncate?: boolean;
}

export function outputAction(ctx: XlateCtx, port: number, opts: OutputActionOptions): void {
  const { last = false, truncate = false } = opts;
  switch (port) {
    case OFPP_IN_PORT:
      outputToPort(ctx, ctx.flow.inPort, { last, truncate });
      break;
    case OFPP_TABLE:
      tableAction(ctx, {
        inPort: ctx.flow.inPort,
        tableId: 0,
        mayPacketIn: opts.mayPacketIn ?? false,
        honorMiss: true,
      });
      break;
    case OFPP_NORMAL:
      normal(ctx);
      break;
    case OFPP_FLOOD:
    case OFPP_ALL:
      flood(ctx, port === OFPP_ALL, last);
      break;
    case OFPP_CONTROLLER:
      controllerAction(ctx, opts.maxLen ?? 0, controllerReason(ctx, opts.bucket ?? false), 0);
      break;
    case OFPP_NONE:
      break;
    default:
      if (port === ctx.flow.inPort) ctx.reportInfo('skipping output to input port');
      else outputToPort(ctx, port, { last, truncate });
  }
}

function controllerReason(ctx: XlateCtx, bucket: boolean): number {
  if (ctx.xin.inPacketOut) return OFPR_PACKET_OUT;
  if (bucket) return OFPR_GROUP;
  return ctx.inActionSet ? OFPR_ACTION_SET : OFPR_ACTION;
}

function flood(ctx: XlateCtx, all: boolean, last: boolean): void {
  const ports = [...ctx.bridge.xports()].filter(
    (port) => port.ofpPort !== ctx.flow.inPort && (all || !(port.config & PC_NO_FLOOD)),
  );
  ports.forEach((port, i) => {
    outputToPort(ctx, port.ofpPort, { last: last && i === ports.length - 1 });
  });
}

export function outputReg(ctx: XlateCtx, a: OfpactOf<'output_reg'>, opts: RunOptions): void {
  const port = subfieldNumber(ctx.flow, a.src);
  if (port > 0xffff) {
    ctx.report('warn', `output port ${port} is out of range`);
    return;
  }
  ctx.report('detail', `output port is ${port}`);
  maskSubfield(ctx, a.src);
  outputAction(ctx, widenPort(port), { ...opts, maxLen: a.maxLen });
}

/** A register holds a 16-bit port; the reserved ones stand for their 32-bit forms. */
const widenPort = (port: number): number => (port >= OFPP_MAX ? (port | 0xffff0000) >>> 0 : port);

/** What a packet can't be cut for. */
const NO_TRUNC: ReadonlySet<number> = new Set([
  OFPP_TABLE,
  OFPP_NORMAL,
  OFPP_FLOOD,
  OFPP_ALL,
  OFPP_CONTROLLER,
  OFPP_NONE,
]);

export function outputTrunc(ctx: XlateCtx, a: OfpactOf<'output_trunc'>, opts: RunOptions): void {
  const { port, maxLen } = a;
  if (NO_TRUNC.has(port)) {
    ctx.report('warn', `output_trunc does not support port: ${formatPort(port)}`);
  } else if (port === ctx.flow.inPort) ctx.reportInfo('skipping output to input port');
  else if (ctx.bridge.xport(port as OfpPort)?.odpPort === undefined) {
    ctx.reportError(`output_trunc does not support patch port ${formatPort(port)}`);
  } else {
    ctx.actions.push({ type: 'trunc', maxLen });
    outputAction(ctx, port, { ...opts, truncate: true });
    if (!ctx.support.trunc) ctx.slow.add('action');
  }
}

/** The datapath's priority of a queue is its number. */
export function enqueue(ctx: XlateCtx, a: OfpactOf<'enqueue'>, { last = false }: RunOptions): void {
  const { flow } = ctx;
  ctx.wc.skbPriority = 0xffffffff;
  if (a.port === flow.inPort) return;
  const { skbPriority } = flow;
  flow.skbPriority = a.queue;
  outputToPort(ctx, a.port === OFPP_IN_PORT ? flow.inPort : a.port, { last });
  flow.skbPriority = skbPriority;
}

export function setQueue({ flow, wc }: XlateCtx, a: OfpactOf<'set_queue'>): void {
  wc.skbPriority = 0xffffffff;
  flow.skbPriority = a.queue;
}

/** Back to the queue that the packet came in by. */
export function popQueue(ctx: XlateCtx): void {
  const { flow, wc } = ctx;
  const { skbPriority } = ctx.xin.flow;
  wc.skbPriority = 0xffffffff;
  if (flow.skbPriority === skbPriority) return;
  flow.skbPriority = skbPriority;
  ctx.report('detail', `queue = ${skbPriority ? `0x${skbPriority.toString(16)}` : '0'}`);
}
