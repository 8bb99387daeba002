/**
 * 32-bit hashes over words and bytes: MurmurHash3 (Austin Appleby, public domain) in steps, and Bob Jenkins' lookup3 (public domain) for
 * values that other switches compute alike. Bytes are taken four at a time as little-endian words, the last ones padded with zeros.
 */

const rot = (x: number, k: number): number => (x << k) | (x >>> (32 - k));

/** Takes one word in; the result is a 32-bit signed number. */
export function hashAdd(hash: number, word: number): number {
  const k = Math.imul(rot(Math.imul(word, 0xcc9e2d51), 15), 0x1b873593);
  return (Math.imul(rot(hash ^ k, 13), 5) + 0xe6546b64) | 0;
}

/** Last mixing; `final` is the number of bytes, or any number that tells apart. Unsigned. */
export function hashFinish(hash: number, final: number): number {
  let x = hash ^ final;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

export const hash2Words = (x: number, y: number): number => hashFinish(hashAdd(hashAdd(x, 0), y), 8);

export const hashBigint = (x: bigint, basis = 0): number =>
  hashFinish(hashAdd(hashAdd(basis, Number(x & 0xffff_ffffn) | 0), Number((x >> 32n) & 0xffff_ffffn) | 0), 8);

/** The little-endian word at `at`, zeros after the end. */
function wordAt(b: Uint8Array, at: number): number {
  return (b[at] ?? 0) | ((b[at + 1] ?? 0) << 8) | ((b[at + 2] ?? 0) << 16) | ((b[at + 3] ?? 0) << 24);
}

/** Takes whole words in. */
export function hashAddBytes(hash: number, bytes: Uint8Array): number {
  let h = hash;
  for (let at = 0; at < bytes.length; at += 4) h = hashAdd(h, wordAt(bytes, at));
  return h;
}

export const hashBytes = (bytes: Uint8Array, basis: number): number =>
  hashFinish(hashAddBytes(basis, bytes), bytes.length);

/** Jenkins' lookup3 of some bytes. Unsigned. */
export function jhashBytes(bytes: Uint8Array, basis: number): number {
  let a = (0xdeadbeef + bytes.length + basis) | 0;
  let [b, c] = [a, a];
  let at = 0;
  for (; bytes.length - at >= 12; at += 12) {
    a = (a + wordAt(bytes, at)) | 0;
    b = (b + wordAt(bytes, at + 4)) | 0;
    c = (c + wordAt(bytes, at + 8)) | 0;
    a = (a - c) ^ rot(c, 4);
    c = (c + b) | 0;
    b = (b - a) ^ rot(a, 6);
    a = (a + c) | 0;
    c = (c - b) ^ rot(b, 8);
    b = (b + a) | 0;
    a = (a - c) ^ rot(c, 16);
    c = (c + b) | 0;
    b = (b - a) ^ rot(a, 19);
    a = (a + c) | 0;
    c = (c - b) ^ rot(b, 4);
    b = (b + a) | 0;
  }
  if (at === bytes.length) return c >>> 0;
  a = (a + wordAt(bytes, at)) | 0;
  b = (b + wordAt(bytes, at + 4)) | 0;
  c = (c + wordAt(bytes, at + 8)) | 0;
  c = ((c ^ b) - rot(b, 14)) | 0;
  a = ((a ^ c) - rot(c, 11)) | 0;
  b = ((b ^ a) - rot(a, 25)) | 0;
  c = ((c ^ b) - rot(b, 16)) | 0;
  a = ((a ^ c) - rot(c, 4)) | 0;
  b = ((b ^ a) - rot(a, 14)) | 0;
  c = ((c ^ b) - rot(b, 24)) | 0;
  return c >>> 0;
}
