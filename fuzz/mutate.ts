import type { Random } from '../test/support/random.ts';

/** Changes to an input, drawn from a seeded stream: what finds new branches is kept by the engine. */

/** Numbers where lengths, counts and offsets tend to break. */
const EDGES = [
  0, 1, 2, 4, 7, 8, 9, 16, 24, 32, 64, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0xffffffff,
];
const MAX_BLOCK = 64;

function splice(input: Uint8Array, at: number, remove: number, put: Uint8Array): Uint8Array {
  const out = new Uint8Array(input.length - remove + put.length);
  out.set(input.subarray(0, at));
  out.set(put, at);
  out.set(input.subarray(at + remove), at + put.length);
  return out;
}

function block(rnd: Random, of: Uint8Array): Uint8Array {
  const start = rnd(of.length + 1);
  return of.subarray(start, start + rnd(Math.min(MAX_BLOCK, of.length - start) + 1));
}

function writeEdge(rnd: Random, out: Uint8Array): void {
  const size = [1, 2, 4][rnd(3)];
  if (out.length < size) return;
  const view = new DataView(out.buffer, out.byteOffset + rnd(out.length - size + 1), size);
  const value = rnd(4) === 0 ? rnd(0xffff) : EDGES[rnd(EDGES.length)];
  if (size === 1) view.setUint8(0, value);
  else if (size === 2) view.setUint16(0, value);
  else view.setUint32(0, value);
}

/** One change. `tokens`: words of the input's language; `other`: another input. Returns a new array. */
function change(rnd: Random, input: Uint8Array, tokens: readonly Uint8Array[], other: Uint8Array): Uint8Array {
  const at = rnd(input.length + 1);
  const out = input.slice();
  switch (rnd(9)) {
    case 0:
      if (out.length) out[rnd(out.length)] ^= 1 << rnd(8);
      return out;
    case 1:
      if (out.length) out[rnd(out.length)] = rnd(256);
      return out;
    case 2:
    case 3:
      writeEdge(rnd, out);
      return out;
    case 4:
      return splice(input, at, rnd(Math.min(MAX_BLOCK, input.length - at) + 1), new Uint8Array());
    case 5:
      return splice(input, at, 0, block(rnd, input));
    case 6:
      return splice(input, at, rnd(2) ? 0 : input.length - at, block(rnd, other));
    case 7:
      return splice(
        input,
        at,
        0,
        Uint8Array.from({ length: 1 + rnd(8) }, () => rnd(256)),
      );
    default:
      if (tokens.length === 0) return input.slice(0, at);
      return splice(input, at, rnd(2) ? 0 : Math.min(rnd(8), input.length - at), tokens[rnd(tokens.length)]);
  }
}

/** A few changes on top of each other. */
export function mutate(
  rnd: Random,
  input: Uint8Array,
  tokens: readonly Uint8Array[],
  other: Uint8Array,
  maxLength: number,
): Uint8Array {
  let out = input;
  for (let n = 1 << rnd(4); n > 0; n--) out = change(rnd, out, tokens, other);
  return out.length > maxLength ? out.slice(0, maxLength) : out;
}
