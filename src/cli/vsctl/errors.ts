/** What ends the program with exit code 1 and a message behind the program's name. */
export class CtlError extends Error {
  override name = 'CtlError';
}

/** Ends the program with a code and without a word. */
export class CtlExit extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}
