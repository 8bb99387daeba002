/** The CNI plugin, called as a container runtime calls it, with network namespaces as pods and Debian's IPAM. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { check, command, eventually } from '../../bench/peers/process.ts';
import { requirePeer } from '../support/require.ts';
import { defer } from './support/cleanup.ts';
import { type Attachment, attachment, type CniAnswer, callPlugin, type Json } from './support/cni.ts';
import { makeNetns } from './support/netns.ts';
import { PLUG_PEERS } from './support/plug.ts';
import { SWITCH, Switch } from './support/switch.ts';

const DONE: CniAnswer = { status: 0, json: undefined, stderr: '' };

async function pod(t: TestContext, name: string): Promise<Attachment> {
  return attachment(await makeNetns(t, name), `${name}-0123456789abcdef`);
}

const inside = (at: Attachment, ...argv: string[]) => ['nsenter', `--net=${at.netns}`, ...argv];

async function linkOf(at: Attachment, ifname = at.ifname): Promise<Json> {
  const { status, stdout } = await command(inside(at, 'ip', '-json', 'address', 'show', 'dev', ifname));
  return status === 0 ? JSON.parse(stdout)[0] : undefined;
}

/** The devices of the switch's namespace that a plugin makes, and the bridge's ports. */
async function leftovers(sw: Switch): Promise<{ links: string[]; ports: string[] }> {
  const links = JSON.parse(await check([...sw.netns.prefix, 'ip', '-json', 'link'])) as { ifname: string }[];
  return {
    links: links.map(({ ifname }) => ifname).filter((name) => /_[lt]$/.test(name)),
    ports: (await sw.sh('ovs-vsctl list-ports br0')).split('\n').filter((name) => name !== ''),
  };
}

const NOTHING = { links: [], ports: [] };

test('pods with an ordinary kernel stack', async (t) => {
  if (!requirePeer(t, ...PLUG_PEERS, 'cni-plugins')) return;
  const sw = await Switch.start(t);
  const scratch = mkdtempSync(join(sw.root, 'cni-'));
  await sw.sh('ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev');
  const ranges = [[{ subnet: '10.10.0.0/29', gateway: '10.10.0.1' }], [{ subnet: 'fd00:10::/64' }]];
  const routes = [{ dst: '0.0.0.0/0' }, { dst: 'fd00:99::/64', gw: 'fd00:10::1' }];
  const ipam = { type: 'host-local', dataDir: join(scratch, 'ipam'), ranges, routes };
  const base = { cniVersion: '1.1.0', name: 'net1', type: 'turnout', bridge: 'br0' };
  const config = { ...base, mtu: 1400, ipam, capabilities: { mac: true } };
  const reserved = () => readdirSync(join(scratch, 'ipam/net1')).filter((name) => /^(10|fd)/.test(name)).length;
  const [a, b] = [await pod(t, 'a'), await pod(t, 'b')];
  let added: Json;

  await t.test('VERSION and STATUS', async () => {
    const { json } = await callPlugin(sw, 'VERSION', { cniVersion: '1.0.0' });
    assert.deepEqual(json, { cniVersion: '1.0.0', supportedVersions: ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] });
    assert.deepEqual(await callPlugin(sw, 'STATUS', config), DONE);
    assert.equal((await callPlugin(sw, 'STATUS', { ...config, bridge: 'br9' })).json.code, 50);
    const nowhere = { ...config, socket_file: 'unix:/nonexistent' };
    assert.equal((await callPlugin(sw, 'STATUS', nowhere)).json.code, 50);
    assert.equal((await callPlugin(sw, 'STATUS', config, undefined, { OVS_RUNDIR: scratch })).json.code, 50);
    const elsewhere = { ...config, socket_file: `${sw.rundir}/db.sock` };
    assert.equal((await callPlugin(sw, 'STATUS', elsewhere, undefined, { OVS_RUNDIR: scratch })).json.code, 51);
  });

  await t.test('ADD gives an interface with addresses of IPAM, and a result of its version', async () => {
    const runtimeConfig = { mac: '02:00:00:00:00:0A', bandwidth: { egressRate: 8_000_000, egressBurst: 800_000 } };
    const { status, json, stderr } = await callPlugin(sw, 'ADD', { ...config, vlan: 5, runtimeConfig }, a);
    assert.equal(status, 0, JSON.stringify(json) + stderr);
    added = json;
    const host = json.interfaces[0].name;
    assert.match(host, /^[0-9a-f]{13}_l$/);
    assert.deepEqual(json, {
      cniVersion: '1.1.0',
      interfaces: [
        { name: host, mac: json.interfaces[0].mac, mtu: 1400 },
        { name: 'eth0', mac: '02:00:00:00:00:0a', sandbox: a.netns, mtu: 1400 },
      ],
      ips: [
        { address: '10.10.0.2/29', gateway: '10.10.0.1', interface: 1 },
        { address: 'fd00:10::2/64', gateway: 'fd00:10::1', interface: 1 },
      ],
      routes,
      dns: {},
    });
    const link = await linkOf(a);
    assert.equal(link.mtu, 1400);
    assert.ok(link.addr_info.some((one: Json) => one.local === 'fd00:10::2'));
    assert.match(await check(inside(a, 'ip', 'route')), /default via 10\.10\.0\.1 dev eth0/);
    const row = await sw.sh(
      `ovs-vsctl get port ${host} tag vlan_mode -- get interface ${host} ingress_policing_rate external_ids`,
    );
    assert.match(row, /^5\n"?access"?\n8000\n\{.*container_id=a-0123456789abcdef, container_iface=eth0/);
  });

  await t.test('the pods reach each other, and CHECK finds them whole', async () => {
    const other = await callPlugin(sw, 'ADD', { ...config, cniVersion: '0.3.1', vlan: 5 }, b);
    assert.deepEqual(other.json.ips[0], { version: '4', address: '10.10.0.3/29', gateway: '10.10.0.1', interface: 1 });
    assert.deepEqual(Object.keys(other.json.interfaces[1]).sort(), ['mac', 'name', 'sandbox']);
    await eventually('a pings b', async () => {
      return (await command(inside(a, 'ping', '-c', '1', '-W', '2', '10.10.0.3'))).status === 0 || undefined;
    });
    assert.deepEqual(await callPlugin(sw, 'CHECK', { ...config, vlan: 5, prevResult: added }, a), DONE);
  });

  await t.test('CHECK says what is wrong', async () => {
    const whole = { ...config, vlan: 5, prevResult: added };
    assert.match((await callPlugin(sw, 'CHECK', { ...whole, vlan: 6 }, a)).json.msg, /is in VLAN 5, not 6/);
    await check(inside(a, 'ip', 'address', 'del', '10.10.0.2/29', 'dev', 'eth0'));
    const { status, json } = await callPlugin(sw, 'CHECK', whole, a);
    assert.deepEqual([status, json.code, json.msg], [1, 103, 'eth0 does not have address 10.10.0.2/29']);
    assert.equal((await callPlugin(sw, 'CHECK', { ...config, vlan: 5 }, a)).json.code, 7);
  });

  await t.test('a second ADD is refused and changes nothing', async () => {
    const before = [await leftovers(sw), reserved()];
    const { status, json } = await callPlugin(sw, 'ADD', { ...config, vlan: 5 }, a);
    assert.deepEqual([status, json.code], [1, 4]);
    assert.match(json.details, /^CNI_IFNAME: the container already has an interface eth0$/);
    assert.deepEqual([await leftovers(sw), reserved()], before);
  });

  await t.test('DEL takes all away, also without ADD, twice, and when the namespace is gone', async () => {
    assert.deepEqual(await callPlugin(sw, 'DEL', { ...config, prevResult: added }, a), DONE);
    assert.equal(await linkOf(a), undefined);
    assert.deepEqual(await callPlugin(sw, 'DEL', config, a), DONE);
    assert.deepEqual(await callPlugin(sw, 'DEL', config, { ...a, containerId: 'never-added' }), DONE);
    const unreachable = await callPlugin(sw, 'DEL', { ...config, socket_file: '/nonexistent' }, b);
    assert.equal(unreachable.json.code, 11); // The runtime is to call again, but what can be done is done.
    assert.equal(await linkOf(b), undefined);
    await check(['ip', 'netns', 'delete', b.netns.split('/').at(-1)!]);
    assert.deepEqual(await callPlugin(sw, 'DEL', config, { ...b, netns: '' }, { CNI_NETNS: '' }), DONE);
    assert.deepEqual(await leftovers(sw), NOTHING);
    assert.equal(reserved(), 0);
  });

  await t.test('GC removes what no valid attachment has', async () => {
    const [stale, valid] = [
      { ...a, ifname: 'net1' },
      { ...a, ifname: 'net2' },
    ];
    const plain = { ...config, ipam: { ...ipam, routes: [] } };
    for (const one of [stale, valid]) assert.equal((await callPlugin(sw, 'ADD', plain, one)).status, 0);
    // Without the list nobody is known to be stale.
    const listless = await callPlugin(sw, 'GC', plain);
    assert.deepEqual([listless.status, listless.json?.code], [1, 7]);
    assert.ok(await linkOf(valid));
    const attachments = [{ containerID: valid.containerId, ifname: valid.ifname }];
    assert.deepEqual(await callPlugin(sw, 'GC', { ...plain, 'cni.dev/valid-attachments': attachments }), DONE);
    assert.equal(await linkOf(stale), undefined);
    assert.ok(await linkOf(valid));
    assert.equal(reserved(), 2);
    assert.deepEqual(await callPlugin(sw, 'GC', { ...plain, 'cni.dev/valid-attachments': null }), DONE);
    assert.deepEqual(await leftovers(sw), NOTHING);
    assert.equal(reserved(), 0);
  });

  await t.test('trunks, port numbers, mirrors and static addresses', async () => {
    const trunk = [{ id: 42 }, { minID: 100, maxID: 102 }];
    const mirrors = [{ name: 'span', ingress: true, egress: true }];
    const wide = { ...base, vlan: 7, trunk, ofport_request: 33, mirrors, interface_type: 'system' };
    const runtimeConfig = { ips: ['10.20.0.1/24'] };
    const { json, status } = await callPlugin(sw, 'ADD', { ...wide, runtimeConfig }, a);
    assert.equal(status, 0, JSON.stringify(json));
    const name = json.interfaces[0].name;
    const shown = await sw.sh(`ovs-vsctl get port ${name} tag trunks vlan_mode -- get interface ${name} ofport`);
    assert.equal(shown, '7\n[42, 100, 101, 102]\nnative-untagged\n33\n');
    const output = { ...a, ifname: 'tap0' };
    const consumer = { ...base, mirrors: [{ name: 'span', output: true }] };
    assert.equal((await callPlugin(sw, 'ADD', consumer, output)).status, 0);
    const port = await sw.sh(`ovs-vsctl get port ${name} _uuid`);
    assert.equal(await sw.sh('ovs-vsctl get mirror span select_src_port'), `[${port.trim()}]\n`);
    const taken = await callPlugin(sw, 'ADD', { ...base, vlan: 7, runtimeConfig }, { ...a, ifname: 'net9' });
    assert.match(taken.json.msg, /^address 10\.20\.0\.1 is in use by eth0 of a-0123456789abcdef \(port /);
    for (const one of [a, output]) assert.deepEqual(await callPlugin(sw, 'DEL', consumer, one), DONE);
    assert.equal(await sw.sh('ovs-vsctl list mirror'), '');
    assert.deepEqual(await leftovers(sw), NOTHING);
  });

  await t.test('a tap is the switch’s own device in the pod', async () => {
    const tap = {
      ...base,
      iftype: 'tap',
      mtu: 1300,
      runtimeConfig: { ips: ['10.30.0.1/24'], mac: '02:00:00:00:00:0b' },
    };
    const { json, status } = await callPlugin(sw, 'ADD', tap, a);
    assert.equal(status, 0, JSON.stringify(json));
    assert.deepEqual(json.interfaces, [{ name: 'eth0', mac: '02:00:00:00:00:0b', sandbox: a.netns, mtu: 1300 }]);
    await sw.sh('ip address add 10.30.0.254/24 dev br0; ip link set br0 up');
    await eventually('the pod reaches the host', async () => {
      return (await command(inside(a, 'ping', '-c', '1', '-W', '2', '10.30.0.254'))).status === 0 || undefined;
    });
    assert.deepEqual(await callPlugin(sw, 'CHECK', { ...tap, prevResult: json }, a), DONE);
    assert.deepEqual(await callPlugin(sw, 'DEL', tap, a), DONE);
    await eventually('the device is gone', async () => (await linkOf(a)) === undefined || undefined);
    assert.deepEqual(await leftovers(sw), NOTHING);
  });

  await t.test('in a chain it takes the interface of the plugin before', async () => {
    await check(inside(a, 'ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'made-before'));
    await check(inside(a, 'ip', 'link', 'set', 'made-before', 'netns', String(sw.pid('ovs-vswitchd'))));
    const interfaces = [{ name: 'made-before' }, { name: 'eth0', sandbox: a.netns }];
    const prevResult = {
      cniVersion: '1.0.0',
      interfaces,
      ips: [{ address: '10.40.0.1/24', interface: 1 }],
      routes: [],
      dns: {},
    };
    const chained = { ...base, cniVersion: '1.0.0', prevResult };
    assert.deepEqual((await callPlugin(sw, 'ADD', chained, a)).json, prevResult);
    assert.deepEqual((await leftovers(sw)).ports, ['made-before']);
    assert.deepEqual(await callPlugin(sw, 'DEL', chained, a), DONE);
    assert.deepEqual(await leftovers(sw), NOTHING);
    await check(inside(a, 'ip', 'link', 'del', 'eth0')); // It is not ours to delete.
  });

  await t.test('what fails leaves nothing behind', async () => {
    const refusals: [string, object, Partial<Attachment>, number][] = [
      ['the namespace is gone', config, { netns: '/run/netns/turnout-nowhere' }, 3],
      ['the host’s own namespace', config, { netns: `/proc/${sw.pid('ovs-vswitchd')}/ns/net` }, 4],
      ['no such bridge', { ...config, bridge: 'br9' }, {}, 7],
      ['an address that is taken', { ...config, args: { cni: { ips: ['10.10.0.1'] } } }, {}, 999], // host-local's own code
      [
        'a route that cannot be',
        { ...config, ipam: { ...ipam, routes: [{ dst: '10.99.0.0/16', gw: '192.0.2.1' }] } },
        {},
        101,
      ],
      ['another database', { ...config, socket_file: '/nonexistent' }, {}, 11],
      ['no such plugin', { ...config, ipam: { type: 'nobody' } }, {}, 7],
    ];
    for (const [what, wrong, to, code] of refusals) {
      const { status, json } = await callPlugin(sw, 'ADD', wrong, { ...a, ...to });
      assert.deepEqual([what, status, json?.code, typeof json?.msg], [what, 1, code, 'string'], JSON.stringify(json));
      assert.deepEqual(await leftovers(sw), NOTHING, what);
      assert.equal(await linkOf(a), undefined, what);
    }
    assert.equal(reserved(), 0);
  });

  await t.test('a name that somebody else has on the bridge is refused, and stays', async () => {
    const first = await callPlugin(sw, 'ADD', base, a);
    const name = first.json.interfaces[0].name;
    assert.deepEqual(await callPlugin(sw, 'DEL', base, a), DONE);
    await sw.sh(`ovs-vsctl add-port br0 ${name} -- set interface ${name} type=internal`);
    const { json } = await callPlugin(sw, 'ADD', config, a);
    assert.ok(json.code === 100 || json.code === 101, JSON.stringify(json));
    assert.deepEqual((await leftovers(sw)).ports, [name]);
    await sw.sh(`ovs-vsctl del-port ${name}`);
    assert.equal(reserved(), 0);
  });

  await t.test('a full disk during ADD', async () => {
    const full = join(scratch, 'full');
    mkdirSync(full);
    await check(['mount', '-t', 'tmpfs', '-o', 'size=16k', 'none', full]);
    defer(t, () => command(['umount', full]));
    const onIt = { ...config, ipam: { ...ipam, dataDir: join(full, 'ipam') } };
    const before = await command(['sh', '-c', `dd if=/dev/zero of=${full}/filler bs=1k 2>/dev/null`]);
    assert.notEqual(before.status, 0);
    const { status, json } = await callPlugin(sw, 'ADD', onIt, a);
    assert.equal(status, 1);
    assert.match(json.msg + json.details, /no space left on device/);
    assert.deepEqual(await leftovers(sw), NOTHING);
    assert.equal(await linkOf(a), undefined);
    rmSync(join(full, 'filler'));
    assert.equal((await callPlugin(sw, 'ADD', onIt, a)).status, 0);
    assert.deepEqual(await callPlugin(sw, 'DEL', onIt, a), DONE);
  });
});

test('pods with a DPDK application', async (t) => {
  if (!requirePeer(t, ...PLUG_PEERS, 'cni-plugins')) return;
  const sw = await Switch.start(t);
  if (SWITCH === 'ovs') await sw.initDpdk();
  await sw.sh('ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev');
  const at = await pod(t, 'dpdk');
  const short = at.containerId.slice(0, 12);
  const sharedDir = join(sw.root, 'shared');
  const infoFile = join(sw.root, 'devinfo/dpdk-net1.json');
  const base = { cniVersion: '1.1.0', name: 'net2', type: 'turnout', bridge: 'br0', iftype: 'vhostuser', sharedDir };
  const runtimeConfig = { CNIDeviceInfoFile: infoFile, mac: '02:00:00:00:00:0c' };

  await t.test('the application makes the socket', async () => {
    const config = { ...base, vhost: { mode: 'server', group: 'daemon', permissions: '0660' }, runtimeConfig };
    const { json, status } = await callPlugin(sw, 'ADD', config, at);
    assert.equal(status, 0, JSON.stringify(json));
    const socketPath = join(sharedDir, short, `${short}-eth0`);
    assert.deepEqual(json.interfaces, [{ name: 'eth0', mac: '02:00:00:00:00:0c', sandbox: at.netns, socketPath }]);
    const info = { type: 'vhost-user', version: '1.1.0', 'vhost-user': { mode: 'server', path: socketPath } };
    assert.deepEqual(JSON.parse(await check(['cat', infoFile])), info);
    const folder = statSync(join(sharedDir, short));
    assert.deepEqual([folder.mode & 0o777, folder.gid], [0o770, 1]);
    const [port] = (await leftovers(sw)).ports;
    assert.equal(await sw.sh(`ovs-vsctl get interface ${port} type`), 'dpdkvhostuserclient\n');
    assert.deepEqual(await callPlugin(sw, 'CHECK', { ...config, prevResult: json }, at), DONE);
    assert.equal((await callPlugin(sw, 'ADD', config, at)).json.code, 104);
    assert.deepEqual(await callPlugin(sw, 'DEL', config, at), DONE);
    assert.deepEqual(await leftovers(sw), NOTHING);
    assert.ok(!existsSync(join(sharedDir, short)));
    rmSync(infoFile);
  });

  await t.test('the switch makes the socket', async () => {
    const config = { ...base, vhost: { mode: 'client', group: 'daemon' } };
    const { json, status } = await callPlugin(sw, 'ADD', config, at);
    assert.equal(status, 0, JSON.stringify(json));
    const socket = statSync(json.interfaces[0].socketPath);
    assert.ok(socket.isSocket());
    assert.deepEqual([socket.mode & 0o777, socket.gid], [0o660, 1]);
    assert.deepEqual(await callPlugin(sw, 'DEL', config, at), DONE);
    assert.ok(!existsSync(json.interfaces[0].socketPath));
  });

  await t.test('a long path is made short for the switch, and one that cannot be is refused', async () => {
    const long = join(sharedDir, 'pods'.padEnd(60, '-'), 'volumes'.padEnd(60, '-'));
    const config = { ...base, sharedDir: long };
    const { json, status } = await callPlugin(sw, 'ADD', config, at);
    assert.equal(status, 0, JSON.stringify(json));
    assert.equal(json.interfaces[0].socketPath, join(long, short, `${short}-eth0`));
    const [port] = (await leftovers(sw)).ports;
    const path = JSON.parse(await sw.sh(`ovs-vsctl get interface ${port} options:vhost-server-path`));
    assert.ok(path.length <= 107, path);
    writeFileSync(json.interfaces[0].socketPath, '');
    assert.ok(existsSync(path));
    assert.deepEqual(await callPlugin(sw, 'DEL', config, at), DONE);
    assert.deepEqual([existsSync(path), existsSync(join(long, short))], [false, false]);
    const refused = await callPlugin(sw, 'ADD', { ...config, vhost: { socketfile: 's'.repeat(120) } }, at);
    assert.deepEqual([refused.json.code, existsSync(join(long, short))], [7, false]);
  });

  await t.test('userspace-cni’s configuration, and its word to the application', async () => {
    const vhost = (mode: string) => ({ engine: 'ovs-dpdk', iftype: 'vhostuser', vhost: { mode } });
    const host = { ...vhost('client'), netType: 'bridge', bridge: { bridgeName: 'br-4' } };
    const config = {
      ...{ cniVersion: '0.3.1', type: 'userspace', name: 'userspace-ovs-net-1', sharedDir, logLevel: 'debug' },
      ...{ host, container: { ...vhost('server'), netType: 'interface' } },
    };
    const { json, status } = await callPlugin(sw, 'ADD', config, at);
    assert.equal(status, 0, JSON.stringify(json));
    assert.equal((await sw.sh('ovs-vsctl get bridge br-4 datapath_type')).trim(), 'netdev');
    const data = JSON.parse(await check(['cat', join(sharedDir, short, `configData-${short}-eth0.json`)]));
    assert.deepEqual([data.containerId, data.ifName, data.name], [at.containerId, 'eth0', 'userspace-ovs-net-1']);
    assert.deepEqual(data.config.vhost, { mode: 'server', socketfile: `${short}-eth0` });
    assert.deepEqual(await callPlugin(sw, 'DEL', config, at), DONE);
    assert.ok(!existsSync(join(sharedDir, short)));
  });

  await t.test('with a kubeconfig the pod’s volume holds the socket, and its annotations tell of it', async (t) => {
    const volume = join(sw.root, 'volume');
    const api = await startPodApi(t, volume);
    const kubeconfig = join(sw.root, 'multus.kubeconfig');
    writeFileSync(
      kubeconfig,
      `apiVersion: v1\nkind: Config\nclusters:\n- name: local\n  cluster:\n    server: ${api.url}\n` +
        'users:\n- name: multus\n  user:\n    token: "secret"\n' +
        'contexts:\n- name: c\n  context:\n    cluster: local\n    user: multus\ncurrent-context: c\n',
    );
    const host = { engine: 'ovs-dpdk', iftype: 'vhostuser', vhost: { mode: 'client' }, bridge: { bridgeName: 'br0' } };
    const config = {
      cniVersion: '0.3.1',
      type: 'userspace',
      name: 'userspace-ovs-net-1',
      kubeconfig,
      host,
      container: {},
    };
    const env = { CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=ovs;K8S_POD_NAME=app1' };
    const { json, status } = await callPlugin(sw, 'ADD', config, at, env, []);
    assert.equal(status, 0, JSON.stringify(json));
    const [port] = (await leftovers(sw)).ports;
    const path = await sw.sh(`ovs-vsctl get interface ${port} options:vhost-server-path`);
    assert.equal(JSON.parse(path), join(volume, `${short}-eth0`));
    const [told] = JSON.parse(api.annotations['userspace/configuration-data']!);
    assert.deepEqual(told.config.vhost, { mode: 'server', socketfile: `${short}-eth0` });
    assert.equal(api.annotations['userspace/mapped-dir'], '/var/lib/cni/usrspcni/');
    assert.deepEqual(await callPlugin(sw, 'DEL', config, at, env, []), DONE);
    assert.ok(existsSync(volume));
    assert.deepEqual(await leftovers(sw), NOTHING);
  });

  await t.test('a full disk when the device information is written', async () => {
    const full = join(sw.root, 'full');
    mkdirSync(full);
    await check(['mount', '-t', 'tmpfs', '-o', 'size=4k', 'none', full]);
    defer(t, () => command(['umount', full]));
    await command(['sh', '-c', `dd if=/dev/zero of=${full}/filler bs=1k 2>/dev/null`]);
    const config = { ...base, runtimeConfig: { CNIDeviceInfoFile: join(full, 'info.json') } };
    const { json } = await callPlugin(sw, 'ADD', config, at);
    assert.deepEqual([json.code, /ENOSPC/.test(json.msg)], [5, true]);
    assert.deepEqual(await leftovers(sw), NOTHING);
    assert.deepEqual([existsSync(join(sharedDir, short)), readdirSync(full)], [false, ['filler']]);
  });
});

/** What the plugin asks of the Kubernetes API, for the pod app1 of the namespace ovs. */
async function startPodApi(t: TestContext, volume: string) {
  const annotations: Record<string, string> = {};
  const spec = {
    volumes: [{ name: 'shared-dir', hostPath: { path: volume } }],
    containers: [{ name: 'app', volumeMounts: [{ name: 'shared-dir', mountPath: '/var/lib/cni/usrspcni/' }] }],
  };
  const server = createServer((request, response) => {
    const isKnown =
      request.url === '/api/v1/namespaces/ovs/pods/app1' && request.headers.authorization === 'Bearer secret';
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      if (request.method === 'PATCH') Object.assign(annotations, JSON.parse(body).metadata.annotations);
      response.writeHead(isKnown ? 200 : 403).end(JSON.stringify({ metadata: { uid: 'u', annotations }, spec }));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(t, () => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, annotations };
}
