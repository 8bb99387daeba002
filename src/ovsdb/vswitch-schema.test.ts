import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseJson } from './json.ts';
import { schemaFromJson, schemaToJson } from './schema.ts';
import { VSWITCH_SCHEMA } from './vswitch-schema.ts';

const INSTALLED = '/usr/share/openvswitch/vswitch.ovsschema';

test('the declared Open_vSwitch schema is valid and survives its own JSON', () => {
  const schema = schemaFromJson(VSWITCH_SCHEMA);
  assert.equal(schema.version, '8.3.1');
  assert.deepEqual(schemaToJson(schemaFromJson(schemaToJson(schema))), schemaToJson(schema));
  assert.equal(schema.tables.get('Interface')!.byName.get('name')!.mutable, false);
  assert.equal(schema.tables.get('Interface')!.byName.get('statistics')!.persistent, false);
});

test('it is the schema that Open vSwitch installs', { skip: existsSync(INSTALLED) ? false : `no ${INSTALLED}` }, () => {
  const installed = schemaFromJson(parseJson(readFileSync(INSTALLED, 'utf8')));
  assert.deepEqual(schemaToJson(schemaFromJson(VSWITCH_SCHEMA)), schemaToJson(installed));
});
