import { BOND_MODES, type BondConfig, type BondMode, type VlanMode } from '../ofproto/config.ts';
import type { IdlRow, IdlSnapshot } from '../ovsdb/idl.ts';
import { parseMac } from './address.ts';
import { boolOf, intOf, map, number, numbers, type StringMap, set, text } from './config-values.ts';
import type { Complaint, WantedInterface, WantedLacp, WantedPort } from './wanted.ts';

/** The Port and Interface tables: VLANs, bonds, LACP. Pure. */

const EMPTY: StringMap = new Map();

/** A port of one interface with nothing set. */
function plainPort(name: string, iface: WantedInterface): WantedPort {
  return {
    uuid: undefined,
    name,
    interfaces: [iface],
    vlanMode: 'trunk',
    tag: undefined,
    trunks: [],
    cvlans: [],
    qinqEthertype: 0x88a8,
    priorityTags: 'no',
    protected: false,
    bond: undefined,
    lacp: undefined,
    fakeBond: false,
    mac: undefined,
    qos: undefined,
  };
}

/** The local port that a bridge with a controller gets when its configuration has none. */
export function localPort(name: string): WantedPort {
  return plainPort(name, {
    uuid: undefined,
    name,
    type: 'internal',
    options: EMPTY,
    otherConfig: EMPTY,
    mac: undefined,
    ofportRequest: undefined,
    mtuRequest: undefined,
    policing: undefined,
  });
}

/** What is read of a Port depends on its bridge in these. */
export interface PortContext {
  bridge: string;
  hasFloodVlans: boolean;
}

export function readPort(snapshot: IdlSnapshot, row: IdlRow, ctx: PortContext, complaints: Complaint[]): WantedPort {
  const name = text(row.name);
  const warn = (message: string) => complaints.push({ module: 'bridge', level: 'warn', text: message });
  const tag = number(row.tag);
  const otherConfig = map(row.other_config);
  const rows = set(row.interfaces)
    .map((uuid) => snapshot.get('Interface', uuid))
    .filter((i) => i !== undefined);
  const trunks = numbers(row.trunks);
  const cvlans = numbers(row.cvlans);
  const mode = text(row.vlan_mode);
  if (mode === '' && tag !== undefined && trunks.length + cvlans.length > 0)
    warn(`port ${name}: ignoring trunks in favor of implicit vlan`);
  const mac = parseMac(text(row.mac) || undefined);
  return {
    uuid: row._uuid,
    name,
    interfaces: rows.map((i) => readInterface(i, ctx.bridge)),
    vlanMode: mode === '' ? (tag === undefined ? 'trunk' : 'access') : (mode as VlanMode),
    tag,
    trunks,
    cvlans,
    qinqEthertype: otherConfig.get('qinq-ethtype') === '802.1q' ? 0x8100 : 0x88a8,
    priorityTags: readPriorityTags(otherConfig.get('priority-tags')),
    protected: row.protected === true,
    bond: rows.length > 1 ? readBond(name, row, ctx, complaints) : undefined,
    lacp: readLacp(name, row, rows, warn),
    fakeBond: row.bond_fake_iface === true && rows.length > 1,
    mac: mac && [...mac],
    qos: readQos(snapshot, row),
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
    policing: readPolicing(row),
  };
}

function readPolicing(row: IdlRow): WantedInterface['policing'] {
  const [kbps, kbits] = [number(row.ingress_policing_rate) ?? 0, number(row.ingress_policing_burst) ?? 0];
  const [kpps, kpkts] = [number(row.ingress_policing_kpkts_rate) ?? 0, number(row.ingress_policing_kpkts_burst) ?? 0];
  return kbps > 0 || kpps > 0 ? { kbps, kbits, kpps, kpkts } : undefined;
}

// Bonds.

function readBond(name: string, row: IdlRow, ctx: PortContext, complaints: Complaint[]): BondConfig {
  const otherConfig = map(row.other_config);
  const warn = (message: string) => complaints.push({ module: 'bridge', level: 'warn', text: message });
  const mode = readBondMode(name, text(row.bond_mode), complaints);
  if (mode === 'balance-slb' && ctx.hasFloodVlans)
    warn(
      `port ${name}: SLB bonds are incompatible with flood_vlans, please use another bond type or disable flood_vlans`,
    );
  const detect = otherConfig.get('bond-detect-mode') ?? 'carrier';
  if (detect !== 'carrier' && detect !== 'miimon')
    warn(`port ${name}: unsupported bond-detect-mode ${detect}, defaulting to carrier`);
  const interval = intOf(otherConfig, 'bond-rebalance-interval', 10_000);
  const lacpFallbackAb = boolOf(otherConfig, 'lacp-fallback-ab');
  const prefersPrimary = mode === 'active-backup' || lacpFallbackAb;
  return {
    mode,
    updelayMs: Math.max(0, number(row.bond_updelay) ?? 0),
    downdelayMs: Math.max(0, number(row.bond_downdelay) ?? 0),
    rebalanceIntervalMs: interval === 0 ? 0 : Math.max(1000, interval),
    hashBasis: intOf(otherConfig, 'bond-hash-basis', 0) >>> 0,
    primary: prefersPrimary ? otherConfig.get('bond-primary') : undefined,
    lacpFallbackAb,
    allMembersActive: boolOf(otherConfig, 'all-members-active'),
    lbOutput: mode === 'balance-tcp' && boolOf(otherConfig, 'lb-output-action'),
    activeMac: parseMac(text(row.bond_active_slave) || undefined),
  };
}

function readBondMode(name: string, mode: string, complaints: Complaint[]): BondMode {
  const known = BOND_MODES.find((m) => m === mode);
  if (known) return known;
  if (mode !== '')
    complaints.push({
      module: 'bridge',
      level: 'warn',
      text: `port ${name}: unknown bond_mode ${mode}, defaulting to active-backup`,
    });
  else
    complaints.push({
      module: 'bridge',
      level: 'warn',
      seldom: true,
      text:
        `port ${name}: Using the default bond_mode active-backup. Note that in previous versions, the default ` +
        'bond_mode was balance-slb',
    });
  return 'active-backup';
}

/** Above 0 and within 16 bits, or `fallback`. */
const uint16 = (n: number, fallback: number): number => (n > 0 && n <= 0xffff ? n : fallback);

function readLacp(
  name: string,
  row: IdlRow,
  interfaces: readonly IdlRow[],
  warn: (message: string) => void,
): WantedLacp | undefined {
  const mode = text(row.lacp);
  if (mode === '' || mode === 'off') return undefined;
  if (mode !== 'active' && mode !== 'passive') {
    warn(`port ${name}: unknown LACP mode ${mode}`);
    return undefined;
  }
  const otherConfig = map(row.other_config);
  const id = otherConfig.get('lacp-system-id');
  const sysId = parseMac(id);
  if (id !== undefined && !sysId) {
    warn(`port ${name}: LACP system ID (${id}) must be an Ethernet address.`);
    return undefined;
  }
  if (sysId?.every((byte) => byte === 0)) {
    warn(`port ${name}: Invalid zero LACP system ID.`);
    return undefined;
  }
  return {
    sysId,
    // A bond's links are preferred to single ones.
    sysPriority: uint16(intOf(otherConfig, 'lacp-system-priority', 0), interfaces.length > 1 ? 0xfffe : 0xffff),
    active: mode === 'active',
    fast: otherConfig.get('lacp-time')?.toLowerCase() === 'fast',
    fallbackAb: boolOf(otherConfig, 'lacp-fallback-ab'),
    members: interfaces.map((i) => {
      const config = map(i.other_config);
      return {
        portId: uint16(intOf(config, 'lacp-port-id', 0), 0),
        priority: uint16(intOf(config, 'lacp-port-priority', 0), 0xffff),
        key: uint16(intOf(config, 'lacp-aggregation-key', 0), 0),
      };
    }),
  };
}

// Queues.

function readQos(snapshot: IdlSnapshot, port: IdlRow): WantedPort['qos'] {
  const [uuid] = set(port.qos);
  const row = uuid === undefined ? undefined : snapshot.get('QoS', uuid);
  const type = text(row?.type);
  if (!row || type === '') return undefined;
  const queues: NonNullable<WantedPort['qos']>['queues'] = [];
  const refs = row.queues instanceof Map ? (row.queues as ReadonlyMap<number, string>) : new Map<number, string>();
  for (const [id, ref] of refs) {
    const queue = snapshot.get('Queue', ref);
    if (queue) queues.push({ id: Number(id), dscp: number(queue.dscp), otherConfig: map(queue.other_config) });
  }
  return { type, otherConfig: map(row.other_config), queues: queues.sort((a, b) => a.id - b.id) };
}
