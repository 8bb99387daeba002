import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { PacketNetdev } from '../../../src/netdev/packet.ts';
import { netdevContract } from '../../contract/netdev.ts';
import { until } from '../../support/vhost-front-end.ts';

/** Run by kernel-ports.test.ts in a network namespace of its own. */

function ip(...args: string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

ip('link', 'add', 'ct0', 'type', 'veth', 'peer', 'name', 'ct1');

netdevContract('system', (name) => new PacketNetdev(name));

test('its states are those of the host, whoever changes them', async () => {
  const netdev = new PacketNetdev('ct0');
  let told = 0;
  netdev.onChange(() => told++);
  try {
    assert.equal(netdev.adminUp(), false);
    assert.equal(netdev.linkUp(), false);
    netdev.setAdminUp(true);
    assert.equal(netdev.adminUp(), true);
    assert.equal(netdev.linkUp(), false, 'its other end is down');
    ip('link', 'set', 'ct1', 'up');
    await until(() => netdev.linkUp(), 'the link is up');
    assert.ok(told > 0);
    assert.ok(netdev.carrierResets() > 0);
    ip('link', 'set', 'ct0', 'mtu', '1300');
    await until(() => netdev.mtu() === 1300, 'the new MTU is seen');
    ip('link', 'set', 'ct0', 'address', '02:00:00:00:00:77');
    await until(() => netdev.mac()[5] === 0x77, 'the new address is seen');
    assert.equal(netdev.status().get('driver_name'), 'veth');
    assert.ok(netdev.ifindex() > 0);
    assert.equal(netdev.isGone(), false);
    ip('link', 'delete', 'ct0');
    await until(() => netdev.isGone(), 'the device is seen to be gone');
    assert.equal(netdev.linkUp(), false);
    ip('link', 'add', 'ct0', 'type', 'veth', 'peer', 'name', 'ct1');
    assert.equal(netdev.isGone(), true, 'another of its name is another');
  } finally {
    await netdev.close();
  }
});
