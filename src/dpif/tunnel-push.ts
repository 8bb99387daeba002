import { tunnelSourcePorts } from '../netdev/tunnel-config.ts';

/** Puts a prepared header in front of a packet: what can't be known before the packet is there is filled in (RFC 7348, 8926, 2784, 2890). */

/** What a datapath's tunnel port remembers. */
export interface TunnelState {
  /** The next sequence number. */
  seq: number;
}

const ETH_LEN = 14;
const IPV4_LEN = 20;
const IPV6_LEN = 40;
const ETH_TYPE_IP = 0x0800;
const GRE_CSUM = 0x8000;
const GRE_KEY = 0x2000;
const GRE_SEQ = 0x1000;
const ERSPAN2 = 0x22eb;
const GTPU_F_S = 2;

/** Sum of 16-bit words for RFC 1071, on top of `sum`. */
export function sumWords(b: Uint8Array, from: number, to: number, sum = 0): number {
  let total = sum;
  for (let i = from; i + 1 < to; i += 2) total += (b[i] << 8) | b[i + 1];
  if ((to - from) & 1) total += b[to - 1] << 8;
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return total;
}

/** Sum of the pseudo-header of what is at `l4`, `size` bytes long. */
export function sumPseudo(b: Uint8Array, l3: number, proto: number, size: number): number {
  const v4 = b[l3] >>> 4 === 4;
  return sumWords(b, l3 + (v4 ? 12 : 8), l3 + (v4 ? 20 : 40), proto + size);
}

/** UDP source port that spreads flows over paths and queues. */
export function tunnelSourcePort(hash: number): number {
  const { min, max } = tunnelSourcePorts;
  return Math.floor(((hash >>> 0) * (max - min)) / 0x1_0000_0000) + min;
}

/** Fills the IP header in; returns where the next one starts. */
function finishIp(p: Buffer): number {
  if (p.readUInt16BE(12) !== ETH_TYPE_IP) {
    p.writeUInt16BE(p.length - ETH_LEN - IPV6_LEN, ETH_LEN + 4);
    return ETH_LEN + IPV6_LEN;
  }
  p.writeUInt16BE(p.length - ETH_LEN, ETH_LEN + 2);
  p.writeUInt16BE(0, ETH_LEN + 10);
  p.writeUInt16BE(~sumWords(p, ETH_LEN, ETH_LEN + IPV4_LEN) & 0xffff, ETH_LEN + 10);
  return ETH_LEN + IPV4_LEN;
}

function finishUdp(p: Buffer, l4: number, hash: number, always: boolean): void {
  const size = p.length - l4;
  p.writeUInt16BE(tunnelSourcePort(hash), l4);
  p.writeUInt16BE(size, l4 + 4);
  if (!always && p.readUInt16BE(l4 + 6) === 0) return;
  p.writeUInt16BE(0, l4 + 6);
  const sum = ~sumWords(p, l4, p.length, sumPseudo(p, ETH_LEN, 17, size)) & 0xffff;
  // RFC 768: zero means no checksum.
  p.writeUInt16BE(sum || 0xffff, l4 + 6);
}

function finishGre(p: Buffer, l4: number, state: TunnelState): void {
  const flags = p.readUInt16BE(l4);
  const key = l4 + 4 + (flags & GRE_CSUM ? 4 : 0);
  if (flags & GRE_SEQ) p.writeUInt32BE(state.seq++ >>> 0, key + (flags & GRE_KEY ? 4 : 0));
  if (flags & GRE_CSUM) p.writeUInt16BE(~sumWords(p, l4, p.length) & 0xffff, l4 + 4);
}

/** Version 2 tells the time in steps of 100 µs. */
function finishErspan(p: Buffer, l4: number, state: TunnelState, nowMs: number): void {
  p.writeUInt32BE(state.seq++ >>> 0, l4 + 4);
  if (p.readUInt16BE(l4 + 2) === ERSPAN2) p.writeUInt32BE(Math.floor(nowMs * 10) >>> 0, l4 + 12);
}

function finishGtpu(p: Buffer, l4: number, payload: number, state: TunnelState): void {
  const gtpu = l4 + 8;
  let size = payload;
  if (p[gtpu] & GTPU_F_S) {
    p.writeUInt16BE(state.seq++ & 0xffff, gtpu + 8);
    size += 4;
  }
  p.writeUInt16BE(size, gtpu + 2);
}

/** Longest frame of the underlay: the length in an IP header has 16 bits. */
const OUTER_MAX = ETH_LEN + 0xffff;

/** Whether the packet behind the header is one that IP has room for. */
export const fitsTunnel = (packet: Uint8Array, header: Uint8Array): boolean =>
  header.length + packet.length <= OUTER_MAX;

/** The packet `fitsTunnel`. `type` is that of the `tunnel_push`, `hash` that of the packet inside. A new packet. */
export function pushTunnel(
  packet: Uint8Array,
  header: Uint8Array,
  type: string,
  hash: number,
  state: TunnelState,
): Uint8Array {
  const p = Buffer.concat([header, packet]);
  const l4 = finishIp(p);
  if (type === 'gtpu') finishGtpu(p, l4, packet.length, state);
  if (type === 'vxlan' || type === 'geneve' || type === 'gtpu') finishUdp(p, l4, hash, type === 'gtpu');
  else if (type.endsWith('erspan')) finishErspan(p, l4, state, Date.now());
  else finishGre(p, l4, state);
  return new Uint8Array(p);
}
