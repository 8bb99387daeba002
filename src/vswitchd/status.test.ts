import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DummyNetdev } from '../netdev/dummy.ts';
import type { IdlTxn, RowInput } from '../ovsdb/idl.ts';
import { Bridges, type RunningBridge, type SwitchDeps } from './bridges.ts';
import { readConfig } from './config.ts';
import { FakeBackend } from './fake-backend.ts';
import { fakeSnapshot, oneBridge } from './fake-config.ts';
import { statisticsMap, writeFirstStatistics, writeStatistics, writeStatus, writeSwitch } from './status.ts';

/** A transaction that only collects what is written, by `table/uuid`. */
function collect() {
  const rows = new Map<string, RowInput>();
  const update = (table: string, uuid: string, row: RowInput) => rows.set(`${table}/${uuid}`, row);
  return { rows, txn: { update } as unknown as IdlTxn };
}

const deps = {
  ifaceTypes: () => ['dummy', 'patch'],
  datapathTypes: () => ['netdev'],
  ifindex: () => 5,
} as unknown as SwitchDeps;

async function setUp() {
  const snapshot = fakeSnapshot(oneBridge({ p1: { type: 'dummy' }, p2: { type: 'dpdk' } }));
  const wanted = readConfig(snapshot);
  const bridge = wanted.bridges.get('br0')!;
  const ofproto = new FakeBackend().createOfproto('br0', 0xabn);
  const netdev = new DummyNetdev('p1', 'dummy');
  netdev.setMac(Uint8Array.of(2, 0, 0, 0, 0, 1));
  const ofport = await ofproto.portAdd(netdev);
  const iface = {
    name: 'p1',
    port: 'p1',
    type: 'dummy',
    ofport,
    wanted: bridge.ports.get('p1')!.interfaces[0]!,
    netdev,
  };
  const state = new Bridges('/run');
  const running: RunningBridge = {
    name: 'br0',
    datapathType: 'netdev',
    interfaces: new Map([['p1', iface]]),
    ports: new Map(),
    wanted: bridge,
    ofproto,
    mac: netdev.mac(),
    minMtu: 1500,
  };
  state.bridges.set('br0', running);
  state.errors.set('if-p2', 'it failed');
  state.errors.set('if-gone', 'its row has gone');
  return { snapshot, wanted, state, netdev };
}

test('an interface that is there, one that failed, one whose row has gone', async () => {
  const { snapshot, state } = await setUp();
  const { rows, txn } = collect();
  writeStatus(txn, snapshot, state, deps);
  assert.deepEqual([...rows.keys()].sort(), [
    'Bridge/00112233-4455-6677-8899-aabbccddeeff',
    'Interface/if-p1',
    'Interface/if-p2',
  ]);
  assert.equal(rows.get('Bridge/00112233-4455-6677-8899-aabbccddeeff')!.datapath_id, '00000000000000ab');
  const { ofport, error, mac_in_use, link_state, mtu, ifindex } = rows.get('Interface/if-p1')!;
  assert.deepEqual(
    [ofport, error, mac_in_use, link_state, mtu, ifindex],
    [1, null, '02:00:00:00:00:01', 'up', 1500, 5],
  );
  const failed = rows.get('Interface/if-p2')!;
  assert.deepEqual([failed.ofport, failed.error, failed.mac_in_use], [-1, 'it failed', null]);
  assert.deepEqual([...state.errors.keys()], ['if-p2']);
});

test('a new interface has its counters at once; one that has them waits for the next round', async () => {
  const { snapshot, state } = await setUp();
  const { rows, txn } = collect();
  writeFirstStatistics(txn, snapshot, state);
  assert.ok((rows.get('Interface/if-p1')!.statistics as Map<string, number>).has('rx_packets'));
  rows.clear();
  const known = { ...snapshot.get('Interface', 'if-p1'), statistics: new Map([['rx_packets', 0]]) };
  writeFirstStatistics(txn, { ...snapshot, get: () => known } as unknown as typeof snapshot, state);
  assert.equal(rows.size, 0);
});

test('cur_cfg follows next_cfg of the configuration that is in force', async () => {
  const { snapshot, wanted } = await setUp();
  const { rows, txn } = collect();
  writeSwitch(txn, snapshot, wanted, deps);
  const row = rows.get('Open_vSwitch/root')!;
  assert.equal(row.cur_cfg, 1);
  assert.equal(row.ovs_version, '3.1.0');
  assert.deepEqual(row.iface_types, ['dummy', 'patch']);
});

test('counters carry over, beyond 2^53 too', async () => {
  const { snapshot, state, netdev } = await setUp();
  assert.ok(netdev.io.kind === 'soft');
  netdev.io.send(new Uint8Array(60));
  const { rows, txn } = collect();
  writeStatistics(txn, snapshot, state);
  const statistics = rows.get('Interface/if-p1')!.statistics as Map<string, number>;
  assert.deepEqual(
    [statistics.get('tx_packets'), statistics.get('tx_bytes'), statistics.get('rx_packets')],
    [1, 60, 0],
  );
  const big = statisticsMap({ rxBytes: 1n << 60n, custom: new Map([['ovs_tx_failure_drops', 3n]]) });
  assert.deepEqual(
    [...big],
    [
      ['rx_bytes', 1n << 60n],
      ['ovs_tx_failure_drops', 3],
    ],
  );
});
