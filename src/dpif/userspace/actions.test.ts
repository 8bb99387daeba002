import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../../base/types.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import {
  ARENA_SLOTS,
  ARENA_SLOTS_STRIDE,
  BATCH_MAX,
  FRAME_MAX,
  SLOT__SIZE,
  UPCALL_ACTION,
  UPCALL_OUTPUT,
} from '../../gen/arena.ts';
import type { DpAction, DpSetAttr } from '../dpif.ts';
import { executeActions } from '../odp-execute.ts';
import { odpHeaderSize } from '../odp-keys.ts';
import { checksums4 } from './testing/checksums.ts';
import { FakeGuest, FakeRing } from './testing/fake-guest.ts';
import { frames, mutated } from './testing/packets.ts';
import { Rig } from './testing/rig.ts';

/** The fast path's actions against those in TypeScript: the same bytes out of the same ports. */

const rig = new Rig();
const IN_PORT = 9;
for (let port = 1; port <= 4; port++) rig.softPort(port);
rig.setVlanLimit(2);

const output = fc.integer({ min: 1, max: 4 }).map((n): DpAction[] => [{ type: 'output', port: odpPort(n) }]);
const truncated = fc
  .tuple(fc.integer({ min: 14, max: 90 }), fc.boolean(), output)
  .map(([maxLen, tagged, out]): DpAction[] => [
    { type: 'trunc', maxLen },
    ...(tagged ? [{ type: 'push_vlan' as const, tpid: 0x8100, tci: 0x1005 }] : []),
    ...out,
  ]);
const userspace = fc.constant<DpAction[]>([{ type: 'userspace', userdata: { kind: 'slow_path', reason: 'action' } }]);
const pushVlan = fc
  .record({ tpid: fc.constantFrom(0x8100, 0x88a8), tci: fc.nat(0xffff) })
  .map(({ tpid, tci }): DpAction[] => [{ type: 'push_vlan', tpid, tci: tci | 0x1000 }]);
const popVlan = fc.constant<DpAction[]>([{ type: 'pop_vlan' }]);

/** Full masks, none, and random ones. */
function set(attr: DpSetAttr): fc.Arbitrary<DpAction[]> {
  const size = odpHeaderSize(attr);
  const bytes = fc.uint8Array({ minLength: size, maxLength: size });
  const mask = fc.oneof(bytes, fc.constant(new Uint8Array(size).fill(0xff)), fc.constant(new Uint8Array(size)));
  return fc.tuple(bytes, mask).map(([key, m]) => [{ type: 'set', attr, key, mask: m }]);
}

const pushMpls = fc
  .nat(0xffffffff)
  .map((lse): DpAction[] => [{ type: 'push_mpls', ethertype: 0x8847, lse: lse >>> 0 }]);
const popMpls = fc.constant<DpAction[]>([{ type: 'pop_mpls', ethertype: 0x8847 }]);

/** What translation makes of a flow that matches this kind of packet. */
const KIND_ACTIONS: Readonly<Record<keyof typeof frames, readonly fc.Arbitrary<DpAction[]>[]>> = {
  ipv4: [set('ipv4'), set('tcp'), set('udp'), set('sctp'), set('icmp')],
  ipv6: [set('ipv6'), set('tcp'), set('udp'), set('sctp'), set('icmpv6'), set('nd')],
  arp: [set('arp')],
  mpls: [set('mpls'), pushMpls, popMpls],
  unknown: [set('skb_mark'), set('skb_priority')],
};

/** Lists in which every `trunc` stands before its output; nested ones as deep as `depth`. */
function actionList(kind: keyof typeof frames, depth = 3): fc.Arbitrary<DpAction[]> {
  const plain = [output, output, truncated, userspace, pushVlan, popVlan, set('ethernet'), ...KIND_ACTIONS[kind]];
  const nested = () => actionList(kind, depth - 1);
  const clone = () => nested().map((actions): DpAction[] => [{ type: 'clone', actions }]);
  const byLength = () =>
    fc
      .tuple(fc.integer({ min: 30, max: 110 }), nested(), nested())
      .map(([pktLen, ifGreater, ifLessEqual]): DpAction[] => [
        { type: 'check_pkt_len', pktLen, ifGreater, ifLessEqual },
      ]);
  const one = depth === 0 ? fc.oneof(...plain) : fc.oneof(...plain, clone(), byLength());
  return fc.array(one, { minLength: 1, maxLength: 7 }).map((parts) => parts.flat());
}

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

  test('more tags than the slot holds are not pushed', () => {
    const frame = new Uint8Array(FRAME_MAX).fill(7);
    const tags = Array.from({ length: 100 }, (): DpAction => ({ type: 'push_vlan', tpid: 0x8100, tci: 0x1001 }));
    const out = fastPath(frame, [...tags, { type: 'output', port: odpPort(1) }]);
    assert.equal(out['1']![0]!.length / 2, FRAME_MAX + 32 * 4);
    const labels = Array.from({ length: 100 }, (): DpAction => ({ type: 'push_mpls', ethertype: 0x8847, lse: 1 }));
    assert.equal(
      fastPath(frame, [...labels, { type: 'output', port: odpPort(1) }])['1']![0]!.length / 2,
      FRAME_MAX + 32 * 4,
    );
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

  test('drops are named', () => {
    const drops = (actions: DpAction[]) => rig.dropsDuring(() => fastPath(new Uint8Array(60), actions));
    assert.deepEqual(drops([]), { drop_action_of_pipeline: 1 });
    assert.deepEqual(drops([{ type: 'drop', reason: '' }]), { drop_action_of_pipeline: 1 });
    assert.deepEqual(drops([{ type: 'drop', reason: 'stack_too_deep' }]), { drop_action_stack_too_deep: 1 });
    assert.deepEqual(drops([{ type: 'output', port: odpPort(50) }]), { datapath_drop_invalid_port: 1 });
    assert.deepEqual(drops([{ type: 'output', port: odpPort(100_000) }]), { datapath_drop_invalid_port: 1 });
    // What is not compiled goes to the control thread whole: nothing is dropped here.
    assert.deepEqual(drops([{ type: 'recirc', recircId: 1 }]), {});
    assert.deepEqual(drops([{ type: 'hash', algorithm: 'l4', basis: 0 }]), {});
  });
});
