/** Open vSwitch's own test suite, as Debian's openvswitch-source brings it: unpacked, set up without a build, and run. */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OVS_SUITE } from '../support/require.ts';

const SYSTEM_PATH = '/usr/sbin:/usr/bin';
const SBIN = fileURLToPath(new URL('../../compat/sbin', import.meta.url));
const BIN = fileURLToPath(new URL('../../compat/bin', import.meta.url));

/** Whose programs a run finds first: all real, Turnout's daemons, or Turnout's clients too. */
export type Programs = 'real' | 'daemons' | 'clients';

const PATHS: Readonly<Record<Programs, string>> = {
  real: SYSTEM_PATH,
  daemons: `${SBIN}:${SYSTEM_PATH}`,
  clients: `${BIN}:${SBIN}:${SYSTEM_PATH}`,
};

/** A line of a list: `NUMBER TITLE`, as the suite has them. */
export type SuiteTest = string;

export const numberOf = (suiteTest: SuiteTest): number => Number.parseInt(suiteTest, 10);

function run(cwd: string, program: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
}

/** What `configure` would have written into `atconfig`. */
function atconfig(folder: string, tests: string): string {
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
  return Object.entries(variables)
    .map(([name, value]) => `${name}='${value}'\n`)
    .join('');
}

const ANSWERS: { readonly [name: string]: string } = {
  HAVE_OPENSSL: 'yes',
  PYTHON3: '/usr/bin/python3',
  EGREP: 'grep -E',
};

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

/**
 * The suites of the archive: of programs, and of a switch between network namespaces. The second wants namespaces and interfaces of its own, and runs one test
 * at a time.
 */
export type SuiteScript = 'testsuite' | 'system-userspace-testsuite';

/** Network namespaces that a test makes, and nobody else sees. */
const ALONE = 'mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && exec "$@"';

/** An unpacked suite in a temporary folder. `remove()` when done. */
export class Suite {
  readonly folder: string;
  readonly #script: SuiteScript;
  readonly #tests: string;
  readonly #text: string;

  constructor(script: SuiteScript = 'testsuite') {
    this.#script = script;
    this.folder = mkdtempSync(join(tmpdir(), 'suite-'));
    this.#tests = join(this.folder, 'tests');
    run(this.folder, 'tar', 'xzf', OVS_SUITE, '--strip-components=1');
    writeFileSync(join(this.#tests, 'atconfig'), atconfig(this.folder, this.#tests));
    const atlocal = readFileSync(join(this.#tests, 'atlocal.in'), 'utf8');
    writeFileSync(
      join(this.#tests, 'atlocal'),
      atlocal.replaceAll(/@(\w+)@/g, (_all, name: string) => ANSWERS[name] ?? ''),
    );
    makeKeys(this.#tests);
    this.#text = readFileSync(join(this.#tests, script), 'latin1');
  }

  /** The tests of an `.at` file, from the suite's own list (`number;file:line;title;keywords;`). */
  testsOf(part: string): SuiteTest[] {
    const found = this.#text.matchAll(new RegExp(`^(\\d+);${part}\\.at:\\d+;(.*);[^;\n]*;$`, 'gm'));
    return [...found].map(([, number, title]) => `${number} ${title}`);
  }

  /**
   * Runs the tests, `jobs` at a time; resolves with those that pass and, of the others, the end of their logs.
   * `progress` gets each line that the suite says about a test.
   */
  async run(
    wanted: readonly SuiteTest[],
    programs: Programs,
    jobs: number,
    progress: (line: string) => void = () => {},
  ): Promise<{ passed: Set<SuiteTest>; logs: Map<SuiteTest, string> }> {
    if (wanted.length === 0) return { passed: new Set(), logs: new Map() };
    const folder = mkdtempSync(join(this.folder, 'run-'));
    for (const file of ['atconfig', 'atlocal']) copyFileSync(join(this.#tests, file), join(folder, file));
    const numbers = wanted.map((one) => String(numberOf(one)));
    const isSystem = this.#script !== 'testsuite';
    const how = ['-C', folder, `-j${isSystem ? 1 : jobs}`, `AUTOTEST_PATH=${PATHS[programs]}`];
    const argv = ['sh', join(this.#tests, this.#script), ...how, ...numbers];
    const output = isSystem
      ? await outputOf('unshare', ['--net', '--mount', 'sh', '-c', ALONE, 'sh', ...argv], folder, progress)
      : await outputOf('sh', argv.slice(1), folder, progress);
    const ok = new Set([...output.matchAll(/^ *(\d+): .* ok *$/gm)].map(([, number]) => Number(number)));
    const passed = new Set(wanted.filter((one) => ok.has(numberOf(one))));
    const logs = new Map(wanted.filter((one) => !passed.has(one)).map((one) => [one, this.#logOf(folder, one)]));
    return { passed, logs };
  }

  #logOf(folder: string, one: SuiteTest): string {
    const digits = this.#script === 'testsuite' ? 4 : 3;
    const name = String(numberOf(one)).padStart(digits, '0');
    try {
      const log = readFileSync(join(folder, `${this.#script}.dir`, name, `${this.#script}.log`), 'utf8');
      return log.split('\n').slice(-LOG_LINES).join('\n');
    } catch {
      return 'no log: it was skipped, or did not run';
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const LOG_LINES = 60;

function outputOf(program: string, args: string[], cwd: string, progress: (line: string) => void): Promise<string> {
  mkdirSync(cwd, { recursive: true });
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    let shown = 0;
    child.stdout.setEncoding('utf8').on('data', (more: string) => {
      text += more;
      for (let end = text.indexOf('\n', shown); end >= 0; end = text.indexOf('\n', shown)) {
        progress(text.slice(shown, end));
        shown = end + 1;
      }
    });
    child.stderr.resume();
    child.once('error', reject).once('close', () => resolve(text));
  });
}
