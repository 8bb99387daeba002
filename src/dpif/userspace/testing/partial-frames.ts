/** Frames as a kernel leaves them to a device: uncut, and without the sum over their payload. */

/** Counts up from `first`. */
export const bytes = (size: number, first = 0) => Uint8Array.from({ length: size }, (_, i) => (first + i) & 0xff);

/** Plain RFC 1071, big-endian words: 0 when the checksum that is in there is right. */
export function sum(data: Uint8Array, start = 0): number {
  let total = start;
  for (let i = 0; i < data.length; i += 2) total += (data[i]! << 8) | (data[i + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}
export const pseudo4 = (frame: Uint8Array, l3: number, proto: number) =>
  sum(frame.subarray(l3 + 12, l3 + 20), proto + ((frame[l3 + 2]! << 8) | frame[l3 + 3]!) - 20);
export const pseudo6 = (frame: Uint8Array, l3: number, proto: number) =>
  sum(frame.subarray(l3 + 8, l3 + 40), proto + ((frame[l3 + 4]! << 8) | frame[l3 + 5]!));

export function ethernet(type: number): number[] {
  return [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, type >> 8, type & 0xff];
}

/** A frame whose transport checksum holds the pseudo-header's sum alone, as the kernel leaves it. */
export function partial(version: 4 | 6, proto: 6 | 17, payload: Uint8Array): { frame: Uint8Array; csumStart: number } {
  const l4Size = proto === 6 ? 20 : 8;
  const size = l4Size + payload.length;
  const ip =
    version === 4
      ? [
          0x45,
          0,
          ((size + 20) >> 8) & 0xff,
          (size + 20) & 0xff,
          0x12,
          0x34,
          0x40,
          0,
          64,
          proto,
          0,
          0,
          10,
          0,
          0,
          1,
          10,
          0,
          0,
          2,
        ]
      : [0x60, 0, 0, 0, (size >> 8) & 0xff, size & 0xff, proto, 64, ...bytes(16, 1), ...bytes(16, 101)];
  if (version === 4) {
    const c = ~sum(Uint8Array.from(ip)) & 0xffff;
    ip[10] = c >> 8;
    ip[11] = c & 0xff;
  }
  const addresses = Uint8Array.from(version === 4 ? ip.slice(12, 20) : ip.slice(8, 40));
  const c = sum(addresses, proto + size);
  // Sequence number 0xfffffff0 wraps; flags CWR, ACK, PSH, FIN.
  const tcp = [0, 80, 0x10, 0, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 1, 0x50, 0x99, 1, 0, c >> 8, c & 0xff, 0, 0];
  const udp = [0, 80, 0x10, 0, (size >> 8) & 0xff, size & 0xff, c >> 8, c & 0xff];
  const head = [...ethernet(version === 4 ? 0x0800 : 0x86dd), ...ip];
  return { frame: Uint8Array.from([...head, ...(proto === 6 ? tcp : udp), ...payload]), csumStart: head.length };
}
