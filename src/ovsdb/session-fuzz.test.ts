import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Json, JsonObject } from './json.ts';
import { isArray, isObject, toText } from './json.ts';
import { JsonStream } from './json-stream.ts';
import { schemaFromJson } from './schema.ts';
import { TEST_SCHEMA } from './schema-for-tests.ts';
import { OvsdbServer } from './server.ts';

/** Requests that are right, to be spoiled. */
const REQUESTS: readonly (readonly [string, Json])[] = [
  [
    'transact',
    [
      'zoo',
      {
        op: 'insert',
        table: 'Item',
        row: { name: 'x', tags: ['set', ['a']], opts: ['map', [['k', 'v']]] },
        'uuid-name': 'n',
      },
    ],
  ],
  [
    'transact',
    ['zoo', { op: 'select', table: 'Item', where: [['name', '==', 'x']], columns: ['name'], sort: ['name'] }],
  ],
  [
    'transact',
    [
      'zoo',
      {
        op: 'update',
        table: 'Root',
        where: [['_uuid', '==', ['uuid', '00000000-0000-4000-8000-000000000001']]],
        row: { name: 'y' },
      },
    ],
  ],
  [
    'transact',
    [
      'zoo',
      {
        op: 'mutate',
        table: 'Item',
        where: [],
        mutations: [
          ['number', '+=', 1],
          ['tags', 'insert', 'b'],
        ],
      },
    ],
  ],
  [
    'transact',
    [
      'zoo',
      { op: 'delete', table: 'Leaf', where: [] },
      { op: 'comment', comment: 'c' },
      { op: 'commit', durable: false },
    ],
  ],
  [
    'transact',
    [
      'zoo',
      { op: 'wait', timeout: 0, table: 'Item', where: [], columns: ['name'], until: '!=', rows: [{ name: 'x' }] },
    ],
  ],
  ['transact', ['zoo', { op: 'assert', lock: 'l' }]],
  ['monitor', ['zoo', 'm1', { Item: { columns: ['name'], select: { initial: true } } }]],
  ['monitor_cond', ['zoo', 'm2', { Item: [{ columns: ['name'], where: [['number', '==', 1]] }] }]],
  ['monitor_cond_since', ['zoo', 'm3', { Leaf: [{}] }, '00000000-0000-0000-0000-000000000000']],
  ['monitor_cond_change', ['m2', 'm2', { Item: [{ where: [['number', '!=', 1]] }] }]],
  ['monitor_cancel', ['m1']],
  ['get_schema', ['zoo']],
  ['list_dbs', []],
  ['lock', ['l']],
  ['steal', ['l']],
  ['unlock', ['l']],
  ['set_db_change_aware', [true]],
  ['convert', ['zoo', TEST_SCHEMA]],
  ['cancel', [1]],
  ['echo', []],
];

const junk = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }).map((value) => value as Json),
  fc.constantFrom<Json>(
    '',
    '_uuid',
    'zoo',
    'Item',
    ['uuid', 'x'],
    ['named-uuid', 'n'],
    ['set', [['set', []]]],
    ['map', [1]],
    ['map', [[]]],
    -1,
    1e300,
  ),
);

/** `json` with the part that `path` leads to replaced, taken away, or doubled. */
function spoil(json: Json, path: readonly number[], change: { readonly kind: number; readonly by: Json }): Json {
  const entries = isArray(json) ? [...json.entries()] : isObject(json) ? Object.entries(json) : [];
  const [step, ...rest] = path;
  if (step === undefined || entries.length === 0) return change.by;
  const [key, value] = entries[step % entries.length]!;
  if (rest.length > 0) return replace(json, key, spoil(value as Json, rest, change));
  if (change.kind === 0) return replace(json, key, change.by);
  if (isArray(json)) return change.kind === 1 ? json.toSpliced(key as number, 1) : [...json, value as Json];
  const others = Object.fromEntries(entries.filter(([name]) => name !== key)) as JsonObject;
  return change.kind === 1 ? others : { ...(json as JsonObject), extra: value as Json };
}

function replace(json: Json, key: string | number, value: Json): Json {
  return isArray(json) ? json.with(key as number, value) : { ...(json as JsonObject), [key]: value };
}

const spoiled = fc
  .record({
    request: fc.constantFrom(...REQUESTS),
    path: fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 6 }),
    kind: fc.nat({ max: 3 }),
    by: junk,
  })
  .map(
    ({ request: [method, params], path, kind, by }) =>
      [method, kind === 3 ? params : spoil(params, path, { kind, by })] as const,
  );

test('every request, however wrong, is answered, and the server stays whole', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(spoiled, { minLength: 1, maxLength: 20 }), async (requests) => {
      const defects: string[] = [];
      const server = new OvsdbServer({
        log: (level, _module, message) => {
          if (level === 'err') defects.push(message);
        },
      });
      server.addInMemory(schemaFromJson(TEST_SCHEMA));
      const stream = server.connectInMemory();
      const parser = new JsonStream();
      const open = new Set<number>(requests.keys());
      stream.on('data', (chunk: Buffer) => {
        for (const reply of parser.feed(chunk)) open.delete((reply as { id: number }).id);
      });
      const closed = new Promise((resolve) => stream.on('close', resolve));
      for (const [id, [method, params]] of requests.entries()) stream.write(toText({ method, params, id }));
      stream.end();
      await closed;
      assert.deepEqual(defects, []);
      // What is no JSON-RPC ends the connection; so does a conversion; a transaction may wait.
      const ends = requests.some(([method, params]) => !isArray(params) || method === 'convert');
      const mayWait = (id: number) => requests[id]![0] === 'transact';
      assert.ok(ends || [...open].every(mayWait));
      assert.equal(server.sessions.size, 0);
      const check = server.dbs.get('zoo')!;
      const probe = new Promise((resolve) => {
        check.transact(
          ['zoo', { op: 'insert', table: 'Item', row: { name: 'probe', number: 77 } }],
          () => ({ readOnly: false, ownsLock: () => false }),
          resolve,
        );
      });
      assert.equal(((await probe) as JsonObject[]).length, 1);
      server.close();
    }),
    { numRuns: 300 },
  );
});
