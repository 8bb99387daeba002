import type { ControllerConfig, FailMode, OfpVersion, VlanMode } from '../ofproto/config.ts';
import type { ColumnValue, IdlRow, IdlSnapshot, Uuid } from '../ovsdb/idl.ts';

/** What the database wants of the switch, read out of one snapshot into plain typed values. Pure: what is odd in it comes back as complaints. */

export type StringMap = ReadonlyMap<string, string>;

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
}

export interface WantedPort {
  uuid: Uuid | undefined;
  name: string;
  interfaces: readonly WantedInterface[];
  vlanMode: VlanMode;
  tag: number | undefined;
  trunks: readonly number[];
  priorityTags: 'no' | 'if-nonzero' | 'always';
  protected: boolean;
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
}

export interface Complaint {
  module: string;
  level: 'warn' | 'err';
  text: string;
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

const EMPTY: StringMap = new Map();

/** Columns that this module reads, by table, for the IDL's monitor; status.ts adds those that it writes. */
export const CONFIG_COLUMNS = {
  Open_vSwitch: ['bridges', 'next_cfg', 'other_config', 'ssl'],
  Bridge: ['name', 'datapath_type', 'ports', 'controller', 'fail_mode', 'protocols', 'other_config', 'flood_vlans'],
  Port: ['name', 'interfaces', 'tag', 'trunks', 'vlan_mode', 'other_config', 'protected', 'mac', 'fake_bridge'],
  Interface: ['name', 'type', 'options', 'other_config', 'mac', 'ofport_request', 'mtu_request'],
  Controller: [
    'target',
    'type',
    'max_backoff',
    'inactivity_probe',
    'enable_async_messages',
    'controller_rate_limit',
    'controller_burst_limit',
  ],
  SSL: ['private_key', 'certificate', 'ca_cert'],
} as const;

/** Reads the whole configuration. */
export function readConfig(snapshot: IdlSnapshot): WantedConfig {
  const complaints: Complaint[] = [];
  const row = snapshot.first('Open_vSwitch');
  if (!row) return { uuid: undefined, nextCfg: 0, otherConfig: EMPTY, bridges: new Map(), ssl: undefined, complaints };
  const bridges = new Map<string, WantedBridge>();
  for (const uuid of set(row.bridges)) {
    const bridge = snapshot.get('Bridge', uuid);
    if (!bridge) continue;
    const name = text(bridge.name);
    if (name === '' || name.includes('/')) {
      // A name becomes a file name: one with a slash could reach outside the folder of the sockets.
      complaints.push({ module: 'bridge', level: 'warn', text: `ignoring bridge with invalid name "${name}"` });
    } else if (bridges.has(name)) {
      complaints.push({ module: 'bridge', level: 'warn', text: `bridge ${name} specified twice` });
    } else {
      bridges.set(name, readBridge(snapshot, bridge, complaints));
    }
  }
  return {
    uuid: row._uuid,
    nextCfg: Number(row.next_cfg ?? 0),
    otherConfig: map(row.other_config),
    bridges,
    ssl: readSsl(snapshot, row),
    complaints,
  };
}

function readSsl(snapshot: IdlSnapshot, row: IdlRow): WantedConfig['ssl'] {
  const [uuid] = set(row.ssl);
  const ssl = uuid === undefined ? undefined : snapshot.get('SSL', uuid);
  if (!ssl) return undefined;
  return { privateKey: text(ssl.private_key), certificate: text(ssl.certificate), caCert: text(ssl.ca_cert) };
}

function readBridge(snapshot: IdlSnapshot, row: IdlRow, complaints: Complaint[]): WantedBridge {
  const name = text(row.name);
  const controllers = readControllers(snapshot, row);
  const ports = new Map<string, WantedPort>();
  for (const uuid of set(row.ports)) {
    const port = snapshot.get('Port', uuid);
    if (!port) continue;
    const portName = text(port.name);
    if (ports.has(portName)) {
      complaints.push({
        module: 'bridge',
        level: 'warn',
        text: `bridge ${name}: ${portName} specified twice as bridge port`,
      });
    } else {
      ports.set(portName, readPort(snapshot, port, name, complaints));
    }
  }
  if (controllers.length > 0 && !ports.has(name)) {
    complaints.push({
      module: 'bridge',
      level: 'warn',
      text: `bridge ${name}: no port named ${name}, synthesizing one`,
    });
    ports.set(name, localPort(name));
  }
  return {
    uuid: row._uuid,
    name,
    datapathType: text(row.datapath_type),
    ports,
    controllers,
    failMode: text(row.fail_mode) === 'secure' ? 'secure' : 'standalone',
    protocols: readProtocols(set(row.protocols)),
    otherConfig: map(row.other_config),
  };
}

/** The local port that a bridge with a controller gets when its configuration has none. */
function localPort(name: string): WantedPort {
  const local: WantedInterface = {
    uuid: undefined,
    name,
    type: 'internal',
    options: EMPTY,
    otherConfig: EMPTY,
    mac: undefined,
    ofportRequest: undefined,
    mtuRequest: undefined,
  };
  return {
    uuid: undefined,
    name,
    interfaces: [local],
    vlanMode: 'trunk',
    tag: undefined,
    trunks: [],
    priorityTags: 'no',
    protected: false,
  };
}

const PROTOCOLS: Readonly<Record<string, OfpVersion>> = {
  OpenFlow10: 1,
  OpenFlow11: 2,
  OpenFlow12: 3,
  OpenFlow13: 4,
  OpenFlow14: 5,
};

/** Without any named, those that Open vSwitch offers by default: 1.0 to 1.5, of which 1.4 is the highest that is spoken here. */
function readProtocols(names: readonly string[]): OfpVersion[] {
  const chosen = names.length === 0 ? Object.keys(PROTOCOLS) : names;
  return chosen.map((name) => PROTOCOLS[name]).filter((version) => version !== undefined);
}

function readPort(snapshot: IdlSnapshot, row: IdlRow, bridge: string, complaints: Complaint[]): WantedPort {
  const name = text(row.name);
  const tag = number(row.tag);
  const trunks = (row.trunks as readonly number[] | undefined) ?? [];
  const mode = text(row.vlan_mode);
  if (mode === '' && tag !== undefined && trunks.length > 0) {
    complaints.push({
      module: 'bridge',
      level: 'warn',
      text: `port ${name}: ignoring trunks in favor of implicit vlan`,
    });
  }
  return {
    uuid: row._uuid,
    name,
    interfaces: set(row.interfaces)
      .map((uuid) => snapshot.get('Interface', uuid))
      .filter((i) => i !== undefined)
      .map((i) => readInterface(i, bridge)),
    vlanMode: mode === '' ? (tag === undefined ? 'trunk' : 'access') : (mode as VlanMode),
    tag,
    trunks,
    priorityTags: readPriorityTags(map(row.other_config).get('priority-tags')),
    protected: row.protected === true,
  };
}

function readPriorityTags(value: string | undefined): WantedPort['priorityTags'] {
  if (value === 'if-nonzero' || value === 'true') return 'if-nonzero';
  return value === 'always' ? 'always' : 'no';
}

function readInterface(row: IdlRow, bridge: string): WantedInterface {
  const name = text(row.name);
  return {
    uuid: row._uuid,
    name,
    type: name === bridge ? 'internal' : text(row.type) || 'system',
    options: map(row.options),
    otherConfig: map(row.other_config),
    mac: text(row.mac) || undefined,
    ofportRequest: number(row.ofport_request),
    mtuRequest: number(row.mtu_request),
  };
}

function readControllers(snapshot: IdlSnapshot, bridge: IdlRow): WantedController[] {
  const rows = set(bridge.controller)
    .map((uuid) => snapshot.get('Controller', uuid))
    .filter((row) => row !== undefined);
  if (rows.length === 1 && text(rows[0]!.target) === 'none') return [];
  return rows.map((row) => ({ uuid: row._uuid, config: readController(row) }));
}

/** Open vSwitch's defaults: 8 s of backoff, a probe every 5 s, and no times below a second but 0. */
function readController(row: IdlRow): ControllerConfig {
  const target = text(row.target);
  const probe = number(row.inactivity_probe);
  const passive = /^p(tcp|ssl|unix)(:|$)/.test(target);
  return {
    target,
    type: (text(row.type) || (passive ? 'service' : 'primary')) as ControllerConfig['type'],
    maxBackoffMs: number(row.max_backoff) ?? 8000,
    inactivityProbeMs: probe === undefined ? 5000 : probe === 0 ? 0 : Math.max(1000, probe),
    enableAsyncMsgs: row.enable_async_messages !== false,
    rateLimit: number(row.controller_rate_limit),
    burstLimit: number(row.controller_burst_limit),
  };
}

function text(value: ColumnValue | undefined): string {
  return typeof value === 'string' ? value : '';
}

/** A column of none or one number. */
function number(value: ColumnValue | undefined): number | undefined {
  const one = Array.isArray(value) ? value[0] : value;
  return typeof one === 'number' || typeof one === 'bigint' ? Number(one) : undefined;
}

/** A set column of strings or references, also where the schema allows at most one. */
function set(value: ColumnValue | undefined): readonly string[] {
  if (value === undefined || value === null) return [];
  return (Array.isArray(value) ? value : [value]) as readonly string[];
}

function map(value: ColumnValue | undefined): StringMap {
  return value instanceof Map ? (value as StringMap) : EMPTY;
}
