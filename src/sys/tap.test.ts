import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getIfFlags, getIfindex, getMac, getMtu, IFF_UP, tapOpen } from './tap.ts';

test('the loopback interface can be asked', () => {
  assert.deepEqual(getMac('lo'), new Uint8Array(6));
  assert.ok(getIfindex('lo') >= 1);
  assert.ok(getMtu('lo') >= 1500);
  assert.equal(typeof (getIfFlags('lo') & IFF_UP), 'number');
});

test('a device that is not there, and names that cannot be, are refused', () => {
  assert.throws(() => getIfindex('no-such-dev'), { code: 'ENODEV', message: /no-such-dev/ });
  assert.throws(() => getMtu('a-name-that-is-too-long'), RangeError);
  assert.throws(
    () => tapOpen(''),
    (e: Error) => e instanceof RangeError || 'code' in e,
  );
});
