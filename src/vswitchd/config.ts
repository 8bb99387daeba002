import type { ControllerConfig, OfpVersion } from '../ofproto/config.ts';
import type { IdlRow, IdlSnapshot } from '../ovsdb/idl.ts';
import { readMirrors } from './config-mirror.ts';
import { localPort, readPort } from './config-port.ts';
import { readTables } from './config-tables.ts';
import { map, number, numbers, type StringMap, set, text } from './config-values.ts';
import type { Complaint, WantedBridge, WantedConfig, WantedController, WantedPort } from './wanted.ts';

/** What the database wants of the switch, read out of one snapshot into plain typed values. Pure: what is odd in it comes back as complaints. */

export type { StringMap } from './config-values.ts';
export type {
  Complaint,
  WantedBridge,
  WantedConfig,
  WantedController,
  WantedInterface,
  WantedPort,
  WantedQos,
} from './wanted.ts';

const EMPTY: StringMap = new Map();

/** Columns that this module reads, by table, for the IDL's monitor; status.ts adds those that it writes. */
export const CONFIG_COLUMNS = {
  Open_vSwitch: ['bridges', 'next_cfg', 'other_config', 'ssl'],
  Bridge: [
    'name',
    'datapath_type',
    'ports',
    'controller',
    'fail_mode',
    'protocols',
    'other_config',
    'flood_vlans',
    'mirrors',
    'flow_tables',
  ],
  Port: [
    'name',
    'interfaces',
    'tag',
    'trunks',
    'cvlans',
    'vlan_mode',
    'other_config',
    'protected',
    'mac',
    'qos',
    'fake_bridge',
    'bond_mode',
    'bond_updelay',
    'bond_downdelay',
    'bond_fake_iface',
    'lacp',
  ],
  Interface: [
    'name',
    'type',
    'options',
    'other_config',
    'mac',
    'ofport_request',
    'mtu_request',
    'ingress_policing_rate',
    'ingress_policing_burst',
    'ingress_policing_kpkts_rate',
    'ingress_policing_kpkts_burst',
  ],
  Mirror: [
    'name',
    'select_all',
    'select_src_port',
    'select_dst_port',
    'select_vlan',
    'output_port',
    'output_vlan',
    'snaplen',
  ],
  QoS: ['type', 'queues', 'other_config'],
  Queue: ['dscp', 'other_config'],
  Controller: [
    'target',
    'type',
    'max_backoff',
    'inactivity_probe',
    'connection_mode',
    'enable_async_messages',
    'controller_rate_limit',
    'controller_burst_limit',
  ],
  Flow_Table: ['name', 'flow_limit', 'overflow_policy', 'groups', 'prefixes'],
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
  const floodVlans = numbers(row.flood_vlans);
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
      ports.set(portName, readPort(snapshot, port, { bridge: name, hasFloodVlans: floodVlans.length > 0 }, complaints));
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
    mirrors: readMirrors(snapshot, row, ports, complaints),
    tables: readTables(snapshot, row, complaints),
    floodVlans,
  };
}

const PROTOCOLS: Readonly<Record<string, OfpVersion>> = {
  OpenFlow10: 1,
  OpenFlow11: 2,
  OpenFlow12: 3,
  OpenFlow13: 4,
  OpenFlow14: 5,
  OpenFlow15: 6,
};

/** Without any named: all. */
function readProtocols(names: readonly string[]): OfpVersion[] {
  const chosen = names.length === 0 ? Object.keys(PROTOCOLS) : names;
  return chosen.map((name) => PROTOCOLS[name]).filter((version) => version !== undefined);
}

function readControllers(snapshot: IdlSnapshot, bridge: IdlRow): WantedController[] {
  const rows = set(bridge.controller)
    .map((uuid) => snapshot.get('Controller', uuid))
    .filter((row) => row !== undefined);
  if (rows.length === 1 && text(rows[0]!.target) === 'none') return [];
  const inBand = map(bridge.other_config).get('disable-in-band') !== 'true';
  return rows.map((row) => ({ uuid: row._uuid, config: readController(row, inBand) }));
}

/** Open vSwitch's defaults: 8 s of backoff, a probe every 5 s, and no times below a second but 0. */
function readController(row: IdlRow, inBand: boolean): ControllerConfig {
  const target = text(row.target);
  const probe = number(row.inactivity_probe);
  const passive = /^p(tcp|ssl|unix)(:|$)/.test(target);
  return {
    target,
    type: (text(row.type) || (passive ? 'service' : 'primary')) as ControllerConfig['type'],
    maxBackoffMs: number(row.max_backoff) ?? 8000,
    inactivityProbeMs: probe === undefined ? 5000 : probe === 0 ? 0 : Math.max(1000, probe),
    inBand: inBand && text(row.connection_mode) !== 'out-of-band',
    enableAsyncMsgs: row.enable_async_messages !== false,
    rateLimit: number(row.controller_rate_limit),
    burstLimit: number(row.controller_burst_limit),
  };
}
