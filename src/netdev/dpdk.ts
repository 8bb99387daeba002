import { closeSync, openSync } from 'node:fs';
import { basename } from 'node:path';
import { parseMac } from '../base/address.ts';
import { strerror } from '../base/errno.ts';
import { vlogModule } from '../base/vlog.ts';
import { FRAME_MAX, TXQS_MAX } from '../gen/arena.ts';
import { IFNAME_MAX } from '../sys/tap.ts';
import { XdpNetdev } from './afxdp.ts';
import type { BasicNetdev } from './basic.ts';
import { type Devargs, dpdkStatus, isOn, parseDevargs } from './devargs.ts';
import { loopLayout, MemoryNetdev, makeCapture, nullLayout, pcapLayout, readCapture } from './memory-rings.ts';
import { type Netdev, NetdevError, type NetdevProvider } from './netdev.ts';
import { PacketNetdev } from './packet.ts';
import { TapNetdev } from './tap.ts';

/** `type=dpdk`: DPDK's virtual devices, by the same arguments. Physical ones are not driven: they are answered as Open vSwitch answers for a device that is not there. */

const log = vlogModule('netdev_dpdk');

type Args = ReadonlyMap<string, string>;

/** A driver of DPDK: what its device's names begin with, the arguments that it takes, and those that it ignores here because they set DPDK itself up. */
interface Driver {
  name: string;
  prefix: RegExp;
  args: readonly string[];
  ignored: readonly string[];
  open(port: string, args: Args): BasicNetdev;
}

const DRIVERS: readonly Driver[] = [
  { name: 'net_tap', prefix: /^net_tap/, args: ['iface', 'mac'], ignored: ['speed'], open: openTap },
  {
    name: 'virtio_user',
    prefix: /^(net_)?virtio_user/,
    args: ['path', 'iface', 'mac'],
    ignored: ['queues', 'queue_size', 'cq', 'in_order', 'packed_vq', 'mrg_rxbuf', 'vectorized', 'speed'],
    open: openVirtioUser,
  },
  {
    name: 'net_af_packet',
    prefix: /^net_af_packet/,
    args: ['iface'],
    ignored: ['qpairs', 'blocksz', 'framesz', 'framecnt', 'qdisc_bypass', 'fanout_mode'],
    open: (port, args) => new DpdkPacket(port, required(args, 'iface'), 'net_af_packet'),
  },
  {
    name: 'net_af_xdp',
    prefix: /^net_af_xdp/,
    args: ['iface', 'start_queue', 'queue_count', 'force_copy'],
    ignored: ['shared_umem', 'busy_budget'],
    open: openXdp,
  },
  {
    name: 'net_pcap',
    prefix: /^net_pcap/,
    args: ['rx_pcap', 'tx_pcap', 'iface', 'infinite_rx'],
    ignored: ['phy_mac'],
    open: openPcap,
  },
  { name: 'net_null', prefix: /^net_null/, args: ['size', 'no-rx'], ignored: ['copy'], open: openNull },
  {
    name: 'net_ring',
    prefix: /^net_ring/,
    args: [],
    ignored: [],
    open: (port) => new MemoryNetdev(port, loopLayout(), { driver: 'net_ring' }),
  },
];

class DpdkTap extends TapNetdev {
  readonly #driver: string;

  constructor(port: string, device: string, driver: string, mac?: Uint8Array) {
    super(port, 'dpdk', device);
    this.#driver = driver;
    try {
      if (mac) this.setMac(mac);
      this.setAdminUp(true);
    } catch (e) {
      this.close().catch(() => {});
      throw e;
    }
  }

  override status(): ReadonlyMap<string, string> {
    return dpdkStatus(this.#driver);
  }
}

class DpdkPacket extends PacketNetdev {
  readonly #driver: string;

  constructor(port: string, device: string, driver: string) {
    super(port, 'dpdk', device);
    this.#driver = driver;
  }

  override status(): ReadonlyMap<string, string> {
    return dpdkStatus(this.#driver);
  }
}

class DpdkXdp extends XdpNetdev {
  override status(): ReadonlyMap<string, string> {
    return new Map([...dpdkStatus('net_af_xdp'), ['xdp-mode', super.status().get('xdp-mode') ?? '']]);
  }
}

function required(args: Args, name: string): string {
  const value = args.get(name);
  if (!value) throw new NetdevError(`the argument '${name}=' is missing`);
  return value;
}

function checkIfname(name: string): string {
  if (!/^[^\s/]+$/.test(name) || name === '.' || name === '..' || Buffer.byteLength(name) > IFNAME_MAX)
    throw new NetdevError(
      `'${name}' is not a valid name of an interface (${IFNAME_MAX} bytes at most, no space and no '/')`,
    );
  return name;
}

/** `fixed` is net_tap's own word, for the first such device of a process. */
function macOf(args: Args): Uint8Array | undefined {
  const text = args.get('mac');
  if (text === undefined) return undefined;
  const mac = text === 'fixed' ? Uint8Array.of(0, 0x64, 0x74, 0x61, 0x70, 0) : parseMac(text);
  if (!mac || (mac[0]! & 1) !== 0 || mac.every((byte) => byte === 0))
    throw new NetdevError(`'${text}' is not a MAC address of a device`);
  return mac;
}

/** The host's interface goes with the port. */
function openTap(port: string, args: Args): BasicNetdev {
  return new DpdkTap(port, checkIfname(args.get('iface') ?? 'dtap0'), 'net_tap', macOf(args));
}

/**
 * The device is the same tap as net_tap's, which the switch reads and writes itself: the kernel's vhost-net, which DPDK needs for this, has to be there but is not
 * used.
 */
function openVirtioUser(port: string, args: Args): BasicNetdev {
  const path = required(args, 'path');
  if (basename(path) !== 'vhost-net')
    throw new NetdevError(`${path} is not /dev/vhost-net; vhost-user sockets are ports of type dpdkvhostuserclient`);
  try {
    closeSync(openSync(path, 'r+'));
  } catch (e) {
    const hint = "load the kernel's module (modprobe vhost_net), or take net_tap";
    throw new NetdevError(`${path} can't be opened (${strerror(e)}): ${hint}`);
  }
  return new DpdkTap(port, checkIfname(args.get('iface') ?? 'tap0'), 'net_virtio_user', macOf(args));
}

/** Queues are those of `start_queue` and up; what else the interface has stays the host's. */
function openXdp(port: string, args: Args): BasicNetdev {
  const count = (name: string, least: number, most: number, fallback: number) => {
    const value = Number(args.get(name) ?? fallback);
    if (!Number.isInteger(value) || value < least || value > most)
      throw new NetdevError(`'${name}=${args.get(name)}' is not a number from ${least} to ${most}`);
    return value;
  };
  return new DpdkXdp(port, 'dpdk', {
    device: required(args, 'iface'),
    modes: isOn(args.get('force_copy')) ? ['native', 'generic'] : ['native-with-zerocopy', 'native', 'generic'],
    needWakeup: true,
    startQueue: count('start_queue', 0, 1023, 0),
    nQueues: count('queue_count', 1, TXQS_MAX, 1),
  });
}

function openPcap(port: string, args: Args): BasicNetdev {
  const iface = args.get('iface');
  if (iface !== undefined) return new DpdkPacket(port, iface, 'net_pcap');
  const rx = args.get('rx_pcap');
  const tx = args.get('tx_pcap');
  if (rx === undefined && tx === undefined)
    throw new NetdevError("one of 'rx_pcap=', 'tx_pcap=' and 'iface=' is missing");
  const frames = rx === undefined ? [] : readCapture(rx);
  const layout = pcapLayout(frames, isOn(args.get('infinite_rx')), tx !== undefined);
  const captureFd = tx === undefined ? -1 : makeCapture(tx);
  return new MemoryNetdev(port, layout, { driver: 'net_pcap', captureFd });
}

function openNull(port: string, args: Args): BasicNetdev {
  const text = args.get('size') ?? '64';
  const size = Number(text);
  if (!Number.isInteger(size) || size < 14 || size > FRAME_MAX)
    throw new NetdevError(`'size=${text}' is not a number of bytes from 14 to ${FRAME_MAX}`);
  return new MemoryNetdev(port, nullLayout(size, isOn(args.get('no-rx'))), { driver: 'net_null' });
}

/** Devices that are open, by what they were named with: each is one port's. */
const openDevices = new Map<string, { netdev: BasicNetdev; port: string }>();

/** An argument that its driver does not know is named, and the others are honoured. */
function warnOfUnknown({ device, args }: Devargs, driver: Driver): void {
  const unknown = [...args.keys()].filter((name) => !driver.args.includes(name) && !driver.ignored.includes(name));
  for (const name of unknown)
    log.warn(`${device}: unknown argument '${name}' ignored (it takes ${driver.args.join(', ') || 'none'})`);
}

function openDevice(port: string, devargs: Devargs, driver: Driver): BasicNetdev {
  const holder = openDevices.get(devargs.device);
  if (holder && !holder.netdev.isClosed) throw new NetdevError(`it is in use by '${holder.port}' already`);
  warnOfUnknown(devargs, driver);
  const netdev = driver.open(port, devargs.args);
  openDevices.set(devargs.device, { netdev, port });
  return netdev;
}

/** The port takes other arguments by being made anew. */
function holdTo(netdev: BasicNetdev, devargs: string): Netdev {
  netdev.setOptions = (options) => (options.get('dpdk-devargs') === devargs ? undefined : 'the device is another one');
  return netdev;
}

function refuse(error: string): never {
  log.warn(error);
  throw new NetdevError(error);
}

export const dpdkProvider: NetdevProvider = {
  type: 'dpdk',
  open: (name, options) => {
    const text = options.get('dpdk-devargs');
    if (!text) refuse(`'${name}' is missing 'options:dpdk-devargs'. The old 'dpdk<port_id>' names are not supported`);
    const devargs = parseDevargs(text);
    const driver = DRIVERS.find(({ prefix }) => prefix.test(devargs.device));
    // What is no word of a driver is a physical device's address.
    if (!driver && !/^[a-z]+_/.test(devargs.device)) refuse(`Error attaching device '${text}' to DPDK`);
    try {
      if (!driver)
        throw new NetdevError(`there is no driver for it (there are ${DRIVERS.map(({ name }) => name).join(', ')})`);
      return holdTo(openDevice(name, devargs, driver), text);
    } catch (e) {
      const reason = e instanceof NetdevError ? e.message : strerror(e);
      return refuse(`Error attaching device '${text}' to DPDK: ${reason}`);
    }
  },
};
