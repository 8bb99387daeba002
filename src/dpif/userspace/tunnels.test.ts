import assert from 'node:assert/strict';
import { test } from 'node:test';
import { udp } from '../../../test/contract/dpif.ts';
import { flowFromPacket } from '../../flow/packet-flow.ts';
import { DummyNetdev } from '../../netdev/dummy.ts';
import { TunnelNetdev } from '../../netdev/vport/tunnel.ts';
import type { DpAction } from '../dpif.ts';
import { createUserspaceDpif } from './dpif-userspace.ts';

const HEADER = Buffer.from(
  '0200000000010200000000020800' +
    '45000000000040004011' +
    '00000a0000010a000002' +
    '000012b500000000' +
    '0800000000007b00',
  'hex',
);

test('a packet goes into a tunnel, and one comes out of it with its metadata', async () => {
  const dpif = createUserspaceDpif();
  const [inner, outer] = [new DummyNetdev('p1', 'dummy'), new DummyNetdev('p2', 'dummy')];
  const [innerPort, outerPort] = [await dpif.portAdd(inner), await dpif.portAdd(outer)];
  const options = new Map([['remote_ip', '10.0.0.2']]);
  const tunnel = new TunnelNetdev('t1', 'vxlan', options, new Set(), () => undefined);
  const tunnelPort = await dpif.portAdd(tunnel.tunnelBacker());
  const push: DpAction = { type: 'tunnel_push', tunnelPort, outPort: outerPort, tunnelType: 'vxlan', header: HEADER };
  const keys: [number, bigint][] = [];
  dpif.setUpcallHandler(({ key }) => {
    keys.push([key.inPort, key.tunId]);
    if (key.inPort === outerPort) return [{ type: 'tunnel_pop', port: tunnelPort }];
    return key.inPort === tunnelPort ? [{ type: 'output', port: innerPort }] : [];
  });
  const [sent, received]: Uint8Array[][] = [[], []];
  outer.onSend((frame) => sent.push(frame.slice()));
  inner.onSend((frame) => received.push(frame.slice()));
  try {
    const packet = udp(7, 100);
    const key = flowFromPacket(packet, innerPort);
    dpif.execute(packet, key, [push, { type: 'output', port: outerPort }]);
    assert.equal(sent.length, 1);
    assert.equal(sent[0]!.length, 150);
    outer.receive(sent[0]!);
    assert.deepEqual(keys, [
      [outerPort, 0n],
      [tunnelPort, 0x7bn],
    ]);
    assert.deepEqual(Buffer.from(received[0]!), Buffer.from(packet));
  } finally {
    await dpif.close();
  }
});
