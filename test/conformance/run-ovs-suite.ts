/**
 * Runs parts of Open vSwitch's own test suite against Turnout:
 *
 *   node test/conformance/run-ovs-suite.ts [--all] [--real] [--jobs N] [--keep] PART...      e.g. ovsdb-server ovsdb-monitor
 *
 * PART is one of the suite's `.at` files. For each, `PART.txt` beside this file lists the tests that the real programs pass on a machine
 * without a build tree (the others need C helper programs). Reports "the real programs pass N, Turnout passes M of those N", and ends
 * with code 1 when one of them fails that `PART.failing.txt` does not list. Those are run with `--all` only: many fail by waiting.
 * `--real` runs the real programs instead and prints the list.
 */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const SOURCE = '/usr/src/openvswitch/openvswitch.tar.gz';
const HERE = fileURLToPath(new URL('.', import.meta.url));
const COMPAT = fileURLToPath(new URL('../../compat/sbin', import.meta.url));
const SYSTEM_PATH = '/usr/sbin:/usr/bin';

/** A line of a list: `NUMBER TITLE`, as the suite has them. */
type SuiteTest = string;

const numberOf = (suiteTest: SuiteTest): number => Number.parseInt(suiteTest, 10);

function run(cwd: string, program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** Unpacks the suite into `folder` and writes what `configure` would have. Returns the folder of the tests. */
function prepare(folder: string): string {
  run(folder, 'tar', 'xzf', SOURCE, '--strip-components=1');
  const tests = join(folder, 'tests');
  const variables = {
    at_testdir: 'tests',
    abs_builddir: tests,
    at_srcdir: tests,
    abs_srcdir: tests,
    at_top_srcdir: folder,
    abs_top_srcdir: folder,
    at_top_build_prefix: `${folder}/`,
    abs_top_builddir: folder,
    EXEEXT: '',
    AUTOTEST_PATH: tests,
  };
  writeFileSync(
    join(tests, 'atconfig'),
    Object.entries(variables)
      .map(([name, value]) => `${name}='${value}'\n`)
      .join(''),
  );
  const answers: { readonly [name: string]: string } = {
    HAVE_OPENSSL: 'yes',
    PYTHON3: '/usr/bin/python3',
    EGREP: 'grep -E',
  };
  const atlocal = readFileSync(join(tests, 'atlocal.in'), 'utf8').replaceAll(
    /@(\w+)@/g,
    (_all, name: string) => answers[name] ?? '',
  );
  writeFileSync(join(tests, 'atlocal'), atlocal);
  makeKeys(tests);
  return tests;
}

/** The keys that the suite's makefile would have made. */
function makeKeys(tests: string): void {
  const pki = (...args: string[]) => run(tests, 'ovs-pki', `--dir=${tests}/pki`, `--log=${tests}/ovs-pki.log`, ...args);
  pki('init');
  copyFileSync(join(tests, 'pki/switchca/cacert.pem'), join(tests, 'testpki-cacert.pem'));
  for (const [name, suffix] of [
    ['key1', ''],
    ['key2', '2'],
  ] as const) {
    pki('req+sign', name);
    for (const part of ['cert', 'privkey', 'req']) {
      copyFileSync(join(tests, `${name}-${part}.pem`), join(tests, `testpki-${part}${suffix}.pem`));
    }
  }
}

/** The tests of an `.at` file, from the suite's own list (`number;file:line;title;keywords;`). */
function testsOf(tests: string, part: string): SuiteTest[] {
  const suite = readFileSync(join(tests, 'testsuite'), 'latin1');
  const found = suite.matchAll(new RegExp(`^(\\d+);${part}\\.at:\\d+;(.*);[^;\n]*;$`, 'gm'));
  return [...found].map(([, number, title]) => `${number} ${title}`);
}

/** Runs the tests; returns those that pass. */
function passing(tests: string, wanted: readonly SuiteTest[], path: string, jobs: string): Set<SuiteTest> {
  const folder = mkdtempSync(join(tmpdir(), 'turnout-suite-run-'));
  try {
    for (const file of ['atconfig', 'atlocal']) copyFileSync(join(tests, file), join(folder, file));
    const numbers = wanted.map((one) => String(numberOf(one)));
    const args = [join(tests, 'testsuite'), '-C', folder, `-j${jobs}`, `AUTOTEST_PATH=${path}`, ...numbers];
    const { stdout } = spawnSync('sh', args, { cwd: folder, encoding: 'utf8', maxBuffer: 1 << 28 });
    const ok = new Set([...stdout.matchAll(/^ *(\d+): .* ok *$/gm)].map(([, number]) => Number(number)));
    return new Set(wanted.filter((one) => ok.has(numberOf(one))));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readList(name: string): string[] {
  const path = join(HERE, name);
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** Reports on a part; returns the tests that failed and were not known to. */
function report(part: string, tests: string, jobs: string, runKnown: boolean): string[] {
  const wanted = readList(`${part}.txt`);
  const present = new Set(testsOf(tests, part));
  const moved = wanted.find((one) => !present.has(one));
  if (moved !== undefined) throw new Error(`the suite has no test "${moved}": make ${part}.txt anew with --real`);
  const known = new Set(readList(`${part}.failing.txt`));
  const chosen = wanted.filter((one) => runKnown || !known.has(one));
  const passed = passing(tests, chosen, `${COMPAT}:${SYSTEM_PATH}`, jobs);
  console.log(
    `${part}: the real programs pass ${wanted.length}, Turnout passes ${passed.size} of those ${wanted.length}`,
  );
  return chosen.filter((one) => !passed.has(one) && !known.has(one));
}

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      all: { type: 'boolean' },
      real: { type: 'boolean' },
      jobs: { type: 'string', default: '2' },
      keep: { type: 'boolean' },
    },
  });
  if (positionals.length === 0) {
    const parts = globSync('*.txt', { cwd: HERE }).filter((name) => !name.includes('.failing.'));
    console.error(
      `usage: run-ovs-suite.ts [--all] [--real] [--jobs N] [--keep] PART...   (${parts.map((p) => p.replace('.txt', '')).join(', ')})`,
    );
    return 2;
  }
  if (!existsSync(SOURCE)) {
    console.error(`${SOURCE} is missing: install openvswitch-source`);
    return 2;
  }
  const folder = mkdtempSync(join(tmpdir(), 'turnout-suite-'));
  mkdirSync(folder, { recursive: true });
  try {
    const tests = prepare(folder);
    const failed: string[] = [];
    for (const part of positionals) {
      if (!values.real) failed.push(...report(part, tests, values.jobs, values.all ?? false));
      else for (const name of passing(tests, testsOf(tests, part), SYSTEM_PATH, values.jobs)) console.log(name);
    }
    for (const name of failed) console.log(`FAILED: ${name}`);
    return failed.length === 0 ? 0 : 1;
  } finally {
    if (!values.keep) rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = main();
