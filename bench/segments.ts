/**
 * TCP frames of 64 KiB from one guest to another, neither of which cuts them: testpmd's csum engine marks the one frame of a pcap file for segmentation and
 * sends it over and over; what comes out of the switch uncut is counted. Both switches run with userspace-tso-enable.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BenchSwitch, GENERATOR_CORE } from './peers/bench-switch.ts';
import { pcapOf } from './peers/generator.ts';
import { eventually } from './peers/process.ts';
import { type PortStats, Testpmd } from './peers/testpmd.ts';
import { inPairs, type PeerName, type Plan, type Runs, ratiosOf, spreadOf, spreadsOf } from './plan.ts';
import type { SegmentsRow } from './rows.ts';
import type { Spread } from './statistics.ts';
import type { Timing } from './throughput.ts';

export interface SegmentsRun {
  /** Bits of the frames that came out of the switch, in units of 10^9 a second, and of those that the generator had to send. */
  gbps: number;
  offeredGbps: number;
  /** CPU time of the switch's process for a gigabyte, in seconds. */
  cpuPerGb: number;
  /** Bytes of a frame that came out, at the mean: FRAME_SIZE when none was cut. */
  frameSize: number;
}

export interface SegmentsResult {
  row: SegmentsRow;
  /** What was sent, in words. */
  traffic: string;
  runs: Runs<SegmentsRun>;
  gbps: Partial<Record<PeerName, Spread>>;
  cpuPerGb: Partial<Record<PeerName, Spread>>;
  ratio?: Spread;
}

const SEGMENT_SIZE = 1448;
const PAYLOAD_SIZE = 45 * SEGMENT_SIZE;
const HEADERS_SIZE = 14 + 20 + 32;
export const FRAME_SIZE = HEADERS_SIZE + PAYLOAD_SIZE;

/** Ethernet, IPv4, and TCP with time stamps, whose checksums the csum engine writes. */
export function bigFrame(): Uint8Array {
  const frame = new Uint8Array(FRAME_SIZE);
  const size = FRAME_SIZE - 14;
  frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
  frame.set([0x45, 0, size >> 8, size & 255, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 14);
  frame.set([0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 9, 0x80, 0x10, 2, 0, 0, 0, 0, 0, 1, 1, 8, 10], 34);
  return frame;
}

/** testpmd's ports: the two guests, the file, and a device that takes everything. */
const [SENDER, RECEIVER, FILE, NOWHERE] = [0, 1, 2, 3];

/** What negotiates and marks segmentation; the ports are stopped then. From the file to the sender, from the receiver to nowhere. */
const SET_UP = [
  `port config ${SENDER} tx_offload tcp_tso on`,
  `port config ${SENDER} tx_offload tcp_cksum on`,
  `port config ${RECEIVER} rx_offload tcp_lro on`,
  `port config ${RECEIVER} rx_offload tcp_cksum on`,
  `csum set tcp hw ${SENDER}`,
  `tso set ${SEGMENT_SIZE} ${SENDER}`,
  `set portlist ${FILE},${SENDER},${RECEIVER},${NOWHERE}`,
  'port start all',
];

/** Starts the generator against two sockets that the switch connects to. */
async function startSender(paths: readonly [string, string], file: string): Promise<Testpmd> {
  const testpmd = await Testpmd.start('testpmd', {
    ports: paths.map((path, i) => ({ path, mac: `02:00:00:00:00:0${i + 1}`, server: true })),
    vdevs: [`net_pcap0,rx_pcap=${file},infinite_rx=1`, 'net_null0,no-rx=1'],
    core: GENERATOR_CORE,
    forwardMode: 'csum',
    memoryMb: 768,
    nMbufs: 2500,
    ringSize: 256,
    args: ['--mbuf-size=65535', '--disable-device-start'],
  });
  try {
    for (const command of SET_UP) {
      const said = await testpmd.type(command);
      if (/error|fail|invalid|not supported/i.test(said)) throw new Error(`testpmd: ${command}: ${said}`);
    }
    await testpmd.go();
    return testpmd;
  } catch (error) {
    await testpmd.kill();
    throw error;
  }
}

interface Look {
  at: number;
  cpu: number;
  stats: PortStats[];
}

async function look(testpmd: Testpmd, sw: BenchSwitch): Promise<Look> {
  return { stats: await testpmd.stats(), at: performance.now(), cpu: sw.cpuSeconds() };
}

/** What happened between two looks. */
export function relateLooks(before: Look, after: Look): SegmentsRun {
  const more = (port: number, key: keyof PortStats) => after.stats[port]![key] - before.stats[port]![key];
  const seconds = (after.at - before.at) / 1000;
  const bytes = more(RECEIVER!, 'rxBytes');
  return {
    gbps: (bytes * 8) / seconds / 1e9,
    offeredGbps: (more(FILE!, 'rxBytes') * 8) / seconds / 1e9,
    cpuPerGb: ((after.cpu - before.cpu) * 1e9) / bytes,
    frameSize: bytes / more(RECEIVER!, 'rxPackets'),
  };
}

async function measureSegments(sw: BenchSwitch, folder: string, timing: Timing): Promise<SegmentsRun> {
  // Open vSwitch negotiates segmentation on the ports of its client mode only.
  const paths: [string, string] = [join(sw.rundir, 'guest1'), join(sw.rundir, 'guest2')];
  for (const [i, path] of paths.entries()) {
    const name = `guest${i + 1}`;
    const set = ['set', 'Interface', name, 'type=dpdkvhostuserclient', `options:vhost-server-path=${path}`];
    await sw.run('ovs-vsctl', '--timeout=60', 'add-port', 'br0', name, '--', ...set, `ofport_request=${5 + i}`);
  }
  const testpmd = await startSender(paths, join(folder, 'frame.pcap'));
  try {
    await eventually('frames come through', async () => (await testpmd.stats())[RECEIVER!]!.rxPackets > 0 || undefined);
    await sleep(timing.warmupS * 1000);
    const before = await look(testpmd, sw);
    await sleep(timing.measureS * 1000);
    const run = relateLooks(before, await look(testpmd, sw));
    if (Math.abs(run.frameSize - FRAME_SIZE) > 1)
      throw new Error(`${sw.name}: frames of ${run.frameSize} bytes came out`);
    return run;
  } finally {
    await testpmd.quit();
  }
}

export async function compareSegments(row: SegmentsRow, plan: Plan): Promise<SegmentsResult> {
  const folder = mkdtempSync(join(tmpdir(), 'turnout-bench-'));
  try {
    writeFileSync(join(folder, 'frame.pcap'), pcapOf([bigFrame()]));
    const how = { ruleset: 'containers.flows', config: { 'userspace-tso-enable': 'true' } };
    const runs = await inPairs(
      row.name,
      plan,
      how,
      (sw) => measureSegments(sw, folder, plan.timing),
      (run) => `${run.gbps.toFixed(2)} Gbit/s of ${run.offeredGbps.toFixed(0)}, ${run.cpuPerGb.toFixed(2)} s CPU a GB`,
    );
    return {
      row,
      traffic: `dpdk-testpmd csum engine, one TCP frame of ${FRAME_SIZE} bytes over and over, marked for segments of ${SEGMENT_SIZE}, from one port to another that takes it uncut`,
      runs,
      gbps: spreadsOf(runs, (run) => run.gbps),
      cpuPerGb: spreadsOf(runs, (run) => run.cpuPerGb),
      ...spreadOf(ratiosOf(runs, (run) => run.gbps)),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
