import {
  ACT_TUNNEL_PUSH,
  PACKET_HEADROOM,
  TUNNEL_F_GBP,
  TUNNEL_GENEVE,
  TUNNEL_GRE,
  TUNNEL_NONE,
  TUNNEL_PUSH_F_CSUM,
  TUNNEL_PUSH_F_LOOK,
  TUNNEL_VXLAN,
} from '../../gen/arena.ts';
import type { TunnelConfig } from '../../netdev/tunnel-config.ts';
import type { DpAction } from '../dpif.ts';

/** Tunnels that the fast path puts on and takes off by itself. The others have sequence numbers or times, and are the control thread's. */

type Push = Extract<DpAction, { type: 'tunnel_push' }>;

const KINDS: Readonly<Record<string, number>> = {
  vxlan: TUNNEL_VXLAN,
  geneve: TUNNEL_GENEVE,
  gre: TUNNEL_GRE,
  ip6gre: TUNNEL_GRE,
};

const ETH_LEN = 14;
const IPV4_LEN = 20;
const IPV6_LEN = 40;
const GRE_CSUM = 0x80;
const GRE_SEQ = 0x10;
/** What a header leaves of the headroom, for tags of the underlay. */
const SPARE = 16;

const isSix = (header: Uint8Array): boolean => header[12] === 0x86;
const l4Of = (header: Uint8Array): number => ETH_LEN + (isSix(header) ? IPV6_LEN : IPV4_LEN);

export function isPushable({ tunnelType, header }: Push): boolean {
  const kind = KINDS[tunnelType];
  if (kind === undefined || header.length > PACKET_HEADROOM - SPARE || header.length < l4Of(header) + 4) return false;
  return kind !== TUNNEL_GRE || (header[l4Of(header)]! & GRE_SEQ) === 0;
}

function hasChecksum(kind: number, header: Uint8Array): boolean {
  const l4 = l4Of(header);
  if (kind === TUNNEL_GRE) return (header[l4]! & GRE_CSUM) !== 0;
  return header[l4 + 6] !== 0 || header[l4 + 7] !== 0;
}

/** Nothing of `after` looks at the packet's headers. */
const isBlind = (after: readonly DpAction[]): boolean =>
  after.every(({ type }) => type === 'output' || type === 'drop');

function sumIpv4(frame: Uint8Array): number {
  let sum = 0;
  for (let i = ETH_LEN; i < ETH_LEN + IPV4_LEN; i += 2) sum += (frame[i]! << 8) | frame[i + 1]!;
  return sum;
}

/** The words of a push that `after` follows. */
export function compilePush({ outPort, tunnelType, header }: Push, after: readonly DpAction[]): number[] {
  const kind = KINDS[tunnelType]!;
  const bytes = header.slice();
  const six = isSix(header);
  // What is filled in for each packet counts as zero: the total length, and the checksum itself.
  if (!six) bytes.fill(0, ETH_LEN + 2, ETH_LEN + 4);
  if (!six) bytes.fill(0, ETH_LEN + 10, ETH_LEN + 12);
  const sum = six ? 0 : sumIpv4(bytes);
  const flags = (hasChecksum(kind, header) ? TUNNEL_PUSH_F_CSUM : 0) | (isBlind(after) ? 0 : TUNNEL_PUSH_F_LOOK);
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  const words = [...new Uint32Array(padded.buffer)];
  return [
    ACT_TUNNEL_PUSH | ((3 + words.length) << 16),
    outPort,
    kind | (flags << 8) | (header.length << 16),
    sum,
    ...words,
  ];
}

/** PORT_TUNNEL of a tunnel's port. */
export function popKind({ type, gbp }: Pick<TunnelConfig, 'type' | 'gbp'>): number {
  const kind = KINDS[type];
  return kind === undefined ? TUNNEL_NONE : kind | (gbp ? TUNNEL_F_GBP : 0);
}
