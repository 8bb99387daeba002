/** Where this thread's records lie in the arena. One module instance is one thread: `initThread` is called once, before anything else. */
import {
  ARENA_BIG_SLOTS,
  ARENA_BIG_SLOTS_STRIDE,
  ARENA_EMC,
  ARENA_EMC_STRIDE,
  ARENA_FLOW_STATS,
  ARENA_FLOW_STATS_STRIDE,
  ARENA_FLOWS,
  ARENA_GROUP_TABLE,
  ARENA_GROUP_TABLE_STRIDE,
  ARENA_GROUPS,
  ARENA_GROUPS_STRIDE,
  ARENA_PKTS,
  ARENA_PKTS_STRIDE,
  ARENA_PORT_STATS,
  ARENA_PORT_STATS_STRIDE,
  ARENA_PORTS,
  ARENA_RXQS,
  ARENA_RXQS_STRIDE,
  ARENA_SEG_PKTS,
  ARENA_SEG_PKTS_STRIDE,
  ARENA_SEG_SLOTS,
  ARENA_SEG_SLOTS_STRIDE,
  ARENA_SIMPLES,
  ARENA_SIMPLES_STRIDE,
  ARENA_SLOTS,
  ARENA_SLOTS_STRIDE,
  ARENA_SMC,
  ARENA_SMC_STRIDE,
  ARENA_SUBTABLE_HITS,
  ARENA_SUBTABLE_HITS_STRIDE,
  ARENA_SUBTABLES,
  ARENA_THREADS,
  ARENA_TX_BATCHES,
  ARENA_TX_BATCHES_STRIDE,
  ARENA_UPCALLS,
  ARENA_UPCALLS_STRIDE,
  BATCH_MAX,
  FLOW__SIZE,
  FLOW_STATS__SIZE,
  PKT__SIZE,
  PORT__SIZE,
  PORT_STATS__SIZE,
  PORTS_MAX,
  SLOT__SIZE,
  SUBTABLE__SIZE,
  SUBTABLE_HITS__SIZE,
  THREAD__SIZE,
  THREAD_DROPS,
  TX_BATCH__SIZE,
} from './gen/arena';

export let threadIndex: u32 = 0;
export let thread: u32 = 0;
export let pkts: u32 = 0;
export let slots: u32 = 0;
export let bigSlots: u32 = 0;
export let segPkts: u32 = 0;
export let segSlots: u32 = 0;
export let rxqs: u32 = 0;
export let txBatches: u32 = 0;
/** The packets that are being handled, and the groups that they are put into. */
export let batch: u32 = 0;
export let groups: u32 = 0;
export let groupsBase: u32 = 0;
export let groupTable: u32 = 0;
export let portStatsBase: u32 = 0;
export let flowStatsBase: u32 = 0;
export let simples: u32 = 0;
export let emc: u32 = 0;
export let smc: u32 = 0;
export let subtableHits: u32 = 0;
export let upcalls: u32 = 0;

export function initThread(index: u32): void {
  threadIndex = index;
  thread = ARENA_THREADS + index * THREAD__SIZE;
  pkts = ARENA_PKTS + index * ARENA_PKTS_STRIDE;
  slots = ARENA_SLOTS + index * ARENA_SLOTS_STRIDE;
  bigSlots = ARENA_BIG_SLOTS + index * ARENA_BIG_SLOTS_STRIDE;
  segPkts = ARENA_SEG_PKTS + index * ARENA_SEG_PKTS_STRIDE;
  segSlots = ARENA_SEG_SLOTS + index * ARENA_SEG_SLOTS_STRIDE;
  rxqs = ARENA_RXQS + index * ARENA_RXQS_STRIDE;
  txBatches = ARENA_TX_BATCHES + index * ARENA_TX_BATCHES_STRIDE;
  groupsBase = ARENA_GROUPS + index * ARENA_GROUPS_STRIDE;
  setBatch(pkts, groupsBase);
  groupTable = ARENA_GROUP_TABLE + index * ARENA_GROUP_TABLE_STRIDE;
  portStatsBase = ARENA_PORT_STATS + index * ARENA_PORT_STATS_STRIDE;
  flowStatsBase = ARENA_FLOW_STATS + index * ARENA_FLOW_STATS_STRIDE;
  simples = ARENA_SIMPLES + index * ARENA_SIMPLES_STRIDE;
  emc = ARENA_EMC + index * ARENA_EMC_STRIDE;
  smc = ARENA_SMC + index * ARENA_SMC_STRIDE;
  subtableHits = ARENA_SUBTABLE_HITS + index * ARENA_SUBTABLE_HITS_STRIDE;
  upcalls = ARENA_UPCALLS + index * ARENA_UPCALLS_STRIDE;
}

/** From now on `pktAt` counts from `first`. */
export function setBatch(first: u32, groupsAt: u32): void {
  batch = first;
  groups = groupsAt;
}

// @ts-ignore: decorator
@inline
export function pktAt(i: u32): u32 {
  return batch + i * PKT__SIZE;
}

/** The packet record that actions on a copy (clone, packet of the control thread) use. */
// @ts-ignore: decorator
@inline
export function sparePkt(): u32 {
  return pkts + BATCH_MAX * PKT__SIZE;
}

// @ts-ignore: decorator
@inline
export function slotAt(i: u32): u32 {
  return slots + i * SLOT__SIZE;
}

// @ts-ignore: decorator
@inline
export function flowAt(flow: u32): u32 {
  return ARENA_FLOWS + flow * FLOW__SIZE;
}

// @ts-ignore: decorator
@inline
export function flowStatsAt(flow: u32): u32 {
  return flowStatsBase + flow * FLOW_STATS__SIZE;
}

// @ts-ignore: decorator
@inline
export function portAt(port: u32): u32 {
  return ARENA_PORTS + port * PORT__SIZE;
}

/** Counters of a port; those of a number out of range go to the last record. */
// @ts-ignore: decorator
@inline
export function portStatsAt(port: u32): u32 {
  return portStatsBase + min(port, PORTS_MAX - 1) * PORT_STATS__SIZE;
}

// @ts-ignore: decorator
@inline
export function txBatchAt(port: u32): u32 {
  return txBatches + port * TX_BATCH__SIZE;
}

// @ts-ignore: decorator
@inline
export function subtableHitsAt(subtable: u32): u32 {
  return subtableHits + ((subtable - ARENA_SUBTABLES) / SUBTABLE__SIZE) * SUBTABLE_HITS__SIZE;
}

// @ts-ignore: decorator
@inline
export function bump(counter: u32, by: u64): void {
  store<u64>(counter, load<u64>(counter) + by);
}

/** Counts packets that end here, under their reason. */
// @ts-ignore: decorator
@inline
export function drop(reason: u32, count: u32): void {
  bump(thread + THREAD_DROPS + reason * 8, count);
}
