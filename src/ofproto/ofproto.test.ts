import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';
import { parse } from '../openflow/flow-text.ts';
import { catchallMatch } from '../openflow/match.ts';
import type { FlowMod } from '../openflow/messages.ts';
import type { Bridge } from './bridge.ts';
import { applyFlowMod, FlowModOp } from './flow-mod.ts';
import { allRules } from './flow-stats.ts';
import type { Rule } from './rule.ts';
import { runNow } from './transaction.ts';

const UDP =
  'eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,ttl=64,frag=no),udp(src=1,dst=2)';

describe('a bridge on the reference datapath', () => {
  let rig: OfprotoRig;
  let br0: Bridge;
  beforeEach(async () => {
    rig = new OfprotoRig();
    br0 = await rig.bridge('br0', ['p1', 'p2', 'p3']);
    br0.setFailMode('secure');
  });
  afterEach(() => rig.close());

  const rules = (bridge: Bridge): Rule[] => [...bridge.flowTables.collect(allRules())];
  const counts = (bridge: Bridge) => {
    bridge.pushStats();
    return rules(bridge).map((r) => [r.packets, r.bytes]);
  };

  it('forwards, and counts every packet once on rules, tables and ports', () => {
    rig.flow(br0, 'in_port=1 actions=output:2');
    for (let i = 0; i < 10; i++) rig.receive('p1', UDP);
    assert.deepEqual(rig.takeSent(), { p2: 10 });
    const size = 14 + 20 + 8 + 64;
    assert.deepEqual(counts(br0), [[10, 10 * size]]);
    assert.equal(br0.tables[0].matched, 10);
    assert.equal(br0.portStats(br0.portByName('p1')!.ofpPort).rxPackets, 10n);
    assert.equal(br0.portStats(br0.portByName('p2')!.ofpPort).txPackets, 10n);
    assert.equal(rig.dpif.flowCount(), 1);
  });

  it('loses no count when megaflows and rules come and go', () => {
    rig.flow(br0, 'table=0 actions=resubmit(,1)');
    rig.flow(br0, 'table=1,udp actions=output:2');
    for (let i = 0; i < 5; i++) rig.receive('p1', UDP);
    rig.backend.udpif.purge();
    for (let i = 0; i < 5; i++) rig.receive('p1', UDP);
    rig.flow(br0, 'table=1,udp actions=output:3');
    rig.backend.udpif.revalidateAll();
    for (let i = 0; i < 5; i++) rig.receive('p1', UDP);
    br0.pushStats();
    const [first] = rules(br0).filter((r) => r.tableId === 0);
    assert.equal(first.packets, 15);
    assert.deepEqual(rig.takeSent(), { p2: 10, p3: 5 });
  });

  it('retranslates a megaflow in place when a rule changes', () => {
    rig.flow(br0, 'in_port=1 actions=output:2');
    rig.receive('p1', UDP);
    rig.flow(br0, 'in_port=1 actions=output:3', 'modify');
    rig.backend.udpif.revalidateAll();
    const [flow] = rig.dpif.flows();
    assert.deepEqual(flow.actions, [{ type: 'output', port: br0.portByName('p3')!.odpPort }]);
    assert.equal(rig.dpif.flowCount(), 1);
  });

  it('deletes a megaflow that has become too wide', () => {
    rig.flow(br0, 'in_port=1 actions=output:2');
    rig.receive('p1', UDP);
    rig.flow(br0, 'priority=40000,in_port=1,udp,tp_dst=9 actions=output:3');
    rig.backend.udpif.revalidateAll();
    assert.equal(rig.dpif.flowCount(), 0);
  });

  it('forgets idle megaflows after max-idle', () => {
    rig.flow(br0, 'in_port=1 actions=output:2');
    rig.receive('p1', UDP);
    rig.clock.warp(9_000);
    rig.backend.udpif.revalidateAll();
    assert.equal(rig.dpif.flowCount(), 1);
    rig.clock.warp(2_000);
    rig.backend.udpif.revalidateAll();
    assert.equal(rig.dpif.flowCount(), 0);
  });

  it('expires flows by idle and hard timeout', () => {
    rig.flow(br0, 'in_port=1,idle_timeout=5 actions=output:2');
    rig.flow(br0, 'in_port=2,hard_timeout=30 actions=output:3');
    for (let i = 0; i < 8; i++) {
      rig.clock.warp(1_000);
      rig.receive('p1', UDP);
    }
    assert.equal(rules(br0).length, 2);
    rig.clock.warp(5_000);
    assert.equal(rules(br0).length, 2, 'the last moment counts still');
    rig.clock.warp(1_000);
    assert.equal(rules(br0).length, 1);
    rig.clock.warp(20_000);
    assert.equal(rules(br0).length, 0);
  });

  it('switches by NORMAL, learning, without a controller in standalone mode', () => {
    br0.setFailMode('standalone');
    rig.receive('p1', UDP);
    assert.deepEqual(rig.takeSent(), { p2: 1, p3: 1 });
    rig.receive('p2', UDP.replace('01,dst=00:00:00:00:00:02', '02,dst=00:00:00:00:00:01'));
    assert.deepEqual(rig.takeSent(), { p1: 1 });
    rig.backend.udpif.revalidateAll();
    rig.receive('p1', UDP);
    assert.deepEqual(rig.takeSent(), { p2: 1 });
    const table = rig
      .appctl('fdb/show', 'br0')
      .split('\n')
      .slice(1, -1)
      .map((l) => l.trim().split(/\s+/));
    assert.deepEqual(table.map((row) => row.slice(0, 3)).sort(), [
      ['1', '0', '00:00:00:00:00:01'],
      ['2', '0', '00:00:00:00:00:02'],
    ]);
    rig.clock.warp(301_000);
    assert.equal(rig.appctl('fdb/show', 'br0').split('\n').length, 2);
  });

  it('has a packet meet the flow that it teaches', () => {
    const spec = 'table=1,eth_type=0x800,NXM_OF_IP_SRC[],load:1->NXM_NX_REG0[0]';
    rig.flow(br0, `ip,actions=learn(${spec}),resubmit(,1),resubmit(,2)`);
    rig.flow(br0, 'table=2,reg0=1 actions=output:2');
    rig.flow(br0, 'table=2,reg0=0 actions=output:3');
    rig.receive('p1', UDP);
    assert.deepEqual(rig.takeSent(), { p2: 1 });
    assert.equal(rules(br0).length, 4);
  });

  it('forwards across a patch and counts on both ends', async () => {
    const br1 = await rig.bridge('br1', ['q1']);
    br1.setFailMode('secure');
    const to1 = await rig.patch(br0, 'to-br1', 'to-br0');
    const to0 = await rig.patch(br1, 'to-br0', 'to-br1');
    rig.flow(br0, `in_port=1 actions=load:7->NXM_NX_REG0[],output:${to1}`);
    rig.flow(br1, `in_port=${to0},reg0=0 actions=output:1`);
    for (let i = 0; i < 3; i++) rig.receive('p1', UDP);
    assert.deepEqual(rig.takeSent(), { q1: 3 });
    assert.equal(br0.portStats(to1).txPackets, 3n);
    assert.equal(br1.portStats(to0).rxPackets, 3n);
    assert.match(rig.appctl('dpif/show'), /to-br1 4\/none: \(patch: peer=to-br0\)/);
  });

  it('ends a loop of resubmits and one of patches', async () => {
    rig.flow(br0, 'table=0 actions=resubmit(,0)');
    rig.receive('p1', UDP);
    assert.deepEqual(rig.takeSent(), {});
    assert.match(rig.warnings.join(), /over max translation depth 64/);
    const br1 = await rig.bridge('br1');
    br1.setFailMode('secure');
    const to1 = await rig.patch(br0, 'to-br1', 'to-br0');
    const to0 = await rig.patch(br1, 'to-br0', 'to-br1');
    rig.flow(br0, `table=0 actions=output:${to1},output:2`);
    rig.flow(br1, `table=0 actions=output:${to0}`);
    rig.backend.udpif.purge();
    rig.receive('p1', UDP);
    assert.ok(rig.takeSent().p2 >= 1);
  });

  it('ends a tree of resubmits after 4096', () => {
    rig.flow(br0, 'table=0 actions=resubmit(,1),resubmit(,1),resubmit(,1)');
    for (let i = 1; i < 40; i++) rig.flow(br0, `table=${i} actions=resubmit(,${i + 1}),resubmit(,${i + 1})`);
    const trace = rig.appctl('ofproto/trace', 'br0', 'in_port=1');
    assert.match(trace, /over 4096 resubmit actions/);
    assert.match(trace, /Translation failed \(Too many resubmits\), packet is dropped/);
  });

  it('ends a chain of tables that is deeper than the stack, and a list that branches without end', () => {
    for (let i = 0; i < 253; i++) rig.flow(br0, `table=${i} actions=resubmit(,${i + 1})`);
    rig.flow(br0, 'table=253 actions=resubmit(,0)');
    assert.match(rig.appctl('ofproto/trace', 'br0', 'in_port=1'), /over max translation depth/);
    rig.receive('p1', UDP);
    assert.deepEqual(rig.takeSent(), {});
    const branches = Array.from({ length: 60 }, () => 'check_pkt_larger(100)->reg0[0]');
    rig.flow(br0, `table=0 actions=${branches.join()},output:2`);
    assert.match(rig.appctl('ofproto/trace', 'br0', 'in_port=1'), /over 4096 resubmit actions/);
  });

  it('takes the number that is asked for, or the lowest that was not in use lately', async () => {
    const numbers = [];
    for (const [name, request] of [
      ['a', 7],
      ['b', undefined],
      ['c', 7],
      ['d', 70000],
    ] as const)
      numbers.push(await rig.port(br0, name, { ofportRequest: request }));
    assert.deepEqual(numbers, [7, 4, 5, 6]);
    await br0.portDel(numbers[1]);
    assert.equal(await rig.port(br0, 'e'), 8);
    assert.equal(await rig.port(br0, 'f', { ofportRequest: 4 }), 4);
  });

  it('stops using a port that is gone', async () => {
    rig.flow(br0, 'in_port=1 actions=output:2,output:3');
    rig.receive('p1', UDP);
    await br0.portDel(br0.portByName('p2')!.ofpPort);
    rig.backend.udpif.revalidateAll();
    rig.takeSent();
    rig.receive('p1', UDP);
    assert.deepEqual(rig.takeSent(), { p3: 1 });
  });

  it('keeps its flow limit', () => {
    rig.flow(br0, 'udp,tp_dst=1 actions=output:2');
    rig.flow(br0, 'actions=output:3');
    rig.backend.setFlowLimit(10);
    for (let port = 0; port < 50; port++) rig.receive('p1', UDP.replace('dst=2)', `dst=${port << 8})`));
    assert.ok(rig.dpif.flowCount() <= 10);
    rig.clock.warp(200);
    rig.backend.setFlowLimit(0);
    rig.backend.udpif.revalidateAll();
    assert.equal(rig.dpif.flowCount(), 0);
  });

  it('has unchanged megaflows revalidated to themselves', () => {
    rig.flow(br0, 'table=0,ip actions=load:1->NXM_NX_REG0[],dec_ttl,resubmit(,1)');
    rig.flow(br0, 'table=1,reg0=1,udp,tp_dst=0/0xff00 actions=mod_nw_dst:10.9.9.9,mod_vlan_vid:5,output:2,controller');
    rig.receive('p1', UDP);
    const before = rig.appctl('dpctl/dump-flows');
    rig.flow(br0, 'table=9 actions=drop');
    rig.backend.udpif.revalidateAll();
    assert.equal(rig.appctl('dpctl/dump-flows'), before);
    assert.match(before, /set\(ipv4\(dst=10.9.9.9,ttl=63\)\),push_vlan\(vid=5,pcp=0\),2/);
  });

  describe('flow-mods', () => {
    const text = (bridge: Bridge) =>
      rules(bridge)
        .map((r) => `${r.tableId} ${r.priority} ${r.actions.map((a) => a.type).join()} ${r.cookie}`)
        .sort();
    const mod = (line: string, command: FlowMod['command'], more: Partial<FlowMod> = {}) =>
      applyFlowMod(br0.flowTables, { ...parse(line, command), ...more });

    const op = (line: string, command: FlowMod['command']) =>
      FlowModOp.init(br0.flowTables, parse(line, command)) as FlowModOp;

    it('modify adds when nothing matches, modifies all that does, and keeps counters', () => {
      mod('priority=5,cookie=1,udp actions=output:1', 'modify');
      mod('priority=6,cookie=2,tcp actions=output:1', 'add');
      rules(br0)[0].credit(7, 700, 0);
      mod('cookie=3,ip actions=strip_vlan', 'modify');
      assert.deepEqual(text(br0), ['0 5 strip_vlan 3', '0 6 strip_vlan 3']);
      assert.equal(
        rules(br0).reduce((n, r) => n + r.packets, 0),
        7,
      );
    });

    it('strict commands take priority and match to the letter', () => {
      mod('priority=5,udp actions=output:1', 'add');
      mod('priority=6,udp actions=output:1', 'add');
      mod('priority=5,udp', 'delete_strict');
      assert.deepEqual(text(br0), ['0 6 output 0']);
      mod('priority=6,ip', 'delete_strict');
      assert.equal(rules(br0).length, 1);
    });

    it('delete restricts by cookie mask and output port', () => {
      for (let i = 1; i <= 4; i++) mod(`priority=${i},cookie=${i} actions=output:${i % 2 ? 1 : 2}`, 'add');
      mod('', 'delete', { cookie: 1n, cookieMask: 1n });
      assert.deepEqual(text(br0), ['0 2 output 2', '0 4 output 4']);
      mod('', 'delete', { outPort: 1 as never });
      assert.equal(rules(br0).length, 2);
      mod('', 'delete', { outPort: 2 as never });
      assert.equal(rules(br0).length, 0);
    });

    it('refuses overlaps when asked, and the hidden table always', () => {
      mod('priority=5,in_port=1 actions=output:2', 'add');
      assert.equal(mod('check_overlap,priority=5,udp actions=output:2', 'add'), 'OFPFMFC_OVERLAP');
      assert.equal(mod('check_overlap,priority=6,udp actions=output:2', 'add'), undefined);
      assert.equal(mod('udp actions=output:2', 'add', { tableId: 254 }), 'OFPBRC_EPERM');
    });

    it('a transaction that fails leaves no trace', () => {
      mod('priority=1,udp actions=output:1', 'add');
      mod('priority=2,tcp actions=output:1', 'add');
      const before = text(br0);
      const [kept] = rules(br0);
      const ops = [
        op('priority=1,udp actions=output:3,output:2', 'add'),
        op('priority=3,arp actions=output:2', 'add'),
        op('tcp actions=strip_vlan', 'modify'),
        op('priority=3,arp actions=output:1', 'add'),
        op('tcp', 'delete'),
        op('priority=9 actions=group:7', 'add'),
      ];
      assert.equal(runNow(br0.flowTables, ops), 'OFPBAC_BAD_OUT_GROUP');
      assert.deepEqual(text(br0), before);
      assert.equal(kept.removed, false);
      assert.ok(br0.tables[0].cls.lookup(catchallMatch().flow) === undefined);
    });
  });
});
