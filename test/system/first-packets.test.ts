/**
 * The first experiment, as its users type it: a bridge with four vhost-user ports, one dpdk-testpmd that generates on ports 1 and 2,
 * another that forwards between 3 and 4, and every counter anywhere agrees.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requirePeer } from '../support/require.ts';
import { startApplication, startApplications } from './support/applications.ts';
import { SWITCH_PEERS, Switch } from './support/switch.ts';
import {
  addPairFlows,
  assertCountersAgree,
  drain,
  letTrafficRun,
  makeClientBridge,
  makeServerBridge,
  PORTS,
  portName,
} from './support/vhost-bridge.ts';

test('ovs-ctl starts the daemons, knows that they run, and stops them', async (t) => {
  if (!requirePeer(t, ...SWITCH_PEERS)) return;
  const sw = await Switch.start(t);
  assert.match(await sw.ovsCtl('status'), /ovsdb-server is running with pid \d+\novs-vswitchd is running with pid \d+/);
  assert.match(
    await sw.ovsCtl('start', '--system-id=random'),
    /ovsdb-server is already running[\s\S]*ovs-vswitchd is already running/,
  );
  assert.match(await sw.ovsCtl('version'), /ovsdb-server \(.*\) [\d.]+\n(.+\n)*ovs-vswitchd \(.*\) [\d.]+/);
  await sw.ovsCtl('stop');
  assert.equal((await sw.try('/usr/share/openvswitch/scripts/ovs-ctl status')).status, 1);
});

test('a DPDK device that is absent has its error and harms no other port', async (t) => {
  if (!requirePeer(t, ...SWITCH_PEERS)) return;
  const sw = await Switch.start(t);
  await sw.initDpdk();
  await sw.sh('ovs-vsctl add-br ovs-br0 -- set bridge ovs-br0 datapath_type=netdev');
  const added = await sw.try(
    'ovs-vsctl add-port ovs-br0 dpdkprot01 -- set Interface dpdkprot01 type=dpdk options:dpdk-devargs=0000:ff:00.0',
  );
  assert.equal(added.status, 0);
  assert.match(
    added.stderr,
    /Error detected while setting up 'dpdkprot01': Error attaching device '0000:ff:00.0' to DPDK/,
  );
  for (const port of PORTS)
    await sw.sh(`ovs-vsctl add-port ovs-br0 vhost-user${port} -- set Interface vhost-user${port} type=dpdkvhostuser`);
  assert.equal(await sw.interfaceColumn('dpdkprot01', 'ofport'), '-1');
  assert.match(await sw.interfaceColumn('dpdkprot01', 'error'), /Error attaching device '0000:ff:00.0' to DPDK/);
  for (const port of PORTS) {
    assert.equal(await sw.interfaceColumn(portName(port), 'ofport'), String(port));
    assert.equal(await sw.interfaceColumn(portName(port), 'error'), '[]');
    assert.equal(await sw.interfaceColumn(portName(port), 'link_state'), 'down');
  }
  assert.equal((await sw.sh('ovs-vsctl get Open_vSwitch . dpdk_initialized')).trim(), 'true');
  assert.match(await sw.sh('ovs-vsctl get Open_vSwitch . iface_types'), /dpdkvhostuser, dpdkvhostuserclient/);
});

test('packets go 1→4→3→2 between two testpmds, and every counter agrees', async (t) => {
  if (!requirePeer(t, ...SWITCH_PEERS, 'dpdk-testpmd', 'netns')) return;
  const sw = await Switch.start(t);
  await sw.initDpdk();
  await makeServerBridge(sw);
  await addPairFlows(sw);
  const apps = await startApplications(t, sw);
  for (const port of PORTS) await sw.waitForLink(portName(port), 'up');
  await letTrafficRun(apps, 100_000);
  await drain(sw, apps);
  await assertCountersAgree(sw, apps);
});

test('the same with dpdkvhostuserclient ports and testpmd as the server', async (t) => {
  if (!requirePeer(t, ...SWITCH_PEERS, 'dpdk-testpmd', 'netns')) return;
  const sw = await Switch.start(t);
  await sw.initDpdk();
  await makeClientBridge(sw);
  await addPairFlows(sw);
  const apps = await startApplications(t, sw, { server: true });
  for (const port of PORTS) await sw.waitForLink(portName(port), 'up');
  await letTrafficRun(apps, 100_000);
  await drain(sw, apps);
  await assertCountersAgree(sw, apps);
});

test('a testpmd killed by -9 in mid-burst takes its links down, and a new one takes over', async (t) => {
  if (!requirePeer(t, ...SWITCH_PEERS, 'dpdk-testpmd', 'netns')) return;
  const sw = await Switch.start(t);
  await sw.initDpdk();
  await makeServerBridge(sw);
  await addPairFlows(sw);
  const { generator, forwarder } = await startApplications(t, sw);
  await letTrafficRun({ generator, forwarder }, 20_000);
  await forwarder.kill();
  for (const port of [3, 4] as const) await sw.waitForLink(portName(port), 'down');
  for (const port of [1, 2] as const) await sw.waitForLink(portName(port), 'up');
  await generator.halt();
  const successor = await startApplication(t, sw, 'forwarder');
  for (const port of PORTS) await sw.waitForLink(portName(port), 'up');
  await letTrafficRun({ generator, forwarder: successor }, 20_000);
  assert.ok(sw.pid('ovs-vswitchd'));
});

for (const realHalf of ['ovsdb-server', 'ovs-vswitchd'] as const) {
  test(`the other daemon works with the real ${realHalf}`, async (t) => {
    if (!requirePeer(t, ...SWITCH_PEERS, 'ovs-dpdk', 'dpdk-testpmd', 'netns')) return;
    const sw = await Switch.start(t, { [realHalf]: 'ovs' });
    await sw.initDpdk();
    await makeClientBridge(sw);
    await addPairFlows(sw);
    const apps = await startApplications(t, sw, { server: true });
    await letTrafficRun(apps, 10_000);
    await drain(sw, apps);
    await assertCountersAgree(sw, apps);
  });
}
