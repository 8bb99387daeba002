import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hash2Words } from '../../base/hash.ts';
import { multipathLink } from './multipath.ts';

const ALGORITHMS = ['modulo_n', 'hash_threshold', 'hrw', 'iter_hash'] as const;

/** Links of so many hashes. */
function links(algorithm: (typeof ALGORITHMS)[number], nLinks: number, n = 4000): number[] {
  return Array.from({ length: n }, (_, i) =>
    multipathLink(hash2Words(i, 77), { algorithm, maxLink: nLinks - 1, arg: 0 }),
  );
}

describe('multipath', () => {
  for (const algorithm of ALGORITHMS)
    it(`${algorithm} shares evenly, and stays within the links`, () => {
      for (const nLinks of [1, 2, 5, 64, 100]) {
        const counts = new Array<number>(nLinks).fill(0);
        for (const link of links(algorithm, nLinks)) counts[link]++;
        const mean = 4000 / nLinks;
        assert.equal(counts.length, nLinks);
        for (const c of counts) assert.ok(Math.abs(c - mean) < 6 * Math.sqrt(mean) + 1, `${nLinks}: ${counts}`);
      }
    });

  it('moves few packets with hrw when a link is added', () => {
    const before = links('hrw', 9);
    const moved = links('hrw', 10).filter((link, i) => link !== before[i]);
    assert.ok(moved.every((link) => link === 9));
    assert.ok(moved.length > 0);
  });
});
