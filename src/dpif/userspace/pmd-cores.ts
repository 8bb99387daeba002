import type { DpConfig, DpThread } from '../dpif.ts';
import type { Counters } from './counters.ts';
import type { Newcomer, PmdHandle, PmdPool } from './pmd-pool.ts';
import { assignRxqs, type NamedRxq, type RxqPlacement } from './rxq-assignment.ts';
import type { SocketPorts } from './socket-ports.ts';
import type { VhostPorts } from './vhost-ports.ts';

export interface PmdCoresDeps {
  pool: PmdPool;
  vhost: VhostPorts;
  sockets: SocketPorts;
  counters: Counters;
  /** Until `pmd-cpu-mask` names others. */
  defaultCores: readonly number[];
  /** The thread of that index runs and may send packets up. Called again for one that already did. */
  onThread(index: number): void;
  warn(message: string): void;
}

/** Which cores have a PMD, and which PMD polls which rxq. Changes are made one after the other, whoever asks. Control thread only. */
export class PmdCores {
  readonly #deps: PmdCoresDeps;
  #cores: readonly number[];
  #started = false;
  #affinity: DpConfig['rxqAffinity'] = new Map();
  #placement: RxqPlacement[] = [];
  /** What was said of the last assignment: it is not said again with each queue that comes. */
  #said: ReadonlySet<string> = new Set();
  #configuring: Promise<void> = Promise.resolve();
  #assigning: Promise<void> = Promise.resolve();

  constructor(deps: PmdCoresDeps) {
    this.#deps = deps;
    this.#cores = deps.defaultCores;
  }

  /** Takes `config` over with what it says of cores and queues, after `publish` has told the threads the rest. Rejects when a PMD can't start. */
  configure(config: DpConfig, publish: () => void): Promise<void> {
    return this.#inTurn(async () => {
      publish();
      this.#affinity = config.rxqAffinity;
      if (config.pmdCpus.length > 0) this.#cores = config.pmdCpus;
      if (this.#started) await this.#start();
      await this.assign();
    });
  }

  /** PMDs start with the first port that needs one. */
  async ensureStarted(): Promise<void> {
    if (this.#started) return;
    this.#started = true;
    await this.#inTurn(() => this.#start());
  }

  /** Resolves when all PMDs have ended. */
  async stop(): Promise<void> {
    await this.#deps.pool.setCores([], this.#newcomer());
  }

  /** Also after a change that failed the next one is made. */
  #inTurn(change: () => Promise<void>): Promise<void> {
    const done = this.#configuring.then(change);
    this.#configuring = done.catch(() => {});
    return done;
  }

  async #start(): Promise<void> {
    const { pool, onThread } = this.#deps;
    try {
      await pool.setCores(this.#cores, this.#newcomer());
    } finally {
      for (const pmd of pool.pmds) onThread(pmd.index);
      await this.assign();
    }
  }

  /** What a new PMD is told. */
  #newcomer(): Newcomer {
    const { vhost, sockets } = this.#deps;
    return {
      threadsChanged: () => {
        sockets.threadsChanged();
        return vhost.threadsChanged();
      },
      requests: (index) => [...vhost.requests(), ...sockets.requests(index)],
    };
  }

  /** Shares the rxqs of all ports out anew. Resolves when every PMD polls what it was given. */
  assign(): Promise<void> {
    this.#assigning = this.#assigning.then(() => this.#assignNow());
    return this.#assigning;
  }

  /** A ring has one reader: a PMD that loses an rxq has left it before another gets it. */
  async #assignNow(): Promise<void> {
    const { pmds } = this.#deps.pool;
    const cores = pmds.map((p) => p.core);
    const { placement, warnings } = assignRxqs(this.#rxqs(), cores, this.#affinity);
    this.#placement = placement;
    this.#say(warnings);
    const rxqsOf = (pmd: PmdHandle) =>
      this.#placement.filter((p) => p.core === pmd.core && p.rxq.enabled).map((p) => p.rxq);
    const kept = (pmd: PmdHandle) => {
      const next = new Set(rxqsOf(pmd).map((q) => q.vring));
      return pmd.rxqs.filter((q) => next.has(q.vring));
    };
    const losers = pmds.filter((pmd) => kept(pmd).length < pmd.rxqs.length);
    await Promise.all(losers.map((pmd) => pmd.setRxqs(kept(pmd))));
    await Promise.all(pmds.map((pmd) => pmd.setRxqs(rxqsOf(pmd))));
  }

  #rxqs(): NamedRxq[] {
    return [...this.#deps.vhost.rxqs(), ...this.#deps.sockets.rxqs()];
  }

  #say(warnings: readonly string[]): void {
    for (const text of warnings) if (!this.#said.has(text)) this.#deps.warn(text);
    this.#said = new Set(warnings);
  }

  /** A thread's fast path trapped, at the ring that starts at `vring`; 0: at none. */
  onTrap(vring: number, message: string): void {
    const { vhost, sockets, warn } = this.#deps;
    const port = vring ? (vhost.portOfVring(vring) ?? sockets.portOfRing(vring)) : undefined;
    warn(port ? `${port.name}: a ring of the guest is broken (${message})` : `the fast path trapped: ${message}`);
  }

  /** Tells the operator of rings that guests have broken, each once. */
  warnOfBroken(): void {
    for (const { name, index, why } of this.#deps.vhost.takeBroken())
      this.#deps.warn(
        `${name}: the guest broke its ring ${index} (${why}); it is left alone until the guest sets it up anew`,
      );
  }

  /** One entry a PMD. */
  threads(): DpThread[] {
    const { pool, counters } = this.#deps;
    return pool.pmds.map((pmd) => ({
      core: pmd.core,
      numa: 0,
      isolated: this.#placement.some((p) => p.core === pmd.core && p.pinned),
      rxqs: this.#rxqsOf(pmd),
      stats: counters.thread(pmd.index),
      perf: counters.perf(pmd.index),
    }));
  }

  /** The PMD's queues, its busy time shared out by the packets of each. */
  #rxqsOf(pmd: PmdHandle): DpThread['rxqs'] {
    const { counters } = this.#deps;
    const packets = new Map(pmd.rxqs.map((q, i) => [q.vring, counters.rxqPackets(pmd.index, i)]));
    const all = [...packets.values()].reduce((sum, n) => sum + n, 0);
    const usage = counters.usage(pmd.index);
    return this.#placement
      .filter((p) => p.core === pmd.core)
      .map(({ rxq: { name, queue, enabled, vring } }) => {
        const share = all === 0 ? 0 : (packets.get(vring) ?? 0) / all;
        return { port: name, queue, enabled, usagePercent: Math.round(usage * share) };
      });
  }
}
