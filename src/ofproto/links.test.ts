import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';
import type { Bridge } from './bridge.ts';
import type { BondConfig, LacpConfig, MirrorConfig } from './config.ts';

const frame = (src: number, dst: number, vlan?: string) =>
  `eth(src=00:00:00:00:00:0${src},dst=00:00:00:00:00:0${dst}),` +
  (vlan
    ? `eth_type(0x8100),vlan(${vlan},pcp=0),encap(eth_type(0x0800),ipv4(frag=no))`
    : 'eth_type(0x0800),ipv4(frag=no)');

const BROADCAST = 'eth(src=00:00:00:00:00:01,dst=ff:ff:ff:ff:ff:ff),eth_type(0x1234)';
/** A station that announces itself. */
const GRATUITOUS_ARP =
  'eth(src=00:00:00:00:00:01,dst=ff:ff:ff:ff:ff:ff),eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.1,op=1,sha=00:00:00:00:00:01,tha=00:00:00:00:00:00)';

const BOND: BondConfig = {
  mode: 'active-backup',
  updelayMs: 0,
  downdelayMs: 0,
  rebalanceIntervalMs: 0,
  hashBasis: 0,
  primary: undefined,
  lacpFallbackAb: false,
  allMembersActive: false,
  lbOutput: false,
};

const mirror = (over: Partial<MirrorConfig>): MirrorConfig => ({
  id: 'm',
  name: 'm',
  srcs: [],
  dsts: [],
  vlans: undefined,
  outPort: undefined,
  outVlan: undefined,
  snaplen: 0,
  ...over,
});

describe('the Ports of a bridge', () => {
  let rig: OfprotoRig;
  let br0: Bridge;
  beforeEach(async () => {
    rig = new OfprotoRig();
    br0 = await rig.bridge('br0', ['p1', 'p2', 'p3', 'p4']);
  });
  afterEach(() => rig.close());

  const number = (bridge: Bridge, name: string) => bridge.portByName(name)!.ofpPort;
  const set = (name: string, config: Partial<Parameters<Bridge['bundleSet']>[1]>) =>
    br0.bundleSet(name, { ports: [number(br0, name)], vlanMode: 'trunk', ...config });
  const settle = async () => {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  };

  it('mirror a packet once to each destination, whichever Ports it passes', () => {
    const all = ['p1', 'p2', 'p3', 'p4'];
    br0.setMirrors([
      mirror({ id: 'a', srcs: all, dsts: all, outPort: 'p3' }),
      mirror({ id: 'b', srcs: ['p1'], outPort: 'p3' }),
    ]);
    rig.receive('p1', frame(1, 2));
    // p3 is for the mirror alone.
    assert.deepEqual(rig.takeSent(), { p2: 1, p3: 1, p4: 1 });
    assert.deepEqual(br0.mirrorStats('a')?.packets, 1);
    assert.deepEqual(br0.mirrorStats('b')?.packets, 0);
    rig.receive('p3', frame(3, 1));
    assert.deepEqual(rig.takeSent(), {});
    br0.setMirrors([]);
    rig.receive('p1', frame(1, 2));
    assert.deepEqual(rig.takeSent(), { p2: 1, p3: 1, p4: 1 });
  });

  it('mirror into a VLAN, cut to a length, by VLAN', () => {
    set('p4', { vlanMode: 'access', tag: 12 });
    br0.setMirrors([mirror({ srcs: ['p1'], vlans: [0], outVlan: 12, snaplen: 100 })]);
    const cut = ['1', '2', '3'].map((port) => `trunc(100),${port}`).join(',');
    assert.equal(
      rig.traceActions('br0', 'in_port=1,dl_src=00:00:00:00:00:01,dl_dst=00:00:00:00:00:02'),
      `push_vlan(vid=12,pcp=0),${cut},pop_vlan,trunc(100),4,2,3`,
    );
    assert.equal(rig.traceActions('br0', 'in_port=1,dl_vlan=5,dl_dst=00:00:00:00:00:02'), '2,3');
  });

  it('put a tag around the tags of customers, of those that are let in', () => {
    set('p1', { vlanMode: 'dot1q-tunnel', tag: 100, cvlans: [5, 6] });
    const actions = (vlan: number) => rig.traceActions('br0', `in_port=1,dl_vlan=${vlan},dl_dst=00:00:00:00:00:02`);
    assert.equal(actions(5), 'push_vlan(tpid=0x88a8,vid=100,pcp=0),2,3,4');
    assert.equal(actions(7), 'drop');
    set('p1', { vlanMode: 'dot1q-tunnel', tag: 100, qinqEthertype: 0x8100 });
    assert.equal(actions(7), 'push_vlan(vid=100,pcp=0),2,3,4');
  });

  it('learn nothing in flood_vlans', () => {
    br0.setFloodVlans([0]);
    rig.receive('p1', frame(1, 2));
    rig.takeSent();
    rig.receive('p2', frame(2, 1));
    assert.deepEqual(rig.takeSent(), { p1: 1, p3: 1, p4: 1 });
    assert.equal(br0.macs.size, 0);
  });

  it('send by one member of a bond, and take multicast in by that one alone', async () => {
    br0.bundleSet('bond0', { ports: [number(br0, 'p1'), number(br0, 'p2')], vlanMode: 'trunk', bond: BOND });
    await settle();
    rig.receive('p3', BROADCAST);
    assert.deepEqual(rig.takeSent(), { p1: 1, p4: 1 });
    rig.receive('p2', BROADCAST);
    assert.deepEqual(rig.takeSent(), {});
    rig.receive('p1', BROADCAST);
    assert.deepEqual(rig.takeSent(), { p3: 1, p4: 1 });
  });

  it('take back no announcement that a bond has sent itself, but that of a station that has moved', async () => {
    const bond = { ...BOND, mode: 'balance-slb' as const, allMembersActive: true };
    br0.bundleSet('bond0', { ports: [number(br0, 'p1'), number(br0, 'p2')], vlanMode: 'trunk', bond });
    await settle();
    rig.receive('p3', GRATUITOUS_ARP);
    rig.takeSent();
    rig.receive('p2', GRATUITOUS_ARP);
    assert.deepEqual(rig.takeSent(), {}, 'a reflection');
    // Until the flow that dropped it is gone, too.
    rig.clock.warp(12_000);
    rig.backend.udpif.revalidateAll();
    rig.receive('p2', GRATUITOUS_ARP);
    assert.deepEqual(rig.takeSent(), { p3: 1, p4: 1 });
    assert.equal(br0.macs.lookup(1, 0)?.bundle.name, 'bond0');
  });

  it('tell the switches around where stations are when another member takes over', async () => {
    br0.bundleSet('bond0', { ports: [number(br0, 'p1'), number(br0, 'p2')], vlanMode: 'trunk', bond: BOND });
    await settle();
    rig.receive('p3', frame(7, 1));
    rig.takeSent();
    br0.portByName('p1')!.netdev.setAdminUp(false);
    await settle();
    const sent = rig.sent.get('p2')!;
    assert.deepEqual(sent.length, 1);
    assert.match(sent[0], /^f{12}00000000000780350001080006040003000000000007/);
  });

  it('find each other by LACP over patches, and send by what the datapath chooses', async () => {
    const br1 = await rig.bridge('br1', ['p9']);
    for (const i of [1, 2]) {
      await rig.patch(br0, `a${i}`, `b${i}`);
      await rig.patch(br1, `b${i}`, `a${i}`);
    }
    const lacp = (n: number): LacpConfig => ({
      sysId: Uint8Array.of(2, 0, 0, 0, 0, n),
      sysPriority: 65534,
      active: true,
      fast: true,
      fallbackAb: false,
      members: [1, 2].map(() => ({ portId: 0, priority: 65535, key: 0 })),
    });
    const bond: BondConfig = { ...BOND, mode: 'balance-tcp' };
    br0.bundleSet('x', { ports: [number(br0, 'a1'), number(br0, 'a2')], vlanMode: 'trunk', bond, lacp: lacp(1) });
    br1.bundleSet('y', { ports: [number(br1, 'b1'), number(br1, 'b2')], vlanMode: 'trunk', bond, lacp: lacp(2) });
    assert.equal(br0.portByName('a1')!.live, false);
    for (let i = 0; i < 20; i++) {
      rig.clock.warp(100);
      await settle();
    }
    assert.match(rig.appctl('lacp/show', 'x'), /status: active negotiated/);
    assert.equal(br0.portByName('a1')!.live, true);
    assert.match(rig.appctl('bond/show', 'x'), /lacp_status: negotiated/);
    const rules = rig
      .appctl('bridge/dump-flows', 'br0')
      .match(/^table_id=254.*priority=20,recirc_id=0x\w+,dp_hash=.*/gm);
    assert.equal(rules?.length, 256);
    // Its partner goes: the link is no longer used.
    br1.bundleDel('y');
    for (let i = 0; i < 70; i++) {
      rig.clock.warp(100);
      await settle();
    }
    assert.equal(br0.portByName('a1')!.live, false);
  });

  it('hold what comes in to a rate', () => {
    br0.setPolicing(number(br0, 'p1'), { kbps: 0, kbits: 0, kpps: 1, kpkts: 1 });
    for (let i = 0; i < 1500; i++) rig.receive('p1', frame(1, 2));
    assert.equal(rig.takeSent().p2, 1000);
    br0.setPolicing(number(br0, 'p1'), undefined);
    for (let i = 0; i < 1500; i++) rig.receive('p1', frame(1, 2));
    assert.equal(rig.takeSent().p2, 1500);
  });

  it('forget in every bridge the stations of a Port that goes', async () => {
    const br1 = await rig.bridge('br1', ['p9']);
    rig.receive('p1', frame(1, 2));
    rig.receive('p9', frame(1, 2));
    assert.equal(br1.macs.size, 1);
    await br0.portDel(number(br0, 'p1'));
    assert.equal(br0.macs.size, 0);
    assert.equal(br1.macs.size, 0);
  });
});
