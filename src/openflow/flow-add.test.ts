import assert from 'node:assert/strict';
import { test } from 'node:test';
import { vlog } from '../base/vlog.ts';
import { shapeOf } from '../flow/mask-shape.ts';
import { OfDecodeError } from './buffer.ts';
import { decode, encode } from './codec.ts';
import { FlowAddReader } from './flow-add.ts';
import { parse } from './flow-text.ts';
import { type FlowMod, UINT64_MAX } from './messages.ts';
import { TunTable } from './tun-metadata.ts';

/** The short cut reads what `decode` reads, or nothing. */

vlog.setLevels('console:off');
const N_TABLES = 255;

const encodeText = (text: string, version: number): Uint8Array => encode(parse(text, 'add'), version, 7)[0];

function decodeFully(msg: Uint8Array, version: number): FlowMod | string {
  const result = decode(msg, { version, nTables: N_TABLES });
  return result.ok ? (result.value.message as FlowMod) : result.error.name;
}

/** What the short cut makes of it: undefined is "nothing", a string an error. */
function readQuickly(reader: FlowAddReader, msg: Uint8Array) {
  try {
    return reader.read(msg, undefined);
  } catch (e) {
    if (e instanceof OfDecodeError) return e.ofError;
    throw e;
  }
}

/** Reads a message both ways and compares; whether the short cut was taken. */
function check(reader: FlowAddReader, msg: Uint8Array, version: number): boolean {
  const full = decodeFully(msg, version);
  const quick = readQuickly(reader, msg);
  if (quick === undefined) {
    if (typeof full === 'object' && full.type === 'flow_mod') reader.learn(msg, full);
    return false;
  }
  const hex = Buffer.from(msg).toString('hex');
  if (typeof quick === 'string' || typeof full === 'string') {
    assert.equal(quick, full, hex);
    return true;
  }
  assert.equal(full.command, 'add', hex);
  const shape = shapeOf(full.match.wc);
  assert.ok(quick.shape.equals(shape), hex);
  const expected = {
    tableId: full.tableId,
    priority: full.priority,
    cookie: full.newCookie === UINT64_MAX ? 0n : full.newCookie,
    keepCookie: full.newCookie === UINT64_MAX,
    idleTimeout: full.idleTimeout,
    hardTimeout: full.hardTimeout,
    importance: full.importance,
    flags: full.flags,
    actions: full.actions,
    values: shape.valuesOf(full.match.flow),
    tunTable: undefined,
  };
  const { shape: _, ...rest } = quick;
  assert.deepEqual(rest, expected, hex);
  return true;
}

/** The same sequence for the same seed (mulberry32). */
function random(seed: number): (below: number) => number {
  let a = seed;
  return (below) => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Flows that differ in what a template leaves free. */
const ALIKE: readonly (readonly [string, string])[] = [
  [
    'in_port=1,ip,nw_src=10.0.0.1,nw_dst=10.1.0.0/16 actions=output:2',
    'in_port=2,ip,nw_src=10.9.0.1,nw_dst=10.7.0.0/16 actions=output:3',
  ],
  ['priority=5,udp,tp_src=1,tp_dst=2 actions=drop', 'priority=6,udp,tp_src=513,tp_dst=60000 actions=drop'],
  [
    'table=3,cookie=0x12,dl_dst=00:00:00:00:00:01 actions=goto_table:9',
    'table=3,cookie=0,dl_dst=00:11:22:33:44:55 actions=goto_table:9',
  ],
  [
    'ipv6,ipv6_dst=fe80::1,metadata=1 actions=group:5',
    'ipv6,ipv6_dst=2001:db8::7,metadata=0xffffffffffffffff actions=group:5',
  ],
  [
    'reg0=1,reg7=0x10/0xf0,tun_id=4 actions=set_field:1->reg1,output:1',
    'reg0=2,reg7=0x50/0xf0,tun_id=9 actions=set_field:9->reg1,output:1',
  ],
  [
    'arp,arp_tpa=1.2.3.4,arp_sha=00:00:00:00:00:09 actions=controller',
    'arp,arp_tpa=1.2.3.5,arp_sha=00:00:00:00:0a:09 actions=controller',
  ],
  [
    'idle_timeout=5,send_flow_rem,tcp,nw_dst=10.0.0.1,tp_dst=0x80/0xfff0 actions=dec_ttl,resubmit(,4)',
    'hard_timeout=7,check_overlap,tcp,nw_dst=10.0.0.9,tp_dst=0x90/0xfff0 actions=dec_ttl,resubmit(,4)',
  ],
  [
    'ct_state=+trk+new,ct_mark=3,ip actions=ct(commit,table=1)',
    'ct_state=+trk+new,ct_mark=8,ip actions=ct(commit,table=1)',
  ],
];

/** Flows with fields whose values are no one's choice, to be changed at random. */
const OTHERS = [
  'actions=normal',
  'dl_vlan=5,dl_vlan_pcp=3 actions=strip_vlan,output:1',
  'vlan_tci=0x1000/0x1000 actions=pop_vlan',
  'icmp,icmp_type=8,icmp_code=0 actions=output:LOCAL',
  'icmp6,icmp_type=135,nd_target=fe80::2,nd_sll=00:00:00:00:00:01 actions=in_port',
  'tcp,tcp_flags=+syn-ack,nw_ttl=3,nw_tos=4,ip_ecn=1 actions=flood',
  'mpls,mpls_label=7,mpls_bos=1 actions=pop_mpls:0x800',
  'arp,arp_op=2,arp_spa=10.0.0.0/8 actions=drop',
  'ip,ip_frag=later actions=drop',
  'ipv6,ipv6_label=0x12345,ipv6_src=fe80::/64 actions=drop',
  'tun_src=1.2.3.4,tun_flags=oam,tun_gbp_id=4 actions=drop',
  'pkt_mark=1/0xff,ct_zone=4,ct_label=0x1234/0xffff actions=drop',
  'conj_id=4,ip actions=output:1',
  'ip,nw_dst=1.2.3.4 actions=conjunction(3,1/2)',
  'sctp,sctp_dst=9 actions=learn(table=1,NXM_OF_IN_PORT[])',
  'tun_metadata0=0x1234 actions=drop',
  'dl_type=0x894f,nsh_ttl=3,nsh_mdtype=1,nsh_c1=4 actions=drop',
  'in_port=LOCAL actions=set_field:00:00:00:00:00:01->eth_dst,write_metadata:4/0xff,goto_table:4',
  'actset_output=3,recirc_id=0 actions=drop',
  'tun_erspan_ver=1,tun_gtpu_flags=3 actions=drop',
];

const VERSIONS = [3, 4, 5, 6];

for (const version of VERSIONS) {
  test(`version ${version}: flows like one that has come are read by the short cut`, () => {
    for (const [first, second] of ALIKE) {
      const reader = new FlowAddReader(version, N_TABLES);
      assert.equal(check(reader, encodeText(first, version), version), false, first);
      assert.equal(check(reader, encodeText(first, version), version), true, first);
      assert.equal(check(reader, encodeText(second, version), version), true, second);
      assert.equal(check(reader, encodeText(second, version), version), true, second);
    }
  });

  test(`version ${version}: with any byte changed, both read the same`, () => {
    const reader = new FlowAddReader(version, N_TABLES);
    const next = random(version);
    const texts = [...ALIKE.flat(), ...OTHERS];
    let quick = 0;
    for (let round = 0; round < 1500; round++) {
      const msg = encodeText(texts[next(texts.length)], version);
      const changes = next(4);
      for (let i = 0; i < changes; i++) {
        const at = 8 + next(msg.length - 8);
        msg[at] = next(2) ? next(256) : msg[at] ^ (1 << next(8));
      }
      if (check(reader, msg, version)) quick++;
    }
    assert.ok(quick > 400, `the short cut was taken ${quick} times`);
  });
}

test('a template is not for another connection, and is forgotten with the TLV table', () => {
  const msg = encodeText('ip,nw_dst=1.2.3.4 actions=output:1', 5);
  const reader = new FlowAddReader(5, N_TABLES);
  reader.learn(msg, decodeFully(msg, 5) as FlowMod);
  assert.ok(reader.read(msg, undefined));
  assert.equal(new FlowAddReader(5, N_TABLES).read(msg, undefined), undefined);
  assert.equal(reader.read(msg, {} as never), undefined);
  assert.equal(reader.read(msg, undefined), undefined);
});

test('actions that name a TLV are read as the table of now maps it', () => {
  const tableOf = (size: number) => {
    const table = TunTable.EMPTY.mod('add', [{ optionClass: 0xffff, optionType: 1, optionLen: size, index: 0 }]);
    assert.ok(table instanceof TunTable, String(table));
    return table;
  };
  const [narrow, wide] = [tableOf(4), tableOf(8)];
  const msgs = ['10.0.0.1', '10.0.0.2'].map((to) =>
    encodeText(`ip,nw_dst=${to} actions=move:NXM_NX_REG0[0..15]->NXM_NX_TUN_METADATA0[40..55],output:1`, 5),
  );
  const fully = (msg: Uint8Array, tunTable: TunTable) => decode(msg, { version: 5, nTables: N_TABLES, tunTable });
  const reader = new FlowAddReader(5, N_TABLES);
  for (const table of [wide, narrow, wide]) {
    const results = msgs.map((msg) => fully(msg, table));
    // What another table made of such a flow is forgotten.
    assert.equal(reader.read(msgs[0], table), undefined);
    for (const [i, result] of results.entries()) {
      if (!result.ok) continue;
      const full = result.value.message as FlowMod;
      if (i === 0) reader.learn(msgs[0], full);
      const quick = reader.read(msgs[i], table)!;
      assert.deepEqual(quick.actions, full.actions);
      assert.equal(quick.tunTable, table);
    }
  }
  assert.deepEqual(
    [wide, narrow].map((table) => fully(msgs[0], table).ok),
    [true, false],
  );
});

test('flows with the same actions share them', () => {
  const reader = new FlowAddReader(5, N_TABLES);
  const read = (text: string) => {
    const msg = encodeText(text, 5);
    if (!reader.read(msg, undefined)) reader.learn(msg, decodeFully(msg, 5) as FlowMod);
    return reader.read(msg, undefined)!.actions;
  };
  const first = read('ip,nw_dst=1.2.3.4 actions=output:1');
  assert.equal(read('ip,nw_dst=1.2.3.5 actions=output:1'), first);
  assert.notEqual(read('ip,nw_dst=1.2.3.5 actions=output:2'), first);
  // Something may be noted in these.
  const noted = 'ip,nw_dst=1.2.3.5 actions=conjunction(1,1/2)';
  assert.notEqual(read(noted), read(noted));
});

test('a port that is none is refused, whatever came before', () => {
  const reader = new FlowAddReader(5, N_TABLES);
  const msg = encodeText('in_port=1 actions=drop', 5);
  check(reader, msg, 5);
  assert.equal(check(reader, msg, 5), true);
  // The value of the match's only field, behind its header.
  msg.set([0, 0, 0xff, 1], 48 + 4 + 4);
  assert.equal(decodeFully(msg, 5), 'OFPBMC_BAD_VALUE');
  assert.equal(check(reader, msg, 5), false);
});
