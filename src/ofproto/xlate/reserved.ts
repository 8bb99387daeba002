/** Addresses that a bridge never forwards unless told so (IEEE 802.1D and vendors' protocols), as 48-bit numbers. */
const RESERVED: ReadonlySet<number> = new Set([
  ...Array.from({ length: 16 }, (_, i) => 0x0180c2000000 + i),
  ...[0x00e02b000000, 0x00e02b000004, 0x00e02b000006],
  ...[0x01000c000000, 0x01000ccccccc, 0x01000ccccccd, 0x01000ccdcdcd],
  ...Array.from({ length: 8 }, (_, i) => 0x01000cccccc0 + i),
]);

export const isReservedMac = (mac: number): boolean => RESERVED.has(mac);
