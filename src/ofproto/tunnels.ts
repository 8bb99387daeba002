import { mapped } from '../base/address.ts';
import type { OdpPort } from '../base/types.ts';
import { VlogRateLimit } from '../base/vlog.ts';
import type { Dpif } from '../dpif/dpif.ts';
import type { Flow, FlowWildcards } from '../flow/flow.ts';
import { type Netdev, NetdevError } from '../netdev/netdev.ts';
import { type TunnelConfig, tunnelPortName } from '../netdev/tunnel-config.ts';
import type { OfprotoDeps, TunnelRoute, TunnelSupport } from './config.ts';
import { formatFlow } from './flow-format.ts';
import type { BridgePort } from './port.ts';
import { type TunnelDevice, TunnelMap } from './tunnel-map.ts';
import { TunnelPorts } from './tunnel-ports.ts';
import type { XPort, XTunnels } from './xlate/types.ts';

/** Tunnels of one datapath: their ports in it, what they receive, and the underlay that they are sent by. */

/** The datapath's port for the tunnels of a type and UDP port. */
interface Backer {
  readonly odpPort: Promise<OdpPort>;
  users: number;
}

export interface TunnelsHost {
  readonly dpif: Dpif;
  readonly deps: OfprotoDeps;
  /** Ports of all bridges by the name of their device; a bridge's own port first. */
  portNamed(name: string): BridgePort | undefined;
  changed(): void;
}

const NO_SUPPORT: TunnelSupport = {
  routes: { lookup: () => undefined, sourceFor: () => undefined, devices: () => [], onChange: () => {} },
  neighbours: { lookup: () => undefined, set: () => {}, flush: () => {}, onChange: () => {} },
  addressesOf: () => [],
};

const RECEIVE_LIMIT = new VlogRateLimit(1, 5);

export class Tunnels implements XTunnels {
  readonly #host: TunnelsHost;
  readonly #support: TunnelSupport;
  readonly #backers = new Map<string, Backer>();
  readonly #ports = new TunnelPorts();
  readonly #map: TunnelMap;
  /** What a port is in the datapath by, while its configuration may be a newer one. */
  readonly #configs = new Map<BridgePort, TunnelConfig>();
  /** Ports that are gone for good; one that merely clashed with another may come back with other options. */
  readonly #removed = new WeakSet<BridgePort>();

  constructor(host: TunnelsHost) {
    this.#host = host;
    this.#support = host.deps.tunnels ?? NO_SUPPORT;
    this.#map = new TunnelMap(() => this.#devices());
    this.#support.routes.onChange(() => this.#underlayChanged());
    this.#support.neighbours.onChange(() => host.changed());
  }

  #underlayChanged(): void {
    this.#map.changed();
    this.#host.changed();
  }

  /** A device has another address. */
  deviceChanged(): void {
    this.#map.changed();
  }

  // Ports.

  /** The datapath's port for a tunnel, made when it is the first of its kind. Throws NetdevError. */
  async acquire(netdev: Netdev): Promise<OdpPort> {
    const name = tunnelPortName(netdev.tunnel!);
    let backer = this.#backers.get(name);
    if (!backer) {
      const { dpif } = this.#host;
      backer = { odpPort: dpif.portAdd(netdev.tunnelBacker!()), users: 0 };
      this.#backers.set(name, backer);
      // The one who waits for it is told.
      backer.odpPort.catch(() => this.#backers.delete(name));
    }
    backer.users++;
    return backer.odpPort;
  }

  async #release(config: TunnelConfig): Promise<void> {
    const name = tunnelPortName(config);
    const backer = this.#backers.get(name);
    if (!backer || --backer.users > 0) return;
    this.#backers.delete(name);
    await this.#host.dpif.portDel(await backer.odpPort);
  }

  /** Takes a port in whose `odpPort` was acquired. Throws NetdevError when another receives the same packets. */
  async add(port: BridgePort): Promise<void> {
    const config = port.netdev.tunnel!;
    const taken = this.#ports.add(port);
    if (taken) {
      this.#log.warn(
        `${port.name}: attempting to add tunnel port with same config as port '${taken.other.name}' (${taken.text})`,
      );
      await this.#release(config);
      throw new NetdevError('File exists');
    }
    this.#configs.set(port, config);
    this.#map.insert(port.odpPort!, config);
  }

  async remove(port: BridgePort): Promise<void> {
    this.#removed.add(port);
    await this.#take(port);
  }

  /** A port is gone, and with it the neighbours that were known behind its device. */
  portGone(name: string): void {
    this.#support.neighbours.flush(name);
  }

  async #take(port: BridgePort): Promise<void> {
    const config = this.#configs.get(port);
    if (!config) return;
    this.#configs.delete(port);
    this.#ports.delete(port);
    this.#map.delete(port.odpPort!, config);
    await this.#release(config);
  }

  /** The tunnel's options are others: it may come and go by another port of the datapath. */
  async reconfigure(port: BridgePort): Promise<void> {
    const config = port.netdev.tunnel!;
    const before = this.#configs.get(port);
    if (this.#removed.has(port) || before === config) return;
    // The datapath's port has the policy bit, and has another only when it is made anew: all its tunnels agree in it, so this is the only one.
    if (before && before.gbp !== config.gbp) await this.#take(port);
    const odpPort = await this.acquire(port.netdev);
    if (this.#removed.has(port) || port.netdev.tunnel !== config) {
      await this.#release(config);
      return;
    }
    await this.#take(port);
    if (this.#removed.has(port)) {
      await this.#release(config);
      return;
    }
    port.odpPort = odpPort;
    await this.add(port).catch((e: unknown) => this.#log.warn(`${port.name}: ${(e as Error).message}`));
    this.#host.changed();
  }

  get #log() {
    return this.#host.deps.vlog('tunnel');
  }

  /** The port of a packet that came out of a tunnel; undefined: there is none, which has been told. */
  receive(flow: Flow): BridgePort | undefined {
    const port = this.#ports.find(flow);
    if (!port) this.#log.warnRl?.(RECEIVE_LIMIT, () => `receive tunnel port not found (${formatFlow(flow)})`);
    return port;
  }

  list(): string {
    return this.#ports.list();
  }

  show(verbose: boolean): string {
    return this.#map.show(verbose);
  }

  // The underlay.

  has(port: XPort): boolean {
    return this.#ports.has(port as BridgePort);
  }

  route(to: Uint8Array, source: Uint8Array | undefined, mark: number): TunnelRoute | undefined {
    return this.#support.routes.lookup(to, mark, source);
  }

  sourceFor(to: Uint8Array, device: string): Uint8Array | undefined {
    return this.#support.routes.sourceFor(to, device);
  }

  portNamed(device: string): XPort | undefined {
    return this.#host.portNamed(device);
  }

  neighbour(bridge: string, ip: Uint8Array): Uint8Array | undefined {
    return this.#support.neighbours.lookup(bridge, ip);
  }

  setNeighbour(bridge: string, ip: Uint8Array, mac: Uint8Array): void {
    this.#support.neighbours.set(bridge, ip, mac);
  }

  addresses(port: XPort): readonly Uint8Array[] {
    return this.#support.addressesOf(port.name).map(({ address }) => mapped(address));
  }

  endOf(flow: Flow, wc: FlowWildcards): OdpPort | undefined {
    return this.#map.lookup(flow, wc);
  }

  *#devices(): Iterable<TunnelDevice> {
    for (const name of this.#support.routes.devices()) {
      const port = this.#host.portNamed(name);
      if (port) yield { mac: port.netdev.mac(), addresses: this.addresses(port) };
    }
  }
}
