import { addressError, macError } from '../attach/link.ts';
import type { CniEnvironment } from './environment.ts';
import { CNI_DECODING_FAILURE, CNI_UNSUPPORTED_FIELD, CniError, invalidConfig } from './error.ts';
import { Fields, isRecord, type JsonRecord } from './json.ts';
import { type CniResult, parseResult } from './result.ts';
import { type CniVersion, isAtLeast, knownVersion } from './versions.ts';

/** A plugin configuration, whoever's words it is in: ours, ovs-cni's or userspace-cni's. */
export interface CniConfig {
  readonly cniVersion: CniVersion;
  readonly name: string;
  /** As it came, for delegates. */
  readonly raw: JsonRecord;
  readonly bridge: string;
  /** userspace-cni makes a bridge that is missing. */
  readonly makesBridge: boolean;
  /** The database, as a connection method. Undefined: Open vSwitch's default. */
  readonly remote: string | undefined;
  readonly kind: InterfaceKind;
  /** Interface.type of a veth. */
  readonly ovsType: string;
  readonly vlan: number | undefined;
  readonly trunk: readonly number[];
  readonly mtu: number | undefined;
  readonly ofportRequest: number | undefined;
  readonly vhost: VhostConfig;
  readonly mirrors: readonly MirrorConfig[];
  readonly ipam: string | undefined;
  readonly dns: JsonRecord | undefined;
  readonly mac: string | undefined;
  /** Without IPAM. */
  readonly addresses: readonly string[];
  /** Interface.external_ids:iface-id. */
  readonly ifaceId: string | undefined;
  readonly bandwidth: Bandwidth | undefined;
  readonly hasPortMappings: boolean;
  readonly deviceId: string | undefined;
  readonly deviceInfoFile: string | undefined;
  readonly prevResult: CniResult | undefined;
  readonly validAttachments: readonly { containerID: string; ifname: string }[] | undefined;
  /** userspace-cni's `container`, which the application in the pod is told. */
  readonly userspace: { readonly container: JsonRecord; readonly kubeconfig: string | undefined } | undefined;
}

export const INTERFACE_KINDS = ['veth', 'tap', 'vhostuser'] as const;
export type InterfaceKind = (typeof INTERFACE_KINDS)[number];

export interface VhostConfig {
  /** Who makes the socket: `server` is the pod's application, `client` that of a socket of the switch. */
  readonly podRole: 'server' | 'client';
  /** Holds a folder for each container. */
  readonly sharedDir: string;
  readonly socketFile: string | undefined;
  readonly group: string | undefined;
  readonly mode: number | undefined;
}

export interface MirrorConfig {
  readonly name: string;
  /** Mirrors what comes from the pod. */
  readonly ingress: boolean;
  /** Mirrors what goes to the pod. */
  readonly egress: boolean;
  /** The pod is where mirrored packets go. */
  readonly output: boolean;
}

/** Bits a second, and bits. `ingress` is what goes to the pod (CNI conventions, "bandwidth"). */
export interface Bandwidth {
  readonly ingressRate: number;
  readonly ingressBurst: number;
  readonly egressRate: number;
  readonly egressBurst: number;
}

/** Interface types of the database that ovs-cni's `interface_type` may name. */
const OVS_TYPES: Readonly<Record<string, { kind: InterfaceKind; podRole?: 'server' | 'client' }>> = {
  system: { kind: 'veth' },
  afxdp: { kind: 'veth' },
  internal: { kind: 'tap' },
  tap: { kind: 'tap' },
  dpdkvhostuserclient: { kind: 'vhostuser', podRole: 'server' },
  dpdkvhostuser: { kind: 'vhostuser', podRole: 'client' },
};

export const DEFAULT_SHARED_DIR = '/var/lib/cni/usrspcni';
const MAX_OFPORT = 65279;
const PCI_ADDRESS = /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;
const PATH_PART = /^[A-Za-z0-9_.-]+$/;

/** The text on stdin as an object. Throws CniError with code 6. */
export function decodeConfig(text: string): JsonRecord {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new CniError(CNI_DECODING_FAILURE, 'cannot decode the configuration', (error as Error).message);
  }
  if (isRecord(json)) return json;
  throw new CniError(CNI_DECODING_FAILURE, 'cannot decode the configuration', 'it is not a JSON object');
}

/** Reads and checks the whole configuration. Throws CniError with code 1, 2 or 7. Pure. */
export function parseConfig(raw: JsonRecord, environment: Pick<CniEnvironment, 'args'>): CniConfig {
  const fields = new Fields(raw);
  const cniVersion = knownVersion(raw.cniVersion);
  const name = fields.text('name') ?? '';
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) throw invalidConfig(`"name": "${name}" is not a network's name`);
  const userspace = fields.has('host') ? parseUserspace(fields) : undefined;
  const type = parseType(fields, userspace);
  const config: CniConfig = {
    cniVersion,
    name,
    raw,
    bridge: userspace?.bridge ?? fields.text('bridge') ?? '',
    makesBridge: userspace !== undefined || fields.flag('createBridge'),
    remote: parseRemote(fields.text('socket_file')),
    kind: type.kind,
    ovsType: type.ovsType,
    vlan: userspace?.vlan ?? fields.integer('vlan', 0, 4095),
    trunk: parseTrunk(fields.objects('trunk')),
    mtu: fields.integer('mtu', 0, 65535) || undefined,
    ofportRequest: fields.integer('ofport_request', 0, MAX_OFPORT) || undefined,
    vhost: parseVhost(fields, type.podRole, userspace),
    mirrors: fields.objects('mirrors').map((one) => parseMirror(one, fields.text('type'))),
    ipam: parseIpam(fields),
    dns: fields.record('dns'),
    ...parseRuntime(fields, environment),
    prevResult: fields.has('prevResult') ? parseResult(fields.object('prevResult')!) : undefined,
    validAttachments: parseAttachments(fields),
    userspace: userspace && { container: userspace.container, kubeconfig: fields.text('kubeconfig') },
  };
  checkWhole(config);
  return config;
}

/** What cannot go together, or cannot be done. */
function checkWhole(config: CniConfig): void {
  const { kind, addresses, ipam, bandwidth, deviceId, mtu, bridge } = config;
  if (bridge === '') throw invalidConfig('"bridge" is missing');
  if (mtu !== undefined && mtu < 68) throw invalidConfig(`"mtu": ${mtu} is less than 68`);
  if (ipam === undefined) {
    const bare = addresses.find((address) => !address.includes('/'));
    if (bare !== undefined) throw invalidConfig(`address "${bare}" has no prefix length, and there is no "ipam"`);
  }
  if (kind === 'vhostuser' && bandwidth !== undefined && bandwidth.ingressRate > 0) {
    throw unsupported('runtimeConfig.bandwidth.ingressRate', bandwidth.ingressRate, 'not on a vhost-user port');
  }
  if (deviceId !== undefined && PCI_ADDRESS.test(deviceId)) {
    throw unsupported('deviceID', deviceId, 'virtual functions are not supported');
  }
  if (deviceId !== undefined && kind !== 'vhostuser') throw unsupported('deviceID', deviceId, 'only for vhostuser');
}

function unsupported(key: string, value: unknown, why: string): CniError {
  return new CniError(CNI_UNSUPPORTED_FIELD, `unsupported field "${key}": ${JSON.stringify(value)}`, why);
}

interface Userspace {
  readonly bridge: string;
  readonly vlan: number | undefined;
  readonly host: Fields | undefined;
  readonly container: JsonRecord;
  readonly podRole: 'server' | 'client';
}

/** userspace-cni's `host` and `container`, each of which may say who makes the socket. */
function parseUserspace(fields: Fields): Userspace {
  const host = fields.object('host')!;
  const container = fields.object('container');
  const engine = host.text('engine');
  if (engine !== 'ovs-dpdk') throw unsupported('host.engine', engine ?? '', 'only ovs-dpdk');
  if (host.text('iftype') !== 'vhostuser')
    throw unsupported('host.iftype', host.text('iftype') ?? '', 'only vhostuser');
  const netType = host.text('netType') ?? 'bridge';
  if (netType !== 'bridge') throw unsupported('host.netType', netType, 'only bridge');
  const hostRole = host.object('vhost')?.oneOf('mode', ['client', 'server']) ?? 'server';
  const podRole = hostRole === 'client' ? 'server' : 'client';
  const given = container?.object('vhost')?.oneOf('mode', ['client', 'server']) ?? podRole;
  if (given !== podRole) throw invalidConfig(`"host.vhost.mode" and "container.vhost.mode" are both "${given}"`);
  const bridge = host.object('bridge');
  return {
    bridge: bridge?.text('bridgeName') ?? 'br0',
    vlan: bridge?.integer('vlanId', 0, 4095) || undefined,
    host: host.object('vhost'),
    container: fields.record('container') ?? {},
    podRole,
  };
}

function parseType(fields: Fields, userspace: Userspace | undefined) {
  if (userspace) return { kind: 'vhostuser' as const, ovsType: '', podRole: userspace.podRole };
  const kind = fields.oneOf('iftype', INTERFACE_KINDS);
  const name = fields.text('interface_type');
  if (name === undefined) return { kind: kind ?? 'veth', ovsType: '' };
  const known = Object.hasOwn(OVS_TYPES, name) ? OVS_TYPES[name]! : undefined;
  if (!known) throw unsupported('interface_type', name, `one of ${Object.keys(OVS_TYPES).join(', ')}`);
  if (kind !== undefined && kind !== known.kind) {
    throw invalidConfig(`"interface_type": "${name}" does not go with "iftype": "${kind}"`);
  }
  return { ...known, ovsType: name === 'afxdp' ? name : '' };
}

/** ovs-cni's rule: without a type it is a path. */
function parseRemote(text: string | undefined): string | undefined {
  if (text === undefined || /^(unix|tcp|ssl):/.test(text)) return text;
  return `unix:${text}`;
}

function parseTrunk(entries: readonly Fields[]): number[] {
  const vlans = entries.flatMap((entry) => {
    const [id, from, to] = ['id', 'minID', 'maxID'].map((name) => entry.integer(name, 0, 4095));
    if (from !== undefined || to !== undefined) {
      if (from === undefined || to === undefined || from > to)
        throw invalidConfig('"trunk": minID and maxID do not fit');
      const range = Array.from({ length: to - from + 1 }, (_, i) => from + i);
      return id === undefined ? range : [id, ...range];
    }
    if (id === undefined) throw invalidConfig('"trunk": an entry has neither id nor minID and maxID');
    return [id];
  });
  return [...new Set(vlans)].sort((a, b) => a - b);
}

function parseVhost(fields: Fields, role: 'server' | 'client' | undefined, userspace?: Userspace): VhostConfig {
  const own = userspace ? userspace.host : fields.object('vhost');
  const podRole = userspace?.podRole ?? own?.oneOf('mode', ['server', 'client']) ?? role ?? 'server';
  if (role !== undefined && role !== podRole) throw invalidConfig('"vhost.mode" does not go with "interface_type"');
  const sharedDir = fields.text('sharedDir') ?? DEFAULT_SHARED_DIR;
  if (!sharedDir.startsWith('/')) throw invalidConfig(`"sharedDir": "${sharedDir}" is not absolute`);
  const socketFile = own?.text('socketfile');
  if (socketFile !== undefined && (!PATH_PART.test(socketFile) || /^\.+$/.test(socketFile))) {
    throw invalidConfig(`"vhost.socketfile": "${socketFile}" is not a file's name`);
  }
  const group = own?.text('group');
  const mode = own?.text('permissions');
  if (mode !== undefined && !/^0?[0-7]{3}$/.test(mode)) {
    throw invalidConfig(`"vhost.permissions": "${mode}" is not an octal mode such as "0660"`);
  }
  return { podRole, sharedDir, socketFile, group, mode: mode === undefined ? undefined : Number.parseInt(mode, 8) };
}

/** ovs-cni has the consumer of a mirror as a plugin of its own. */
function parseMirror(fields: Fields, type: string | undefined): MirrorConfig {
  const name = fields.text('name');
  if (name === undefined) throw invalidConfig('"mirrors": a mirror has no name');
  const mirror = { ingress: fields.flag('ingress'), egress: fields.flag('egress') };
  const output = fields.flag('output') || type === 'ovs-mirror-consumer';
  if (output === (mirror.ingress || mirror.egress)) {
    throw invalidConfig(`"mirrors": "${name}" needs "ingress" or "egress", or else "output"`);
  }
  return { name, ...mirror, output };
}

function parseIpam(fields: Fields): string | undefined {
  const type = fields.object('ipam')?.text('type');
  if (type !== undefined && (!PATH_PART.test(type) || /^\.+$/.test(type))) {
    throw invalidConfig(`"ipam.type": "${type}" is not a plugin's name`);
  }
  return type;
}

/** Capabilities (`runtimeConfig`), `args.cni` and CNI_ARGS, in this order where they say the same. */
function parseRuntime(fields: Fields, { args }: Pick<CniEnvironment, 'args'>) {
  const runtime = fields.object('runtimeConfig');
  const passed = lowerCase(fields.object('args')?.record('cni') ?? {});
  const text = (name: string) => (typeof passed[name] === 'string' ? passed[name] : args.get(name)) || undefined;
  const mac = (runtime?.text('mac') ?? text('mac'))?.toLowerCase();
  const ips = runtime?.has('ips') ? runtime.texts('ips') : new Fields(passed, 'args.cni.').texts('ips');
  for (const error of [mac === undefined ? undefined : macError(mac), ...ips.map(addressError)]) {
    if (error !== undefined) throw invalidConfig(error);
  }
  const deviceInfoFile = runtime?.text('CNIDeviceInfoFile');
  if (deviceInfoFile !== undefined && !deviceInfoFile.startsWith('/')) {
    throw invalidConfig(`"runtimeConfig.CNIDeviceInfoFile": "${deviceInfoFile}" is not absolute`);
  }
  return {
    mac,
    addresses: ips,
    ifaceId: text('ovnport'),
    bandwidth: parseBandwidth(runtime?.object('bandwidth')),
    hasPortMappings: (runtime?.objects('portMappings').length ?? 0) > 0,
    deviceId: parseDeviceId(runtime?.text('deviceID') ?? fields.text('deviceID')),
    deviceInfoFile,
  };
}

function parseDeviceId(text: string | undefined): string | undefined {
  if (text !== undefined && !PCI_ADDRESS.test(text) && (!PATH_PART.test(text) || /^\.+$/.test(text))) {
    throw invalidConfig(`"deviceID": "${text}" is not a device's id`);
  }
  return text;
}

const lowerCase = (record: JsonRecord): JsonRecord =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key.toLowerCase(), value]));

function parseBandwidth(fields: Fields | undefined): Bandwidth | undefined {
  if (!fields) return undefined;
  const bits = (name: string) => fields.integer(name, 0, Number.MAX_SAFE_INTEGER) ?? 0;
  return {
    ingressRate: bits('ingressRate'),
    ingressBurst: bits('ingressBurst'),
    egressRate: bits('egressRate'),
    egressBurst: bits('egressBurst'),
  };
}

function parseAttachments(fields: Fields) {
  const key = 'cni.dev/valid-attachments';
  if (!fields.has(key)) return undefined;
  return fields.objects(key).map((one) => ({
    containerID: one.text('containerID') ?? '',
    ifname: one.text('ifname') ?? '',
  }));
}

/** Whether a version has GC and STATUS. */
export const hasGc = (version: CniVersion): boolean => isAtLeast(version, '1.1.0');

/** ovs-cni's two plugins that have nothing but mirrors to see to. */
export const isMirrorPlugin = ({ raw }: Pick<CniConfig, 'raw'>): boolean =>
  raw.type === 'ovs-mirror-producer' || raw.type === 'ovs-mirror-consumer';
