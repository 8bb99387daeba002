import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { HashCounts } from './hash-counts.ts';

describe('HashCounts', () => {
  it('counts as a Map does, when many hashes share a slot', () => {
    const hash = fc.integer({ min: 0, max: 40 }).map((n) => (n % 8) + (n >> 3) * 1024);
    const step = fc.record({ hash, add: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const counts = new HashCounts();
        const model = new Map<number, number>();
        for (const s of steps) {
          const n = model.get(s.hash) ?? 0;
          if (s.add) counts.add(s.hash);
          else if (n) counts.remove(s.hash);
          model.set(s.hash, s.add ? n + 1 : Math.max(0, n - 1));
          for (const [h, count] of model) assert.equal(counts.has(h), count > 0);
        }
      }),
    );
  });

  it('refuses to remove what is not in', () => {
    assert.throws(() => new HashCounts().remove(3));
  });
});
