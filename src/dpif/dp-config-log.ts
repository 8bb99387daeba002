import { vlogModule } from '../base/vlog.ts';
import type { DpConfig } from './dpif.ts';
import type { AutoLbSettings } from './pmd-auto-lb.ts';
import type { RxqAlgorithm } from './rxq-schedule.ts';

/** Open_vSwitch.other_config as a userspace datapath takes it, telling what changed in Open vSwitch's words. */

const log = vlogModule('dpif_netdev');

const DEFAULT_EMC_INV_PROB = 100;
const MAX_SLEEP_US = 10_000;
const ALB = { interval: 1, improve: 25, load: 95 } as const;
const ALB_MAX_INTERVAL = 20_000;

export interface NetdevDpSettings {
  emcInsertInvProb: number;
  smcEnable: boolean;
  algorithm: RxqAlgorithm;
  isolate: boolean;
  perfMetrics: boolean;
}

const ALGORITHMS: readonly RxqAlgorithm[] = ['roundrobin', 'cycles', 'group'];

export class DpConfigLog {
  readonly settings: NetdevDpSettings = {
    emcInsertInvProb: DEFAULT_EMC_INV_PROB,
    smcEnable: false,
    algorithm: 'cycles',
    isolate: true,
    perfMetrics: false,
  };
  #txFlushUs = 0;
  #maxSleepUs: number | undefined;
  #alb: AutoLbSettings | undefined;

  /** Off until the first configuration. */
  get autoLb(): AutoLbSettings {
    return this.#alb ?? { enabled: false, ...ALB };
  }

  /** Takes a configuration over; true when the queues have to be assigned anew. */
  apply(config: DpConfig): boolean {
    const other = config.otherConfig ?? new Map<string, string>();
    const uint = (key: string, fallback: number) => {
      const text = other.get(key);
      return text !== undefined && /^\d+$/.test(text) ? Number(text) : fallback;
    };
    const bool = (key: string) => other.get(key)?.toLowerCase() === 'true';
    this.#txFlush(uint('tx-flush-interval', 0));
    this.#emc(config.emcInsertInvProb);
    this.#perf(bool('pmd-perf-metrics'));
    this.#smc(config.smcEnable);
    const before = { ...this.settings };
    this.#assign(other.get('pmd-rxq-assign') ?? 'cycles');
    this.#isolate(other.get('pmd-rxq-isolate')?.toLowerCase() !== 'false');
    this.#autoBalance(bool('pmd-auto-lb'), {
      interval: uint('pmd-auto-lb-rebal-interval', ALB.interval),
      improve: uint('pmd-auto-lb-improvement-threshold', ALB.improve),
      load: uint('pmd-auto-lb-load-threshold', ALB.load),
    });
    this.#sleep(Math.min(MAX_SLEEP_US, uint('pmd-maxsleep', 0)));
    return before.algorithm !== this.settings.algorithm || before.isolate !== this.settings.isolate;
  }

  #txFlush(us: number): void {
    if (us === this.#txFlushUs) return;
    this.#txFlushUs = us;
    log.info(`Flushing interval for tx queues set to ${us} us`);
  }

  #emc(invProb: number): void {
    const now = invProb <= 0xffffffff ? invProb : DEFAULT_EMC_INV_PROB;
    if (now === this.settings.emcInsertInvProb) return;
    this.settings.emcInsertInvProb = now;
    if (now === 0) log.info('EMC insertion probability changed to zero');
    else log.info(`EMC insertion probability changed to 1/${now} (~${(100 / now).toFixed(2)}%)`);
  }

  #perf(on: boolean): void {
    if (on === this.settings.perfMetrics) return;
    this.settings.perfMetrics = on;
    log.info(`PMD performance metrics collection ${on ? 'enabled' : 'disabled'}`);
  }

  #smc(on: boolean): void {
    if (on === this.settings.smcEnable) return;
    this.settings.smcEnable = on;
    log.info(`SMC cache is ${on ? 'enabled' : 'disabled'}`);
  }

  #assign(text: string): void {
    let algorithm = ALGORITHMS.find((a) => a === text);
    if (!algorithm) {
      log.warn("Unsupported rx queue to PMD assignment mode in pmd-rxq-assign. Defaulting to 'cycles'.");
      algorithm = 'cycles';
    }
    if (algorithm === this.settings.algorithm) return;
    this.settings.algorithm = algorithm;
    log.info(`Rxq to PMD assignment mode changed to: '${algorithm}'.`);
  }

  #isolate(wanted: boolean): void {
    let isolate = wanted;
    if (this.settings.algorithm !== 'group' && !isolate) {
      log.warn('pmd-rxq-isolate can only be set false when using pmd-rxq-assign=group');
      isolate = true;
    }
    if (isolate === this.settings.isolate) return;
    this.settings.isolate = isolate;
    log.info(isolate ? 'pmd-rxq-affinity isolates PMD core' : 'pmd-rxq-affinity does not isolate PMD core');
  }

  #autoBalance(enabled: boolean, wanted: { interval: number; improve: number; load: number }): void {
    const interval = wanted.interval > ALB_MAX_INTERVAL ? ALB.interval : wanted.interval || 1;
    const improve = wanted.improve > 100 ? ALB.improve : wanted.improve;
    const load = wanted.load > 100 ? ALB.load : wanted.load;
    const before = this.#alb;
    this.#alb = { enabled, interval, improve, load };
    let changed = false;
    const tell = (now: number, then: number | undefined, text: string) => {
      if (now === then) return;
      log.info(text);
      changed = true;
    };
    tell(interval, before?.interval, `PMD auto load balance interval set to ${interval} mins\n`);
    tell(improve, before?.improve, `PMD auto load balance improvement threshold set to ${improve}%`);
    tell(load, before?.load, `PMD auto load balance load threshold set to ${load}%`);
    if (enabled === (before?.enabled ?? false) && !changed) return;
    if (enabled)
      log.info(
        `PMD auto load balance is enabled, interval ${interval} mins, pmd load threshold ${load}%, ` +
          `improvement threshold ${improve}%.`,
      );
    else log.info('PMD auto load balance is disabled.');
  }

  #sleep(us: number): void {
    if (us === this.#maxSleepUs) return;
    this.#maxSleepUs = us;
    log.info(`PMD max sleep request is ${us} usecs.`);
    log.info(`PMD load based sleeps are ${us ? 'enabled' : 'disabled'}.`);
  }
}
