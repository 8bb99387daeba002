/** The figures of every kind of result in one form, which the table, the plots and docs/performance.md are made of. */
import type { ControlResult, IdleResult, ThroughputResult } from './compare.ts';
import type { ContainersResult } from './containers.ts';
import type { ExplosionResult } from './explosion.ts';
import { type LatencyResult, latencyAt } from './latency.ts';
import type { MemoryResult } from './memory.ts';
import type { OverlayResult } from './overlay.ts';
import { LOAD_NAMES, type OvsdbResult } from './ovsdb.ts';
import type { ScalingResult } from './scaling.ts';
import type { SegmentsResult } from './segments.ts';
import type { Spread } from './statistics.ts';

export type Result =
  | ThroughputResult
  | ExplosionResult
  | ScalingResult
  | LatencyResult
  | MemoryResult
  | IdleResult
  | OverlayResult
  | ContainersResult
  | SegmentsResult
  | ControlResult
  | OvsdbResult;

export interface Figure {
  row: string;
  title: string;
  unit: string;
  digits: number;
  turnout?: Spread;
  ovs?: Spread;
  /** Of the pairs, where there are pairs. */
  ratio?: Spread;
  /** What is compared with the goal, the goal and the aim; absent for figures that have none. */
  value?: number;
  goal?: number;
  aim?: number;
  better: 'more' | 'less';
  note?: string;
}

const isKind =
  <K extends Result['row']['kind']>(kind: K) =>
  (result: Result): result is Extract<Result, { row: { kind: K } }> =>
    result.row.kind === kind;

export const isThroughput = isKind('throughput') as (result: Result) => result is ThroughputResult;
export const isLatency = isKind('latency') as (result: Result) => result is LatencyResult;

const scaled = (of: Spread | undefined, by: number): Spread | undefined =>
  of && { median: of.median * by, min: of.min * by, max: of.max * by };

const optional = <K extends string, T>(key: K, value: T | undefined): { [P in K]?: T } =>
  (value === undefined ? {} : { [key]: value }) as { [P in K]?: T };

const both = (turnout: Spread | undefined, ovs: Spread | undefined) => ({
  ...optional('turnout', turnout),
  ...optional('ovs', ovs),
});

interface Rate {
  row: { name: string; goal: number; aim: number };
  title: string;
  mpps: ThroughputResult['mpps'];
  ratio: Spread | undefined;
  ovsVariant: string;
}

/** Packets a second of both, with Open vSwitch's best settings. */
function rateFigure({ row, title, mpps, ratio, ovsVariant }: Rate): Figure {
  return {
    row: row.name,
    title,
    unit: 'Mpps',
    digits: 2,
    better: 'more',
    goal: row.goal,
    aim: row.aim,
    note: `OVS: ${ovsVariant}`,
    ...both(mpps.turnout, mpps['ovs-dpdk']),
    ...optional('ratio', ratio),
    ...optional('value', ratio?.median),
  };
}

function throughputFigures({ row, mpps, ratio, ovsVariant }: ThroughputResult): Figure[] {
  return [rateFigure({ row, title: row.title, mpps, ratio, ovsVariant })];
}

function explosionFigures({ row, kept, ratio }: ExplosionResult): Figure[] {
  const figure: Figure = {
    row: row.name,
    title: row.title,
    unit: '% of its rate',
    digits: 1,
    better: 'more',
    goal: row.goal,
    aim: row.aim,
    note: 'goal and aim: what is kept; the ratio: packets under attack',
    ...both(scaled(kept.turnout, 100), scaled(kept['ovs-dpdk'], 100)),
    ...optional('ratio', ratio),
    ...optional('value', kept.turnout?.median),
  };
  return [figure];
}

function scalingFigures({ row, one, two, ratio, cpuRatio }: ScalingResult): Figure[] {
  const by = (of: Spread) => `${of.median.toFixed(2)} (${of.min.toFixed(2)}–${of.max.toFixed(2)})`;
  const figure: Figure = {
    row: row.name,
    title: row.title,
    unit: 'Mpps',
    digits: 2,
    better: 'more',
    goal: row.goal,
    aim: row.aim,
    turnout: two,
    ratio,
    value: ratio.median,
    note: `goal, aim and ratio: two PMDs to one, which does ${by(one)}; by CPU time ${by(cpuRatio)}`,
  };
  return [figure];
}

function latencyFigures({ row, runs, ratio, p9999Ratio }: LatencyResult): Figure[] {
  const [load] = row.loads as [number];
  const of = (key: 'p50' | 'p99' | 'p9999') =>
    both(
      runs.turnout && latencyAt(runs.turnout, load, key),
      runs['ovs-dpdk'] && latencyAt(runs['ovs-dpdk'], load, key),
    );
  const common = { row: row.name, unit: 'µs', digits: 1, better: 'less' } as const;
  const goals = { goal: row.goal, aim: row.aim, ...optional('value', ratio?.median) };
  return [
    { ...common, title: `${row.title}, p50`, ...of('p50') },
    { ...common, title: `${row.title}, p99`, ...of('p99'), ...optional('ratio', ratio), ...goals },
    { ...common, title: `${row.title}, p99.99`, ...of('p9999'), ...optional('ratio', p9999Ratio) },
  ];
}

function memoryFigures({ row, perMegaflow, caches, ratio, cachesRatio }: MemoryResult): Figure[] {
  const common = { row: row.name, better: 'less' } as const;
  return [
    {
      ...common,
      title: 'memory a megaflow',
      unit: 'B',
      digits: 0,
      goal: row.goal,
      aim: row.aim,
      ...both(perMegaflow.turnout, perMegaflow['ovs-dpdk']),
      ...optional('ratio', ratio),
      ...optional('value', ratio?.median),
    },
    {
      ...common,
      title: 'cache memory a PMD',
      unit: 'MiB',
      digits: 2,
      goal: 0.25,
      aim: 0.1,
      ...both(scaled(caches.turnout, 2 ** -20), scaled(caches['ovs-dpdk'], 2 ** -20)),
      ...optional('ratio', cachesRatio),
      ...optional('value', cachesRatio?.median),
    },
  ];
}

function idleFigures({ row, runs, probeFloorUs }: IdleResult): Figure[] {
  const { turnout, 'ovs-dpdk': ovs, 'ovs-dpdk-sleeping': sleeping } = runs;
  const common = { row: row.name, better: 'less' } as const;
  const with_ = (value: string | undefined) => (value === undefined ? '' : `OVS with pmd-maxsleep ${value}; `);
  return [
    {
      ...common,
      title: 'CPU of an idle switch',
      unit: '% of a core',
      digits: 1,
      goal: row.goal,
      aim: row.aim,
      ...both(scaled(turnout?.cpu, 100), scaled(ovs?.cpu, 100)),
      ...optional('value', turnout?.cpu.median),
      note: `${with_(sleeping && `${(sleeping.cpu.median * 100).toFixed(1)} %`)}goal and aim are of a core`,
    },
    {
      ...common,
      title: 'first packet after the silence',
      unit: 'µs',
      digits: 0,
      goal: 200,
      aim: 60,
      ...both(turnout?.firstPacketUs, ovs?.firstPacketUs),
      ...optional('value', turnout?.firstPacketUs.median),
      note: `${with_(sleeping && `${sleeping.firstPacketUs.median.toFixed(0)} µs`)}the probe's own time ${probeFloorUs.median.toFixed(0)} µs; goal and aim in µs`,
    },
  ];
}

function containersFigures(result: ContainersResult): Figure[] {
  const { row, gbps, cpuPerGb, roundTripUs, kernelBridge, ratio, roundTripRatio } = result;
  const common = { row: row.name, better: 'less' } as const;
  return [
    {
      row: row.name,
      title: `${row.title}: TCP`,
      unit: 'Gbit/s',
      digits: 2,
      better: 'more',
      goal: row.goal,
      aim: row.aim,
      ...both(gbps.turnout, gbps['ovs-dpdk']),
      ...optional('ratio', ratio),
      ...optional('value', ratio?.median),
      note: `the kernel's bridge ${kernelBridge.gbps.median.toFixed(1)}`,
    },
    {
      ...common,
      title: `${row.title}: CPU of the switch`,
      unit: 's a GB',
      digits: 2,
      ...both(cpuPerGb.turnout, cpuPerGb['ovs-dpdk']),
    },
    {
      ...common,
      title: `${row.title}: ping`,
      unit: 'µs',
      digits: 0,
      ...both(roundTripUs.turnout, roundTripUs['ovs-dpdk']),
      ...optional('ratio', roundTripRatio),
      note: `the kernel's bridge ${kernelBridge.roundTripUs.median.toFixed(0)}`,
    },
  ];
}

function overlayFigures({ row, encap, decap, encapRatio, decapRatio, ovsVariant }: OverlayResult): Figure[] {
  const figure = (way: string, mpps: typeof encap, ratio: Spread | undefined) =>
    rateFigure({ row, title: `${row.title}: ${way}`, mpps, ratio, ovsVariant });
  return [figure('into the tunnel', encap, encapRatio), figure('out of it', decap, decapRatio)];
}

function segmentsFigures({ row, gbps, cpuPerGb, ratio }: SegmentsResult): Figure[] {
  return [
    {
      row: row.name,
      title: row.title,
      unit: 'Gbit/s',
      digits: 2,
      better: 'more',
      goal: row.goal,
      aim: row.aim,
      ...both(gbps.turnout, gbps['ovs-dpdk']),
      ...optional('ratio', ratio),
      ...optional('value', ratio?.median),
      note: 'both with userspace-tso-enable',
    },
    {
      row: row.name,
      title: `${row.title}: CPU of the switch`,
      unit: 's a GB',
      digits: 2,
      better: 'less',
      ...both(cpuPerGb.turnout, cpuPerGb['ovs-dpdk']),
    },
  ];
}

function controlFigures({ row, spreads, ratio }: ControlResult): Figure[] {
  const { turnout, 'ovs-dpdk': ovs } = spreads;
  const common = { row: row.name, better: 'less' } as const;
  const of = (key: keyof NonNullable<typeof turnout>) => both(turnout?.[key], ovs?.[key]);
  return [
    {
      row: row.name,
      title: 'flow-mods a second, a bundle of 100k',
      unit: 'k/s',
      digits: 1,
      better: 'more',
      goal: row.goal,
      aim: row.aim,
      ...both(scaled(turnout?.flowModsPerSecond, 1e-3), scaled(ovs?.flowModsPerSecond, 1e-3)),
      ...optional('ratio', ratio),
      ...optional('value', ratio?.median),
    },
    { ...common, title: 'longest echo during that bundle', unit: 'ms', digits: 0, ...of('bundleEcho') },
    { ...common, title: 'longest echo during a dump of 200k flows', unit: 'ms', digits: 0, ...of('dumpEcho') },
    { ...common, title: 'memory with 100k flows', unit: 'MiB', digits: 0, ...of('memory100k') },
    { ...common, title: 'ovs-vsctl show', unit: 'ms', digits: 0, ...of('vsctlShow') },
  ];
}

export function figures(result: Result): Figure[] {
  switch (result.row.kind) {
    case 'throughput':
      return throughputFigures(result as ThroughputResult);
    case 'explosion':
      return explosionFigures(result as ExplosionResult);
    case 'scaling':
      return scalingFigures(result as ScalingResult);
    case 'latency':
      return latencyFigures(result as LatencyResult);
    case 'memory':
      return memoryFigures(result as MemoryResult);
    case 'idle':
      return idleFigures(result as IdleResult);
    case 'overlay':
      return overlayFigures(result as OverlayResult);
    case 'containers':
      return containersFigures(result as ContainersResult);
    case 'segments':
      return segmentsFigures(result as SegmentsResult);
    case 'control':
      return controlFigures(result as ControlResult);
    case 'ovsdb':
      return ovsdbFigures(result as OvsdbResult);
  }
}

/** What a load is, in words. */
const OVSDB_LOADS: Readonly<Record<(typeof LOAD_NAMES)[number], string>> = {
  statistics: 'counters written',
  'add-port': 'ports added and deleted',
  select: 'questions by name',
};

function ovsdbFigures({ row, rates, ratios }: OvsdbResult): Figure[] {
  return LOAD_NAMES.map((load) => ({
    row: row.name,
    title: `${row.title}: ${OVSDB_LOADS[load]}`,
    unit: '/s',
    digits: 0,
    better: 'more',
    goal: row.goal,
    aim: row.aim,
    ...both(rates[load].turnout, rates[load]['ovs-dpdk']),
    ...optional('ratio', ratios[load]),
    ...optional('value', ratios[load]?.median),
  }));
}

/** How a figure stands to its goal and aim. */
export function verdict({ value, goal, aim, better }: Figure): 'aim' | 'goal' | 'short' | '' {
  if (value === undefined || goal === undefined || aim === undefined) return '';
  const reaches = (mark: number) => (better === 'more' ? value >= mark : value <= mark);
  if (reaches(aim)) return 'aim';
  return reaches(goal) ? 'goal' : 'short';
}
