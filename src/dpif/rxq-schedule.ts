/** Which PMD thread polls which rx queue: Open vSwitch's three ways (ovs-vswitchd.conf.db(5), pmd-rxq-assign), with pinned queues and NUMA nodes. Pure. */

export type RxqAlgorithm = 'roundrobin' | 'cycles' | 'group';

export interface SchedRxq {
  port: string;
  /** Order among ports. */
  portNo: number;
  queue: number;
  numa: number;
  /** Core it is pinned to. */
  core?: number | undefined;
  /** Busy time of late, in any unit. */
  cycles: number;
}

export interface SchedCore {
  core: number;
  numa: number;
}

export interface Schedule {
  /** In the order of the queues given; undefined: nobody polls it. */
  cores: (number | undefined)[];
  isolated: ReadonlySet<number>;
  /** What an operator is told, in Open vSwitch's words. */
  log: { level: 'info' | 'warn'; text: string }[];
}

interface Pmd {
  readonly core: number;
  readonly numa: number;
  isolated: boolean;
  cycles: number;
  nRxqs: number;
}

interface Numa {
  readonly numa: number;
  readonly pmds: Pmd[];
  at: number;
  up: boolean;
}

class Scheduler {
  readonly #numas: Numa[] = [];
  readonly #algorithm: RxqAlgorithm;
  readonly #rxqs: readonly SchedRxq[];
  readonly #cores: (number | undefined)[];
  readonly #log: Schedule['log'] = [];
  #lastCross = -1;

  constructor(cores: readonly SchedCore[], rxqs: readonly SchedRxq[], algorithm: RxqAlgorithm) {
    this.#algorithm = algorithm;
    this.#rxqs = rxqs;
    this.#cores = rxqs.map(() => undefined);
    for (const { core, numa } of cores) {
      const pmd = { core, numa, isolated: false, cycles: 0, nRxqs: 0 };
      const node = this.#numas.find((n) => n.numa === numa);
      if (node) node.pmds.push(pmd);
      else this.#numas.push({ numa, pmds: [pmd], at: 0, up: true });
    }
  }

  run(isolate: boolean): Schedule {
    const free: number[] = [];
    this.#rxqs.forEach((rxq, i) => {
      if (rxq.core === undefined || !this.#pin(i, rxq, rxq.core, isolate)) free.push(i);
    });
    if (this.#algorithm !== 'roundrobin') free.sort((a, b) => this.#compare(a, b));
    if (free.length > 0) this.#info(`Performing pmd to rx queue assignment using ${this.#algorithm} algorithm.`);
    for (const i of free) this.#assign(i, this.#rxqs[i]!);
    const isolated = this.#numas.flatMap((n) => n.pmds.filter((p) => p.isolated).map((p) => p.core));
    return { cores: this.#cores, isolated: new Set(isolated), log: this.#log };
  }

  #info(text: string): void {
    this.#log.push({ level: 'info', text });
  }

  #cyclesText(rxq: SchedRxq): string {
    return this.#algorithm === 'roundrobin' ? '' : ` (measured processing cycles ${rxq.cycles})`;
  }

  #pin(i: number, rxq: SchedRxq, core: number, isolate: boolean): boolean {
    const pmd = this.#numas.flatMap((n) => n.pmds).find((p) => p.core === core);
    const id = String(core).padStart(2);
    if (!pmd) {
      this.#log.push({
        level: 'warn',
        text:
          `Core ${id} cannot be pinned with port '${rxq.port}' rx queue ${rxq.queue}. Use pmd-cpu-mask to enable a pmd on core ${core}. ` +
          'An alternative core will be assigned.',
      });
      return false;
    }
    if (isolate) pmd.isolated = true;
    this.#info(
      `Core ${id} on numa node ${pmd.numa} is pinned with port '${rxq.port}' rx queue ${rxq.queue}${this.#cyclesText(rxq)}`,
    );
    this.#give(i, pmd, rxq);
    return true;
  }

  #give(i: number, pmd: Pmd, rxq: SchedRxq): void {
    pmd.cycles += rxq.cycles;
    pmd.nRxqs++;
    this.#cores[i] = pmd.core;
  }

  /** The busiest first; then by port and queue. */
  #compare(a: number, b: number): number {
    const [x, y] = [this.#rxqs[a]!, this.#rxqs[b]!];
    return y.cycles - x.cycles || x.portNo - y.portNo || x.queue - y.queue;
  }

  #assign(i: number, rxq: SchedRxq): void {
    const pmd = this.#next(this.#numaFor(rxq.numa), rxq.cycles > 0);
    if (!pmd) {
      this.#log.push({
        level: 'warn',
        text:
          `No non-isolated pmd on any numa available for port '${rxq.port}' rx queue ${rxq.queue}${this.#cyclesText(rxq)}. ` +
          'This rx queue will not be polled.',
      });
      return;
    }
    if (pmd.numa !== rxq.numa)
      this.#info(
        `There's no available (non-isolated) pmd thread on numa node ${rxq.numa}. Port '${rxq.port}' rx queue ${rxq.queue} will ` +
          `be assigned to a pmd on numa node ${pmd.numa}. This may lead to reduced performance.`,
      );
    this.#info(
      `Core ${String(pmd.core).padStart(2)} on numa node ${pmd.numa} assigned port '${rxq.port}' rx queue ${rxq.queue}${this.#cyclesText(rxq)}.`,
    );
    this.#give(i, pmd, rxq);
  }

  /** The queue's own node, or in turns any other with a thread that is free for it. */
  #numaFor(numa: number): Numa | undefined {
    const usable = (n: Numa | undefined) => n?.pmds.some((p) => !p.isolated);
    const own = this.#numas.find((n) => n.numa === numa);
    if (usable(own)) return own;
    for (let n = 0; n < this.#numas.length; n++) {
      this.#lastCross = (this.#lastCross + 1) % this.#numas.length;
      if (usable(this.#numas[this.#lastCross])) return this.#numas[this.#lastCross];
    }
    return undefined;
  }

  #next(numa: Numa | undefined, busy: boolean): Pmd | undefined {
    if (!numa) return undefined;
    if (this.#algorithm === 'group') return lowest(numa.pmds, busy);
    for (let n = 0; n < numa.pmds.length * 2; n++) {
      const pmd = turn(numa, this.#algorithm === 'cycles');
      if (!pmd.isolated) return pmd;
    }
    return undefined;
  }
}

/** The thread with the least to do: by its load, where the queue has one, else by its number of queues. */
function lowest(pmds: readonly Pmd[], busy: boolean): Pmd | undefined {
  let best: Pmd | undefined;
  for (const pmd of pmds) {
    if (pmd.isolated) continue;
    const less = (a: Pmd, b: Pmd) => (busy && a.cycles !== b.cycles ? a.cycles < b.cycles : a.nRxqs < b.nRxqs);
    if (!best || less(pmd, best)) best = pmd;
  }
  return best;
}

/** Round and round, or up and down. */
function turn(numa: Numa, updown: boolean): Pmd {
  const pmd = numa.pmds[numa.at]!;
  const last = numa.pmds.length - 1;
  if (numa.up) {
    if (numa.at < last) numa.at++;
    else if (updown) numa.up = false;
    else numa.at = 0;
  } else if (numa.at > 0) numa.at--;
  else numa.up = true;
  return pmd;
}

/** `isolate`: a pinned queue keeps other queues away from its thread. */
export function scheduleRxqs(
  cores: readonly SchedCore[],
  rxqs: readonly SchedRxq[],
  algorithm: RxqAlgorithm,
  isolate: boolean,
): Schedule {
  return new Scheduler(cores, rxqs, algorithm).run(isolate);
}
