import { check, checkAgain, libc, pinnedBuffer, pointer } from './libc.ts';

/**
 * POSIX record locks, as Open vSwitch's daemons hold them on their pidfiles: `ovs-appctl` and `ovs-ctl` ask with F_GETLK who
 * has the lock. Such a lock is the process's and goes when *any* fd of the file is closed by it.
 */

const cFcntl = libc<(fd: number, cmd: number, lock: number) => number>('int fcntl(int fd, int cmd, uintptr_t lock)');

const F_GETLK = 5;
const F_SETLK = 6;
const F_WRLCK = 1;
const F_UNLCK = 2;

/** struct flock { short type, whence; off_t start, len; pid_t pid }; zeros are SEEK_SET, from 0 to the end. */
const flock = new DataView(pinnedBuffer(32));
const flockAddress = pointer(flock.buffer);

function prepare(type: number): void {
  new Uint8Array(flock.buffer).fill(0);
  flock.setInt16(0, type, true);
}

/** Takes the write lock on the whole file. False when another process has it. `fd` must be open for writing. */
export function lockFile(fd: number): boolean {
  prepare(F_WRLCK);
  const r = cFcntl(fd, F_SETLK, flockAddress);
  return checkAgain(r, 'fcntl(F_SETLK)') === 0;
}

export function unlockFile(fd: number): void {
  prepare(F_UNLCK);
  check(cFcntl(fd, F_SETLK, flockAddress), 'fcntl(F_SETLK)');
}

/** The pid of another process that holds a lock on the file, or 0. */
export function lockHolder(fd: number): number {
  prepare(F_WRLCK);
  check(cFcntl(fd, F_GETLK, flockAddress), 'fcntl(F_GETLK)');
  return flock.getInt16(0, true) === F_UNLCK ? 0 : flock.getInt32(24, true);
}
