/** Internet checksums over whole ranges of the arena (RFC 1071). Words as loaded: the sum does not depend on the byte order. */

/** One's complement sum of 16-bit words, folded to 16 bits. */
// @ts-ignore: decorator
@inline
export function fold64(sum: u64): u32 {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  let low = <u32>sum;
  low = (low & 0xffff) + (low >> 16);
  return (low & 0xffff) + (low >> 16);
}

/** Sum of the `size` bytes at `at`, an odd last byte padded with zero; not folded. Below 2^48 for what fits a frame. */
export function sumBytes(at: u32, size: u32): u64 {
  let sum: u64 = 0;
  let i: u32 = 0;
  if (size >= 32) {
    let lanes = i32x4.splat(0);
    for (const end = size - 15; i < end; i += 16)
      lanes = i32x4.add(lanes, i32x4.extadd_pairwise_i16x8_u(v128.load(at + i)));
    sum =
      <u64>(<u32>i32x4.extract_lane(lanes, 0)) +
      <u64>(<u32>i32x4.extract_lane(lanes, 1)) +
      <u64>(<u32>i32x4.extract_lane(lanes, 2)) +
      <u64>(<u32>i32x4.extract_lane(lanes, 3));
  }
  for (; i + 2 <= size; i += 2) sum += load<u16>(at + i);
  if (i < size) sum += load<u8>(at + i);
  return sum;
}

/**
 * Completes a checksum that its sender left to the device: the field at `start + offset` holds the sum of the pseudo-header, and what lies from `start`
 * to the end of the frame is to be added (virtio 1.1, 5.1.6.2). The caller has checked that the field lies in the frame. `udp`: zero would
 * mean that there is no checksum (RFC 768).
 */
export function completeChecksum(data: u32, len: u32, start: u32, offset: u32): void {
  const field = data + start + offset;
  const sum = <u16>~fold64(sumBytes(data + start, len - start));
  // Of the transports with a pseudo-header only UDP has its checksum at 6, and for it ones and zero are the same sum.
  store<u16>(field, sum == 0 && offset == 6 ? 0xffff : sum);
}
