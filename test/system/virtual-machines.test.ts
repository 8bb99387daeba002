/** Virtual machines with a real kernel driver as vhost-user clients, on a bridge that learns. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../bench/peers/process.ts';
import { Testpmd } from '../../bench/peers/testpmd.ts';
import { requirePeer } from '../support/require.ts';
import { defer } from './support/cleanup.ts';
import { Vm } from './support/qemu.ts';
import { SWITCH_PEERS, Switch } from './support/switch.ts';
import { dumpPorts, macOf, makeServerBridge, portName, socketOf } from './support/vhost-bridge.ts';

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

/** Sends a file from one to the other; both checksums must be the same. Bytes a frame that the receiver's port sent, at the mean. */
async function transfer(sw: Switch, from: Vm, to: Vm, address: string, port: 2 | 3): Promise<number> {
  await from.sh('[ -e /dev/null ] || mknod /dev/null c 1 3; seq 1 400000 > /big');
  const before = (await dumpPorts(sw))[port];
  await to.sh('[ -e /dev/null ] || mknod /dev/null c 1 3; nc -l -p 5000 -e /bin/md5sum &');
  await eventually(
    'the other machine listens',
    async () => (await to.sh('netstat -ltn')).includes(':5000') || undefined,
  );
  const sum = (text: string) => /[0-9a-f]{32}/.exec(text)?.[0];
  const got = sum(await from.sh(`nc ${address} 5000 < /big`));
  const want = sum(await from.sh('md5sum /big'));
  assert.ok(want);
  assert.equal(got, want);
  const after = (await dumpPorts(sw))[port];
  return (after.txBytes - before.txBytes) / (after.txPackets - before.txPackets);
}

test('with userspace-tso-enable whole TCP segments go from machine to machine, and are cut for one that cannot take them', async (t) => {
  if (!requirePeer(t, ...SWITCH_PEERS, 'qemu')) return;
  const sw = await Switch.start(t);
  await sw.sh('ovs-vsctl --no-wait set Open_vSwitch . other_config:userspace-tso-enable=true');
  await sw.ovsCtl('restart');
  await sw.initDpdk();
  await makeServerBridge(sw);
  const plain = 'guest_tso4=off,guest_csum=off';
  const [one, two, three] = await Promise.all([
    Vm.start(t, { ...ONE, path: socketOf(sw, 1) }),
    Vm.start(t, { ...TWO, path: socketOf(sw, 2) }),
    Vm.start(t, {
      name: 'vm3',
      mac: '52:54:00:00:00:03',
      address: '10.0.0.3/24',
      path: socketOf(sw, 3),
      device: plain,
    }),
  ]);
  for (const port of [1, 2, 3] as const) await sw.waitForLink(portName(port), 'up');
  await one.waitForEcho('10.0.0.2');
  assert.ok((await transfer(sw, one, two, '10.0.0.2', 2)) > 2000);
  await one.waitForEcho('10.0.0.3');
  const mean = await transfer(sw, one, three, '10.0.0.3', 3);
  assert.ok(mean > 500 && mean <= 1514, `${mean} bytes a frame`);
});
