import { strerror } from '../base/errno.ts';
import { BasicNetdev } from './basic.ts';
import { PcapWriter, StreamLink } from './dummy-link.ts';
import type { NetdevIo, NetdevProvider, NetdevStats } from './netdev.ts';

/**
 * Devices without a wire, for tests (ovs-vswitchd --enable-dummy) and for a bridge's own port where a tap can't be had. Frames come in by
 * `receive` (`netdev-dummy/receive`); what is sent is counted and handed to `onSend`.
 */
export class DummyNetdev extends BasicNetdev {
  readonly io: NetdevIo;
  #rx: ((frame: Uint8Array) => void) | undefined;
  #onSend: ((frame: Uint8Array) => void) | undefined;
  #nRxq = 1;
  #options: ReadonlyMap<string, string> = new Map();
  #rxPcap: PcapWriter | undefined;
  #txPcap: PcapWriter | undefined;
  #link: StreamLink | undefined;
  #stats = { rxPackets: 0n, txPackets: 0n, rxBytes: 0n, txBytes: 0n };

  constructor(name: string, type: string, options: ReadonlyMap<string, string> = new Map()) {
    super(name, type, { mac: nextDummyMac(), adminUp: true });
    this.io = {
      kind: 'soft',
      send: (frame) => this.#send(frame),
      attach: (rx) => {
        this.#rx = rx;
      },
    };
    this.setOptions(options);
  }

  /** Puts a frame into the switch as if it came over the wire. False when nobody is attached. */
  receive(frame: Uint8Array): boolean {
    if (!this.#rx) return false;
    this.#stats.rxPackets++;
    this.#stats.rxBytes += BigInt(frame.length);
    this.#rxPcap?.write(frame);
    this.#rx(frame);
    return true;
  }

  /** `cb` gets every sent frame, valid during the call. */
  onSend(cb: ((frame: Uint8Array) => void) | undefined): void {
    this.#onSend = cb;
  }

  #send(frame: Uint8Array): boolean {
    if (frame.length > this.mtu() + 18) return false;
    this.#stats.txPackets++;
    this.#stats.txBytes += BigInt(frame.length);
    this.#txPcap?.write(frame);
    this.#link?.send(frame);
    this.#onSend?.(frame);
    return true;
  }

  override setOptions(options: ReadonlyMap<string, string>): string | undefined {
    const rx = Number(options.get('n_rxq') ?? 1);
    if (this.type === 'dummy-pmd' && Number.isInteger(rx) && rx > 0) this.#nRxq = rx;
    const changed = (...keys: string[]) => keys.some((key) => options.get(key) !== this.#options.get(key));
    try {
      if (changed('pcap', 'rxq_pcap', 'tx_pcap')) this.#capture(options);
    } catch (e) {
      return `${this.name}: could not open capture file (${strerror(e)})`;
    }
    if (changed('stream', 'pstream')) this.#plug(options);
    this.#options = new Map(options);
    return undefined;
  }

  /** options:pcap has both ways in one file, options:rxq_pcap and tx_pcap one each. */
  #capture(options: ReadonlyMap<string, string>): void {
    for (const file of new Set([this.#rxPcap, this.#txPcap])) file?.close();
    const open = (key: string) => (options.get(key) ? new PcapWriter(options.get(key)!) : undefined);
    const both = open('pcap');
    this.#rxPcap = both ?? open('rxq_pcap');
    this.#txPcap = both ?? open('tx_pcap');
  }

  /** options:pstream=punix:FILE waits for another dummy, options:stream=unix:FILE goes to it. */
  #plug(options: ReadonlyMap<string, string>): void {
    this.#link?.close();
    const path = /^p?unix:(.+)$/.exec(options.get('pstream') ?? options.get('stream') ?? '')?.[1];
    const receive = (frame: Uint8Array) => void this.receive(frame);
    this.#link = path === undefined ? undefined : new StreamLink(path, options.has('pstream'), receive);
  }

  override queues(): { rx: number; tx: number } {
    return { rx: this.#nRxq, tx: 1 };
  }

  override stats(): Partial<NetdevStats> {
    return { ...this.#stats };
  }

  override async close(): Promise<void> {
    this.#rx = undefined;
    this.#onSend = undefined;
    this.setOptions(new Map());
    await super.close();
  }
}

let made = 0;

/** aa:55:aa:55:00:00 and on, as Open vSwitch's dummies; its tests look for them. */
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
