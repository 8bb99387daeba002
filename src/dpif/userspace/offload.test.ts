import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { random as seeded } from '../../../test/support/random.ts';
import { Flow } from '../../flow/flow.ts';
import { UPCALL_MISS } from '../../gen/arena.ts';
import type { DpAction, DpSetAttr } from '../dpif.ts';
import { executeActions } from '../odp-execute.ts';
import { odpHeaderSize } from '../odp-keys.ts';
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
  MERGEABLE,
  out,
  outSoft,
  receiver,
  send,
  sender,
  spec,
  vnetOf,
  whole,
} from './testing/offload-bench.ts';
import { completed, GSO, type Spec, segments, unfinished, type Vnet, vnetBytes } from './testing/segments.ts';
import { hex, rig, type Setup } from './testing/vring-bench.ts';

/** Checksums and segmentation that guests leave to the switch, and what others get of them. */

afterEach(end);

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
    ['headers beyond the frame', { hdrLen: 3055 }],
    ['headers beyond the frame, without segments', { gsoType: 0, hdrLen: 65535 }],
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

  const many: [string, Partial<Spec>, number, boolean][] = [
    ['TCP by one byte', {}, 1, false],
    ['TCP by seven bytes', {}, 7, false],
    ['TCP by the least that there is', {}, 8, true],
    ['IPv6 by one byte', { version: 6 }, 1, false],
    ['1024 segments', { payload: bytes(1024 * 60) }, 60, true],
    ['1025 segments', { payload: bytes(1024 * 60 + 1) }, 60, false],
    ['128 datagrams of a byte', { proto: 17, payload: bytes(128) }, 1, true],
    ['129 datagrams', { proto: 17, payload: bytes(129) }, 1, false],
  ];
  for (const [what, part, gsoSize, taken] of many) {
    test(`as many segments as no driver makes are dropped by name: ${what}${taken ? ' is taken' : ''}`, async () => {
      const [a, b] = [await sender(), await receiver(ALL)];
      install(a, [out(b)]);
      const drops = rig.dropsDuring(() => {
        send(a, spec({ ...part }), gsoSize);
        forward(a);
      });
      assert.deepEqual(drops, taken ? {} : { vhost_rx_too_many_segments: 1 });
      assert.equal(b.ring.receivedWhole().length, taken ? 1 : 0);
    });
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
