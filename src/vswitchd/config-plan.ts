import type { WantedBridge, WantedConfig, WantedInterface, WantedPort } from './config.ts';

/**
 * From what is there to what is wanted: an ordered list of steps. Pure. Deletions come first, for what is added may need what they free
 * (a name, a port number); then datapath settings, bridges, interfaces (those that ask for a port number before the others), ports.
 */

export interface CurrentInterface {
  name: string;
  /** Name of the Port it belongs to. */
  port: string;
  type: string;
  ofport: number;
  /** What it was last configured with. */
  wanted: WantedInterface;
}

export interface CurrentBridge {
  name: string;
  datapathType: string;
  interfaces: ReadonlyMap<string, CurrentInterface>;
  /** Ports as they were last configured; one whose interfaces all failed is not in here. */
  ports: ReadonlyMap<string, WantedPort>;
  /** What it was last configured with. */
  wanted: WantedBridge | undefined;
}

export interface CurrentConfig {
  bridges: ReadonlyMap<string, CurrentBridge>;
  /** Settings of the datapath that were last applied, as `datapathKey` made them. */
  datapathKey: string;
}

export type Step =
  | { type: 'delete-bridge'; bridge: string }
  | { type: 'delete-interface'; bridge: string; interface: string }
  | { type: 'delete-port'; bridge: string; port: string }
  | { type: 'configure-datapath'; config: WantedConfig }
  | { type: 'add-bridge'; bridge: WantedBridge }
  | { type: 'configure-interface'; bridge: string; interface: WantedInterface }
  | { type: 'add-interface'; bridge: string; port: string; interface: WantedInterface }
  | { type: 'configure-bridge'; bridge: WantedBridge }
  | { type: 'configure-port'; bridge: string; port: WantedPort };

type AddStep = Extract<Step, { type: 'add-interface' }>;

/** OFPP_LOCAL: the bridge's own port keeps its number whatever is asked for. */
const OFPP_LOCAL = 0xfffffffe;
/** Numbers that an ofport_request may have (OFPP_MAX is 0xff00). */
const OFPP_MAX = 0xff00;

export function planReconfigure(current: CurrentConfig, wanted: WantedConfig): Step[] {
  const deletions: Step[] = [];
  const changes: Step[] = [];
  const bridgeAdditions: Step[] = [];
  const interfaceAdditions: Step[] = [];
  const completions: Step[] = [];
  for (const bridge of current.bridges.values()) {
    const next = wanted.bridges.get(bridge.name);
    if (!next || next.datapathType !== bridge.datapathType)
      deletions.push({ type: 'delete-bridge', bridge: bridge.name });
  }
  for (const bridge of wanted.bridges.values()) {
    const existing = current.bridges.get(bridge.name);
    const kept = existing?.datapathType === bridge.datapathType ? existing : undefined;
    if (!kept) bridgeAdditions.push({ type: 'add-bridge', bridge });
    const gone = kept ? planDeletions(kept, bridge) : new Set<string>();
    for (const name of gone) deletions.push({ type: 'delete-interface', bridge: bridge.name, interface: name });
    for (const port of kept?.ports.keys() ?? []) {
      if (!bridge.ports.has(port)) deletions.push({ type: 'delete-port', bridge: bridge.name, port });
    }
    const additions = planAdditions(kept, gone, bridge);
    if (kept) changes.push(...planInterfaceChanges(kept, gone, bridge));
    interfaceAdditions.push(...additions);
    const added = additions.map((step) => step.interface.name);
    completions.push(...planCompletion(kept, new Set([...gone, ...added]), bridge));
  }
  const datapathMoved = bridgeAdditions.length > 0 || datapathKey(wanted) !== current.datapathKey;
  const datapath: Step[] = datapathMoved ? [{ type: 'configure-datapath', config: wanted }] : [];
  interfaceAdditions.sort((a, b) => Number(asksForPort(b)) - Number(asksForPort(a)));
  return [...deletions, ...changes, ...bridgeAdditions, ...datapath, ...interfaceAdditions, ...completions];
}

function asksForPort(step: Step): boolean {
  return step.type === 'add-interface' && requestedPort(step.interface) !== undefined;
}

function requestedPort(wanted: WantedInterface): number | undefined {
  const request = wanted.ofportRequest;
  return request !== undefined && request > 0 && request < OFPP_MAX ? request : undefined;
}

/** Names of the interfaces that must go: no longer wanted, in another port, of another type, or in the way of a requested port number. */
function planDeletions(current: CurrentBridge, wanted: WantedBridge): Set<string> {
  const gone = new Set<string>();
  const keptByPort = new Map<number, CurrentInterface>();
  const next = wantedInterfaces(wanted);
  for (const iface of current.interfaces.values()) {
    const then = next.get(iface.name);
    if (!then || then.port !== iface.port || then.interface.type !== iface.type) gone.add(iface.name);
    else keptByPort.set(iface.ofport, iface);
  }
  for (const iface of current.interfaces.values()) {
    const request = gone.has(iface.name) ? undefined : requestedPort(next.get(iface.name)!.interface);
    if (request === undefined || iface.ofport === OFPP_LOCAL || request === iface.ofport) continue;
    const victim = keptByPort.get(request);
    // Two that ask for the same number can't both have it: the one that has it keeps it.
    if (victim && requestedPort(next.get(victim.name)!.interface) === request) continue;
    gone.add(iface.name);
    if (victim) gone.add(victim.name);
  }
  return gone;
}

function wantedInterfaces(bridge: WantedBridge): Map<string, { port: string; interface: WantedInterface }> {
  const all = new Map<string, { port: string; interface: WantedInterface }>();
  for (const port of bridge.ports.values()) {
    for (const iface of port.interfaces)
      if (!all.has(iface.name)) all.set(iface.name, { port: port.name, interface: iface });
  }
  return all;
}

const byName = new Intl.Collator('en', { numeric: true });

function planAdditions(current: CurrentBridge | undefined, gone: ReadonlySet<string>, bridge: WantedBridge): AddStep[] {
  const steps: AddStep[] = [];
  for (const { port, interface: iface } of wantedInterfaces(bridge).values()) {
    if (current?.interfaces.has(iface.name) && !gone.has(iface.name)) continue;
    steps.push({ type: 'add-interface', bridge: bridge.name, port, interface: iface });
  }
  // The database has no order: those that come together get their numbers by name, p2 before p10.
  return steps.sort((a, b) => byName.compare(a.interface.name, b.interface.name));
}

function planInterfaceChanges(current: CurrentBridge, gone: ReadonlySet<string>, bridge: WantedBridge): Step[] {
  const steps: Step[] = [];
  for (const { interface: iface } of wantedInterfaces(bridge).values()) {
    const existing = current.interfaces.get(iface.name);
    if (!existing || gone.has(iface.name) || key(existing.wanted) === key(iface)) continue;
    steps.push({ type: 'configure-interface', bridge: bridge.name, interface: iface });
  }
  return steps;
}

function planCompletion(current: CurrentBridge | undefined, moved: ReadonlySet<string>, bridge: WantedBridge): Step[] {
  const steps: Step[] = [];
  if (moved.size > 0 || !current?.wanted || bridgeKey(current.wanted) !== bridgeKey(bridge)) {
    steps.push({ type: 'configure-bridge', bridge });
  }
  for (const port of bridge.ports.values()) {
    const existing = current?.ports.get(port.name);
    const membersMoved = port.interfaces.some((i) => moved.has(i.name));
    if (!existing || membersMoved || portKey(existing) !== portKey(port)) {
      steps.push({ type: 'configure-port', bridge: bridge.name, port });
    }
  }
  return steps;
}

const bridgeKey = (bridge: WantedBridge): string => key({ ...bridge, ports: undefined });
const portKey = (port: WantedPort): string =>
  key({
    ...port,
    interfaces: port.interfaces.map((i) => [i.name, i.policing]),
    // Written by us: what was active is of interest at the start only.
    bond: port.bond && { ...port.bond, activeMac: undefined },
    lacp: port.lacp && { ...port.lacp, sysId: port.lacp.sysId && [...port.lacp.sysId] },
  });

/** Identifies the settings of the datapath as a whole, for CurrentConfig. */
export function datapathKey(wanted: WantedConfig): string {
  const interfaces = [...wanted.bridges.values()].flatMap((bridge) =>
    [...wantedInterfaces(bridge).values()].map((i) => [i.interface.name, i.interface.otherConfig] as const),
  );
  return key({
    otherConfig: wanted.otherConfig,
    interfaces: interfaces.filter(([, config]) => config.size > 0),
    ssl: wanted.ssl,
  });
}

/** Two values with the same text are equal; maps count. */
function key(value: unknown): string {
  return JSON.stringify(value, (_name, v: unknown) => (v instanceof Map ? { map: [...v].sort() } : v));
}
