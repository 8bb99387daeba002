import { writeSync } from 'node:fs';
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

/** Writes all of it before it returns: the program may end right after. A reader that is gone misses it. */
function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'EAGAIN') return;
      // A pipe that is full, and that somebody has made non-blocking.
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));

export const outBytes = (bytes: Uint8Array): void => writeAll(1, bytes);
export const out = (text: string): void => outBytes(Buffer.from(text, 'utf8'));
/** Text of messages: their strings are bytes, and come out as they are. */
export const outMessage = (text: string): void => outBytes(Buffer.from(text, 'latin1'));
export const errMessage = (text: string): void => writeAll(2, Buffer.from(text, 'latin1'));
export const err = (text: string): void => writeAll(2, Buffer.from(text, 'utf8'));
