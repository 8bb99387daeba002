/**
 * Runs Open vSwitch's own test suite against Turnout:
 *
 *   node test/conformance/run-ovs-suite.ts [--all] [--update] [--real] [--sample] [--jobs N] [PART...]      without PART: all of parts.ts
 *
 * Reports "the real programs pass N, Turnout passes M of those N" for each part, and ends with code 1 when a test fails that
 * `PART.failing.txt` does not list. Those are run with `--all` only: many fail by waiting. `--update` runs all of them and writes
 * those lists anew. `--sample` runs what CI runs. `--real` runs the
 * real programs three times instead and prints the list of what they passed in any of the runs, for `PART.txt`.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { OVS_SUITE } from '../support/require.ts';
import { failingOf, passingOf, sampleOf, wantedOf } from './lists.ts';
import { PARTS, type Part, partNamed } from './parts.ts';
import { Suite, type SuiteScript, type SuiteTest } from './suite.ts';

interface Options {
  all: boolean;
  sample: boolean;
  update: boolean;
  jobs: number;
}

const REAL_RUNS = 3;

const progress = (line: string): void => {
  if (process.stderr.isTTY && /^ *\d+: /.test(line)) process.stderr.write(`\r\x1b[K${line.trimEnd()}`);
};

/** Reports on a part; returns the tests that failed and were not known to, with their logs. */
async function report(suite: Suite, part: Part, options: Options): Promise<Map<SuiteTest, string>> {
  const wanted = wantedOf(part);
  const present = new Set(suite.testsOf(part.name));
  const moved = wanted.find((one) => !present.has(one));
  if (moved !== undefined) throw new Error(`the suite has no test "${moved}": make ${part.name}.txt anew with --real`);
  const chosen = options.sample ? sampleOf(part) : options.all || options.update ? wanted : passingOf(part);
  const { passed, logs } = await suite.run(chosen, part.clients ? 'clients' : 'daemons', options.jobs, progress);
  const ran = options.sample ? `the sample has ${chosen.length}, Turnout passes ${passed.size} of those` : undefined;
  console.log(
    `${part.name}: ${ran ?? `the real programs pass ${wanted.length}, Turnout passes ${passed.size} of those ${wanted.length}`}`,
  );
  if (options.update) writeFailing(part, [...logs.keys()]);
  const known = failingOf(part);
  for (const one of passed) if (known.has(one)) console.log(`passes now: ${one}`);
  return new Map([...logs].filter(([one]) => !known.has(one)));
}

/** What is known not to pass, from here on. */
function writeFailing(part: Part, failing: readonly SuiteTest[]): void {
  const file = join(import.meta.dirname, `${part.name}.failing.txt`);
  if (failing.length === 0) rmSync(file, { force: true });
  else writeFileSync(file, `# Not passed yet.\n${failing.join('\n')}\n`);
}

/** Prints what the real programs pass. */
async function listReal(suite: Suite, part: Part, jobs: number): Promise<void> {
  const all = suite.testsOf(part.name).filter((one) => !part.except?.title.test(one));
  const passed = new Set<SuiteTest>();
  for (let i = 0; i < REAL_RUNS; i++) {
    const missing = all.filter((one) => !passed.has(one));
    for (const one of (await suite.run(missing, 'real', jobs, progress)).passed) passed.add(one);
  }
  for (const one of all) if (passed.has(one)) console.log(one);
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      all: { type: 'boolean', default: false },
      real: { type: 'boolean', default: false },
      sample: { type: 'boolean', default: false },
      update: { type: 'boolean', default: false },
      jobs: { type: 'string', default: '4' },
    },
  });
  const parts = positionals.length > 0 ? positionals.map(partNamed) : PARTS;
  if (!existsSync(OVS_SUITE)) {
    console.error(`${OVS_SUITE} is missing: install openvswitch-source`);
    return 2;
  }
  const suites = new Map<SuiteScript, Suite>();
  const suiteOf = (script: SuiteScript = 'testsuite'): Suite => {
    const suite = suites.get(script) ?? new Suite(script);
    suites.set(script, suite);
    return suite;
  };
  try {
    const failed = new Map<SuiteTest, string>();
    for (const part of parts) {
      const suite = suiteOf(part.script);
      if (values.real) await listReal(suite, part, Number(values.jobs));
      else {
        const { all, sample, update } = values;
        const options = { all, sample, update, jobs: Number(values.jobs) };
        for (const [one, log] of await report(suite, part, options)) failed.set(one, log);
      }
    }
    for (const [one, log] of failed) console.log(`FAILED: ${one}\n${log}`);
    return failed.size === 0 ? 0 : 1;
  } finally {
    for (const suite of suites.values()) suite.remove();
  }
}

process.exitCode = await main();
