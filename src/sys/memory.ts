import { check, libc, pinnedBuffer, pointer, sysError } from './libc.ts';

/** Memory files and mappings. Addresses are bigint, sizes and offsets in bytes. */

const cMemfdCreate = libc<(name: string, flags: number) => number>('int memfd_create(const char* name, uint flags)');
const cFtruncate = libc<(fd: number, size: number) => number>('int ftruncate(int fd, int64_t size)');
const cStatx = libc<(fd: number, path: string, flags: number, mask: number, buf: number) => number>(
  'int statx(int fd, const char* path, int flags, uint mask, uintptr_t buf)',
);
const cMmap = libc<(a: number, n: number, prot: number, flags: number, fd: number, off: number) => number | bigint>(
  'int64_t mmap(uintptr_t addr, size_t length, int prot, int flags, int fd, int64_t offset)',
);
const cMunmap = libc<(addr: number, n: number) => number>('int munmap(uintptr_t addr, size_t n)');
const cMprotect = libc<(addr: number, n: number, prot: number) => number>('int mprotect(uintptr_t a, size_t n, int p)');
const cMlock = libc<(addr: number, n: number) => number>('int mlock(uintptr_t addr, size_t n)');
const cMadvise = libc<(addr: number, n: number, advice: number) => number>(
  'int madvise(uintptr_t a, size_t n, int adv)',
);
const cFcntl = libc<(fd: number, cmd: number, arg: number) => number>('int fcntl(int fd, int cmd, long arg)');

export const MFD_CLOEXEC = 1;
export const MFD_ALLOW_SEALING = 2;
export const MFD_HUGETLB = 4;

export const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_WRITE = 2;

export const MAP_SHARED = 1;
export const MAP_PRIVATE = 2;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const MAP_POPULATE = 0x8000;

export const F_SEAL_SEAL = 1;
export const F_SEAL_SHRINK = 2;
export const F_SEAL_GROW = 4;
export const F_SEAL_WRITE = 8;

export const MADV_DONTNEED = 4;
export const MADV_HUGEPAGE = 14;
export const MADV_DONTDUMP = 16;

const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;

/** A file of anonymous memory (memfd_create(2)). The caller owns the fd. */
export function memfdCreate(name: string, flags = MFD_CLOEXEC): number {
  return check(cMemfdCreate(name, flags), 'memfd_create');
}

export function ftruncate(fd: number, size: number): void {
  check(cFtruncate(fd, size), 'ftruncate');
}

export interface FileStat {
  size: bigint;
  /** The page size of the file, for hugetlbfs files and memfds 2 MiB or 1 GiB. */
  blksize: number;
  mode: number;
  uid: number;
  gid: number;
  ino: bigint;
  devMajor: number;
  devMinor: number;
}

const AT_EMPTY_PATH = 0x1000;
const STATX_BASIC_STATS = 0x7ff;
/** struct statx: the same on every architecture, unlike struct stat. */
const statxBuffer = pinnedBuffer(256);
const statxView = new DataView(statxBuffer);
const statxAddress = pointer(statxBuffer);

export function fstat(fd: number): FileStat {
  check(cStatx(fd, '', AT_EMPTY_PATH, STATX_BASIC_STATS, statxAddress), 'statx');
  const v = statxView;
  return {
    blksize: v.getUint32(4, true),
    uid: v.getUint32(20, true),
    gid: v.getUint32(24, true),
    mode: v.getUint16(28, true),
    ino: v.getBigUint64(32, true),
    size: v.getBigUint64(40, true),
    devMajor: v.getUint32(136, true),
    devMinor: v.getUint32(140, true),
  };
}

export interface MmapArgs {
  /** Wanted address; with MAP_FIXED the very address. */
  addr?: bigint;
  length: number;
  prot: number;
  flags: number;
  /** -1 for MAP_ANONYMOUS. */
  fd?: number;
  offset?: number;
}

/** Maps memory and returns its address. MAP_FIXED replaces what was there. */
export function mmap(args: MmapArgs): bigint {
  const r = cMmap(Number(args.addr ?? 0n), args.length, args.prot, args.flags, args.fd ?? -1, args.offset ?? 0);
  if (BigInt(r) === -1n) throw sysError('mmap');
  return BigInt(r);
}

export function munmap(addr: bigint, length: number): void {
  check(cMunmap(Number(addr), length), 'munmap');
}

export function mprotect(addr: bigint, length: number, prot: number): void {
  check(cMprotect(Number(addr), length, prot), 'mprotect');
}

export function madvise(addr: bigint, length: number, advice: number): void {
  check(cMadvise(Number(addr), length, advice), 'madvise');
}

/** Locks the range into RAM (for `--mlockall`; ENOMEM above RLIMIT_MEMLOCK). */
export function mlock(addr: bigint, length: number): void {
  check(cMlock(Number(addr), length), 'mlock');
}

/** Address of the buffer's first byte; valid while the caller holds a reference to the buffer (or its WebAssembly.Memory). */
export function addressOf(buffer: ArrayBufferLike): bigint {
  return BigInt(pointer(buffer));
}

export function addSeals(fd: number, seals: number): void {
  check(cFcntl(fd, F_ADD_SEALS, seals), 'fcntl(F_ADD_SEALS)');
}

export function getSeals(fd: number): number {
  return check(cFcntl(fd, F_GET_SEALS, 0), 'fcntl(F_GET_SEALS)');
}
