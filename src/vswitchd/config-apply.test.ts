import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { WarpClock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import { dpdkProvider } from '../netdev/dpdk.ts';
import { type DummyNetdev, dummyProviders } from '../netdev/dummy.ts';
import type { NetdevProvider } from '../netdev/netdev.ts';
import { patchProvider } from '../netdev/patch.ts';
import { Bridges, type SwitchDeps } from './bridges.ts';
import { readConfig } from './config.ts';
import { applyPlan, destroyBridges } from './config-apply.ts';
import { planReconfigure } from './config-plan.ts';
import { FakeBackend } from './fake-backend.ts';
import { type FakeTables, fakeSnapshot, oneBridge } from './fake-config.ts';

vlog.setLevels('console:off');

/** A switch of dummies on a fake OpenFlow half. */
function setUp() {
  const rundir = mkdtempSync(join(tmpdir(), 'turnout-apply-'));
  const backend = new FakeBackend();
  const dummies = new Map<string, DummyNetdev>();
  const providers = new Map<string, NetdevProvider>();
  for (const provider of [patchProvider, dpdkProvider, ...dummyProviders(dummies, ['dummy', 'internal'])]) {
    providers.set(provider.type, provider);
  }
  const deps: SwitchDeps = {
    datapath: async (type) => {
      if (type !== 'netdev') throw new Error('No such file or directory');
      return backend;
    },
    backends: () => [backend],
    netdevProvider: (type) => providers.get(type),
    ifaceTypes: () => [...providers.keys()],
    datapathTypes: () => ['netdev'],
    ifindex: () => 0,
    rundir,
    initialize: () => {},
    readTls: () => undefined,
  };
  const state = new Bridges(rundir);
  const apply = async (tables: FakeTables) =>
    applyPlan(planReconfigure(state, readConfig(fakeSnapshot(tables))), state, deps);
  return { backend, dummies, deps, state, apply, clock: new WarpClock() };
}

test('a bridge with ports comes about, and goes again', async () => {
  const { backend, dummies, deps, state, apply } = setUp();
  await apply(oneBridge({ p1: { type: 'dummy' }, p2: { type: 'dummy', ofport_request: 5 } }));
  const ofproto = backend.bridges.get('br0')!;
  assert.deepEqual([...ofproto.ports].map(([port, netdev]) => [netdev.name, port & 0xffff]).sort(), [
    ['br0', 65534],
    ['p1', 1],
    ['p2', 5],
  ]);
  assert.deepEqual(ofproto.bundles.get('p2')!.ports, [5]);
  await destroyBridges(state, deps);
  assert.equal(backend.bridges.size, 0);
  assert.equal(dummies.size, 0);
});

test('datapath ID and address come from the bridge row as in Open vSwitch, or from other_config', async () => {
  const { backend, dummies, apply } = setUp();
  await apply(oneBridge({}));
  assert.equal(backend.bridges.get('br0')!.datapathId().toString(16), '322211007766');
  assert.equal(Buffer.from(dummies.get('br0')!.mac()).toString('hex'), '322211007766');
  await apply(
    oneBridge(
      {},
      {
        other_config: new Map([
          ['datapath-id', '00000000000000aa'],
          ['hwaddr', '00:11:22:33:44:55'],
        ]),
      },
    ),
  );
  assert.equal(backend.bridges.get('br0')!.datapathId(), 0xaan);
  assert.equal(Buffer.from(dummies.get('br0')!.mac()).toString('hex'), '001122334455');
});

test('interfaces that fail say why and harm nothing else', async () => {
  const { backend, state, apply } = setUp();
  backend.refuse.add('p4');
  const devargs = new Map([['dpdk-devargs', '0000:01:00.0']]);
  await apply(
    oneBridge({
      p1: { type: 'dpdk', options: devargs },
      p2: { type: 'nonsense' },
      p3: { type: 'patch' },
      p4: { type: 'dummy' },
      p5: { type: 'dummy' },
    }),
  );
  assert.deepEqual(Object.fromEntries(state.errors), {
    'if-p1': "Error attaching device '0000:01:00.0' to DPDK",
    'if-p2': 'could not open network device p2 (Address family not supported by protocol)',
    'if-p3': "p3: patch type requires valid 'peer' argument",
    'if-p4': 'could not add network device p4 to ofproto (No space left on device)',
  });
  assert.ok(backend.bridges.get('br0')!.portByName('p5'));
  assert.deepEqual([...backend.bridges.get('br0')!.bundles.keys()].sort(), ['br0', 'p5']);
  await apply(oneBridge({ p2: { type: 'dummy' } }));
  assert.equal(state.errors.has('if-p2'), false);
});

test('an interface gets the port number back that its row still holds', async () => {
  const { backend, state, apply } = setUp();
  state.ofportHints.set('if-p1', 9);
  await apply(oneBridge({ p1: { type: 'dummy' } }));
  assert.equal(backend.bridges.get('br0')!.portByName('p1')!.ofpPort, 9);
});

test('options that a device refuses later take it away, with the reason', async () => {
  const { backend, state, apply } = setUp();
  await apply(oneBridge({ p1: { type: 'patch', options: new Map([['peer', 'p2']]) } }));
  assert.equal([...backend.bridges.get('br0')!.peers.values()][0], 'p2');
  await apply(oneBridge({ p1: { type: 'patch', options: new Map([['peer', 'p1']]) } }));
  assert.equal(state.errors.get('if-p1'), 'p1: patch peer must not be self');
  assert.equal(backend.bridges.get('br0')!.portByName('p1'), undefined);
});

test('an interface that is opened anew for its new options is in its bundle again', async () => {
  const { backend, apply } = setUp();
  const ring = (n: number) => oneBridge({ p1: { type: 'dpdk', options: new Map([['dpdk-devargs', `net_ring${n}`]]) } });
  await apply(ring(1));
  const ofproto = backend.bridges.get('br0')!;
  ofproto.bundles.set('p1', { ...ofproto.bundles.get('p1')!, ports: [] });
  await apply(ring(2));
  assert.deepEqual(ofproto.bundles.get('p1')!.ports, [ofproto.portByName('p1')!.ofpPort]);
});

test('other_config reaches the backend once', async () => {
  const { backend, apply } = setUp();
  const tables = oneBridge({});
  tables.Open_vSwitch!.root!.other_config = new Map([
    ['flow-limit', '77'],
    ['max-idle', '5000'],
  ]);
  await apply(tables);
  await apply(tables);
  assert.deepEqual([backend.flowLimit, backend.maxIdle, backend.configured], [77, 5000, 1]);
});

test('a bridge without its datapath is left out, the others come about', async () => {
  const { backend, state, apply } = setUp();
  const tables = oneBridge({});
  tables.Open_vSwitch!.root!.bridges = ['sys', '00112233-4455-6677-8899-aabbccddeeff'];
  tables.Bridge!.sys = { name: 'sys', ports: ['port-sys'], datapath_type: '' };
  tables.Port!['port-sys'] = { name: 'sys', interfaces: ['if-sys'] };
  tables.Interface!['if-sys'] = { name: 'sys' };
  await apply(tables);
  assert.equal(state.errors.get('if-sys'), 'failed to create bridge sys: No such file or directory');
  assert.deepEqual([...state.bridges.keys()], ['br0']);
  assert.deepEqual([...backend.bridges.keys()], ['br0']);
});

test('a database can not make the switch reach for any socket of the host', async () => {
  const { backend, apply } = setUp();
  const tables = oneBridge({}, { controller: ['a', 'b', 'c'] });
  tables.Controller = {
    a: { target: 'unix:/etc/secret' },
    b: { target: 'punix:/tmp/x' },
    c: { target: 'tcp:127.0.0.1' },
  };
  await apply(tables);
  assert.deepEqual(
    backend.bridges.get('br0')!.controllers.map((c) => c.target),
    ['tcp:127.0.0.1'],
  );
});

test('the internal port has the least MTU of the others, unless it asks for one', async () => {
  const { dummies, apply } = setUp();
  const mtu = () => dummies.get('br0')!.mtu();
  await apply(oneBridge({ p1: { type: 'dummy', mtu_request: 9000 }, p2: { type: 'dummy', mtu_request: 1600 } }));
  assert.equal(mtu(), 1600);
  await apply(oneBridge({ p1: { type: 'dummy', mtu_request: 9000 } }));
  assert.equal(mtu(), 9000);
  await apply(oneBridge({}));
  assert.equal(mtu(), 1500);
  const tables = oneBridge({ p1: { type: 'dummy', mtu_request: 1400 } });
  tables.Interface!['if-br0']!.mtu_request = 1700;
  await apply(tables);
  assert.equal(mtu(), 1700);
});

test('a bond with LACP, a mirror and flood_vlans get to the bridge', async () => {
  const { backend, apply } = setUp();
  const tables = oneBridge({ p1: { type: 'dummy' }, p2: { type: 'dummy' } }, { mirrors: ['m'], flood_vlans: [7] });
  tables.Bridge!['00112233-4455-6677-8899-aabbccddeeff']!.ports = ['port-br0', 'port-bond0'];
  tables.Port!['port-bond0'] = {
    name: 'bond0',
    interfaces: ['if-p1', 'if-p2'],
    bond_mode: 'balance-tcp',
    bond_updelay: 100,
    lacp: 'active',
    other_config: new Map([
      ['lacp-time', 'fast'],
      ['bond-rebalance-interval', '10'],
      ['lb-output-action', 'true'],
    ]),
  };
  tables.Interface!['if-p2']!.other_config = new Map([['lacp-port-id', '9']]);
  tables.Mirror = { m: { name: 'm0', select_all: true, output_vlan: 12, snaplen: 100 } };
  await apply(tables);
  const ofproto = backend.bridges.get('br0')!;
  const bond0 = ofproto.bundles.get('bond0')!;
  assert.deepEqual(bond0.ports, [1, 2]);
  assert.equal(bond0.bond!.mode, 'balance-tcp');
  assert.equal(bond0.bond!.updelayMs, 100);
  assert.equal(bond0.bond!.rebalanceIntervalMs, 1000);
  assert.equal(bond0.bond!.lbOutput, true);
  assert.equal(bond0.lacp!.fast, true);
  assert.equal(bond0.lacp!.sysPriority, 65534);
  // The address of the bridge is that of LACP's system.
  assert.equal(Buffer.from(bond0.lacp!.sysId).toString('hex'), '322211007766');
  assert.deepEqual(bond0.lacp!.members[1], { portId: 9, priority: 65535, key: 0 });
  assert.deepEqual(ofproto.mirrors[0]!.srcs, ['br0', 'bond0']);
  assert.deepEqual([ofproto.mirrors[0]!.outVlan, ofproto.mirrors[0]!.snaplen, ofproto.floodVlans], [12, 100, [7]]);
});
