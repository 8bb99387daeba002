import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import { test } from 'node:test';
import { TapNetdev } from '../../../src/netdev/tap.ts';
import { netdevContract } from '../../contract/netdev.ts';

/** Run by tap.test.ts in a network namespace of its own. */

netdevContract('tap', (name) => new TapNetdev(name));

test('frames of the host come out of the tap, and go into it', async () => {
  const netdev = new TapNetdev('ct0');
  try {
    netdev.setAdminUp(true);
    spawnSync('ip', ['address', 'add', '192.0.2.1/24', 'dev', 'ct0']);
    spawnSync('ip', ['neighbour', 'add', '192.0.2.2', 'lladdr', '02:00:00:00:00:02', 'dev', 'ct0']);
    assert.equal(netdev.linkUp(), true);
    assert.ok(netdev.ifindex() > 0);
    assert.ok(netdev.io.kind === 'soft');
    const { io } = netdev;
    const sent = new Promise<Uint8Array>((resolve) => {
      io.attach((frame) => {
        if (frame[12] === 0x08 && frame[13] === 0x00 && frame[23] === 17) resolve(Uint8Array.from(frame));
      });
    });
    const socket = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(5000, '192.0.2.1', resolve));
    const received = new Promise<string>((resolve) => socket.once('message', (m) => resolve(m.toString())));
    socket.send('from the host', 5001, '192.0.2.2');
    const frame = await sent;
    assert.equal(Buffer.from(frame.subarray(42)).toString(), 'from the host');
    assert.equal(io.send(turnedRound(frame)), true);
    assert.equal(await received, 'from the host');
    socket.close();
  } finally {
    await netdev.close();
  }
  assert.equal(netdev.io.kind === 'soft' && netdev.io.send(new Uint8Array(60)), false, 'a closed tap takes nothing');
});

test('a tap that is down takes nothing and says so', async () => {
  const netdev = new TapNetdev('ct1');
  assert.equal(netdev.io.kind === 'soft' && netdev.io.send(new Uint8Array(60)), false);
  assert.equal(netdev.linkUp(), false);
  await netdev.close();
});

/** The same UDP datagram the other way. Checksums stay right: only what is added up changes places. */
function turnedRound(frame: Uint8Array): Uint8Array {
  const back = Uint8Array.from(frame);
  const swap = (a: number, b: number, n: number) => {
    back.copyWithin(a, b, b + n);
    back.set(frame.subarray(a, a + n), b);
  };
  swap(0, 6, 6);
  swap(26, 30, 4);
  swap(34, 36, 2);
  return back;
}
