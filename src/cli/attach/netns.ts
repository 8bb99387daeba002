import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, statSync } from 'node:fs';

/** A network namespace that is held open: it stays the same one however its container ends or its pid is used anew. */
export class Netns {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** `path` is that of a namespace: `/proc/PID/ns/net`, `/run/netns/NAME`. Throws the error of open(2). */
  static open(path: string): Netns {
    return new Netns(openSync(path, 'r'));
  }

  /** Where other programs reach it as long as it is open. */
  get path(): string {
    return `/proc/${process.pid}/fd/${this.#fd}`;
  }

  /** The command that runs `argv` inside. */
  inside(...argv: readonly string[]): string[] {
    return ['nsenter', `--net=${this.path}`, '--', ...argv];
  }

  /** Whether it is the namespace of this process. */
  isOurs(): boolean {
    const [mine, its] = [statSync('/proc/self/ns/net'), fstatSync(this.#fd)];
    return mine.ino === its.ino && mine.dev === its.dev;
  }

  /** Calls `work` with the pid of a process inside, by which the kernel lets a device be moved there. */
  async withProcess<T>(work: (pid: number) => Promise<T>): Promise<T> {
    const [program, ...args] = this.inside('cat');
    const child = spawn(program!, args, { stdio: ['pipe', 'pipe', 'ignore'] });
    const exited = once(child, 'exit');
    const ready = once(child.stdout, 'data');
    child.stdin.on('error', () => {});
    child.stdin.write('\n'); // It comes back once the program runs inside.
    const isInside = await Promise.race([ready.then(() => true), exited.then(() => false)]);
    try {
      if (!isInside) throw new Error('cannot enter the network namespace');
      return await work(child.pid!);
    } finally {
      child.stdin.end();
      await exited;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
