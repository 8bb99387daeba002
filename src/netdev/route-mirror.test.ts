import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMapped } from '../base/address.ts';
import { parseRoutes } from './route-mirror.ts';

/** Attributes of rtnetlink(7): u16 length, u16 type, the value, padded to 4. */
function attribute(type: number, value: readonly number[]): number[] {
  const size = 4 + value.length;
  return [size & 255, size >> 8, type, 0, ...value, ...new Array<number>((4 - (size % 4)) % 4).fill(0)];
}

function message(family: number, bits: number, kind: number, ...attributes: number[][]): number[] {
  const body = [family, bits, 0, 0, 254, 2, 0, kind, 0, 0, 0, 0, ...attributes.flat()];
  const size = 16 + body.length;
  return [size & 255, size >> 8, 0, 0, 24, 0, 2, 0, ...new Array<number>(8).fill(0), ...body];
}

const OIF = attribute(4, [3, 0, 0, 0]);
const nameOf = (ifindex: number) => (ifindex === 3 ? 'eth0' : undefined);
const parse = (...bytes: number[][]) => parseRoutes(Uint8Array.from(bytes.flat()), nameOf);

test("the host's routes are read from netlink messages", () => {
  const routes = parse(
    message(2, 24, 1, attribute(1, [10, 0, 0, 0]), OIF),
    message(2, 0, 1, attribute(5, [10, 0, 0, 254]), OIF),
    message(2, 32, 2, attribute(1, [10, 0, 0, 1]), OIF),
    message(10, 64, 1, attribute(1, [0xfd, ...new Array<number>(15).fill(0)]), OIF, attribute(16, [7, 0, 0, 0])),
  );
  assert.deepEqual(
    routes.map((r) => [formatMapped(r.network), r.prefix, r.gateway && formatMapped(r.gateway), r.mark, r.local]),
    [
      ['10.0.0.0', 120, undefined, 0, false],
      ['0.0.0.0', 96, '10.0.0.254', 0, false],
      ['10.0.0.1', 128, undefined, 0, true],
      ['fd00::', 64, undefined, 7, false],
    ],
  );
  assert.deepEqual(new Set(routes.map((r) => r.device)), new Set(['eth0']));
});

test('routes that no packet is sent by, and messages cut short, give none', () => {
  const broadcast = message(2, 32, 3, attribute(1, [10, 0, 0, 255]), OIF);
  const nowhere = message(2, 24, 1, attribute(1, [10, 0, 0, 0]));
  const other = message(7, 24, 1, OIF);
  const unknown = message(2, 24, 1, attribute(1, [10, 0, 0, 0]), attribute(4, [9, 0, 0, 0]));
  const long = message(2, 200, 1, attribute(1, [10, 0, 0, 0]), OIF);
  const misfit = message(2, 24, 1, attribute(1, [10, 0]), OIF);
  assert.deepEqual(parse(broadcast, nowhere, other, unknown, long, misfit), []);
  const whole = message(2, 24, 1, attribute(1, [10, 0, 0, 0]), OIF);
  for (let size = 0; size < whole.length; size++) assert.deepEqual(parse(whole.slice(0, size)), []);
});
