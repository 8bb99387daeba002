import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { odpPort } from '../../base/types.ts';
import { composePacket } from '../../flow/compose.ts';
import { extract } from '../../flow/extract.ts';
import { Flow, FlowWildcards } from '../../flow/flow.ts';
import { ARENA_THREADS, BATCH_MAX, THREAD_STAT_LOOKUPS, UPCALL_MISS } from '../../gen/arena.ts';
import { MASK_WANTED, MASKS_FREE, MASKS_MAX } from './mask-admission.ts';
import { bitsOf, coveredBy, covers, wholePacket } from './masks.ts';
import { Rig } from './testing/rig.ts';

/**
 * A port whose traffic asks for more masks than it may have (a white list, and a packet for each way not to be on it): every packet leaves as the list
 * says, whatever mask its megaflow got and whichever cache answers, and the masks stay within their limit.
 */

const IN_PORT = 9;
const [ALLOWED, DENIED] = [1, 2];
const WHITE = { tpDst: 80, nwSrc: 0x0a000001, tpSrc: 12345 };

interface Packet {
  tpDst: number;
  nwSrc: number;
  tpSrc: number;
  /** In a field that the list does not look at. */
  noise: number;
}

function frameOf({ tpDst, nwSrc, tpSrc, noise }: Packet): Uint8Array {
  const flow = new Flow();
  Object.assign(flow, { dlType: 0x0800, nwProto: 17, nwTtl: 64, nwDst: 0x0a800000 + noise, tpDst, nwSrc, tpSrc });
  return composePacket(flow, [1, 2, 3]);
}

function keyOf(packet: Packet): Flow {
  const key = new Flow();
  extract(frameOf(packet), key);
  key.inPort = IN_PORT;
  return key;
}

/** The bits from the top of a `width`-bit field down to the first in which two values differ; undefined when they are equal. */
function differing(width: number, a: number, b: number): number | undefined {
  if (a === b) return undefined;
  const same = Math.clz32((a ^ b) >>> 0) - (32 - width);
  return Number(((2n ** BigInt(same + 1) - 1n) << BigInt(width - 1 - same)) & (2n ** BigInt(width) - 1n));
}

/** What translation makes of a packet: where it leaves, and the bits that tell it from the list. */
function translate(packet: Packet): { port: number; mask: FlowWildcards } {
  const mask = new FlowWildcards();
  Object.assign(mask, { inPort: 0xffffffff, recircId: 0xffffffff, dlType: 0xffff, nwFrag: 0xff, nwProto: 0xff });
  for (const [field, width] of [
    ['tpDst', 16],
    ['nwSrc', 32],
    ['tpSrc', 16],
  ] as const) {
    const bits = differing(width, packet[field], WHITE[field]);
    mask[field] = bits ?? 2 ** width - 1;
    if (bits === undefined) return { port: ALLOWED, mask };
  }
  return { port: DENIED, mask };
}

/** A switch of one port: asks `translate` for what misses, as the control thread does. */
class Switch {
  readonly rig = new Rig();
  readonly installed = new Map<number, { key: Flow; mask: FlowWildcards }>();
  readonly #actions = [0, 1, 2].map((port) => this.rig.actions([{ type: 'output', port: odpPort(port) }]));

  constructor() {
    for (const port of [ALLOWED, DENIED]) this.rig.softPort(port);
  }

  /** Packets leave as they should or miss; returns those that missed, which have their megaflows now. */
  send(packets: readonly Packet[]): Packet[] {
    for (const [i, p] of packets.entries()) this.rig.place(i, frameOf(p));
    const wanted = new Map(packets.map((p) => [Buffer.from(frameOf(p)).toString('hex'), p]));
    this.rig.exports.process(packets.length, IN_PORT);
    const missed: Packet[] = [];
    const records = this.rig.records();
    assert.equal(records.length, packets.length);
    for (const r of records) {
      const packet = wanted.get(Buffer.from(r.packet).toString('hex'))!;
      if (r.type === UPCALL_MISS) missed.push(packet);
      else assert.equal(r.port, translate(packet).port);
    }
    for (const packet of missed) this.install(packet);
    return missed;
  }

  install(packet: Packet): FlowWildcards {
    const { table } = this.rig;
    const { port, mask } = translate(packet);
    const key = keyOf(packet);
    const used = table.admit(key, mask);
    assert.ok(covers(used, mask));
    if (table.find(key, used) === 0) {
      const flow = table.insert(key, used, this.#actions[port]!);
      assert.notEqual(flow, 0);
      this.installed.set(flow, { key, mask: used });
    }
    return used;
  }

  remove(flow: number): void {
    this.rig.table.remove(flow, 1, () => {});
    this.installed.delete(flow);
  }

  clear(): void {
    for (const flow of [...this.installed.keys()]) this.remove(flow);
    this.rig.rcu.reap();
  }
}

/** The packet that differs from the list first in these bits, counted from the top. */
const attack = (s: number, p: number, d: number, noise = 0): Packet => ({
  nwSrc: (WHITE.nwSrc ^ (1 << (31 - s))) >>> 0,
  tpSrc: WHITE.tpSrc ^ (1 << (15 - p)),
  tpDst: WHITE.tpDst ^ (1 << (15 - d)),
  noise,
});

const explosion = Array.from({ length: 32 * 16 * 16 }, (_, i) => attack(i & 31, (i >> 5) & 15, i >> 9));
const victim = (n: number): Packet => ({
  tpDst: WHITE.tpDst,
  nwSrc: 0xac100000 + n,
  tpSrc: 20_000 + (n % 1000),
  noise: 1,
});

const batches = <T>(all: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(all.length / BATCH_MAX) }, (_, i) => all.slice(i * BATCH_MAX, (i + 1) * BATCH_MAX));

describe('masks of a port', () => {
  test('an explosion of them ends at the limit, and every packet still leaves as it should', () => {
    const sw = new Switch();
    const some = explosion.filter((_, i) => i % 5 === 0);
    for (const [emc, smc] of [
      [false, false],
      [true, true],
    ] as const) {
      sw.rig.setCaches(emc, smc);
      for (const batch of batches(some)) sw.send(batch);
      assert.ok(sw.rig.table.nMasks <= MASKS_FREE + 1, `${sw.rig.table.nMasks} masks`);
      for (const batch of batches(some)) assert.deepEqual(sw.send(batch), []);
      sw.clear();
    }
  });

  test('packets of random tuples leave as they should, while flows come and go, subtables change places and records are used again', () => {
    const tuple = fc.record({
      d: fc.integer({ min: -1, max: 15 }),
      s: fc.nat(31),
      p: fc.nat(15),
      noise: fc.nat(2),
    });
    const step = fc.record({
      packets: fc.array(tuple, { minLength: BATCH_MAX, maxLength: BATCH_MAX }),
      removed: fc.array(fc.nat(), { maxLength: 8 }),
      rank: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 12, maxLength: 20 }), fc.boolean(), fc.boolean(), (steps, emc, smc) => {
        const sw = sharedSwitch;
        sw.rig.setCaches(emc, smc);
        for (const { packets, removed, rank } of steps) {
          const batch = packets.map(({ d, s, p, noise }) => (d < 0 ? victim(p * 32 + s) : attack(s, p, d, noise)));
          sw.send(batch);
          sw.send(batch);
          for (const n of removed) {
            const flow = [...sw.installed.keys()][n % sw.installed.size];
            if (flow !== undefined) sw.remove(flow);
          }
          if (rank) sw.rig.table.rank();
          sw.rig.rcu.reap();
        }
        assert.ok(sw.rig.table.nMasks <= MASKS_MAX);
        sw.clear();
      }),
      { numRuns: 12 },
    );
  });
  const sharedSwitch = new Switch();

  test('a mask that many flows want is admitted above the free number', () => {
    const sw = new Switch();
    for (const packet of explosion.slice(0, MASKS_FREE)) sw.install(packet);
    assert.equal(sw.rig.table.nMasks, MASKS_FREE);
    const wanted = translate(victim(0)).mask;
    const got = Array.from({ length: MASK_WANTED }, (_, n) => sw.install(victim(n)));
    const before = got.slice(0, -1);
    assert.ok(before.every((mask) => bitsOf(mask) > bitsOf(wanted)));
    assert.deepEqual(got.at(-1)!.u32, wanted.u32);
    // It holds for all the others.
    assert.deepEqual(sw.send([victim(500), victim(501)]), []);
  });

  test('none is admitted above the limit, whatever the number of those that want it', () => {
    const sw = new Switch();
    for (let n = 0; n < MASK_WANTED; n++)
      for (const packet of explosion.slice(0, MASKS_MAX + 20)) sw.install({ ...packet, noise: n });
    assert.equal(sw.rig.table.nMasks, MASKS_MAX);
  });

  test('a flow that no packet stands for keeps its mask: it is put in by hand', () => {
    const sw = new Switch();
    for (const packet of explosion.slice(0, MASKS_FREE)) sw.install(packet);
    const { mask } = translate(victim(0));
    const key = keyOf(victim(0));
    key.maskWith(mask);
    assert.deepEqual(sw.rig.table.admit(key, mask).u32, mask.u32);
  });

  test('the widest of the masks that would do is taken', () => {
    const sw = new Switch();
    for (const packet of explosion.slice(0, MASKS_FREE)) sw.install(packet);
    const packet = victim(3);
    const { mask } = translate(packet);
    const narrow = wholePacket(keyOf(packet), mask);
    const wider = mask.clone();
    wider.nwSrc = 0xffff0000;
    for (const wc of [narrow, wider]) assert.notEqual(sw.rig.table.insert(keyOf(victim(7)), wc, sw.rig.actions([])), 0);
    assert.deepEqual(sw.rig.table.admit(keyOf(packet), mask).u32, wider.u32);
  });

  test('what a mask is covered by is found the same word by word and by its own words', () => {
    const words = fc.array(fc.tuple(fc.nat(20), fc.constantFrom(0, 1, 2, 3, 0x80000000, 0xffffffff)), { maxLength: 4 });
    fc.assert(
      fc.property(words, words, (a, b) => {
        const [wide, bits] = [a, b].map((list) => {
          const mask = new FlowWildcards();
          for (const [i, word] of list) mask.u32[i] = word;
          return mask;
        }) as [FlowWildcards, FlowWildcards];
        assert.equal(coveredBy(bits)(wide), covers(wide, bits));
      }),
    );
  });

  test('subtables are searched in the order of their hits of late', () => {
    const sw = new Switch();
    sw.rig.setCaches(false, false);
    const packets = explosion.slice(0, 20);
    for (const packet of packets) sw.install(packet);
    const searched = (packet: Packet) => {
      const before = sw.rig.arena.counter(ARENA_THREADS + THREAD_STAT_LOOKUPS);
      assert.deepEqual(sw.send([packet]), []);
      return Number(sw.rig.arena.counter(ARENA_THREADS + THREAD_STAT_LOOKUPS) - before);
    };
    const last = packets.at(-1)!;
    for (let i = 0; i < 10; i++) assert.equal(searched(last), packets.length);
    sw.rig.table.rank();
    assert.equal(searched(last), 1);
    // What was asked for long ago weighs less than what is now.
    for (let i = 0; i < 10; i++) searched(packets[0]!);
    sw.rig.table.rank();
    assert.equal(searched(packets[0]!), 1);
    sw.rig.table.rank();
    assert.equal(searched(last), 2);
  });

  test('what was found deep in a long list is found again after few subtables', () => {
    const sw = new Switch();
    sw.rig.setCaches(false, false);
    for (const packet of explosion.slice(0, MASKS_FREE)) sw.install(packet);
    const last = explosion[MASKS_FREE - 1]!;
    const before = () => Number(sw.rig.arena.counter(ARENA_THREADS + THREAD_STAT_LOOKUPS));
    const spent = [0, 1].map(() => {
      const start = before();
      assert.deepEqual(sw.send([last]), []);
      return before() - start;
    });
    assert.equal(spent[0], MASKS_FREE);
    assert.ok(spent[1]! < 10, `${spent[1]} subtables the second time`);
  });
});
