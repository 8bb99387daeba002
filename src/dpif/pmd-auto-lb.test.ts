import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type AutoLbSettings, PmdAutoLb, type PmdState } from './pmd-auto-lb.ts';
import { INTERVALS_MAX } from './rxq-loads.ts';

const MINUTE_MS = 60_000;
const SETTINGS: AutoLbSettings = { enabled: true, interval: 1, improve: 25, load: 95 };
const TIME = 1000;

/** Two threads with two queues each: cycles are parts of 1,000. */
function state(cycles: readonly number[], changes: Partial<PmdState> = {}): PmdState {
  const rxqs = cycles.map((n, i) => ({ port: `p${i}`, portNo: i, queue: 0, numa: 0, cycles: n }));
  return {
    cores: [0, 1].map((core) => ({ core, numa: 0 })),
    rxqs,
    current: [0, 0, 1, 1],
    isolated: new Set(),
    algorithm: 'cycles',
    isolate: true,
    overloaded: (core) => (core === 0 ? INTERVALS_MAX : 0),
    time: () => TIME,
    ...changes,
  };
}

const UNEVEN = [600, 390, 10, 0];

/** Whether it wants to act a minute after it was turned on. */
function acts(now: PmdState, settings: Partial<AutoLbSettings> = {}): boolean {
  const lb = new PmdAutoLb();
  const all = { ...SETTINGS, ...settings };
  assert.equal(
    lb.wants(5, all, () => now),
    false,
    'at once',
  );
  assert.equal(
    lb.wants(5 + all.interval * MINUTE_MS - 1, all, () => now),
    false,
    'too early',
  );
  return lb.wants(5 + all.interval * MINUTE_MS, all, () => now);
}

describe('pmd-auto-lb', () => {
  test('acts when a thread was overloaded for a minute and the loads would come closer together', () => {
    assert.equal(acts(state(UNEVEN)), true);
    assert.equal(acts(state(UNEVEN), { interval: 3 }), true);
  });

  test('does nothing when it is off', () => {
    assert.equal(acts(state(UNEVEN), { enabled: false }), false);
  });

  test('does nothing when no thread was overloaded all the time', () => {
    assert.equal(acts(state(UNEVEN, { overloaded: () => INTERVALS_MAX - 1 })), false);
  });

  test('does nothing for less than the improvement that is asked for', () => {
    // 99 and 1 per cent; 60 and 40 when assigned anew: the variance goes from 2401 to 100, by 95 per cent.
    assert.equal(acts(state([600, 390, 10, 0]), { improve: 95 }), true);
    assert.equal(acts(state([600, 390, 10, 0]), { improve: 96 }), false);
    assert.equal(acts(state([990, 0, 10, 0])), false, 'one queue is all of the load');
    assert.equal(acts(state([300, 300, 300, 300])), false, 'it is even already');
  });

  test('does nothing where queues go round, or have nowhere to go', () => {
    assert.equal(acts(state(UNEVEN, { algorithm: 'roundrobin' })), false);
    assert.equal(acts(state(UNEVEN, { isolated: new Set([1]) })), false);
    assert.equal(acts(state([990, 0], { current: [0, 1] })), false);
  });

  test('does nothing where queues would be polled from another node', () => {
    const cores = [
      { core: 0, numa: 0 },
      { core: 1, numa: 0 },
      { core: 2, numa: 1 },
    ];
    const uneven = state(UNEVEN, { cores });
    assert.equal(acts(uneven), true);
    const far = { ...uneven, rxqs: uneven.rxqs.map((q) => ({ ...q, numa: 2 })) };
    assert.equal(acts(far), false);
  });

  test('looks again when the configuration has changed', () => {
    const lb = new PmdAutoLb();
    let nowMs = 0;
    const minute = (now: PmdState) => {
      nowMs += MINUTE_MS;
      return lb.wants(nowMs, SETTINGS, () => now);
    };
    minute(state(UNEVEN));
    assert.equal(minute(state(UNEVEN, { algorithm: 'roundrobin' })), false);
    assert.equal(minute(state(UNEVEN)), false, 'nothing was said to have changed');
    lb.changed();
    assert.equal(minute(state(UNEVEN)), true);
  });
});
