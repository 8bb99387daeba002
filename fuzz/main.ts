/**
 * Coverage-guided fuzzing of one parser:
 *
 *   node fuzz/main.ts TARGET [--seconds N] [--seed N] [--keep] [--input FILE]      TARGET: a file of fuzz/targets
 *
 * Begins with the target's seeds and fuzz/corpus/TARGET; prints its seed. `--keep` writes inputs that reached something new into the
 * corpus. A finding is written to fuzz/findings/ and printed with its stack; the exit code is then 1. `--input` runs that file alone.
 */
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { fuzz, type Target } from './engine.ts';
import { coverage, registerCoverage } from './instrument.ts';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const SOURCES = new URL('../src/', import.meta.url).href;

const nameOf = (input: Uint8Array): string => createHash('sha1').update(input).digest('hex').slice(0, 16);

function readCorpus(name: string): Uint8Array[] {
  const folder = join(HERE, 'corpus', name);
  return globSync('*', { cwd: folder })
    .sort()
    .map((file) => readFileSync(join(folder, file)));
}

function writeInto(folder: string, inputs: readonly Uint8Array[]): void {
  mkdirSync(join(HERE, folder), { recursive: true });
  for (const input of inputs) writeFileSync(join(HERE, folder, nameOf(input)), input);
}

/** Runs the target for that long; returns the exit code. */
function run(target: Target, seconds: number, seed: number, keep: boolean): number {
  console.log(`fuzz ${target.name}: seed ${seed}`);
  const known = readCorpus(target.name);
  const end = performance.now() + seconds * 1000;
  const result = fuzz(target, known, { seed, coverage, goOn: () => performance.now() < end });
  console.log(
    `fuzz ${target.name}: ${result.runs} runs, ${result.reached} of ${coverage().length} branches, ${result.corpus.length} inputs`,
  );
  if (keep) writeInto(join('corpus', target.name), result.corpus);
  if (!result.finding) return 0;
  const { input, error } = result.finding;
  writeInto('findings', [input]);
  console.log(
    `finding: fuzz/findings/${nameOf(input)} (${input.length} bytes): ${JSON.stringify(Buffer.from(input).toString('latin1'))}`,
  );
  console.log(error instanceof Error ? error.stack : error);
  return 1;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string' },
      keep: { type: 'boolean', default: false },
      input: { type: 'string' },
    },
  });
  const file = join(HERE, 'targets', `${positionals[0]}.ts`);
  if (positionals.length !== 1 || !existsSync(file)) {
    const names = globSync('*.ts', { cwd: join(HERE, 'targets') }).map((name) => basename(name, '.ts'));
    console.error(
      `usage: node fuzz/main.ts TARGET [--seconds N] [--seed N] [--keep] [--input FILE]   (${names.join(', ')})`,
    );
    return 2;
  }
  registerCoverage((url) => url.startsWith(SOURCES));
  const { target } = (await import(file)) as { target: Target };
  if (values.input !== undefined) {
    target.run(readFileSync(values.input));
    return 0;
  }
  return run(target, Number(values.seconds), Number(values.seed ?? Date.now() % 0x7fffffff), values.keep);
}

process.exitCode = await main();
