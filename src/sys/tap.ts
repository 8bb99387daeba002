import { constants, openSync } from 'node:fs';
import { close } from './fd.ts';
import { check, libc, pinnedBuffer, pointer } from './libc.ts';

/** Tap devices, and the ioctls that set a network device up. Most need CAP_NET_ADMIN (EPERM). */

const cIoctl = libc<(fd: number, request: number, arg: number) => number>(
  'int ioctl(int fd, ulong request, uintptr_t arg)',
);
const cSocket = libc<(domain: number, type: number, proto: number) => number>('int socket(int d, int type, int proto)');

const TUNSETIFF = 0x400454ca;
const TUNGETIFF = 0x800454d2;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const SIOCGIFMTU = 0x8921;
const SIOCSIFMTU = 0x8922;
const SIOCSIFHWADDR = 0x8924;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;

const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;

export const IFF_UP = 0x1;
export const IFF_PROMISC = 0x100;

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const ARPHRD_ETHER = 1;
/** Longest name of a device: IFNAMSIZ without the NUL. */
export const IFNAME_MAX = 15;

/** struct ifreq: { char name[16]; union of 24 bytes }. */
const ifreq = pinnedBuffer(40);
const ifreqView = new DataView(ifreq);
const ifreqBytes = new Uint8Array(ifreq);
const ifreqAddress = pointer(ifreq);

function prepare(name: string): void {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0 || bytes.length > IFNAME_MAX) throw new RangeError(`bad device name ${JSON.stringify(name)}`);
  ifreqBytes.fill(0);
  ifreqBytes.set(bytes);
}

export interface TapOptions {
  /** Each frame is preceded by a virtio_net_hdr of this many bytes (10 or 12). */
  vnetHdrSize?: number;
  multiQueue?: boolean;
}

/** Opens the tap `name`, making it if need be; non-blocking. It goes with its last fd. */
export function tapOpen(name: string, opts: TapOptions = {}): number {
  const fd = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
  try {
    prepare(name);
    const flags = (opts.vnetHdrSize ? IFF_VNET_HDR : 0) | (opts.multiQueue ? IFF_MULTI_QUEUE : 0);
    ifreqView.setInt16(16, IFF_TAP | IFF_NO_PI | flags, true);
    check(cIoctl(fd, TUNSETIFF, ifreqAddress), 'ioctl(TUNSETIFF)', name);
    if (opts.vnetHdrSize) setVnetHdrSize(fd, opts.vnetHdrSize);
    return fd;
  } catch (e) {
    close(fd);
    throw e;
  }
}

/** Whether the tap, with its addresses and routes, outlives its last fd. */
export function setTapPersist(fd: number, persist: boolean): void {
  check(cIoctl(fd, TUNSETPERSIST, persist ? 1 : 0), 'ioctl(TUNSETPERSIST)');
}

/** False once its interface was deleted; an interface that was moved to another network namespace is still there. */
export function tapIsThere(fd: number): boolean {
  return cIoctl(fd, TUNGETIFF, ifreqAddress) >= 0;
}

function setVnetHdrSize(fd: number, size: number): void {
  ifreqView.setInt32(0, size, true);
  check(cIoctl(fd, TUNSETVNETHDRSZ, ifreqAddress), 'ioctl(TUNSETVNETHDRSZ)');
}

/** TUN_F_CSUM, TUN_F_TSO4, …: what the reader of the tap takes over from the kernel. */
export function setTapOffload(fd: number, flags: number): void {
  check(cIoctl(fd, TUNSETOFFLOAD, flags), 'ioctl(TUNSETOFFLOAD)');
}

/** Does one SIOC request on `name` through a socket of its own; the request's argument was put after prepare(). */
function request(name: string, number: number, label: string, put?: () => void): void {
  const fd = check(cSocket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), 'socket');
  try {
    prepare(name);
    put?.();
    check(cIoctl(fd, number, ifreqAddress), `ioctl(${label})`, name);
  } finally {
    close(fd);
  }
}

export function getMac(name: string): Uint8Array {
  request(name, SIOCGIFHWADDR, 'SIOCGIFHWADDR');
  return ifreqBytes.slice(18, 24);
}

export function setMac(name: string, mac: Uint8Array): void {
  request(name, SIOCSIFHWADDR, 'SIOCSIFHWADDR', () => {
    ifreqView.setUint16(16, ARPHRD_ETHER, true);
    ifreqBytes.set(mac.subarray(0, 6), 18);
  });
}

export function getMtu(name: string): number {
  request(name, SIOCGIFMTU, 'SIOCGIFMTU');
  return ifreqView.getInt32(16, true);
}

export function setMtu(name: string, mtu: number): void {
  request(name, SIOCSIFMTU, 'SIOCSIFMTU', () => {
    ifreqView.setInt32(16, mtu, true);
  });
}

/** IFF_UP, IFF_PROMISC, … */
export function getIfFlags(name: string): number {
  request(name, SIOCGIFFLAGS, 'SIOCGIFFLAGS');
  return ifreqView.getUint16(16, true);
}

/** Sets the flags of `on` and clears those of `off`. */
export function setIfFlags(name: string, on: number, off = 0): void {
  const flags = (getIfFlags(name) | on) & ~off;
  request(name, SIOCSIFFLAGS, 'SIOCSIFFLAGS', () => {
    ifreqView.setInt16(16, flags, true);
  });
}

/** ENODEV when there is no such device. */
export function getIfindex(name: string): number {
  request(name, SIOCGIFINDEX, 'SIOCGIFINDEX');
  return ifreqView.getInt32(16, true);
}
