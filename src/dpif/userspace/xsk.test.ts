import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { random as seeded } from '../../../test/support/random.ts';
import { odpPort } from '../../base/types.ts';
import {
  ARENA_PKTS,
  ARENA_TX_BATCHES,
  BATCH_MAX,
  FRAME_MAX,
  PKT__SIZE,
  PKT_LEN,
  VRING_BROKEN,
  VRING_BROKEN_INDEX,
  VRING_CALL_PENDING,
} from '../../gen/arena.ts';
import { XSK_MEMORY } from './datapath-thread.ts';
import { CHUNK, FakeXsk, N_CHUNKS, txChunk } from './testing/fake-xsk.ts';
import { bytes, partial, pseudo4, pseudo6, sum } from './testing/partial-frames.ts';
import { Rig } from './testing/rig.ts';

const rig = new Rig();
const PORT = odpPort(7);

async function start(options: ConstructorParameters<typeof FakeXsk>[0] = {}) {
  const socket = new FakeXsk(options);
  await rig.sockets.remove(PORT);
  const port = rig.sockets.add(PORT, 'veth0');
  await port.ringsStart(socket.rings);
  return { socket, port, rx: port.rings[0]!.at, tx: port.rings[1]!.at };
}

function receive(ring: number): Uint8Array[] {
  const n = rig.thread.guest(XSK_MEMORY)!.rx(0, ring);
  return Array.from({ length: n }, (_, i) => rig.packet(i));
}

function send(ring: number, frames: readonly Uint8Array[]): number {
  let n = 0;
  for (let at = 0; at < frames.length; at += BATCH_MAX) {
    const batch = frames.slice(at, at + BATCH_MAX);
    const list = ARENA_TX_BATCHES + 64;
    for (const [i, frame] of batch.entries()) rig.arena.set(list + i * 4, rig.place(i, frame));
    n += rig.thread.guest(XSK_MEMORY)!.tx(0, ring, list, batch.length);
  }
  return n;
}

/** A kernel's positions go round after 2^32 frames. */
const STARTS = [0, 0xfffffff0];

describe('what an AF_XDP socket hears', () => {
  for (const from of STARTS) {
    test(`frames in their order, and each chunk goes back: from ${from}`, async () => {
      const { socket, rx } = await start({ start: from });
      const frames = [bytes(14), bytes(60, 3), bytes(1500, 9), bytes(FRAME_MAX, 77)];
      for (let round = 0; round < 3 * N_CHUNKS; round++) {
        for (const frame of frames) socket.hear(frame);
        assert.equal(rig.thread.guest(XSK_MEMORY)!.pending(rx), 1);
        assert.deepEqual(receive(rx), frames);
        assert.equal(socket.nFilled, N_CHUNKS);
        assert.equal(socket.consumer('rx'), socket.producer('rx'));
      }
      assert.equal(rig.thread.guest(XSK_MEMORY)!.pending(rx), 0);
      assert.deepEqual(receive(rx), []);
    });
  }

  test('a full ring comes in batches', async () => {
    const { socket, rx } = await start();
    for (let i = 0; i < N_CHUNKS; i++) socket.hear(bytes(60, i));
    const got = [receive(rx), receive(rx), receive(rx)].flat();
    assert.deepEqual(
      got,
      Array.from({ length: N_CHUNKS }, (_, i) => bytes(60, i)),
    );
  });

  for (const version of [4, 6] as const) {
    for (const proto of [6, 17] as const) {
      for (const size of [0, 1, 31, 1000, 1401]) {
        test(`a checksum that a kernel left undone is completed: IPv${version}, protocol ${proto}, ${size} bytes`, async () => {
          const { socket, rx } = await start({ partial: true });
          const { frame, csumStart } = partial(version, proto, bytes(size, 5));
          const tagged = Uint8Array.from([...frame.subarray(0, 12), 0x81, 0, 0, 7, ...frame.subarray(12)]);
          socket.hear(frame);
          socket.hear(tagged);
          const [plain, withTag] = receive(rx) as [Uint8Array, Uint8Array];
          const pseudo = version === 4 ? pseudo4(plain, 14, proto) : pseudo6(plain, 14, proto);
          assert.equal(sum(plain.subarray(csumStart), pseudo), 0xffff);
          assert.deepEqual(withTag.subarray(18), plain.subarray(14));
          socket.hear(plain);
          assert.deepEqual(receive(rx), [plain], 'what is whole stays as it is');
          const spoilt = Uint8Array.from(plain);
          spoilt[csumStart + (proto === 6 ? 16 : 6)]! ^= 0x55;
          socket.hear(spoilt);
          assert.deepEqual(receive(rx), [spoilt], 'what is wrong stays wrong');
        });
      }
    }
  }

  test('of an interface that completes them itself, frames come as they are', async () => {
    const { socket, rx } = await start({ partial: false });
    const { frame } = partial(4, 6, bytes(100));
    socket.hear(frame);
    assert.deepEqual(receive(rx), [frame]);
  });

  test('fragments, and headers that do not fit, are let be', async () => {
    const { socket, rx } = await start({ partial: true });
    const { frame } = partial(4, 17, bytes(100));
    const fragment = Uint8Array.from(frame);
    fragment[20] = 0x20;
    const long = Uint8Array.from(frame);
    long[16] = 0x7f;
    const cases = [fragment, long, frame.subarray(0, 30), frame.subarray(0, 41)];
    for (const one of cases) socket.hear(one);
    assert.deepEqual(
      receive(rx),
      cases.map((one) => Uint8Array.from(one)),
    );
  });
});

describe('odd descriptors', () => {
  const cases: [string, Parameters<FakeXsk['push']>[0], string][] = [
    ['beyond the packet memory', { address: BigInt(N_CHUNKS * CHUNK) }, 'socket_rx_bad_frame'],
    ['an address that wraps', { address: 0xffff_ffff_ffff_ff00n }, 'socket_rx_bad_frame'],
    ['longer than its chunk', { address: 256n, len: CHUNK - 255 }, 'socket_rx_bad_frame'],
    ['a length that wraps', { address: 256n, len: 0xffffffff }, 'socket_rx_bad_frame'],
    ['part of a frame', { address: 256n, options: 1 }, 'socket_rx_bad_frame'],
    ['a frame longer than a buffer', { address: 256n, len: FRAME_MAX + 1 }, 'socket_rx_oversize'],
    ['a runt', { address: 256n, len: 13 }, 'socket_rx_runt'],
  ];
  for (const [what, descriptor, drop] of cases) {
    test(`${what}: dropped by name, and the next frame comes`, async () => {
      const { socket, rx } = await start();
      socket.push(descriptor);
      socket.hear(bytes(61));
      assert.deepEqual(
        rig.dropsDuring(() => assert.deepEqual(receive(rx), [bytes(61)])),
        { [drop]: 1 },
      );
    });
  }

  test('a position that cannot be breaks the ring', async () => {
    for (const spoil of [
      (socket: FakeXsk) => socket.setPositions('rx', N_CHUNKS + 1, 0),
      (socket: FakeXsk) => {
        socket.hear(bytes(60));
        socket.setPositions('fill', 0, 0x8000_0000);
      },
    ]) {
      const { socket, rx } = await start();
      spoil(socket);
      assert.deepEqual(
        rig.dropsDuring(() => assert.deepEqual(receive(rx), [])),
        { socket_rx_bad_frame: 1 },
      );
      assert.equal(rig.arena.get(rx + VRING_BROKEN), VRING_BROKEN_INDEX);
    }
  });

  test('random descriptors and positions: nothing traps, no packet is longer than its slot', async () => {
    const rnd = seeded(7);
    let { socket, rx, tx } = await start({ partial: true });
    for (let round = 0; round < 5000; round++) {
      if (rig.arena.get(rx + VRING_BROKEN) || rig.arena.get(tx + VRING_BROKEN))
        ({ socket, rx, tx } = await start({ partial: true, start: rnd(2) ? 0 : 0xffffffe0 }));
      const odd = () => BigInt(rnd(4) ? rnd(N_CHUNKS * CHUNK) : rnd(2 ** 31)) << BigInt(rnd(8) ? 0 : rnd(33));
      const { frame } = partial(rnd(2) ? 4 : 6, rnd(2) ? 6 : 17, bytes(rnd(900)));
      for (let i = rnd(4); i > 0; i--) frame[14 + rnd(40)] = rnd(256);
      if (rnd(3)) socket.hear(frame, rnd(3) ? {} : { len: rnd(CHUNK) });
      else socket.push({ address: odd(), len: rnd(3 * CHUNK), options: rnd(8) ? 0 : rnd(4) });
      if (rnd(40) === 0) socket.setPositions('rx', socket.producer('rx') + rnd(200), 0);
      const n = rig.thread.guest(XSK_MEMORY)!.rx(0, rx);
      for (let i = 0; i < n; i++) {
        const got = rig.arena.get(ARENA_PKTS + i * PKT__SIZE + PKT_LEN);
        assert.ok(got >= 14 && got <= FRAME_MAX, `length ${got}`);
      }
      send(tx, [bytes(60 + rnd(1000))]);
      if (rnd(3)) socket.sent();
      if (rnd(60) === 0) socket.complete(odd());
    }
  });
});

describe('what an AF_XDP socket is given', () => {
  for (const from of STARTS) {
    test(`frames in their order, by chunks that come back in any: from ${from}`, async () => {
      const { socket, tx } = await start({ start: from });
      for (let round = 0; round < 3 * N_CHUNKS; round++) {
        const frames = [bytes(60, round), bytes(1514, 1), bytes(FRAME_MAX, 2)];
        assert.equal(send(tx, frames), 3);
        assert.deepEqual(socket.sent(), frames);
      }
    });
  }

  test('a ring that is full takes no more, and goes on when the kernel gives chunks back', async () => {
    const { socket, tx } = await start();
    const frames = Array.from({ length: N_CHUNKS + 2 }, (_, i) => bytes(60, i));
    assert.deepEqual(
      rig.dropsDuring(() => assert.equal(send(tx, frames), N_CHUNKS)),
      { socket_tx_ring_full: 2 },
    );
    assert.equal(socket.sent().length, N_CHUNKS);
    assert.equal(send(tx, [bytes(70)]), 1);
    assert.deepEqual(socket.sent(), [bytes(70)]);
  });

  test('the kernel is called when it wants to be, or always', async () => {
    const { socket, tx } = await start({ needWakeup: true });
    const called = () => {
      const was = rig.arena.get(tx + VRING_CALL_PENDING);
      rig.arena.set(tx + VRING_CALL_PENDING, 0);
      return was !== 0;
    };
    send(tx, [bytes(60)]);
    assert.equal(called(), false);
    socket.wantWakeup('tx', true);
    send(tx, [bytes(60)]);
    assert.equal(called(), true);
    const always = await start({ needWakeup: false });
    send(always.tx, [bytes(60)]);
    assert.equal(rig.arena.get(always.tx + VRING_CALL_PENDING), 1);
  });

  test('the driver is called for chunks that it waits for', async () => {
    const { socket, rx } = await start({ needWakeup: true });
    receive(rx);
    assert.equal(rig.arena.get(rx + VRING_CALL_PENDING), 0);
    socket.wantWakeup('fill', true);
    receive(rx);
    assert.equal(rig.arena.get(rx + VRING_CALL_PENDING), 1);
  });

  for (const [what, addresses] of [
    ['that it was not given', [txChunk(3)]],
    ['twice', [txChunk(N_CHUNKS - 1), txChunk(N_CHUNKS - 1)]],
    ['of the receive half', [0n]],
    ['beyond the memory', [txChunk(N_CHUNKS)]],
  ] as const) {
    test(`a kernel that gives back a chunk ${what} breaks the ring, and nothing more is sent`, async () => {
      const { socket, tx } = await start();
      assert.equal(send(tx, [bytes(60)]), 1);
      for (const address of addresses) socket.complete(address);
      assert.deepEqual(
        rig.dropsDuring(() => assert.equal(send(tx, [bytes(60)]), 0)),
        { socket_tx_not_ready: 1 },
      );
      assert.equal(rig.arena.get(tx + VRING_BROKEN), VRING_BROKEN_INDEX);
    });
  }

  test('nothing goes out by a port that is stopped', async () => {
    const { port, tx } = await start();
    await port.ringsStop();
    assert.deepEqual(
      rig.dropsDuring(() => assert.equal(send(tx, [bytes(60)]), 0)),
      { socket_tx_not_ready: 1 },
    );
  });
});
