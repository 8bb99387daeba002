import { strerror } from '../base/errno.ts';
import { vlogModule } from '../base/vlog.ts';
import { XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, XskRedirect } from '../sys/bpf.ts';
import { driverInfo, receiveQueues } from '../sys/ethtool.ts';
import { close } from '../sys/fd.ts';
import { promiscuous } from '../sys/packet-socket.ts';
import { IFNAME_MAX } from '../sys/tap.ts';
import { XDP_COPY, XDP_USE_NEED_WAKEUP, XDP_ZEROCOPY, xskStatistics } from '../sys/xdp-socket.ts';
import type { BasicNetdev } from './basic.ts';
import { HostNetdev } from './host-netdev.ts';
import { NetdevError, type NetdevIo, type NetdevProvider, type NetdevStats, type SocketConsumer } from './netdev.ts';
import { PacketNetdev } from './packet.ts';
import { socketMemory } from './socket-memory.ts';
import { XskQueue } from './xsk-queue.ts';

const log = vlogModule('netdev_afxdp');

/** MAX_XSKQ of Open vSwitch. */
const QUEUES_MAX = 16;

/** How a driver hands its frames over, the best first. Zero copy is not proven: no device of the test machines has it. */
const MODES = {
  'native-with-zerocopy': { xdp: XDP_FLAGS_DRV_MODE, bind: XDP_ZEROCOPY },
  native: { xdp: XDP_FLAGS_DRV_MODE, bind: XDP_COPY },
  generic: { xdp: XDP_FLAGS_SKB_MODE, bind: XDP_COPY },
} as const;

export type XdpMode = keyof typeof MODES;

/** Interfaces whose frames come from this kernel or one beside it, which leaves checksums to a device that there is not. */
const KERNEL_DRIVERS: readonly string[] = ['veth', 'tun'];

export interface XdpOptions {
  /** The host's interface; absent: of the port's name. */
  device?: string;
  /** Tried in this order. */
  modes: readonly XdpMode[];
  needWakeup: boolean;
  startQueue: number;
  /** Absent: all that the interface has. */
  nQueues?: number;
}

const isMode = (text: string): text is XdpMode => Object.hasOwn(MODES, text);

/** Reads Interface.options, in Open vSwitch's words for what it refuses. Throws NetdevError. */
export function parseXdpOptions(name: string, options: ReadonlyMap<string, string>): XdpOptions {
  const mode = options.get('xdp-mode') ?? 'best-effort';
  if (mode !== 'best-effort' && !isMode(mode)) throw new NetdevError(`${name}: Incorrect xdp-mode (${mode}).`);
  const text = options.get('n_rxq');
  const nQueues = text === undefined ? undefined : Number(text);
  if (nQueues !== undefined && !(Number.isInteger(nQueues) && nQueues >= 1))
    throw new NetdevError(`${name}: Incorrect n_rxq.`);
  if (nQueues !== undefined && nQueues > QUEUES_MAX)
    throw new NetdevError(`${name}: Too big 'n_rxq' (${nQueues} > ${QUEUES_MAX}).`);
  return {
    modes: isMode(mode) ? [mode] : (Object.keys(MODES) as XdpMode[]),
    needWakeup: options.get('use-need-wakeup') !== 'false',
    startQueue: 0,
    ...(nQueues !== undefined && { nQueues }),
  };
}

/** An interface of the host by AF_XDP sockets, one a queue, whose rings the PMDs poll. */
export class XdpNetdev extends HostNetdev {
  readonly io: NetdevIo = { kind: 'rings', attach: (consumer) => this.#attach(consumer) };
  readonly #options: XdpOptions;
  #nQueues = 1;
  #mode: XdpMode | undefined;
  #redirect: XskRedirect | undefined;
  #queues: XskQueue[] = [];
  #promiscuous = -1;
  #consumer: SocketConsumer | undefined;

  /** Throws NetdevError when it is not there, or when the kernel has none of the modes for it. */
  constructor(name: string, type: string, options: XdpOptions) {
    const { device = name } = options;
    super(name, type, device);
    this.#options = options;
    if (device.length === 0 || Buffer.byteLength(device) > IFNAME_MAX || !this.follow())
      throw new NetdevError(`could not open network device ${device} (No such device)`);
    try {
      this.#nQueues = this.#countQueues();
      this.#redirect = new XskRedirect(options.startQueue + this.#nQueues);
      this.#openBest();
      this.#promiscuous = promiscuous(this.ifindex());
    } catch (e) {
      this.#release();
      void super.close();
      throw e instanceof NetdevError ? e : new NetdevError(`${device}: AF_XDP can't be had: ${(e as Error).message}`);
    }
  }

  /** Frames of queues without a socket would go to the host, and not to the switch. */
  #countQueues(): number {
    const { nQueues, startQueue } = this.#options;
    let has = 1;
    try {
      has = receiveQueues(this.device);
    } catch {
      // The driver does not say.
    }
    if (nQueues === undefined) return Math.max(1, Math.min(has, QUEUES_MAX));
    if (nQueues + startQueue < has)
      log.warn(`${this.device}: has ${has} receive queues, of which the switch takes ${nQueues} from ${startQueue} on`);
    return nQueues;
  }

  #openBest(): void {
    const refused: string[] = [];
    for (const mode of this.#options.modes) {
      try {
        this.#open(mode);
        this.#mode = mode;
        return;
      } catch (e) {
        this.#closeQueues();
        refused.push(`${mode}: ${(e as Error).message}`);
      }
    }
    throw new NetdevError(`${this.device}: AF_XDP can't be had (${refused.join('; ')})`);
  }

  #open(mode: XdpMode): void {
    const { xdp, bind } = MODES[mode];
    const { startQueue, needWakeup } = this.#options;
    this.#redirect!.attach(this.ifindex(), xdp);
    const partial = mode === 'generic' || KERNEL_DRIVERS.includes(this.#driver());
    const bindFlags = bind | (needWakeup ? XDP_USE_NEED_WAKEUP : 0);
    for (let i = 0; i < this.#nQueues; i++) {
      const queue = startQueue + i;
      this.#queues.push(new XskQueue({ ifindex: this.ifindex(), queue, bindFlags, needWakeup, partial }));
    }
  }

  #driver(): string {
    try {
      return driverInfo(this.device).driver;
    } catch {
      return '';
    }
  }

  /** The sockets hear the interface from here on. */
  async #attach(consumer: SocketConsumer): Promise<void> {
    this.#consumer = consumer;
    for (const { queue, fd } of this.#queues) this.#redirect!.give(queue, fd);
    const rings = this.#queues.flatMap((queue) => [queue.ring('rx'), queue.ring('tx')]);
    await consumer.ringsStart({ memory: socketMemory().memory, rings });
  }

  override queues(): { rx: number; tx: number } {
    return { rx: this.#nQueues, tx: this.#nQueues };
  }

  /** Frames that found no room, by Open vSwitch's names for each queue. */
  override stats(): Partial<NetdevStats> {
    const custom = new Map<string, bigint>();
    let rxDropped = 0n;
    for (const [i, { fd }] of this.#queues.entries()) {
      const counts = xskStatistics(fd);
      rxDropped += counts.rxDropped + counts.rxRingFull;
      custom.set(`xsk_queue_${i}_rx_dropped`, counts.rxDropped);
      custom.set(`xsk_queue_${i}_rx_invalid_descs`, counts.rxInvalidDescs);
      custom.set(`xsk_queue_${i}_tx_invalid_descs`, counts.txInvalidDescs);
    }
    return { rxDropped, custom };
  }

  override status(): ReadonlyMap<string, string> {
    return new Map([...super.status(), ['xdp-mode', this.#mode ?? '']]);
  }

  config(): ReadonlyMap<string, string> {
    return new Map([
      ['n_rxq', String(this.#nQueues)],
      ['xdp-mode', this.#options.modes.length > 1 ? 'best-effort' : this.#options.modes[0]!],
      ['use-need-wakeup', String(this.#options.needWakeup)],
    ]);
  }

  #closeQueues(): void {
    this.#redirect?.detach();
    for (const queue of this.#queues) queue.close();
    this.#queues = [];
  }

  #release(): void {
    this.#closeQueues();
    this.#redirect?.close();
    this.#redirect = undefined;
    if (this.#promiscuous >= 0) close(this.#promiscuous);
    this.#promiscuous = -1;
  }

  override async close(): Promise<void> {
    await this.#consumer?.ringsStop();
    this.#consumer = undefined;
    this.#release();
    await super.close();
  }
}

/** By AF_XDP, or, where any mode is good and none can be had, by a packet socket. Throws NetdevError. */
export function openXdp(name: string, type: string, options: ReadonlyMap<string, string>): BasicNetdev {
  const wanted = parseXdpOptions(name, options);
  const netdev = openWanted(name, type, wanted);
  // Other options are had by opening it anew.
  netdev.setOptions = (now) => (sameOptions(options, now) ? undefined : 'the options are others');
  return netdev;
}

function openWanted(name: string, type: string, wanted: XdpOptions): BasicNetdev {
  try {
    return new XdpNetdev(name, type, wanted);
  } catch (e) {
    const { message } = e as Error;
    log.warn(message);
    if (wanted.modes.length === 1 || /No such device/.test(message)) throw e;
    log.warn(`${name}: a packet socket takes its place`);
    return new PacketNetdev(name, type);
  }
}

const XDP_KEYS = ['xdp-mode', 'use-need-wakeup', 'n_rxq'] as const;

function sameOptions(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return XDP_KEYS.every((key) => a.get(key) === b.get(key));
}

/** `type=afxdp`. */
export const afxdpProvider: NetdevProvider = {
  type: 'afxdp',
  open: (name, options) => {
    try {
      return openXdp(name, 'afxdp', options);
    } catch (e) {
      throw e instanceof NetdevError ? e : new NetdevError(`${name}: ${strerror(e)}`);
    }
  },
};
