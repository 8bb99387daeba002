import { formatMac } from '../base/address.ts';
import { UnixctlError } from '../base/unixctl.ts';
import { parseMac } from '../openflow/address-text.ts';
import { formatPort } from '../openflow/port.ts';
import { type Backends, findBridge, selectBridges } from './appctl-bridges.ts';
import type { Bridge } from './bridge.ts';
import type { CommandRegistry } from './config.ts';
import { macBytes, macNumber } from './mac-learning.ts';
import type { Bundle } from './port-bundle.ts';

/** `fdb/…` and `mdb/…`: what a bridge has learned, in the words of ovs-vswitchd(8). */

const portOf = (bundle: Bundle): string => (bundle.aPort === undefined ? '?' : formatPort(bundle.aPort));

function fdbShow(bridge: Bridge): string {
  const lines = [' port  VLAN  MAC                Age\n'];
  for (const e of bridge.macs.entries()) {
    const age = bridge.macs.isStatic(e) ? 'static' : `${bridge.macs.ageS(e)}`.padStart(3);
    const port = portOf(e.bundle as Bundle).padStart(5);
    lines.push(`${port}  ${`${e.vlan}`.padStart(4)}  ${formatMac(macBytes(e.mac))}  ${age}\n`);
  }
  return lines.join('');
}

function fdbStats(bridge: Bridge): string {
  const { macs, name } = bridge;
  return (
    `Statistics for bridge "${name}":\n` +
    `  Current/maximum MAC entries in the table: ${macs.size}/${macs.maxEntries}\n` +
    `  Current static MAC entries in the table : ${macs.staticCount}\n` +
    `  Total number of learned MAC entries     : ${macs.totalLearned}\n` +
    `  Total number of expired MAC entries     : ${macs.totalExpired}\n` +
    `  Total number of evicted MAC entries     : ${macs.totalEvicted}\n` +
    `  Total number of port moved MAC entries  : ${macs.totalMoved}\n`
  );
}

function readMac(text: string): number {
  const mac = parseMac(text);
  if (!mac) throw new UnixctlError('bad MAC address');
  return macNumber(mac);
}

/** As atoi reads it, in 16 bits. */
const readVlan = (text: string): number => (Number.parseInt(text, 10) || 0) & 0xffff;

function fdbAdd(bridge: Bridge, portName: string, vlan: number, mac: number): string {
  const port = bridge.portByName(portName);
  if (!port) throw new UnixctlError('software error, odp port is present but no ofp port');
  const { macs } = bridge;
  const old = macs.lookup(mac, vlan);
  const kind = old && macs.isStatic(old) ? 'static' : 'dynamic';
  const overrides = old && (old.bundle.name !== portName || kind === 'dynamic');
  const reply = overrides ? `Overriding already existing ${kind} entry on ${portOf(old.bundle as Bundle)}\n` : '';
  if (!port.bundle) throw new UnixctlError('could not add static mac entry\n');
  macs.addStatic(mac, vlan, port.bundle);
  bridge.changed();
  return reply;
}

function registerFdbAdd(registry: CommandRegistry, backends: Backends): void {
  registry.register('fdb/add', 'bridge port vlan mac', 4, 4, ([name, port, vlan, mac]) => {
    const bridge = findBridge(backends, name);
    bridge.pushStats();
    return fdbAdd(bridge, port!, readVlan(vlan!), readMac(mac!));
  });
  registry.register('fdb/del', 'bridge vlan mac', 3, 3, ([name, vlan, mac]) => {
    const bridge = findBridge(backends, name);
    if (!bridge.macs.delStatic(readMac(mac!), readVlan(vlan!)))
      throw new UnixctlError('could not find static mac entry\n');
    bridge.changed();
    return '';
  });
}

export function registerFdb(registry: CommandRegistry, backends: Backends): void {
  registerFdbAdd(registry, backends);
  registry.register('fdb/show', 'bridge', 1, 1, ([name]) => {
    const bridge = findBridge(backends, name);
    bridge.pushStats();
    return fdbShow(bridge);
  });
  registry.register('fdb/stats-show', 'bridge', 1, 1, ([name]) => {
    const bridge = findBridge(backends, name);
    bridge.pushStats();
    return fdbStats(bridge);
  });
  registry.register('fdb/stats-clear', '[bridge]', 0, 1, ([name]) => {
    for (const bridge of selectBridges(backends, name)) {
      bridge.pushStats();
      bridge.macs.clearStatistics();
    }
    return 'statistics successfully cleared';
  });
  registry.register('fdb/flush', '[bridge]', 0, 1, ([name]) => {
    for (const bridge of selectBridges(backends, name)) {
      bridge.pushStats();
      bridge.macs.flush();
      bridge.changed();
    }
    return 'table successfully flushed';
  });
  registry.register('mdb/show', 'bridge', 1, 1, ([name]) => {
    findBridge(backends, name);
    throw new UnixctlError('multicast snooping is disabled');
  });
  registry.register('mdb/flush', '[bridge]', 0, 1, ([name]) => {
    if (name === undefined) return 'table successfully flushed';
    findBridge(backends, name);
    throw new UnixctlError('multicast snooping is disabled');
  });
}
