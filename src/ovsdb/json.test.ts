import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Json } from './json.ts';
import { JsonParser, JsonSyntaxError, jsonEquals, MAX_HEIGHT, parseJson, sortedText, toText } from './json.ts';
import { JsonStream } from './json-stream.ts';

const jsonValue = fc.jsonValue({ maxDepth: 4 }).map((value) => value as Json);

function feedAll(stream: JsonStream, bytes: Buffer, size: number): Json[] {
  const values: Json[] = [];
  for (let at = 0; at < bytes.length; at += size) values.push(...stream.feed(bytes.subarray(at, at + size)));
  return values;
}

test('the careful parser reads what JSON.parse reads', () => {
  fc.assert(
    fc.property(jsonValue, (value) => {
      const text = JSON.stringify(value);
      assert.deepEqual(JSON.parse(toText(new JsonParser(text).parse())), JSON.parse(text));
    }),
  );
});

test('64-bit integers survive, in and out', () => {
  for (const text of ['[9223372036854775807]', '[-9223372036854775808]', '[9007199254740993]']) {
    assert.equal(toText(parseJson(text)), text);
  }
  assert.equal(typeof (parseJson('[9223372036854775808]') as number[])[0], 'number');
});

test('what Open vSwitch refuses is refused, with the place', () => {
  const cases: [string, RegExp][] = [
    ['["\\u0000"]', /null bytes not supported/],
    ['["\\ud800"]', /malformed escaped surrogate/],
    ['[01]', /leading zeros not allowed/],
    ['{"a" 1}', /expecting ':'/],
    ['[1,\n tru]', /line 1, column 1, byte 5: invalid keyword 'tru'/],
    ['[@]', /invalid character U\+0040 '@'/],
    ['["a\nb"]', /must be escaped/],
    ['[1e999]', /outside valid range/],
    ['[1] 2', /trailing garbage/],
    ['["abc', /unexpected end of input in quoted string/],
  ];
  for (const [text, message] of cases) {
    assert.throws(
      () => parseJson(text),
      (error) => error instanceof JsonSyntaxError && message.test(error.message),
      text,
    );
  }
});

test('a member named __proto__ is a member like any other', () => {
  const value = parseJson('{"__proto__":{"polluted":1}}');
  assert.deepEqual(Object.keys(value as object), ['__proto__']);
  assert.equal((value as { polluted?: unknown }).polluted, undefined);
});

test('sorted text does not depend on the order of members', () => {
  assert.equal(sortedText({ b: [1, { d: null, c: 'x' }], a: true }), '{"a":true,"b":[1,{"c":"x","d":null}]}');
  assert.ok(jsonEquals({ a: 1, b: 2 }, { b: 2, a: 1 }));
});

test('a stream gives the same values however its bytes arrive', () => {
  const values: Json[] = [{ a: '}"\\{', b: [1, 2, { c: 'é€😀' }] }, [], ['x', 9007199254740993n], {}];
  const bytes = Buffer.from(values.map(toText).join(' \n'));
  for (let size = 1; size <= bytes.length; size++) {
    assert.deepEqual(feedAll(new JsonStream(), bytes, size).map(toText), values.map(toText), `chunks of ${size}`);
  }
});

test('a stream bounds nesting, size and encoding before it parses', () => {
  const refused = (stream: JsonStream, bytes: Buffer | string, message: RegExp) =>
    assert.throws(() => feedAll(stream, Buffer.from(bytes as string), 1000), { message });
  refused(new JsonStream(), '['.repeat(100_000), new RegExp(`nesting depth ${MAX_HEIGHT}`));
  refused(new JsonStream({ maxBytes: 5000 }), `["${'x'.repeat(1e6)}`, /too long/);
  refused(new JsonStream(), Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]), /invalid UTF-8/);
  refused(new JsonStream(), Buffer.from([0x5b, 0x22, 0xc0, 0x80, 0x22, 0x5d]), /invalid UTF-8/);
  refused(new JsonStream(), '42', /beginning of input/);
  assert.deepEqual(new JsonStream({ maxBytes: 5000 }).feed(Buffer.from(' '.repeat(10_000))), []);
});

test('a refused flood is not kept in memory', () => {
  const stream = new JsonStream({ maxBytes: 1 << 20 });
  const chunk = Buffer.alloc(1 << 16, 0x78);
  stream.feed(Buffer.from('["'));
  assert.throws(() => {
    for (let i = 0; i < 1000; i++) stream.feed(chunk);
  }, /too long/);
  assert.ok(stream.pendingSize <= 1 << 20);
});
