import { after, before, describe, it } from 'node:test';
import { missingPeer, requirePeer } from '../support/require.ts';
import { TracePair } from './support/trace-pair.ts';

/** Every action, one by one, in `ofproto/trace` against the real ovs-vswitchd, word for word. */

const PEERS = ['root', 'ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovs-ofctl', 'ovs-appctl', 'ovsdb-tool'];

interface Case {
  title: string;
  groups?: string[];
  flows: string[];
  packets: (string | string[])[];
}

const ETH = 'in_port=1,dl_src=50:54:00:00:00:01,dl_dst=50:54:00:00:00:02';
const IP = `${ETH},ip,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_proto=47,nw_ttl=64`;
const TCP = `${ETH},tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tcp_src=1000,tcp_dst=80`;
const UDP = `${ETH},udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,udp_src=1000,udp_dst=53`;
const TCP6 = `${ETH},tcp6,ipv6_src=2001:db8::1,ipv6_dst=2001:db8::2,nw_ttl=64,tcp_src=1000,tcp_dst=80`;
const MPLS = `${ETH},mpls,mpls_label=100,mpls_tc=3,mpls_ttl=64,mpls_bos=1`;

const CASES: Case[] = [
  {
    title: 'groups: all, indirect, in an action set, none',
    groups: [
      'group_id=1,type=all,bucket=output:2,bucket=set_field:10.9.9.9->ip_dst,output:3,bucket=push_vlan:0x8100,output:4',
      'group_id=2,type=indirect,bucket=dec_ttl,output:2',
      'group_id=3,type=all,bucket=group:2,bucket=resubmit(,5)',
      'group_id=4,type=all',
    ],
    flows: [
      'tcp actions=group:1,output:4',
      'udp actions=write_actions(group:2,output:3)',
      'ip,nw_proto=47 actions=set_field:1.1.1.1->ip_src,group:3,output:2',
      'arp actions=group:4,output:2',
      'table=5 actions=output:3,controller(reason=no_match)',
    ],
    packets: [TCP, UDP, IP, `${ETH},arp`],
  },
  {
    title: 'fast failover and watched groups',
    groups: [
      'group_id=1,type=ff,bucket=watch_port:9,actions=output:2,bucket=watch_port:3,actions=output:3',
      'group_id=2,type=ff,bucket=watch_group:1,actions=output:4,bucket=watch_port:2,actions=output:2',
      'group_id=3,type=ff,bucket=watch_port:9,watch_group:8,actions=output:4',
    ],
    flows: ['tcp actions=group:1', 'udp actions=group:2', 'ip,nw_proto=47 actions=group:3'],
    packets: [TCP, UDP, IP],
  },
  {
    title: 'select: by the datapath hash',
    groups: ['group_id=1,type=select,bucket=output:2,bucket=output:3'],
    flows: ['actions=set_field:7->reg0,group:1,output:4'],
    packets: [TCP, `dp_hash=5,${TCP}`, `dp_hash=0x1234,${TCP}`],
  },
  {
    title: 'select: one bucket',
    groups: ['group_id=1,type=select,selection_method=hash,fields(ip_dst,tcp_dst=0xff),bucket=output:2'],
    flows: ['actions=group:1'],
    packets: [UDP, TCP, TCP6, `${ETH},arp`],
  },
  {
    title: 'learn',
    flows: [
      'table=0 actions=learn(table=1,hard_timeout=60,idle_timeout=9,priority=7,cookie=0x5,send_flow_rem,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[],load:0x5->NXM_NX_REG1[0..7],load:NXM_NX_REG0[0..7]->NXM_NX_REG2[0..7]),resubmit(,2)',
      'table=2,priority=0 actions=output:3',
    ],
    packets: [TCP, [TCP, '-generate'], `${ETH},dl_vlan=5,tcp`],
  },
  {
    title: 'learn: limit and result',
    flows: [
      'actions=learn(table=2,limit=1,cookie=0x9,result_dst=NXM_NX_REG0[0],dl_dst=dl_src,output:in_port),resubmit(,1)',
      'table=1,reg0=1 actions=2',
      'table=1,reg0=0 actions=3',
    ],
    packets: [
      TCP,
      [TCP, '-generate'],
      [TCP, '-generate'],
      ['in_port=1,dl_src=50:54:00:00:00:09,dl_dst=50:54:00:00:00:02', '-generate'],
    ],
  },
  {
    title: 'MPLS',
    flows: [
      'tcp actions=push_mpls:0x8847,set_field:10->mpls_label,set_field:3->mpls_tc,output:2,pop_mpls:0x0800,output:3',
      'udp actions=dec_ttl,push_mpls:0x8847,push_mpls:0x8848,output:2',
      'tcp6 actions=push_mpls:0x8847,output:2',
      'arp actions=push_mpls:0x8847,push_mpls:0x8847,push_mpls:0x8847,push_mpls:0x8847,output:2',
      'mpls,mpls_label=100 actions=pop_mpls:0x0800,dec_ttl,output:2',
      'mpls,mpls_label=101 actions=pop_mpls:0x8847,set_mpls_ttl(9),dec_mpls_ttl,output:2',
      'mpls,mpls_label=102 actions=pop_mpls:0x0800,output:2,set_field:50:54:00:00:00:07->eth_src,output:3,resubmit(,1)',
      'mpls,mpls_label=103 actions=dec_mpls_ttl,output:2',
      'table=1 actions=output:4',
    ],
    packets: [
      TCP,
      UDP,
      TCP6,
      `${ETH},arp`,
      MPLS,
      MPLS.replace('100', '101'),
      MPLS.replace('100', '102'),
      MPLS.replace('100', '103').replace('ttl=64', 'ttl=1'),
    ],
  },
  {
    title: 'encap and decap',
    flows: [
      'table=0,tcp actions=encap(nsh(md_type=1)),set_field:0x1234->nsh_spi,set_field:0x11223344->nsh_c1,encap(ethernet),set_field:11:22:33:44:55:66->dl_dst,output:2',
      'table=0,udp actions=decap(),output:2',
      'table=0,tcp6 actions=encap(nsh(md_type=2,tlv(0x1000,10,0x12345678))),encap(ethernet),output:2',
      'table=0,arp actions=decap(),decap(),output:2',
      'table=0,ip,nw_proto=47 actions=encap(mpls),set_field:5->mpls_label,encap(ethernet),output:3',
      'table=0,priority=9,dl_type=0x894f,nsh_mdtype=1,nsh_np=3 actions=decap(),decap(),resubmit(,1)',
      'table=0,dl_type=0x894f,nsh_np=1,nsh_mdtype=1 actions=dec_nsh_ttl,set_field:5->nsh_si,output:2',
      'table=1 actions=output:3',
    ],
    packets: [
      TCP,
      UDP,
      TCP6,
      `${ETH},arp`,
      IP,
      `${ETH},dl_type=0x894f,nsh_ttl=63,nsh_mdtype=1,nsh_np=3,nsh_spi=0x1234,nsh_si=255`,
      `${ETH},dl_type=0x894f,nsh_ttl=63,nsh_mdtype=1,nsh_np=1,nsh_spi=0x1234,nsh_si=255`,
    ],
  },
  {
    title: 'conntrack',
    flows: [
      'table=0,tcp actions=ct(table=1),output:4',
      'table=0,udp actions=ct(commit,zone=5,exec(set_field:0x7->ct_mark,load:0x1->NXM_NX_CT_LABEL[0..3])),output:2',
      'table=0,ip,nw_proto=47 actions=ct(commit,force,table=1,zone=NXM_NX_REG0[0..15],nat(src=10.1.1.1-10.1.1.9:5-9,random)),ct_clear',
      'table=0,tcp6 actions=ct(table=2,nat)',
      'table=1,ip,ct_state=+trk+new actions=ct(commit),output:2',
      'table=1,ip,ct_state=+trk+est actions=ct_clear,output:3',
      'table=2,tcp6,ct_state=+trk-inv actions=resubmit(,3,ct),ct(commit,alg=ftp,nat(dst=[2001:db8::9]))',
      'table=3,tcp6,tp_dst=80 actions=output:3',
    ],
    packets: [TCP, [TCP, '--ct-next', 'trk,est'], UDP, IP, TCP6],
  },
  {
    title: 'clone, exit, stack',
    flows: [
      'tcp actions=clone(set_field:1.2.3.4->ip_dst,output:2),output:3',
      'udp actions=clone(ct(commit),output:2),output:3',
      'ip,nw_proto=47 actions=push:NXM_NX_REG0[],set_field:5->reg0,clone(pop:NXM_NX_REG1[],output:2),pop:NXM_NX_REG2[],pop:NXM_NX_REG3[],output:3',
      'tcp6 actions=clone(output:2,exit),output:3',
      'arp actions=clone(decap(),output:2),output:4',
    ],
    packets: [TCP, UDP, IP, TCP6, `${ETH},arp`],
  },
  {
    title: 'check_pkt_larger, truncation, queues',
    flows: [
      'tcp actions=check_pkt_larger(200)->NXM_NX_REG0[0],resubmit(,1)',
      'udp actions=output(port=2,max_len=100),output(port=1,max_len=64),output(port=9,max_len=64)',
      'ip,nw_proto=47 actions=set_queue:5,output:2,pop_queue,output:3',
      'table=1,reg0=1/1 actions=output:2',
      'table=1,reg0=0/1 actions=output:3,dec_ttl,output:4',
    ],
    packets: [TCP, UDP, IP],
  },
  {
    title: 'multipath and bundle of one link',
    flows: [
      'tcp actions=multipath(symmetric_l4,50,modulo_n,1,0,NXM_NX_REG0[0..7]),output:2',
      'udp actions=multipath(symmetric_l3l4+udp,50,hash_threshold,1,0,NXM_NX_REG0[]),output:2',
      'ip,nw_proto=47 actions=bundle(active_backup,0,active_backup,ofport,members:9,3,2)'.replace(
        'bundle(active_backup',
        'bundle(eth_src',
      ),
      'tcp6 actions=bundle_load(nw_src,0,hrw,ofport,NXM_NX_REG0[0..15],members:9,3),output:NXM_NX_REG0[0..15]',
      'arp actions=bundle(eth_src,0,active_backup,ofport,members:8,9)',
    ],
    packets: [TCP, UDP, IP, TCP6, `${ETH},arp`],
  },
  {
    title: 'freezing: debug_recirc, pause, across resubmits',
    flows: [
      'tcp actions=set_field:3->reg0,resubmit(,1),output:3',
      'udp actions=controller(pause,userdata=00.01),output:2',
      'arp,actions=debug_recirc,write_actions(output:4),goto_table:2',
      'table=1 actions=output:2,debug_recirc,dec_ttl,resubmit(,2)',
      'table=2 actions=debug_slow,output:4',
    ],
    packets: [TCP, UDP, [UDP, '-generate'], `${ETH},arp`],
  },
  {
    title: 'controller with what goes with it',
    flows: [
      'tcp actions=controller(max_len=64,id=5,userdata=aa.bb,reason=invalid_ttl)',
      'udp actions=dec_ttl(1,2),output:2',
      'ip,nw_proto=47 actions=controller,set_field:5->ip_dscp,controller',
    ],
    packets: [TCP, UDP.replace('ttl=64', 'ttl=1'), IP],
  },
  {
    title: 'headers: IPv6, neighbour discovery, ARP, ICMP, VLANs',
    flows: [
      'icmp6,icmp_type=136 actions=set_field:2147483648->nd_reserved,output:2',
      'icmp6,icmp_type=135 actions=set_field:fe80::9->nd_target,set_field:11:22:33:44:55:66->nd_sll,output:2',
      'arp actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],load:2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],output:2',
      'tcp6 actions=set_field:2001:db8::9->ipv6_dst,set_field:5->ipv6_label,set_field:9->nw_ttl,output:2',
      'tcp actions=push_vlan:0x88a8,set_field:4100->vlan_vid,push_vlan:0x8100,output:2,pop_vlan,output:3,pop_vlan,output:4',
      'icmp actions=set_field:0->icmp_type,output:2',
      'udp actions=set_field:7->pkt_mark,set_field:53->udp_src,output:2,set_field:8->reg1,note:11.22.33.44.55.66',
    ],
    packets: [
      `${ETH},icmp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,icmpv6_type=136,nd_target=fe80::3,nd_tll=aa:bb:cc:dd:ee:ff`,
      `${ETH},icmp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,icmp_type=135,nd_target=fe80::3,nd_sll=aa:bb:cc:dd:ee:ff`.replace(
        'icmp_type',
        'icmpv6_type',
      ),
      `${ETH},arp,arp_op=1,arp_spa=10.0.0.1,arp_tpa=10.0.0.2,arp_sha=50:54:00:00:00:01`,
      TCP6,
      TCP,
      `${ETH},icmp,nw_src=10.0.0.1,icmp_type=8`,
      UDP,
    ],
  },
  {
    title: 'limits and errors',
    flows: [
      'tcp actions=resubmit(,0)',
      'udp actions=resubmit(,1),resubmit(,1)',
      'ip,nw_proto=47 actions=sample(probability=100,collector_set_id=1),pop:NXM_NX_REG0[],set_field:5->nw_ttl,output:2',
      'table=1 actions=resubmit(,0)',
      'arp actions=conjunction(1,1/2)',
      'conj_id=1,arp actions=output:2',
    ],
    packets: [IP],
  },
];

describe('actions in ofproto/trace against the real switch', () => {
  const pair = new TracePair();
  const available = PEERS.every((peer) => missingPeer(peer) === undefined);
  before(async () => {
    if (available) await pair.start();
  });
  after(async () => {
    await pair.stop();
  });

  for (const c of CASES)
    it(c.title, (t) => {
      if (!requirePeer(t, ...PEERS)) return;
      pair.setGroups(c.groups ?? []);
      pair.setFlows(c.flows);
      for (const p of c.packets) {
        const [packet, ...args] = typeof p === 'string' ? [p] : p;
        pair.compare(packet, ...args);
      }
    });

  it('arguments, and what is wrong with them', (t) => {
    if (!requirePeer(t, ...PEERS)) return;
    pair.setGroups([]);
    pair.setFlows(['actions=output:2']);
    const frame = '505400000002505400000001080045000014000000004011000000000000';
    const odp = 'in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0806)';
    for (const args of [
      [odp],
      ['ovs-dummy', odp],
      ['br0', 'in_port=1', frame],
      ['br0', TCP, '-generate', '--l7', 'aabbcc'],
      ['br0', TCP, '--l7-len', '70000'],
      ['br0', TCP, '--names'],
      ['br0', TCP, '--ct-next'],
      ['br0', TCP, '--ct-next', 'new,est'],
      ['br0', TCP, '--ct-next', 'trk,foo'],
      ['br0', TCP, '--bad'],
      ['br0', TCP, 'zz', 'yy'],
      ['br0', TCP, 'zz'],
      ['br0', 'in_port=1', '5054'],
      ['br9', TCP],
      ['br0', 'tp_src=5'],
      ['br0', 'in_port=1,in_port=2'],
      ['br0', 'tcp,udp'],
      ['br0', 'foo=1'],
      ['in_port=1'],
      ['in_port(77),eth(),eth_type(0x0806)'],
      [],
    ])
      pair.compareCommand('ofproto/trace', ...(args.length ? args : ['br0']));
    for (const args of [
      ['br0', TCP, 'output:3,resubmit(,0)'],
      ['br0', TCP, 'dec_ttl,controller'],
      ['-consistent', 'br0', `${ETH},arp`, 'dec_ttl'],
      ['br0', TCP, 'group:5'],
      ['br0', TCP, 'foo:5'],
      [odp, 'output:2'],
    ])
      pair.compareCommand('ofproto/trace-packet-out', ...args);
  });
});
