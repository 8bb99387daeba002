/**
 * Builds the frame that a generator sends, and what its kernel needs to vary fields of it: the template with zeros in the fields
 * that vary, and the sums of all that stays the same (see kernel/generate.ts).
 */
import { bytesToBigint } from './address.ts';
import * as L from './kernel/layout.ts';

export type Proto = 'udp' | 'tcp' | 'icmp';

export interface FrameSpec {
  srcMac: Uint8Array;
  dstMac: Uint8Array;
  /** Both 4 or both 16 bytes. */
  srcIp: Uint8Array;
  dstIp: Uint8Array;
  proto: Proto;
  sport: number;
  dport: number;
  ttl: number;
  tos: number;
  /** 802.1Q tag's VLAN, when it has one. */
  vlan?: number;
  /** Bytes of the frame without FCS. */
  size: number;
}

/** Fields that a range can vary. */
export type RangeField = 'src mac' | 'dst mac' | 'src ip' | 'dst ip' | 'sport' | 'dport' | 'vlan' | 'ttl' | 'size';

/** `start`, then + `inc` each frame; beyond `max` it goes on at `min`. Sizes are without FCS. */
export interface Range {
  field: RangeField;
  start: bigint;
  min: bigint;
  max: bigint;
  inc: bigint;
}

/** A range as kernel/layout.ts has it. */
export interface KernelRange {
  offset: number;
  width: number;
  sums: number;
  offset2: number;
  bias: number;
  bias2: number;
  range: Range;
}

export interface Template {
  frame: Uint8Array;
  ranges: KernelRange[];
  /** Offsets of the checksums, 0 for none. */
  ipSumAt: number;
  l4SumAt: number;
  ipBase: number;
  l4Base: number;
  l4IsUdp: boolean;
}

const L4_SIZE: Record<Proto, number> = { udp: 8, tcp: 20, icmp: 8 };

/** Where the parts of a frame begin. */
interface Offsets {
  v6: boolean;
  l3: number;
  l4: number;
  l4Sum: number;
  protoNumber: number;
}

function offsetsOf(spec: FrameSpec): Offsets {
  const v6 = spec.srcIp.length === 16;
  const l3 = spec.vlan === undefined ? 14 : 18;
  const l4 = l3 + (v6 ? 40 : 20);
  const l4Sum = l4 + { udp: 6, tcp: 16, icmp: 2 }[spec.proto];
  const protoNumber = { udp: 17, tcp: 6, icmp: v6 ? 58 : 1 }[spec.proto];
  return { v6, l3, l4, l4Sum, protoNumber };
}

/** The smallest frame that holds the headers, at least Ethernet's minimum of 60 bytes. */
export function minimumSize(spec: FrameSpec): number {
  return Math.max(60, offsetsOf(spec).l4 + L4_SIZE[spec.proto]);
}

/** Sum of the big-endian 16-bit words of `bytes`, not folded; an odd last byte is a word's high half. */
export function sumWords(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  return sum;
}

/** RFC 1071's checksum of an unfolded sum. */
export function foldSum(sum: number): number {
  let s = sum;
  while (s > 0xffff) s = (s & 0xffff) + Math.floor(s / 65536);
  return ~s & 0xffff;
}

function putEthernet(view: DataView, bytes: Uint8Array, spec: FrameSpec, o: Offsets): void {
  bytes.set(spec.dstMac, 0);
  bytes.set(spec.srcMac, 6);
  if (spec.vlan !== undefined) {
    view.setUint16(12, 0x8100);
    view.setUint16(14, spec.vlan);
  }
  view.setUint16(o.l3 - 2, o.v6 ? 0x86dd : 0x0800);
}

function putIp(view: DataView, bytes: Uint8Array, spec: FrameSpec, o: Offsets): void {
  if (o.v6) {
    view.setUint32(o.l3, 0x60000000 | (spec.tos << 20));
    view.setUint16(o.l3 + 4, bytes.length - o.l4);
    view.setUint8(o.l3 + 6, o.protoNumber);
    view.setUint8(o.l3 + 7, spec.ttl);
    bytes.set(spec.srcIp, o.l3 + 8);
    bytes.set(spec.dstIp, o.l3 + 24);
    return;
  }
  view.setUint16(o.l3, 0x4500 | spec.tos);
  view.setUint16(o.l3 + 2, bytes.length - o.l3);
  view.setUint8(o.l3 + 8, spec.ttl);
  view.setUint8(o.l3 + 9, o.protoNumber);
  bytes.set(spec.srcIp, o.l3 + 12);
  bytes.set(spec.dstIp, o.l3 + 16);
}

function putL4(view: DataView, spec: FrameSpec, o: Offsets): void {
  if (spec.proto === 'icmp') {
    view.setUint8(o.l4, o.v6 ? 128 : 8);
    return;
  }
  view.setUint16(o.l4, spec.sport);
  view.setUint16(o.l4 + 2, spec.dport);
  if (spec.proto === 'udp') {
    view.setUint16(o.l4 + 4, view.byteLength - o.l4);
    return;
  }
  view.setUint32(o.l4 + 4, 0x12378); // sequence
  view.setUint32(o.l4 + 8, 0x12390); // acknowledgement
  view.setUint16(o.l4 + 12, 0x5010); // 20 bytes, ACK
  view.setUint16(o.l4 + 14, 8192); // window
}

/** The kernel's row for a range, or undefined when the frame has no such field. */
function placeRange(range: Range, spec: FrameSpec, o: Offsets): KernelRange | undefined {
  const row = (offset: number, width: number, sums: number): KernelRange => {
    return { offset, width, sums, offset2: 0, bias: 0, bias2: 0, range };
  };
  const pseudo = spec.proto === 'icmp' && !o.v6 ? 0 : L.SUM_L4;
  const ipSums = (o.v6 ? 0 : L.SUM_IP) | pseudo;
  switch (range.field) {
    case 'dst mac':
      return row(0, 6, 0);
    case 'src mac':
      return row(6, 6, 0);
    case 'vlan':
      return spec.vlan === undefined ? undefined : row(14, 2, 0);
    // Of an IPv6 address the low 64 bits vary.
    case 'src ip':
      return o.v6 ? row(o.l3 + 16, 8, ipSums) : row(o.l3 + 12, 4, ipSums);
    case 'dst ip':
      return o.v6 ? row(o.l3 + 32, 8, ipSums) : row(o.l3 + 16, 4, ipSums);
    case 'ttl':
      return row(o.l3 + (o.v6 ? 7 : 8), 1, o.v6 ? 0 : L.SUM_IP);
    case 'sport':
      return spec.proto === 'icmp' ? undefined : row(o.l4, 2, L.SUM_L4);
    case 'dport':
      return spec.proto === 'icmp' ? undefined : row(o.l4 + 2, 2, L.SUM_L4);
    case 'size':
      return placeSize(row(0, L.RANGE_SIZE, pseudo), spec, o);
  }
}

function placeSize(row: KernelRange, spec: FrameSpec, o: Offsets): KernelRange {
  row.offset = o.v6 ? o.l3 + 4 : o.l3 + 2;
  row.bias = o.v6 ? o.l4 : o.l3;
  row.bias2 = o.l4;
  if (spec.proto === 'udp') row.offset2 = o.l4 + 4;
  return row;
}

/** Puts zeros where the kernel will write. */
function clearField(frame: Uint8Array, r: KernelRange): void {
  frame.fill(0, r.offset, r.offset + (r.width === L.RANGE_SIZE ? 2 : r.width));
  if (r.offset2 !== 0) frame.fill(0, r.offset2, r.offset2 + 2);
}

/** The L4 sum: pseudo-header (RFC 768, RFC 8200 section 8.1; not for ICMPv4), header and payload. */
function l4Sum(frame: Uint8Array, spec: FrameSpec, o: Offsets, sizeVaries: boolean): number {
  const sum = sumWords(frame.subarray(o.l4));
  if (spec.proto === 'icmp' && !o.v6) return sum;
  const addresses = o.v6 ? frame.subarray(o.l3 + 8, o.l3 + 40) : frame.subarray(o.l3 + 12, o.l3 + 20);
  return sum + sumWords(addresses) + o.protoNumber + (sizeVaries ? 0 : frame.length - o.l4);
}

function templateSize(spec: FrameSpec, ranges: readonly Range[]): number {
  const size = ranges.find((r) => r.field === 'size');
  return Math.max(minimumSize(spec), size ? Number(size.max) : spec.size);
}

function checkRanges(ranges: readonly Range[], spec: FrameSpec): void {
  for (const r of ranges) {
    if (r.min > r.max || r.start > r.max || r.start < r.min)
      throw new RangeError(`range ${r.field}: not min <= start <= max`);
    if (r.field === 'size' && r.min < BigInt(minimumSize(spec))) {
      throw new RangeError(`range size: frames of this kind have ${minimumSize(spec) + 4} bytes at least`);
    }
  }
}

/**
 * The template of `spec` with `ranges`. Sizes below the minimum are raised to it. Throws RangeError for a range that is empty or too
 * small. Payload bytes are zero.
 */
export function buildTemplate(spec: FrameSpec, ranges: readonly Range[] = []): Template {
  checkRanges(ranges, spec);
  const frame = new Uint8Array(templateSize(spec, ranges));
  const view = new DataView(frame.buffer);
  const o = offsetsOf(spec);
  putEthernet(view, frame, spec, o);
  putIp(view, frame, spec, o);
  putL4(view, spec, o);
  const rows = ranges.map((r) => placeRange(r, spec, o)).filter((r) => r !== undefined);
  for (const r of rows) clearField(frame, r);
  const ipBase = o.v6 ? 0 : sumWords(frame.subarray(o.l3, o.l4));
  const l4Base = l4Sum(
    frame,
    spec,
    o,
    rows.some((r) => r.width === L.RANGE_SIZE),
  );
  const ipSumAt = o.v6 ? 0 : o.l3 + 10;
  if (rows.length === 0) {
    const sum = foldSum(l4Base);
    if (ipSumAt !== 0) view.setUint16(ipSumAt, foldSum(ipBase));
    view.setUint16(o.l4Sum, sum === 0 && spec.proto === 'udp' ? 0xffff : sum);
  }
  return { frame, ranges: rows, ipSumAt, l4SumAt: o.l4Sum, ipBase, l4Base, l4IsUdp: spec.proto === 'udp' };
}

/** The range of `n` flows from a frame: so many source addresses, one after the other. */
export function flowsRange(spec: FrameSpec, n: number): Range {
  const start = bytesToBigint(spec.srcIp.subarray(-8));
  return { field: 'src ip', start, min: start, max: start + BigInt(n - 1), inc: 1n };
}
