import { readlinkSync } from 'node:fs';
import { check, checkAgain, EOPNOTSUPP, errno, libc, pinnedBuffer, pointer } from './libc.ts';

/** eventfd(2): how one thread or process wakes another. Write and drain allocate nothing. */

const cEventfd = libc<(init: number, flags: number) => number>('int eventfd(uint init, int flags)');
const cRead = libc<(fd: number, buf: number, size: number) => number>('long read(int fd, uintptr_t buf, size_t size)');
const cPreadv2 = libc<(fd: number, iov: number, n: number, offset: number, flags: number) => number>(
  'long preadv2(int fd, uintptr_t iov, int n, long offset, int flags)',
);
const cWrite = libc<(fd: number, buf: number, n: number) => number>('long write(int fd, uintptr_t buf, size_t n)');

export const EFD_SEMAPHORE = 1;
export const EFD_NONBLOCK = 0o4000;
export const EFD_CLOEXEC = 0o2000000;

const one = pinnedBuffer(8);
new DataView(one).setBigUint64(0, 1n, true);
const oneAddress = pointer(one);
const counter = pinnedBuffer(8);
const counterLow = new Uint32Array(counter);
const counterAddress = pointer(counter);
/** struct iovec { void *base; size_t size }. */
const iovec = pinnedBuffer(16);
new BigUint64Array(iovec).set([BigInt(counterAddress), 8n]);
const iovecAddress = pointer(iovec);
const RWF_NOWAIT = 8;

/** A new eventfd, by default non-blocking and close-on-exec. The caller owns it. */
export function eventfd(init = 0, flags = EFD_NONBLOCK | EFD_CLOEXEC): number {
  return check(cEventfd(init, flags), 'eventfd');
}

/**
 * Adds 1. False when the counter is full (then it is readable anyway) or the fd is of another kind that is full; a peer's fd
 * must be non-blocking for this never to block: see `setNonblocking`.
 */
export function eventfdWrite(fd: number): boolean {
  return checkAgain(cWrite(fd, oneAddress, 8), 'write') === 8;
}

/**
 * Takes the counter (its low 32 bits) and sets it to 0; 0 when nothing was there. Does not block, whatever flags other holders of the eventfd
 * have set, but for kernels before 5.10, which want it to be non-blocking.
 */
export function eventfdDrain(fd: number): number {
  let n = cPreadv2(fd, iovecAddress, 1, -1, RWF_NOWAIT);
  if (n < 0 && errno() === EOPNOTSUPP) n = cRead(fd, counterAddress, 8);
  return checkAgain(n, 'read') === 8 ? counterLow[0]! : 0;
}

/** True when `fd` is an eventfd, and not some other file that a peer passes off as one. */
export function isEventfd(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventfd]';
  } catch {
    return false;
  }
}
