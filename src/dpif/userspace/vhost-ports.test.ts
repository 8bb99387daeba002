import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeGuest, FakeRing } from './testing/fake-guest.ts';
import { Rig } from './testing/rig.ts';

const rig = new Rig();

function transmitRing(guest = new FakeGuest()): FakeRing {
  return new FakeRing(guest, { size: 8, index: 1, hdrSize: 12, features: 0n });
}

describe('a vhost-user port that was deleted', () => {
  test('tells its device where the rings stopped, which closes after it', async () => {
    const running = await rig.start(transmitRing());
    running.ring.send(new Uint8Array(60));
    assert.equal(rig.rx(running).length, 1);
    await rig.removePort(running.port);
    assert.deepEqual(await running.port.ringStop(1), { lastAvail: 1, lastUsed: 1 });
  });

  test('starts no ring: its guest number is another port’s', async () => {
    const gone = await rig.start(transmitRing());
    await rig.removePort(gone.port);
    const next = await rig.start(transmitRing());
    assert.equal(next.port.guest, gone.port.guest);
    await assert.rejects(gone.port.ringStart(gone.ring.config, gone.ring.guest), /the port was deleted/);
    assert.equal(rig.thread.guest(next.port.guest), next.exports);
  });

  test('a ring that is being started when the port goes is given back', async () => {
    const port = rig.vhostPort();
    const ring = transmitRing();
    const started = port.ringStart(ring.config, ring.guest);
    await Promise.all([assert.rejects(started, /the port was deleted/), rig.removePort(port)]);
    assert.equal(port.rings.size, 0);
  });
});

test('a guest number is free only when no thread knows its guest any more', async () => {
  const gone = await rig.start(transmitRing());
  await gone.port.ringStop(1);
  const removed = rig.removePort(gone.port);
  const next = await rig.start(transmitRing());
  await removed;
  assert.notEqual(next.port.guest, gone.port.guest);
  assert.ok(rig.thread.guest(next.port.guest));
});
