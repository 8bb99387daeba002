/** What a second PMD adds: runs bench/micro/scaling.ts, which says what is measured, in a process of its own with the switch's flags. Turnout alone. */
import { join } from 'node:path';
import type { ScalingRun } from './micro/scaling.ts';
import { check } from './peers/process.ts';
import type { Plan } from './plan.ts';
import type { ScalingRow } from './rows.ts';
import { type Spread, spread } from './statistics.ts';

export interface ScalingResult {
  row: ScalingRow;
  runs: ScalingRun[];
  /** Mpps of one PMD, the mean of the two that took turns; and of both at once. */
  one: Spread;
  two: Spread;
  /** The second divided by the first, of each repetition; and the same by the CPU time that they had, which neighbours on the machine do not take from them. */
  ratio: Spread;
  cpuRatio: Spread;
}

/** As bin/turnout starts the switch. */
const FLAGS = ['--no-wasm-dynamic-tiering', '--no-wasm-deopt', '--no-liftoff', '--disable-warning=ExperimentalWarning'];
/** Beside the phases. */
const START_S = 60;
const PHASES = 3;

type Share = ScalingRun['alone'][number];
const sum = (shares: readonly Share[], key: keyof Share) => shares.reduce((n, share) => n + share[key], 0);
const mean = (shares: readonly Share[], key: keyof Share) => sum(shares, key) / shares.length;

/** Orders what the repetitions gave. */
export function relateScaling(row: ScalingRow, runs: ScalingRun[]): ScalingResult {
  const ratioOf = (key: keyof Share) => spread(runs.map((run) => sum(run.together, key) / mean(run.alone, key)));
  return {
    row,
    runs,
    one: spread(runs.map((run) => mean(run.alone, 'mpps'))),
    two: spread(runs.map((run) => sum(run.together, 'mpps'))),
    ratio: ratioOf('mpps'),
    cpuRatio: ratioOf('mppsPerCpu'),
  };
}

export async function compareScaling(row: ScalingRow, plan: Plan): Promise<ScalingResult> {
  const seconds = plan.timing.measureS;
  const program = join(import.meta.dirname, 'micro/scaling.ts');
  const argv = [process.execPath, ...FLAGS, program, '--json', String(seconds), String(plan.pairs)];
  const timeoutMs = (START_S + seconds * PHASES * plan.pairs) * 1000;
  const result = relateScaling(row, JSON.parse(await check(argv, { timeoutMs })) as ScalingRun[]);
  plan.progress(
    `${row.name}: ${result.one.median.toFixed(2)} Mpps by one PMD, ${result.two.median.toFixed(2)} by two: ${result.ratio.median.toFixed(2)} times`,
  );
  return result;
}
