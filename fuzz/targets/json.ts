/** OVSDB's JSON: in whatever pieces it arrives, it is what the platform's own parser makes of it, or it is refused. */
import assert from 'node:assert/strict';
import { type Json, JsonParser, JsonSyntaxError } from '../../src/ovsdb/json.ts';
import { JsonStream } from '../../src/ovsdb/json-stream.ts';
import type { Target } from '../engine.ts';

const TEXTS = [
  '{"method":"transact","params":["db",{"op":"insert","table":"T","row":{"a":["set",[1,2.5,-3e2]]}}],"id":0}',
  '[true,false,null,"\\u00e9\\n\\ud83d\\ude00",9007199254740993,1e400]{"x":[]}',
];

const MAX_BYTES = 1 << 16;

/** All values, or undefined where the stream is refused. Cut into pieces of `size` bytes. */
function feed(input: Uint8Array, size: number): Json[] | undefined {
  const stream = new JsonStream({ maxBytes: MAX_BYTES });
  const values: Json[] = [];
  try {
    for (let at = 0; at < input.length; at += size)
      values.push(...stream.feed(Buffer.from(input.subarray(at, at + size))));
  } catch (e) {
    if (!(e instanceof JsonSyntaxError)) throw e;
    return undefined;
  }
  return values;
}

/** What the platform says; undefined: it refuses, or holds the number less exactly. */
function oracle(text: string): unknown {
  if (/[\d.eE+-]{15}/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export const target: Target = {
  name: 'json',
  seeds: TEXTS.map((text) => new TextEncoder().encode(text)),
  tokens: [
    '{',
    '}',
    '[',
    ']',
    '"',
    ',',
    ':',
    '\\u',
    '\\',
    'true',
    'null',
    '1e9',
    '-0',
    '"_uuid"',
    '["set",[',
    '["map",[[',
  ],
  run(input) {
    const whole = feed(input, Math.max(1, input.length));
    assert.deepEqual(feed(input, 1 + (input.length % 7)), whole);
    const text = new TextDecoder().decode(input);
    const expected = oracle(text);
    try {
      const value = new JsonParser(text).parse();
      if (expected !== undefined) assert.deepEqual(value, expected);
    } catch (e) {
      if (!(e instanceof JsonSyntaxError)) throw e;
    }
  },
};
