import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parsePcap } from '../../base/pcap.ts';
import { odpPort } from '../../base/types.ts';
import { ARENA_TX_BATCHES, BATCH_MAX } from '../../gen/arena.ts';
import {
  loopLayout,
  type MemoryLayout,
  MemoryNetdev,
  makeCapture,
  nullLayout,
  pcapLayout,
} from '../../netdev/memory-rings.ts';
import { SOCKET_MEMORY } from './datapath-thread.ts';
import { Rig } from './testing/rig.ts';

/** Devices that are nothing but memory, by the fast path that polls them. */

const rig = new Rig();
const PORT = odpPort(7);

async function start(layout: MemoryLayout, captureFd = -1) {
  const netdev = new MemoryNetdev('p0', layout, { driver: 'net_test', captureFd });
  const port = rig.sockets.add(PORT, 'p0');
  assert.ok(netdev.io.kind === 'rings');
  await netdev.io.attach(port);
  const [rx, tx] = port.rings.map(({ at }) => at) as [number, number];
  const { rx: receive, tx: send, pending } = rig.thread.guest(SOCKET_MEMORY)!;
  return {
    pending: () => pending(rx) !== 0,
    receive: () => Array.from({ length: receive(0, rx) }, (_, i) => rig.packet(i)),
    send: (frames: Uint8Array[]) => {
      const list = ARENA_TX_BATCHES + 64;
      for (const [i, frame] of frames.entries()) rig.arena.set(list + i * 4, rig.place(i, frame));
      const n = send(0, tx, list, frames.length);
      rig.thread.interruptGuests();
      return n;
    },
    close: async () => {
      await netdev.close();
      await rig.sockets.remove(PORT);
    },
  };
}

const frame = (first: number, size: number) => Uint8Array.from({ length: size }, (_, i) => (first + i) & 0xff);

test('net_null: zeros without end come out, and what goes in is gone', async () => {
  const device = await start(nullLayout(128, false));
  for (let round = 0; round < 5; round++) {
    const frames = device.receive();
    assert.equal(frames.length, BATCH_MAX);
    for (const one of frames) assert.deepEqual(one, new Uint8Array(128));
  }
  for (let round = 0; round < 5; round++) assert.equal(device.send(Array(32).fill(frame(1, 60))), 32);
  assert.deepEqual(device.receive()[0], new Uint8Array(128));
  await device.close();
});

test('net_null with no-rx: nothing comes out', async () => {
  const device = await start(nullLayout(64, true));
  assert.equal(device.pending(), false);
  assert.deepEqual(device.receive(), []);
  assert.equal(device.send([frame(1, 60)]), 1);
  assert.deepEqual(device.receive(), []);
  await device.close();
});

test('net_ring: what goes in comes out, in its order, and what finds no room is not taken', async () => {
  const device = await start(loopLayout());
  const frames = Array.from({ length: 20 }, (_, i) => frame(i, 60 + i * 90));
  for (let round = 0; round < 120; round++) {
    assert.equal(device.send(frames), 20);
    assert.equal(device.pending(), true);
    assert.deepEqual(device.receive(), frames);
  }
  assert.deepEqual(device.receive(), []);
  let taken = 0;
  for (let round = 0; round < 60; round++) taken += device.send(frames);
  assert.equal(taken, 1024);
  let came = 0;
  for (let got = device.receive(); got.length > 0; got = device.receive()) came += got.length;
  assert.equal(came, 1024);
  await device.close();
});

test('net_pcap: a capture comes out once, and what goes in is another capture', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'turnout-pcap-'));
  try {
    const played = Array.from({ length: 50 }, (_, i) => frame(i, 60 + i * 30));
    const path = join(dir, 'out.pcap');
    const device = await start(pcapLayout(played, false, true), makeCapture(path));
    assert.deepEqual([...device.receive(), ...device.receive()], played);
    assert.equal(device.pending(), false);
    assert.deepEqual(device.receive(), []);
    for (let i = 0; i < 50; i += 10) assert.equal(device.send(played.slice(i, i + 10)), 10);
    await device.close();
    const written = parsePcap(readFileSync(path));
    assert.deepEqual(
      written.map(({ data }) => Uint8Array.from(data)),
      played,
    );
    for (const { timeNs } of written) assert.ok(timeNs > 1_700_000_000n * 1_000_000_000n);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('net_pcap with infinite_rx: its capture comes again and again', async () => {
  const played = [frame(1, 60), frame(2, 70), frame(3, 80)];
  const device = await start(pcapLayout(played, true, false));
  const got = [...device.receive(), ...device.receive()];
  assert.equal(got.length, 2 * BATCH_MAX);
  for (const [i, one] of got.entries()) assert.deepEqual(one, played[i % 3]);
  await device.close();
});
