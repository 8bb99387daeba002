/**
 * What `npm run lint` runs: every check that needs no running switch, each by name, all of them even when one fails.
 *
 *   npm run lint -- [NAME …]     only the steps of these names
 */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkArrows } from './arrows.ts';
import { inspectWasm, violations } from './wasm-inspect.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

interface StepResult {
  ok: boolean;
  /** Shown after the step's name; all of it when the step failed. */
  detail: string;
}

interface Step {
  name: string;
  run: () => StepResult | Promise<StepResult>;
}

const STEPS: Step[] = [
  { name: 'format', run: () => tool('biome', ['check', '--max-diagnostics=60', '.']) },
  { name: 'types', run: () => tool('tsc', ['--noEmit', '-p', '.']) },
  { name: 'promises', run: () => tool('eslint', ['--max-warnings=0', '.']) },
  { name: 'arrows', run: arrows },
  {
    name: 'generated',
    run: () => tool('node', ['--disable-warning=ExperimentalWarning', 'tools/gen/main.ts', '--check']),
  },
  { name: 'wasm', run: wasm },
];

/** Runs a program of node_modules/.bin in the checkout. */
function tool(program: string, args: string[]): StepResult {
  const { status, stdout, stderr, error } = spawnSync(join(root, 'node_modules/.bin', program), args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  const output = `${stdout ?? ''}${stderr ?? ''}`.trim();
  return status === 0 ? { ok: true, detail: '' } : { ok: false, detail: error === undefined ? output : String(error) };
}

async function arrows(): Promise<StepResult> {
  const folders = ['src', 'protocols', 'bin', 'compat', 'tools', 'test', 'bench', 'fuzz'].filter((folder) =>
    existsSync(join(root, folder)),
  );
  const report = await checkArrows(root, folders);
  if (report.violations.length > 0) return { ok: false, detail: report.violations.join('\n') };
  return { ok: report.nModules > 0, detail: `${report.nModules} modules` };
}

/** Judges every module that `npm run build` made; the parts it was linked from (`x.app.wasm`) are none. */
function wasm(): StepResult {
  const files = globSync('build/*.wasm', { cwd: root }).filter((file) => file.split('.').length === 2);
  const faults = files.flatMap((file) =>
    violations(inspectWasm(readFileSync(join(root, file)))).map((fault) => `${file}: ${fault}`),
  );
  if (files.length === 0) return { ok: false, detail: 'build/ holds no .wasm: run `npm run build` first' };
  return faults.length > 0 ? { ok: false, detail: faults.join('\n') } : { ok: true, detail: files.join(' ') };
}

/** Runs the named steps (all, when none is named); returns the exit code. */
export async function main(names: string[]): Promise<number> {
  const unknown = names.filter((name) => !STEPS.some((step) => step.name === name));
  if (unknown.length > 0) {
    console.error(`lint: no step ${unknown.join(', ')}; there are ${STEPS.map((step) => step.name).join(', ')}`);
    return 2;
  }
  let nFailed = 0;
  for (const step of STEPS.filter((s) => names.length === 0 || names.includes(s.name))) {
    const { ok, detail } = await step.run();
    console.log(
      `${step.name.padEnd(10)} ${ok ? 'ok  ' : 'FAIL'}${detail === '' ? '' : ok ? ` ${detail}` : `\n${detail}`}`,
    );
    if (!ok) nFailed += 1;
  }
  return nFailed === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
