import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { FakeConsumer, FakeTimers, FrontEnd, ringOffsets, until } from '../../../test/support/vhost-front-end.ts';
import { vlog } from '../../base/vlog.ts';
import { LocalFdStore } from '../../keeper/fd-store.ts';
import { decodeDeviceState, encodeDeviceState, type VhostDeviceState } from './device-state.ts';
import { createVhostUserProviders } from './providers.ts';
import type { VhostUserNetdev } from './vhost-user-netdev.ts';

/** A front end and a device: what is negotiated, and what the datapath is told. */

vlog.closeConsole();
const dir = mkdtempSync(join(tmpdir(), 'turnout-vhost-'));
after(() => rmSync(dir, { recursive: true }));

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(opts: { attach?: boolean; tso?: boolean } = {}) {
  const fds = new LocalFdStore();
  const saved: VhostDeviceState[] = [];
  const clock = new FakeTimers();
  const saveState = (_name: string, state: VhostDeviceState) => saved.push(structuredClone(state));
  const [provider] = createVhostUserProviders({ fds, clock, saveState, userspaceTso: () => opts.tso === true });
  const netdev = (await provider!.open('vu', new Map(), { sockDir: dir })) as VhostUserNetdev;
  const consumer = new FakeConsumer();
  if (opts.attach !== false && netdev.io.kind === 'vhost') netdev.io.attach(consumer);
  cleanups.push(() => netdev.close());
  const frontEnd = () => {
    const fe = FrontEnd.connect(join(dir, 'vu'));
    cleanups.push(() => fe.close());
    return fe;
  };
  return { netdev, consumer, fds, saved, frontEnd };
}

test('negotiation ends in two running rings at the right places of the guest memory', async () => {
  const { netdev, consumer, frontEnd } = await setUp();
  assert.equal(netdev.linkUp(), false);
  const fe = frontEnd();
  await fe.start();
  assert.equal(netdev.linkUp(), true);
  assert.deepEqual([...consumer.rings.keys()], [0, 1]);
  const ring = consumer.rings.get(1)!;
  const base = consumer.guest!.regions[0]!.offset;
  const { desc, avail, used } = ringOffsets(1);
  assert.deepEqual([ring.desc, ring.avail, ring.used], [base + desc, base + avail, base + used]);
  assert.equal(ring.size, 256);
  assert.equal(ring.hdrSize, 12);
  assert.ok(ring.kickFd >= 0 && ring.callFd >= 0 && ring.kickFd !== ring.callFd);
  fe.view.setUint16(avail + 2, 77, true);
  assert.equal(new DataView(consumer.guest!.memory.buffer).getUint16(ring.avail + 2, true), 77);
});

test('checksums and segments may be left to the switch, and to the guest, when the user wants it', async () => {
  const offloads = [0, 1, 7, 8, 9, 11, 12, 13, 54, 55, 56];
  for (const tso of [false, true]) {
    const { consumer, frontEnd } = await setUp({ tso });
    const fe = frontEnd();
    const features = await fe.askU64('GET_FEATURES');
    for (const n of offloads) assert.equal((features >> BigInt(n)) & 1n, tso ? 1n : 0n, `feature ${n}`);
    await fe.start({ features });
    assert.equal(consumer.rings.get(1)!.features, features);
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  }
});

test('status has the keys of Open vSwitch', async () => {
  const { netdev, frontEnd } = await setUp();
  assert.deepEqual(Object.fromEntries(netdev.status()), { mode: 'server', status: 'disconnected' });
  await frontEnd().start({ nRings: 4 });
  assert.deepEqual(Object.fromEntries(netdev.status()), {
    mode: 'server',
    status: 'connected',
    socket: join(dir, 'vu'),
    features: '0x0000000140008000',
    numa: '0',
    num_of_vrings: '4',
    vring_0_size: '256',
    vring_1_size: '256',
    vring_2_size: '256',
    vring_3_size: '256',
  });
  assert.deepEqual(netdev.queues(), { rx: 2, tx: 2 });
});

test('rings that were ready before the datapath came are started when it attaches', async () => {
  const { netdev, consumer, frontEnd } = await setUp({ attach: false });
  await frontEnd().start();
  assert.deepEqual(consumer.log, []);
  if (netdev.io.kind === 'vhost') netdev.io.attach(consumer);
  await netdev.settled();
  assert.deepEqual(consumer.log, ['start 0', 'start 1']);
});

test('without protocol features a ring runs from its kick on', async () => {
  const { consumer, frontEnd } = await setUp();
  const fe = frontEnd();
  fe.tell('SET_FEATURES', { value: 0n });
  fe.setMemTable();
  fe.startRing(0);
  assert.equal(await fe.askU64('GET_STATUS'), 0n);
  assert.deepEqual([...consumer.rings.keys()], [0]);
  assert.equal(consumer.rings.get(0)!.hdrSize, 10);
});

test('GET_VRING_BASE stops the ring and tells its position; a kick starts it again', async () => {
  const { netdev, consumer, frontEnd } = await setUp();
  const fe = frontEnd();
  await fe.start();
  consumer.progress = 1000;
  fe.tell('GET_VRING_BASE', { index: 0, num: 0 });
  const reply = await fe.reply();
  assert.deepEqual([reply.getUint32(0, true), reply.getUint32(4, true)], [0, 1000]);
  assert.deepEqual([...consumer.rings.keys()], [1]);
  assert.equal(netdev.linkUp(), false);
  fe.giveFd('SET_VRING_KICK', 0);
  assert.equal(await fe.acked('SET_STATUS', { value: 7n }), 0);
  assert.equal(consumer.rings.get(0)!.lastAvail, 1000);
  assert.equal(consumer.rings.get(0)!.callFd, -1, 'row 15: a missing call fd');
  assert.equal(netdev.linkUp(), true);
  assert.equal(await fe.askU64('GET_STATUS'), 7n);
});

test('ring indices survive stop, hot-plug and start', async () => {
  const { consumer, frontEnd } = await setUp();
  const fe = frontEnd();
  await fe.start();
  consumer.progress = 70_000;
  assert.equal(await fe.acked('SET_VRING_ENABLE', { index: 0, num: 0 }), 0);
  assert.equal(await fe.acked('SET_VRING_ENABLE', { index: 1, num: 0 }), 0);
  assert.equal(consumer.rings.size, 0);
  fe.setMemTable([{ ...fe.region, size: fe.region.size / 2n }]);
  assert.equal(await fe.acked('SET_VRING_ENABLE', { index: 0, num: 1 }), 0);
  assert.equal(await fe.acked('SET_VRING_ENABLE', { index: 1, num: 1 }), 0);
  assert.equal(consumer.rings.get(0)!.lastAvail, 70_000 & 0xffff);
  assert.equal(consumer.rings.get(1)!.lastUsed, 70_000 & 0xffff);
});

test('SET_VRING_BASE moves a ring; a ring set up anew goes on at its used index', async () => {
  const { consumer, frontEnd } = await setUp();
  const fe = frontEnd();
  fe.view.setUint16(ringOffsets(0).used + 2, 4242, true);
  await fe.start();
  assert.equal(consumer.rings.get(0)!.lastAvail, 4242);
  fe.view.setUint16(ringOffsets(0).used + 2, 99, true);
  assert.equal(await fe.acked('SET_VRING_BASE', { index: 0, num: 99 }), 0);
  assert.equal(consumer.rings.get(0)!.lastAvail, 99);
  assert.equal(await fe.acked('SET_VRING_BASE', { index: 0, num: 0x10000 }), 1);
});

test('row 12: SET_MEM_TABLE under traffic waits until the PMDs have left the memory', async () => {
  const { consumer, frontEnd, netdev } = await setUp();
  const fe = frontEnd();
  await fe.start();
  const old = consumer.guest!.regions[0]!.offset;
  const view = new DataView(consumer.guest!.memory.buffer);
  let letGo = () => {};
  consumer.hold = new Promise((resolve) => {
    letGo = resolve;
  });
  fe.setMemTable([{ ...fe.region, size: fe.region.size / 2n }]);
  await until(() => consumer.log.includes('stop 1'), 'both rings asked to stop');
  fe.view.setUint32(0, 0xabcd, true);
  assert.equal(view.getUint32(old, true), 0xabcd, 'the old mapping is there while a PMD may use it');
  assert.equal(netdev.device.state.regions[0]!.size, fe.region.size);
  letGo();
  assert.equal(await fe.acked('SET_STATUS', { value: 0n }), 0);
  assert.deepEqual(consumer.log, ['start 0', 'start 1', 'stop 0', 'stop 1', 'start 0', 'start 1']);
  assert.equal(netdev.device.state.regions[0]!.size, fe.region.size / 2n);
});

test('row 12: a disconnect under traffic unmaps only after the PMDs have left', async () => {
  const { consumer, frontEnd, netdev, fds } = await setUp();
  const fe = frontEnd();
  await fe.start();
  const at = consumer.guest!.regions[0]!.offset;
  const view = new DataView(consumer.guest!.memory.buffer);
  let letGo = () => {};
  consumer.hold = new Promise((resolve) => {
    letGo = resolve;
  });
  fe.close();
  await until(() => consumer.log.includes('stop 1'), 'both rings asked to stop');
  assert.equal(view.getUint32(at, true), 0);
  assert.equal(netdev.device.guest?.regions.length, 1);
  letGo();
  await netdev.settled();
  assert.equal(netdev.device.guest, undefined);
  assert.equal(netdev.linkUp(), false);
  assert.deepEqual(fds.keys(), ['vhost/vu/listen']);
});

test('the same memory table again disturbs nothing', async () => {
  const { consumer, frontEnd } = await setUp();
  const fe = frontEnd();
  await fe.start();
  fe.setMemTable();
  assert.equal(await fe.acked('SET_STATUS', { value: 0n }), 0);
  assert.deepEqual(consumer.log, ['start 0', 'start 1']);
});

test('a new call fd on a running ring restarts it at its position', async () => {
  const { consumer, frontEnd } = await setUp();
  const fe = frontEnd();
  await fe.start();
  const before = consumer.rings.get(0)!.callFd;
  consumer.progress = 5;
  fe.giveFd('SET_VRING_CALL', 0);
  fe.giveFd('SET_VRING_ERR', 0);
  assert.equal(await fe.acked('SET_STATUS', { value: 0n }), 0);
  assert.deepEqual(consumer.log, ['start 0', 'start 1', 'stop 0', 'start 0']);
  assert.equal(consumer.rings.get(0)!.lastAvail, 5);
  assert.ok(before >= 0);
});

test('RESET_OWNER forgets everything but the connection', async () => {
  const { netdev, consumer, frontEnd, fds } = await setUp();
  const fe = frontEnd();
  await fe.start();
  fe.tell('RESET_OWNER', {});
  assert.equal(await fe.askU64('GET_QUEUE_NUM'), 128n);
  assert.equal(consumer.rings.size, 0);
  assert.equal(netdev.device.state.features, 0n);
  assert.deepEqual(fds.keys('vhost/vu/').sort(), ['vhost/vu/conn', 'vhost/vu/listen']);
  await fe.start();
  assert.deepEqual([...consumer.rings.keys()], [0, 1]);
});

test('MTU and RARP', async () => {
  const { netdev, consumer, frontEnd } = await setUp();
  const fe = frontEnd();
  await fe.start();
  assert.equal(await fe.acked('NET_SET_MTU', { value: 9000n }), 0);
  assert.equal(await fe.acked('NET_SET_MTU', { value: 67n }), 1);
  assert.equal(netdev.device.state.guestMtu, 9000);
  assert.equal(await fe.acked('SEND_RARP', { value: 0x0605_0403_0201n }), 0);
  assert.deepEqual(consumer.announced, ['010203040506']);
});

test('every change is saved as a plain record that survives JSON', async () => {
  const { saved, frontEnd } = await setUp();
  const fe = frontEnd();
  await fe.start();
  const last = saved.at(-1)!;
  assert.equal(last.connected, true);
  assert.equal(last.rings[1]!.enabled, true);
  assert.equal(last.regions[0]!.userAddr, 0x7000_0000_0000n);
  assert.deepEqual(decodeDeviceState(encodeDeviceState(last)), last);
  assert.throws(() => decodeDeviceState('{"version":2,"rings":[]}'), /version 2/);
});

test('no fd is left behind by a device that came and went', async () => {
  const count = () => readdirSync('/proc/self/fd').length;
  const once = async () => {
    const { frontEnd } = await setUp();
    await frontEnd().start({ nRings: 4 });
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  };
  await once();
  const before = count();
  for (let i = 0; i < 5; i++) await once();
  assert.equal(count(), before);
});
