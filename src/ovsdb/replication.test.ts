import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { BackupMode } from './backup-mode.ts';
import { rowToJson } from './database.ts';
import type { Json, JsonObject } from './json.ts';
import { sortedText } from './json.ts';
import { RemoteManager } from './remote-manager.ts';
import { parseExcludedTables } from './replication.ts';
import { schemaFromJson } from './schema.ts';
import { TEST_SCHEMA } from './schema-for-tests.ts';
import type { ServedDb } from './served-db.ts';
import { OvsdbServer } from './server.ts';

let folder: string;
let active: OvsdbServer;
let backup: OvsdbServer;
let remotes: RemoteManager;
let warnings: string[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'turnout-replication-'));
  warnings = [];
  active = new OvsdbServer();
  backup = new OvsdbServer({ log: (level, _module, message) => level === 'warn' && warnings.push(message) });
  for (const server of [active, backup]) server.addInMemory(schemaFromJson(TEST_SCHEMA));
  remotes = new RemoteManager(active, {});
  remotes.configured.add(`punix:${folder}/db.sock`);
  assert.equal(await remotes.start(), '');
});

afterEach(() => {
  remotes.stop();
  active.close();
  backup.close();
  rmSync(folder, { recursive: true });
});

const zoo = (server: OvsdbServer): ServedDb => server.dbs.get('zoo')!;

function transact(server: OvsdbServer, ...operations: Json[]): JsonObject[] {
  let reply: Json = null;
  zoo(server).transact(
    ['zoo', ...operations],
    () => ({ readOnly: false, ownsLock: () => false }),
    (results) => {
      reply = results;
    },
  );
  return reply as unknown as JsonObject[];
}

function content(server: OvsdbServer, ...tables: string[]): string[] {
  return tables.flatMap((name) => {
    const { rows, schema } = zoo(server).db.tables.get(name)!;
    return [...rows.values()].map((row) => sortedText([row.uuid, rowToJson(row, schema.columns.slice(2))])).sort();
  });
}

/** Resolves once `condition` holds, looked at after each transaction of the backup. */
function until(condition: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!condition()) return;
      stop();
      resolve();
    };
    const stop = zoo(backup).listen(() => setImmediate(look));
    setImmediate(look);
  });
}

const insert = (name: string): Json => ({
  op: 'insert',
  table: 'Item',
  row: { name, number: name.length, tags: ['set', ['a', 'b']] },
});

test('a backup takes on what the active server has, follows it, and is read-only until it takes over', async () => {
  transact(
    active,
    insert('a'),
    { op: 'insert', table: 'Leaf', row: { name: 'l' }, 'uuid-name': 'l' },
    { op: 'insert', table: 'Root', row: { strong: ['named-uuid', 'l'], weak: ['named-uuid', 'l'] } },
  );
  transact(backup, insert('old'));
  const mode = new BackupMode(backup, { syncFrom: `unix:${folder}/db.sock` });
  mode.connect();
  const tables = ['Item', 'Leaf', 'Root'];
  const same = () => sortedText(content(active, ...tables)) === sortedText(content(backup, ...tables));
  await until(same);
  transact(
    active,
    {
      op: 'mutate',
      table: 'Item',
      where: [],
      mutations: [
        ['tags', 'delete', 'a'],
        ['number', '+=', 5],
      ],
    },
    insert('bb'),
  );
  transact(active, { op: 'delete', table: 'Root', where: [] });
  await until(same);
  assert.equal(content(backup, 'Leaf').length, 0);
  assert.equal(mode.status(), `state: backup\nreplicating: unix:${folder}/db.sock\ndatabase: zoo`);
  assert.equal(
    [...backup.sessions].every((session) => session.readOnly),
    true,
  );
  mode.disconnect();
  assert.equal(mode.status(), 'state: active\n');
  transact(active, insert('ccc'));
  assert.equal(transact(backup, insert('mine')).length, 1);
  assert.equal(content(backup, 'Item').length, 3);
});

test('excluded tables keep what they have', async () => {
  const excluded = parseExcludedTables('zoo:Item');
  assert.ok(typeof excluded !== 'string');
  transact(backup, insert('mine'));
  transact(active, insert('theirs'), { op: 'insert', table: 'Root', row: { name: 'r' } });
  const mode = new BackupMode(backup, { syncFrom: `unix:${folder}/db.sock`, excluded });
  mode.connect();
  await until(() => content(backup, 'Root').length === 1);
  assert.match(content(backup, 'Item').join(), /"mine"/);
  assert.doesNotMatch(content(backup, 'Item').join(), /theirs/);
  mode.disconnect();
  assert.equal(parseExcludedTables('zoo'), "Can't parse excluded table: zoo");
});

test('a server does not replicate itself', async () => {
  const complaints: string[] = [];
  const self = new BackupMode(active, { syncFrom: `unix:${folder}/db.sock` });
  (active as { log: OvsdbServer['log'] }).log = (_level, _module, message) => complaints.push(message);
  self.connect();
  while (self.isBackup) await new Promise(setImmediate);
  assert.match(complaints.join('\n'), /Self replicating is not allowed/);
  assert.equal(self.status(), 'state: active\n');
});
