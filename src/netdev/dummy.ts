import { strerror } from '../base/errno.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { BasicNetdev } from './basic.ts';
import { type ConnState, PcapWriter, StreamLink } from './dummy-link.ts';
import type { NetdevIo, NetdevProvider, NetdevQueue, NetdevStats } from './netdev.ts';

const UINT64_MAX = 0xffff_ffff_ffff_ffffn;

const log = vlogModule('netdev_dummy');
const limit = new VlogRateLimit(20, 20);

/** DUMMY_MAX_QUEUES_PER_PORT */
const QUEUES_MAX = 1024;
const ETH_HEADER_LEN = 14;
const VLAN_HEADER_LEN = 4;

interface QueueStats {
  bytes: bigint;
  packets: bigint;
}

export interface NetdevAddress {
  address: Uint8Array;
  prefix: number;
}

const newQueues = (n: number): QueueStats[] => Array.from({ length: n }, () => ({ bytes: 0n, packets: 0n }));

/**
 * Devices without a wire, for tests (ovs-vswitchd --enable-dummy) and for a bridge's own port where a tap can't be had. Frames come in by
 * `receive` (`netdev-dummy/receive`); what is sent is counted and handed to `onSend`.
 */
export class DummyNetdev extends BasicNetdev {
  readonly io: NetdevIo;
  readonly isPmd: boolean;
  #rx: ((frame: Uint8Array, queue?: number) => void) | undefined;
  #onSend: ((frame: Uint8Array) => void) | undefined;
  #rxqs = newQueues(1);
  #txqs = newQueues(1);
  #numa = 0;
  #ifindex: number | undefined;
  #ip4: NetdevAddress | undefined;
  #ip6: NetdevAddress | undefined;
  #options: ReadonlyMap<string, string> = new Map();
  #rxPcap: PcapWriter | undefined;
  #txPcap: PcapWriter | undefined;
  #link: StreamLink | undefined;
  #stats = { rxPackets: 0n, txPackets: 0n, rxBytes: 0n, txBytes: 0n };

  constructor(name: string, type: string, options: ReadonlyMap<string, string> = new Map()) {
    super(name, type, { mac: nextDummyMac(), adminUp: true });
    this.isPmd = type === 'dummy-pmd';
    this.io = {
      kind: 'soft',
      send: (frame, queue) => this.#send(frame, queue),
      attach: (rx) => {
        this.#rx = rx;
      },
    };
    this.setOptions(options);
  }

  /** Puts a frame into the switch as if it came over the wire. False when nobody is attached. */
  receive(frame: Uint8Array, queue = 0): boolean {
    this.#rxPcap?.write(frame);
    if (!this.#rx) return false;
    const size = BigInt(frame.length);
    this.#stats.rxPackets++;
    this.#stats.rxBytes += size;
    const q = this.#rxqs[queue];
    if (q) {
      q.packets++;
      q.bytes += size;
    }
    this.#rx(frame, queue);
    return true;
  }

  /** `cb` gets every sent frame, valid during the call. */
  onSend(cb: ((frame: Uint8Array) => void) | undefined): void {
    this.#onSend = cb;
  }

  #send(frame: Uint8Array, queue = 0): boolean {
    const tagged = frame[12] === 0x81 && frame[13] === 0;
    const max = this.mtu() + ETH_HEADER_LEN + (tagged ? VLAN_HEADER_LEN : 0);
    if (frame.length < ETH_HEADER_LEN || frame.length > max) return false;
    const size = BigInt(frame.length);
    this.#stats.txPackets++;
    this.#stats.txBytes += size;
    const q = this.#txqs[queue % this.#txqs.length]!;
    q.packets++;
    q.bytes += size;
    this.#link?.send(frame);
    this.#answerArp(frame);
    this.#txPcap?.write(frame);
    this.#onSend?.(frame);
    return true;
  }

  /** A request for its own address (RFC 826) is answered as by a host behind the port. */
  #answerArp(frame: Uint8Array): void {
    const own = this.#ip4?.address;
    const request = Buffer.from('0001080006040001', 'hex');
    if (!own || frame.length < 42 || frame[12] !== 0x08 || frame[13] !== 0x06) return;
    const arp = Buffer.from(frame.subarray(14, 42));
    if (request.compare(arp, 0, 8) !== 0 || Buffer.compare(arp.subarray(24, 28), own) !== 0) return;
    const mac = this.mac();
    const reply = Buffer.concat([
      arp.subarray(8, 14),
      mac,
      Buffer.from('08060001080006040002', 'hex'),
      mac,
      own,
      arp.subarray(8, 18),
    ]);
    // Behind the request, as over a wire.
    queueMicrotask(() => this.receive(reply));
  }

  override setOptions(options: ReadonlyMap<string, string>): string | undefined {
    const changed = (...keys: string[]) => keys.some((key) => options.get(key) !== this.#options.get(key));
    const ifindex = options.get('ifindex');
    this.#ifindex = ifindex !== undefined && /^\d+$/.test(ifindex) ? Number(ifindex) : undefined;
    try {
      if (changed('pcap', 'rxq_pcap', 'tx_pcap')) this.#capture(options);
    } catch (e) {
      return `${this.name}: could not open capture file (${strerror(e)})`;
    }
    if (changed('stream', 'pstream')) this.#plug(options);
    this.#options = new Map(options);
    if (this.isPmd) this.#setQueues(options);
    return undefined;
  }

  #setQueues(options: ReadonlyMap<string, string>): void {
    const int = (key: string, fallback: number) => {
      const text = options.get(key);
      return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : fallback;
    };
    const wanted = { rx: Math.max(1, int('n_rxq', 1)), tx: Math.max(1, int('n_txq', 1)) };
    if (wanted.rx > QUEUES_MAX || wanted.tx > QUEUES_MAX)
      log.warn(
        `The one or both of interface ${this.name} queues(rxq: ${wanted.rx}, txq: ${wanted.tx}) exceed ${QUEUES_MAX}. ` +
          `Sets it ${QUEUES_MAX}.\n`,
      );
    const [rx, tx] = [Math.min(wanted.rx, QUEUES_MAX), Math.min(wanted.tx, QUEUES_MAX)];
    const numa = int('numa_id', 0);
    if (rx === this.#rxqs.length && tx === this.#txqs.length && numa === this.#numa) return;
    if (rx !== this.#rxqs.length || tx !== this.#txqs.length) {
      // Counters of queues and of the whole shall agree.
      this.#stats = { rxPackets: 0n, txPackets: 0n, rxBytes: 0n, txBytes: 0n };
      this.#rxqs = newQueues(rx);
      this.#txqs = newQueues(tx);
    }
    this.#numa = numa;
    this.changed();
  }

  /** options:pcap has both ways in one file, options:rxq_pcap and tx_pcap one each. */
  #capture(options: ReadonlyMap<string, string>): void {
    for (const file of new Set([this.#rxPcap, this.#txPcap])) file?.close();
    this.#rxPcap = this.#txPcap = undefined;
    const open = (key: string) => (options.get(key) ? new PcapWriter(options.get(key)!) : undefined);
    const both = open('pcap');
    this.#rxPcap = both ?? open('rxq_pcap');
    this.#txPcap = both ?? open('tx_pcap');
  }

  /** options:pstream=punix:FILE waits for another dummy, options:stream=unix:FILE goes to it. */
  #plug(options: ReadonlyMap<string, string>): void {
    const [pstream, stream] = [options.get('pstream'), options.get('stream')];
    if (pstream !== undefined && stream !== undefined) {
      log.warnRl(limit, `Open failed: both ${pstream} and ${stream} are configured`);
      return;
    }
    this.#link?.close();
    const path = /^p?unix:(.+)$/.exec(pstream ?? stream ?? '')?.[1];
    const receive = (frame: Uint8Array) => void this.receive(frame);
    this.#link = path === undefined ? undefined : new StreamLink(path, pstream !== undefined, receive);
  }

  /** Of options:stream; a device that waits to be called, or has no wire, does not know. */
  connState(): ConnState {
    return this.#link?.state ?? 'unknown';
  }

  setAddress(address: Uint8Array, prefix: number): void {
    if (address.length === 4) this.#ip4 = { address, prefix };
    else this.#ip6 = { address, prefix };
    this.changed();
  }

  addresses(): NetdevAddress[] {
    return [this.#ip4, this.#ip6].filter((a) => a !== undefined);
  }

  ifindex(): number {
    return this.#ifindex ?? 0;
  }

  numaId(): number {
    return this.#numa;
  }

  config(): ReadonlyMap<string, string> {
    const config = new Map<string, string>();
    if (this.#ifindex !== undefined) config.set('ifindex', `${this.#ifindex}`);
    for (const key of ['pstream', 'stream']) {
      const value = this.#options.get(key);
      if (value !== undefined) config.set(key, value);
    }
    if (!this.isPmd) return config;
    for (const word of ['requested', 'configured']) {
      config.set(`${word}_rx_queues`, `${this.#rxqs.length}`);
      config.set(`${word}_tx_queues`, `${this.#txqs.length}`);
    }
    return config;
  }

  override queues(): { rx: number; tx: number } {
    return { rx: this.#rxqs.length, tx: this.#txqs.length };
  }

  readonly countsPacketsOnly = true;

  /** One queue, which counts nothing. */
  qosQueues(): readonly NetdevQueue[] {
    return [{ id: 0, txBytes: UINT64_MAX, txPackets: UINT64_MAX, txErrors: UINT64_MAX }];
  }

  override stats(): Partial<NetdevStats> {
    const custom = new Map([
      ['rx_custom_packets_1', this.#stats.rxPackets],
      ['rx_custom_packets_2', this.#stats.rxPackets],
    ]);
    for (const [way, queues] of [
      ['rx', this.#rxqs],
      ['tx', this.#txqs],
    ] as const)
      queues.forEach(({ bytes, packets }, i) => {
        custom.set(`${way}_q${i}_bytes`, bytes);
        custom.set(`${way}_q${i}_packets`, packets);
      });
    return { ...this.#stats, custom };
  }

  override async close(): Promise<void> {
    this.#rx = undefined;
    this.#onSend = undefined;
    this.setOptions(new Map());
    await super.close();
  }
}

/** Open vSwitch's first dummy is the datapath's own port. */
let made = 1;

/** aa:55:aa:55:00:01 and on, as Open vSwitch's dummies; its tests look for them. */
function nextDummyMac(): Uint8Array {
  const n = made++;
  return Uint8Array.of(0xaa, 0x55, 0xaa, 0x55, (n >> 8) & 0xff, n & 0xff);
}

/** Providers of dummies under the names `types`, sharing a list of the devices that are open. */
export function dummyProviders(open: Map<string, DummyNetdev>, types: readonly string[]): NetdevProvider[] {
  return types.map((type) => ({ type, open: (name, options) => new ListedDummy(open, name, type, options) }));
}

/** A dummy that commands find by its name while it is open. */
class ListedDummy extends DummyNetdev {
  readonly #open: Map<string, DummyNetdev>;

  constructor(open: Map<string, DummyNetdev>, name: string, type: string, options: ReadonlyMap<string, string>) {
    super(name, type, options);
    this.#open = open;
    open.set(name, this);
  }

  override async close(): Promise<void> {
    if (this.#open.get(this.name) === this) this.#open.delete(this.name);
    await super.close();
  }
}
