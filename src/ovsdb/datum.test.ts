import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Datum } from './datum.ts';
import {
  compareDatums,
  datumApplyDiff,
  datumDiff,
  datumEquals,
  datumExcludesAll,
  datumFromJson,
  datumHashKey,
  datumIncludesAll,
  datumSubtract,
  datumToJson,
  datumToString,
  datumUnion,
  sortedDatum,
} from './datum.ts';
import { OvsdbError } from './error.ts';
import type { Json } from './json.ts';
import { typeFromJson, typeToJson } from './type-json.ts';

const SET = typeFromJson({ key: 'string', min: 0, max: 'unlimited' });
const MAP = typeFromJson({ key: 'string', value: 'integer', min: 0, max: 'unlimited' });

const word = fc.string({ maxLength: 2 });
const set = fc.uniqueArray(word, { maxLength: 6 }).map((keys): Datum => sortedDatum(keys, null));
const map = fc.dictionary(word, fc.integer({ min: 0, max: 3 }), { maxKeys: 6 }).map((object): Datum => {
  return sortedDatum(Object.keys(object), Object.values(object));
});

function members({ keys, values }: Datum): Map<unknown, unknown> {
  return new Map(keys.map((key, i) => [key, values?.[i]]));
}

test('a difference applied gives the new value back', () => {
  for (const [type, datum] of [
    [SET, set],
    [MAP, map],
  ] as const) {
    fc.assert(
      fc.property(datum, datum, (a, b) => {
        const diff = datumDiff(a, b, type);
        assert.ok(datumEquals(datumApplyDiff(a, diff, type), b));
        assert.equal(diff.keys.length === 0, datumEquals(a, b));
      }),
    );
  }
});

test('union and subtraction agree with plain sets and maps', () => {
  fc.assert(
    fc.property(map, map, (a, b) => {
      assert.deepEqual(
        members(datumUnion(a, b)),
        members(sortedDatum(...entries(new Map([...members(b), ...members(a)])))),
      );
      const left = [...members(a)].filter(([key, value]) => members(b).get(key) !== value);
      assert.deepEqual(members(datumSubtract(a, b)), new Map(left));
    }),
  );
});

function entries(object: Map<unknown, unknown>): [never[], never[]] {
  return [[...object.keys()] as never[], [...object.values()] as never[]];
}

test('includes and excludes agree with their definitions', () => {
  fc.assert(
    fc.property(set, set, (part, whole) => {
      const all = new Set(whole.keys);
      assert.equal(
        datumIncludesAll(part, whole),
        part.keys.every((key) => all.has(key)),
      );
      assert.equal(datumExcludesAll(part, whole), !part.keys.some((key) => all.has(key)));
    }),
  );
});

test('hash keys are equal exactly for equal values, and the order is total', () => {
  fc.assert(
    fc.property(set, set, (a, b) => {
      assert.equal(datumHashKey(a) === datumHashKey(b), datumEquals(a, b));
      assert.equal(compareDatums(a, b) === 0, datumEquals(a, b));
      assert.ok(Math.sign(compareDatums(a, b)) + Math.sign(compareDatums(b, a)) === 0);
    }),
  );
});

test('JSON goes in and out', () => {
  const cases: [Json, Json][] = [
    [SET_JSON, ['set', ['a', 'b']]],
    [SET_JSON, 'a'],
    [SET_JSON, ['set', []]],
    [
      { key: 'string', value: 'uuid', min: 0, max: 2 },
      ['map', [['k', ['uuid', '6f7eb5a0-1234-4bcd-8def-0123456789ab']]]],
    ],
    ['real', 1.5],
    ['integer', -7],
    ['boolean', true],
  ];
  for (const [type, json] of cases) {
    assert.deepEqual(datumToJson(datumFromJson(json, typeFromJson(type)), typeFromJson(type)), json);
    assert.deepEqual(typeToJson(typeFromJson(type)), type);
  }
});

const SET_JSON: Json = { key: 'string', min: 0, max: 'unlimited' };

test('constraints are refused in the words of Open vSwitch', () => {
  const refuse = (type: Json, json: Json, text: RegExp) =>
    assert.throws(
      () => datumFromJson(json, typeFromJson(type)),
      (e) => e instanceof OvsdbError && text.test(e.toString()),
    );
  refuse(
    { key: { type: 'integer', minInteger: 0, maxInteger: 9 } },
    10,
    /10 is not in the valid range 0 to 9 \(inclusive\)/,
  );
  refuse({ key: { type: 'integer', minInteger: 5 } }, 4, /4 is less than minimum allowed value 5/);
  refuse({ key: { type: 'real', maxReal: 1.5 } }, 2, /2 is greater than maximum allowed value 1.5/);
  refuse({ key: { type: 'string', minLength: 2 } }, 'é', /"é" length 1 is less than minimum allowed length 2/);
  refuse(
    { key: { type: 'string', enum: ['set', ['a', 'b']] } },
    'c',
    /c is not one of the allowed values \(\[a, b\]\)/,
  );
  refuse({ key: 'string', min: 0, max: 2 }, ['set', ['a', 'b', 'c']], /set must have 0 to 2 members but 3 are present/);
  refuse({ key: 'string', min: 0, max: 2 }, ['set', ['a', 'a']], /ovsdb error: set contains duplicate/);
  refuse('integer', 1.5, /syntax "1.5": syntax error: expected integer/);
  refuse('uuid', ['uuid', 'x'], /"x" is not a valid UUID/);
});

test('values print as ovs-vsctl prints them', () => {
  assert.equal(datumToString(sortedDatum(['a-b', 'with space', 'true'], null), SET), '[a-b, "true", "with space"]');
  assert.equal(datumToString(sortedDatum(['k'], [1]), MAP), '{k=1}');
});
