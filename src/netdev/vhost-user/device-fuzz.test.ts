import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { VHOST_USER_REQUESTS, type VhostUserRequestName } from '../../../protocols/vhost-user.ts';
import { FakeConsumer } from '../../../test/support/vhost-front-end.ts';
import { LocalFdStore } from '../../keeper/fd-store.ts';
import { eventfd } from '../../sys/eventfd.ts';
import { dup } from '../../sys/fd.ts';
import * as mem from '../../sys/memory.ts';
import { payloadSize, requestRow, writePayload } from '../../wire/vhost-user.ts';
import { Disconnect } from './connection.ts';
import { VhostUserDevice } from './device.ts';
import { bit, SUPPORTED_FEATURES, SUPPORTED_PROTOCOL_FEATURES } from './features.ts';
import { GuestMemoryPool } from './guest-memory.ts';

/** Sequences of requests that are nearly right: whatever comes, no fd is lost, and no ring runs outside its guest's memory. */

const MEM_SIZE = 1 << 20;
const USER = 0x7000_0000_0000n;
const memFd = mem.memfdCreate('fuzz');
mem.ftruncate(memFd, MEM_SIZE);

const index = fc.constantFrom(0, 0, 1, 1, 2, 3, 7, 8, 255, 0xffffffff);
const num = fc.constantFrom(0, 1, 1, 2, 3, 64, 256, 256, 32768, 65536, 0xffffffff);
const u64 = fc.oneof(
  fc.constantFrom(0n, 1n, 256n, 257n, 1n << 63n, (1n << 64n) - 1n, SUPPORTED_FEATURES, SUPPORTED_PROTOCOL_FEATURES),
  fc.constantFrom(bit(32) | bit(30), bit(32) | bit(15), 0n),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
);
const inMemory = fc.integer({ min: 0, max: MEM_SIZE / 4096 }).map((page) => USER + BigInt(page) * 4096n);
const address = fc.oneof({ weight: 6, arbitrary: inMemory }, u64);
const region = fc.record({
  gpa: fc.constantFrom(0n, 4096n, 0x10_0000n, (1n << 64n) - 4096n),
  size: fc.constantFrom(0n, 4096n, BigInt(MEM_SIZE), BigInt(MEM_SIZE), BigInt(MEM_SIZE) + 1n, 1n << 40n),
  userAddr: fc.constantFrom(USER, USER, USER + 0x10_0000n, (1n << 64n) - 1n),
  mmapOffset: fc.constantFrom(0n, 0n, 4096n, 1n, 1n << 63n),
});
const names = Object.keys(VHOST_USER_REQUESTS) as VhostUserRequestName[];

interface Op {
  name: VhostUserRequestName;
  needReply: boolean;
  index: number;
  num: number;
  u64: bigint;
  addr: { descUserAddr: bigint; usedUserAddr: bigint; availUserAddr: bigint };
  regions: { gpa: bigint; size: bigint; userAddr: bigint; mmapOffset: bigint }[];
  /** How many fds come beyond what is right. */
  fdsOff: number;
  memoryFds: boolean;
}

const op: fc.Arbitrary<Op> = fc.record({
  name: fc.oneof(
    fc.constantFrom<VhostUserRequestName>(
      'SET_MEM_TABLE',
      'SET_VRING_ADDR',
      'SET_VRING_KICK',
      'SET_VRING_NUM',
      'SET_VRING_ENABLE',
    ),
    fc.constantFrom(...names),
  ),
  needReply: fc.constantFrom(true, true, true, false),
  index,
  num,
  u64,
  addr: fc.record({ descUserAddr: address, usedUserAddr: address, availUserAddr: address }),
  regions: fc.array(region, { minLength: 1, maxLength: 2 }),
  fdsOff: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, fc.constantFrom(-1, 1)),
  memoryFds: fc.boolean(),
});

function payloadOf(o: Op): DataView {
  if (o.name === 'SET_MEM_TABLE') {
    const view = new DataView(new ArrayBuffer(8 + 32 * o.regions.length));
    writePayload(view, 'memTable', { nRegions: o.regions.length, padding: 0 });
    o.regions.forEach((r, i) => {
      writePayload(view, 'memRegion', r, 8 + 32 * i);
    });
    return view;
  }
  const { payload } = requestRow(o.name);
  const view = new DataView(new ArrayBuffer(payloadSize(payload)));
  // Bigger than any payload needs; only the members it declares are written.
  const value = {
    ...o.addr,
    ...o.regions[0]!,
    index: o.index,
    num: o.num,
    value: vringValue(o),
    flags: 0,
    logGuestAddr: 0n,
  };
  writePayload(view, payload, { ...value, padding: 0n, mmapSize: 0n, nRegions: 0 } as never);
  return view;
}

/** Mostly the index of a ring where an fd comes with it. */
function vringValue(o: Op): bigint {
  return requestRow(o.name).fds === 'vring' ? BigInt(o.index & 0x107) : o.u64;
}

function fdsOf(o: Op): number[] {
  const { fds } = requestRow(o.name);
  const right = { none: 0, one: 1, optional: 1, vring: vringValue(o) & 256n ? 0 : 1, regions: o.regions.length }[fds];
  const isMemory = fds === 'regions' ? o.fdsOff === 0 : o.memoryFds && o.fdsOff !== 0;
  return Array.from({ length: Math.max(0, right + o.fdsOff) }, () => (isMemory ? dup(memFd) : eventfd()));
}

const good = (name: VhostUserRequestName, more: Partial<Op> = {}): Op => ({
  name,
  needReply: true,
  index: 0,
  num: 1,
  u64: 0n,
  addr: { descUserAddr: USER, usedUserAddr: USER + 0x2000n, availUserAddr: USER + 0x1000n },
  regions: [{ gpa: 0n, size: BigInt(MEM_SIZE), userAddr: USER, mmapOffset: 0n }],
  fdsOff: 0,
  memoryFds: false,
  ...more,
});

/** What a sequence starts with: two running rings, and refusals that do not end the connection. */
const START: Op[] = [
  good('SET_PROTOCOL_FEATURES', { u64: SUPPORTED_PROTOCOL_FEATURES }),
  good('SET_FEATURES', { u64: bit(32) | bit(30) }),
  good('SET_MEM_TABLE'),
  ...[0, 1].flatMap((i) => [
    good('SET_VRING_NUM', { index: i, num: 256 }),
    good('SET_VRING_ADDR', { index: i }),
    good('SET_VRING_KICK', { index: i }),
    good('SET_VRING_ENABLE', { index: i }),
  ]),
];

const countFds = () => readdirSync('/proc/self/fd').length;

function assertRingsInside(consumer: FakeConsumer, device: VhostUserDevice): void {
  for (const ring of consumer.rings.values()) {
    assert.equal(ring.size & (ring.size - 1), 0);
    assert.ok(ring.size > 0 && ring.size <= 32768);
    for (const [at, size] of [
      [ring.desc, 16 * ring.size],
      [ring.avail, 6 + 2 * ring.size],
      [ring.used, 6 + 8 * ring.size],
    ] as const) {
      const inside = device.guest!.regions.some((r) => at >= r.offset && at + size <= r.offset + Number(r.size));
      assert.ok(inside, `ring ${ring.index} at ${at}`);
    }
  }
}

const N_RUNS = 200;
const pool = new GuestMemoryPool();

async function run(ops: Op[]): Promise<number> {
  const fds = new LocalFdStore();
  const quiet = () => {};
  const log = { info: quiet, warn: quiet };
  const features = SUPPORTED_FEATURES;
  const deps = {
    key: 'vhost/f',
    fds,
    pool,
    maxQueuePairs: 4,
    features,
    log,
    ringEnabled: quiet,
    changed: quiet,
    save: quiet,
  };
  const device = new VhostUserDevice(deps);
  const consumer = new FakeConsumer();
  await device.attach(consumer);
  device.connected();
  const before = countFds();
  let nStarts = 0;
  const queue = [...START, ...ops];
  for (let o = queue.shift(); o; o = queue.shift()) {
    const payload = payloadOf(o);
    const flags = 1 | (o.needReply ? 8 : 0);
    const message = {
      request: VHOST_USER_REQUESTS[o.name].id,
      flags,
      size: payload.byteLength,
      payload,
      fds: fdsOf(o),
    };
    try {
      await device.handle(message);
    } catch (e) {
      if (!(e instanceof Disconnect)) throw e;
      await device.disconnected();
      assert.equal(device.guest, undefined);
      assert.equal(consumer.rings.size, 0);
      device.connected();
      queue.unshift(...START);
    }
    nStarts = consumer.log.length;
    assertRingsInside(consumer, device);
    assert.equal(countFds() - before, fds.keys().length, `after ${o.name}`);
  }
  await device.disconnected();
  assert.equal(countFds(), before);
  return nStarts;
}

test('nearly right sequences', async () => {
  let nStarts = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(op, { minLength: 10, maxLength: 60, size: 'max' }), async (ops) => {
      nStarts += await run(ops);
    }),
    { numRuns: N_RUNS },
  );
  assert.ok(nStarts > 10 * N_RUNS, 'rings start and stop all the time, or the sequences are too wild to find anything');
});
