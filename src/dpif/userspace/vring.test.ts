import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  ARENA_THREADS,
  BIG_FRAME_MAX,
  THREAD_UNRELEASED,
  VRING_BROKEN_CHAIN,
  VRING_BROKEN_INDEX,
  VRING_LAST_AVAIL,
  VRING_LAST_USED,
} from '../../gen/arena.ts';
import {
  DESC_F_INDIRECT,
  DESC_F_NEXT,
  DESC_F_WRITE,
  type Desc,
  F_MRG_RXBUF,
  type RegionSpec,
} from './testing/fake-guest.ts';
import { buffer, cleanUp, frame, hex, pollHostile, RX, rig, type Setup, setup, TX } from './testing/vring-bench.ts';

/** What hostile and odd guests send: rows 1 to 7 of the fault table, and what virtio asks of a device. */

afterEach(cleanUp);

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
  /**
   * Another thread of the guest: gives a descriptor a good and a bad address, length and flags in turns until word `stop` is set. A bad value differs
   * in its highest byte alone, so that a value which is read while half of it is written is a good or a bad one too.
   */
  const FLIPPER = `
    const { memory, desc, stop, good } = require('node:worker_threads').workerData;
    const view = new DataView(memory.buffer);
    const word = new Int32Array(memory.buffer, stop, 1);
    for (let i = 0; Atomics.load(word, 0) === 0; i++) {
      view.setBigUint64(desc, i & 1 ? good + (0xdeadn << 48n) : good, true);
      view.setUint32(desc + 8, i & 2 ? 0xff00004c : 76, true);
      view.setUint16(desc + 12, i & 4 ? ${DESC_F_WRITE} : 0, true);
    }`;

  test('what was checked is what is used', async () => {
    const s = await setup();
    const at = s.guest.alloc(76);
    s.guest.u8.set(frame(64, 3), at + 12);
    const stop = s.guest.alloc(4, 4);
    const good = s.guest.gpa(at);
    const workerData = { memory: s.guest.memory, desc: s.ring.config.desc, stop, good };
    const flipper = new Worker(FLIPPER, { eval: true, workerData });
    await once(flipper, 'online');
    const seen = { taken: 0, dropped: 0 };
    // All but the region traps or kills the process.
    const end = Date.now() + 20_000;
    try {
      while ((seen.taken < 50 || seen.dropped < 2000) && Date.now() < end) {
        s.ring.publish(0);
        const frames = rig.rx(s);
        assert.deepEqual(hex(frames), frames.length ? hex([frame(64, 3)]) : []);
        if (frames.length) seen.taken++;
        else seen.dropped++;
      }
    } finally {
      Atomics.store(new Int32Array(s.guest.memory.buffer, stop, 1), 0, 1);
      await once(flipper, 'exit');
    }
    assert.ok(seen.taken >= 50 && seen.dropped >= 2000, JSON.stringify(seen));
    assert.equal(rig.broken(s), 0);
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
      for (const split of [[], [12], [12, 2048], [2000, 40], [65000, 500]]) {
        const head = s.ring.send(frame(BIG_FRAME_MAX + 1), { split, indirect });
        assertDropped(s, head, 'vhost_rx_oversize');
      }
      assertAlive(s, 1);
    });

    test(`big frames${indirect ? ', indirect' : ''}: whole, and given back only when they are released`, async () => {
      const s = await setup();
      for (const size of [2049, 9014, BIG_FRAME_MAX]) {
        for (const split of [[], [12], [1, 11, 14, 300], [12, 2048], [100, 0, 1, 1900], [2000, 40]]) {
          const head = s.ring.send(frame(size), { split, indirect });
          const used = s.ring.usedIdx;
          assert.equal(s.exports.rx(0, s.at), 1);
          assert.equal(s.ring.usedIdx, used, 'the guest could write on what is still to be sent');
          assert.deepEqual(hex([rig.packet(0)]), hex([frame(size)]), `${size} bytes in ${split}`);
          s.exports.release!(0, s.at);
          assert.deepEqual(s.ring.takeUsed(), [{ id: head, len: 0 }]);
        }
      }
      rig.arena.set(ARENA_THREADS + THREAD_UNRELEASED, 0);
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
