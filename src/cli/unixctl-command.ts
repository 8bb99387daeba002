import { existsSync } from 'node:fs';
import { programName } from '../base/program.ts';
import { resolveTarget, type UnixctlReply, unixctlCall } from '../base/unixctl-client.ts';
import { vlogModule } from '../base/vlog.ts';

/** Sends a command to a running daemon; `target` is its name or its control socket. Throws Error in the words of ovs-appctl, after the log
 *  lines that come with it. */
export async function askDaemon(target: string, command: string, args: readonly string[]): Promise<UnixctlReply> {
  const path = findSocket(target);
  try {
    return await unixctlCall(path, command, args);
  } catch (e) {
    const { message } = e as Error;
    if (message.startsWith('cannot connect')) vlogModule('unixctl').warn(`failed to connect to ${path}`);
    // The daemon is named as it was on the command line.
    throw new Error(message.replace(`${path}: transaction error`, `${target}: transaction error`));
  }
}

function findSocket(target: string): string {
  let path: string;
  try {
    path = resolveTarget(target);
  } catch (e) {
    const { message } = e as Error;
    const [, pidfile, reason] = /^cannot read pidfile "(.*)" \((.*)\)$/.exec(message) ?? [];
    if (pidfile !== undefined) vlogModule('daemon_unix').warn(`${pidfile}: open: ${reason}`);
    throw e;
  }
  checkAlive(target, path);
  return path;
}

/** A pidfile whose process is gone is as good as none. */
function checkAlive(target: string, path: string): void {
  const pid = target.startsWith('/') ? undefined : /\.(\d+)\.ctl$/.exec(path)?.[1];
  if (pid === undefined || existsSync(`/proc/${pid}`)) return;
  throw new Error(`cannot read pidfile "${path.replace(/\.\d+\.ctl$/, '.pid')}" (No such process)`);
}

/** Prints what came back. Resolves with the exit code: 2 when the daemon refused. */
export function showReply(target: string, reply: UnixctlReply): number {
  if (reply.error !== undefined) {
    process.stderr.write(`${reply.error}${programName()}: ${target}: server returned an error\n`);
    return 2;
  }
  process.stdout.write(reply.result ?? '');
  return 0;
}
