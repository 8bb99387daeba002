import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { anyClauseMatcher, conditionFromJson } from './condition.ts';
import { Database, rowToJson } from './database.ts';
import { Replica } from './idl-replica.ts';
import type { Json, JsonObject } from './json.ts';
import { sortedText } from './json.ts';
import type { MonitorVersion } from './monitor.ts';
import { Monitor } from './monitor.ts';
import { schemaFromJson } from './schema.ts';
import { TEST_SCHEMA } from './schema-for-tests.ts';
import { ServedDb } from './served-db.ts';

const SCHEMA = schemaFromJson(TEST_SCHEMA);
const COLUMNS = ['name', 'number', 'tags', 'opts', 'maybe'];

function newDb(): ServedDb {
  return new ServedDb(new Database(SCHEMA), null);
}

function transact(served: ServedDb, ...operations: Json[]): JsonObject[] {
  let reply: Json = null;
  served.transact(
    ['zoo', ...operations],
    () => ({ readOnly: false, ownsLock: () => false }),
    (results) => {
      reply = results;
    },
  );
  return reply as unknown as JsonObject[];
}

function watch(served: ServedDb, version: MonitorVersion, request: Json): Monitor {
  const monitor = new Monitor(served.db, version, 'm', { Item: request });
  served.listen((changes) => {
    monitor.note(changes);
  });
  return monitor;
}

/** The updates of the next notification, or undefined when there is none. */
function next(monitor: Monitor): JsonObject | undefined {
  return (monitor.flush()?.params as Json[] | undefined)?.at(-1) as JsonObject | undefined;
}

/** What is told of the only row of `Item`. */
function onlyRow(updates: JsonObject | undefined): Json {
  const rows = Object.values((updates?.Item ?? {}) as JsonObject);
  assert.equal(rows.length, 1);
  return rows[0]!;
}

const insert = (row: JsonObject): Json => ({ op: 'insert', table: 'Item', row });

describe('what a monitor says', () => {
  test('version 1: rows whole, old values of what changed', () => {
    const served = newDb();
    transact(served, insert({ name: 'a' }));
    const monitor = watch(served, 1, { columns: ['name', 'number'] });
    assert.deepEqual(onlyRow(monitor.initial()), { new: { name: 'a', number: 0 } });
    transact(served, { op: 'update', table: 'Item', where: [], row: { number: 5, flag: true } });
    assert.deepEqual(onlyRow(next(monitor)), { old: { number: 0 }, new: { name: 'a', number: 5 } });
    transact(served, { op: 'update', table: 'Item', where: [], row: { flag: false } });
    assert.equal(next(monitor), undefined);
    transact(served, { op: 'delete', table: 'Item', where: [] });
    assert.deepEqual(onlyRow(next(monitor)), { old: { name: 'a', number: 5 } });
  });

  test('version 2: differences, and no defaults', () => {
    const served = newDb();
    transact(served, insert({ name: 'a', tags: ['set', ['x', 'y']] }));
    const monitor = watch(served, 2, [{ columns: COLUMNS }]);
    assert.deepEqual(onlyRow(monitor.initial()), { initial: { name: 'a', tags: ['set', ['x', 'y']] } });
    transact(served, {
      op: 'mutate',
      table: 'Item',
      where: [],
      mutations: [
        ['tags', 'delete', 'x'],
        ['tags', 'insert', 'z'],
      ],
    });
    assert.deepEqual(onlyRow(next(monitor)), { modify: { tags: ['set', ['x', 'z']] } });
    transact(served, { op: 'delete', table: 'Item', where: [] });
    assert.deepEqual(onlyRow(next(monitor)), { delete: null });
  });

  test('what happened while the client was slow is told as one change, or not at all', () => {
    const served = newDb();
    const monitor = watch(served, 2, [{ columns: ['number'] }]);
    transact(served, insert({ name: 'a' }));
    for (let number = 1; number < 5; number++)
      transact(served, { op: 'update', table: 'Item', where: [], row: { number } });
    assert.deepEqual(onlyRow(next(monitor)), { insert: { number: 4 } });
    transact(served, { op: 'update', table: 'Item', where: [], row: { number: 9 } });
    transact(served, { op: 'update', table: 'Item', where: [], row: { number: 4 } });
    assert.equal(next(monitor), undefined);
    transact(served, insert({ name: 'b', number: 7 }));
    transact(served, { op: 'delete', table: 'Item', where: [['name', '==', 'b']] });
    assert.equal(next(monitor), undefined);
  });

  test('select leaves kinds of changes out', () => {
    const served = newDb();
    transact(served, insert({ name: 'a' }));
    const monitor = watch(served, 1, { columns: ['name'], select: { initial: false, delete: false, modify: false } });
    assert.deepEqual(monitor.initial(), {});
    transact(served, { op: 'delete', table: 'Item', where: [] });
    assert.equal(next(monitor), undefined);
    transact(served, insert({ name: 'b' }));
    assert.deepEqual(onlyRow(next(monitor)), { new: { name: 'b' } });
  });

  test('a condition makes rows come and go', () => {
    const served = newDb();
    transact(served, insert({ name: 'a', number: 1 }), insert({ name: 'b', number: 2 }));
    const monitor = watch(served, 2, [{ columns: ['name'], where: [['number', '==', 1]] }]);
    assert.deepEqual(onlyRow(monitor.initial()), { initial: { name: 'a' } });
    transact(served, { op: 'update', table: 'Item', where: [['name', '==', 'b']], row: { number: 1, flag: true } });
    assert.deepEqual(onlyRow(next(monitor)), { insert: { name: 'b' } });
    transact(served, { op: 'update', table: 'Item', where: [['name', '==', 'a']], row: { number: 3 } });
    assert.deepEqual(onlyRow(next(monitor)), { delete: null });
    const update = monitor.changeConditions('m2', { Item: [{ where: [['number', '==', 3]] }] });
    const rows = Object.values(((update!.params as Json[])[1] as JsonObject).Item as JsonObject);
    assert.deepEqual(rows.map(sortedText).sort(), ['{"delete":null}', '{"insert":{"name":"a"}}']);
    assert.equal(monitor.id, 'm2');
    assert.equal(monitor.changeConditions('m2', { Item: [{ where: [['number', '==', 3]] }] }), undefined);
    assert.throws(() => monitor.changeConditions('m2', { Item: [{ where: [['nope', '==', 3]] }] }), /No column nope/);
  });

  test('requests that make no sense are refused', () => {
    const { db } = newDb();
    const refuse = (requests: Json, message: RegExp) =>
      assert.throws(() => new Monitor(db, 2, 'm', requests), { message });
    refuse([], /monitor-requests must be object/);
    refuse({ Nope: [{}] }, /no table named Nope/);
    refuse({ Item: [{ columns: ['nope'] }] }, /nope is not a valid column name/);
    refuse({ Item: [{ columns: ['name'] }, { columns: ['name'] }] }, /column name mentioned more than once/);
    refuse({ Item: [{ select: { often: true } }] }, /Member 'often' is present but not allowed here/);
  });
});

const NAMES = ['a', 'b', 'c', 'd'];
const name = fc.constantFrom(...NAMES);
const tags: fc.Arbitrary<Json> = fc.uniqueArray(name, { maxLength: 3 }).map((keys) => ['set', keys]);
const opts: fc.Arbitrary<Json> = fc.dictionary(name, name).map((object) => ['map', Object.entries(object)]);
const maybe: fc.Arbitrary<Json> = fc.option(fc.integer({ min: 0, max: 2 })).map((n) => (n === null ? ['set', []] : n));
const values = fc.record(
  { number: fc.integer({ min: 0, max: 3 }), tags, opts, maybe },
  { requiredKeys: [] },
) as fc.Arbitrary<JsonObject>;
const operation: fc.Arbitrary<Json> = fc.oneof(
  fc.tuple(name, values).map(([n, row]) => ({ op: 'insert', table: 'Item', row: { ...row, name: n } }) as Json),
  fc.tuple(name, values).map(([n, row]) => ({ op: 'update', table: 'Item', where: [['name', '==', n]], row }) as Json),
  name.map((n) => ({ op: 'delete', table: 'Item', where: [['name', '==', n]] }) as Json),
);
const step = fc.oneof(operation, fc.constant('flush' as const));
const where: fc.Arbitrary<Json[]> = fc.array(
  fc.oneof(
    fc.integer({ min: 0, max: 3 }).map((n): Json => ['number', '==', n]),
    name.map((n): Json => ['tags', 'includes', n]),
  ),
  { maxLength: 2 },
);

/** The monitored columns of the rows that match, as text. */
function expected(db: Database, condition: Json[]): string[] {
  const { rows, schema } = db.tables.get('Item')!;
  const matches = anyClauseMatcher(conditionFromJson(condition, schema));
  const columns = COLUMNS.map((column) => schema.byName.get(column)!);
  return [...rows.values()].filter(matches).map((row) => sortedText([row.uuid, rowToJson(row, columns)]));
}

function replicated(replica: Replica): string[] {
  const schema = SCHEMA.tables.get('Item')!;
  const database = newDb().db.tables.get('Item')!;
  return [...replica.snapshot().table('Item').keys()].map((uuid) => {
    const row = database.newRow(uuid);
    for (const column of COLUMNS) row.fields[schema.byName.get(column)!.index] = replica.datum('Item', uuid, column)!;
    return sortedText([
      uuid,
      rowToJson(
        row,
        COLUMNS.map((column) => schema.byName.get(column)!),
      ),
    ]);
  });
}

for (const version of [1, 2, 3] as const) {
  test(`version ${version}: a replica that applies the notifications equals the database after any transactions`, () => {
    fc.assert(
      fc.property(where, fc.array(step, { maxLength: 25 }), (condition, steps) => {
        const served = newDb();
        transact(served, insert({ name: 'a', number: 1, tags: 'b' }), insert({ name: 'b' }));
        const conditional = version === 1 ? [] : condition;
        const monitor = watch(served, version, [
          { columns: COLUMNS, ...(version === 1 ? {} : { where: conditional }) },
        ]);
        const replica = new Replica();
        replica.reset(SCHEMA, { Item: COLUMNS }, () => assert.fail());
        const format = version === 1 ? 1 : 2;
        replica.apply(monitor.initial(), format);
        for (const one of [...steps, 'flush' as const]) {
          if (one !== 'flush') transact(served, one);
          else replica.apply(next(monitor) ?? {}, format);
        }
        assert.deepEqual(replicated(replica).sort(), expected(served.db, conditional).sort());
      }),
    );
  });
}
