import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assignRxqs, type NamedRxq, type RxqPolicy } from './rxq-assignment.ts';

const rxq = (name: string, queue = 0) => ({ name, queue, port: name.charCodeAt(0), enabled: true }) as NamedRxq;
const affinity = (ports: Record<string, [queue: number, core: number][]>) =>
  new Map(Object.entries(ports).map(([name, cores]) => [name, new Map(cores)]));

const POLICY: RxqPolicy = { algorithm: 'cycles', isolate: true, affinity: new Map(), load: () => 0 };

/** `port/queue@core`, and what is told at a level. */
function assigned(rxqs: NamedRxq[], cores: number[], policy: Partial<RxqPolicy> = {}) {
  const { placement, isolated, log } = assignRxqs(rxqs, cores, { ...POLICY, ...policy });
  const told = (level: 'info' | 'warn') => log.filter((line) => line.level === level).map(({ text }) => text);
  return {
    placed: placement.map((p) => `${p.rxq.name}/${p.rxq.queue}@${p.core}`),
    isolated: [...isolated],
    warnings: told('warn'),
    infos: told('info'),
  };
}

describe('assignment of rx queues', () => {
  it('goes up the cores and down again', () => {
    const { placed, warnings } = assigned([rxq('a'), rxq('a', 1), rxq('b'), rxq('c')], [1, 3]);
    assert.deepEqual([placed, warnings], [['a/0@1', 'a/1@3', 'b/0@3', 'c/0@1'], []]);
  });

  it('takes the busiest first', () => {
    const loads = new Map(Object.entries({ 'a:0': 1, 'a:1': 50, 'b:0': 40, 'c:0': 5 }));
    const { placed, infos } = assigned([rxq('a'), rxq('a', 1), rxq('b'), rxq('c')], [1, 3], {
      load: (key) => loads.get(key) ?? 0,
    });
    assert.deepEqual(placed, ['a/0@1', 'a/1@1', 'b/0@3', 'c/0@3']);
    assert.deepEqual(infos.slice(0, 2), [
      'Performing pmd to rx queue assignment using cycles algorithm.',
      "Core  1 on numa node 0 assigned port 'a' rx queue 1 (measured processing cycles 50).",
    ]);
  });

  it('goes round them, whatever they cost, when it is told to', () => {
    const { placed } = assigned([rxq('a'), rxq('b'), rxq('c')], [1, 3], {
      algorithm: 'roundrobin',
      load: (key) => (key === 'c:0' ? 9 : 0),
    });
    assert.deepEqual(placed, ['a/0@1', 'b/0@3', 'c/0@1']);
  });

  it('keeps other queues off a core that an affinity names, or only counts what it costs there', () => {
    const pinned = { affinity: affinity({ b: [[0, 1]] }) };
    const { placed, isolated } = assigned([rxq('a'), rxq('b'), rxq('c')], [1, 3], pinned);
    assert.deepEqual([placed, isolated], [['a/0@3', 'b/0@1', 'c/0@3'], [1]]);
    const shared = assigned([rxq('a'), rxq('b'), rxq('c')], [1, 3], {
      ...pinned,
      algorithm: 'group',
      isolate: false,
      load: (key) => ({ 'a:0': 9, 'b:0': 4, 'c:0': 3 })[key] ?? 0,
    });
    assert.deepEqual([shared.placed, shared.isolated], [['a/0@3', 'b/0@1', 'c/0@1'], []]);
  });

  it('takes another core, and says so, when the one that is named has no PMD', () => {
    const { placed, warnings } = assigned([rxq('a')], [1], { affinity: affinity({ a: [[0, 7]] }) });
    assert.deepEqual(placed, ['a/0@1']);
    assert.match(warnings.join('\n'), /^Core {2}7 cannot be pinned with port 'a' rx queue 0\. .*alternative core/);
  });

  it('leaves a queue without a core, and says so, when all are isolated', () => {
    const { placed, warnings } = assigned([rxq('a'), rxq('b')], [1], { affinity: affinity({ a: [[0, 1]] }) });
    assert.deepEqual(placed, ['a/0@1']);
    assert.match(
      warnings.join('\n'),
      /^No non-isolated pmd .* port 'b' rx queue 0 \(measured processing cycles 0\)\. This rx queue will not be polled\.$/,
    );
  });

  it('says nothing of queues before there is a PMD', () => {
    const { placed, warnings, infos } = assigned([rxq('a')], []);
    assert.deepEqual([placed, warnings, infos], [[], [], []]);
  });
});
