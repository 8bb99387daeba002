import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { lockFile, lockHolder, unlockFile } from './file-lock.ts';

const here = new URL('./file-lock.ts', import.meta.url).href;

/** What another process finds: whether it gets the lock, and who holds it. */
function askFromOutside(path: string): { got: boolean; holder: number } {
  const script = `const { lockFile, lockHolder } = await import(${JSON.stringify(here)});
    const { openSync } = await import('node:fs');
    const fd = openSync(process.argv[1], 'r+');
    const holder = lockHolder(fd);
    console.log(JSON.stringify({ holder, got: lockFile(fd) }));`;
  const r = spawnSync(process.execPath, ['--input-type=module', '-e', script, path], { encoding: 'utf8' });
  assert.equal(r.status, 0, r.stderr);
  return JSON.parse(r.stdout);
}

test('another process sees the lock and its holder', () => {
  const dir = mkdtempSync(join(tmpdir(), 'turnout-lock-'));
  const path = join(dir, 'pidfile');
  const fd = openSync(path, 'w+');
  assert.equal(lockFile(fd), true);
  assert.equal(lockHolder(fd), 0);
  assert.deepEqual(askFromOutside(path), { got: false, holder: process.pid });
  unlockFile(fd);
  assert.deepEqual(askFromOutside(path), { got: true, holder: 0 });
  closeSync(fd);
  rmSync(dir, { recursive: true });
});
