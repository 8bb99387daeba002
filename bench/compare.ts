/** Runs a row of the table: pairs of fresh starts, A B A B, and what they have to do with each other. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Control, type ControlSpreads, controlSpreads, measureControl } from './control.ts';
import { type Idle, measureIdle, measureProbeFloor } from './idle.ts';
import type { BenchSwitch, OtherConfig } from './peers/bench-switch.ts';
import { OVS_IDLE, OVS_VARIANTS, startOvsDpdk } from './peers/ovs-dpdk.ts';
import { startTurnout } from './peers/turnout.ts';
import type { ControlRow, IdleRow, ThroughputRow } from './rows.ts';
import { type Spread, spread } from './statistics.ts';
import { measureGeneratorAlone, measureThroughput, type Throughput, type Timing } from './throughput.ts';

export type PeerName = 'turnout' | 'ovs-dpdk';

export interface Plan {
  pairs: number;
  timing: Timing;
  /** Seconds of each silence of the idle row. */
  silenceS: number;
  peers: readonly PeerName[];
  progress: (text: string) => void;
}

export interface ThroughputResult {
  row: ThroughputRow;
  /** What the generator does with DPDK's own vhost driver in place of a switch, in Mpps: it must not be the bottleneck. */
  generatorAlone: Spread;
  /** Each setting's rate, and the one that was taken. */
  ovsVariants: Record<string, number>;
  ovsVariant: string;
  runs: Partial<Record<PeerName, Throughput[]>>;
  mpps: Partial<Record<PeerName, Spread>>;
  mppsPerCpu: Partial<Record<PeerName, Spread>>;
  /** Turnout divided by Open vSwitch, of each pair. */
  ratios: number[];
  ratio?: Spread;
}

export interface IdleResult {
  row: IdleRow;
  /** What of firstPacketUs is the probe's own: the same against a forwarder that polls all the time. */
  probeFloorUs: Spread;
  /** ovs-dpdk-sleeping: with pmd-maxsleep. */
  runs: Partial<Record<PeerName | 'ovs-dpdk-sleeping', Idle>>;
}

export interface ControlResult {
  row: ControlRow;
  runs: Partial<Record<PeerName, Control[]>>;
  spreads: Partial<Record<PeerName, ControlSpreads>>;
  /** Turnout's flow-mods a second divided by Open vSwitch's, of the pairs. */
  ratio?: Spread;
}

const rulesets = join(dirname(fileURLToPath(import.meta.url)), 'rulesets');

async function using<T>(starting: Promise<BenchSwitch>, use: (sw: BenchSwitch) => Promise<T>): Promise<T> {
  const sw = await starting;
  try {
    return await use(sw);
  } finally {
    await sw.stop();
  }
}

/** Measures every setting of Open vSwitch once; returns the rates. */
async function tryOvsVariants(row: ThroughputRow, plan: Plan): Promise<Record<string, number>> {
  const rates: Record<string, number> = {};
  for (const [name, config] of Object.entries(OVS_VARIANTS)) {
    const { mpps } = await using(startOvsDpdk(config, join(rulesets, row.ruleset)), (sw) =>
      measureThroughput(sw, row.nFlows, plan.timing),
    );
    plan.progress(`${row.name}: ovs-dpdk ${name}: ${mpps.toFixed(2)} Mpps`);
    rates[name] = mpps;
  }
  return rates;
}

/** Up to three fresh starts of the generator alone. */
async function measureProof(row: ThroughputRow, plan: Plan): Promise<Spread> {
  const rates: number[] = [];
  for (let i = 0; i < Math.min(plan.pairs, 3); i += 1) {
    const { mpps } = await measureGeneratorAlone(row.nFlows, plan.timing);
    plan.progress(`${row.name}: generator alone: ${mpps.toFixed(2)} Mpps`);
    rates.push(mpps);
  }
  return spread(rates);
}

function start(peer: PeerName, config: OtherConfig, ruleset: string): Promise<BenchSwitch> {
  return peer === 'turnout' ? startTurnout({}, ruleset) : startOvsDpdk(config, ruleset);
}

export async function compareThroughput(row: ThroughputRow, plan: Plan): Promise<ThroughputResult> {
  const generatorAlone = await measureProof(row, plan);
  const ovsVariants = plan.peers.includes('ovs-dpdk') ? await tryOvsVariants(row, plan) : {};
  const ovsVariant = Object.keys(ovsVariants).reduce(
    (best, name) => (ovsVariants[name] > ovsVariants[best] ? name : best),
    'emc',
  );
  const runs: Partial<Record<PeerName, Throughput[]>> = {};
  for (let pair = 0; pair < plan.pairs; pair += 1) {
    for (const peer of plan.peers) {
      const started = start(peer, OVS_VARIANTS[ovsVariant], join(rulesets, row.ruleset));
      const run = await using(started, (sw) => measureThroughput(sw, row.nFlows, plan.timing));
      plan.progress(`${row.name}: pair ${pair + 1}: ${peer}: ${run.mpps.toFixed(2)} Mpps, ${run.nMegaflows} megaflows`);
      runs[peer] = [...(runs[peer] ?? []), run];
    }
  }
  return { row, generatorAlone, ovsVariants, ovsVariant, runs, ...relate(runs) };
}

/** Medians a switch, and the ratios of the pairs when both ran. */
export function relate(
  runs: Partial<Record<PeerName, Throughput[]>>,
): Pick<ThroughputResult, 'mpps' | 'mppsPerCpu' | 'ratios' | 'ratio'> {
  const peers = Object.keys(runs) as PeerName[];
  const of = (key: 'mpps' | 'mppsPerCpu') =>
    Object.fromEntries(peers.map((peer) => [peer, spread(runs[peer]!.map((run) => run[key]))]));
  const { turnout = [], 'ovs-dpdk': ovs = [] } = runs;
  const ratios = ovs.length === turnout.length ? turnout.map((run, i) => run.mpps / ovs[i].mpps) : [];
  return {
    mpps: of('mpps'),
    mppsPerCpu: of('mppsPerCpu'),
    ratios,
    ...(ratios.length > 0 ? { ratio: spread(ratios) } : {}),
  };
}

export async function compareIdle(row: IdleRow, plan: Plan): Promise<IdleResult> {
  const ruleset = join(rulesets, 'bare-in-port.flows');
  const probeFloorUs = await measureProbeFloor(plan.pairs);
  plan.progress(`idle: the probe's own time: ${probeFloorUs.median.toFixed(0)} us`);
  const runs: IdleResult['runs'] = {};
  const measure = async (name: keyof IdleResult['runs'], starting: Promise<BenchSwitch>) => {
    const idle = await using(starting, (sw) => measureIdle(sw, plan.pairs, plan.silenceS));
    plan.progress(
      `idle: ${name}: ${(idle.cpu.median * 100).toFixed(1)} % CPU, first packet ${idle.firstPacketUs.median.toFixed(0)} us`,
    );
    runs[name] = idle;
  };
  if (plan.peers.includes('turnout')) await measure('turnout', startTurnout({}, ruleset));
  if (plan.peers.includes('ovs-dpdk')) {
    await measure('ovs-dpdk', startOvsDpdk({}, ruleset));
    await measure('ovs-dpdk-sleeping', startOvsDpdk(OVS_IDLE, ruleset));
  }
  return { row, probeFloorUs, runs };
}

export async function compareControl(row: ControlRow, plan: Plan): Promise<ControlResult> {
  const runs: ControlResult['runs'] = {};
  for (let pair = 0; pair < plan.pairs; pair += 1) {
    for (const peer of plan.peers) {
      const run = await using(start(peer, {}, join(rulesets, 'bare-in-port.flows')), measureControl);
      plan.progress(`control: pair ${pair + 1}: ${peer}: ${Math.round(run.flowModsPerSecond)} flow-mods/s`);
      runs[peer] = [...(runs[peer] ?? []), run];
    }
  }
  const { turnout, 'ovs-dpdk': ovs } = runs;
  const spreads = Object.fromEntries(Object.entries(runs).map(([peer, list]) => [peer, controlSpreads(list)]));
  if (!turnout || !ovs) return { row, runs, spreads };
  const ratios = turnout.map((run, i) => run.flowModsPerSecond / ovs[i].flowModsPerSecond);
  return { row, runs, spreads, ratio: spread(ratios) };
}
