/**
 * Memory of a megaflow: what the daemon's proportional set size grows by. Nothing is locked into memory, so that a page counts once it is used.
 *
 * Memory of a PMD's caches: of Turnout what the arena declares for a thread's EMC and SMC; of Open vSwitch, which touches its caches when it makes a PMD,
 * what a second PMD adds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ARENA_EMC_STRIDE, ARENA_SMC_STRIDE } from '../src/gen/arena.ts';
import type { BenchSwitch, OtherConfig } from './peers/bench-switch.ts';
import { type PeerName, type Plan, type Runs, ratiosOf, spreadOf, spreadsOf, start, using } from './plan.ts';
import type { MemoryRow } from './rows.ts';
import type { Spread } from './statistics.ts';
import { withGenerator } from './throughput.ts';

export interface MemoryUse {
  nMegaflows: number;
  /** Bytes a megaflow, with what the control plane keeps of it. */
  perMegaflow: number;
  /** Bytes that a PMD's exact-match and signature caches come to once traffic has filled them. */
  caches: number;
}

export interface MemoryResult {
  row: MemoryRow;
  runs: Runs<MemoryUse>;
  perMegaflow: Partial<Record<PeerName, Spread>>;
  caches: Partial<Record<PeerName, Spread>>;
  /** Turnout's bytes a megaflow divided by Open vSwitch's; the same of the caches. */
  ratio?: Spread;
  cachesRatio?: Spread;
}

const FLOWS_A_PORT = 50_000;
/** Once no more come, or after so long, the megaflows are counted. */
const FILL_S = { look: 2, most: 60 };
const flowgen = (nFlows: number) => ({ generator: 'testpmd-flowgen', nFlows, size: 60 }) as const;

/** A page that is touched for the first flow and counted for all of them is not a flow's: some are there before. */
const FLOWS_BEFORE = 500;

async function filled(sw: BenchSwitch): Promise<{ bytes: number; n: number }> {
  let n = await sw.nMegaflows();
  for (const end = performance.now() + FILL_S.most * 1000; performance.now() < end; ) {
    await sleep(FILL_S.look * 1000);
    const now = await sw.nMegaflows();
    if (now === n) break;
    n = now;
  }
  return { bytes: sw.memoryBytes(), n };
}

async function megaflows(peer: PeerName): Promise<{ nMegaflows: number; perMegaflow: number }> {
  const config: OtherConfig = { 'flow-limit': '200000', 'max-idle': '120000', 'emc-insert-inv-prob': '0' };
  return await using(start(peer, { ruleset: 'megaflow-each.flows', config, lockMemory: false }), async (sw) => {
    const sockets = [sw.socket(1), sw.socket(2)];
    const before = await withGenerator(sockets, flowgen(FLOWS_BEFORE), 1, () => filled(sw));
    const after = await withGenerator(sockets, flowgen(FLOWS_A_PORT), 1, () => filled(sw));
    return { nMegaflows: after.n, perMegaflow: (after.bytes - before.bytes) / (after.n - before.n) };
  });
}

/** Long enough for a PMD to have started, and for what starting leaves behind to be given back. */
const SETTLE_S = 2;

async function caches(peer: PeerName): Promise<number> {
  if (peer === 'turnout') return ARENA_EMC_STRIDE + ARENA_SMC_STRIDE;
  const config: OtherConfig = { 'smc-enable': 'true' };
  return await using(start(peer, { ruleset: 'bare-in-port.flows', config, lockMemory: false }), async (sw) => {
    await sleep(SETTLE_S * 1000);
    const one = sw.memoryBytes();
    await sw.setConfig({ 'pmd-cpu-mask': '0x3' });
    await sleep(SETTLE_S * 1000);
    return sw.memoryBytes() - one;
  });
}

export async function compareMemory(row: MemoryRow, plan: Plan): Promise<MemoryResult> {
  const runs: Runs<MemoryUse> = {};
  for (let pair = 0; pair < plan.pairs; pair += 1) {
    for (const peer of plan.peers) {
      const run = { ...(await megaflows(peer)), caches: await caches(peer) };
      plan.progress(
        `memory: pair ${pair + 1} of ${plan.pairs}: ${peer}: ${run.perMegaflow.toFixed(0)} B a megaflow (${run.nMegaflows} of them), caches ${(run.caches / 2 ** 20).toFixed(2)} MiB`,
      );
      runs[peer] = [...(runs[peer] ?? []), run];
    }
  }
  const { ratio: cachesRatio } = spreadOf(ratiosOf(runs, (run) => run.caches));
  return {
    row,
    runs,
    perMegaflow: spreadsOf(runs, (run) => run.perMegaflow),
    caches: spreadsOf(runs, (run) => run.caches),
    ...spreadOf(ratiosOf(runs, (run) => run.perMegaflow)),
    ...(cachesRatio && { cachesRatio }),
  };
}
