import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { composePacket } from '../../flow/compose.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import {
  ARENA__SIZE,
  ARENA_HEADER,
  ARENA_HEAP,
  ARENA_THREADS,
  EPOCH_OFFLINE,
  HEADER_EPOCH,
  THREAD__SIZE,
  THREAD_EPOCH,
} from '../../gen/arena.ts';
import { FlowTable } from './flow-table.ts';
import { ArenaHeap } from './heap.ts';
import { Rcu } from './rcu.ts';
import { Rig } from './testing/rig.ts';

const rig = new Rig();
const IN_PORT = 5;

function flow(nwSrc: number, tpSrc = 0): Flow {
  const f = new Flow();
  Object.assign(f, { inPort: IN_PORT, dlType: 0x0800, nwProto: 17, nwTtl: 64, nwSrc, tpSrc });
  return f;
}

function mask(prefix: number, ports = false): FlowWildcards {
  const m = new FlowWildcards();
  Object.assign(m, {
    inPort: 0xffffffff,
    recircId: 0xffffffff,
    dlType: 0xffff,
    nwSrc: prefix === 0 ? 0 : (-1 << (32 - prefix)) >>> 0,
  });
  if (ports) m.tpSrc = 0xffff;
  return m;
}

/** What the fast path finds for a packet with these headers. */
function lookup(f: Flow): number {
  rig.prepare(composePacket(f, []), IN_PORT);
  return rig.exports.lookupSpare();
}

const remove = (table: FlowTable, index: number) => table.remove(index, 1, () => {});

describe('flow table', () => {
  test('finds a flow by the very key and mask it was put in with', () => {
    const a = rig.table.insert(flow(0x0a000001), mask(24), 64);
    const b = rig.table.insert(flow(0x0a000001), mask(32, true), 128);
    assert.equal(rig.table.find(flow(0x0a0000ff), mask(24)), a);
    assert.equal(rig.table.find(flow(0x0a000001), mask(32, true)), b);
    assert.equal(rig.table.find(flow(0x0a000001), mask(32)), 0);
    assert.equal(rig.table.find(flow(0x0a000101), mask(24)), 0);
    assert.equal(rig.table.find(Object.assign(flow(0x0a000001), { inPort: 6 }), mask(24)), 0);
    assert.deepEqual([rig.table.count, rig.table.nMasks], [2, 2]);
    assert.equal(rig.table.actions(a), 64);
    assert.equal(rig.table.setActions(a, 192), 64);
    assert.equal(rig.exports.flowActions(a), 192);
    for (const f of [a, b]) remove(rig.table, f);
    rig.rcu.reap();
    assert.deepEqual([rig.table.count, rig.table.nMasks], [0, 0]);
  });

  test('more than seven flows in one bucket, which come and go', () => {
    const chosen: { f: Flow; index: number }[] = [];
    for (let i = 0; chosen.length < 30; i++) {
      const f = flow(0x0a000000 + i, 1);
      const index = rig.table.insert(f, mask(32), 64);
      if ((rig.exports.flowHash(index) & 15) === 3) chosen.push({ f, index });
      else remove(rig.table, index);
      rig.rcu.reap();
    }
    for (const { f, index } of chosen) assert.equal(lookup(f), index);
    for (const { index } of chosen.filter((_, i) => i % 2)) remove(rig.table, index);
    for (const [i, { f, index }] of chosen.entries()) assert.equal(lookup(f), i % 2 ? 0 : index);
    const again = chosen.filter((_, i) => i % 2).map(({ f }) => ({ f, index: rig.table.insert(f, mask(32), 64) }));
    for (const { f, index } of again) assert.equal(lookup(f), index);
    for (const { index } of [...again, ...chosen.filter((_, i) => i % 2 === 0)]) remove(rig.table, index);
    rig.rcu.reap();
  });

  test('grows to 100,000 flows, and gives everything back', () => {
    const used = rig.heap.usedBytes;
    const n = 100_000;
    const f = flow(0);
    const m = mask(32);
    const indices = new Uint32Array(n);
    for (let i = 0; i < n; i++) {
      f.nwSrc = i * 3;
      indices[i] = rig.table.insert(f, m, 64);
      assert.notEqual(indices[i], 0);
    }
    assert.deepEqual([rig.table.count, rig.table.nMasks], [n, 1]);
    for (let i = 0; i < n; i += 97) assert.equal(lookup(flow(i * 3)), indices[i]);
    assert.equal(lookup(flow(1)), 0);
    for (let i = 0; i < n; i++) if (i % 10) remove(rig.table, indices[i]!);
    for (let i = 0; i < n; i += 97) assert.equal(lookup(flow(i * 3)), i % 10 ? 0 : indices[i]);
    for (let i = 0; i < n; i += 10) remove(rig.table, indices[i]!);
    rig.rcu.reap();
    assert.equal(rig.table.count, 0);
    assert.equal(rig.rcu.pending, 0);
    assert.equal(rig.heap.usedBytes, used);
  });

  test('many masks: each packet finds its flow whichever comes first', () => {
    const flows = Array.from({ length: 32 }, (_, i) => {
      // The i-th flow's packets differ from all others' within its prefix.
      const f = flow((0x80000000 >>> i) >>> 0);
      return { f, index: rig.table.insert(f, mask(i + 1), 64) };
    });
    assert.equal(rig.table.nMasks, 32);
    for (const { f, index } of flows) assert.equal(lookup(f), index);
    for (const { index } of flows) remove(rig.table, index);
    rig.rcu.reap();
  });

  test('a heap that is full refuses flows and keeps the others', () => {
    fc.assert(
      fc.property(
        fc.nat(40),
        fc.array(fc.tuple(fc.nat(400), fc.integer({ min: 22, max: 32 })), { maxLength: 300 }),
        (limit, wanted) => {
          const heap = new LimitedHeap(limit);
          const rcu = new Rcu(rig.arena, () => 1);
          const table = new FlowTable(rig.arena, heap, rcu, (f) => rig.exports.flowHash(f) >>> 0);
          const flows = new Map<string, { f: Flow; m: FlowWildcards; index: number }>();
          for (const [n, prefix] of wanted) {
            const [f, m] = [flow(0x0a000000 + n * 4), mask(prefix)];
            const id = `${(f.nwSrc & m.nwSrc) >>> 0}/${prefix}`;
            assert.equal(table.find(f, m), flows.get(id)?.index ?? 0);
            if (flows.has(id)) continue;
            const index = table.insert(f, m, 64);
            if (index !== 0) flows.set(id, { f, m, index });
            assert.equal(table.count, flows.size);
          }
          for (const { f, m, index } of flows.values()) assert.equal(table.find(f, m), index);
          for (const { index } of flows.values()) remove(table, index);
          rcu.reap();
          assert.deepEqual([table.count, table.nMasks, heap.usedBytes], [0, 0, 0]);
        },
      ),
      { numRuns: 60 },
    );
  });
});

/** Gives `limit` blocks at a time. */
class LimitedHeap extends ArenaHeap {
  #left: number;

  constructor(limit: number) {
    super();
    this.#left = limit;
  }

  override alloc(size: number): number | undefined {
    if (this.#left === 0) return undefined;
    this.#left--;
    const at = super.alloc(size);
    return at === undefined ? undefined : at + HALF;
  }

  override free(at: number, size: number): void {
    this.#left++;
    super.free(at - HALF, size);
  }
}

/** These blocks lie behind those of the rig's own heap. */
const HALF = 128 << 20;

describe('RCU', () => {
  const epochOf = (t: number) => ARENA_THREADS + t * THREAD__SIZE + THREAD_EPOCH;

  test('frees when every thread has passed a quiescent point, in order', () => {
    const rcu = new Rcu(rig.arena, () => 3);
    const quiesce = (t: number) => rig.arena.set(epochOf(t), rig.arena.get(ARENA_HEADER + HEADER_EPOCH));
    const freed: string[] = [];
    quiesce(1);
    quiesce(2);
    rcu.retire(() => freed.push('a'));
    quiesce(1);
    rcu.retire(() => freed.push('b'));
    rcu.reap();
    assert.deepEqual(freed, []);
    quiesce(2);
    rcu.reap();
    assert.deepEqual(freed, ['a']);
    quiesce(1);
    rcu.reap();
    assert.deepEqual(freed, ['a', 'b']);
    assert.equal(rcu.pending, 0);
  });

  test('goes on when the epochs have gone round', () => {
    const rcu = new Rcu(rig.arena, () => 3);
    const epoch = ARENA_HEADER + HEADER_EPOCH;
    const before = rig.arena.get(epoch);
    rig.arena.set(epoch, EPOCH_OFFLINE - 2);
    rig.arena.set(epochOf(1), EPOCH_OFFLINE - 2);
    rig.arena.set(epochOf(2), EPOCH_OFFLINE);
    const freed: number[] = [];
    for (let i = 0; i < 4; i++) {
      rcu.retire(() => freed.push(i));
      if (i === 1) rig.arena.set(epochOf(1), rig.arena.get(epoch));
    }
    rcu.reap();
    assert.deepEqual(freed, [0, 1]);
    rig.arena.set(epochOf(1), rig.arena.get(epoch));
    rcu.reap();
    assert.deepEqual(freed, [0, 1, 2, 3]);
    rig.arena.set(epoch, before);
    rig.arena.set(epochOf(1), EPOCH_OFFLINE);
  });

  test('does not wait for threads that are offline', () => {
    const rcu = new Rcu(rig.arena, () => 3);
    rig.arena.set(epochOf(1), EPOCH_OFFLINE);
    rig.arena.set(epochOf(2), EPOCH_OFFLINE);
    let freed = false;
    rcu.retire(() => {
      freed = true;
    });
    rcu.reap();
    assert.ok(freed);
  });

  test('frees now and then of its own accord', () => {
    const rcu = new Rcu(rig.arena, () => 1);
    for (let i = 0; i < 5000; i++) rcu.retire(() => {});
    assert.ok(rcu.pending < 2048);
  });
});

describe('arena heap', () => {
  test('blocks are aligned, do not overlap, and are used again', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 5000 })), { maxLength: 200 }), (steps) => {
        const heap = new ArenaHeap();
        const live: { at: number; size: number }[] = [];
        for (const [alloc, n] of steps) {
          if (alloc || live.length === 0) {
            const at = heap.alloc(n)!;
            assert.ok(at % 64 === 0 && at >= ARENA_HEAP && at + n <= ARENA__SIZE);
            for (const b of live) assert.ok(at + n <= b.at || b.at + b.size <= at, 'two blocks overlap');
            live.push({ at, size: n });
          } else {
            const [b] = live.splice(n % live.length, 1);
            heap.free(b!.at, b!.size);
          }
        }
        for (const b of live) heap.free(b.at, b.size);
        assert.equal(heap.usedBytes, 0);
      }),
    );
  });

  test('says when it is full', () => {
    const heap = new ArenaHeap();
    let n = 0;
    while (heap.alloc(16 << 20) !== undefined) n++;
    assert.equal(n, 16);
    heap.free(ARENA_HEAP, 16 << 20);
    assert.equal(heap.alloc(16 << 20), ARENA_HEAP);
  });
});
