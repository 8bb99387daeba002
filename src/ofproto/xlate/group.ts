import { hash2Words, hashBigint, hashBytes } from '../../base/hash.ts';
import type { OfpPort } from '../../base/types.ts';
import { hashSymmetricL4, maskHashFields } from '../../flow/flow-hash.ts';
import { getField, maskFieldBits } from '../../openflow/field.ts';
import { isFieldPrereqOk } from '../../openflow/field-prereq.ts';
import { formatPort } from '../../openflow/port.ts';
import { type Bucket, type Group, HASH_ALG_L4, OFPG_ANY, type Selection } from '../group.ts';
import { OFPP_CONTROLLER, OFPP_NONE } from '../ports.ts';
import { actionSetToList } from './action-set.ts';
import type { XlateCtx } from './context.ts';
import { finishFreezing, triggerFreeze, triggerRecirculateWithHash } from './freeze.ts';
import { resourcesLeft } from './table.ts';

/** Groups: which buckets a packet goes to, and what they do to it. */

/** How many groups may watch one another in a row. */
const MAX_LIVENESS_RECURSION = 128;

function bucketIsAlive(ctx: XlateCtx, group: Group, b: Bucket, depth: number): boolean {
  if (depth >= MAX_LIVENESS_RECURSION) {
    ctx.reportError(`bucket chaining exceeded ${MAX_LIVENESS_RECURSION} links`);
    return false;
  }
  if (group.type === 'select' && b.weight === 0) return false;
  if (b.watchPort === OFPP_NONE && b.watchGroup === OFPG_ANY) return true;
  return watchedPortIsAlive(ctx, b.watchPort) || watchedGroupIsAlive(ctx, b.watchGroup, depth);
}

function watchedPortIsAlive({ bridge }: XlateCtx, port: number): boolean {
  if (port === OFPP_NONE) return false;
  return port === OFPP_CONTROLLER ? bridge.alive : bridge.xport(port as OfpPort)?.live === true;
}

function watchedGroupIsAlive(ctx: XlateCtx, id: number, depth: number): boolean {
  const group = id === OFPG_ANY ? undefined : ctx.bridge.group(id);
  return group !== undefined && firstLiveBucket(ctx, group, depth + 1) !== undefined;
}

function reportNotLive(ctx: XlateCtx, b: Bucket): void {
  const port = b.watchPort === OFPP_NONE ? [] : [`port ${formatPort(b.watchPort as OfpPort)}`];
  const group = b.watchGroup === OFPG_ANY ? [] : [`port ${b.watchGroup}`];
  ctx.report('detail', `bucket ${b.bucketId}: not live due to ${[...port, ...group].join(' and ')}`);
}

function firstLiveBucket(ctx: XlateCtx, group: Group, depth: number): Bucket | undefined {
  for (const b of group.buckets) {
    if (bucketIsAlive(ctx, group, b, depth)) return b;
    reportNotLive(ctx, b);
  }
  return undefined;
}

/** The live bucket with the highest score (highest random weight): when one dies, only its packets move. */
function bestLiveBucket(ctx: XlateCtx, group: Group, basis: number): Bucket | undefined {
  let best: Bucket | undefined;
  let bestScore = 0;
  for (const b of group.buckets) {
    if (!bucketIsAlive(ctx, group, b, 0)) {
      reportNotLive(ctx, b);
      continue;
    }
    const score = ((hash2Words(b.bucketId, basis) & 0xffff) * b.weight) >>> 0;
    if (score >= bestScore) {
      best = b;
      bestScore = score;
    }
    ctx.report('detail', `bucket ${b.bucketId}: score ${score}`);
  }
  return best;
}

function pickByDefault(ctx: XlateCtx, group: Group): Bucket | undefined {
  maskHashFields(ctx.flow, ctx.wc, 'symmetric_l4');
  return bestLiveBucket(ctx, group, hashSymmetricL4(ctx.flow, 0));
}

function pickByFields(ctx: XlateCtx, group: Group): Bucket | undefined {
  const { flow, wc } = ctx;
  let basis = hashBigint(group.props.selectionMethodParam);
  for (const { field, mask } of group.props.fields) {
    if (!isFieldPrereqOk(flow, field, wc)) continue;
    const value = getField(flow, field).map((byte, i) => byte & mask[i]);
    basis = hashBytes(value, basis);
    maskFieldBits(wc, field, mask);
  }
  return bestLiveBucket(ctx, group, basis);
}

/** By the datapath's hash; without one yet, the packet goes round to get it. */
function pickByDpHash(ctx: XlateCtx, group: Group, s: Selection & { method: 'dp_hash' }): Bucket | undefined {
  const { dpHash } = ctx.flow;
  if (!dpHash) {
    triggerRecirculateWithHash(ctx, s.alg > ctx.support.maxHashAlg ? HASH_ALG_L4 : s.alg, s.basis);
    return undefined;
  }
  ctx.wc.dpHash = (ctx.wc.dpHash | s.hashMask) >>> 0;
  for (let i = 0; i <= s.hashMask; i++) {
    const b = s.hashMap[((dpHash + i) & s.hashMask) >>> 0];
    if (bucketIsAlive(ctx, group, b, 0)) return b;
  }
  return undefined;
}

function pickBucket(ctx: XlateCtx, group: Group): Bucket | undefined {
  if (group.type === 'ff') return firstLiveBucket(ctx, group, 0);
  // The choice may depend on headers that are behind the labels still.
  if (ctx.wasMpls) {
    triggerFreeze(ctx);
    return undefined;
  }
  const { selection } = group;
  if (selection.method === 'dp_hash') return pickByDpHash(ctx, group, selection);
  return selection.method === 'hash' ? pickByFields(ctx, group) : pickByDefault(ctx, group);
}

/** Runs a bucket's actions on a copy of the packet. */
function runBucket(ctx: XlateCtx, b: Bucket, last: boolean): void {
  const { flow, wasMpls } = ctx;
  ctx.flow = flow.clone();
  ctx.nested(ctx.report('bucket', `bucket ${b.bucketId}`), () => {
    ctx.depth++;
    ctx.run(actionSetToList(b.actions), { last, bucket: true });
    ctx.depth--;
    if (ctx.freezing) finishFreezing(ctx);
  });
  ctx.flow = flow;
  ctx.wasMpls = wasMpls;
  // The bucket's end is not that of what follows the group, and its packet's faults are its own.
  ctx.exit = false;
  if (ctx.error === 'too_many_mpls_labels' || ctx.error === 'unsupported_packet_type') ctx.error = undefined;
}

/** False: there is no such group, and the list of actions ends here. */
export function groupAction(ctx: XlateCtx, groupId: number, last: boolean): boolean {
  if (!resourcesLeft(ctx)) return true;
  const group = ctx.bridge.group(groupId);
  if (!group) {
    ctx.report('warn', `output to nonexistent group ${groupId}`);
    return false;
  }
  if (group.type === 'all' || group.type === 'indirect') {
    group.buckets.forEach((b, i) => {
      runBucket(ctx, b, last && i === group.buckets.length - 1);
    });
    ctx.effects.push({ type: 'group', group, bucket: undefined });
    return true;
  }
  const bucket = pickBucket(ctx, group);
  if (!bucket) ctx.report('detail', 'no live bucket');
  else {
    ctx.report('detail', `using bucket ${bucket.bucketId}`);
    runBucket(ctx, bucket, last);
    ctx.effects.push({ type: 'group', group, bucket });
  }
  return true;
}
