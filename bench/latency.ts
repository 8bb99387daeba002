/** Latency through a switch at parts of the load that Open vSwitch can bear on this machine, one direction. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BenchSwitch, GENERATOR_CORE, SWITCH_CORE } from './peers/bench-switch.ts';
import type { LatencyAnswer } from './peers/latency-probe.ts';
import { Running } from './peers/process.ts';
import { startVhostForwarder } from './peers/vhost-pmd.ts';
import { inPairs, type Plan, type Runs, ratiosOf, spreadOf, start, using } from './plan.ts';
import type { LatencyRow } from './rows.ts';
import { type Spread, spread } from './statistics.ts';

/** Latency at one load. */
export type LatencyPoint = LatencyAnswer & { load: number };

export interface LatencyResult {
  row: LatencyRow;
  /** Packets a second that Open vSwitch (or the switch that runs alone) can bear: what the loads are parts of. */
  capacityPps: number;
  /** The same against DPDK's own vhost driver, which does not look at the packets: what of the figures is the probe's own. */
  floor: LatencyPoint[];
  runs: Runs<LatencyPoint[]>;
  /** Turnout's p99 divided by Open vSwitch's at the row's load; the same of p99.99. */
  ratio?: Spread;
  p9999Ratio?: Spread;
}

const RULESET = 'l3l4-1k.flows';
const program = join(dirname(fileURLToPath(import.meta.url)), 'peers/latency-probe.ts');

async function withProbe<T>(sockets: readonly string[], use: (ask: Ask) => Promise<T>): Promise<T> {
  const node = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    '--no-liftoff',
    '--no-wasm-lazy-compilation',
  ];
  const pinned = ['taskset', '-c', String(GENERATOR_CORE)];
  const probe = await Running.start('latency-probe', [...pinned, ...node, program, ...sockets]);
  try {
    await probe.waitFor(/^ready$/m);
    return await use(async (pps, seconds) => {
      const from = probe.output.length;
      probe.write(`${pps} ${seconds}`);
      const answer = await probe.waitFor(/^\{.*\}$/m, from);
      return JSON.parse(answer[0]) as LatencyAnswer;
    });
  } finally {
    await probe.stop('SIGKILL');
  }
}

type Ask = (pps: number, seconds: number) => Promise<LatencyAnswer>;

/** A first second warms everything up. */
const WARMUP_S = 1;

async function measureLoads(
  sockets: readonly string[],
  loads: readonly number[],
  capacityPps: number,
  seconds: number,
) {
  return await withProbe(sockets, async (ask) => {
    await ask(capacityPps / 2, WARMUP_S);
    const points: LatencyPoint[] = [];
    for (const load of loads) {
      const answer = await ask(load * capacityPps, seconds);
      if (answer.nBursts === 0)
        throw new Error(
          `packets were lost in every round at ${load * 100} % load: give it --seconds, or a quiet machine`,
        );
      points.push({ load, ...answer });
    }
    return points;
  });
}

const socketsOf = (sw: BenchSwitch) => [sw.socket(1), sw.socket(2)];

async function measureCapacity(plan: Plan): Promise<number> {
  const peer = plan.peers.includes('ovs-dpdk') ? 'ovs-dpdk' : plan.peers[0]!;
  const answer = await using(start(peer, { ruleset: RULESET }), (sw) =>
    withProbe(socketsOf(sw), async (ask) => {
      await ask(0, WARMUP_S);
      return await ask(0, plan.timing.measureS);
    }),
  );
  plan.progress(`latency: ${peer} bears ${(answer.pps / 1e6).toFixed(2)} Mpps of the probe`);
  return answer.pps;
}

async function measureFloor(row: LatencyRow, capacityPps: number, plan: Plan): Promise<LatencyPoint[]> {
  const forwarder = await startVhostForwarder(SWITCH_CORE);
  try {
    return await measureLoads(forwarder.sockets, row.loads, capacityPps, plan.timing.measureS);
  } finally {
    await forwarder.stop();
  }
}

const us = (ns: number) => (ns / 1000).toFixed(1);

export async function compareLatency(row: LatencyRow, plan: Plan): Promise<LatencyResult> {
  const capacityPps = await measureCapacity(plan);
  const floor = await measureFloor(row, capacityPps, plan);
  const runs = await inPairs(
    row.name,
    plan,
    { ruleset: RULESET },
    (sw) => measureLoads(socketsOf(sw), row.loads, capacityPps, plan.timing.measureS),
    ([half]) =>
      `at half load p50 ${us(half!.p50)} us, p99 ${us(half!.p99)}, p99.99 ${us(half!.p9999)}, lost ${half!.lost}`,
  );
  const ratio = (key: 'p99' | 'p9999') => spreadOf(ratiosOf(runs, (points) => points[0]![key])).ratio;
  const [p99, p9999] = [ratio('p99'), ratio('p9999')];
  return { row, capacityPps, floor, runs, ...(p99 && { ratio: p99 }), ...(p9999 && { p9999Ratio: p9999 }) };
}

/** The spread of one figure over the starts of a switch at one load, in microseconds. */
export function latencyAt(runs: readonly LatencyPoint[][], load: number, key: 'p50' | 'p99' | 'p9999'): Spread {
  return spread(runs.map((points) => points.find((point) => point.load === load)![key] / 1000));
}
