/**
 * From packets to groups of one megaflow: extract, EMC, SMC and dpcls in passes over the batch, each over the packets that have no flow yet, then the
 * grouping. A packet that nothing knows goes up to the control thread.
 */
import {
  ARENA_HEADER,
  DROP_UPCALL_RING_FULL,
  GROUP__SIZE,
  GROUP_BYTES,
  GROUP_COUNT,
  GROUP_FLOW,
  GROUP_HASH__SIZE,
  GROUP_HASH_GROUP,
  GROUP_HASH_STAMP,
  GROUP_HEAD,
  GROUP_TABLE_SIZE,
  GROUP_TAIL,
  GROUP_TCP_FLAGS,
  HEADER_EMC_INSERT_MIN,
  HEADER_SMC_ENABLE,
  KEY_IN_PORT,
  KEY_TCP_FLAGS,
  PKT_FLOW,
  PKT_KEY,
  PKT_LEN,
  PKT_NEXT,
  PKT_RSS,
  THREAD_BATCH_SEQ,
  THREAD_STAT_DPCLS,
  THREAD_STAT_EMC,
  THREAD_STAT_LOOKUPS,
  THREAD_STAT_LOST,
  THREAD_STAT_MISS,
  THREAD_STAT_RECIRC,
  THREAD_STAT_SMC,
  UPCALL_MISS,
} from './gen/arena';
import { dpclsLookup, searched } from './dpcls';
import { emcInsert, emcLookup } from './emc';
import { extract, extractAgain } from './extract';
import { hashKey } from './hash';
import { learnSimple } from './simple';
import { smcInsert, smcLookup } from './smc';
import { bump, drop, groups, groupTable, pktAt, thread } from './thread';
import { sendUp } from './upcall';

/** No packet of the batch has a flow. */
// @ts-ignore: decorator
@inline
export function startBatch(count: u32): void {
  for (let i: u32 = 0; i < count; i++) store<u32>(pktAt(i), 0, PKT_FLOW);
}

/** Extracts and hashes the packets of the batch that have no flow yet. */
// @ts-ignore: decorator
@inline
export function parseBatch(count: u32, inPort: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pktAt(i);
    if (load<u32>(pkt, PKT_FLOW)) continue;
    store<u64>(pkt, 0, PKT_RSS); // and FLAGS
    store<u64>(pkt, 0, PKT_NEXT); // NEXT and TRUNC
    extract(pkt, inPort);
    hashKey(pkt);
  }
}

/** Looks the packets without a flow up in the EMC; returns how many it knew. */
// @ts-ignore: decorator
@inline
export function emcPass(count: u32): u32 {
  let hits: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pktAt(i);
    if (load<u32>(pkt, PKT_FLOW)) continue;
    const flow = emcLookup(pkt);
    store<u32>(pkt, flow, PKT_FLOW);
    hits += flow != 0 ? 1 : 0;
  }
  bump(thread + THREAD_STAT_EMC, hits);
  return hits;
}

// @ts-ignore: decorator
@inline
export function smcPass(count: u32): u32 {
  let hits: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pktAt(i);
    if (load<u32>(pkt, PKT_FLOW)) continue;
    const flow = smcLookup(pkt);
    if (!flow) continue;
    store<u32>(pkt, flow, PKT_FLOW);
    emcInsert(pkt, flow);
    hits++;
  }
  bump(thread + THREAD_STAT_SMC, hits);
  return hits;
}

// @ts-ignore: decorator
@inline
export function dpclsPass(count: u32): u32 {
  const smcOn = load<u32>(ARENA_HEADER + HEADER_SMC_ENABLE);
  let hits: u32 = 0;
  let lookups: u64 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pktAt(i);
    if (load<u32>(pkt, PKT_FLOW)) continue;
    const flow = dpclsLookup(pkt);
    if (!flow) {
      miss(pkt);
      continue;
    }
    hits++;
    lookups += searched;
    store<u32>(pkt, flow, PKT_FLOW);
    emcInsert(pkt, flow);
    if (smcOn) smcInsert(pkt, flow);
  }
  bump(thread + THREAD_STAT_DPCLS, hits);
  bump(thread + THREAD_STAT_LOOKUPS, lookups);
  return hits;
}

function miss(pkt: u32): void {
  if (sendUp(UPCALL_MISS, pkt, load<u32>(pkt + PKT_KEY, KEY_IN_PORT), 0, load<u32>(pkt, PKT_LEN))) {
    bump(thread + THREAD_STAT_MISS, 1);
  } else {
    bump(thread + THREAD_STAT_LOST, 1);
    drop(DROP_UPCALL_RING_FULL, 1);
  }
}

/** Puts every packet with a flow into the group of that flow; returns the number of groups. Order within a flow is kept. */
// @ts-ignore: decorator
@inline
export function groupByFlow(count: u32): u32 {
  const stamp = load<u32>(thread, THREAD_BATCH_SEQ) + 1;
  store<u32>(thread, stamp, THREAD_BATCH_SEQ);
  let n: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pktAt(i);
    const flow = load<u32>(pkt, PKT_FLOW);
    if (!flow) continue;
    const slot = groupTable + (flow & (GROUP_TABLE_SIZE - 1)) * GROUP_HASH__SIZE;
    let group = load<u32>(slot, GROUP_HASH_GROUP);
    if (load<u32>(slot, GROUP_HASH_STAMP) == stamp && load<u32>(group, GROUP_FLOW) == flow) {
      store<u32>(load<u32>(group, GROUP_TAIL), pkt, PKT_NEXT);
    } else {
      group = groups + n * GROUP__SIZE;
      n++;
      store<u32>(slot, stamp, GROUP_HASH_STAMP);
      store<u32>(slot, group, GROUP_HASH_GROUP);
      store<u32>(group, flow, GROUP_FLOW);
      store<u32>(group, pkt, GROUP_HEAD);
      store<u64>(group, 0, GROUP_COUNT); // COUNT and BYTES
      store<u32>(group, 0, GROUP_TCP_FLAGS);
    }
    store<u32>(group, pkt, GROUP_TAIL);
    store<u32>(group, load<u32>(group, GROUP_COUNT) + 1, GROUP_COUNT);
    store<u32>(group, load<u32>(group, GROUP_BYTES) + load<u32>(pkt, PKT_LEN), GROUP_BYTES);
    store<u32>(group, load<u32>(group, GROUP_TCP_FLAGS) | load<u16>(pkt + PKT_KEY, KEY_TCP_FLAGS), GROUP_TCP_FLAGS);
  }
  return n;
}

/** Looks the packets that are parsed and have no flow yet up in all that is on; what nothing knows goes up. */
function lookUpParsed(count: u32): void {
  const emcOn = load<u32>(ARENA_HEADER + HEADER_EMC_INSERT_MIN);
  const smcOn = load<u32>(ARENA_HEADER + HEADER_SMC_ENABLE);
  let known: u32 = 0;
  if (emcOn) known = emcPass(count);
  if (known < count && smcOn) known += smcPass(count);
  if (known < count) dpclsPass(count);
}

/** Finds the megaflows of the packets that are not simple: all of them when `simple` is 0. */
export function lookUp(count: u32, inPort: u32, simple: u32): void {
  if (!simple) startBatch(count);
  parseBatch(count, inPort);
  lookUpParsed(count);
  if (!simple) learnSimple(inPort);
}

/** Finds the megaflows of packets that were recirculated: their port, recirculation and metadata stand in their keys. */
export function lookUpRecirculated(count: u32): void {
  startBatch(count);
  for (let i: u32 = 0; i < count; i++) {
    extractAgain(pktAt(i));
    hashKey(pktAt(i));
  }
  lookUpParsed(count);
  bump(thread + THREAD_STAT_RECIRC, count);
}
