import { check, checkAgain, libc } from './libc.ts';

/** File descriptors. All of it works on any thread. */

const cClose = libc<(fd: number) => number>('int close(int fd)');
const cFcntl = libc<(fd: number, cmd: number, arg: number) => number>('int fcntl(int fd, int cmd, long arg)');
const cRead = libc<(fd: number, buf: Uint8Array, size: number) => number>('long read(int fd, void* buf, size_t size)');
const cWrite = libc<(fd: number, buf: Uint8Array, size: number) => number>(
  'long write(int fd, const void* buf, size_t size)',
);

const cReadAt = libc<(fd: number, address: number, size: number) => number>(
  'long read(int fd, uintptr_t address, size_t size)',
);
const cWriteAt = libc<(fd: number, address: number, size: number) => number>(
  'long write(int fd, uintptr_t address, size_t size)',
);

const F_GETFD = 1;
const F_GETFL = 3;
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;
const O_NONBLOCK = 0o4000;

/** Closes `fd`; a bad fd is an error (EBADF), since it means that an owner was lost. */
export function close(fd: number): void {
  check(cClose(fd), 'close');
}

/** A second fd for the same open file, close-on-exec. */
export function dup(fd: number): number {
  return check(cFcntl(fd, F_DUPFD_CLOEXEC, 0), 'fcntl(F_DUPFD_CLOEXEC)');
}

/** fcntl(2) with an integer argument. */
export function fcntl(fd: number, cmd: number, arg = 0): number {
  return check(cFcntl(fd, cmd, arg), 'fcntl');
}

/** True when `fd` is open in this process. */
export function isOpen(fd: number): boolean {
  return cFcntl(fd, F_GETFD, 0) >= 0;
}

export function setNonblocking(fd: number, on = true): void {
  const flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

/** Reads up to `buf.length` bytes. Returns 0 at the end, -1 when it would block. */
export function read(fd: number, buf: Uint8Array): number {
  return checkAgain(cRead(fd, buf, buf.length), 'read');
}

/** Reads up to `size` bytes to an address of this process's memory; negative when it fails, for whatever reason. Allocates nothing. */
export function readAt(fd: number, address: number, size: number): number {
  return cReadAt(fd, address, size);
}

/** Writes `size` bytes from an address; negative when it fails, for whatever reason. Allocates nothing. */
export function writeAt(fd: number, address: number, size: number): number {
  return cWriteAt(fd, address, size);
}

/** Writes the first `size` bytes of `buf`. Returns how many were taken, -1 when it would block. */
export function write(fd: number, buf: Uint8Array, size = buf.length): number {
  return checkAgain(cWrite(fd, buf, size), 'write');
}
