import { randomBytes } from 'node:crypto';
import type { Netdev, NetdevIo, NetdevStats } from './netdev.ts';

/** What most kinds of device have in common: MAC, MTU, administrative state and change notification, kept in memory. */
export abstract class BasicNetdev implements Netdev {
  readonly name: string;
  readonly type: string;
  abstract readonly io: NetdevIo;
  #mac: Uint8Array;
  #mtu = 1500;
  #adminUp: boolean;
  #seq = 1;
  #closed = false;
  readonly #listeners: (() => void)[] = [];

  constructor(name: string, type: string, options: { mac?: Uint8Array; adminUp?: boolean } = {}) {
    this.name = name;
    this.type = type;
    this.#mac = options.mac ?? randomMac();
    this.#adminUp = options.adminUp ?? false;
  }

  mac(): Uint8Array {
    return this.#mac;
  }

  setMac(mac: Uint8Array): void {
    if (Buffer.compare(mac, this.#mac) === 0) return;
    this.#mac = Uint8Array.from(mac);
    this.changed();
  }

  mtu(): number {
    return this.#mtu;
  }

  setMtu(mtu: number): string | undefined {
    if (mtu < 68 || mtu > 65535) return 'Invalid argument';
    if (mtu !== this.#mtu) {
      this.#mtu = mtu;
      this.changed();
    }
    return undefined;
  }

  linkUp(): boolean {
    return this.adminUp();
  }

  changeSeq(): number {
    return this.#seq;
  }

  onChange(cb: () => void): void {
    this.#listeners.push(cb);
  }

  adminUp(): boolean {
    return this.#adminUp;
  }

  setAdminUp(up: boolean): void {
    if (up === this.#adminUp) return;
    this.#adminUp = up;
    this.changed();
  }

  status(): ReadonlyMap<string, string> {
    return new Map();
  }

  stats(): Partial<NetdevStats> {
    return {};
  }

  setOptions(_options: ReadonlyMap<string, string>): string | undefined {
    return undefined;
  }

  queues(): { rx: number; tx: number } {
    return { rx: 1, tx: 1 };
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.length = 0;
  }

  /** To be called by a kind when its link or status moved. */
  protected changed(): void {
    this.#seq++;
    for (const listener of [...this.#listeners]) listener();
  }
}

/** A random unicast address of the locally administered kind. */
export function randomMac(): Uint8Array {
  const mac = Uint8Array.from(randomBytes(6));
  mac[0] = (mac[0]! & 0xfc) | 0x02;
  return mac;
}
