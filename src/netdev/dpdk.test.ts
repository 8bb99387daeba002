import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { netdevContract } from '../../test/contract/netdev.ts';
import { isOn, parseDevargs } from './devargs.ts';
import { dpdkProvider } from './dpdk.ts';

const config = { sockDir: '/nowhere' };
const open = (name: string, devargs: string) => dpdkProvider.open(name, new Map([['dpdk-devargs', devargs]]), config);

const dir = mkdtempSync(join(tmpdir(), 'turnout-dpdk-'));
after(() => rmSync(dir, { recursive: true }));
const junk = join(dir, 'junk');
writeFileSync(junk, 'not a capture');
/** Nobody writes into it, or reads from it. */
const fifo = join(dir, 'fifo');
execFileSync('mkfifo', [fifo]);
const huge = join(dir, 'huge');
writeFileSync(huge, '');
truncateSync(huge, 2 ** 30 + 1);

netdevContract('net_null', (name) => open(name, 'net_null0,size=128'));
netdevContract('net_ring', (name) => open(name, 'net_ring0'));
netdevContract('net_pcap', (name) => open(name, `net_pcap0,tx_pcap=${join(dir, 'out')}`));

test('device arguments are a device and pairs', () => {
  const parsed = parseDevargs('net_tap01, path=/dev/vhost-net,iface=tap01,flag,a=b=c');
  assert.equal(parsed.device, 'net_tap01');
  assert.deepEqual(
    [...parsed.args],
    [
      ['path', '/dev/vhost-net'],
      ['iface', 'tap01'],
      ['flag', ''],
      ['a', 'b=c'],
    ],
  );
  assert.deepEqual(['1', 'on', '0', '', undefined].map(isOn), [true, true, false, false, false]);
});

for (const [devargs, reason] of [
  ['net_tap0,iface=a-name-that-is-too-long', /'a-name-that-is-too-long' is not a valid name of an interface/],
  ['net_tap0,iface=a/b', /not a valid name/],
  ['net_tap0,iface=t0,mac=01:00:00:00:00:00', /'01:00:00:00:00:00' is not a MAC address of a device/],
  ['virtio_user0,iface=t0', /the argument 'path=' is missing/],
  [
    'virtio_user0,path=/no/vhost-net,iface=t0',
    /\/no\/vhost-net can't be opened \(No such file or directory\): load the kernel's module/,
  ],
  [
    `virtio_user0,path=${junk},iface=t0`,
    /is not \/dev\/vhost-net; vhost-user sockets are ports of type dpdkvhostuserclient/,
  ],
  ['net_af_packet0', /the argument 'iface=' is missing/],
  ['net_af_packet0,iface=no-such-if', /could not open network device no-such-if \(No such device\)/],
  ['net_pcap0', /one of 'rx_pcap=', 'tx_pcap=' and 'iface=' is missing/],
  [`net_pcap0,rx_pcap=${fifo}`, /could not read the capture .*: not a regular file/],
  [`net_pcap0,tx_pcap=${fifo}`, /could not write the capture .*/],
  [`net_pcap0,rx_pcap=${huge}`, /could not read the capture .*: longer than 1073741824 bytes/],
  ['net_pcap0,rx_pcap=/no/file', /could not read the capture \/no\/file/],
  [`net_pcap0,rx_pcap=${junk}`, /too short for a pcap file/],
  ['net_pcap0,tx_pcap=/no/file', /could not write the capture \/no\/file/],
  ['net_af_xdp0,iface=lo,queue_count=17', /'queue_count=17' is not a number from 1 to 16/],
  ['net_af_xdp0,iface=lo,start_queue=1024', /'start_queue=1024' is not a number from 0 to 1023/],
  ['net_null0,size=9', /'size=9' is not a number of bytes from 14 to \d+/],
  ['net_bonding0', /there is no driver for it \(there are net_tap, /],
] as const) {
  test(`refused with the reason: ${devargs.replace(dir, '…')}`, () => {
    assert.throws(
      () => open('p1', devargs),
      (e: Error) => {
        assert.ok(e.message.startsWith(`Error attaching device '${devargs}' to DPDK: `), e.message);
        assert.match(e.message, reason);
        return true;
      },
    );
  });
}

test("a device is one port's, and takes other arguments by being made anew", async () => {
  const netdev = await open('p1', 'net_ring7');
  assert.throws(() => open('p2', 'net_ring7'), /it is in use by 'p1' already/);
  assert.equal(netdev.setOptions(new Map([['dpdk-devargs', 'net_ring7']])), undefined);
  assert.equal(typeof netdev.setOptions(new Map([['dpdk-devargs', 'net_ring8']])), 'string');
  await netdev.close();
  const second = await open('p2', 'net_ring7');
  assert.equal(second.status().get('driver_name'), 'net_ring');
  await second.close();
});

test('an argument that a driver does not know does not keep its device from opening', async () => {
  const netdev = await open('p1', `net_pcap1,colour=red,tx_pcap=${join(dir, 'out2')}`);
  assert.equal(readFileSync(join(dir, 'out2')).length, 24);
  await netdev.close();
});
