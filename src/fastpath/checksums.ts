/** Incremental Internet checksums (RFC 1624, equation 3). Words as loaded: the sum does not depend on the byte order. */

const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_ICMPV6: u32 = 58;

// @ts-ignore: decorator
@inline
function fold(sum: u32): u32 {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/** Contribution of a 32-bit word's change to ~checksum. */
// @ts-ignore: decorator
@inline
export function delta32(before: u32, after: u32): u32 {
  return (~before & 0xffff) + (~before >> 16) + (after & 0xffff) + (after >> 16);
}

/** Applies a sum of deltas to the checksum at `at`. */
// @ts-ignore: decorator
@inline
export function applyDelta(at: u32, delta: u32): void {
  const sum = fold((~(<u32>load<u16>(at)) & 0xffff) + fold(delta));
  store<u16>(at, <u16>~sum);
}

/** The same to a sum that is not complemented: what a sender leaves in the place of a checksum that is to be completed. */
export function addDelta(at: u32, delta: u32): void {
  store<u16>(at, <u16>fold(<u32>load<u16>(at) + fold(delta)));
}

/** The same for UDP: zero means that there is no checksum (RFC 768), and a computed zero is sent as ones. */
// @ts-ignore: decorator
@inline
function applyDeltaUdp(at: u32, delta: u32): void {
  if (load<u16>(at) == 0) return;
  applyDelta(at, delta);
  if (load<u16>(at) == 0) store<u16>(at, 0xffff);
}

/** Applies the change of an address or port to the checksum of the transport header at `l4`, of which `left` bytes are there. */
export function fixTransport(proto: u32, l4: u32, left: u32, delta: u32): void {
  if (proto == IPPROTO_TCP) {
    if (left >= 20) applyDelta(l4 + 16, delta);
  } else if (proto == IPPROTO_UDP) {
    if (left >= 8) applyDeltaUdp(l4 + 6, delta);
  } else if (proto == IPPROTO_ICMPV6) {
    if (left >= 4) applyDelta(l4 + 2, delta);
  }
}

/** CRC-32c of SCTP (RFC 9260, appendix A), bit by bit: SCTP rewrites are rare. */
export function sctpChecksum(at: u32, size: u32): u32 {
  let crc: u32 = 0xffffffff;
  for (let i: u32 = 0; i < size; i++) {
    crc ^= load<u8>(at + i);
    for (let bit: u32 = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc;
}
