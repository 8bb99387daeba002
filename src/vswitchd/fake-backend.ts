import type { OdpPort, OfpPort } from '../base/types.ts';
import type { Dpif } from '../dpif/dpif.ts';
import { type Netdev, NetdevError, type NetdevStats } from '../netdev/netdev.ts';
import type { BundleConfig, ControllerConfig, MirrorConfig, OfpVersion } from '../ofproto/config.ts';
import { OFPP_LOCAL, type OfprotoApi, type OfprotoBackendApi } from '../ofproto/ofproto.ts';

/** For tests: an OpenFlow half without packets, which keeps what vswitchd tells it. */

const NO_STATS: NetdevStats = {
  rxPackets: 0n,
  txPackets: 0n,
  rxBytes: 0n,
  txBytes: 0n,
  rxErrors: 0n,
  txErrors: 0n,
  rxDropped: 0n,
  txDropped: 0n,
  custom: new Map(),
};

export class FakeOfproto implements OfprotoApi {
  readonly name: string;
  readonly backend: FakeBackend;
  readonly ports = new Map<OfpPort, Netdev>();
  readonly bundles = new Map<string, BundleConfig>();
  readonly peers = new Map<OfpPort, string | undefined>();
  mirrors: readonly MirrorConfig[] = [];
  floodVlans: readonly number[] = [];
  controllers: readonly ControllerConfig[] = [];
  protocols: readonly OfpVersion[] = [];
  #datapathId: bigint;

  constructor(backend: FakeBackend, name: string, datapathId: bigint) {
    this.backend = backend;
    this.name = name;
    this.#datapathId = datapathId;
  }

  async portAdd(netdev: Netdev, options: { ofportRequest?: number | undefined } = {}): Promise<OfpPort> {
    if (this.backend.refuse.has(netdev.name)) throw new NetdevError('No space left on device');
    const port = netdev.name === this.name ? OFPP_LOCAL : this.#pickPort(options.ofportRequest);
    this.ports.set(port, netdev);
    return port;
  }

  #pickPort(request: number | undefined): OfpPort {
    if (request !== undefined && !this.ports.has(request as OfpPort)) return request as OfpPort;
    let port = 1;
    while (this.ports.has(port as OfpPort)) port++;
    return port as OfpPort;
  }

  async portDel(port: OfpPort): Promise<void> {
    this.ports.delete(port);
  }

  portByName(name: string): { ofpPort: OfpPort; odpPort: OdpPort | undefined; netdev: Netdev } | undefined {
    for (const [ofpPort, netdev] of this.ports)
      if (netdev.name === name) return { ofpPort, odpPort: undefined, netdev };
    return undefined;
  }

  netdevs(): Iterable<Netdev> {
    return this.ports.values();
  }

  portStats(port: OfpPort): NetdevStats {
    return { ...NO_STATS, ...this.ports.get(port)?.stats() };
  }

  bundleSet(portName: string, config: BundleConfig): void {
    this.bundles.set(portName, config);
  }
  bundleDel(portName: string): void {
    this.bundles.delete(portName);
  }
  setMirrors(mirrors: readonly MirrorConfig[]): void {
    this.mirrors = mirrors;
  }
  mirrorStats(): { packets: number; bytes: number } {
    return { packets: 0, bytes: 0 };
  }
  setFloodVlans(vlans: readonly number[]): void {
    this.floodVlans = vlans;
  }
  setPolicing(): void {}
  setQueues(): void {}
  bondActiveMac(): undefined {
    return undefined;
  }
  portLink(): { resets: number; lacpCurrent: undefined } {
    return { resets: 0, lacpCurrent: undefined };
  }
  onStatusChange: () => void = () => {};
  setPatchPeer(port: OfpPort, peerName: string | undefined): void {
    this.peers.set(port, peerName);
  }
  datapathId(): bigint {
    return this.#datapathId;
  }
  setDatapathId(id: bigint): void {
    this.#datapathId = id;
  }
  setFailMode(): void {}
  setProtocols(versions: readonly OfpVersion[]): void {
    this.protocols = versions;
  }
  setControllers(controllers: readonly ControllerConfig[]): void {
    this.controllers = controllers;
  }
  controllerStatus(): ReturnType<OfprotoApi['controllerStatus']> {
    return this.controllers.map(({ target }) => ({ target, isConnected: false, role: 'other', status: new Map() }));
  }
  async listenServices(): Promise<void> {}
  setInBandQueue(): void {}
  configureTables(): void {}
  configureMac(): void {}
  setForwardBpdu(): void {}
  setDesc(): void {}
  async destroy(): Promise<void> {
    this.backend.bridges.delete(this.name);
  }
}

export class FakeBackend implements OfprotoBackendApi {
  readonly dpif: Dpif;
  readonly bridges = new Map<string, FakeOfproto>();
  /** Names of devices that a bridge does not take in. */
  readonly refuse = new Set<string>();
  flowLimit = 0;
  maxIdle = 0;
  configured = 0;

  constructor() {
    const configure = async () => {
      this.configured++;
    };
    this.dpif = { name: 'ovs-netdev', type: 'netdev', configure, close: async () => {} } as unknown as Dpif;
  }

  setFlowLimit(n: number): void {
    this.flowLimit = n;
  }
  setMaxIdle(ms: number): void {
    this.maxIdle = ms;
  }
  setMaxRevalidator(): void {}
  setBundleIdleTimeout(): void {}
  setTls(): void {}
  flush(): void {}
  setFlowRestoreWait(): void {}
  createOfproto(name: string, datapathId: bigint): FakeOfproto {
    const ofproto = new FakeOfproto(this, name, datapathId);
    this.bridges.set(name, ofproto);
    return ofproto;
  }
  ofprotos(): Iterable<OfprotoApi> {
    return this.bridges.values();
  }
  async close(): Promise<void> {}
}
