import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMapped } from '../base/address.ts';
import { hostAddresses, parseAddresses } from './host-addresses.ts';

/** Attributes of rtnetlink(7): u16 length, u16 type, the value, padded to 4. */
function attribute(type: number, ...value: number[]): number[] {
  const size = 4 + value.length;
  return [size & 255, size >> 8, type, 0, ...value, ...new Array<number>((4 - (size % 4)) % 4).fill(0)];
}

/** RTM_NEWADDR of interface 3, or of another. */
function message(family: number, bits: number, attributes: number[][], index = 3): number[] {
  const body = [family, bits, 0, 0, index, 0, 0, 0, ...attributes.flat()];
  const size = 16 + body.length;
  return [size & 255, size >> 8, 0, 0, 20, 0, 2, 0, ...new Array<number>(8).fill(0), ...body];
}

const V6 = [0xfd, ...new Array<number>(14).fill(0), 1];
const parse = (...bytes: number[][]) =>
  parseAddresses(Uint8Array.from(bytes.flat()), 3).map(({ address, prefix }) => [formatMapped(address), prefix]);

test("an interface's addresses are read from netlink messages", () => {
  assert.deepEqual(
    parse(
      message(2, 24, [attribute(1, 10, 0, 0, 17), attribute(2, 10, 0, 0, 17), attribute(3, 97)]),
      message(2, 32, [attribute(1, 10, 0, 0, 2), attribute(2, 10, 0, 0, 1)]),
      message(2, 24, [attribute(2, 10, 9, 9, 9)], 4),
      message(10, 64, [attribute(1, ...V6)]),
    ),
    [
      ['10.0.0.17', 120],
      ['10.0.0.1', 128],
      ['fd00::1', 64],
    ],
  );
});

test('odd messages give nothing and end nothing', () => {
  const good = message(2, 24, [attribute(2, 10, 0, 0, 17)]);
  assert.deepEqual(parse(message(2, 24, [attribute(2, 1, 2, 3)]), message(2, 200, [attribute(2, 1, 2, 3, 4)]), good), [
    ['10.0.0.17', 120],
  ]);
  assert.deepEqual(parse(message(17, 24, [attribute(2, 10, 0, 0, 17)]), good), [['10.0.0.17', 120]]);
  for (let size = 0; size < good.length; size++) parse(good.slice(0, size));
});

test('the host is asked for those that it has', () => {
  assert.deepEqual(hostAddresses('no-such-device'), []);
  assert.ok(hostAddresses('lo').every(({ prefix }) => prefix <= 128));
});
