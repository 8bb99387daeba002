/** The programs that the demo starts: each in a process group of its own, so that a Ctrl-C reaches the demo first. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const TURNOUT = fileURLToPath(new URL('../../bin/turnout.ts', import.meta.url));
/** A program that does not end by itself after SIGTERM is killed after this. */
const GRACE_MS = 5000;
/** How much of a program's last words is kept for the error message. */
const KEEP = 4000;

export class DemoProcess {
  readonly name: string;
  readonly child: ChildProcess;
  #log = '';
  #lines: ((line: string) => void)[] = [];
  #partial = '';
  /** Resolves with the exit code, or 128 + the signal's number as a shell would say. */
  readonly ended: Promise<number>;

  constructor(name: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    this.name = name;
    this.child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', TURNOUT, ...args], {
      env,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.child.stdin!.on('error', () => {});
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => this.#keep(text));
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => this.#onOutput(text));
    this.ended = once(this.child, 'exit').then(([code]) => (code as number | null) ?? 128);
  }

  #keep(text: string): void {
    this.#log = (this.#log + text).slice(-KEEP);
  }

  #onOutput(text: string): void {
    this.#keep(text);
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop()!;
    for (const line of lines) for (const callback of this.#lines) callback(line);
  }

  onLine(callback: (line: string) => void): void {
    this.#lines.push(callback);
  }

  write(text: string): void {
    this.child.stdin!.write(text);
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** The end of what it printed. */
  get lastWords(): string {
    return this.#log.trim().split('\n').slice(-12).join('\n');
  }

  /** Asks it to end, insists after a while; resolves when it has ended. */
  async stop(): Promise<void> {
    if (!this.running) return;
    this.child.kill('SIGTERM');
    const insist = setTimeout(() => this.child.kill('SIGKILL'), GRACE_MS);
    await this.ended;
    clearTimeout(insist);
  }
}
