/**
 * Datapath classifier: tuple space search over the subtables of a packet's input port, in the order in which the control thread ranks them, by their hits. What
 * is found beyond the first ones of a long list goes into the signature cache, which is asked before the rest is searched. The control thread writes the
 * tables; a reader sees a bucket's entry when its flow index is stored, last.
 */
import {
  ARENA_HEADER,
  BUCKET_FLOWS,
  BUCKET_HASHES,
  BUCKET_NEXT,
  BUCKET_WAYS,
  BUCKET__SIZE,
  FLOW_DEAD,
  FLOW_KEY,
  FLOW_SUBTABLE,
  HEADER_HASH_SEED,
  KEY_IN_PORT,
  KEY_RECIRC_ID,
  PKT_FLOW,
  PKT_KEY,
  PKT_LONG,
  PORT_DPCLS,
  PORT_DPCLS_RECIRC,
  PORTS_MAX,
  SUBTABLE_BUCKET_MASK,
  SUBTABLE_BUCKETS,
  SUBTABLE_LONG,
  SUBTABLE_MASKS,
  SUBTABLE_NWORDS,
  SUBTABLE_WORDS,
  THREAD_LOOK_FOUND,
  THREAD_LOOK_HASHES,
  THREAD_LOOK_PKTS,
  THREAD_MASKED,
  THREAD_TOUCHED,
} from './gen/arena';
import { lengthenKey } from './extract';
import { finish, mix } from './hash';
import { smcInsert, smcLookup, smcTouchBucket, smcTouchFlow } from './smc';
import { flowAt, portAt, subtableHitsAt, thread } from './thread';

/** Subtables that the last `dpclsBatch` looked at for the packets that it found a flow for, together. */
export let searched: u32 = 0;

/** Lists with more subtables than this are long; of these, so many are searched before the signature cache is asked. */
const LONG_LIST: u32 = 32;
const SHALLOW: u32 = 4;

/** What is found now goes into the signature cache. */
let deep: bool = false;

// @ts-ignore: decorator
@inline
function maskedWord(subtable: u32, key: u32, i: u32): u64 {
  const word: u32 = load<u8>(subtable + i, SUBTABLE_WORDS);
  return load<u64>(key + word * 8) & load<u64>(subtable + i * 8, SUBTABLE_MASKS);
}

/**
 * Hash of the packet's key under the subtable's mask; `flowHash` gives the same for a flow. Two chains run beside each other. The masked words
 * stay in THREAD_MASKED.
 */
// @ts-ignore: decorator
@inline
function hashMasked(subtable: u32, key: u32): u32 {
  const n = load<u32>(subtable, SUBTABLE_NWORDS);
  let a = load<u64>(ARENA_HEADER + HEADER_HASH_SEED);
  let b: u64 = 0;
  let i: u32 = 0;
  for (; i + 1 < n; i += 2) {
    const even = maskedWord(subtable, key, i);
    const odd = maskedWord(subtable, key, i + 1);
    store<u64>(thread + i * 8, even, THREAD_MASKED);
    store<u64>(thread + i * 8 + 8, odd, THREAD_MASKED);
    a = mix(a, even);
    b = mix(b, odd);
  }
  if (i < n) {
    const last = maskedWord(subtable, key, i);
    store<u64>(thread + i * 8, last, THREAD_MASKED);
    a = mix(a, last);
  }
  return finish(a ^ rotl<u64>(b, 29));
}

/** True when the flow has the words that `hashMasked` left in THREAD_MASKED. */
// @ts-ignore: decorator
@inline
function equalHashed(flow: u32, n: u32): bool {
  let diff: u64 = 0;
  for (let i: u32 = 0; i < n; i++) diff |= load<u64>(flow + i * 8, FLOW_KEY) ^ load<u64>(thread + i * 8, THREAD_MASKED);
  return diff == 0;
}

// @ts-ignore: decorator
@inline
function equalMasked(flow: u32, subtable: u32, key: u32): bool {
  const n = load<u32>(subtable, SUBTABLE_NWORDS);
  for (let i: u32 = 0; i < n; i++) {
    if (load<u64>(flow + i * 8, FLOW_KEY) != maskedWord(subtable, key, i)) return false;
  }
  return true;
}

/** True when the megaflow lives and matches the packet. */
// @ts-ignore: decorator
@inline
export function flowMatches(flow: u32, pkt: u32): bool {
  const record = flowAt(flow);
  if (atomic.load<u32>(record, FLOW_DEAD)) return false;
  const subtable = load<u32>(record, FLOW_SUBTABLE);
  if (load<u32>(subtable, SUBTABLE_LONG)) lengthenKey(pkt);
  return equalMasked(record, subtable, pkt + PKT_KEY);
}

function searchSubtable(subtable: u32, pkt: u32): u32 {
  if (load<u32>(subtable, SUBTABLE_LONG)) lengthenKey(pkt);
  const key = pkt + PKT_KEY;
  const hash = hashMasked(subtable, key);
  const n = load<u32>(subtable, SUBTABLE_NWORDS);
  let bucket = load<u32>(subtable, SUBTABLE_BUCKETS) + (hash & load<u32>(subtable, SUBTABLE_BUCKET_MASK)) * BUCKET__SIZE;
  do {
    for (let way: u32 = 0; way < BUCKET_WAYS; way++) {
      if (load<u32>(bucket + way * 4, BUCKET_HASHES) != hash) continue;
      const flow = atomic.load<u32>(bucket + way * 4, BUCKET_FLOWS);
      if (flow == 0) continue;
      const record = flowAt(flow);
      if (!load<u32>(record, FLOW_DEAD) && equalHashed(record, n)) return flow;
    }
    bucket = load<u32>(bucket, BUCKET_NEXT);
  } while (bucket);
  return 0;
}

/** The subtables that a packet may match: those of its port, packets that were recirculated apart. Ports out of range share the last record. */
// @ts-ignore: decorator
@inline
export function listFor(pkt: u32): u32 {
  const port = portAt(min(load<u32>(pkt + PKT_KEY, KEY_IN_PORT), PORTS_MAX - 1));
  if (load<u32>(pkt + PKT_KEY, KEY_RECIRC_ID)) return atomic.load<u32>(port, PORT_DPCLS_RECIRC);
  return atomic.load<u32>(port, PORT_DPCLS);
}

// @ts-ignore: decorator
@inline
function bucketOf(subtable: u32, hash: u32): u32 {
  return load<u32>(subtable, SUBTABLE_BUCKETS) + (hash & load<u32>(subtable, SUBTABLE_BUCKET_MASK)) * BUCKET__SIZE;
}

/** The ways of a bucket whose hash it is, a bit each. */
// @ts-ignore: decorator
@inline
function waysOf(bucket: u32, hash: u32): u32 {
  const like = i32x4.splat(hash);
  const low: u32 = i32x4.bitmask(i32x4.eq(v128.load(bucket, BUCKET_HASHES), like));
  const high: u32 = i32x4.bitmask(i32x4.eq(v128.load(bucket, BUCKET_HASHES + 16), like));
  return (low | (high << 4)) & ((1 << BUCKET_WAYS) - 1);
}

/** The first flow with this hash, which may yet be another's, or 0. */
// @ts-ignore: decorator
@inline
function candidate(first: u32, hash: u32): u32 {
  let bucket = first;
  do {
    let ways = waysOf(bucket, hash);
    while (ways) {
      const flow = atomic.load<u32>(bucket + ctz(ways) * 4, BUCKET_FLOWS);
      if (flow) return flow;
      ways &= ways - 1;
    }
    bucket = load<u32>(bucket, BUCKET_NEXT);
  } while (bucket);
  return 0;
}

/** Hashes the listed packets and loads the bucket of each. */
// @ts-ignore: decorator
@inline
function hashPass(subtable: u32, n: u32): void {
  let touched: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const look = thread + i * 4;
    const hash = hashMasked(subtable, load<u32>(look, THREAD_LOOK_PKTS) + PKT_KEY);
    store<u32>(look, hash, THREAD_LOOK_HASHES);
    touched |= load<u32>(bucketOf(subtable, hash));
  }
  store<u32>(thread, touched, THREAD_TOUCHED);
}

/** Finds the flow that each listed packet may have, and loads its record. */
// @ts-ignore: decorator
@inline
function candidatePass(subtable: u32, n: u32): u32 {
  let touched: u32 = 0;
  let some: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const look = thread + i * 4;
    const hash = load<u32>(look, THREAD_LOOK_HASHES);
    const flow = candidate(bucketOf(subtable, hash), hash);
    store<u32>(look, flow, THREAD_LOOK_FOUND);
    some |= flow;
    touched |= load<u32>(flowAt(flow), FLOW_KEY);
  }
  store<u32>(thread, touched, THREAD_TOUCHED);
  return some;
}

// @ts-ignore: decorator
@inline
function found(pkt: u32, flow: u32): void {
  store<u32>(pkt, flow, PKT_FLOW);
  if (deep) smcInsert(pkt, flow);
}

/** Gives each listed packet its flow of this subtable; those without stay in the list. Returns how many. */
// @ts-ignore: decorator
@inline
function comparePass(subtable: u32, n: u32): u32 {
  let left: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const pkt = load<u32>(thread + i * 4, THREAD_LOOK_PKTS);
    let flow = load<u32>(thread + i * 4, THREAD_LOOK_FOUND);
    // Another flow's hash, or one that is being deleted: there may be a second of the hash.
    if (flow && !alike(flow, subtable, pkt)) flow = searchSubtable(subtable, pkt);
    if (flow) found(pkt, flow);
    else store<u32>(thread + left++ * 4, pkt, THREAD_LOOK_PKTS);
  }
  return left;
}

// @ts-ignore: decorator
@inline
function alike(flow: u32, subtable: u32, pkt: u32): bool {
  const record = flowAt(flow);
  return !atomic.load<u32>(record, FLOW_DEAD) && equalMasked(record, subtable, pkt + PKT_KEY);
}

/** There is nothing to overlap with. */
// @ts-ignore: decorator
@inline
function searchOne(subtable: u32): u32 {
  const pkt = load<u32>(thread, THREAD_LOOK_PKTS);
  const flow = searchSubtable(subtable, pkt);
  if (!flow) return 1;
  found(pkt, flow);
  return 0;
}

// @ts-ignore: decorator
@inline
function searchPasses(subtable: u32, n: u32): u32 {
  hashPass(subtable, n);
  return candidatePass(subtable, n) ? comparePass(subtable, n) : n;
}

/** One subtable, in passes: what one packet's search must wait for from the memory is under way for the others. */
function searchBatch(subtable: u32, n: u32): u32 {
  if (load<u32>(subtable, SUBTABLE_LONG)) for (let i: u32 = 0; i < n; i++) lengthenKey(load<u32>(thread + i * 4, THREAD_LOOK_PKTS));
  const left = n == 1 ? searchOne(subtable) : searchPasses(subtable, n);
  if (left != n) countHits(subtable, n - left);
  return left;
}

// @ts-ignore: decorator
@inline
function countHits(subtable: u32, n: u32): void {
  const hits = subtableHitsAt(subtable);
  store<u32>(hits, load<u32>(hits) + n);
}

/** The signature cache's answers for the listed packets, each counted as its subtable's; those without stay in the list. Returns how many. */
function askSignatures(n: u32): u32 {
  let touched: u32 = 0;
  for (let i: u32 = 0; i < n; i++) touched |= smcTouchBucket(load<u32>(thread + i * 4, THREAD_LOOK_PKTS));
  for (let i: u32 = 0; i < n; i++) touched |= smcTouchFlow(load<u32>(thread + i * 4, THREAD_LOOK_PKTS));
  store<u32>(thread, touched, THREAD_TOUCHED);
  let left: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const pkt = load<u32>(thread + i * 4, THREAD_LOOK_PKTS);
    const flow = smcLookup(pkt);
    if (!flow) {
      store<u32>(thread + left++ * 4, pkt, THREAD_LOOK_PKTS);
      continue;
    }
    store<u32>(pkt, flow, PKT_FLOW);
    countHits(load<u32>(flowAt(flow), FLOW_SUBTABLE), 1);
  }
  return left;
}

/**
 * Gives the `n` packets of THREAD_LOOK_PKTS, which have the same list of subtables, their megaflows (PKT_FLOW). Those that have none stay there, in order;
 * returns how many.
 */
export function dpclsBatch(n: u32, list: u32): u32 {
  searched = 0;
  if (!list) return n;
  const count = load<u32>(list);
  let left = n;
  deep = false;
  for (let i: u32 = 1; i <= count && left != 0; i++) {
    const before = left;
    if (i == SHALLOW + 1 && count > LONG_LIST) {
      left = askSignatures(left);
      deep = true;
    }
    left = searchBatch(load<u32>(list + i * 4), left);
    searched += i * (before - left);
  }
  return left;
}

/** Flow index of the megaflow that matches one packet, or 0. */
export function dpclsLookup(pkt: u32): u32 {
  store<u32>(thread, pkt, THREAD_LOOK_PKTS);
  return dpclsBatch(1, listFor(pkt)) ? 0 : load<u32>(pkt, PKT_FLOW);
}

/** Hash of a megaflow's masked words: what `hashMasked` gives for every packet that it matches. For the control thread. */
export function flowHash(flow: u32): u32 {
  const record = flowAt(flow);
  const n = load<u32>(load<u32>(record, FLOW_SUBTABLE), SUBTABLE_NWORDS);
  let a = load<u64>(ARENA_HEADER + HEADER_HASH_SEED);
  let b: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const word = load<u64>(record + i * 8, FLOW_KEY);
    if (i & 1) b = mix(b, word);
    else a = mix(a, word);
  }
  return finish(a ^ rotl<u64>(b, 29));
}
