import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { dpifContract, udp } from '../../../test/contract/dpif.ts';
import { odpPort } from '../../base/types.ts';
import { FlowWildcards } from '../../flow/flow.ts';
import { flowFromPacket } from '../../flow/packet-flow.ts';
import { DummyNetdev } from '../../netdev/dummy.ts';
import type { DpAction } from '../dpif.ts';
import { createUserspaceDpif } from './dpif-userspace.ts';

dpifContract('userspace datapath', { make: (maxFlows) => createUserspaceDpif({ maxFlows }) });

const output = (port: number): DpAction => ({ type: 'output', port: odpPort(port) });

describe('userspace datapath', () => {
  test('every packet that comes in goes out once or is a named drop', async () => {
    const dpif = createUserspaceDpif();
    const netdevs: DummyNetdev[] = [];
    for (let i = 1; i <= 3; i++) {
      const netdev = new DummyNetdev(`p${i}`, 'dummy');
      netdevs[await dpif.portAdd(netdev)] = netdev;
    }
    // What leaves by port 3 is refused by the device now and then.
    const { io } = netdevs[3]!;
    assert.ok(io.kind === 'soft');
    const send = io.send;
    io.send = (frame) => (frame[frame.length - 1]! % 2 ? false : send(frame));
    const mask = new FlowWildcards();
    Object.assign(mask, { inPort: 0xffffffff, dlType: 0xffff, nwProto: 0xff, tpSrc: 0xffff });
    const answers: DpAction[][] = [[output(2)], [output(3)], [], [output(77)], [{ type: 'drop', reason: 'x' }]];
    dpif.setUpcallHandler(({ key, packet }) => {
      const actions = answers[key.tpSrc % answers.length]!;
      if (key.tpSrc < 20) dpif.flowPut(flowFromPacket(packet, key.inPort), mask, actions);
      return actions;
    });
    const sum = (name: 'rxPackets' | 'txPackets' | 'rxBytes') =>
      [1, 2, 3].reduce((n, port) => n + dpif.portStats(odpPort(port))[name], 0n);
    try {
      fc.assert(
        fc.property(
          fc.array(fc.tuple(fc.nat(40), fc.constantFrom(60, 61, 1518, 1519, 2048, 2049)), { maxLength: 60 }),
          (list) => {
            for (const [n, size] of list) netdevs[1]!.receive(udp(n, size));
            const drops = [...dpif.drops()].filter(([name]) => name !== 'vhost_bad_index');
            assert.equal(
              sum('rxPackets'),
              drops.reduce((n, [, count]) => n + count, sum('txPackets')),
            );
          },
        ),
      );
      const port3 = dpif.portStats(odpPort(3));
      assert.equal(port3.txPackets, netdevs[3]!.stats().txPackets);
      assert.equal(port3.txBytes, netdevs[3]!.stats().txBytes);
      assert.ok(port3.txDropped > 0n);
      const port1 = dpif.portStats(odpPort(1));
      assert.equal(port1.rxPackets + port1.rxErrors, netdevs[1]!.stats().rxPackets);
      assert.ok(dpif.drops().get('vhost_tx_oversize')! > 0n);
    } finally {
      await dpif.close();
    }
  });
});
