import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NX_HASH_FIELDS } from '../../protocols/openflow-actions.ts';
import { hash2Words, jhashBytes } from '../base/hash.ts';
import { Flow, FlowWildcards } from './flow.ts';
import { hash5Tuple, hashFlowFields, hashSymmetricL3L4, maskHashFields } from './flow-hash.ts';

function tcp(reverse = false, proto = 6): Flow {
  const flow = new Flow();
  flow.dlType = 0x0800;
  flow.nwProto = proto;
  const macs = [Uint8Array.of(2, 0, 0, 0, 0, 1), Uint8Array.of(2, 0, 0, 0, 0, 2)];
  const ends = [
    [0x0a000001, 1000],
    [0x0a000002, 80],
  ];
  if (reverse) {
    macs.reverse();
    ends.reverse();
  }
  [flow.dlSrc, flow.dlDst] = macs as [Uint8Array, Uint8Array];
  [[flow.nwSrc, flow.tpSrc], [flow.nwDst, flow.tpDst]] = ends as [[number, number], [number, number]];
  return flow;
}

describe('hashes of headers', () => {
  it('are lookup3 and MurmurHash3 (values of the reference implementations)', () => {
    assert.equal(jhashBytes(new Uint8Array(0), 0), 0xdeadbeef);
    assert.equal(jhashBytes(new TextEncoder().encode('Four score and seven years ago'), 0), 0x17770551);
    assert.equal(jhashBytes(new TextEncoder().encode('Four score and seven years ago'), 1), 0xcd628161);
    assert.equal(hash2Words(0, 0), hash2Words(0, 0));
    assert.notEqual(hash2Words(1, 0), hash2Words(0, 1));
  });

  it('are the same in both directions where they are called symmetric', () => {
    for (const fields of ['symmetric_l4', 'symmetric_l3l4', 'symmetric_l3l4+udp', 'symmetric_l3'] as const)
      assert.equal(hashFlowFields(tcp(), fields, 5), hashFlowFields(tcp(true), fields, 5), fields);
    assert.notEqual(hash5Tuple(tcp(), 0), hash5Tuple(tcp(true), 0));
    assert.notEqual(hashSymmetricL3L4(tcp(), 0), hashSymmetricL3L4(tcp(), 1));
  });

  it('depend on no bit that they do not mark', () => {
    for (const fields of NX_HASH_FIELDS)
      for (const proto of [6, 17, 1, 132, 47]) {
        const flow = tcp(false, proto);
        const wc = new FlowWildcards();
        // Every megaflow tells these.
        wc.dlType = 0xffff;
        wc.nwFrag = 0xff;
        wc.packetType = 0xffffffff;
        maskHashFields(flow, wc, fields);
        const other = flow.clone();
        for (let i = 0; i < other.u8.length; i++) other.u8[i] ^= 0xa5 & ~wc.u8[i];
        assert.equal(hashFlowFields(other, fields, 1), hashFlowFields(flow, fields, 1), `${fields} ${proto}`);
      }
  });
});
