import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../../base/types.ts';
import { vlog } from '../../base/vlog.ts';
import { hash5Tuple } from '../../flow/flow-hash.ts';
import {
  ARENA_HEADER,
  ARENA_PORTS,
  HEADER_TUNNEL_PORT_MIN,
  HEADER_TUNNEL_PORT_SPAN,
  PORT__SIZE,
  PORT_TUNNEL,
  UPCALL_ACTION,
  UPCALL_MISS,
} from '../../gen/arena.ts';
import { tunnelSourcePorts } from '../../netdev/tunnel-config.ts';
import type { DpAction } from '../dpif.ts';
import { executeActions } from '../odp-execute.ts';
import { extractKey, portMetadata } from '../packet-key.ts';
import { pushTunnel } from '../tunnel-push.ts';
import { popKind } from './compile-tunnel.ts';
import { typeChanges } from './testing/action-lists.ts';
import {
  ALL,
  anyGso,
  anySpec,
  bytes,
  CSUM,
  end,
  finished,
  forward,
  install,
  out,
  outSoft,
  receiver,
  send,
  sender,
  spec,
} from './testing/offload-bench.ts';
import { completed, onWire, segments, unfinished, vnetBytes } from './testing/segments.ts';
import { hex, rig, type Setup } from './testing/vring-bench.ts';

vlog.setLevels('console:off');
afterEach(end);

/** Encapsulations of what guests left unfinished: as if each segment, with its checksum, had been received. */

const TUNNEL = odpPort(21);
rig.arena.set(ARENA_HEADER + HEADER_TUNNEL_PORT_MIN, tunnelSourcePorts.min);
rig.arena.set(ARENA_HEADER + HEADER_TUNNEL_PORT_SPAN, tunnelSourcePorts.max - tunnelSourcePorts.min);

/** Ethernet, IPv4 and what follows it. */
const outer = (proto: number, rest: readonly number[]) =>
  Uint8Array.from([
    ...[
      2,
      0,
      0,
      0,
      0,
      1,
      2,
      0,
      0,
      0,
      0,
      2,
      8,
      0,
      0x45,
      0,
      0,
      0,
      0,
      0,
      0x40,
      0,
      64,
      proto,
      0,
      0,
      10,
      0,
      0,
      1,
      10,
      0,
      0,
      2,
    ],
    ...rest,
  ]);
const vxlan = (csum: boolean) =>
  outer(17, [0, 0, 0x12, 0xb5, 0, 0, ...(csum ? [255, 255] : [0, 0]), 8, 0, 0, 0, 0, 0, 7, 0]);
const gre = outer(47, [0x80, 0, 0x65, 0x58, 0, 0, 0, 0]);

const push = (tunnelType: string, header: Uint8Array): DpAction[] => [
  { type: 'tunnel_push', tunnelPort: TUNNEL, outPort: odpPort(20), tunnelType, header },
];
const pushes = fc.constantFrom(push('vxlan', vxlan(false)), push('vxlan', vxlan(true)), push('gre', gre));
const tags = fc.constantFrom<DpAction[]>([{ type: 'push_vlan', tpid: 0x8100, tci: 0x1005 }], [{ type: 'pop_vlan' }]);
const label = (lse: number): DpAction => ({ type: 'push_mpls', ethertype: 0x8847, lse });
const labels = fc.constantFrom<DpAction[]>(
  [label(0x1140)],
  [label(0x1140), label(0x2040), { type: 'pop_mpls', ethertype: 0x8847 }],
);
const [pushNsh, pushEth] = typeChanges;
/** Ends with an Ethernet frame again. */
const types = fc.oneof(
  fc.tuple(pushNsh!, pushEth!).map((parts) => parts.flat()),
  pushEth!.map((eth): DpAction[] => [{ type: 'pop_eth' }, ...eth]),
  pushNsh!.map((nsh): DpAction[] => [...nsh, { type: 'pop_nsh' }]),
);
const trunc = fc.integer({ min: 60, max: 1600 }).map((maxLen): DpAction[] => [{ type: 'trunc', maxLen }]);

/** What the reference makes of finished frames, one by one. */
function reference(frames: readonly Uint8Array[], actions: readonly DpAction[]): Uint8Array[] {
  const done: Uint8Array[] = [];
  for (const frame of frames) {
    const md = portMetadata(odpPort(1));
    executeActions(frame, md, actions, {
      output: (_port, packet) => void done.push(packet),
      userspace: () => assert.fail('no such action'),
      recirc: () => assert.fail('no such action'),
      rssHash: hash5Tuple(extractKey(frame, md, 2), 0),
      tunnelPort: () => ({ config: { type: 'vxlan', gbp: false }, state: { seq: 0 } }),
    });
  }
  return done;
}

const softFrames = () => hex(rig.outputs().map((o) => o.frame));

test('random encapsulations, on the packet and on a copy of it', async () => {
  const first = fc.oneof(tags, labels, types, fc.constant<DpAction[]>([]));
  const list = fc.tuple(
    first,
    fc.oneof(pushes, types, trunc),
    fc.oneof(tags, fc.constant<DpAction[]>([])),
    fc.boolean(),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(anySpec, anyGso), { minLength: 1, maxLength: 4 }), list, async (sent, parts) => {
      const [before, encap, after, cloned] = parts;
      const truncates = encap[0]!.type === 'trunc';
      const own = [...before, ...encap, ...(truncates ? [] : after), outSoft];
      const actions: DpAction[] = cloned ? [{ type: 'clone', actions: own }, outSoft] : own;
      const a = await sender();
      install(a, actions);
      for (const [s, gsoSize] of sent) send(a, s, gsoSize);
      forward(a);
      const frames = sent.flatMap(([s, gsoSize]) => finished(s, gsoSize));
      const order = (list: string[]) => (cloned ? list.sort() : list);
      assert.deepEqual(order(softFrames()), order(hex(reference(frames, actions))));
      await end();
    }),
    { numRuns: 120 },
  );
});

describe('tunnels', () => {
  test('of 64 KiB more segments than a batch go into a tunnel, and are looked up again behind it', async () => {
    const a = await sender();
    const header = push('vxlan', vxlan(true));
    install(a, [...header, { type: 'recirc', recircId: 5 }]);
    install({ port: { port: 20 } }, [outSoft], 5);
    install(a, [outSoft], 5);
    const s = spec({ payload: bytes(65_000) });
    send(a, s, 1000);
    send(a, spec({}), 0);
    forward(a);
    assert.deepEqual(softFrames(), hex(reference([...segments(s, 1000), completed(spec({}))], [...header, outSoft])));
  });

  test('what takes one out of a tunnel sees the finished packet', async () => {
    const a = await sender();
    rig.arena.set(ARENA_PORTS + TUNNEL * PORT__SIZE + PORT_TUNNEL, popKind({ type: 'vxlan', gbp: false }));
    install(a, [{ type: 'tunnel_pop', port: TUNNEL }]);
    const inner = spec({});
    const { frame, csumStart } = unfinished(inner);
    // The sender's own tunnel: the checksum inside is left to be completed.
    const tunneled = pushTunnel(frame, vxlan(false), 'vxlan', 0, { seq: 0 });
    const at = vxlan(false).length + csumStart;
    const header = { flags: 1, gsoType: 0, hdrLen: 0, gsoSize: 0 };
    a.ring.send(tunneled, { header: vnetBytes({ ...header, csumStart: at, csumOffset: 16 }) });
    // And the one outside: its field holds the sum of the pseudo-header.
    const outside = pushTunnel(completed(inner), vxlan(false), 'vxlan', 0, { seq: 0 });
    const size = outside.length - 34;
    const sum = 0x0a00 + 1 + 0x0a00 + 2 + 17 + size;
    outside.set([sum >> 8, sum & 255], 40);
    a.ring.send(outside, { header: vnetBytes({ ...header, csumStart: 34, csumOffset: 6 }) });
    const drops = rig.dropsDuring(() => forward(a));
    assert.deepEqual(drops, {});
    const records = rig.records();
    assert.ok(records.every((r) => r.type === UPCALL_MISS && r.key.inPort === TUNNEL));
    assert.deepEqual(hex(records.map((r) => r.packet)), hex([completed(inner), completed(inner)]));
  });
});

test('a packet that goes on whole is looked up again whole', async () => {
  const [a, b] = [await sender(), await receiver(ALL)];
  install(a, [outSoft, { type: 'recirc', recircId: 7 }]);
  install(a, [out(b)], 7);
  const s = spec({ payload: bytes(30_000) });
  send(a, s, 1448);
  forward(a);
  assert.equal(b.ring.receivedWhole().length, 1);
  assert.deepEqual(softFrames(), hex(segments(s, 1448)));
});

test('what the fast path has no code for goes up finished', async () => {
  const a = await sender();
  install(a, [{ type: 'ct', commit: true } as DpAction]);
  const s = spec({ payload: bytes(3000) });
  send(a, s, 0);
  send(a, s, 1448);
  forward(a);
  const records = rig.records();
  assert.ok(records.every((r) => r.type === UPCALL_ACTION));
  assert.deepEqual(hex(records.map((r) => r.packet)), hex([completed(s), ...segments(s, 1448)]));
});

/** Frames that a guest got, as a wire would carry them. */
const wireOf = (s: Setup) => hex(s.ring.receivedWhole().flatMap((p) => onWire(p.subarray(0, 10), p.subarray(12))));

test('any sender, all receivers at once: each gets the frames of the same wire', async () => {
  const features = fc.constantFrom(ALL, CSUM);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(anySpec, anyGso), { minLength: 1, maxLength: 5 }),
      features,
      async (all, from) => {
        const sent = all.map(([s, gsoSize]) => [s, from === ALL ? gsoSize : 0] as const);
        const a = await sender(from);
        const [b, c] = [await receiver(ALL), await receiver(CSUM)];
        install(a, [out(b), out(c)]);
        for (const [s, gsoSize] of sent) send(a, s, gsoSize);
        forward(a);
        const want = hex(sent.flatMap(([s, gsoSize]) => finished(s, gsoSize)));
        assert.deepEqual([wireOf(b), wireOf(c)], [want, want]);
        await end();
      },
    ),
    { numRuns: 30 },
  );
});
