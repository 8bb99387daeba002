import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from './config.ts';
import { fakeSnapshot, oneBridge } from './fake-config.ts';

test('an empty database wants nothing', () => {
  const config = readConfig(fakeSnapshot({}));
  assert.equal(config.uuid, undefined);
  assert.equal(config.bridges.size, 0);
});

test('types, tags and defaults are read as Open vSwitch does', () => {
  const tables = oneBridge({ p1: { type: 'dpdkvhostuser', ofport_request: 7 }, p2: { type: '' } });
  tables.Port!['port-p1']!.tag = 10;
  const bridge = readConfig(fakeSnapshot(tables)).bridges.get('br0')!;
  assert.deepEqual([...bridge.ports.keys()], ['br0', 'p1', 'p2']);
  const p1 = bridge.ports.get('p1')!;
  assert.equal(p1.vlanMode, 'access');
  assert.equal(p1.tag, 10);
  assert.equal(p1.interfaces[0]!.ofportRequest, 7);
  assert.equal(bridge.ports.get('p2')!.interfaces[0]!.type, 'system');
  assert.equal(bridge.ports.get('p2')!.vlanMode, 'trunk');
  assert.equal(bridge.ports.get('br0')!.interfaces[0]!.type, 'internal');
  assert.deepEqual(bridge.protocols, [1, 2, 3, 4, 5, 6]);
});

test('a bridge name with a slash is refused: it would become a path', () => {
  const config = readConfig(fakeSnapshot(oneBridge({}, { name: '../evil' })));
  assert.equal(config.bridges.size, 0);
  assert.deepEqual(config.complaints, [
    { module: 'bridge', level: 'warn', text: 'ignoring bridge with invalid name "../evil"' },
  ]);
});

test('a bridge with a controller gets a local port when it has none', () => {
  const tables = oneBridge({}, { controller: ['c'], ports: [] });
  tables.Controller = { c: { target: 'tcp:127.0.0.1:6653', inactivity_probe: 200 } };
  const config = readConfig(fakeSnapshot(tables));
  const bridge = config.bridges.get('br0')!;
  assert.equal(bridge.ports.get('br0')!.interfaces[0]!.uuid, undefined);
  assert.equal(config.complaints[0]!.text, 'bridge br0: no port named br0, synthesizing one');
  assert.equal(bridge.controllers[0]!.config.inactivityProbeMs, 1000);
  assert.equal(bridge.controllers[0]!.config.type, 'primary');
});

test('the target none means no controller', () => {
  const tables = oneBridge({}, { controller: ['c'] });
  tables.Controller = { c: { target: 'none' } };
  assert.deepEqual(readConfig(fakeSnapshot(tables)).bridges.get('br0')!.controllers, []);
});

test('trunks beside an implicit access VLAN are complained about', () => {
  const tables = oneBridge({ p1: {} });
  Object.assign(tables.Port!['port-p1']!, { tag: 3, trunks: [4, 5] });
  assert.deepEqual(
    readConfig(fakeSnapshot(tables)).complaints.map((c) => c.text),
    ['port p1: ignoring trunks in favor of implicit vlan'],
  );
});
