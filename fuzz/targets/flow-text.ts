/** The flow syntax: what parses is printed as what parses to the same flow. */
import assert from 'node:assert/strict';
import { FIELDS } from '../../protocols/fields.ts';
import { vlog } from '../../src/base/vlog.ts';
import { FlowTextError, format, parse } from '../../src/openflow/flow-text.ts';
import type { Target } from '../engine.ts';

const FLOWS = [
  'table=1,priority=5,tcp,nw_dst=10.0.0.0/8,tp_dst=80 actions=mod_vlan_vid:5,output:2',
  'ipv6,ipv6_dst=fe80::/64,cookie=0x1/0xff actions=dec_ttl(1,2),resubmit(3,4),goto_table:7',
  'arp,arp_op=1,reg0=5/7 actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],controller(max_len=64,id=3)',
  'actions=learn(table=1,idle_timeout=3,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0x5->NXM_NX_REG0[],output:NXM_OF_IN_PORT[])',
  'mpls,mpls_label=7 actions=pop_mpls:0x0800,push_mpls:0x8847,set_mpls_ttl(4)',
  'ip,ct_state=+trk-new actions=ct(commit,zone=1,nat(src=10.0.0.1-10.0.0.9:1-2000,random),exec(load:1->NXM_NX_CT_MARK[]))',
  'actions=bundle(eth_src,0,hrw,ofport,members:1,2,3),multipath(symmetric_l4,1,modulo_n,4,0,NXM_NX_REG0[]),note:01.02',
  'actions=sample(probability=5,collector_set_id=1,obs_domain_id=2,obs_point_id=3),clone(output:1),group:5,set_queue:3',
  'tun_metadata0=0x5/0xff,nsh_si=4 actions=encap(nsh(md_type=1)),set_field:1->nsh_spi,decap(),write_actions(drop)',
];

const WORDS = [
  'actions=',
  'output:',
  'resubmit(,',
  'learn(',
  'ct(',
  'nat(',
  'set_field:',
  '->',
  'load:',
  'move:',
  '[]',
  '[0..7]',
  '0x',
  'ffff',
  'controller(',
  'group:',
  'meter:',
  'clone(',
  'push_vlan:0x8100',
  'encap(',
  'decap(',
  'note:',
  'drop',
  'all',
  'normal',
  'in_port',
  'tcp',
  'udp',
  'ip',
  'ipv6',
  'arp',
  'icmp6',
  'mpls',
  '/',
  ',',
  '=',
  '(',
  ')',
  '::',
  '255.255.255.0',
  'check_pkt_larger(',
  'exit',
];

const print = (text: string): string => {
  const { match, actions, priority } = parse(text);
  return format(match, actions, priority);
};

vlog.setLevels('off');

export const target: Target = {
  name: 'flow-text',
  seeds: FLOWS.map((text) => new TextEncoder().encode(text)),
  tokens: [...WORDS, ...FIELDS.map((f) => f.name)],
  maxLength: 512,
  run(input) {
    const text = new TextDecoder().decode(input);
    try {
      const once = print(text);
      assert.equal(print(once), once, text);
    } catch (e) {
      if (!(e instanceof FlowTextError)) throw e;
    }
  },
};
