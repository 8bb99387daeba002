import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { Database } from './database.ts';
import { executeNow } from './execute.ts';
import type { Json, JsonObject } from './json.ts';
import { schemaFromJson } from './schema.ts';
import { TEST_SCHEMA } from './schema-for-tests.ts';

let db: Database;

beforeEach(() => {
  db = new Database(schemaFromJson(TEST_SCHEMA));
});

function run(...operations: Json[]): JsonObject[] {
  return executeNow(db, ['zoo', ...operations]) as unknown as JsonObject[];
}

function insert(table: string, row: JsonObject, name?: string): JsonObject {
  return { op: 'insert', table, row, ...(name ? { 'uuid-name': name } : {}) };
}

function uuidOf(result: JsonObject | undefined): string {
  return (result!.uuid as string[])[1]!;
}

const named = (name: string): Json => ['named-uuid', name];
const uuid = (text: string): Json => ['uuid', text];
const byName = (name: string): Json => [['name', '==', name]];

function size(table: string): number {
  return db.tables.get(table)!.rows.size;
}

/** The error of the last result, as `tag: details`. */
function errorOf(results: JsonObject[]): string {
  const { error, details } = results.at(-1)!;
  return `${error}: ${details}`;
}

describe('operations', () => {
  test('insert gives defaults, select projects and sorts and is distinct', () => {
    run(
      insert('Item', { name: 'b', number: 2 }),
      insert('Item', { name: 'a', number: 1 }),
      insert('Item', { name: 'c' }),
    );
    const [all] = run({ op: 'select', table: 'Item', where: [], columns: ['name', 'number'], sort: ['number'] });
    assert.deepEqual(all!.rows, [
      { name: 'c', number: 0 },
      { name: 'a', number: 1 },
      { name: 'b', number: 2 },
    ]);
    const [flags] = run({ op: 'select', table: 'Item', where: [], columns: ['flag'] });
    assert.deepEqual(flags!.rows, [{ flag: false }]);
    const [one] = run({ op: 'select', table: 'Item', where: byName('a') });
    const row = (one!.rows as JsonObject[])[0]!;
    assert.deepEqual([row.tags, row.opts, row.maybe, row.real], [['set', []], ['map', []], ['set', []], 0]);
    assert.ok(row._uuid && row._version);
  });

  test('update counts the rows that match, and changes the version of those that change', () => {
    run(insert('Item', { name: 'a', number: 1 }), insert('Item', { name: 'b', number: 2 }));
    const version = () =>
      (run({ op: 'select', table: 'Item', where: byName('a') })[0]!.rows as JsonObject[])[0]!._version;
    const before = version();
    assert.deepEqual(run({ op: 'update', table: 'Item', where: [], row: { flag: true } }), [{ count: 2 }]);
    const after = version();
    assert.notDeepEqual(after, before);
    assert.deepEqual(run({ op: 'update', table: 'Item', where: [], row: { flag: true } }), [{ count: 2 }]);
    assert.deepEqual(version(), after);
  });

  test('conditions', () => {
    run(
      insert('Item', { name: 'a', number: 1, tags: ['set', ['x', 'y']], maybe: 3 }),
      insert('Item', { name: 'b', number: 2, opts: ['map', [['k', 'v']]] }),
    );
    const names = (...where: Json[]) =>
      (run({ op: 'select', table: 'Item', where, columns: ['name'], sort: ['name'] })[0]!.rows as JsonObject[]).map(
        (r) => r.name,
      );
    assert.deepEqual(names(['number', '<', 2]), ['a']);
    assert.deepEqual(names(['number', '>=', 1]), ['a', 'b']);
    assert.deepEqual(names(['maybe', '>', 0]), ['a']);
    assert.deepEqual(names(['tags', 'includes', 'x']), ['a']);
    assert.deepEqual(names(['tags', 'excludes', ['set', ['x', 'z']]]), ['b']);
    assert.deepEqual(names(['opts', 'includes', ['map', [['k', 'v']]]]), ['b']);
    assert.deepEqual(names(['opts', '!=', ['map', []]], ['name', '==', 'b']), ['b']);
    assert.deepEqual(names(false), []);
    assert.match(
      errorOf(run({ op: 'select', table: 'Item', where: [['name', '<', 'a']] })),
      /"<" operator may not be applied to column name of type string/,
    );
    assert.match(
      errorOf(run({ op: 'select', table: 'Item', where: [['nope', '==', 1]] })),
      /unknown column: No column nope in table Item/,
    );
    assert.match(
      errorOf(run({ op: 'select', table: 'Item', where: [['name', '~', 1]] })),
      /unknown function: No function named ~/,
    );
  });

  test('mutations of numbers, sets and maps', () => {
    run(
      insert('Item', {
        name: 'a',
        number: 7,
        real: 1.5,
        tags: ['set', ['x']],
        opts: [
          'map',
          [
            ['k', 'v'],
            ['l', 'w'],
          ],
        ],
      }),
    );
    const mutate = (...mutation: Json[]) => run({ op: 'mutate', table: 'Item', where: [], mutations: [mutation] });
    const value = (column: string) =>
      (run({ op: 'select', table: 'Item', where: [] })[0]!.rows as JsonObject[])[0]![column];
    mutate('number', '%=', 4);
    assert.equal(value('number'), 3);
    mutate('number', '*=', -2);
    assert.equal(value('number'), -6);
    mutate('number', '/=', 4);
    assert.equal(value('number'), -1);
    mutate('real', '/=', 4);
    assert.equal(value('real'), 0.375);
    mutate('tags', 'insert', ['set', ['x', 'y']]);
    assert.deepEqual(value('tags'), ['set', ['x', 'y']]);
    mutate('tags', 'delete', 'x');
    assert.deepEqual(value('tags'), 'y');
    mutate('opts', 'insert', [
      'map',
      [
        ['k', 'other'],
        ['m', 'u'],
      ],
    ]);
    assert.deepEqual(value('opts'), [
      'map',
      [
        ['k', 'v'],
        ['l', 'w'],
        ['m', 'u'],
      ],
    ]);
    mutate('opts', 'delete', ['map', [['k', 'other']]]);
    mutate('opts', 'delete', ['set', ['l', 'm']]);
    assert.deepEqual(value('opts'), ['map', [['k', 'v']]]);
    assert.match(errorOf(mutate('number', '/=', 0)), /domain error: Division by zero/);
    run({ op: 'update', table: 'Item', where: [], row: { number: 9223372036854775807n } });
    assert.match(errorOf(mutate('number', '+=', 1)), /range error: Result of "\+=" operation is out of range/);
    assert.match(
      errorOf(mutate('tags', 'insert', ['set', ['1', '2', '3']])),
      /Attempted to store 4 elements in set of up to 3 strings/,
    );
    assert.match(errorOf(mutate('fixed', 'insert', 'x')), /Cannot mutate immutable column fixed/);
    assert.match(errorOf(mutate('name', '+=', 1)), /may not be applied to column name of type string/);
  });

  test('an error undoes everything and leaves the rest of the results null', () => {
    const results = run(insert('Item', { name: 'a' }), { op: 'abort' }, insert('Item', { name: 'b' }));
    assert.equal(results[1]!.error, 'aborted');
    assert.equal(results[2], null);
    assert.equal(size('Item'), 0);
  });

  test('mistakes in how an operation is written', () => {
    assert.match(errorOf(run({ op: 'fly' })), /Parsing ovsdb operation 1 of 1 failed: No operation "fly"/);
    assert.match(errorOf(run({})), /Required 'op' member is missing/);
    assert.match(errorOf(run({ op: 'insert', table: 'Nope', row: {} })), /No table named Nope/);
    assert.match(errorOf(run({ ...insert('Item', {}), extra: 1 })), /Member 'extra' is present but not allowed here/);
    assert.match(errorOf(run({ op: 'delete', table: 'Item', where: 5 })), /Type mismatch for member 'where'/);
    assert.equal(size('Item'), 0);
    assert.equal((executeNow(db, ['other']) as JsonObject).details, 'database name expected as first parameter');
  });

  test('uuids that the client chooses', () => {
    const chosen = '00000000-0000-4000-8000-000000000001';
    assert.equal(uuidOf(run({ ...insert('Item', { name: 'a' }), uuid: chosen })[0]), chosen);
    assert.match(errorOf(run({ ...insert('Item', { name: 'b' }), uuid: chosen })), /duplicate uuid/);
    assert.match(errorOf(run({ ...insert('Item', { name: 'b' }), uuid: 'x' })), /bad uuid/);
    const gone = run({ op: 'delete', table: 'Item', where: [] }, { ...insert('Item', { name: 'b' }), uuid: chosen });
    assert.match(errorOf(gone), /duplicate uuid/);
    assert.match(
      errorOf(run(insert('Item', { name: 'x' }, 'n'), insert('Item', { name: 'y' }, 'n'))),
      /duplicate uuid-name/,
    );
  });

  test('wait compares sets of rows', () => {
    run(insert('Item', { name: 'a', number: 1 }));
    const wait = (until: string, rows: Json[]) =>
      run({ op: 'wait', timeout: 0, table: 'Item', where: [], columns: ['name', 'number'], until, rows })[0]!;
    assert.deepEqual(wait('==', [{ name: 'a', number: 1 }]), {});
    assert.equal(wait('==', [{ name: 'a', number: 1 }, { name: 'b' }]).details, '"where" clause test failed');
    assert.deepEqual(wait('!=', []), {});
    assert.match(errorOf([wait('=', [])]), /"until" must be/);
  });

  test('an immutable column is set once', () => {
    run(insert('Item', { name: 'a', fixed: 'x' }));
    assert.match(
      errorOf(run({ op: 'update', table: 'Item', where: [], row: { fixed: 'y' } })),
      /Cannot update immutable column fixed in table Item/,
    );
    assert.match(
      errorOf(
        run({ op: 'update', table: 'Item', where: [], row: { _uuid: uuid('00000000-0000-4000-8000-000000000001') } }),
      ),
      /immutable column _uuid/,
    );
  });
});

describe('rules of a commit', () => {
  test('a row that nothing refers to goes, and with it what only it referred to', () => {
    run(
      insert('Leaf', { name: 'c' }, 'c'),
      insert('Leaf', { name: 'b', next: named('c') }, 'b'),
      insert('Root', { strong: named('b') }),
      insert('Leaf', { name: 'orphan' }),
    );
    assert.equal(size('Leaf'), 2);
    run({ op: 'update', table: 'Root', where: [], row: { strong: ['set', []] } });
    assert.equal(size('Leaf'), 0);
  });

  test('a row that refers to itself is not kept alive by that', () => {
    run(insert('Leaf', { name: 'me', next: named('me') }, 'me'), insert('Root', { strong: named('me') }));
    assert.equal(size('Leaf'), 1);
    run({ op: 'delete', table: 'Root', where: [] });
    assert.equal(size('Leaf'), 0);
  });

  test('strong references: to nothing, and a referred row that is deleted', () => {
    const dangling = run(insert('Root', { strong: uuid('00000000-0000-4000-8000-000000000001') }));
    assert.match(
      errorOf(dangling),
      /referential integrity violation: Table Root column strong row .* references nonexistent row .* in table Leaf\./,
    );
    run(
      insert('Leaf', { name: 'a' }, 'a'),
      insert('Root', {
        by_number: [
          'map',
          [
            [1, named('a')],
            [2, named('a')],
          ],
        ],
      }),
    );
    assert.match(
      errorOf(run({ op: 'delete', table: 'Leaf', where: [] })),
      /cannot delete Leaf row .* because of 2 remaining reference\(s\)/,
    );
    assert.equal(size('Leaf'), 1);
    run({ op: 'mutate', table: 'Root', where: [], mutations: [['by_number', 'delete', 1]] });
    assert.match(errorOf(run({ op: 'delete', table: 'Leaf', where: [] })), /because of 1 remaining reference/);
  });

  test('weak references vanish with their target', () => {
    run(
      insert('Leaf', { name: 'a' }, 'a'),
      insert('Leaf', { name: 'b' }, 'b'),
      insert('Root', { strong: ['set', [named('a'), named('b')]], weak: ['set', [named('a'), named('b')]] }),
    );
    const weak = () =>
      (run({ op: 'select', table: 'Root', where: [], columns: ['weak'] })[0]!.rows as JsonObject[])[0]!.weak;
    const [, b] = [...db.tables.get('Leaf')!.rows.keys()];
    run({ op: 'update', table: 'Root', where: [], row: { strong: uuid(b!) } });
    assert.deepEqual(weak(), uuid(b!));
    run({
      op: 'update',
      table: 'Root',
      where: [],
      row: { weak: ['set', [uuid(b!), uuid('00000000-0000-4000-8000-000000000009')]] },
    });
    assert.deepEqual(weak(), uuid(b!));
  });

  test('a weak reference that must be there cannot vanish', () => {
    const made = run(insert('Item', { name: 'i' }, 'i'), insert('Holder', { needs: named('i') }));
    assert.equal(made.length, 2);
    assert.match(
      errorOf(run({ op: 'delete', table: 'Item', where: [] })),
      /Deletion of 1 weak reference\(s\) .* from column "needs" in "Holder" row .* caused this column to become empty/,
    );
    assert.equal(size('Item'), 1);
    assert.match(errorOf(run(insert('Holder', {}))), /contained all-zeros UUID/);
    run({ op: 'delete', table: 'Holder', where: [] }, { op: 'delete', table: 'Item', where: [] });
    assert.equal(size('Item'), 0);
  });

  test('indexes: duplicates are refused, swaps and reuse are not', () => {
    run(insert('Item', { name: 'a', number: 1 }), insert('Item', { name: 'b', number: 2 }));
    assert.match(
      errorOf(run(insert('Item', { name: 'a', number: 3 }))),
      /identical values \(a\) for index on column "name".*was inserted by this transaction/,
    );
    assert.match(
      errorOf(run(insert('Item', { name: 'c', number: 1 }))),
      /identical values \(1 and false\) for index on columns "number" and "flag"/,
    );
    const swap = run(
      { op: 'update', table: 'Item', where: byName('a'), row: { name: 'tmp' } },
      { op: 'update', table: 'Item', where: byName('b'), row: { name: 'a' } },
      { op: 'update', table: 'Item', where: byName('tmp'), row: { name: 'b' } },
    );
    assert.deepEqual(swap, [{ count: 1 }, { count: 1 }, { count: 1 }]);
    assert.deepEqual(run({ op: 'select', table: 'Item', where: byName('b'), columns: ['number'] })[0]!.rows, [
      { number: 1 },
    ]);
    assert.equal(
      run({ op: 'delete', table: 'Item', where: byName('b') }, insert('Item', { name: 'b', number: 9 })).length,
      2,
    );
    assert.equal(size('Item'), 2);
  });

  test('an index sees what the same transaction did', () => {
    run(insert('Item', { name: 'a', number: 1 }));
    const [, found] = run(insert('Item', { name: 'n', number: 5 }), {
      op: 'select',
      table: 'Item',
      where: byName('n'),
      columns: ['number'],
    });
    assert.deepEqual(found!.rows, [{ number: 5 }]);
    const [, gone] = run(
      { op: 'update', table: 'Item', where: byName('a'), row: { name: 'z' } },
      { op: 'select', table: 'Item', where: byName('a') },
    );
    assert.deepEqual(gone!.rows, []);
  });

  test('maxRows counts what is left at the end', () => {
    run(insert('Root', { name: '1' }), insert('Root', { name: '2' }));
    assert.match(
      errorOf(run(insert('Root', { name: '3' }))),
      /transaction causes "Root" table to contain 3 rows, greater than the schema-defined limit of 2 row\(s\)/,
    );
    run({ op: 'delete', table: 'Root', where: byName('1') }, insert('Root', { name: '3' }));
    assert.equal(size('Root'), 2);
  });
});
