import { vlogModule } from '../../base/vlog.ts';
import { DpConfigLog } from '../dp-config-log.ts';
import type { DpConfig, DpThread } from '../dpif.ts';
import { PmdAutoLb, type PmdState } from '../pmd-auto-lb.ts';
import { type PmdSample, RxqLoads } from '../rxq-loads.ts';
import type { Counters } from './counters.ts';
import type { Newcomer, PmdHandle, PmdPool } from './pmd-pool.ts';
import {
  assignRxqs,
  type NamedRxq,
  type RxqAssignment,
  type RxqPlacement,
  type RxqPolicy,
  rxqKey,
  schedCores,
  schedRxq,
} from './rxq-assignment.ts';
import type { SocketPorts } from './socket-ports.ts';
import type { VhostPorts } from './vhost-ports.ts';

const log = vlogModule('dpif_netdev');

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
  #placement: readonly RxqPlacement[] = [];
  #isolated: ReadonlySet<number> = new Set();
  readonly #config = new DpConfigLog();
  readonly #loads = new RxqLoads();
  readonly #autoLb = new PmdAutoLb();
  /** What the queues were last assigned for: while it is the same, they stay where they are. */
  #shape = '';
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
      // Assigned anew when the way of assigning is another.
      if (this.#config.apply(config)) this.#shape = '';
      this.#autoLb.changed();
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

  /** Shares the rxqs of all ports out anew, by their loads of late (dpif-netdev/pmd-rxq-rebalance). */
  rebalance(): Promise<void> {
    this.#shape = '';
    return this.assign();
  }

  /** To be called several times a second: measures the queues' loads, and moves them when pmd-auto-lb wants it. */
  tick(nowMs: number): void {
    if (!this.#loads.sample(nowMs, () => this.#samples())) return;
    if (this.#autoLb.wants(nowMs, this.#config.autoLb, () => this.#state())) void this.rebalance();
  }

  #samples(): PmdSample[] {
    const { pool, counters } = this.#deps;
    const keys = new Map(this.#placement.map(({ rxq }) => [rxq.vring, rxqKey(rxq)]));
    return pool.pmds.map((pmd) => ({
      core: pmd.core,
      ...counters.busyAndIdle(pmd.index),
      rxqs: pmd.rxqs.flatMap((q, i) => {
        const key = keys.get(q.vring);
        return key === undefined ? [] : [{ key, packets: counters.rxqPackets(pmd.index, i) }];
      }),
    }));
  }

  #policy(): RxqPolicy {
    const { algorithm, isolate } = this.#config.settings;
    return { algorithm, isolate, affinity: this.#affinity, load: (key) => this.#loads.rxqNs(key) };
  }

  #state(): PmdState {
    const policy = this.#policy();
    return {
      ...policy,
      cores: schedCores(this.#deps.pool.pmds.map((p) => p.core)),
      rxqs: this.#placement.map(({ rxq }) => schedRxq(rxq, policy)),
      current: this.#placement.map(({ core }) => core),
      isolated: this.#isolated,
      overloaded: (core) => this.#loads.overloaded(core, this.#config.autoLb.load),
      time: (core) => this.#loads.pmdNs(core),
    };
  }

  /** Gives every rxq that there is a PMD. Those that have one keep it while nothing has changed but rings. Resolves when every PMD polls what it was given. */
  assign(): Promise<void> {
    this.#assigning = this.#assigning.then(() => this.#assignNow());
    return this.#assigning;
  }

  /** A ring has one reader: a PMD that loses an rxq has left it before another gets it. */
  async #assignNow(): Promise<void> {
    const { pmds } = this.#deps.pool;
    const cores = pmds.map((p) => p.core);
    this.#place(this.#rxqs(), cores);
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

  #place(rxqs: readonly NamedRxq[], cores: readonly number[]): void {
    const shape = JSON.stringify([
      rxqs.map((q) => [q.port, rxqKey(q)]),
      cores,
      [...this.#affinity].map(([name, queues]) => [name, [...queues]]),
    ]);
    if (shape === this.#shape) {
      const before = new Map(this.#placement.map(({ rxq, core }) => [rxqKey(rxq), core]));
      this.#placement = rxqs.flatMap((rxq) => {
        const core = before.get(rxqKey(rxq));
        return core === undefined ? [] : [{ rxq, core }];
      });
      return;
    }
    this.#shape = shape;
    this.#autoLb.changed();
    const { placement, isolated, log } = assignRxqs(rxqs, cores, this.#policy());
    this.#placement = placement;
    this.#isolated = isolated;
    this.#say(log);
  }

  #rxqs(): NamedRxq[] {
    return [...this.#deps.vhost.rxqs(), ...this.#deps.sockets.rxqs()];
  }

  #say(lines: RxqAssignment['log']): void {
    const warnings = lines.filter(({ level }) => level === 'warn').map(({ text }) => text);
    for (const { level, text } of lines) if (level === 'info') log.info(text);
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
      isolated: this.#isolated.has(pmd.core),
      rxqs: this.#rxqsOf(pmd),
      stats: counters.thread(pmd.index),
      perf: counters.perf(pmd.index),
    }));
  }

  /** The PMD's queues, its busy time of the last minute shared out by the packets of each; before an interval has ended, that of all its time. */
  #rxqsOf(pmd: PmdHandle): DpThread['rxqs'] {
    const { counters } = this.#deps;
    const packets = new Map(pmd.rxqs.map((q, i) => [q.vring, counters.rxqPackets(pmd.index, i)]));
    const all = [...packets.values()].reduce((sum, n) => sum + n, 0);
    const usage = counters.usage(pmd.index);
    return this.#placement
      .filter((p) => p.core === pmd.core)
      .map(({ rxq: { name, queue, enabled, vring } }) => {
        const timeNs = this.#loads.pmdNs(pmd.core);
        const share = all === 0 ? 0 : (packets.get(vring) ?? 0) / all;
        const percent = timeNs > 0 ? (this.#loads.rxqNs(rxqKey({ name, queue })) * 100) / timeNs : usage * share;
        return { port: name, queue, enabled, usagePercent: Math.round(percent) };
      });
  }
}
