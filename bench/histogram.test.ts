import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Histogram } from './histogram.ts';

test('quantiles are right to the width of a bucket', () => {
  const histogram = new Histogram();
  for (let i = 1; i <= 100_000; i += 1) histogram.add(i);
  for (const fraction of [0.5, 0.99, 0.9999]) {
    const relative = histogram.quantile(fraction) / (fraction * 100_000);
    assert.ok(relative >= 1 && relative < 1.04, `${fraction}: ${relative}`);
  }
  assert.equal(histogram.quantile(1), 100_000);
  assert.equal(histogram.total, 100_000);
});

test('one sample far out is the maximum and no quantile below it', () => {
  const histogram = new Histogram();
  histogram.add(10, 9999);
  histogram.add(1e6);
  assert.ok(histogram.quantile(0.9999) < 11);
  assert.equal(histogram.max, 1e6);
});

test('two histograms add up, and clearing empties one', () => {
  const [a, b] = [new Histogram(), new Histogram()];
  a.add(5);
  b.add(500);
  a.addAll(b);
  assert.deepEqual([a.total, a.max], [2, 500]);
  a.clear();
  assert.deepEqual([a.total, a.max, a.quantile(0.5)], [0, 0, 0]);
});
