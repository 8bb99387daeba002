import assert from 'node:assert/strict';
import { it } from 'node:test';
import { vlog } from '../base/vlog.ts';
import { Flow } from '../flow/flow.ts';
import { rawGeneve } from './tunnel-geneve.ts';
import { popTunnel } from './tunnel-pop.ts';
import { pushTunnel } from './tunnel-push.ts';

vlog.setLevels('console:off');

const ETHER = '02000000000102000000000208 00'.replace(' ', '');
const IP = (proto: string) => `450000000000400040${proto}00000a0000010a000002`;
const INNER = Uint8Array.from({ length: 60 }, (_, i) => (i === 12 ? 8 : i === 13 ? 6 : i));

const CASES = {
  vxlan: `${ETHER}${IP('11')}000012b50000ffff0800000000007b00`,
  geneve: `${ETHER}${IP('11')}000017c10000ffff0200655800007b00ffff800101020304`,
  gre: `${ETHER}${IP('2f')}b0006558000000000000007b00000000`,
  erspan: `${ETHER}${IP('2f')}100088be000000001000007b00000003`,
} as const;

for (const type of ['vxlan', 'geneve', 'gre', 'erspan'] as const) {
  const header = Buffer.from(CASES[type], 'hex');
  const push = () => pushTunnel(INNER, header, type, 0x12345678, { seq: 7 });
  const pop = (packet: Uint8Array) => popTunnel(packet, new Flow(), 9, { type, gbp: false });

  it(`${type}: what is pushed can be popped`, () => {
    const popped = pop(push());
    assert.ok(popped);
    assert.deepEqual(Buffer.from(popped.packet), Buffer.from(INNER));
    const { md } = popped;
    assert.deepEqual([md.tunId, md.tunSrc, md.tunDst, md.tunTtl, md.inPort], [0x7bn, 0x0a000001, 0x0a000002, 64, 9]);
    if (type === 'geneve') assert.equal(Buffer.from(rawGeneve(md)).toString('hex'), 'ffff800101020304');
    if (type === 'erspan') assert.equal(md.tunErspanIdx, 3);
  });

  it(`${type}: a packet that is cut short anywhere is dropped`, () => {
    const packet = push();
    for (let size = 0; size < packet.length; size++) assert.equal(pop(packet.subarray(0, size)), undefined, `${size}`);
  });

  it(`${type}: no byte of the outer headers is believed blindly`, () => {
    const packet = push();
    for (let at = 12; at < header.length; at++)
      for (const value of [0, 0xff]) {
        const bad = packet.slice();
        bad[at] = value;
        const popped = pop(bad);
        assert.ok(!popped || popped.packet.length <= packet.length);
      }
  });
}
