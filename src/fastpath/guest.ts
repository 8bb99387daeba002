/**
 * The guest's memory, second memory of the ring module: `src/fastpath/guest.wat` joined in by the build. Offsets are bytes in the guest's
 * WebAssembly memory; every range is checked against the region table before it is touched (`translate`).
 */

// @ts-ignore: decorator
@external('g', 'load16')
export declare function gLoad16(at: u32): u32;
// @ts-ignore: decorator
@external('g', 'load32')
export declare function gLoad32(at: u32): u32;
// @ts-ignore: decorator
@external('g', 'load64')
export declare function gLoad64(at: u32): u64;
// @ts-ignore: decorator
@external('g', 'loadV')
export declare function gLoadV(at: u32): v128;
// @ts-ignore: decorator
@external('g', 'load8')
export declare function gLoad8(at: u32): u32;
// @ts-ignore: decorator
@external('g', 'store8')
export declare function gStore8(at: u32, value: u32): void;
// @ts-ignore: decorator
@external('g', 'store16')
export declare function gStore16(at: u32, value: u32): void;
// @ts-ignore: decorator
@external('g', 'store32')
export declare function gStore32(at: u32, value: u32): void;
// @ts-ignore: decorator
@external('g', 'store64')
export declare function gStore64(at: u32, value: u64): void;
// @ts-ignore: decorator
@external('g', 'storeV')
export declare function gStoreV(at: u32, value: v128): void;
// @ts-ignore: decorator
@external('g', 'atomicLoad16')
export declare function gAtomicLoad16(at: u32): u32;
// @ts-ignore: decorator
@external('g', 'atomicStore16')
export declare function gAtomicStore16(at: u32, value: u32): void;
// @ts-ignore: decorator
@external('g', 'atomicLoad32')
export declare function gAtomicLoad32(at: u32): u32;
// @ts-ignore: decorator
@external('g', 'atomicStore32')
export declare function gAtomicStore32(at: u32, value: u32): void;
// @ts-ignore: decorator
@external('g', 'copyIn')
export declare function gMemoryCopyIn(to: u32, from: u32, size: u32): void;
// @ts-ignore: decorator
@external('g', 'copyOut')
export declare function gMemoryCopyOut(to: u32, from: u32, size: u32): void;

/** Above this `memory.copy` beats moves of 16 bytes. */
const COPY_CALL_MIN: u32 = 256;

/** Copies `size` bytes of the guest at `from` into the arena at `to`. */
// @ts-ignore: decorator
@inline
export function copyIn(to: u32, from: u32, size: u32): void {
  if (size >= COPY_CALL_MIN) {
    gMemoryCopyIn(to, from, size);
  } else if (size >= 16) {
    const end = size - 16;
    for (let i: u32 = 0; i < end; i += 16) v128.store(to + i, gLoadV(from + i));
    v128.store(to + end, gLoadV(from + end));
  } else {
    for (let i: u32 = 0; i < size; i++) store<u8>(to + i, <u8>gLoad8(from + i));
  }
}

/** Copies `size` bytes of the arena at `from` into the guest at `to`. */
// @ts-ignore: decorator
@inline
export function copyOut(to: u32, from: u32, size: u32): void {
  if (size >= COPY_CALL_MIN) {
    gMemoryCopyOut(to, from, size);
  } else if (size >= 16) {
    const end = size - 16;
    for (let i: u32 = 0; i < end; i += 16) gStoreV(to + i, v128.load(from + i));
    gStoreV(to + end, v128.load(from + end));
  } else {
    for (let i: u32 = 0; i < size; i++) gStore8(to + i, load<u8>(from + i));
  }
}
