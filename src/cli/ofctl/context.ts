import type { Daemon } from '../../base/daemon.ts';
import type { OfctlOptions } from './options.ts';

/** What a command gets. */
export interface OfctlContext {
  /** What follows the command's name. */
  args: readonly string[];
  options: OfctlOptions;
  daemon: Daemon;
}

export type OfctlCommand = (c: OfctlContext) => Promise<void> | void;

export const out = (text: string): void => {
  process.stdout.write(text);
};
export const err = (text: string): void => {
  process.stderr.write(text);
};
