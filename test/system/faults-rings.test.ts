import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { FaultSwitch } from './support/fault-switch.ts';
import {
  DESC_F_INDIRECT,
  DESC_F_NEXT,
  DESC_F_WRITE,
  type Desc,
  GPA_BASE,
  HostileGuest,
  RING_SIZE,
  TX,
  testFrame,
} from './support/hostile-guest.ts';

/** Rows 1 to 7 of the fault table: guests with impossible rings on a running switch, beside ports under traffic. */

let sw: FaultSwitch;
let evil: HostileGuest;
let sink: HostileGuest;

before(async () => {
  sw = await FaultSwitch.start();
});
after(() => sw?.stop());
afterEach(() => {
  evil?.close();
  sink?.close();
});

async function connect(features?: bigint): Promise<void> {
  sw.markLog();
  evil = await HostileGuest.up(sw.socket('evil1'), features);
  sink = await HostileGuest.up(sw.socket('sink1'));
}

async function disconnect(): Promise<void> {
  evil.close();
  sink.close();
  await sw.unharmed();
}

/** Puts a chain into the transmit ring after one good packet, which arrives; the ring is then broken for `reason`, and nothing spins. */
async function assertBreaks(write: () => void, counter: string, reason: string): Promise<void> {
  const drops = await sw.drops(counter);
  await evil.transmit([testFrame(1)]);
  assert.deepEqual(await sink.received(1), [Buffer.from(testFrame(1))]);
  write();
  await sw.logged(`evil1: the guest broke its ring 1 (${reason})`);
  assert.equal(await sw.drops(counter), drops + 1);
  evil.publish(TX, 0);
  await sw.good.flows();
  assert.deepEqual(sink.receive(), [], 'nothing more comes out of the ring');
}

const CHAIN = ['vhost_rx_bad_chain', 'an impossible descriptor chain'] as const;

/** A test of one way to break a ring. */
function breaks(name: string, write: () => void, [counter, reason]: readonly [string, string] = CHAIN): void {
  test(name, async () => {
    await connect();
    const badDescriptors = (await sw.portStats('evil1')).named.get('rx_bad_descriptor_drops')!;
    await assertBreaks(write, counter, reason);
    if (counter === CHAIN[0])
      assert.equal((await sw.portStats('evil1')).named.get('rx_bad_descriptor_drops'), badDescriptors + 1);
    await disconnect();
  });
}

/** Publishes descriptor 9 of the transmit ring. */
function chainOf(desc: Desc): void {
  evil.setDesc(TX, 9, desc);
  evil.publish(TX, 9);
}

breaks('row 1: a descriptor that is its own next', () => {
  chainOf({ addr: evil.buffer(4), len: 4, flags: DESC_F_NEXT, next: 9 });
});

breaks('row 1: a circle through the whole ring', () => {
  const addr = evil.buffer(16);
  for (let i = 0; i < RING_SIZE; i++)
    evil.setDesc(TX, i, { addr, len: 0, flags: DESC_F_NEXT, next: (i + 1) % RING_SIZE });
  evil.publish(TX, 0);
});

breaks('row 2: a next beyond the ring', () => {
  chainOf({ addr: evil.buffer(64), len: 64, flags: DESC_F_NEXT, next: RING_SIZE });
});

breaks('row 2: a head beyond the ring', () => evil.publish(TX, RING_SIZE));

breaks('row 2: an indirect table that was not negotiated', () => {
  const table = evil.alloc(16);
  evil.setDescAt(table, { addr: evil.buffer(64), len: 64 });
  chainOf({ addr: GPA_BASE + BigInt(table), len: 16, flags: DESC_F_INDIRECT });
});

const F_INDIRECT = 1n << 28n;

const INDIRECT_FEATURES = F_INDIRECT | (1n << 32n) | (1n << 30n) | (1n << 15n);

/** A table of one descriptor, which names a table of one good descriptor. */
function nestedTable(): Desc {
  const [inner, outer] = [evil.alloc(16), evil.alloc(16)];
  evil.setDescAt(inner, { addr: evil.buffer(76), len: 76 });
  evil.setDescAt(outer, { addr: GPA_BASE + BigInt(inner), len: 16, flags: DESC_F_INDIRECT });
  return { addr: GPA_BASE + BigInt(outer), len: 16 };
}

const BAD_TABLES: Record<string, () => Desc> = {
  oversized: () => ({ addr: evil.buffer((RING_SIZE + 1) * 16), len: (RING_SIZE + 1) * 16 }),
  'not a multiple of 16': () => ({ addr: evil.buffer(48), len: 40 }),
  empty: () => ({ addr: evil.buffer(48), len: 0 }),
  nested: nestedTable,
};

for (const [name, table] of Object.entries(BAD_TABLES)) {
  test(`row 2: an indirect table that is ${name}`, async () => {
    await connect(INDIRECT_FEATURES);
    assert.notEqual((await evil.askU64('GET_FEATURES')) & F_INDIRECT, 0n, 'indirect tables are offered');
    const good = evil.alloc(16);
    evil.setDescAt(good, { addr: evil.bufferAddr(TX, 8), len: 76 });
    new Uint8Array(evil.memory.buffer).set(testFrame(3), evil.bufferAt(TX, 8) + 12);
    chainOf({ addr: GPA_BASE + BigInt(good), len: 16, flags: DESC_F_INDIRECT });
    assert.deepEqual(await sink.received(1), [Buffer.from(testFrame(3))], 'a table that is none of this');
    await assertBreaks(() => chainOf({ ...table(), flags: DESC_F_INDIRECT }), ...CHAIN);
    await disconnect();
  });
}

const REGION_END = GPA_BASE + (2n << 20n);

const BAD_DESCRIPTOR = ['vhost_rx_bad_descriptor', 'rx_bad_descriptor_drops'] as const;
const OVERSIZE = ['vhost_rx_oversize', 'rx_oversize_drops'] as const;

/** Chains that cost one packet and no more: the row, the descriptor, and the counters of the datapath and of the interface. */
const DROPPED: Record<string, [row: number, desc: () => Desc, counters: typeof BAD_DESCRIPTOR | typeof OVERSIZE]> = {
  'a buffer at address 0': [3, () => ({ addr: 0n, len: 100 }), BAD_DESCRIPTOR],
  'a buffer behind the region': [3, () => ({ addr: REGION_END, len: 100 }), BAD_DESCRIPTOR],
  'a buffer across the end of the region': [3, () => ({ addr: REGION_END - 50n, len: 100 }), BAD_DESCRIPTOR],
  'address and length that wrap': [3, () => ({ addr: 2n ** 64n - 50n, len: 100 }), BAD_DESCRIPTOR],
  'a buffer to be written': [3, () => ({ addr: evil.buffer(100), len: 100, flags: DESC_F_WRITE }), BAD_DESCRIPTOR],
  'a length of 4 GiB': [5, () => ({ addr: GPA_BASE, len: 0xffffffff }), BAD_DESCRIPTOR],
  'a frame longer than any': [5, () => ({ addr: GPA_BASE + 0x20000n, len: 65566 }), OVERSIZE],
};

for (const [name, [row, desc, [counter, named]]] of Object.entries(DROPPED)) {
  test(`row ${row}: ${name} costs one packet`, async () => {
    await connect();
    const drops = await sw.drops(counter);
    const before = await sw.portStats('evil1');
    chainOf(desc());
    await evil.taken();
    assert.equal(await sw.drops(counter), drops + 1);
    const now = await sw.portStats('evil1');
    assert.equal(now.named.get(named), before.named.get(named)! + 1);
    assert.equal(now.rxErrors, before.rxErrors + 1n);
    await evil.transmit([testFrame(2)]);
    assert.deepEqual(await sink.received(1), [Buffer.from(testFrame(2))], 'the ring lives on');
    await disconnect();
  });
}

test('row 3: a buffer across a gap between regions costs one packet', async () => {
  await connect();
  const { region, memFd } = evil;
  const first = { ...region, size: region.size - 0x10000n };
  const gap = 0x1000n;
  const second = {
    gpa: first.gpa + first.size + gap,
    size: 0x10000n,
    userAddr: first.userAddr + first.size,
    mmapOffset: first.size,
  };
  evil.setMemTable([first, second], [memFd, memFd]);
  await evil.askU64('GET_FEATURES');
  const drops = await sw.drops('vhost_rx_bad_descriptor');
  chainOf({ addr: second.gpa - gap - 50n, len: 100 });
  chainOf({ addr: second.gpa - gap - 50n, len: 100 + Number(gap) });
  chainOf({ addr: second.gpa - 50n, len: 100 });
  await evil.taken();
  assert.equal(await sw.drops('vhost_rx_bad_descriptor'), drops + 3);
  await disconnect();
});

test('row 4: descriptors that change while they are read harm nobody', async () => {
  await connect();
  for (let i = 0; i < RING_SIZE; i++) evil.setDesc(TX, i, { addr: evil.bufferAddr(TX, i), len: 76 });
  for (let round = 0; round < 400; round++) {
    evil.publish(TX, ...Array.from({ length: 32 }, (_, i) => (round + i) % RING_SIZE));
    for (let i = 0; evil.outstanding() && i < 20_000; i++) {
      const bad = i % 2 === 0;
      const index = (round + (i % 32)) % RING_SIZE;
      evil.setDesc(TX, index, { addr: bad ? 2n ** 64n - 16n : evil.bufferAddr(TX, index), len: bad ? 0xffffffff : 76 });
    }
    await evil.taken();
    sink.receive();
  }
  await disconnect();
});

test('row 5: a header over many descriptors is read; a chain shorter than it is dropped', async () => {
  await connect();
  const frame = testFrame(5, 100);
  const bytes = Uint8Array.from([...new Uint8Array(12), ...frame]);
  const at = evil.alloc(bytes.length);
  new Uint8Array(evil.memory.buffer).set(bytes, at);
  for (let i = 0; i < bytes.length; i++) {
    const last = i === bytes.length - 1;
    evil.setDesc(TX, i, {
      addr: GPA_BASE + BigInt(at + i),
      len: 1,
      flags: last ? 0 : DESC_F_NEXT,
      next: last ? 0 : i + 1,
    });
  }
  evil.publish(TX, 0);
  await evil.taken();
  assert.deepEqual(await sink.received(1), [Buffer.from(frame)]);
  const runts = await sw.drops('vhost_rx_runt');
  const dropped = (await sw.portStats('evil1')).rxDropped;
  for (const len of [1, 11, 12, 25]) {
    evil.setDesc(TX, 200, { addr: GPA_BASE + BigInt(at), len });
    evil.publish(TX, 200);
  }
  await evil.taken();
  assert.equal(await sw.drops('vhost_rx_runt'), runts + 4);
  assert.equal((await sw.portStats('evil1')).rxDropped, dropped + 4n);
  await disconnect();
});

breaks('row 6: an available index beyond the ring', () => evil.setAvailIdx(TX, 0x4000), [
  'vhost_bad_index',
  'an available index beyond the ring',
]);

/** flags, gso_type, hdr_len, gso_size, csum_start, csum_offset */
const HEADERS: Record<string, number[]> = {
  'segments of size 0': [0, 1, 54, 0, 0, 0, 0, 0, 0, 0],
  'a checksum that starts past the end': [1, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0],
  'hdr_len past the end, with segments': [0, 4, 0xff, 0xff, 0xdc, 5, 0, 0, 0, 0],
};

test('row 7: headers that ask for offloads are dropped', async () => {
  await connect();
  const drops = await sw.drops('vhost_rx_bad_header');
  const before = (await sw.portStats('evil1')).named.get('rx_bad_header_drops')!;
  for (const header of Object.values(HEADERS)) await evil.transmit([testFrame(7)], header);
  assert.equal(await sw.drops('vhost_rx_bad_header'), drops + 3);
  assert.equal((await sw.portStats('evil1')).named.get('rx_bad_header_drops'), before + 3);
  await evil.transmit([testFrame(8)]);
  assert.deepEqual(await sink.received(1), [Buffer.from(testFrame(8))]);
  await disconnect();
});
