/** Addresses, flags and numbers as Open vSwitch writes them. Parsers return undefined for what is malformed. */

const two = (n: number): string => n.toString(16).padStart(2, '0');

export function formatMac(mac: Uint8Array): string {
  return `${two(mac[0])}:${two(mac[1])}:${two(mac[2])}:${two(mac[3])}:${two(mac[4])}:${two(mac[5])}`;
}

export function parseMac(s: string): Uint8Array | undefined {
  if (!/^[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}$/.test(s)) return undefined;
  return Uint8Array.from(s.split(':'), (b) => Number.parseInt(b, 16));
}

export function formatIpv4(ip: Uint8Array): string {
  return ip.join('.');
}

export function parseIpv4(s: string): Uint8Array | undefined {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(s)) return undefined;
  const bytes = s.split('.').map(Number);
  return bytes.every((b) => b < 256) ? Uint8Array.from(bytes) : undefined;
}

/** RFC 5952: lower case, the first longest run of two or more zero groups as `::`, an embedded IPv4 address dotted. */
export function formatIpv6(ip: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (ip[2 * i] << 8) | ip[2 * i + 1]);
  const run = longestZeroRun(groups);
  const v4 = run.start === 0 && (run.length === 6 || (run.length === 5 && groups[5] === 0xffff));
  const tail = v4 ? formatIpv4(ip.subarray(12)) : undefined;
  const words = groups.slice(0, tail === undefined ? 8 : 6).map((g) => g.toString(16));
  if (tail !== undefined) words.push(tail);
  if (run.length < 2) return words.join(':');
  return `${words.slice(0, run.start).join(':')}::${words.slice(run.start + run.length).join(':')}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let i = 0; i < groups.length; i++) {
    let n = 0;
    while (i + n < groups.length && groups[i + n] === 0) n++;
    if (n > best.length) best = { start: i, length: n };
    i += n;
  }
  return best;
}

export function parseIpv6(s: string): Uint8Array | undefined {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(s);
  if (dotted) {
    const v4 = parseIpv4(dotted[2]);
    if (!v4) return undefined;
    return parseIpv6(`${dotted[1]}${((v4[0] << 8) | v4[1]).toString(16)}:${((v4[2] << 8) | v4[3]).toString(16)}`);
  }
  const halves = s.split('::');
  if (halves.length > 2) return undefined;
  const groups = halves.map((h) => (h === '' ? [] : h.split(':')));
  const given = groups.flat();
  if (!given.every((g) => /^[0-9a-fA-F]{1,4}$/.test(g))) return undefined;
  if (halves.length === 1 ? given.length !== 8 : given.length > 7) return undefined;
  const all = [...groups[0], ...Array<string>(8 - given.length).fill('0'), ...(groups[1] ?? [])];
  const out = new Uint8Array(16);
  all.forEach((g, i) => {
    const n = Number.parseInt(g, 16);
    out[2 * i] = n >> 8;
    out[2 * i + 1] = n;
  });
  return out;
}

/** Length of the prefix that `mask` is, undefined when it is none. */
export function prefixLength(mask: Uint8Array): number | undefined {
  let n = 0;
  while (n < mask.length * 8 && (mask[n >> 3] >> (7 - (n & 7))) & 1) n++;
  for (let i = n; i < mask.length * 8; i++) if ((mask[i >> 3] >> (7 - (i & 7))) & 1) return undefined;
  return n;
}

/** A mask of `bytes` bytes with its first `n` bits set. */
export function prefixMask(bytes: number, n: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (0xff00 >> Math.min(8, Math.max(0, n - 8 * i))) & 0xff);
}

/** `address`, `address/24` or `address/mask`. */
export function formatPrefixed(ip: Uint8Array, mask: Uint8Array): string {
  const format = ip.length === 4 ? formatIpv4 : formatIpv6;
  const n = prefixLength(mask);
  if (n === ip.length * 8) return format(ip);
  return `${format(ip)}/${n ?? format(mask)}`;
}

export function formatMaskedMac(mac: Uint8Array, mask: Uint8Array): string {
  return mask.every((b) => b === 0xff) ? formatMac(mac) : `${formatMac(mac)}/${formatMac(mask)}`;
}

/** `0x1f`; zero is `0`, as C's %#x has it. */
export function hex(n: number | bigint): string {
  return n === 0 || n === 0n ? '0' : `0x${n.toString(16)}`;
}

/** A whole value in hexadecimal without leading zeros; zero is `0`. */
export function hexBytes(b: Uint8Array): string {
  const digits = Buffer.from(b).toString('hex').replace(/^0+/, '');
  return digits ? `0x${digits}` : '0';
}

/** Names of flags by bit, lowest first; '' has no name. */
export type FlagNames = readonly string[];
export const CT_STATE_FLAGS: FlagNames = ['new', 'est', 'rel', 'rpl', 'inv', 'trk', 'snat', 'dnat'];
export const TCP_FLAG_NAMES: FlagNames = [
  'fin',
  'syn',
  'rst',
  'psh',
  'ack',
  'urg',
  'ece',
  'cwr',
  'ns',
  '[200]',
  '[400]',
  '[800]',
];
export const TUN_FLAG_NAMES: FlagNames = ['oam', 'df', 'csum', 'key'];

function bitsIn(flags: number, names: FlagNames): string[] {
  return names.filter((_, i) => flags & (1 << i));
}

/** `syn|ack`, or `+syn-ack` when not every flag of `all` is matched. */
export function formatFlags(flags: number, mask: number, all: number, names: FlagNames): string {
  if ((mask & all) === all) return flags ? bitsIn(flags, names).join('|') : '0';
  if (!mask) return '0/0';
  return names.map((name, i) => (mask & (1 << i) ? (flags & (1 << i) ? '+' : '-') + name : '')).join('');
}
