import type { OdpPort, OfpPort } from '../base/types.ts';
import type { Dpif } from '../dpif/dpif.ts';
import type { Netdev, NetdevStats } from '../netdev/netdev.ts';
import type {
  BundleConfig,
  CommandRegistry,
  ControllerConfig,
  ControllerStatus,
  FailMode,
  MirrorConfig,
  OfprotoDeps,
  OfprotoDesc,
  OfpVersion,
  PolicingConfig,
  TlsConfig,
} from './config.ts';
import type { TableSettings } from './oftable.ts';

/** What ofproto offers to vswitchd: one backend a datapath, one ofproto a bridge. Control thread only. */

export const OFPP_LOCAL = 0xfffffffe as OfpPort;

export interface OfprotoBackendApi {
  readonly dpif: Dpif;
  /** Open_vSwitch.other_config: flow-limit (200000), max-idle (10000 ms), max-revalidator (500 ms). */
  setFlowLimit(n: number): void;
  setMaxIdle(ms: number): void;
  setMaxRevalidator(ms: number): void;
  /** Open_vSwitch.other_config:bundle-idle-timeout, in seconds; undefined: the default (10). */
  setBundleIdleTimeout(seconds: number | undefined): void;
  setTls(tls: TlsConfig | undefined): void;
  /** Open_vSwitch.other_config:flow-restore-wait: packets without a flow are dropped, for the tables are being filled. */
  setFlowRestoreWait(wait: boolean): void;
  /** Takes every flow out of the datapath: packets are to be looked at anew. */
  flush(): void;
  /** Makes a bridge's OpenFlow switch; its ports are added afterwards, the one named like the bridge is OFPP_LOCAL. */
  createOfproto(name: string, datapathId: bigint): OfprotoApi;
  ofprotos(): Iterable<OfprotoApi>;
  /** Ends timers and the upcall handler; destroys every ofproto; does not close the Dpif. */
  close(): Promise<void>;
}

export interface OfprotoApi {
  readonly name: string;
  readonly backend: OfprotoBackendApi;
  /** Takes a device in (into the datapath too, unless it is a patch port). Throws NetdevError. The device stays the caller's. */
  portAdd(netdev: Netdev, options?: { ofportRequest?: number | undefined }): Promise<OfpPort>;
  portDel(port: OfpPort): Promise<void>;
  portByName(name: string): { ofpPort: OfpPort; odpPort: OdpPort | undefined; netdev: Netdev } | undefined;
  /** Devices of its ports. */
  netdevs(): Iterable<Netdev>;
  portStats(port: OfpPort): NetdevStats;
  /** Replaces the Port of that name. */
  bundleSet(portName: string, config: BundleConfig): void;
  bundleDel(portName: string): void;
  /** Makes these the mirrors of the bridge. */
  setMirrors(mirrors: readonly MirrorConfig[]): void;
  /** Packets and bytes that a mirror has sent; undefined when there is no such mirror. */
  mirrorStats(id: string): { packets: number; bytes: number } | undefined;
  /** Interface.ingress_policing_*. */
  setPolicing(port: OfpPort, config: PolicingConfig | undefined): void;
  /** DSCP that packets of a queue leave with, by queue. */
  setQueues(port: OfpPort, dscp: ReadonlyMap<number, number>): void;
  /** Bridge.flood_vlans: nothing is learned in these. */
  setFloodVlans(vlans: readonly number[]): void;
  /** Address of the active member of a bond, zeros when there is none; undefined when the Port is no bond. */
  bondActiveMac(portName: string): Uint8Array | undefined;
  /** How often the link of a port changed, and whether LACP hears the partner (undefined: no LACP). */
  portLink(port: OfpPort): { resets: number; lacpCurrent: boolean | undefined };
  /** Called when what is read back here may be another. */
  onStatusChange: () => void;
  /** `port` is a patch port; `peerName` the Interface at the other end, which may come later. */
  setPatchPeer(port: OfpPort, peerName: string | undefined): void;
  datapathId(): bigint;
  setDatapathId(id: bigint): void;
  setFailMode(mode: FailMode): void;
  /** Versions that are offered to controllers and ovs-ofctl. */
  setProtocols(versions: readonly OfpVersion[]): void;
  setControllers(controllers: readonly ControllerConfig[]): void;
  /** Bridge.other_config:in-band-queue. */
  setInBandQueue(queue: number | undefined): void;
  controllerStatus(): ControllerStatus[];
  /** Listens on `<rundir>/<bridge>.mgmt` and `.snoop`. */
  listenServices(): Promise<void>;
  /** Rows of Flow_Table by table number; tables without one have the defaults. */
  configureTables(settings: ReadonlyMap<number, TableSettings>): void;
  /** Bridge.other_config: mac-aging-time (300 s), mac-table-size (8192). */
  configureMac(agingTimeS: number, tableSize: number): void;
  /** Bridge.other_config:forward-bpdu. */
  setForwardBpdu(forward: boolean): void;
  setDesc(desc: Partial<OfprotoDesc>): void;
  destroy(): Promise<void>;
}

/** Makes the backend of one datapath and becomes its upcall handler. */
export type CreateOfprotoBackend = (dpif: Dpif, deps: OfprotoDeps) => OfprotoBackendApi;
/** Registers ofproto/*, fdb/*, dpif/*, dpctl/*, upcall/* and revalidator/* commands over all backends. */
export type RegisterOfprotoCommands = (
  registry: CommandRegistry,
  backends: () => Iterable<OfprotoBackendApi>,
  more?: () => Iterable<Dpif>,
) => void;
