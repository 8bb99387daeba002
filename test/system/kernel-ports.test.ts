/** Containers with an ordinary kernel stack: network namespaces on veth pairs, with the offloads that the kernel gives them. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { check, command, eventually } from '../../bench/peers/process.ts';
import { parsePcap } from '../../src/base/pcap.ts';
import { requirePeer } from '../support/require.ts';
import { defer } from './support/cleanup.ts';
import { makeNetns, type Netns } from './support/netns.ts';
import { Switch } from './support/switch.ts';

const PEERS = ['root', 'netns', 'ovs-ctl', 'ovs-vsctl', 'ping', 'iperf3'];

/** Runs a file of tests in a network namespace of its own; `nTests` of them pass. */
function passes(t: TestContext, file: string, nTests: number): void {
  if (!requirePeer(t, 'netns')) return;
  const suite = fileURLToPath(new URL(file, import.meta.url));
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
  const run = spawnSync('unshare', ['-n', process.execPath, '--disable-warning=ExperimentalWarning', '--test', suite], {
    env,
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(run.status, 0, run.stdout + run.stderr);
  assert.match(run.stdout, new RegExp(`pass ${nTests}\\b`));
}

test('a packet socket keeps the contract of devices and follows the host', (t) => {
  passes(t, 'support/packet-suite.ts', 8);
});

test('AF_XDP sockets keep the contract of devices, follow the host and leave nothing behind', (t) => {
  passes(t, 'support/xdp-suite.ts', 20);
});

/** A namespace whose eth0 is the other end of `veth`, an interface of the switch's host. */
class Container {
  readonly netns: Netns;
  readonly veth: string;
  readonly #n: number;

  constructor(netns: Netns, veth: string, n: number) {
    this.netns = netns;
    this.veth = veth;
    this.#n = n;
  }

  /** `n`: its addresses are 192.0.2.n and 2001:db8::n. */
  static async make(t: TestContext, sw: Switch, n: number, nQueues = 1): Promise<Container> {
    const self = new Container(await makeNetns(t, `c${n}`), `veth${n}`, n);
    await self.plug(sw, nQueues);
    return self;
  }

  get address(): string {
    return `192.0.2.${this.#n}`;
  }

  get address6(): string {
    return `2001:db8::${this.#n}`;
  }

  /** Makes the veth pair. */
  async plug(sw: Switch, nQueues = 1): Promise<void> {
    const { name } = this.netns;
    const queues = `numrxqueues ${nQueues} numtxqueues ${nQueues}`;
    await sw.sh(`ip link add ${this.veth} ${queues} type veth peer name eth0 netns ${name} ${queues}
      ip link set ${this.veth} up`);
    await check(['ip', '-n', name, 'address', 'add', `${this.address}/24`, 'dev', 'eth0']);
    await check(['ip', '-n', name, 'address', 'add', `${this.address6}/64`, 'dev', 'eth0', 'nodad']);
    await check(['ip', '-n', name, 'link', 'set', 'eth0', 'up']);
  }

  async ping(to: string): Promise<void> {
    await eventually(`${this.veth} pings ${to}`, async () => {
      const { status } = await command([...this.netns.prefix, 'ping', '-c', '1', '-W', '1', to]);
      return status === 0 || undefined;
    });
  }
}

/** Bytes and datagrams that arrived at `server`, which has `address`, of a TCP or UDP transfer from `client`. */
async function iperf(client: Netns, server: Netns, address: string, ...options: string[]) {
  const [program, ...prefix] = server.prefix;
  const stdio = ['ignore', 'pipe', 'inherit'] as ['ignore', 'pipe', 'inherit'];
  const listening = spawn(program!, [...prefix, 'iperf3', '-s', '-1', '--forceflush'], { stdio });
  const ended = once(listening, 'exit');
  await once(listening.stdout, 'data');
  const out = await check([...client.prefix, 'iperf3', '-J', '-c', address, ...options]);
  await ended;
  const { end } = JSON.parse(out) as { end: { sum: IperfSum; sum_received?: IperfSum } };
  const { bytes, packets, lost_packets } = end.sum_received ?? end.sum;
  return { bytes, packets: packets ?? 0, lost: lost_packets ?? 0 };
}

interface IperfSum {
  bytes: number;
  packets?: number;
  lost_packets?: number;
}

/** In frames of up to 64 KiB, as the kernel makes them; wrong checksums or segments would stop it. */
async function carriesTcp(client: Netns, server: Netns, address: string, ...options: string[]): Promise<void> {
  const { bytes } = await iperf(client, server, address, '-n', '20M', ...options);
  // What is still under way when the sender ends is not counted.
  assert.ok(bytes >= 10 << 20, `${bytes} bytes came to ${address} ${options.join(' ')}`);
}

async function makeBridge(sw: Switch, ...containers: Container[]): Promise<void> {
  const ports = containers.map(({ veth }) => `-- add-port br0 ${veth}`).join(' ');
  await sw.sh(`ovs-vsctl --no-wait set Open_vSwitch . other_config:pmd-cpu-mask=0x1
    ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev ${ports}`);
}

test('two containers talk through the switch with checksum and segmentation offload on', async (t) => {
  if (!requirePeer(t, ...PEERS)) return;
  const sw = await Switch.start(t);
  const a = await Container.make(t, sw, 1);
  const b = await Container.make(t, sw, 2);
  await makeBridge(sw, a, b);
  await a.ping(b.address);
  await b.ping(a.address6);
  await carriesTcp(a.netns, b.netns, b.address);
  await carriesTcp(a.netns, b.netns, b.address, '-R');
  await carriesTcp(a.netns, b.netns, b.address6);
  const udp = await iperf(a.netns, b.netns, b.address, '-u', '-b', '20M', '-n', '1M', '-l', '1400');
  assert.ok(udp.packets > 700 && udp.lost < udp.packets / 2, JSON.stringify(udp));
  assert.equal(await sw.interfaceColumn(a.veth, 'status:driver_name'), 'veth');
  assert.equal(await sw.interfaceColumn(a.veth, 'statistics:rx_errors'), '0');
});

test('two containers talk by AF_XDP, with two queues, checksums that their kernels leave undone, and a program that goes with the port', async (t) => {
  if (!requirePeer(t, ...PEERS)) return;
  const sw = await Switch.start(t);
  const a = await Container.make(t, sw, 1, 2);
  const b = await Container.make(t, sw, 2, 2);
  await sw.sh('ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-init=true');
  await makeBridge(sw, a, b);
  await sw.sh(`ovs-vsctl set Interface ${a.veth} type=afxdp options:n_rxq=2
    ovs-vsctl set Interface ${b.veth} options:xdp-mode=native options:use-need-wakeup=false`);
  for (const { veth } of [a, b]) assert.equal(await sw.interfaceColumn(veth, 'status:xdp-mode'), 'native');
  await a.ping(b.address);
  await b.ping(a.address6);
  await carriesTcp(a.netns, b.netns, b.address);
  await carriesTcp(a.netns, b.netns, b.address6, '-R', '-P', '4');
  const udp = await iperf(a.netns, b.netns, b.address, '-u', '-b', '20M', '-n', '1M', '-l', '1400');
  assert.ok(udp.packets > 700 && udp.lost < udp.packets / 2, JSON.stringify(udp));
  assert.match(await sw.sh('ovs-appctl dpif-netdev/pmd-rxq-show'), new RegExp(`port: ${a.veth} +queue-id: +1`));
  assert.equal(await sw.interfaceColumn(a.veth, 'statistics:rx_errors'), '0');
  // A mode that cannot be had is an error, and the other port goes on; with it taken back the port is there again.
  await sw.sh(`ovs-vsctl set Interface ${b.veth} options:xdp-mode=native-with-zerocopy`);
  assert.match(await sw.interfaceColumn(b.veth, 'error'), /AF_XDP can't be had \(native-with-zerocopy: /);
  await sw.sh(`ovs-vsctl remove Interface ${b.veth} options xdp-mode`);
  assert.equal(await sw.interfaceColumn(b.veth, 'error'), '[]');
  await a.ping(b.address);
  await sw.sh(`ovs-vsctl del-port ${b.veth}
    ovs-vsctl add-port br0 p2 -- set Interface p2 type=dpdk 'options:dpdk-devargs="net_af_xdp0,iface=${b.veth},queue_count=2"'`);
  assert.equal(await sw.interfaceColumn('p2', 'status:driver_name'), 'net_af_xdp');
  await a.ping(b.address);
  await sw.sh(`ovs-vsctl del-port ${a.veth}`);
  assert.doesNotMatch(await sw.sh(`ip link show ${a.veth}`), /xdp/);
});

test("a host talks to containers by its bridge's own port, with checksum and segmentation offload on", async (t) => {
  if (!requirePeer(t, ...PEERS)) return;
  const sw = await Switch.start(t);
  const a = await Container.make(t, sw, 1);
  await makeBridge(sw, a);
  await sw.sh('ip address add 192.0.2.9/24 dev br0; ip link set br0 up');
  await sw.waitForLink('br0', 'up');
  await a.ping('192.0.2.9');
  await carriesTcp(a.netns, sw.netns, '192.0.2.9');
  await carriesTcp(a.netns, sw.netns, '192.0.2.9', '-R');
  assert.match(await sw.sh('ovs-appctl dpif-netdev/pmd-rxq-show'), /port: br0 +queue-id: +0 +\(enabled\)/);
  assert.equal(await sw.interfaceColumn('br0', 'statistics:rx_errors'), '0');
  await sw.sh('ip link set br0 down');
  await sw.waitForLink('br0', 'down');
});

test("DPDK's virtual devices are ports, by the arguments that users of DPDK know", async (t) => {
  if (!requirePeer(t, ...PEERS)) return;
  const sw = await Switch.start(t);
  const a = await Container.make(t, sw, 1);
  const b = await makeNetns(t, 'c2');
  await sw.sh(`ovs-vsctl --no-wait set Open_vSwitch . other_config:dpdk-init=true other_config:pmd-cpu-mask=0x1
    ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev
    ovs-vsctl add-port br0 p1 -- set Interface p1 type=dpdk options:dpdk-devargs=net_af_packet0,iface=${a.veth}
    ovs-vsctl add-port br0 p2 -- set Interface p2 type=dpdk options:dpdk-devargs=net_tap01,path=/dev/vhost-net,iface=tap01`);
  assert.equal(await sw.interfaceColumn('p2', 'status:driver_name'), 'net_tap');
  assert.equal(await sw.interfaceColumn('p2', 'link_state'), 'up');
  assert.match(sw.log('ovs-vswitchd'), /net_tap01: unknown argument 'path' ignored/);
  // The tap becomes a container's own interface, and stays the port's.
  await sw.sh(`ip link set tap01 netns ${b.name}`);
  await check(['ip', '-n', b.name, 'address', 'add', '192.0.2.2/24', 'dev', 'tap01']);
  await check(['ip', '-n', b.name, 'link', 'set', 'tap01', 'up']);
  await a.ping('192.0.2.2');
  await carriesTcp(a.netns, b, '192.0.2.2');
  await carriesTcp(a.netns, b, '192.0.2.2', '-R');
  assert.equal(await sw.interfaceColumn('p2', 'error'), '[]');
  const capture = join(sw.root, 'out.pcap');
  const refused = ['virtio_user0,path=/no/vhost-net,iface=virtiouser0', 'net_tap01,iface=tap02', 'net_bonding0'];
  const devices = ['net_null0,no-rx=1', 'net_ring0', `net_pcap0,tx_pcap=${capture}`, ...refused];
  await sw.sh(
    devices
      .map(
        (device, i) =>
          `ovs-vsctl add-port br0 d${i} -- set Interface d${i} type=dpdk 'options:dpdk-devargs="${device}"'`,
      )
      .join('\n'),
  );
  for (const [i, device] of refused.entries())
    assert.match(
      await sw.interfaceColumn(`d${i + 3}`, 'error'),
      new RegExp(`Error attaching device '${device}' to DPDK: .+`),
    );
  // What goes into the ring comes out of it, and goes into the capture.
  await sw.sh(`ovs-ofctl del-flows br0
    ovs-ofctl add-flow br0 in_port=p1,actions=output:d1
    ovs-ofctl add-flow br0 in_port=d1,actions=output:d0,output:d2`);
  await command([...a.netns.prefix, 'ping', '-c', '1', '-W', '1', '192.0.2.77']);
  await eventually('the ARP request is in the capture', async () => {
    const frames = parsePcap(readFileSync(capture)).map(({ data }) => Buffer.from(data).toString('hex'));
    return frames.some((hex) => /^f{12}.{12}0806.*c000024d/.test(hex)) || undefined;
  });
});

test('a port follows its veth, also one that is deleted and made again', async (t) => {
  if (!requirePeer(t, ...PEERS)) return;
  const sw = await Switch.start(t);
  const a = await Container.make(t, sw, 1);
  const b = await Container.make(t, sw, 2);
  await makeBridge(sw, a, b);
  await a.ping(b.address);
  await check(['ip', '-n', a.netns.name, 'link', 'set', 'eth0', 'down']);
  await sw.waitForLink(a.veth, 'down');
  assert.equal(await sw.interfaceColumn(a.veth, 'admin_state'), 'up');
  await check(['ip', '-n', a.netns.name, 'link', 'set', 'eth0', 'up']);
  await sw.waitForLink(a.veth, 'up');
  await a.ping(b.address);
  await sw.sh(`ip link delete ${b.veth}`);
  await eventually('the port says that its device is gone', async () => {
    const error = await sw.interfaceColumn(b.veth, 'error');
    return error === `"could not open network device ${b.veth} (No such device)"` || undefined;
  });
  assert.equal(await sw.interfaceColumn(b.veth, 'ofport'), '-1');
  await b.plug(sw);
  await sw.waitForLink(b.veth, 'up');
  assert.equal(await sw.interfaceColumn(b.veth, 'error'), '[]');
  await check(['ip', '-n', a.netns.name, 'neigh', 'flush', 'dev', 'eth0']);
  await a.ping(b.address);
});

test('VLAN tags that the kernel takes out of frames are seen by flows and put back', async (t) => {
  if (!requirePeer(t, ...PEERS, 'ovs-ofctl', 'python3')) return;
  const sw = await Switch.start(t);
  const a = await Container.make(t, sw, 1);
  const b = await Container.make(t, sw, 2);
  await makeBridge(sw, a, b);
  await sw.sh(`ovs-ofctl del-flows br0
    ovs-ofctl add-flow br0 in_port=${a.veth},dl_vlan=100,actions=mod_vlan_vid:200,output:${b.veth}`);
  const heard = spawn(b.netns.prefix[0]!, [...b.netns.prefix.slice(1), 'python3', '-c', HEAR_TAGGED], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  defer(t, () => heard.kill());
  const [first] = (await once(heard.stdout, 'data')) as [Buffer];
  assert.match(first.toString(), /^ready/);
  const line = once(heard.stdout, 'data') as Promise<[Buffer]>;
  await check([...a.netns.prefix, 'python3', '-c', SEND_TAGGED]);
  const [said] = await line;
  assert.match(said.toString().trim(), /^200$/);
});

/** Ethertype 0x88b5 (for experiments) behind tag 100. */
const SEND_TAGGED = `
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
s.send(bytes.fromhex("020000000002" "020000000001" "81000064" "88b5") + bytes(46))
`;

/** Prints the VLAN of the first such frame: by PACKET_AUXDATA, for this kernel strips the tag, too. */
const HEAR_TAGGED = `
import os, socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(263, 8, 1)
s.bind(("eth0", 3))
os.write(1, b"ready\\n")
while True:
    data, anc, _, _ = s.recvmsg(2048, 64)
    if data[12:14] == b"\\x81\\x00" and data[16:18] == b"\\x88\\xb5":
        os.write(1, b"%d\\n" % (struct.unpack("!H", data[14:16])[0] & 0xfff))
        break
    if data[12:14] == b"\\x88\\xb5":
        tci = struct.unpack("IIIHHHH", anc[0][2][:20])[5]
        os.write(1, b"%d\\n" % (tci & 0xfff))
        break
`;
