import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseOdpActions } from './odp-action-parse.ts';
import { formatOdpActions } from './odp-action-text.ts';
import { OdpParseError, parseOdpFlow } from './odp-parse.ts';
import { formatOdpFlow } from './odp-text.ts';

describe('text of datapath actions', () => {
  for (const text of [
    'push_mpls(label=18,tc=7,ttl=64,bos=1,eth_type=0x8847),3',
    'add_mpls(label=18,tc=7,ttl=64,bos=1,eth_type=0x8847),pop_mpls(eth_type=0x800)',
    'push_eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),pop_eth,pop_vlan',
    'push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1234,si=255,c1=0x11223344,c2=0x0,c3=0x0,c4=0x1),pop_nsh(),4',
    'push_nsh(flags=1,ttl=63,mdtype=2,np=1,spi=0x1,si=254,md2=0x1000000412345678)',
    'set(nsh(ttl=62,si=254)),set(nsh(spi=0x1/0x0000ffff,c1=0x0))',
    'ct,ct_clear,ct(commit,zone=5,mark=0x1/0xffffffff,label=0x10/0xff,helper=ftp,timeout=tp1,nat(src=10.0.0.1-10.0.0.9:80-90,persistent,hash))',
    'ct(force_commit,nat(dst=[fe80::1]:80)),ct(nat)',
    'hash(l4(0)),recirc(0x2)',
    'hash(sym_l4(7)),recirc(0x2)',
    'meter(3),lb_output(4),trunc(100),5',
    'sample(sample=25.0%,actions(userspace(pid=0,flow_sample(probability=9,collector_set_id=1,obs_domain_id=2,obs_point_id=3,output_port=1,ingress))))',
    'userspace(pid=0,sFlow(vid=0,pcp=0,output=1),actions,tunnel_out_port=3),userspace(pid=0,ipfix(output_port=1))',
    'check_pkt_len(size=64,gt(1,clone(2)),le(drop))',
    'set(tunnel(tun_id=0x7,src=1.1.1.1,dst=2.2.2.2,tos=0x4,ttl=64,tp_src=1,tp_dst=4789,vxlan(gbp(id=10,flags=0x8)),flags(df|key)))',
    'set(tunnel(ipv6_dst=fe80::1,ttl=64,geneve({class=0xffff,type=0x80,len=4,0xa}{class=0,type=0,len=0}),flags(df|csum)))',
    'set(tunnel(dst=2.2.2.2,ttl=64,erspan(ver=2,dir=1,hwid=0x7),flags(0)))',
    'tnl_pop(4)',
  ]) {
    it(`round trip: ${text.slice(0, 60)}`, () => {
      assert.equal(formatOdpActions(parseOdpActions(text)), text);
    });
  }

  it('writes the outer headers of a tunnel', () => {
    const header = Buffer.from(
      'aa55aa550001aa55aa5500010800' +
        '45000000000040004011000001020302' +
        '01020305' +
        'c00012b500000000' +
        '0800000000007b00',
      'hex',
    );
    const text = formatOdpActions([
      { type: 'tunnel_push', tunnelPort: 4 as never, outPort: 100 as never, tunnelType: 'vxlan', header },
    ]);
    assert.equal(
      text,
      'tnl_push(tnl_port(4),header(size=50,type=4,eth(dst=aa:55:aa:55:00:01,src=aa:55:aa:55:00:01,dl_type=0x0800),' +
        'ipv4(src=1.2.3.2,dst=1.2.3.5,proto=17,tos=0,ttl=64,frag=0x4000),udp(src=49152,dst=4789,csum=0x0),' +
        'vxlan(flags=0x8000000,vni=0x7b)),out_port(100))',
    );
  });

  for (const text of [
    'ct(zone=65536)',
    'sample(sample=101%,actions(1))',
    'hash(l5(0))',
    'frobnicate(1)',
    'clone(1',
    'p9',
  ])
    it(`refuses ${text}`, () => {
      assert.throws(() => parseOdpActions(text), OdpParseError);
    });
});

describe('text of wildcarded keys', () => {
  for (const text of [
    'tunnel(tun_id=0x7f10354/0xff,src=10.10.10.10/255.255.255.0,dst=20.20.20.20,ttl=64,vxlan(gbp(id=10/0xff,flags=0xb)),flags(-df+csum+key)),in_port(1),eth(),eth_type(0/0xffff)',
    'tunnel(dst=20.20.20.20,ttl=64,erspan(ver=1,idx=0x7/0xfffff),flags(-oam+df+csum)),in_port(1),eth(),eth_type(0/0xffff)',
    'ct_state(-new+est+trk),ct_zone(0x5),ct_mark(0x1/0xf),ct_label(0x1/0xff),recirc_id(0),in_port(1),eth(),eth_type(0/0xffff)',
    'recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth_type(0x8847),mpls(label=100,tc=3,ttl=64,bos=0,label=200,tc=0,ttl=64,bos=1)',
    'recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth_type(0x8847),mpls(label=100/0xfffff,tc=0/0,ttl=0/0x0,bos=1/1)',
    'recirc_id(0),in_port(1),packet_type(ns=1,id=0x894f),eth_type(0x894f),nsh(mdtype=1,np=3,spi=0x100,si=1,c1=0x5)',
    'recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth_type(0x88a8),vlan(vid=1),encap(eth_type(0x8100),vlan(vid=2/0x3),encap(eth_type(0x0800),ipv4(frag=no)))',
  ])
    it(`round trip: ${text.slice(0, 70)}`, () => {
      const { flow, wc } = parseOdpFlow(text);
      assert.equal(formatOdpFlow(flow, wc), text);
    });
});
