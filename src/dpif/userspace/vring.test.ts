import assert from 'node:assert/strict';
import { after, afterEach, describe, test } from 'node:test';
import fc from 'fast-check';
import {
  ARENA_PORT_STATS,
  ARENA_THREADS,
  PORT_STATS__SIZE,
  THREAD__SIZE,
  THREAD_CALLS_PENDING,
  VRING__SIZE,
  VRING_BROKEN_CHAIN,
  VRING_BROKEN_INDEX,
  VRING_LAST_AVAIL,
  VRING_LAST_USED,
} from '../../gen/arena.ts';
import {
  AVAIL_F_NO_INTERRUPT,
  DESC_F_INDIRECT,
  DESC_F_NEXT,
  DESC_F_WRITE,
  type Desc,
  F_INDIRECT,
  F_MRG_RXBUF,
  FakeGuest,
  FakeRing,
  type RegionSpec,
  type RingOptions,
} from './testing/fake-guest.ts';
import { Rig, type RunningRing } from './testing/rig.ts';

/** Hostile and odd guests against the ring module: rows 1 to 7 of the fault table, and what virtio asks of a device. */

const rig = new Rig();
const TX = 1; // the ring that a guest transmits on
const RX = 0;

/** A frame of `size` bytes, each telling its place and `seed`. */
function frame(size: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 7 + seed * 31) & 0xff);
}

const hex = (frames: readonly Uint8Array[]) => frames.map((f) => Buffer.from(f).toString('hex'));

interface Setup extends RunningRing {
  guest: FakeGuest;
}

const guests: { guest: FakeGuest; running: RunningRing }[] = [];

async function setup(options: Partial<RingOptions> = {}, regions?: readonly RegionSpec[]): Promise<Setup> {
  const guest = new FakeGuest(regions);
  const ring = new FakeRing(guest, {
    index: TX,
    size: 64,
    hdrSize: 12,
    features: F_MRG_RXBUF | F_INDIRECT,
    ...options,
  });
  const running = await rig.start(ring);
  guests.push({ guest, running });
  return { ...running, guest };
}

async function cleanUp(): Promise<void> {
  for (const { guest, running } of guests.splice(0)) {
    await rig.removePort(running.port);
    guest.release();
  }
}

afterEach(cleanUp);

/** The arena up to the packets' records, the ring's own record and this thread's blanked. */
function arenaRecords(s: RunningRing): Buffer {
  const copy = Buffer.from(rig.arena.u8.slice(0, ARENA_THREADS + 2 * THREAD__SIZE));
  copy.fill(0, s.at, s.at + VRING__SIZE);
  copy.fill(0, ARENA_THREADS, ARENA_THREADS + THREAD__SIZE);
  const stats = Buffer.from(rig.arena.u8.slice(ARENA_PORT_STATS, ARENA_PORT_STATS + 512 * PORT_STATS__SIZE));
  stats.fill(0, s.port.port * PORT_STATS__SIZE, (s.port.port + 1) * PORT_STATS__SIZE);
  return Buffer.concat([copy, stats]);
}

/** A snapshot of the guest without the used ring. */
function guestBut(s: Setup, ...ranges: { at: number; size: number }[]): Buffer {
  const copy = Buffer.from(s.guest.snapshot());
  const { used } = s.ring.config;
  for (const { at, size } of [{ at: used, size: 6 + s.ring.size * 8 }, ...ranges]) {
    let base = 0;
    for (const region of s.guest.regions) {
      if (at >= region.offset && at < region.offset + Number(region.size)) {
        const from = base + at - region.offset;
        copy.fill(0, from, from + size);
      }
      base += Number(region.size);
    }
  }
  return copy;
}

/** Polls once under the eyes of all that must not change. */
function pollHostile(s: Setup): { frames: Uint8Array[]; drops: Record<string, number> } {
  const memory = guestBut(s);
  const arena = arenaRecords(s);
  let frames: Uint8Array[] = [];
  const drops = rig.dropsDuring(() => {
    frames = rig.rx(s);
  });
  assert.ok(memory.equals(guestBut(s)), 'the guest memory outside the used ring changed');
  assert.ok(arena.equals(arenaRecords(s)), 'other records of the arena changed');
  return { frames, drops };
}

/** One good packet goes through. */
function assertAlive(s: Setup, seed: number): void {
  const head = s.ring.send(frame(70, seed));
  const { frames, drops } = pollHostile(s);
  assert.deepEqual(hex(frames), hex([frame(70, seed)]));
  assert.deepEqual(drops, {});
  assert.deepEqual(s.ring.takeUsed(), [{ id: head, len: 0 }]);
}

/** A single poll of a chain that is not to be believed; the ring lives on. */
function assertDropped(s: Setup, head: number, reason: string): void {
  const { frames, drops } = pollHostile(s);
  assert.deepEqual(hex(frames), []);
  assert.deepEqual(drops, { [reason]: 1 });
  assert.equal(rig.broken(s), 0);
  assert.deepEqual(s.ring.takeUsed(), [{ id: head, len: 0 }]);
}

/** What breaks the ring: earlier packets are kept and given back, later ones are never looked at. */
function assertBroken(s: Setup, good: Uint8Array, reason: string, flag: number): void {
  const { frames, drops } = pollHostile(s);
  assert.deepEqual(hex(frames), hex([good]));
  assert.deepEqual(drops, { [reason]: 1 });
  assert.equal(rig.broken(s), flag);
  assert.equal(s.ring.takeUsed().length, 1);
  s.ring.send(frame(64, 99));
  assert.deepEqual(pollHostile(s), { frames: [], drops: {} });
  assert.equal(s.exports.pending(s.at), 0);
}

const buffer = (s: Setup, size: number): bigint => s.guest.gpa(s.guest.alloc(size));

describe('what a guest sends', () => {
  const headerSizes = [10, 12] as const;
  for (const hdrSize of headerSizes) {
    test(`frames of all sizes with a header of ${hdrSize} bytes`, async () => {
      const s = await setup({ hdrSize, features: hdrSize === 12 ? F_MRG_RXBUF : 0n });
      for (const size of [14, 15, 16, 17, 31, 60, 64, 255, 256, 257, 1514, 2047, 2048]) {
        s.ring.send(frame(size));
        assert.deepEqual(hex(rig.rx(s)), hex([frame(size)]), `${size} bytes`);
      }
    });

    test(`a header of ${hdrSize} bytes and a frame over many descriptors`, async () => {
      const s = await setup({ hdrSize });
      const splits = [
        [hdrSize],
        [1],
        [hdrSize - 1],
        [hdrSize + 1],
        Array<number>(hdrSize + 5).fill(1),
        [0, hdrSize, 0, 14, 0],
      ];
      for (const [i, split] of splits.entries()) {
        for (const indirect of [false, true]) {
          const head = s.ring.send(frame(300, i), { split, indirect });
          const { frames, drops } = pollHostile(s);
          assert.deepEqual(hex(frames), hex([frame(300, i)]), `split ${split}`);
          assert.deepEqual(drops, {});
          assert.deepEqual(s.ring.takeUsed(), [{ id: head, len: 0 }]);
        }
      }
    });
  }

  for (const size of [1, 2, 4, 32, 256, 32768]) {
    test(`a ring of ${size}, its indices going round at 65536`, async () => {
      const s = await setup({ size, position: 65534 });
      for (let i = 0; i < 6; i++) {
        s.ring.send(frame(60, i));
        assert.deepEqual(hex(rig.rx(s)), hex([frame(60, i)]));
        assert.equal(s.ring.takeUsed().length, 1);
      }
      assert.equal(s.ring.usedIdx, 4);
      assert.equal(rig.arena.get(s.at + VRING_LAST_AVAIL), 4);
      assert.equal(rig.arena.get(s.at + VRING_LAST_USED), 4);
    });
  }

  test('a full ring comes in bursts of 32, in order', async () => {
    const s = await setup({ size: 128 });
    for (let i = 0; i < 128; i++) s.ring.send(frame(64, i));
    for (let burst = 0; burst < 4; burst++) {
      const want = Array.from({ length: 32 }, (_, i) => frame(64, burst * 32 + i));
      assert.deepEqual(hex(rig.rx(s)), hex(want));
    }
    assert.deepEqual(rig.rx(s), []);
    assert.deepEqual(
      s.ring.takeUsed().map((u) => u.id),
      Array.from({ length: 128 }, (_, i) => i),
    );
  });

  test('a ring that was stopped goes on where it was', async () => {
    const s = await setup({ position: 65535 });
    s.ring.send(frame(60, 1));
    s.ring.send(frame(60, 2));
    rig.rx(s);
    const position = await s.port.ringStop(TX);
    assert.deepEqual(position, { lastAvail: 1, lastUsed: 1 });
    s.ring.send(frame(60, 3));
    assert.equal(s.exports.rx(0, s.at), 0);
    await s.port.ringStart({ ...s.ring.config, ...position }, s.guest);
    assert.deepEqual(hex(rig.rx(s)), hex([frame(60, 3)]));
  });
});

describe('faults row 1: circular chains', () => {
  test('a descriptor that is its own next', async () => {
    const s = await setup();
    s.ring.send(frame(64, 5));
    s.ring.setDesc(9, { addr: buffer(s, 4), len: 4, flags: DESC_F_NEXT, next: 9 });
    s.ring.publish(9);
    assertBroken(s, frame(64, 5), 'vhost_rx_bad_chain', VRING_BROKEN_CHAIN);
  });

  test('a circle through the whole ring of empty buffers', async () => {
    const s = await setup({ size: 32768 }, [{ gpa: 0n, size: 16 << 20, offset: 0x10000 }]);
    s.ring.send(frame(64, 5));
    const addr = buffer(s, 16);
    for (let i = 1; i < s.ring.size; i++)
      s.ring.setDesc(i, { addr, len: 0, flags: DESC_F_NEXT, next: i + 1 === s.ring.size ? 1 : i + 1 });
    s.ring.publish(1);
    assertBroken(s, frame(64, 5), 'vhost_rx_bad_chain', VRING_BROKEN_CHAIN);
  });

  test('a circle in an indirect table', async () => {
    const s = await setup();
    s.ring.send(frame(64, 5));
    const table = s.guest.alloc(32);
    const addr = buffer(s, 1);
    s.ring.setDesc(0, { addr, len: 1, flags: DESC_F_NEXT, next: 1 }, table);
    s.ring.setDesc(1, { addr, len: 1, flags: DESC_F_NEXT, next: 0 }, table);
    s.ring.publish(s.ring.writeChain([{ addr: s.guest.gpa(table), len: 32, flags: DESC_F_INDIRECT }]));
    assertBroken(s, frame(64, 5), 'vhost_rx_bad_chain', VRING_BROKEN_CHAIN);
  });
});

describe('faults row 2: chains that leave their table', () => {
  const cases: Record<string, (s: Setup) => void> = {
    'a head beyond the ring': (s) => s.ring.publish(s.ring.size),
    'the largest head': (s) => s.ring.publish(0xffff),
    'next beyond the ring': (s) => {
      s.ring.setDesc(9, { addr: buffer(s, 64), len: 64, flags: DESC_F_NEXT, next: s.ring.size });
      s.ring.publish(9);
    },
    'next beyond the indirect table': (s) => {
      const table = s.guest.alloc(32);
      s.ring.setDesc(0, { addr: buffer(s, 64), len: 64, flags: DESC_F_NEXT, next: 2 }, table);
      publishTable(s, { addr: s.guest.gpa(table), len: 32 });
    },
    'a table longer than the ring': (s) => publishTable(s, { addr: buffer(s, 65 * 16), len: 65 * 16 }),
    'a table of no descriptor': (s) => publishTable(s, { addr: buffer(s, 16), len: 0 }),
    'a table that is not a multiple of 16': (s) => publishTable(s, { addr: buffer(s, 48), len: 40 }),
    'a table of 4 GiB': (s) => publishTable(s, { addr: buffer(s, 16), len: 0xfffffff0 }),
    'a table outside the regions': (s) => publishTable(s, { addr: 0x1000n, len: 32 }),
    'a table that ends after its region': (s) => {
      const region = s.guest.regions[0]!;
      publishTable(s, { addr: region.gpa + region.size - 16n, len: 32 });
    },
    'a table with next': (s) => publishTable(s, { addr: buffer(s, 32), len: 32, flags: DESC_F_NEXT }),
    'a table in a table': (s) => {
      const inner = s.guest.alloc(16);
      s.ring.setDesc(0, { addr: buffer(s, 64), len: 64 }, inner);
      const outer = s.guest.alloc(16);
      s.ring.setDesc(0, { addr: s.guest.gpa(inner), len: 16, flags: DESC_F_INDIRECT }, outer);
      publishTable(s, { addr: s.guest.gpa(outer), len: 16 });
    },
  };

  function publishTable(s: Setup, desc: Desc): void {
    s.ring.setDesc(9, { ...desc, flags: (desc.flags ?? 0) | DESC_F_INDIRECT });
    s.ring.publish(9);
  }

  for (const [name, publish] of Object.entries(cases)) {
    test(name, async () => {
      const s = await setup();
      s.ring.send(frame(64, 5));
      publish(s);
      assertBroken(s, frame(64, 5), 'vhost_rx_bad_chain', VRING_BROKEN_CHAIN);
    });
  }

  test('an indirect table where none was negotiated', async () => {
    const s = await setup({ features: F_MRG_RXBUF });
    s.ring.send(frame(64, 5));
    s.ring.send(frame(64, 6), { indirect: true });
    assertBroken(s, frame(64, 5), 'vhost_rx_bad_chain', VRING_BROKEN_CHAIN);
  });

  test('a table as long as the ring, after a direct descriptor', async () => {
    const s = await setup({ size: 4 });
    s.ring.send(frame(64, 3), { split: [12, 20, 20], indirect: true });
    assert.deepEqual(hex(rig.rx(s)), hex([frame(64, 3)]));
    const part = (bytes: Uint8Array) => {
      const at = s.guest.alloc(bytes.length);
      s.guest.u8.set(bytes, at);
      return { addr: s.guest.gpa(at), len: bytes.length };
    };
    const table = s.ring.indirectTable([part(frame(60, 4).subarray(0, 20)), part(frame(60, 4).subarray(20))]);
    s.ring.setDesc(1, { ...part(new Uint8Array(12)), flags: DESC_F_NEXT, next: 2 });
    s.ring.setDesc(2, table);
    s.ring.publish(1);
    assert.deepEqual(hex(rig.rx(s)), hex([frame(60, 4)]));
  });
});

describe('faults row 3: buffers outside their regions', () => {
  const SIZE = 0x10000;
  const regions: RegionSpec[] = [
    { gpa: 0x1_0000n, size: 1 << 20, offset: 0x10000 },
    // The next guest addresses, but not the next offsets; and the last addresses that there are.
    { gpa: 0x11_0000n, size: SIZE, offset: 0x400000 },
    { gpa: 2n ** 64n - BigInt(SIZE), size: SIZE, offset: 0x800000 },
    // The last offsets of the memory.
    { gpa: 0x8000_0000n, size: SIZE, offset: 2 ** 32 - SIZE },
  ];
  const end = 0x11_0000n;
  const bad: Record<string, Desc> = {
    'address 0': { addr: 0n, len: 100 },
    'before a region': { addr: 0xffffn, len: 100 },
    'behind all regions': { addr: 0x9000_0000n, len: 100 },
    'the largest address': { addr: 2n ** 64n - 1n, len: 100 },
    'from one region into the next': { addr: end - 50n, len: 100 },
    'one byte after the region': { addr: end + BigInt(SIZE) - 99n, len: 100 },
    'address and length wrap at 2^64': { addr: 2n ** 64n - 50n, len: 100 },
    'offset and length wrap at 2^32': { addr: 0x8000_0000n + BigInt(SIZE) - 50n, len: 100 },
    'an offset of more than 32 bits': { addr: 0x1_8000_0000n, len: 100 },
    '4 GiB': { addr: 0x1_0000n, len: 0xffffffff },
  };
  for (const [name, desc] of Object.entries(bad)) {
    test(name, async () => {
      const s = await setup({}, regions);
      assertAlive(s, 1);
      s.ring.publish(s.ring.writeChain([desc]));
      assertDropped(s, 1, 'vhost_rx_bad_descriptor');
      s.ring.publish(s.ring.writeChain([{ addr: buffer(s, 100), len: 100 }, desc]));
      assertDropped(s, 2, 'vhost_rx_bad_descriptor');
      const head = s.ring.writeChain([s.ring.indirectTable([{ addr: buffer(s, 100), len: 100 }, desc])]);
      s.ring.publish(head);
      assertDropped(s, head, 'vhost_rx_bad_descriptor');
      assertAlive(s, 2);
    });
  }

  test('the very first and last bytes of each region are good', async () => {
    const s = await setup({}, regions);
    for (const { gpa, size, offset } of s.guest.regions) {
      for (const delta of gpa === 0x1_0000n ? [Number(size) - 76] : [0, Number(size) - 76]) {
        s.guest.u8.fill(0, offset + delta, offset + delta + 12);
        s.guest.u8.set(frame(64, 9), offset + delta + 12);
        s.ring.publish(s.ring.writeChain([{ addr: gpa + BigInt(delta), len: 76 }]));
        assert.deepEqual(hex(pollHostile(s).frames), hex([frame(64, 9)]), `${gpa} + ${delta}`);
      }
    }
  });

  test('a buffer that is there to be written', async () => {
    const s = await setup();
    s.ring.publish(s.ring.writeChain([{ addr: buffer(s, 100), len: 100, flags: DESC_F_WRITE }]));
    assertDropped(s, 0, 'vhost_rx_bad_descriptor');
    assertAlive(s, 1);
  });
});

describe('faults row 4: descriptors that change while they are read', () => {
  test('whatever is in the ring after the poll began, what was checked is what is used', async () => {
    // One thread can not race itself: here the same chain serves two packets, and the second finds it given back and overwritten.
    const s = await setup();
    const head = s.ring.send(frame(64, 1));
    s.ring.publish(head);
    assert.deepEqual(hex(pollHostile(s).frames), hex([frame(64, 1), frame(64, 1)]));
  });
});

describe('faults row 5: lengths', () => {
  for (const indirect of [false, true]) {
    test(`chains shorter than header and Ethernet header${indirect ? ', indirect' : ''}`, async () => {
      const s = await setup();
      for (let total = 1; total < 12 + 14; total++) {
        for (const n of [1, 2, total]) {
          const sizes = n === 1 ? [total] : n === 2 ? [1, total - 1] : Array<number>(total).fill(1);
          const descs = sizes.map((len) => ({ addr: buffer(s, Math.max(len, 1)), len }));
          const head = s.ring.writeChain(indirect ? [s.ring.indirectTable(descs)] : descs);
          s.ring.publish(head);
          assertDropped(s, head, 'vhost_rx_runt');
        }
      }
      assertAlive(s, 1);
    });

    test(`frames that are too long${indirect ? ', indirect' : ''}`, async () => {
      const s = await setup();
      for (const split of [[], [12], [12, 2048], [2000, 40]]) {
        const head = s.ring.send(frame(2049), { split, indirect });
        assertDropped(s, head, 'vhost_rx_oversize');
      }
      assertAlive(s, 1);
    });
  }

  test('a buffer of no bytes', async () => {
    const s = await setup();
    s.ring.publish(s.ring.writeChain([{ addr: buffer(s, 1), len: 0 }]));
    assertDropped(s, 0, 'vhost_rx_runt');
    s.ring.publish(s.ring.writeChain([{ addr: 0n, len: 0 }]));
    assertDropped(s, 1, 'vhost_rx_runt');
    assertAlive(s, 1);
  });

  test('a chain whose lengths add up to more than 2^32', async () => {
    const s = await setup({}, [{ gpa: 0n, size: 4 << 20, offset: 0x10000 }]);
    const len = 3 << 20;
    const head = s.ring.writeChain(Array.from({ length: 64 }, () => ({ addr: 0n, len })));
    s.ring.publish(head);
    assertDropped(s, head, 'vhost_rx_oversize');
    s.ring.publish(
      s.ring.writeChain([
        { addr: 0n, len: 2048 },
        { addr: 0n, len: 0xfffff900 },
      ]),
    );
    assertDropped(s, head, 'vhost_rx_bad_descriptor');
  });
});

describe('faults row 6: the avail index', () => {
  for (const [name, jump] of [
    ['one more than the ring', 65],
    ['half of all', 32768],
    ['one back', 65535],
  ] as const) {
    test(name, async () => {
      const s = await setup();
      assertAlive(s, 1);
      s.ring.setAvailIdx(s.ring.availIdx + jump);
      const used = s.ring.usedIdx;
      const { frames, drops } = pollHostile(s);
      assert.deepEqual(frames, []);
      assert.deepEqual(drops, { vhost_bad_index: 1 });
      assert.equal(rig.broken(s), VRING_BROKEN_INDEX);
      assert.equal(s.ring.usedIdx, used);
      assert.deepEqual(pollHostile(s), { frames: [], drops: {} });
      assert.equal(s.exports.pending(s.at), 0);
    });
  }

  test('a jump by the whole ring is possible', async () => {
    const s = await setup({ size: 32 });
    for (let i = 0; i < 32; i++) s.ring.send(frame(64, i));
    assert.equal(rig.rx(s).length, 32);
  });

  test('on the ring that the guest receives on', async () => {
    const s = await setup({ index: RX });
    s.ring.post([2048]);
    s.ring.setAvailIdx(1000);
    const drops = rig.dropsDuring(() => assert.equal(rig.tx(s, [frame(64)]), 0));
    assert.deepEqual(drops, { vhost_bad_index: 1, vhost_tx_not_ready: 1 });
    assert.equal(rig.broken(s), VRING_BROKEN_INDEX);
    assert.equal(s.ring.usedIdx, 0);
  });
});

describe('faults row 7: headers that ask for offloads', () => {
  // flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
  const bad: Record<string, number[]> = {
    'a checksum that starts past the end': [1, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0],
    'a checksum': [1, 0, 0, 0, 0, 0, 34, 0, 16, 0],
    'segments of size 0': [0, 1, 54, 0, 0, 0, 0, 0, 0, 0],
    'hdr_len past the end, with segments': [0, 4, 0xff, 0xff, 0xdc, 5, 0, 0, 0, 0],
    'an unknown kind of segments': [0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0],
  };
  for (const [name, header] of Object.entries(bad)) {
    test(name, async () => {
      const s = await setup();
      for (const layout of [{}, { split: [1] }, { split: [2] }, { indirect: true }, { split: [12], indirect: true }]) {
        const head = s.ring.send(frame(100), { ...layout, header });
        assertDropped(s, head, 'vhost_rx_bad_header');
      }
      assertAlive(s, 1);
    });
  }

  test('fields that mean nothing without an offload are not looked at', async () => {
    const s = await setup();
    s.ring.send(frame(100), { header: [2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff] });
    assert.deepEqual(hex(pollHostile(s).frames), hex([frame(100)]));
  });
});

describe('what a guest receives', () => {
  const rx = (options: Partial<RingOptions> = {}) => setup({ index: RX, ...options });

  test('frames in single buffers, with both header sizes', async () => {
    for (const [hdrSize, features] of [
      [10, 0n],
      [12, 0n],
      [12, F_MRG_RXBUF],
    ] as const) {
      const s = await rx({ hdrSize, features });
      const frames = [14, 15, 64, 256, 1514, 2048].map((size) => frame(size));
      for (const _ of frames) s.ring.post([2200]);
      assert.equal(rig.tx(s, frames), frames.length);
      assert.deepEqual(hex(s.ring.received()), hex(frames));
    }
  });

  test('the header is all zero but for num_buffers', async () => {
    const s = await rx();
    const at = s.guest.alloc(100);
    s.guest.u8.fill(0xff, at, at + 100);
    s.ring.publish(s.ring.writeChain([{ addr: s.guest.gpa(at), len: 100, flags: DESC_F_WRITE }]));
    rig.tx(s, [frame(20)]);
    assert.deepEqual([...s.guest.u8.slice(at, at + 12)], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert.ok(
      s.guest.u8.slice(at + 32, at + 100).every((b) => b === 0xff),
      'bytes after the frame were written',
    );
    assert.deepEqual(s.ring.takeUsed(), [{ id: 0, len: 32 }]);
  });

  test('a frame over several descriptors of a chain, direct and indirect', async () => {
    for (const indirect of [false, true]) {
      const s = await rx({ features: F_INDIRECT, hdrSize: 10 });
      for (const sizes of [
        [10, 2048],
        [12, 1, 300],
        [10, 0, 100, 0, 200],
        [10, 10, 10, 300],
      ]) {
        s.ring.post(sizes, indirect);
        assert.equal(rig.tx(s, [frame(300)]), 1, `${sizes}`);
        assert.deepEqual(hex(s.ring.received()), hex([frame(300)]), `${sizes}`);
      }
    }
  });

  test('mergeable buffers, from one to many', async () => {
    for (const size of [26, 64, 100, 512, 1526]) {
      const s = await rx({ size: 256 });
      for (let i = 0; i < 256; i++) s.ring.post([size]);
      const frames = [14, 64, 1500].map((n) => frame(n));
      assert.equal(rig.tx(s, frames), 3);
      const nUsed = frames.map((f) => Math.ceil((f.length + 12) / size));
      assert.equal(s.ring.usedIdx, nUsed[0]! + nUsed[1]! + nUsed[2]!);
      assert.deepEqual(hex(s.ring.received()), hex(frames), `buffers of ${size}`);
    }
  });

  test('mergeable buffers that end in mid-packet: nothing of it is published', async () => {
    const s = await rx();
    for (let i = 0; i < 5; i++) s.ring.post([100]);
    const memory = s.guest.snapshot();
    const drops = rig.dropsDuring(() => assert.equal(rig.tx(s, [frame(64, 1), frame(1000, 2), frame(64, 3)]), 1));
    assert.deepEqual(drops, { vhost_tx_ring_full: 2 });
    assert.deepEqual(s.ring.takeUsed(), [{ id: 0, len: 76 }]);
    assert.equal(rig.arena.get(s.at + VRING_LAST_AVAIL), 1);
    assert.notDeepEqual(memory, s.guest.snapshot());
    // The same buffers take the next one, and more make room for the long one.
    for (let i = 0; i < 7; i++) s.ring.post([100]);
    assert.equal(rig.tx(s, [frame(1000, 2)]), 1);
    assert.deepEqual(hex(s.ring.received()), hex([frame(1000, 2)]));
  });

  test('buffers that are too small and not mergeable', async () => {
    const s = await rx({ features: 0n, hdrSize: 10 });
    s.ring.post([100]);
    s.ring.post([10, 100]);
    const drops = rig.dropsDuring(() => assert.equal(rig.tx(s, [frame(91), frame(90)]), 1));
    assert.deepEqual(drops, { vhost_tx_oversize: 1 });
    assert.deepEqual(s.ring.takeUsed(), [
      { id: 0, len: 0 },
      { id: 1, len: 100 },
    ]);
    assert.equal(rig.broken(s), 0);
  });

  test('no buffers', async () => {
    const s = await rx();
    const drops = rig.dropsDuring(() => assert.equal(rig.tx(s, [frame(64), frame(64)]), 0));
    assert.deepEqual(drops, { vhost_tx_ring_full: 2 });
    assert.equal(s.ring.usedIdx, 0);
  });

  const bad: Record<string, (s: Setup) => Desc> = {
    'read-only': (s) => ({ addr: buffer(s, 2100), len: 2100 }),
    'outside the regions': () => ({ addr: 0x10n, len: 2100, flags: DESC_F_WRITE }),
    'across the end of the region': (s) => ({
      addr: s.guest.regions[0]!.gpa + s.guest.regions[0]!.size - 100n,
      len: 2100,
      flags: DESC_F_WRITE,
    }),
    'shorter than the header': (s) => ({ addr: buffer(s, 11), len: 11, flags: DESC_F_WRITE }),
    'of no bytes': (s) => ({ addr: buffer(s, 11), len: 0, flags: DESC_F_WRITE }),
  };
  for (const [name, desc] of Object.entries(bad)) {
    test(`a buffer ${name} costs one packet`, async () => {
      const s = await rx();
      s.ring.post([2200]);
      s.ring.publish(s.ring.writeChain([desc(s)]));
      s.ring.post([2200]);
      const drops = rig.dropsDuring(() => assert.equal(rig.tx(s, [frame(64, 1), frame(64, 2), frame(64, 3)]), 2));
      assert.deepEqual(drops, { vhost_tx_bad_descriptor: 1 });
      assert.equal(rig.broken(s), 0);
      assert.deepEqual(hex(s.ring.received()), hex([frame(64, 1), frame(64, 3)]));
    });
  }

  test('a bad buffer after good ones of the same packet', async () => {
    const s = await rx();
    s.ring.post([100]);
    s.ring.publish(s.ring.writeChain([{ addr: 0x10n, len: 100, flags: DESC_F_WRITE }]));
    s.ring.post([2200]);
    const drops = rig.dropsDuring(() => assert.equal(rig.tx(s, [frame(500), frame(500), frame(500)]), 1));
    assert.deepEqual(drops, { vhost_tx_bad_descriptor: 2 });
    assert.deepEqual(hex(s.ring.received()), hex([frame(500)]));
  });

  test('impossible chains break the ring; what was sent before stays', async () => {
    for (const chain of ['head', 'next', 'circle'] as const) {
      const s = await rx();
      s.ring.post([2200]);
      s.ring.setDesc(9, {
        addr: buffer(s, 20),
        len: 20,
        flags: DESC_F_WRITE | DESC_F_NEXT,
        next: chain === 'next' ? 64 : 9,
      });
      s.ring.publish(chain === 'head' ? 64 : 9);
      s.ring.post([2200]);
      const drops = rig.dropsDuring(() => assert.equal(rig.tx(s, [frame(64), frame(2000), frame(64)]), 1));
      assert.deepEqual(drops, { vhost_tx_bad_descriptor: 2 });
      assert.equal(rig.broken(s), VRING_BROKEN_CHAIN);
      assert.deepEqual(hex(s.ring.received()), hex([frame(64)]));
      assert.deepEqual(
        rig.dropsDuring(() => assert.equal(rig.tx(s, [frame(64)]), 0)),
        { vhost_tx_not_ready: 1 },
      );
    }
  });

  test('a ring that is stopped takes nothing', async () => {
    const s = await rx();
    s.ring.post([2200]);
    await s.port.ringStop(RX);
    const memory = s.guest.snapshot();
    assert.deepEqual(
      rig.dropsDuring(() => assert.equal(rig.tx(s, [frame(64)]), 0)),
      { vhost_tx_not_ready: 1 },
    );
    assert.deepEqual(s.guest.snapshot(), memory);
  });

  for (const size of [1, 2, 32, 256, 32768]) {
    test(`a ring of ${size}, its indices going round at 65536`, async () => {
      const s = await rx({ size, position: 65534 });
      for (let i = 0; i < 6; i++) {
        s.ring.post([200]);
        assert.equal(rig.tx(s, [frame(60, i)]), 1);
        assert.deepEqual(hex(s.ring.received()), hex([frame(60, i)]));
      }
      assert.equal(s.ring.usedIdx, 4);
    });
  }
});

describe('notifications', () => {
  test('the guest is interrupted unless it asks not to be', async () => {
    const s = await setup();
    const pending = () => rig.arena.get(ARENA_THREADS + THREAD_CALLS_PENDING);
    rig.thread.interruptGuests();
    s.ring.setAvailFlags(AVAIL_F_NO_INTERRUPT);
    s.ring.send(frame(64));
    rig.rx(s);
    assert.equal(pending(), 0);
    s.ring.setAvailFlags(0);
    s.ring.send(frame(64));
    rig.rx(s);
    assert.equal(pending(), 1);
  });

  test('kicks are asked for and not', async () => {
    const s = await setup();
    assert.equal(s.ring.usedFlags, 1);
    s.exports.setNotify(s.at, 1);
    assert.equal(s.ring.usedFlags, 0);
    assert.equal(s.exports.pending(s.at), 0);
    s.ring.send(frame(64));
    assert.equal(s.exports.pending(s.at), 1);
  });
});

describe('random guests', () => {
  const SIZE = 8;
  /** Interesting places: inside, at the edges of, and outside the regions. */
  const regions: RegionSpec[] = [
    { gpa: 0x1000n, size: 0x10000, offset: 0x10000 },
    { gpa: 0x20000n, size: 0x1000, offset: 0x30000 },
  ];
  const address = fc.oneof(
    { weight: 6, arbitrary: fc.bigInt(0x3000n, 0x11000n) },
    { weight: 2, arbitrary: fc.bigInt(0x10000n, 0x21400n) },
    { weight: 1, arbitrary: fc.bigInt(0n, 2n ** 64n - 1n) },
  );
  const length = fc.oneof(
    { weight: 5, arbitrary: fc.nat(200) },
    { weight: 2, arbitrary: fc.nat(4096) },
    { weight: 1, arbitrary: fc.constantFrom(16, 32, 128, 0x1000, 0x10000, 0x7fffffff, 0xffffffff, 0xfffffff0) },
  );
  const desc = fc.record({ addr: address, len: length, flags: fc.nat(7), next: fc.nat(SIZE + 1) });
  const hostile = fc.record({
    descs: fc.array(desc, { minLength: SIZE, maxLength: SIZE }),
    tables: fc.array(desc, { minLength: 8, maxLength: 8 }),
    heads: fc.array(fc.oneof({ weight: 9, arbitrary: fc.nat(SIZE - 1) }, fc.nat(0xffff)), {
      minLength: SIZE,
      maxLength: SIZE,
    }),
    position: fc.nat(0xffff),
    avail: fc.oneof({ weight: 9, arbitrary: fc.nat(SIZE) }, fc.nat(0xffff)),
    hdrSize: fc.constantFrom(10 as const, 12 as const),
    features: fc.constantFrom(0n, F_MRG_RXBUF, F_INDIRECT, F_MRG_RXBUF | F_INDIRECT),
    // Descriptors 0… of the tables lie here as well, so that indirect tables make sense now and then.
    tableIn: fc.array(fc.nat(SIZE - 1), { maxLength: 3 }),
    frames: fc.array(fc.nat({ max: 2048 }), { minLength: 1, maxLength: 8 }),
  });
  type Hostile = typeof hostile extends fc.Arbitrary<infer T> ? T : never;

  const guest = new FakeGuest(regions);
  const mark = new FakeRing(guest, { index: TX, size: SIZE, hdrSize: 12, features: 0n });
  const tableAt = guest.alloc(128);
  after(() => guest.release());

  /** Writes the guest's memory; the ring, not started. */
  function write(h: Hostile, index: number): FakeRing {
    const ring = Object.assign(Object.create(FakeRing.prototype) as FakeRing, mark, {
      config: {
        ...mark.config,
        index,
        hdrSize: h.hdrSize,
        features: h.features,
        lastAvail: h.position,
        lastUsed: h.position,
      },
    });
    for (const { offset, size } of guest.regions) guest.u8.fill(0, offset, offset + Number(size));
    h.descs.forEach((d, i) => {
      ring.setDesc(i, h.tableIn.includes(i) ? { addr: guest.gpa(tableAt), len: 128, flags: DESC_F_INDIRECT } : d);
    });
    h.tables.forEach((d, i) => {
      ring.setDesc(i, { ...d, next: d.next % 8 }, tableAt);
    });
    h.heads.forEach((head, i) => {
      guest.set16(ring.config.avail + 4 + i * 2, head);
    });
    ring.setAvailIdx(h.position + h.avail);
    return ring;
  }

  /** Every byte that a writable descriptor of the guest covers, and the used ring. */
  function writable(h: Hostile): Set<number> {
    const bytes = new Set<number>();
    for (let i = 0; i < 6 + SIZE * 8; i++) bytes.add(mark.config.used + i);
    for (const d of [...h.descs, ...h.tables]) {
      const at = guest.offsetOf(d.addr);
      if (!(d.flags & DESC_F_WRITE) || at === undefined) continue;
      const region = guest.regions.find((r) => d.addr >= r.gpa && d.addr < r.gpa + r.size)!;
      if (d.addr + BigInt(d.len) > region.gpa + region.size) continue;
      for (let i = 0; i < d.len; i++) bytes.add(at + i);
    }
    return bytes;
  }

  async function run(h: Hostile, index: number, work: (running: RunningRing) => void): Promise<void> {
    const running = await rig.start(write(h, index));
    const before = guest.snapshot();
    const arena = arenaRecords(running);
    work(running);
    assert.ok(arena.equals(arenaRecords(running)), 'other records of the arena changed');
    const allowed = writable(index === RX ? h : { ...h, descs: [], tables: [] });
    const changed = guest.snapshot();
    let base = 0;
    for (const { offset, size } of guest.regions) {
      for (let i = 0; i < Number(size); i++)
        if (before[base + i] !== changed[base + i])
          assert.ok(allowed.has(offset + i), `byte ${offset + i} was written`);
      base += Number(size);
    }
    await rig.removePort(running.port);
  }

  test('never make the switch write elsewhere, read elsewhere or run forever: what they send', async () => {
    await fc.assert(
      fc.asyncProperty(hostile, (h) =>
        run(h, TX, (running) => {
          for (let i = 0; i < 3; i++) for (const f of rig.rx(running)) assert.ok(f.length >= 14 && f.length <= 2048);
          const used = (running.ring.usedIdx - h.position) & 0xffff;
          assert.ok(used <= SIZE, `${used} entries were used`);
        }),
      ),
      { numRuns: 300 },
    );
  });

  test('never make the switch write elsewhere, read elsewhere or run forever: what they receive', async () => {
    await fc.assert(
      fc.asyncProperty(hostile, (h) =>
        run(h, RX, (running) => {
          const sizes = h.frames.map((n) => Math.max(n, 14));
          rig.tx(
            running,
            sizes.map((n) => frame(n)),
          );
          const used = (running.ring.usedIdx - h.position) & 0xffff;
          assert.ok(used <= SIZE, `${used} entries were used`);
        }),
      ),
      { numRuns: 300 },
    );
  });
});
