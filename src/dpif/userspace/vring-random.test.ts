import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { BIG_FRAME_MAX } from '../../gen/arena.ts';
import {
  DESC_F_INDIRECT,
  DESC_F_WRITE,
  F_INDIRECT,
  F_MRG_RXBUF,
  FakeGuest,
  FakeRing,
  type RegionSpec,
} from './testing/fake-guest.ts';
import type { RunningRing } from './testing/rig.ts';
import { arenaRecords, frame, RX, rig, TX } from './testing/vring-bench.ts';

/** Random descriptor tables and available rings. */

describe('random guests', () => {
  const SIZE = 8;
  /** Interesting places: inside, at the edges of, and outside the regions. */
  const regions: RegionSpec[] = [
    { gpa: 0x1000n, size: 0x10000, offset: 0x10000 },
    { gpa: 0x20000n, size: 0x1000, offset: 0x30000 },
  ];
  const address = fc.oneof(
    { weight: 6, arbitrary: fc.bigInt(0x3000n, 0x11000n) },
    { weight: 2, arbitrary: fc.bigInt(0x10000n, 0x21400n) },
    { weight: 1, arbitrary: fc.bigInt(0n, 2n ** 64n - 1n) },
  );
  const length = fc.oneof(
    { weight: 5, arbitrary: fc.nat(200) },
    { weight: 2, arbitrary: fc.nat(4096) },
    { weight: 1, arbitrary: fc.constantFrom(16, 32, 128, 0x1000, 0x10000, 0x7fffffff, 0xffffffff, 0xfffffff0) },
  );
  const desc = fc.record({ addr: address, len: length, flags: fc.nat(7), next: fc.nat(SIZE + 1) });
  const hostile = fc.record({
    descs: fc.array(desc, { minLength: SIZE, maxLength: SIZE }),
    tables: fc.array(desc, { minLength: 8, maxLength: 8 }),
    heads: fc.array(fc.oneof({ weight: 9, arbitrary: fc.nat(SIZE - 1) }, fc.nat(0xffff)), {
      minLength: SIZE,
      maxLength: SIZE,
    }),
    position: fc.nat(0xffff),
    avail: fc.oneof({ weight: 9, arbitrary: fc.nat(SIZE) }, fc.nat(0xffff)),
    hdrSize: fc.constantFrom(10 as const, 12 as const),
    features: fc.constantFrom(0n, F_MRG_RXBUF, F_INDIRECT, F_MRG_RXBUF | F_INDIRECT),
    // Descriptors 0… of the tables lie here as well, so that indirect tables make sense now and then.
    tableIn: fc.array(fc.nat(SIZE - 1), { maxLength: 3 }),
    frames: fc.array(fc.nat({ max: 2048 }), { minLength: 1, maxLength: 8 }),
  });
  type Hostile = typeof hostile extends fc.Arbitrary<infer T> ? T : never;

  const guest = new FakeGuest(regions);
  const mark = new FakeRing(guest, { index: TX, size: SIZE, hdrSize: 12, features: 0n });
  const tableAt = guest.alloc(128);
  after(() => guest.release());

  /** Writes the guest's memory; the ring, not started. */
  function write(h: Hostile, index: number): FakeRing {
    const ring = Object.assign(Object.create(FakeRing.prototype) as FakeRing, mark, {
      config: {
        ...mark.config,
        index,
        hdrSize: h.hdrSize,
        features: h.features,
        lastAvail: h.position,
        lastUsed: h.position,
      },
    });
    for (const { offset, size } of guest.regions) guest.u8.fill(0, offset, offset + Number(size));
    h.descs.forEach((d, i) => {
      ring.setDesc(i, h.tableIn.includes(i) ? { addr: guest.gpa(tableAt), len: 128, flags: DESC_F_INDIRECT } : d);
    });
    h.tables.forEach((d, i) => {
      ring.setDesc(i, { ...d, next: d.next % 8 }, tableAt);
    });
    h.heads.forEach((head, i) => {
      guest.set16(ring.config.avail + 4 + i * 2, head);
    });
    ring.setAvailIdx(h.position + h.avail);
    return ring;
  }

  /** Every byte that a writable descriptor of the guest covers, and the used ring. */
  function writable(h: Hostile): Set<number> {
    const bytes = new Set<number>();
    for (let i = 0; i < 6 + SIZE * 8; i++) bytes.add(mark.config.used + i);
    for (const d of [...h.descs, ...h.tables]) {
      const at = guest.offsetOf(d.addr);
      if (!(d.flags & DESC_F_WRITE) || at === undefined) continue;
      const region = guest.regions.find((r) => d.addr >= r.gpa && d.addr < r.gpa + r.size)!;
      if (d.addr + BigInt(d.len) > region.gpa + region.size) continue;
      for (let i = 0; i < d.len; i++) bytes.add(at + i);
    }
    return bytes;
  }

  async function run(h: Hostile, index: number, work: (running: RunningRing) => void): Promise<void> {
    const running = await rig.start(write(h, index));
    const before = guest.snapshot();
    const arena = arenaRecords(running);
    work(running);
    assert.ok(arena.equals(arenaRecords(running)), 'other records of the arena changed');
    const allowed = writable(index === RX ? h : { ...h, descs: [], tables: [] });
    const changed = guest.snapshot();
    let base = 0;
    for (const { offset, size } of guest.regions) {
      for (let i = 0; i < Number(size); i++)
        if (before[base + i] !== changed[base + i])
          assert.ok(allowed.has(offset + i), `byte ${offset + i} was written`);
      base += Number(size);
    }
    await rig.removePort(running.port);
  }

  test('never make the switch write elsewhere, read elsewhere or run forever: what they send', async () => {
    await fc.assert(
      fc.asyncProperty(hostile, (h) =>
        run(h, TX, (running) => {
          for (let i = 0; i < 3; i++)
            for (const f of rig.rx(running)) assert.ok(f.length >= 14 && f.length <= BIG_FRAME_MAX);
          const used = (running.ring.usedIdx - h.position) & 0xffff;
          assert.ok(used <= SIZE, `${used} entries were used`);
        }),
      ),
      { numRuns: 300 },
    );
  });

  test('never make the switch write elsewhere, read elsewhere or run forever: what they receive', async () => {
    await fc.assert(
      fc.asyncProperty(hostile, (h) =>
        run(h, RX, (running) => {
          const sizes = h.frames.map((n) => Math.max(n, 14));
          rig.tx(
            running,
            sizes.map((n) => frame(n)),
          );
          const used = (running.ring.usedIdx - h.position) & 0xffff;
          assert.ok(used <= SIZE, `${used} entries were used`);
        }),
      ),
      { numRuns: 300 },
    );
  });
});
