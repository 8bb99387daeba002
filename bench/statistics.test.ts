import assert from 'node:assert/strict';
import { test } from 'node:test';
import { quantile, spread } from './statistics.ts';

test('the median of an odd and of an even number of values', () => {
  assert.equal(quantile([3, 1, 2], 0.5), 2);
  assert.equal(quantile([4, 1, 2, 3], 0.5), 2.5);
});

test('quantiles lie between neighbours, and at the ends', () => {
  assert.equal(quantile([10, 20], 0.25), 12.5);
  assert.equal(quantile([5], 0.99), 5);
  assert.equal(quantile([1, 2, 3], 1), 3);
});

test('a spread', () => {
  assert.deepEqual(spread([1.5, 0.5, 1]), { median: 1, min: 0.5, max: 1.5 });
});
