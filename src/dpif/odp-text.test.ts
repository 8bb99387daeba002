import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type OdpPort, odpPort } from '../base/types.ts';
import { Flow } from '../flow/flow.ts';
import { parseOdpActions } from './odp-action-parse.ts';
import { formatOdpActions } from './odp-action-text.ts';
import { OdpParseError, parseOdpFlow } from './odp-parse.ts';
import { formatOdpFlow, formatOdpStats } from './odp-text.ts';

const HEAD = 'recirc_id(0),in_port(1),packet_type(ns=0,id=0)';

describe('text of datapath flows', () => {
  for (const text of [
    `${HEAD},eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,dst=10.0.0.2,proto=6,tos=0/0xfc,ttl=64,frag=no),tcp(dst=80)`,
    `${HEAD},eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:00/01:00:00:00:00:00),eth_type(0x1234)`,
    `${HEAD},eth_type(0x8100),vlan(vid=10),encap(eth_type(0x0800),ipv4(frag=first))`,
    `${HEAD},eth_type(0x8100),vlan(vid=10,pcp=5),encap(eth_type(0x0806),arp(sip=10.0.0.1,op=1,tha=00:00:00:00:00:00))`,
    `${HEAD},eth_type(0x86dd),ipv6(src=2001:db8::/ffff:ffff::,dst=::1,label=0x1,proto=58,hlimit=255,frag=no),icmpv6(type=135,code=0),nd(target=fe80::1)`,
    `${HEAD},eth_type(0x0800),ipv4(proto=17,frag=later)`,
    `${HEAD},eth_type(0x0800),ipv4(proto=6,frag=no),tcp_flags(+syn-ack)`,
    `${HEAD},eth_type(0x0800),ipv4(proto=6,frag=no),tcp(src=8/0xfff8),tcp_flags(syn|ack)`,
    `skb_priority(0x7),skb_mark(0x1/0xf),${HEAD},eth_type(0/0xffff)`,
  ]) {
    it(`round trip: ${text.slice(HEAD.length + 1, HEAD.length + 60)}`, () => {
      const { flow, wc } = parseOdpFlow(text);
      assert.equal(formatOdpFlow(flow, wc), text);
    });
  }

  it('names ports', () => {
    const ports = new Map([['p1', odpPort(1)]]);
    const { flow, wc } = parseOdpFlow('in_port(p1),eth_type(0x0800)', (name) => ports.get(name));
    assert.equal(flow.inPort, 1);
    const portName = (port: OdpPort) => (port === 1 ? 'p1' : undefined);
    assert.equal(formatOdpFlow(flow, wc, { portName }), 'in_port(p1),eth(),eth_type(0x0800)');
    assert.equal(formatOdpActions(parseOdpActions('1,2'), { portName }), 'p1,2');
  });

  it('also shows what is wildcarded when told', () => {
    const { flow, wc } = parseOdpFlow('in_port(1),eth_type(0x0800),ipv4(frag=no)');
    assert.match(
      formatOdpFlow(flow, wc, { verbose: true }),
      /eth\(src=00:00:00:00:00:00\/00:00:00:00:00:00,.*tos=0\/0,ttl=0\/0,frag=no\)/,
    );
  });

  it('refuses nonsense', () => {
    for (const text of [
      'in_port',
      'eth(src=1)',
      'ipv4(sorc=1.2.3.4)',
      'ipv4(src=1.2.3.400)',
      'foo(1)',
      'tcp(src=70000)',
      'vlan(vid=4096)',
      'in_port(1',
    ])
      assert.throws(() => parseOdpFlow(text), OdpParseError, text);
  });
});

describe('text of datapath actions', () => {
  for (const text of [
    '1,2',
    'drop',
    'set(eth(dst=00:00:00:00:00:05)),3',
    'set(ipv4(src=1.2.3.4/255.255.0.0,ttl=63)),set(tcp(dst=443)),1',
    'pop_vlan,push_vlan(vid=10,pcp=0),7',
    'push_vlan(tpid=0x88a8,vid=10,pcp=3),7',
    'trunc(100),1',
    'clone(pop_vlan,1),2',
    'recirc(0x5)',
  ]) {
    it(`round trip: ${text}`, () => assert.equal(formatOdpActions(parseOdpActions(text)), text));
  }

  it('shows a packet-in', () => {
    const text = formatOdpActions([
      {
        type: 'userspace',
        userdata: {
          kind: 'controller',
          reason: 1,
          controllerId: 0,
          maxLen: 65535,
          tableId: 0,
          cookie: 0x77n,
          metadata: new Flow(),
          recircId: 3,
        },
      },
    ]);
    const inner = 'reason=1,dont_send=0,continuation=0,recirc_id=3,rule_cookie=0x77,controller_id=0,max_len=65535';
    assert.equal(text, `userspace(pid=0,controller(${inner}))`);
  });

  it('shows counters', () => {
    const stats = { packets: 3n, bytes: 180n, usedMs: 4000, tcpFlags: 0x12 };
    assert.equal(formatOdpStats(stats, 4250), 'packets:3, bytes:180, used:0.250s, flags:S.');
    assert.equal(formatOdpStats({ ...stats, usedMs: 0, tcpFlags: 0 }, 4250), 'packets:3, bytes:180, used:never');
  });
});
