/** How busy PMD threads and their rx queues were of late: what queues are assigned by, and what `pmd-rxq-show` tells. */

/** An interval's length, and how many of them count (a minute), as in Open vSwitch. */
export const INTERVAL_MS = 5000;
export const INTERVALS_MAX = 12;

/** What a thread has counted since it began. */
export interface PmdSample {
  core: number;
  busyNs: number;
  idleNs: number;
  /** `packets` starts at zero again when the thread is given its queues. */
  rxqs: readonly { key: string; packets: number }[];
}

interface Pmd {
  sample: PmdSample;
  /** Of each interval, the newest last. */
  busyNs: number[];
  allNs: number[];
}

const keep = (list: number[], value: number): void => {
  list.push(value);
  if (list.length > INTERVALS_MAX) list.shift();
};
const sum = (list: readonly number[] = []): number => list.reduce((a, b) => a + b, 0);

/**
 * The last minute in intervals of five seconds. A thread's clock says how long it was busy, and not with which queue: its busy time is shared out by the packets of each.
 * A queue's history goes with it to another thread. Pure but for what it remembers; time is the caller's.
 */
export class RxqLoads {
  readonly #pmds = new Map<number, Pmd>();
  readonly #rxqs = new Map<string, number[]>();
  #endsMs: number | undefined;

  /** Looks at all threads; true when that ended an interval. */
  sample(nowMs: number, pmds: () => readonly PmdSample[]): boolean {
    if (this.#endsMs !== undefined && nowMs < this.#endsMs) return false;
    const first = this.#endsMs === undefined;
    this.#endsMs = nowMs + INTERVAL_MS;
    const all = pmds();
    const lately = new Map<string, number>();
    for (const pmd of all) this.#take(pmd, lately);
    for (const core of this.#pmds.keys()) if (!all.some((pmd) => pmd.core === core)) this.#pmds.delete(core);
    if (first) return false;
    for (const key of this.#rxqs.keys()) if (!lately.has(key)) this.#rxqs.delete(key);
    for (const [key, ns] of lately) {
      const list = this.#rxqs.get(key) ?? [];
      this.#rxqs.set(key, list);
      keep(list, ns);
    }
    return true;
  }

  #take(sample: PmdSample, lately: Map<string, number>): void {
    const known = this.#pmds.get(sample.core);
    const pmd = known ?? { sample, busyNs: [], allNs: [] };
    this.#pmds.set(sample.core, pmd);
    const before = known?.sample;
    // The first look at a thread, or another thread on the core: there is no interval yet.
    const busyNs = before ? Math.max(0, sample.busyNs - before.busyNs) : 0;
    const idleNs = before ? Math.max(0, sample.idleNs - before.idleNs) : 0;
    if (before) {
      keep(pmd.busyNs, busyNs);
      keep(pmd.allNs, busyNs + idleNs);
    }
    const packets = sample.rxqs.map(({ key, packets: now }) => {
      const then = before?.rxqs.find((q) => q.key === key)?.packets ?? 0;
      return { key, n: now < then ? now : now - then };
    });
    const total = packets.reduce((n, q) => n + q.n, 0);
    for (const { key, n } of packets) lately.set(key, (lately.get(key) ?? 0) + (total > 0 ? (busyNs * n) / total : 0));
    pmd.sample = sample;
  }

  /** Busy nanoseconds of the queue in the last minute. */
  rxqNs(key: string): number {
    return Math.round(sum(this.#rxqs.get(key)));
  }

  /** Nanoseconds that the thread on `core` had, busy or not; 0 before its first interval has ended. */
  pmdNs(core: number): number {
    return sum(this.#pmds.get(core)?.allNs);
  }

  /** Intervals in a row, up to now, in which the thread was busy for `percent` of its time at least. */
  overloaded(core: number, percent: number): number {
    const pmd = this.#pmds.get(core);
    if (!pmd) return 0;
    let n = 0;
    for (let i = pmd.allNs.length - 1; i >= 0; i--, n++) {
      const all = pmd.allNs[i]!;
      if (all === 0 || (pmd.busyNs[i]! * 100) / all < percent) break;
    }
    return n;
  }
}
