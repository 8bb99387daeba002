/** A sample of Open vSwitch's own test suite: a test that passed and fails again breaks the build. The whole: run-ovs-suite.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { committedSampleCount, sampleCount, sampleOf } from '../conformance/lists.ts';
import { PARTS, type Part } from '../conformance/parts.ts';
import { Suite, type SuiteScript, type SuiteTest } from '../conformance/suite.ts';
import { missingPeer, requirePeer } from '../support/require.ts';

const JOBS = 3;
const SUITES: readonly SuiteScript[] = ['testsuite', 'system-userspace-testsuite'];

test('the sample of the suite does not shrink', () => {
  assert.ok(sampleCount() >= committedSampleCount(), `${sampleCount()} tests, committed are ${committedSampleCount()}`);
});

type Results = Map<SuiteTest, string | undefined>;

async function runSample(script: SuiteScript, parts: readonly Part[], results: Results): Promise<void> {
  const suite = new Suite(script);
  try {
    for (const programs of ['daemons', 'clients'] as const) {
      const wanted = parts.filter((part) => part.clients === (programs === 'clients')).flatMap(sampleOf);
      const { logs } = await suite.run(wanted, programs, JOBS);
      for (const one of wanted) results.set(one, logs.get(one));
    }
  } finally {
    suite.remove();
  }
}

/** Runs the samples of all parts, those of both suites at once; each test has the end of its log, or undefined when it passed. */
async function runSamples(parts: readonly Part[]): Promise<Results> {
  const results: Results = new Map();
  const of = (script: SuiteScript) => parts.filter((part) => (part.script ?? 'testsuite') === script);
  await Promise.all(SUITES.map((script) => runSample(script, of(script), results)));
  return results;
}

if (missingPeer('ovs-suite') ?? missingPeer('root')) {
  test("a sample of Open vSwitch's suite", (t) => void requirePeer(t, 'ovs-suite', 'root'));
} else {
  for (const [name, log] of await runSamples(PARTS)) {
    test(`Open vSwitch's suite, ${name}`, () => assert.equal(log, undefined));
  }
}
