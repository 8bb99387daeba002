/**
 * Exact match cache: a short key → its megaflow. Two places for each hash; 64 bytes an entry. An entry names the flow's generation, so a record
 * that was freed and used again never answers for its predecessor.
 */
import {
  ARENA_HEADER,
  EMC_ENTRIES,
  EMC_ENTRY__SIZE,
  EMC_ENTRY_FLOW,
  EMC_ENTRY_GEN,
  EMC_ENTRY_HASH,
  EMC_ENTRY_KEY,
  FLOW_DEAD,
  FLOW_GEN,
  HEADER_EMC_INSERT_MIN,
  PKT_HASH,
  PKT_KEY,
  PKT_LONG,
  THREAD_RNG,
} from './gen/arena';
import { emc, flowAt, thread } from './thread';

// @ts-ignore: decorator
@inline
function place(hash: u32, way: u32): u32 {
  const index = way ? (hash >> 13) ^ (hash << 3) : hash;
  return emc + (index & (EMC_ENTRIES - 1)) * EMC_ENTRY__SIZE;
}

// @ts-ignore: decorator
@inline
function sameKey(entry: u32, pkt: u32): bool {
  const a = entry + EMC_ENTRY_KEY;
  const b = pkt + PKT_KEY;
  let diff = v128.xor(v128.load(a), v128.load(b));
  diff = v128.or(diff, v128.xor(v128.load(a, 16), v128.load(b, 16)));
  diff = v128.or(diff, v128.xor(v128.load(a, 32), v128.load(b, 32)));
  return !v128.any_true(diff);
}

/** Of the packet's two places, the one with its hash; else the second. */
// @ts-ignore: decorator
@inline
export function emcEntry(pkt: u32): u32 {
  const hash = load<u32>(pkt, PKT_HASH);
  const first = place(hash, 0);
  return select<u32>(first, place(hash, 1), load<u32>(first, EMC_ENTRY_HASH) == hash);
}

/** Flow index of the packet's key, when it is this entry's; or 0. Long keys are not here. */
// @ts-ignore: decorator
@inline
export function emcAnswer(entry: u32, pkt: u32): u32 {
  if (load<u32>(entry, EMC_ENTRY_HASH) != load<u32>(pkt, PKT_HASH)) return 0;
  if (load<u16>(pkt, PKT_LONG) || !sameKey(entry, pkt)) return 0;
  const flow = load<u32>(entry, EMC_ENTRY_FLOW);
  const record = flowAt(flow);
  // DEAD first: when it is the record's next flow that lives, its generation was written before.
  if (atomic.load<u32>(record, FLOW_DEAD) || load<u32>(record, FLOW_GEN) != load<u32>(entry, EMC_ENTRY_GEN)) return 0;
  return flow;
}

/** xorshift32 */
// @ts-ignore: decorator
@inline
export function random(): u32 {
  let x = load<u32>(thread, THREAD_RNG);
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  store<u32>(thread, x, THREAD_RNG);
  return x;
}

// @ts-ignore: decorator
@inline
function stale(entry: u32): bool {
  const record = flowAt(load<u32>(entry, EMC_ENTRY_FLOW));
  return load<u32>(record, FLOW_GEN) != load<u32>(entry, EMC_ENTRY_GEN) || load<u32>(record, FLOW_DEAD) != 0;
}

/** Remembers, with the configured probability, that the packet's key belongs to `flow`. */
// @ts-ignore: decorator
@inline
export function emcInsert(pkt: u32, flow: u32): void {
  const min = load<u32>(ARENA_HEADER + HEADER_EMC_INSERT_MIN);
  if (min == 0 || load<u16>(pkt, PKT_LONG) || random() > min) return;
  insert(pkt, flow);
}

function insert(pkt: u32, flow: u32): void {
  const hash = load<u32>(pkt, PKT_HASH);
  let entry = emcEntry(pkt);
  // The place that a lookup would be given, when the hash is there already; else one that is free, else either.
  if (load<u32>(entry, EMC_ENTRY_HASH) != hash) entry = place(hash, 0);
  if (load<u32>(entry, EMC_ENTRY_HASH) != hash && !stale(entry)) {
    const other = place(hash, 1);
    if (stale(other) || load<u32>(thread, THREAD_RNG) & 1) entry = other;
  }
  store<u32>(entry, hash, EMC_ENTRY_HASH);
  store<u32>(entry, flow, EMC_ENTRY_FLOW);
  store<u32>(entry, load<u32>(flowAt(flow), FLOW_GEN), EMC_ENTRY_GEN);
  memory.copy(entry + EMC_ENTRY_KEY, pkt + PKT_KEY, 48);
}
