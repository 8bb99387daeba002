import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decode, encode } from './codec.ts';
import { FlowTextError, format, formatActions, formatFlowStats, formatMatch, parse, parseMatch } from './flow-text.ts';
import type { FlowMod, FlowModCommand, Message } from './messages.ts';

const GOLDEN = new URL('../../test/golden/openflow/', import.meta.url);
const toBytes = (s: string): Uint8Array => new Uint8Array(Buffer.from(s, 'hex'));
const toHex = (b: Uint8Array): string => Buffer.from(b).toString('hex');

interface Golden {
  args: string[];
  sent: Uint8Array[];
  received: Uint8Array[];
  expect: string;
}

function cases(file: string): Golden[] {
  const out: Golden[] = [];
  for (const part of readFileSync(new URL(file, GOLDEN), 'utf8')
    .split(/^### ovs-ofctl /m)
    .slice(1)) {
    const wire = /```wire\n([^`]*)\n```/.exec(part)?.[1] ?? '';
    const lines = (arrow: string) =>
      [...wire.matchAll(new RegExp(`^${arrow} ([0-9a-f]+)$`, 'gm'))].map((m) => toBytes(m[1]));
    const args = (part.split('\n')[0].match(/'[^']*'|\S+/g) ?? []).map((a) => a.replaceAll("'", ''));
    const expect = /```expect\n([^`]*)\n```/.exec(part)?.[1] ?? '';
    out.push({ args, sent: lines('>'), received: lines('<'), expect });
  }
  return out;
}

const COMMANDS: Readonly<Record<string, FlowModCommand>> = {
  'add-flow': 'add',
  'mod-flows': 'modify',
  'del-flows': 'delete',
};

function flowModOf(g: Golden): { command: FlowModCommand; text: string } | undefined {
  const at = g.args.findIndex((a) => a in COMMANDS);
  if (at < 0) return undefined;
  const command = COMMANDS[g.args[at]];
  const strict = g.args.includes('--strict') ? '_strict' : '';
  return { command: `${command}${strict}` as FlowModCommand, text: g.args[at + 2] ?? '' };
}

const isFlowMod = (msg: Uint8Array): boolean => msg[1] === 14 || (msg[1] === 4 && msg[15] === 13);

/** Encodes as the golden bytes are: version, xid, Nicira's form or not, with a table or not. */
function encodeLike(m: Message, golden: Uint8Array): string {
  const nxm = golden[1] === 4;
  const at = nxm ? 24 : 56;
  const flowModTableId = golden[0] === 1 && golden[at] !== 0;
  return toHex(encode(m, golden[0], new DataView(golden.buffer).getUint32(4), { nxm, flowModTableId })[0]);
}

for (const file of readdirSync(GOLDEN).filter((f) => /^(nxm|openflow).*\.md$/.test(f))) {
  test(`the flows of ${file} become what ovs-ofctl sends for them`, () => {
    let n = 0;
    for (const g of cases(file)) {
      const wanted = flowModOf(g);
      const golden = g.sent.find(isFlowMod);
      if (!wanted || !golden) continue;
      assert.equal(encodeLike(parse(wanted.text, wanted.command), golden), toHex(golden), wanted.text);
      n++;
    }
    assert.ok(n > 5, `${n} flows`);
  });

  test(`the dumps of ${file} read as ovs-ofctl prints them`, () => {
    let n = 0;
    for (const g of cases(file).filter((c) => c.args.includes('dump-flows'))) {
      const lines: string[] = [];
      for (const msg of g.received) {
        const r = decode(msg);
        assert.ok(r.ok);
        if (r.value.message.type !== 'flow_stats_reply') continue;
        lines.push(...r.value.message.flows.map((fs) => ` ${formatFlowStats(fs)}`));
      }
      if (!lines.length) continue;
      assert.deepEqual(
        lines,
        g.expect.split('\n').filter((l) => l.startsWith(' ')),
      );
      n += lines.length;
    }
    assert.ok(n > 0 || file.startsWith('nxm'), `${n} lines`);
  });
}

/** Text that comes back as it is. */
const STABLE = [
  'in_port=1 actions=output:2',
  'actions=drop',
  'priority=100,tcp,in_port=LOCAL,nw_src=10.0.0.0/8,tp_dst=80 actions=CONTROLLER:128',
  'priority=0,dl_vlan=10 actions=strip_vlan,NORMAL',
  'vlan_tci=0x0000 actions=mod_vlan_vid:10,FLOOD',
  'vlan_tci=0x1000/0x1000 actions=pop_vlan,output:1',
  'arp,arp_spa=1.2.3.4,arp_tpa=1.2.3.5,arp_op=1 actions=ALL',
  'ip,nw_frag=later actions=IN_PORT',
  'ip,nw_proto=89 actions=dec_ttl(1,2)',
  'icmp6,ipv6_src=fe80::/64,icmp_type=135,nd_target=::ffff:1.2.3.4 actions=output:1',
  'tcp,tcp_flags=+syn-ack actions=resubmit(,3),resubmit:4,resubmit(5,6)',
  'tcp,tcp_flags=syn|ack actions=output:1',
  'ct_state=+new+trk,ip actions=output:1',
  'ip,reg0=0x5,reg1=0/0xff,metadata=0x7 actions=load:0x3->NXM_NX_REG1[4..7],move:NXM_OF_IP_SRC[]->NXM_NX_REG2[]',
  'dl_src=aa:bb:cc:00:00:00/ff:ff:ff:00:00:00,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=output:1',
  'actions=write_metadata:0x10/0xf0,goto_table:5',
  'ip actions=meter:3,output:1,clear_actions,write_actions(set_field:1.2.3.4->ip_dst,output:7),goto_table:9',
  'tun_id=0x7,tun_src=1.1.1.1 actions=set_field:0x1/0xf->reg3,set_tunnel64:0x100000000',
  'mpls,mpls_label=5,mpls_tc=1,mpls_bos=1 actions=set_mpls_ttl(3),dec_mpls_ttl,pop_mpls:0x0800',
  'dl_type=0x88cc actions=note:01.02.00.00.00.00,exit',
];

test('text comes back as it was', () => {
  for (const text of STABLE) {
    const fm = parse(text);
    assert.equal(format(fm.match, fm.actions, fm.priority), text);
  }
});

test('short names mean what the protocol makes of them', () => {
  const same = (a: string, b: string) => assert.equal(formatMatch(parseMatch(a)), formatMatch(parseMatch(b)), a);
  same('arp,nw_src=1.2.3.4,nw_proto=2', 'arp,arp_spa=1.2.3.4,arp_op=2');
  same('tcp,tp_src=5', 'dl_type=0x800,nw_proto=6,tcp_src=5');
  same('icmp6,icmp_type=135', 'dl_type=0x86dd,nw_proto=58,icmpv6_type=135');
  same('ip,ip_src=1.2.3.4', 'ip,nw_src=1.2.3.4');
  same('nw_tos=32,ip', 'ip,ip_dscp=8');
  same('xxreg0=0x1', 'reg0=0,reg1=0,reg2=0,reg3=1');
  same('reg0[0..7]=5', 'reg0=5/0xff');
  same('dl_vlan=0xffff', 'vlan_tci=0');
});

test('names of ports are read and written', () => {
  const names = {
    nameOf: (port: number) => (port === 3 ? 'eth0' : port === 4 ? 'a b' : undefined),
    numberOf: (name: string) => (name === 'eth0' ? (3 as FlowMod['outPort']) : undefined),
  };
  const fm = parse('in_port=eth0 actions=output:eth0,4', 'add', names);
  assert.equal(format(fm.match, fm.actions, fm.priority, names), 'in_port=eth0 actions=output:eth0,output:"a b"');
  assert.equal(formatActions(fm.actions), 'output:3,output:4');
});

test('what is wrong is said in the words of ovs-ofctl', () => {
  const wrong: [string, string][] = [
    ['in_port=1', 'must specify an action'],
    ['nonsense=1 actions=drop', 'unknown keyword nonsense'],
    ['actions=nonsense', 'unknown action nonsense'],
    ['cookie=1/1 actions=drop', 'flow additions cannot use a cookie mask'],
    ['actions=output:2,drop', '"drop" must not be accompanied by any other action or instruction'],
    ['actions=set_field:5->eth_type', 'eth_type is read-only'],
    ['actions=set_field:5->nonsense', 'nonsense is not a valid OXM field name'],
    ['actions=load:256->NXM_NX_REG0[0..7]', '256->NXM_NX_REG0[0..7]: value 0x100 does not fit into 8 bits'],
    ['actions=mod_vlan_vid:4096', '4096: not a valid VLAN VID'],
    ['dl_type=65536 actions=drop', '65536: value too large for 2-byte field eth_type'],
    ['ip_dscp=1/2 actions=drop', '1/2: invalid mask for field ip_dscp'],
    [
      'actions=move:NXM_NX_REG0[0..40]->NXM_NX_REG1[]',
      'NXM_NX_REG0[0..40]->NXM_NX_REG1[]: ending bit 40 is not valid because field is only 32 bits wide',
    ],
    ['actions=set_field:1.2.3.4->ip_dst', 'actions are invalid with specified match (OFPBAC_MATCH_INCONSISTENT)'],
  ];
  for (const [text, message] of wrong) assert.throws(() => parse(text), new FlowTextError(message), text);
});
