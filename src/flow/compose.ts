import type { Flow } from './flow.ts';

/** Builds a frame that has a flow's headers (`-generate` of ofproto/trace, tests). Checksums are right. */

const be16 = (n: number): number[] => [(n >> 8) & 255, n & 255];
const be32 = (n: number): number[] => [...be16(n >>> 16), ...be16(n & 0xffff)];

/** RFC 1071. */
function checksum(bytes: readonly number[], start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function sumOf(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  return sum;
}

/** Offset of the checksum in the transport header, by protocol. */
const CSUM_AT: Readonly<Record<number, number>> = { 1: 2, 6: 16, 17: 6, 58: 2 };

/** The payload where the header is one that data follows: not a TCP segment that opens or ends, nor an ICMP error. */
function transport(flow: Flow, payload: readonly number[]): number[] {
  const ports = [...be16(flow.tpSrc), ...be16(flow.tpDst)];
  switch (flow.nwProto) {
    case 6: {
      const control = flow.tcpFlags & (TCP_FIN | TCP_SYN | TCP_RST);
      const flags = be16(0x5000 | flow.tcpFlags);
      return [...ports, ...be32(0), ...be32(0), ...flags, ...be16(0), ...be32(0), ...(control ? [] : payload)];
    }
    case 17:
      return [...ports, ...be16(8 + payload.length), 0, 0, ...payload];
    case 132:
      return [...ports, ...be32(0), ...be32(0)];
    case 1:
      return [flow.tpSrc, flow.tpDst, 0, 0, 0, 0, 0, 0, ...(isEcho(flow, 8, 0) ? payload : [])];
    case 2:
      return [flow.tpSrc, flow.tpDst, 0, 0, ...be32(flow.igmpGroupIp4)];
    case 58:
      return [flow.tpSrc, flow.tpDst, 0, 0, ...icmpv6Body(flow), ...(isEcho(flow, 128, 129) ? payload : [])];
    default:
      return [];
  }
}

const TCP_FIN = 1;
const TCP_SYN = 2;
const TCP_RST = 4;

const isEcho = (flow: Flow, request: number, reply: number): boolean =>
  flow.tpDst === 0 && (flow.tpSrc === request || flow.tpSrc === reply);

function icmpv6Body(flow: Flow): number[] {
  if (flow.tpDst !== 0 || (flow.tpSrc !== 135 && flow.tpSrc !== 136)) return be32(flow.ndReserved);
  const body = [...be32(flow.ndReserved), ...flow.ndTarget];
  if (flow.arpSha.some((b) => b)) body.push(1, 1, ...flow.arpSha);
  if (flow.arpTha.some((b) => b)) body.push(2, 1, ...flow.arpTha);
  return body;
}

/** Fills the transport checksum in; `pseudo` is the sum of the pseudo-header's addresses. */
function finishTransport(l4: number[], proto: number, pseudo: number): void {
  const at = CSUM_AT[proto];
  if (at === undefined || l4.length < at + 2) return;
  const csum = checksum(l4, proto === 1 ? 0 : pseudo + proto + l4.length);
  [l4[at], l4[at + 1]] = be16(proto === 17 && csum === 0 ? 0xffff : csum);
}

function ipv4(flow: Flow, payload: readonly number[]): number[] {
  const later = (flow.nwFrag & 2) !== 0;
  const fragment = later ? 0x2064 : flow.nwFrag & 1 ? 0x2000 : 0;
  const l4 = later ? [] : transport(flow, payload);
  const addresses = [...be32(flow.nwSrc), ...be32(flow.nwDst)];
  if (!later) finishTransport(l4, flow.nwProto, sumOf(addresses));
  const head = [0x45, flow.nwTos, ...be16(20 + l4.length), 0, 0, ...be16(fragment), flow.nwTtl, flow.nwProto, 0, 0];
  const header = [...head, ...addresses];
  [header[10], header[11]] = be16(checksum(header));
  return [...header, ...l4];
}

function ipv6(flow: Flow, payload: readonly number[]): number[] {
  const addresses = [...flow.ipv6Src, ...flow.ipv6Dst];
  let l4 = transport(flow, payload);
  finishTransport(l4, flow.nwProto, sumOf(addresses));
  let next = flow.nwProto;
  if (flow.nwFrag & 1) {
    l4 = [next, 0, ...be16(flow.nwFrag & 2 ? 0x0320 : 1), ...be32(0), ...l4];
    next = 44;
  }
  const first = (0x60000000 | (flow.nwTos << 20) | flow.ipv6Label) >>> 0;
  return [...be32(first), ...be16(l4.length), next, flow.nwTtl, ...addresses, ...l4];
}

function arp(flow: Flow): number[] {
  const head = [...be16(1), ...be16(0x0800), 6, 4, ...be16(flow.nwProto)];
  if (flow.nwProto !== 1 && flow.nwProto !== 2) return [...head, ...new Array<number>(20).fill(0)];
  return [...head, ...flow.arpSha, ...be32(flow.nwSrc), ...flow.arpTha, ...be32(flow.nwDst)];
}

/** The labels down to the bottom of the stack, or all three. */
function mpls(flow: Flow): number[] {
  const labels = [flow.mplsLse0, flow.mplsLse1, flow.mplsLse2];
  const bottom = labels.findIndex((lse) => lse & 0x100);
  return labels.slice(0, bottom < 0 ? 3 : bottom + 1).flatMap(be32);
}

function network(flow: Flow, payload: readonly number[]): number[] {
  if (flow.dlType === 0x0800) return ipv4(flow, payload);
  if (flow.dlType === 0x86dd) return ipv6(flow, payload);
  if (flow.dlType === 0x0806 || flow.dlType === 0x8035) return arp(flow);
  if (flow.dlType === 0x8847 || flow.dlType === 0x8848) return mpls(flow);
  return [];
}

/** The bytes 0 to 63, as Open vSwitch fills its packets. */
const PAYLOAD: readonly number[] = Array.from({ length: 64 }, (_, i) => i);

/** `payload`: what follows the last header, where data can. */
export function composePacket(flow: Flow, payload: readonly number[] = PAYLOAD): Uint8Array {
  const head = [...flow.dlDst, ...flow.dlSrc];
  for (const [tpid, tci] of [
    [flow.vlanTpid0, flow.vlanTci0],
    [flow.vlanTpid1, flow.vlanTci1],
  ])
    if (tci & 0x1000) head.push(...be16(tpid || 0x8100), ...be16(tci & ~0x1000));
  const body = network(flow, payload);
  // Without an Ethertype: the header's own length, as Open vSwitch has it.
  const type = be16(flow.dlType < 0x600 ? 14 : flow.dlType);
  return Uint8Array.from([...head, ...type, ...body]);
}
