/**
 * The committed lists. `PART.txt`: what the real programs pass on a machine without a build tree, in any of three runs (the other
 * tests need C helper programs). `PART.failing.txt`: those of them that Turnout does not pass. `sample-count.txt`: how many tests CI
 * runs at least; it falls only by a commit that says why.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PARTS, type Part } from './parts.ts';
import { numberOf, type SuiteTest } from './suite.ts';

const HERE = fileURLToPath(new URL('.', import.meta.url));

function readList(name: string): string[] {
  const path = join(HERE, name);
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** What counts: all that the real programs pass. */
export const wantedOf = (part: Part): SuiteTest[] =>
  readList(`${part.name}.txt`).filter((one) => !part.except?.title.test(one));

/** What is known not to pass yet. */
export const failingOf = (part: Part): ReadonlySet<SuiteTest> => new Set(readList(`${part.name}.failing.txt`));

/** What has to pass. */
export function passingOf(part: Part): SuiteTest[] {
  const failing = failingOf(part);
  return wantedOf(part).filter((one) => !failing.has(one));
}

/** CI has time for one test in so many; which ones depends on the test's number alone, so that they stay the same. */
const SAMPLE_STRIDE = 6;
/** Those of a switch between namespaces take their time one after the other. */
const SYSTEM_STRIDE = 11;

export const sampleOf = (part: Part): SuiteTest[] =>
  passingOf(part).filter((one) => numberOf(one) % (part.script ? SYSTEM_STRIDE : SAMPLE_STRIDE) === 0);

export const sampleCount = (): number => PARTS.reduce((sum, part) => sum + sampleOf(part).length, 0);

export const committedSampleCount = (): number => Number(readList('sample-count.txt')[0] ?? 0);
