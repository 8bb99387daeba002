import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig, type WantedConfig } from './config.ts';
import {
  type CurrentBridge,
  type CurrentConfig,
  type CurrentInterface,
  datapathKey,
  planReconfigure,
  type Step,
} from './config-plan.ts';
import { type FakeTables, fakeSnapshot, oneBridge } from './fake-config.ts';

const LOCAL = 0xfffffffe;
const read = (tables: FakeTables): WantedConfig => readConfig(fakeSnapshot(tables));
const nothing: CurrentConfig = { bridges: new Map(), datapathKey: '' };

/** What is there when everything in `wanted` came about; numbers of ports by name. */
function inForce(wanted: WantedConfig, ofports: Record<string, number>): CurrentConfig {
  const bridges = new Map<string, CurrentBridge>();
  for (const bridge of wanted.bridges.values()) {
    const interfaces = new Map<string, CurrentInterface>();
    for (const port of bridge.ports.values()) {
      for (const i of port.interfaces) {
        interfaces.set(i.name, {
          name: i.name,
          port: port.name,
          type: i.type,
          ofport: ofports[i.name] ?? LOCAL,
          wanted: i,
        });
      }
    }
    bridges.set(bridge.name, {
      name: bridge.name,
      datapathType: bridge.datapathType,
      interfaces,
      ports: bridge.ports,
      wanted: bridge,
    });
  }
  return { bridges, datapathKey: datapathKey(wanted) };
}

/** A step in a word or two, e.g. `add-interface p1`. */
function brief(step: Step): string {
  switch (step.type) {
    case 'configure-datapath':
      return step.type;
    case 'add-bridge':
    case 'configure-bridge':
      return `${step.type} ${step.bridge.name}`;
    case 'delete-bridge':
      return `${step.type} ${step.bridge}`;
    case 'delete-interface':
      return `${step.type} ${step.interface}`;
    case 'add-interface':
    case 'configure-interface':
      return `${step.type} ${step.interface.name}`;
    case 'delete-port':
      return `${step.type} ${step.port}`;
    case 'configure-port':
      return `${step.type} ${step.port.name}`;
  }
}

const plan = (current: CurrentConfig, wanted: WantedConfig) => planReconfigure(current, wanted).map(brief);

test('from nothing: bridge, datapath, interfaces with a requested number first, then settings', () => {
  const wanted = read(oneBridge({ p1: { type: 'dummy' }, p2: { type: 'dummy', ofport_request: 1 } }));
  assert.deepEqual(plan(nothing, wanted), [
    'add-bridge br0',
    'configure-datapath',
    'add-interface p2',
    'add-interface br0',
    'add-interface p1',
    'configure-bridge br0',
    'configure-port br0',
    'configure-port p1',
    'configure-port p2',
  ]);
});

test('what is in force already needs no step', () => {
  const wanted = read(oneBridge({ p1: { type: 'dummy' } }));
  assert.deepEqual(plan(inForce(wanted, { p1: 1 }), wanted), []);
});

test('deletions come before additions', () => {
  const before = read(oneBridge({ p1: { type: 'dummy' } }));
  const after = read(oneBridge({ p2: { type: 'dummy', ofport_request: 1 } }));
  assert.deepEqual(plan(inForce(before, { p1: 1 }), after), [
    'delete-interface p1',
    'delete-port p1',
    'add-interface p2',
    'configure-bridge br0',
    'configure-port p2',
  ]);
});

test('an interface whose type changed is made anew', () => {
  const before = read(oneBridge({ p1: { type: 'dummy' } }));
  const after = read(oneBridge({ p1: { type: 'patch' } }));
  assert.deepEqual(plan(inForce(before, { p1: 1 }), after), [
    'delete-interface p1',
    'add-interface p1',
    'configure-bridge br0',
    'configure-port p1',
  ]);
});

test('new options reconfigure an interface in place', () => {
  const before = read(oneBridge({ p1: { type: 'dummy-pmd' } }));
  const after = read(oneBridge({ p1: { type: 'dummy-pmd', options: new Map([['n_rxq', '2']]) } }));
  assert.deepEqual(plan(inForce(before, { p1: 1 }), after), ['configure-interface p1']);
});

test('a requested port number moves the interface, and the one in its way', () => {
  const before = read(oneBridge({ p1: { type: 'dummy' }, p2: { type: 'dummy' } }));
  const after = read(oneBridge({ p1: { type: 'dummy', ofport_request: 2 }, p2: { type: 'dummy' } }));
  assert.deepEqual(plan(inForce(before, { p1: 1, p2: 2 }), after).slice(0, 4), [
    'delete-interface p1',
    'delete-interface p2',
    'add-interface p1',
    'add-interface p2',
  ]);
});

test('two that ask for one number: who has it keeps it', () => {
  const tables = oneBridge({ p1: { type: 'dummy', ofport_request: 2 }, p2: { type: 'dummy', ofport_request: 2 } });
  const wanted = read(tables);
  assert.deepEqual(plan(inForce(wanted, { p1: 1, p2: 2 }), wanted), []);
});

test('a bridge of another datapath type is made anew', () => {
  const before = read(oneBridge({}));
  const after = read(oneBridge({}, { datapath_type: 'dummy' }));
  assert.deepEqual(plan(inForce(before, {}), after).slice(0, 3), [
    'delete-bridge br0',
    'add-bridge br0',
    'configure-datapath',
  ]);
});

test('an interface that failed is tried again at every reconfiguration', () => {
  const wanted = read(oneBridge({ p1: { type: 'dpdk' } }));
  const current = inForce(wanted, { p1: 1 });
  const bridge = current.bridges.get('br0')!;
  (bridge.interfaces as Map<string, CurrentInterface>).delete('p1');
  assert.ok(plan(current, wanted).includes('add-interface p1'));
});

test('other_config concerns the datapath', () => {
  const tables = oneBridge({});
  const before = read(tables);
  tables.Open_vSwitch!.root!.other_config = new Map([['flow-limit', '10']]);
  assert.deepEqual(plan(inForce(before, {}), read(tables)), ['configure-datapath']);
});
