import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { checkArrows } from './arrows.ts';

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** Judges a throw-away tree of files. */
async function judge(files: Record<string, string>): Promise<string[]> {
  const root = mkdtempSync(join(tmpdir(), 'turnout-arrows-'));
  folders.push(root);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  const report = await checkArrows(root, ['src']);
  assert.ok(report.nModules > 0);
  return report.violations;
}

const LEAF = 'export const x = 1;';

test('an import to the right is allowed, one to the left is not', async () => {
  const right = await judge({ 'src/ofproto/a.ts': "export * from '../base/b.ts';", 'src/base/b.ts': LEAF });
  assert.deepEqual(right, []);
  const left = await judge({ 'src/base/b.ts': "export * from '../ofproto/a.ts';", 'src/ofproto/a.ts': LEAF });
  assert.deepEqual(left, ['arrow src/base: src/base/b.ts → src/ofproto/a.ts']);
});

test('a type import counts', async () => {
  const files = {
    'src/wire/a.ts': "import type { T } from '../ofproto/b.ts';\nexport type U = T;",
    'src/ofproto/b.ts': 'export type T = 1;',
  };
  assert.deepEqual(await judge(files), ['arrow src/wire: src/wire/a.ts → src/ofproto/b.ts']);
});

test('ofproto knows the interface of a netdev, not a provider', async () => {
  const files = {
    'src/ofproto/a.ts': "export * from '../netdev/netdev.ts';\nexport * from '../netdev/tap.ts';",
    'src/netdev/netdev.ts': LEAF,
    'src/netdev/tap.ts': 'export const y = 2;',
  };
  assert.deepEqual(await judge(files), ['arrow src/ofproto: src/ofproto/a.ts → src/netdev/tap.ts']);
});

test('the interface of a netdev does not know its providers', async () => {
  const files = { 'src/netdev/netdev.ts': "export * from './tap.ts';", 'src/netdev/tap.ts': LEAF };
  assert.deepEqual(await judge(files), ['arrow src/netdev/netdev.ts: src/netdev/netdev.ts → src/netdev/tap.ts']);
});

test('a cycle inside a folder is found', async () => {
  const found = await judge({ 'src/base/a.ts': "import './b.ts';", 'src/base/b.ts': "import './a.ts';" });
  assert.ok(found.length > 0);
  assert.ok(found.every((line) => line.startsWith('no cycles: ')));
});

test('koffi outside of src/sys is found', async () => {
  const koffi = {
    'node_modules/koffi/package.json': '{"name":"koffi","main":"index.js"}',
    'node_modules/koffi/index.js': '',
  };
  const allowed = await judge({ 'src/sys/a.ts': "import 'koffi';", ...koffi });
  assert.deepEqual(allowed, []);
  const forbidden = await judge({ 'src/netdev/a.ts': "import 'koffi';", ...koffi });
  assert.deepEqual(forbidden, ['koffi behind src/sys alone: src/netdev/a.ts → node_modules/koffi/index.js']);
});

test('a test file may import anything, and the program no test code', async () => {
  const files = {
    'src/base/a.ts': "import '../ofproto/b.test.ts';",
    'src/ofproto/b.test.ts': "import '../cli/c.ts';",
    'src/cli/c.ts': LEAF,
  };
  assert.deepEqual((await judge(files)).sort(), [
    'arrow src/base: src/base/a.ts → src/ofproto/b.test.ts',
    'no test code in the program: src/base/a.ts → src/ofproto/b.test.ts',
  ]);
});
