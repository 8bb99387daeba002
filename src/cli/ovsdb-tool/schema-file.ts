import { readFileSync } from 'node:fs';
import { strerror } from '../../base/errno.ts';
import { OvsdbError } from '../../ovsdb/error.ts';
import type { Json } from '../../ovsdb/json.ts';
import { JsonSyntaxError } from '../../ovsdb/json.ts';
import { parseJsonBytes } from '../../ovsdb/json-stream.ts';
import type { Schema } from '../../ovsdb/schema.ts';
import { schemaFromJson } from '../../ovsdb/schema.ts';

/** The JSON of a schema file. Throws OvsdbError. */
export function readSchemaJson(path: string): Json {
  try {
    return parseJsonBytes(readFileSync(path));
  } catch (error) {
    const why = error instanceof JsonSyntaxError ? error.message : `error opening "${path}": ${strerror(error)}`;
    throw new OvsdbError('failed to read schema', `"${path}" could not be read as JSON (${why})`);
  }
}

/** Reads and checks a schema file such as vswitch.ovsschema. Throws OvsdbError. */
export function readSchema(path: string): Schema {
  const json = readSchemaJson(path);
  try {
    return schemaFromJson(json);
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
    throw error.within(`failed to parse "${path}" as ovsdb schema`);
  }
}
