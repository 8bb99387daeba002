/**
 * The datapath of one thread: packets of a burst go through extract, EMC, SMC and dpcls in passes over the batch, are grouped by megaflow, run
 * through its actions, and leave. The TypeScript around it calls `run` again and again; nothing in here calls back.
 */
import {
  ACTIONS_F_MASK,
  ARENA_HEADER,
  BATCH_MAX,
  DROP_UPCALL_RING_FULL,
  EPOCH_OFFLINE,
  FLOW_ACTIONS,
  FLOW_STATS_BYTES,
  FLOW_STATS_PACKETS,
  FLOW_STATS_TCP_FLAGS,
  FLOW_STATS_USED_MS,
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
  HEADER_EPOCH,
  HEADER_SMC_ENABLE,
  KEY_TCP_FLAGS,
  PKT_DATA,
  PKT_FLOW,
  PKT_KEY,
  PKT_LEN,
  PKT_NEXT,
  PKT_RECIRC,
  PKT_TRUNC,
  PORT_STATS_RX_BYTES,
  PORT_STATS_RX_PACKETS,
  PORTS_MAX,
  RXQ__SIZE,
  RXQ_MISSED,
  RXQ_PACKETS,
  RXQ_PORT,
  RXQ_SLOT,
  RXQ_VRING,
  THREAD_BATCH_SEQ,
  THREAD_CALLS_PENDING,
  THREAD_EPOCH,
  THREAD_LAST_RXQ,
  THREAD_NDIRTY,
  THREAD_NOW_MS,
  THREAD_NRXQS,
  THREAD_PASSES,
  THREAD_STAT_BATCHES,
  THREAD_STAT_BUSY_ITERATIONS,
  THREAD_STAT_DPCLS,
  THREAD_STAT_EMC,
  THREAD_STAT_ITERATIONS,
  THREAD_STAT_LOOKUPS,
  THREAD_STAT_LOST,
  THREAD_STAT_MISS,
  THREAD_STAT_RX,
  THREAD_STAT_SMC,
  THREAD_STOP,
  THREAD_UPCALL_HEAD,
  THREAD_UPCALL_TAIL,
  TX_BATCH_COUNT,
  UPCALL_BACKLOG,
  UPCALL_MISS,
} from './gen/arena';
import { resetActions, runActions } from './actions';
import { dpclsLookup, flowHash, searched } from './dpcls';
import { emcInsert, emcLookup } from './emc';
import { extract } from './extract';
import { hashKey } from './hash';
import { flushOutputs } from './output';
import { learnSimple, simpleFlow, simplePass } from './simple';
import { smcInsert, smcLookup } from './smc';
import {
  bump,
  drop,
  flowAt,
  flowStatsAt,
  groups,
  groupTable,
  initThread,
  pktAt,
  portStatsAt,
  rxqs,
  sparePkt,
  thread,
  threadIndex,
  txBatchAt,
} from './thread';
import { notifyControl, sendUp } from './upcall';

export { flowHash, initThread };

/** Extracts and hashes the packets of the batch that have no flow yet. */
// @ts-ignore: decorator
@inline
function parseBatch(count: u32, inPort: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pktAt(i);
    if (load<u32>(pkt, PKT_FLOW)) continue;
    store<u64>(pkt, 0, PKT_RECIRC);
    store<u64>(pkt, 0, PKT_NEXT); // NEXT and TRUNC
    extract(pkt, inPort);
    hashKey(pkt);
  }
}

// @ts-ignore: decorator
@inline
function batchBytes(count: u32): u64 {
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < count; i++) bytes += load<u32>(pktAt(i), PKT_LEN);
  return bytes;
}

/** Looks the packets without a flow up in the EMC; returns how many it knew. */
// @ts-ignore: decorator
@inline
function emcPass(count: u32): u32 {
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
function smcPass(count: u32): u32 {
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
function dpclsPass(count: u32, inPort: u32, smcOn: u32): void {
  let hits: u64 = 0;
  let lookups: u64 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const pkt = pktAt(i);
    if (load<u32>(pkt, PKT_FLOW)) continue;
    const flow = dpclsLookup(pkt, inPort);
    if (!flow) {
      miss(pkt, inPort);
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
}

function miss(pkt: u32, inPort: u32): void {
  if (sendUp(UPCALL_MISS, pkt, inPort, 0, load<u32>(pkt, PKT_LEN))) {
    bump(thread + THREAD_STAT_MISS, 1);
  } else {
    bump(thread + THREAD_STAT_LOST, 1);
    drop(DROP_UPCALL_RING_FULL, 1);
  }
}

/** Puts every packet with a flow into the group of that flow; returns the number of groups. Order within a flow is kept. */
// @ts-ignore: decorator
@inline
function groupByFlow(count: u32): u32 {
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

// @ts-ignore: decorator
@inline
function countFlow(group: u32): void {
  const stats = flowStatsAt(load<u32>(group, GROUP_FLOW));
  bump(stats + FLOW_STATS_PACKETS, load<u32>(group, GROUP_COUNT));
  bump(stats + FLOW_STATS_BYTES, load<u32>(group, GROUP_BYTES));
  store<u64>(stats, load<u64>(thread, THREAD_NOW_MS), FLOW_STATS_USED_MS);
  store<u32>(stats, load<u32>(stats, FLOW_STATS_TCP_FLAGS) | load<u32>(group, GROUP_TCP_FLAGS), FLOW_STATS_TCP_FLAGS);
}

/** Finds the megaflows of the packets that are not simple: all of them when `simple` is 0. */
function lookUp(count: u32, inPort: u32, simple: u32): void {
  const emcOn = load<u32>(ARENA_HEADER + HEADER_EMC_INSERT_MIN);
  const smcOn = load<u32>(ARENA_HEADER + HEADER_SMC_ENABLE);
  if (!simple) for (let i: u32 = 0; i < count; i++) store<u32>(pktAt(i), 0, PKT_FLOW);
  parseBatch(count, inPort);
  let known: u32 = 0;
  if (emcOn) known = emcPass(count);
  if (known < count && smcOn) known += smcPass(count);
  if (known < count) dpclsPass(count, inPort, smcOn);
  if (!simple) learnSimple(inPort);
}

/** Forwards the `count` packets that lie in the batch and came in by `inPort`. */
export function process(count: u32, inPort: u32): void {
  const stats = portStatsAt(inPort);
  bump(stats + PORT_STATS_RX_PACKETS, count);
  bump(stats + PORT_STATS_RX_BYTES, batchBytes(count));
  bump(thread + THREAD_STAT_RX, count);
  bump(thread + THREAD_STAT_BATCHES, 1);
  const simple = simpleFlow(inPort);
  if (!simple || simplePass(count, simple) < count) lookUp(count, inPort, simple);
  const nGroups = groupByFlow(count);
  for (let i: u32 = 0; i < nGroups; i++) {
    const group = groups + i * GROUP__SIZE;
    countFlow(group);
    runActions(flowActions(load<u32>(group, GROUP_FLOW)), load<u32>(group, GROUP_HEAD));
  }
  flushOutputs();
  notifyControl();
}

/** Says that this thread holds no offset of a flow, a table or an action list any more. */
// @ts-ignore: decorator
@inline
function quiesce(): void {
  atomic.store<u32>(thread, atomic.load<u32>(ARENA_HEADER + HEADER_EPOCH), THREAD_EPOCH);
}

/** True while the control thread has much to answer: queues with unknown flows wait, in the guest's ring, and the others go on. */
// @ts-ignore: decorator
@inline
function upcallsBehind(): bool {
  return load<u32>(thread, THREAD_UPCALL_HEAD) - atomic.load<u32>(thread, THREAD_UPCALL_TAIL) > UPCALL_BACKLOG;
}

/**
 * Polls all rxqs `iterations` times. Returns early when a guest waits for an interrupt or the control thread wants the word. The result is the
 * number of iterations that found packets.
 */
export function run(iterations: u32): u32 {
  let busy: u32 = 0;
  let done: u32 = 0;
  const n = load<u32>(thread, THREAD_NRXQS);
  while (done < iterations) {
    done++;
    quiesce();
    let received: u32 = 0;
    for (let i: u32 = 0; i < n; i++) {
      const rxq = rxqs + i * RXQ__SIZE;
      if (load<u32>(rxq, RXQ_MISSED) && upcallsBehind()) continue;
      store<u32>(thread, i, THREAD_LAST_RXQ);
      const count = call_indirect<u32>(load<u32>(rxq, RXQ_SLOT), threadIndex, load<u32>(rxq, RXQ_VRING));
      if (!count) continue;
      received += count;
      store<u32>(rxq, load<u32>(rxq, RXQ_PACKETS) + count, RXQ_PACKETS);
      const misses = load<u64>(thread, THREAD_STAT_MISS) + load<u64>(thread, THREAD_STAT_LOST);
      process(count, load<u32>(rxq, RXQ_PORT));
      const after = load<u64>(thread, THREAD_STAT_MISS) + load<u64>(thread, THREAD_STAT_LOST);
      store<u32>(rxq, after != misses ? 1 : 0, RXQ_MISSED);
    }
    if (received) busy++;
    if (load<u32>(thread, THREAD_CALLS_PENDING) || atomic.load<u32>(thread, THREAD_STOP)) break;
  }
  bump(thread + THREAD_STAT_ITERATIONS, done);
  bump(thread + THREAD_STAT_BUSY_ITERATIONS, busy);
  store<u32>(thread, done, THREAD_PASSES);
  return busy;
}

/** This thread looks at nothing until its next `run` or `process`: it need not be waited for. */
export function goOffline(): void {
  atomic.store<u32>(thread, EPOCH_OFFLINE, THREAD_EPOCH);
}

export function goOnline(): void {
  quiesce();
}

/** Megaflow of the packet in the spare record, by dpcls alone and counted nowhere: 0 when there is none. Extracts first. */
export function lookupSpare(inPort: u32): u32 {
  const pkt = sparePkt();
  prepareSpare(inPort);
  return dpclsLookup(pkt, inPort);
}

/** Extracts the packet in the spare record (PKT_DATA, PKT_LEN). */
export function prepareSpare(inPort: u32): void {
  const pkt = sparePkt();
  store<u64>(pkt, 0, PKT_RECIRC);
  store<u64>(pkt, 0, PKT_NEXT);
  extract(pkt, inPort);
  hashKey(pkt);
}

/** Counts the packet in the spare record on `flow`, as if it had come by the fast path. */
export function countSpare(flow: u32): void {
  const pkt = sparePkt();
  const stats = flowStatsAt(flow);
  bump(stats + FLOW_STATS_PACKETS, 1);
  bump(stats + FLOW_STATS_BYTES, load<u32>(pkt, PKT_LEN));
  store<u64>(stats, load<u64>(thread, THREAD_NOW_MS), FLOW_STATS_USED_MS);
  const flags: u32 = load<u16>(pkt + PKT_KEY, KEY_TCP_FLAGS);
  store<u32>(stats, load<u32>(stats, FLOW_STATS_TCP_FLAGS) | flags, FLOW_STATS_TCP_FLAGS);
}

/** Runs the action list at `actions` on the packet in the spare record, which was prepared. */
export function executeSpare(actions: u32): void {
  runActions(actions, sparePkt());
  flushOutputs();
  notifyControl();
}

/** Action list of a flow, for `executeSpare`. */
export function flowActions(flow: u32): u32 {
  return load<u32>(flowAt(flow), FLOW_ACTIONS) & ~ACTIONS_F_MASK;
}

/** After a trap: forgets the batch and everything that was queued. */
export function resetBatch(): void {
  for (let port: u32 = 0; port < PORTS_MAX; port++) store<u32>(txBatchAt(port), 0, TX_BATCH_COUNT);
  store<u32>(thread, 0, THREAD_NDIRTY);
  store<u32>(thread, 0, THREAD_CALLS_PENDING);
  resetActions();
}
