import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { missingPeer } from '../support/require.ts';

/** `turnout up`, `status` and `down`, as a newcomer types them: no root, nothing from Debian. */

const program = fileURLToPath(new URL('../../bin/turnout', import.meta.url));

function setUp(t: TestContext) {
  const rundir = mkdtempSync(join(tmpdir(), 'turnout-up-'));
  const { OVS_RUNDIR: _, OVS_LOGDIR: __, OVS_DBDIR: ___, ...env } = process.env;
  const turnout = (...args: string[]) =>
    spawnSync(program, [...args, '--rundir', rundir], { env, encoding: 'utf8', timeout: 30_000 });
  t.after(() => {
    turnout('down');
    rmSync(rundir, { recursive: true, force: true });
  });
  return { rundir, turnout, env };
}

test('up makes a database and a switch that clients reach, status shows it, down ends it', (t) => {
  const { rundir, turnout } = setUp(t);
  const up = turnout('up', '--enable-dummy');
  assert.deepEqual([up.status, up.stderr], [0, '']);
  assert.match(up.stdout, /^turnout: running in .* \(pid \d+\)\n/);
  assert.ok(up.stdout.includes(`export OVS_RUNDIR=${rundir}`), 'says what to type next');
  for (const file of ['conf.db', 'db.sock', 'ovs-vswitchd.pid', 'ovs-vswitchd.log'])
    assert.ok(existsSync(join(rundir, file)));
  const status = JSON.parse(turnout('status', '--json').stdout) as { running: boolean; bridges: unknown[] };
  assert.deepEqual([status.running, status.bridges], [true, []]);
  const again = turnout('up');
  assert.equal(again.status, 0);
  assert.match(again.stdout, /already running/);
  assert.match(turnout('down').stdout, /^turnout: stopped/);
  assert.equal(existsSync(join(rundir, 'ovs-vswitchd.pid')), false);
  assert.equal(turnout('status').status, 3);
  assert.doesNotMatch(readFileSync(join(rundir, 'ovs-vswitchd.log'), 'utf8'), /\|(WARN|ERR|EMER)\|/);
});

test('a folder that can not be made is refused at once', () => {
  const up = spawnSync(program, ['up', '--rundir', '/proc/turnout/run'], { encoding: 'utf8', timeout: 30_000 });
  assert.deepEqual([up.status, up.signal], [1, null]);
  assert.match(up.stderr, /^turnout up: \/proc\/turnout\/run: .*--rundir DIR\n$/);
});

test('what was set up is there again after down and up', (t) => {
  if (missingPeer('ovs-vsctl')) return t.skip(missingPeer('ovs-vsctl'));
  const { rundir, turnout, env } = setUp(t);
  const vsctl = (...args: string[]) =>
    spawnSync('ovs-vsctl', ['--timeout=10', ...args], { env: { ...env, OVS_RUNDIR: rundir }, encoding: 'utf8' });
  turnout('up', '--enable-dummy');
  const added = vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy');
  assert.deepEqual([added.status, added.stderr], [0, '']);
  turnout('down');
  turnout('up', '--enable-dummy');
  assert.equal(vsctl('list-br').stdout, 'br0\n');
  assert.match(
    turnout('status').stdout,
    /^bridge br0 {2}datapath dummy .*\n {2}LOCAL {2}br0 +internal +up +rx 0 tx 0$/m,
  );
});

test('in the foreground it runs until a signal', async (t) => {
  const { rundir, env } = setUp(t);
  const child: ChildProcess = spawn(program, ['up', '--foreground', '--rundir', rundir], {
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const exit = new Promise<number | null>((resolve) => child.on('exit', resolve));
  await new Promise((resolve) => child.stdout!.once('data', resolve));
  child.kill('SIGINT');
  assert.equal(await exit, 130);
  assert.equal(existsSync(join(rundir, 'db.sock')), false);
});

test('a link that leads nowhere yet, as Debian lays it, is followed', (t) => {
  const { rundir, turnout } = setUp(t);
  symlinkSync(join(rundir, 'elsewhere.db'), join(rundir, 'conf.db'));
  assert.equal(turnout('up', '--enable-dummy').status, 0);
  assert.match(readFileSync(join(rundir, 'elsewhere.db'), 'utf8'), /^OVSDB JSON /);
});

test('a database that is none is refused, and nothing stays behind', (t) => {
  const { rundir, turnout } = setUp(t);
  writeFileSync(join(rundir, 'notes.txt'), 'Not a database.\n');
  const up = turnout('up', '--db', join(rundir, 'notes.txt'));
  assert.equal(up.status, 1);
  assert.match(up.stderr, /^turnout up: /m);
  assert.equal(readFileSync(join(rundir, 'notes.txt'), 'utf8'), 'Not a database.\n');
  assert.equal(existsSync(join(rundir, 'ovs-vswitchd.pid')), false);
});
