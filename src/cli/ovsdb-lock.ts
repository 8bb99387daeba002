import { closeSync, openSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { vlogModule } from '../base/vlog.ts';
import { ioError } from '../ovsdb/error.ts';
import { lockFile, lockHolder } from '../sys/file-lock.ts';

/** Locks a database file as Open vSwitch's tools do, by a lock on `.NAME.~lock~` beside it, so that `ovsdb-tool compact` and the like keep
 *  off. Returns how to unlock it. Throws OvsdbError when another process has it. */
export function lockDatabase(path: string, name: string): () => void {
  const lockPath = join(dirname(path), `.${basename(path)}.~lock~`);
  let fd: number;
  try {
    fd = openSync(lockPath, 'a+', 0o600);
  } catch (error) {
    throw ioError(error, `${name}: failed to lock lockfile`);
  }
  if (lockFile(fd)) return () => closeSync(fd);
  const pid = lockHolder(fd);
  closeSync(fd);
  vlogModule('lockfile').warn(`${lockPath}: cannot lock file because it is already locked by pid ${pid}`);
  throw ioError(Object.assign(new Error('locked'), { code: 'EAGAIN' }), `${name}: failed to lock lockfile`);
}
