import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { relate, type ThroughputResult } from './compare.ts';
import { DOCUMENT, flowsChart, made, numbersText, withNumbers } from './docs.ts';
import { drawChart } from './plot.ts';
import { ROWS, type ThroughputRow } from './rows.ts';
import { spread } from './statistics.ts';
import type { Throughput } from './throughput.ts';

test('docs/performance.md and its pictures are what the newest results say', () => {
  for (const [file, text] of made())
    assert.equal(readFileSync(file, 'utf8'), text, `${file} is not current: turnout bench --docs`);
});

test('numbers go between the marks and nowhere else', () => {
  const document = readFileSync(DOCUMENT, 'utf8');
  const once = withNumbers(document, 'NUMBERS');
  assert.match(once, /NUMBERS/);
  assert.equal(withNumbers(once, 'NUMBERS'), once);
  assert.throws(() => withNumbers('no marks', ''), /no place for the numbers/);
  assert.equal(numbersText([]), 'Nothing is measured yet.');
});

const throughput = (name: string, mpps: number): ThroughputResult => {
  const run: Throughput = { mpps, sentMpps: mpps, gbps: 1, mppsPerCpu: mpps, cpu: 1, nMegaflows: 2, pmdStats: {} };
  const runs = { turnout: [run], 'ovs-dpdk': [{ ...run, mpps: mpps / 2 }] };
  const row = ROWS.find((candidate) => candidate.name === name) as ThroughputRow;
  const timing = { warmupS: 1, measureS: 1 };
  const about = { row, traffic: '', timing, generatorAlone: spread([99]), ovsVariants: { emc: 1 }, ovsVariant: 'emc' };
  return { ...about, runs, ...relate(runs) };
};

test('the picture has a point a row and switch', () => {
  const chart = flowsChart(['l3l4-1k', 'l3l4-100k', 'megaflow-each-1m'].map((name) => throughput(name, 10)));
  assert.deepEqual(
    chart.series.map((series) => [series.name, series.points.map((point) => point.x)]),
    [
      ['Turnout', [1000, 200_000]],
      ['Turnout, a megaflow each', [1_000_000]],
      ['OVS-DPDK', [1000, 200_000]],
      ['OVS-DPDK, a megaflow each', [1_000_000]],
    ],
  );
  assert.match(drawChart(chart), />200k</);
});
