import type { DpSetAttr } from './dpif.ts';
import { odpHeaderFields } from './odp-keys.ts';
import { findHeaders, type PacketHeaders } from './packet-headers.ts';

/**
 * The `set` action on the bytes of a frame: the reference for the fast path. Checksums are updated incrementally (RFC 1624), so a bad one
 * stays bad by the same amount.
 */

export const be16 = (p: Uint8Array, at: number): number => (p[at] << 8) | p[at + 1];

export function put16(p: Uint8Array, at: number, v: number): void {
  p[at] = v >> 8;
  p[at + 1] = v;
}

/** One's complement sum of the bytes at even offsets; `b` has an even length. */
function sum16(b: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < b.length; i += 2) sum += be16(b, i);
  return sum;
}

/** RFC 1624 equation 3: HC' = ~(~HC + ~m + m'). */
function fixChecksum(csum: number, before: Uint8Array, after: Uint8Array): number {
  let sum = (~csum & 0xffff) + (before.length / 2) * 0xffff - sum16(before) + sum16(after);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Offset of the transport checksum, by protocol; undefined for those without (or with a CRC). */
const CSUM_AT: Readonly<Record<number, number>> = { 6: 16, 17: 6, 58: 2 };

const IPPROTO_UDP = 17;
const IPPROTO_SCTP = 132;

/** Updates the transport checksum after bytes that it covers went from `before` to `after`. */
function fixTransport(p: Uint8Array, h: PacketHeaders, before: Uint8Array, after: Uint8Array): void {
  const at = h.l4 + CSUM_AT[h.ipProto];
  if (h.l4 < 0 || CSUM_AT[h.ipProto] === undefined || at + 2 > p.length) return;
  const old = be16(p, at);
  // RFC 768: zero means that there is no checksum; a sum of zero is sent as 0xffff.
  if (h.ipProto === IPPROTO_UDP && old === 0) return;
  const csum = fixChecksum(old, before, after);
  put16(p, at, h.ipProto === IPPROTO_UDP && csum === 0 ? 0xffff : csum);
}

/** Replaces the bytes under `mask`; returns those of before, undefined when the packet is too short. */
function blend(p: Uint8Array, at: number, key: Uint8Array, mask: Uint8Array): Uint8Array | undefined {
  if (at < 0 || at + key.length > p.length) return undefined;
  const before = p.slice(at, at + key.length);
  for (let i = 0; i < key.length; i++) p[at + i] = (p[at + i] & ~mask[i]) | (key[i] & mask[i]);
  return before;
}

/** The named field of a `set`'s key and mask. */
function part(attr: DpSetAttr, name: string, b: Uint8Array): Uint8Array {
  let at = 0;
  for (const field of odpHeaderFields(attr)) {
    if (field.name === name) return b.subarray(at, at + field.size);
    at += field.size;
  }
  throw new Error(`${attr} has no field ${name}`);
}

type Setter = (p: Uint8Array, h: PacketHeaders, key: Uint8Array, mask: Uint8Array) => void;

const setEthernet: Setter = (p, _h, key, mask) => {
  blend(p, 6, key.subarray(0, 6), mask.subarray(0, 6));
  blend(p, 0, key.subarray(6), mask.subarray(6));
};

/** A 16-bit word of the IPv4 header that the header's checksum covers. */
function fixIpv4Header(p: Uint8Array, l3: number, before: Uint8Array, after: Uint8Array): void {
  put16(p, l3 + 10, fixChecksum(be16(p, l3 + 10), before, after));
}

const setIpv4: Setter = (p, h, key, mask) => {
  if (h.l3Type !== 0x0800 || h.l3 + 20 > p.length) return;
  for (const [name, at] of [
    ['src', 12],
    ['dst', 16],
  ] as const) {
    const before = blend(p, h.l3 + at, part('ipv4', name, key), part('ipv4', name, mask))!;
    const after = p.slice(h.l3 + at, h.l3 + at + 4);
    fixIpv4Header(p, h.l3, before, after);
    if (h.ipProto !== 58) fixTransport(p, h, before, after);
  }
  for (const [name, at] of [
    ['tos', 1],
    ['ttl', 8],
  ] as const) {
    const word = h.l3 + (at & ~1);
    const before = p.slice(word, word + 2);
    blend(p, h.l3 + at, part('ipv4', name, key), part('ipv4', name, mask));
    fixIpv4Header(p, h.l3, before, p.slice(word, word + 2));
  }
};

const setIpv6: Setter = (p, h, key, mask) => {
  if (h.l3Type !== 0x86dd || h.l3 + 40 > p.length) return;
  for (const [name, at] of [
    ['src', 8],
    ['dst', 24],
  ] as const) {
    const before = blend(p, h.l3 + at, part('ipv6', name, key), part('ipv6', name, mask))!;
    if (name === 'src' || !h.routed) fixTransport(p, h, before, p.slice(h.l3 + at, h.l3 + at + 16));
  }
  const [tc, tcMask] = [part('ipv6', 'tclass', key)[0], part('ipv6', 'tclass', mask)[0]];
  const label = Uint8Array.from(part('ipv6', 'label', key));
  const labelMask = Uint8Array.from(part('ipv6', 'label', mask), (v, i) => (i === 0 ? 0 : i === 1 ? v & 0x0f : v));
  label[0] = tc >> 4;
  labelMask[0] = tcMask >> 4;
  label[1] = (label[1] & 0x0f) | ((tc & 0x0f) << 4);
  labelMask[1] |= (tcMask & 0x0f) << 4;
  blend(p, h.l3, label, labelMask);
  blend(p, h.l3 + 7, part('ipv6', 'hlimit', key), part('ipv6', 'hlimit', mask));
};

const setPorts =
  (proto: number): Setter =>
  (p, h, key, mask) => {
    if (h.ipProto !== proto || h.l4 < 0) return;
    const before = blend(p, h.l4, key, mask);
    if (before) fixTransport(p, h, before, p.slice(h.l4, h.l4 + 4));
  };

const setSctp: Setter = (p, h, key, mask) => {
  if (h.ipProto !== IPPROTO_SCTP || h.l4 < 0 || h.l4 + 12 > p.length) return;
  // Ethernet's padding is not part of the packet.
  const end = Math.min(p.length, h.l3 + (h.l3Type === 0x0800 ? be16(p, h.l3 + 2) : 40 + be16(p, h.l3 + 4)));
  const sctp = p.subarray(h.l4, end);
  const old = sctp.slice(8, 12);
  const wasRight = sctpCrc(sctp);
  blend(p, h.l4, key, mask);
  const isRight = sctpCrc(sctp);
  for (let i = 0; i < 4; i++) sctp[8 + i] = old[i] ^ wasRight[i] ^ isRight[i];
};

const CRC32C = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c >>> 0;
});

/** RFC 9260 appendix A: CRC32c over the SCTP packet with a zero checksum, as it is on the wire. */
function sctpCrc(sctp: Uint8Array): Uint8Array {
  let c = 0xffffffff;
  for (let i = 0; i < sctp.length; i++) c = CRC32C[(c ^ (i >= 8 && i < 12 ? 0 : sctp[i])) & 255] ^ (c >>> 8);
  c = ~c >>> 0;
  return Uint8Array.of(c & 255, (c >>> 8) & 255, (c >>> 16) & 255, c >>> 24);
}

const setArp: Setter = (p, h, key, mask) => {
  if ((h.l3Type !== 0x0806 && h.l3Type !== 0x8035) || h.l3 + 28 > p.length) return;
  for (const [name, at] of [
    ['op', 6],
    ['sha', 8],
    ['sip', 14],
    ['tha', 18],
    ['tip', 24],
  ] as const)
    blend(p, h.l3 + at, part('arp', name, key), part('arp', name, mask));
};

const setIcmp: Setter = (p, h, key, mask) => {
  if ((h.ipProto !== 1 && h.ipProto !== 58) || h.l4 < 0 || h.l4 + 4 > p.length) return;
  const before = blend(p, h.l4, key, mask)!;
  put16(p, h.l4 + 2, fixChecksum(be16(p, h.l4 + 2), before, p.slice(h.l4, h.l4 + 2)));
};

const setNd: Setter = (p, h, key, mask) => {
  if (h.ipProto !== 58 || h.l4 < 0 || h.l4 + 24 > p.length) return;
  const write = (at: number, name: string) => {
    const before = blend(p, at, part('nd', name, key), part('nd', name, mask));
    if (before) fixTransport(p, h, before, p.slice(at, at + before.length));
  };
  write(h.l4 + 8, 'target');
  for (let at = h.l4 + 24; at + 8 <= p.length && p[at + 1] > 0; at += p[at + 1] * 8) {
    if (p[at] === 1 && p[at + 1] === 1) write(at + 2, 'sll');
    if (p[at] === 2 && p[at + 1] === 1) write(at + 2, 'tll');
  }
};

/** The flags of an advertisement, and the type of the first option. */
const setNdExtensions: Setter = (p, h, key, mask) => {
  if (h.ipProto !== 58 || h.l4 < 0 || h.l4 + 32 > p.length) return;
  for (const [at, size, name] of [
    [h.l4 + 4, 4, 'nd_reserved'],
    [h.l4 + 24, 1, 'nd_options_type'],
  ] as const) {
    const even = at & ~1;
    const before = p.slice(even, even + 4);
    blend(p, at, part('nd_ext', name, key).subarray(0, size), part('nd_ext', name, mask));
    fixTransport(p, h, before, p.slice(even, even + 4));
  }
};

const setMpls: Setter = (p, h, key, mask) => {
  if (h.l3Type === 0x8847 || h.l3Type === 0x8848) blend(p, h.l3, key, mask);
};

/** Behind the Ethernet header; where a frame starts with it, `setHeader` has put one before it. RFC 8300. */
const setNsh: Setter = (p, h, key, mask) => {
  const at = h.typeAt + 2;
  if (h.l3Type !== 0x894f || at + 8 > p.length) return;
  const blendAt = (offset: number, name: string) =>
    blend(p, at + offset, part('nsh', name, key), part('nsh', name, mask));
  const word = be16(p, at);
  const merge = (now: number, name: string) => {
    const [k, m] = [part('nsh', name, key)[0]!, part('nsh', name, mask)[0]!];
    return (now & ~m) | (k & m);
  };
  const flags = merge((word >>> 12) & 3, 'flags') & 3;
  const ttl = merge((word >>> 6) & 63, 'ttl') & 63;
  put16(p, at, (word & 0xc03f) | (flags << 12) | (ttl << 6));
  blendAt(4, 'path_hdr');
  if ((p[at + 2]! & 15) !== 1) return;
  ['c1', 'c2', 'c3', 'c4'].forEach((name, i) => {
    blendAt(8 + i * 4, name);
  });
};

const SETTERS: Readonly<Record<Exclude<DpSetAttr, 'skb_priority' | 'skb_mark'>, Setter>> = {
  ethernet: setEthernet,
  ipv4: setIpv4,
  ipv6: setIpv6,
  tcp: setPorts(6),
  udp: setPorts(17),
  sctp: setSctp,
  arp: setArp,
  icmp: setIcmp,
  icmpv6: setIcmp,
  nd: setNd,
  nd_ext: setNdExtensions,
  mpls: setMpls,
  nsh: setNsh,
};

/** Rewrites headers of an Ethernet frame in place. A frame without that header stays as it is. */
export function setHeader(
  p: Uint8Array,
  attr: Exclude<DpSetAttr, 'skb_priority' | 'skb_mark'>,
  key: Uint8Array,
  mask: Uint8Array,
): void {
  SETTERS[attr](p, findHeaders(p), key, mask);
}
