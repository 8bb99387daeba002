/** Messages of rtnetlink(7): struct nlmsghdr { u32 len; u16 type, flags; u32 seq, pid }, a body, attributes. Pure. */

const NLMSG_HEADER = 16;
const RTATTR_HEADER = 4;
const AF_INET = 2;
const AF_INET6 = 10;

const align4 = (n: number) => (n + 3) & ~3;

export interface RtMessage {
  type: number;
  body: Uint8Array;
}

/** Those in a datagram, one after the other; what does not fit into it ends them. */
export function* messagesOf(datagram: Uint8Array): Generator<RtMessage> {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  for (let at = 0; at + NLMSG_HEADER <= datagram.length; ) {
    const size = view.getUint32(at, true);
    if (size < NLMSG_HEADER || at + size > datagram.length) return;
    yield { type: view.getUint16(at + 4, true), body: datagram.subarray(at + NLMSG_HEADER, at + size) };
    at += align4(size);
  }
}

/** The attributes of a body behind its first `from` bytes, by type. */
export function attributesOf(body: Uint8Array, from: number): Map<number, Uint8Array> {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const found = new Map<number, Uint8Array>();
  for (let at = from; at + RTATTR_HEADER <= body.length; ) {
    const size = view.getUint16(at, true);
    if (size < RTATTR_HEADER || at + size > body.length) break;
    found.set(view.getUint16(at + 2, true), body.subarray(at + RTATTR_HEADER, at + size));
    at += align4(size);
  }
  return found;
}

export const u32Of = (bytes: Uint8Array | undefined): number | undefined =>
  bytes?.length === 4 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) : undefined;

export const isIpFamily = (family: number): boolean => family === AF_INET || family === AF_INET6;

/** Bits that stand before an IPv4 prefix in a mapped one. */
export const mappedBits = (family: number): number => (family === AF_INET ? 96 : 0);

/** A 16-byte address, IPv4 mapped, of one of either family; zero without `bytes`; undefined: it has another size. */
export function mappedAddress(bytes: Uint8Array | undefined, family: number): Uint8Array | undefined {
  const out = new Uint8Array(16);
  if (family === AF_INET) out.fill(0xff, 10, 12);
  const size = family === AF_INET ? 4 : 16;
  if (bytes && bytes.length !== size) return undefined;
  if (bytes) out.set(bytes, 16 - size);
  return out;
}
