import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { Database } from './database.ts';
import { OvsdbError } from './error.ts';
import { createDatabaseFile, openDatabaseFile } from './file.ts';
import type { Json, JsonObject } from './json.ts';
import type { LogIo } from './log.ts';
import { composeRecord, LogFile } from './log.ts';
import { schemaFromJson } from './schema.ts';
import { TEST_SCHEMA } from './schema-for-tests.ts';
import { ServedDb } from './served-db.ts';

let folder: string;
let path: string;

beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'turnout-log-'));
  path = join(folder, 'conf.db');
  createDatabaseFile(path, schemaFromJson(TEST_SCHEMA));
});

afterEach(() => fs.rmSync(folder, { recursive: true }));

const CONTEXT = () => ({ readOnly: false, ownsLock: () => false });

function transact(served: ServedDb, ...operations: Json[]): Promise<JsonObject[]> {
  return new Promise((resolve) => {
    served.transact([served.name, ...operations], CONTEXT, (results) => resolve(results as unknown as JsonObject[]));
  });
}

function open(io?: LogIo): { served: ServedDb; problems: string[] } {
  const problems: string[] = [];
  const { db, log } = openDatabaseFile(path, (text) => problems.push(text), io ? { io } : {});
  return { served: new ServedDb(db, log), problems };
}

const insert = (name: string): Json => ({
  op: 'insert',
  table: 'Item',
  row: { name, number: name.length, opts: ['map', [['k', name]]] },
});

function names(db: Database): string[] {
  const { rows, schema } = db.tables.get('Item')!;
  return [...rows.values()].map((row) => row.fields[schema.byName.get('name')!.index]!.keys[0] as string).sort();
}

/** The file calls, with a disk of `size` bytes. */
function smallDisk(size: number): LogIo & { size: number } {
  return {
    size,
    writeSync(fd, data, offset, length, position) {
      const fits = Math.min(length, this.size - position);
      if (fits <= 0) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      return fs.writeSync(fd, data, offset, fits, position);
    },
    ftruncateSync: fs.ftruncateSync,
    fdatasync: fs.fdatasync,
  };
}

describe('the database file', () => {
  test('what was committed is there after opening it again', async () => {
    const { served } = open();
    await transact(served, insert('a'), insert('bb'), { op: 'comment', comment: 'two rows' });
    await transact(served, {
      op: 'mutate',
      table: 'Item',
      where: [['name', '==', 'a']],
      mutations: [
        ['opts', 'insert', ['map', [['l', 'x']]]],
        ['tags', 'insert', 't'],
      ],
    });
    await transact(served, {
      op: 'mutate',
      table: 'Item',
      where: [['name', '==', 'a']],
      mutations: [['opts', 'delete', 'k']],
    });
    await transact(
      served,
      { op: 'delete', table: 'Item', where: [['name', '==', 'bb']] },
      { op: 'commit', durable: true },
    );
    served.close();
    const again = open();
    assert.deepEqual(again.problems, []);
    const [result] = await transact(again.served, {
      op: 'select',
      table: 'Item',
      where: [],
      columns: ['name', 'opts', 'tags'],
    });
    assert.deepEqual(result!.rows, [{ name: 'a', opts: ['map', [['l', 'x']]], tags: 't' }]);
    again.served.close();
    assert.match(fs.readFileSync(path, 'utf8'), /"_comment":"two rows","_is_diff":true,"_date":\d+/);
  });

  test('ephemeral columns and changes of nothing are not written', async () => {
    const { served } = open();
    await transact(
      served,
      { op: 'insert', table: 'Leaf', row: { status: ['map', [['a', 'b']]] }, 'uuid-name': 'l' },
      { op: 'insert', table: 'Root', row: { strong: ['named-uuid', 'l'] } },
    );
    const size = fs.statSync(path).size;
    await transact(served, { op: 'update', table: 'Leaf', where: [], row: { status: ['map', []] } });
    await transact(served, { op: 'update', table: 'Root', where: [], row: { name: '' } });
    assert.equal(fs.statSync(path).size, size);
    assert.doesNotMatch(fs.readFileSync(path, 'utf8'), /"status":\["map",\[\["a"/);
    served.close();
  });

  test('a record torn at any byte costs that transaction only, and the service goes on', async () => {
    const { served } = open();
    await transact(served, insert('a'));
    const whole = fs.statSync(path).size;
    await transact(served, insert('bb'));
    served.close();
    const bytes = fs.readFileSync(path);
    for (let size = whole + 1; size < bytes.length; size++) {
      fs.writeFileSync(path, bytes.subarray(0, size));
      const torn = open();
      assert.deepEqual(names(torn.served.db), ['a'], `cut at ${size}`);
      assert.equal(torn.problems.length, 1);
      await transact(torn.served, insert('ccc'));
      torn.served.close();
      const healed = open();
      assert.deepEqual(names(healed.served.db), ['a', 'ccc']);
      assert.deepEqual(healed.problems, []);
      healed.served.close();
    }
  });

  test('flipped bits are found', async () => {
    const { served } = open();
    await transact(served, insert('a'));
    const whole = fs.statSync(path).size;
    await transact(served, insert('bb'));
    served.close();
    const bytes = fs.readFileSync(path);
    for (let at = whole; at < bytes.length; at += 7) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 0x10;
      fs.writeFileSync(path, damaged);
      const { served: opened, problems } = open();
      assert.deepEqual(names(opened.db), ['a'], `flipped at ${at}`);
      assert.equal(problems.length, 1);
      opened.close();
    }
  });

  test('a record that breaks the rules of the schema ends the reading', () => {
    const twice = {
      Item: Object.fromEntries(['1', '2'].map((n) => [`00000000-0000-4000-8000-00000000000${n}`, { name: 'same' }])),
    };
    fs.appendFileSync(path, composeRecord(twice));
    const { served, problems } = open();
    assert.deepEqual(names(served.db), []);
    assert.match(problems[0]!, /constraint violation/);
    served.close();
  });

  test('a full disk refuses the transaction, whole; when there is room again all goes on', async () => {
    const disk = smallDisk(fs.statSync(path).size + 200);
    const { served } = open(disk);
    assert.equal((await transact(served, insert('a'))).length, 1);
    const size = fs.statSync(path).size;
    const refused = await transact(served, insert('x'.repeat(300)));
    assert.deepEqual(refused[1], {
      error: 'I/O error',
      details: `${path}: write failed`,
      'io-error': 'No space left on device',
    });
    assert.deepEqual(names(served.db), ['a']);
    assert.equal(fs.statSync(path).size, size);
    disk.size = 1e6;
    await transact(served, insert('bb'));
    served.close();
    const again = open();
    assert.deepEqual(names(again.served.db), ['a', 'bb']);
    assert.deepEqual(again.problems, []);
    again.served.close();
  });

  test('a disk that cannot sync fails a durable commit', async () => {
    const io = {
      ...fs,
      fdatasync: (_fd: number, done: (e: Error) => void) => done(Object.assign(new Error('x'), { code: 'EIO' })),
    };
    const { served } = open(io as unknown as LogIo);
    const results = await transact(served, insert('a'), { op: 'commit', durable: true });
    assert.equal(results.at(-1)!['io-error'], 'Input/output error');
    served.close();
  });

  test('syncs that are asked for together share a sync, and none misses its bytes', async () => {
    const syncs: (() => void)[] = [];
    const io = { ...fs, fdatasync: (_fd: number, done: (e: null) => void) => syncs.push(() => done(null)) };
    const log = LogFile.open(path, { io: io as unknown as LogIo });
    const done: number[] = [];
    const ask = (n: number) => log.sync().then(() => done.push(n));
    const asked = [ask(1), ask(2), ask(3)];
    assert.equal(syncs.length, 1);
    syncs[0]!();
    await asked[0];
    assert.deepEqual(done, [1]);
    await new Promise(setImmediate);
    assert.equal(syncs.length, 2);
    syncs[1]!();
    await Promise.all(asked);
    assert.deepEqual(done, [1, 2, 3]);
    log.close();
  });

  test('compaction keeps the content, and what comes after it', async () => {
    const { served } = open();
    for (let i = 0; i < 50; i++) await transact(served, insert(`row${'x'.repeat(i)}`));
    await transact(served, { op: 'delete', table: 'Item', where: [['number', '>', 10]] });
    const size = fs.statSync(path).size;
    served.compact();
    assert.ok(fs.statSync(path).size < size / 4);
    await transact(served, insert('after'));
    const before = names(served.db);
    served.close();
    const again = open();
    assert.deepEqual(names(again.served.db), before);
    assert.deepEqual(again.problems, []);
    again.served.close();
    assert.deepEqual(fs.readdirSync(folder), ['conf.db']);
  });

  test('a compaction that fails leaves the old file in use', async () => {
    const disk = smallDisk(1e6);
    const { served } = open(disk);
    await transact(served, insert('a'));
    disk.size = 10;
    assert.throws(
      () => served.compact(),
      (error) => error instanceof OvsdbError && error.ioError === 'No space left on device',
    );
    disk.size = 1e6;
    await transact(served, insert('bb'));
    served.close();
    assert.deepEqual(names(open().served.db), ['a', 'bb']);
    assert.deepEqual(fs.readdirSync(folder), ['conf.db']);
  });

  test('files that are something else are refused', () => {
    const refuse = (content: string, message: RegExp) => {
      fs.writeFileSync(path, content);
      assert.throws(
        () => open(),
        (error) => error instanceof OvsdbError && message.test(error.toString()),
      );
    };
    refuse('hello\n', /unexpected file format/);
    refuse(
      composeRecord({}).toString().replace('JSON', 'CLUSTER'),
      /cannot apply this operation to clustered database file/,
    );
    refuse('', /contains no schema/);
    fs.rmSync(path);
    assert.throws(
      () => open(),
      (error) => error instanceof OvsdbError && /open failed \(No such file/.test(error.toString()),
    );
  });

  test('conversion to another schema keeps what both have', async () => {
    const { served } = open();
    await transact(served, insert('a'));
    const schema = structuredClone(TEST_SCHEMA) as { tables: { Item: { columns: { [name: string]: unknown } } } };
    delete schema.tables.Item.columns.opts;
    schema.tables.Item.columns.extra = { type: 'integer' };
    served.convert(schemaFromJson(schema as unknown as Json));
    served.close();
    const [result] = await transact(open().served, {
      op: 'select',
      table: 'Item',
      where: [],
      columns: ['name', 'extra'],
    });
    assert.deepEqual(result!.rows, [{ name: 'a', extra: 0 }]);
  });
});
