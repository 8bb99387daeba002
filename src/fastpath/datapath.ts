/**
 * The datapath of one thread: packets of a burst go through extract, EMC, SMC and dpcls in passes over the batch, are grouped by megaflow, run
 * through its actions, and leave. The TypeScript around it calls `run` again and again; nothing in here calls back.
 */
import {
  ACTIONS_F_MASK,
  ACTIONS_F_RECIRC,
  ACTIONS_F_RECIRC_MANY,
  ACTIONS_F_SEGMENTS,
  ARENA_HEADER,
  BATCH_MAX,
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
  GROUP_HEAD,
  GROUP_TCP_FLAGS,
  HEADER_EPOCH,
  KEY_TCP_FLAGS,
  PKT_DATA,
  PKT_KEY,
  PKT_LEN,
  PKT_NEXT,
  PORT_STATS_RX_BYTES,
  PORT_STATS_RX_PACKETS,
  PORTS_MAX,
  RXQ__SIZE,
  RXQ_LOOKED_MS,
  RXQ_MISSED,
  RXQ_MISSED_NONE,
  RXQ_MISSED_SOME,
  RXQ_MISSED_WAITS,
  RXQ_PACKETS,
  RXQ_PORT,
  RXQ_SLOT,
  RXQ_VRING,
  RXQ_WAITED,
  THREAD_CALLS_PENDING,
  THREAD_EPOCH,
  THREAD_LAST_RXQ,
  THREAD_MISS_HEAD,
  THREAD_MISS_TAIL,
  THREAD_NDIRTY,
  THREAD_NOW_MS,
  THREAD_NRXQS,
  THREAD_PASSES,
  THREAD_STAT_BATCHES,
  THREAD_STAT_BUSY_ITERATIONS,
  THREAD_STAT_ITERATIONS,
  THREAD_STAT_LOST,
  THREAD_STAT_MISS,
  THREAD_STAT_RX,
  THREAD_STAT_TX_BATCHES,
  THREAD_STOP,
  THREAD_TOUCHED,
  THREAD_UNRELEASED,
  THREAD_UPCALLS_SPENT,
  TX_BATCH_COUNT,
  UPCALL_BACKLOG,
  VRING_BROKEN,
  UPCALL_WAIT_MS,
} from './gen/arena';
import { resetActions, runActions } from './actions';
import { dpclsLookup, flowHash } from './dpcls';
import { extractAgain } from './extract';
import { allSegmentsMade, nextSegments, startSegments } from './finish';
import { hashKey } from './hash';
import { groupByFlow, lookUp, lookUpRecirculated } from './lookup';
import { gsoTypeOf } from './offload';
import { flushOutputs } from './output';
import { ascend, descend, freeNext, freeRecords, hasRoom, startAt, waiting } from './recirc';
import { simpleFlow, simplePass } from './simple';
import { RELEASE_AFTER_RX } from './tail';
import {
  bump,
  flowAt,
  flowStatsAt,
  groups,
  initThread,
  pktAt,
  portStatsAt,
  rxqs,
  sparePkt,
  thread,
  threadIndex,
  txBatchAt,
} from './thread';
import { notifyControl } from './upcall';

export { flowHash, initThread };

// @ts-ignore: decorator
@inline
function batchBytes(count: u32): u64 {
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < count; i++) bytes += load<u32>(pktAt(i), PKT_LEN);
  return bytes;
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

/** Runs the action list of a megaflow, with its ACTIONS_F_*, on the packets from `head`. Where it recirculates, there is room for all that it does. */
function runList(word: u32, head: u32, count: u32): void {
  const actions = word & ~ACTIONS_F_MASK;
  if (!(word & ACTIONS_F_RECIRC_MANY)) {
    if (word & ACTIONS_F_RECIRC) makeRoom(count);
    runActions(actions, head);
    return;
  }
  let pkt = head;
  while (pkt) {
    const next = load<u32>(pkt, PKT_NEXT);
    store<u32>(pkt, 0, PKT_NEXT);
    makeRoom(BATCH_MAX);
    runActions(actions, pkt);
    pkt = next;
  }
}

/** Sees to it that `n` packets can be recirculated: when there is no room, those that wait go first, and what they have to send. */
function makeRoom(n: u32): void {
  if (!hasRoom(n)) finishWaiting();
}

/** Has all that waits looked up and sent: what it lay in may be used anew. */
function finishWaiting(): void {
  forwardWaiting();
  flush();
  freeNext();
}

/** Runs a list on the segments of `pkt` as if each had been received. While it is cut nothing else is: nothing else waits, and segments are not cut again. */
function runSegments(word: u32, pkt: u32): void {
  finishWaiting();
  if (!startSegments(pkt)) return;
  while (!allSegmentsMade()) {
    const first = nextSegments(pkt);
    runList(word, first, BATCH_MAX);
    finishWaiting();
  }
}

/** The same list for packets of which some are to be cut first. */
function runUncut(word: u32, head: u32): void {
  let pkt = head;
  while (pkt) {
    const next = load<u32>(pkt, PKT_NEXT);
    store<u32>(pkt, 0, PKT_NEXT);
    if (gsoTypeOf(pkt)) runSegments(word, pkt);
    else runList(word, pkt, 1);
    pkt = next;
  }
}

function anyUncut(head: u32): bool {
  for (let pkt = head; pkt; pkt = load<u32>(pkt, PKT_NEXT)) if (gsoTypeOf(pkt)) return true;
  return false;
}

// @ts-ignore: decorator
@inline
function runFlow(flow: u32, head: u32, count: u32): void {
  const word = load<u32>(flowAt(flow), FLOW_ACTIONS);
  if (word & ACTIONS_F_SEGMENTS && anyUncut(head)) runUncut(word, head);
  else runList(word, head, count);
}

/** Counts the first `n` groups on their flows and runs the actions of each, then looks up again what they recirculated. */
export function runGroups(n: u32): void {
  const first = groups;
  let touched: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const group = first + i * GROUP__SIZE;
    countFlow(group);
    touched |= load<u32>(flowActions(load<u32>(group, GROUP_FLOW)));
  }
  store<u32>(thread, touched, THREAD_TOUCHED);
  for (let i: u32 = 0; i < n; i++) {
    const group = first + i * GROUP__SIZE;
    runFlow(load<u32>(group, GROUP_FLOW), load<u32>(group, GROUP_HEAD), load<u32>(group, GROUP_COUNT));
  }
  forwardWaiting();
}

/** The packets that wait to be looked up again become a batch. Calls itself RECIRC_DEPTH_MAX deep at most. */
function forwardWaiting(): void {
  if (!waiting()) return;
  const count = descend();
  lookUpRecirculated(count);
  runGroups(groupByFlow(count));
  ascend();
}

// @ts-ignore: decorator
@inline
function flush(): void {
  bump(thread + THREAD_STAT_TX_BATCHES, load<u32>(thread, THREAD_NDIRTY));
  flushOutputs();
}

/** Sends all that waits; nothing of the batch is in use any more. */
// @ts-ignore: decorator
@inline
function finishBatch(): void {
  flush();
  freeRecords();
  notifyControl();
}

/** Forwards the `count` packets that lie in the batch and came in by `inPort`. */
export function process(count: u32, inPort: u32): void {
  startAt(0);
  const stats = portStatsAt(inPort);
  bump(stats + PORT_STATS_RX_PACKETS, count);
  bump(stats + PORT_STATS_RX_BYTES, batchBytes(count));
  bump(thread + THREAD_STAT_RX, count);
  bump(thread + THREAD_STAT_BATCHES, 1);
  const simple = simpleFlow(inPort);
  if (!simple || simplePass(count, simple) < count) lookUp(count, inPort, simple);
  runGroups(groupByFlow(count));
  finishBatch();
}

/** Says that this thread holds no offset of a flow, a table or an action list any more. */
// @ts-ignore: decorator
@inline
function quiesce(): void {
  atomic.store<u32>(thread, atomic.load<u32>(ARENA_HEADER + HEADER_EPOCH), THREAD_EPOCH);
}

/**
 * True while the control thread has many misses to answer: queues with unknown flows wait, in the guest's ring, and the others go on. A queue that waits does so until half
 * of it is answered: waits are few and long, so that a clock of milliseconds can measure them.
 */
// @ts-ignore: decorator
@inline
function upcallsBehind(missed: u32): bool {
  const backlog = load<u32>(thread, THREAD_MISS_HEAD) - atomic.load<u32>(thread, THREAD_MISS_TAIL);
  return backlog > (missed == RXQ_MISSED_WAITS ? UPCALL_BACKLOG / 2 : UPCALL_BACKLOG);
}

/**
 * True while the rxq, which misses, is to be left alone: a burst of new flows waits and loses nothing. A flood of them has used that up in UPCALL_WAIT_MS and
 * gets it back at an eighth of the time, so that the established flows among it go on.
 */
// @ts-ignore: decorator
@inline
function mayWait(rxq: u32): bool {
  const now = <u32>(<u64>load<f64>(thread, THREAD_NOW_MS));
  const passed = now - load<u32>(rxq, RXQ_LOOKED_MS);
  let waited = load<u32>(rxq, RXQ_WAITED);
  if (load<u32>(rxq, RXQ_MISSED) == RXQ_MISSED_WAITS) waited += min<u32>(passed, UPCALL_WAIT_MS) * 8;
  else waited -= min(waited, passed);
  store<u32>(rxq, now, RXQ_LOOKED_MS);
  store<u32>(rxq, waited, RXQ_WAITED);
  const may = waited < UPCALL_WAIT_MS * 8;
  store<u32>(rxq, may ? RXQ_MISSED_WAITS : RXQ_MISSED_SOME, RXQ_MISSED);
  return may;
}

/** A queue that has nothing does not wait: what others flood is not counted against it. */
function forgive(rxq: u32): void {
  store<u32>(rxq, RXQ_MISSED_NONE, RXQ_MISSED);
  store<u32>(rxq, 0, RXQ_WAITED);
}

/** The guest may have the buffers of the burst back that was just processed. */
function releaseBurst(rxq: u32): void {
  store<u32>(thread, 0, THREAD_UNRELEASED);
  call_indirect<u32>(load<u32>(rxq, RXQ_SLOT) + RELEASE_AFTER_RX, threadIndex, load<u32>(rxq, RXQ_VRING));
}

/**
 * Polls all rxqs `iterations` times. Returns early when a guest waits for an interrupt, when the control thread wants the word, or when there is nothing but queues
 * that wait for it. The result is the number of iterations that found packets.
 */
export function run(iterations: u32): u32 {
  let busy: u32 = 0;
  let done: u32 = 0;
  const n = load<u32>(thread, THREAD_NRXQS);
  while (done < iterations) {
    done++;
    quiesce();
    let received: u32 = 0;
    let waiting: u32 = 0;
    for (let i: u32 = 0; i < n; i++) {
      const rxq = rxqs + i * RXQ__SIZE;
      const missed = load<u32>(rxq, RXQ_MISSED);
      const spent = missed != RXQ_MISSED_NONE && upcallsBehind(missed);
      if (spent && mayWait(rxq)) {
        waiting++;
        continue;
      }
      store<u32>(thread, spent ? 1 : 0, THREAD_UPCALLS_SPENT);
      store<u32>(thread, i, THREAD_LAST_RXQ);
      const count = call_indirect<u32>(load<u32>(rxq, RXQ_SLOT), threadIndex, load<u32>(rxq, RXQ_VRING));
      if (!count) {
        // It was left alone for nothing: a flood has packets in its ring after a wait.
        if (missed == RXQ_MISSED_WAITS) forgive(rxq);
        continue;
      }
      received += count;
      store<u32>(rxq, load<u32>(rxq, RXQ_PACKETS) + count, RXQ_PACKETS);
      const misses = load<u64>(thread, THREAD_STAT_MISS) + load<u64>(thread, THREAD_STAT_LOST);
      process(count, load<u32>(rxq, RXQ_PORT));
      if (load<u32>(thread, THREAD_UNRELEASED)) releaseBurst(rxq);
      const after = load<u64>(thread, THREAD_STAT_MISS) + load<u64>(thread, THREAD_STAT_LOST);
      store<u32>(rxq, after != misses ? RXQ_MISSED_SOME : RXQ_MISSED_NONE, RXQ_MISSED);
    }
    if (received) busy++;
    else if (waiting) break;
    if (load<u32>(thread, THREAD_CALLS_PENDING) || atomic.load<u32>(thread, THREAD_STOP)) break;
  }
  store<u32>(thread, 0, THREAD_UPCALLS_SPENT);
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

/** Megaflow of the packet in the spare record, which was prepared, by dpcls alone and counted nowhere: 0 when there is none. */
export function lookupSpare(): u32 {
  return dpclsLookup(sparePkt());
}

/** Extracts the packet in the spare record: PKT_DATA, PKT_LEN, PKT_RSS, PKT_FLAGS, and of its key the port, the recirculation and the metadata are set. */
export function prepareSpare(): void {
  const pkt = sparePkt();
  store<u64>(pkt, 0, PKT_NEXT); // and TRUNC
  extractAgain(pkt);
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

/** Runs the action list at `actions` on the packet in the spare record, which was prepared and has been recirculated `depth` times. */
export function executeSpare(actions: u32, depth: u32): void {
  startAt(depth);
  runActions(actions, sparePkt());
  forwardWaiting();
  finishBatch();
}

/** Action list of a flow, for `executeSpare`. */
export function flowActions(flow: u32): u32 {
  return load<u32>(flowAt(flow), FLOW_ACTIONS) & ~ACTIONS_F_MASK;
}

/** After a trap: forgets the batch and everything that was queued. A ring that was not broken by it gets its buffers back. */
export function resetBatch(): void {
  const vring = load<u32>(thread, THREAD_UNRELEASED);
  store<u32>(thread, 0, THREAD_UNRELEASED);
  if (vring && !load<u32>(vring, VRING_BROKEN)) releaseBurst(rxqs + load<u32>(thread, THREAD_LAST_RXQ) * RXQ__SIZE);
  for (let port: u32 = 0; port < PORTS_MAX; port++) store<u32>(txBatchAt(port), 0, TX_BATCH_COUNT);
  store<u32>(thread, 0, THREAD_NDIRTY);
  store<u32>(thread, 0, THREAD_CALLS_PENDING);
  store<u32>(thread, 0, THREAD_UPCALLS_SPENT);
  freeRecords();
  startAt(0);
  resetActions();
}
