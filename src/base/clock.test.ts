import assert from 'node:assert/strict';
import { test } from 'node:test';
import { registerTimeCommands, WarpClock } from './clock.ts';
import { UnixctlCommands } from './unixctl.ts';

test('stopped time moves by warp only, and timers with it, in order', () => {
  const clock = new WarpClock();
  clock.stop();
  const start = clock.monotonicMs();
  const fired: string[] = [];
  clock.after(20, () => fired.push('b'));
  clock.after(10, () => fired.push('a'));
  const cancelled = clock.after(15, () => fired.push('never'));
  cancelled.cancel();
  clock.warp(5);
  assert.deepEqual(fired, []);
  clock.warp(20);
  assert.deepEqual(fired, ['a', 'b']);
  assert.equal(clock.monotonicMs() - start, 25);
});

test('wall time stands still too and moves along', () => {
  const clock = new WarpClock();
  clock.stop();
  const wall = clock.wallMs();
  clock.warp(1000);
  assert.ok(Math.abs(clock.wallMs() - wall - 1000) <= 2);
});

test('a running clock calls back by itself', async () => {
  const clock = new WarpClock();
  const hold = setInterval(() => {}, 1000);
  const before = clock.monotonicMs();
  await new Promise<void>((resolve) => clock.after(5, resolve));
  clearInterval(hold);
  assert.ok(clock.monotonicMs() - before >= 5);
});

test('time/warp goes in steps, so that periodic timers see each', async () => {
  const clock = new WarpClock();
  const unixctl = new UnixctlCommands();
  registerTimeCommands(unixctl, clock);
  let ticks = 0;
  await unixctl.run('time/stop', []);
  const timer = clock.every(100, () => ticks++);
  assert.equal(await unixctl.run('time/warp', ['1000', '100']), 'warped');
  assert.equal(ticks, 10);
  timer.cancel();
  await unixctl.run('time/warp', ['1000', '100']);
  assert.equal(ticks, 10);
});
