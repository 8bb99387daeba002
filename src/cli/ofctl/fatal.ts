import { strerror } from '../../base/errno.ts';

/** What ends ovs-ofctl: the message goes to stderr behind the program's name, and the exit code is 1. */
export class Fatal extends Error {
  override name = 'Fatal';
}

/** The command ends with this exit code; what there is to say has been said. */
export class Exit extends Error {
  override name = 'Exit';
  readonly code: number;
  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}

/** Ends with `message (what strerror(3) says)`. */
export const fatalErrno = (code: string, message: string): Fatal =>
  new Fatal(`${message} (${code === 'EOF' ? 'End of file' : strerror({ code })})`);
