import { vlogModule } from '../base/vlog.ts';
import { INTERVALS_MAX } from './rxq-loads.ts';
import { type RxqAlgorithm, type SchedCore, type SchedRxq, scheduleRxqs } from './rxq-schedule.ts';

/** Open_vSwitch.other_config:pmd-auto-lb and what belongs to it. */
export interface AutoLbSettings {
  enabled: boolean;
  /** Minutes from one look to the next. */
  interval: number;
  /** Per cent by which the threads' loads must come closer together. */
  improve: number;
  /** Per cent of its time that a thread must be busy. */
  load: number;
}

/** Queues and threads as they are. */
export interface PmdState {
  cores: readonly SchedCore[];
  rxqs: readonly SchedRxq[];
  /** Who polls each of them now. */
  current: readonly (number | undefined)[];
  isolated: ReadonlySet<number>;
  algorithm: RxqAlgorithm;
  isolate: boolean;
  /** Intervals in a row in which the thread was busier than the threshold. */
  overloaded(core: number): number;
  /** What the thread's last minute had, in the unit of the queues' cycles. */
  time(core: number): number;
}

const log = vlogModule('dpif_netdev');
const MINUTE_MS = 60_000;

/** Integers, as Open vSwitch reckons: a hair's breadth is no improvement. */
function variance(loads: readonly number[]): number {
  const mean = Math.trunc(loads.reduce((a, b) => a + b, 0) / loads.length);
  return Math.trunc(loads.reduce((sum, load) => sum + (load - mean) ** 2, 0) / loads.length);
}

/**
 * Automatic load balancing of PMD threads (ovs-vswitchd.conf.db(5), pmd-auto-lb): when one of them was overloaded for a minute, and assigning the queues anew would bring
 * the loads closer together, that is asked for. Time and state are the caller's.
 */
export class PmdAutoLb {
  #lastMs: number | undefined;
  /** What was found out when the configuration had last changed. */
  #possible: boolean | undefined;

  /** Threads, queues or settings are others. */
  changed(): void {
    this.#possible = undefined;
  }

  /** True when the queues should be assigned anew. To be called every few seconds. */
  wants(nowMs: number, settings: AutoLbSettings, state: () => PmdState): boolean {
    if (!settings.enabled) {
      this.#lastMs = undefined;
      return false;
    }
    this.#lastMs ??= nowMs;
    if (nowMs - this.#lastMs < settings.interval * MINUTE_MS) return false;
    this.#lastMs = nowMs;
    const now = state();
    if (!now.cores.some(({ core }) => now.overloaded(core) >= INTERVALS_MAX)) return false;
    if (!this.#isPossible(now) || !dryRun(now, settings.improve)) return false;
    log.info('PMD auto load balance dry run. Requesting datapath reconfigure.');
    return true;
  }

  #isPossible(state: PmdState): boolean {
    if (this.#possible === false) {
      log.dbg('PMD auto load balance nothing to do, no configuration changes since last check.');
      return false;
    }
    this.#possible ??= isPossible(state);
    return this.#possible;
  }
}

/** Two threads at least that may get queues, and one with two of them. */
function isPossible({ algorithm, cores, isolated, current }: PmdState): boolean {
  if (algorithm === 'roundrobin') {
    log.dbg('PMD auto load balance nothing to do, pmd-rxq-assign=roundrobin assignment type configured.');
    return false;
  }
  const free = cores.filter(({ core }) => !isolated.has(core));
  if (free.length > 1 && free.some(({ core }) => current.filter((c) => c === core).length > 1)) return true;
  log.dbg('PMD auto load balance nothing to do, not enough non-isolated PMDs or RxQs.');
  return false;
}

/** Whether the loads would be closer together by `improve` per cent on one node at least. */
function dryRun(state: PmdState, improve: number): boolean {
  log.dbg('PMD auto load balance performing dry run.');
  const { cores, rxqs, algorithm, isolate } = state;
  const estimate = scheduleRxqs(cores, rxqs, algorithm, isolate).cores;
  const numas = [...new Set(cores.map((c) => c.numa))];
  const numaOf = (core: number | undefined) => cores.find((c) => c.core === core)?.numa;
  if (numas.length > 1 && rxqs.some((q, i) => estimate[i] !== undefined && numaOf(estimate[i]) !== q.numa)) {
    log.dbg(
      'PMD auto load balance detected cross-numa polling with multiple numa nodes. Unable to accurately estimate.',
    );
    return false;
  }
  const met = numas.map((numa) => improvesBy(state, numa, estimate) >= improve).some((is) => is);
  log.dbg(`PMD load variance improvement threshold ${improve}% is ${met ? 'met' : 'not met'}.`);
  return met;
}

/** Per cent by which the variance of the node's threads' loads would go down. */
function improvesBy(state: PmdState, numa: number, estimate: readonly (number | undefined)[]): number {
  const free = state.cores.filter((c) => c.numa === numa && !state.isolated.has(c.core));
  const spread = (assigned: readonly (number | undefined)[]) =>
    variance(
      free.map(({ core }) => {
        const busy = state.rxqs.reduce((sum, q, i) => sum + (assigned[i] === core ? q.cycles : 0), 0);
        return Math.trunc((busy * 100) / Math.max(1, state.time(core)));
      }),
    );
  const [now, then] = free.length > 0 ? [spread(state.current), spread(estimate)] : [0, 0];
  const improvement = then < now ? Math.trunc(((now - then) * 100) / now) : 0;
  log.dbg(
    `Numa node ${numa}. Current variance ${now} Estimated variance ${then}. Variance improvement ${improvement}%.`,
  );
  return improvement;
}
