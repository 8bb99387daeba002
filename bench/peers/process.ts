/** Programs that a benchmark or a system test starts: their output is kept, and none of them outlives the process that started it. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

export interface CommandResult {
  /** 128 + signal when a signal ended it, as in a shell. */
  status: number;
  stdout: string;
  stderr: string;
}

/** How long a command or a wait may take before the peer counts as hung. */
export const LIVENESS_MS = 60_000;

/** Runs a program to its end. Never throws on a status; see `check()`. */
export function command(
  argv: string[],
  options: { env?: NodeJS.ProcessEnv; input?: string; timeoutMs?: number } = {},
): Promise<CommandResult> {
  const [program, ...args] = argv;
  return new Promise((resolve) => {
    const settings = {
      env: options.env ?? process.env,
      timeout: options.timeoutMs ?? LIVENESS_MS,
      killSignal: 'SIGKILL',
      maxBuffer: 1 << 28,
    } as const;
    const child = execFile(program, args, settings, (error, stdout, stderr) => {
      resolve({ status: exitStatus(error), stdout, stderr: error !== null && stderr === '' ? String(error) : stderr });
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}

function exitStatus(error: unknown): number {
  if (error === null) return 0;
  const { code, signal } = error as { code?: unknown; signal?: NodeJS.Signals | null };
  if (typeof code === 'number') return code;
  return signal ? 128 + constants.signals[signal] : 127;
}

/** Runs a program that must succeed; returns its stdout. */
export async function check(
  argv: string[],
  options: { env?: NodeJS.ProcessEnv; input?: string; timeoutMs?: number } = {},
): Promise<string> {
  const { status, stdout, stderr } = await command(argv, options);
  if (status !== 0) throw new Error(`${argv.join(' ')}: exit status ${status}\n${stderr}${stdout}`);
  return stdout;
}

/** Calls `probe` until it returns something; fails with `what` and the last error after `deadlineMs`. */
export async function eventually<T>(
  what: string,
  probe: () => T | undefined | Promise<T | undefined>,
  deadlineMs = LIVENESS_MS,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  let last = '';
  while (performance.now() < end) {
    try {
      const value = await probe();
      if (value !== undefined) return value;
      last = '';
    } catch (error) {
      last = `: ${error instanceof Error ? error.message : String(error)}`;
    }
    await sleep(50);
  }
  throw new Error(`not within ${deadlineMs / 1000} s: ${what}${last}`);
}

/** Repeats a check that throws until it stops throwing, and then fails with its last error. */
export async function eventuallyHolds(holds: () => Promise<void>, deadlineMs = LIVENESS_MS): Promise<void> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    try {
      await holds();
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await sleep(200);
  }
}

/** A started program. */
export class Running {
  readonly name: string;
  readonly pid: number;
  /** Resolves with the exit status once it ended. */
  readonly exited: Promise<number>;
  /** Undefined while it runs. */
  status: number | undefined;
  readonly #child: ChildProcess;
  #output = '';
  #errors = '';

  constructor(name: string, child: ChildProcess, pid: number) {
    this.name = name;
    this.pid = pid;
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text;
    });
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.status = code ?? 128 + constants.signals[signal ?? 'SIGKILL'];
        forget(pid);
        resolve(this.status);
      });
    });
  }

  /** Starts `argv` with stdin as a pipe. `name` stands in error texts. */
  static async start(name: string, argv: string[], env: NodeJS.ProcessEnv = process.env): Promise<Running> {
    const [program, ...args] = argv;
    const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.on('error', () => {});
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve).once('error', reject);
    });
    const pid = child.pid as number;
    killAtExit(pid);
    return new Running(name, child, pid);
  }

  /** What it wrote to stdout so far. Kept apart from stderr, which would come in the middle of a prompt. */
  get output(): string {
    return this.#output;
  }

  /** What it wrote to stderr so far. */
  get errors(): string {
    return this.#errors;
  }

  /** Both, for the text of an error. */
  get log(): string {
    return `${this.#output}${this.#errors}`;
  }

  write(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Waits until stdout from `from` on matches; returns the match. Fails when the program ends before. */
  async waitFor(pattern: RegExp, from = 0, deadlineMs = LIVENESS_MS): Promise<RegExpExecArray> {
    const end = performance.now() + deadlineMs;
    for (;;) {
      const match = pattern.exec(this.#output.slice(from));
      if (match !== null) return match;
      if (this.status !== undefined)
        throw new Error(`${this.name} ended with ${this.status} before ${pattern}:\n${this.log}`);
      if (performance.now() > end) throw new Error(`${this.name} did not say ${pattern}:\n${this.log}`);
      await sleep(20);
    }
  }

  /** Sends `signal` and waits for the end; SIGKILL follows when it does not come. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', patienceMs = 10_000): Promise<number> {
    if (this.status === undefined) this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), patienceMs);
    const status = await this.exited;
    clearTimeout(timer);
    // Its own children may still hold the pipes, which would keep this process alive.
    for (const stream of this.#child.stdio) stream?.destroy();
    return status;
  }
}

const pids = new Set<number>();

/** Has `pid` killed when this process ends, however it ends short of SIGKILL. For daemons that detach. */
export function killAtExit(pid: number): void {
  if (pids.size === 0) installExitHooks();
  pids.add(pid);
}

export function forget(pid: number): void {
  pids.delete(pid);
}

let hooksInstalled = false;

function installExitHooks(): void {
  if (hooksInstalled) return;
  hooksInstalled = true;
  process.on('exit', () => {
    for (const pid of pids) kill(pid, 'SIGKILL');
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
  }
}

/** Signals a process that may be gone already; returns whether it was there. */
export function kill(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}
