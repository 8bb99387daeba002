/** Internet checksums from their definition (RFC 1071), and which of them a frame has right. Shares nothing with the code under test. */

export const be16 = (n: number): number[] => [(n >> 8) & 255, n & 255];
const word = (b: ArrayLike<number>, at: number): number => (b[at]! << 8) | (b[at + 1] ?? 0);

function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function sum(b: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < b.length; i += 2) total += word(b, i);
  return total;
}

/** RFC 1071, with the sum of a pseudo-header. */
export function checksum(b: ArrayLike<number>, pseudo = 0): number {
  return ~fold(sum(b) + pseudo) & 0xffff;
}

/** Sum of the pseudo-header (RFC 9293, 3.1); `addresses`: source and destination. */
export const pseudoHeader4 = (addresses: readonly number[], proto: number, size: number) =>
  sum(addresses) + proto + size;
/** RFC 8200, 8.1. */
export const pseudoHeader6 = pseudoHeader4;

/** Of the checksum, in what IPv4 carries. */
const AT: Readonly<Record<number, number>> = { 1: 2, 6: 16, 17: 6 };

/** CRC-32c from its polynomial, bit by bit (RFC 9260, appendix A). */
function crc32c(b: ArrayLike<number>): number {
  let crc = 0xffffffff;
  for (let i = 0; i < b.length; i++) {
    crc ^= b[i]!;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** Writes the SCTP checksum of a header with its data. */
export function sealSctp(sctp: Uint8Array): void {
  sctp.fill(0, 8, 12);
  new DataView(sctp.buffer, sctp.byteOffset).setUint32(8, crc32c(sctp), true);
}

/** Verdict on each checksum that can be found by walking an IPv4 frame: the header's, and the transport's when the packet is whole. */
export function checksums4(frame: Uint8Array): { header: boolean; transport: boolean | undefined } | undefined {
  let l3 = 14;
  while (word(frame, l3 - 2) === 0x8100 || word(frame, l3 - 2) === 0x88a8) l3 += 4;
  if (word(frame, l3 - 2) !== 0x0800) return undefined;
  const size = (frame[l3]! & 15) * 4;
  const header = checksum(frame.subarray(l3, l3 + size)) === 0;
  if (word(frame, l3 + 6) & 0x3fff) return { header, transport: undefined };
  const l4 = frame.subarray(l3 + size, l3 + word(frame, l3 + 2));
  const proto = frame[l3 + 9]!;
  return { header, transport: transportOk(l4, proto, [...frame.subarray(l3 + 12, l3 + 20)]) };
}

function transportOk(l4: Uint8Array, proto: number, addresses: readonly number[]): boolean | undefined {
  if (proto === 132 && l4.length >= 12) {
    const copy = l4.slice();
    sealSctp(copy);
    return Buffer.compare(copy, l4) === 0;
  }
  const at = AT[proto];
  if (at === undefined || at + 2 > l4.length || (proto === 17 && word(l4, at) === 0)) return undefined;
  return checksum(l4, proto === 1 ? 0 : pseudoHeader4(addresses, proto, l4.length)) === 0;
}
