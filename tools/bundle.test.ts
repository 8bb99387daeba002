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

test('each client does its work from one file, as from its sources', async (t) => {
  for (const name of Object.keys(CLIENTS)) if (!isCurrent(name)) await bundle(name);
  const rundir = mkdtempSync(join(tmpdir(), 'turnout-bundle-'));
  const env = { ...process.env, OVS_RUNDIR: rundir, OVS_LOGDIR: rundir, OVS_DBDIR: rundir };
  const turnout = (...argv: string[]) => execFileSync(join(root, 'bin/turnout'), argv, { env, encoding: 'utf8' });
  t.after(() => {
    turnout('down', '--rundir', rundir);
    rmSync(rundir, { recursive: true });
  });
  turnout('up', '--enable-dummy', '--rundir', rundir);
  const from = (file: string, ...argv: string[]) =>
    execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(root, file), ...argv], {
      env,
      encoding: 'utf8',
    });
  const bundled = (name: string, ...argv: string[]) => from(`build/${name}.cjs`, ...argv);
  bundled('vsctl', 'add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy');
  bundled('ofctl', 'add-flow', 'br0', 'tcp,tp_dst=80,actions=drop');
  const questions: Record<string, readonly [argv: string[], answer: RegExp]> = {
    vsctl: [['list-br'], /^br0\n$/],
    ofctl: [['--no-stats', 'dump-flows', 'br0', 'tcp'], /tcp,tp_dst=80 actions=drop/],
    appctl: [['fdb/show', 'br0'], /port +VLAN +MAC +Age/],
    dpctl: [['dump-dps'], /dummy@/],
    'ovsdb-client': [['dump', 'Open_vSwitch', 'Bridge', 'name'], /br0/],
  };
  assert.deepEqual(Object.keys(questions).sort(), Object.keys(CLIENTS).sort());
  for (const [name, [argv, answer]] of Object.entries(questions)) {
    const text = bundled(name, ...argv);
    assert.match(text, answer, name);
    assert.equal(text, from('bin/turnout.ts', name, ...argv), name);
  }
});

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
