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

test('a mirror without a usable output is complained about and left out', () => {
  const tables = oneBridge({ p1: {}, p2: {} }, { mirrors: ['a', 'b', 'c'] });
  tables.Port!.stranger = { name: 'far', interfaces: [] };
  tables.Mirror = {
    a: { name: 'a', select_all: true },
    b: { name: 'b', select_all: true, output_port: 'stranger' },
    c: {
      name: 'c',
      select_src_port: ['port-p1', 'stranger'],
      output_port: 'port-p2',
      output_vlan: 3,
      select_vlan: [5],
    },
  };
  const config = readConfig(fakeSnapshot(tables));
  assert.deepEqual(config.bridges.get('br0')!.mirrors, [
    { id: 'c', name: 'c', srcs: ['p1'], dsts: [], vlans: [5], outPort: 'p2', outVlan: undefined, snaplen: 0 },
  ]);
  assert.deepEqual(
    config.complaints.map((c) => [c.level, c.text]),
    [
      ['err', 'bridge br0: mirror a does not specify output; ignoring'],
      ['err', 'bridge br0: mirror b outputs to port not on bridge'],
      ['err', 'bridge br0: mirror c specifies both output port and output vlan; ignoring output vlan'],
      ['warn', 'bridge br0: mirror c cannot match on nonexistent port far'],
    ],
  );
});

test('what is odd in a bond is complained about, and the defaults count', () => {
  const tables = oneBridge({ p1: {}, p2: {} }, { flood_vlans: [1] });
  Object.assign(tables.Port!['port-p1']!, {
    interfaces: ['if-p1', 'if-p2'],
    bond_mode: 'balance-slb',
    lacp: 'active',
    other_config: new Map([
      ['bond-detect-mode', 'magic'],
      ['lacp-system-id', 'none'],
    ]),
  });
  const config = readConfig(fakeSnapshot(tables));
  const port = config.bridges.get('br0')!.ports.get('p1')!;
  assert.equal(port.lacp, undefined);
  assert.equal(port.bond!.rebalanceIntervalMs, 10_000);
  assert.deepEqual(
    config.complaints.map((c) => c.text),
    [
      'port p1: SLB bonds are incompatible with flood_vlans, please use another bond type or disable flood_vlans',
      'port p1: unsupported bond-detect-mode magic, defaulting to carrier',
      'port p1: LACP system ID (none) must be an Ethernet address.',
    ],
  );
});
