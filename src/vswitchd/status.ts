import { OVS_VERSION } from '../base/program.ts';
import type { Netdev, NetdevStats } from '../netdev/netdev.ts';
import type { ControllerStatus } from '../ofproto/config.ts';
import type { IdlRow, IdlSnapshot, IdlTxn, RowInput } from '../ovsdb/idl.ts';
import { formatMac } from './address.ts';
import { type Bridges, datapathIdOf, type RunningBridge, type RunningInterface, type SwitchDeps } from './bridges.ts';
import type { WantedConfig } from './config.ts';
import { shortPort } from './config-apply.ts';
import { boolOf, map } from './config-values.ts';
import { systemStatistics } from './system-stats.ts';

/** What vswitchd writes back into the database. The IDL leaves out what is there already, so everything may be written every time. */

/** Columns that are written here, by table: monitored without waking vswitchd up. */
export const STATUS_COLUMNS = {
  Open_vSwitch: [
    'cur_cfg',
    'iface_types',
    'datapath_types',
    'dpdk_initialized',
    'dpdk_version',
    'ovs_version',
    'db_version',
    'statistics',
  ],
  Bridge: ['datapath_id', 'datapath_version', 'status'],
  Port: ['status', 'statistics', 'bond_active_slave'],
  Mirror: ['statistics'],
  Interface: [
    'ofport',
    'error',
    'mac_in_use',
    'ifindex',
    'admin_state',
    'link_state',
    'link_speed',
    'link_resets',
    'lacp_current',
    'duplex',
    'mtu',
    'status',
    'statistics',
  ],
  Controller: ['is_connected', 'role', 'status'],
} as const;

/** Version of the Open_vSwitch schema that the columns are of. */
const DB_VERSION = '8.3.1';

/** The Open_vSwitch row, with `cur_cfg` telling ovs-vsctl that the configuration of `wanted` is in force. */
export function writeSwitch(txn: IdlTxn, snapshot: IdlSnapshot, wanted: WantedConfig, deps: SwitchDeps): void {
  const row = snapshot.first('Open_vSwitch');
  if (!row || row._uuid !== wanted.uuid) return;
  txn.update('Open_vSwitch', row._uuid, {
    cur_cfg: wanted.nextCfg,
    iface_types: deps.ifaceTypes(),
    datapath_types: deps.datapathTypes(),
    dpdk_initialized: wanted.otherConfig.get('dpdk-init') === 'true',
    dpdk_version: 'none',
    ...(!row.ovs_version && { ovs_version: OVS_VERSION }),
    ...(!row.db_version && { db_version: DB_VERSION }),
  });
}

/** Bridges and interfaces as they are now, but for counters. */
export function writeStatus(txn: IdlTxn, snapshot: IdlSnapshot, state: Bridges, deps: SwitchDeps): void {
  for (const bridge of state.bridges.values()) {
    const uuid = bridge.wanted?.uuid;
    if (uuid === undefined || !snapshot.get('Bridge', uuid)) continue;
    txn.update('Bridge', uuid, { datapath_id: datapathIdOf(bridge), datapath_version: '<built-in>' });
    writeBonds(txn, snapshot, bridge);
  }
  for (const [bridge, iface] of state.interfaces()) {
    const uuid = iface.wanted.uuid;
    if (uuid !== undefined && snapshot.get('Interface', uuid))
      txn.update('Interface', uuid, interfaceColumns(bridge, iface, deps));
  }
  for (const [uuid, error] of state.errors) {
    if (snapshot.get('Interface', uuid)) txn.update('Interface', uuid, failedColumns(error));
    else state.errors.delete(uuid);
  }
}

/** Which member of a bond is active, so that it is again after a restart. */
function writeBonds(txn: IdlTxn, snapshot: IdlSnapshot, bridge: RunningBridge): void {
  for (const { uuid, name } of bridge.ports.values()) {
    const mac = bridge.ofproto.bondActiveMac(name);
    if (mac && uuid !== undefined && snapshot.get('Port', uuid))
      txn.update('Port', uuid, { bond_active_slave: formatMac(mac) });
  }
}

function interfaceColumns(bridge: RunningBridge, iface: RunningInterface, deps: SwitchDeps): RowInput {
  const { netdev } = iface;
  const link = bridge.ofproto.portLink(iface.ofport as Parameters<typeof bridge.ofproto.portLink>[0]);
  const speed = linkSpeed(netdev);
  return {
    ofport: shortPort(iface.ofport),
    error: null,
    mac_in_use: formatMac(netdev.mac()),
    ifindex: deps.ifindex(netdev),
    admin_state: netdev.adminUp() ? 'up' : 'down',
    link_state: netdev.linkUp() ? 'up' : 'down',
    link_speed: speed,
    link_resets: link.resets,
    lacp_current: link.lacpCurrent ?? null,
    duplex: speed === null ? null : 'full',
    mtu: netdev.type === 'patch' ? null : netdev.mtu(),
    status: netdev.status(),
  };
}

/** Bits a second that Open vSwitch reports for a kind: 10 Gbit/s for a tap, nothing for the rest, vhost-user among them. */
function linkSpeed(netdev: Netdev): number | null {
  return netdev.type === 'tap' ? 10_000_000_000 : null;
}

function failedColumns(error: string): RowInput {
  const nothing = ['mac_in_use', 'ifindex', 'admin_state', 'link_state', 'link_speed', 'duplex', 'mtu'];
  return {
    ofport: -1,
    error: error === '' ? null : error,
    status: new Map(),
    statistics: new Map(),
    ...Object.fromEntries(nothing.map((column) => [column, null])),
  };
}

/** Counters of all interfaces, and the state of the controllers. */
export function writeStatistics(txn: IdlTxn, snapshot: IdlSnapshot, state: Bridges): void {
  writeCounters(txn, snapshot, state, () => true);
  for (const bridge of state.bridges.values()) {
    writeControllers(txn, snapshot, bridge);
    writeMirrors(txn, snapshot, bridge);
  }
}

function writeMirrors(txn: IdlTxn, snapshot: IdlSnapshot, bridge: RunningBridge): void {
  for (const { id } of bridge.wanted?.mirrors ?? []) {
    const stats = bridge.ofproto.mirrorStats(id);
    if (!stats || !snapshot.get('Mirror', id)) continue;
    const statistics = new Map([
      ['tx_packets', stats.packets],
      ['tx_bytes', stats.bytes],
    ]);
    txn.update('Mirror', id, { statistics });
  }
}

/** The host's load, when it is asked for. */
export function writeSystemStatistics(txn: IdlTxn, snapshot: IdlSnapshot): void {
  const row = snapshot.first('Open_vSwitch');
  if (!row) return;
  const wanted = boolOf(map(row.other_config), 'enable-statistics');
  txn.update('Open_vSwitch', row._uuid, { statistics: wanted ? systemStatistics() : new Map() });
}

/** Counters of the interfaces that have none in the database yet: a new one has them at once, not with the next round. */
export function writeFirstStatistics(txn: IdlTxn, snapshot: IdlSnapshot, state: Bridges): void {
  writeCounters(txn, snapshot, state, ({ statistics }) => !(statistics instanceof Map) || statistics.size === 0);
}

function writeCounters(txn: IdlTxn, snapshot: IdlSnapshot, state: Bridges, wants: (row: IdlRow) => boolean): void {
  for (const [bridge, iface] of state.interfaces()) {
    const uuid = iface.wanted.uuid;
    const row = uuid === undefined ? undefined : snapshot.get('Interface', uuid);
    if (uuid === undefined || !row || !wants(row)) continue;
    const stats = bridge.ofproto.portStats(iface.ofport as Parameters<typeof bridge.ofproto.portStats>[0]);
    txn.update('Interface', uuid, {
      statistics: statisticsMap(iface.netdev.countsPacketsOnly ? packetCounters(stats) : stats),
    });
  }
}

const STATISTICS = {
  rx_packets: 'rxPackets',
  tx_packets: 'txPackets',
  rx_bytes: 'rxBytes',
  tx_bytes: 'txBytes',
  rx_dropped: 'rxDropped',
  tx_dropped: 'txDropped',
  rx_errors: 'rxErrors',
  tx_errors: 'txErrors',
} as const satisfies Record<string, Exclude<keyof NetdevStats, 'custom'>>;

/** Interface.statistics by its keys. */
export function statisticsMap(stats: Partial<NetdevStats>): Map<string, number | bigint> {
  const out = new Map<string, number | bigint>();
  for (const [name, member] of Object.entries(STATISTICS)) {
    const value = stats[member];
    if (value !== undefined) out.set(name, toInteger(value));
  }
  for (const [name, value] of stats.custom ?? []) out.set(name, toInteger(value));
  return out;
}

/** The counters of a device that has no others. */
function packetCounters({ rxPackets, txPackets, rxBytes, txBytes, custom }: NetdevStats): Partial<NetdevStats> {
  return { rxPackets, txPackets, rxBytes, txBytes, custom };
}

const toInteger = (value: bigint): number | bigint =>
  value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : BigInt.asIntN(64, value);

function writeControllers(txn: IdlTxn, snapshot: IdlSnapshot, bridge: RunningBridge): void {
  const wanted = bridge.wanted?.controllers ?? [];
  if (wanted.length === 0) return;
  const byTarget = new Map(bridge.ofproto.controllerStatus().map((s) => [s.target, s]));
  for (const { uuid, config } of wanted) {
    if (snapshot.get('Controller', uuid))
      txn.update('Controller', uuid, controllerColumns(byTarget.get(config.target)));
  }
}

/** A passive controller has no state of its own. */
function controllerColumns(status: ControllerStatus | undefined): RowInput {
  if (!status) return { is_connected: false, role: null, status: new Map() };
  return { is_connected: status.isConnected, role: status.role, status: status.status };
}
