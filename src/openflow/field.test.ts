import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FIELDS, type MatchField } from '../../protocols/fields.ts';
import { Flow, FlowWildcards } from '../flow/flow.ts';
import {
  fieldByName,
  fieldIsWild,
  fieldMaskOk,
  fieldSupported,
  fieldValue,
  fieldValueOk,
  getField,
  getFieldNumber,
  maskField,
  matchSetField,
  mf,
  setField,
  setFieldMasked,
} from './field.ts';
import { isFieldPrereqOk } from './field-prereq.ts';
import { formatField, formatSubfield, parseField, parseSubfield } from './field-text.ts';
import { catchallMatch } from './match.ts';
import { fieldByOxmName } from './oxm.ts';

/** All that have a place of their own; tun-metadata.test.ts has the others. */
const supported = FIELDS.filter((f) => fieldSupported(f) && !f.variableLength);

test('there are as many fields as Open vSwitch 3.1 has, each name once', () => {
  assert.equal(FIELDS.length, 183);
  const names = FIELDS.flatMap((f) => (f.alias ? [f.name, f.alias] : [f.name]));
  assert.equal(new Set(names).size, names.length);
  for (const f of FIELDS) {
    assert.equal(fieldByName(f.name), f);
    for (const h of f.headers) assert.equal(fieldByOxmName(h.name), f);
  }
});

/** A value that the field can have: within its significant bits, and valid. */
function validValue(f: MatchField): fc.Arbitrary<Uint8Array> {
  return fc
    .uint8Array({ minLength: f.nBytes, maxLength: f.nBytes })
    .map((v) => {
      const zero = f.nBytes * 8 - (f.name === 'arp_op' ? 8 : f.name === 'vlan_vid' ? 13 : f.nBits);
      for (let i = 0; i < zero; i++) v[i >> 3] &= ~(0x80 >> (i & 7));
      if (f.name === 'nw_tos') v[0] &= 0xfc;
      if (f.name === 'ct_state') v.fill(0, 0, 3);
      if (f.name === 'nsh_mdtype') v[0] = 1;
      if (f.name === 'nsh_ttl') v[0] &= 63;
      if (f.format === 'port32') v.fill(0, 0, 3);
      if (f.name === 'in_port') v[0] = 0;
      return v;
    })
    .filter((v) => fieldValueOk(f, v));
}

test('what is set is what is read, and nothing else changes', () => {
  for (const f of supported) {
    // The tag comes with the VLAN fields.
    if (/vlan/.test(f.name)) continue;
    fc.assert(
      fc.property(validValue(f), fc.uint8Array({ minLength: 680, maxLength: 680 }), (value, noise) => {
        const flow = new Flow();
        flow.u8.set(noise);
        const wc = new FlowWildcards();
        maskField(wc, f);
        const before = flow.clone();
        setField(flow, f, value);
        const read = getField(flow, f);
        assert.deepEqual(Array.from(read), Array.from(value), f.name);
        const changed = flow.clone();
        for (let i = 0; i < changed.u32.length; i++) changed.u32[i] = (changed.u32[i] ^ before.u32[i]) & ~wc.u32[i];
        assert.ok(changed.isZero(), f.name);
        if (f.nBytes <= 4)
          assert.equal(
            getFieldNumber(flow, f),
            read.reduce((n, b) => n * 256 + b, 0),
            f.name,
          );
      }),
      { numRuns: 10 },
    );
  }
});

test('the VLAN fields bring the tag', () => {
  const flow = new Flow();
  setField(flow, mf('dl_vlan'), fieldValue(mf('dl_vlan'), 5));
  assert.deepEqual([flow.vlanTci0, flow.vlanTpid0], [0x1005, 0x8100]);
  setField(flow, mf('vlan_pcp'), fieldValue(mf('vlan_pcp'), 3));
  assert.equal(flow.vlanTci0, 0x7005);
  setField(flow, mf('vlan_vid'), fieldValue(mf('vlan_vid'), 0x1007));
  assert.deepEqual(
    [flow.vlanTci0, getFieldNumber(flow, mf('dl_vlan')), getFieldNumber(flow, mf('vlan_vid'))],
    [0x7007, 7, 0x1007],
  );
  setField(flow, mf('vlan_tci'), fieldValue(mf('vlan_tci'), 0));
  assert.deepEqual([flow.vlanTci0, flow.vlanTpid0], [0, 0]);
});

test('a masked set changes the bits of the mask only', () => {
  const flow = new Flow();
  flow.reg0 = 0x11223344;
  setFieldMasked(flow, mf('reg0'), Uint8Array.of(0, 0xff, 0xff, 0), Uint8Array.of(0, 0x0f, 0xf0, 0));
  assert.equal(flow.reg0, 0x112ff344);
});

test('register pairs and quads are their registers, the high one first', () => {
  const flow = new Flow();
  [flow.reg2, flow.reg3] = [0x01020304, 0x05060708];
  assert.equal(Buffer.from(getField(flow, mf('xreg1'))).toString('hex'), '0102030405060708');
  [flow.reg4, flow.reg7] = [0xa, 0xb];
  assert.equal(Buffer.from(getField(flow, mf('xxreg1'))).toString('hex'), '0000000a00000000000000000000000b');
});

test('ports of 16 and 32 bits are one field', () => {
  const flow = new Flow();
  setField(flow, mf('in_port'), Uint8Array.of(0xff, 0xfe));
  assert.equal(flow.inPort, 0xfffffffe);
  assert.equal(getFieldNumber(flow, mf('in_port')), 0xfffe);
  assert.equal(getFieldNumber(flow, mf('in_port_oxm')), 0xfffffffe);
});

test('prerequisites are those of ovs-fields(7), and note what they look at', () => {
  const flow = new Flow();
  const ok = (name: string) => isFieldPrereqOk(flow, mf(name));
  assert.deepEqual(
    [ok('eth_src'), ok('ip_src'), ok('vlan_pcp'), ok('tcp_src'), ok('reg0')],
    [true, false, false, false, true],
  );
  flow.dlType = 0x0800;
  flow.nwProto = 6;
  const wc = new FlowWildcards();
  assert.ok(isFieldPrereqOk(flow, mf('tcp_src'), wc));
  assert.deepEqual([wc.nwProto, wc.tpSrc, ok('udp_src'), ok('ip_src'), ok('ipv6_src')], [0xff, 0, false, true, false]);
  flow.nwFrag = 3;
  assert.equal(ok('tcp_src'), false);
  flow.dlType = 0x86dd;
  flow.nwProto = 58;
  flow.nwFrag = 0;
  flow.tpSrc = 135;
  assert.deepEqual([ok('nd_target'), ok('nd_sll'), ok('nd_tll'), ok('icmp_type')], [true, true, false, false]);
});

test('matched values are masked, and mark their bits', () => {
  const m = catchallMatch();
  const f = mf('ip_src');
  matchSetField(m, f, Uint8Array.of(10, 1, 2, 3), Uint8Array.of(255, 255, 0, 0));
  assert.deepEqual([m.flow.nwSrc, m.wc.nwSrc], [0x0a010000, 0xffff0000]);
  for (const field of supported)
    assert.equal(fieldIsWild(m.wc, field), !['nw_src', 'ip_src', 'arp_spa'].includes(field.name), field.name);
});

test('values come back from their text', () => {
  for (const f of supported) {
    fc.assert(
      fc.property(validValue(f), fc.uint8Array({ minLength: f.nBytes, maxLength: f.nBytes }), (value, mask) => {
        if (f.format === 'packet-type' || (f.format === 'frag' && value[0] === 2)) return;
        const exact = parseField(f, formatField(f, value));
        const bits = f.format === 'frag' ? exact.mask.fill(3) : exact.mask;
        assert.deepEqual(
          Array.from(exact.value, (b, i) => b & bits[i]),
          Array.from(value, (b, i) => b & bits[i]),
          f.name,
        );
        if (!fieldMaskOk(f, mask) || !['decimal', 'hex', 'ethernet', 'ipv4', 'ipv6'].includes(f.format)) return;
        const masked = value.map((b, i) => b & mask[i]);
        if (mask.every((b) => b === 0)) return;
        assert.deepEqual(parseField(f, formatField(f, masked, mask)), { value: masked, mask }, f.name);
      }),
      { numRuns: 20 },
    );
  }
});

test('subfields come back from their text', () => {
  for (const text of ['NXM_NX_REG0[]', 'NXM_NX_REG0[3]', 'NXM_OF_IP_SRC[8..15]', 'OXM_OF_METADATA[0..31]']) {
    assert.equal(formatSubfield(parseSubfield(text)), text);
  }
  assert.equal(formatSubfield(parseSubfield('reg1[0..31]')), 'NXM_NX_REG1[]');
  assert.equal(formatSubfield(parseSubfield('eth_dst')), 'NXM_OF_ETH_DST[]');
});
