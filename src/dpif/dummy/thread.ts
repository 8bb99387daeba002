import type { Flow } from '../../flow/flow.ts';
import type { DpThread } from '../dpif.ts';
import { type DummyFlow, DummyFlowTable } from './flow-table.ts';

/** A thread of the dummy datapath: nothing runs by itself, but flows, caches and counters are its own, as those of a real one. */

const EMC_ENTRIES = 8192;

/** An rx queue of a device that PMD threads poll. */
export interface DummyRxq {
  port: string;
  queue: number;
}

export type ThreadStats = DpThread['stats'];

const noStats = (): ThreadStats => ({
  packetsReceived: 0n,
  recirculations: 0n,
  simpleHits: 0n,
  emcHits: 0n,
  smcHits: 0n,
  megaflowHits: 0n,
  megaflowLookups: 0n,
  missUpcalls: 0n,
  lostUpcalls: 0n,
  rxBatches: 0n,
  busyNs: 0n,
  idleNs: 0n,
});

export class DummyThread {
  /** -1: the main thread. */
  readonly core: number;
  readonly numa: number;
  readonly table = new DummyFlowTable();
  /** Of the tx queues, the one that is its own where packets are not spread by their hash. */
  txQueue = 0;
  rxqs: DummyRxq[] = [];
  isolated = false;
  stats = noStats();
  /** By the whole key. */
  readonly #emc = new Map<string, DummyFlow>();
  readonly #smc = new Map<string, DummyFlow>();
  #inserts = 0;

  constructor(core: number, numa: number) {
    this.core = core;
    this.numa = numa;
  }

  clearStats(): void {
    this.stats = noStats();
  }

  /** Looks a packet up as the datapath does: simple match, the caches, the classifier. */
  lookup(key: Flow, config: { emcInsertInvProb: number; smcEnable: boolean }): DummyFlow | undefined {
    const simple = this.table.lookupSimple(key);
    if (simple) {
      this.stats.simpleHits++;
      return simple;
    }
    const id = Buffer.from(key.u8.buffer, key.u8.byteOffset, key.u8.byteLength).toString('latin1');
    if (config.emcInsertInvProb > 0) {
      const flow = this.#emc.get(id);
      if (flow && !flow.dead) {
        this.stats.emcHits++;
        return flow;
      }
    }
    if (config.smcEnable) {
      const flow = this.#smc.get(id);
      if (flow && !flow.dead) {
        this.stats.smcHits++;
        this.#emcInsert(id, flow, config.emcInsertInvProb);
        return flow;
      }
    }
    const found = this.table.lookup(key);
    if (!found) return undefined;
    this.stats.megaflowHits++;
    this.stats.megaflowLookups += BigInt(found.searched);
    this.#cache(id, found.flow, config);
    return found.flow;
  }

  /** After an upcall has installed a flow for the packet. */
  learn(key: Flow, config: { emcInsertInvProb: number; smcEnable: boolean }): void {
    const found = this.table.lookup(key);
    if (!found) return;
    const id = Buffer.from(key.u8.buffer, key.u8.byteOffset, key.u8.byteLength).toString('latin1');
    this.#cache(id, found.flow, config);
  }

  #cache(id: string, flow: DummyFlow, config: { emcInsertInvProb: number; smcEnable: boolean }): void {
    if (config.smcEnable) {
      if (this.#smc.size >= EMC_ENTRIES) this.#smc.clear();
      this.#smc.set(id, flow);
    }
    this.#emcInsert(id, flow, config.emcInsertInvProb);
  }

  /** One in `invProb`, counted rather than drawn, so that a run can be repeated. */
  #emcInsert(id: string, flow: DummyFlow, invProb: number): void {
    if (invProb <= 0 || ++this.#inserts % invProb !== 0) return;
    if (this.#emc.size >= EMC_ENTRIES) this.#emc.clear();
    this.#emc.set(id, flow);
  }

  info(): DpThread {
    const rxqs = this.rxqs.map(({ port, queue }) => ({ port, queue, enabled: true, usagePercent: 0 }));
    return { core: this.core, numa: this.numa, isolated: this.isolated, rxqs, stats: { ...this.stats } };
  }
}
