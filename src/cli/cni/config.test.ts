import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { policingColumns, vlanColumns } from './add.ts';
import { decodeConfig, parseConfig } from './config.ts';
import { parseEnvironment } from './environment.ts';
import { CniError } from './error.ts';
import type { JsonRecord } from './json.ts';
import { planSocket } from './socket.ts';

const BASE = { cniVersion: '1.1.0', name: 'net1', type: 'turnout', bridge: 'br0' };
const parse = (config: JsonRecord, args: Record<string, string> = {}) =>
  parseConfig(config, { args: new Map(Object.entries(args)) });

const refusal = (code: number, details: RegExp) => (error: unknown) => {
  assert.ok(error instanceof CniError, String(error));
  assert.equal(error.code, code, `${error.message}: ${error.details}`);
  assert.match(`${error.message}: ${error.details}`, details);
  return true;
};

test('ovs-cni’s configuration', () => {
  const config = parse({
    ...BASE,
    ...{ vlan: 100, mtu: 9000, ofport_request: 33, interface_type: 'system', socket_file: '/run/db.sock' },
    trunk: [{ id: 42 }, { minID: 1000, maxID: 1002 }],
  });
  assert.deepEqual([config.kind, config.ovsType, config.remote], ['veth', '', 'unix:/run/db.sock']);
  assert.deepEqual(config.trunk, [42, 1000, 1001, 1002]);
  assert.deepEqual(vlanColumns(config), { trunks: [42, 1000, 1001, 1002], vlan_mode: 'native-untagged', tag: 100 });
  assert.equal(parse({ ...BASE, interface_type: 'internal' }).kind, 'tap');
  assert.equal(parse({ ...BASE, interface_type: 'dpdkvhostuser' }).vhost.podRole, 'client');
  const { mac, ifaceId } = parse({ ...BASE, args: { cni: { MAC: '0A:58:0a:f4:00:07', OvnPort: 'p1', labels: [1] } } });
  assert.deepEqual([mac, ifaceId], ['0a:58:0a:f4:00:07', 'p1']);
  assert.equal(parse(BASE, { ovnport: 'p2' }).ifaceId, 'p2');
});

test('userspace-cni’s configuration: the pod has the other end of the host’s socket', () => {
  const host = {
    engine: 'ovs-dpdk',
    iftype: 'vhostuser',
    netType: 'bridge',
    vhost: { mode: 'client', group: 'hugetlbfs' },
  };
  const config = parse({ ...BASE, bridge: undefined, host, container: {}, sharedDir: '/var/lib/pods/' });
  assert.deepEqual([config.kind, config.bridge, config.makesBridge], ['vhostuser', 'br0', true]);
  assert.deepEqual([config.vhost.podRole, config.vhost.group], ['server', 'hugetlbfs']);
  const id = { containerId: '0958c8871b32aaaa', ifname: 'net1' };
  assert.equal(planSocket(config, id).socket, '/var/lib/pods/0958c8871b32/0958c8871b32-net1');
  assert.throws(() => parse({ ...BASE, host: { ...host, engine: 'vpp' } }), refusal(2, /host\.engine.*vpp/));
  const both = { ...BASE, host, container: { vhost: { mode: 'client' } } };
  assert.throws(() => parse(both), refusal(7, /are both "client"/));
});

test('what is wrong is said with its code', () => {
  const refusals: [JsonRecord, number, RegExp][] = [
    [{ ...BASE, cniVersion: '0.2.0' }, 1, /"0\.2\.0"; spoken are 0\.3\.0/],
    [{ ...BASE, cniVersion: undefined }, 1, /0\.1\.0/],
    [{ ...BASE, name: '../etc' }, 7, /"name"/],
    [{ ...BASE, bridge: undefined }, 7, /"bridge" is missing/],
    [{ ...BASE, bridge: 7 }, 7, /"bridge": 7 is not a string/],
    [{ ...BASE, vlan: 4096 }, 7, /"vlan": 4096/],
    [{ ...BASE, mtu: 67 }, 7, /less than 68/],
    [{ ...BASE, trunk: [{}] }, 7, /neither id nor/],
    [{ ...BASE, trunk: [{ minID: 5, maxID: 4 }] }, 7, /do not fit/],
    [{ ...BASE, ipam: { type: '../../bin/sh' } }, 7, /not a plugin's name/],
    [{ ...BASE, interface_type: 'dpdk' }, 2, /interface_type.*dpdk/],
    [{ ...BASE, deviceID: '0000:03:02.0' }, 2, /deviceID.*0000:03:02\.0/],
    [{ ...BASE, runtimeConfig: { ips: ['10.0.0.1'] } }, 7, /no prefix length/],
    [{ ...BASE, runtimeConfig: { mac: '01:00:5e:00:00:01' } }, 7, /MAC/],
    [{ ...BASE, runtimeConfig: { CNIDeviceInfoFile: 'x.json' } }, 7, /not absolute/],
    [{ ...BASE, iftype: 'vhostuser', runtimeConfig: { bandwidth: { ingressRate: 1 } } }, 2, /ingressRate.*: 1/],
    [{ ...BASE, iftype: 'vhostuser', vhost: { socketfile: '..' } }, 7, /not a file's name/],
    [{ ...BASE, mirrors: [{ name: 'm' }] }, 7, /"ingress" or "egress", or else "output"/],
    [{ ...BASE, prevResult: { ips: [{ address: '10.0.0.1' }] } }, 7, /no prefix length/],
  ];
  for (const [config, code, details] of refusals) assert.throws(() => parse(config), refusal(code, details));
  assert.throws(() => decodeConfig('{'), refusal(6, /decode/));
  assert.throws(() => decodeConfig('[]'), refusal(6, /not a JSON object/));
});

test('rates are kilobits in the database', () => {
  const bandwidth = { ingressRate: 0, ingressBurst: 0, egressRate: 8_000_400, egressBurst: 800_000 };
  assert.deepEqual(policingColumns(bandwidth), { ingress_policing_rate: 8000, ingress_policing_burst: 800 });
  assert.deepEqual(policingColumns(undefined), {});
});

test('the environment', () => {
  const env = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c', CNI_NETNS: '/n', CNI_IFNAME: 'eth0', CNI_PATH: '/a::/b' };
  const { path, args } = parseEnvironment({ ...env, CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAME=web' });
  assert.deepEqual([path, args.get('k8s_pod_name')], [['/a', '/b'], 'web']);
  for (const [change, named] of [
    [{ CNI_COMMAND: 'GET' }, /CNI_COMMAND/],
    [{ CNI_NETNS: '', CNI_IFNAME: '' }, /CNI_NETNS, CNI_IFNAME/],
    [{ CNI_CONTAINERID: '-x' }, /CNI_CONTAINERID/],
    [{ CNI_IFNAME: 'a/b' }, /CNI_IFNAME/],
    [{ CNI_ARGS: 'x' }, /CNI_ARGS/],
  ] as const) {
    assert.throws(() => parseEnvironment({ ...env, ...change }), refusal(4, named));
  }
  assert.equal(parseEnvironment({ CNI_COMMAND: 'VERSION' }).command, 'VERSION');
  assert.equal(parseEnvironment({ ...env, CNI_COMMAND: 'DEL', CNI_NETNS: '' }).netns, '');
});

/** Values for the fields that the parser knows: right ones, and anything. */
const FIELDS = [
  'name',
  'bridge',
  'vlan',
  'mtu',
  'trunk',
  'ofport_request',
  'interface_type',
  'iftype',
  'vhost',
  'host',
];
const MORE_FIELDS = [
  'container',
  'sharedDir',
  'mirrors',
  'ipam',
  'dns',
  'args',
  'runtimeConfig',
  'prevResult',
  'deviceID',
];
const inner = fc.oneof(
  fc.string(),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.constantFrom('server', '0660', '10.0.0.1/24'),
);
const names = [
  'mode',
  'group',
  'name',
  'id',
  'minID',
  'cni',
  'ips',
  'mac',
  'type',
  'engine',
  'interfaces',
  'bandwidth',
];
const record = fc.dictionary(
  fc.oneof(fc.constantFrom(...names, '__proto__'), fc.string()),
  fc.oneof(inner, fc.array(inner)),
);
const value = fc.oneof(inner, record, fc.array(record), fc.array(inner), fc.jsonValue());

test('property: any configuration is understood or refused with a code', () => {
  const config = fc.dictionary(fc.oneof(fc.constantFrom(...FIELDS, ...MORE_FIELDS), fc.string()), value);
  fc.assert(
    fc.property(config, (changes) => {
      const text = JSON.stringify({ ...BASE, ...changes });
      try {
        const parsed = parse(decodeConfig(text));
        assert.ok(parsed.trunk.every((vlan) => vlan >= 0 && vlan <= 4095));
        assert.ok(parsed.vhost.sharedDir.startsWith('/') && parsed.bridge !== '');
        assert.ok(Buffer.byteLength(socketAddress(parsed)) <= 107);
      } catch (error) {
        assert.ok(error instanceof CniError && [1, 2, 7].includes(error.code), String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

const socketAddress = (config: Parameters<typeof planSocket>[0]) =>
  planSocket(config, { containerId: 'c'.repeat(64), ifname: 'eth0' }).address;
