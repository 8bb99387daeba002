import { be16, checksum, pseudoHeader4, pseudoHeader6 } from './checksums.ts';

/**
 * What senders leave to be done, and how it is done: from RFC 1071, 793, 8200 and what virtio 1.2, 5.1.6.2 asks of a device. Shares nothing with the
 * code under test.
 */

/** A virtio_net_hdr. */
export interface Vnet {
  flags: number;
  gsoType: number;
  hdrLen: number;
  gsoSize: number;
  csumStart: number;
  csumOffset: number;
}

export const GSO = { none: 0, tcp4: 1, tcp6: 4, udp: 5 } as const;

const le16 = (n: number): number[] => [n & 255, n >> 8];

/** The first ten bytes of the header. */
export const vnetBytes = (v: Vnet): number[] => [
  v.flags,
  v.gsoType,
  ...[v.hdrLen, v.gsoSize, v.csumStart, v.csumOffset].flatMap(le16),
];

export interface Spec {
  version: 4 | 6;
  proto: 6 | 17;
  /** Tags: TPID and TCI of each. */
  tags: readonly (readonly [number, number])[];
  /** Bytes of IPv4 options, and of TCP's: multiples of 4. */
  ipOptions: number;
  tcpOptions: number;
  tcpFlags: number;
  seq: number;
  id: number;
  payload: Uint8Array;
}

export interface Unfinished {
  frame: Uint8Array;
  csumStart: number;
  csumOffset: number;
  /** All headers. */
  headers: number;
  l3: number;
}

function transport(spec: Spec, sum: number): number[] {
  const [src, dst] = [0x1234, 80];
  if (spec.proto === 17) return [...be16(src), ...be16(dst), ...be16(8 + spec.payload.length), ...be16(sum)];
  const offset = (20 + spec.tcpOptions) / 4;
  const seq = [...be16(spec.seq >>> 16), ...be16(spec.seq & 0xffff)];
  const head = [...be16(src), ...be16(dst), ...seq, 0, 0, 0, 9, offset << 4, spec.tcpFlags, 2, 0, ...be16(sum), 0, 0];
  return [...head, ...Array<number>(spec.tcpOptions).fill(1)];
}

function network(spec: Spec, addresses: readonly number[], size: number): number[] {
  const { proto } = spec;
  if (spec.version === 6) return [0x60, 0, 0, 0, ...be16(size), proto, 64, ...addresses];
  const ihl = 20 + spec.ipOptions;
  const ip = [0x40 | (ihl / 4), 0, ...be16(ihl + size), ...be16(spec.id), 0x40, 0, 64, proto, 0, 0, ...addresses];
  ip.push(...Array<number>(spec.ipOptions).fill(1));
  [ip[10], ip[11]] = be16(checksum(ip)) as [number, number];
  return ip;
}

/** A frame whose transport checksum is the sum of its pseudo-header. */
export function unfinished(spec: Spec): Unfinished {
  const size = (spec.proto === 17 ? 8 : 20 + spec.tcpOptions) + spec.payload.length;
  const half = spec.version === 4 ? 4 : 16;
  const addresses = Array.from({ length: 2 * half }, (_, i) => 10 + i * 7);
  const pseudo = spec.version === 4 ? pseudoHeader4 : pseudoHeader6;
  const sum = ~checksum([], pseudo(addresses, spec.proto, size)) & 0xffff;
  const tags = spec.tags.flatMap(([tpid, tci]) => [...be16(tpid), ...be16(tci)]);
  const ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, ...tags, ...be16(spec.version === 4 ? 0x0800 : 0x86dd)];
  const ip = network(spec, addresses, size);
  const l4 = transport(spec, sum);
  const csumStart = ethernet.length + ip.length;
  return {
    frame: Uint8Array.from([...ethernet, ...ip, ...l4, ...spec.payload]),
    csumStart,
    csumOffset: spec.proto === 17 ? 6 : 16,
    headers: csumStart + l4.length,
    l3: ethernet.length,
  };
}

/** Writes the transport checksum from its definition. */
function seal(frame: Uint8Array, spec: Spec, u: Unfinished): void {
  const at = u.csumStart + u.csumOffset;
  frame.set([0, 0], at);
  const addresses = spec.version === 4 ? frame.subarray(u.l3 + 12, u.l3 + 20) : frame.subarray(u.l3 + 8, u.l3 + 40);
  const l4 = frame.subarray(u.csumStart);
  const pseudo = spec.version === 4 ? pseudoHeader4 : pseudoHeader6;
  const sum = checksum(l4, pseudo([...addresses], spec.proto, l4.length));
  frame.set(be16(spec.proto === 17 && sum === 0 ? 0xffff : sum), at);
}

/** The frame with its checksum. */
export function completed(spec: Spec): Uint8Array {
  const u = unfinished(spec);
  const frame = u.frame.slice();
  seal(frame, spec, u);
  return frame;
}

/** The frames of `gsoSize` bytes of payload that the frame stands for. */
export function segments(spec: Spec, gsoSize: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = 0; at < spec.payload.length; at += gsoSize) {
    const payload = spec.payload.subarray(at, at + gsoSize);
    let { tcpFlags } = spec;
    if (at + gsoSize < spec.payload.length) tcpFlags &= ~0x09; // FIN and PSH are the last one's
    if (at > 0) tcpFlags &= ~0x80; // CWR is the first one's
    out.push(
      completed({ ...spec, payload, tcpFlags, seq: (spec.seq + at) >>> 0, id: (spec.id + out.length) & 0xffff }),
    );
  }
  return out;
}

const word = (b: Uint8Array, at: number) => (b[at]! << 8) | b[at + 1]!;

/** Bytes of the network header before the pseudo-header's addresses, and of those. */
const addressesOf = (frame: Uint8Array, l3: number) =>
  frame[l3]! >> 4 === 4 ? frame.subarray(l3 + 12, l3 + 20) : frame.subarray(l3 + 8, l3 + 40);

/** One segment of a frame: payload from `at` on. */
function segmentOf(frame: Uint8Array, l3: number, v: Vnet, headers: number, at: number): Uint8Array {
  const payload = frame.subarray(headers + at, headers + at + v.gsoSize);
  const s = Uint8Array.from([...frame.subarray(0, headers), ...payload]);
  const l4 = v.csumStart;
  const isTcp = v.csumOffset === 16;
  if (s[l3]! >> 4 === 4) {
    s.set([...be16(s.length - l3), ...be16((word(s, l3 + 4) + at / v.gsoSize) & 0xffff)], l3 + 2);
    s.set([0, 0], l3 + 10);
    s.set(be16(checksum(s.subarray(l3, l4))), l3 + 10);
  } else s.set(be16(s.length - l3 - 40), l3 + 4);
  if (isTcp) {
    const view = new DataView(s.buffer);
    view.setUint32(l4 + 4, view.getUint32(l4 + 4) + at);
    if (headers + at + v.gsoSize < frame.length) s[l4 + 13]! &= ~0x09;
    if (at > 0) s[l4 + 13]! &= ~0x80;
  } else s.set(be16(s.length - l4), l4 + 4);
  s.set([0, 0], l4 + v.csumOffset);
  const sum = checksum(s.subarray(l4), pseudoHeader4([...addressesOf(s, l3)], isTcp ? 6 : 17, s.length - l4));
  s.set(be16(!isTcp && sum === 0 ? 0xffff : sum), l4 + v.csumOffset);
  return s;
}

/** The frames on a wire that a receiver sees in a frame with the header `vnet` (ten bytes). Network headers follow at most two tags. */
export function onWire(vnet: Uint8Array, frame: Uint8Array): Uint8Array[] {
  const view = new DataView(vnet.buffer, vnet.byteOffset);
  const [gsoSize, csumStart, csumOffset] = [4, 6, 8].map((at) => view.getUint16(at, true)) as [number, number, number];
  const v: Vnet = { flags: vnet[0]!, gsoType: vnet[1]!, hdrLen: 0, gsoSize, csumStart, csumOffset };
  if (v.flags === 0) return [frame];
  let l3 = 14;
  while (word(frame, l3 - 2) === 0x8100 || word(frame, l3 - 2) === 0x88a8) l3 += 4;
  const headers = csumStart + (csumOffset === 16 ? (frame[csumStart + 12]! >> 4) * 4 : 8);
  const size = frame.length - headers;
  if (v.gsoType === 0) return [segmentOf(frame, l3, { ...v, gsoSize: size }, headers, 0)];
  const n = Math.ceil(size / gsoSize);
  return Array.from({ length: n }, (_, i) => segmentOf(frame, l3, v, headers, i * gsoSize));
}
