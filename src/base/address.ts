/** Text of Ethernet and IP addresses. Bytes are in network order. */

export function formatMac(b: Uint8Array): string {
  let s = '';
  for (let i = 0; i < 6; i++) s += (i ? ':' : '') + b[i].toString(16).padStart(2, '0');
  return s;
}

/** Undefined when `s` is not six hexadecimal bytes. */
export function parseMac(s: string): Uint8Array | undefined {
  const m = /^([0-9a-f]{1,2})(:[0-9a-f]{1,2}){5}$/i.exec(s);
  return m ? Uint8Array.from(s.split(':'), (p) => Number.parseInt(p, 16)) : undefined;
}

/** `ip` is an unsigned number, 0x0a000001 = 10.0.0.1. */
export const formatIpv4 = (ip: number): string => `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}`;

export function parseIpv4(s: string): number | undefined {
  const m = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(s);
  if (!m || m.slice(1).some((p) => Number(p) > 255)) return undefined;
  return ((Number(m[1]) << 24) | (Number(m[2]) << 16) | (Number(m[3]) << 8) | Number(m[4])) >>> 0;
}

/** The first longest run of two or more zero groups, or undefined. */
function zeroRun(groups: readonly number[]): { at: number; length: number } | undefined {
  let best: { at: number; length: number } | undefined;
  for (let i = 0; i < groups.length; i++) {
    let n = 0;
    while (i + n < groups.length && groups[i + n] === 0) n++;
    if (n >= 2 && n > (best?.length ?? 1)) best = { at: i, length: n };
    i += n;
  }
  return best;
}

/** As inet_ntop(3) writes it: the longest run of zeros is `::`, an embedded IPv4 address is dotted. */
export function formatIpv6(b: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (b[2 * i] << 8) | b[2 * i + 1]);
  const run = zeroRun(groups);
  const dotted = run?.at === 0 && (run.length === 6 || (run.length === 5 && groups[5] === 0xffff));
  const words = groups.slice(0, dotted ? 6 : 8).map((g) => g.toString(16));
  if (dotted) words.push(formatIpv4(((groups[6] << 16) | groups[7]) >>> 0));
  if (!run) return words.join(':');
  return `${words.slice(0, run.at).join(':')}::${words.slice(run.at + run.length).join(':')}`;
}

export function parseIpv6(s: string): Uint8Array | undefined {
  const halves = s.split('::');
  if (halves.length > 2) return undefined;
  const lists: number[][] = [];
  for (const half of halves) {
    const groups = parseGroups(half);
    if (!groups) return undefined;
    lists.push(groups);
  }
  const n = lists.reduce((sum, l) => sum + l.length, 0);
  if (halves.length === 1 ? n !== 8 : n > 7) return undefined;
  const groups = halves.length === 1 ? lists[0] : [...lists[0], ...new Array<number>(8 - n).fill(0), ...lists[1]];
  return Uint8Array.from(groups.flatMap((g) => [g >> 8, g & 255]));
}

function parseGroups(text: string): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const words = text.split(':');
  for (const [i, word] of words.entries()) {
    const v4 = i === words.length - 1 ? parseIpv4(word) : undefined;
    if (v4 !== undefined) groups.push(v4 >>> 16, v4 & 0xffff);
    else if (/^[0-9a-f]{1,4}$/i.test(word)) groups.push(Number.parseInt(word, 16));
    else return undefined;
  }
  return groups;
}

const V4_MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/** True for an IPv4 address in the form of an IPv6 one (RFC 4291 section 2.5.5.2). */
export const isMapped = (a: Uint8Array): boolean => V4_MAPPED.every((b, i) => a[i] === b);

/** An address of 4 or 16 bytes as one of 16. */
export function mapped(address: Uint8Array): Uint8Array {
  return address.length === 16 ? address : Uint8Array.of(...V4_MAPPED, ...address);
}

export const mappedIpv4 = (ip: number): Uint8Array => mapped(Uint8Array.of(ip >>> 24, ip >>> 16, ip >>> 8, ip));

/** The IPv4 address in a mapped one, as a number; 0 for an IPv6 address. */
export const unmapIpv4 = (a: Uint8Array): number =>
  isMapped(a) ? ((a[12] << 24) | (a[13] << 16) | (a[14] << 8) | a[15]) >>> 0 : 0;

/** An IPv4-mapped address is written as the IPv4 one. */
export const formatMapped = (a: Uint8Array): string => (isMapped(a) ? formatIpv4(unmapIpv4(a)) : formatIpv6(a));

/** An address of either family, IPv4 mapped. */
export function parseMapped(text: string): Uint8Array | undefined {
  const ip = parseIpv4(text);
  return ip === undefined ? parseIpv6(text) : mappedIpv4(ip);
}
