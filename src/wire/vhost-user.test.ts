import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VHOST_USER_REQUESTS } from '../../protocols/vhost-user.ts';
import * as wire from './vhost-user.ts';

/** Sizes as the protocol's own documentation gives them. */
test('payload sizes', () => {
  assert.equal(wire.payloadSize('u64'), 8);
  assert.equal(wire.payloadSize('vringState'), 8);
  assert.equal(wire.payloadSize('vringAddr'), 40);
  assert.equal(wire.payloadSize('memRegion'), 32);
  assert.equal(wire.payloadSize('oneMemRegion'), 40);
  assert.equal(wire.payloadSize('log'), 16);
  assert.equal(wire.VHOST_USER_MAX_PAYLOAD, 8 + 8 * 32);
});

test('construct: SET_VRING_ADDR byte by byte', () => {
  const message = wire.encodeRequest(
    'SET_VRING_ADDR',
    {
      index: 1,
      flags: 0,
      descUserAddr: 0x1122334455667788n,
      usedUserAddr: 0x2000n,
      availUserAddr: 0x3000n,
      logGuestAddr: 0n,
    },
    true,
  );
  assert.equal(
    Buffer.from(message).toString('hex'),
    '09000000' +
      '09000000' +
      '28000000' +
      '0100000000000000' +
      '8877665544332211' +
      '0020000000000000' +
      '0030000000000000' +
      '0'.repeat(16),
  );
});

test('deconstruct: what is written is read', () => {
  const regions = [
    { gpa: 0n, size: 1n << 30n, userAddr: 0x7fff_0000_0000n, mmapOffset: 0n },
    { gpa: 1n << 32n, size: 1n << 20n, userAddr: (1n << 64n) - (1n << 20n), mmapOffset: 4096n },
  ];
  const message = wire.encodeMemTable(regions);
  const header = wire.readHeader(new DataView(message.buffer));
  assert.deepEqual(header, { request: 5, flags: 1, size: 8 + 64 });
  const parsed = wire.memTableRegions(new DataView(message.buffer, 12));
  assert.deepEqual(parsed, { ok: true, value: regions });
  const reply = wire.encodeReply(11, 'vringState', { index: 2, num: 77 });
  assert.deepEqual(wire.readHeader(new DataView(reply.buffer)), { request: 11, flags: 5, size: 8 });
  assert.deepEqual(wire.readPayload(new DataView(reply.buffer), 'vringState', 12), { index: 2, num: 77 });
});

test('request numbers are unique and can be named', () => {
  const ids = Object.values(VHOST_USER_REQUESTS).map((row) => row.id);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(wire.requestName(5), 'SET_MEM_TABLE');
  assert.equal(wire.requestName(0), undefined);
  assert.equal(wire.requestLabel(77), 'request 77');
});

test('impossible headers', () => {
  const error = (request: number, flags: number, size: number) => wire.headerError({ request, flags, size });
  assert.equal(error(1, 1, 0), undefined);
  assert.equal(error(1, 0, 0), 'GET_FEATURES: bad version');
  assert.equal(error(1, 5, 0), 'GET_FEATURES: a reply that nobody asked for');
  assert.equal(error(2, 1, 4), 'SET_FEATURES: size 4 instead of 8');
  assert.equal(error(99, 1, 265), 'request 99: size 265 above 264');
  assert.equal(error(5, 1, 264), undefined);
});

test('impossible memory tables', () => {
  const table = (size: number, nRegions: number) => {
    const view = new DataView(new ArrayBuffer(size));
    if (size >= 4) view.setUint32(0, nRegions, true);
    const parsed = wire.memTableRegions(view);
    return parsed.ok ? parsed.value.length : parsed.error;
  };
  assert.equal(table(7, 0), 'SET_MEM_TABLE: size 7');
  assert.equal(table(8, 0), 'SET_MEM_TABLE: 0 regions');
  assert.equal(table(264, 9), 'SET_MEM_TABLE: 9 regions');
  assert.equal(table(71, 2), 'SET_MEM_TABLE: size 71 instead of 72');
  assert.equal(table(264, 2), 2, 'a table at its full size is taken');
});
