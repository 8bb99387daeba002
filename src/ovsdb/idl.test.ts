import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { Idl, IdlChange, IdlOptions } from './idl.ts';
import { createIdl } from './idl.ts';
import { toText } from './json.ts';
import { JsonStream } from './json-stream.ts';
import { schemaFromJson } from './schema.ts';
import { OvsdbServer } from './server.ts';
import { VSWITCH_SCHEMA } from './vswitch-schema.ts';

let server: OvsdbServer;
let idls: Idl[];
let logged: string[];

beforeEach(() => {
  idls = [];
  logged = [];
  server = new OvsdbServer();
  server.addInMemory(schemaFromJson(VSWITCH_SCHEMA));
});

afterEach(() => {
  for (const idl of idls) idl.stop();
  server.close();
});

const MONITOR = {
  Open_vSwitch: true,
  Bridge: ['name', 'ports', 'flow_tables'],
  Port: true,
  Interface: { columns: ['name', 'options', 'statistics', 'ofport'], quiet: ['statistics'] },
} as const;

async function open(options: Partial<IdlOptions> = {}): Promise<Idl> {
  const idl = createIdl({
    connect: () => server.connectInMemory(),
    monitor: MONITOR,
    maxBackoffMs: 1,
    log: (_level, module, message) => logged.push(`${module}: ${message}`),
    ...options,
  });
  idls.push(idl);
  idl.start();
  await idl.ready();
  return idl;
}

/** Resolves once `condition` holds after some change of state. */
function until(idl: Idl, condition: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!condition()) return;
      for (const stop of stops) stop();
      resolve();
    };
    const stops = [idl.onState(look), idl.onChange(look)];
    look();
  });
}

/** Makes a bridge with one port; returns its uuid. */
async function addBridge(idl: Idl, name: string): Promise<string> {
  const txn = idl.txn();
  const root = idl.snapshot().first('Open_vSwitch')?._uuid ?? txn.insert('Open_vSwitch', {});
  const iface = txn.insert('Interface', { name, options: { a: 'b' } });
  const port = txn.insert('Port', { name, interfaces: iface, trunks: [3, 1, 2] });
  const bridge = txn.insert('Bridge', { name, ports: [port] });
  txn.mutate('Open_vSwitch', root, 'bridges', 'insert', bridge);
  const result = await txn.commit();
  assert.deepEqual([result.status, result.error], ['success', undefined]);
  return result.uuids.get(bridge)!;
}

describe('the replica', () => {
  test('values are natural, snapshots do not change', async () => {
    const idl = await open();
    const uuid = await addBridge(idl, 'br0');
    const snapshot = idl.snapshot();
    const port = snapshot.first('Port')!;
    assert.deepEqual(port.trunks, [1, 2, 3]);
    assert.equal(port.tag, null);
    assert.equal(port.bond_fake_iface, false);
    assert.deepEqual(snapshot.first('Interface')!.options, new Map([['a', 'b']]));
    assert.deepEqual(snapshot.get('Bridge', uuid)!.ports, [port._uuid]);
    assert.equal(snapshot.first('Bridge')!.fail_mode, undefined);
    assert.equal(snapshot.table('Nope').size, 0);
    await addBridge(idl, 'br1');
    assert.equal(snapshot.table('Bridge').size, 1);
    assert.equal(idl.snapshot().table('Bridge').size, 2);
    assert.ok(idl.seqno > snapshot.seqno);
    assert.equal(idl.snapshot(), idl.snapshot());
  });

  test('changes tell old and new, quiet columns tell nothing', async () => {
    const idl = await open();
    const writer = await open();
    await addBridge(writer, 'br0');
    const changes: IdlChange[] = [];
    idl.onChange((_snapshot, some) => changes.push(...some));
    await until(idl, () => idl.snapshot().table('Interface').size === 1);
    changes.length = 0;
    const { _uuid } = idl.snapshot().first('Interface')!;
    const quiet = writer.txn();
    quiet.update('Interface', _uuid, { statistics: { rx_packets: 5 } });
    await quiet.commit();
    const loud = writer.txn();
    loud.update('Interface', _uuid, { ofport: 7 });
    await loud.commit();
    await until(idl, () => changes.length > 0);
    assert.equal(changes.length, 1);
    assert.deepEqual([changes[0]!.old!.ofport, changes[0]!.new!.ofport], [null, 7]);
    assert.deepEqual(idl.snapshot().first('Interface')!.statistics, new Map([['rx_packets', 5]]));
  });

  test('what an older schema lacks is left out, with a warning once', async () => {
    const idl = await open({ monitor: { Open_vSwitch: ['next_cfg', 'invented'], Future: true } });
    assert.equal(logged.filter((line) => line.includes('missing')).length, 2);
    assert.equal(idl.hasColumn('Open_vSwitch', 'next_cfg'), true);
    assert.equal(idl.hasColumn('Open_vSwitch', 'invented'), false);
    const txn = idl.txn();
    txn.insert('Open_vSwitch', { next_cfg: 3, invented: 'x' });
    txn.insert('Future', { a: 1 });
    assert.equal((await txn.commit()).status, 'success');
    assert.equal(idl.snapshot().first('Open_vSwitch')!.next_cfg, 3);
    assert.equal(logged.filter((line) => line.includes('missing')).length, 2);
  });

  test('after a reconnection the differences are told, and only those', async () => {
    const idl = await open();
    const uuid = await addBridge(idl, 'br0');
    const before = idl.snapshot().get('Bridge', uuid);
    const states: string[] = [];
    idl.onState(() => states.push(idl.state));
    const changes: IdlChange[] = [];
    idl.onChange((_snapshot, some) => changes.push(...some));
    const served = server.dbs.get('Open_vSwitch')!;
    server.disconnectAll('for the test');
    served.transact(
      ['Open_vSwitch', { op: 'update', table: 'Open_vSwitch', where: [], row: { next_cfg: 9 } }],
      () => ({ readOnly: false, ownsLock: () => false }),
      () => {},
    );
    await until(idl, () => idl.snapshot().first('Open_vSwitch')!.next_cfg === 9);
    assert.deepEqual(states, ['backoff', 'connecting', 'monitoring']);
    assert.deepEqual(
      changes.map(({ table, old, new: now }) => [table, old?.next_cfg, now?.next_cfg]),
      [['Open_vSwitch', 0, 9]],
    );
    assert.deepEqual(idl.snapshot().get('Bridge', uuid), before);
    assert.equal(idl.hasEverConnected, true);
  });

  test('news right behind the first replica, in one piece with it, are not lost', async () => {
    const idl = await open({
      connect: () => {
        const [client, peer] = duplexPair();
        const asked = new JsonStream();
        const uuid = '00000000-0000-4000-8000-000000000001';
        peer.on('data', (chunk: Buffer) => {
          for (const request of asked.feed(chunk) as { id: number; method: string }[]) {
            const row = (kind: string, nextCfg: number) => ({
              Open_vSwitch: { [uuid]: { [kind]: { next_cfg: nextCfg } } },
            });
            const result = request.method === 'get_schema' ? VSWITCH_SCHEMA : [false, uuid, row('initial', 1)];
            const news = { method: 'update3', params: ['x', uuid, row('modify', 2)], id: null };
            const reply = toText({ result, error: null, id: request.id });
            peer.write(request.method === 'get_schema' ? reply : reply + toText(news));
          }
        });
        return client;
      },
    });
    await until(idl, () => idl.snapshot().first('Open_vSwitch')?.next_cfg === 2);
    assert.equal(idl.snapshot().first('Open_vSwitch')!.next_cfg, 2);
  });

  test('servers without the newer monitors are served by the older ones', async () => {
    server.hasMonitorCond = false;
    const idl = await open();
    await addBridge(idl, 'br0');
    const txn = idl.txn();
    txn.update('Port', idl.snapshot().first('Port')!._uuid, { tag: 5 });
    await txn.commit();
    assert.equal(idl.snapshot().first('Port')!.tag, 5);
    assert.deepEqual(idl.snapshot().first('Port')!.trunks, [1, 2, 3]);
  });
});

describe('transactions', () => {
  test('nothing to do is not sent; what holds already is left out', async () => {
    const idl = await open();
    await addBridge(idl, 'br0');
    assert.equal((await idl.txn().commit()).status, 'unchanged');
    const txn = idl.txn();
    txn.update('Port', idl.snapshot().first('Port')!._uuid, { trunks: [1, 2, 3], tag: null });
    assert.equal((await txn.commit()).status, 'unchanged');
    await assert.rejects(txn.commit(), /once/);
  });

  test('verify, increment, delete, comment, durable', async () => {
    const idl = await open();
    await addBridge(idl, 'br0');
    const root = idl.snapshot().first('Open_vSwitch')!._uuid;
    const count = idl.txn();
    count.increment('Open_vSwitch', root, 'next_cfg');
    count.comment('counted');
    assert.deepEqual(await count.commit({ durable: true }), { status: 'success', uuids: new Map(), increment: 1 });
    const stale = idl.txn();
    stale.verify('Open_vSwitch', root, 'next_cfg');
    stale.update('Open_vSwitch', root, { cur_cfg: 1 });
    server.dbs.get('Open_vSwitch')!.transact(
      ['Open_vSwitch', { op: 'update', table: 'Open_vSwitch', where: [], row: { next_cfg: 50 } }],
      () => ({ readOnly: false, ownsLock: () => false }),
      () => {},
    );
    assert.equal((await stale.commit()).status, 'try again');
    assert.equal(idl.snapshot().first('Open_vSwitch')!.cur_cfg, 0);
    const gone = idl.txn();
    gone.delete('Port', idl.snapshot().first('Port')!._uuid);
    assert.match((await gone.commit()).error!, /referential integrity violation/);
  });

  test('rows that are inserted can be updated and taken back before the commit', async () => {
    const idl = await open();
    const txn = idl.txn();
    const kept = txn.insert('QoS', { type: 'linux-htb' });
    txn.update('QoS', kept, { other_config: { 'max-rate': '5' } });
    const dropped = txn.insert('QoS', { type: 'linux-hfsc' });
    txn.delete('QoS', dropped);
    const result = await txn.commit();
    assert.deepEqual([...result.uuids.keys()], [kept]);
    assert.equal(server.dbs.get('Open_vSwitch')!.db.tables.get('QoS')!.rows.size, 1);
  });

  test('values of a wrong type and constraints give an error, a lost connection a "try again"', async () => {
    const idl = await open();
    await addBridge(idl, 'br0');
    const port = idl.snapshot().first('Port')!._uuid;
    const wrong = idl.txn();
    wrong.update('Port', port, { tag: 'five' });
    assert.match((await wrong.commit()).error!, /Port.tag: expected integer, got "five"/);
    const outside = idl.txn();
    outside.update('Port', port, { tag: 5000 });
    assert.match((await outside.commit()).error!, /5000 is not in the valid range/);
    const lost = idl.txn();
    lost.update('Port', port, { tag: 5 });
    const commit = lost.commit();
    idl.forceReconnect();
    assert.equal((await commit).status, 'try again');
    const early = createIdl({ connect: () => server.connectInMemory(), monitor: MONITOR });
    const txn = early.txn();
    txn.insert('Open_vSwitch', {});
    assert.equal((await txn.commit()).status, 'try again');
  });
});

describe('the lock', () => {
  test('is had by one at a time, and given on', async () => {
    const first = await open({ lock: 'ovs_vswitchd' });
    await until(first, () => first.hasLock);
    const second = await open({ lock: 'ovs_vswitchd' });
    await until(second, () => second.isLockContended);
    const txn = second.txn();
    txn.insert('Open_vSwitch', {});
    assert.equal((await txn.commit()).status, 'not locked');
    first.stop();
    await until(second, () => second.hasLock);
    assert.equal(second.isLockContended, false);
    await addBridge(second, 'br0');
    second.setLock(null);
    assert.equal(second.hasLock, true);
  });
});
