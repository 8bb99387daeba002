import type { OdpPort } from '../base/types.ts';
import type { Flow } from '../flow/flow.ts';
import type { DpAction, DpSetAttr, DpUserdata } from './dpif.ts';
import { odpHeaderFields } from './odp-keys.ts';
import { findHeaders, type PacketHeaders } from './packet-headers.ts';

/**
 * Runs datapath actions on a packet, one byte array at a time: the reference for the fast path's executor, and what the dummy datapath
 * forwards with. Checksums are updated incrementally (RFC 1624), so a bad one stays bad by the same amount.
 */

/** Where packets go. `packet` belongs to the callee. */
export interface ExecuteSink {
  output(port: OdpPort, packet: Uint8Array): void;
  userspace(userdata: DpUserdata, packet: Uint8Array): void;
  recirc(recircId: number, packet: Uint8Array, dpHash: number): void;
}

const be16 = (p: Uint8Array, at: number): number => (p[at] << 8) | p[at + 1];

function put16(p: Uint8Array, at: number, v: number): void {
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

const setMpls: Setter = (p, h, key, mask) => {
  if (h.l3Type === 0x8847 || h.l3Type === 0x8848) blend(p, h.l3, key, mask);
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
  mpls: setMpls,
  nsh: () => {},
};

function splice(p: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  const out = new Uint8Array(p.length - remove + insert.length);
  out.set(p.subarray(0, at));
  out.set(insert, at);
  out.set(p.subarray(at + remove), at + insert.length);
  return out;
}

function pushVlan(p: Uint8Array, tpid: number, tci: number): Uint8Array {
  return splice(p, 12, 0, Uint8Array.of(tpid >> 8, tpid, (tci >> 8) & ~0x10, tci));
}

function popVlan(p: Uint8Array): Uint8Array {
  const { ethType } = findHeaders(p);
  return (ethType === 0x8100 || ethType === 0x88a8) && p.length >= 18 ? splice(p, 12, 4, new Uint8Array(0)) : p;
}

function pushMpls(p: Uint8Array, ethertype: number, lse: number): Uint8Array {
  const at = l2End(p);
  const out = splice(p, at, 0, Uint8Array.of(lse >>> 24, lse >>> 16, lse >>> 8, lse));
  put16(out, at - 2, ethertype);
  return out;
}

function popMpls(p: Uint8Array, ethertype: number): Uint8Array {
  const at = l2End(p);
  if (at + 4 > p.length) return p;
  const out = splice(p, at, 4, new Uint8Array(0));
  put16(out, at - 2, ethertype);
  return out;
}

/** Offset of what follows the last Ethertype. */
function l2End(p: Uint8Array): number {
  let at = 12;
  while (at + 4 <= p.length && (be16(p, at) === 0x8100 || be16(p, at) === 0x88a8)) at += 4;
  return at + 2;
}

/** The state of one packet on its way through a list of actions. */
class Execution {
  #packet: Uint8Array;
  readonly #sink: ExecuteSink;
  #maxLen: number | undefined;
  #dpHash = 0;

  constructor(packet: Uint8Array, sink: ExecuteSink) {
    this.#packet = packet.slice();
    this.#sink = sink;
  }

  run(actions: readonly DpAction[]): void {
    for (const a of actions) this.#one(a);
  }

  /** A copy for one output, cut by a `trunc` before it. */
  #copy(): Uint8Array {
    const copy = this.#packet.slice(0, this.#maxLen ?? this.#packet.length);
    this.#maxLen = undefined;
    return copy;
  }

  #nested(actions: readonly DpAction[]): void {
    new Execution(this.#packet, this.#sink).run(actions);
  }

  #one(a: DpAction): void {
    switch (a.type) {
      case 'output':
        this.#sink.output(a.port, this.#copy());
        break;
      case 'userspace':
        this.#sink.userspace(a.userdata, this.#copy());
        break;
      case 'set':
        if (a.attr !== 'skb_priority' && a.attr !== 'skb_mark')
          SETTERS[a.attr](this.#packet, findHeaders(this.#packet), a.key, a.mask);
        break;
      case 'push_vlan':
        this.#packet = pushVlan(this.#packet, a.tpid, a.tci);
        break;
      case 'pop_vlan':
        this.#packet = popVlan(this.#packet);
        break;
      case 'push_mpls':
        this.#packet = pushMpls(this.#packet, a.ethertype, a.lse);
        break;
      case 'pop_mpls':
        this.#packet = popMpls(this.#packet, a.ethertype);
        break;
      case 'trunc':
        this.#maxLen = a.maxLen;
        break;
      case 'hash':
        this.#dpHash = a.basis;
        break;
      case 'recirc':
        this.#sink.recirc(a.recircId, this.#copy(), this.#dpHash);
        break;
      case 'clone':
        this.#nested(a.actions);
        break;
      case 'sample':
        if (Math.random() * 0xffffffff < a.probability) this.#nested(a.actions);
        break;
      case 'check_pkt_len':
        this.#nested(this.#packet.length > a.pktLen ? a.ifGreater : a.ifLessEqual);
        break;
      default:
        break;
    }
  }
}

/** Runs `actions` on a copy of `packet`. `key` are its headers; they are not looked at. */
export function executeActions(packet: Uint8Array, _key: Flow, actions: readonly DpAction[], sink: ExecuteSink): void {
  new Execution(packet, sink).run(actions);
}
