import { check, checkAgain, libc } from './libc.ts';

/** Route netlink (rtnetlink(7)): news of the host's network interfaces. */

const cSocket = libc<(domain: number, type: number, proto: number) => number>('int socket(int d, int type, int proto)');
const cBind = libc<(fd: number, addr: Uint8Array, size: number) => number>('int bind(int fd, void* addr, uint size)');
const cRecv = libc<(fd: number, buf: Uint8Array, size: number, flags: number) => number>(
  'long recv(int fd, void* buf, size_t size, int flags)',
);

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
export const RTMGRP_LINK = 1;
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
