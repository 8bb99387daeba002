import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeActions } from './action-decode.ts';
import { encodeActions } from './action-encode.ts';
import type { Ofpact } from './actions.ts';
import { OfDecodeError, Reader, Writer } from './buffer.ts';
import { formatActions, parse, parseActions } from './flow-text.ts';
import { pullInstructions, putInstructions } from './instruction.ts';

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
