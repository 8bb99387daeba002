import { after, before, describe, it } from 'node:test';
import { type Random, random } from '../support/random.ts';
import { missingPeer, requirePeer } from '../support/require.ts';
import { TracePair } from './support/trace-pair.ts';

/** Random tables with what stops a translation and goes on, clones, labels and stacks, against the real ovs-vswitchd, word for word. */

const PEERS = ['root', 'ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovs-ofctl', 'ovs-appctl', 'ovsdb-tool'];
const N_TABLES = 5;

const PROTOS = ['tcp', 'udp', 'icmp', 'tcp6', 'arp', 'mpls'] as const;
type Proto = (typeof PROTOS)[number] | '';

const isIp = (p: Proto): boolean => p === 'tcp' || p === 'udp' || p === 'icmp' || p === 'tcp6';

/** A list of actions that suits packets of `proto`; `depth`: how far clones may nest still. */
function actions(rnd: Random, proto: Proto, table: number, depth: number): string {
  const pick = <T>(list: readonly T[]): T => list[rnd(list.length)];
  const next = () => Math.min(table + 1 + rnd(2), N_TABLES);
  const any: (() => string)[] = [
    () => `output:${2 + rnd(3)}`,
    () => `output:${2 + rnd(3)}`,
    () => `resubmit(,${next()})`,
    () => `resubmit(,${next()})`,
    () => `group:${1 + rnd(4)}`,
    () => 'debug_recirc',
    () => `load:${rnd(9)}->NXM_NX_REG${rnd(3)}[]`,
    () => `move:NXM_NX_REG${rnd(3)}[0..7]->NXM_NX_REG${rnd(3)}[8..15]`,
    () => `push:NXM_NX_REG${rnd(3)}[0..${7 + rnd(9)}]`,
    () => `pop:NXM_NX_REG${rnd(3)}[]`,
    () => `mod_dl_src:50:54:00:00:00:0${rnd(9)}`,
    () => 'mod_vlan_vid:7',
    () => 'strip_vlan',
    () => `set_tunnel:${rnd(9)}`,
    () => `load:${rnd(9)}->NXM_NX_PKT_MARK[]`,
    () => `set_queue:${rnd(3)}`,
    () => 'pop_queue',
    () => `controller(max_len=${rnd(99)},id=${rnd(3)},userdata=0${rnd(9)})`,
    () => `check_pkt_larger(${64 + rnd(99)})->NXM_NX_REG0[${rnd(8)}]`,
    () => `output(port=${2 + rnd(3)},max_len=${60 + rnd(60)})`,
    () => 'exit',
    () => 'output:NXM_NX_REG1[0..2]',
  ];
  if (depth > 0) any.push(() => `clone(${actions(rnd, proto, table, depth - 1)})`);
  if (isIp(proto)) {
    any.push(
      () => 'dec_ttl',
      () => 'mod_nw_tos:40',
      () => `ct(table=${next()},zone=${rnd(3)})`,
      () => `ct(commit,zone=NXM_NX_REG${rnd(3)}[0..15],exec(load:${rnd(9)}->NXM_NX_CT_MARK[]))`,
      () => 'ct_clear',
    );
    if (proto !== 'tcp6') any.push(() => `mod_nw_dst:10.9.9.${rnd(9)}`);
    if (proto !== 'icmp') any.push(() => `mod_tp_dst:${rnd(99)}`);
  }
  const list = Array.from({ length: 1 + rnd(5) }, () => pick(any)());
  // Labels change what else may be done: they come last.
  if (proto === 'mpls')
    list.push(
      pick(['dec_mpls_ttl', 'set_mpls_label(7)', 'pop_mpls:0x8847', 'set_mpls_tc(3)', 'note:00.00.00.00.00.00']),
      `output:${2 + rnd(3)}`,
    );
  else if (rnd(6) === 0)
    list.push('push_mpls:0x8847', ...(rnd(2) ? ['push_mpls:0x8848', 'dec_mpls_ttl'] : []), `output:${2 + rnd(3)}`);
  return list.join(',');
}

function match(rnd: Random, proto: Proto): string[] {
  const m: string[] = proto ? [proto] : [];
  if (rnd(4) === 0) m.push(`reg${rnd(3)}=${rnd(3)}/0x3`);
  if (rnd(5) === 0) m.push(`tun_id=${rnd(4)}`);
  if (rnd(4) === 0) m.push('dl_vlan=7');
  if (proto === 'tcp' || proto === 'udp') {
    if (rnd(3) === 0) m.push(`nw_dst=10.9.0.0/${8 + rnd(20)}`);
    if (rnd(3) === 0) m.push(`tp_dst=${rnd(99)}`);
  }
  if (isIp(proto) && rnd(4) === 0) m.push(['ct_state=+trk+new', 'ct_state=-trk', 'ct_mark=1'][rnd(3)]);
  return m;
}

function flows(rnd: Random, n: number): string[] {
  return Array.from({ length: n }, (_, i) => {
    const proto = (['', ...PROTOS] as const)[rnd(PROTOS.length + 1)];
    const table = rnd(2) ? 0 : rnd(N_TABLES);
    const m = [`table=${table}`, `priority=${9000 - i}`, ...match(rnd, proto)];
    return `${m.join(',')} actions=${actions(rnd, proto, table, 2)}`;
  });
}

const GROUPS = [
  'group_id=1,type=all,bucket=output:2,bucket=resubmit(,3)',
  'group_id=2,type=indirect,bucket=push_vlan:0x8100,output:3',
  'group_id=3,type=ff,bucket=watch_port:9,actions=output:2,bucket=watch_port:4,actions=output:4',
  'group_id=4,type=select,bucket=output:2,bucket=output:3',
];

function packet(rnd: Random): string {
  const proto = PROTOS[rnd(PROTOS.length)];
  const p = [`in_port=1,dl_src=50:54:00:00:00:0${rnd(3)},dl_dst=50:54:00:00:00:09`];
  if (rnd(4) === 0) p.push(`dl_vlan=${7 + rnd(2)}`);
  p.push(proto);
  if (isIp(proto)) p.push(`nw_ttl=${[1, 64][rnd(2)]}`);
  if (proto === 'tcp' || proto === 'udp') p.push(`nw_src=10.0.0.1,nw_dst=10.9.9.9,${proto}_dst=${rnd(99)}`);
  if (proto === 'mpls') p.push(`mpls_label=${rnd(9)},mpls_ttl=${1 + rnd(64)},mpls_bos=1`);
  if (proto === 'arp') p.push('arp_op=1');
  return p.join(',');
}

describe('random tables in ofproto/trace against the real switch', () => {
  const pair = new TracePair();
  const available = PEERS.every((peer) => missingPeer(peer) === undefined);
  before(async () => {
    if (available) await pair.start();
  });
  after(async () => {
    await pair.stop();
  });

  const seeds = process.env.TURNOUT_SEEDS?.split('-').map(Number) ?? [1, 8];
  for (let seed = seeds[0]; seed <= seeds[1]; seed++)
    it(`seed ${seed}`, (t) => {
      if (!requirePeer(t, ...PEERS)) return;
      const rnd = random(seed);
      pair.setGroups(GROUPS);
      pair.addFlows(flows(rnd, 24));
      for (let i = 0; i < 20; i++) pair.compare(packet(rnd));
    });
});
