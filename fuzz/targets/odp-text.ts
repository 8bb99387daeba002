/** Datapath flows and actions as text (dpctl/add-flow, ofproto/trace): parsed or refused. */
import { parseOdpActions } from '../../src/dpif/odp-action-parse.ts';
import { formatOdpActions } from '../../src/dpif/odp-action-text.ts';
import { OdpParseError, parseOdpFlow } from '../../src/dpif/odp-parse.ts';
import { formatOdpFlow } from '../../src/dpif/odp-text.ts';
import type { Target } from '../engine.ts';

const TEXTS = [
  'in_port(1),eth(src=50:54:00:00:00:09,dst=ff:ff:ff:ff:ff:ff),eth_type(0x8100),vlan(vid=9,pcp=0),encap(eth_type(0x0800),ipv4(src=10.0.0.1/255.0.0.0,proto=6),tcp(dst=80/0xfff0),tcp_flags(+syn))',
  'recirc_id(0x1),in_port(1),packet_type(ns=0,id=0),eth_type(0x86dd),ipv6(src=fe80::1/64,label=0,proto=58,hlimit=3),icmpv6(type=135,code=0),nd(target=::1)',
  '1,set(ipv4(ttl=63)),push_vlan(vid=5,pcp=0),2,userspace(pid=0,slow_path(action)),sample(sample=50.0%,actions(3))',
  'push_mpls(label=1,tc=0,ttl=64,bos=1,eth_type=0x8847),hash(l4(0)),recirc(0x2),clone(ct(commit),4),trunc(60),meter(1),pop_vlan',
];

function refusedOrParsed(parse: () => string): void {
  try {
    parse();
  } catch (e) {
    if (!(e instanceof OdpParseError)) throw e;
  }
}

export const target: Target = {
  name: 'odp-text',
  seeds: TEXTS.map((text) => new TextEncoder().encode(text)),
  tokens: [
    'set(',
    'eth(',
    'ipv4(',
    'tunnel(',
    'encap(',
    'hash(',
    'clone(',
    'sample(',
    '/',
    '=',
    '0x',
    ')',
    ',',
    'userspace(',
    'ct(',
    'nsh(',
  ],
  maxLength: 512,
  run(input) {
    const text = new TextDecoder().decode(input);
    refusedOrParsed(() => formatOdpFlow(parseOdpFlow(text).flow));
    refusedOrParsed(() => formatOdpActions(parseOdpActions(text)));
  },
};
