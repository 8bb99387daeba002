import { coverageCounter } from '../base/coverage.ts';
import { strerror } from '../base/errno.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { setVlanLimit, VLAN_LIMIT_DEFAULT } from '../flow/extract.ts';
import { type Netdev, NetdevError } from '../netdev/netdev.ts';
import { isTunnelPortName } from '../netdev/tunnel-config.ts';
import { OFPP_LOCAL } from '../ofproto/ofproto.ts';
import {
  defaultBridgeMac,
  formatDatapathId,
  formatMac,
  isMulticast,
  isZero,
  macToDatapathId,
  parseDatapathId,
  parseMac,
  pickBridgeMac,
} from './address.ts';
import type { Bridges, RunningBridge, RunningInterface, SwitchDeps } from './bridges.ts';
import type { WantedBridge, WantedConfig, WantedInterface, WantedPort } from './config.ts';
import { datapathKey, type Step } from './config-plan.ts';
import { datapathConfig, readUint, vhostSockDir } from './datapath-config.ts';

/** Carries out the steps of a plan. A step that fails leaves its reason in `state.errors` and in the log, and the others go on. */

const log = vlogModule('bridge');
const netdevLog = vlogModule('netdev');

/** Names of the datapaths' own ports: those that tunnels share, whatever follows, and one a datapath type. */
const isReservedName = (name: string, datapathTypes: readonly string[]): boolean =>
  isTunnelPortName(name) || datapathTypes.some((type) => name === `ovs-${type}`);

const rateLimit = new VlogRateLimit(1, 5);
const reconfigures = coverageCounter('bridge_reconfigure');

const DEFAULT_FLOW_LIMIT = 200_000;
const DEFAULT_MAX_IDLE_MS = 10_000;
const DEFAULT_MAX_REVALIDATOR_MS = 500;
const DEFAULT_MAC_AGING_S = 300;
const DEFAULT_MAC_TABLE_SIZE = 8192;

export async function applyPlan(steps: readonly Step[], state: Bridges, deps: SwitchDeps): Promise<void> {
  reconfigures.inc();
  const apply = new Apply(state, deps);
  for (const step of steps) await apply.run(step);
  followMtu(state);
}

/** Interfaces whose port has left the datapath behind our back, or whose device is gone, are no longer there: the next plan puts them back. */
export async function noticeVanished(state: Bridges): Promise<void> {
  for (const bridge of state.bridges.values()) {
    const present = new Set(bridge.ofproto.netdevs());
    for (const iface of [...bridge.interfaces.values()]) {
      const isThere = present.has(iface.netdev);
      if (isThere && !iface.netdev.isGone?.()) continue;
      bridge.interfaces.delete(iface.name);
      if (isThere) await bridge.ofproto.portDel(iface.ofport as typeof OFPP_LOCAL);
      await iface.netdev.close();
    }
  }
}

const ETH_PAYLOAD_MAX = 1500;

/** The internal ports of a bridge have the least MTU of its other ports, unless one is asked for. */
export function followMtu(state: Bridges): void {
  for (const bridge of state.bridges.values()) {
    const all = [...bridge.interfaces.values()];
    const follows = (i: RunningInterface) =>
      (i.type === 'internal' || i.type === 'patch') && i.wanted.mtuRequest === undefined;
    const least = Math.min(...all.filter((i) => !follows(i)).map((i) => i.netdev.mtu()));
    const min = Number.isFinite(least) ? least : ETH_PAYLOAD_MAX;
    const moved = min !== bridge.minMtu;
    bridge.minMtu = min;
    for (const i of all) {
      if (!follows(i) || i.type === 'patch') continue;
      const mtu = i.netdev.mtu();
      if (mtu !== min && (moved || mtu > min)) i.netdev.setMtu(min);
    }
  }
}

/** Takes everything down: at the end of the program, or when another vswitchd has the lock. Without `cleanup` the internal ports stay with the
 *  host, so that its addresses outlive a restart. */
export async function destroyBridges(state: Bridges, deps: SwitchDeps, cleanup = false): Promise<void> {
  const apply = new Apply(state, deps, !cleanup);
  for (const bridge of [...state.bridges.keys()]) await apply.run({ type: 'delete-bridge', bridge });
}

class Apply {
  readonly #state: Bridges;
  readonly #deps: SwitchDeps;
  /** Why bridges of this plan did not come about. */
  readonly #bridgeErrors = new Map<string, string>();

  readonly #keepInternal: boolean;

  constructor(state: Bridges, deps: SwitchDeps, keepInternal = false) {
    this.#state = state;
    this.#deps = deps;
    this.#keepInternal = keepInternal;
  }

  async run(step: Step): Promise<void> {
    switch (step.type) {
      case 'delete-bridge':
        return this.#deleteBridge(this.#state.bridges.get(step.bridge));
      case 'delete-interface':
        return this.#deleteInterface(this.#state.bridges.get(step.bridge), step.interface);
      case 'delete-port':
        return this.#deletePort(this.#state.bridges.get(step.bridge), step.port);
      case 'configure-datapath':
        return this.#configureDatapath(step.config);
      case 'add-bridge':
        return this.#addBridge(step.bridge);
      case 'configure-interface':
        return this.#configureInterface(this.#state.bridges.get(step.bridge), step.interface);
      case 'add-interface':
        return this.#addInterface(step.bridge, step.port, step.interface);
      case 'configure-bridge':
        return this.#configureBridge(this.#state.bridges.get(step.bridge.name), step.bridge);
      case 'configure-port':
        return this.#configurePort(this.#state.bridges.get(step.bridge), step.port);
    }
  }

  async #addBridge(wanted: WantedBridge): Promise<void> {
    const mac = defaultBridgeMac(wanted.uuid);
    try {
      const backend = await this.#deps.datapath(wanted.datapathType);
      const ofproto = backend.createOfproto(wanted.name, macToDatapathId(mac));
      this.#state.bridges.set(wanted.name, {
        name: wanted.name,
        datapathType: wanted.datapathType,
        interfaces: new Map(),
        ports: new Map(),
        wanted: undefined,
        ofproto,
        mac,
        minMtu: ETH_PAYLOAD_MAX,
      });
      ofproto.onStatusChange = () => this.#state.onNetdevChange();
      await ofproto.listenServices();
    } catch (e) {
      const error = `failed to create bridge ${wanted.name}: ${strerror(e)}`;
      log.err(error);
      this.#bridgeErrors.set(wanted.name, error);
    }
  }

  async #deleteBridge(bridge: RunningBridge | undefined): Promise<void> {
    if (!bridge) return;
    for (const name of [...bridge.interfaces.keys()]) await this.#deleteInterface(bridge, name);
    this.#state.bridges.delete(bridge.name);
    await bridge.ofproto.destroy();
  }

  async #addInterface(bridgeName: string, port: string, wanted: WantedInterface): Promise<void> {
    if (wanted.uuid !== undefined) this.#state.errors.delete(wanted.uuid);
    try {
      const bridge = this.#state.bridges.get(bridgeName);
      if (!bridge) throw new NetdevError(this.#bridgeErrors.get(bridgeName) ?? `there is no bridge ${bridgeName}`);
      const netdev = await this.#openNetdev(wanted, bridge.datapathType);
      if (wanted.mtuRequest !== undefined) this.#setMtu(netdev, wanted.mtuRequest);
      const ofport = await this.#addToOfproto(bridge, netdev, wanted);
      bridge.interfaces.set(wanted.name, { name: wanted.name, port, type: wanted.type, ofport, wanted, netdev });
      this.#setPatchPeer(bridge, wanted, ofport);
      this.#setInterfaceMac(bridge.interfaces.get(wanted.name)!);
      netdev.onChange(() => this.#state.onNetdevChange());
      log.info(`bridge ${bridge.name}: added interface ${wanted.name} on port ${shortPort(ofport)}`);
    } catch (e) {
      if (!(e instanceof NetdevError)) log.err(`interface ${wanted.name}: ${(e as Error).stack}`);
      if (wanted.uuid !== undefined) this.#state.errors.set(wanted.uuid, e instanceof Error ? e.message : String(e));
    }
  }

  async #openNetdev(wanted: WantedInterface, datapathType: string): Promise<Netdev> {
    if (isReservedName(wanted.name, this.#deps.datapathTypes())) {
      log.warn(`could not create interface ${wanted.name}, name is reserved`);
      // Open vSwitch says this in the log only.
      throw new NetdevError('');
    }
    const provider = this.#deps.netdevProvider(wanted.type, datapathType);
    if (!provider) netdevLog.warn(`could not create netdev ${wanted.name} of unknown type ${wanted.type}`);
    let reason = 'Address family not supported by protocol';
    try {
      if (provider) return await provider.open(wanted.name, wanted.options, this.#state.vhostConfig);
    } catch (e) {
      if (e instanceof NetdevError) {
        if (!e.message.startsWith('could not open')) {
          netdevLog.warn(`${wanted.name}: could not set configuration (${e.reason})`);
        }
        throw e;
      }
      reason = strerror(e);
    }
    const text = `could not open network device ${wanted.name} (${reason})`;
    log.warn(text);
    throw new NetdevError(text);
  }

  async #addToOfproto(bridge: RunningBridge, netdev: Netdev, wanted: WantedInterface): Promise<number> {
    const ofportRequest = wanted.ofportRequest ?? this.#state.ofportHints.get(wanted.uuid ?? '');
    try {
      return await bridge.ofproto.portAdd(netdev, { ofportRequest });
    } catch (e) {
      await netdev.close();
      const text = `could not add network device ${wanted.name} to ofproto (${strerror(e)})`;
      log.warnRl(rateLimit, text);
      throw new NetdevError(text);
    }
  }

  #setMtu(netdev: Netdev, mtu: number): void {
    const error = netdev.setMtu(mtu);
    if (error !== undefined) netdevLog.err(`failed to set MTU for network device ${netdev.name}: ${error}`);
  }

  #setPatchPeer(bridge: RunningBridge, wanted: WantedInterface, ofport: number): void {
    if (wanted.type === 'patch') bridge.ofproto.setPatchPeer(ofport as typeof OFPP_LOCAL, wanted.options.get('peer'));
  }

  /** Interface.mac counts for internal ports only; the bridge's own has its address from the bridge. */
  #setInterfaceMac({ name, type, ofport, wanted, netdev }: RunningInterface): void {
    const mac = type === 'internal' ? parseMac(wanted.mac) : undefined;
    if (!mac) return;
    if (ofport === OFPP_LOCAL) {
      log.err(`interface ${name}: ignoring mac in Interface record (use Bridge record to set local port's mac)`);
    } else if (isMulticast(mac)) {
      log.err(`interface ${name}: cannot set MAC to multicast address`);
    } else if (isZero(mac)) {
      log.err(`interface ${name}: cannot set MAC to all zero address`);
    } else {
      attempt(`interface ${name}: setting MAC failed`, () => netdev.setMac(mac));
    }
  }

  /** New options that a device refuses make it go; it is then tried anew, so that the error gets to its row. */
  async #configureInterface(bridge: RunningBridge | undefined, wanted: WantedInterface): Promise<void> {
    const iface = bridge?.interfaces.get(wanted.name);
    if (!bridge || !iface) return;
    const error = iface.netdev.setOptions(wanted.options);
    if (error !== undefined) {
      await this.#deleteInterface(bridge, wanted.name);
      await this.#addInterface(bridge.name, iface.port, wanted);
      // The bundle has lost it; what else is new in the port has its own step.
      const port = bridge.ports.get(iface.port);
      return port && this.#configurePort(bridge, port);
    }
    if (wanted.mtuRequest !== undefined && wanted.mtuRequest !== iface.netdev.mtu()) {
      this.#setMtu(iface.netdev, wanted.mtuRequest);
    }
    iface.wanted = wanted;
    this.#setPatchPeer(bridge, wanted, iface.ofport);
    this.#setInterfaceMac(iface);
  }

  async #deleteInterface(bridge: RunningBridge | undefined, name: string): Promise<void> {
    const iface = bridge?.interfaces.get(name);
    if (!bridge || !iface) return;
    log.info(`bridge ${bridge.name}: deleted interface ${name} on port ${shortPort(iface.ofport)}`);
    bridge.interfaces.delete(name);
    await bridge.ofproto.portDel(iface.ofport as typeof OFPP_LOCAL);
    const { netdev } = iface;
    if (this.#keepInternal && iface.type === 'internal' && netdev.detach) await netdev.detach();
    else await netdev.close();
  }

  #deletePort(bridge: RunningBridge | undefined, port: string): void {
    if (bridge?.ports.delete(port)) bridge.ofproto.bundleDel(port);
  }

  #configurePort(bridge: RunningBridge | undefined, wanted: WantedPort): void {
    if (!bridge) return;
    const members = wanted.interfaces.map((i) => bridge.interfaces.get(i.name)).filter((i) => i !== undefined);
    if (members.length === 0) {
      this.#deletePort(bridge, wanted.name);
      return;
    }
    const lacpSysId = wanted.lacp && (wanted.lacp.sysId ?? bridge.mac);
    bridge.ofproto.bundleSet(wanted.name, {
      ports: members.map((i) => i.ofport as typeof OFPP_LOCAL),
      vlanMode: wanted.vlanMode,
      tag: wanted.tag,
      trunks: wanted.trunks,
      cvlans: wanted.cvlans,
      qinqEthertype: wanted.qinqEthertype,
      priorityTags: wanted.priorityTags,
      protected: wanted.protected,
      bond: members.length > 1 ? wanted.bond : undefined,
      lacp: wanted.lacp &&
        lacpSysId && {
          ...wanted.lacp,
          sysId: lacpSysId,
          // In the order of the members that are there.
          members: members.map((i) => wanted.lacp!.members[wanted.interfaces.findIndex((w) => w.name === i.name)]!),
        },
    });
    const dscp = new Map(wanted.qos?.queues.flatMap((q) => (q.dscp === undefined ? [] : [[q.id, q.dscp] as const])));
    for (const i of members) {
      bridge.ofproto.setPolicing(i.ofport as typeof OFPP_LOCAL, i.wanted.policing);
      bridge.ofproto.setQueues(i.ofport as typeof OFPP_LOCAL, dscp);
    }
    bridge.ports.set(wanted.name, wanted);
  }

  #configureBridge(bridge: RunningBridge | undefined, wanted: WantedBridge): void {
    if (!bridge) return;
    const { ofproto } = bridge;
    const { otherConfig } = wanted;
    const before = formatMac(bridge.mac);
    this.#pickAddress(bridge, wanted);
    if (formatMac(bridge.mac) !== before)
      // The address is the system ID of LACP.
      for (const port of bridge.ports.values()) if (port.lacp) this.#configurePort(bridge, port);
    const datapathId = parseDatapathId(otherConfig.get('datapath-id')) ?? macToDatapathId(bridge.mac);
    if (!bridge.wanted || datapathId !== ofproto.datapathId()) {
      log.info(`bridge ${bridge.name}: using datapath ID ${formatDatapathId(datapathId)}`);
      ofproto.setDatapathId(datapathId);
    }
    ofproto.configureMac(
      readUint(otherConfig, 'mac-aging-time', DEFAULT_MAC_AGING_S),
      readUint(otherConfig, 'mac-table-size', DEFAULT_MAC_TABLE_SIZE),
    );
    ofproto.setForwardBpdu(otherConfig.get('forward-bpdu') === 'true');
    ofproto.setFloodVlans(wanted.floodVlans);
    ofproto.setMirrors(wanted.mirrors);
    ofproto.configureTables(wanted.tables);
    const dpDesc = otherConfig.get('dp-desc');
    const serialDesc = otherConfig.get('dp-sn');
    ofproto.setDesc({ ...(dpDesc !== undefined && { dpDesc }), ...(serialDesc !== undefined && { serialDesc }) });
    ofproto.setProtocols(wanted.protocols);
    ofproto.setControllers(this.#allowedControllers(wanted));
    const queue = readUint(otherConfig, 'in-band-queue', -1);
    ofproto.setInBandQueue(queue < 0 ? undefined : queue);
    ofproto.setFailMode(wanted.failMode);
    bridge.wanted = wanted;
  }

  /** other_config:hwaddr, else the lowest of the ports' addresses, else its own. The local port gets it. */
  #pickAddress(bridge: RunningBridge, wanted: WantedBridge): void {
    const hwaddr = parseMac(wanted.otherConfig.get('hwaddr'));
    let mac: Uint8Array | undefined;
    if (hwaddr && isMulticast(hwaddr)) {
      log.err(`bridge ${bridge.name}: cannot set MAC address to multicast address ${formatMac(hwaddr)}`);
    } else if (hwaddr && isZero(hwaddr)) {
      log.err(`bridge ${bridge.name}: cannot set MAC address to zero`);
    } else {
      mac = hwaddr;
    }
    const others = [...bridge.interfaces.values()].filter((i) => i.ofport !== OFPP_LOCAL);
    bridge.mac = mac ?? pickBridgeMac(firstOfEachPort(others, wanted), defaultBridgeMac(wanted.uuid));
    const local = bridge.interfaces.get(bridge.name);
    if (local)
      attempt(`bridge ${bridge.name}: failed to set bridge Ethernet address`, () => local.netdev.setMac(bridge.mac));
  }

  /** A database that others write must not make the switch reach for any socket of the host. */
  #allowedControllers(wanted: WantedBridge): WantedBridge['controllers'][number]['config'][] {
    const { rundir } = this.#deps;
    return wanted.controllers
      .map((c) => c.config)
      .filter(({ target }) => {
        if (target.startsWith('unix:') && target.includes('/') && !target.startsWith(`unix:${rundir}/`)) {
          log.errRl(
            rateLimit,
            `bridge ${wanted.name}: Not connecting to socket controller "${target}" due to possibility for remote exploit.  Instead, specify socket in permitted directory "unix:${rundir}/" or connect to "unix:${rundir}/${wanted.name}.mgmt" (which is always available without special configuration).`,
          );
          return false;
        }
        const allowed = `punix:${rundir}/${wanted.name}.`;
        if (
          target.startsWith('punix:') &&
          (!target.startsWith(allowed) || target.slice(allowed.length).includes('/'))
        ) {
          log.errRl(
            rateLimit,
            `bridge ${wanted.name}: Not adding Unix domain socket controller "${target}" due to possibility of overwriting local files. Instead, specify path in permitted format "${allowed}*" or connect to "unix:${rundir}/${wanted.name}.mgmt" (which is always available without special configuration).`,
          );
          return false;
        }
        return true;
      });
  }

  async #configureDatapath(config: WantedConfig): Promise<void> {
    const { otherConfig } = config;
    logIgnored(otherConfig);
    if (setVlanLimit(readUint(otherConfig, 'vlan-limit', VLAN_LIMIT_DEFAULT)))
      for (const backend of this.#deps.backends()) backend.flush();
    this.#state.vhostConfig = { sockDir: vhostSockDir(otherConfig, this.#deps.rundir) };
    const key = datapathKey(config);
    for (const backend of this.#deps.backends()) {
      if (this.#state.configuredBackends.get(backend) === key) continue;
      this.#state.configuredBackends.set(backend, key);
      backend.setFlowLimit(readUint(otherConfig, 'flow-limit', DEFAULT_FLOW_LIMIT));
      backend.setMaxIdle(readUint(otherConfig, 'max-idle', DEFAULT_MAX_IDLE_MS));
      backend.setMaxRevalidator(readUint(otherConfig, 'max-revalidator', DEFAULT_MAX_REVALIDATOR_MS));
      backend.setBundleIdleTimeout(readUint(otherConfig, 'bundle-idle-timeout', 0) || undefined);
      backend.setTls(config.ssl && this.#deps.readTls(config.ssl));
      await backend.dpif.configure(datapathConfig(config));
    }
    this.#state.datapathKey = key;
  }
}

/** Settings that mean nothing here, each told once. */
const IGNORED: { [key: string]: string } = {
  'hw-offload': 'flows are not offloaded to hardware yet',
  'n-handler-threads': 'one thread handles upcalls',
  'n-revalidator-threads': 'one thread revalidates',
};
const toldIgnored = new Set<string>();

function logIgnored(otherConfig: WantedConfig['otherConfig']): void {
  for (const [key, reason] of Object.entries(IGNORED)) {
    const value = otherConfig.get(key);
    if (value === undefined || value === 'false' || toldIgnored.has(key)) continue;
    toldIgnored.add(key);
    log.info(`other_config:${key}=${value} is ignored: ${reason}`);
  }
}

/** The interface that stands for a Port with several is the first by name. */
function firstOfEachPort(interfaces: readonly RunningInterface[], { ports }: WantedBridge): Uint8Array[] {
  const first = new Map<string, RunningInterface>();
  for (const iface of interfaces) {
    const other = first.get(iface.port);
    if (!other || iface.name < other.name) first.set(iface.port, iface);
  }
  return [...first.values()].map((i) => {
    const own = ports.get(i.port)?.mac;
    return own && !isMulticast(Uint8Array.from(own)) ? Uint8Array.from(own) : i.netdev.mac();
  });
}

/** The 16-bit form of a port number that the database and the log use. */
export const shortPort = (ofport: number): number => ofport & 0xffff;

function attempt(what: string, act: () => void): void {
  try {
    act();
  } catch (e) {
    log.errRl(rateLimit, `${what} (${strerror(e)})`);
  }
}
