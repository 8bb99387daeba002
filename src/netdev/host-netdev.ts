import { driverInfo, linkSettings } from '../sys/ethtool.ts';
import { getIfFlags, getIfindex, getMac, getMtu, IFF_UP, setIfFlags, setMac, setMtu } from '../sys/tap.ts';
import { BasicNetdev } from './basic.ts';
import { type LinkNews, links } from './link-watcher.ts';

const IFF_RUNNING = 0x40;
const ENODEV = 19;

/** What the host says of one of its interfaces. */
interface HostState {
  ifindex: number;
  mac: Uint8Array;
  mtu: number;
  up: boolean;
  /** It is up and has a carrier. */
  running: boolean;
}

/** Undefined when there is none. */
function readState(name: string): HostState | undefined {
  try {
    const flags = getIfFlags(name);
    return {
      ifindex: getIfindex(name),
      mac: getMac(name),
      mtu: getMtu(name),
      up: (flags & IFF_UP) !== 0,
      running: (flags & IFF_RUNNING) !== 0,
    };
  } catch (e) {
    if (e instanceof RangeError || (e as { errno?: number }).errno === ENODEV) return undefined;
    throw e;
  }
}

/** Whether the host's interface is there, up, and has a carrier. */
export const hasCarrier = (name: string): boolean => readState(name)?.running ?? false;

/**
 * A device that is a network interface of the host: its address, MTU and states are the kernel's, and follow what anybody does to it. When it goes,
 * `isGone` is true from then on, also if one of the same name comes.
 */
export abstract class HostNetdev extends BasicNetdev {
  /** The interface's name; the port's may be another. */
  protected readonly device: string;
  #state: HostState | undefined;
  #gone = false;
  /** It is in another network namespace, where nobody tells of it: it counts as up, with what it had. */
  #elsewhere = false;
  #carrierResets = 0;
  #unlisten: (() => void) | undefined;

  constructor(name: string, type: string, device = name) {
    super(name, type);
    this.device = device;
  }

  /** To be called once the interface is there; false when it is not. */
  protected follow(): boolean {
    this.#state = readState(this.device);
    if (!this.#state) return false;
    this.#unlisten = links.listen((news) => this.#onNews(news));
    return true;
  }

  #onNews({ name }: LinkNews): void {
    if (name === undefined || name === this.device) this.refresh();
  }

  /** Reads everything anew; tells listeners when it is another. */
  protected refresh(): void {
    if (this.#gone || !this.#state) return;
    const before = this.#state;
    let now: HostState | undefined;
    try {
      now = readState(this.device);
    } catch {
      return; // It can't be asked now (EMFILE, ENOMEM): that says nothing about it.
    }
    this.#elsewhere = now?.ifindex !== before.ifindex && this.isHeld();
    if (this.#elsewhere) {
      this.#state = { ...before, up: true, running: true };
      if (sameLink(this.#state, before)) return;
    } else if (!now || now.ifindex !== before.ifindex) {
      this.#gone = true;
      this.#state = { ...before, up: false, running: false };
    } else {
      this.#state = now;
      if (Buffer.compare(now.mac, before.mac) === 0 && sameLink(now, before)) return;
    }
    if (this.#state.running !== before.running) this.#carrierResets++;
    this.changed();
  }

  /** It is there, in whatever namespace, as nobody else's. */
  protected isHeld(): boolean {
    return false;
  }

  isGone(): boolean {
    return this.#gone;
  }

  ifindex(): number {
    return this.#state?.ifindex ?? 0;
  }

  override mac(): Uint8Array {
    return this.#state?.mac ?? super.mac();
  }

  /** Throws the kernel's error. */
  override setMac(mac: Uint8Array): void {
    if (Buffer.compare(mac, this.mac()) === 0) return;
    setMac(this.device, mac);
    this.refresh();
  }

  override mtu(): number {
    return this.#state?.mtu ?? super.mtu();
  }

  override setMtu(mtu: number): string | undefined {
    try {
      setMtu(this.device, mtu);
    } catch {
      return 'Invalid argument';
    }
    this.refresh();
    return undefined;
  }

  override adminUp(): boolean {
    return this.#state?.up ?? false;
  }

  override linkUp(): boolean {
    return this.#state?.running ?? false;
  }

  carrierResets(): number {
    return this.#carrierResets;
  }

  override setAdminUp(up: boolean): void {
    if (this.#gone || this.#elsewhere) return;
    setIfFlags(this.device, up ? IFF_UP : 0, up ? 0 : IFF_UP);
    this.refresh();
  }

  /** Bits a second and duplex as the driver says; undefined where it says nothing. */
  linkSpeed(): { bps: number; full: boolean } | undefined {
    try {
      const settings = linkSettings(this.device);
      return settings && { bps: settings.mbits * 1e6, full: settings.full };
    } catch {
      return undefined;
    }
  }

  override status(): ReadonlyMap<string, string> {
    try {
      const { driver, version, firmware } = driverInfo(this.device);
      return new Map([
        ['driver_name', driver],
        ['driver_version', version],
        ['firmware_version', firmware],
      ]);
    } catch {
      return new Map();
    }
  }

  override async close(): Promise<void> {
    this.#unlisten?.();
    this.#unlisten = undefined;
    await super.close();
  }
}

function sameLink(a: HostState, b: HostState): boolean {
  return a.mtu === b.mtu && a.up === b.up && a.running === b.running;
}
