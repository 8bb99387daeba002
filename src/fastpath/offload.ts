/**
 * What a sender may leave to be done to its frames, in the words of the virtio_net_hdr (virtio 1.2, 5.1.6): a checksum that is to be completed, segments
 * that are to be cut.
 */
import {
  OFFLOAD_CSUM,
  OFFLOAD_ECN,
  OFFLOAD_TSO4,
  OFFLOAD_TSO6,
  OFFLOAD_USO,
  PKT_LEN,
  PKT_VNET_CSUM_OFFSET,
  PKT_VNET_CSUM_START,
  PKT_VNET_FLAGS,
  PKT_VNET_GSO_SIZE,
  PKT_VNET_GSO_TYPE,
  PKT_VNET_HDR_LEN,
} from './gen/arena';

export const VNET_NEEDS_CSUM: u32 = 1;
export const GSO_TCPV4: u32 = 1;
export const GSO_TCPV6: u32 = 4;
export const GSO_UDP_L4: u32 = 5;
export const GSO_ECN: u32 = 0x80;
/** A kind of segment that there is no code for. */
const OFFLOAD_UNKNOWN: u32 = 0x80000000;
const ETH_HEADER_SIZE: u32 = 14;

/** OFFLOAD_* that a frame with that gso_type, and a checksum to be completed, asks for. */
export function offloadsOf(gsoType: u32): u32 {
  if (gsoType == 0) return OFFLOAD_CSUM;
  const ecn: u32 = gsoType & GSO_ECN ? OFFLOAD_CSUM | OFFLOAD_ECN : OFFLOAD_CSUM;
  const type = gsoType & ~GSO_ECN;
  if (type == GSO_TCPV4) return ecn | OFFLOAD_TSO4;
  if (type == GSO_TCPV6) return ecn | OFFLOAD_TSO6;
  return gsoType == GSO_UDP_L4 ? ecn | OFFLOAD_USO : OFFLOAD_UNKNOWN;
}

/** True when something is left to be done to the frame. */
// @ts-ignore: decorator
@inline
export function isUnfinished(pkt: u32): bool {
  return load<u8>(pkt, PKT_VNET_FLAGS) != 0;
}

// @ts-ignore: decorator
@inline
export function gsoTypeOf(pkt: u32): u32 {
  return load<u8>(pkt, PKT_VNET_GSO_TYPE);
}

/** Nothing is left to be done to the frame. */
export function setFinished(pkt: u32): void {
  store<u64>(pkt, 0, PKT_VNET_FLAGS);
  store<u32>(pkt, 0, PKT_VNET_CSUM_OFFSET); // and PKT_CUT
}

/** True when the checksum at `start + offset` lies in a frame of `len` bytes, behind its Ethernet header. */
// @ts-ignore: decorator
@inline
export function isInFrame(len: u32, start: u32, offset: u32): bool {
  return start >= ETH_HEADER_SIZE && start + offset + 2 <= len;
}

/** The same of a packet, whose headers may have become shorter since it was received. */
export function hasItsChecksum(pkt: u32): bool {
  return isInFrame(load<u32>(pkt, PKT_LEN), load<u16>(pkt, PKT_VNET_CSUM_START), load<u16>(pkt, PKT_VNET_CSUM_OFFSET));
}

/** Length of the longest frame that the packet will be on a wire. */
export function wireLength(pkt: u32): u32 {
  const len = load<u32>(pkt, PKT_LEN);
  if (gsoTypeOf(pkt) == 0) return len;
  return min(len, <u32>load<u16>(pkt, PKT_VNET_HDR_LEN) + <u32>load<u16>(pkt, PKT_VNET_GSO_SIZE));
}

/** The frame's headers became `by` bytes longer, or shorter. */
export function shiftHeaders(pkt: u32, by: i32): void {
  store<u16>(pkt, <u16>(<i32>load<u16>(pkt, PKT_VNET_CSUM_START) + by), PKT_VNET_CSUM_START);
  if (gsoTypeOf(pkt)) store<u16>(pkt, <u16>(<i32>load<u16>(pkt, PKT_VNET_HDR_LEN) + by), PKT_VNET_HDR_LEN);
}
