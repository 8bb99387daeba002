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
import { unixctlCall } from '../../src/base/unixctl-client.ts';
import type { DemoReport } from '../../src/cli/demo-report.ts';
import { OfSession } from './support/of-session.ts';

const OFP14 = 5;
const FCS_SIZE = 4;
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

/** The arguments of a process, each with a NUL behind it; empty when it has ended. */
function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

/** Pids of processes whose command line names `word`. */
function pidsNaming(word: string): string[] {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(word));
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

test('--count is what is sent', async (t) => {
  const report = await runDemo(t, '--count', '3000');
  assert.deepEqual([report.sent, report.received, report.unaccounted], [6000, 6000, 0]);
});

test('what a forwarder that stands still cannot take is dropped by name, and nothing is missing', async (t) => {
  const { demo, dir } = startDemo(t, '--count', '20000', '--rate', '100', '--json');
  const ended = Promise.all([text(demo.stdout), text(demo.stderr), once(demo, 'exit')]);
  const pidOf = (program: string) => pidsNaming(dir).find((pid) => commandLine(pid).includes(`\0${program}\0`));
  await eventuallyHolds(async () => assert.ok(pidOf('pktgen')));
  const testpmd = Number(pidOf('testpmd'));
  process.kill(testpmd, 'SIGSTOP');
  await eventuallyHolds(async () => assert.equal(pidOf('pktgen'), undefined));
  process.kill(testpmd, 'SIGCONT');
  const [out, complaints, [code]] = await ended;
  const { sent, received, drops, unaccounted } = JSON.parse(out) as DemoReport;
  assert.equal(code, received > 0 ? 0 : 1, `${complaints}${out}`);
  assert.deepEqual([sent, unaccounted], [40_000, 0]);
  const dropped = ['vhost-user3', 'vhost-user4'].map((port) => drops[`${port} ovs_tx_failure_drops`] ?? 0);
  assert.ok(dropped[0]! > 0 && dropped[1]! > 0, out);
  assert.equal(received, sent - Object.values(drops).reduce((sum, n) => sum + n, 0));
});

/** Megaflows of the switch behind a control socket for packets from datapath port `port`: packets and bytes. */
async function megaflowsFrom(control: string, port: number): Promise<{ packets: number; bytes: number }[]> {
  const { result } = await unixctlCall(control, 'dpctl/dump-flows', []);
  const lines = (result ?? '').split('\n').filter((line) => line.includes(`in_port(${port})`));
  return lines.map((line) => {
    const [, packets, bytes] = /packets:(\d+), bytes:(\d+)/.exec(line)!;
    return { packets: Number(packets), bytes: Number(bytes) };
  });
}

test('--flows and --size are what is sent; Ctrl-C ends everything', async (t) => {
  const { demo, dir } = startDemo(t, '--duration', '600', '--flows', '40', '--size', '512');
  await new Promise<void>((resolve) => {
    demo.stdout.on('data', (chunk: Buffer) => /received [1-9]/.test(chunk.toString()) && resolve());
  });
  const rundir = join(dir, readdirSync(dir)[0]!);
  const switchPid = readFileSync(join(rundir, 'ovs-vswitchd.pid'), 'utf8').trim();
  const control = join(rundir, `ovs-vswitchd.${switchPid}.ctl`);
  // A flow that reads the source address has a megaflow for each.
  const session = await OfSession.connect(join(rundir, 'ovs-br0.mgmt'), OFP14);
  await session.flows('add', 'priority=40000,ip,in_port=1,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG0[],output:4');
  await eventuallyHolds(async () => {
    const flows = (await megaflowsFrom(control, 1)).filter(({ packets }) => packets > 0);
    assert.equal(flows.length, 40);
    for (const { packets, bytes } of flows) assert.equal(bytes, packets * (512 - FCS_SIZE));
  });
  session.close();
  assert.ok(pidsNaming(dir).length >= 2, 'pktgen and testpmd name their sockets');
  demo.kill('SIGINT');
  const [code] = await once(demo, 'exit');
  assert.equal(code, 130);
  await eventuallyHolds(async () => assert.deepEqual(pidsNaming(dir), []));
  assert.ok(!existsSync(`/proc/${switchPid}`));
  assert.deepEqual(readdirSync(dir), []);
});
