import { readFileSync } from 'node:fs';
import { strerror } from '../../base/errno.ts';
import { Fatal } from './fatal.ts';

/** Files and hexadecimal digits that commands take. */

/** All bytes of a file; `-` is stdin. Throws what `readFileSync` throws. */
export const readInput = (name: string): Buffer => readFileSync(name === '-' ? 0 : name);

/** Bytes of pairs of hexadecimal digits, white space and dots between them; undefined when anything else is there. */
export function bytesFromHex(s: string): Uint8Array | undefined {
  const { bytes, end } = pullHexBytes(s);
  return end === s.length ? bytes : undefined;
}

/** As many bytes as there are at the start of `s`, and where they end. */
export function pullHexBytes(s: string): { bytes: Uint8Array; end: number } {
  const head = /^(?:[ .\t\r\n]*[0-9a-fA-F]{2})*[ .\t\r\n]*/.exec(s)![0];
  return { bytes: Uint8Array.from(Buffer.from(head.replace(/[ .\t\r\n]+/g, ''), 'hex')), end: head.length };
}

export interface InputLine {
  text: string;
  /** From 1. */
  number: number;
}

/** Lines without comments (from `#` on), those with nothing but blanks left out. */
export function preprocessedLines(text: string): InputLine[] {
  const lines = text.split('\n').map((line, i) => ({ text: line.replace(/#.*$/s, ''), number: i + 1 }));
  return lines.filter((line) => /[^ \t\n]/.test(line.text));
}

/** The lines of a file of flows or groups. Throws Fatal in ovs-ofctl's words. */
export function readLines(name: string): InputLine[] {
  try {
    return preprocessedLines(readInput(name).toString('utf8'));
  } catch (e) {
    throw new Fatal(`${name}: open failed (${strerror(e)})`);
  }
}
