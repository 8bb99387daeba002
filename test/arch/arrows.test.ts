import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { checkArrows } from '../../tools/arrows.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

test('imports follow the arrows of docs/architecture.md', async () => {
  const folders = ['src', 'protocols', 'bin', 'compat'].filter((folder) => existsSync(join(root, folder)));
  const report = await checkArrows(root, folders);
  assert.ok(report.nModules > 0);
  assert.deepEqual(report.violations, []);
});
