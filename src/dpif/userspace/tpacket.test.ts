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
  VRING_LAST_AVAIL,
} from '../../gen/arena.ts';
import { SOCKET_MEMORY } from './datapath-thread.ts';
import type { SocketPort } from './socket-ports.ts';
import { FakeSocket, STATUS_TPID, STATUS_USER, STATUS_VLAN } from './testing/fake-socket.ts';
import { bytes, partial, pseudo4, pseudo6, sum } from './testing/partial-frames.ts';
import { Rig } from './testing/rig.ts';

const rig = new Rig();
const PORT = odpPort(7);

async function start(): Promise<{ socket: FakeSocket; port: SocketPort; rx: number; tx: number }> {
  const socket = new FakeSocket();
  await rig.sockets.remove(PORT);
  const port = rig.sockets.add(PORT, 'veth0');
  await port.ringsStart(socket.rings);
  return { socket, port, rx: port.rings[0]!.at, tx: port.rings[1]!.at };
}

function receive(ring: number): Uint8Array[] {
  const n = rig.thread.guest(SOCKET_MEMORY)!.rx(0, ring);
  return Array.from({ length: n }, (_, i) => rig.packet(i));
}

function send(ring: number, frames: readonly Uint8Array[]): number {
  const list = ARENA_TX_BATCHES + 64;
  frames.forEach((frame, i) => {
    rig.arena.set(list + i * 4, rig.place(i, frame));
  });
  return rig.thread.guest(SOCKET_MEMORY)!.tx(0, ring, list, frames.length);
}

function crc32c(data: Uint8Array): number {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

describe('what a packet socket hears', () => {
  test('frames in their order, and each slot goes back', async () => {
    const { socket, rx } = await start();
    const frames = [bytes(14), bytes(60, 3), bytes(1500, 9), bytes(FRAME_MAX, 77)];
    const slots = frames.map((frame) => socket.hear(frame));
    assert.equal(rig.thread.guest(SOCKET_MEMORY)!.pending(rx), 1);
    assert.deepEqual(receive(rx), frames);
    for (const slot of slots) assert.equal(socket.status(slot), 0);
    assert.equal(rig.thread.guest(SOCKET_MEMORY)!.pending(rx), 0);
    assert.deepEqual(receive(rx), []);
  });

  test('round the ring many times', async () => {
    const { socket, rx } = await start();
    for (let i = 0; i < 5 * socket.nFrames; i++) {
      socket.hear(bytes(60 + i, i));
      assert.deepEqual(receive(rx), [bytes(60 + i, i)]);
    }
  });

  test('the tag that the kernel took out is put back', async () => {
    const { socket, rx } = await start();
    const frame = bytes(60);
    socket.hear(frame, { status: STATUS_USER | STATUS_VLAN, tci: 0x6064 });
    socket.hear(frame, { status: STATUS_USER | STATUS_VLAN | STATUS_TPID, tci: 0, tpid: 0x88a8 });
    const tagged = (tag: number[]) => Uint8Array.from([...frame.subarray(0, 12), ...tag, ...frame.subarray(12)]);
    assert.deepEqual(receive(rx), [tagged([0x81, 0, 0x60, 0x64]), tagged([0x88, 0xa8, 0, 0])]);
  });

  test('a frame whose tag no longer fits is too long', async () => {
    const { socket, rx } = await start();
    socket.hear(bytes(FRAME_MAX - 3), { status: STATUS_USER | STATUS_VLAN, tci: 1 });
    socket.hear(bytes(FRAME_MAX - 4), { status: STATUS_USER | STATUS_VLAN, tci: 1 });
    assert.deepEqual(
      rig.dropsDuring(() =>
        assert.deepEqual(
          receive(rx).map((f) => f.length),
          [FRAME_MAX],
        ),
      ),
      { socket_rx_oversize: 1 },
    );
  });

  for (const version of [4, 6] as const) {
    for (const proto of [6, 17] as const) {
      for (const size of [0, 1, 2, 31, 32, 33, 1000, 1401]) {
        test(`a checksum that was left to us is completed: IPv${version}, protocol ${proto}, ${size} bytes`, async () => {
          const { socket, rx } = await start();
          const { frame, csumStart } = partial(version, proto, bytes(size, 5));
          const tagged = size % 2 === 1;
          const status = STATUS_USER | (tagged ? STATUS_VLAN : 0);
          socket.hear(frame, { status, tci: 5, flags: 1, csumStart, csumOffset: proto === 6 ? 16 : 6 });
          const [got] = receive(rx);
          const l3 = tagged ? 18 : 14;
          const pseudo = version === 4 ? pseudo4(got!, l3, proto) : pseudo6(got!, l3, proto);
          assert.equal(sum(got!.subarray(l3 + (version === 4 ? 20 : 40)), pseudo), 0xffff);
        });
      }
    }
  }

  test("SCTP's CRC-32c that was left to us is computed, where no Internet checksum stands", async () => {
    const { socket, rx } = await start();
    const chunk = [0x0e, 0, 0, 4];
    const frame = Uint8Array.from([
      ...bytes(14),
      ...bytes(20, 1),
      0,
      1,
      0,
      2,
      9,
      9,
      9,
      9,
      0xde,
      0xad,
      0xbe,
      0xef,
      ...chunk,
    ]);
    socket.hear(frame, { flags: 1, csumStart: 34, csumOffset: 8 });
    const [got] = receive(rx);
    const zeroed = Uint8Array.from(got!.subarray(34));
    zeroed.fill(0, 8, 12);
    assert.equal(new DataView(got!.buffer, got!.byteOffset).getUint32(42, true), crc32c(zeroed));
    assert.deepEqual(got!.subarray(0, 42), frame.subarray(0, 42));
    assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283); // the check value of RFC 3720, B.4
    socket.hear(frame.subarray(0, 44), { flags: 1, csumStart: 34, csumOffset: 8 });
    assert.deepEqual(
      rig.dropsDuring(() => assert.deepEqual(receive(rx), [])),
      { socket_rx_bad_offload: 1 },
    );
  });

  for (const version of [4, 6] as const) {
    for (const tagged of [false, true]) {
      test(`TCP in one piece is cut: IPv${version}${tagged ? ', tagged' : ''}`, async () => {
        const { socket, rx } = await start();
        const payload = bytes(60_001, 11);
        const { frame, csumStart } = partial(version, 6, payload);
        const status = STATUS_USER | (tagged ? STATUS_VLAN : 0);
        const vnet = { flags: 1, gsoType: version === 4 ? 0x81 : 4, gsoSize: 1448, csumStart, csumOffset: 16 };
        const slot = socket.hear(frame, { status, tci: 7, ...vnet });
        socket.hear(bytes(60));
        const batches: Uint8Array[][] = [receive(rx)];
        assert.equal(batches[0]!.length, BATCH_MAX);
        assert.notEqual(socket.status(slot), 0, 'the rest is still in there');
        batches.push(receive(rx));
        assert.equal(socket.status(slot), 0);
        const segments = batches.flat();
        assert.deepEqual(segments.pop(), bytes(60), 'what came behind it');
        assert.equal(segments.length, Math.ceil(payload.length / 1448));
        const l3 = tagged ? 18 : 14;
        const l4 = l3 + (version === 4 ? 20 : 40);
        const back: number[] = [];
        for (const [i, s] of segments.entries()) {
          const view = new DataView(s.buffer, s.byteOffset);
          assert.equal(view.getUint32(l4 + 4), (0xfffffff0 + i * 1448) >>> 0);
          const last = i === segments.length - 1;
          assert.equal(s[l4 + 13], 0x10 | (i === 0 ? 0x80 : 0) | (last ? 0x09 : 0));
          if (version === 4) {
            assert.equal(view.getUint16(l3 + 2), s.length - l3);
            assert.equal(view.getUint16(l3 + 4), 0x1234 + i);
            assert.equal(sum(s.subarray(l3, l4)), 0xffff);
          } else assert.equal(view.getUint16(l3 + 4), s.length - l4);
          const pseudo = version === 4 ? pseudo4(s, l3, 6) : pseudo6(s, l3, 6);
          assert.equal(sum(s.subarray(l4), pseudo), 0xffff);
          back.push(...s.subarray(l4 + 20));
        }
        assert.deepEqual(Uint8Array.from(back), payload);
      });
    }
  }

  test('UDP in one piece is cut at its size, and not at another', async () => {
    const { socket, rx } = await start();
    const { frame, csumStart } = partial(4, 17, bytes(2500, 1));
    const vnet = { flags: 1, gsoType: 5, csumStart, csumOffset: 6 };
    socket.hear(frame, { ...vnet, gsoSize: 1200 });
    const segments = receive(rx);
    assert.deepEqual(
      segments.map((s) => s.length - 42),
      [1200, 1200, 100],
    );
    for (const s of segments) {
      assert.equal(new DataView(s.buffer).getUint16(38), s.length - 34);
      assert.equal(sum(s.subarray(34), pseudo4(s, 14, 17)), 0xffff);
    }
    socket.hear(frame, { ...vnet, gsoSize: FRAME_MAX });
    assert.deepEqual(
      rig.dropsDuring(() => assert.deepEqual(receive(rx), [])),
      { socket_rx_bad_offload: 1 },
    );
  });

  test('TCP segments that no slot holds are cut smaller', async () => {
    const { socket, rx } = await start();
    const payload = bytes(20_000, 4);
    const { frame, csumStart } = partial(4, 6, payload);
    socket.hear(frame, { flags: 1, gsoType: 1, gsoSize: 8948, csumStart, csumOffset: 16 });
    const segments = receive(rx);
    for (const s of segments) assert.ok(s.length <= FRAME_MAX);
    assert.deepEqual(Uint8Array.from(segments.flatMap((s) => [...s.subarray(54)])), payload);
  });
});

describe('odd slots', () => {
  const cases: [string, Parameters<FakeSocket['hear']>[1], Record<string, number>][] = [
    ['longer than the slot', { snaplen: 69633, len: 69633 }, { socket_rx_bad_frame: 1 }],
    ['a length that wraps', { snaplen: 0xffffffff, len: 0xffffffff }, { socket_rx_bad_frame: 1 }],
    ['a frame over the header', { mac: 0 }, { socket_rx_bad_frame: 1 }],
    ['no room for the offload header', { mac: 41 }, { socket_rx_bad_frame: 1 }],
    ['cut off by the kernel', { len: 70_000 }, { socket_rx_oversize: 1 }],
    ['a runt', { len: 13, snaplen: 13 }, { socket_rx_runt: 1 }],
    ['a checksum past the end', { flags: 1, csumStart: 50, csumOffset: 9 }, { socket_rx_bad_offload: 1 }],
    ['a checksum whose place wraps', { flags: 1, csumStart: 65535, csumOffset: 65535 }, { socket_rx_bad_offload: 1 }],
    ['a checksum in the Ethernet header', { flags: 1, csumStart: 2, csumOffset: 0 }, { socket_rx_bad_offload: 1 }],
    ['segments of no size', { gsoType: 1, csumStart: 34 }, { socket_rx_bad_offload: 1 }],
    ['an unknown kind of segment', { gsoType: 2, gsoSize: 100, csumStart: 34 }, { socket_rx_bad_offload: 1 }],
    ['headers past the end', { gsoType: 1, gsoSize: 100, csumStart: 59 }, { socket_rx_bad_offload: 1 }],
    ['segments without IP', { gsoType: 1, gsoSize: 10, csumStart: 34 }, { socket_rx_bad_offload: 1 }],
  ];
  for (const [what, fields, drops] of cases) {
    test(`${what}: dropped by name, and the next frame comes`, async () => {
      const { socket, rx } = await start();
      const slot = socket.hear(bytes(60), fields);
      socket.hear(bytes(61));
      assert.deepEqual(
        rig.dropsDuring(() => assert.deepEqual(receive(rx), [bytes(61)])),
        drops,
      );
      assert.equal(socket.status(slot), 0);
    });
  }

  test('random contents: nothing traps, no packet is longer than its slot, and the ring goes on', async () => {
    const { socket, rx } = await start();
    const rnd = seeded(42);
    for (let round = 0; round < 20_000; round++) {
      const size = 14 + rnd(300);
      const frame = Uint8Array.from({ length: size }, () => rnd(256));
      if (rnd(2)) frame.set(partial(rnd(2) ? 4 : 6, rnd(2) ? 6 : 17, new Uint8Array(0)).frame.subarray(0, size));
      const odd = () => (rnd(4) ? rnd(100) : rnd(65536));
      const maybe = (n: number) => (rnd(8) ? undefined : n);
      const fields = {
        status: STATUS_USER | (rnd(2) ? STATUS_VLAN : 0),
        flags: rnd(4),
        gsoType: [0, 1, 4, 5, 0x81, rnd(256)][rnd(6)]!,
        gsoSize: odd(),
        csumStart: rnd(2) ? 34 : odd(),
        csumOffset: rnd(2) ? 16 : odd(),
      };
      const len = maybe(rnd(1 << 17));
      socket.hear(frame, {
        ...fields,
        ...(len !== undefined && { len, snaplen: maybe(odd()) ?? len }),
        mac: maybe(odd()) ?? 82,
      });
      for (let polls = 0; rig.thread.guest(SOCKET_MEMORY)!.pending(rx); polls++) {
        assert.ok(polls < 5000, 'the ring goes on');
        const n = rig.thread.guest(SOCKET_MEMORY)!.rx(0, rx);
        for (let i = 0; i < n; i++) {
          const got = rig.arena.get(ARENA_PKTS + i * PKT__SIZE + PKT_LEN);
          assert.ok(got >= 14 && got <= FRAME_MAX, `length ${got}`);
        }
      }
    }
    assert.ok(rig.arena.get(rx + VRING_LAST_AVAIL) < socket.nFrames);
  });
});

describe('what a packet socket is given', () => {
  test('frames in their order, with an empty offload header', async () => {
    const { socket, tx } = await start();
    const frames = [bytes(60), bytes(1514, 1), bytes(FRAME_MAX, 2)];
    assert.equal(send(tx, frames), 3);
    const sent = socket.sent();
    assert.deepEqual(
      sent.map((s) => s.frame),
      frames,
    );
    for (const { vnet, frame } of sent) {
      // flags, gso_type 0; hdr_len: the whole frame; nothing to compute.
      assert.deepEqual([...vnet], [0, 0, frame.length & 0xff, frame.length >> 8, 0, 0, 0, 0, 0, 0]);
    }
  });

  test('a ring that is full takes no more, and goes on when the kernel has taken some', async () => {
    const { socket, tx } = await start();
    const frames = Array.from({ length: socket.nFrames + 2 }, (_, i) => bytes(60, i));
    assert.deepEqual(
      rig.dropsDuring(() => assert.equal(send(tx, frames), socket.nFrames)),
      { socket_tx_ring_full: 2 },
    );
    assert.equal(socket.sent().length, socket.nFrames);
    socket.setSendStatus(0, 4);
    assert.equal(send(tx, [bytes(70)]), 1, 'a slot whose frame the kernel refused is free');
    assert.deepEqual(
      socket.sent().map((s) => s.frame),
      [bytes(70)],
    );
  });

  test('a slot that the kernel still sends is not written', async () => {
    const { socket, tx } = await start();
    socket.setSendStatus(0, 2);
    assert.deepEqual(
      rig.dropsDuring(() => assert.equal(send(tx, [bytes(60)]), 0)),
      { socket_tx_ring_full: 1 },
    );
  });

  test('nothing goes out by a port that is stopped', async () => {
    const { port, tx } = await start();
    await port.ringsStop();
    assert.deepEqual(
      rig.dropsDuring(() => assert.equal(send(tx, [bytes(60)]), 0)),
      { socket_tx_not_ready: 1 },
    );
  });
});
