import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../../base/types.ts';
import { composePacket } from '../../flow/compose.ts';
import { extract } from '../../flow/extract.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import { BATCH_MAX, EMC_ENTRIES, UPCALL_MISS } from '../../gen/arena.ts';
import { Rig } from './testing/rig.ts';

/**
 * Exact match cache, signature cache and classifier against a model that is a Map: whichever are on, the same packets leave by the same ports and
 * are counted on the same flows, while flows come and go and their records are used again.
 */

const rig = new Rig();
const IN_PORT = 9;
const N_PORTS = 8;
for (let port = 1; port <= N_PORTS; port++) rig.softPort(port);
const outputs = Array.from({ length: N_PORTS + 1 }, (_, port) =>
  rig.actions([{ type: 'output', port: odpPort(port) }]),
);

const N_CLASSES = 6;

/**
 * All packets of a class share their destination port and are matched by the same mask, so that no two megaflows overlap: as translation makes
 * them. Classes 4 and 5 are IPv6, whose keys no exact match cache holds.
 */
function maskOf(cls: number): FlowWildcards {
  const m = new FlowWildcards();
  Object.assign(m, { inPort: 0xffffffff, recircId: 0xffffffff, dlType: 0xffff, nwProto: 0xff, tpDst: 0xffff });
  if (cls === 0) m.nwSrc = 0xffffffff;
  if (cls === 1) m.nwSrc = 0xffffff00;
  if (cls === 2) Object.assign(m, { tpSrc: 0xffff, nwSrc: 0xffffffff, nwDst: 0xffffffff });
  if (cls === 3) m.dlSrc = new Uint8Array(6).fill(0xff);
  if (cls === 4) m.ipv6Src = new Uint8Array(16).fill(0xff);
  if (cls === 5) Object.assign(m, { tpSrc: 0xfff0, ipv6Label: 0xfffff });
  return m;
}

const masks = Array.from({ length: N_CLASSES }, (_, cls) => maskOf(cls));

interface Packet {
  cls: number;
  n: number;
}

function frameOf({ cls, n }: Packet): Uint8Array {
  const f = new Flow();
  f.dlType = cls >= 4 ? 0x86dd : 0x0800;
  f.nwProto = 17;
  f.tpSrc = n;
  f.tpDst = cls;
  f.dlSrc = Uint8Array.of(2, 0, 0, 0, n >> 8, n & 0xff);
  f.dlDst = Uint8Array.of(2, 0, 0, 0, 1, 1);
  if (cls >= 4) {
    f.ipv6Src = Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? n & 0xff : i === 14 ? n >> 8 : 0x20));
    f.ipv6Label = n >> 4;
  } else {
    f.nwSrc = 0x0a000000 + n * 16;
  }
  return composePacket(f, [n & 0xff]);
}

function keyOf(frame: Uint8Array): Flow {
  const key = new Flow();
  extract(frame, key);
  key.inPort = IN_PORT;
  return key;
}

interface Rule {
  flow: number;
  port: number;
  packets: bigint;
  bytes: bigint;
}

/** The rules that are installed, by class and masked key. */
class Model {
  readonly rules = new Map<string, Rule>();

  static id(p: Packet): string {
    const key = keyOf(frameOf(p));
    key.maskWith(masks[p.cls]!);
    return `${p.cls}:${Buffer.from(key.u8).toString('base64')}`;
  }

  add(p: Packet, port: number): void {
    const id = Model.id(p);
    const key = keyOf(frameOf(p));
    const before = this.rules.get(id);
    assert.equal(rig.table.find(key, masks[p.cls]!), before?.flow ?? 0);
    if (before) {
      rig.table.setActions(before.flow, outputs[port]!);
      before.port = port;
      return;
    }
    const flow = rig.table.insert(key, masks[p.cls]!, outputs[port]!);
    assert.notEqual(flow, 0);
    this.rules.set(id, { flow, port, packets: 0n, bytes: 0n });
  }

  remove(p: Packet): void {
    const id = Model.id(p);
    const rule = this.rules.get(id);
    if (!rule) return;
    this.check(rule);
    rig.table.remove(rule.flow, 1, () => {});
    this.rules.delete(id);
  }

  check(rule: Rule): void {
    const { packets, bytes } = rig.table.stats(rule.flow, 1);
    assert.deepEqual([packets, bytes], [rule.packets, rule.bytes]);
  }

  /** Sends a batch; every packet leaves by its rule's port, or goes up. */
  send(batch: readonly Packet[]): void {
    const want: string[] = [];
    batch.forEach((p, i) => {
      const frame = frameOf(p);
      rig.place(i, frame);
      const rule = this.rules.get(Model.id(p));
      want.push(`${rule?.port ?? 'miss'} ${Buffer.from(frame).toString('hex')}`);
      if (!rule) return;
      rule.packets++;
      rule.bytes += BigInt(frame.length);
    });
    rig.exports.process(batch.length, IN_PORT);
    const got = rig
      .records()
      .map(
        ({ type, port, packet }) => `${type === UPCALL_MISS ? 'miss' : port} ${Buffer.from(packet).toString('hex')}`,
      );
    assert.deepEqual(got.sort(), want.sort());
  }

  clear(): void {
    for (const rule of this.rules.values()) {
      this.check(rule);
      rig.table.remove(rule.flow, 1, () => {});
    }
    this.rules.clear();
    rig.rcu.reap();
  }
}

const modes = [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
] as const;

const packet = fc.record({ cls: fc.nat(N_CLASSES - 1), n: fc.nat(60) });
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant('send' as const),
      batch: fc.array(packet, { minLength: 1, maxLength: BATCH_MAX }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('add' as const), packet, port: fc.integer({ min: 1, max: N_PORTS }) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('remove' as const), packet }) },
  { weight: 1, arbitrary: fc.constant({ op: 'reap' as const }) },
);

describe('lookups', () => {
  test('give the same with any caches, under random changes', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
        for (const [emc, smc] of modes) {
          rig.setCaches(emc, smc);
          const model = new Model();
          for (const s of steps) {
            if (s.op === 'send') model.send(s.batch);
            else if (s.op === 'add') model.add(s.packet, s.port);
            else if (s.op === 'remove') model.remove(s.packet);
            else rig.rcu.reap();
          }
          model.clear();
          assert.equal(rig.table.count, 0);
        }
      }),
      { numRuns: 40 },
    );
  });

  for (const [emc, smc] of modes) {
    test(`of more flows than the caches hold, EMC ${emc ? 'on' : 'off'}, SMC ${smc ? 'on' : 'off'}`, () => {
      rig.setCaches(emc, smc);
      const model = new Model();
      const n = EMC_ENTRIES + 2000;
      const all = Array.from({ length: n }, (_, i): Packet => ({ cls: 2, n: (i * 7919) % 65536 }));
      for (const [i, p] of all.entries()) model.add(p, 1 + (i % N_PORTS));
      for (let round = 0; round < 2; round++)
        for (let i = 0; i + BATCH_MAX <= n; i += BATCH_MAX) model.send(all.slice(i, i + BATCH_MAX));
      // Every other flow goes, and others take their records.
      for (let i = 0; i < n; i += 2) model.remove(all[i]!);
      rig.rcu.reap();
      for (let i = 0; i < n; i += 4) model.add({ cls: 0, n: i }, 1 + (i % N_PORTS));
      for (let i = 0; i + BATCH_MAX <= n; i += BATCH_MAX * 4) model.send(all.slice(i, i + BATCH_MAX));
      model.clear();
    });
  }

  test('the caches answer what they are asked twice', () => {
    for (const [emc, smc] of modes) {
      rig.setCaches(emc, smc);
      const model = new Model();
      model.add({ cls: 0, n: 1 }, 1);
      model.send([{ cls: 0, n: 1 }]);
      const before = rig.counters.thread(0);
      for (let i = 0; i < 10; i++) model.send([{ cls: 0, n: 1 }]);
      const after = rig.counters.thread(0);
      const hits = (['emcHits', 'smcHits', 'megaflowHits'] as const).map((k) => Number(after[k] - before[k]));
      assert.deepEqual(hits, emc ? [10, 0, 0] : smc ? [0, 10, 0] : [0, 0, 10]);
      model.clear();
    }
  });

  test('a flow in the caches is gone when it is deleted, before and after its record is used again', () => {
    for (const [emc, smc] of modes) {
      rig.setCaches(emc, smc);
      const model = new Model();
      const [a, b] = [
        { cls: 2, n: 1 },
        { cls: 2, n: 2 },
      ];
      model.add(a, 1);
      model.send([a, a]);
      const flow = model.rules.get(Model.id(a))!.flow;
      model.remove(a);
      model.send([a]);
      rig.rcu.reap();
      model.send([a]);
      model.add(b, 2);
      assert.equal(model.rules.get(Model.id(b))!.flow, flow, 'the record was not used again: this test shows nothing');
      model.send([a, b, a]);
      model.add(a, 3);
      model.send([a, b, a]);
      model.clear();
    }
  });

  test('packets of another port never match', () => {
    rig.setCaches(true, true);
    const model = new Model();
    model.add({ cls: 0, n: 1 }, 1);
    model.send([{ cls: 0, n: 1 }]);
    rig.place(0, frameOf({ cls: 0, n: 1 }));
    rig.exports.process(1, IN_PORT + 1);
    assert.deepEqual(
      rig.records().map((r) => r.type),
      [UPCALL_MISS],
    );
    model.clear();
  });
});
