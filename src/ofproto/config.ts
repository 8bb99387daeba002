import type { Clock } from '../base/clock.ts';
import type { OfpPort } from '../base/types.ts';
import type { VlogRateLimit } from '../base/vlog.ts';

/** What the layer above configures ofproto with, and what it reads back. Plain data. */

/** A named log module, as src/base/vlog gives them. */
export interface Logger {
  err(message: string): void;
  warn(message: string): void;
  info(message: string): void;
  /** The text, or how to make it when it is wanted. */
  dbg(message: string | (() => string)): void;
  /** As the others, within limits. */
  errRl?(limit: VlogRateLimit, message: string): void;
  warnRl?(limit: VlogRateLimit, message: string | (() => string)): void;
  infoRl?(limit: VlogRateLimit, message: string): void;
  dbgRl?(limit: VlogRateLimit, message: string | (() => string)): void;
}

/** Where `ovs-appctl` commands are registered. A handler returns the reply's text and throws for an error reply. */
export interface CommandRegistry {
  register(
    name: string,
    usage: string,
    minArgs: number,
    maxArgs: number,
    handler: (args: readonly string[]) => string,
  ): void;
}

/** A way to a tunnel's other end. Addresses are 16 bytes, IPv4 mapped. */
export interface TunnelRoute {
  /** Name of the device, most often a bridge's own port. */
  readonly bridge: string;
  readonly gateway: Uint8Array | undefined;
  readonly source: Uint8Array;
}

/** What tunnels need of the host: the underlay's routes, neighbours and addresses. */
export interface TunnelSupport {
  readonly routes: {
    /** `source`: the packet is to be sent from there. */
    lookup(to: Uint8Array, mark: number, source?: Uint8Array): TunnelRoute | undefined;
    /** The device's own address that a packet to `to` would be sent from. */
    sourceFor(to: Uint8Array, device: string): Uint8Array | undefined;
    /** Names of the devices that routes lead by. */
    devices(): Iterable<string>;
    /** Called when routes, or addresses of devices, have changed. */
    onChange(cb: () => void): void;
  };
  readonly neighbours: {
    lookup(bridge: string, ip: Uint8Array): Uint8Array | undefined;
    set(bridge: string, ip: Uint8Array, mac: Uint8Array): void;
    flush(bridge?: string): void;
    onChange(cb: () => void): void;
  };
  /** Of a device, 4 or 16 bytes each. */
  addressesOf(device: string): readonly { address: Uint8Array; prefix: number }[];
}

export interface OfprotoDeps {
  clock: Clock;
  /** The log module of that name: `ofproto`, `ofproto_dpif`, `connmgr`, `rconn`, `vconn`, … */
  vlog(module: string): Logger;
  /** Directory of `<bridge>.mgmt` and `<bridge>.snoop`. */
  rundir: string;
  /** Absent: there is no underlay, tunnels reach nobody. */
  tunnels?: TunnelSupport;
}

/** OpenFlow versions by their wire number. */
export const OFP10_VERSION = 0x01;
export const OFP11_VERSION = 0x02;
export const OFP12_VERSION = 0x03;
export const OFP13_VERSION = 0x04;
export const OFP14_VERSION = 0x05;
export const OFP15_VERSION = 0x06;
export type OfpVersion = 0x01 | 0x02 | 0x03 | 0x04 | 0x05 | 0x06;

/** As Port.vlan_mode; undefined in the database means `access` with a tag, `trunk` without. */
export type VlanMode = 'access' | 'trunk' | 'native-tagged' | 'native-untagged' | 'dot1q-tunnel';

/** A Port of the database: one or more interfaces that learn and flood as one. */
export interface BundleConfig {
  /** Members by OpenFlow port. */
  ports: readonly OfpPort[];
  vlanMode: VlanMode;
  /** Access or native VLAN, 0..4095; undefined: none. */
  tag?: number | undefined;
  /** VLANs that are carried; empty or undefined: all. */
  trunks?: readonly number[] | undefined;
  /** Port.other_config:priority-tags: what an untagged packet with VLAN 0 leaves as. */
  priorityTags?: 'no' | 'if-nonzero' | 'always';
  /** Port.protected. */
  protected?: boolean;
  /** Customer VLANs that a dot1q-tunnel takes; empty or undefined: all. */
  cvlans?: readonly number[] | undefined;
  /** Port.other_config:qinq-ethertype; 802.1ad's by default. */
  qinqEthertype?: number;
  /** For a Port with several members. */
  bond?: BondConfig | undefined;
  lacp?: LacpConfig | undefined;
}

export const BOND_MODES = ['active-backup', 'balance-slb', 'balance-tcp'] as const;
export type BondMode = (typeof BOND_MODES)[number];

/** Settings of a bond (Port.bond_*, other_config). */
export interface BondConfig {
  mode: BondMode;
  /** Milliseconds that a link must be up or down before its member is enabled or disabled. */
  updelayMs: number;
  downdelayMs: number;
  /** 0: never. */
  rebalanceIntervalMs: number;
  hashBasis: number;
  /** Name of the member that is preferred in active-backup. */
  primary: string | undefined;
  lacpFallbackAb: boolean;
  /** balance-slb takes multicast in on every member. */
  allMembersActive: boolean;
  lbOutput: boolean;
  /** Address of the member that was active before a restart (Port.bond_active_slave). */
  activeMac?: Uint8Array | undefined;
}

/** Settings of LACP on a Port. */
export interface LacpConfig {
  /** 6 bytes. */
  sysId: Uint8Array;
  sysPriority: number;
  active: boolean;
  fast: boolean;
  /** Fall back to active-backup while there is no partner. */
  fallbackAb: boolean;
  /** As the ports of the BundleConfig. `portId` and `key` 0: the default. */
  members: readonly { portId: number; priority: number; key: number }[];
}

/** Limits of what comes in by a port, 0: none. kbit/s and kbit, thousands of packets a second and of packets. */
export interface PolicingConfig {
  kbps: number;
  kbits: number;
  kpps: number;
  kpkts: number;
}

/** A row of the Mirror table; ports are Ports by name. */
export interface MirrorConfig {
  /** Tells mirrors apart; a name need not be unique. */
  id: string;
  name: string;
  srcs: readonly string[];
  dsts: readonly string[];
  /** VLANs that are selected; undefined: all. */
  vlans: readonly number[] | undefined;
  /** Exactly one of the two. */
  outPort: string | undefined;
  outVlan: number | undefined;
  /** Longest packet that is sent, 0: any. */
  snaplen: number;
}

/** Bridge.fail_mode. */
export type FailMode = 'standalone' | 'secure';

/** A row of the Controller table. */
export interface ControllerConfig {
  /** `tcp:H[:P]`, `ssl:…`, `unix:FILE`, or passive: `ptcp:[P][:H]`, `pssl:…`, `punix:FILE`. */
  target: string;
  type: 'primary' | 'service';
  maxBackoffMs: number;
  /** 0: never probed. */
  inactivityProbeMs: number;
  enableAsyncMsgs?: boolean;
  /** The way there leads through the bridge itself. */
  inBand?: boolean;
  /** Packet-ins a second, and the burst allowed; undefined: unlimited. */
  rateLimit?: number | undefined;
  burstLimit?: number | undefined;
}

/** For the status columns of the Controller table. */
export interface ControllerStatus {
  target: string;
  isConnected: boolean;
  role: 'other' | 'master' | 'slave';
  /** Controller.status:state, last_error, sec_since_connect, sec_since_disconnect. */
  status: ReadonlyMap<string, string>;
}

/** PEM text for `ssl:` and `pssl:` connections (the SSL table). */
export interface TlsConfig {
  privateKey: string;
  certificate: string;
  caCert: string;
}

/** Strings of the OpenFlow description reply. */
export interface OfprotoDesc {
  mfrDesc: string;
  hwDesc: string;
  swDesc: string;
  serialDesc: string;
  dpDesc: string;
}
