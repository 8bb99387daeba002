/** Virtual machines with a real kernel driver as vhost-user clients, on a bridge that learns. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Testpmd } from '../../bench/peers/testpmd.ts';
import { requirePeer } from '../support/require.ts';
import { defer } from './support/cleanup.ts';
import { Vm } from './support/qemu.ts';
import { SWITCH_PEERS, Switch } from './support/switch.ts';
import { macOf, makeServerBridge, portName, socketOf } from './support/vhost-bridge.ts';

const ONE = { name: 'vm1', mac: '52:54:00:00:00:01', address: '10.0.0.1/24' };
const TWO = { name: 'vm2', mac: '52:54:00:00:00:02', address: '10.0.0.2/24' };

test('two virtual machines ping each other through a bridge that learns', async (t) => {
  if (!requirePeer(t, ...SWITCH_PEERS, 'qemu')) return;
  const sw = await Switch.start(t);
  await sw.initDpdk();
  await makeServerBridge(sw);
  const [one, two] = await Promise.all([
    Vm.start(t, { ...ONE, path: socketOf(sw, 1) }),
    Vm.start(t, { ...TWO, path: socketOf(sw, 2) }),
  ]);
  for (const port of [1, 2] as const) await sw.waitForLink(portName(port), 'up');
  await one.waitForEcho('10.0.0.2');
  await one.assertPing('10.0.0.2', 10);
  await two.assertPing('10.0.0.1', 10);
  await one.assertPing('10.0.0.2', 3, 1472);
  const fdb = await sw.sh('ovs-appctl fdb/show ovs-br0');
  assert.match(fdb, /^\s+1\s+0\s+52:54:00:00:00:01\s+\d+$/m);
  assert.match(fdb, /^\s+2\s+0\s+52:54:00:00:00:02\s+\d+$/m);
});

test('a virtual machine pings a DPDK application', async (t) => {
  if (!requirePeer(t, ...SWITCH_PEERS, 'dpdk-testpmd', 'qemu')) return;
  const sw = await Switch.start(t);
  await sw.initDpdk();
  await makeServerBridge(sw);
  const port = { path: socketOf(sw, 2), mac: macOf(2) };
  const echo = await Testpmd.start('icmpecho', { ports: [port], core: 1, forwardMode: 'icmpecho' });
  defer(t, () => echo.kill());
  await echo.go();
  const vm = await Vm.start(t, { ...ONE, path: socketOf(sw, 1) });
  await sw.waitForLink('vhost-user1', 'up');
  await vm.waitForEcho('10.0.0.2');
  await vm.assertPing('10.0.0.2', 10);
});
