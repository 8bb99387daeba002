import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  P_ANY,
  P_NXM_OXM_ANY,
  P_OF10_NXM,
  P_OF10_NXM_TID,
  P_OF10_STD,
  P_OF11_STD,
  P_OF13_OXM,
  P_OF15_OXM,
  PROTOCOL_BITS,
  protocolOfVersion,
  protocolSetTid,
  protocolsFromString,
  protocolsToString,
  versionOfProtocol,
  versionsFromString,
  versionsOfProtocols,
} from './protocol.ts';

test('sets of protocols are written with the widest names', () => {
  assert.equal(protocolsToString(P_ANY), 'any');
  assert.equal(protocolsToString(P_NXM_OXM_ANY), 'NXM,OXM');
  assert.equal(protocolsToString(P_OF10_STD | P_OF11_STD), 'OpenFlow10-table_id,OpenFlow11');
  assert.equal(protocolsToString(0), 'none');
});

test('every protocol is read back from its name', () => {
  for (const bit of PROTOCOL_BITS) assert.equal(protocolsFromString(protocolsToString(bit)), bit);
  assert.equal(protocolsFromString('nxm+table_id,oxm-openflow13'), P_OF10_NXM_TID | P_OF13_OXM);
  assert.throws(() => protocolsFromString('foo'), /^Error: foo: unknown flow protocol$/);
  assert.throws(() => protocolsFromString(','), /^Error: ,: no flow protocol specified$/);
});

test('versions and protocols', () => {
  assert.deepEqual(PROTOCOL_BITS.map(versionOfProtocol), [1, 1, 1, 1, 2, 3, 4, 5, 6]);
  assert.equal(protocolOfVersion(1), P_OF10_STD);
  assert.equal(protocolOfVersion(6), P_OF15_OXM);
  assert.equal(protocolOfVersion(7), 0);
  assert.equal(versionsOfProtocols(P_ANY), 0x7e);
  assert.equal(protocolSetTid(P_OF10_NXM, true), P_OF10_NXM_TID);
  assert.equal(versionsFromString('OpenFlow10, openflow13'), 0x12);
  assert.throws(() => versionsFromString('OpenFlow9'), /Unknown OpenFlow version: "OpenFlow9"/);
});
