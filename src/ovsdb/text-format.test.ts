import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { atomFromString, datumFromString, datumToBare, datumToString, parseToken } from './text-format.ts';
import type { ColumnType } from './type.ts';

const integers: ColumnType = { key: { type: 'integer', min: 0, max: 4095 }, value: null, min: 0, max: Infinity };
const strings: ColumnType = { key: { type: 'string' }, value: null, min: 0, max: Infinity };
const smap: ColumnType = { key: { type: 'string' }, value: { type: 'string' }, min: 0, max: Infinity };

describe('values as users write them', () => {
  it('sets, with ranges, brackets and commas or without', () => {
    assert.deepEqual(datumFromString('3, 1 7-9', integers).keys, [1, 3, 7, 8, 9]);
    assert.deepEqual(datumFromString('[2]', integers).keys, [2]);
    assert.deepEqual(datumFromString('[]', integers).keys, []);
    assert.deepEqual(datumFromString('a\\ b, "c,d"', strings).keys, ['a b', 'c,d']);
  });

  it('maps', () => {
    const datum = datumFromString('{b="x y", a=1}', smap);
    assert.deepEqual(
      [datum.keys, datum.values],
      [
        ['a', 'b'],
        ['1', 'x y'],
      ],
    );
    assert.equal(datumToString(datum, smap), '{a="1", b="x y"}');
    assert.equal(datumToBare(datum, smap), 'a=1 b=x y');
  });

  it('single values', () => {
    assert.equal(atomFromString('-9223372036854775808', { type: 'integer' }), -9223372036854775808n);
    assert.equal(atomFromString('-0', { type: 'real' }), 0);
    assert.equal(atomFromString('off', { type: 'boolean' }), false);
    assert.equal(atomFromString('"\\u00e9"', { type: 'string' }), 'é');
  });

  it('what is wrong with them, in the words of ovs-vsctl', () => {
    const cases: readonly (readonly [string, ColumnType, string])[] = [
      ['5000', integers, 'constraint violation: 5000 is not in the valid range 0 to 4095 (inclusive)'],
      ['9-7', integers, '"9-7" is not a valid range. Range end cannot be before start.'],
      ['x', integers, '"x" is not a valid integer or range'],
      ['[1', integers, '[1: missing "]" at end of data'],
      ['[1]2', integers, '[1]2: trailing garbage after "]"'],
      ['1,1', integers, '1,1: set contains duplicate value'],
      ['1=2', integers, '1=2: unexpected "=" parsing set of integers'],
      ['', integers, 'use "[]" to specify the empty set'],
      ['a', smap, 'a: syntax error at "'],
      ['a,', smap, 'a,: syntax error at "," expecting "="'],
      ['a=1,a=2', smap, 'a=1,a=2: map contains duplicate key'],
      ['"a', strings, '"a: quoted string extends past end of argument'],
      ['1,2', { ...integers, max: 1 }, '1,2: 2 value(s) specified but the maximum number is 1'],
    ];
    for (const [text, type, message] of cases) assert.throws(() => datumFromString(text, type), { message });
  });

  it('a token ends at a delimiter that is not quoted', () => {
    assert.deepEqual(parseToken('a"b:c":d', 0), { token: 'a"b:c"', end: 6 });
    assert.deepEqual(parseToken('a\\:b=c', 0), { token: 'a:b', end: 4 });
  });
});
