/** What those who offer control commands need of unixctl.ts, without its socket. */

/** Thrown by a handler: the text becomes an error reply. */
export class UnixctlError extends Error {
  override name = 'UnixctlError';
}

/** The reply's text; a missing newline at its end is added. */
export type UnixctlHandler = (args: readonly string[]) => string | Promise<string>;

/** Where commands are put. `usage` undefined hides the command from `list-commands`. A name that is there already is left as it is. */
export interface UnixctlRegistry {
  register(name: string, usage: string | undefined, minArgs: number, maxArgs: number, handler: UnixctlHandler): void;
}
