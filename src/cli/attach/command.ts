import { spawn } from 'node:child_process';

/** Programs that attaching a container runs: ip(8), nsenter(1) and CNI plugins, always with an array of arguments, never by a shell. */

export interface Ran {
  /** The exit status; 127 when it could not be started, 128 when a signal ended it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs a program to its end; never rejects. */
export type RunProgram = (argv: readonly string[], options?: RunOptions) => Promise<Ran>;

/** More is cut off: the kernel's and a plugin's answers are short. */
const MAX_OUTPUT = 4 << 20;

export class CommandFailed extends Error {
  override name = 'CommandFailed';
  readonly ran: Ran;

  constructor(argv: readonly string[], ran: Ran) {
    super(`${argv.join(' ')}: ${reasonOf(ran)}`);
    this.ran = ran;
  }
}

function reasonOf({ status, stderr }: Ran): string {
  const text = stderr.trim().replace(/\s*\n\s*/g, '; ');
  return text === '' ? `exit status ${status}` : text;
}

export const runProgram: RunProgram = (argv, { input = '', env = process.env } = {}) =>
  new Promise((resolve) => {
    const [program, ...args] = argv;
    const child = spawn(program!, args, { env, stdio: 'pipe' });
    const texts = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        texts[name] = (texts[name] + text).slice(0, MAX_OUTPUT);
      });
    }
    child.on('error', (error) => resolve({ status: 127, stdout: '', stderr: error.message }));
    child.on('close', (code) => resolve({ status: code ?? 128, ...texts }));
    child.stdin.on('error', () => {}); // It may end without reading.
    child.stdin.end(input);
  });

/** Runs what must succeed and resolves with its stdout. Rejects with CommandFailed. */
export async function mustRun(run: RunProgram, argv: readonly string[], options?: RunOptions): Promise<string> {
  const ran = await run(argv, options);
  if (ran.status !== 0) throw new CommandFailed(argv, ran);
  return ran.stdout;
}
