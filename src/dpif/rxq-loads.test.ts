import assert from 'node:assert/strict';
import { test } from 'node:test';
import { INTERVAL_MS, INTERVALS_MAX, type PmdSample, RxqLoads } from './rxq-loads.ts';

/** A thread that counts as it is told. */
class Thread {
  readonly #sample: { core: number; busyNs: number; idleNs: number; rxqs: { key: string; packets: number }[] };

  constructor(core: number, keys: readonly string[]) {
    this.#sample = { core, busyNs: 0, idleNs: 0, rxqs: keys.map((key) => ({ key, packets: 0 })) };
  }

  work(busyNs: number, idleNs: number, packets: readonly number[]): void {
    this.#sample.busyNs += busyNs;
    this.#sample.idleNs += idleNs;
    this.#sample.rxqs.forEach((q, i) => {
      q.packets += packets[i]!;
    });
  }

  /** It is given other queues. */
  serve(keys: readonly string[]): void {
    this.#sample.rxqs = keys.map((key) => ({ key, packets: 0 }));
  }

  sample(): PmdSample {
    return structuredClone(this.#sample);
  }
}

function rig(...threads: Thread[]) {
  const loads = new RxqLoads();
  let nowMs = 7_000_000;
  const look = () => loads.sample(nowMs, () => threads.map((t) => t.sample()));
  look();
  const interval = () => {
    nowMs += INTERVAL_MS - 1;
    assert.equal(look(), false, 'an interval ended too early');
    nowMs += 1;
    assert.equal(look(), true);
  };
  return { loads, interval };
}

test('a thread’s busy time is shared out by the packets of its queues', () => {
  const thread = new Thread(0, ['a:0', 'b:0', 'c:0']);
  const { loads, interval } = rig(thread);
  thread.work(4000, 1000, [300, 100, 0]);
  interval();
  assert.deepEqual(
    ['a:0', 'b:0', 'c:0', 'd:0'].map((key) => loads.rxqNs(key)),
    [3000, 1000, 0, 0],
  );
  assert.equal(loads.pmdNs(0), 5000);
  thread.work(1000, 4000, [0, 0, 10]);
  interval();
  assert.deepEqual(
    ['a:0', 'b:0', 'c:0'].map((key) => loads.rxqNs(key)),
    [3000, 1000, 1000],
  );
});

test('what is older than a minute is forgotten', () => {
  const thread = new Thread(0, ['a:0']);
  const { loads, interval } = rig(thread);
  thread.work(1000, 0, [1]);
  interval();
  for (let i = 1; i < INTERVALS_MAX; i++) interval();
  assert.equal(loads.rxqNs('a:0'), 1000);
  interval();
  assert.deepEqual([loads.rxqNs('a:0'), loads.pmdNs(0)], [0, 0]);
});

test('a queue that moves keeps its history; its counter starts anew', () => {
  const [one, two] = [new Thread(0, ['a:0', 'b:0']), new Thread(1, [])];
  const { loads, interval } = rig(one, two);
  one.work(1000, 0, [50, 50]);
  interval();
  one.serve(['b:0']);
  two.serve(['a:0']);
  one.work(100, 0, [3]);
  two.work(700, 0, [10]);
  interval();
  assert.deepEqual([loads.rxqNs('a:0'), loads.rxqNs('b:0')], [1200, 600]);
});

test('a queue that is gone is forgotten', () => {
  const thread = new Thread(0, ['a:0']);
  const { loads, interval } = rig(thread);
  thread.work(1000, 0, [1]);
  interval();
  thread.serve([]);
  interval();
  assert.equal(loads.rxqNs('a:0'), 0);
});

test('a thread is overloaded for the intervals in a row in which it was', () => {
  const thread = new Thread(3, ['a:0']);
  const { loads, interval } = rig(thread);
  const is: [busy: number, n: number][] = [
    [95, 1],
    [99, 2],
    [94, 0],
    [100, 1],
    [0, 0],
  ];
  for (const [busy, n] of is) {
    thread.work(busy, 100 - busy, [1]);
    interval();
    assert.equal(loads.overloaded(3, 95), n);
  }
  assert.equal(loads.overloaded(4, 0), 0);
  for (let i = 0; i < 20; i++) {
    thread.work(100, 0, [1]);
    interval();
  }
  assert.equal(loads.overloaded(3, 95), INTERVALS_MAX);
});
