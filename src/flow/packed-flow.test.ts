import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FLOW_SIZE } from '../gen/flow.ts';
import { Flow } from './flow.ts';
import { PackedFlow } from './packed-flow.ts';

test('a packed flow is unpacked to the same value', () => {
  assert.ok(FLOW_SIZE / 4 <= 256, 'an index fits a byte');
  const word = fc.tuple(fc.nat(FLOW_SIZE / 4 - 1), fc.integer({ min: 0, max: 0xffffffff }));
  fc.assert(
    fc.property(fc.array(word), (words) => {
      const flow = new Flow();
      for (const [at, value] of words) flow.u32[at] = value;
      assert.ok(new PackedFlow(flow).unpack().equals(flow));
    }),
  );
});
