import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { relate } from './compare.ts';
import { parseOptions } from './main.ts';
import { idleText, throughputTable, unprovenRows } from './report.ts';
import { ROWS, type ThroughputRow } from './rows.ts';
import { spread } from './statistics.ts';
import type { Throughput } from './throughput.ts';

const run = (mpps: number, cpu: number): Throughput => ({
  mpps,
  sentMpps: mpps,
  cpu,
  mppsPerCpu: mpps / cpu,
  nMegaflows: 2,
  pmdStats: '',
});

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

test('the table has a line a row, and a row without headroom of the generator is named', () => {
  const row = ROWS[0] as ThroughputRow;
  const runs = { turnout: [run(10, 1)], 'ovs-dpdk': [run(8, 1)] };
  const result = { row, runs, generatorAlone: spread([13]), ovsVariants: {}, ovsVariant: 'emc', ...relate(runs) };
  assert.match(
    throughputTable([result]),
    /\| 64 B, bare in_port rule +\| 10\.00 +\| 8\.00 \(emc\) +\| 1\.25 \(1\.25–1\.25\) \|/,
  );
  assert.deepEqual(unprovenRows([result]), []);
  assert.deepEqual(unprovenRows([{ ...result, generatorAlone: spread([9]) }]), [row.title]);
});

test('the idle row', () => {
  const one = { median: 0.01, min: 0, max: 0.02 };
  const text = idleText({
    row: { kind: 'idle', name: 'idle', title: '' },
    probeFloorUs: { median: 10, min: 9, max: 11 },
    runs: { turnout: { cpu: one, firstPacketUs: { median: 60, min: 50, max: 70 }, firstPacketsUs: [] } },
  });
  assert.match(text, /idle, turnout: 1\.0 % of a core, first packet 60 us \(50–70\)/);
});

test('every ruleset covers the flows of its row on both ports', () => {
  for (const row of ROWS.filter((candidate) => candidate.kind === 'throughput')) {
    const text = readFileSync(join(dirname(fileURLToPath(import.meta.url)), 'rulesets', row.ruleset), 'utf8');
    for (const port of [1, 2]) {
      const nets = [...text.matchAll(new RegExp(`in_port=${port},udp,nw_dst=[\\d.]+/(\\d+)`, 'g'))];
      if (nets.length === 0) assert.match(text, new RegExp(`^in_port=${port},actions`, 'm'));
      else assert.ok(nets.reduce((total, [, prefix]) => total + 2 ** (32 - Number(prefix)), 0) >= row.nFlows);
    }
  }
});
