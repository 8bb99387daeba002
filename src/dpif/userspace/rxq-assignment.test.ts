import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assignRxqs, type NamedRxq } from './rxq-assignment.ts';

const rxq = (name: string, queue = 0) => ({ name, queue, enabled: true }) as NamedRxq;
const affinity = (ports: Record<string, [queue: number, core: number][]>) =>
  new Map(Object.entries(ports).map(([name, cores]) => [name, new Map(cores)]));

/** `port/queue@core`, with `!` where an affinity says so. */
function assigned(...args: Parameters<typeof assignRxqs>) {
  const { placement, warnings } = assignRxqs(...args);
  return { placed: placement.map((p) => `${p.rxq.name}/${p.rxq.queue}@${p.core}${p.pinned ? '!' : ''}`), warnings };
}

describe('assignment of rx queues', () => {
  it('goes round the cores', () => {
    const { placed, warnings } = assigned([rxq('a'), rxq('a', 1), rxq('b')], [1, 3], new Map());
    assert.deepEqual([placed, warnings], [['a/0@1', 'a/1@3', 'b/0@1'], []]);
  });

  it('keeps other queues off a core that an affinity names', () => {
    const { placed } = assigned([rxq('a'), rxq('b'), rxq('c')], [1, 3], affinity({ b: [[0, 1]] }));
    assert.deepEqual(placed, ['a/0@3', 'b/0@1!', 'c/0@3']);
  });

  it('takes another core, and says so, when the one that is named has no PMD', () => {
    const { placed, warnings } = assigned([rxq('a')], [1], affinity({ a: [[0, 7]] }));
    assert.deepEqual(placed, ['a/0@1']);
    assert.match(warnings.join('\n'), /^Core {2}7 cannot be pinned with port 'a' rx queue 0\. .*alternative core/);
  });

  it('leaves a queue without a core, and says so, when all are isolated', () => {
    const { placed, warnings } = assigned([rxq('a'), rxq('b')], [1], affinity({ a: [[0, 1]] }));
    assert.deepEqual(placed, ['a/0@1!']);
    assert.match(
      warnings.join('\n'),
      /^No non-isolated pmd .* port 'b' rx queue 0\. This rx queue will not be polled\.$/,
    );
  });

  it('says nothing of queues before there is a PMD', () => {
    assert.deepEqual(assigned([rxq('a')], [], new Map()), { placed: [], warnings: [] });
  });
});
