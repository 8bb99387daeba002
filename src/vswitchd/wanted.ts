import type {
  BondConfig,
  ControllerConfig,
  FailMode,
  LacpConfig,
  MirrorConfig,
  OfpVersion,
  PolicingConfig,
  VlanMode,
} from '../ofproto/config.ts';
import type { TableSettings } from '../ofproto/oftable.ts';
import type { Uuid } from '../ovsdb/idl.ts';
import type { StringMap } from './config-values.ts';

/** What the database wants of the switch, as plain typed values. */

/** Undefined system ID: that of the bridge. */
export type WantedLacp = Omit<LacpConfig, 'sysId'> & { sysId: Uint8Array | undefined };

export interface WantedInterface {
  /** Undefined for the local port that was made up because the database has none. */
  uuid: Uuid | undefined;
  name: string;
  /** `system` for an empty type, `internal` for the port named like its bridge. */
  type: string;
  options: StringMap;
  otherConfig: StringMap;
  mac: string | undefined;
  ofportRequest: number | undefined;
  mtuRequest: number | undefined;
  /** ingress_policing_*; undefined: none. */
  policing: PolicingConfig | undefined;
}

export interface WantedPort {
  uuid: Uuid | undefined;
  name: string;
  interfaces: readonly WantedInterface[];
  vlanMode: VlanMode;
  tag: number | undefined;
  trunks: readonly number[];
  cvlans: readonly number[];
  qinqEthertype: number;
  priorityTags: 'no' | 'if-nonzero' | 'always';
  protected: boolean;
  /** Undefined for a single interface. */
  bond: BondConfig | undefined;
  lacp: WantedLacp | undefined;
  /** A bond that is to look like an interface of the host (bond_fake_iface). */
  fakeBond: boolean;
  /** Address that counts for the bridge's instead of the interface's; 6 bytes. */
  mac: readonly number[] | undefined;
  qos: WantedQos | undefined;
}

export interface WantedQos {
  /** `linux-htb`, … */
  type: string;
  otherConfig: StringMap;
  queues: { id: number; dscp: number | undefined; otherConfig: StringMap }[];
}

export interface WantedController {
  uuid: Uuid;
  config: ControllerConfig;
}

export interface WantedBridge {
  uuid: Uuid;
  name: string;
  /** As the database has it: '' is `system`. */
  datapathType: string;
  ports: ReadonlyMap<string, WantedPort>;
  controllers: readonly WantedController[];
  failMode: FailMode;
  protocols: readonly OfpVersion[];
  otherConfig: StringMap;
  mirrors: readonly MirrorConfig[];
  floodVlans: readonly number[];
  /** Settings of flow tables, by number. */
  tables: ReadonlyMap<number, TableSettings>;
}

export interface Complaint {
  module: string;
  level: 'warn' | 'err';
  text: string;
  /** Said once a minute at most. */
  seldom?: boolean;
}

export interface WantedConfig {
  /** Row of the Open_vSwitch table; undefined while the table is empty. */
  uuid: Uuid | undefined;
  nextCfg: number;
  otherConfig: StringMap;
  bridges: ReadonlyMap<string, WantedBridge>;
  ssl: { privateKey: string; certificate: string; caCert: string } | undefined;
  complaints: readonly Complaint[];
}
