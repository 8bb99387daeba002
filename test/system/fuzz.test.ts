/**
 * The fuzzers, for the time that CI gives them. The seed is printed and is the same each time unless TURNOUT_FUZZ_SEED says otherwise
 * (a number, or `random`): a build does not break by chance. Longer: fuzz/main.ts and fuzz/differential/main.ts.
 */
import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { command } from '../../bench/peers/process.ts';
import { requirePeer } from '../support/require.ts';

const FUZZ = fileURLToPath(new URL('../../fuzz', import.meta.url));
const TARGET_SECONDS = 5;
const DIFFERENTIAL_SECONDS = 60;
/** Liveness deadline beside the time that a fuzzer runs. */
const PATIENCE_MS = 100_000;

const wanted = process.env.TURNOUT_FUZZ_SEED ?? '20261122';
const seed = wanted === 'random' ? String(Date.now() % 0x7fffffff) : wanted;

async function run(program: string, seconds: number, ...args: string[]): Promise<string> {
  const argv = [process.execPath, `${FUZZ}/${program}`, ...args, '--seconds', String(seconds), '--seed', seed];
  const { status, stdout, stderr } = await command(argv, { timeoutMs: seconds * 1000 + PATIENCE_MS });
  assert.equal(status, 0, `${stdout.slice(0, 8000)}${stderr.slice(0, 8000)}`);
  return stdout;
}

// Two at a time: the parsers' fuzzers one after the other, and the differential one beside them.
describe('fuzzers', { concurrency: 2 }, () => {
  describe('of parsers', { concurrency: 1 }, () => {
    for (const file of globSync('*.ts', { cwd: `${FUZZ}/targets` }).sort()) {
      const name = basename(file, '.ts');
      test(`coverage-guided fuzzing of ${name}, seed ${seed}`, async (t) => {
        const said = await run('main.ts', TARGET_SECONDS, name);
        const runs = Number(/(\d+) runs/.exec(said)?.[1]);
        assert.ok(runs > 0, said);
        t.diagnostic(said.trim().split('\n').at(-1) ?? '');
      });
    }
  });

  test(`random tables and packets on Turnout and on the real switch, seed ${seed}`, async (t) => {
    if (!requirePeer(t, 'root', 'ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovs-ofctl', 'ovsdb-tool')) return;
    const said = await run('differential/main.ts', DIFFERENTIAL_SECONDS);
    assert.match(said, /[1-9]\d* rounds, 0 differences/);
    t.diagnostic(said.trim().split('\n').at(-1) ?? '');
  });
});
