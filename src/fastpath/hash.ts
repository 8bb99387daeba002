/** Hashes of keys. Multiplication and fold by 64 bits; the constants are odd and otherwise arbitrary (fractional digits of √2, √3, √5). */
import { PKT_HASH, PKT_KEY } from './gen/arena';

const K0: u64 = 0x6a09e667f3bcc909;
const K1: u64 = 0xbb67ae8584caa73b;
const K2: u64 = 0x3c6ef372fe94f82b;

// @ts-ignore: decorator
@inline
export function mix(hash: u64, word: u64): u64 {
  const h = (hash ^ word) * K0;
  return h ^ (h >> 32);
}

// @ts-ignore: decorator
@inline
export function finish(hash: u64): u32 {
  const h = hash * K1;
  return <u32>(h >> 32);
}

/** Hash of the short words of a packet's key into PKT_HASH. The three chains run beside each other. */
// @ts-ignore: decorator
@inline
export function hashKey(pkt: u32): u32 {
  const key = pkt + PKT_KEY;
  const a = (load<u64>(key, 0) ^ (load<u64>(key, 40) << 17)) * K0;
  const b = (load<u64>(key, 8) ^ rotl<u64>(load<u64>(key, 16), 23)) * K1;
  const c = (load<u64>(key, 24) ^ rotl<u64>(load<u64>(key, 32), 31)) * K2;
  const d = (rotl<u64>(load<u64>(key, 32), 11) + load<u64>(key, 16)) * K1;
  const h = (a ^ (b >> 29) ^ (c >> 31) ^ rotl<u64>(d, 19) ^ c) * K0;
  const hash = <u32>(h >> 32) | 1; // never 0: 0 marks an empty entry
  store<u32>(pkt, hash, PKT_HASH);
  return hash;
}
