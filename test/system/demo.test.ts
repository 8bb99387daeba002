/** `turnout demo` as a newcomer runs it: three programs besides its own, no root, no peer. */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventuallyHolds } from '../../bench/peers/process.ts';
import type { DemoReport } from '../../src/cli/demo-report.ts';

const TURNOUT = fileURLToPath(new URL('../../bin/turnout.ts', import.meta.url));

type Child = ChildProcessByStdio<null, Readable, Readable>;

/** The demo with a temporary folder of its own, in which it makes its rundir. */
function startDemo(t: TestContext, ...args: string[]): { demo: Child; dir: string } {
  const dir = mkdtempSync(join(tmpdir(), 'turnout-test-'));
  const env = { ...process.env, TMPDIR: dir };
  const demo = spawn(process.execPath, [TURNOUT, 'demo', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => {
    demo.kill('SIGTERM');
    rmSync(dir, { recursive: true, force: true });
  });
  return { demo, dir };
}

async function runDemo(t: TestContext, ...args: string[]): Promise<DemoReport> {
  const { demo } = startDemo(t, ...args, '--json');
  const [out, complaints, [code]] = await Promise.all([text(demo.stdout), text(demo.stderr), once(demo, 'exit')]);
  assert.equal(code, 0, `${complaints}${out}`);
  return JSON.parse(out) as DemoReport;
}

/** Pids of processes whose command line names `word`. */
function pidsNaming(word: string): string[] {
  const commandLine = (pid: string) => {
    const file = `/proc/${pid}/cmdline`;
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  };
  const named = (pid: string) => {
    try {
      return commandLine(pid).includes(word);
    } catch {
      return false; // it ended meanwhile
    }
  };
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && named(pid));
}

test('a temporary folder that is absent, or too deep for a socket, is refused in a line that says what to do', async () => {
  for (const dir of ['/proc/absent', join(tmpdir(), 'a'.repeat(100))]) {
    const env = { ...process.env, TMPDIR: dir };
    const demo = spawn(process.execPath, [TURNOUT, 'demo'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const [complaints, [code]] = await Promise.all([text(demo.stderr), once(demo, 'exit')]);
    assert.equal(code, 1);
    assert.match(complaints, /^turnout demo: .*: set TMPDIR to .*\n$/);
  }
});

test('every packet of the default run comes back, and every counter agrees', async (t) => {
  const report = await runDemo(t, '--duration', '1');
  assert.ok(report.received > 0);
  assert.deepEqual([report.received, report.drops, report.unaccounted], [report.sent, {}, 0]);
  assert.equal(report.forwarded.txPackets, report.sent);
  const [one, two, three, four] = report.ports;
  assert.equal(one!.rxPackets + two!.rxPackets, report.sent);
  assert.deepEqual([one!.rxPackets, two!.rxPackets], [four!.txPackets, three!.txPackets]);
  const { emc, smc, megaflow, upcall } = report.caches;
  assert.equal(emc + smc + megaflow + upcall, 2 * report.sent, 'each packet was looked up twice');
});

test('--count, --flows and --size are what is sent', async (t) => {
  const report = await runDemo(t, '--count', '3000', '--flows', '500', '--size', '512');
  assert.deepEqual([report.sent, report.received, report.unaccounted], [6000, 6000, 0]);
});

test('more than the machine carries is dropped by name, and nothing is missing', async (t) => {
  const report = await runDemo(t, '--duration', '0.5', '--rate', '100');
  assert.equal(report.unaccounted, 0, JSON.stringify(report));
});

test('Ctrl-C ends everything it started', async (t) => {
  const { demo, dir } = startDemo(t, '--duration', '600');
  await new Promise<void>((resolve) => {
    demo.stdout.on('data', (chunk: Buffer) => /received [1-9]/.test(chunk.toString()) && resolve());
  });
  const pidfile = join(dir, readdirSync(dir)[0]!, 'ovs-vswitchd.pid');
  const switchPid = readFileSync(pidfile, 'utf8').trim();
  assert.ok(pidsNaming(dir).length >= 2, 'pktgen and testpmd name their sockets');
  demo.kill('SIGINT');
  const [code] = await once(demo, 'exit');
  assert.equal(code, 130);
  await eventuallyHolds(async () => assert.deepEqual(pidsNaming(dir), []));
  assert.ok(!existsSync(`/proc/${switchPid}`));
  assert.deepEqual(readdirSync(dir), []);
});
