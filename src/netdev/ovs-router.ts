import { isDeepStrictEqual } from 'node:util';
import { isMapped, mapped, parseMapped } from '../base/address.ts';

/** The routes that tunnels go by: those of the host, and those that are put in by hand (`ovs/route/add`). IPv4 addresses are IPv4-mapped IPv6 ones here. */

export interface Address {
  address: Uint8Array;
  prefix: number;
}

/** A route of the host; `local`: to an address of its own. */
export interface SystemRoute {
  readonly network: Uint8Array;
  readonly prefix: number;
  readonly mark: number;
  readonly device: string;
  readonly gateway: Uint8Array | undefined;
  readonly local: boolean;
}

/** Where a route is from, with what goes before a longer prefix. */
export type RouteOrigin = 'host' | 'user' | 'local';
const PRECEDENCE: Readonly<Record<RouteOrigin, number>> = { host: 0, user: 32, local: 64 };

export interface Route {
  readonly origin: RouteOrigin;
  /** 16 bytes, masked. */
  readonly network: Uint8Array;
  readonly prefix: number;
  readonly mark: number;
  readonly bridge: string;
  readonly gateway: Uint8Array | undefined;
  readonly source: Uint8Array;
}

const V4_BITS = 96;

/** `ADDRESS[/BITS]`; the prefix is one of 128 bits. */
export function parseNetwork(text: string): { address: Uint8Array; prefix: number } | undefined {
  const [ip = '', bits] = text.split('/');
  const address = parseMapped(ip);
  if (!address || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return undefined;
  const base = isMapped(address) ? V4_BITS : 0;
  const prefix = bits === undefined ? 128 : base + Number(bits);
  return prefix > 128 ? undefined : { address, prefix };
}

function masked(address: Uint8Array, prefix: number): Uint8Array {
  return address.map((b, i) => b & (0xff00 >> Math.min(8, Math.max(0, prefix - i * 8))));
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

const precedence = (r: Route): number => r.prefix + PRECEDENCE[r.origin];

export class OvsRouter {
  #routes: Route[] = [];
  readonly #listeners: (() => void)[] = [];
  readonly #addressesOf: (device: string) => Iterable<Address>;

  constructor(addressesOf: (device: string) => Iterable<Address>) {
    this.#addressesOf = addressesOf;
  }

  onChange(cb: () => void): void {
    this.#listeners.push(cb);
  }

  #changed(): void {
    for (const cb of this.#listeners) cb();
  }

  /** Names of the devices that routes lead by. */
  devices(): Set<string> {
    return new Set(this.#routes.map((r) => r.bridge));
  }

  routes(): readonly Route[] {
    return this.#routes;
  }

  /** False when the device has no address to send from. A route to the same network with that mark is replaced. */
  add(to: { address: Uint8Array; prefix: number }, bridge: string, mark: number, gateway?: Uint8Array): boolean {
    const source = this.#source(to.address, bridge) ?? (gateway && this.#source(gateway, bridge));
    if (!source) return false;
    const network = masked(to.address, to.prefix);
    this.delete(to, mark);
    this.#routes.push({ origin: 'user', network, prefix: to.prefix, mark, bridge, gateway, source });
    this.#changed();
    return true;
  }

  delete({ address, prefix }: { address: Uint8Array; prefix: number }, mark: number): boolean {
    const network = masked(address, prefix);
    const i = this.#routes.findIndex(
      (r) => r.origin === 'user' && r.prefix === prefix && r.mark === mark && equal(r.network, network),
    );
    if (i < 0) return false;
    this.#routes.splice(i, 1);
    this.#changed();
    return true;
  }

  /** Takes the host's routes for those of before. One by a device that has no address to send from is left out. */
  setSystem(routes: readonly SystemRoute[]): void {
    const known = routes.flatMap(({ network, prefix, mark, device, gateway, local }): Route[] => {
      const source = this.#source(network, device) ?? (gateway && this.#source(gateway, device));
      return source
        ? [{ origin: local ? 'local' : 'host', network, prefix, mark, bridge: device, gateway, source }]
        : [];
    });
    // Of the host's several tables there may be equal ones: the last one counts.
    const byKey = new Map(
      known.map((r) => [`${r.origin} ${r.prefix} ${r.mark} ${Buffer.from(r.network).toString('hex')}`, r]),
    );
    const next = [...byKey.values(), ...this.#routes.filter((r) => r.origin === 'user')];
    if (isDeepStrictEqual(next, this.#routes)) return;
    this.#routes = next;
    this.#changed();
  }

  /** The longest prefix among the routes for that mark, those by hand and to the host itself first. `source`: an address of this host that the packet is to come from. */
  lookup(to: Uint8Array, mark: number, source?: Uint8Array): Route | undefined {
    if (source && !this.#isOwn(source)) return undefined;
    let best: Route | undefined;
    for (const r of this.#routes) {
      if (r.mark !== mark || !equal(masked(to, r.prefix), r.network)) continue;
      if (!best || precedence(r) > precedence(best)) best = r;
    }
    return best;
  }

  #isOwn(address: Uint8Array): boolean {
    for (const device of this.devices())
      for (const own of this.#addressesOf(device)) if (equal(mapped(own.address), address)) return true;
    return false;
  }

  /** The device's own address in the network of `to`. */
  sourceFor(to: Uint8Array, device: string): Uint8Array | undefined {
    return this.#source(to, device);
  }

  #source(to: Uint8Array, device: string): Uint8Array | undefined {
    let best: { address: Uint8Array; prefix: number } | undefined;
    for (const own of this.#addressesOf(device)) {
      const address = mapped(own.address);
      const prefix = own.prefix + (own.address.length === 4 ? V4_BITS : 0);
      if (!equal(masked(address, prefix), masked(to, prefix))) continue;
      if (!best || prefix > best.prefix) best = { address, prefix };
    }
    return best?.address;
  }
}
