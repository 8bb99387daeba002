import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FLOW_SIZE } from '../gen/flow.ts';
import { CompactMatch } from './compact-match.ts';
import { Flow, FlowWildcards } from './flow.ts';

const words = fc.array(fc.tuple(fc.nat(FLOW_SIZE / 4 - 1), fc.nat(0xffffffff), fc.nat(0xffffffff)), { maxLength: 40 });

test('a match comes back as it was', () => {
  fc.assert(
    fc.property(words, (list) => {
      const match = { flow: new Flow(), wc: new FlowWildcards() };
      for (const [w, value, mask] of list) [match.flow.u32[w], match.wc.u32[w]] = [(value & mask) >>> 0, mask];
      const back = new CompactMatch(match).expand();
      assert.ok(back.flow.equals(match.flow) && back.wc.equals(match.wc));
    }),
  );
});
