import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Coverage } from './coverage.ts';
import { UnixctlCommands, UnixctlError } from './unixctl.ts';

test('counters have rates over the last window, minute and hour', () => {
  const coverage = new Coverage();
  const counter = coverage.counter('upcalls');
  coverage.counter('never');
  counter.add(50);
  coverage.run();
  counter.add(10);
  coverage.run();
  assert.match(
    coverage.show(),
    /^Event coverage, avg rate over last: 5 seconds, last minute, last hour, {2}hash=[0-9a-f]{8}:\nupcalls {20}2\.0\/sec {5}1\.000\/sec {8}0\.0167\/sec {3}total: 60\n1 events never hit\n$/,
  );
});

test('a minute and an hour roll on', () => {
  const coverage = new Coverage();
  const counter = coverage.counter('x');
  counter.add(120);
  for (let i = 0; i < 13; i++) coverage.run();
  assert.deepEqual(counter.rates(13), [0, 0, 120 / 3600]);
  for (let i = 0; i < 12 * 60; i++) coverage.run();
  assert.deepEqual(counter.rates(13 + 720), [0, 0, 0]);
});

test('one counter is read by its name', async () => {
  const coverage = new Coverage();
  const unixctl = new UnixctlCommands();
  coverage.registerCommands(unixctl);
  coverage.counter('x').add(3);
  assert.equal(await unixctl.run('coverage/read-counter', ['x']), '3\n');
  await assert.rejects(unixctl.run('coverage/read-counter', ['y']), new UnixctlError('No such counter'));
});

test('what is counted elsewhere is asked for whenever somebody looks', async () => {
  const coverage = new Coverage();
  const unixctl = new UnixctlCommands();
  coverage.registerCommands(unixctl);
  let total = 5;
  coverage.addSource(() => new Map([['drops', total]]));
  assert.equal(await unixctl.run('coverage/read-counter', ['drops']), '5\n');
  coverage.run();
  total = 15;
  coverage.run();
  assert.match(coverage.show(), /^drops +2\.0\/sec .* total: 15$/m);
});
