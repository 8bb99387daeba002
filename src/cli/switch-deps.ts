import { readFileSync } from 'node:fs';
import type { Clock } from '../base/clock.ts';
import { ovsRundir } from '../base/dirs.ts';
import { strerror } from '../base/errno.ts';
import { vlog, vlogModule } from '../base/vlog.ts';
import { OwnDatapaths } from '../dpif/dpctl-devices.ts';
import type { Dpif } from '../dpif/dpif.ts';
import { afxdpProvider } from '../netdev/afxdp.ts';
import { dpdkProvider } from '../netdev/dpdk.ts';
import { type DummyNetdev, dummyProviders } from '../netdev/dummy.ts';
import { hostAddresses } from '../netdev/host-addresses.ts';
import { hasCarrier } from '../netdev/host-netdev.ts';
import { internalProvider } from '../netdev/internal.ts';
import { links } from '../netdev/link-watcher.ts';
import type { Netdev, NetdevProvider } from '../netdev/netdev.ts';
import { type Address, OvsRouter } from '../netdev/ovs-router.ts';
import { patchProvider } from '../netdev/patch.ts';
import { RouteMirror } from '../netdev/route-mirror.ts';
import { systemProvider } from '../netdev/system.ts';
import { tapProvider } from '../netdev/tap.ts';
import { TnlNeighCache } from '../netdev/tnl-neigh-cache.ts';
import { TUNNEL_TYPES, tunnelProviders } from '../netdev/vport/tunnel.ts';
import type { TlsConfig } from '../ofproto/config.ts';
import type { CreateOfprotoBackend, OfprotoBackendApi } from '../ofproto/ofproto.ts';
import type { SwitchDeps } from '../vswitchd/bridges.ts';
import type { StringMap } from '../vswitchd/config.ts';
import type { DummyLevel } from './vswitchd-options.ts';

/** Puts every provider of devices and datapaths together for vswitchd. */

export interface SwitchPartsOptions {
  dummy: DummyLevel;
  disableSystem: boolean;
  disableSystemRoute: boolean;
  clock: Clock;
  /** Makes the datapath `name` of a type; `dummy`: one for tests. */
  createDpif(name: string, type: string, dummy: boolean): Dpif;
  createBackend: CreateOfprotoBackend;
  /** Providers that are not in src/netdev itself. */
  providers: readonly NetdevProvider[];
}

const log = vlogModule('dpdk');
const tsoLog = vlogModule('userspace_tso');

export class SwitchParts implements SwitchDeps {
  readonly rundir = ovsRundir();
  /** Dummy devices that are open, by name. */
  readonly dummies = new Map<string, DummyNetdev>();
  /** Datapaths that no bridge has made. */
  readonly ownDatapaths = new OwnDatapaths();
  readonly router = new OvsRouter((device) => this.#addressesOf(device));
  readonly neighbours: TnlNeighCache;
  readonly #options: SwitchPartsOptions;
  readonly #backends = new Map<string, OfprotoBackendApi>();
  readonly #providers = new Map<string, NetdevProvider>();
  readonly #mirror: RouteMirror | undefined;
  #dpdk: 'undecided' | 'off' | 'on' = 'undecided';
  #userspaceTso: boolean | undefined;

  constructor(options: SwitchPartsOptions) {
    this.#options = options;
    this.neighbours = new TnlNeighCache(options.clock);
    const tunnels = tunnelProviders((remote, mark) => this.#egressOf(remote, mark));
    const all = [
      patchProvider,
      ...tunnels,
      tapProvider,
      internalProvider,
      systemProvider,
      afxdpProvider,
      ...options.providers,
    ];
    for (const provider of all) this.#providers.set(provider.type, provider);
    if (options.dummy !== 'none') this.#enableDummies(options.dummy);
    // Dummies stand for no interface of the host.
    if (!options.disableSystemRoute && options.dummy !== 'override')
      this.#mirror = new RouteMirror(options.clock, (routes) => this.router.setSystem(routes));
  }

  /** Dummies beside the other kinds, or in their place. */
  #enableDummies(level: DummyLevel): void {
    const vports = new Set<string>(['patch', ...TUNNEL_TYPES]);
    const overridden = level === 'override' ? [...this.#providers.keys()].filter((t) => !vports.has(t)) : ['system'];
    const types = ['dummy', 'dummy-pmd', 'dummy-internal', ...(level === 'enabled' ? [] : overridden)];
    for (const provider of dummyProviders(this.dummies, types)) this.#providers.set(provider.type, provider);
  }

  async datapath(type: string): Promise<OfprotoBackendApi> {
    const wanted = type || 'system';
    const refusal = this.#refuse(wanted);
    if (refusal) throw refusal;
    let backend = this.#backends.get(wanted);
    if (!backend) {
      backend = this.#makeBackend(wanted);
      this.#backends.set(wanted, backend);
    }
    return backend;
  }

  #makeBackend(type: string): OfprotoBackendApi {
    const { createDpif, createBackend, clock } = this.#options;
    const name = type === 'netdev' ? 'ovs-netdev' : `ovs-${type}`;
    const dpif = createDpif(name, type, this.#isDummyDatapath(type));
    const tunnels = {
      routes: this.router,
      neighbours: this.neighbours,
      addressesOf: (device: string) => this.#addressesOf(device),
    };
    return createBackend(dpif, { clock, vlog: (module) => vlog.module(module), rundir: this.rundir, tunnels });
  }

  /** Why there is no datapath of that type, in Open vSwitch's words; the kernel's is not there either way. */
  #refuse(type: string): Error | undefined {
    if (this.datapathTypes().includes(type)) return undefined;
    if (type === 'system' && !this.#options.disableSystem) {
      vlogModule('dpif').warn('failed to enumerate system datapaths: No such file or directory');
      vlogModule('dpif_netlink').err(
        "The Open vSwitch kernel module is not used by this switch; set the bridge's datapath_type to netdev.",
      );
      return new Error('No such file or directory');
    }
    vlogModule('ofproto').warn(`could not create datapath of unknown type ${type}`);
    return new Error('Address family not supported by protocol');
  }

  backends(): Iterable<OfprotoBackendApi> {
    return this.#backends.values();
  }

  *dpifs(): Iterable<Dpif> {
    for (const backend of this.#backends.values()) yield backend.dpif;
    yield* this.ownDatapaths.values();
  }

  /** For `dpctl/add-dp`; undefined when there is no such type. */
  createDatapath(name: string, type: string): Dpif | undefined {
    if (!this.datapathTypes().includes(type)) return undefined;
    return this.#options.createDpif(name, type, this.#isDummyDatapath(type));
  }

  netdevProvider(type: string, datapathType: string): NetdevProvider | undefined {
    if (type === 'internal' && this.#isDummyDatapath(datapathType)) return this.#providers.get('dummy-internal');
    if (type === 'dpdk' && this.#dpdk === 'on' && this.#options.dummy !== 'override') return dpdkProvider;
    return this.#providers.get(type);
  }

  /** Dummies stand for no interface of the host. */
  onHostInterfaces(cb: () => void): () => void {
    if (this.#options.dummy === 'override') return () => {};
    return links.listen((news) => {
      if (news.came) cb();
    });
  }

  #isDummyDatapath(type: string): boolean {
    const { dummy } = this.#options;
    if (type === 'dummy' || dummy === 'override') return dummy !== 'none';
    return dummy === 'system' && type !== 'netdev';
  }

  ifaceTypes(): string[] {
    return [...this.#providers.keys(), ...(this.#dpdk === 'on' ? ['dpdk'] : [])].sort();
  }

  datapathTypes(): string[] {
    const { dummy } = this.#options;
    return [
      ...(dummy === 'none' ? [] : ['dummy']),
      'netdev',
      ...(dummy === 'override' || dummy === 'system' ? ['system'] : []),
    ];
  }

  ifindex(netdev: Netdev): number {
    const own = (netdev as { ifindex?: () => number }).ifindex;
    if (own) return own.call(netdev);
    return netdev.io.kind === 'vhost' ? hashedIfindex(netdev.name) : 0;
  }

  /** By which device packets to a tunnel's other end leave. */
  #egressOf(remote: Uint8Array, mark: number): { device: string; up: boolean } | undefined {
    const route = this.router.lookup(remote, mark);
    if (!route) return undefined;
    const up = this.dummies.get(route.bridge)?.linkUp() ?? hasCarrier(route.bridge);
    return { device: route.bridge, up };
  }

  /** Of a dummy, or of an interface of the host. */
  #addressesOf(device: string): Address[] {
    const dummy = this.dummies.get(device);
    if (dummy) return dummy.addresses();
    return hostAddresses(device);
  }

  /** Checksums and segmentation may be left to the switch; false before the database was read. */
  get userspaceTso(): boolean {
    return this.#userspaceTso === true;
  }

  /** dpdk-init can only be switched on, once; userspace-tso-enable is what it was at first, as in Open vSwitch. */
  initialize(otherConfig: StringMap): void {
    if (this.#userspaceTso === undefined) {
      this.#userspaceTso = otherConfig.get('userspace-tso-enable') === 'true';
      if (this.#userspaceTso) tsoLog.info('Userspace TCP Segmentation Offloading support enabled');
    }
    const wanted = otherConfig.get('dpdk-init')?.toLowerCase();
    if (this.#dpdk !== 'on' && (wanted === 'true' || wanted === 'try')) {
      log.info('DPDK Enabled - initializing...');
      this.#dpdk = 'on';
      log.info('DPDK Enabled - initialized');
    } else if (this.#dpdk === 'undecided') {
      this.#dpdk = 'off';
      log.info('DPDK Disabled - Use other_config:dpdk-init to enable');
    }
  }

  readTls(ssl: { privateKey: string; certificate: string; caCert: string }): TlsConfig | undefined {
    const read = (file: string) => readFileSync(file, 'utf8');
    try {
      return { privateKey: read(ssl.privateKey), certificate: read(ssl.certificate), caCert: read(ssl.caCert) };
    } catch (e) {
      vlogModule('stream_ssl').err(`SSL configuration: ${strerror(e)}: ${(e as Error).message}`);
      return undefined;
    }
  }

  async close(): Promise<void> {
    this.#mirror?.close();
    await this.ownDatapaths.close();
    for (const backend of this.#backends.values()) {
      await backend.close();
      await backend.dpif.close();
    }
  }
}

/** A stable number of 24 bits for a device that the host does not number (RFC 2863 wants a positive one). FNV-1a of the name. */
function hashedIfindex(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return ((hash >>> 0) % 0xfffffe) + 1;
}
