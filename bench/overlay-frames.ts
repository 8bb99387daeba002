/** What the overlay rows send: frames of a thousand flows of a VM, and the same as a tunnel's other end sends them. */
import { composePacket } from '../src/flow/compose.ts';
import { Flow } from '../src/flow/flow.ts';

export type TunnelType = 'vxlan' | 'gre';

/** The switch's end of the tunnel, and the other. */
export const LOCAL = { ip: '172.16.9.1', mac: '02:00:00:00:09:01' } as const;
export const REMOTE = { ip: '172.16.9.2', mac: '02:00:00:00:09:02' } as const;
export const TUNNEL_KEY = 77;
const N_FLOWS = 1000;
const HEADERS = 14 + 20 + 8;
const VXLAN_PORT = 4789;
const PROTO_UDP = 17;
const PROTO_GRE = 47;

const be16 = (n: number): number[] => [(n >> 8) & 255, n & 255];
const macBytes = (text: string): number[] => text.split(':').map((byte) => Number.parseInt(byte, 16));
const ipBytes = (text: string): number[] => text.split('.').map(Number);

/** `size`: bytes of a frame without its FCS. */
export function plainFrames(size: number): Uint8Array[] {
  const payload = new Array<number>(size - HEADERS).fill(0);
  return Array.from({ length: N_FLOWS }, (_, i) => {
    const flow = new Flow();
    Object.assign(flow, { dlType: 0x0800, nwProto: PROTO_UDP, nwTtl: 64, nwSrc: 0x0afd0001 + i, nwDst: 0x0afe0001 });
    Object.assign(flow, { tpSrc: 1024 + i, tpDst: 1001 });
    return composePacket(flow, payload);
  });
}

/** RFC 1071, over an even number of bytes. */
function checksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function ipv4(proto: number, size: number): number[] {
  const start = [0x45, 0, ...be16(20 + size), 0, 0, 0x40, 0, 64, proto];
  const addresses = [...ipBytes(REMOTE.ip), ...ipBytes(LOCAL.ip)];
  return [...start, ...be16(checksum([...start, 0, 0, ...addresses])), ...addresses];
}

/** What stands between IPv4 and the inner frame (RFC 7348, 5; RFC 2890, 2). A VXLAN sender's port tells its flows apart. */
function tunnelHeader(type: TunnelType, i: number, size: number): number[] {
  const key = [0, 0, TUNNEL_KEY];
  if (type === 'gre') return [0x20, 0, 0x65, 0x58, 0, ...key];
  const udp = [...be16(49152 + i), ...be16(VXLAN_PORT), ...be16(16 + size), 0, 0];
  return [...udp, 8, 0, 0, 0, ...key, 0];
}

/** The frames as the tunnel's other end sends them. */
export function tunnelFrames(type: TunnelType, inner: readonly Uint8Array[]): Uint8Array[] {
  return inner.map((frame, i) => {
    const tunnel = tunnelHeader(type, i, frame.length);
    const proto = type === 'gre' ? PROTO_GRE : PROTO_UDP;
    const ethernet = [...macBytes(LOCAL.mac), ...macBytes(REMOTE.mac), 0x08, 0x00];
    return Uint8Array.from([...ethernet, ...ipv4(proto, tunnel.length + frame.length), ...tunnel, ...frame]);
  });
}
