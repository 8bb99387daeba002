import {
  ARENA_PORT_STATS,
  ARENA_PORT_STATS_STRIDE,
  ARENA_RXQS,
  ARENA_RXQS_STRIDE,
  ARENA_THREADS,
  DROP_REASON_NAMES,
  DROP_SOFT_TX_RING_FULL,
  PORT_STATS__SIZE,
  PORT_STATS_RX_BAD_DESC,
  PORT_STATS_RX_BAD_HDR,
  PORT_STATS_RX_BYTES,
  PORT_STATS_RX_DROPPED,
  PORT_STATS_RX_ERRORS,
  PORT_STATS_RX_OVERSIZE,
  PORT_STATS_RX_PACKETS,
  PORT_STATS_TX_BAD,
  PORT_STATS_TX_BYTES,
  PORT_STATS_TX_DROPPED,
  PORT_STATS_TX_PACKETS,
  PORT_STATS_TX_RING_FULL,
  PORTS_MAX,
  RXQ__SIZE,
  RXQ_PACKETS,
  THREAD__SIZE,
  THREAD_BUSY_NS,
  THREAD_DROPS,
  THREAD_IDLE_NS,
  THREAD_SLEEP_NS,
  THREAD_SLEEPS,
  THREAD_STAT_BATCHES,
  THREAD_STAT_BUSY_ITERATIONS,
  THREAD_STAT_DPCLS,
  THREAD_STAT_EMC,
  THREAD_STAT_ITERATIONS,
  THREAD_STAT_LOOKUPS,
  THREAD_STAT_LOST,
  THREAD_STAT_MISS,
  THREAD_STAT_RECIRC,
  THREAD_STAT_RX,
  THREAD_STAT_SIMPLE,
  THREAD_STAT_SMC,
  THREAD_STAT_TX_BATCHES,
  THREADS_MAX,
} from '../../gen/arena.ts';
import type { NetdevStats } from '../../netdev/netdev.ts';
import type { DpPerf, DpThread } from '../dpif.ts';
import type { Arena } from './arena.ts';

type ThreadStats = DpThread['stats'];
type PerfCounts = Omit<DpPerf, 'seconds'>;

const THREAD_COUNTERS = {
  packetsReceived: THREAD_STAT_RX,
  recirculations: THREAD_STAT_RECIRC,
  simpleHits: THREAD_STAT_SIMPLE,
  emcHits: THREAD_STAT_EMC,
  smcHits: THREAD_STAT_SMC,
  megaflowHits: THREAD_STAT_DPCLS,
  megaflowLookups: THREAD_STAT_LOOKUPS,
  missUpcalls: THREAD_STAT_MISS,
  lostUpcalls: THREAD_STAT_LOST,
  rxBatches: THREAD_STAT_BATCHES,
} as const;

const PORT_COUNTERS = {
  rxPackets: PORT_STATS_RX_PACKETS,
  txPackets: PORT_STATS_TX_PACKETS,
  rxBytes: PORT_STATS_RX_BYTES,
  txBytes: PORT_STATS_TX_BYTES,
  rxErrors: PORT_STATS_RX_ERRORS,
  rxDropped: PORT_STATS_RX_DROPPED,
  txDropped: PORT_STATS_TX_DROPPED,
} as const;

/** Interface.statistics keys of the provider's own counters. */
const CUSTOM_COUNTERS = {
  ovs_tx_failure_drops: PORT_STATS_TX_RING_FULL,
  ovs_tx_mtu_exceeded_drops: PORT_STATS_TX_BAD,
  rx_bad_descriptor_drops: PORT_STATS_RX_BAD_DESC,
  rx_oversize_drops: PORT_STATS_RX_OVERSIZE,
  rx_bad_header_drops: PORT_STATS_RX_BAD_HDR,
} as const;

/**
 * Reads the counters that the datapath threads keep in the arena, summed over all threads that ever ran. Clearing remembers the present value: a
 * counter has one writer, and that is not this thread.
 */
export class Counters {
  readonly #arena: Arena;
  readonly #cleared = new Map<number, ThreadStats>();
  readonly #clearedPerf = new Map<number, PerfCounts>();
  readonly #portBase = new Map<number, NetdevStats>();
  readonly #nowMs: () => number;
  #sinceMs: number;

  constructor(arena: Arena, nowMs = () => performance.now()) {
    this.#arena = arena;
    this.#nowMs = nowMs;
    this.#sinceMs = nowMs();
  }

  thread(index: number): ThreadStats {
    const now = this.#rawThread(index);
    const base = this.#cleared.get(index);
    if (!base) return now;
    const out = { ...now };
    for (const key of Object.keys(out) as (keyof ThreadStats)[]) out[key] = now[key] - base[key];
    return out;
  }

  #rawThread(index: number): ThreadStats {
    const at = ARENA_THREADS + index * THREAD__SIZE;
    const stats = {} as ThreadStats;
    for (const [name, field] of Object.entries(THREAD_COUNTERS)) {
      stats[name as keyof typeof THREAD_COUNTERS] = this.#arena.counter(at + field);
    }
    stats.busyNs = BigInt(Math.round(this.#arena.f64[(at + THREAD_BUSY_NS) >> 3]!));
    stats.idleNs = BigInt(Math.round(this.#arena.f64[(at + THREAD_IDLE_NS) >> 3]!));
    return stats;
  }

  /** The thread's work since it began or since clearThreads(). */
  perf(index: number): DpPerf {
    const now = this.#rawPerf(index);
    const base = this.#clearedPerf.get(index);
    if (base) for (const key of Object.keys(now) as (keyof PerfCounts)[]) now[key] -= base[key];
    return { seconds: (this.#nowMs() - this.#sinceMs) / 1000, ...now };
  }

  #rawPerf(index: number): PerfCounts {
    const at = ARENA_THREADS + index * THREAD__SIZE;
    const f64 = (field: number) => BigInt(Math.round(this.#arena.f64[(at + field) >> 3]!));
    let txPackets = 0n;
    const ports = ARENA_PORT_STATS + index * ARENA_PORT_STATS_STRIDE;
    for (let port = 0; port < PORTS_MAX; port++)
      txPackets += this.#arena.counter(ports + port * PORT_STATS__SIZE + PORT_STATS_TX_PACKETS);
    return {
      iterations: this.#arena.counter(at + THREAD_STAT_ITERATIONS),
      busyIterations: this.#arena.counter(at + THREAD_STAT_BUSY_ITERATIONS),
      sleeps: f64(THREAD_SLEEPS),
      sleepNs: f64(THREAD_SLEEP_NS),
      txPackets,
      txBatches: this.#arena.counter(at + THREAD_STAT_TX_BATCHES),
    };
  }

  clearThreads(): void {
    this.#sinceMs = this.#nowMs();
    for (let i = 0; i < THREADS_MAX; i++) {
      this.#cleared.set(i, this.#rawThread(i));
      this.#clearedPerf.set(i, this.#rawPerf(i));
    }
  }

  /** Of a thread since it began, in nanoseconds; never cleared. Its sleep is idle. */
  busyAndIdle(index: number): { busyNs: number; idleNs: number } {
    const at = ARENA_THREADS + index * THREAD__SIZE;
    const { f64 } = this.#arena;
    const idleNs = f64[(at + THREAD_IDLE_NS) >> 3]! + f64[(at + THREAD_SLEEP_NS) >> 3]!;
    return { busyNs: f64[(at + THREAD_BUSY_NS) >> 3]!, idleNs };
  }

  /** Share of its time that a thread was busy, in per cent. */
  usage(index: number): number {
    const { busyNs, idleNs } = this.thread(index);
    const all = busyNs + idleNs;
    return all === 0n ? 0 : Number((busyNs * 100n) / all);
  }

  /** Packets that thread `index` took from its rxq number `i` since it was given its rxqs; wraps at 2^32. */
  rxqPackets(index: number, i: number): number {
    return this.#arena.get(ARENA_RXQS + index * ARENA_RXQS_STRIDE + i * RXQ__SIZE + RXQ_PACKETS);
  }

  total(): { hit: bigint; missed: bigint; lost: bigint; maskHit: bigint } {
    const sum = { hit: 0n, missed: 0n, lost: 0n, maskHit: 0n };
    for (let i = 0; i < THREADS_MAX; i++) {
      const s = this.#rawThread(i);
      sum.hit += s.simpleHits + s.emcHits + s.smcHits + s.megaflowHits;
      sum.missed += s.missUpcalls;
      sum.lost += s.lostUpcalls;
      sum.maskHit += s.megaflowLookups;
    }
    return sum;
  }

  port(port: number): NetdevStats {
    const now = this.#rawPort(port);
    const base = this.#portBase.get(port);
    if (!base) return now;
    const custom = new Map([...now.custom].map(([k, v]) => [k, v - (base.custom.get(k) ?? 0n)]));
    const out = { ...now, custom };
    for (const key of [...Object.keys(PORT_COUNTERS), 'txErrors'] as (keyof typeof PORT_COUNTERS)[])
      out[key] = now[key] - base[key];
    return out;
  }

  #rawPort(port: number): NetdevStats {
    const sum = (field: number) => {
      let total = 0n;
      for (let t = 0; t < THREADS_MAX; t++) {
        total += this.#arena.counter(ARENA_PORT_STATS + t * ARENA_PORT_STATS_STRIDE + port * PORT_STATS__SIZE + field);
      }
      return BigInt.asUintN(64, total);
    };
    const stats = { txErrors: 0n } as NetdevStats;
    for (const [name, field] of Object.entries(PORT_COUNTERS)) stats[name as keyof typeof PORT_COUNTERS] = sum(field);
    stats.custom = new Map(Object.entries(CUSTOM_COUNTERS).map(([name, field]) => [name, sum(field)]));
    return stats;
  }

  /** A port number that is used again starts at zero. */
  clearPort(port: number): void {
    this.#portBase.set(port, this.#rawPort(port));
  }

  /** A frame that a thread sent to the device, which did not take it: it was not sent after all. Thread 0 is this thread; its share may be negative. */
  softTxDrop(port: number, size: number): void {
    const at = ARENA_PORT_STATS + port * PORT_STATS__SIZE;
    this.#arena.addCounter(at + PORT_STATS_TX_PACKETS, -1n);
    this.#arena.addCounter(at + PORT_STATS_TX_BYTES, BigInt(-size));
    this.#arena.addCounter(at + PORT_STATS_TX_DROPPED, 1n);
    this.drop(DROP_SOFT_TX_RING_FULL);
  }

  /** A packet that ended on this thread, outside the fast path. */
  drop(reason: number): void {
    this.#arena.addCounter(ARENA_THREADS + THREAD_DROPS + reason * 8, 1n);
  }

  /** This thread recirculated a packet, outside the fast path. */
  recirculated(hit: boolean): void {
    this.#arena.addCounter(ARENA_THREADS + THREAD_STAT_RECIRC, 1n);
    this.#arena.addCounter(ARENA_THREADS + (hit ? THREAD_STAT_DPCLS : THREAD_STAT_MISS), 1n);
  }

  rxOversize(port: number): void {
    const at = ARENA_PORT_STATS + port * PORT_STATS__SIZE;
    this.#arena.addCounter(at + PORT_STATS_RX_OVERSIZE, 1n);
    this.#arena.addCounter(at + PORT_STATS_RX_ERRORS, 1n);
  }

  drops(): ReadonlyMap<string, bigint> {
    return new Map(
      DROP_REASON_NAMES.map((name, reason) => {
        let total = 0n;
        for (let t = 0; t < THREADS_MAX; t++) {
          total += this.#arena.counter(ARENA_THREADS + t * THREAD__SIZE + THREAD_DROPS + reason * 8);
        }
        return [name, total];
      }),
    );
  }
}
