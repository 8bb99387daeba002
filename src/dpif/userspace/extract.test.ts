import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { extract } from '../../flow/extract.ts';
import { Flow } from '../../flow/flow.ts';
import {
  ARENA_PKTS,
  BATCH_MAX,
  KEY__META_WORD,
  KEY__SHORT_WORDS,
  KEY__SIZE,
  KEY_IN_PORT,
  KEY_RECIRC_ID,
  PKT__SIZE,
  PKT_KEY,
  PKT_LONG,
} from '../../gen/arena.ts';
import { FLOW_MEMBERS, type FlowMemberName } from '../../gen/flow.ts';
import { FLOW_KEY_MEMBERS } from '../../gen/flow-key.ts';
import { flowToKey, keyToFlow, OUTSIDE_KEY } from './flow-key.ts';
import { anyFrame, mutated } from './testing/packets.ts';
import { Rig } from './testing/rig.ts';

/** The fast path's header parser against the one in TypeScript. */

const rig = new Rig();
const IN_PORT = 0x01020304;
const pkt = ARENA_PKTS + BATCH_MAX * PKT__SIZE;

function fastKey(frame: Uint8Array): Flow {
  // Whatever was there before says nothing.
  rig.arena.u8.fill(0xa5, pkt + PKT_KEY, pkt + PKT_KEY + KEY__SIZE);
  const record = rig.place(BATCH_MAX, frame);
  rig.arena.u8.fill(0xc3, rig.arena.get(record) + frame.length, rig.arena.get(record) + frame.length + 100);
  rig.arena.set(pkt + PKT_KEY + KEY_IN_PORT, IN_PORT);
  rig.arena.set(pkt + PKT_KEY + KEY_RECIRC_ID, 0);
  rig.arena.u8.fill(0, pkt + PKT_KEY + KEY__META_WORD * 8, pkt + PKT_KEY + KEY__SIZE);
  rig.exports.prepareSpare();
  const long = rig.arena.u16[(pkt + PKT_LONG) >> 1] !== 0;
  return keyToFlow(rig.arena.u8.subarray(pkt + PKT_KEY, pkt + PKT_KEY + KEY__SIZE), long, KEY__SHORT_WORDS * 8);
}

/** The reference, less what no key of the fast path has (NSH). */
function reference(frame: Uint8Array, vlanLimit: number): Flow {
  const flow = new Flow();
  flow.inPort = IN_PORT;
  extract(frame, flow, vlanLimit);
  const key = new Uint8Array(KEY__SIZE);
  flowToKey(flow, key);
  return keyToFlow(key, true, 0);
}

function differences(a: Flow, b: Flow): Record<string, [string, string]> {
  const out: Record<string, [string, string]> = {};
  for (const [name, { offset, size }] of Object.entries(FLOW_MEMBERS)) {
    const [x, y] = [a, b].map((f) => Buffer.from(f.u8.slice(offset, offset + size)).toString('hex'));
    if (x !== y) out[name] = [x!, y!];
  }
  return out;
}

function assertSame(frame: Uint8Array, vlanLimit: number): void {
  assert.deepEqual(differences(fastKey(frame), reference(frame, vlanLimit)), {}, Buffer.from(frame).toString('hex'));
}

describe('extract', () => {
  for (const vlanLimit of [0, 1, 2]) {
    test(`agrees with the reference, vlan-limit ${vlanLimit}`, () => {
      rig.setVlanLimit(vlanLimit);
      fc.assert(
        fc.property(anyFrame, (frame) => assertSame(frame, vlanLimit)),
        { numRuns: 1500 },
      );
    });

    test(`agrees with the reference on broken frames, vlan-limit ${vlanLimit}`, () => {
      rig.setVlanLimit(vlanLimit);
      fc.assert(
        fc.property(mutated(anyFrame), (frame) => assertSame(frame, vlanLimit)),
        { numRuns: 2500 },
      );
    });
  }

  test('agrees with the reference on frames cut at every byte', () => {
    rig.setVlanLimit(2);
    fc.assert(
      fc.property(anyFrame, (frame) => {
        for (let size = 0; size <= frame.length; size++) assertSame(frame.subarray(0, size), 2);
      }),
      { numRuns: 150 },
    );
  });

  test('agrees with the reference on random bytes', () => {
    rig.setVlanLimit(1);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), (frame) => assertSame(frame, 1)));
  });
});

describe('fast path keys', () => {
  test('a Flow of the members that a key has comes back whole', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1024, maxLength: 1024 }), (random) => {
        const flow = new Flow();
        for (const { name } of FLOW_KEY_MEMBERS) {
          const { offset, size } = FLOW_MEMBERS[name as FlowMemberName];
          flow.u8.set(random.subarray(offset, offset + size), offset);
        }
        for (const { at, end } of OUTSIDE_KEY) flow.u8.fill(0, at, end);
        const key = new Uint8Array(KEY__SIZE);
        flowToKey(flow, key);
        assert.ok(keyToFlow(key, true, 0).equals(flow));
      }),
    );
  });

  test('members do not overlap and stay within the key', () => {
    const taken = new Set<number>();
    for (const { offset, size } of FLOW_KEY_MEMBERS) {
      for (let i = offset; i < offset + size; i++) {
        assert.ok(!taken.has(i) && i < KEY__SIZE);
        taken.add(i);
      }
    }
  });
});
