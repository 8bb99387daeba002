import type { OdpPort } from '../base/types.ts';
import { UnixctlError } from '../base/unixctl.ts';
import { formatDpFlow, registerDpctl } from '../dpif/dpctl.ts';
import type { DpFlow, Dpif } from '../dpif/dpif.ts';
import type { OdpTextOptions } from '../dpif/odp-text.ts';
import { registerBond, registerLacp } from './appctl-bond.ts';
import { registerBridge } from './appctl-bridge.ts';
import { allBridges, type Backends, byName, findBridge } from './appctl-bridges.ts';
import { registerFdb } from './appctl-fdb.ts';
import { registerUpcall } from './appctl-upcall.ts';
import type { CommandRegistry } from './config.ts';
import type { OfprotoBackend } from './ofproto-backend.ts';
import type { BridgePort } from './port.ts';
import { registerTrace } from './trace.ts';
import { lookupIngress } from './xlate/lookup.ts';

/** Commands of ovs-appctl over all bridges and datapaths, in the words of ovs-vswitchd(8). */

const odpName = (dpif: Dpif) => {
  const names = new Map<OdpPort, string>();
  for (const p of dpif.ports()) names.set(p.odpPort, p.name);
  return (port: OdpPort) => names.get(port);
};

/** `netdev@ovs-netdev`, as a datapath is called. */
const datapathName = (dpif: Dpif): string => `${dpif.type}@${dpif.name}`;

// dpif/*

function portLine(port: BridgePort): string {
  const odp = port.odpPort === undefined ? 'none' : `${port.odpPort}`;
  const number = port.ofpPort >= 0xff00 ? port.ofpPort & 0xffff : port.ofpPort;
  const config = [...(port.netdev.config?.() ?? []), ...(port.peerName ? [['peer', port.peerName]] : [])];
  const text = config.map(([key, value]) => `${key}=${value}`).sort();
  return `    ${port.name} ${number}/${odp}: (${port.netdev.type}${text.length ? `: ${text.join(', ')}` : ''})\n`;
}

function dpifShow(backend: OfprotoBackend): string {
  const { hit, missed } = backend.dpif.stats();
  const bridges = byName(backend.bridges());
  return (
    `${datapathName(backend.dpif)}: hit:${hit} missed:${missed}\n` +
    bridges.map((b) => `  ${b.name}:\n${byName(b.bridgePorts()).map(portLine).join('')}`).join('')
  );
}

/** `-m`, `--names` and `--no-names` taken out of the arguments. */
function dumpOptions(args: readonly string[], dpif: Dpif): OdpTextOptions {
  const verbose = args.includes('-m') || args.includes('--more');
  const names = args.includes('--names') || (verbose && !args.includes('--no-names'));
  return { verbose, portName: names ? odpName(dpif) : undefined };
}

function dpifDumpFlows(backends: Backends, args: readonly string[]): string {
  const bridge = findBridge(backends, args.at(-1));
  const backend = bridge.backend as OfprotoBackend;
  const opts = dumpOptions(args.slice(0, -1), backend.dpif);
  const isMine = ({ key }: DpFlow) => {
    const from = lookupIngress(key, backend.recircs, (odp) => backend.portOf(odp, key));
    return typeof from !== 'string' && from.bridge === bridge;
  };
  const mine = [...backend.dpif.flows()].filter(isMine);
  // Unlike dpctl, no comma comes after the identifier, and the layer is not named.
  return mine
    .map((f) => formatDpFlow(backend.dpif, f, opts, bridge.nowMs()))
    .map((text) => `${text.replace(/^(ufid:\S+), /, '$1 ').replace(', dp:ovs, actions:', ', actions:')}\n`)
    .join('');
}

const yesNo = (v: boolean | number): string => (typeof v === 'number' ? `${v}` : v ? 'Yes' : 'No');

function registerDpif(registry: CommandRegistry, backends: Backends): void {
  registry.register('dpif/show', '', 0, 0, () => [...backends()].map(dpifShow).join(''));
  registry.register('dpif/dump-dps', '', 0, 0, () =>
    allBridges(backends)
      .map((b) => `${b.backend.dpif.type}@${b.name}\n`)
      .join(''),
  );
  registry.register('dpif/dump-flows', '[-m] [--names | --no-names] bridge', 1, Number.POSITIVE_INFINITY, (args) =>
    dpifDumpFlows(backends, args),
  );
  registry.register('dpif/set-dp-features', 'bridge', 1, 3, (args) => setDpFeatures(backends, args));
  registry.register('dpif/show-dp-features', 'bridge', 1, 1, ([name]) =>
    [...findBridge(backends, name).backend.dpif.features()].map(([k, v]) => `${k}: ${yesNo(v)}\n`).join(''),
  );
}

/** `dpif/set-dp-features`: shows, or turns off what translation may use of the datapath. */
function setDpFeatures(backends: Backends, [bridge, name, value]: readonly string[]): string {
  const found = allBridges(backends).find((b) => b.name === bridge);
  if (!found) throw new UnixctlError('no such bridge');
  const { features, udpif } = found.backend as OfprotoBackend;
  if (name === undefined || value === undefined) return features.show(name);
  const problem = features.set(name, value);
  if (!problem) udpif.purge();
  return problem;
}

/** All datapaths go by one clock. */
function nowMs(backends: Backends): number {
  for (const { deps } of backends()) return deps.clock.monotonicMs();
  return Math.trunc(performance.now());
}

/** `more`: datapaths without a bridge. */
export function registerOfprotoCommands(
  registry: CommandRegistry,
  backends: () => Iterable<unknown>,
  more: () => Iterable<Dpif> = () => [],
): void {
  const own = backends as Backends;
  registerFdb(registry, own);
  registerBond(registry, own);
  registerLacp(registry, own);
  registerBridge(registry, own);
  registerDpif(registry, own);
  registerDpctl(registry, {
    dpifs: function* () {
      for (const { dpif } of own()) yield dpif;
      yield* more();
    },
    nowMs: () => nowMs(own),
    flush: (dpif) => {
      for (const backend of own()) if (backend.dpif === dpif) backend.udpif.purge();
      for (const flow of [...dpif.flows()]) dpif.flowDel(flow);
    },
  });
  registry.register('tnl/ports/show', '-v', 0, 1, ([option]) => {
    const verbose = option?.toLowerCase() === '-v';
    return `Listening ports:\n${[...own()].map(({ tunnels }) => tunnels.show(verbose)).join('')}`;
  });
  registerUpcall(registry, own);
  registerTrace(registry, own);
}
