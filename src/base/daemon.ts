import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { absFileName, ovsRundir } from './dirs.ts';
import { strerror } from './errno.ts';
import type { OptionArgument, ParsedOption } from './getopt.ts';
import { programName } from './program.ts';
import { vlog, vlogModule } from './vlog.ts';

/**
 * What makes a program a daemon: pidfile, detaching, signals; options, behaviour and words as Open vSwitch's ovs-vswitchd(8). In order:
 *
 *     const daemon = new Daemon(deps); options.forEach((o) => daemon.takeOption(o));
 *     await daemon.detach();        // with --detach the parent ends in here; nothing may be open or listening yet
 *     daemon.start();               // pidfile, current folder, log file
 *     ... listen, load ...
 *     daemon.complete();            // ready: the parent exits 0
 */

const log = vlogModule('daemon_unix');

/** Options that every daemon has, for `parseOptions`. */
export const DAEMON_OPTIONS: Readonly<Record<string, OptionArgument>> = {
  detach: 'none',
  'no-chdir': 'none',
  pidfile: 'optional',
  'overwrite-pidfile': 'none',
  monitor: 'none',
  user: 'required',
  'no-self-confinement': 'none',
  verbose: 'optional',
  'log-file': 'optional',
  'syslog-target': 'required',
  'syslog-method': 'required',
};

export const DAEMON_SHORT_OPTIONS: Readonly<Record<string, string>> = { v: 'verbose' };

/** Help on DAEMON_OPTIONS. */
export function daemonUsage(): string {
  return `
Daemon options:
  --detach                run in background as daemon
  --monitor               accepted; the daemon runs without a monitoring process
  --user=username[:group] run as another user (not supported yet)
  --no-chdir              do not chdir to '/'
  --pidfile[=FILE]        create pidfile (default: ${ovsRundir()}/${programName()}.pid)
  --overwrite-pidfile     with --pidfile, start even if already running

Logging options:
  -vSPEC, --verbose=SPEC   set logging levels
  -v, --verbose            set maximum verbosity level
  --log-file[=FILE]        enable logging to specified FILE
  --syslog-method=METHOD   accepted
  --syslog-target=HOST:PORT  accepted
`;
}

/** Of src/sys; base may not import it. */
export interface DaemonSys {
  /** F_SETLK on the whole file; false when another process has it. */
  lockFile(fd: number): boolean;
  /** The process that has the lock, or 0. */
  lockHolder(fd: number): number;
}

/** Something that must end the program before it has begun; the message is printed behind the program's name. */
export class FatalError extends Error {
  override name = 'FatalError';
}

const READY_FD_ENV = 'TURNOUT_DAEMON_READY_FD';

export class Daemon {
  pidfile: string | undefined;
  detaching = false;
  readonly #sys: DaemonSys;
  #overwrite = false;
  #chdir = true;
  #logFile: string | undefined | null = null;
  #pidfileFd = -1;

  constructor(sys: DaemonSys) {
    this.#sys = sys;
  }

  /** Takes one of DAEMON_OPTIONS; false when it is another one. Throws FatalError for a wrong value. */
  takeOption({ name, value }: ParsedOption): boolean {
    switch (name) {
      case 'detach':
        this.detaching = true;
        return true;
      case 'no-chdir':
        this.#chdir = false;
        return true;
      case 'pidfile':
        this.pidfile = absFileName(ovsRundir(), value || `${programName()}.pid`);
        return true;
      case 'overwrite-pidfile':
        this.#overwrite = true;
        return true;
      case 'user':
        return this.#takeUser(value!);
      case 'verbose':
        return takeVerbose(value);
      case 'log-file':
        this.#logFile = value;
        return true;
      default:
        return Object.hasOwn(DAEMON_OPTIONS, name);
    }
  }

  /** Runs on as who started us only: then the option changes nothing. */
  #takeUser(spec: string): boolean {
    const user = spec.trim().split(':')[0];
    if (user === process.env.USER || user === String(process.getuid?.())) return true;
    if (user === 'root' && process.getuid?.() === 0) return true;
    throw new FatalError(`--user=${spec}: changing the user is not supported; start ${programName()} as that user`);
  }

  /** Whether this process is the one that was started in the background. */
  get isChild(): boolean {
    return process.env[READY_FD_ENV] !== undefined;
  }

  /** Checks the pidfile; with --detach starts this program again in the background, waits until it is ready (or has failed) and exits,
   *  after a call of `started` when it is ready. */
  async detach(started?: () => void): Promise<void> {
    if (this.isChild) return;
    this.#checkAlreadyRunning();
    if (!this.detaching) return;
    const code = await superviseStart();
    if (code === 0) started?.();
    process.exit(code);
  }

  #checkAlreadyRunning(): void {
    if (this.pidfile === undefined || this.#overwrite || !existsSync(this.pidfile)) return;
    const pid = readPidfile(this.pidfile, this.#sys);
    if (pid > 0) throw new FatalError(`${this.pidfile}: already running as pid ${pid}, aborting`);
  }

  /** Opens the log file, writes and locks the pidfile, leaves the current folder. Throws FatalError. */
  start(): void {
    if (this.#logFile !== null) vlog.setLogFile(this.#logFile);
    if (this.pidfile !== undefined) this.#makePidfile(this.pidfile);
    if (this.detaching && this.#chdir) process.chdir('/');
    process.on('SIGHUP', () => vlog.reopen());
    process.on('SIGPIPE', () => {});
  }

  /** Written beside its place, locked, then moved there: nobody ever sees one that is empty or not locked. */
  #makePidfile(pidfile: string): void {
    const temporary = this.#overwrite ? `${pidfile}.tmp${process.pid}` : `${pidfile}.tmp`;
    let doing = 'create';
    try {
      this.#pidfileFd = openSync(temporary, 'a+', 0o644);
      doing = 'fcntl(F_SETLK)';
      if (!this.#sys.lockFile(this.#pidfileFd)) throw new FatalError(this.#beaten(temporary));
      doing = 'truncate';
      ftruncateSync(this.#pidfileFd);
      doing = 'write';
      writeSync(this.#pidfileFd, `${process.pid}\n`);
      doing = 'rename';
      renameSync(temporary, pidfile);
    } catch (e) {
      if (e instanceof FatalError) throw e;
      throw new FatalError(`${temporary}: ${doing} failed (${strerror(e)})`);
    }
    process.once('exit', () => this.#removePidfile(pidfile));
  }

  #beaten(temporary: string): string {
    const pid = this.#sys.lockHolder(this.#pidfileFd);
    closeSync(this.#pidfileFd);
    return `${temporary}: fcntl(F_SETLK) failed (locked by pid ${pid})`;
  }

  #removePidfile(pidfile: string): void {
    try {
      if (Number.parseInt(readFileSync(pidfile, 'utf8'), 10) === process.pid) unlinkSync(pidfile);
    } catch {
      // It is gone, or was never there.
    }
  }

  /** Tells the waiting parent that the daemon is up, and lets go of the terminal. */
  complete(): void {
    const fd = process.env[READY_FD_ENV];
    if (fd === undefined) return;
    delete process.env[READY_FD_ENV];
    try {
      writeSync(Number(fd), '\0');
    } catch {
      // The parent did not wait for it.
    }
    closeSync(Number(fd));
    vlog.closeConsole();
    closeStdio();
  }

  /** Calls `stop` once at SIGTERM, SIGINT or SIGALRM. The process then ends as if the signal had killed it, once `stop` is through. */
  onTerminate(stop: (signal: NodeJS.Signals) => Promise<void> | void): void {
    let stopping = false;
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGALRM'] as const) {
      process.on(signal, async () => {
        if (stopping) return;
        stopping = true;
        vlogModule('fatal_signal').warn(`terminating with signal ${SIGNAL_NUMBERS[signal]} (${SIGNAL_TEXT[signal]})`);
        try {
          await stop(signal);
        } finally {
          process.exit(128 + SIGNAL_NUMBERS[signal]);
        }
      });
    }
  }
}

const SIGNAL_NUMBERS = { SIGTERM: 15, SIGINT: 2, SIGALRM: 14 } as const;
const SIGNAL_TEXT = { SIGTERM: 'Terminated', SIGINT: 'Interrupt', SIGALRM: 'Alarm clock' } as const;

function takeVerbose(spec: string | undefined): true {
  const error = vlog.setLevels(spec ?? 'any:any:dbg');
  if (error !== undefined) throw new FatalError(`processing "${spec}": ${error}`);
  return true;
}

/** The process that holds the lock on `pidfile`, or 0: it is stale or was never locked. */
export function readPidfile(pidfile: string, sys: Pick<DaemonSys, 'lockHolder'>): number {
  let fd: number;
  try {
    fd = openSync(pidfile, 'r+');
  } catch (e) {
    log.warn(`${pidfile}: open: ${strerror(e)}`);
    return 0;
  }
  try {
    return sys.lockHolder(fd);
  } finally {
    closeSync(fd);
  }
}

/** Starts this same command in a session of its own and waits for its word. Returns the exit code to end with. */
function superviseStart(): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    env: { ...process.env, [READY_FD_ENV]: '3' },
  });
  return new Promise((resolve) => {
    let ready = false;
    child.stdio[3]!.on('data', () => {
      ready = true;
      child.unref();
      resolve(0);
    });
    child.on('error', (e) => {
      log.err(`fork failed (${strerror(e)})`);
      resolve(1);
    });
    child.on('exit', (code, signal) => {
      if (ready) return;
      if (code === null) log.err(`fork child died before signaling startup (killed (${signal}))`);
      resolve(code || 1);
    });
  });
}

/** Puts /dev/null where the terminal was. Open gives the lowest free descriptor, so each takes the place of the one just closed. */
function closeStdio(): void {
  for (const fd of [0, 1, 2]) {
    closeSync(fd);
    openSync('/dev/null', 'r+');
  }
}
