import type { OfpPort } from '../../base/types.ts';
import type { DpAction, DpUserdata } from '../../dpif/dpif.ts';
import type { OfpactOf } from '../../openflow/actions.ts';
import { OFPP_NONE } from '../ports.ts';
import type { XlateCtx } from './context.ts';

/** sample: some of the packets go to user space, for an exporter. */

const ALWAYS = 0xffffffff;
const NO_PORT = 0xffffffff;

/** Sends packets up with a probability of `probability` in 2^32-1, past the meter of the slow path if there is one. */
export function composeSample(ctx: XlateCtx, probability: number, userdata: DpUserdata): void {
  if (probability === 0) return;
  const meter = ctx.bridge.slowpathMeter;
  const userspace: DpAction = { type: 'userspace', userdata };
  if (probability === ALWAYS && meter === undefined) {
    ctx.actions.push(userspace);
    return;
  }
  const metered: DpAction[] = meter === undefined ? [] : [{ type: 'meter', meterId: meter }];
  ctx.actions.push({ type: 'sample', probability, actions: [...metered, userspace] });
}

export function sample(ctx: XlateCtx, a: OfpactOf<'sample'>): void {
  // Without an exporter nobody wants the packets.
  if (!ctx.bridge.ipfix) return;
  let outputOdpPort = NO_PORT;
  if (a.samplingPort !== OFPP_NONE && a.samplingPort !== ctx.flow.inPort) {
    const odpPort = ctx.bridge.xport(a.samplingPort as OfpPort)?.odpPort;
    if (odpPort === undefined) {
      ctx.reportError(`can't use unknown port ${a.samplingPort} in flow sample action`);
      return;
    }
    outputOdpPort = odpPort;
  }
  ctx.commit();
  const { probability, collectorSetId, obsDomainId, obsPointId, direction } = a;
  composeSample(ctx, ((probability << 16) | probability) >>> 0, {
    kind: 'flow_sample',
    probability,
    collectorSetId,
    obsDomainId,
    obsPointId,
    outputOdpPort,
    ...(direction === 'default' ? {} : { direction }),
  });
}
