import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WarpClock } from './clock.ts';
import { Paced } from './paced.ts';

test('what is asked for often is done at once, then once for all that came meanwhile', () => {
  const clock = new WarpClock();
  clock.stop();
  let done = 0;
  const paced = new Paced(clock, 100, () => done++);
  for (let i = 0; i < 50; i++) paced.ask();
  assert.equal(done, 1);
  clock.warp(99);
  assert.equal(done, 1);
  clock.warp(1);
  assert.equal(done, 2);
  clock.warp(1000);
  assert.equal(done, 2);
  paced.ask();
  assert.equal(done, 3);
  paced.ask();
  paced.close();
  clock.warp(1000);
  assert.equal(done, 3);
});
