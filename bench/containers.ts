/** Containers with an ordinary kernel stack: TCP and a ping between two, by veth through the switch, beside the kernel's own bridge. */
import { type BenchSwitch, GENERATOR_CORE, SWITCH_CORE } from './peers/bench-switch.ts';
import { Pods } from './peers/pods.ts';
import { check, Running } from './peers/process.ts';
import { inPairs, type PeerName, type Plan, type Runs, ratiosOf, spreadOf, spreadsOf } from './plan.ts';
import type { ContainersRow } from './rows.ts';
import { type Spread, spread } from './statistics.ts';

export interface ContainersRun {
  gbps: number;
  /** CPU time of the switch's process for a gigabyte, in seconds. */
  cpuPerGb: number;
  roundTripUs: number;
}

export interface ContainersResult {
  row: ContainersRow;
  runs: Runs<ContainersRun>;
  gbps: Partial<Record<PeerName, Spread>>;
  cpuPerGb: Partial<Record<PeerName, Spread>>;
  roundTripUs: Partial<Record<PeerName, Spread>>;
  /** The same two containers on the kernel's bridge, which has no process. */
  kernelBridge: { gbps: Spread; roundTripUs: Spread };
  /** Turnout's Gbit/s divided by Open vSwitch's, and the same of the round trips. */
  ratio?: Spread;
  roundTripRatio?: Spread;
}

const N_PINGS = 1000;
const N_PINGS_BEFORE = 50;

/** Both measurements between pods that are joined already. */
async function measurePods(pods: Pods, seconds: number, cpuSeconds: () => number): Promise<ContainersRun> {
  await pods.roundTripUs(N_PINGS_BEFORE, GENERATOR_CORE);
  const roundTripUs = await pods.roundTripUs(N_PINGS, GENERATOR_CORE);
  const before = cpuSeconds();
  const { bitsPerSecond, bytes } = await pods.tcp(seconds, GENERATOR_CORE);
  return { gbps: bitsPerSecond / 1e9, cpuPerGb: ((cpuSeconds() - before) * 1e9) / bytes, roundTripUs };
}

async function measureSwitch(sw: BenchSwitch, row: ContainersRow, seconds: number): Promise<ContainersRun> {
  const pods = await Pods.start(sw.daemonPid, row.offloads);
  try {
    for (const [name, ofport] of Object.entries({ pod1: 5, pod2: 6 })) {
      const set = ['set', 'Interface', name, `ofport_request=${ofport}`];
      await sw.run('ovs-vsctl', '--timeout=60', 'add-port', 'br0', name, '--', ...set);
    }
    return await measurePods(pods, seconds, () => sw.cpuSeconds());
  } finally {
    await pods.stop();
  }
}

async function measureKernelBridge(row: ContainersRow, seconds: number): Promise<ContainersRun> {
  const host = await Running.start('bridge', [
    'unshare',
    '--net',
    'taskset',
    '-c',
    String(SWITCH_CORE),
    'sh',
    '-c',
    'echo up; exec sleep infinity',
  ]);
  try {
    await host.waitFor(/up/);
    const ip = ['nsenter', '-t', String(host.pid), '-n', 'ip', 'link'];
    await check([...ip, 'add', 'bridge0', 'up', 'type', 'bridge']);
    const pods = await Pods.start(host.pid, row.offloads);
    try {
      for (const name of ['pod1', 'pod2']) await check([...ip, 'set', name, 'master', 'bridge0']);
      return await measurePods(pods, seconds, () => 0);
    } finally {
      await pods.stop();
    }
  } finally {
    await host.stop('SIGKILL');
  }
}

export async function compareContainers(row: ContainersRow, plan: Plan): Promise<ContainersResult> {
  const seconds = Math.max(1, Math.round(plan.timing.measureS));
  const tell = (run: ContainersRun) =>
    `${run.gbps.toFixed(2)} Gbit/s, ${run.cpuPerGb.toFixed(2)} s CPU a GB, ping ${run.roundTripUs.toFixed(0)} us`;
  const kernel: ContainersRun[] = [];
  for (let i = 0; i < plan.pairs; i += 1) kernel.push(await measureKernelBridge(row, seconds));
  plan.progress(`${row.name}: the kernel's bridge: ${tell(kernel[0]!)}`);
  const how = { ruleset: 'containers.flows', ...(row.ovsConfig && { ovsConfig: row.ovsConfig }) };
  const runs = await inPairs(row.name, plan, how, (sw) => measureSwitch(sw, row, seconds), tell);
  return {
    row,
    runs,
    gbps: spreadsOf(runs, (run) => run.gbps),
    cpuPerGb: spreadsOf(runs, (run) => run.cpuPerGb),
    roundTripUs: spreadsOf(runs, (run) => run.roundTripUs),
    kernelBridge: {
      gbps: spread(kernel.map((run) => run.gbps)),
      roundTripUs: spread(kernel.map((run) => run.roundTripUs)),
    },
    ...spreadOf(ratiosOf(runs, (run) => run.gbps)),
    ...roundTripRatio(runs),
  };
}

function roundTripRatio(runs: Runs<ContainersRun>): { roundTripRatio?: Spread } {
  const { ratio } = spreadOf(ratiosOf(runs, (run) => run.roundTripUs));
  return ratio === undefined ? {} : { roundTripRatio: ratio };
}
