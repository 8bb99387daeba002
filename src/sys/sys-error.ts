/** A system call that failed. `code` is errno's name, as in Node's own errors. */
export class SysError extends Error {
  override name = 'SysError';
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  constructor(code: string, errno: number, syscall: string, text: string, detail?: string) {
    super(`${syscall}${detail === undefined ? '' : ` ${detail}`}: ${text} (${code})`);
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

/** True for a SysError with one of `codes`. */
export function isSysError(e: unknown, ...codes: string[]): e is SysError {
  return e instanceof SysError && (codes.length === 0 || codes.includes(e.code));
}
