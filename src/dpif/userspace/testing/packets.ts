import fc from 'fast-check';
import { be16, checksum, pseudoHeader4, pseudoHeader6, sealSctp } from './checksums.ts';

/** Frames of all kinds for property tests: right ones, which `mutated` then breaks. */

const be32 = (n: number): number[] => [...be16(n >>> 16), ...be16(n & 0xffff)];
const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size }).map((b) => [...b]);
const u16 = fc.oneof(fc.nat(3), fc.nat(0xffff));
const payload = fc.uint8Array({ maxLength: 40 }).map((b) => [...b]);

/** Bytes of a transport header with its payload; `at`: of the checksum, which is 0 until `seal` writes it. */
interface Transport {
  proto: number;
  bytes: number[];
  at?: number;
}

const tcp = fc
  .tuple(u16, u16, bytes(8), fc.nat(0x1ff), fc.constantFrom(0, 0, 4, 12), payload)
  .map(([src, dst, seq, flags, options, data]): Transport => {
    const offset = ((20 + options) / 4) << 12;
    const head = [...be16(src), ...be16(dst), ...seq, ...be16(offset | flags), ...be16(1000), 0, 0, 0, 0];
    return { proto: 6, bytes: [...head, ...Array<number>(options).fill(1), ...data], at: 16 };
  });

/** `plain`: without a checksum (RFC 768). */
const udp = fc.tuple(u16, u16, fc.boolean(), payload).map(([src, dst, plain, data]): Transport => {
  const head = [...be16(src), ...be16(dst), ...be16(8 + data.length), 0, 0];
  return { proto: 17, bytes: [...head, ...data], ...(plain ? {} : { at: 6 }) };
});

const sctp = fc.tuple(u16, u16, bytes(4), payload).map(
  ([src, dst, tag, data]): Transport => ({
    proto: 132,
    bytes: [...be16(src), ...be16(dst), ...tag, 0, 0, 0, 0, ...data],
  }),
);

const icmp = fc
  .tuple(fc.constantFrom(0, 8, 3, 11), fc.nat(3), bytes(4), payload)
  .map(([type, code, rest, data]): Transport => ({ proto: 1, bytes: [type, code, 0, 0, ...rest, ...data], at: 2 }));

const igmp = fc
  .tuple(fc.constantFrom(0x11, 0x16, 0x22), bytes(4))
  .map(([type, group]): Transport => ({ proto: 2, bytes: [type, 0, 0, 0, ...group] }));

const other = fc
  .tuple(fc.constantFrom(0, 4, 47, 50, 59, 89, 255), payload)
  .map(([proto, data]): Transport => ({ proto, bytes: data }));

/** Type, length in 8 bytes, the rest; lengths are right mostly. */
const ndOption = fc
  .tuple(fc.constantFrom(1, 1, 2, 2, 3, 5), fc.constantFrom(1, 1, 1, 1, 1, 2, 0), bytes(6))
  .map(([type, length, body]) => [type, length, ...body, ...Array<number>(Math.max(0, length - 1) * 8).fill(7)]);

const icmp6 = fc.oneof(
  fc
    .tuple(fc.constantFrom(128, 129, 1, 135), fc.nat(1), bytes(4), payload)
    .map(([type, code, rest, data]): Transport => ({ proto: 58, bytes: [type, code, 0, 0, ...rest, ...data], at: 2 })),
  fc
    .tuple(fc.constantFrom(135, 136), bytes(20), fc.array(ndOption, { maxLength: 3 }))
    .map(
      ([type, body, options]): Transport => ({ proto: 58, bytes: [type, 0, 0, 0, ...body, ...options.flat()], at: 2 }),
    ),
);

function seal(t: Transport, pseudo: (size: number) => number): number[] {
  const out = [...t.bytes];
  if (t.proto === 132) {
    const sctp = Uint8Array.from(out);
    sealSctp(sctp);
    return [...sctp];
  }
  if (t.at === undefined) return out;
  const sum = checksum(out, t.proto === 1 ? 0 : pseudo(out.length));
  // RFC 768: a sum of zero is sent as ones.
  [out[t.at], out[t.at + 1]] = be16(t.proto === 17 && sum === 0 ? 0xffff : sum) as [number, number];
  return out;
}

/** Fragment words of IPv4: mostly whole packets. */
const frag4 = fc.constantFrom(0, 0, 0, 0, 0x4000, 0x2000, 0x00b9, 0x20b9);

const ipv4 = fc
  .tuple(
    fc.oneof(tcp, udp, sctp, icmp, igmp, other, icmp6),
    bytes(4),
    bytes(4),
    fc.record({ tos: fc.nat(255), ttl: fc.nat(255), options: fc.constantFrom(0, 0, 0, 4, 40), frag: frag4 }),
    fc.constantFrom(0, 0, 6, 18),
  )
  .map(([t, src, dst, { tos, ttl, options, frag }, padding]) => {
    const l4 = seal(t, (size) => pseudoHeader4([...src, ...dst], t.proto, size));
    const total = 20 + options + l4.length;
    const ihl = 5 + options / 4;
    const head = [0x40 | ihl, tos, ...be16(total), 0, 1, ...be16(frag), ttl, t.proto, 0, 0, ...src, ...dst];
    const header = [...head, ...Array<number>(options).fill(1)];
    [header[10], header[11]] = be16(checksum(header)) as [number, number];
    return { type: 0x0800, body: [...header, ...l4, ...Array<number>(padding).fill(0xee)] };
  });

/** Extension headers: number and bytes, the first of which is left for the next header's number. */
const extension = fc.oneof(
  fc.constantFrom(0, 60).map((proto) => ({ proto, bytes: [0, 0, 1, 4, 0, 0, 0, 0] })),
  fc.nat(1).map((left) => ({ proto: 43, bytes: [0, 2, 0, left, ...Array<number>(20).fill(9)] })),
  fc.constant({ proto: 51, bytes: [0, 1, ...Array<number>(10).fill(3)] }),
  fc.constantFrom(0, 0, 1, 0x0321).map((word) => ({ proto: 44, bytes: [0, 0, ...be16(word), 0, 0, 0, 7] })),
);

const ipv6 = fc
  .tuple(
    fc.oneof(
      tcp,
      udp,
      sctp,
      icmp6,
      other.filter((t) => t.proto !== 0),
      icmp,
    ),
    bytes(16),
    bytes(16),
    fc.record({ first: fc.nat(0xfffffff), hops: fc.nat(255) }),
    fc.array(extension, { maxLength: 3 }),
    fc.constantFrom(0, 0, 6),
  )
  .map(([t, src, dst, { first, hops }, extensions, padding]) => {
    const l4 = seal({ ...t, ...(t.proto === 1 ? { at: 2 } : {}) }, (size) =>
      pseudoHeader6([...src, ...dst], t.proto, size),
    );
    const chain = extensions.map((e, i) => [extensions[i + 1]?.proto ?? t.proto, ...e.bytes.slice(1)]);
    const rest = [...chain.flat(), ...l4];
    const head = [...be32((0x60000000 | first) >>> 0), ...be16(rest.length), extensions[0]?.proto ?? t.proto, hops];
    return { type: 0x86dd, body: [...head, ...src, ...dst, ...rest, ...Array<number>(padding).fill(0xee)] };
  });

const arp = fc
  .tuple(fc.constantFrom(0x0806, 0x8035), fc.oneof(fc.constantFrom(1, 2), fc.nat(0x1ff)), bytes(20), payload)
  .map(([type, op, body, padding]) => ({ type, body: [0, 1, 8, 0, 6, 4, ...be16(op), ...body, ...padding] }));

const mpls = fc
  .tuple(fc.constantFrom(0x8847, 0x8848), fc.array(bytes(4), { minLength: 1, maxLength: 4 }), fc.oneof(ipv4, ipv6))
  .map(([type, labels, inner]) => {
    const stack = labels.map((l, i) => [l[0]!, l[1]!, (l[2]! & 0xfe) | (i === labels.length - 1 ? 1 : 0), l[3]!]);
    return { type, body: [...stack.flat(), ...inner.body] };
  });

const unknown = fc.tuple(fc.constantFrom(0x0600, 0x88cc, 0x22f0), payload).map(([type, body]) => ({ type, body }));

const llc = fc
  .tuple(
    fc.constantFrom([0xaa, 0xaa, 3, 0, 0, 0], [0xaa, 0xaa, 3, 0, 0, 0x0c], [0x42, 0x42, 3, 0, 0, 0]),
    fc.oneof(ipv4, arp, unknown),
  )
  .map(([head, inner]) => ({ type: 8 + inner.body.length, body: [...head, ...be16(inner.type), ...inner.body] }));

const tag = fc
  .tuple(fc.constantFrom(0x8100, 0x88a8), fc.nat(0xffff))
  .map(([tpid, tci]) => [...be16(tpid), ...be16(tci)]);

function framesOf(network: fc.Arbitrary<{ type: number; body: number[] }>, maxTags: number): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(bytes(12), fc.array(tag, { maxLength: maxTags }), network)
    .map(([macs, tags, { type, body }]) => Uint8Array.from([...macs, ...tags.flat(), ...be16(type), ...body]));
}

/** Frames of every kind, with up to three tags. */
export const anyFrame = framesOf(fc.oneof(ipv4, ipv6, arp, mpls, llc, unknown), 3);

/** Frames of one kind with at most one tag, for actions that fit the kind. */
export const frames = {
  ipv4: framesOf(ipv4, 1),
  ipv6: framesOf(ipv6, 1),
  arp: framesOf(arp, 1),
  mpls: framesOf(mpls, 1),
  unknown: framesOf(unknown, 1),
} as const;

/** A frame of which some bytes were changed, or that was cut, or both. */
export function mutated(frame: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const change = fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 255)));
  // Headers are in front: the first 80 bytes are changed.
  return fc.tuple(frame, fc.array(change, { maxLength: 3 }), fc.option(fc.nat())).map(([f, changes, cut]) => {
    const out = Uint8Array.from(f);
    for (const [at, value] of changes) out[12 + (at % Math.min(80, out.length - 12))] = value;
    return cut === null ? out : out.slice(0, cut % (out.length + 1));
  });
}
