/** What `tools/run-tests.ts` counts and says: one `TestTally` a run, fed with the events of `node:test`'s `run()`. */
import type { TestsStream } from 'node:test';
import { inspect } from 'node:util';

/** The part of `test:pass` and `test:fail` events that is read here. */
export interface TestOutcome {
  name: string;
  nesting: number;
  file?: string | undefined;
  skip?: string | boolean | undefined;
  todo?: string | boolean | undefined;
  details: { duration_ms: number; type?: string | undefined; error?: Error | undefined };
}

export interface TestOutput {
  file?: string | undefined;
  message: string;
}

export interface TallyOptions {
  /** A skip or a todo counts as a failure (TURNOUT_REQUIRE_ALL=1). */
  requireAll: boolean;
  /** A file in which no test ran is all right: a name pattern was given. */
  allowEmptyFiles: boolean;
  /** Strips the checkout's path from file names. */
  relative: (file: string) => string;
  print: (line: string) => void;
}

/** Failure types that only repeat what a child test already said. */
const REPEATS = new Set(['subtestsFailed', 'cancelledByParent']);

/** Counts tests (suites and files are not tests), keeps each file's output until the file fails, and prints as it goes. */
export class TestTally {
  passed = 0;
  failed = 0;
  skipped = 0;
  readonly #options: TallyOptions;
  readonly #output = new Map<string, string[]>();
  readonly #failures: string[] = [];

  constructor(options: TallyOptions) {
    this.#options = options;
  }

  /** Consumes a whole stream of `run()`. */
  async consume(stream: TestsStream): Promise<void> {
    for await (const { type, data } of stream) {
      if (type === 'test:pass') this.#pass(data as TestOutcome);
      else if (type === 'test:fail') this.#fail(data as TestOutcome);
      else if (type === 'test:stdout' || type === 'test:stderr') this.#keep(data as TestOutput);
      else if (type === 'test:summary' && data.file !== undefined) this.#fileDone(data.file, data.duration_ms);
    }
  }

  get exitCode(): 0 | 1 {
    return this.failed > 0 || this.passed === 0 ? 1 : 0;
  }

  summary(): string {
    const skipped = this.skipped > 0 ? `, ${this.skipped} skipped` : '';
    return `${this.passed} passed, ${this.failed} failed${skipped}`;
  }

  printFailures(): void {
    if (this.#failures.length === 0) return;
    this.#options.print('');
    this.#options.print('Failures:');
    for (const failure of this.#failures) this.#options.print(failure);
    this.#options.print('');
  }

  #pass(outcome: TestOutcome): void {
    if (outcome.details.type === 'suite') return;
    const reason = skipReason(outcome);
    if (outcome.name === outcome.file) this.#emptyFile(outcome);
    else if (reason === undefined) this.passed += 1;
    else this.#skip(outcome, reason);
  }

  #emptyFile(outcome: TestOutcome): void {
    if (!this.#options.allowEmptyFiles) this.#record(outcome, 'the file holds no test');
  }

  #skip(outcome: TestOutcome, reason: string): void {
    if (this.#options.requireAll) {
      this.#record(outcome, `skipped: ${reason}`);
      return;
    }
    this.skipped += 1;
    this.#options.print(`  skip  ${this.#where(outcome)}: ${reason}`);
  }

  #fail(outcome: TestOutcome): void {
    const error = outcome.details.error as (Error & { failureType?: string; cause?: unknown }) | undefined;
    if (error !== undefined && REPEATS.has(error.failureType ?? '')) {
      if (outcome.details.type !== 'suite') this.failed += 1;
      return;
    }
    const cause = error?.cause ?? error;
    this.#record(outcome, cause instanceof Error ? (cause.stack ?? cause.message) : inspect(cause));
  }

  #record(outcome: TestOutcome, why: string): void {
    this.failed += 1;
    const where = this.#where(outcome);
    const output = (outcome.file === undefined ? undefined : this.#output.get(outcome.file)) ?? [];
    const text = [
      `  FAIL  ${where}`,
      ...indent(why),
      ...(output.length > 0 ? ['        output of the file:'] : []),
      ...indent(output.join('')),
    ];
    this.#options.print(text.join('\n'));
    this.#failures.push(`  ${where}: ${why.split('\n')[0]}`);
  }

  #keep({ file, message }: TestOutput): void {
    if (file === undefined) return;
    const lines = this.#output.get(file) ?? [];
    lines.push(message);
    this.#output.set(file, lines.slice(-400));
  }

  #fileDone(file: string, durationMs: number): void {
    this.#output.delete(file);
    this.#options.print(`  done  ${this.#options.relative(file)} (${(durationMs / 1000).toFixed(1)} s)`);
  }

  #where(outcome: TestOutcome): string {
    const file = outcome.file === undefined ? '?' : this.#options.relative(outcome.file);
    return outcome.name === outcome.file ? file : `${file}: ${outcome.name}`;
  }
}

function skipReason(outcome: TestOutcome): string | undefined {
  const mark = outcome.skip || outcome.todo;
  if (mark === undefined || mark === false) return undefined;
  return typeof mark === 'string' && mark !== '' ? mark : 'no reason given';
}

function indent(text: string): string[] {
  return text === ''
    ? []
    : text
        .trimEnd()
        .split('\n')
        .map((line) => `        ${line}`);
}
