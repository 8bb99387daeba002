import { close } from './fd.ts';
import { check, libc, pinnedBuffer, pointer } from './libc.ts';

/** What ethtool(8) asks a network device. */

const cIoctl = libc<(fd: number, request: number, arg: number) => number>(
  'int ioctl(int fd, ulong request, uintptr_t arg)',
);
const cSocket = libc<(domain: number, type: number, proto: number) => number>('int socket(int d, int type, int proto)');

const SIOCETHTOOL = 0x8946;
const ETHTOOL_GSET = 1;
const ETHTOOL_GDRVINFO = 3;
const ETHTOOL_GCHANNELS = 0x3c;
const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

/** struct ifreq { char name[16]; void* data; … }, then the command's structure. */
const block = pinnedBuffer(40 + 256);
const bytes = new Uint8Array(block);
const view = new DataView(block);
const address = pointer(block);
const DATA = 40;

/** Runs a command whose answer is left in the block from DATA on. */
function ask(name: string, command: number): void {
  bytes.fill(0);
  bytes.set(new TextEncoder().encode(name).subarray(0, 15));
  view.setBigUint64(16, BigInt(address + DATA), true);
  view.setUint32(DATA, command, true);
  const fd = check(cSocket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), 'socket');
  try {
    check(cIoctl(fd, SIOCETHTOOL, address), 'ioctl(SIOCETHTOOL)', name);
  } finally {
    close(fd);
  }
}

function text(at: number, size: number): string {
  return Buffer.from(bytes.subarray(at, at + size))
    .toString('latin1')
    .replace(/\0.*$/s, '');
}

export interface DriverInfo {
  driver: string;
  version: string;
  firmware: string;
}

/** Throws EOPNOTSUPP for a device that has none, ENODEV when it is gone. */
export function driverInfo(name: string): DriverInfo {
  ask(name, ETHTOOL_GDRVINFO);
  // struct ethtool_drvinfo { u32 cmd; char driver[32], version[32], fw_version[32], … }.
  return { driver: text(DATA + 4, 32), version: text(DATA + 36, 32), firmware: text(DATA + 68, 32) };
}

/** Speed in Mbit/s and duplex; undefined where the device does not know. */
export function linkSettings(name: string): { mbits: number; full: boolean } | undefined {
  ask(name, ETHTOOL_GSET);
  // struct ethtool_cmd { u32 cmd, supported, advertising; u16 speed; u8 duplex; … u16 speed_hi at 28 }.
  const mbits = view.getUint16(DATA + 12, true) | (view.getUint16(DATA + 28, true) << 16);
  if (mbits <= 0) return undefined;
  return { mbits, full: bytes[DATA + 14] === 1 };
}

/** Receive queues that the device uses. Throws EOPNOTSUPP for a driver that does not say. */
export function receiveQueues(name: string): number {
  ask(name, ETHTOOL_GCHANNELS);
  // struct ethtool_channels { u32 cmd, max_rx, max_tx, max_other, max_combined, rx_count, tx_count, other_count, combined_count }.
  return view.getUint32(DATA + 20, true) + view.getUint32(DATA + 32, true);
}
