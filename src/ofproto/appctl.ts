import type { OdpPort } from '../base/types.ts';
import { UnixctlError } from '../base/unixctl.ts';
import type { DpFlow, Dpif } from '../dpif/dpif.ts';
import { formatOdpActions } from '../dpif/odp-action-text.ts';
import { formatOdpFlow, formatOdpStats, type OdpTextOptions } from '../dpif/odp-text.ts';
import { registerBond, registerLacp } from './appctl-bond.ts';
import { registerBridge } from './appctl-bridge.ts';
import { allBridges, type Backends, byName, findBridge } from './appctl-bridges.ts';
import { registerFdb } from './appctl-fdb.ts';
import type { CommandRegistry } from './config.ts';
import type { OfprotoBackend } from './ofproto-backend.ts';
import type { BridgePort } from './port.ts';
import { registerTrace } from './trace.ts';

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
  const config = port.netdev.type === 'patch' && port.peerName ? `: peer=${port.peerName}` : '';
  return `    ${port.name} ${number}/${odp}: (${port.netdev.type}${config})\n`;
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

function dpFlowText(dpif: Dpif, flow: DpFlow, opts: OdpTextOptions, nowMs: number): string {
  const ufid = opts.verbose ? `ufid:${flow.ufid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')}, ` : '';
  const layer = opts.verbose ? ', dp:ovs' : '';
  return (
    `${ufid}${formatOdpFlow(flow.exact ?? flow.key, flow.mask, opts)}, ` +
    `${formatOdpStats(dpif.flowStats(flow), nowMs)}${layer}, actions:${formatOdpActions(flow.actions, opts)}`
  );
}

function dpifDumpFlows(backends: Backends, args: readonly string[]): string {
  const bridge = findBridge(backends, args.at(-1));
  const backend = bridge.backend as OfprotoBackend;
  const opts = dumpOptions(args.slice(0, -1), backend.dpif);
  const mine = [...backend.dpif.flows()].filter((f) => backend.portOf(f.key.inPort)?.bridge === bridge);
  return mine.map((f) => `${dpFlowText(backend.dpif, f, opts, bridge.nowMs())}\n`).join('');
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

// dpctl/*

function findDpif(backends: Backends, name: string | undefined): OfprotoBackend {
  const all = [...backends()];
  if (name === undefined) {
    if (all.length === 1) return all[0];
    throw new UnixctlError('no datapaths exist');
  }
  const backend = all.find(({ dpif }) => name === datapathName(dpif) || name === dpif.name);
  if (!backend) throw new UnixctlError(`ovs-vswitchd: opening datapath ${name} failed (No such device)`);
  return backend;
}

function dpctlShow(backend: OfprotoBackend): string {
  const { dpif } = backend;
  const s = dpif.stats();
  const packets = s.hit + s.missed;
  const perPacket = packets ? Number(s.maskHit) / Number(packets) : 0;
  const ports = [...dpif.ports()].sort((a, b) => a.odpPort - b.odpPort);
  return (
    `${datapathName(dpif)}:\n` +
    `  lookups: hit:${s.hit} missed:${s.missed} lost:${s.lost}\n` +
    `  flows: ${s.flows}\n` +
    (s.masks ? `  masks: hit:${s.maskHit} total:${s.masks} hit/pkt:${perPacket.toFixed(2)}\n` : '') +
    ports.map((p) => `  port ${p.odpPort}: ${p.name}${p.type === 'system' ? '' : ` (${p.type})`}\n`).join('')
  );
}

/** The datapath's name and the options of a `dpctl/` command. */
function dpctlArgs(args: readonly string[]): { name: string | undefined; options: string[] } {
  const isOption = (a: string) => a.startsWith('-') || /^(filter|type|pmd)=/.test(a);
  return { name: args.find((a) => !isOption(a)), options: args.filter(isOption) };
}

function dpctlDumpFlows(backends: Backends, args: readonly string[]): string {
  const { name, options } = dpctlArgs(args);
  const backend = findDpif(backends, name);
  const { dpif } = backend;
  const opts = dumpOptions(options, dpif);
  const nowMs = backend.deps.clock.monotonicMs();
  return byThread(dpif)
    .map(([title, flows]) => title + flows.map((f) => `${dpFlowText(dpif, f, opts, nowMs)}\n`).join(''))
    .join('');
}

/** The flows under the title of the thread that polls their input port, as a userspace datapath lists them. */
function byThread(dpif: Dpif): [title: string, flows: DpFlow[]][] {
  const coreOf = new Map<string, number>();
  for (const t of dpif.threads()) for (const q of t.rxqs) if (!coreOf.has(q.port)) coreOf.set(q.port, t.core);
  const nameOf = odpName(dpif);
  const groups = new Map<number, DpFlow[]>();
  for (const flow of dpif.flows()) {
    const core = coreOf.get(nameOf(flow.key.inPort as OdpPort) ?? '') ?? -1;
    const group = groups.get(core);
    if (group) group.push(flow);
    else groups.set(core, [flow]);
  }
  return [...groups].map(([core, flows]) => [
    core < 0 ? 'flow-dump from the main thread:\n' : `flow-dump from pmd on cpu core: ${core}\n`,
    flows,
  ]);
}

function registerDpctl(registry: CommandRegistry, backends: Backends): void {
  const many = Number.POSITIVE_INFINITY;
  registry.register('dpctl/dump-dps', '', 0, 0, () =>
    [...backends()].map(({ dpif }) => `${datapathName(dpif)}\n`).join(''),
  );
  registry.register('dpctl/show', '[dp...]', 0, many, (args) => {
    const { name } = dpctlArgs(args);
    return (name === undefined ? [...backends()] : [findDpif(backends, name)]).map(dpctlShow).join('');
  });
  registry.register('dpctl/dump-flows', '[dp] [filter=..] [type=..] [pmd=..]', 0, many, (args) =>
    dpctlDumpFlows(backends, args),
  );
  registry.register('dpctl/del-flows', '[dp]', 0, 1, (args) => {
    findDpif(backends, args[0]).udpif.purge();
    return '';
  });
}

// upcall/*, revalidator/*, ofproto/list

function upcallShow(backend: OfprotoBackend): string {
  const { udpif, dpif } = backend;
  const { nFlows, avgFlows, maxFlows, flowLimit, dumpDurationMs } = udpif;
  return (
    `${datapathName(dpif)}:\n` +
    `  flows         : (current ${nFlows}) (avg ${avgFlows}) (max ${maxFlows}) (limit ${flowLimit})\n` +
    `  dump duration : ${dumpDurationMs}ms\n` +
    '  ufid enabled : true\n' +
    `\n  1: (keys ${nFlows})\n`
  );
}

function registerUpcall(registry: CommandRegistry, backends: Backends): void {
  registry.register('upcall/show', '', 0, 0, () => [...backends()].map(upcallShow).join(''));
  registry.register('upcall/set-flow-limit', 'flow-limit-number', 1, 1, ([n]) => {
    for (const backend of backends()) backend.setFlowLimit(Number(n));
    return `set flow_limit to ${Number(n)}\n`;
  });
  registerUpcallSwitches(registry, backends);
  registry.register('revalidator/wait', '', 0, 0, () => {
    for (const backend of backends()) backend.udpif.revalidateAll();
    return '';
  });
  registry.register('revalidator/purge', '', 0, 0, () => {
    for (const backend of backends()) backend.udpif.purge();
    return '';
  });
  registry.register('ofproto/list', '', 0, 0, () =>
    allBridges(backends)
      .map((b) => `${b.name}\n`)
      .join(''),
  );
}

function registerUpcallSwitches(registry: CommandRegistry, backends: Backends): void {
  for (const enable of [true, false]) {
    const word = enable ? 'enable' : 'disable';
    registry.register(`upcall/${word}-megaflows`, '', 0, 0, () => {
      for (const { udpif } of backends()) udpif.setMegaflows(enable);
      return `megaflows ${word}d`;
    });
    // Megaflows are known by object here, their dump is not made shorter.
    registry.register(`upcall/${word}-ufid`, '', 0, 0, () => {
      return `Datapath dumping tersely using UFID ${word}d${enable ? ' for supported datapaths' : ''}`;
    });
  }
}

export function registerOfprotoCommands(registry: CommandRegistry, backends: () => Iterable<unknown>): void {
  const own = backends as Backends;
  registerFdb(registry, own);
  registerBond(registry, own);
  registerLacp(registry, own);
  registerBridge(registry, own);
  registerDpif(registry, own);
  registerDpctl(registry, own);
  registerUpcall(registry, own);
  registerTrace(registry, own);
}
