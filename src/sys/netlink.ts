import { close } from './fd.ts';
import { check, checkAgain, libc } from './libc.ts';

/** Route netlink (rtnetlink(7)): news of the host's network interfaces. */

const cSocket = libc<(domain: number, type: number, proto: number) => number>('int socket(int d, int type, int proto)');
const cBind = libc<(fd: number, addr: Uint8Array, size: number) => number>('int bind(int fd, void* addr, uint size)');
const cRecv = libc<(fd: number, buf: Uint8Array, size: number, flags: number) => number>(
  'long recv(int fd, void* buf, size_t size, int flags)',
);

const cSend = libc<(fd: number, buf: Uint8Array, size: number, flags: number) => number>(
  'long send(int fd, void* buf, size_t size, int flags)',
);
const cIfIndexToName = libc<(index: number, name: Uint8Array) => bigint | number>(
  'intptr_t if_indextoname(uint index, void* name)',
);

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
export const RTMGRP_LINK = 1;
export const RTMGRP_IPV4_IFADDR = 0x10;
export const RTMGRP_IPV4_ROUTE = 0x40;
export const RTMGRP_IPV6_IFADDR = 0x100;
export const RTMGRP_IPV6_ROUTE = 0x400;
export const RTM_GETADDR = 22;
export const RTM_GETROUTE = 26;
const NLM_F_REQUEST_DUMP = 0x301;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const IFNAMSIZ = 16;
const ENOBUFS = 105;

/** A socket that hears the multicast `groups` (RTMGRP_*), non-blocking. */
export function rtnetlinkOpen(groups: number): number {
  const fd = check(cSocket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE), 'socket(AF_NETLINK)');
  // struct sockaddr_nl { u16 family; u16 pad; u32 pid; u32 groups }.
  const address = new Uint8Array(12);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_NETLINK, true);
  view.setUint32(8, groups, true);
  check(cBind(fd, address, address.length), 'bind(AF_NETLINK)');
  return fd;
}

/** Receives what waits into `buf`. -1: nothing; `lost`: news were lost, so that everything may have changed. */
export function netlinkReceive(fd: number, buf: Uint8Array): number | 'lost' {
  try {
    return checkAgain(cRecv(fd, buf, buf.length, 0), 'recv(AF_NETLINK)');
  } catch (e) {
    if ((e as { errno?: number }).errno === ENOBUFS) return 'lost';
    throw e;
  }
}

/** The type of the last message in a datagram, by struct nlmsghdr { u32 len; u16 type, … }. */
function lastType(datagram: Uint8Array): number {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  let type = 0;
  for (let at = 0; at + 16 <= datagram.length; ) {
    type = view.getUint16(at + 4, true);
    const size = view.getUint32(at, true);
    if (size < 16) break;
    at += (size + 3) & ~3;
  }
  return type;
}

/**
 * Calls `each` for the datagrams of a dump of everything of a kind (rtnetlink(7), RTM_GETROUTE and the like), each of which is in `buf` for the time of the call. The kernel answers
 * as it is asked: nothing is waited for. False: the dump is not whole.
 */
export function rtnetlinkDump(kind: number, buf: Uint8Array, each: (datagram: Uint8Array) => void): boolean {
  const fd = rtnetlinkOpen(0);
  try {
    // struct nlmsghdr { u32 len; u16 type, flags; u32 seq, pid } and a struct rtmsg of any family.
    const request = new Uint8Array(28);
    const view = new DataView(request.buffer);
    view.setUint32(0, request.length, true);
    view.setUint16(4, kind, true);
    view.setUint16(6, NLM_F_REQUEST_DUMP, true);
    check(cSend(fd, request, request.length, 0), 'send(AF_NETLINK)');
    for (;;) {
      const size = netlinkReceive(fd, buf);
      if (size === 'lost' || size <= 0) return false;
      const datagram = buf.subarray(0, size);
      const type = lastType(datagram);
      if (type === NLMSG_ERROR) return false;
      each(datagram);
      if (type === NLMSG_DONE) return true;
    }
  } finally {
    close(fd);
  }
}

const cIfNameToIndex = libc<(name: string) => number>('uint if_nametoindex(const char* name)');

/** 0: there is no such interface. */
export function ifIndex(name: string): number {
  return cIfNameToIndex(name);
}

/** Undefined: there is no such interface. */
export function ifIndexToName(ifindex: number): string | undefined {
  const name = new Uint8Array(IFNAMSIZ);
  if (BigInt(cIfIndexToName(ifindex, name)) === 0n) return undefined;
  return Buffer.from(name).toString('latin1').replace(/\0.*$/s, '');
}
