/** How a row is run: pairs of fresh starts, A B A B. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchSwitch, OtherConfig } from './peers/bench-switch.ts';
import { startOvsDpdk } from './peers/ovs-dpdk.ts';
import { startTurnout } from './peers/turnout.ts';
import { type Spread, spread } from './statistics.ts';
import type { Timing } from './throughput.ts';

export type PeerName = 'turnout' | 'ovs-dpdk';

export interface Plan {
  pairs: number;
  timing: Timing;
  /** Seconds of each silence of the idle row. */
  silenceS: number;
  peers: readonly PeerName[];
  /** Try Open vSwitch's settings; otherwise it runs as shipped. */
  tryVariants: boolean;
  progress: (text: string) => void;
}

/** What each switch gave, a pair after the other. */
export type Runs<R> = Partial<Record<PeerName, R[]>>;

const rulesets = join(dirname(fileURLToPath(import.meta.url)), 'rulesets');
export const rulesetFile = (name: string): string => join(rulesets, name);

export async function using<T>(starting: Promise<BenchSwitch>, use: (sw: BenchSwitch) => Promise<T>): Promise<T> {
  const sw = await starting;
  try {
    return await use(sw);
  } finally {
    await sw.stop();
  }
}

export interface Start {
  ruleset: string;
  /** For both. */
  config?: OtherConfig;
  /** For Open vSwitch beside that. */
  ovsConfig?: OtherConfig;
  lockMemory?: boolean;
}

export function start(
  peer: PeerName,
  { ruleset, config = {}, ovsConfig = {}, lockMemory }: Start,
): Promise<BenchSwitch> {
  const file = rulesetFile(ruleset);
  return peer === 'turnout'
    ? startTurnout(config, file, lockMemory)
    : startOvsDpdk({ ...config, ...ovsConfig }, file, lockMemory);
}

/** Measures fresh starts, A B A B. `tell` makes the line of progress. */
export async function inPairs<R>(
  name: string,
  plan: Plan,
  how: Start,
  measure: (sw: BenchSwitch) => Promise<R>,
  tell: (run: R) => string,
): Promise<Runs<R>> {
  const runs: Runs<R> = {};
  for (let pair = 0; pair < plan.pairs; pair += 1) {
    for (const peer of plan.peers) {
      const run = await using(start(peer, how), measure);
      plan.progress(`${name}: pair ${pair + 1} of ${plan.pairs}: ${peer}: ${tell(run)}`);
      runs[peer] = [...(runs[peer] ?? []), run];
    }
  }
  return runs;
}

/** Turnout's figure divided by Open vSwitch's, of each pair; none when one of them did not run. */
export function ratiosOf<R>(runs: Runs<R>, figure: (run: R) => number): number[] {
  const { turnout = [], 'ovs-dpdk': ovs = [] } = runs;
  return ovs.length === turnout.length ? turnout.map((run, i) => figure(run) / figure(ovs[i]!)) : [];
}

export function spreadsOf<R>(runs: Runs<R>, figure: (run: R) => number): Partial<Record<PeerName, Spread>> {
  return Object.fromEntries(Object.entries(runs).map(([peer, list]) => [peer, spread(list.map(figure))]));
}

export const spreadOf = (values: readonly number[]): { ratio?: Spread } =>
  values.length > 0 ? { ratio: spread(values) } : {};
