import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HeapNode, MaxHeap } from './heap.ts';

test('the greatest comes first, through insertions, changes and removals', () => {
  const heap = new MaxHeap<HeapNode>();
  const nodes = Array.from({ length: 100 }, (_, i) => ({ priority: (i * 37) % 101, index: 0 }));
  for (const n of nodes) heap.insert(n);
  nodes.forEach((n, i) => {
    if (i % 3 === 0) heap.change(n, (n.priority * 7) % 101);
  });
  const gone = nodes.filter((_, i) => i % 10 === 0);
  for (const n of gone) heap.remove(n);
  const left = nodes.filter((n) => !gone.includes(n)).map((n) => n.priority);
  const out: number[] = [];
  for (let top = heap.max(); top; top = heap.max()) {
    out.push(top.priority);
    heap.remove(top);
  }
  assert.deepEqual(
    out,
    left.sort((a, b) => b - a),
  );
});
