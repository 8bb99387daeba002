import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { odpPort } from '../../src/base/types.ts';
import type { DpAction, Dpif, Upcall } from '../../src/dpif/dpif.ts';
import { composePacket } from '../../src/flow/compose.ts';
import { Flow, FlowWildcards } from '../../src/flow/flow.ts';
import { flowFromPacket } from '../../src/flow/packet-flow.ts';
import { DummyNetdev } from '../../src/netdev/dummy.ts';

/** What every datapath does, whatever it is made of. Call `dpifContract` in a test file beside each implementation. */

export interface DpifContractOptions {
  /** A datapath that holds at most `maxFlows` megaflows. The contract closes it. */
  make(maxFlows: number): Dpif;
}

/** A UDP packet whose source port is `n`. */
export function udp(n: number, size = 64): Uint8Array {
  const flow = new Flow();
  flow.dlSrc = Uint8Array.of(2, 0, 0, 0, 0, 1);
  flow.dlDst = Uint8Array.of(2, 0, 0, 0, 0, 2);
  flow.dlType = 0x0800;
  flow.nwProto = 17;
  flow.nwTtl = 64;
  [flow.nwSrc, flow.nwDst] = [0x0a000001, 0x0a000002];
  [flow.tpSrc, flow.tpDst] = [n, 53];
  return composePacket(flow, new Array<number>(size - 42).fill(n & 0xff));
}

/** Everything that every packet of `inPort` has in common. */
function mask(set: (m: FlowWildcards) => void = () => {}): FlowWildcards {
  const m = new FlowWildcards();
  m.inPort = 0xffffffff;
  m.recircId = 0xffffffff;
  m.packetType = 0xffffffff;
  m.dlType = 0xffff;
  m.vlanTci0 = 0xffff;
  m.nwFrag = 3;
  set(m);
  return m;
}

const bySourcePort = mask((m) => {
  m.nwProto = 0xff;
  m.tpSrc = 0xffff;
});

const output = (port: number): DpAction => ({ type: 'output', port: odpPort(port) });
const hex = (frames: readonly Uint8Array[]) => frames.map((f) => Buffer.from(f).toString('hex'));

/** A datapath with three dummies as ports 1 to 3, and what happened to it. */
class Bench {
  readonly dpif: Dpif;
  readonly netdevs: DummyNetdev[] = [];
  /** Frames that left, by port number. */
  readonly sent: Record<number, Uint8Array[]> = {};
  readonly upcalls: Upcall[] = [];

  constructor(dpif: Dpif) {
    this.dpif = dpif;
  }

  static async open(options: DpifContractOptions, maxFlows = 1000): Promise<Bench> {
    const bench = new Bench(options.make(maxFlows));
    for (let i = 1; i <= 3; i++) await bench.addPort(`p${i}`);
    bench.answer(() => []);
    return bench;
  }

  async addPort(name: string, wanted?: number): Promise<number> {
    const netdev = new DummyNetdev(name, 'dummy');
    const port = await this.dpif.portAdd(netdev, wanted === undefined ? undefined : odpPort(wanted));
    this.netdevs[port] = netdev;
    this.sent[port] = [];
    netdev.onSend((frame) => this.sent[port]!.push(frame.slice()));
    return port;
  }

  /** Records upcalls, with a packet that stays, and answers them. */
  answer(handler: (upcall: Upcall) => readonly DpAction[]): void {
    this.dpif.setUpcallHandler((upcall) => {
      this.upcalls.push({ ...upcall, packet: upcall.packet.slice() });
      return handler(upcall);
    });
  }

  receive(port: number, ...frames: Uint8Array[]): void {
    for (const frame of frames) assert.ok(this.netdevs[port]!.receive(frame));
  }

  put(port: number, frame: Uint8Array, actions: readonly DpAction[], m = bySourcePort) {
    const flow = this.dpif.flowPut(flowFromPacket(frame, port), m, actions);
    assert.ok(flow);
    return flow;
  }
}

export function dpifContract(name: string, options: DpifContractOptions): void {
  const check = (title: string, body: (bench: Bench) => Promise<void> | void, maxFlows?: number) =>
    void test(title, async () => {
      const bench = await Bench.open(options, maxFlows);
      try {
        await body(bench);
      } finally {
        await bench.dpif.close();
      }
    });

  describe(`${name}: ports`, () => {
    check('get the lowest free number, or the one that was asked for', async (b) => {
      assert.equal(await b.addPort('p4'), 4);
      assert.equal(await b.addPort('p9', 9), 9);
      assert.equal(await b.addPort('taken', 9), 5);
      await b.dpif.portDel(odpPort(2));
      assert.equal(await b.addPort('again'), 2);
      assert.deepEqual([...b.dpif.ports()].map((p) => p.odpPort).sort(), [1, 2, 3, 4, 5, 9]);
      assert.deepEqual([...b.dpif.ports()].find((p) => p.odpPort === 9)?.name, 'p9');
    });

    check('that are gone send and receive nothing, and come back with clean counters', async (b) => {
      b.put(1, udp(7), [output(2)]);
      b.receive(1, udp(7));
      await b.dpif.portDel(odpPort(2));
      b.receive(1, udp(7));
      assert.equal(b.sent[2]!.length, 1);
      assert.equal(await b.addPort('new'), 2);
      assert.equal(b.dpif.portStats(odpPort(2)).txPackets, 0n);
      b.receive(1, udp(7));
      assert.equal(b.dpif.portStats(odpPort(2)).txPackets, 1n);
    });

    check('count packets and bytes', (b) => {
      b.put(1, udp(7), [output(2), output(3)]);
      b.receive(1, udp(7), udp(7, 100), udp(8, 60));
      const [p1, p2, p3] = [1, 2, 3].map((n) => b.dpif.portStats(odpPort(n)));
      assert.deepEqual([p1!.rxPackets, p1!.rxBytes, p1!.txPackets], [3n, 224n, 0n]);
      for (const p of [p2!, p3!]) assert.deepEqual([p.txPackets, p.txBytes, p.rxPackets], [2n, 164n, 0n]);
    });
  });

  describe(`${name}: misses`, () => {
    check('go up with their headers, and the answer is carried out', (b) => {
      b.answer(() => [output(2)]);
      b.receive(1, udp(7));
      assert.equal(b.upcalls.length, 1);
      const { type, key, packet, pmd } = b.upcalls[0]!;
      assert.deepEqual([type, pmd], ['miss', -1]);
      assert.deepEqual(hex([packet]), hex([udp(7)]));
      assert.ok(key.equals(flowFromPacket(udp(7), 1)));
      assert.deepEqual(hex(b.sent[2]!), hex([udp(7)]));
      assert.equal(b.dpif.flowCount(), 0);
    });

    check('come once a packet until there is a flow', (b) => {
      b.receive(1, udp(7), udp(7));
      assert.equal(b.upcalls.length, 2);
      b.answer((u) => {
        b.put(1, u.packet, [output(2)]);
        return [output(2)];
      });
      b.receive(1, udp(7), udp(7), udp(7));
      assert.equal(b.upcalls.length, 3);
      assert.equal(b.sent[2]!.length, 3);
      const [flow] = [...b.dpif.flows()];
      // The packet that missed is not the flow's.
      assert.equal(b.dpif.flowStats(flow!).packets, 2n);
    });

    check('may be answered by packets of their own', (b) => {
      b.answer((u) => {
        b.dpif.execute(udp(99), flowFromPacket(udp(99), 1), [output(3)]);
        b.dpif.execute(u.packet.slice(), u.key, [output(3)]);
        return [output(2)];
      });
      b.receive(1, udp(7), udp(8));
      assert.equal(b.upcalls.length, 2);
      assert.deepEqual(hex(b.sent[3]!), hex([udp(99), udp(7), udp(99), udp(8)]));
      assert.deepEqual(hex(b.sent[2]!), hex([udp(7), udp(8)]));
    });
  });

  describe(`${name}: flows`, () => {
    check('match by their mask', (b) => {
      b.put(1, udp(7), [output(2)]);
      b.receive(1, udp(7), udp(7, 200), udp(8));
      b.receive(2, udp(7));
      assert.equal(b.sent[2]!.length, 2);
      assert.deepEqual(
        b.upcalls.map((u) => [u.key.inPort, u.key.tpSrc]),
        [
          [1, 8],
          [2, 7],
        ],
      );
    });

    check('of several masks stand beside each other', (b) => {
      b.put(1, udp(7), [output(2)]);
      b.put(2, udp(0), [output(3)], mask());
      b.put(
        1,
        udp(0x100),
        [output(3)],
        mask((m) => Object.assign(m, { nwProto: 0xff, tpSrc: 0xff00 })),
      );
      b.receive(1, udp(7), udp(0x123), udp(0x200));
      b.receive(2, udp(5), udp(6));
      assert.deepEqual(hex(b.sent[2]!), hex([udp(7)]));
      assert.deepEqual(hex(b.sent[3]!), hex([udp(0x123), udp(5), udp(6)]));
      assert.equal(b.upcalls.length, 1);
      assert.equal(b.dpif.flowCount(), 3);
    });

    check('know what they did', (b) => {
      const flow = b.put(1, udp(7), [output(2)]);
      assert.deepEqual(b.dpif.flowStats(flow), { packets: 0n, bytes: 0n, usedMs: 0, tcpFlags: 0 });
      b.receive(1, udp(7), udp(7, 100));
      const stats = b.dpif.flowStats(flow);
      assert.deepEqual([stats.packets, stats.bytes, stats.tcpFlags], [2n, 164n, 0]);
      assert.ok(stats.usedMs > 0);
    });

    check('gather the TCP flags of their packets', (b) => {
      const tcp = (flags: number) => {
        const f = flowFromPacket(udp(7), 1);
        f.nwProto = 6;
        f.tcpFlags = flags;
        return composePacket(f, []);
      };
      const flow = b.put(1, tcp(0), [output(2)]);
      b.receive(1, tcp(0x002), tcp(0x010), tcp(0x110));
      assert.equal(b.dpif.flowStats(flow).tcpFlags, 0x112);
    });

    check('show key, mask and actions as they were given, the key masked', (b) => {
      const flow = b.put(1, udp(7), [output(2)]);
      const want = flowFromPacket(udp(7), 1);
      want.maskWith(bySourcePort);
      assert.ok(flow.key.equals(want));
      assert.ok(flow.mask.equals(bySourcePort));
      assert.deepEqual(flow.actions, [output(2)]);
      assert.match(flow.ufid, /^[0-9a-f]{32}$/);
      assert.deepEqual([...b.dpif.flows()], [flow]);
    });

    check('change their actions, by flowMod and by flowPut of the same key', (b) => {
      const flow = b.put(1, udp(7), [output(2)]);
      b.receive(1, udp(7));
      b.dpif.flowMod(flow, [output(3)]);
      b.receive(1, udp(7));
      assert.equal(b.put(1, udp(7), [output(2), output(3)]), flow);
      b.receive(1, udp(7));
      assert.equal(b.dpif.flowCount(), 1);
      assert.deepEqual([b.sent[2]!.length, b.sent[3]!.length], [2, 2]);
      assert.equal(b.dpif.flowStats(flow).packets, 3n);
    });

    check('that are deleted match no more, and start again from zero', (b) => {
      const flow = b.put(1, udp(7), [output(2)]);
      b.receive(1, udp(7));
      assert.equal(b.dpif.flowDel(flow).packets, 1n);
      assert.equal(flow.dead, true);
      assert.equal(b.dpif.flowCount(), 0);
      b.receive(1, udp(7));
      assert.equal(b.upcalls.length, 1);
      const again = b.put(1, udp(7), [output(3)]);
      assert.notEqual(again, flow);
      assert.equal(b.dpif.flowStats(again).packets, 0n);
      b.receive(1, udp(7));
      assert.equal(b.dpif.flowStats(again).packets, 1n);
      assert.deepEqual([b.sent[2]!.length, b.sent[3]!.length], [1, 1]);
    });

    check(
      'have a limit',
      (b) => {
        const flows = Array.from({ length: 10 }, (_, i) => b.put(1, udp(i), [output(2)]));
        assert.equal(b.dpif.flowPut(flowFromPacket(udp(10), 1), bySourcePort, [output(2)]), undefined);
        assert.equal(b.dpif.flowCount(), 10);
        assert.equal(b.put(1, udp(9), [output(3)]), flows[9]);
        b.dpif.flowDel(flows[0]!);
        b.put(1, udp(10), [output(3)]);
        b.receive(1, udp(0), udp(1), udp(9), udp(10));
        assert.deepEqual(hex(b.sent[2]!), hex([udp(1)]));
        assert.deepEqual(hex(b.sent[3]!), hex([udp(9), udp(10)]));
        assert.equal(b.upcalls.length, 1);
      },
      10,
    );

    check('many of them', (b) => {
      for (let i = 0; i < 500; i++) b.put(1, udp(i), [output(2 + (i % 2))]);
      for (let i = 0; i < 500; i += 3) b.dpif.flowDel([...b.dpif.flows()].find((f) => f.key.tpSrc === i)!);
      for (let i = 0; i < 500; i++) b.receive(1, udp(i));
      const left = Array.from({ length: 500 }, (_, i) => i).filter((i) => i % 3 !== 0);
      assert.deepEqual(hex(b.sent[2]!), hex(left.filter((i) => i % 2 === 0).map((i) => udp(i))));
      assert.deepEqual(hex(b.sent[3]!), hex(left.filter((i) => i % 2 === 1).map((i) => udp(i))));
      assert.equal(b.upcalls.length, 500 - left.length);
    });
  });

  describe(`${name}: actions`, () => {
    const tag: DpAction = { type: 'push_vlan', tpid: 0x8100, tci: 0x100a };
    const tagged = (frame: Uint8Array) =>
      Uint8Array.from([...frame.subarray(0, 12), 0x81, 0x00, 0x00, 0x0a, ...frame.subarray(12)]);

    check('run on a packet of the control side, which keeps its bytes', (b) => {
      const packet = udp(7);
      b.dpif.execute(packet, flowFromPacket(packet, 0xffffffff), [output(2), tag, output(3), output(1)]);
      assert.deepEqual(hex([packet]), hex([udp(7)]));
      assert.deepEqual(hex(b.sent[2]!), hex([udp(7)]));
      assert.deepEqual(hex(b.sent[3]!), hex([tagged(udp(7))]));
      assert.deepEqual(hex(b.sent[1]!), hex([tagged(udp(7))]));
      assert.equal(b.upcalls.length, 0);
    });

    check('each see what those before them made of the packet', (b) => {
      b.put(1, udp(7), [output(2), tag, output(2), { type: 'pop_vlan' }, output(2)]);
      b.receive(1, udp(7));
      assert.deepEqual(hex(b.sent[2]!), hex([udp(7), tagged(udp(7)), udp(7)]));
    });

    check('in a clone change nothing outside, however deep', (b) => {
      const deep: DpAction[] = [
        tag,
        { type: 'clone', actions: [tag, output(2), { type: 'clone', actions: [tag] }, output(2)] },
        output(3),
      ];
      b.put(1, udp(7), [{ type: 'clone', actions: deep }, output(1)]);
      b.receive(1, udp(7));
      const twice = tagged(tagged(udp(7)));
      assert.deepEqual(hex(b.sent[2]!), hex([twice, twice]));
      assert.deepEqual(hex(b.sent[3]!), hex([tagged(udp(7))]));
      assert.deepEqual(hex(b.sent[1]!), hex([udp(7)]));
    });

    check('by length go on behind the branch', (b) => {
      b.put(1, udp(7), [
        { type: 'check_pkt_len', pktLen: 100, ifGreater: [output(3)], ifLessEqual: [tag, output(2)] },
        output(1),
      ]);
      b.receive(1, udp(7, 100), udp(7, 101));
      assert.deepEqual(hex(b.sent[2]!), hex([tagged(udp(7, 100))]));
      assert.deepEqual(hex(b.sent[3]!), hex([udp(7, 101)]));
      assert.deepEqual(hex(b.sent[1]!), hex([udp(7, 100), udp(7, 101)]));
    });

    check('shorten the next output only', (b) => {
      b.put(1, udp(7), [{ type: 'trunc', maxLen: 20 }, output(2), output(2), output(3)]);
      b.receive(1, udp(7));
      assert.deepEqual(hex(b.sent[2]!), hex([udp(7).subarray(0, 20), udp(7)]));
      assert.deepEqual(hex(b.sent[3]!), hex([udp(7)]));
    });

    check('send a packet up with their data', (b) => {
      const userdata = { kind: 'slow_path', reason: 'lldp' } as const;
      b.put(1, udp(7), [output(3), { type: 'userspace', userdata }]);
      b.answer((u) => (u.type === 'action' ? [output(2)] : []));
      b.receive(1, udp(7));
      assert.deepEqual(
        b.upcalls.map((u) => [u.type, u.userdata, u.key.inPort, u.key.tpSrc]),
        [['action', userdata, 1, 7]],
      );
      assert.deepEqual(hex(b.sent[2]!), hex([udp(7)]));
      assert.deepEqual(hex(b.sent[3]!), hex([udp(7)]));
    });

    check('may send a packet back by the port it came from, to no port, and nowhere', (b) => {
      b.put(1, udp(7), [output(1)]);
      b.put(1, udp(8), [output(400), output(2)]);
      b.put(1, udp(9), []);
      b.receive(1, udp(7), udp(8), udp(9));
      assert.deepEqual(hex(b.sent[1]!), hex([udp(7)]));
      assert.deepEqual(hex(b.sent[2]!), hex([udp(8)]));
      assert.equal(b.upcalls.length, 0);
    });
  });

  describe(`${name}: recirculation`, () => {
    const again: DpAction[] = [
      { type: 'set', attr: 'skb_mark', key: Uint8Array.of(0, 0, 0, 5), mask: new Uint8Array(4).fill(0xff) },
      { type: 'hash', algorithm: 'l4', basis: 3 },
      { type: 'recirc', recircId: 5 },
    ];
    const byHash = mask((m) => {
      m.dpHash = 0xffffffff;
      m.pktMark = 0xffffffff;
    });

    check('looks a packet up again, with its hash and mark', (b) => {
      b.answer(({ key }) => (key.recircId === 0 ? again : [output(2)]));
      b.put(1, udp(7), again);
      b.receive(1, udp(7));
      const [{ key, type }] = b.upcalls as [Upcall];
      assert.deepEqual([type, key.recircId, key.inPort, key.pktMark], ['miss', 5, 1, 5]);
      assert.notEqual(key.dpHash, 0);
      const flow = b.dpif.flowPut(key, byHash, [output(3)]);
      assert.ok(flow);
      b.receive(1, udp(7), udp(7), udp(8));
      assert.equal(b.dpif.flowStats(flow).packets, 2n);
      assert.deepEqual(hex(b.sent[3]!), hex([udp(7), udp(7)]));
      assert.deepEqual([...b.dpif.flows()].length, 2);
      assert.equal(b.dpif.flowDel(flow).packets, 2n);
      b.receive(1, udp(7));
      assert.deepEqual(hex(b.sent[2]!), hex([udp(7), udp(8), udp(7)]));
    });

    check('ends somewhere', (b) => {
      b.answer(() => again);
      b.receive(1, udp(7));
      assert.ok(b.upcalls.length > 1 && b.upcalls.length < 10);
    });
  });

  describe(`${name}: meters`, () => {
    check('let pass what their bucket holds', (b) => {
      const id = 2;
      assert.equal(b.dpif.meterSet(id, { kbps: false, burst: true, bands: [{ rate: 1, burst: 2 }] }), true);
      b.put(1, udp(7), [{ type: 'meter', meterId: id }, output(2)]);
      b.receive(1, udp(7), udp(7), udp(7), udp(7));
      assert.equal(b.sent[2]!.length, 2);
      assert.deepEqual(b.dpif.meterGet(id), { packets: 4n, bytes: 256n, bands: [{ packets: 2n, bytes: 128n }] });
      assert.equal(b.dpif.meterDel(id)?.packets, 4n);
      assert.equal(b.dpif.meterGet(id), undefined);
      b.receive(1, udp(7));
      assert.equal(b.sent[2]!.length, 3);
    });

    check('have as many numbers and bands as they say', (b) => {
      const { maxMeters, maxBands } = b.dpif.meterFeatures();
      const band = { rate: 1, burst: 0 };
      assert.equal(b.dpif.meterSet(maxMeters, { kbps: true, burst: false, bands: [band] }), false);
      const bands = new Array<typeof band>(maxBands + 1).fill(band);
      assert.equal(b.dpif.meterSet(0, { kbps: true, burst: false, bands }), false);
    });
  });

  describe(`${name}: headers of other kinds`, () => {
    check('NSH goes on and comes off', (b) => {
      const nsh = Uint8Array.of(0x0f, 0xc2, 1, 3, 0, 0, 1, 255);
      const encap: DpAction = { type: 'push_eth', src: new Uint8Array(6), dst: new Uint8Array(6).fill(2) };
      b.put(1, udp(7), [
        { type: 'push_nsh', nsh },
        encap,
        output(2),
        { type: 'pop_eth' },
        { type: 'pop_nsh' },
        output(3),
      ]);
      b.receive(1, udp(7));
      assert.equal(Buffer.from(b.sent[2]![0]!.subarray(12, 24)).toString('hex'), '894f0fc20103000001ff0200');
      assert.deepEqual(hex(b.sent[3]!), hex([udp(7)]));
    });

    check('a bond spreads by hash', (b) => {
      if (!b.dpif.bondSet) return;
      b.dpif.bondSet(
        1,
        Array.from({ length: 256 }, (_, i) => odpPort(2 + (i % 2))),
      );
      b.put(
        1,
        udp(7),
        [
          { type: 'hash', algorithm: 'l4', basis: 0 },
          { type: 'lb_output', bondId: 1 },
        ],
        mask(),
      );
      b.receive(1, ...Array.from({ length: 32 }, (_, i) => udp(i)));
      assert.equal(b.sent[2]!.length + b.sent[3]!.length, 32);
      assert.ok(b.sent[2]!.length > 4 && b.sent[3]!.length > 4);
      const bytes = b.dpif.bondStats?.(1)?.reduce((sum, n) => sum + n, 0n);
      assert.equal(bytes, 32n * 64n);
    });
  });

  describe(`${name}: devices that answer at once`, () => {
    check('every frame goes through once, in order', (b) => {
      b.put(1, udp(7), [output(2)]);
      b.put(2, udp(7), [output(3)]);
      b.netdevs[2]!.onSend((frame) => {
        b.sent[2]!.push(frame.slice());
        b.receive(2, udp(7, frame.length + 1), udp(7, frame.length + 2));
      });
      b.receive(1, udp(7), udp(7, 80));
      assert.deepEqual(hex(b.sent[3]!), hex([udp(7, 65), udp(7, 66), udp(7, 81), udp(7, 82)]));
      b.dpif.execute(udp(7, 100), flowFromPacket(udp(7), 1), [output(2)]);
      assert.deepEqual(hex(b.sent[3]!.slice(4)), hex([udp(7, 101), udp(7, 102)]));
      assert.equal(b.upcalls.length, 0);
    });
  });

  describe(`${name}: counters`, () => {
    check('hits and misses are all lookups', (b) => {
      b.put(1, udp(7), [output(2)]);
      b.receive(1, udp(7), udp(8), udp(7));
      const { hit, missed, lost, flows } = b.dpif.stats();
      assert.deepEqual([hit, missed, lost, flows], [2n, 1n, 0n, 1]);
    });
  });
}
