/** What the text of several messages is made of. */

/** Names of the set bits from the lowest on, then what has no name as one number; `0` for none. */
export function bitNames(bits: number, names: ReadonlyMap<number, string>, separator: string): string {
  if (bits === 0) return '0';
  const out: string[] = [];
  let rest = bits >>> 0;
  for (let i = 0; i < 32; i++) {
    const bit = (1 << i) >>> 0;
    const name = rest & bit ? names.get(bit) : undefined;
    if (name === undefined) continue;
    out.push(name);
    rest = (rest & ~bit) >>> 0;
  }
  if (rest) out.push(`0x${rest.toString(16)}`);
  return out.join(separator);
}

/** Lines of 16 bytes, `00000000  01 02 …-09 … |..|`; the column of characters only if `ascii`. */
export function hexDump(bytes: Uint8Array, ascii: boolean): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const part = bytes.subarray(at, at + 16);
    const digits = Array.from(part, (b, i) => `${b.toString(16).padStart(2, '0')}${i === 7 ? '-' : ' '}`).join('');
    const offset = at.toString(16).padStart(8, '0');
    const tail = ascii ? `${digits.padEnd(48)}|${printable(part).padEnd(16)}|` : digits.replace(/ $/, '');
    lines.push(`${offset}  ${tail}\n`);
  }
  return lines.join('');
}

/** The same without characters, and with the dash only between bytes. */
export const plainHexDump = (bytes: Uint8Array): string => hexDump(bytes, false).replace(/-\n/g, '\n');

const printable = (bytes: Uint8Array): string =>
  Array.from(bytes, (b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : '.')).join('');

/** Bytes as characters; what is none, `"` and `\` in octal. */
export function escapePrintable(bytes: Uint8Array): string {
  const octal = (b: number) => `\\${b.toString(8).padStart(3, '0')}`;
  return Array.from(bytes, (b) =>
    b < 0x20 || b > 0x7e || b === 0x5c || b === 0x22 ? octal(b) : String.fromCharCode(b),
  ).join('');
}

/** `%#x` of C: zero has no prefix. */
export const hexOf = (n: number | bigint): string => (Number(n) === 0 ? '0' : `0x${n.toString(16)}`);

/** A counter; `?` when it is unknown. */
export const counter = (n: bigint): string => (n === 0xffff_ffff_ffff_ffffn ? '?' : String(n));

/** `ALL` or the number. */
export const queueName = (queueId: number): string => (queueId === 0xffffffff ? 'ALL' : String(queueId));

export function groupName(groupId: number): string {
  if (groupId === 0xfffffffc) return 'ALL';
  return groupId === 0xffffffff ? 'ANY' : String(groupId);
}

/** Takes one `c` off the end. */
export const chomp = (s: string, c: string): string => (s.endsWith(c) ? s.slice(0, -1) : s);
