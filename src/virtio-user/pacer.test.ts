import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Pacer } from './pacer.ts';

/** Runs a pacer for `ms` in steps of 0.1 ms; every frame comes back at once unless `lose`. Returns how many were sent by each port. */
function drive(pacer: Pacer, ports: number, ms: number, lose = false, startMs = 0): { sent: number[]; most: number } {
  const sent = new Array<number>(ports).fill(0);
  let most = 0;
  for (let t = 0; t <= ms * 10; t++) {
    const total = sent.reduce((a, b) => a + b, 0);
    pacer.advance(startMs + t / 10, total, lose ? 0 : total);
    for (let p = 0; p < ports; p++) {
      const n = pacer.credit(p);
      most = Math.max(most, n);
      pacer.spent(p, n);
      sent[p]! += n;
    }
  }
  return { sent, most };
}

describe('Pacer', () => {
  it('sends at the rate asked for, in small portions', () => {
    const pacer = new Pacer(2, 32);
    pacer.set(0, { pps: 100_000, active: true });
    pacer.set(1, { pps: 1000, active: true });
    const { sent, most } = drive(pacer, 2, 1000);
    assert.ok(Math.abs(sent[0]! - 100_000) <= 50, `${sent[0]}`);
    assert.ok(Math.abs(sent[1]! - 1000) <= 1, `${sent[1]}`);
    assert.ok(most <= 60);
  });

  it('forgets what fell due during a stall', () => {
    const pacer = new Pacer(1, 32);
    pacer.set(0, { pps: 100_000, active: true });
    pacer.advance(0, 0, 0);
    pacer.advance(1000, 0, 0);
    assert.equal(pacer.credit(0), 1000);
  });

  it('an inactive port sends nothing', () => {
    const pacer = new Pacer(1, 32);
    pacer.set(0, { pps: Number.POSITIVE_INFINITY, active: false });
    assert.deepEqual(drive(pacer, 1, 10).sent, [0]);
    assert.equal(pacer.waitMs(), Number.POSITIVE_INFINITY);
  });

  it('keeps no more than a window in flight', () => {
    const pacer = new Pacer(2, 32, 100);
    for (const p of [0, 1]) pacer.set(p, { pps: Number.POSITIVE_INFINITY, active: true });
    pacer.advance(0, 0, 0);
    assert.deepEqual([pacer.credit(0), pacer.credit(1)], [50, 50]);
    pacer.advance(1, 100, 0);
    assert.equal(pacer.credit(0), 0);
    pacer.advance(2, 100, 60);
    assert.equal(pacer.credit(0), 30);
  });

  it('takes frames for lost after a while, and says how many', () => {
    const pacer = new Pacer(1, 32, 10);
    pacer.set(0, { pps: Number.POSITIVE_INFINITY, active: true });
    const { sent } = drive(pacer, 1, 600, true);
    assert.equal(sent[0], 20);
    assert.equal(pacer.writtenOff, 10);
  });

  it('says how long to wait for the next portion', () => {
    const pacer = new Pacer(1, 32);
    pacer.set(0, { pps: 10, active: true });
    pacer.advance(0, 0, 0);
    assert.equal(pacer.waitMs(), 100);
    pacer.advance(60, 0, 0);
    assert.equal(Math.round(pacer.waitMs()), 40);
  });
});
