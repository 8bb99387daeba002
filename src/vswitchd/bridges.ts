import type { Netdev, NetdevConfig, NetdevProvider } from '../netdev/netdev.ts';
import type { TlsConfig } from '../ofproto/config.ts';
import type { OfprotoApi, OfprotoBackendApi } from '../ofproto/ofproto.ts';
import { formatDatapathId } from './address.ts';
import type { StringMap, WantedPort } from './config.ts';
import type { CurrentBridge, CurrentConfig, CurrentInterface } from './config-plan.ts';

/** What is there: the bridges, ports and interfaces that run. Changed by config-apply.ts alone. */

export interface RunningInterface extends CurrentInterface {
  netdev: Netdev;
}

export interface RunningBridge extends CurrentBridge {
  interfaces: Map<string, RunningInterface>;
  ports: Map<string, WantedPort>;
  ofproto: OfprotoApi;
  mac: Uint8Array;
  /** Least MTU of the ports that have one of their own. */
  minMtu: number;
}

export const datapathIdOf = (bridge: RunningBridge): string => formatDatapathId(bridge.ofproto.datapathId());

/** What the composition root gives to vswitchd. */
export interface SwitchDeps {
  /** The backend of a datapath type of the database ('' and `system` too), made at its first use. Throws an Error whose message is a
   *  C library error text when there is none. */
  datapath(type: string): Promise<OfprotoBackendApi>;
  /** Backends that were made so far. */
  backends(): Iterable<OfprotoBackendApi>;
  /** The provider of an Interface.type on a bridge of that datapath_type; undefined for an unknown type. */
  netdevProvider(type: string, datapathType: string): NetdevProvider | undefined;
  /** For Open_vSwitch.iface_types and datapath_types. */
  ifaceTypes(): string[];
  datapathTypes(): string[];
  /** Interface.ifindex; 0 where a device has none. */
  ifindex(netdev: Netdev): number;
  /** Calls `cb` when a network interface of the host has come or gone: ports may be made that could not be, or have lost what they stood for. Returns what
   *  ends that. Absent: there are none. */
  onHostInterfaces?(cb: () => void): () => void;
  rundir: string;
  /** The Open_vSwitch.other_config that stands for what happens once, at the start (dpdk-init). */
  initialize(otherConfig: StringMap): void;
  /** Reads the files of an SSL row. */
  readTls(ssl: { privateKey: string; certificate: string; caCert: string }): TlsConfig | undefined;
}

export class Bridges implements CurrentConfig {
  readonly bridges = new Map<string, RunningBridge>();
  /** Why interfaces are not there, by the uuid of their row; '' where the log alone says so. */
  readonly errors = new Map<string, string>();
  /** Port numbers that interfaces had, by the uuid of their row: they get them again. */
  readonly ofportHints = new Map<string, number>();
  datapathKey = '';
  /** Settings that each backend has; a new one has none. */
  readonly configuredBackends = new WeakMap<OfprotoBackendApi, string>();
  vhostConfig: NetdevConfig;
  /** Called when a device's link or status changed. */
  onNetdevChange: () => void = () => {};

  constructor(rundir: string) {
    this.vhostConfig = { sockDir: rundir };
  }

  *interfaces(): Iterable<[RunningBridge, RunningInterface]> {
    for (const bridge of this.bridges.values()) for (const iface of bridge.interfaces.values()) yield [bridge, iface];
  }
}
