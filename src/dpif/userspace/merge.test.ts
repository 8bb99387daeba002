import assert from 'node:assert/strict';
import { test } from 'node:test';
import { random as seeded } from '../../../test/support/random.ts';
import { odpPort } from '../../base/types.ts';
import { ARENA_PKTS, ARENA_TX_BATCHES, BATCH_MAX, PKT__SIZE, PKT_CUT, PKT_DATA } from '../../gen/arena.ts';
import { SOCKET_MEMORY } from './datapath-thread.ts';
import { FakeSocket } from './testing/fake-socket.ts';
import { bytes, partial, sum } from './testing/partial-frames.ts';
import { Rig } from './testing/rig.ts';

/** Segments that were cut by the receiving ring, and leave as frames again (src/fastpath/merge.ts). */

const rig = new Rig();
const PORT = odpPort(7);
const MSS = 1000;

async function start() {
  const socket = new FakeSocket();
  await rig.sockets.remove(PORT);
  const port = rig.sockets.add(PORT, 'veth0');
  await port.ringsStart(socket.rings);
  const [rx, tx] = port.rings.map(({ at }) => at) as [number, number];
  const ring = rig.thread.guest(SOCKET_MEMORY)!;
  /** Packet records of the batch that has come. */
  const receive = () => Array.from({ length: ring.rx(0, rx) }, (_, i) => ARENA_PKTS + i * PKT__SIZE);
  const send = (pkts: readonly number[]) => {
    const list = ARENA_TX_BATCHES + 64;
    pkts.forEach((pkt, i) => {
      rig.arena.set(list + i * 4, pkt);
    });
    assert.equal(ring.tx(0, tx, list, pkts.length), pkts.length);
    return socket.sent();
  };
  /** All segments of what was sent, as frames of their own. */
  const cutAgain = (sent: { vnet: Uint8Array; frame: Uint8Array }[]) => {
    const segments: Uint8Array[] = [];
    for (const { vnet, frame } of sent) {
      const v = new DataView(vnet.buffer, vnet.byteOffset);
      socket.hear(frame, {
        flags: v.getUint8(0),
        gsoType: v.getUint8(1),
        gsoSize: v.getUint16(4, true),
        csumStart: v.getUint16(6, true),
        csumOffset: v.getUint16(8, true),
      });
      for (let n = ring.rx(0, rx); n > 0; n = ring.rx(0, rx)) for (let i = 0; i < n; i++) segments.push(rig.packet(i));
    }
    return segments;
  };
  return { socket, receive, send, cutAgain };
}

function hear(socket: FakeSocket, version: 4 | 6, size: number): Uint8Array {
  const { frame, csumStart } = partial(version, 6, bytes(size, 5));
  const gsoType = (version === 4 ? 1 : 4) | 0x80;
  socket.hear(frame, { flags: 1, gsoType, gsoSize: MSS, csumStart, csumOffset: 16 });
  return frame;
}

for (const version of [4, 6] as const) {
  test(`a frame of TCP over IPv${version} that was cut leaves as it came`, async () => {
    const { socket, receive, send } = await start();
    for (const size of [MSS + 1, 5 * MSS, 31 * MSS + 7]) {
      const frame = hear(socket, version, size);
      const pkts = receive();
      assert.equal(pkts.length, Math.ceil(size / MSS));
      const before = pkts.map((_, i) => rig.packet(i));
      const sent = send(pkts);
      assert.deepEqual(
        sent.map((one) => one.frame),
        [frame],
      );
      const header = new DataView(sent[0]!.vnet.buffer, sent[0]!.vnet.byteOffset);
      assert.equal(header.getUint8(0), 1);
      assert.equal(header.getUint8(1), (version === 4 ? 1 : 4) | 0x80);
      assert.deepEqual(
        [2, 4, 8].map((at) => header.getUint16(at, true)),
        [frame.length, MSS, 16],
      );
      // They may have to leave by another port, too.
      assert.deepEqual(
        pkts.map((_, i) => rig.packet(i)),
        before,
      );
    }
  });
}

test('a frame of more segments than a batch has leaves as two', async () => {
  const { socket, receive, send, cutAgain } = await start();
  hear(socket, 4, 40 * MSS);
  const segments: Uint8Array[] = [];
  const sent = [];
  for (let pkts = receive(); pkts.length > 0; pkts = receive()) {
    segments.push(...pkts.map((_, i) => rig.packet(i)));
    sent.push(...send(pkts));
  }
  assert.equal(segments.length, 40);
  assert.equal(sent.length, 2);
  assert.deepEqual(cutAgain(sent), segments);
});

test('packets that were not cut here are not put together: their checksums are not known to be right', async () => {
  const { socket, receive, send } = await start();
  hear(socket, 4, 5 * MSS);
  const pkts = receive();
  for (const pkt of pkts) rig.arena.u8.fill(0, pkt + PKT_CUT, pkt + PKT_CUT + 2);
  const sent = send(pkts);
  assert.equal(sent.length, 5);
  for (const { vnet } of sent) assert.equal(vnet[1], 0);
});

/** Writes right checksums into a packet of TCP over IPv4 without options. */
function fixChecksums(frame: Uint8Array): void {
  const put = (at: number, value: number) => frame.set([value >> 8, value & 0xff], at);
  put(24, 0);
  put(24, ~sum(frame.subarray(14, 34)) & 0xffff);
  put(50, 0);
  put(50, ~sum(frame.subarray(34), sum(frame.subarray(26, 34), 6 + frame.length - 34)) & 0xffff);
}

test('whatever actions do to headers, what leaves is the packets that were to leave, in their order', async () => {
  const { socket, receive, send, cutAgain } = await start();
  const below = seeded(99);
  let merged = 0;
  for (let round = 0; round < 300; round++) {
    hear(socket, 4, 1 + below(BATCH_MAX * MSS));
    const pkts = receive();
    // A change of all of them, as of an address, or of one alone; the IP version, header lengths and protocol stay.
    const all = below(2) === 0;
    const victim = below(pkts.length);
    const at = [0, 5, 13, 15, 18, 19, 20, 21, 22, 26, 33, 34, 37, 38, 41, 42, 45, 47, 48, 53, 54, 60][below(22)]!;
    const value = below(256);
    pkts.forEach((pkt, i) => {
      if (!all && i !== victim) return;
      const frame = rig.packet(i);
      if (at >= frame.length) return;
      frame[at] = value;
      fixChecksums(frame);
      rig.arena.u8.set(frame, rig.arena.get(pkt + PKT_DATA));
    });
    // Some go missing, and some change places.
    const order = pkts.filter(() => below(20) > 0);
    if (below(4) === 0) order.reverse();
    const wanted = order.map((pkt) => rig.packet((pkt - ARENA_PKTS) / PKT__SIZE));
    const sent = [];
    for (let i = 0; i < order.length; i += 8) sent.push(...send(order.slice(i, i + 8)));
    if (sent.length < order.length) merged++;
    assert.deepEqual(cutAgain(sent), wanted, `round ${round}: byte ${at}, ${all ? 'all' : victim}`);
  }
  assert.ok(merged > 100, `${merged} rounds put packets together`);
});
