import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { ARENA_THREADS, THREAD_CALLS_PENDING, VRING_BROKEN_CHAIN, VRING_LAST_AVAIL } from '../../gen/arena.ts';
import {
  AVAIL_F_NO_INTERRUPT,
  DESC_F_NEXT,
  DESC_F_WRITE,
  type Desc,
  F_INDIRECT,
  F_MRG_RXBUF,
  type RingOptions,
} from './testing/fake-guest.ts';
import { buffer, cleanUp, frame, hex, RX, rig, type Setup, setup } from './testing/vring-bench.ts';

/** What guests receive, in good buffers and bad ones, and how they are notified. */

afterEach(cleanUp);

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
