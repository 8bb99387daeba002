import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { odpPort } from '../../base/types.ts';
import { ARENA_PORTS, PORT__SIZE, PORT_TX_LOCKED } from '../../gen/arena.ts';
import type { PmdRequest } from './pmd-messages.ts';
import type { PmdPool } from './pmd-pool.ts';
import { FakeGuest, FakeRing } from './testing/fake-guest.ts';
import { Rig } from './testing/rig.ts';
import { VhostPorts } from './vhost-ports.ts';

const rig = new Rig();

const ringOf = (guest: FakeGuest, index: number) => new FakeRing(guest, { size: 8, index, hdrSize: 12, features: 0n });
const receiveRing = (guest: FakeGuest) => ringOf(guest, 0);
const transmitRing = (guest = new FakeGuest()) => ringOf(guest, 1);

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

test('no lock is taken where every thread has a ring of its own', async () => {
  const guest = new FakeGuest();
  const port = rig.vhostPort();
  await rig.start(receiveRing(guest), port);
  assert.equal(rig.arena.get(ARENA_PORTS + port.port * PORT__SIZE + PORT_TX_LOCKED), 0);
});

test('PMDs are told of a guest once, not with every ring', async () => {
  const told: string[] = [];
  const pool = { nThreads: 2, all: (r: PmdRequest) => Promise.resolve(void told.push(r.type)) };
  const ports = new VhostPorts(rig.arena, pool as unknown as PmdPool, rig.thread, () => Promise.resolve());
  const guest = new FakeGuest();
  const port = ports.add(odpPort(200), 'vhost200');
  for (const ring of [receiveRing(guest), transmitRing(guest)]) await port.ringStart(ring.config, guest);
  await port.ringStop(1);
  const other = new FakeGuest();
  await port.ringStop(0);
  await port.ringStart(receiveRing(other).config, other);
  assert.equal(told.filter((type) => type === 'guest').length, 2);
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
