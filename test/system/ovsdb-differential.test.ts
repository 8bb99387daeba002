/** The same random transactions, sent to Turnout's database server and to Open vSwitch's, give the same answers and the same news. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import * as net from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Json, JsonObject } from '../../src/ovsdb/json.ts';
import { isArray, isObject, sortedText, toText } from '../../src/ovsdb/json.ts';
import { JsonRpcConnection } from '../../src/ovsdb/jsonrpc.ts';
import { TEST_SCHEMA } from '../../src/ovsdb/schema-for-tests.ts';
import { requirePeer } from '../support/require.ts';
import { DbHost, OURS, REAL } from './support/ovsdb.ts';

const UUIDS = Array.from({ length: 6 }, (_, i) => `00000000-0000-4000-8000-00000000000${i + 1}`);
const LEAVES = Array.from({ length: 4 }, (_, i) => `00000000-0000-4000-9000-00000000000${i + 1}`);
const ROOTS = ['00000000-0000-4000-a000-000000000001', '00000000-0000-4000-a000-000000000002'];

const pick = <T>(...values: T[]) => fc.constantFrom(...values);
const name = pick('a', 'b', 'c', 'é', '');
const small = fc.integer({ min: -2, max: 3 });
// Not the largest: Open vSwitch takes that times one for an overflow.
const LARGE = 9223372036854775800n;
/** The same each time, so that a build does not break by chance; TURNOUT_FUZZ_SEED draws others. */
const SEED = Number(process.env.TURNOUT_FUZZ_SEED ?? 20261122);
const integer = fc.oneof(small as fc.Arbitrary<Json>, pick<Json>(LARGE, -9223372036854775808n, 101));
const leafRef = pick(...LEAVES).map((uuid): Json => ['uuid', uuid]);
const setOf = (atom: fc.Arbitrary<Json>, maxLength: number) =>
  fc.uniqueArray(atom, { maxLength, selector: toText }).map((members): Json => ['set', members]);
const tags = setOf(name, 4);
const opts = fc.dictionary(name, name, { maxKeys: 3 }).map((object): Json => ['map', Object.entries(object)]);
const refs = setOf(leafRef, 3);

const itemColumns: Record<string, fc.Arbitrary<Json>> = {
  name,
  number: integer,
  flag: fc.boolean(),
  tags,
  limits: setOf(small, 3),
  opts,
  fixed: name,
  real: pick(0, 1.5, -2.25, 1e10),
  maybe: fc.oneof(small, fc.constant<Json>(['set', []])),
};
const rootColumns: Record<string, fc.Arbitrary<Json>> = {
  name,
  strong: refs,
  weak: refs,
  by_number: fc
    .dictionary(pick('1', '2'), leafRef)
    .map((o): Json => ['map', Object.entries(o).map(([k, v]) => [Number(k), v])]),
};
const leafColumns: Record<string, fc.Arbitrary<Json>> = {
  name,
  next: fc.oneof(leafRef, fc.constant<Json>(['set', []])),
};

const TABLES = [
  { table: 'Item', uuids: UUIDS, columns: itemColumns },
  { table: 'Leaf', uuids: LEAVES, columns: leafColumns },
  { table: 'Root', uuids: ROOTS, columns: rootColumns },
] as const;

const row = (columns: Record<string, fc.Arbitrary<Json>>) =>
  fc.record(columns, { requiredKeys: [] }) as fc.Arbitrary<JsonObject>;

function whereOf(columns: Record<string, fc.Arbitrary<Json>>, uuids: readonly string[]): fc.Arbitrary<Json[]> {
  const relation = pick('==', '!=', 'includes', 'excludes', '<', '>=');
  const clauses = Object.entries(columns).map(([column, value]) =>
    fc.tuple(relation, value).map(([r, v]): Json => [column, r, v]),
  );
  const byUuid = pick(...uuids).map((uuid): Json => ['_uuid', '==', ['uuid', uuid]]);
  return fc.array(
    fc.oneof({ weight: 3, arbitrary: byUuid }, ...clauses.map((arbitrary) => ({ weight: 1, arbitrary }))),
    { maxLength: 2 },
  );
}

function mutationOf(columns: Record<string, fc.Arbitrary<Json>>): fc.Arbitrary<Json> {
  const mutator = pick('insert', 'delete', '+=', '-=', '*=', '/=', '%=');
  return fc.oneof(
    ...Object.entries(columns).map(([column, value]) => fc.tuple(mutator, value).map(([m, v]): Json => [column, m, v])),
  );
}

const operation: fc.Arbitrary<Json> = fc.oneof(
  ...TABLES.flatMap(({ table, uuids, columns }) => {
    const where = whereOf(columns, uuids);
    return [
      {
        weight: 4,
        arbitrary: fc
          .tuple(pick(...uuids), row(columns))
          .map(([uuid, r]): Json => ({ op: 'insert', table, uuid, row: r })),
      },
      {
        weight: 3,
        arbitrary: fc.tuple(where, row(columns)).map(([w, r]): Json => ({ op: 'update', table, where: w, row: r })),
      },
      {
        weight: 3,
        arbitrary: fc
          .tuple(where, fc.array(mutationOf(columns), { minLength: 1, maxLength: 2 }))
          .map(([w, m]): Json => ({ op: 'mutate', table, where: w, mutations: m })),
      },
      { weight: 1, arbitrary: where.map((w): Json => ({ op: 'delete', table, where: w })) },
      {
        weight: 1,
        arbitrary: where.map(
          (w): Json => ({ op: 'select', table, where: w, columns: ['_uuid', ...Object.keys(columns)] }),
        ),
      },
    ];
  }),
);
const transaction = fc.array(operation, { minLength: 1, maxLength: 4 });

/** A client that gathers what it is told. */
class Peer {
  readonly news: Json[] = [];
  private readonly connection: JsonRpcConnection;
  private readonly waiters = new Map<number, (answer: Json) => void>();
  private nextId = 0;

  constructor(path: string) {
    this.connection = new JsonRpcConnection(
      net.connect(path),
      {
        message: (message) => {
          if (message.kind === 'notification') this.news.push([message.method, ...message.params]);
          else if (message.kind !== 'request')
            this.waiters.get(message.id as number)!(message.kind === 'reply' ? message.result : message.error);
        },
        closed: () => {},
      },
      { name: 'peer' },
    );
  }

  ask(method: string, params: Json): Promise<Json> {
    const id = this.nextId++;
    return new Promise((resolve) => {
      this.waiters.set(id, resolve);
      this.connection.request(method, params, id);
    });
  }

  close(): void {
    this.connection.destroy();
  }
}

/** Leaves out the empty changes that the real server tells of when a column changed that only a condition looks at. */
function meaningful(news: readonly Json[]): string[] {
  const texts = news.map((one) =>
    sortedText(one)
      .replaceAll(/"[-0-9a-f]+":\{"modify":\{\}\},?/g, '')
      .replaceAll(',}', '}'),
  );
  return texts.filter((text) => !text.endsWith('{"Item":{}}]')).sort();
}

/** Leaves out what may differ: the order of rows, and which of several mistakes is told. */
function comparable(json: Json): string {
  if (isArray(json)) return `[${json.map(comparable).join(',')}]`;
  if (!isObject(json)) return toText(json);
  if (typeof json.error === 'string') return 'error';
  if (isArray(json.rows)) return `rows ${json.rows.map(sortedText).sort().join(' ')}`;
  return sortedText(json);
}

test('random transactions', async (t) => {
  if (!requirePeer(t, 'ovsdb-server', 'ovsdb-tool', 'ovs-appctl')) return;
  const hosts = [OURS, REAL].map((server) => {
    const host = new DbHost(t);
    writeFileSync(host.path('zoo.ovsschema'), toText(TEST_SCHEMA));
    host.createDb('zoo.ovsschema');
    host.start(server);
    return host;
  });
  const everything = {
    Item: [{ columns: Object.keys(itemColumns) }],
    Leaf: [{ columns: Object.keys(leafColumns) }],
    Root: [{ columns: Object.keys(rootColumns) }],
  };
  const nothing: Json = ['zoo', ...['Root', 'Holder', 'Item'].map((table) => ({ op: 'delete', table, where: [] }))];
  await fc.assert(
    fc.asyncProperty(fc.array(transaction, { minLength: 5, maxLength: 20 }), async (transactions) => {
      const peers = hosts.map((host) => new Peer(host.path('db.sock')));
      const both = (method: string, params: Json) => Promise.all(peers.map((peer) => peer.ask(method, params)));
      try {
        await both('transact', nothing);
        await both('monitor_cond', ['zoo', 'all', everything]);
        await both('monitor_cond', [
          'zoo',
          'some',
          {
            Item: [
              {
                columns: ['name'],
                where: [
                  ['number', '==', 1],
                  ['tags', 'includes', 'a'],
                ],
              },
            ],
          },
        ]);
        await both('monitor', ['zoo', 'old', { Root: { columns: ['strong', 'weak'] } }]);
        for (const operations of transactions) {
          const [ours, real] = await both('transact', ['zoo', ...operations]);
          assert.equal(comparable(ours!), comparable(real!), toText([ours!, real!]));
          const [ourNews, realNews] = peers.map(({ news }) => meaningful(news.splice(0)));
          assert.deepEqual(ourNews, realNews);
        }
      } finally {
        for (const peer of peers) peer.close();
      }
    }),
    { numRuns: 150, seed: SEED },
  );
});
