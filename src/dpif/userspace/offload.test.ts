import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { random as seeded } from '../../../test/support/random.ts';
import { odpPort } from '../../base/types.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import { ARENA_THREADS, THREAD_UNRELEASED, UPCALL_MISS } from '../../gen/arena.ts';
import type { DpAction, DpSetAttr } from '../dpif.ts';
import { executeActions } from '../odp-execute.ts';
import { odpHeaderSize } from '../odp-keys.ts';
import { F_INDIRECT, F_MRG_RXBUF, type FakeRing } from './testing/fake-guest.ts';
import { completed, GSO, type Spec, segments, unfinished, type Vnet, vnetBytes } from './testing/segments.ts';
import { cleanUp, hex, RX, rig, type Setup, setup } from './testing/vring-bench.ts';

/** Checksums and segmentation that guests leave to the switch, and what others get of them. */

afterEach(end);

const bits = (...numbers: number[]) => numbers.reduce((mask, n) => mask | (1n << BigInt(n)), 0n);
const MERGEABLE = F_MRG_RXBUF | F_INDIRECT;
const ALL = MERGEABLE | bits(0, 1, 7, 8, 9, 11, 12, 13, 54, 55, 56);
const CSUM = MERGEABLE | bits(0, 1);
const REGION = [{ gpa: 0x4000_0000n, size: 48 << 20, offset: 0x10000 }];
const SOFT = 20;
rig.softPort(SOFT);
rig.setVlanLimit(2);

const sender = (features = ALL) => setup({ features, size: 256 }, REGION);

/** A guest that receives, with room for a frame of 64 KiB and its segments. */
async function receiver(features: bigint): Promise<Setup> {
  const s = await setup({ index: RX, features, size: 1024 }, REGION);
  post(s.ring);
  return s;
}

function post(ring: FakeRing): void {
  for (let i = 0; i < 600; i++) ring.post([2048]);
}

const flows: number[] = [];

/** Lets every packet of `from` take `actions`. */
function install(from: Setup, actions: readonly DpAction[]): void {
  const key = new Flow();
  key.inPort = from.port.port;
  const mask = new FlowWildcards();
  mask.inPort = 0xffffffff;
  const flow = rig.table.insert(key, mask, rig.flowActions(actions));
  assert.notEqual(flow, 0);
  flows.push(flow);
}

async function end(): Promise<void> {
  for (const flow of flows.splice(0)) rig.table.remove(flow, 1, () => {});
  rig.rcu.reap();
  rig.records();
  await cleanUp();
}

/** Polls the sender until it has nothing more, as a PMD does. */
function forward(from: Setup): void {
  for (;;) {
    const n = from.exports.rx(0, from.at);
    if (n === 0) return;
    rig.exports.process(n, from.port.port);
    if (rig.arena.get(ARENA_THREADS + THREAD_UNRELEASED) !== 0) {
      rig.arena.set(ARENA_THREADS + THREAD_UNRELEASED, 0);
      from.exports.release!(0, from.at);
    }
  }
}

const out = (s: Setup): DpAction => ({ type: 'output', port: s.port.port });
const outSoft: DpAction = { type: 'output', port: odpPort(SOFT) };

const bytes = (size: number, first = 1) => Uint8Array.from({ length: size }, (_, i) => (i * 13 + first) & 0xff);
const spec = (part: Partial<Spec>): Spec => ({
  version: 4,
  proto: 6,
  tags: [],
  ipOptions: 0,
  tcpOptions: 0,
  tcpFlags: 0x18,
  seq: 0xfffffff0,
  id: 0xfffe,
  payload: bytes(100),
  ...part,
});

const gsoOf = (s: Spec) => (s.proto === 17 ? GSO.udp : s.version === 4 ? GSO.tcp4 : GSO.tcp6);

/** The header that a driver writes, hdr_len being a hint. */
function vnetOf(s: Spec, gsoSize: number): Vnet {
  const { csumStart, csumOffset, headers } = unfinished(s);
  if (gsoSize === 0) return { flags: 1, gsoType: 0, hdrLen: 0, gsoSize: 0, csumStart, csumOffset };
  return { flags: 1, gsoType: gsoOf(s), hdrLen: headers, gsoSize, csumStart, csumOffset };
}

const split = (size: number) => Array<number>(Math.ceil(size / 4000)).fill(4000);

function send(from: Setup, s: Spec, gsoSize: number, hdrLen?: number): void {
  const { frame } = unfinished(s);
  const vnet = { ...vnetOf(s, gsoSize), ...(hdrLen !== undefined && { hdrLen }) };
  from.ring.send(frame, { header: vnetBytes(vnet), split: frame.length > 5000 ? split(frame.length) : [] });
}

const finished = (s: Spec, gsoSize: number) => (gsoSize === 0 ? [completed(s)] : segments(s, gsoSize));

const tag = fc.tuple(fc.constantFrom(0x8100, 0x88a8), fc.nat(0xffff));
const anySpec: fc.Arbitrary<Spec> = fc
  .record({
    version: fc.constantFrom(4 as const, 6 as const),
    proto: fc.constantFrom(6 as const, 17 as const),
    tags: fc.array(tag, { maxLength: 2 }),
    ipOptions: fc.constantFrom(0, 0, 4, 40),
    tcpOptions: fc.constantFrom(0, 12, 40),
    tcpFlags: fc.nat(0xff),
    seq: fc.nat(0xffffffff),
    id: fc.nat(0xffff),
    size: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 9000 })),
  })
  .map(({ size, ...rest }) => ({ ...rest, payload: bytes(size, size) }));
const anyGso = fc.oneof(fc.constant(0), fc.integer({ min: 200, max: 1448 }));

/** Packets with their header, and without num_buffers, as one string each. */
const whole = (s: Setup) =>
  hex(s.ring.receivedWhole().map((p) => Uint8Array.from([...p.subarray(0, 10), ...p.subarray(12)])));

describe('guest to guest', () => {
  test('a guest that takes it gets the frame and its header as they were sent, and hdr_len right', async () => {
    const [a, b] = [await sender(), await receiver(ALL)];
    install(a, [out(b)]);
    for (const gsoSize of [0, 1448]) {
      for (const s of [spec({}), spec({ version: 6 }), spec({ proto: 17 }), spec({ payload: bytes(60_000) })]) {
        send(a, s, gsoSize, 3);
        forward(a);
        const { frame } = unfinished(s);
        assert.deepEqual(whole(b), hex([Uint8Array.from([...vnetBytes(vnetOf(s, gsoSize)), ...frame])]));
      }
    }
  });

  test('one that takes checksums alone gets segments', async () => {
    const [a, b] = [await sender(), await receiver(CSUM)];
    install(a, [out(b)]);
    const s = spec({ payload: bytes(5000) });
    send(a, s, 0);
    send(a, s, 1448);
    forward(a);
    const [first, ...rest] = b.ring.receivedWhole();
    assert.deepEqual([...first!.subarray(0, 10)], vnetBytes(vnetOf(s, 0)));
    assert.deepEqual(hex(rest.map((p) => p.subarray(12))), hex(segments(s, 1448)));
    for (const p of rest) assert.deepEqual([...p.subarray(0, 10)], Array<number>(10).fill(0));
  });

  test('64 KiB to one without features: more segments than a batch', async () => {
    const [a, b] = [await sender(), await receiver(MERGEABLE)];
    install(a, [out(b)]);
    const s = spec({ payload: bytes(65_000) });
    send(a, s, 1000);
    a.ring.send(bytes(64));
    forward(a);
    assert.deepEqual(hex(b.ring.received()), hex([...segments(s, 1000), bytes(64)]));
  });
});

test('random frames: what each port gets is what the reference makes of them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(anySpec, anyGso), { minLength: 1, maxLength: 6 }), async (sent) => {
      const [a, b, c] = [await sender(), await receiver(ALL), await receiver(MERGEABLE)];
      install(a, [out(b), outSoft, out(c)]);
      for (const [s, gsoSize] of sent) send(a, s, gsoSize);
      forward(a);
      const want = hex(sent.flatMap(([s, gsoSize]) => finished(s, gsoSize)));
      assert.deepEqual(hex(c.ring.received()), want, 'the guest without features');
      assert.deepEqual(hex(rig.outputs().map((o) => o.frame)), want, 'the port without a ring');
      // A checksum that another port made us complete is complete for all: no header then, or the one that was sent.
      const got = b.ring.receivedWhole();
      assert.equal(got.length, sent.length);
      for (const [i, [s, gsoSize]] of sent.entries()) {
        const done = got[i]![0] === 0;
        const frame = done ? finished(s, gsoSize)[0]! : unfinished(s).frame;
        assert.equal(Buffer.from(got[i]!.subarray(12)).toString('hex'), hex([frame])[0]);
        if (!done) assert.deepEqual([...got[i]!.subarray(0, 10)], vnetBytes(vnetOf(s, gsoSize)));
        else assert.equal(gsoSize, 0);
      }
      await end();
    }),
    { numRuns: 40 },
  );
});

/** The same by the TypeScript reference, frame by frame. */
function reference(frames: readonly Uint8Array[], actions: readonly DpAction[]): Uint8Array[] {
  const done: Uint8Array[] = [];
  for (const frame of frames) {
    executeActions(frame, new Flow(), actions, {
      output: (_port, packet) => void done.push(packet),
      userspace: () => assert.fail('no such action'),
      recirc: () => assert.fail('no such action'),
    });
  }
  return done;
}

function set(attr: DpSetAttr): fc.Arbitrary<DpAction[]> {
  const size = odpHeaderSize(attr);
  const any = fc.uint8Array({ minLength: size, maxLength: size });
  const mask = fc.oneof(any, fc.constant(new Uint8Array(size).fill(0xff)));
  return fc.tuple(any, mask).map(([key, m]) => [{ type: 'set', attr, key, mask: m }]);
}

const changes = fc
  .array(
    fc.oneof(
      set('ethernet'),
      set('ipv4'),
      set('ipv6'),
      set('tcp'),
      set('udp'),
      fc.constant<DpAction[]>([{ type: 'push_vlan', tpid: 0x8100, tci: 0x1005 }]),
      fc.constant<DpAction[]>([{ type: 'pop_vlan' }]),
    ),
    { minLength: 1, maxLength: 4 },
  )
  .map((list) => list.flat());

test('random changes of headers: as if each segment had gone through them', async () => {
  await fc.assert(
    fc.asyncProperty(anySpec, anyGso, changes, async (s, gsoSize, list) => {
      const a = await sender();
      const fits = list.filter((x) => x.type !== 'set' || !/^ipv/.test(x.attr) || x.attr === `ipv${s.version}`);
      const actions: DpAction[] = [...fits, outSoft];
      install(a, actions);
      send(a, s, gsoSize);
      forward(a);
      assert.deepEqual(hex(rig.outputs().map((o) => o.frame)), hex(reference(finished(s, gsoSize), actions)));
      await end();
    }),
    { numRuns: 100 },
  );
});

describe('on the way', () => {
  test('a miss, and what goes to a controller, are finished frames', async () => {
    const a = await sender();
    const s = spec({ payload: bytes(5000) });
    send(a, s, 0);
    send(a, s, 1448);
    forward(a);
    const records = rig.records();
    assert.ok(records.every((r) => r.type === UPCALL_MISS));
    assert.deepEqual(hex(records.map((r) => r.packet)), hex([completed(s), ...segments(s, 1448)]));
  });

  test('truncated output: of each segment no more than that', async () => {
    const [a, b] = [await sender(), await receiver(ALL)];
    install(a, [{ type: 'trunc', maxLen: 120 }, out(b), outSoft]);
    const s = spec({ payload: bytes(5000) });
    send(a, s, 1448);
    send(a, s, 0);
    forward(a);
    const cut = [...segments(s, 1448), completed(s)].map((f) => f.subarray(0, 120));
    assert.deepEqual(hex(b.ring.received()), hex(cut));
    assert.deepEqual(hex(rig.outputs().map((o) => o.frame)), hex([...segments(s, 1448), completed(s)]));
  });

  test('frames are measured by their segments', async () => {
    const [a, b] = [await sender(), await receiver(MERGEABLE)];
    const port: DpAction = {
      type: 'check_pkt_len',
      pktLen: 1514,
      ifGreater: [outSoft],
      ifLessEqual: [out(b)],
    };
    install(a, [port]);
    send(a, spec({ payload: bytes(5000) }), 1448);
    send(a, spec({ payload: bytes(5000) }), 1461);
    forward(a);
    assert.equal(b.ring.received().length, 4);
    assert.equal(rig.outputs().length, 4);
  });
});

describe('headers that cannot be', () => {
  const s = spec({ payload: bytes(3000) });
  const good = vnetOf(s, 1448);
  const cases: [string, Partial<Vnet>][] = [
    ['segments without a checksum', { flags: 0 }],
    ['segments of no size', { gsoSize: 0 }],
    ['IPv6 that is IPv4', { gsoType: GSO.tcp6 }],
    ['UDP that is TCP', { gsoType: GSO.udp, csumOffset: 6 }],
    ['fragments of UDP, which were not negotiated', { gsoType: 3 }],
    ['an unknown kind', { gsoType: 2 }],
    ['ECN of UDP', { gsoType: 0x85 }],
    ['a checksum beyond the frame', { gsoType: 0, csumStart: 3050, csumOffset: 16 }],
    ['a checksum whose place wraps', { gsoType: 0, csumStart: 65535, csumOffset: 65535 }],
    ['a checksum in the Ethernet header', { gsoType: 0, csumStart: 4 }],
    ['a transport header that is elsewhere', { csumStart: 38 }],
    ['a transport header beyond what headers may be', { csumStart: 300 }],
    ['a checksum at another place of TCP', { csumOffset: 6 }],
  ];
  for (const [what, part] of cases) {
    for (const chained of [false, true]) {
      test(`${what}${chained ? ', in a chain' : ''}: dropped by name, and the next frame comes`, async () => {
        const [a, b] = [await sender(), await receiver(ALL)];
        install(a, [out(b)]);
        const header = vnetBytes({ ...good, ...part });
        const drops = rig.dropsDuring(() => {
          a.ring.send(unfinished(s).frame, { header, split: chained ? [5, 3, 100] : [] });
          a.ring.send(bytes(64));
          forward(a);
        });
        assert.deepEqual(drops, { vhost_rx_bad_header: 1 });
        assert.deepEqual(hex(b.ring.received()), hex([bytes(64)]));
        assert.equal(rig.broken(a), 0);
      });
    }
  }

  test('what was not negotiated', async () => {
    const [a, b] = [await sender(CSUM), await receiver(ALL)];
    install(a, [out(b)]);
    const drops = rig.dropsDuring(() => {
      send(a, s, 1448);
      send(a, s, 0);
      forward(a);
    });
    assert.deepEqual(drops, { vhost_rx_bad_header: 1 });
    assert.equal(b.ring.received().length, 1);
  });

  test('random headers over random frames: nothing traps, no port gets what it cannot take', async () => {
    const rnd = seeded(7);
    for (let round = 0; round < 60; round++) {
      const [a, b, c] = [await sender(), await receiver(ALL), await receiver(MERGEABLE)];
      const pop: DpAction = { type: 'pop_vlan' };
      install(a, [out(b), pop, pop, out(c), outSoft]);
      for (let i = 0; i < 25; i++) sendOdd(a, rnd);
      forward(a);
      for (const { packet } of rig.records()) assert.ok(packet.length <= 9728);
      for (const packet of c.ring.receivedWhole())
        assert.deepEqual([...packet.subarray(0, 10)], Array<number>(10).fill(0));
      for (const packet of b.ring.receivedWhole()) assertPossible(packet);
      assert.equal(rig.broken(a) | rig.broken(b) | rig.broken(c), 0);
      await end();
    }
  });
});

/** A frame that is nearly right, with a header that is. */
function sendOdd(a: Setup, rnd: (n: number) => number): void {
  const kind = spec({
    version: rnd(2) ? 4 : 6,
    proto: rnd(2) ? 6 : 17,
    tags: Array.from({ length: rnd(3) }, () => [0x8100, 1] as const),
    payload: bytes(1 + rnd(3000)),
  });
  const { frame } = unfinished(kind);
  for (let n = rnd(4); n > 0; n--) frame[12 + rnd(Math.min(70, frame.length - 12))] = rnd(256);
  const odd = (n: number) => (rnd(3) ? n : rnd(2) ? rnd(100) : rnd(65536));
  const right = vnetOf(kind, 100 + rnd(1400));
  const header = vnetBytes({
    flags: rnd(8) ? 1 : rnd(256),
    gsoType: rnd(2) ? right.gsoType : [0, 1, 3, 4, 5, 0x81][rnd(6)]!,
    hdrLen: odd(right.hdrLen),
    gsoSize: odd(right.gsoSize),
    csumStart: odd(right.csumStart),
    csumOffset: odd(right.csumOffset),
  });
  a.ring.send(frame, { header });
}

/** What a guest is given by a header lies in its frame. */
function assertPossible(packet: Uint8Array): void {
  const view = new DataView(packet.buffer, packet.byteOffset);
  const [flags, gsoType] = [packet[0]!, packet[1]!];
  if (flags === 0) {
    assert.deepEqual([...packet.subarray(0, 10)], Array<number>(10).fill(0));
    return;
  }
  assert.equal(flags, 1);
  const end = view.getUint16(6, true) + view.getUint16(8, true) + 2;
  assert.ok(view.getUint16(6, true) >= 14 && end <= packet.length - 12);
  if (gsoType === 0) return;
  assert.ok([1, 4, 5, 0x81, 0x84].includes(gsoType));
  assert.ok(view.getUint16(4, true) > 0);
  assert.ok(view.getUint16(2, true) > view.getUint16(6, true) && view.getUint16(2, true) < packet.length - 12);
}
