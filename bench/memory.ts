/**
 * Memory of a megaflow, and of a PMD's caches: what the daemon's proportional set size grows by. Nothing is locked into memory, so that a page counts
 * once it is used.
 */
import type { OtherConfig } from './peers/bench-switch.ts';
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
const FILL_S = 6;
const flowgen = (nFlows: number) => ({ generator: 'testpmd-flowgen', nFlows, size: 60 }) as const;

/** A page that is touched for the first flow and counted for all of them is not a flow's: some are there before. */
const FLOWS_BEFORE = 500;

async function megaflows(peer: PeerName): Promise<{ nMegaflows: number; perMegaflow: number }> {
  const config: OtherConfig = { 'flow-limit': '200000', 'max-idle': '120000', 'emc-insert-inv-prob': '0' };
  return await using(start(peer, { ruleset: 'megaflow-each.flows', config, lockMemory: false }), async (sw) => {
    const sockets = [sw.socket(1), sw.socket(2)];
    const look = async () => ({ bytes: sw.memoryBytes(), n: await sw.nMegaflows() });
    const before = await withGenerator(sockets, flowgen(FLOWS_BEFORE), FILL_S, look);
    const after = await withGenerator(sockets, flowgen(FLOWS_A_PORT), FILL_S, look);
    return { nMegaflows: after.n, perMegaflow: (after.bytes - before.bytes) / (after.n - before.n) };
  });
}

const CACHES_ON: OtherConfig = { 'emc-insert-inv-prob': '1', 'smc-enable': 'true' };
const CACHES_OFF: OtherConfig = { 'emc-insert-inv-prob': '0', 'smc-enable': 'false' };

/** The same traffic, a million flows under wide megaflows, with both caches and with neither. */
async function caches(peer: PeerName): Promise<number> {
  const use = (config: OtherConfig) =>
    using(start(peer, { ruleset: 'l3l4-1m.flows', config, lockMemory: false }), (sw) =>
      withGenerator([sw.socket(1), sw.socket(2)], flowgen(500_000), FILL_S, async () => sw.memoryBytes()),
    );
  return (await use(CACHES_ON)) - (await use(CACHES_OFF));
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
