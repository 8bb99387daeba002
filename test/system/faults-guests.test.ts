import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { eventually } from '../../bench/peers/process.ts';
import { VHOST_USER_REQUESTS, type VhostUserRequestName } from '../../protocols/vhost-user.ts';
import { DemoProcess } from '../../src/cli/demo-process.ts';
import { EFD_CLOEXEC, eventfd, eventfdDrain, eventfdWrite } from '../../src/sys/eventfd.ts';
import { close, setNonblocking, write } from '../../src/sys/fd.ts';
import { socketpair } from '../../src/sys/socket.ts';
import { encodeMemTable, encodeRequest } from '../../src/wire/vhost-user.ts';
import { until } from '../support/vhost-front-end.ts';
import { FaultSwitch } from './support/fault-switch.ts';
import { HostileGuest, RING_SIZE, RX, TX, testFrame } from './support/hostile-guest.ts';

/** Rows 8 to 10 and 12 to 15 of the fault table: front ends that break the protocol of a running switch, beside ports under traffic. */

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

const disconnects = async (name: 'vhost_disconnects' | 'vhost_errors') =>
  (await sw.portStats('evil1')).named.get(name) ?? 0;

/** Has a new front end do what `misbehave` does: it is cut off, counted, and the log says why. Nobody else notices. */
async function assertCutOff(misbehave: (guest: HostileGuest) => void, reason: string): Promise<void> {
  sw.markLog();
  const errors = await disconnects('vhost_errors');
  evil = new HostileGuest(sw.socket('evil1'));
  misbehave(evil);
  await evil.cutOff();
  await sw.logged(`front end cut off: ${reason}`);
  evil.close();
  assert.equal(await disconnects('vhost_errors'), errors + 1);
  await nextMayCome();
}

/** After one that misbehaved the port takes a rest of a second: this makes it pass. */
async function nextMayCome(): Promise<void> {
  assert.equal(await sw.appctl('time/warp', '1000'), 'warped\n');
}

async function connect(): Promise<void> {
  sw.markLog();
  evil = await HostileGuest.up(sw.socket('evil1'));
  sink = await HostileGuest.up(sw.socket('sink1'));
}

async function disconnect(): Promise<void> {
  evil.close();
  sink.close();
  await sw.unharmed();
}

/** Frames go from evil1 to sink1, all of them. */
async function assertForwards(n = 40): Promise<void> {
  const frames = Array.from({ length: n }, (_, i) => testFrame(i));
  await evil.transmit(frames);
  assert.deepEqual(await sink.received(n), frames.map(Buffer.from));
}

test('row 8: bad ring sizes and indices are refused, and the rings run on', async () => {
  await connect();
  for (const num of [0, 3, 32769, 0xffffffff]) {
    assert.equal(await evil.acked('SET_VRING_NUM', { index: 2, num }), 1);
    await sw.logged(`SET_VRING_NUM refused: ring of ${num} entries`);
  }
  for (const index of [256, 0xffffffff]) {
    assert.equal(await evil.acked('SET_VRING_NUM', { index, num: 256 }), 1);
    assert.equal(await evil.acked('SET_VRING_BASE', { index, num: 0 }), 1);
    assert.equal(await evil.acked('SET_VRING_ADDR', { ...evil.ringAddr(0), index }), 1);
    assert.equal(await evil.acked('SET_VRING_ENABLE', { index, num: 1 }), 1);
  }
  await assertForwards();
  await disconnect();
});

test('row 8: where no answer is asked for, they end the connection', async () => {
  for (const num of [0, 257, 65536])
    await assertCutOff(
      (g) => g.tell('SET_VRING_NUM', { index: 0, num }),
      `SET_VRING_NUM refused: ring of ${num} entries`,
    );
  await assertCutOff(
    (g) => g.tell('GET_VRING_BASE', { index: 256, num: 0 }),
    'GET_VRING_BASE refused: vring 256, at most 256',
  );
  await sw.unharmed();
});

test('row 9: too many or missing fds end the connection, and none of them stays', async () => {
  const fd = eventfd();
  const fds = (n: number) => Array.from({ length: n }, () => fd);
  const value = { value: 0n };
  const cases: [message: Uint8Array, nFds: number, reason: string][] = [
    [encodeRequest('GET_FEATURES', {}), 1, 'GET_FEATURES: 1 fds instead of 0'],
    [encodeRequest('SET_OWNER', {}), 100, 'header: too many fds'],
    [encodeRequest('SET_VRING_KICK', value), 0, 'SET_VRING_KICK: 0 fds instead of 1'],
    [encodeRequest('SET_VRING_CALL', value), 3, 'SET_VRING_CALL: 3 fds instead of 1'],
    [encodeMemTable([{ gpa: 0n, size: 65536n, userAddr: 0n, mmapOffset: 0n }]), 2, 'SET_MEM_TABLE: 2 fds instead of 1'],
  ];
  for (const [message, n, reason] of cases) await assertCutOff((g) => g.send(message, fds(n)), reason);
  const [a, b] = socketpair();
  await assertCutOff((g) => g.tell('SET_VRING_KICK', value, [a]), 'SET_VRING_KICK refused: vring 0: kick fd is not an');
  for (const each of [fd, a, b]) close(each);
  await sw.unharmed();
});

test('row 9: the number of fds is flat over a flood of messages that bring some', async () => {
  await connect();
  const nFds = sw.fds().length;
  const fd = eventfd();
  for (let round = 0; round < 40; round++) {
    for (const name of ['SET_VRING_ERR', 'SET_VRING_CALL'] as const)
      for (let i = 0; i < 10; i++) evil.tell(name, { value: BigInt(RX) }, [fd]);
    await evil.askU64('GET_FEATURES');
  }
  close(fd);
  // The last SET_VRING_ERR brought the one fd that was not there before.
  assert.ok(sw.fds().length <= nFds + 1, `${nFds} fds became ${sw.fds().length}`);
  await assertForwards();
  await disconnect();
});

test('row 10: memory tables that overflow, overlap or leave their file are refused, the old one stays', async () => {
  await connect();
  const r = evil.region;
  const tables = [
    [{ ...r, mmapOffset: 0xffff_ffff_ffff_f000n }],
    [{ ...r, gpa: 0xffff_ffff_ffff_f000n }],
    [{ ...r, size: r.size + 1n }],
    [{ ...r, size: 0n }],
    [r, { ...r, gpa: r.gpa + 4096n, userAddr: 0n }],
    [r, { ...r, gpa: 0x1_0000_0000n }],
  ];
  for (const regions of tables) {
    evil.send(
      encodeMemTable(regions, true),
      regions.map(() => evil.memFd),
    );
    assert.equal((await evil.reply()).getBigUint64(0, true), 1n);
    await sw.logged('SET_MEM_TABLE refused: region');
    sw.markLog();
  }
  await assertForwards();
  await disconnect();
});

test('row 10: a table of no or of more than 8 regions ends the connection', async () => {
  const region = { gpa: 0n, size: 65536n, userAddr: 0n, mmapOffset: 0n };
  const table = (n: number) => encodeMemTable(Array.from({ length: n }, () => region));
  await assertCutOff((g) => g.send(table(0)), 'SET_MEM_TABLE: 0 regions');
  await assertCutOff((g) => g.send(table(9)), 'SET_MEM_TABLE: size 296 above 264');
  await sw.unharmed();
});

test('row 12: new memory tables during traffic cost no packet', async () => {
  await connect();
  const { region: whole, memFd } = evil;
  const half = whole.size / 2n;
  const halves = [
    { ...whole, size: half },
    { gpa: whole.gpa + half, userAddr: whole.userAddr + half, size: half, mmapOffset: half },
  ];
  for (let round = 0; round < 40; round++) {
    const frames = Array.from({ length: 64 }, (_, i) => testFrame(round + i));
    evil.queue(frames);
    if (round % 2 === 0) evil.setMemTable(halves, [memFd, memFd]);
    else evil.setMemTable([whole], [memFd]);
    await evil.taken();
    assert.deepEqual(await sink.received(64), frames.map(Buffer.from));
  }
  await disconnect();
});

test('row 12: leaving in the middle of a burst, again and again', async () => {
  for (let round = 0; round < 8; round++) {
    await connect();
    evil.queue(Array.from({ length: RING_SIZE }, (_, i) => testFrame(i)));
    if (round % 3 === 0) evil.tell('GET_VRING_BASE', { index: TX, num: 0 });
    if (round % 3 === 1) sink.close();
    evil.close();
    sink.close();
  }
  await sw.linkState('evil1', 'down');
  await sw.unharmed();
});

/** A header of request `name` that says it is followed by `size` bytes, and 8 bytes. */
function lying(name: VhostUserRequestName, size: number): Uint8Array {
  const message = new DataView(new ArrayBuffer(12 + 8));
  message.setUint32(0, VHOST_USER_REQUESTS[name].id, true);
  message.setUint32(4, 1, true);
  message.setUint32(8, size, true);
  return new Uint8Array(message.buffer);
}

test('row 13: one byte at a time is slow, not wrong', async () => {
  await connect();
  for (const byte of encodeRequest('GET_QUEUE_NUM', {})) {
    evil.send(Uint8Array.of(byte));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.equal((await evil.reply()).getBigUint64(0, true), 128n);
  await assertForwards();
  await disconnect();
});

test('row 13: a header that lies about its length ends the connection', async () => {
  await assertCutOff((g) => g.send(lying('SET_FEATURES', 0xffffffff)), 'SET_FEATURES: size 4294967295 above 264');
  await assertCutOff((g) => g.send(lying('SET_FEATURES', 7)), 'SET_FEATURES: size 7 instead of 8');
  await assertCutOff((g) => g.send(lying('GET_FEATURES', 8)), 'GET_FEATURES: size 8 instead of 0');
  await assertCutOff((g) => g.send(lying('SET_MEM_TABLE', 4)), 'SET_MEM_TABLE: size 4');
  await sw.unharmed();
});

test('row 13: silence in mid-message ends the connection', async () => {
  sw.markLog();
  evil = new HostileGuest(sw.socket('evil1'));
  const nBytes = 15;
  evil.send(encodeRequest('SET_FEATURES', { value: 0n }).subarray(0, nBytes));
  await until(() => sw.log.includes('new front end'), 'the switch serves it');
  await evil.cutOff();
  await sw.logged('front end cut off: silence in mid-message');
  evil.close();
  await nextMayCome();
  await sw.unharmed();
});

test('row 14: kill -9 of a front end in mid-burst, and it comes back', async () => {
  for (let round = 0; round < 3; round++) {
    const received = (await sw.portStats('sink1')).txPackets;
    const ports = ['--port', sw.socket('evil1'), '--port', sw.socket('sink1')];
    const pktgen = new DemoProcess('pktgen', ['pktgen', ...ports, '--rate', '1', '--window', '256']);
    try {
      await traffic(received + 1000n);
    } finally {
      pktgen.child.kill('SIGKILL');
      await pktgen.ended;
    }
    await sw.linkState('evil1', 'down');
    await sw.linkState('sink1', 'down');
    await sw.good.flows();
  }
  await sw.unharmed();
});

/** Resolves when `n` packets have been sent to sink1's guest. */
async function traffic(n: bigint): Promise<void> {
  await eventually('pktgen gets packets through', async () => {
    const { txPackets } = await sw.portStats('sink1');
    return txPackets >= n || undefined;
  });
}

test('row 15: a flood of kicks blocks nothing', async () => {
  await connect();
  for (let i = 0; i < 200_000; i++) eventfdWrite(evil.kickFds[TX]!);
  write(evil.kickFds[TX]!, FULL);
  await assertForwards();
  await sw.good.flows();
  await disconnect();
});

/** An eventfd's counter that no more can be added to. */
const FULL = new Uint8Array(8).fill(0xff);
FULL[0] = 0xfe;

test('row 15: a guest without a call fd is served', async () => {
  await connect();
  for (const guest of [evil, sink]) {
    for (const index of [RX, TX]) guest.tell('SET_VRING_CALL', { value: 0x100n + BigInt(index) });
    await guest.askU64('GET_FEATURES');
  }
  await assertForwards();
  await disconnect();
});

test('row 15: eventfds that would block do not block', async () => {
  await connect();
  const fds: number[] = [];
  for (const index of [RX, TX]) {
    const callFd = eventfd(0, EFD_CLOEXEC);
    write(callFd, FULL);
    evil.giveFd('SET_VRING_CALL', index, callFd);
    fds.push(callFd, evil.kickFds[index]!);
  }
  await evil.askU64('GET_FEATURES');
  // The switch has made them non-blocking, but the guest shares the open files and has the last word.
  for (const fd of fds) setNonblocking(fd, false);
  await assertForwards();
  await sw.good.flows();
  await disconnect();
});

test('row 15: a kick that is taken back before the switch looks blocks nothing', async () => {
  await connect();
  const kickFd = evil.kickFds[TX]!;
  setNonblocking(kickFd, false);
  for (let i = 0; i < 20_000; i++) {
    eventfdWrite(kickFd);
    eventfdDrain(kickFd);
  }
  await assertForwards();
  await sw.good.flows();
  await disconnect();
});
