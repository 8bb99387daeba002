/** Ethernet addresses and datapath IDs as the configuration has them. */

/** The six bytes of `aa:bb:cc:dd:ee:ff`, or undefined. */
export function parseMac(text: string | undefined): Uint8Array | undefined {
  if (text === undefined || !/^([0-9a-f]{1,2}:){5}[0-9a-f]{1,2}$/i.test(text)) return undefined;
  return Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16));
}

export function formatMac(mac: Uint8Array): string {
  return [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export const isMulticast = (mac: Uint8Array): boolean => (mac[0]! & 1) !== 0;
export const isLocal = (mac: Uint8Array): boolean => (mac[0]! & 2) !== 0;
export const isZero = (mac: Uint8Array): boolean => mac.every((byte) => byte === 0);

/** 01:80:c2:00:00:0x, which bridges keep to themselves (IEEE 802.1D). */
const isReserved = (mac: Uint8Array): boolean => /^01:80:c2:00:00:0.$/.test(formatMac(mac));

/** The address that stands for a bridge: the lowest global unicast one of its ports, else `fallback`. */
export function pickBridgeMac(candidates: Iterable<Uint8Array>, fallback: Uint8Array): Uint8Array {
  let best: Uint8Array | undefined;
  for (const mac of candidates) {
    if (isMulticast(mac) || isLocal(mac) || isReserved(mac) || isZero(mac)) continue;
    if (!best || Buffer.compare(mac, best) < 0) best = mac;
  }
  return best ?? fallback;
}

/** The address that a bridge has of its own: from the first bytes of its row's uuid as Open vSwitch keeps it in memory (two little-endian
 *  words), marked local, so that it outlives restarts and changing over from Open vSwitch. */
export function defaultBridgeMac(uuid: string): Uint8Array {
  const b = Buffer.from(uuid.replaceAll('-', ''), 'hex');
  return Uint8Array.of((b[3]! & 0xfe) | 0x02, b[2]!, b[1]!, b[0]!, b[7]!, b[6]!);
}

/** other_config:datapath-id: 16 hexadecimal digits, or `0x` and at most 16; never zero. */
export function parseDatapathId(text: string | undefined): bigint | undefined {
  if (text === undefined || !/^([0-9a-f]{16}|0x[0-9a-f]{1,16})$/i.test(text)) return undefined;
  const id = BigInt(text.startsWith('0x') ? text : `0x${text}`);
  return id === 0n ? undefined : id;
}

export const macToDatapathId = (mac: Uint8Array): bigint => BigInt(`0x${Buffer.from(mac).toString('hex')}`);
export const formatDatapathId = (id: bigint): string => id.toString(16).padStart(16, '0');
