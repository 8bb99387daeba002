import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ovsRundir } from '../../base/dirs.ts';
import type { RowInput } from '../../ovsdb/idl.ts';
import { addressInUse } from '../attach/addresses.ts';
import { mustRun } from '../attach/command.ts';
import type { LinkSpec } from '../attach/link.ts';
import { commandStep, hasLink, ipv6Step, isIpv6, linkInside, setUpCommands, vethSteps } from '../attach/link.ts';
import { Netns } from '../attach/netns.ts';
import type { Step } from '../attach/steps.ts';
import { applySteps } from '../attach/steps.ts';
import { type CniCall, externalIds, idOf, podOf, portName, portOf } from './attachment.ts';
import { type Bandwidth, type CniConfig, isMirrorPlugin } from './config.ts';
import { Delegate } from './delegate.ts';
import {
  CNI_ATTACHED,
  CNI_INVALID_ENVIRONMENT,
  CNI_SWITCH,
  CNI_UNKNOWN_CONTAINER,
  CniError,
  invalidConfig,
} from './error.ts';
import { configurationData, configurationFile, deviceInfo, fileStep } from './files.ts';
import { KubernetesPod } from './kubernetes.ts';
import { mirrorSteps } from './mirror.ts';
import { portMapStep } from './port-map.ts';
import { removePort } from './remove.ts';
import { type CniInterface, type CniResult, EMPTY_RESULT } from './result.ts';
import { folderSteps, groupId, offerSocketStep, planSocket } from './socket.ts';

/** ADD: plan, then apply; when anything fails, all before it is taken back. */

export async function add(call: CniCall): Promise<CniResult> {
  const netns = openNetns(call.environment.netns);
  try {
    const { config } = call;
    if (config.prevResult && isMirrorPlugin(config)) return await addMirrors(call, config.prevResult);
    const host = config.prevResult && (await hostInterface(call, config.prevResult));
    if (config.prevResult && host) return await adopt(call, config.prevResult, host);
    return await attach(call, netns);
  } finally {
    netns.close();
  }
}

/** The pod's namespace. Throws CniError with code 3 or 4. */
export function openNetns(path: string): Netns {
  let netns: Netns;
  try {
    netns = Netns.open(path);
  } catch (error) {
    throw new CniError(CNI_UNKNOWN_CONTAINER, `CNI_NETNS ${path} is not there`, (error as Error).message);
  }
  if (!netns.isOurs()) return netns;
  netns.close();
  throw new CniError(CNI_INVALID_ENVIRONMENT, 'invalid environment variables', `CNI_NETNS ${path} is the host's own`);
}

/** The port that an earlier plugin of the chain made. */
export function mirroredPort({ db, config }: CniCall): string {
  const names = (config.prevResult?.interfaces ?? []).map(({ name }) => name);
  const port = db.ports().find(({ name, bridge }) => names.includes(name) && bridge === config.bridge);
  if (port) return port.name;
  throw invalidConfig(`"prevResult" has no interface that is a port of bridge ${config.bridge}`);
}

async function addMirrors(call: CniCall, prevResult: CniResult): Promise<CniResult> {
  const { db, config } = call;
  await applySteps(mirrorSteps(db, config.bridge, mirroredPort(call), config.mirrors));
  return prevResult;
}

/** In a chain: the host's end of the interface that an earlier plugin made. */
async function hostInterface({ run, environment }: CniCall, { interfaces }: CniResult): Promise<string | undefined> {
  const isMade = interfaces.some(({ name, sandbox }) => name === environment.ifname && sandbox !== undefined);
  if (!isMade) return undefined;
  for (const { name } of interfaces.filter(({ sandbox }) => sandbox === undefined).toReversed()) {
    if (await hasLink(run, name)) return name;
  }
  throw invalidConfig(`"prevResult" has ${environment.ifname}, but no end of it on this host`);
}

async function adopt(call: CniCall, prevResult: CniResult, device: string): Promise<CniResult> {
  const { db, config } = call;
  await checkBridge(call);
  const ids = portIds(call, { ...prevResult, interfaces: [] }, { isAdopted: true });
  await applySteps([
    ...portSteps(call, device, { external_ids: externalIds(ids) }),
    ...mirrorSteps(db, config.bridge, device, config.mirrors),
  ]);
  return prevResult;
}

/** Makes an interface of its own. */
async function attach(call: CniCall, netns: Netns): Promise<CniResult> {
  const { environment, config, db, run } = call;
  if (config.kind !== 'vhostuser' && (await linkInside({ run, netns }, environment.ifname))) {
    const details = `CNI_IFNAME: the container already has an interface ${environment.ifname}`;
    throw new CniError(CNI_INVALID_ENVIRONMENT, 'invalid environment variables', details);
  }
  await checkBridge(call);
  await removeStale(call);
  const ipam = config.ipam === undefined ? undefined : await Delegate.find(config.ipam, environment, config, run);
  const given = ipam ? await allocate(ipam) : staticAddresses(config);
  try {
    const used = addressInUse(
      db,
      { bridge: config.bridge, vlan: config.vlan },
      given.ips.map(({ address }) => address),
    );
    if (used !== undefined) throw new CniError(CNI_SWITCH, used);
    return await build(call, netns, { ...given, dns: config.dns ?? given.dns });
  } catch (error) {
    await ipam?.call('DEL').catch((cause: Error) => process.stderr.write(`${cause.message}\n`));
    throw error;
  }
}

async function checkBridge({ db, config }: CniCall): Promise<void> {
  if (config.makesBridge) await db.ensureBridge(config.bridge, config.kind === 'vhostuser' ? 'netdev' : undefined);
  else if (!db.hasBridge(config.bridge)) throw invalidConfig(`no bridge named ${config.bridge}`);
}

/** What is left of the same attachment when its device is gone (the host was started anew) would be in the way of the new one. */
async function removeStale(call: CniCall): Promise<void> {
  const { db, config, environment } = call;
  const port = portOf(db, config.name, idOf(environment));
  if (!port) return;
  if (config.kind === 'vhostuser') {
    const what = `${environment.ifname} of container ${environment.containerId}`;
    throw new CniError(
      CNI_ATTACHED,
      `${what} is attached already`,
      `port ${port.name} of bridge ${port.bridge}; DEL it first`,
    );
  }
  await removePort(call, port);
}

async function allocate(ipam: Delegate): Promise<CniResult> {
  try {
    const result = await ipam.call('ADD');
    if (result && result.ips.length > 0) return result;
    throw invalidConfig(`plugin "${ipam.type}" gives no addresses`);
  } catch (error) {
    await ipam.call('DEL').catch(() => {});
    throw error;
  }
}

const staticAddresses = ({ addresses }: CniConfig): CniResult => ({
  ...EMPTY_RESULT,
  ips: addresses.map((address) => ({ address })),
});

async function build(call: CniCall, netns: Netns, given: CniResult): Promise<CniResult> {
  const { config } = call;
  const plan = await { veth: planVeth, tap: planTap, vhostuser: planVhost }[config.kind](call, netns, given);
  const result = mergeResults(config.prevResult ?? EMPTY_RESULT, plan.interfaces, given);
  const shared = { result };
  const steps = [...plan.steps, ...mirrorSteps(call.db, config.bridge, plan.port, config.mirrors)];
  await applySteps([...steps, ...(plan.files?.(result) ?? []), ...(await afterwards(call, netns, shared))]);
  return shared.result;
}

interface Plan {
  readonly port: string;
  readonly interfaces: readonly CniInterface[];
  readonly steps: readonly Step[];
  /** What tells others of the result. */
  files?(result: CniResult): Step[];
}

/** Addresses belong to the last of the new interfaces, the pod's. */
function mergeResults(previous: CniResult, interfaces: readonly CniInterface[], given: CniResult): CniResult {
  const all = [...previous.interfaces, ...interfaces];
  return {
    interfaces: all,
    ips: [...previous.ips, ...given.ips.map((ip) => ({ ...ip, interface: all.length - 1 }))],
    routes: [...previous.routes, ...given.routes],
    dns: given.dns ?? previous.dns,
  };
}

/** The last steps: MAC addresses that the kernel chose are read, and port mappings are handed on. */
async function afterwards(call: CniCall, netns: Netns, shared: { result: CniResult }): Promise<Step[]> {
  const { config, environment, run } = call;
  const complete: Step = {
    what: 'read the addresses of the links',
    apply: async () => {
      const links = shared.result.interfaces.map((iface) => readLink(call, netns, iface));
      shared.result = { ...shared.result, interfaces: await Promise.all(links) };
    },
  };
  if (!config.hasPortMappings) return [complete];
  const portmap = await Delegate.find('portmap', environment, config, run);
  return [complete, portMapStep(portmap, () => shared.result)];
}

async function readLink({ run, config }: CniCall, netns: Netns, iface: CniInterface): Promise<CniInterface> {
  if (iface.mac !== undefined || iface.socketPath !== undefined) return iface;
  if (iface.sandbox !== undefined) {
    const link = await linkInside({ run, netns }, iface.name);
    return { ...iface, mac: link?.address, mtu: link?.mtu ?? config.mtu };
  }
  const { status, stdout } = await run(['ip', '-json', 'link', 'show', 'dev', iface.name]);
  const [link] = status === 0 ? (JSON.parse(stdout) as { address: string; mtu: number }[]) : [];
  return { ...iface, mac: link?.address, mtu: link?.mtu };
}

function linkSpec({ config, environment }: CniCall, hostName: string, given: CniResult): LinkSpec {
  const gateway = (dst: string) => given.ips.find((ip) => isIpv6(ip.address) === isIpv6(dst) && ip.gateway)?.gateway;
  return {
    hostName,
    name: environment.ifname,
    mtu: config.mtu,
    mac: config.mac,
    addresses: given.ips.map(({ address }) => address),
    routes: given.routes.map((route) => ({ ...route, gw: route.gw ?? gateway(route.dst) })),
  };
}

async function planVeth(call: CniCall, netns: Netns, given: CniResult): Promise<Plan> {
  const { config, environment, run } = call;
  const port = portName(idOf(environment), 'l');
  const link = vethSteps(linkSpec(call, port, given), { run, netns });
  const iface = { type: config.ovsType, external_ids: externalIds(portIds(call, given)) };
  return {
    port,
    interfaces: [{ name: port }, { name: environment.ifname, sandbox: environment.netns }],
    steps: [...link, ...shapingSteps(call, port), ...portSteps(call, port, iface)],
  };
}

/** What goes to the pod is held back where it enters the pair; what comes from it is policed by the switch. */
function shapingSteps({ config, run }: CniCall, device: string): Step[] {
  const { ingressRate = 0, ingressBurst = 0 } = config.bandwidth ?? {};
  if (ingressRate === 0) return [];
  // A tenth of a second's worth, and room for the largest segment.
  const burst = Math.max(Math.ceil((ingressBurst || ingressRate / 10) / 8), 65_536);
  const shape = ['rate', `${ingressRate}bit`, 'burst', `${burst}b`, 'latency', '25ms'];
  return [commandStep(['tc', 'qdisc', 'replace', 'dev', device, 'root', 'tbf', ...shape], run)];
}

/** A device of the switch, moved into the pod: it stays the switch's, and goes with its port. */
async function planTap(call: CniCall, netns: Netns, given: CniResult): Promise<Plan> {
  const { environment, run } = call;
  const port = portName(idOf(environment), 't');
  const spec = linkSpec(call, port, given);
  const { name, mtu, mac } = spec;
  const move: Step = {
    what: `move ${port} into the pod as ${name}`,
    apply: () =>
      netns.withProcess(async (pid) => {
        await mustRun(run, ['ip', 'link', 'set', 'dev', port, 'down']);
        await mustRun(run, ['ip', 'link', 'set', 'dev', port, 'netns', String(pid), 'name', name]);
      }),
  };
  const settings = [...(mtu === undefined ? [] : ['mtu', String(mtu)]), ...(mac === undefined ? [] : ['address', mac])];
  const commands = [
    ...(settings.length > 0 ? [netns.inside('ip', 'link', 'set', 'dev', name, ...settings)] : []),
    ...setUpCommands(spec, netns),
  ];
  const ipv6 = spec.addresses.some(isIpv6) ? [ipv6Step(name, { run, netns })] : [];
  const iface = { type: 'internal', external_ids: externalIds(portIds(call, given)) };
  return {
    port,
    interfaces: [{ name, sandbox: environment.netns }],
    steps: [...portSteps(call, port, iface), move, ...ipv6, ...commands.map((argv) => commandStep(argv, run))],
  };
}

async function planVhost(call: CniCall, _netns: Netns, given: CniResult): Promise<Plan> {
  const { config, environment, run } = call;
  const id = idOf(environment);
  const port = portName(id, 'v');
  const gid = await groupId(config.vhost.group, run);
  const kubernetes = await kubernetesPod(call);
  const plan = planSocket(config, id, kubernetes?.sharedFolder());
  const isPodServer = config.vhost.podRole === 'server';
  const mac = config.mac ?? randomMac();
  const iface: RowInput = {
    type: isPodServer ? 'dpdkvhostuserclient' : 'dpdkvhostuser',
    external_ids: externalIds({ ...portIds(call, given, { socket: plan.socket }), mac }),
    ...(isPodServer && { options: { 'vhost-server-path': plan.address } }),
    ...(config.mtu !== undefined && { mtu_request: config.mtu }),
  };
  const offer = isPodServer ? [] : [offerSocketStep(join(ovsRundir(), port), plan, run, config, gid)];
  const socketFile = plan.socket.slice(plan.folder.length + 1);
  return {
    port,
    interfaces: [
      { name: environment.ifname, sandbox: environment.netns, mac, mtu: config.mtu, socketPath: plan.socket },
    ],
    steps: [...folderSteps(plan, config, gid), ...portSteps(call, port, iface), ...offer],
    files: (result) => [
      ...(config.deviceInfoFile === undefined
        ? []
        : [fileStep(config.deviceInfoFile, deviceInfo(config.vhost.podRole, plan.socket))]),
      ...tellSteps(call, plan.folder, configurationData(config, id, socketFile, result), kubernetes),
    ],
  };
}

/** The pod as the Kubernetes API knows it, where userspace-cni's configuration says how to ask. */
async function kubernetesPod({ config, environment }: CniCall): Promise<KubernetesPod | undefined> {
  const [kubeconfig, pod] = [config.userspace?.kubeconfig, podOf(environment)];
  return kubeconfig === undefined || pod === undefined ? undefined : await KubernetesPod.find(kubeconfig, pod);
}

/** userspace-cni tells the application by an annotation, or without Kubernetes by a file beside the socket. */
function tellSteps({ config, environment }: CniCall, folder: string, data: object, pod?: KubernetesPod): Step[] {
  if (!config.userspace) return [];
  if (!pod) return [fileStep(configurationFile(folder, idOf(environment)), data)];
  return [{ what: 'annotate the pod', apply: () => pod.tell(data) }];
}

/** Of its own, and no group's (IEEE 802-2014, 8.2). */
function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = (bytes[0]! | 2) & 0xfe;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function portIds(call: CniCall, given: CniResult, extra: { socket?: string; isAdopted?: boolean } = {}) {
  const { config, environment } = call;
  return {
    ...idOf(environment),
    network: config.name,
    netns: environment.netns,
    addresses: given.ips.map(({ address }) => address),
    mac: config.mac,
    ifaceId: config.ifaceId,
    pod: podOf(environment),
    socket: extra.socket,
    isAdopted: extra.isAdopted ?? false,
  };
}

function portSteps({ db, config }: CniCall, name: string, iface: RowInput): Step[] {
  const ofport = config.ofportRequest === undefined ? {} : { ofport_request: config.ofportRequest };
  const row = { ...iface, ...ofport, ...policingColumns(config.bandwidth) };
  return [
    {
      what: `add port ${name}`,
      apply: async () => {
        await db.addPort({ bridge: config.bridge, name, port: vlanColumns(config), iface: row });
      },
      undo: () => db.deletePort(name, false),
    },
  ];
}

/** A VLAN alone: an access port; with a trunk: the native VLAN of the trunk. Pure. */
export function vlanColumns({ vlan, trunk }: Pick<CniConfig, 'vlan' | 'trunk'>): RowInput {
  if (trunk.length === 0) return vlan === undefined ? {} : { tag: vlan, vlan_mode: 'access' };
  return {
    trunks: trunk,
    vlan_mode: vlan === undefined ? 'trunk' : 'native-untagged',
    ...(vlan !== undefined && { tag: vlan }),
  };
}

/** The database counts in kilobits. Pure. */
export function policingColumns(bandwidth: Bandwidth | undefined): RowInput {
  const { egressRate = 0, egressBurst = 0 } = bandwidth ?? {};
  if (egressRate === 0) return {};
  return {
    ingress_policing_rate: Math.max(1, Math.round(egressRate / 1000)),
    ingress_policing_burst: Math.round(egressBurst / 1000),
  };
}
