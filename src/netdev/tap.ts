import { coverageCounter } from '../base/coverage.ts';
import { vlogModule } from '../base/vlog.ts';
import { close, read, write } from '../sys/fd.ts';
import { FdWatcher } from '../sys/fd-watcher.ts';
import {
  getIfFlags,
  getIfindex,
  getMac,
  getMtu,
  IFF_UP,
  setIfFlags,
  setMac,
  setMtu,
  setTapPersist,
  tapOpen,
} from '../sys/tap.ts';
import { BasicNetdev } from './basic.ts';
import { NetdevError, type NetdevIo, type NetdevProvider } from './netdev.ts';

/** A tap: a network interface of the host whose other end is the switch. Served from the control thread's event loop. */

const log = vlogModule('netdev_linux');
const received = coverageCounter('netdev_received');
const sent = coverageCounter('netdev_sent');

/** Frames that are read before other work gets its turn. */
const BURST = 64;
const MAX_FRAME = 65536;

export class TapNetdev extends BasicNetdev {
  readonly io: NetdevIo;
  readonly #fd: number;
  readonly #watcher: FdWatcher;
  readonly #buffer = new Uint8Array(MAX_FRAME);
  #rx: ((frame: Uint8Array) => void) | undefined;
  #closed = false;
  #carrierResets = 0;

  /** Makes the host's interface `name`. Throws a system error, EPERM without CAP_NET_ADMIN. */
  constructor(name: string, type = 'tap') {
    super(name, type);
    this.#fd = tapOpen(name);
    setTapPersist(this.#fd, true);
    this.#watcher = new FdWatcher(this.#fd, () => this.#readBurst());
    this.io = {
      kind: 'soft',
      send: (frame) => this.#send(frame),
      attach: (rx) => {
        this.#rx = rx;
        this.#watcher.arm();
      },
    };
  }

  #readBurst(): void {
    for (let i = 0; i < BURST && !this.#closed; i++) {
      const size = this.#readFrame();
      if (size <= 0) break;
      received.inc();
      this.#rx?.(this.#buffer.subarray(0, size));
    }
    if (!this.#closed) this.#watcher.arm();
  }

  /** 0 when there is none, or the interface is down or gone. */
  #readFrame(): number {
    try {
      return read(this.#fd, this.#buffer);
    } catch {
      return 0;
    }
  }

  #send(frame: Uint8Array): boolean {
    if (this.#closed) return false;
    try {
      sent.inc();
      return write(this.#fd, frame) === frame.length;
    } catch {
      return false;
    }
  }

  override mac(): Uint8Array {
    return this.#ask(() => getMac(this.name), super.mac());
  }

  override setMac(mac: Uint8Array): void {
    if (Buffer.compare(mac, this.mac()) === 0) return;
    setMac(this.name, mac);
    this.changed();
  }

  override mtu(): number {
    return this.#ask(() => getMtu(this.name), super.mtu());
  }

  override setMtu(mtu: number): string | undefined {
    try {
      setMtu(this.name, mtu);
    } catch {
      return 'Invalid argument';
    }
    this.changed();
    return undefined;
  }

  override adminUp(): boolean {
    return this.#ask(() => (getIfFlags(this.name) & IFF_UP) !== 0, false);
  }

  /** The host's kernel takes the carrier with the administrative state. */
  carrierResets(): number {
    return this.#carrierResets;
  }

  override setAdminUp(up: boolean): void {
    if (up !== this.adminUp()) this.#carrierResets++;
    setIfFlags(this.name, up ? IFF_UP : 0, up ? 0 : IFF_UP);
    this.changed();
  }

  override status(): ReadonlyMap<string, string> {
    return new Map([
      ['driver_name', 'tun'],
      ['driver_version', '1.6'],
      ['firmware_version', ''],
    ]);
  }

  ifindex(): number {
    return this.#ask(() => getIfindex(this.name), 0);
  }

  /** An interface may be taken away by the host's administrator at any moment. */
  #ask<T>(question: () => T, fallback: T): T {
    if (this.#closed) return fallback;
    try {
      return question();
    } catch {
      return fallback;
    }
  }

  /** The interface stays, with its addresses and routes. */
  async detach(): Promise<void> {
    await this.#end(true);
  }

  override async close(): Promise<void> {
    await this.#end(false);
  }

  async #end(keep: boolean): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watcher.close();
    if (!keep) setTapPersist(this.#fd, false);
    close(this.#fd);
    await super.close();
  }
}

export const tapProvider: NetdevProvider = {
  type: 'tap',
  open: (name) => {
    try {
      return new TapNetdev(name);
    } catch (e) {
      log.warn(`${name}: creating tap device failed: ${(e as Error).message}`);
      throw e instanceof RangeError ? new NetdevError(e.message) : e;
    }
  },
};
