/** The pool of packet buffers: a stack of buffer numbers, so that the last one freed, still in the cache, is used first. */
import {
  BUF_DATA,
  BUF_HDR,
  BUF_LEN,
  BUF_NEXT,
  BUF_STRIDE,
  POOL_BASE,
  POOL_COUNT,
  POOL_FREE,
  POOL_META,
  POOL_STACK,
} from './layout';

/** Makes all `count` buffers at `base` free. `stack` has room for `count` u32, `meta` for 8 bytes a buffer. */
export function poolInit(base: u32, count: u32, stack: u32, meta: u32): void {
  store<u32>(POOL_BASE, base);
  store<u32>(POOL_COUNT, count);
  store<u32>(POOL_STACK, stack);
  store<u32>(POOL_META, meta);
  store<u32>(POOL_FREE, count);
  for (let i: u32 = 0; i < count; i++) store<u32>(stack + (i << 2), count - 1 - i);
}

export function poolFree(): u32 {
  return load<u32>(POOL_FREE);
}

/** A free buffer's number. The caller has checked that poolFree() is not 0. */
export function bufAlloc(): u32 {
  const free = load<u32>(POOL_FREE) - 1;
  store<u32>(POOL_FREE, free);
  return load<u32>(load<u32>(POOL_STACK) + (free << 2));
}

/** Frees one buffer, not the segments after it. */
export function bufFree(buf: u32): void {
  const free = load<u32>(POOL_FREE);
  store<u32>(load<u32>(POOL_STACK) + (free << 2), buf);
  store<u32>(POOL_FREE, free + 1);
}

function metaOf(buf: u32): u32 {
  return load<u32>(POOL_META) + (buf << 3);
}

export function bufLen(buf: u32): u32 {
  return load<u32>(metaOf(buf), BUF_LEN);
}

/** The next segment's number + 1, or 0. */
export function bufNext(buf: u32): u32 {
  return load<u32>(metaOf(buf), BUF_NEXT);
}

export function bufSet(buf: u32, len: u32, next: u32): void {
  store<u32>(metaOf(buf), len, BUF_LEN);
  store<u32>(metaOf(buf), next, BUF_NEXT);
}

export function bufSetNext(buf: u32, next: u32): void {
  store<u32>(metaOf(buf), next, BUF_NEXT);
}

/** Address of the virtio_net_hdr. */
export function bufHdr(buf: u32): u32 {
  return load<u32>(POOL_BASE) + buf * BUF_STRIDE + BUF_HDR;
}

/** Address of the frame's first byte. */
export function bufData(buf: u32): u32 {
  return load<u32>(POOL_BASE) + buf * BUF_STRIDE + BUF_DATA;
}

/** Frees a packet, all its segments. */
export function packetFree(head: u32): void {
  let buf = head;
  for (;;) {
    const next = bufNext(buf);
    bufFree(buf);
    if (next == 0) return;
    buf = next - 1;
  }
}

/** Bytes of a packet, over all its segments. */
export function packetLen(head: u32): u32 {
  let len = bufLen(head);
  let next = bufNext(head);
  while (next != 0) {
    len += bufLen(next - 1);
    next = bufNext(next - 1);
  }
  return len;
}

export function packetSegments(head: u32): u32 {
  let n: u32 = 1;
  let next = bufNext(head);
  while (next != 0) {
    n++;
    next = bufNext(next - 1);
  }
  return n;
}
