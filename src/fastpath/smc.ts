/**
 * Signature match cache: 16 bits of a packet's hash → megaflow, SMC_WAYS to a cache line. An answer is always compared with the packet by the
 * megaflow's own mask, so a stale or colliding entry costs a compare and is never wrong.
 */
import {
  FLOW_DEAD,
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

/** Flow index, or 0. */
export function smcLookup(pkt: u32): u32 {
  const hash = load<u32>(pkt, PKT_HASH);
  const bucket = bucketAt(hash);
  const sig = <u16>(hash >> 16);
  let hits: u32 = i16x8.bitmask(i16x8.eq(v128.load(bucket, SMC_BUCKET_SIGS), i16x8.splat(sig)));
  if (load<u16>(bucket + 16, SMC_BUCKET_SIGS) == sig) hits |= 0x100;
  if (load<u16>(bucket + 18, SMC_BUCKET_SIGS) == sig) hits |= 0x200;
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
