import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../../base/types.ts';
import { setVlanLimit } from '../../flow/extract.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import { hash5Tuple } from '../../flow/flow-hash.ts';
import {
  ARENA_SLOTS,
  ARENA_SLOTS_STRIDE,
  BATCH_MAX,
  FRAME_MAX,
  PACKET_HEADROOM,
  SLOT__SIZE,
  UPCALL_ACTION,
  UPCALL_OUTPUT,
} from '../../gen/arena.ts';
import { Bonds } from '../bonds.ts';
import type { DpAction } from '../dpif.ts';
import { executeActions } from '../odp-execute.ts';
import { extractKey } from '../packet-key.ts';
import { actionList, KIND_ACTIONS, testBonds } from './testing/action-lists.ts';
import { checksums4 } from './testing/checksums.ts';
import { FakeGuest, FakeRing } from './testing/fake-guest.ts';
import { frames, mutated } from './testing/packets.ts';
import { Rig } from './testing/rig.ts';

/** The fast path's actions against those in TypeScript: the same bytes out of the same ports. */

const rig = new Rig();
const IN_PORT = 9;
for (let port = 1; port <= 4; port++) rig.softPort(port);
rig.setVlanLimit(2);
setVlanLimit(2);
const bonds = new Bonds();
for (const [id, members] of testBonds) for (const to of [bonds, rig.bonds]) to.set(id, members);

/** What left, as text, by port; what went up is under 'up'. */
type Out = Record<string, string[]>;

const hex = (frame: Uint8Array) => Buffer.from(frame).toString('hex');

function reference(frame: Uint8Array, actions: readonly DpAction[], out: Out = {}): Out {
  const add = (port: string, packet: Uint8Array) => {
    out[port] ??= [];
    out[port].push(hex(packet));
  };
  executeActions(frame, new Flow(), actions, {
    output: (port, packet) => add(`${port}`, packet),
    userspace: (_userdata, packet) => add('up', packet),
    recirc: () => assert.fail('no such action'),
    lbOutput: (id, packet, packetHash) => {
      const port = bonds.choose(id, packetHash, packet.length);
      if (port !== undefined) add(`${port}`, packet);
    },
    rssHash: hash5Tuple(extractKey(frame, new Flow(), 2), 0),
  });
  return out;
}

function fastOut(): Out {
  const out: Out = {};
  for (const { type, port, packet } of rig.records()) {
    const name = type === UPCALL_OUTPUT ? `${port}` : type === UPCALL_ACTION ? 'up' : 'miss';
    out[name] ??= [];
    out[name].push(hex(packet));
  }
  return out;
}

function fastPath(frame: Uint8Array, actions: readonly DpAction[]): Out {
  const at = rig.actions(actions);
  rig.prepare(frame, IN_PORT);
  rig.exports.executeSpare(at, 0);
  return fastOut();
}

const guest = new FakeGuest();
after(() => guest.release());
const sender = await rig.start(new FakeRing(guest, { index: 1, size: 2, hdrSize: 12, features: 0n }));
const tailAt = guest.alloc(2 * 65536);

/** The same with all but the first `cut` bytes in the sender's memory. */
function fastPathTail(frame: Uint8Array, actions: readonly DpAction[], cut: number): Out {
  rig.placeTail(BATCH_MAX, frame, Math.min(cut, frame.length), sender, tailAt);
  rig.extractSpare(IN_PORT);
  rig.exports.executeSpare(rig.actions(actions), 0);
  return fastOut();
}

const anyMask = new FlowWildcards();
anyMask.inPort = 0xffffffff;
const key = new Flow();
key.inPort = IN_PORT;

/** The same by a megaflow and a batch. */
function fastPathBatch(batch: readonly Uint8Array[], actions: readonly DpAction[]): Out {
  const flow = rig.table.insert(key, anyMask, rig.actions(actions));
  assert.notEqual(flow, 0);
  batch.forEach((frame, i) => {
    rig.place(i, frame);
  });
  rig.exports.process(batch.length, IN_PORT);
  rig.table.remove(flow, 1, () => {});
  rig.rcu.reap();
  return fastOut();
}

const kinds = Object.keys(frames) as (keyof typeof frames)[];

describe('actions', () => {
  for (const kind of kinds) {
    test(`on one packet of kind ${kind}: the same bytes in the same order`, () => {
      fc.assert(
        fc.property(frames[kind], actionList(kind), (frame, actions) => {
          assert.deepEqual(fastPath(frame, actions), reference(frame, actions));
        }),
        { numRuns: 400 },
      );
    });

    test(`on one packet of kind ${kind} whose end is still in the sender's memory: the same bytes`, () => {
      const padded = fc.tuple(frames[kind], fc.constantFrom(0, 400, 9000)).map(([f, n]) => {
        return Uint8Array.from({ length: f.length + n }, (_, i) => f[i] ?? (i * 7) & 255);
      });
      fc.assert(
        fc.property(padded, actionList(kind), fc.integer({ min: 14, max: 300 }), (frame, actions, cut) => {
          assert.deepEqual(fastPathTail(frame, actions, cut), reference(frame, actions));
        }),
        { numRuns: 300 },
      );
    });

    test(`on a burst of kind ${kind}: the same bytes`, () => {
      fc.assert(
        fc.property(
          fc.array(frames[kind], { minLength: 1, maxLength: BATCH_MAX }),
          actionList(kind, 1),
          (batch, actions) => {
            const want: Out = {};
            for (const frame of batch) reference(frame, actions, want);
            const sorted = (o: Out) => Object.fromEntries(Object.entries(o).map(([port, list]) => [port, list.sort()]));
            assert.deepEqual(sorted(fastPathBatch(batch, actions)), sorted(want));
          },
        ),
        { numRuns: 60 },
      );
    });

    test(`on broken frames of kind ${kind}: nothing outside the packet's own slots changes`, () => {
      fc.assert(
        fc.property(mutated(frames[kind]), fc.oneof(...kinds.map((k) => actionList(k, 1))), (frame, actions) => {
          const spare = ARENA_SLOTS + BATCH_MAX * SLOT__SIZE;
          const end = ARENA_SLOTS + ARENA_SLOTS_STRIDE;
          rig.arena.u8.fill(0x5a, ARENA_SLOTS, spare);
          rig.arena.u8.fill(0x5a, end, end + SLOT__SIZE);
          fastPath(frame, actions);
          const before = rig.arena.u8.subarray(ARENA_SLOTS, spare);
          const after = rig.arena.u8.subarray(end, end + SLOT__SIZE);
          assert.ok(before.every((b) => b === 0x5a) && after.every((b) => b === 0x5a));
        }),
        { numRuns: 300 },
      );
    });
  }

  test('checksums that were right stay right', () => {
    const sets = fc.array(fc.oneof(...KIND_ACTIONS.ipv4), { minLength: 1, maxLength: 4 });
    let checked = 0;
    fc.assert(
      fc.property(frames.ipv4, sets, (frame, lists) => {
        const before = checksums4(frame);
        assert.deepEqual([before?.header, before?.transport !== false], [true, true], 'the generator is wrong');
        const out = fastPath(frame, [...lists.flat(), { type: 'output', port: odpPort(1) }])['1'];
        const after = checksums4(Uint8Array.from(Buffer.from(out![0]!, 'hex')));
        assert.deepEqual(after, before);
        if (after?.transport) checked++;
      }),
      { numRuns: 600 },
    );
    assert.ok(checked > 100, `${checked} transport checksums were looked at`);
  });

  test('clones deeper than the fast path goes are dropped and counted', () => {
    let actions: DpAction[] = [{ type: 'output', port: odpPort(1) }];
    for (let i = 0; i < 11; i++)
      actions = [
        { type: 'clone', actions },
        { type: 'output', port: odpPort(2) },
      ];
    let out: Out = {};
    const drops = rig.dropsDuring(() => {
      out = fastPath(new Uint8Array(60), actions);
    });
    assert.deepEqual(drops, { datapath_drop_unsupported_action: 1 });
    assert.deepEqual([out['1'], out['2']?.length], [undefined, 11]);
  });

  test('bonds count their bytes by bucket', () => {
    const counted = (of: Pick<Bonds, 'stats'>, work: () => void) => {
      const before = of.stats(1)!.slice();
      work();
      return of.stats(1)!.map((n, bucket) => n - before[bucket]!);
    };
    const actions: DpAction[] = [
      { type: 'trunc', maxLen: 40 },
      { type: 'lb_output', bondId: 1 },
      { type: 'lb_output', bondId: 1 },
    ];
    const some = fc.sample(frames.ipv4, 200);
    const want = counted(bonds, () => {
      for (const frame of some) reference(frame, actions);
    });
    const got = counted(rig.bonds, () => {
      for (const frame of some) fastPath(frame, actions);
    });
    assert.ok(want.some((n) => n > 0n));
    assert.deepEqual(got, want);
  });

  test('an IPv6 packet without the whole of its header has a hash of its own, whatever came before it', () => {
    const whole = new Uint8Array(80);
    whole.set([0x86, 0xdd, 0x60, 0, 0, 0, 0, 26, 17, 64], 12);
    const cut = whole.slice(0, 40);
    const list = (hashType: 'sym_l4' | 'l4'): DpAction[] => [
      { type: 'hash', algorithm: hashType, basis: 0 },
      { type: 'recirc', recircId: 1 },
    ];
    const wc = Object.assign(new FlowWildcards(), { inPort: 0xffffffff, recircId: 0xffffffff });
    const key = Object.assign(new Flow(), { inPort: 9 });
    const hashOf = (frame: Uint8Array, hashType: 'sym_l4' | 'l4', before: number) => {
      const flow = rig.table.insert(key, wc, rig.flowActions(list(hashType)));
      for (const packet of [whole.map((b, i) => (i < 22 ? b : before * i)), frame]) {
        rig.records();
        rig.place(0, packet);
        rig.exports.process(1, 9);
      }
      rig.table.remove(flow, 1, () => {});
      rig.rcu.reap();
      return rig.records()[0]!.key.dpHash;
    };
    for (const hashType of ['sym_l4', 'l4'] as const)
      assert.equal(hashOf(cut, hashType, 1), hashOf(cut, hashType, 2), hashType);
  });

  test('there is no bond of the highest id, which no record can name', () => {
    const drops = rig.dropsDuring(() => {
      rig.prepare(new Uint8Array(60), 9);
      rig.exports.executeSpare(rig.actions([{ type: 'lb_output', bondId: 0xffffffff }]), 0);
    });
    assert.deepEqual(drops, { datapath_drop_invalid_bond: 1 });
    rig.records();
  });

  test('a tag or a label that the slot has no room for drops the packet by name: without it, it is not sent', () => {
    const frame = new Uint8Array(FRAME_MAX).fill(1);
    frame.set([8, 0, 0x45], 12);
    const push: Record<string, DpAction> = {
      vlan: { type: 'push_vlan', tpid: 0x8100, tci: 0x1001 },
      mpls: { type: 'push_mpls', ethertype: 0x8847, lse: 0x1140 },
    };
    for (const action of Object.values(push)) {
      const n = PACKET_HEADROOM / 4;
      const out: DpAction = { type: 'output', port: odpPort(1) };
      const list = (pushes: number): DpAction[] => [...new Array<DpAction>(pushes).fill(action), out];
      const run = (pushes: number) =>
        rig.dropsDuring(() => {
          rig.prepare(frame, 9);
          rig.exports.executeSpare(rig.actions(list(pushes)), 0);
        });
      assert.deepEqual(run(n), {});
      assert.equal(rig.records()[0]!.packet.length, frame.length + PACKET_HEADROOM);
      assert.deepEqual(run(n + 1), { push_without_headroom: 1 });
      assert.deepEqual(rig.records(), []);
    }
  });

  test('a bond that is gone, or is another one, is not met', () => {
    const out = (id: number) => fastPath(new Uint8Array(60), [{ type: 'lb_output', bondId: id }]);
    // Bonds 257 and 513 are looked for where bond 1 lies.
    rig.bonds.set(257, new Array(256).fill(odpPort(2)));
    rig.bonds.set(513, new Array(256).fill(odpPort(3)));
    assert.deepEqual([Object.keys(out(257)), Object.keys(out(513))], [['2'], ['3']]);
    rig.bonds.delete(257);
    assert.deepEqual([Object.keys(out(257)), Object.keys(out(513))], [[], ['3']]);
    rig.bonds.set(257, new Array(256).fill(odpPort(4)));
    assert.equal(
      rig.bonds.stats(257)!.every((n) => n === 0n),
      true,
    );
    assert.deepEqual([Object.keys(out(257)), Object.keys(out(513))], [['4'], ['3']]);
  });

  test('a sample has its share', () => {
    const actions: DpAction[] = [
      { type: 'sample', probability: 0x40000000, actions: [{ type: 'output', port: odpPort(1) }] },
    ];
    let n = 0;
    for (let i = 0; i < 200; i++)
      n += fastPathBatch(new Array(BATCH_MAX).fill(new Uint8Array(60)), actions)['1']?.length ?? 0;
    // A quarter of 6400 packets; ten standard deviations are 346.
    assert.ok(Math.abs(n - 1600) < 346, `${n} of 6400`);
  });

  test('drops are named', () => {
    const drops = (actions: DpAction[]) => rig.dropsDuring(() => fastPath(new Uint8Array(60), actions));
    assert.deepEqual(drops([]), { drop_action_of_pipeline: 1 });
    assert.deepEqual(drops([{ type: 'drop', reason: '' }]), { drop_action_of_pipeline: 1 });
    assert.deepEqual(drops([{ type: 'drop', reason: 'stack_too_deep' }]), { drop_action_stack_too_deep: 1 });
    assert.deepEqual(drops([{ type: 'output', port: odpPort(50) }]), { datapath_drop_invalid_port: 1 });
    assert.deepEqual(drops([{ type: 'output', port: odpPort(100_000) }]), { datapath_drop_invalid_port: 1 });
    assert.deepEqual(drops([{ type: 'lb_output', bondId: 2 }]), { datapath_drop_invalid_bond: 1 });
    assert.deepEqual(drops([{ type: 'lb_output', bondId: 3 }]), { datapath_drop_invalid_bond: 1 });
  });
});
