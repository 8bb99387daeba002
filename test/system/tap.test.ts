import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requirePeer } from '../support/require.ts';

test('a tap keeps the contract of devices and carries frames', (t) => {
  if (!requirePeer(t, 'netns')) return;
  const suite = fileURLToPath(new URL('support/tap-suite.ts', import.meta.url));
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
  const run = spawnSync('unshare', ['-n', process.execPath, '--disable-warning=ExperimentalWarning', '--test', suite], {
    env,
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(run.status, 0, run.stdout + run.stderr);
  assert.match(run.stdout, /pass 9/);
});
