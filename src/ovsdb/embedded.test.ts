import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startEmbeddedServer } from './embedded.ts';
import { createIdl } from './idl.ts';

test('an embedded server makes its database, serves it over a unix socket, and keeps it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnout-embedded-'));
  const options = { dbPath: join(folder, 'etc', 'conf.db'), remotes: [`punix:${folder}/db.sock`] };
  try {
    const first = await startEmbeddedServer(options);
    const idl = createIdl({ remote: `unix:${folder}/db.sock`, monitor: { Open_vSwitch: true } });
    idl.start();
    await idl.ready();
    const txn = idl.txn();
    txn.insert('Open_vSwitch', { external_ids: { 'system-id': 'here' } });
    assert.equal((await txn.commit({ durable: true })).status, 'success');
    assert.equal(await first.command('ovsdb-server/list-dbs', []), 'Open_vSwitch\n_Server\n');
    await assert.rejects(first.command('ovsdb-server/remove-db', ['nothing']), /Failed to find the database/);
    idl.stop();
    await first.stop();
    assert.match(readFileSync(options.dbPath, 'utf8'), /^OVSDB JSON \d+ [0-9a-f]{40}\n/);

    const second = await startEmbeddedServer(options);
    const again = createIdl({ remote: `unix:${folder}/db.sock`, monitor: { Open_vSwitch: ['external_ids'] } });
    again.start();
    await again.ready();
    assert.deepEqual(again.snapshot().first('Open_vSwitch')!.external_ids, new Map([['system-id', 'here']]));
    again.stop();
    await second.stop();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('an embedded server that cannot listen says so', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnout-embedded-'));
  try {
    const remotes = [`punix:${folder}/no/such/folder/db.sock`];
    await assert.rejects(startEmbeddedServer({ dbPath: join(folder, 'conf.db'), remotes }), /listen failed/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
