import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { select } from './run-tests.ts';

const runner = join(dirname(fileURLToPath(import.meta.url)), 'run-tests.ts');
const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** A throw-away project that holds the given test files. */
function project(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'turnout-run-tests-'));
  folders.push(root);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), `import { test, describe } from 'node:test';\n${text}\n`);
  }
  return root;
}

/** Whether it runs no more; reaping it is its new parent's affair. */
function ended(pid: number): boolean {
  const stat = `/proc/${pid}/stat`;
  return !existsSync(stat) || /^\d+ \(.*\) Z/s.test(readFileSync(stat, 'utf8'));
}

/** Runs the runner as npm does; NODE_TEST_CONTEXT would make it a child of the runner that runs this test. */
function runTests(root: string, args: string[] = [], env: Record<string, string> = {}) {
  const { NODE_TEST_CONTEXT: _, TURNOUT_REQUIRE_ALL: __, TURNOUT_TEST_FILE_PID: ___, ...rest } = process.env;
  const result = spawnSync(process.execPath, [runner, '--root', root, ...args], {
    encoding: 'utf8',
    env: { ...rest, ...env },
  });
  const lines = result.stdout.trimEnd().split('\n');
  return { status: result.status, stdout: result.stdout, last: lines.at(-1) };
}

test('counts the tests of several folders, not the suites', () => {
  const root = project({
    'src/a.test.ts': "describe('suite', () => { test('one', () => {}); test('two', () => {}); });",
    'tools/b.test.ts': "test('three', () => {});",
  });
  const { status, last } = runTests(root);
  assert.deepEqual({ status, last }, { status: 0, last: '3 passed, 0 failed' });
});

test('a failure gives exit code 1, its reason and the output of its file', () => {
  const root = project({ 'src/a.test.ts': "console.log('seen'); test('bad', () => { throw new Error('because'); });" });
  const { status, last, stdout } = runTests(root);
  assert.deepEqual({ status, last }, { status: 1, last: '0 passed, 1 failed' });
  assert.match(stdout, /src\/a\.test\.ts: bad/);
  assert.match(stdout, /because/);
  assert.match(stdout, /seen/);
});

test('what tests leave in the temporary folder is gone afterwards', () => {
  const leave = `
    import { mkdtempSync } from 'node:fs';
    import { tmpdir } from 'node:os';
    test('leaves a folder', () => console.log('made', mkdtempSync(tmpdir() + '/left-')));
    test('fails, so that its output is shown', () => { throw new Error('shown'); });`;
  const root = project({ 'src/a.test.ts': leave });
  const made = /made (\S+)/.exec(runTests(root).stdout)?.[1] ?? '';
  assert.ok(made.startsWith(tmpdir()), `in ${tmpdir()}: ${made}`);
  assert.equal(existsSync(dirname(made)), false);
});

test('a skip is named with its reason, and is a failure under TURNOUT_REQUIRE_ALL', () => {
  const root = project({ 'src/a.test.ts': "test('ok', () => {}); test('wants a peer', (t) => t.skip('no testpmd'));" });
  const lenient = runTests(root);
  assert.deepEqual([lenient.status, lenient.last], [0, '1 passed, 0 failed, 1 skipped']);
  assert.match(lenient.stdout, /skip {2}src\/a\.test\.ts: wants a peer: no testpmd/);
  const strict = runTests(root, [], { TURNOUT_REQUIRE_ALL: '1' });
  assert.deepEqual([strict.status, strict.last], [1, '1 passed, 1 failed']);
});

test('a hung test, a file that does not load and a file without tests fail', () => {
  const root = project({
    'src/hung.test.ts': "test('hung', () => new Promise((r) => setTimeout(r, 2000)));",
    'src/load.test.ts': "import './absent.ts';",
    'src/none.test.ts': '',
  });
  const { status, last, stdout } = runTests(root, ['--timeout', '200']);
  assert.deepEqual({ status, last }, { status: 1, last: '0 passed, 3 failed' });
  assert.match(stdout, /timed out after 200ms/);
  assert.match(stdout, /the file holds no test/);
});

test('nothing to run is a failure', () => {
  assert.equal(runTests(project({})).status, 1);
});

test('--only takes a path, or else a test name', () => {
  const root = project({
    'src/a.test.ts': "test('alpha', () => {}); test('beta', () => {});",
    'src/b.test.ts': "test('gamma', () => {});",
  });
  assert.equal(runTests(root, ['--only', 'b.test']).last, '1 passed, 0 failed');
  assert.equal(runTests(root, ['--only', 'beta']).last, '1 passed, 0 failed');
});

test('files of test/system are run apart', () => {
  const root = project({ 'src/a.test.ts': '', 'test/system/s.test.ts': '' });
  assert.deepEqual(select(root), { shared: ['src/a.test.ts'], serial: ['test/system/s.test.ts'] });
});

test('what a file leaves running is ended, and does not hold up the run', () => {
  const leave = `
    import { spawn } from 'node:child_process';
    test('leaves a process', () => {
      const child = spawn('sleep', ['3600'], { detached: true, stdio: 'inherit' });
      child.unref();
      console.log('left', child.pid);
    });
    test('fails, so that its output is shown', () => { throw new Error('shown'); });`;
  const { last, stdout } = runTests(project({ 'src/a.test.ts': leave }));
  assert.equal(last, '1 passed, 1 failed');
  const pid = Number(/left (\d+)/.exec(stdout)?.[1]);
  assert.ok(pid > 0, stdout);
  assert.ok(ended(pid));
});
