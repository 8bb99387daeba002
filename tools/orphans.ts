/**
 * Processes that outlive the test file that started them: a file that is ended at its deadline cannot end its own children, and those
 * hold its output open, for which `run()` waits. Linux only; elsewhere none is seen.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** In the environment of all that a test file starts: the file's pid. Set by mark-test-file.ts. */
export const TEST_FILE_PID = 'TURNOUT_TEST_FILE_PID';

function environmentOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return []; // it has ended meanwhile, or is somebody else's
  }
}

/** Ends, by SIGKILL, all that bears `variable` (`NAME=value`) in its environment and was started by a test file that has ended. */
export function endOrphans(variable: string): void {
  if (!existsSync('/proc/self/environ')) return;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const environment = environmentOf(pid);
    const file = environment.find((one) => one.startsWith(`${TEST_FILE_PID}=`))?.split('=')[1];
    if (file === undefined || !environment.includes(variable) || existsSync(`/proc/${file}`)) continue;
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}
