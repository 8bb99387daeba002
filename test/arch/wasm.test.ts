import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inspectWasm, violations } from '../../tools/wasm-inspect.ts';

const build = join(dirname(fileURLToPath(import.meta.url)), '../../build');

test('no built module rewrites the arena, grows it, or uses GC', () => {
  const modules = globSync('*.wasm', { cwd: build }).filter((file) => file.split('.').length === 2);
  assert.notEqual(modules.length, 0, 'build/ holds no .wasm');
  for (const file of modules) {
    const facts = inspectWasm(readFileSync(join(build, file)));
    assert.deepEqual(violations(facts), [], file);
    assert.ok(facts.nFunctions > 0, file);
  }
});
