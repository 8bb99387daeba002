import { VlogRateLimit, vlogModule } from '../../base/vlog.ts';
import type { Netdev } from '../../netdev/netdev.ts';
import { DpConfigLog } from '../dp-config-log.ts';
import type { DpConfig } from '../dpif.ts';
import { type SchedCore, type SchedRxq, scheduleRxqs } from '../rxq-schedule.ts';
import { DummyThread } from './thread.ts';

/** The threads of a dummy datapath: made, ended and given their queues as a real one does it, at once. */

const log = vlogModule('dpif_netdev');
const unlimited = new VlogRateLimit(600, 600);

export interface PmdPort {
  readonly odpPort: number;
  readonly name: string;
  readonly netdev: Netdev;
}

/** Cores that there are, by number; the host's, or those of --dummy-numa. */
export type Cores = readonly SchedCore[];

export class DummyPmds {
  readonly main = new DummyThread(-1, 0);
  readonly config = new DpConfigLog();
  readonly #allCores: Cores;
  #pmds: DummyThread[] = [];
  #cpus: readonly number[] = [];
  #affinity: DpConfig['rxqAffinity'] = new Map();
  #portConfig: NonNullable<DpConfig['portConfig']> = new Map();
  /** Port and queue → thread. */
  readonly #byQueue = new Map<string, DummyThread>();
  /** Called with the flows of a thread that ends. */
  readonly #onEnd: (thread: DummyThread) => void;
  #shape = '';

  constructor(cores: Cores, onEnd: (thread: DummyThread) => void) {
    this.#allCores = cores;
    this.#onEnd = onEnd;
  }

  /** The main thread last. */
  all(): DummyThread[] {
    return [...this.#pmds, this.main];
  }

  byCore(core: number): DummyThread | undefined {
    return this.all().find((t) => t.core === core);
  }

  /** Who handles what the queue of a port receives. */
  threadOf(port: PmdPort, queue: number): DummyThread {
    if (!port.netdev.isPmd) return this.main;
    return this.#byQueue.get(`${port.name}:${queue}`) ?? this.main;
  }

  /** The tx queue for a packet that `thread` sends. */
  txQueue(port: PmdPort, thread: DummyThread, hash: () => number): number {
    const n = Math.max(1, port.netdev.queues().tx);
    if (this.#portConfig.get(port.name)?.get('tx-steering') === 'hash') return hash() % n;
    return thread.txQueue % n;
  }

  configure(config: DpConfig, ports: readonly PmdPort[]): void {
    const again = this.config.apply(config);
    const before = this.#portConfig;
    this.#cpus = config.pmdCpus;
    this.#affinity = config.rxqAffinity;
    this.#portConfig = config.portConfig ?? new Map();
    for (const port of ports) {
      const mode = (all: typeof before) => (all.get(port.name)?.get('tx-steering') === 'hash' ? 'hash' : 'thread');
      if (mode(before) !== mode(this.#portConfig))
        log.info(`${port.name}: Tx packet steering mode has been set to '${mode(this.#portConfig)}'.`);
    }
    this.reconfigure(ports, again);
  }

  /** Brings threads and queues into line with ports and settings; nothing happens when nothing has changed. */
  reconfigure(ports: readonly PmdPort[], force = false): void {
    const pmdPorts = ports.filter((p) => p.netdev.isPmd);
    const shape = JSON.stringify([
      pmdPorts.map((p) => [p.odpPort, p.name, p.netdev.queues(), p.netdev.numaId?.() ?? 0]),
      this.#cpus,
      [...this.#affinity].map(([name, queues]) => [name, [...queues]]),
    ]);
    if (shape === this.#shape && !force) return;
    this.#shape = shape;
    this.#startAndEnd(this.#wantedCores(pmdPorts.length > 0));
    this.#schedule(pmdPorts);
  }

  /** Assigns the queues anew (dpif-netdev/pmd-rxq-rebalance). */
  rebalance(ports: readonly PmdPort[]): void {
    this.reconfigure(ports, true);
  }

  /** Those of pmd-cpu-mask, else one on each NUMA node; none without a device to poll. */
  #wantedCores(needed: boolean): SchedCore[] {
    if (!needed) return [];
    if (this.#cpus.length > 0) return this.#allCores.filter((c) => this.#cpus.includes(c.core));
    const nodes = new Set<number>();
    return this.#allCores.filter(({ numa }) => !nodes.has(numa) && nodes.add(numa));
  }

  #startAndEnd(wanted: readonly SchedCore[]): void {
    const gone = this.#pmds.filter((t) => !wanted.some((c) => c.core === t.core));
    const tell = (t: { core: number; numa: number }, what: string) =>
      log.info(`PMD thread on numa_id: ${t.numa}, core id: ${String(t.core).padStart(2)} ${what}.`);
    for (const thread of gone) {
      tell(thread, 'destroyed');
      this.#onEnd(thread);
    }
    const fresh = wanted.filter((c) => !this.#pmds.some((t) => t.core === c.core));
    for (const core of fresh) tell(core, 'created');
    this.#pmds = [
      ...this.#pmds.filter((t) => !gone.includes(t)),
      ...fresh.map(({ core, numa }) => new DummyThread(core, numa)),
    ].sort((a, b) => a.core - b.core);
    this.#pmds.forEach((t, i) => {
      t.txQueue = i;
    });
    this.main.txQueue = this.#pmds.length;
    if (gone.length + fresh.length === 0) return;
    for (const numa of new Set(wanted.map((c) => c.numa))) {
      const n = wanted.filter((c) => c.numa === numa).length;
      log.info(`There are ${n} pmd threads on numa node ${numa}`);
    }
  }

  #schedule(ports: readonly PmdPort[]): void {
    const rxqs: SchedRxq[] = ports.flatMap((p) =>
      Array.from({ length: p.netdev.queues().rx }, (_, queue) => ({
        port: p.name,
        portNo: p.odpPort,
        queue,
        numa: p.netdev.numaId?.() ?? 0,
        core: this.#affinity.get(p.name)?.get(queue),
        cycles: 0,
      })),
    );
    const { algorithm, isolate } = this.config.settings;
    const plan = scheduleRxqs(this.#pmds, rxqs, algorithm, isolate);
    for (const { level, text } of plan.log) log.log(level, text);
    this.#byQueue.clear();
    for (const t of this.#pmds) {
      t.rxqs = [];
      t.isolated = plan.isolated.has(t.core);
    }
    rxqs.forEach(({ port, queue }, i) => {
      const thread = this.#pmds.find((t) => t.core === plan.cores[i]);
      if (!thread) return;
      thread.rxqs.push({ port, queue });
      this.#byQueue.set(`${port}:${queue}`, thread);
      log.dbgRl(unlimited, `Core ${thread.core} processing port '${port}' with queue-id ${queue}\n`);
    });
  }
}
