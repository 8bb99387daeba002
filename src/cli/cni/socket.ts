import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { ovsRundir } from '../../base/dirs.ts';
import { mustRun, type RunProgram } from '../attach/command.ts';
import type { Step } from '../attach/steps.ts';
import type { AttachmentId } from './attachment.ts';
import type { CniConfig } from './config.ts';
import { invalidConfig } from './error.ts';

/** The vhost-user socket of a pod: in a folder that the pod mounts. */

/** sockaddr_un.sun_path without its final zero (unix(7)). */
const MAX_SOCKET_PATH = 107;
/** userspace-cni's word for a container in paths. */
export const SHORT_ID = 12;

export interface SocketPlan {
  /** The pod's folder on the host. */
  readonly folder: string;
  /** The socket in it. */
  readonly socket: string;
  /** The path by which the switch speaks of it: through a link of a short name, when `socket` is too long for an address. */
  readonly address: string;
  readonly shortLink: string | undefined;
}

/** Links of short names, beside the switch's own sockets. */
export const shortFolder = (): string => join(ovsRundir(), 's');

/** Pure. `folder` replaces what the configuration says of the pod's folder. Throws CniError with code 7 for a name that cannot be made short. */
export function planSocket({ vhost, deviceId }: CniConfig, id: AttachmentId, folder?: string): SocketPlan {
  const short = id.containerId.slice(0, SHORT_ID);
  const where = folder ?? join(vhost.sharedDir, deviceId ?? short);
  const file = vhost.socketFile ?? `${short}-${id.ifname}`;
  const socket = join(where, file);
  if (Buffer.byteLength(socket) <= MAX_SOCKET_PATH)
    return { folder: where, socket, address: socket, shortLink: undefined };
  const hash = createHash('sha256').update(where).digest('hex').slice(0, SHORT_ID);
  const shortLink = join(shortFolder(), hash);
  const address = join(shortLink, file);
  if (Buffer.byteLength(address) > MAX_SOCKET_PATH) {
    throw invalidConfig(`socket path ${address} is longer than ${MAX_SOCKET_PATH} bytes`);
  }
  return { folder: where, socket, address, shortLink };
}

/** Makes the folder, with the group and the mode that are asked for, and the short link to it. */
export function folderSteps(plan: SocketPlan, { vhost }: CniConfig, gid: number | undefined): Step[] {
  let first: string | undefined;
  const steps: Step[] = [
    {
      what: `make folder ${plan.folder}`,
      apply: async () => {
        first = mkdirSync(plan.folder, { recursive: true, mode: 0o755 });
        openFolderTo(plan.folder, gid, vhost.mode);
      },
      undo: async () => {
        for (let at = plan.folder; first !== undefined && at.startsWith(first); at = dirname(at)) removeIfEmpty(at);
      },
    },
  ];
  const { shortLink } = plan;
  if (shortLink !== undefined) {
    steps.push({
      what: `link ${shortLink}`,
      apply: async () => {
        mkdirSync(dirname(shortLink), { recursive: true });
        rmSync(shortLink, { force: true });
        symlinkSync(plan.folder, shortLink);
      },
      undo: async () => rmSync(shortLink, { force: true }),
    });
  }
  return steps;
}

/** Gives a folder the group and the mode that are asked for. A link in its place, which a pod may have put there, is not followed: ELOOP or ENOTDIR. */
function openFolderTo(folder: string, gid: number | undefined, mode: number | undefined): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    if (gid !== undefined) fchownSync(fd, -1, gid);
    if (mode !== undefined) fchmodSync(fd, withSearch(mode));
    else if (gid !== undefined) fchmodSync(fd, 0o770);
  } finally {
    closeSync(fd);
  }
}

/** A folder that may be read or written may be searched. */
const withSearch = (mode: number): number => mode | ((mode & 0o444) >> 2) | ((mode & 0o222) >> 1);

/** Puts the socket that the switch made as `made` into the pod's folder: a second name of the file, or where that is another file system
 *  a mount of it. */
export function offerSocketStep(
  made: string,
  plan: SocketPlan,
  run: RunProgram,
  { vhost }: CniConfig,
  gid?: number,
): Step {
  return {
    what: `put ${made} at ${plan.socket}`,
    apply: async () => {
      if (gid !== undefined) lchownSync(made, -1, gid);
      chmodSync(made, vhost.mode ?? (gid === undefined ? 0o600 : 0o660));
      rmSync(plan.socket, { force: true });
      try {
        linkSync(made, plan.socket);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
        await mountSocket(made, plan.socket, run);
      }
    },
    undo: () => withdrawSocket(plan.socket, run),
  };
}

async function mountSocket(made: string, socket: string, run: RunProgram): Promise<void> {
  writeFileSync(socket, '', { flag: 'wx' });
  try {
    await mustRun(run, ['mount', '--bind', made, socket]);
  } catch (error) {
    unlinkSync(socket);
    throw error;
  }
}

/** Takes a socket out of a pod's folder; none is as good. */
export async function withdrawSocket(socket: string, run: RunProgram): Promise<void> {
  // The pod may write there: a link that it put in the socket's place must not have us unmount what it names.
  const isMounted = (await run(['mountpoint', '--quiet', '--nofollow', socket])).status === 0;
  if (isMounted) await mustRun(run, ['umount', '--no-canonicalize', socket]);
  rmSync(socket, { force: true });
}

export function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Somebody else has something in it, or it is gone.
  }
}

/** The number of a group, given by name or by number. Rejects with CniError for one that the host does not know. */
export async function groupId(group: string | undefined, run: RunProgram): Promise<number | undefined> {
  if (group === undefined) return undefined;
  const { stdout } = await run(['getent', 'group', '--', group]);
  const gid = stdout.split(':')[2] ?? (/^\d{1,9}$/.test(group) ? group : undefined);
  if (gid === undefined) throw invalidConfig(`"vhost.group": this host has no group "${group}"`);
  return Number(gid);
}
