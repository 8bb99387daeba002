import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { dpifContract, udp } from '../../../test/contract/dpif.ts';
import { odpPort } from '../../base/types.ts';
import { FlowWildcards } from '../../flow/flow.ts';
import { flowFromPacket } from '../../flow/packet-flow.ts';
import { GUESTS_MAX } from '../../gen/arena.ts';
import { BasicNetdev } from '../../netdev/basic.ts';
import { DummyNetdev } from '../../netdev/dummy.ts';
import { NetdevError } from '../../netdev/netdev.ts';
import type { DpAction } from '../dpif.ts';
import { createUserspaceDpif } from './dpif-userspace.ts';
import { MASKS_FREE } from './mask-admission.ts';

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
          fc.array(fc.tuple(fc.nat(40), fc.constantFrom(60, 61, 1518, 1519, 2048, 2049, 65553, 65554)), {
            maxLength: 60,
          }),
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

  test('a device whose port is gone is not heard, also when another has its number', async (t) => {
    const dpif = createUserspaceDpif();
    t.after(() => dpif.close());
    const [gone, next] = [new DummyNetdev('gone', 'dummy'), new DummyNetdev('next', 'dummy')];
    const port = await dpif.portAdd(gone);
    await dpif.portDel(port);
    assert.equal(await dpif.portAdd(next), port);
    gone.receive(udp(1));
    assert.equal(dpif.portStats(port).rxPackets, 0n);
    next.receive(udp(1));
    assert.equal(dpif.portStats(port).rxPackets, 1n);
  });

  test('a packet sent up by a flow that is gone before it is read is a named drop', async (t) => {
    const dpif = createUserspaceDpif();
    t.after(() => dpif.close());
    const netdev = new DummyNetdev('p1', 'dummy');
    const inPort = await dpif.portAdd(netdev);
    const mask = new FlowWildcards();
    mask.inPort = 0xffffffff;
    const toController: DpAction = { type: 'userspace', userdata: { kind: 'slow_path', reason: 'controller' } };
    const flow = dpif.flowPut(flowFromPacket(udp(1), inPort), mask, [toController, toController])!;
    let heard = 0;
    dpif.setUpcallHandler(() => {
      heard++;
      const other = dpif.flowPut(flowFromPacket(udp(2), 9), mask, [])!;
      dpif.flowDel(flow);
      for (let i = 0; i < 2048; i++) dpif.flowMod(other, []);
      return [];
    });
    netdev.receive(udp(1));
    assert.equal(heard, 1);
    assert.equal(dpif.drops().get('datapath_drop_userspace_action_error'), 1n);
  });

  test('a packet that the handler fails on is a named drop, and the next one goes on', async (t) => {
    const warnings: string[] = [];
    const dpif = createUserspaceDpif({ warn: (text) => warnings.push(text) });
    t.after(() => dpif.close());
    const [from, to] = [new DummyNetdev('p1', 'dummy'), new DummyNetdev('p2', 'dummy')];
    await dpif.portAdd(from);
    const port = await dpif.portAdd(to);
    dpif.setUpcallHandler(({ key }) => {
      if (key.tpSrc === 1) throw new Error('no answer');
      return [output(port)];
    });
    from.receive(udp(1));
    from.receive(udp(2));
    assert.equal(dpif.portStats(port).txPackets, 1n);
    assert.equal(dpif.drops().get('datapath_drop_upcall_error'), 1n);
    assert.match(warnings.join(), /no answer/);
  });

  test('a packet that an action of the slow path fails on is a named drop, and the next one goes on', async (t) => {
    const warnings: string[] = [];
    const dpif = createUserspaceDpif({ warn: (text) => warnings.push(text) });
    t.after(() => dpif.close());
    const [from, to] = [new DummyNetdev('p1', 'dummy'), new DummyNetdev('p2', 'dummy')];
    await dpif.portAdd(from);
    const port = await dpif.portAdd(to);
    // No such list comes from translation; it stands for what nobody has thought of.
    const broken: DpAction = {
      type: 'ct',
      commit: false,
      force: false,
      get zone(): number {
        throw new Error('no number');
      },
    };
    dpif.setUpcallHandler(({ key }) => [{ type: 'ct_clear' }, ...(key.tpSrc === 1 ? [broken] : []), output(port)]);
    from.receive(udp(1));
    from.receive(udp(2));
    assert.equal(dpif.portStats(port).txPackets, 1n);
    assert.equal(dpif.drops().get('datapath_drop_upcall_error'), 1n);
    assert.match(warnings.join(), /slow path failed/);
  });

  test('a packet that the slow path recirculates by itself is counted as recirculated', async (t) => {
    const dpif = createUserspaceDpif();
    t.after(() => dpif.close());
    const netdev = new DummyNetdev('p1', 'dummy');
    await dpif.portAdd(netdev);
    const main = () => dpif.threads()[0]!.stats;
    // Connection tracking leaves its state on the packet, which the fast path's key has no room for.
    dpif.setUpcallHandler(({ key, packet }) => {
      if (key.recircId === 0)
        return [
          { type: 'ct', commit: false, force: false, zone: 0 },
          { type: 'recirc', recircId: 1 },
        ];
      const mask = new FlowWildcards();
      Object.assign(mask, { inPort: 0xffffffff, recircId: 0xffffffff, ctState: 0xffffffff });
      const again = flowFromPacket(packet, key.inPort);
      Object.assign(again, { recircId: 1, ctState: key.ctState });
      assert.ok(dpif.flowPut(again, mask, []));
      return [];
    });
    const before = main();
    netdev.receive(udp(1));
    assert.equal(main().recirculations - before.recirculations, 1n);
    assert.equal(main().missUpcalls - before.missUpcalls, 2n);
    netdev.receive(udp(2));
    assert.equal(main().recirculations - before.recirculations, 2n);
    assert.equal(main().missUpcalls - before.missUpcalls, 3n);
    assert.equal(main().megaflowHits - before.megaflowHits, 1n);
  });

  test('a flow that is put in by hand keeps its mask, and its key as it was given', async (t) => {
    const dpif = createUserspaceDpif();
    t.after(() => dpif.close());
    const port = await dpif.portAdd(new DummyNetdev('p1', 'dummy'));
    const base = { inPort: 0xffffffff, recircId: 0xffffffff, dlType: 0xffff, nwProto: 0xff, tpSrc: 0xffff };
    for (let i = 0; i < MASKS_FREE; i++) {
      const mask = new FlowWildcards();
      Object.assign(mask, base, { nwSrc: i + 1 });
      assert.ok(dpif.flowPut(flowFromPacket(udp(i), port), mask, []));
    }
    const mask = new FlowWildcards();
    Object.assign(mask, base, { tpDst: 0xfff0 });
    const key = flowFromPacket(udp(500), port);
    const flow = dpif.flowPut(key, mask, [], -1)!;
    assert.deepEqual(flow.mask.u32, mask.u32);
    assert.deepEqual(flow.exact?.u32, key.u32);
    assert.equal(flow.key.nwSrc, 0);
    assert.equal(dpif.stats().masks, MASKS_FREE + 1);
  });

  test('at its limit the table takes no flow more, and a flow that is there takes other actions', async (t) => {
    const dpif = createUserspaceDpif({ maxFlows: 2 });
    t.after(() => dpif.close());
    const port = await dpif.portAdd(new DummyNetdev('p1', 'dummy'));
    const mask = new FlowWildcards();
    Object.assign(mask, { inPort: 0xffffffff, recircId: 0xffffffff, tpSrc: 0xffff });
    const tracked = new FlowWildcards();
    Object.assign(tracked, { inPort: 0xffffffff, recircId: 0xffffffff, ctState: 0xff });
    const put = (n: number) => dpif.flowPut(flowFromPacket(udp(n), port), mask, [output(n)]);
    const putSlow = (ctState: number, n: number) =>
      dpif.flowPut(Object.assign(flowFromPacket(udp(1), port), { recircId: 1, ctState }), tracked, [output(n)]);
    assert.ok(put(1));
    assert.ok(putSlow(1, 1));
    assert.equal(put(2), undefined);
    assert.equal(putSlow(2, 1), undefined);
    assert.ok(put(1));
    assert.deepEqual(putSlow(1, 7)?.actions, [output(7)]);
    assert.equal(dpif.flowCount(), 2);
  });

  test('a PMD that cannot start is an error of that change only', async (t) => {
    const dpif = createUserspaceDpif();
    t.after(() => dpif.close());
    await dpif.portAdd(new SilentVhost('vhost1', 'dpdkvhostuser', {}));
    const config = (pmdCpus: number[]) => ({
      pmdCpus,
      emcInsertInvProb: 100,
      smcEnable: false,
      rxqAffinity: new Map(),
    });
    const polled = () => dpif.threads().flatMap(({ core, rxqs }) => rxqs.map(({ port }) => [core, port]));
    await assert.rejects(dpif.configure(config([1, 1000])));
    assert.deepEqual(polled(), [[1, 'vhost1']]);
    await dpif.configure(config([0]));
    assert.deepEqual(polled(), [[0, 'vhost1']]);
  });

  test('a port that there is no room for is not there', async (t) => {
    const dpif = createUserspaceDpif();
    t.after(() => dpif.close());
    for (let i = 0; i < GUESTS_MAX; i++) await dpif.portAdd(new SilentVhost(`vhost${i}`, 'dpdkvhostuser', {}));
    await assert.rejects(dpif.portAdd(new SilentVhost('more', 'dpdkvhostuser', {})), NetdevError);
    assert.equal([...dpif.ports()].length, GUESTS_MAX);
  });
});

/** A vhost-user port that no guest ever comes to. */
class SilentVhost extends BasicNetdev {
  readonly io = { kind: 'vhost', attach: () => {} } as const;
}
