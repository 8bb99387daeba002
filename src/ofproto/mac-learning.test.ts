import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MacLearning, macBytes, macNumber } from './mac-learning.ts';

describe('MacLearning', () => {
  const make = () => {
    const clock = { ms: 0 };
    return { clock, macs: new MacLearning<string>(() => clock.ms) };
  };

  it('learns, refreshes, moves and ages', () => {
    const { clock, macs } = make();
    assert.equal(macs.learn(1, 0, 'p1'), true);
    clock.ms = 200_000;
    assert.equal(macs.learn(1, 0, 'p1'), false);
    assert.equal(macs.learn(2, 0, 'p1'), true);
    assert.equal(macs.learn(1, 0, 'p2'), true);
    assert.equal(macs.totalMoved, 1);
    assert.equal(macs.lookup(1, 0)!.bundle, 'p2');
    assert.equal(macs.lookup(1, 5), undefined);
    clock.ms = 499_999;
    macs.expire();
    assert.equal(macs.size, 2);
    clock.ms = 500_000;
    macs.expire();
    assert.equal(macs.size, 0);
    assert.equal(macs.totalExpired, 2);
  });

  it('never learns a multicast address', () => {
    const { macs } = make();
    assert.equal(macs.learn(macNumber(Uint8Array.of(1, 0, 0, 0, 0, 1)), 0, 'p1'), false);
    assert.equal(macs.size, 0);
  });

  it('evicts from the port that has most when it is full', () => {
    const { macs } = make();
    macs.setMaxEntries(10);
    macs.learn(1, 0, 'victim');
    for (let mac = 100; mac < 200; mac++) macs.learn(mac, 0, 'flood');
    assert.equal(macs.size, 10);
    assert.equal(macs.lookup(1, 0)?.bundle, 'victim');
    assert.equal(macs.totalEvicted, 91);
    assert.ok(macs.lookup(199, 0));
  });

  it('says when a lookup may have changed', () => {
    const { macs } = make();
    const seqs = [macs.seq];
    macs.learn(1, 0, 'p1');
    seqs.push(macs.seq);
    macs.flush('p1');
    seqs.push(macs.seq);
    assert.equal(new Set(seqs).size, 3);
    macs.flush();
    assert.equal(macs.seq, seqs[2]);
  });

  it('turns addresses into numbers and back', () => {
    const bytes = Uint8Array.of(0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54);
    assert.deepEqual(macBytes(macNumber(bytes)), bytes);
  });
});
