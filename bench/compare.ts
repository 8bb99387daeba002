/** Runs the rows whose measurement is in throughput.ts, idle.ts and control.ts. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Control, type ControlSpreads, controlSpreads, measureControl } from './control.ts';
import { type Idle, measureIdle, measureProbeFloor } from './idle.ts';
import type { BenchSwitch } from './peers/bench-switch.ts';
import { OVS_IDLE, OVS_VARIANTS, startOvsDpdk, variantConfig } from './peers/ovs-dpdk.ts';
import { startTurnout } from './peers/turnout.ts';
import {
  inPairs,
  type PeerName,
  type Plan,
  type Runs,
  ratiosOf,
  rulesetFile,
  spreadOf,
  spreadsOf,
  using,
} from './plan.ts';
import type { ControlRow, IdleRow, ThroughputRow } from './rows.ts';
import { type Spread, spread } from './statistics.ts';
import {
  measureGeneratorAlone,
  measureThroughput,
  rates,
  type Throughput,
  type Timing,
  withGenerator,
} from './throughput.ts';
import { describeTraffic } from './traffic.ts';

export interface ThroughputResult {
  row: ThroughputRow;
  /** What was sent, in words. */
  traffic: string;
  timing: Timing;
  /** What the generator does with DPDK's own vhost driver in place of a switch, in Mpps: it must not be the bottleneck. */
  generatorAlone: Spread;
  /** Each setting's rate, and the one that was taken. */
  ovsVariants: Record<string, number>;
  ovsVariant: string;
  runs: Runs<Throughput>;
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

/** What a setting gets to fill its caches before it is measured, and the measurement. */
const VARIANT_SETTLE_S = 1.5;
const VARIANT_MEASURE_S = 1;

/** Tries every setting on one start under the row's own traffic; returns the rates. */
export async function tryOvsVariants(row: ThroughputRow, plan: Plan): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  const tryAll = async (sw: BenchSwitch) =>
    withGenerator([sw.socket(1), sw.socket(2)], row.traffic, row.warmupS ?? 0, async (generator) => {
      for (const name of Object.keys(OVS_VARIANTS)) {
        await sw.setConfig(variantConfig(name));
        await sleep(VARIANT_SETTLE_S * 1000);
        found[name] = (await rates(generator, VARIANT_MEASURE_S)).mpps;
        plan.progress(`${row.name}: ovs-dpdk ${name}: ${found[name].toFixed(2)} Mpps`);
      }
    });
  await using(startOvsDpdk(row.config ?? {}, rulesetFile(row.ruleset)), tryAll);
  return found;
}

/** Up to two fresh starts of the generator alone. */
async function measureProof(row: ThroughputRow, plan: Plan): Promise<Spread> {
  const alone: number[] = [];
  for (let i = 0; i < Math.min(plan.pairs, 2); i += 1) {
    const { mpps } = await measureGeneratorAlone(row.traffic, plan.timing);
    plan.progress(`${row.name}: generator alone: ${mpps.toFixed(2)} Mpps`);
    alone.push(mpps);
  }
  return spread(alone);
}

export function bestVariant(found: Record<string, number>): string {
  return Object.keys(found).reduce((best, name) => (found[name]! > (found[best] ?? 0) ? name : best), 'emc');
}

export async function compareThroughput(row: ThroughputRow, plan: Plan): Promise<ThroughputResult> {
  const generatorAlone = await measureProof(row, plan);
  const tries = plan.tryVariants && plan.peers.includes('ovs-dpdk');
  const ovsVariants = tries ? await tryOvsVariants(row, plan) : {};
  const ovsVariant = bestVariant(ovsVariants);
  const timing = { ...plan.timing, warmupS: Math.max(plan.timing.warmupS, row.warmupS ?? 0) };
  const how = { ruleset: row.ruleset, ...(row.config && { config: row.config }), ovsConfig: OVS_VARIANTS[ovsVariant]! };
  const runs = await inPairs(
    row.name,
    plan,
    how,
    (sw) => measureThroughput(sw, row.traffic, timing),
    (run) => `${run.mpps.toFixed(2)} Mpps, ${run.nMegaflows} megaflows`,
  );
  const traffic = describeTraffic(row.traffic);
  return { row, traffic, timing, generatorAlone, ovsVariants, ovsVariant, runs, ...relate(runs) };
}

/** Medians a switch, and the ratios of the pairs when both ran. */
export function relate(runs: Runs<Throughput>): Pick<ThroughputResult, 'mpps' | 'mppsPerCpu' | 'ratios' | 'ratio'> {
  const ratios = ratiosOf(runs, (run) => run.mpps);
  return {
    mpps: spreadsOf(runs, (run) => run.mpps),
    mppsPerCpu: spreadsOf(runs, (run) => run.mppsPerCpu),
    ratios,
    ...spreadOf(ratios),
  };
}

/** Switches whose number of megaflows is not what the row is about, as `name: number`. */
export function wrongMegaflows({ row, runs }: Pick<ThroughputResult, 'row' | 'runs'>): string[] {
  const [least, most] = row.megaflows;
  const wrong = (run: Throughput) => run.nMegaflows < least || run.nMegaflows > most;
  return Object.entries(runs).flatMap(([peer, list]) => {
    const run = list.find(wrong);
    return run === undefined ? [] : [`${peer}: ${run.nMegaflows}`];
  });
}

export async function compareIdle(row: IdleRow, plan: Plan): Promise<IdleResult> {
  const ruleset = rulesetFile('bare-in-port.flows');
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
  const tell = (run: Control) => `${Math.round(run.flowModsPerSecond)} flow-mods/s`;
  const runs = await inPairs('control', plan, { ruleset: 'bare-in-port.flows' }, measureControl, tell);
  const spreads = Object.fromEntries(Object.entries(runs).map(([peer, list]) => [peer, controlSpreads(list)]));
  return { row, runs, spreads, ...spreadOf(ratiosOf(runs, (run) => run.flowModsPerSecond)) };
}
