import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { afxdpProvider, parseXdpOptions, type XdpMode, XdpNetdev } from '../../../src/netdev/afxdp.ts';
import { NetdevError } from '../../../src/netdev/netdev.ts';
import { systemProvider } from '../../../src/netdev/system.ts';
import { netdevContract } from '../../contract/netdev.ts';
import { until } from '../../support/vhost-front-end.ts';

/** Run by kernel-ports.test.ts in a network namespace of its own. */

function ip(...args: string[]): string {
  const { status, stderr, stdout } = spawnSync('ip', args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout;
}

const addPair = () =>
  ip(
    ...['link', 'add', 'ct0', 'numrxqueues', '2', 'numtxqueues', '2', 'type', 'veth'],
    ...['peer', 'name', 'ct1', 'numrxqueues', '2', 'numtxqueues', '2'],
  );

const options = (modes: XdpMode[], nQueues = 1) => ({ modes, needWakeup: true, startQueue: 0, nQueues });
const config = { sockDir: '/nowhere' };
const hasProgram = () => /\bxdp/.test(ip('link', 'show', 'ct0'));

addPair();

netdevContract('afxdp, native', (name) => new XdpNetdev(name, 'afxdp', options(['native'])));
test('a pair as new', () => {
  ip('link', 'delete', 'ct0');
  addPair();
});
netdevContract('afxdp, generic, two queues', (name) => new XdpNetdev(name, 'afxdp', options(['generic'], 2)));

test('its program goes with it, and so do its sockets', async () => {
  const nFds = () => readdirSync('/proc/self/fd').length;
  const before = nFds();
  for (let round = 0; round < 5; round++) {
    const netdev = new XdpNetdev('ct0', 'afxdp', options(['native'], 2));
    assert.equal(netdev.status().get('xdp-mode'), 'native');
    assert.ok(hasProgram());
    await netdev.close();
    assert.ok(!hasProgram());
  }
  assert.equal(nFds(), before);
});

test('the best mode that the driver has is taken; one that it has not is refused', async () => {
  const netdev = new XdpNetdev('ct0', 'afxdp', parseXdpOptions('ct0', new Map()));
  assert.equal(netdev.status().get('xdp-mode'), 'native');
  assert.deepEqual(
    [...netdev.config()],
    [
      ['n_rxq', '2'],
      ['xdp-mode', 'best-effort'],
      ['use-need-wakeup', 'true'],
    ],
  );
  assert.equal(netdev.stats().rxDropped, 0n);
  assert.equal(netdev.stats().custom?.get('xsk_queue_1_rx_dropped'), 0n);
  assert.throws(
    () => new XdpNetdev('ct0', 'afxdp', options(['native'])),
    (e: Error) => e instanceof NetdevError && /AF_XDP can't be had \(native: .*EBUSY/.test(e.message),
  );
  await netdev.close();
  assert.throws(
    () => new XdpNetdev('ct0', 'afxdp', options(['native-with-zerocopy'])),
    /native-with-zerocopy: bind\(AF_XDP\): .*EOPNOTSUPP/,
  );
  assert.ok(!hasProgram());
});

test('options that cannot be are named', () => {
  const open = (...entries: [string, string][]) => afxdpProvider.open('ct0', new Map(entries), config);
  assert.throws(() => open(['xdp-mode', 'fast']), /ct0: Incorrect xdp-mode \(fast\)\./);
  assert.throws(() => open(['n_rxq', '17']), /ct0: Too big 'n_rxq' \(17 > 16\)\./);
  assert.throws(() => open(['n_rxq', 'x']), /ct0: Incorrect n_rxq\./);
  assert.throws(() => open(['n_rxq', '3'], ['xdp-mode', 'native']), /native: .*EINVAL/);
  assert.throws(() => afxdpProvider.open('none', new Map(), config), /could not open network device none/);
});

test('where there is no AF_XDP to be had, a packet socket takes its place if any mode is good', async () => {
  const holder = new XdpNetdev('ct0', 'afxdp', options(['native']));
  const netdev = await systemProvider.open('ct0', new Map([['xdp-mode', 'best-effort']]), config);
  assert.equal(netdev.status().get('xdp-mode'), undefined);
  assert.equal(netdev.status().get('driver_name'), 'veth');
  assert.equal(netdev.setOptions(new Map([['xdp-mode', 'best-effort']])), undefined);
  assert.equal(typeof netdev.setOptions(new Map([['xdp-mode', 'native']])), 'string');
  await netdev.close();
  await holder.close();
});

test('it follows its interface, also when that goes', async () => {
  const netdev = new XdpNetdev('ct0', 'afxdp', options(['native']));
  netdev.setAdminUp(true);
  ip('link', 'set', 'ct1', 'up');
  await until(() => netdev.linkUp(), 'the link is up');
  ip('link', 'delete', 'ct0');
  await until(() => netdev.isGone(), 'the device is seen to be gone');
  await netdev.close();
  addPair();
});
