/**
 * Differential fuzzing: random tables and packets on Turnout and on the real Open vSwitch.
 *
 *   node fuzz/differential/main.ts [--seconds N] [--seed N] [--rounds N]
 *
 * Prints its seed; each round has a seed of its own, printed with what differs, so that `--seed ROUNDSEED --rounds 1` repeats it. A
 * difference is first made smaller: flows and packets are left out while it stays. Exit code 1 when there was one.
 */
import { parseArgs } from 'node:util';
import { random } from '../../test/support/random.ts';
import { type Difference, Pair } from './compare.ts';
import { DummySwitch } from './dummy-switch.ts';
import { Generator, type Round } from './generator.ts';

/** Leaves out what the difference does not need. */
async function shrink(pair: Pair, round: Round): Promise<Round> {
  let small = round;
  for (const part of ['packets', 'flows'] as const) {
    for (let i = small[part].length - 1; i >= 0 && small[part].length > 1; i--) {
      const less = { ...small, [part]: small[part].filter((_, j) => j !== i) };
      if (await pair.compare(less)) small = less;
    }
  }
  return small;
}

function report(seed: number, round: Round, difference: Difference): void {
  console.log(`DIFFERENCE in round ${seed}: ${difference.what}`);
  for (const [name, lines] of Object.entries(round)) console.log(`${name}:\n  ${(lines as string[]).join('\n  ')}`);
  console.log(`real:\n${difference.real}\nturnout:\n${difference.turnout}\n`);
}

export interface DifferentialOptions {
  seed: number;
  /** Asked before each round. */
  goOn(rounds: number): boolean;
  /** Ends with so many differences. */
  maxDifferences: number;
}

/** Returns the rounds that ran, those that differed, and those that did so once but not again. */
export async function runDifferential(
  options: DifferentialOptions,
): Promise<{ rounds: number; differences: number; unstable: number }> {
  const real = await DummySwitch.start('real');
  const turnout = await DummySwitch.start('turnout').catch(async (e) => {
    await real.stop();
    throw e;
  });
  const pair = new Pair(real, turnout);
  let rounds = 0;
  let differences = 0;
  let unstable = 0;
  try {
    for (; options.goOn(rounds) && differences < options.maxDifferences; rounds++) {
      const seed = options.seed + rounds;
      const round = await pair.carried(new Generator(random(seed)).round());
      const first = await pair.compare(round);
      if (!first) continue;
      // What a real switch has learned or counted depends on when its threads ran: only what comes again counts.
      if (!(await pair.compare(round))) {
        console.log(`round ${seed} differed once, in ${first.what}, and not when it was repeated`);
        unstable++;
        continue;
      }
      differences++;
      const small = await shrink(pair, round);
      report(seed, small, (await pair.compare(small)) ?? first);
    }
    return { rounds, differences, unstable };
  } finally {
    await Promise.all([real.stop(), turnout.stop()]);
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string' },
      rounds: { type: 'string' },
      'max-differences': { type: 'string', default: '5' },
    },
  });
  const seed = Number(values.seed ?? Date.now() % 0x7fffffff);
  console.log(`differential fuzzing: seed ${seed}`);
  const end = performance.now() + Number(values.seconds) * 1000;
  const maxRounds = values.rounds === undefined ? undefined : Number(values.rounds);
  const { rounds, differences, unstable } = await runDifferential({
    seed,
    maxDifferences: Number(values['max-differences']),
    goOn: (n) => (maxRounds === undefined ? performance.now() < end : n < maxRounds),
  });
  console.log(`differential fuzzing: ${rounds} rounds, ${differences} differences, ${unstable} not repeatable`);
  return differences > 0 ? 1 : 0;
}

if (import.meta.main) process.exitCode = await main();
