import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../../base/types.ts';
import { vlog } from '../../base/vlog.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import {
  ARENA_HEADER,
  ARENA_PORTS,
  BATCH_MAX,
  FRAME_MAX,
  HEADER_TUNNEL_PORT_MIN,
  HEADER_TUNNEL_PORT_SPAN,
  KEY__SIZE,
  PORT__SIZE,
  PORT_TUNNEL,
  UPCALL_ACTION,
  UPCALL_MISS,
  UPCALL_OUTPUT,
} from '../../gen/arena.ts';
import { tunnelSourcePorts } from '../../netdev/tunnel-config.ts';
import type { DpAction } from '../dpif.ts';
import { executeActions } from '../odp-execute.ts';
import { extractKey, portMetadata } from '../packet-key.ts';
import { pushTunnel } from '../tunnel-push.ts';
import { popKind } from './compile-tunnel.ts';
import { flowToKey } from './flow-key.ts';
import { FakeGuest, FakeRing } from './testing/fake-guest.ts';
import { frames } from './testing/packets.ts';
import { Rig } from './testing/rig.ts';

vlog.setLevels('console:off');

/** Tunnels in the fast path against those in TypeScript: the same bytes out of the same ports, the same key for what is inside. */

const rig = new Rig();
const IN_PORT = 9;
const TUNNEL = 20;
for (let port = 1; port <= 4; port++) rig.softPort(port);
rig.setVlanLimit(2);
rig.arena.set(ARENA_HEADER + HEADER_TUNNEL_PORT_MIN, tunnelSourcePorts.min);
rig.arena.set(ARENA_HEADER + HEADER_TUNNEL_PORT_SPAN, tunnelSourcePorts.max - tunnelSourcePorts.min);

const KINDS = ['vxlan', 'geneve', 'gre'] as const;
type Kind = (typeof KINDS)[number];
const TYPES = { vxlan: 17, geneve: 17, gre: 47 } as const;

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const be16 = (n: number) => [n >> 8, n & 255];
const be32 = (n: number) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];

/** The tunnel's own header. */
function tail(kind: Kind, { key, csum, options, bits }: Shape): number[] {
  const udp = (port: number) => [0, 0, ...be16(port), 0, 0, ...(csum ? [255, 255] : [0, 0])];
  if (kind === 'vxlan') {
    const first = bits.gpe ? [0x0c, 0, 0, 1] : bits.gbp ? [0x88, 0x48, 0x12, 0x34] : [8, 0, 0, 0];
    return [...udp(4789), ...first, ...be32((key << 8) >>> 0)];
  }
  if (kind === 'geneve') {
    const flags = bits.oam ? 0x80 : 0;
    return [...udp(6081), options.length, flags, 0x65, 0x58, ...be32((key << 8) >>> 0), ...options.flatMap(be32)];
  }
  const flags = (csum ? 0x80 : 0) | (bits.keyed ? 0x20 : 0);
  const proto = bits.layer3 ? [8, 0] : [0x65, 0x58];
  return [flags, 0, ...proto, ...(csum ? [0, 0, 0, 0] : []), ...(bits.keyed ? be32(key) : [])];
}

interface Shape {
  six: boolean;
  csum: boolean;
  key: number;
  tos: number;
  ttl: number;
  options: number[];
  bits: { gpe: boolean; gbp: boolean; oam: boolean; keyed: boolean; layer3: boolean };
}

const shapes: fc.Arbitrary<Shape> = fc.record({
  six: fc.boolean(),
  csum: fc.boolean(),
  key: fc.nat(0xffffff),
  tos: fc.nat(255),
  ttl: fc.nat(255),
  options: fc.array(fc.nat(0xffffffff), { maxLength: 9 }),
  bits: fc.record({
    gpe: fc.boolean(),
    gbp: fc.boolean(),
    oam: fc.boolean(),
    keyed: fc.boolean(),
    layer3: fc.boolean(),
  }),
});

function headerOf(kind: Kind, shape: Shape): Uint8Array {
  const { six, tos, ttl } = shape;
  const proto = TYPES[kind];
  const ether = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, ...(six ? [0x86, 0xdd] : [8, 0])];
  const address = (last: number) => [0xfd, ...new Array<number>(14).fill(0), last];
  const ip = six
    ? [...be32(((6 << 28) | (tos << 20)) >>> 0), 0, 0, proto, ttl, ...address(1), ...address(2)]
    : [0x45, tos, 0, 0, 0, 0, 0x40, 0, ttl, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
  return Uint8Array.from([...ether, ...ip, ...tail(kind, { ...shape, csum: shape.csum || (six && proto === 17) })]);
}

const allFrames = fc.oneof(...Object.values(frames));
const tunnelOf = (kind: Kind, gbp = false) => ({ config: { type: kind, gbp } as const, state: { seq: 0 } });

function fastPath(frame: Uint8Array, actions: readonly DpAction[]) {
  const at = rig.actions(actions);
  rig.prepare(frame, IN_PORT);
  rig.exports.executeSpare(at, 0);
  return rig.records();
}

const output = (n: number): DpAction => ({ type: 'output', port: odpPort(n) });

const guest = new FakeGuest();
after(() => guest.release());
const sender = await rig.start(new FakeRing(guest, { index: 1, size: 2, hdrSize: 12, features: 0n }));
const tailAt = guest.alloc(2 * 65536);

const PLAIN: Shape = {
  six: false,
  csum: false,
  key: 7,
  tos: 0,
  ttl: 64,
  options: [],
  bits: { gpe: false, gbp: false, oam: false, keyed: true, layer3: false },
};

describe('tunnels in the fast path', () => {
  for (const csum of [false, true]) {
    test(`a big frame that trunc shortens before it is pushed${csum ? ', with a checksum' : ''}`, () => {
      const frame = Uint8Array.from({ length: 9000 }, (_, i) =>
        i < 14 ? [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5][i]! : i * 7,
      );
      for (const maxLen of [100, 255, 256, 257, 2000, 8950]) {
        const header = headerOf('vxlan', { ...PLAIN, csum });
        const ports = { tunnelPort: odpPort(TUNNEL), outPort: odpPort(2) };
        const actions: DpAction[] = [
          { type: 'trunc', maxLen },
          { type: 'tunnel_push', ...ports, tunnelType: 'vxlan', header },
          output(2),
        ];
        const want: string[] = [];
        executeActions(frame, portMetadata(IN_PORT), actions, {
          output: (port, packet) => want.push(`${port} ${hex(packet)}`),
          userspace: () => assert.fail('no such action'),
          recirc: () => assert.fail('no such action'),
          tunnelPort: () => tunnelOf('vxlan'),
        });
        rig.placeTail(BATCH_MAX, frame, 256, sender, tailAt);
        rig.extractSpare(IN_PORT);
        rig.exports.executeSpare(rig.actions(actions), 0);
        assert.deepEqual(
          rig.records().map(({ port, packet }) => `${port} ${hex(packet)}`),
          want,
          `${maxLen} bytes`,
        );
      }
    });
  }

  test('a frame that would get too long for IP is dropped by name', () => {
    const frame = Uint8Array.from({ length: 65_540 }, (_, i) => (i === 12 ? 0x88 : i === 13 ? 0xb5 : 2));
    const ports = { tunnelPort: odpPort(TUNNEL), outPort: odpPort(2) };
    const push: DpAction = { type: 'tunnel_push', ...ports, tunnelType: 'vxlan', header: headerOf('vxlan', PLAIN) };
    const drops = rig.dropsDuring(() => {
      rig.placeTail(BATCH_MAX, frame, 256, sender, tailAt);
      rig.extractSpare(IN_PORT);
      rig.exports.executeSpare(rig.actions([push, output(2)]), 0);
    });
    assert.deepEqual([drops, rig.records()], [{ datapath_drop_tunnel_push_error: 1 }, []]);
  });

  for (const kind of KINDS) {
    test(`${kind}: what is pushed is what the reference pushes`, () => {
      const pushed = (shape: Shape): DpAction => ({
        type: 'tunnel_push',
        tunnelPort: odpPort(TUNNEL),
        outPort: odpPort(2),
        tunnelType: shape.six && kind === 'gre' ? 'ip6gre' : kind,
        header: headerOf(kind, shape),
      });
      const after = fc.constantFrom<DpAction[]>(
        [output(2)],
        [output(2), output(3)],
        [{ type: 'push_vlan', tpid: 0x8100, tci: 0x1007 }, output(2)],
        [{ type: 'trunc', maxLen: 80 }, output(2)],
      );
      const before = fc.constantFrom<DpAction[]>([], [output(1)], [{ type: 'trunc', maxLen: 70 }]);
      fc.assert(
        fc.property(allFrames, shapes, before, after, fc.boolean(), (frame, shape, first, rest, inClone) => {
          const cloned = inClone && first[0]?.type !== 'trunc';
          const list = [pushed(shape), ...rest];
          const actions: DpAction[] = [...first, ...(cloned ? [{ type: 'clone' as const, actions: list }] : list)];
          if (cloned) actions.push(output(4));
          const want: string[] = [];
          executeActions(frame, portMetadata(IN_PORT), actions, {
            output: (port, packet) => want.push(`${port} ${hex(packet)}`),
            userspace: () => assert.fail('no such action'),
            recirc: () => assert.fail('no such action'),
            tunnelPort: () => tunnelOf(kind),
          });
          const records = fastPath(frame, actions);
          assert.deepEqual(
            records.map(({ type }) => type),
            records.map(() => UPCALL_OUTPUT),
          );
          assert.deepEqual(
            records.map(({ port, packet }) => `${port} ${hex(packet)}`),
            want,
          );
        }),
        { numRuns: 300 },
      );
    });

    test(`${kind}: what is popped has the key that the reference gives it, and bad packets are dropped`, () => {
      const damage = fc.option(fc.record({ at: fc.nat(130), bits: fc.integer({ min: 1, max: 255 }) }), { freq: 1 });
      const outcomes = { inner: 0, slow: 0, drop: 0 };
      fc.assert(
        fc.property(
          allFrames,
          shapes,
          damage,
          fc.nat(40),
          fc.boolean(),
          fc.boolean(),
          (frame, shape, bad, cut, gbp, last) => {
            const type = shape.six && kind === 'gre' ? 'ip6gre' : kind;
            const packet = pushTunnel(frame, headerOf(kind, shape), type, 0x1234567, { seq: 0 });
            if (bad && bad.at < packet.length) packet[bad.at]! ^= bad.bits;
            const whole = cut < 5 ? packet.subarray(0, packet.length - cut) : packet;
            rig.arena.set(ARENA_PORTS + TUNNEL * PORT__SIZE + PORT_TUNNEL, popKind({ type: kind, gbp }));
            const pop: DpAction = { type: 'tunnel_pop', port: odpPort(TUNNEL) };
            const actions = last ? [pop] : [pop, output(1)];
            let want: { key: Flow; packet: string } | undefined;
            executeActions(whole, portMetadata(IN_PORT), [pop], {
              output: () => assert.fail('no such action'),
              userspace: () => assert.fail('no such action'),
              recirc: (_id, p, _hash, md) => {
                want = { key: extractKey(p, md, 2), packet: hex(p) };
              },
              tunnelPort: () => tunnelOf(kind, gbp),
            });
            let records: ReturnType<typeof fastPath> = [];
            const drops = rig.dropsDuring(() => {
              records = fastPath(whole, actions);
            });
            const inner = records.filter((r) => r.type !== UPCALL_OUTPUT);
            assert.equal(records.length - inner.length, last ? 0 : 1);
            if (inner.length === 0) {
              outcomes.drop++;
              assert.deepEqual([drops, want], [{ datapath_drop_tunnel_pop_error: 1 }, undefined]);
              return;
            }
            if (inner[0]!.type === UPCALL_ACTION) {
              outcomes.slow++;
              assert.equal(hex(inner[0]!.packet), hex(whole));
              return;
            }
            outcomes.inner++;
            assert.equal(inner[0]!.type, UPCALL_MISS);
            assert.ok(want, 'the reference drops it');
            assert.equal(hex(inner[0]!.packet), want.packet);
            assert.deepEqual(inner[0]!.key, want.key);
          },
        ),
        { numRuns: 600 },
      );
      assert.ok(outcomes.inner > 60 && outcomes.drop > 10, JSON.stringify(outcomes));
    });
  }

  test('a megaflow tells tunnels apart, and their packets from others', () => {
    const shape: Shape = {
      six: false,
      csum: false,
      key: 7,
      tos: 0,
      ttl: 64,
      options: [],
      bits: { gpe: false, gbp: false, oam: false, keyed: true, layer3: false },
    };
    const frame = new Uint8Array(60).fill(1);
    const packet = (key: number) => pushTunnel(frame, headerOf('vxlan', { ...shape, key }), 'vxlan', 1, { seq: 0 });
    rig.arena.set(ARENA_PORTS + TUNNEL * PORT__SIZE + PORT_TUNNEL, popKind({ type: 'vxlan', gbp: false }));
    const [key, mask] = [new Flow(), new FlowWildcards()];
    [key.inPort, mask.inPort] = [TUNNEL, 0xffffffff];
    [key.tunId, mask.tunId] = [7n, 0xffff_ffff_ffff_ffffn];
    [key.tunDst, mask.tunDst] = [0x0a000002, 0xffffffff];
    const flow = rig.table.insert(key, mask, rig.flowActions([output(3)]));
    const outer = new Flow();
    outer.inPort = IN_PORT;
    const underlay = rig.table.insert(outer, mask, rig.flowActions([{ type: 'tunnel_pop', port: odpPort(TUNNEL) }]));
    try {
      const batch = [packet(7), packet(8), packet(7)];
      for (const [i, p] of batch.entries()) rig.place(i, p);
      rig.exports.process(batch.length, IN_PORT);
      const records = rig.records();
      const out = records.filter((r) => r.type === UPCALL_OUTPUT);
      assert.deepEqual(
        out.map(({ port, packet: p }) => `${port} ${hex(p)}`),
        [`3 ${hex(frame)}`, `3 ${hex(frame)}`],
      );
      const missed = records.filter((r) => r.type === UPCALL_MISS);
      assert.deepEqual(
        missed.map((r) => [r.key.inPort, r.key.tunId]),
        [[TUNNEL, 8n]],
      );
    } finally {
      rig.table.remove(flow, 1, () => {});
      rig.table.remove(underlay, 1, () => {});
    }
  });

  test('a frame that gets too long is dropped by name', () => {
    const header = headerOf('vxlan', {
      six: false,
      csum: false,
      key: 7,
      tos: 0,
      ttl: 64,
      options: [],
      bits: { gpe: false, gbp: false, oam: false, keyed: true, layer3: false },
    });
    const push: DpAction = {
      type: 'tunnel_push',
      tunnelPort: odpPort(TUNNEL),
      outPort: odpPort(2),
      tunnelType: 'vxlan',
      header,
    };
    const drops = rig.dropsDuring(() => {
      assert.deepEqual(fastPath(new Uint8Array(FRAME_MAX), [push, push, push, output(2)]), []);
    });
    assert.deepEqual(drops, { datapath_drop_tunnel_push_error: 1 });
  });

  test('a key holds all of a Flow that a popped packet has', () => {
    const bytes = new Uint8Array(KEY__SIZE);
    const md = new Flow();
    md.tunMetadataPresent = 24n;
    flowToKey(md, bytes);
    assert.equal(bytes.filter((b) => b === 24).length, 1);
  });
});
