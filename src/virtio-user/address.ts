/** Ethernet, IPv4 and IPv6 addresses as text, bytes and numbers. */
import { isIPv4, isIPv6 } from 'node:net';

/** Six bytes of `aa:bb:cc:dd:ee:ff` (also with `-` or as `aabb.ccdd.eeff`). Throws. */
export function parseMac(text: string): Uint8Array {
  const hex = text.replace(/[:.-]/g, '');
  const parts = text.split(/[:-]/);
  const shape = /^[0-9a-f]{12}$/i.test(hex) && (parts.length === 6 || /^[0-9a-f]{4}(\.[0-9a-f]{4}){2}$/i.test(text));
  if (!shape) throw new Error(`${text}: not a MAC address`);
  return Uint8Array.from({ length: 6 }, (_, i) => Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16));
}

export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (b) => b.toString(16).padStart(2, '0')).join(':');
}

/** Big-endian bytes as a number, and back. */
export function bytesToBigint(bytes: Uint8Array): bigint {
  return bytes.reduce((n, b) => (n << 8n) | BigInt(b), 0n);
}

export function bigintToBytes(value: bigint, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * (size - 1 - i))) & 0xffn));
}

function ipv6Groups(text: string): number[] {
  const v4 = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const [a, b, c, d] = v4 ? v4[2]!.split('.').map(Number) : [];
  const tail = v4 ? [(a! << 8) | b!, (c! << 8) | d!] : [];
  const plain = v4 ? v4[1]!.replace(/([^:]):$/, '$1') : text;
  const groups = (s: string) => (s === '' ? [] : s.split(':').map((g) => Number.parseInt(g, 16)));
  const [left, right] = plain.split('::');
  const before = groups(left!);
  if (right === undefined) return [...before, ...tail];
  const after = [...groups(right), ...tail];
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** 4 or 16 bytes of an address; a `/prefix` behind it is allowed and read over, as pktgen does. Throws. */
export function parseIp(text: string): Uint8Array {
  const address = text.replace(/\/\d+$/, '');
  if (isIPv4(address)) return Uint8Array.from(address.split('.').map(Number));
  if (!isIPv6(address) || address.includes('%')) throw new Error(`${text}: not an IP address`);
  return Uint8Array.from(ipv6Groups(address).flatMap((g) => [g >> 8, g & 255]));
}

export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2]! << 8) | bytes[i * 2 + 1]!).toString(16));
  // RFC 5952: the longest run of two or more zero groups becomes "::".
  const runs = [
    ...groups
      .map((g) => (g === '0' ? '0' : '-'))
      .join('')
      .matchAll(/00+/g),
  ];
  const run = runs.sort((a, b) => b[0].length - a[0].length)[0];
  if (!run) return groups.join(':');
  return `${groups.slice(0, run.index).join(':')}::${groups.slice(run.index + run[0].length).join(':')}`;
}
