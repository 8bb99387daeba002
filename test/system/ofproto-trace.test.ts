import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { odpPort } from '../../src/base/types.ts';
import { parseOdpActions } from '../../src/dpif/odp-action-parse.ts';
import { executeActions } from '../../src/dpif/odp-execute.ts';
import { parseOdpFlow, splitTop } from '../../src/dpif/odp-parse.ts';
import { formatOdpFlow } from '../../src/dpif/odp-text.ts';
import { Flow } from '../../src/flow/flow.ts';
import type { Bridge } from '../../src/ofproto/bridge.ts';
import { flowToPacket } from '../../src/ofproto/trace.ts';
import { OfprotoRig } from '../support/ofproto-rig.ts';
import { random } from '../support/random.ts';
import { missingPeer, requirePeer } from '../support/require.ts';
import { RealOvs } from './support/ovs-dummy.ts';

/** Turnout's translation against that of the real ovs-vswitchd: same flows, same packets, same `ofproto/trace`, word for word. */

const PEERS = ['root', 'ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovs-ofctl', 'ovs-appctl', 'ovsdb-tool'];

type Pick = <T>(list: readonly T[]) => T;

const IPS = ['10.0.0.1', '10.0.0.2', '10.1.0.1', '192.168.0.1'];
const NETS = ['10.0.0.0/8', '10.0.0.0/24', '192.168.0.0/16', ...IPS];
const MACS = ['00:00:00:00:00:01', '00:00:00:00:00:02', '01:80:c2:00:00:00', 'ff:ff:ff:ff:ff:ff', '50:54:00:00:00:0a'];
const PORTS = ['80', '81', '443', '8080'];

function randomMatch(rnd: (n: number) => number, pick: Pick): string[] {
  const m: string[] = [];
  if (rnd(3) === 0) m.push(`in_port=${1 + rnd(4)}`);
  if (rnd(6) === 0) m.push(pick(['vlan_tci=0', 'dl_vlan=10', 'vlan_tci=0x1000/0x1000', 'dl_vlan=20,dl_vlan_pcp=3']));
  if (rnd(5) === 0) m.push(`dl_dst=${pick(MACS)}`);
  if (rnd(8) === 0) m.push(`dl_src=${pick(MACS)}`);
  if (rnd(8) === 0) m.push(pick(['reg0=1', 'reg1=0x5/0xff', 'metadata=0x7']));
  const proto = pick(['', '', 'ip', 'tcp', 'udp', 'icmp', 'arp', 'tcp6', 'ipv6']);
  if (proto) m.push(proto);
  if (['ip', 'tcp', 'udp', 'icmp'].includes(proto)) {
    if (rnd(2)) m.push(`nw_dst=${pick(NETS)}`);
    if (rnd(3) === 0) m.push(`nw_src=${pick(NETS)}`);
    if (rnd(6) === 0) m.push('nw_tos=32');
  }
  if (proto === 'arp' && rnd(2)) m.push(pick(['arp_op=1', 'arp_tpa=10.0.0.1']));
  if (proto === 'tcp6' || proto === 'ipv6') if (rnd(2)) m.push(pick(['ipv6_dst=fe80::1', 'ipv6_src=2001:db8::/32']));
  if (['tcp', 'udp', 'tcp6'].includes(proto)) {
    if (rnd(3) === 0) m.push(pick([`tp_dst=${pick(PORTS)}`, 'tp_dst=0x50/0xfff0']));
    if (rnd(6) === 0) m.push(`tp_src=${pick(PORTS)}`);
  }
  if (proto === 'tcp' && rnd(6) === 0) m.push('tcp_flags=+syn-ack');
  return m;
}

/** Actions that fit any packet of the match. */
function randomAction(rnd: (n: number) => number, pick: Pick, match: readonly string[], table: number): string {
  const is = (...protos: string[]) => protos.some((p) => match.includes(p));
  const any = [
    () => `output:${1 + rnd(5)}`,
    () => `output:${1 + rnd(5)}`,
    () => 'in_port',
    () => 'all',
    () => `load:${rnd(9)}->NXM_NX_REG${rnd(3)}[]`,
    () => 'move:NXM_OF_ETH_SRC[0..15]->NXM_NX_REG1[0..15]',
    () => 'move:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15]',
    () => `mod_dl_dst:${pick(MACS)}`,
    () => `mod_dl_src:${pick(MACS)}`,
    () => `mod_vlan_vid:${pick(['10', '20'])}`,
    () => 'strip_vlan',
    () => `resubmit(,${table + 1 + rnd(2)})`,
    () => `resubmit(${1 + rnd(3)},${table + 1})`,
    () => 'load:0x5->NXM_NX_REG1[0..7]',
    () => 'output:NXM_NX_REG0[0..15]',
    () => 'load:0x7->OXM_OF_METADATA[]',
    () => 'exit',
    () => 'note:00.01.00.00.00.00',
    () => 'CONTROLLER',
  ];
  const ip = [() => 'dec_ttl', () => 'mod_nw_tos:40', () => 'load:5->NXM_NX_IP_TTL[]'];
  const ip4 = [() => `mod_nw_dst:${pick(IPS)}`, () => `mod_nw_src:${pick(IPS)}`, () => 'load:1->NXM_OF_IP_DST[0..3]'];
  const l4 = [() => `mod_tp_dst:${pick(PORTS)}`, () => `mod_tp_src:${pick(PORTS)}`];
  const pool = [...any];
  if (is('ip', 'tcp', 'udp', 'icmp', 'tcp6', 'ipv6')) pool.push(...ip, ...ip);
  if (is('ip', 'tcp', 'udp', 'icmp')) pool.push(...ip4, ...ip4);
  if (is('tcp', 'udp', 'tcp6')) pool.push(...l4, ...l4);
  return pool[rnd(pool.length)]();
}

/** Flows with a priority each: which of two equal ones is looked at first is nobody's business. */
function randomFlows(rnd: (n: number) => number, pick: Pick, n: number): string[] {
  return Array.from({ length: n }, (_, i) => {
    const table = rnd(4);
    const match = randomMatch(rnd, pick);
    const actions = Array.from({ length: 1 + rnd(4) }, () => randomAction(rnd, pick, match, table));
    return `${[`table=${table}`, `priority=${1000 - i}`, ...match].join(',')} actions=${actions.join(',')}`;
  });
}

function randomPacket(rnd: (n: number) => number, pick: Pick): string {
  const p = [`in_port=${1 + rnd(4)}`, `dl_src=${pick(MACS.slice(0, 2))}`, `dl_dst=${pick(MACS)}`];
  if (rnd(4) === 0) p.push(`dl_vlan=${pick(['10', '20'])}`, `dl_vlan_pcp=${rnd(8)}`);
  const proto = pick(['tcp', 'tcp', 'udp', 'icmp', 'arp', 'tcp6', 'icmp6', 'ip']);
  p.push(proto);
  if (['tcp', 'udp', 'icmp', 'ip'].includes(proto))
    p.push(
      `nw_src=${pick(IPS)}`,
      `nw_dst=${pick(IPS)}`,
      `nw_ttl=${pick(['1', '64', '255'])}`,
      `nw_tos=${pick(['0', '32'])}`,
    );
  if (proto === 'ip') p.push(`nw_proto=${pick(['47', '2'])}`);
  if (proto.endsWith('6')) p.push('ipv6_src=2001:db8::5', `ipv6_dst=${pick(['fe80::1', 'fe80::2'])}`, 'nw_ttl=64');
  if (proto === 'arp') p.push(`arp_op=${1 + rnd(2)}`, `arp_spa=${pick(IPS)}`, `arp_tpa=${pick(IPS)}`);
  const l4 = proto.replace('6', '');
  if (['tcp', 'udp'].includes(l4)) p.push(`${l4}_src=${pick(PORTS)}`, `${l4}_dst=${pick(PORTS)}`);
  if (proto === 'icmp') p.push('icmp_type=8', 'icmp_code=0');
  if (proto === 'icmp6') p.push(`icmpv6_type=${pick(['128', '129'])}`, 'icmpv6_code=0');
  return p.join(',');
}

/** Numbers that name saved states differ; ports that get the same packet come in the order of a hash. */
function normalize(trace: string): string {
  return trace
    .replace(/recirc_id=\d+,rule/g, 'recirc_id=N,rule')
    .replace(/\n+$/, '')
    .replace(/^Datapath actions: (.*)$/m, (_, list: string) => `Datapath actions: ${sortPorts(list)}`);
}

/** Each output as what was done to the packet before it and the port, sorted. */
function sortPorts(list: string): string {
  let done: string[] = [];
  const outputs: string[] = [];
  for (const action of splitTop(list)) {
    if (action === 'pop_vlan' && done.at(-1)?.startsWith('push_vlan')) done.pop();
    else if (/^(\d+$|userspace)/.test(action)) outputs.push(`${done.join()}>${action}`);
    else done = [...done, action];
  }
  return outputs.sort().join(' ');
}

describe('ofproto/trace against the real switch', () => {
  const real = new RealOvs();
  const rig = new OfprotoRig();
  let bridge: Bridge;
  const available = PEERS.every((peer) => missingPeer(peer) === undefined);

  before(async () => {
    if (!available) return;
    await real.start();
    const add = (name: string, ...more: string[]) => [
      '--',
      'add-port',
      'br0',
      name,
      '--',
      'set',
      'interface',
      name,
      'type=dummy',
      ...more,
    ];
    real.vsctl(
      'add-br',
      'br0',
      ...['--', 'set', 'bridge', 'br0', 'datapath_type=dummy', 'fail-mode=secure'],
      ...[1, 2, 3, 4].flatMap((i) => add(`p${i}`, `ofport_request=${i}`)),
    );
    bridge = await rig.bridge('br0', ['p1', 'p2', 'p3', 'p4'], true);
    bridge.setFailMode('secure');
  });
  after(async () => {
    await real.stop();
    await rig.close();
  });

  /** Datapath port numbers of both sides by name. */
  function portNumbers(): Map<string, string> {
    const numbers = new Map<string, string>();
    for (const [, name, odp] of real.appctl('dpif/show').matchAll(/^ {4}(\w+) \d+\/(\d+):/gm))
      numbers.set(`${[...rig.dpif.ports()].find((p) => p.name === name)!.odpPort}`, odp);
    return numbers;
  }

  function setFlows(flows: readonly string[]): void {
    real.ofctl('del-flows', 'br0');
    bridge.flowTables.flush();
    for (const flow of flows) {
      assert.equal(rig.flow(bridge, flow), undefined, flow);
      real.ofctl('add-flow', 'br0', flow);
    }
  }

  /** Our trace, with their datapath's port numbers. */
  function ourTrace(packet: string): string {
    const numbers = portNumbers();
    const renumber = (list: string) =>
      list.replace(/(^|,)(\d+)(?=,|$)/g, (_, lead: string, n: string) => lead + (numbers.get(n) ?? n));
    return rig
      .appctl('ofproto/trace', 'br0', packet)
      .replace(/^Datapath actions: (.*)$/m, (_, list: string) => `Datapath actions: ${renumber(list)}`);
  }

  function compare(packet: string, context: string): void {
    const theirs = real.appctl('ofproto/trace', 'br0', packet);
    assert.equal(normalize(ourTrace(packet)), normalize(theirs), `${context}\npacket: ${packet}`);
  }

  /** The same, but actions count as equal when the same frames leave by the same ports: the order of flooding is free. */
  function compareFrames(packet: string, context: string): void {
    const frames = (trace: string) =>
      trace.trimEnd().replace(/^Datapath actions: (.*)$/m, (_, list: string) => {
        const out: string[] = [];
        const frame = flowToPacket(packet);
        executeActions(frame, new Flow(), parseOdpActions(list), {
          output: (port, p) => out.push(`${port} ${Buffer.from(p).toString('hex')}`),
          userspace: () => undefined,
          recirc: () => undefined,
        });
        return out.sort().join('\n');
      });
    const theirs = real.appctl('ofproto/trace', 'br0', packet);
    assert.equal(frames(ourTrace(packet)), frames(theirs), `${context}\npacket: ${packet}`);
  }

  const sample = (t: TestContext, seed: number, n: number) => {
    if (!requirePeer(t, ...PEERS)) return;
    const rnd = random(seed);
    const pick: Pick = (list) => list[rnd(list.length)];
    const flows = randomFlows(rnd, pick, n);
    setFlows(flows);
    for (let i = 0; i < 25; i++) compare(randomPacket(rnd, pick), flows.join('\n'));
  };

  for (let seed = 1; seed <= 6; seed++)
    it(`agrees on random tables, seed ${seed}`, (t) => sample(t, seed, 6 + 5 * seed));

  it('agrees on an action set', (t) => {
    if (!requirePeer(t, ...PEERS)) return;
    real.vsctl('set', 'bridge', 'br0', 'protocols=OpenFlow10,OpenFlow13');
    real.ofctl('-O', 'OpenFlow13', 'del-flows', 'br0');
    bridge.flowTables.flush();
    for (const flow of [
      'table=0,ip actions=write_actions(set_field:10.9.9.9->ip_dst,output:2),goto_table:1',
      'table=1,ip,nw_src=10.0.0.1 actions=clear_actions,goto_table:2',
      'table=1,priority=1 actions=write_metadata:0x7/0xf,goto_table:2',
      'table=2,metadata=0x7/0xf actions=write_actions(push_vlan:0x8100,output:3)',
      'table=2,priority=1 actions=output:4',
    ]) {
      assert.equal(rig.flow(bridge, flow), undefined);
      real.ofctl('-O', 'OpenFlow13', 'add-flow', 'br0', flow);
    }
    const ip = 'in_port=1,dl_src=00:00:00:00:00:01,dl_dst=00:00:00:00:00:02,ip,nw_dst=10.1.0.1,nw_ttl=64';
    for (const src of IPS) compare(`${ip},nw_src=${src}`, 'action set');
    compare('in_port=1,arp', 'action set');
  });

  it('agrees on NORMAL with VLANs and learned addresses', (t) => {
    if (!requirePeer(t, ...PEERS)) return;
    real.vsctl('set', 'port', 'p1', 'tag=10', '--', 'set', 'port', 'p2', 'trunks=10,20');
    real.vsctl('set', 'port', 'p3', 'tag=20', 'vlan_mode=native-untagged', '--', 'set', 'port', 'p4', 'tag=10');
    const number = (name: string) => bridge.portByName(name)!.ofpPort;
    bridge.bundleSet('p1', { ports: [number('p1')], vlanMode: 'access', tag: 10 });
    bridge.bundleSet('p2', { ports: [number('p2')], vlanMode: 'trunk', trunks: [10, 20] });
    bridge.bundleSet('p3', { ports: [number('p3')], vlanMode: 'native-untagged', tag: 20 });
    bridge.bundleSet('p4', { ports: [number('p4')], vlanMode: 'access', tag: 10 });
    setFlows(['actions=NORMAL']);
    const packets = [
      'in_port=1,dl_src=00:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff',
      'in_port=2,dl_src=00:00:00:00:00:02,dl_dst=00:00:00:00:00:01,dl_vlan=10,dl_vlan_pcp=5',
      'in_port=2,dl_src=00:00:00:00:00:02,dl_dst=00:00:00:00:00:01,dl_vlan=30',
      'in_port=3,dl_src=00:00:00:00:00:03,dl_dst=00:00:00:00:00:02',
      'in_port=1,dl_src=00:00:00:00:00:01,dl_dst=01:80:c2:00:00:00',
      'in_port=4,dl_src=00:00:00:00:00:04,dl_dst=00:00:00:00:00:04,dl_vlan=10',
    ];
    for (const packet of packets) compareFrames(`${packet},dl_type=0x1234`, 'NORMAL');
    for (const packet of packets.slice(0, 2)) {
      real.appctl('ofproto/trace', 'br0', `${packet},dl_type=0x1234`, '-generate');
      rig.appctl('ofproto/trace', 'br0', `${packet},dl_type=0x1234`, '-generate');
    }
    assert.equal(rig.appctl('fdb/show', 'br0').trimEnd(), real.appctl('fdb/show', 'br0').trimEnd());
    for (const packet of packets) compareFrames(`${packet},dl_type=0x1234`, 'NORMAL, learned');
  });

  it('agrees across patches, and on their loops', async (t) => {
    if (!requirePeer(t, ...PEERS)) return;
    const patch = (br: string, name: string, peer: string, port: number) => [
      '--',
      'add-port',
      br,
      name,
      '--',
      'set',
      'interface',
      name,
      'type=patch',
      `options:peer=${peer}`,
      `ofport_request=${port}`,
    ];
    real.vsctl(
      ...['add-br', 'br1', '--', 'set', 'bridge', 'br1', 'datapath_type=dummy', 'fail-mode=secure'],
      ...['--', 'add-port', 'br1', 'q1', '--', 'set', 'interface', 'q1', 'type=dummy', 'ofport_request=2'],
      ...patch('br0', 'to-br1', 'to-br0', 9),
      ...patch('br1', 'to-br0', 'to-br1', 1),
    );
    const br1 = await rig.bridge('br1', ['q1=2'], true);
    br1.setFailMode('secure');
    await rig.patch(bridge, 'to-br1', 'to-br0', 9);
    await rig.patch(br1, 'to-br0', 'to-br1', 1);
    setFlows([
      'priority=9,tcp actions=load:5->NXM_NX_REG0[],mod_nw_dst:10.1.0.1,output:9,output:3',
      'priority=8,udp actions=output:9,output:4',
      'priority=1 actions=output:2',
    ]);
    for (const flow of [
      'priority=9,tcp,reg0=0 actions=mod_vlan_vid:20,output:2,controller',
      'udp actions=in_port,local',
    ]) {
      assert.equal(rig.flow(br1, flow), undefined);
      real.ofctl('add-flow', 'br1', flow);
    }
    const l3 = 'in_port=1,dl_src=00:00:00:00:00:01,dl_dst=00:00:00:00:00:02';
    for (const proto of ['tcp,tcp_dst=80', 'udp,udp_dst=80', 'icmp'])
      compare(`${l3},${proto},nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64`, 'patches');
  });

  it('installs the same megaflows', (t) => {
    if (!requirePeer(t, ...PEERS)) return;
    const rnd = random(99);
    const pick: Pick = (list) => list[rnd(list.length)];
    real.vsctl(...[1, 2, 3, 4].flatMap((i) => ['--', 'clear', 'port', `p${i}`, 'tag', 'trunks', 'vlan_mode']).slice(1));
    for (const i of [1, 2, 3, 4])
      bridge.bundleSet(`p${i}`, { ports: [bridge.portByName(`p${i}`)!.ofpPort], vlanMode: 'trunk' });
    setFlows([
      'priority=9,tcp,nw_dst=10.0.0.0/8,tp_dst=80 actions=mod_nw_dst:10.1.0.1,dec_ttl,output:2',
      'priority=8,ip,nw_dst=10.0.0.0/24 actions=output:3',
      'priority=7,dl_vlan=10 actions=strip_vlan,output:4',
      'priority=6,arp actions=output:1,output:2',
      'priority=5,icmp actions=mod_vlan_vid:20,output:2',
    ]);
    for (let i = 0; i < 30; i++) {
      const packet = randomPacket(rnd, pick)
        .replace(/in_port=(\d)/, '')
        .replace(/^,/, '');
      const inPort = 1 + rnd(4);
      assert.equal(megaflowOf(packet, inPort, false), megaflowOf(packet, inPort, true), packet);
    }
  });

  /** What one packet leaves in the datapath, with ports by name. */
  function megaflowOf(packet: string, inPort: number, ofReal: boolean): string {
    const frame = Buffer.from(flowToPacket(`in_port=${inPort},${packet}`));
    if (ofReal) {
      real.appctl('revalidator/purge');
      real.appctl('netdev-dummy/receive', `p${inPort}`, frame.toString('hex'));
      const dump = eventually(() => real.appctl('dpctl/dump-flows', '--names'));
      return strip(dump);
    }
    rig.appctl('revalidator/purge');
    rig.receive(`p${inPort}`, frame);
    return strip(rig.appctl('dpctl/dump-flows', '--names'));
  }
});

/** Asks until there is an answer. */
function eventually(ask: () => string): string {
  for (let i = 0; i < 50; i++) {
    const text = ask();
    if (text.trim()) return text;
  }
  return '';
}

/** The flows of a dump without counters. The real switch shows the bits of the first packet that its mask leaves out, too. */
const strip = (dump: string): string =>
  dump
    .split('\n')
    .filter((line) => line && !line.startsWith('flow-dump'))
    .map((line) => {
      const [key, actions] = line.split(/, packets:.*actions:/);
      const { flow, wc } = parseOdpFlow(key, (name) => odpPort(Number(name.slice(1))));
      // dpif-netdev matches the VID of every tagged packet; Turnout only where it counts.
      if (wc.vlanTci0 !== 0xffff) wc.vlanTci0 &= ~0xfff;
      flow.maskWith(wc);
      return `${formatOdpFlow(flow, wc)} actions:${actions}`;
    })
    .sort()
    .join('\n');
