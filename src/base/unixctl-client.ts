import { readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { absFileName, ovsRundir } from './dirs.ts';
import { strerror } from './errno.ts';
import { JsonSplitter } from './json-splitter.ts';
import { withSocketPath } from './unix-path.ts';

/** The reply to one command: `error` is set when the server refused it. */
export interface UnixctlReply {
  result: string | undefined;
  error: string | undefined;
}

/** Finds a target as ovs-appctl does: a socket's path, or a program whose pidfile in OVS_RUNDIR leads to its socket.
 *  Throws with ovs-appctl's words when the pidfile can't be read. */
export function resolveTarget(target: string): string {
  if (target.startsWith('/')) return target;
  const pidfile = absFileName(ovsRundir(), `${target}.pid`);
  let pid: number;
  try {
    pid = Number.parseInt(readFileSync(pidfile, 'utf8'), 10);
  } catch (e) {
    throw new Error(`cannot read pidfile "${pidfile}" (${strerror(e)})`);
  }
  return absFileName(ovsRundir(), `${target}.${pid}.ctl`);
}

/** Sends one command to the control socket at `path`. Rejects when it can't be reached or breaks off. */
export async function unixctlCall(path: string, method: string, args: readonly string[]): Promise<UnixctlReply> {
  const socket = await connect(path);
  try {
    return await transact(socket, path, method, args);
  } finally {
    socket.destroy();
  }
}

async function connect(path: string): Promise<Socket> {
  try {
    return await withSocketPath(
      path,
      (name) =>
        new Promise<Socket>((resolve, reject) => {
          const socket = createConnection(name, () => resolve(socket));
          socket.once('error', reject);
        }),
    );
  } catch (e) {
    throw new Error(`cannot connect to "${path}" (${strerror(e)})`);
  }
}

function transact(socket: Socket, path: string, method: string, args: readonly string[]): Promise<UnixctlReply> {
  return new Promise((resolve, reject) => {
    const splitter = new JsonSplitter();
    const broken = (reason: string) => reject(new Error(`${path}: transaction error (${reason})`));
    socket.setEncoding('utf8');
    socket.on('error', (e) => broken(strerror(e)));
    socket.on('close', () => broken('End of file'));
    socket.on('data', (chunk: string) => {
      try {
        const [text] = splitter.push(chunk);
        if (text === undefined) return;
        const reply = JSON.parse(text) as { result?: unknown; error?: unknown };
        const string = (v: unknown) => (typeof v === 'string' ? v : undefined);
        resolve({ result: string(reply.result), error: string(reply.error) });
      } catch {
        broken('Protocol error');
      }
    });
    socket.write(JSON.stringify({ id: 0, method, params: args }));
  });
}
