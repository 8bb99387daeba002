/**
 * From packets to groups of one megaflow: extract, EMC, SMC and dpcls in passes over the batch, each over the packets that have no flow yet, then the
 * grouping. A packet that nothing knows goes up to the control thread.
 */
import {
  ARENA_HEADER,
  DROP_UPCALL_OVER_BUDGET,
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
  THREAD_ASKED,
  THREAD_BATCH_SEQ,
  THREAD_EMC_ASKED,
  THREAD_EMC_FOUND,
  THREAD_EMC_REST,
  THREAD_LISTS,
  THREAD_LOOK_FOUND,
  THREAD_LOOK_PKTS,
  THREAD_STAT_DPCLS,
  THREAD_STAT_EMC,
  THREAD_STAT_LOOKUPS,
  THREAD_STAT_LOST,
  THREAD_STAT_MISS,
  THREAD_STAT_RECIRC,
  THREAD_STAT_SMC,
  THREAD_TOUCHED,
  THREAD_UPCALLS_SPENT,
  UPCALL_MISS,
} from './gen/arena';
import { dpclsBatch, listFor, searched } from './dpcls';
import { emcAnswer, emcEntry, emcInsert } from './emc';
import { extract, extractAgain } from './extract';
import { hashKey } from './hash';
import { learnSimple } from './simple';
import { smcInsert, smcLookup, smcTouchBucket, smcTouchFlow } from './smc';
import { bump, drop, groups, groupTable, pktAt, thread } from './thread';
import { sendUpFinished } from './upcall';

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

/** Looks the packets without a flow up in the EMC; returns how many it knew. First all the entries are loaded, then they are compared. */
// @ts-ignore: decorator
@inline
export function emcPass(count: u32): u32 {
  for (let i: u32 = 0; i < count; i++) store<u32>(thread + i * 4, emcEntry(pktAt(i)), THREAD_LOOK_FOUND);
  let hits: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pktAt(i);
    if (load<u32>(pkt, PKT_FLOW)) continue;
    const flow = emcAnswer(load<u32>(thread + i * 4, THREAD_LOOK_FOUND), pkt);
    store<u32>(pkt, flow, PKT_FLOW);
    hits += flow != 0 ? 1 : 0;
  }
  bump(thread + THREAD_STAT_EMC, hits);
  return hits;
}

/** Packets after which the EMC is judged, the share of them that it must know (1/8), and how many it then is not asked for. It learns all the time. */
const EMC_WINDOW: u32 = 4096;
const EMC_WORTH_SHIFT: u32 = 3;
const EMC_REST: u32 = 65536;

/** The EMC, unless it rests: with more flows than fit it, asking costs more than it saves. Returns how many it knew. */
// @ts-ignore: decorator
@inline
function askEmc(count: u32): u32 {
  const rest = load<u32>(thread, THREAD_EMC_REST);
  if (rest) {
    store<u32>(thread, rest > count ? rest - count : 0, THREAD_EMC_REST);
    return 0;
  }
  const hits = emcPass(count);
  const asked = load<u32>(thread, THREAD_EMC_ASKED) + count;
  const found = load<u32>(thread, THREAD_EMC_FOUND) + hits;
  const over = asked >= EMC_WINDOW;
  if (over && found < asked >> EMC_WORTH_SHIFT) store<u32>(thread, EMC_REST, THREAD_EMC_REST);
  store<u32>(thread, over ? 0 : asked, THREAD_EMC_ASKED);
  store<u32>(thread, over ? 0 : found, THREAD_EMC_FOUND);
  return hits;
}

/** The signature cache, in passes: buckets are loaded, then the flows that may be meant, then it is asked. Returns how many it knew. */
// @ts-ignore: decorator
@inline
export function smcPass(count: u32): u32 {
  let touched: u32 = 0;
  for (let i: u32 = 0; i < count; i++) touched |= smcTouchBucket(pktAt(i));
  for (let i: u32 = 0; i < count; i++) touched |= smcTouchFlow(pktAt(i));
  store<u32>(thread, touched, THREAD_TOUCHED);
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

/** No list of subtables is at this offset. */
const ASKED_ALREADY: u32 = 1;

/** Asks dpcls for the packets without a flow, those with the same list of subtables together; what it has not got goes up. Returns how many it knew. */
// @ts-ignore: decorator
@inline
export function dpclsPass(count: u32): u32 {
  let n: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pktAt(i);
    if (load<u32>(pkt, PKT_FLOW)) continue;
    store<u32>(thread + n * 4, pkt, THREAD_ASKED);
    store<u32>(thread + n * 4, listFor(pkt), THREAD_LISTS);
    n++;
  }
  let hits: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const list = load<u32>(thread + i * 4, THREAD_LISTS);
    if (list != ASKED_ALREADY) hits += askDpcls(i, n, list);
  }
  remember(n);
  bump(thread + THREAD_STAT_DPCLS, hits);
  return hits;
}

/** Asks for those packets of THREAD_ASKED, from the `first` on, that have this list. */
// @ts-ignore: decorator
@inline
function askDpcls(first: u32, n: u32, list: u32): u32 {
  let m: u32 = 0;
  for (let i = first; i < n; i++) {
    if (load<u32>(thread + i * 4, THREAD_LISTS) != list) continue;
    store<u32>(thread + i * 4, ASKED_ALREADY, THREAD_LISTS);
    store<u32>(thread + m * 4, load<u32>(thread + i * 4, THREAD_ASKED), THREAD_LOOK_PKTS);
    m++;
  }
  const left = dpclsBatch(m, list);
  bump(thread + THREAD_STAT_LOOKUPS, searched);
  for (let i: u32 = 0; i < left; i++) miss(load<u32>(thread + i * 4, THREAD_LOOK_PKTS));
  return m - left;
}

/** Puts what dpcls was asked for, and found, into the caches. */
// @ts-ignore: decorator
@inline
function remember(n: u32): void {
  const smcOn = load<u32>(ARENA_HEADER + HEADER_SMC_ENABLE);
  for (let i: u32 = 0; i < n; i++) {
    const pkt = load<u32>(thread + i * 4, THREAD_ASKED);
    const flow = load<u32>(pkt, PKT_FLOW);
    if (!flow) continue;
    emcInsert(pkt, flow);
    if (smcOn) smcInsert(pkt, flow);
  }
}

function miss(pkt: u32): void {
  if (load<u32>(thread, THREAD_UPCALLS_SPENT)) {
    bump(thread + THREAD_STAT_LOST, 1);
    drop(DROP_UPCALL_OVER_BUDGET, 1);
  } else if (sendUpFinished(UPCALL_MISS, pkt, load<u32>(pkt + PKT_KEY, KEY_IN_PORT), 0, 0xffffffff)) {
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
  if (emcOn) known = askEmc(count);
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
