import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../../base/types.ts';
import {
  ARENA_UPCALLS,
  ARENA_UPCALLS_STRIDE,
  BATCH_MAX,
  UPCALL_MISS,
  UPCALL_OUTPUT,
  UPCALL_RING_SIZE,
} from '../../gen/arena.ts';
import { Rig } from './testing/rig.ts';
import { UpcallReader } from './upcall-reader.ts';

/** The ring by which a thread sends packets to the control thread. */

const rig = new Rig();
const reader = new UpcallReader(rig.arena, 0);
const IN_PORT = 7;

/** A frame that names itself. */
function frame(id: number, size: number): Uint8Array {
  const f = new Uint8Array(size).fill(id & 0xff);
  new DataView(f.buffer).setUint32(0, id);
  return f;
}

const nameOf = (f: Uint8Array) => `${new DataView(f.buffer, f.byteOffset).getUint32(0)}:${f.length}`;

describe('upcall ring', () => {
  test('keeps order and bytes over its end, and counts what it has no room for', () => {
    let id = 0;
    const waiting: string[] = [];
    const send = (sizes: readonly number[]) => {
      const frames = sizes.map((size) => frame(id++, size));
      frames.forEach((f, i) => {
        rig.place(i, f);
      });
      const before = rig.counters.thread(0);
      const drops = rig.dropsDuring(() => rig.exports.process(frames.length, IN_PORT));
      const after = rig.counters.thread(0);
      const lost = Number(after.lostUpcalls - before.lostUpcalls);
      assert.equal(Number(after.missUpcalls - before.missUpcalls) + lost, frames.length);
      assert.equal(drops.upcall_ring_full ?? 0, lost);
      return { frames, lost };
    };
    const take = (max: number) => {
      reader.drain(max, ({ type, port, packet }) => {
        assert.deepEqual([type, port], [UPCALL_MISS, IN_PORT]);
        assert.equal(nameOf(packet), waiting.shift());
        assert.ok(packet.subarray(4).every((b) => b === packet[4]));
      });
    };
    // More comes in than is taken out.
    const sizes = fc.array(fc.integer({ min: 14, max: 2048 }), { minLength: 8, maxLength: BATCH_MAX });
    const step = fc.tuple(sizes, fc.nat(12));
    let full = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
        take(waiting.length);
        for (const [batch, n] of steps) {
          const { frames, lost } = send(batch);
          if (lost) {
            // The ring is full: which of a batch's smaller frames still fit is not told. What is read must be in order all the same.
            full++;
            const got: string[] = [];
            while (reader.drain(1000, ({ packet }) => got.push(nameOf(packet)))) {}
            const sent = [...waiting.splice(0), ...frames.map(nameOf)];
            assert.equal(got.length, sent.length - lost);
            let at = 0;
            for (const name of got) at = sent.indexOf(name, at) + 1 || assert.fail(`${name} came out of order`);
          } else {
            waiting.push(...frames.map(nameOf));
            take(n);
          }
        }
      }),
      { numRuns: 100 },
    );
    while (reader.drain(1000, ({ packet }) => assert.equal(nameOf(packet), waiting.shift()))) {}
    assert.deepEqual(waiting, []);
    assert.ok(id * 300 > UPCALL_RING_SIZE, 'the ring did not go round');
    assert.ok(full > 0, 'the ring was never full');
    const next = ARENA_UPCALLS + ARENA_UPCALLS_STRIDE;
    assert.ok(
      rig.arena.u8.subarray(next, next + 4096).every((b) => b === 0),
      "the next thread's ring was written",
    );
  });

  test('releases a record also when its handling throws', () => {
    rig.place(0, frame(1, 60));
    rig.place(1, frame(2, 60));
    rig.exports.process(2, IN_PORT);
    assert.throws(
      () =>
        reader.drain(10, () => {
          throw new Error('a handler failed');
        }),
      /a handler failed/,
    );
    const left: string[] = [];
    reader.drain(10, ({ packet }) => left.push(nameOf(packet)));
    assert.deepEqual(left, ['2:60']);
  });

  test('keeps room for misses when ports without a ring are flooded', () => {
    while (reader.drain(1000, () => {})) {}
    rig.softPort(3);
    const out = rig.actions([{ type: 'output', port: odpPort(3) }]);
    const flood = () => {
      rig.prepare(frame(1, 2000), IN_PORT);
      rig.exports.executeSpare(out, 0);
    };
    while ((rig.dropsDuring(flood).soft_tx_ring_full ?? 0) === 0) {}
    rig.place(0, frame(2, 1500));
    assert.deepEqual(
      rig.dropsDuring(() => rig.exports.process(1, IN_PORT)),
      {},
    );
    const types = new Set<number>();
    while (reader.drain(1000, ({ type }) => types.add(type))) {}
    assert.deepEqual(types, new Set([UPCALL_OUTPUT, UPCALL_MISS]));
  });
});
