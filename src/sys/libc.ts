import koffi from 'koffi';
import { SysError } from './sys-error.ts';

/**
 * The one place that binds C functions. Pointers are passed as JavaScript numbers (`uintptr_t`; user-space addresses fit into
 * 53 bits), so that a call on preallocated memory allocates nothing. errno belongs to the calling thread.
 */

const lib = koffi.load(null);

/** Binds `prototype`, a C declaration. Variadic functions are declared with the arguments that the caller passes. */
export function libc<T extends (...args: never[]) => unknown>(prototype: string): T {
  return lib.func(prototype) as unknown as T;
}

/** errno of the last failed call on this thread. */
export const errno: () => number = koffi.errno as () => number;

/**
 * Address of the first byte of `buffer`, as a number. Valid while the caller holds a reference; an ArrayBuffer must not be
 * detached or resized meanwhile.
 */
export function pointer(buffer: ArrayBufferLike | ArrayBufferView): number {
  return Number(koffi.address(buffer));
}

const pins: ArrayBuffer[] = [];

/**
 * A buffer that lives as long as the thread, for memory whose address is kept in a variable. A constant of a module that no function
 * mentions is garbage as soon as the module has been evaluated; its address alone does not keep it.
 */
export function pinnedBuffer(size: number): ArrayBuffer {
  const buffer = new ArrayBuffer(size);
  pins.push(buffer);
  return buffer;
}

const nameOf = new Map<number, string>();
for (const [name, value] of Object.entries(koffi.os.errno)) {
  if (name === 'EWOULDBLOCK' || name === 'EDEADLOCK' || name === 'ENOTSUP') continue;
  nameOf.set(value, name);
}

export const EINTR = koffi.os.errno.EINTR as number;
export const EAGAIN = koffi.os.errno.EAGAIN as number;
export const EOPNOTSUPP = koffi.os.errno.EOPNOTSUPP as number;

const strerror = libc<(n: number) => string>('const char* strerror(int n)');

/** The error of the call that failed last on this thread; `detail` says on what (a path, a name). */
export function sysError(syscall: string, detail?: string): SysError {
  const n = errno();
  return new SysError(nameOf.get(n) ?? `E${n}`, n, syscall, strerror(n), detail);
}

/** Passes a result that is not negative, throws the thread's errno otherwise. */
export function check(result: number, syscall: string, detail?: string): number {
  if (result < 0) throw sysError(syscall, detail);
  return result;
}

/** As `check`, but a call that would block, or was interrupted, gives -1. */
export function checkAgain(result: number, syscall: string): number {
  if (result >= 0) return result;
  const n = errno();
  if (n === EAGAIN || n === EINTR) return -1;
  throw sysError(syscall);
}
