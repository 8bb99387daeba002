/**
 * What `npm test` runs. Finds every `*.test.ts` of the folders below, runs them with the Node that runs this file, and ends with one
 * line `N passed, N failed` (`, N skipped` when there were any).
 *
 *   npm test -- [--only PATTERN] [--root DIR] [--timeout MS]
 *
 * `--only` takes a pattern of file paths; where no path matches it, it is one of test names. The files of test/system run one after the
 * other, after the rest: they share huge pages, cores and network namespaces. TURNOUT_REQUIRE_ALL=1 makes a skip a failure. What a file
 * leaves running is ended.
 */
import { existsSync, globSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { run } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { endOrphans } from './orphans.ts';
import { TestTally } from './test-tally.ts';

const FOLDERS = ['src', 'protocols', 'test', 'bench', 'tools'];

/** Liveness deadlines, not expectations: a hung test ends its run instead of the CI job. */
const TEST_DEADLINE_MS = 240_000;
const FILE_DEADLINE_MS = 900_000;

const MARK_TEST_FILE = fileURLToPath(new URL('mark-test-file.ts', import.meta.url));
const ORPHANS_EVERY_MS = 2000;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

interface Selection {
  /** Files that may run beside each other. */
  shared: string[];
  /** Files that need the machine for themselves. */
  serial: string[];
  namePattern?: string;
}

/** All test files below `root`, or those that `only` names. */
export function select(root: string, only?: string): Selection {
  const files = FOLDERS.filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => globSync(`${folder}/**/*.test.ts`, { cwd: root }))
    .sort();
  const named = only === undefined ? files : files.filter((file) => new RegExp(only).test(file));
  const chosen = named.length > 0 ? named : files;
  const isSystem = (file: string) => file.startsWith('test/system/');
  return {
    shared: chosen.filter((file) => !isSystem(file)),
    serial: chosen.filter(isSystem),
    ...(only !== undefined && named.length === 0 ? { namePattern: only } : {}),
  };
}

async function runFiles(
  tally: TestTally,
  root: string,
  files: string[],
  concurrency: number,
  options: RunOptions,
): Promise<void> {
  if (files.length === 0) return;
  const stream = run({
    files: files.map((file) => join(root, file)),
    cwd: root,
    concurrency,
    isolation: 'process',
    timeout: FILE_DEADLINE_MS,
    execArgv: [
      '--disable-warning=ExperimentalWarning',
      `--import=${MARK_TEST_FILE}`,
      `--test-timeout=${options.timeoutMs}`,
    ],
    ...(options.namePattern === undefined ? {} : { testNamePatterns: [options.namePattern] }),
  });
  await tally.consume(stream);
}

interface RunOptions {
  timeoutMs: number;
  namePattern?: string | undefined;
}

/** All that the tests put into the system's temporary folder goes into one of their own, which is removed with them. */
function giveTemporaryFolder(): { path: string; remove(): void } {
  const outer = process.env.TMPDIR;
  // A short name: sockets are made in it.
  const path = mkdtempSync(join(tmpdir(), 'tt-'));
  process.env.TMPDIR = path;
  const remove = () => rmSync(path, { recursive: true, force: true });
  const interrupted = (signal: NodeJS.Signals) => {
    remove();
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.once(signal, interrupted);
  return {
    path,
    remove() {
      for (const signal of SIGNALS) process.off(signal, interrupted);
      if (outer === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = outer;
      remove();
    },
  };
}

/** Runs and reports; returns the exit code. Stdout gets the report. */
export async function main(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: { only: { type: 'string' }, root: { type: 'string' }, timeout: { type: 'string' } },
  });
  const root = resolve(values.root ?? dirname(dirname(fileURLToPath(import.meta.url))));
  const selection = select(root, values.only);
  const tally = new TestTally({
    requireAll: process.env.TURNOUT_REQUIRE_ALL === '1',
    allowEmptyFiles: selection.namePattern !== undefined,
    relative: (file) => relative(root, file),
    print: (line) => console.log(line),
  });
  const options = { timeoutMs: Number(values.timeout ?? TEST_DEADLINE_MS), namePattern: selection.namePattern };
  const folder = giveTemporaryFolder();
  const orphans = setInterval(() => endOrphans(`TMPDIR=${folder.path}`), ORPHANS_EVERY_MS);
  try {
    await runFiles(tally, root, selection.shared, Math.max(2, availableParallelism()), options);
    await runFiles(tally, root, selection.serial, 1, options);
  } finally {
    clearInterval(orphans);
    folder.remove();
  }
  tally.printFailures();
  console.log(tally.summary());
  return tally.exitCode;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
