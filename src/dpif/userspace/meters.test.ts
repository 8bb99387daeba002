import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../../base/types.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import { BATCH_MAX } from '../../gen/arena.ts';
import type { DpAction, DpMeterConfig } from '../dpif.ts';
import { Meters } from '../meters.ts';
import { Rig } from './testing/rig.ts';

/** Meters of the fast path against those in TypeScript: the same packets pass, the same are counted, by the same band. */

const IN_PORT = 9;
const ID = 7;
const actions: DpAction[] = [
  { type: 'meter', meterId: ID },
  { type: 'output', port: odpPort(1) },
];

const rig = new Rig();
rig.softPort(1);
const key = new Flow();
key.inPort = IN_PORT;
const wc = new FlowWildcards();
Object.assign(wc, { inPort: 0xffffffff, recircId: 0xffffffff });
rig.table.insert(key, wc, rig.flowActions(actions));

/** Frames that start with their number in the burst. */
const burstOf = (sizes: readonly number[]) => sizes.map((size, i) => new Uint8Array(size).fill(i, 0, 1));

/** Numbers of the packets that the fast path let pass at `now`. */
function passed(sizes: readonly number[], now: number): number[] {
  rig.setNowMs(now);
  burstOf(sizes).forEach((frame, i) => {
    rig.place(i, frame);
  });
  rig.exports.process(sizes.length, IN_PORT);
  return rig.outputs().map(({ frame }) => frame[0]!);
}

const configs = fc.record({
  kbps: fc.boolean(),
  burst: fc.constant(true),
  bands: fc.array(fc.record({ rate: fc.oneof(fc.nat(8), fc.nat(5000)), burst: fc.oneof(fc.nat(8), fc.nat(300)) }), {
    maxLength: 8,
  }),
});

/** How long nothing came, what then came, and whether this thread sends it. */
const bursts = fc.array(
  fc.record({
    waitMs: fc.oneof(fc.nat(3), fc.nat(2000), fc.constant(2 ** 33)),
    sizes: fc.array(fc.integer({ min: 14, max: 1500 }), { minLength: 1, maxLength: BATCH_MAX }),
    slow: fc.boolean(),
  }),
  { minLength: 1, maxLength: 20 },
);

describe('meters', () => {
  test('let the same packets pass as those in TypeScript', () => {
    let dropped = 0;
    fc.assert(
      fc.property(configs, bursts, (config: DpMeterConfig, list) => {
        let now = 1_000_000;
        rig.setNowMs(now);
        const reference = new Meters(() => now);
        assert.equal(rig.meters.set(ID, config), reference.set(ID, config));
        let got = 0;
        let want = 0;
        const drops = rig.dropsDuring(() => {
          for (const { waitMs, sizes, slow } of list) {
            now += waitMs;
            rig.setNowMs(now);
            const pass = [...sizes.keys()].filter((i) => reference.run(ID, sizes[i]!));
            const run = slow ? [...sizes.keys()].filter((i) => rig.meters.run(ID, sizes[i]!)) : passed(sizes, now);
            assert.deepEqual(run, pass);
            if (slow) continue;
            got += sizes.length;
            want += pass.length;
          }
        });
        assert.equal(drops.datapath_drop_meter ?? 0, got - want);
        dropped += got - want;
        assert.deepEqual(rig.meters.get(ID), reference.get(ID));
      }),
      { numRuns: 300 },
    );
    assert.ok(dropped > 1000, `${dropped} packets were dropped`);
  });

  test('that are gone let everything pass, and are what they were set to last', () => {
    const none: DpMeterConfig = { kbps: false, burst: true, bands: [{ rate: 1, burst: 1 }] };
    rig.setNowMs(5000);
    rig.meters.set(ID, none);
    assert.deepEqual(passed([60, 60, 60], 5000), [0]);
    rig.meters.set(ID, { ...none, bands: [{ rate: 1, burst: 2 }] });
    assert.deepEqual(passed([60, 60, 60], 5000), [0, 1]);
    assert.deepEqual(rig.meters.delete(ID), { packets: 3n, bytes: 180n, bands: [{ packets: 1n, bytes: 60n }] });
    assert.deepEqual(passed([60, 60, 60], 5000), [0, 1, 2]);
    rig.rcu.reap();
  });

  test('see a thread whose clock is behind', () => {
    rig.setNowMs(9000);
    rig.meters.set(ID, { kbps: false, burst: true, bands: [{ rate: 1000, burst: 3 }] });
    assert.deepEqual(passed([60, 60, 60, 60], 9000), [0, 1, 2]);
    assert.deepEqual(passed([60], 8990), []);
    assert.deepEqual(passed([60, 60, 60, 60], 9002), [0, 1]);
  });

  test('in a copy drop the copy only', () => {
    const flow = rig.flowActions([
      { type: 'clone', actions },
      { type: 'output', port: odpPort(1) },
    ]);
    rig.setNowMs(9000);
    rig.meters.set(ID, { kbps: true, burst: true, bands: [{ rate: 1, burst: 1 }] });
    const frame = new Uint8Array(100);
    assert.equal(rig.execute(frame, IN_PORT, flow & ~63).length, 2);
    assert.equal(rig.execute(frame, IN_PORT, flow & ~63).length, 1);
  });
});
