import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Chart, drawChart, ticks } from './plot.ts';

const chart: Chart = {
  title: 'a < b',
  xLabel: 'flows',
  yLabel: 'Mpps',
  xScale: 'log',
  yScale: 'linear',
  xText: (x) => `${x}f`,
  series: [
    {
      name: 'Turnout',
      colour: '#07c',
      points: [
        { x: 1, y: 10, low: 8, high: 12 },
        { x: 100, y: 5 },
        { x: 10, y: 7 },
      ],
    },
    { name: 'OVS', colour: '#c50', dashed: true, points: [{ x: 1, y: 9 }] },
  ],
};

test('a chart has its words, a line a series in the order of x, and a mark a point', () => {
  const svg = drawChart(chart);
  assert.match(svg, /^<svg [^>]*aria-label="a &lt; b"/);
  assert.equal([...svg.matchAll(/<circle/g)].length, 4);
  for (const word of ['>Turnout<', '>OVS<', '>10f<', '>flows<', 'stroke-dasharray'])
    assert.ok(svg.includes(word), word);
  const [, path] = /d="M([^"]*L[^"]*)"/.exec(svg)!;
  const xs = path!.split('L').map((point) => Number(point.split(' ')[0]));
  assert.deepEqual(
    xs,
    xs.toSorted((a, b) => a - b),
  );
});

test('a higher value is drawn higher', () => {
  const [, path] = /d="M([^"]*L[^"]*)"/.exec(drawChart(chart))!;
  const ys = path!.split('L').map((point) => Number(point.split(' ')[1]));
  assert.deepEqual(
    ys,
    ys.toSorted((a, b) => a - b),
  );
});

test('marks of both scales', () => {
  assert.deepEqual(ticks('log', 1, 100), [1, 2, 5, 10, 20, 50, 100]);
  assert.deepEqual(ticks('linear', 0, 10), [0, 2, 4, 6, 8, 10]);
});

test('an empty chart is refused', () => {
  assert.throws(() => drawChart({ ...chart, series: [] }), /nothing to draw/);
});
