import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { netdevContract } from '../../test/contract/netdev.ts';
import { vlog } from '../base/vlog.ts';
import { dpdkProvider } from './dpdk.ts';
import { DummyNetdev, dummyProviders } from './dummy.ts';
import { NetdevError } from './netdev.ts';
import { PatchNetdev, patchProvider } from './patch.ts';
import { systemProvider } from './system.ts';

vlog.setLevels('console:off');

const config = { sockDir: '/nowhere' };
for (const type of ['dummy', 'dummy-pmd', 'dummy-internal'])
  netdevContract(type, (name) => new DummyNetdev(name, type));
netdevContract('patch', (name) => new PatchNetdev(name, new Map([['peer', 'other']])));

test('what a dummy receives goes into the switch, what it sends is counted and handed on', () => {
  const netdev = new DummyNetdev('p1', 'dummy');
  assert.equal(netdev.receive(new Uint8Array(60)), false, 'nobody is attached');
  const received: number[] = [];
  const sent: number[] = [];
  assert.ok(netdev.io.kind === 'soft');
  netdev.io.attach((frame) => received.push(frame.length));
  netdev.onSend((frame) => sent.push(frame.length));
  assert.equal(netdev.receive(new Uint8Array(60)), true);
  assert.equal(netdev.io.send(new Uint8Array(70)), true);
  assert.equal(netdev.io.send(new Uint8Array(1519)), false, 'longer than the MTU allows');
  assert.deepEqual([received, sent], [[60], [70]]);
  const { custom, ...stats } = netdev.stats();
  assert.deepEqual(stats, { rxPackets: 1n, rxBytes: 60n, txPackets: 1n, txBytes: 70n });
  assert.deepEqual([custom!.get('rx_q0_packets'), custom!.get('tx_q0_bytes')], [1n, 70n]);
});

test('dummies are found by name while they are open', async () => {
  const open = new Map<string, DummyNetdev>();
  const [provider] = dummyProviders(open, ['dummy-pmd']);
  const netdev = await provider!.open('p1', new Map([['n_rxq', '3']]), config);
  assert.equal(open.get('p1'), netdev);
  assert.deepEqual(netdev.queues(), { rx: 3, tx: 1 });
  await netdev.close();
  assert.equal(open.size, 0);
});

for (const [options, error] of [
  [[], "p1: patch type requires valid 'peer' argument"],
  [[['peer', 'p1']], 'p1: patch peer must not be self'],
  [
    [
      ['peer', 'p2'],
      ['x', 'y'],
    ],
    "p1: patch type takes only a 'peer' argument",
  ],
] as [[string, string][], string][]) {
  test(`a patch port is refused: ${error}`, () => {
    assert.throws(() => patchProvider.open('p1', new Map(options), config), new NetdevError(error));
  });
}

test('a DPDK device is not there, in the words of Open vSwitch', () => {
  assert.throws(
    () => dpdkProvider.open('d0', new Map([['dpdk-devargs', '0000:01:00.0']]), config),
    new NetdevError("Error attaching device '0000:01:00.0' to DPDK"),
  );
  assert.throws(() => dpdkProvider.open('d0', new Map(), config), /'d0' is missing 'options:dpdk-devargs'/);
});

test('an interface that the host has not got is refused in the words of Open vSwitch', () => {
  for (const name of ['no-such-if', '../../class', 'a-name-that-is-too-long-for-one'])
    assert.throws(
      () => systemProvider.open(name, new Map(), config),
      new NetdevError(`could not open network device ${name} (No such device)`),
    );
});

test('two dummies plugged into each other by a socket', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'turnout-dummy-')), 'link');
  const a = new DummyNetdev('a', 'dummy', new Map([['pstream', `punix:${path}`]]));
  const b = new DummyNetdev('b', 'dummy', new Map([['stream', `unix:${path}`]]));
  assert.ok(a.io.kind === 'soft' && b.io.kind === 'soft');
  const hold = setInterval(() => {}, 1000);
  const received = new Promise<Uint8Array>((resolve) => {
    if (b.io.kind === 'soft') b.io.attach((frame) => resolve(Uint8Array.from(frame)));
  });
  const frame = Uint8Array.from({ length: 70 }, (_, i) => i);
  const { io } = a;
  const sender = setInterval(() => io.send(frame), 5);
  assert.deepEqual(await received, frame);
  clearInterval(sender);
  clearInterval(hold);
  await b.close();
  await a.close();
});

test('what goes through a dummy can be captured', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'turnout-dummy-')), 'tx.pcap');
  const netdev = new DummyNetdev('p1', 'dummy', new Map([['tx_pcap', file]]));
  assert.ok(netdev.io.kind === 'soft');
  netdev.io.send(new Uint8Array(60).fill(7));
  await netdev.close();
  const bytes = readFileSync(file);
  assert.equal(bytes.length, 24 + 16 + 60);
  assert.deepEqual([bytes.readUInt32LE(0), bytes.readUInt32LE(20), bytes.readUInt32LE(32)], [0xa1b2c3d4, 1, 60]);
  assert.ok(bytes.subarray(40).every((byte) => byte === 7));
});
