import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { netdevContract } from '../../../test/contract/netdev.ts';
import { FakeConsumer, FakeTimers, FrontEnd, until } from '../../../test/support/vhost-front-end.ts';
import { vlog } from '../../base/vlog.ts';
import { close } from '../../sys/fd.ts';
import { accept4, unixConnect, unixListen } from '../../sys/socket.ts';
import type { Netdev } from '../netdev.ts';
import { RECONNECT_MS } from './endpoint.ts';
import { createVhostUserProviders } from './providers.ts';
import type { VhostUserNetdev } from './vhost-user-netdev.ts';

/** Where front ends come from: the socket that we make, and the socket that we connect to. */

vlog.closeConsole();
const dir = mkdtempSync(join(tmpdir(), 'turnout-endpoint-'));
after(() => rmSync(dir, { recursive: true }));

const open: (Netdev | FrontEnd)[] = [];
afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

const clock = new FakeTimers();
const [server, client] = createVhostUserProviders({ clock });

let nContract = 0;
netdevContract('dpdkvhostuser', (name) =>
  server!.open(name, new Map(), { sockDir: mkdtempSync(join(dir, `c${nContract++}`)) }),
);
netdevContract('dpdkvhostuserclient', (name) => client!.open(name, new Map(), { sockDir: dir }));

async function openPort(provider: typeof server, name: string, options: Record<string, string> = {}) {
  const netdev = (await provider!.open(name, new Map(Object.entries(options)), { sockDir: dir })) as VhostUserNetdev;
  open.push(netdev);
  const consumer = new FakeConsumer();
  if (netdev.io.kind === 'vhost') netdev.io.attach(consumer);
  return { netdev, consumer };
}

function frontEnd(fd: number): FrontEnd {
  const fe = new FrontEnd(fd);
  open.push(fe);
  return fe;
}

test('dpdkvhostuser: the socket is made, and unlinked at close', async () => {
  const { netdev } = await openPort(server, 'vhost-user-1');
  assert.equal(existsSync(join(dir, 'vhost-user-1')), true);
  await netdev.close();
  assert.equal(existsSync(join(dir, 'vhost-user-1')), false);
});

test('dpdkvhostuser: a dead socket is replaced, a live one and a file are not', async () => {
  const path = join(dir, 'stale');
  close(unixListen(path));
  const { netdev } = await openPort(server, 'stale');
  const fe = frontEnd(unixConnect(path));
  await fe.start();
  assert.equal(netdev.linkUp(), true);
  const refused = {
    name: 'NetdevError',
    message: /could not open network device stale \(bind .*Address already in use/,
  };
  const [other] = createVhostUserProviders({ clock });
  await assert.rejects(async () => other!.open('stale', new Map(), { sockDir: dir }), refused);
  const twice = { name: 'NetdevError', message: 'could not open network device stale (File exists)' };
  await assert.rejects(async () => server!.open('stale', new Map(), { sockDir: dir }), twice);
  assert.equal(netdev.linkUp(), true, 'the first is not harmed');
  writeFileSync(join(dir, 'file'), '');
  await assert.rejects(async () => server!.open('file', new Map(), { sockDir: dir }), /Address already in use/);
});

test('dpdkvhostuser: bad names, long paths and missing folders are refused by name', async () => {
  const openIn = async (sockDir: string, name: string) => server!.open(name, new Map(), { sockDir });
  await assert.rejects(openIn(dir, 'a/b'), {
    name: 'NetdevError',
    message: /network device a\/b \(Invalid argument\)/,
  });
  await assert.rejects(openIn(`/${'d'.repeat(104)}`, 'abc'), {
    name: 'NetdevError',
    message: /109 bytes, more than 107/,
  });
  await assert.rejects(openIn(join(dir, 'none'), 'p'), { name: 'NetdevError', message: /No such file or directory/ });
});

test('dpdkvhostuser: a second front end waits until the first has gone', async () => {
  const { netdev, consumer } = await openPort(server, 'two');
  const first = frontEnd(unixConnect(join(dir, 'two')));
  await first.start();
  const second = frontEnd(unixConnect(join(dir, 'two')));
  const started = second.start();
  assert.equal(await first.acked('SET_STATUS', { value: 1n }), 0);
  first.close();
  await started;
  assert.equal(netdev.linkUp(), true);
  assert.deepEqual(consumer.log.slice(0, 4), ['start 0', 'start 1', 'stop 0', 'stop 1']);
});

/** The connection that the port makes to our listening socket. */
async function accepted(listener: number): Promise<FrontEnd> {
  let fd = -1;
  await until(() => {
    fd = accept4(listener);
    return fd >= 0;
  }, 'a connection');
  return frontEnd(fd);
}

test('dpdkvhostuserclient: connects when the server comes, and again after each end', async () => {
  const path = join(dir, 'client');
  const { netdev, consumer } = await openPort(client, 'vc', { 'vhost-server-path': path });
  assert.deepEqual(Object.fromEntries(netdev.status()), { mode: 'client', status: 'disconnected' });
  clock.warp(RECONNECT_MS);
  let listener = unixListen(path);
  clock.warp(RECONNECT_MS - 1);
  assert.equal(accept4(listener), -1, 'not before a second has passed');
  clock.warp(1);
  const fe = await accepted(listener);
  await fe.start();
  assert.equal(netdev.status().get('status'), 'connected');
  close(listener);
  rmSync(path);
  fe.close();
  await until(() => !netdev.linkUp(), 'link down');
  await netdev.settled();
  listener = unixListen(path);
  clock.warp(RECONNECT_MS);
  const again = await accepted(listener);
  await again.start();
  assert.equal(consumer.rings.size, 2);
  close(listener);
});

test('dpdkvhostuserclient: without a path it waits for the option; another path moves it', async () => {
  const { netdev } = await openPort(client, 'later');
  const listeners = ['x', 'y'].map((name) => unixListen(join(dir, name)));
  assert.equal(netdev.setOptions(new Map([['vhost-server-path', join(dir, 'x')]])), undefined);
  const x = await accepted(listeners[0]!);
  await x.start();
  assert.equal(netdev.status().get('socket'), join(dir, 'x'));
  assert.equal(netdev.setOptions(new Map([['vhost-server-path', join(dir, 'y')]])), undefined);
  await x.cutOff();
  const y = await accepted(listeners[1]!);
  await y.start();
  assert.equal(netdev.status().get('socket'), join(dir, 'y'));
  assert.match(netdev.setOptions(new Map([['vhost-server-path', 'z'.repeat(108)]]))!, /108 bytes, more than 107/);
  for (const fd of listeners) close(fd);
});

test('options and bounds', async () => {
  const { netdev } = await openPort(client, 'opts', { 'tx-retries-max': '32' });
  assert.equal(netdev.txRetriesMax, 32);
  netdev.setOptions(new Map([['tx-retries-max', '33']]));
  assert.equal(netdev.txRetriesMax, 8);
  assert.equal(netdev.setMtu(1900), undefined);
  assert.equal(netdev.mtu(), 1900);
  assert.match(netdev.setMtu(67)!, /67/);
  assert.equal(netdev.setMtu(9000), undefined);
  assert.match(netdev.setMtu(9711)!, /MTU 9711 is not in the range 68 to 9710/);
  assert.equal(netdev.mac()[0]! & 3, 2, 'a local, unicast address');
});
