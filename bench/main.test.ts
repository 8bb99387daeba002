import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parsePcap } from '../src/base/pcap.ts';
import { bestVariant, relate, type ThroughputResult } from './compare.ts';
import { explosionFrames } from './explosion.ts';
import { figures, verdict } from './figures.ts';
import { parseOptions } from './main.ts';
import { plainFrames, tunnelFrames } from './overlay-frames.ts';
import { parsePktgenPage, pcapOf } from './peers/generator.ts';
import { variantConfig } from './peers/ovs-dpdk.ts';
import { parsePmdStats, shares } from './pmd-stats.ts';
import { figureTable, reservations, unprovenRows } from './report.ts';
import { ROWS, type ThroughputRow } from './rows.ts';
import { MADE, textOf } from './rulesets/make.ts';
import { relateScaling } from './scaling.ts';
import { spread } from './statistics.ts';
import type { Throughput } from './throughput.ts';
import { randomCommands } from './traffic.ts';

const run = (mpps: number, cpu: number, nMegaflows = 2): Throughput => ({
  mpps,
  sentMpps: mpps,
  gbps: mpps * 0.48,
  cpu,
  mppsPerCpu: mpps / cpu,
  nMegaflows,
  pmdStats: {},
});

const rulesets = join(dirname(fileURLToPath(import.meta.url)), 'rulesets');

test('options have defaults and are checked', () => {
  const { rows, plan } = parseOptions([]);
  assert.equal(rows.length, ROWS.length);
  assert.equal(plan.pairs, 7);
  assert.deepEqual(
    parseOptions(['--rows', 'idle,l3l4-1k']).rows.map((row) => row.name),
    ['idle', 'l3l4-1k'],
  );
  assert.throws(() => parseOptions(['--rows', 'nonsense']), /no row nonsense; there are bare-in-port/);
  assert.throws(() => parseOptions(['--pairs', '0']), /not a positive number/);
});

test('the ratio is that of each pair, and its median', () => {
  const { ratio, ratios, mppsPerCpu } = relate({
    turnout: [run(10, 1), run(9, 1), run(12, 0.5)],
    'ovs-dpdk': [run(5, 1), run(9, 1), run(8, 1)],
  });
  assert.deepEqual(ratios, [2, 1, 1.5]);
  assert.deepEqual(ratio, { median: 1.5, min: 1, max: 2 });
  assert.equal(mppsPerCpu.turnout?.max, 24);
});

test('without the other switch there is no ratio', () => {
  assert.deepEqual(relate({ turnout: [run(1, 1)] }).ratios, []);
  assert.equal(relate({ turnout: [run(1, 1)] }).ratio, undefined);
});

test('two PMDs are compared with the mean of each alone', () => {
  const row = ROWS.find((one) => one.kind === 'scaling')!;
  const share = (mpps: number, mppsPerCpu: number) => ({ mpps, mppsPerCpu });
  const result = relateScaling(row, [
    { alone: [share(6, 6), share(4, 8)], together: [share(5, 7), share(4, 6)] },
    { alone: [share(5, 5), share(5, 5)], together: [share(5, 5), share(5, 5)] },
  ]);
  assert.deepEqual([result.one.median, result.two.median], [5, 9.5]);
  assert.deepEqual([result.ratio, result.cpuRatio.min], [{ median: 1.9, min: 1.8, max: 2 }, 13 / 7]);
  const [figure] = figures(result);
  assert.equal(verdict(figure!), 'goal');
});

function resultOf(turnout: Throughput[], ovs: Throughput[]): ThroughputResult {
  const runs = { turnout, 'ovs-dpdk': ovs };
  const timing = { warmupS: 1, measureS: 1 };
  const row = ROWS[0] as ThroughputRow;
  const common = { row, traffic: '', timing, runs, ovsVariants: {}, ovsVariant: 'emc' };
  return { ...common, generatorAlone: spread([13]), ...relate(runs) };
}

test('the table has a line a row with ratio, goal and aim', () => {
  const result = resultOf([run(10, 1)], [run(8, 1)]);
  assert.match(
    figureTable([result]),
    /\| 64 B, bare in_port rule +\| Mpps +\| 10\.00 +\| 8\.00 +\| 1\.25 \(1\.25–1\.25\) +\| 1 +\| 1\.5 \| goal/,
  );
  assert.deepEqual(reservations([result]), []);
});

test('a row without headroom of the generator, and one with other megaflows than it is about, are named', () => {
  const result = resultOf([run(10, 1)], [run(8, 1, 900)]);
  assert.deepEqual(unprovenRows([{ ...result, generatorAlone: spread([9]) }]), [result.row.title]);
  assert.match(reservations([result]).join(), /other than the 2 that the row is about: .*ovs-dpdk: 900/);
});

test('a figure reaches its aim, its goal, or neither, whichever way is better', () => {
  const figure = { row: '', title: '', unit: '', digits: 0, goal: 1.3, aim: 2 } as const;
  const verdicts = (better: 'more' | 'less', values: number[]) =>
    values.map((value) => verdict({ ...figure, better, value }));
  assert.deepEqual(verdicts('more', [1, 1.5, 2.5]), ['short', 'goal', 'aim']);
  assert.equal(verdict({ ...figure, goal: 1.5, aim: 0.9, better: 'less', value: 0.8 }), 'aim');
  assert.equal(verdict({ ...figure, better: 'more' }), '');
});

test('the idle row', () => {
  const one = { median: 0.01, min: 0, max: 0.02 };
  const found = figures({
    row: ROWS.find((row) => row.kind === 'idle')!,
    probeFloorUs: { median: 10, min: 9, max: 11 },
    runs: { turnout: { cpu: one, firstPacketUs: { median: 60, min: 50, max: 70 }, firstPacketsUs: [] } },
  });
  assert.deepEqual(
    found.map((figure) => [figure.turnout?.median, verdict(figure)]),
    [
      [1, 'aim'],
      [60, 'aim'],
    ],
  );
});

test('each of the settings of Open vSwitch takes away what another one set', () => {
  assert.deepEqual(variantConfig('emc'), { 'emc-insert-inv-prob': undefined, 'smc-enable': undefined });
  assert.deepEqual(variantConfig('smc'), { 'emc-insert-inv-prob': '0', 'smc-enable': 'true' });
  assert.equal(bestVariant({ emc: 1, smc: 3, none: 2 }), 'smc');
  assert.equal(bestVariant({}), 'emc');
});

test('the rulesets that are made are the files', () => {
  for (const [name, lines] of Object.entries(MADE))
    assert.equal(readFileSync(join(rulesets, name), 'utf8'), textOf(lines()), name);
});

test('every ruleset of rules for flowgen covers the flows of its row on both ports', () => {
  for (const row of ROWS) {
    if (row.kind !== 'throughput' || row.traffic.generator !== 'testpmd-flowgen') continue;
    const text = readFileSync(join(rulesets, row.ruleset), 'utf8');
    for (const port of [1, 2]) {
      const nets = [...text.matchAll(new RegExp(`in_port=${port},udp,nw_dst=[\\d.]+/(\\d+)`, 'g'))];
      if (nets.length === 0) assert.match(text, new RegExp(`in_port=${port},(udp,)?actions`));
      else assert.ok(nets.reduce((total, [, prefix]) => total + 2 ** (32 - Number(prefix)), 0) >= row.traffic.nFlows);
    }
  }
});

test('random 5-tuples stay inside the twenty networks, and their rounds share no divisor', () => {
  const steps = randomCommands(60).flatMap((line) => {
    const match = /^range all dst ip ([\d.]+) [\d.]+ ([\d.]+) /.exec(line);
    return match ? [match[1], match[2]] : [];
  });
  assert.equal(steps[0], '10.0.0.0');
  assert.match(steps[1]!, /^10\.19\./);
});

test('counters of pmd-stats-show, summed over the threads, without averages', () => {
  const stats = parsePmdStats(
    'pmd thread numa_id 0 core_id 0:\n  packets received: 100\n  emc hits: 80\n  avg. datapath passes per packet: 1.00\n' +
      '  idle cycles: 50 (1.34%)\n  avg cycles per packet: 72.03 (5/7)\nmain thread:\n  packets received: 1\n',
  );
  assert.deepEqual(stats, { 'packets received': 101, 'emc hits': 80, 'idle cycles': 50 });
  assert.equal(shares({ 'packets received': 100, 'emc hits': 80 })['emc hits'], 0.8);
});

test("the counts of pktgen's page", () => {
  const page =
    'port  link  tx packets  rx packets  tx bytes  rx bytes  aborted  rx errors  tx Mpps  rx Mpps\n' +
    '   0    up          12           3       720       180        0          0    0.000    0.000\n' +
    '   1  down           0           4         0       240        0          0    0.000    0.000\n' +
    'total                12           7       720       420        0          0    0.000    0.000\n';
  assert.deepEqual(parsePktgenPage(page), [
    { sent: 12, received: 3, receivedBytes: 180 },
    { sent: 0, received: 4, receivedBytes: 240 },
  ]);
});

test('frames go into a capture and come out', () => {
  const frames = [Uint8Array.of(1, 2, 3), new Uint8Array(60).fill(7)];
  assert.deepEqual(
    parsePcap(pcapOf(frames)).map((frame) => new Uint8Array(frame.data)),
    frames,
  );
});

test('the attack comes between the same ordinary frames', () => {
  const { before, underAttack, nAttack } = explosionFrames();
  assert.equal(nAttack, 8192);
  assert.equal(underAttack.length, before.length + nAttack);
  const hex = new Set(before.map((frame) => Buffer.from(frame).toString('hex')));
  assert.ok(hex.size > 200_000);
  assert.equal(underAttack.filter((frame) => !hex.has(Buffer.from(frame).toString('hex'))).length, nAttack);
});

test('what comes out of a tunnel is what went in', () => {
  const plain = plainFrames(60);
  assert.equal(new Set(plain.map((frame) => Buffer.from(frame).toString('hex'))).size, 1000);
  for (const [type, size] of [
    ['vxlan', 50],
    ['gre', 42],
  ] as const) {
    const wrapped = tunnelFrames(type, plain);
    assert.deepEqual(
      wrapped.map((frame) => frame.subarray(size)),
      plain,
    );
    const view = new DataView(wrapped[3]!.buffer);
    assert.equal(view.getUint16(16), 60 + size - 14);
    let sum = 0;
    for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
    assert.equal((sum & 0xffff) + (sum >>> 16), 0xffff, 'the header checksum is right');
  }
});
