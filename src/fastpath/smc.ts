/**
 * Signature match cache: 16 bits of a packet's hash → megaflow, SMC_WAYS to a cache line. An answer is always compared with the packet by the
 * megaflow's own mask, so a stale or colliding entry costs a compare and is never wrong.
 */
import {
  FLOW_DEAD,
  FLOW_KEY,
  PKT_HASH,
  SMC_BUCKET__SIZE,
  SMC_BUCKET_FLOWS,
  SMC_BUCKET_SIGS,
  SMC_BUCKETS,
  SMC_WAYS,
} from './gen/arena';
import { flowMatches } from './dpcls';
import { flowAt, smc } from './thread';

// @ts-ignore: decorator
@inline
function bucketAt(hash: u32): u32 {
  return smc + (hash & (SMC_BUCKETS - 1)) * SMC_BUCKET__SIZE;
}

/** The ways of the bucket that have the signature, a bit each. */
// @ts-ignore: decorator
@inline
function waysOf(bucket: u32, sig: u16): u32 {
  let hits: u32 = i16x8.bitmask(i16x8.eq(v128.load(bucket, SMC_BUCKET_SIGS), i16x8.splat(sig)));
  if (load<u16>(bucket + 16, SMC_BUCKET_SIGS) == sig) hits |= 0x100;
  if (load<u16>(bucket + 18, SMC_BUCKET_SIGS) == sig) hits |= 0x200;
  return hits;
}

/** Loads the packet's bucket: what comes of it means nothing. */
// @ts-ignore: decorator
@inline
export function smcTouchBucket(pkt: u32): u32 {
  return load<u32>(bucketAt(load<u32>(pkt, PKT_HASH)));
}

/** Loads the flow that the packet may have: what comes of it means nothing. */
// @ts-ignore: decorator
@inline
export function smcTouchFlow(pkt: u32): u32 {
  const hash = load<u32>(pkt, PKT_HASH);
  const bucket = bucketAt(hash);
  const ways = waysOf(bucket, <u16>(hash >> 16));
  // Without one: flow 0's record, which is always there.
  const flow = ways ? load<u32>(bucket + ctz(ways) * 4, SMC_BUCKET_FLOWS) : 0;
  return load<u32>(flowAt(flow), FLOW_KEY);
}

/** Flow index, or 0. */
export function smcLookup(pkt: u32): u32 {
  const hash = load<u32>(pkt, PKT_HASH);
  const bucket = bucketAt(hash);
  let hits = waysOf(bucket, <u16>(hash >> 16));
  while (hits) {
    const way = ctz(hits);
    hits &= hits - 1;
    const flow = load<u32>(bucket + way * 4, SMC_BUCKET_FLOWS);
    if (flow != 0 && flowMatches(flow, pkt)) return flow;
  }
  return 0;
}

/** Remembers `flow` for the packet's hash: in its own way, an empty or dead one, else the one that the hash picks. */
export function smcInsert(pkt: u32, flow: u32): void {
  const hash = load<u32>(pkt, PKT_HASH);
  const bucket = bucketAt(hash);
  const sig = <u16>(hash >> 16);
  let free = (hash >> 13) % SMC_WAYS;
  for (let way: u32 = 0; way < SMC_WAYS; way++) {
    const other = load<u32>(bucket + way * 4, SMC_BUCKET_FLOWS);
    if (other == 0 || load<u32>(flowAt(other), FLOW_DEAD) || load<u16>(bucket + way * 2, SMC_BUCKET_SIGS) == sig) {
      free = way;
      break;
    }
  }
  store<u16>(bucket + free * 2, sig, SMC_BUCKET_SIGS);
  store<u32>(bucket + free * 4, flow, SMC_BUCKET_FLOWS);
}
