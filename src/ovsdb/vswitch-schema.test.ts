import assert from 'node:assert/strict';
import { test } from 'node:test';
import { schemaFromJson, schemaToJson } from './schema.ts';
import { VSWITCH_SCHEMA } from './vswitch-schema.ts';

test('the declared Open_vSwitch schema is valid and survives its own JSON', () => {
  const schema = schemaFromJson(VSWITCH_SCHEMA);
  assert.equal(schema.version, '8.3.1');
  assert.deepEqual(schemaToJson(schemaFromJson(schemaToJson(schema))), schemaToJson(schema));
  assert.equal(schema.tables.get('Interface')!.byName.get('name')!.mutable, false);
  assert.equal(schema.tables.get('Interface')!.byName.get('statistics')!.persistent, false);
});
