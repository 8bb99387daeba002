import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { vlog } from '../base/vlog.ts';
import { decodeActions } from './action-decode.ts';
import { edProps } from './action-encap.ts';
import { encodeActions } from './action-encode.ts';
import { tlvBitmap } from './action-fields.ts';
import type { Ofpact } from './actions.ts';
import { OfDecodeError, Reader, Writer } from './buffer.ts';
import { formatActions, parse, parseActions } from './flow-text.ts';
import { pullInstructions, putInstructions } from './instruction.ts';
import { TunTable } from './tun-metadata.ts';

vlog.setLevels('ANY:ANY:OFF');

const be16 = fc.nat(0xffff);
const be32 = fc.nat(0xffffffff);
const port = fc.oneof(fc.nat(0xfeff), fc.constantFrom('IN_PORT', 'NORMAL', 'FLOOD', 'ALL', 'LOCAL'));
const mac = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .map((b) => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join(':'));
const ip = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((b) => b.join('.'));
const subfield = fc.tuple(fc.nat(15), fc.nat(31), fc.nat(31)).map(([reg, a, b]) => {
  const [lo, hi] = [Math.min(a, b), Math.max(a, b)];
  return lo === 0 && hi === 31
    ? `NXM_NX_REG${reg}[]`
    : lo === hi
      ? `NXM_NX_REG${reg}[${lo}]`
      : `NXM_NX_REG${reg}[${lo}..${hi}]`;
});

/** Actions whose text and bytes say the same in every version. */
const anyAction: fc.Arbitrary<string> = fc.oneof(
  port.map((p) => (typeof p === 'number' ? `output:${p}` : p)),
  fc.nat(0xffff).map((n) => `CONTROLLER:${n}`),
  fc
    .tuple(be16, be16)
    .map(([id, max]) => `controller(reason=invalid_ttl,max_len=${max % 0xffff},id=${(id % 0xfffe) + 1})`),
  be32.map((n) => `group:${n % 0xffffff00}`),
  be32.map((n) => `set_queue:${n}`),
  fc.constantFrom('pop_queue', 'dec_ttl', 'exit', 'dec_mpls_ttl', 'ct_clear'),
  fc.array(be16, { minLength: 1, maxLength: 4 }).map((ids) => `dec_ttl(${ids.map((n) => n || 1).join(',')})`),
  fc.nat(255).map((n) => `set_mpls_ttl(${n})`),
  fc.tuple(fc.nat(0xfeff), fc.nat(254)).map(([p, t]) => `resubmit(${p},${t})`),
  fc.nat(254).map((t) => `resubmit(,${t})`),
  fc.nat(0xfeff).map((p) => `resubmit:${p}`),
  fc.tuple(subfield, be32).map(([s]) => `push:${s}`),
  subfield.map((s) => `pop:${s}`),
  subfield.map((s) => `output:${s}`),
  subfield.map((s) => `move:${s}->${s.replace(/REG\d+/, 'REG3')}`),
  fc.tuple(fc.nat(0xfeff), be32).map(([p, n]) => `output(port=${p},max_len=${14 + (n >>> 1)})`),
  fc.tuple(be16, be16).map(([a, b]) => `fin_timeout(idle_timeout=${a || 1},hard_timeout=${b || 1})`),
  fc
    .uint8Array({ minLength: 6, maxLength: 6 })
    .map((b) => `note:${Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('.')}`),
);
const loads: fc.Arbitrary<string> = fc
  .tuple(fc.nat(15), fc.nat(15), fc.nat(15))
  .map(([reg, value, at]) => `load:${value ? `0x${value.toString(16)}` : 0}->NXM_NX_REG${reg}[${at}..${at + 3}]`);

function recode(actions: readonly Ofpact[], version: number): Ofpact[] {
  const w = new Writer();
  encodeActions(w, actions, version);
  return decodeActions(new Reader(w.done()), version);
}

test('actions come back from the bytes of every version, and from their text', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(anyAction, loads), { minLength: 1, maxLength: 8 }),
      fc.constantFrom(1, 2, 3, 4, 5),
      (texts, version) => {
        const actions = parseActions(texts.join(','));
        assert.equal(formatActions(actions), texts.join(','));
        assert.equal(formatActions(recode(actions, version)), texts.join(','));
      },
    ),
  );
});

test('header rewrites of OpenFlow 1.0 become set_field from 1.2 on', () => {
  const rewrite = fc.oneof(
    mac.map((m) => [`mod_dl_src:${m}`, `set_field:${m}->eth_src`]),
    mac.map((m) => [`mod_dl_dst:${m}`, `set_field:${m}->eth_dst`]),
    ip.map((a) => [`mod_nw_src:${a}`, `set_field:${a}->ip_src`]),
    ip.map((a) => [`mod_nw_dst:${a}`, `set_field:${a}->ip_dst`]),
    fc.nat(63).map((n) => [`mod_nw_tos:${n * 4}`, `set_field:${n}->ip_dscp`]),
    be16.map((n) => [`mod_tp_src:${n}`, `set_field:${n}->tcp_src`]),
    fc.nat(255).map((n) => [`mod_nw_ttl:${n}`, `mod_nw_ttl:${n}`]),
  );
  fc.assert(
    fc.property(rewrite, ([old, modern]) => {
      const { actions } = parse(`tcp actions=${old}`);
      assert.equal(formatActions(recode(actions, 2)), old);
      for (const version of [3, 4, 5]) assert.equal(formatActions(recode(actions, version)), modern);
    }),
  );
});

test('mod_vlan_vid pushes a tag where the match has none', () => {
  const of = (match: string, version: number) =>
    formatActions(recode(parse(`${match} actions=mod_vlan_vid:5`).actions, version));
  assert.equal(of('in_port=1', 1), 'mod_vlan_vid:5');
  assert.equal(of('in_port=1', 2), 'push_vlan:0x8100,set_vlan_vid:5');
  assert.equal(of('in_port=1', 4), 'push_vlan:0x8100,set_field:4101->vlan_vid');
  assert.equal(of('dl_vlan=1', 4), 'set_field:4101->vlan_vid');
});

test('instructions come back, and OpenFlow 1.0 says what it can of them', () => {
  const text =
    'meter:3,output:1,dec_ttl,clear_actions,write_actions(output:2,group:5),write_metadata:0x1/0xf,goto_table:7';
  const actions = parseActions(text);
  for (const version of [2, 3, 4, 5]) {
    const w = new Writer();
    putInstructions(w, actions, version);
    // Meters came with OpenFlow 1.3.
    assert.equal(
      formatActions(pullInstructions(new Reader(w.done()), version)),
      version < 4 ? text.slice('meter:3,'.length) : text,
    );
  }
  const w = new Writer();
  putInstructions(w, actions, 1);
  assert.equal(
    formatActions(decodeActions(new Reader(w.done()), 1)),
    'output:1,dec_ttl,write_metadata:0x1/0xf,resubmit(,7)',
  );
});

function errorOf(hex: string, version = 1): string {
  try {
    decodeActions(new Reader(new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'))), version);
  } catch (e) {
    if (e instanceof OfDecodeError) return e.ofError;
    throw e;
  }
  return 'none';
}

test('what is wrong with an action is said with the right error', () => {
  assert.equal(errorOf('0000 0008 0001 0000'), 'none');
  assert.equal(errorOf('0063 0008 0001 0000'), 'OFPBAC_BAD_TYPE');
  assert.equal(errorOf('0000 0010 0001 0000'), 'OFPBAC_BAD_LEN');
  assert.equal(errorOf('0000 0008 0001'), 'OFPBAC_BAD_LEN');
  assert.equal(errorOf('ffff 0010 00001234 0001 000000000000'), 'OFPBAC_BAD_VENDOR');
  assert.equal(errorOf('ffff 0010 00002320 7777 000000000000'), 'OFPBAC_BAD_VENDOR_TYPE');
  assert.equal(errorOf('0001 0008 1000 0000'), 'OFPBAC_BAD_ARGUMENT');
  assert.equal(errorOf('0000 0010 fffffeff 0000 000000000000', 4), 'OFPBAC_BAD_OUT_PORT');
  assert.equal(errorOf('0019 0010 8000fe04 00000001 00000000', 4), 'OFPBAC_BAD_SET_TYPE');
  assert.equal(errorOf('0019 0010 80000a04 08000000 00000000', 4), 'OFPBAC_BAD_SET_LEN');
  assert.equal(errorOf('0019 0010 80000a02 0800 000000000000', 4), 'OFPBAC_BAD_SET_ARGUMENT');
});

/** The bytes of actions in hexadecimal. */
function hexOf(text: string, version: number): string {
  const w = new Writer();
  encodeActions(w, parseActions(text), version);
  return Buffer.from(w.done()).toString('hex');
}

test('an action that came in one form goes back in it', () => {
  const forms: readonly [string, number][] = [
    ['ffff0010000023200001000500000000', 1], // resubmit without a table
    ['ffff001000002320000e0005ff000000', 1], // and with the current one
    ['ffff00180000232000090000000000000000000000000005', 1], // a tunnel id of 64 bits
    ['ffff0018000023200015000100000000' + '0000000000000000', 4], // the usual controller, by its id
    ['ffff0020000023200026000100000001000000020000000300050000000000' + '00', 4], // sample 2
    ['ffff0020000023200029000100000001000000020000000300050000000000' + '00', 4], // sample 3
  ];
  for (const [wire, version] of forms) {
    const actions = decodeActions(new Reader(new Uint8Array(Buffer.from(wire, 'hex'))), version);
    const w = new Writer();
    encodeActions(w, actions, version);
    assert.equal(Buffer.from(w.done()).toString('hex'), wire, formatActions(actions));
  }
});

test('what one version has no word for, another form says', () => {
  assert.equal(hexOf('push_vlan:0x8100', 1), '');
  assert.equal(hexOf('set_field:5->reg0', 1), 'ffff0018000023200007001f000100040000000000000005');
  // A mask is kept where the old action has none: one load for each run of bits.
  assert.equal(
    hexOf('set_field:01:00:00:00:00:00/01:00:00:00:00:01->eth_src', 1),
    'ffff00180000232000070000000004060000000000000000' + 'ffff00180000232000070a00000004060000000000000001',
  );
  assert.equal(
    hexOf('enqueue:1:2', 4),
    '0015000800000002' + '0000001000000001ffff000000000000' + 'ffff0010000023200005000000000000',
  );
});

test('the properties of encap are taken apart', () => {
  const [a] = parseActions('encap(nsh(md_type=2,tlv(0x1000,10,0x123456)))');
  assert.ok(a.type === 'encap');
  assert.deepEqual(edProps(a), [
    { type: 'md_type', mdType: 2 },
    { type: 'tlv', tlvClass: 0x1000, tlvType: 10, data: Uint8Array.of(0x12, 0x34, 0x56) },
  ]);
});

test("with a bridge's TLV table tunnel metadata has its width, and must be mapped", () => {
  const table = TunTable.EMPTY.mod('add', [{ optionClass: 1, optionType: 2, optionLen: 4, index: 3 }]);
  assert.ok(table instanceof TunTable);
  const wire = (text: string) => {
    const w = new Writer();
    encodeActions(w, parseActions(text), 4);
    const r = new Reader(w.done());
    r.tunTable = table;
    return r;
  };
  const [set] = decodeActions(wire('set_field:0x1234->tun_metadata3'), 4);
  assert.ok(set.type === 'set_field');
  assert.deepEqual(set.value, Uint8Array.of(0, 0, 0x12, 0x34));
  assert.throws(
    () => decodeActions(wire('set_field:0x1234->tun_metadata4'), 4),
    (e) => e instanceof OfDecodeError && e.ofError === 'NXFMFC_INVALID_TLV_FIELD',
  );
});

test('a TLV table must keep the fields that actions name, however deep', () => {
  const text =
    'set_field:1->tun_metadata0,clone(delete_field:tun_metadata5),learn(NXM_NX_TUN_METADATA7[0..7]=NXM_NX_REG0[0..7])';
  assert.equal(tlvBitmap(parseActions(text)), (1n << 0n) | (1n << 5n) | (1n << 7n));
});

test('actions inside others are held to the rules of their place', () => {
  const ct = (nested: string, flags: string) => {
    const length = (24 + nested.length / 2).toString(16).padStart(4, '0');
    return `ffff${length}000023200023${flags}000000000000ff0000000000${nested}`;
  };
  const nat = 'ffff0010000023200024000000000000';
  const output = '0000001000000001ffff000000000000';
  assert.equal(errorOf(ct(nat, '0000'), 4), 'none');
  assert.equal(errorOf(ct(output, '0001'), 4), 'OFPBAC_BAD_ARGUMENT');
  assert.equal(errorOf(ct(nat.replace(/24.*$/, '24000000010000'), '0000'), 4), 'OFPBAC_BAD_ARGUMENT');
  assert.equal(errorOf(ct('', '0002'), 4), 'OFPBAC_BAD_ARGUMENT');
});

test('clones within clones are refused before the stack is full', () => {
  /** `n` clones, one within the other. */
  const nested = (n: number): Reader => {
    const bytes = Buffer.alloc(16 * n);
    for (let i = 0; i < n; i++) {
      bytes.writeUInt32BE((0xffff0000 | (16 * (n - i))) >>> 0, 16 * i);
      bytes.writeUInt32BE(0x2320, 16 * i + 4);
      bytes.writeUInt16BE(42, 16 * i + 8);
    }
    return new Reader(bytes);
  };
  for (const n of [101, 4000])
    assert.throws(
      () => decodeActions(nested(n), 4),
      (e: unknown) => e instanceof OfDecodeError && e.ofError === 'OFPBAC_TOO_MANY',
    );
  assert.equal(decodeActions(nested(100), 4).length, 1);
});
