import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bundle, CLIENTS, isCurrent } from './bundle.ts';

const root = join(fileURLToPath(import.meta.url), '../..');
const run = (...argv: string[]): string =>
  execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', ...argv], { encoding: 'utf8' });

for (const name of Object.keys(CLIENTS)) {
  test(`${name} says the same from one file as from its sources`, async () => {
    if (!isCurrent(name)) await bundle(name);
    const help = run(join(root, `build/${name}.cjs`), '--help');
    assert.ok(help.length > 100);
    assert.equal(help, run(join(root, 'bin/turnout.ts'), name, '--help'));
  });
}

test('a bundle whose sources have changed runs them', async () => {
  if (!isCurrent('appctl')) await bundle('appctl');
  const copy = mkdtempSync(join(tmpdir(), 'turnout-bundle-'));
  try {
    for (const folder of ['build', 'bin', 'src']) mkdirSync(join(copy, folder));
    cpSync(join(root, 'build/appctl.cjs'), join(copy, 'build/appctl.cjs'));
    writeFileSync(join(copy, 'bin/turnout.ts'), 'console.log("sources", ...process.argv.slice(2));');
    assert.equal(run(join(copy, 'build/appctl.cjs'), '--version', 'x'), 'sources appctl --version x\n');
    rmSync(join(copy, 'src'), { recursive: true });
    for (const folder of ['src', 'tools', 'protocols']) symlinkSync(join(root, folder), join(copy, folder));
    assert.match(run(join(copy, 'build/appctl.cjs'), '--version'), /^ovs-appctl/);
  } finally {
    rmSync(copy, { recursive: true });
  }
});
