/** Overlays: a container behind a tunnel of the switch; the far end, in another namespace, is the kernel's own vxlan device or the real Open vSwitch. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { check, command, eventually } from '../../bench/peers/process.ts';
import { requirePeer } from '../support/require.ts';
import { makeNetns, type Netns } from './support/netns.ts';
import { Switch } from './support/switch.ts';

const PEERS = ['root', 'netns', 'ovs-ctl', 'ovs-vsctl', 'ping', 'iperf3'];

/** A kind of tunnel: the kernel's device at the far end (arguments of `ip link add TYPE`), and the switch's port. */
interface Kind {
  name: string;
  device: string;
  options: string;
}

const VXLAN_KINDS: readonly Kind[] = [
  {
    name: 'vxlan',
    device: 'vxlan id 7 remote 172.31.1.1 dstport 4789 dev eth0',
    options: 'type=vxlan options:remote_ip=172.31.1.100 options:key=7',
  },
  {
    name: 'vxlan over IPv6',
    device: 'vxlan id 7 remote fd31::1 dstport 4789 dev eth0',
    options: 'type=vxlan options:remote_ip=fd31::100 options:key=7',
  },
];

/** Options of both ends' ports; the remote address is left out. `slow`: every packet takes the control thread. */
const OVS_KINDS: readonly { name: string; options: string; six?: boolean; slow?: boolean }[] = [
  { name: 'geneve', options: 'type=geneve options:key=7' },
  { name: 'geneve over IPv6', options: 'type=geneve options:key=7', six: true },
  { name: 'gre with a key and a checksum', options: 'type=gre options:key=7 options:csum=true' },
  { name: 'vxlan with a checksum', options: 'type=vxlan options:key=7 options:csum=true' },
  { name: 'erspan', options: 'type=erspan options:key=7 options:erspan_ver=1 options:erspan_idx=3', slow: true },
];

const MTU = 1400;

/** A namespace beyond the underlay, whose `tun0` is the kernel's end of the tunnel. */
async function farEnd(t: TestContext, sw: Switch): Promise<Netns> {
  const far = await makeNetns(t, 'far');
  await sw.sh(`ip link add phy0 type veth peer name eth0 netns ${far.name}; ip link set phy0 up`);
  await check(['ip', '-n', far.name, 'address', 'add', '172.31.1.100/24', 'dev', 'eth0']);
  await check(['ip', '-n', far.name, 'address', 'add', 'fd31::100/64', 'dev', 'eth0', 'nodad']);
  await check(['ip', '-n', far.name, 'link', 'set', 'eth0', 'up']);
  return far;
}

async function container(t: TestContext, sw: Switch): Promise<Netns> {
  const netns = await makeNetns(t, 'c1');
  await sw.sh(`ip link add veth1 type veth peer name eth0 netns ${netns.name}; ip link set veth1 up`);
  await check(['ip', '-n', netns.name, 'address', 'add', '10.1.1.1/24', 'dev', 'eth0']);
  await check(['ip', '-n', netns.name, 'link', 'set', 'eth0', 'up', 'mtu', `${MTU}`]);
  return netns;
}

/** The underlay is a bridge with an address, as Open vSwitch's guide sets it up. */
async function makeBridges(sw: Switch): Promise<void> {
  await sw.sh(`ovs-vsctl --no-wait set Open_vSwitch . other_config:pmd-cpu-mask=0x1
    ovs-vsctl add-br br-phy -- set bridge br-phy datapath_type=netdev -- add-port br-phy phy0
    ovs-vsctl add-br br-int -- set bridge br-int datapath_type=netdev -- add-port br-int veth1
    ip address add 172.31.1.1/24 dev br-phy
    ip address add fd31::1/64 dev br-phy nodad
    ip link set br-phy up`);
  for (const line of [
    /^Cached: 172\.31\.1\.0\/24 dev br-phy SRC 172\.31\.1\.1$/m,
    /^Cached: 172\.31\.1\.1\/32 dev br-phy SRC 172\.31\.1\.1 local$/m,
  ])
    await eventually(`a route ${line}`, async () => line.test(await sw.sh('ovs-appctl ovs/route/show')) || undefined);
}

async function pings(netns: Netns, to: string): Promise<void> {
  await eventually(`${netns.name} pings ${to}`, async () => {
    const { status } = await command([...netns.prefix, 'ping', '-c', '1', '-W', '1', to]);
    return status === 0 || undefined;
  });
}

async function carriesTcp(client: Netns, server: Netns, address: string, ...options: string[]): Promise<void> {
  const [program, ...prefix] = server.prefix;
  const listening = spawn(program!, [...prefix, 'iperf3', '-s', '-1', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(listening, 'exit');
  await once(listening.stdout, 'data');
  const out = await check([...client.prefix, 'iperf3', '-J', '-n', '8M', '-c', address, ...options]);
  await ended;
  const { bytes } = (JSON.parse(out) as { end: { sum_received: { bytes: number } } }).end.sum_received;
  // What is still under way when the sender ends is not counted.
  assert.ok(bytes >= 1 << 20, `${bytes} bytes came to ${address}`);
}

test('containers on both sides of a tunnel talk to each other; the far end is the kernel', async (t) => {
  if (!requirePeer(t, ...PEERS)) return;
  const sw = await Switch.start(t);
  const far = await farEnd(t, sw);
  const near = await container(t, sw);
  await makeBridges(sw);
  for (const { name, device, options } of VXLAN_KINDS)
    await t.test(name, async () => {
      await check(['sh', '-c', `ip -n ${far.name} link add tun0 type ${device}`]);
      await check(['ip', '-n', far.name, 'address', 'add', '10.1.1.100/24', 'dev', 'tun0']);
      await check(['ip', '-n', far.name, 'link', 'set', 'tun0', 'up', 'mtu', `${MTU}`, 'gso_max_segs', '1']);
      await sw.sh(`ovs-vsctl add-port br-int tun0 -- set Interface tun0 ${options}`);
      await pings(near, '10.1.1.100');
      await pings(far, '10.1.1.1');
      await carriesTcp(near, far, '10.1.1.100');
      await carriesTcp(near, far, '10.1.1.100', '-R');
      await sw.sh('ovs-vsctl del-port tun0');
      await check(['ip', '-n', far.name, 'link', 'delete', 'tun0']);
      await command(['ip', '-n', near.name, 'neigh', 'flush', 'dev', 'eth0']);
    });
});

test('containers on both sides of a tunnel talk to each other; the far end is the real Open vSwitch', async (t) => {
  if (!requirePeer(t, ...PEERS, 'ovs-dpdk')) return;
  const sw = await Switch.start(t);
  const real = await Switch.start(t, { 'ovs-vswitchd': 'ovs', 'ovsdb-server': 'ovs' });
  await sw.sh(`ip link add phy0 type veth peer name phy0 netns ${real.netns.name}; ip link set phy0 up`);
  const near = await container(t, sw);
  await makeBridges(sw);
  await real.sh(`ip link set phy0 up
    ovs-vsctl add-br br-phy -- set bridge br-phy datapath_type=netdev -- add-port br-phy phy0
    ovs-vsctl add-br br-int -- set bridge br-int datapath_type=netdev
    ip address add 172.31.1.100/24 dev br-phy
    ip address add fd31::100/64 dev br-phy nodad
    ip link set br-phy up
    ip address add 10.1.1.100/24 dev br-int
    ip link set br-int up mtu ${MTU}`);
  for (const { name, options, six, slow } of OVS_KINDS)
    await t.test(name, async () => {
      const add = (remote: string) =>
        `ovs-vsctl add-port br-int tun0 -- set Interface tun0 ${options} options:remote_ip=${remote}`;
      await real.sh(add(six ? 'fd31::1' : '172.31.1.1'));
      await sw.sh(add(six ? 'fd31::100' : '172.31.1.100'));
      await pings(near, '10.1.1.100');
      await pings(real.netns, '10.1.1.1');
      if (!slow) await carriesTcp(near, real.netns, '10.1.1.100');
      if (!slow) await carriesTcp(near, real.netns, '10.1.1.100', '-R');
      await sw.sh('ovs-vsctl del-port tun0');
      await real.sh('ovs-vsctl del-port tun0');
    });
});
