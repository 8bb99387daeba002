import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { unixctlCall } from '../base/unixctl-client.ts';

const FIXTURE = fileURLToPath(new URL('../../test/support/daemon-fixture.ts', import.meta.url));

/** A rundir, and how to start test daemons in it; those that still run at the end are ended. */
function setUp(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'turnout-daemon-'));
  const pidfile = join(dir, 'test-daemon.pid');
  const env = { ...process.env, OVS_RUNDIR: dir, OVS_LOGDIR: dir };
  const start = (...args: string[]) =>
    spawnSync(process.execPath, [FIXTURE, ...args], { env, encoding: 'utf8', timeout: 20_000 });
  const pid = () => Number.parseInt(readFileSync(pidfile, 'utf8'), 10);
  const call = (command: string) => unixctlCall(join(dir, `test-daemon.${pid()}.ctl`), command, []);
  /** Resolves when the monitor has started another daemon in place of `first`: it has its pid in the file before it takes commands. */
  const successor = async (first: number): Promise<void> => {
    while (pid() === first || !existsSync(join(dir, `test-daemon.${pid()}.ctl`))) await sleep(20);
  };
  t.after(async () => {
    if (!existsSync(pidfile)) return;
    const last = pid();
    await call('exit').catch(() => {});
    await gone(last);
  });
  return { dir, pidfile, start, pid, call, successor };
}

/** Resolves when the process has ended; whether it has been reaped is its new parent's affair. */
async function gone(pid: number): Promise<void> {
  const end = Date.now() + 60_000;
  while (Date.now() < end) {
    if (!existsSync(`/proc/${pid}`)) return;
    if (/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`pid ${pid} still runs`);
}

test('--detach comes back when the daemon is ready, and leaves nothing on the terminal', async (t) => {
  const { pidfile, start, pid, call } = setUp(t);
  const run = start('--detach', '--pidfile', '--log-file', '-vconsole:off');
  assert.deepEqual([run.status, run.stdout, run.stderr], [0, '', '']);
  assert.equal((await call('cwd')).result, '/\n');
  const ended = pid();
  await call('exit');
  await gone(ended);
  assert.equal(existsSync(pidfile), false);
});

test('--no-chdir stays where it was started', async (t) => {
  const { start, call } = setUp(t);
  assert.equal(start('--detach', '--pidfile', '--no-chdir').status, 0);
  assert.equal((await call('cwd')).result, `${process.cwd()}\n`);
});

test('a second one is refused in words that scripts know', (t) => {
  const { pidfile, start, pid } = setUp(t);
  assert.equal(start('--detach', '--pidfile').status, 0);
  const second = start('--detach', '--pidfile');
  assert.equal(second.status, 1);
  assert.equal(second.stderr, `test-daemon: ${pidfile}: already running as pid ${pid()}, aborting\n`);
});

test('a stale pidfile is no obstacle', (t) => {
  const { pidfile, start, pid } = setUp(t);
  writeFileSync(pidfile, '1\n');
  assert.equal(start('--detach', '--pidfile').status, 0);
  assert.notEqual(pid(), 1);
});

test('a daemon that fails before it is ready fails its starter', (t) => {
  const { start } = setUp(t);
  assert.equal(start('--detach', '--fail').status, 7);
  const crashed = start('--detach', '--crash');
  assert.equal(crashed.status, 1);
  assert.match(crashed.stderr, /\|daemon_unix\|ERR\|fork child died before signaling startup \(killed \(SIGKILL\)\)/);
});

test('--monitor starts it again after a crash, and ends with it otherwise', async (t) => {
  const { dir, start, pid, call, successor } = setUp(t);
  assert.equal(start('--detach', '--monitor', '--pidfile', '--log-file', '-vconsole:off').status, 0);
  const first = pid();
  const monitor = Number(readFileSync(`/proc/${first}/stat`, 'utf8').split(') ')[1]!.split(' ')[1]);
  process.kill(first, 'SIGSEGV');
  await gone(first);
  await successor(first);
  await call('exit');
  await gone(monitor);
  const log = readFileSync(join(dir, 'test-daemon.log'), 'utf8');
  assert.match(log, new RegExp(`\\|ERR\\|1 crashes: pid ${first} died, killed \\(SIGSEGV\\), restarting\n`));
  assert.match(log, /\|INFO\|pid \d+ died, exit status 0, exiting\n/);
});

test('an exception that nobody catches is logged, and --monitor starts the daemon again', async (t) => {
  const { dir, start, pid, call, successor } = setUp(t);
  assert.equal(start('--detach', '--pidfile', '--log-file', '--monitor').status, 0);
  const first = pid();
  await call('throw');
  await gone(first);
  await successor(first);
  assert.match(
    readFileSync(join(dir, 'test-daemon.log'), 'utf8'),
    /util\|EMER\|uncaught exception: Error: thrown by a test/,
  );
});

test('SIGTERM ends it cleanly, and is logged', async (t) => {
  const { dir, pidfile, start, pid } = setUp(t);
  start('--detach', '--pidfile', '--log-file', '-vconsole:off');
  const ended = pid();
  process.kill(ended, 'SIGTERM');
  await gone(ended);
  assert.equal(existsSync(pidfile), false);
  assert.equal(existsSync(join(dir, `test-daemon.${ended}.ctl`)), false);
  const log = readFileSync(join(dir, 'test-daemon.log'), 'utf8');
  assert.match(log, /\|fatal_signal\|WARN\|terminating with signal 15 \(Terminated\)\n/);
});

test('the log can be rotated by SIGHUP and by command', async (t) => {
  const { dir, start, pid, call } = setUp(t);
  start('--detach', '--pidfile', '--log-file', '-vconsole:off');
  const file = join(dir, 'test-daemon.log');
  for (const [i, rotate] of [() => process.kill(pid(), 'SIGHUP'), () => call('vlog/reopen')].entries()) {
    renameSync(file, `${file}.${i}`);
    await rotate();
    while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.match(readFileSync(`${file}.${i}`, 'utf8'), /closing log file\n$/);
  }
});

test('wrong log levels are refused', (t) => {
  const { start } = setUp(t);
  const run = start('-vnonsense');
  assert.equal(run.status, 1);
  assert.equal(run.stderr, 'test-daemon: processing "nonsense": no destination, level, or module "nonsense"\n');
});
