/** Writes `src/gen/` from `protocols/`. `--check` writes nothing and fails when a committed file is not current. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { genArenaAs, genArenaTs, genFlowKey } from './arena.ts';
import { genFlow } from './flow.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const files: Record<string, () => string> = {
  'src/gen/flow.ts': genFlow,
  'src/gen/flow-key.ts': genFlowKey,
  'src/gen/arena.ts': genArenaTs,
  'src/fastpath/gen/arena.ts': genArenaAs,
};

function current(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

const check = process.argv.includes('--check');
const stale: string[] = [];
for (const [file, generate] of Object.entries(files)) {
  const path = join(root, file);
  const text = generate();
  if (current(path) === text) continue;
  stale.push(file);
  if (check) continue;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
for (const file of stale) console.log(`${check ? 'not current' : 'wrote'}: ${file}`);
if (check && stale.length > 0) process.exit(1);
