import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { collect, TellingFdStore } from '../../../test/support/fd-keeper.ts';
import { FakeConsumer, FrontEnd, ringOffsets, until } from '../../../test/support/vhost-front-end.ts';
import { vlog } from '../../base/vlog.ts';
import { eventfdDrain } from '../../sys/eventfd.ts';
import { close } from '../../sys/fd.ts';
import { accept4, unixConnect, unixListen } from '../../sys/socket.ts';
import { decodeDeviceState, encodeDeviceState } from './device-state.ts';
import { createVhostUserProviders } from './providers.ts';
import type { VhostUserNetdev } from './vhost-user-netdev.ts';

/**
 * kill -9 of the process that serves a port, and another that goes on with its fds and state while the front end notices nothing. The
 * process of this test is the front end, the keeper and the successor; the same file, forked, is the predecessor.
 */

vlog.closeConsole();

/** The predecessor: a port in `dir` whose fds go to the keeper and whose state to the parent. */
async function predecessor(dir: string): Promise<void> {
  const fds = new TellingFdStore(unixConnect(join(dir, 'keeper'), { blocking: true }));
  const [provider] = createVhostUserProviders({
    fds,
    saveState: (_name, state) => process.send!(encodeDeviceState(state)),
  });
  const netdev = await provider!.open('vu', new Map(), { sockDir: dir });
  if (netdev.io.kind === 'vhost') netdev.io.attach(new FakeConsumer());
  process.send!('open');
}

const forkedDir = process.env.TURNOUT_TEST_PREDECESSOR;
if (forkedDir !== undefined) void predecessor(forkedDir);
else test('a successor goes on with the port of a process that was killed', handOver);

async function handOver(t: TestContext): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'turnout-hand-over-'));
  const listener = unixListen(join(dir, 'keeper'));
  const env = { ...process.env, TURNOUT_TEST_PREDECESSOR: dir };
  const child = fork(fileURLToPath(import.meta.url), { env, execArgv: [] });
  t.after(() => child.kill('SIGKILL'));
  let last = '';
  let opened = false;
  child.on('message', (text: string) => {
    if (text === 'open') opened = true;
    else last = text;
  });
  await until(() => opened, 'the predecessor');
  const keeper = accept4(listener);
  const fe = FrontEnd.connect(join(dir, 'vu'));
  await fe.start();
  fe.view.setUint16(ringOffsets(1).used + 2, 1234, true);
  await until(() => last !== '' && decodeDeviceState(last).rings[1]?.enabled === true, 'the last state');

  child.kill('SIGKILL');
  await once(child, 'exit');
  const fds = collect(keeper);
  assert.deepEqual(fds.keys().sort(), KEYS);

  const [provider] = createVhostUserProviders({ fds, loadState: () => decodeDeviceState(last) });
  const netdev = (await provider!.open('vu', new Map(), { sockDir: dir })) as VhostUserNetdev;
  t.after(() => netdev.close());
  const consumer = new FakeConsumer();
  if (netdev.io.kind === 'vhost') netdev.io.attach(consumer);
  await netdev.settled();
  assert.equal(netdev.linkUp(), true);
  assert.deepEqual([...consumer.rings.keys()], [0, 1]);
  assert.equal(consumer.rings.get(1)!.lastAvail, 1234, 'a ring goes on at its used index');
  for (const index of [0, 1])
    assert.equal(
      eventfdDrain(fe.eventFds.get(`SET_VRING_CALL/${index}`)!),
      1,
      'an interrupt that the predecessor owed',
    );
  assert.equal(await fe.acked('SET_STATUS', { value: 15n }), 0, 'the connection lives on');

  fe.close();
  await until(() => !netdev.linkUp(), 'link down');
  const next = FrontEnd.connect(join(dir, 'vu'));
  await next.start();
  assert.equal(netdev.linkUp(), true, 'the listening socket lives on too');
  next.close();
  await netdev.close();
  assert.deepEqual(fds.keys(), []);
  for (const fd of [keeper, listener]) close(fd);
  rmSync(dir, { recursive: true });
}

const KEYS = ['call/0', 'call/1', 'conn', 'kick/0', 'kick/1', 'listen', 'mem/0'].map((key) => `vhost/vu/${key}`);
