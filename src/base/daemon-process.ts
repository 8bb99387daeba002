import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import { strerror } from './errno.ts';
import { programName } from './program.ts';
import { vlog, vlogModule } from './vlog.ts';

/**
 * The processes of a daemon. Node can't fork, so that each step starts this same command again with a role in its environment:
 *
 *     the command ──▶ the monitor (only with --monitor) ──▶ the daemon proper
 *
 * Each waits on fd 3 of the next for one byte, its word that it is ready.
 */

const log = vlogModule('daemon_unix');

const ROLE_ENV = 'TURNOUT_DAEMON_ROLE';
const READY_FD = 3;

export type DaemonRole = 'command' | 'monitor' | 'daemon';

/** What this process is. */
export function daemonRole(): DaemonRole {
  const role = process.env[ROLE_ENV];
  return role === 'monitor' || role === 'daemon' ? role : 'command';
}

/** Starts this command again in another role; `onReady` is called at its word. */
function spawnRole(role: DaemonRole, onReady: () => void): ChildProcess {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    env: { ...process.env, [ROLE_ENV]: role },
  });
  child.stdio[READY_FD]!.once('data', onReady);
  child.stdio[READY_FD]!.on('error', () => {});
  return child;
}

/** Starts the monitor or the daemon and waits for its word. Resolves with the exit code to end with. */
export function startInBackground(role: 'monitor' | 'daemon'): Promise<number> {
  return new Promise((resolve) => {
    let ready = false;
    const child = spawnRole(role, () => {
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

/** Signals that mean a crash, as Open vSwitch has them, and SIGTRAP, by which V8 gives up. */
const CRASH_SIGNALS: ReadonlySet<string> = new Set([
  'SIGABRT',
  'SIGALRM',
  'SIGBUS',
  'SIGFPE',
  'SIGILL',
  'SIGPIPE',
  'SIGSEGV',
  'SIGTRAP',
  'SIGXCPU',
  'SIGXFSZ',
]);
const RESTART_PAUSE_MS = 10_000;

/** The monitor's life: runs the daemon, again after each crash. Resolves with the exit code when the daemon has ended otherwise.
 *  `openLog` is called before the first message that must get into the log file. */
export async function monitorDaemon(openLog: () => void): Promise<number> {
  let crashes = 0;
  let status = 'healthy';
  let lastRestartMs = -RESTART_PAUSE_MS;
  for (;;) {
    const { pid, ready, code, signal } = await runOnce(status);
    if (!ready && crashes === 0) return code || 1;
    if (crashes === 0) openLog();
    const how = signal === null ? `exit status ${code}` : `killed (${signal})`;
    // Node ends by itself with a small exit code when an exception is not caught; 128 and above is a signal's orderly end.
    const crashed = signal === null ? code! > 0 && code! < 128 : CRASH_SIGNALS.has(signal);
    if (!crashed) {
      log.info(`pid ${pid} died, ${how}, exiting`);
      return code ?? 1;
    }
    status = `${++crashes} crashes: pid ${pid} died, ${how}`;
    if (performance.now() < lastRestartMs + RESTART_PAUSE_MS) {
      log.warn(`${status}, waiting until 10 seconds since last restart`);
      await pauseUntil(lastRestartMs + RESTART_PAUSE_MS);
    }
    log.err(`${status}, restarting`);
    lastRestartMs = performance.now();
  }
}

function pauseUntil(whenMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, whenMs - performance.now())));
}

interface Outcome {
  pid: number | undefined;
  ready: boolean;
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** `health` is what `ps` shows of it. */
function runOnce(health: string): Promise<Outcome> {
  return new Promise((resolve) => {
    let ready = false;
    const child = spawnRole('daemon', () => {
      ready = true;
      reportReady();
    });
    process.title = `${programName()}: monitoring pid ${child.pid} (${health})`;
    child.on('error', () => resolve({ pid: undefined, ready, code: 1, signal: null }));
    child.on('exit', (code, signal) => resolve({ pid: child.pid, ready, code, signal }));
  });
}

let reported = false;

/** Tells whoever started this process in the background that it is ready, and lets go of the terminal; with `keepOutput` what it prints
 *  still arrives. */
export function reportReady(keepOutput = false): void {
  if (reported || daemonRole() === 'command') return;
  reported = true;
  try {
    writeSync(READY_FD, '\0');
    closeSync(READY_FD);
  } catch {
    // Nobody waits for it any more.
  }
  vlog.closeConsole();
  closeStdio(keepOutput ? [0] : [0, 1, 2]);
}

/** Puts /dev/null where the terminal was. Open gives the lowest free descriptor, so each takes the place of the one just closed. */
function closeStdio(fds: readonly number[]): void {
  for (const fd of fds) {
    closeSync(fd);
    openSync('/dev/null', 'r+');
  }
}
