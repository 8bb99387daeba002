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
import { daemonRole, monitorDaemon, reportReady, startInBackground } from './daemon-process.ts';
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
  --monitor               creates a process to monitor this daemon
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

export class Daemon {
  pidfile: string | undefined;
  detaching = false;
  readonly #sys: DaemonSys;
  #overwrite = false;
  #monitor = false;
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
      case 'monitor':
        this.#monitor = true;
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

  /** Checks the pidfile; with --detach starts this program again in the background, waits until it is ready (or has failed) and exits,
   *  after a call of `started` when it is ready. Returns in the daemon proper only. */
  async detach(started?: () => void): Promise<void> {
    const role = daemonRole();
    if (role === 'daemon') return;
    if (role === 'monitor') process.exit(await this.#monitorLife());
    this.#checkAlreadyRunning();
    if (!this.detaching) return;
    const code = await startInBackground(this.#monitor ? 'monitor' : 'daemon');
    if (code === 0) started?.();
    process.exit(code);
  }

  #monitorLife(): Promise<number> {
    if (this.#chdir) process.chdir('/');
    return monitorDaemon(() => {
      if (this.#logFile !== null) vlog.setLogFile(this.#logFile);
    });
  }

  #checkAlreadyRunning(): void {
    if (this.pidfile === undefined || this.#overwrite || !existsSync(this.pidfile)) return;
    const pid = readPidfile(this.pidfile, this.#sys);
    if (pid > 0) throw new FatalError(`${this.pidfile}: already running as pid ${pid}, aborting`);
  }

  /** Opens the log file, writes and locks the pidfile, leaves the current folder. Throws FatalError. */
  start(): void {
    // What `ps` and `pidof` show.
    process.title = programName();
    if (this.#logFile !== null) vlog.setLogFile(this.#logFile);
    if (this.pidfile !== undefined) this.#makePidfile(this.pidfile);
    if (this.detaching && this.#chdir) process.chdir('/');
    process.on('SIGHUP', () => vlog.reopen());
    process.on('SIGPIPE', () => {});
    // A detached daemon has no stderr: without the log nobody would know why it went. By a signal, so that --monitor starts it again.
    process.on('uncaughtExceptionMonitor', (e) => {
      vlogModule('util').emer(`uncaught exception: ${e.stack ?? e}`);
      process.kill(process.pid, 'SIGABRT');
    });
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

  /** Tells the waiting parent that the daemon is up, and lets go of the terminal, but with `keepOutput` not of stdout and stderr. */
  complete(keepOutput = false): void {
    reportReady(keepOutput);
  }

  /** Calls `stop` once at SIGTERM, SIGINT or SIGALRM; once it is through, the process ends with the exit code of that signal. */
  onTerminate(stop: (signal: NodeJS.Signals) => Promise<void> | void): void {
    let stopping = false;
    const terminate = async (signal: keyof typeof SIGNAL_NUMBERS): Promise<void> => {
      if (stopping) return;
      stopping = true;
      vlogModule('fatal_signal').warn(`terminating with signal ${SIGNAL_NUMBERS[signal]} (${SIGNAL_TEXT[signal]})`);
      try {
        await stop(signal);
      } finally {
        process.exit(128 + SIGNAL_NUMBERS[signal]);
      }
    };
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGALRM'] as const) process.on(signal, () => void terminate(signal));
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
