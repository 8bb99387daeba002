import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Flow, FlowWildcards } from './flow.ts';
import { countCommonMplsLabels, countMplsLabels, popMpls, pushMpls } from './mpls.ts';

const lse = (label: number, bos: number, ttl = 64): number => ((label << 12) | (bos << 8) | ttl) >>> 0;

function stack(...lses: number[]): Flow {
  const flow = new Flow();
  flow.dlType = 0x8847;
  [flow.mplsLse0 = 0, flow.mplsLse1 = 0, flow.mplsLse2 = 0] = lses;
  return flow;
}

describe('the MPLS label stack', () => {
  it('ends at its bottom', () => {
    assert.equal(countMplsLabels(stack(lse(1, 1), lse(2, 1))), 1);
    assert.equal(countMplsLabels(stack(lse(1, 0), lse(2, 1))), 2);
    assert.equal(countMplsLabels(stack(lse(1, 0), lse(2, 0), lse(3, 0))), 3);
    assert.equal(countMplsLabels(new Flow()), 0);
  });

  it('takes TTL and class of the first label from the IP header, and puts that out of reach', () => {
    const flow = new Flow();
    flow.dlType = 0x86dd;
    flow.nwTtl = 9;
    flow.nwTos = 0x14;
    flow.nwProto = 6;
    const wc = new FlowWildcards();
    pushMpls(flow, 0, 0x8847, wc, true);
    assert.equal(flow.mplsLse0, ((2 << 12) | (5 << 9) | 0x100 | 9) >>> 0);
    assert.equal(flow.dlType, 0x8847);
    assert.equal(flow.nwProto, 0);
    assert.deepEqual([wc.nwTtl, wc.nwTos], [0xff, 0xfc]);
  });

  it('gives a further label what the one below has, but for the bottom', () => {
    const flow = stack(lse(5, 1, 7));
    pushMpls(flow, 1, 0x8848, undefined, true);
    assert.deepEqual([flow.mplsLse0, flow.mplsLse1, flow.dlType], [lse(5, 0, 7), lse(5, 1, 7), 0x8848]);
  });

  it('is popped from the top, unless what comes up is not known', () => {
    const flow = stack(lse(1, 0), lse(2, 1));
    assert.equal(popMpls(flow, 2, 0x8847), true);
    assert.deepEqual([flow.mplsLse0, flow.mplsLse1], [lse(2, 1), 0]);
    assert.equal(popMpls(stack(lse(1, 0), lse(2, 0), lse(3, 0)), 3, 0x8847), false);
    assert.equal(popMpls(new Flow(), 0, 0x0800), false);
  });

  it('is compared from the bottom up', () => {
    const a = stack(lse(1, 0), lse(2, 0), lse(3, 1));
    const b = stack(lse(9, 0), lse(3, 1));
    assert.equal(countCommonMplsLabels(a, 3, b, 2), 1);
    assert.equal(countCommonMplsLabels(a, 3, a, 3), 3);
  });
});
