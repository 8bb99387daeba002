import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Flow } from '../flow/flow.ts';
import { fieldIsWild, getField, matchSetField, mf, setField } from './field.ts';
import { catchallMatch } from './match.ts';
import type { TlvMap } from './messages-nicira.ts';
import {
  geneveOptions,
  matchedTunMetadata,
  readGeneveOptions,
  significantLength,
  TunTable,
  tunMetadataToMatch,
} from './tun-metadata.ts';

const map = (index: number, optionLen: number, optionType = index): TlvMap => ({
  optionClass: 0xffff,
  optionType,
  optionLen,
  index,
});

function table(...mappings: TlvMap[]): TunTable {
  const t = TunTable.EMPTY.mod('add', mappings);
  assert.ok(t instanceof TunTable);
  return t;
}

test('a table maps options to fields, each once, as far as there is space', () => {
  const t = table(map(0, 4), map(5, 124), map(6, 124));
  assert.deepEqual(
    t.mappings().map((m) => [m.index, m.optionLen]),
    [
      [0, 4],
      [5, 124],
      [6, 124],
    ],
  );
  assert.equal(t.field(mf('tun_metadata5'))?.nBits, 992);
  assert.equal(t.mod('add', [map(5, 4, 77)]), 'NXTTMFC_ALREADY_MAPPED');
  assert.equal(t.mod('add', [map(7, 4, 5)]), 'NXTTMFC_DUP_ENTRY');
  assert.equal(t.mod('add', [map(7, 8)]), 'NXTTMFC_TABLE_FULL');
  assert.equal(t.mod('delete', [map(5, 0)], 1n << 5n), 'NXTTMFC_INVALID_TLV_DEL');
  assert.equal(t.mod('clear', [], 1n), 'NXTTMFC_INVALID_TLV_DEL');
  assert.equal(t.mod('clear', []), TunTable.EMPTY);
});

test('an option goes into holes when there is no room in one piece', () => {
  const full = table(...Array.from({ length: 64 }, (_, i) => map(i, 4)));
  const holes = full.mod('delete', [map(1, 4), map(9, 4), map(20, 4)]);
  assert.ok(holes instanceof TunTable);
  const t = holes.mod('add', [map(1, 12, 200)]);
  assert.ok(t instanceof TunTable);
  assert.deepEqual(t.loc(1)?.chunks, [
    { offset: 4, len: 4 },
    { offset: 36, len: 4 },
    { offset: 80, len: 4 },
  ]);
  const flow = new Flow();
  flow.tunTable = t;
  const f = t.field(mf('tun_metadata1'))!;
  const value = Uint8Array.from({ length: 12 }, (_, i) => i + 1);
  setField(flow, f, value);
  assert.deepEqual(getField(flow, f), value);
});

test('tables never overlap their fields, whatever comes and goes', () => {
  const step = fc.record({ index: fc.nat(63), words: fc.integer({ min: 1, max: 31 }), add: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let t = TunTable.EMPTY;
      for (const { index, words, add } of steps) {
        const next = t.mod(add ? 'add' : 'delete', [map(index, words * 4)]);
        if (next instanceof TunTable) t = next;
      }
      const used = new Set<number>();
      for (let i = 0; i < 64; i++)
        for (const c of t.loc(i)?.chunks ?? [])
          for (let at = c.offset; at < c.offset + c.len; at++) {
            assert.ok(at < 256 && !used.has(at));
            used.add(at);
          }
    }),
  );
});

test('without a table a match lays its fields out itself', () => {
  const m = catchallMatch();
  const f = mf('tun_metadata3');
  const value = new Uint8Array(124);
  value.set([0x12, 0x34], 122);
  assert.equal(matchSetField(m, f, value), undefined);
  assert.equal(fieldIsWild(m.wc, f), false);
  assert.equal(matchSetField(m, f, value), 'field tun_metadata3 set multiple times');
  assert.deepEqual(matchedTunMetadata(m), [
    {
      index: 3,
      absent: false,
      value: Uint8Array.of(0x12, 0x34),
      mask: Uint8Array.of(0xff, 0xff),
      masked: false,
    },
  ]);
  assert.equal(significantLength(value), 2);
});

test('Geneve options of a packet become fields, and again options', () => {
  const t = table(map(2, 8, 0x0a), map(0, 4, 0x0b));
  const options = Uint8Array.of(0xff, 0xff, 0x0b, 1, 9, 9, 9, 9, 0xff, 0xff, 0x0a, 2, 1, 2, 3, 4, 5, 6, 7, 8);
  const flow = new Flow();
  assert.ok(readGeneveOptions(t, options, flow));
  assert.deepEqual(getField(flow, t.field(mf('tun_metadata2'))!), Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  assert.deepEqual(geneveOptions(flow), { options, critical: false });
  const m = catchallMatch();
  tunMetadataToMatch(flow, m);
  assert.deepEqual(
    matchedTunMetadata(m).map((x) => [x.index, x.value.length]),
    [
      [0, 4],
      [2, 8],
    ],
  );
  assert.ok(!readGeneveOptions(t, Uint8Array.of(0, 1, 0x80, 0), new Flow()), 'a critical option that nobody knows');
  assert.ok(!readGeneveOptions(t, Uint8Array.of(0, 1, 0, 1), new Flow()), 'cut short');
  assert.ok(readGeneveOptions(t, Uint8Array.of(0, 1, 0, 0), new Flow()));
});
