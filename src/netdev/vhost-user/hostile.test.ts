import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, test } from 'node:test';
import { VHOST_USER_REQUESTS } from '../../../protocols/vhost-user.ts';
import { FakeConsumer, FakeTimers, FrontEnd, until } from '../../../test/support/vhost-front-end.ts';
import { vlog } from '../../base/vlog.ts';
import { LocalFdStore } from '../../keeper/fd-store.ts';
import { EFD_CLOEXEC, eventfd, eventfdWrite } from '../../sys/eventfd.ts';
import { close, dup, write } from '../../sys/fd.ts';
import { socketpair } from '../../sys/socket.ts';
import { encodeMemTable, encodeReply, encodeRequest } from '../../wire/vhost-user.ts';
import { MESSAGE_TIMEOUT_MS } from './connection.ts';
import { RECONNECT_MS } from './endpoint.ts';
import { createVhostUserProviders } from './providers.ts';
import type { VhostUserNetdev } from './vhost-user-netdev.ts';

/** Rows 8 to 10 and 12 to 15 of the fault table: front ends that break the rules, and the exact outcome. */

vlog.closeConsole();
const dir = mkdtempSync(join(tmpdir(), 'turnout-hostile-'));
after(() => rmSync(dir, { recursive: true }));
const path = join(dir, 'vu');
const countFds = () => readdirSync('/proc/self/fd').length;

let netdev: VhostUserNetdev;
let consumer: FakeConsumer;
let clock: FakeTimers;
let lines: string[];
/** fds open when only the listening socket is. */
let nFdsIdle: number;
const frontEnds: FrontEnd[] = [];

beforeEach(async () => {
  lines = [];
  vlog.setSyslog((line) => lines.push(line));
  clock = new FakeTimers();
  consumer = new FakeConsumer();
  const [provider] = createVhostUserProviders({ fds: new LocalFdStore(), clock });
  netdev = (await provider!.open('vu', new Map(), { sockDir: dir })) as VhostUserNetdev;
  if (netdev.io.kind === 'vhost') netdev.io.attach(consumer);
  await netdev.settled();
  nFdsIdle = countFds();
});

afterEach(async () => {
  for (const fe of frontEnds.splice(0)) fe.close();
  await netdev.close();
});

function connect(): FrontEnd {
  const fe = FrontEnd.connect(path);
  frontEnds.push(fe);
  return fe;
}

const logged = (text: string) => lines.some((line) => line.includes(text));

/** The device has cut `fe` off for `reason`, everything of it is closed, and after a second the next front end works. */
async function assertCutOff(fe: FrontEnd, reason: string): Promise<void> {
  await fe.cutOff();
  await netdev.settled();
  assert.ok(logged(`front end cut off: ${reason}`), `${reason} not in ${JSON.stringify(lines)}`);
  fe.close();
  assert.equal(countFds(), nFdsIdle, 'fds are closed');
  assert.equal(consumer.rings.size, 0);
  assert.equal(netdev.device.guest, undefined);
  clock.warp(RECONNECT_MS);
  const next = connect();
  await next.start();
  assert.equal(consumer.rings.size, 2);
  next.close();
  await until(() => !netdev.linkUp(), 'link down');
  await netdev.settled();
  assert.equal(countFds(), nFdsIdle);
}

test('row 8: a bad ring size is refused where the front end asks for an answer', async () => {
  const fe = connect();
  await fe.start();
  for (const num of [0, 3, 257, 32769, 65536, 0xffffffff]) {
    assert.equal(await fe.acked('SET_VRING_NUM', { index: 2, num }), 1, `size ${num}`);
    assert.ok(logged(`SET_VRING_NUM refused: ring of ${num} entries`));
  }
  assert.equal(await fe.acked('SET_VRING_NUM', { index: 2, num: 32768 }), 0);
  assert.equal(await fe.acked('SET_VRING_NUM', { index: 0, num: 128 }), 1, 'of a running ring');
  assert.equal(consumer.rings.size, 2, 'the rings run on');
});

for (const num of [0, 3, 65536]) {
  test(`row 8: a ring size of ${num} ends the connection otherwise`, async () => {
    const fe = connect();
    fe.tell('SET_VRING_NUM', { index: 0, num });
    await assertCutOff(fe, `SET_VRING_NUM refused: ring of ${num} entries`);
  });
}

test('row 8: a ring index beyond the maximum is refused on every request', async () => {
  const fe = connect();
  await fe.start();
  for (const name of ['SET_VRING_NUM', 'SET_VRING_BASE', 'SET_VRING_ENABLE'] as const) {
    assert.equal(await fe.acked(name, { index: 256, num: 1 }), 1, name);
    assert.equal(await fe.acked(name, { index: 0xffffffff, num: 1 }), 1, name);
  }
  assert.equal(await fe.acked('SET_VRING_ADDR', { ...fe.ringAddr(0), index: 256 }), 1);
  assert.equal(consumer.rings.size, 2);
  fe.tell('GET_VRING_BASE', { index: 256, num: 0 });
  await assertCutOff(fe, 'GET_VRING_BASE refused: vring 256, at most 256');
});

test('row 8: ring addresses outside the memory, or not aligned, are refused', async () => {
  const fe = connect();
  await fe.start();
  const addr = fe.ringAddr(0);
  const end = fe.region.userAddr + fe.region.size;
  const bad = [
    { ...addr, descUserAddr: end - 16n },
    { ...addr, availUserAddr: end - 4n },
    { ...addr, usedUserAddr: 0xffff_ffff_ffff_fff0n },
    { ...addr, descUserAddr: addr.descUserAddr + 8n },
    { ...addr, usedUserAddr: addr.usedUserAddr + 2n },
  ];
  for (const value of bad) assert.equal(await fe.acked('SET_VRING_ADDR', value), 1);
  assert.deepEqual(consumer.log, ['start 0', 'start 1'], 'the rings never stopped');
});

/** Requests with fds that do not belong there: the message, how many fds come, what is said. */
const fdCases: [name: string, message: () => Uint8Array, nFds: number, reason: string][] = [
  ['GET_FEATURES', () => encodeRequest('GET_FEATURES', {}), 1, 'GET_FEATURES: 1 fds instead of 0'],
  ['SET_OWNER', () => encodeRequest('SET_OWNER', {}), 8, 'SET_OWNER: 8 fds instead of 0'],
  ['SET_OWNER', () => encodeRequest('SET_OWNER', {}), 9, 'header: too many fds'],
  ['SET_FEATURES', () => encodeRequest('SET_FEATURES', { value: 0n }), 100, 'header: too many fds'],
  ['SET_VRING_KICK', () => encodeRequest('SET_VRING_KICK', { value: 0n }), 0, 'SET_VRING_KICK: 0 fds instead of 1'],
  ['SET_VRING_KICK', () => encodeRequest('SET_VRING_KICK', { value: 0n }), 2, 'SET_VRING_KICK: 2 fds instead of 1'],
  ['SET_VRING_CALL', () => encodeRequest('SET_VRING_CALL', { value: 256n }), 1, 'SET_VRING_CALL: 1 fds instead of 0'],
  ['SET_VRING_ERR', () => encodeRequest('SET_VRING_ERR', { value: 0n }), 0, 'SET_VRING_ERR: 0 fds instead of 1'],
  ['SET_LOG_FD', () => encodeRequest('SET_LOG_FD', {}), 0, 'SET_LOG_FD: 0 fds instead of 1'],
  ['SET_MEM_TABLE', () => oneRegion(), 0, 'SET_MEM_TABLE: 0 fds instead of 1'],
  ['SET_MEM_TABLE', () => oneRegion(), 2, 'SET_MEM_TABLE: 2 fds instead of 1'],
];

const oneRegion = () => encodeMemTable([{ gpa: 0n, size: 65536n, userAddr: 0n, mmapOffset: 0n }]);

for (const [name, message, nFds, reason] of fdCases) {
  test(`row 9: ${name} with ${nFds} fds ends the connection and all of them are closed`, async () => {
    const fe = connect();
    const fd = eventfd();
    fe.send(
      message(),
      Array.from({ length: nFds }, () => fd),
    );
    await fe.cutOff();
    close(fd);
    await assertCutOff(fe, reason);
  });
}

test('row 9: fds spread over the bytes of one message are all counted and closed', async () => {
  const fe = connect();
  const fd = eventfd();
  const message = encodeRequest('SET_OWNER', {});
  for (const byte of message.subarray(0, 9)) fe.send(Uint8Array.of(byte), [fd]);
  await fe.cutOff();
  close(fd);
  await assertCutOff(fe, 'header: too many fds');
});

test('row 9: what is not an eventfd is no kick fd', async () => {
  const fe = connect();
  const [a, b] = socketpair();
  fe.tell('SET_VRING_KICK', { value: 0n }, [a]);
  await fe.cutOff();
  close(a);
  close(b);
  await assertCutOff(fe, 'SET_VRING_KICK refused: vring 0: kick fd is not an eventfd');
});

test('row 9: the number of fds is flat after a million messages', async () => {
  const fe = connect();
  await fe.start();
  const fd = eventfd();
  const withFd = encodeRequest('SET_VRING_ERR', { value: 3n });
  const withoutFd = encodeRequest('SET_VRING_ERR', { value: 256n + 3n });
  const batch = Buffer.concat(Array.from({ length: 500 }, () => withoutFd));
  const round = async () => {
    fe.send(withFd, [fd]);
    fe.send(batch);
    fe.send(withFd, [fd]);
    await fe.askU64('GET_FEATURES');
  };
  await round();
  const before = countFds();
  for (let sent = 0; sent < 1_000_000; sent += 503) await round();
  assert.equal(countFds(), before);
  close(fd);
});

test('row 10: regions that overflow, overlap or leave their file are refused, and the old ones stay', async () => {
  const fe = connect();
  await fe.start();
  const r = fe.region;
  const bad = [
    [{ ...r, mmapOffset: 0xffff_ffff_ffff_f000n }],
    [{ ...r, gpa: 0xffff_ffff_ffff_f000n }],
    [{ ...r, size: r.size + 1n }],
    [{ ...r, size: 0n }],
    [r, { ...r, gpa: r.gpa + 4096n, userAddr: 0n }],
    [r, { ...r, gpa: 0x1_0000_0000n }],
  ];
  for (const regions of bad) {
    fe.send(
      encodeMemTable(regions, true),
      regions.map(() => fe.memFd),
    );
    assert.equal((await fe.reply()).getBigUint64(0, true), 1n);
  }
  assert.deepEqual(consumer.log, ['start 0', 'start 1'], 'nothing was stopped');
  assert.equal(netdev.device.state.regions.length, 1);
  fe.setMemTable([{ ...r, size: 1n << 40n }]);
  await assertCutOff(fe, 'SET_MEM_TABLE refused: region at guest address 0x10000 ends after its file');
});

for (const [n, reason] of [
  [0, 'SET_MEM_TABLE: 0 regions'],
  [9, 'SET_MEM_TABLE: size 296 above 264'],
] as const) {
  test(`row 10: a table of ${n} regions ends the connection`, async () => {
    const fe = connect();
    const region = { gpa: 0n, size: 65536n, userAddr: 0n, mmapOffset: 0n };
    fe.send(encodeMemTable(Array.from({ length: n }, () => region)));
    await assertCutOff(fe, reason);
  });
}

test('row 10: a table that says 8 and has 1 ends the connection', async () => {
  const fe = connect();
  const message = oneRegion();
  new DataView(message.buffer).setUint32(12, 8, true);
  fe.send(message, [fe.memFd]);
  await assertCutOff(fe, 'SET_MEM_TABLE: size 40 instead of 264');
});

test('row 13: one byte at a time is slow, not wrong', async () => {
  const fe = connect();
  for (const byte of encodeRequest('GET_QUEUE_NUM', {})) {
    fe.send(Uint8Array.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal((await fe.reply()).getBigUint64(0, true), 128n);
  assert.equal(clock.nPending, 0, 'the time limit is lifted');
});

for (const [name, size, reason] of [
  ['SET_FEATURES', 0xffffffff, 'SET_FEATURES: size 4294967295 above 264'],
  ['SET_FEATURES', 7, 'SET_FEATURES: size 7 instead of 8'],
  ['GET_FEATURES', 8, 'GET_FEATURES: size 8 instead of 0'],
  ['SET_MEM_TABLE', 4, 'SET_MEM_TABLE: size 4'],
  ['SET_VRING_ADDR', 8, 'SET_VRING_ADDR: size 8 instead of 40'],
] as const) {
  test(`row 13: a ${name} that says it has ${size} bytes ends the connection`, async () => {
    const fe = connect();
    const message = new DataView(new ArrayBuffer(12 + 8));
    message.setUint32(0, VHOST_USER_REQUESTS[name].id, true);
    message.setUint32(4, 1, true);
    message.setUint32(8, size, true);
    fe.send(new Uint8Array(message.buffer));
    await assertCutOff(fe, reason);
  });
}

test('row 13: silence in mid-message ends the connection after the time limit', async () => {
  const fe = connect();
  fe.send(encodeRequest('SET_FEATURES', { value: 0n }).subarray(0, 15));
  await until(() => clock.nPending === 1, 'the time limit is set');
  clock.warp(MESSAGE_TIMEOUT_MS - 1);
  assert.equal(clock.nPending, 1);
  clock.warp(1);
  await assertCutOff(fe, 'silence in mid-message');
});

test('row 13: the end in mid-message is an end, and its fds are closed', async () => {
  const fe = connect();
  const fd = eventfd();
  fe.send(encodeRequest('SET_VRING_KICK', { value: 0n }).subarray(0, 15), [fd]);
  close(fd);
  fe.close();
  await until(() => logged('cut off: SET_VRING_KICK: closed in mid-message'), 'the end');
  await netdev.settled();
  assert.equal(countFds(), nFdsIdle);
});

test('row 13: wrong versions, answers to nothing and unknown requests', async () => {
  const versioned = (flags: number, id = 1) => {
    const message = encodeReply(id, 'none', {});
    new DataView(message.buffer).setUint32(4, flags, true);
    return message;
  };
  for (const [message, reason] of [
    [versioned(2), 'GET_FEATURES: bad version'],
    [versioned(5), 'GET_FEATURES: a reply that nobody asked for'],
    [versioned(1, 99), 'request 99 refused: not supported'],
    [encodeRequest('SET_FEATURES', { value: 1n }), 'SET_FEATURES refused: features 0x1 were not offered'],
    [encodeRequest('SET_PROTOCOL_FEATURES', { value: 2n }), 'SET_PROTOCOL_FEATURES refused: protocol features 0x2'],
  ] as const) {
    const fe = connect();
    fe.send(message);
    await assertCutOff(fe, reason);
  }
});

test('an answer that is never read ends the connection, it does not fill memory', async () => {
  const fe = connect();
  const ask = Buffer.concat(Array.from({ length: 100 }, () => encodeRequest('GET_FEATURES', {})));
  await until(() => {
    try {
      fe.send(ask);
    } catch {
      // The socket is full for the moment, or cut off.
    }
    return logged('cut off: the peer does not read its answers');
  }, 'the cut');
  await assertCutOff(fe, 'the peer does not read its answers');
});

test('dirty page logging is refused cleanly', async () => {
  const fe = connect();
  await fe.start();
  assert.equal(await fe.acked('SET_LOG_BASE', { mmapSize: 4096n, mmapOffset: 0n }, [fe.memFd]), 1);
  assert.equal(await fe.acked('SET_LOG_FD', {}, [fe.memFd]), 1);
  assert.equal(consumer.rings.size, 2);
});

/** A front end in a process of its own that has started its rings and goes on talking. */
function spawnFrontEnd() {
  const support = new URL('../../../test/support/vhost-front-end.ts', import.meta.url).href;
  const script = `const { FrontEnd } = await import(${JSON.stringify(support)});
    const fe = FrontEnd.connect(process.argv[1]);
    await fe.start();
    console.log('ready');
    for (;;) { fe.giveFd('SET_VRING_CALL', 0); await fe.askU64('GET_FEATURES'); }`;
  return spawn(process.execPath, ['--input-type=module', '-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
}

test('row 14: kill -9 of the front end takes the link down, and the next one is served', async () => {
  for (let i = 0; i < 2; i++) {
    const child = spawnFrontEnd();
    await once(child.stdout!, 'data');
    assert.equal(netdev.linkUp(), true);
    child.kill('SIGKILL');
    await until(() => !netdev.linkUp(), 'link down');
    await netdev.settled();
    assert.equal(consumer.rings.size, 0);
    clock.warp(RECONNECT_MS); // In case the kill fell into the middle of a message.
  }
  const fe = connect();
  await fe.start();
  assert.equal(netdev.linkUp(), true);
});

test('row 15: a call fd that would block does not block, nor do kicks pile up', async () => {
  const fe = connect();
  await fe.start();
  const blocking = eventfd(0, EFD_CLOEXEC);
  const nearlyFull = new Uint8Array(8).fill(0xff);
  nearlyFull[0] = 0xfe;
  write(blocking, nearlyFull);
  fe.giveFd('SET_VRING_CALL', 0, blocking);
  fe.giveFd('SET_VRING_KICK', 0, dup(blocking));
  assert.equal(await fe.acked('SET_STATUS', { value: 0n }), 0);
  assert.equal(eventfdWrite(consumer.rings.get(0)!.callFd), false);
});
