import { closeSync, constants, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';

/** Bytes in sockaddr_un.sun_path, with its NUL. */
const SUN_PATH_MAX = 108;

/** Calls `use` with a name for the socket at `path` that fits into a sockaddr_un: the path itself, or a way through an open fd of its
 *  folder, which lives until the returned promise (or value) is there. */
export async function withSocketPath<T>(path: string, use: (name: string) => Promise<T> | T): Promise<T> {
  if (Buffer.byteLength(path) < SUN_PATH_MAX) return use(path);
  const fd = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await use(`/proc/self/fd/${fd}/${basename(path)}`);
  } finally {
    closeSync(fd);
  }
}
