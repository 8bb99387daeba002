import { isMplsType, isVlanType } from './odp-keys.ts';

/** Where the headers of an Ethernet frame start; -1 where a frame has none (or it is cut short). */
export interface PacketHeaders {
  /** First Ethertype after the addresses. */
  ethType: number;
  /** Offset of that Ethertype (12). */
  typeAt: number;
  /** Ethertype behind all tags, and the offset of what follows it. */
  l3Type: number;
  l3: number;
  /** Transport header, its protocol; -1 also in later fragments. */
  l4: number;
  ipProto: number;
  /** IPv6: a routing header with segments left; the destination in the pseudo-header is then another one. */
  routed: boolean;
}

const be16 = (p: Uint8Array, at: number): number => (p[at] << 8) | p[at + 1];

const NO_TRANSPORT = { l4: -1, ipProto: -1, routed: false };

function ipv4Transport(p: Uint8Array, l3: number): Pick<PacketHeaders, 'l4' | 'ipProto' | 'routed'> {
  const ihl = (p[l3] & 15) * 4;
  if (l3 + 20 > p.length || ihl < 20 || l3 + ihl > p.length) return NO_TRANSPORT;
  const later = (be16(p, l3 + 6) & 0x1fff) !== 0;
  return { l4: later ? -1 : l3 + ihl, ipProto: p[l3 + 9], routed: false };
}

const [HOP_BY_HOP, ROUTING, FRAGMENT, AUTH, DEST_OPTS, MOBILITY] = [0, 43, 44, 51, 60, 135];

function ipv6Transport(p: Uint8Array, l3: number): Pick<PacketHeaders, 'l4' | 'ipProto' | 'routed'> {
  if (l3 + 40 > p.length) return NO_TRANSPORT;
  let proto = p[l3 + 6];
  let at = l3 + 40;
  let routed = false;
  while ([HOP_BY_HOP, ROUTING, FRAGMENT, AUTH, DEST_OPTS, MOBILITY].includes(proto)) {
    if (at + 8 > p.length) return NO_TRANSPORT;
    if (proto === FRAGMENT && (be16(p, at + 2) & 0xfff8) !== 0) return { l4: -1, ipProto: p[at], routed };
    if (proto === ROUTING && p[at + 3] > 0) routed = true;
    const size = proto === FRAGMENT ? 8 : proto === AUTH ? (p[at + 1] + 2) * 4 : (p[at + 1] + 1) * 8;
    proto = p[at];
    at += size;
  }
  return { l4: at <= p.length ? at : -1, ipProto: proto, routed };
}

/** Walks the headers of a frame. Reads nothing beyond its end. */
export function findHeaders(p: Uint8Array): PacketHeaders {
  let typeAt = 12;
  while (typeAt + 4 <= p.length && isVlanType(be16(p, typeAt))) typeAt += 4;
  const l3Type = typeAt + 2 <= p.length ? be16(p, typeAt) : 0;
  const l3 = l3Type >= 0x600 && typeAt + 2 <= p.length ? typeAt + 2 : -1;
  const base = { ethType: p.length >= 14 ? be16(p, 12) : 0, typeAt: 12, l3Type, l3 };
  if (l3 >= 0 && l3Type === 0x0800) return { ...base, ...ipv4Transport(p, l3) };
  if (l3 >= 0 && l3Type === 0x86dd) return { ...base, ...ipv6Transport(p, l3) };
  return { ...base, ...NO_TRANSPORT, l3: l3Type === 0x0806 || l3Type === 0x8035 || isMplsType(l3Type) ? l3 : -1 };
}
