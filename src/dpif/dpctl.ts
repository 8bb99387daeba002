import { readFileSync } from 'node:fs';
import { strerror } from '../base/errno.ts';
import type { OdpPort, OfpPort } from '../base/types.ts';
import { UnixctlError } from '../base/unixctl-registry.ts';
import type { Match } from '../flow/flow.ts';
import { Flow } from '../flow/flow.ts';
import { parseExactMatch } from '../openflow/exact-flow.ts';
import { FlowTextError } from '../openflow/flow-text.ts';
import { ufidText } from './dp-log.ts';
import type { DpFlow, Dpif } from './dpif.ts';
import { parseOdpActions } from './odp-action-parse.ts';
import { formatOdpActions } from './odp-action-text.ts';
import { OdpParseError, parseOdpFlow } from './odp-parse.ts';
import { formatOdpFlow, formatOdpStats, type OdpTextOptions } from './odp-text.ts';

/** `dpctl/…` of ovs-appctl: what ovs-dpctl(8) does, to the datapaths of this switch. */

/** Where commands are put that answer at once. */
interface Registry {
  register(
    name: string,
    usage: string,
    minArgs: number,
    maxArgs: number,
    handler: (args: readonly string[]) => string,
  ): void;
}

export interface DpctlDeps {
  dpifs(): Iterable<Dpif>;
  nowMs(): number;
  /** Takes all megaflows out, their counters credited where somebody keeps count. */
  flush(dpif: Dpif): void;
}

const PROGRAM = 'ovs-vswitchd';
const EINVAL = 'Invalid argument';

/** An error as dpctl reports it: with the program's name, and errno's text behind. `before`: what had been printed already. */
export function dpctlError(text: string, errno?: string, before = ''): UnixctlError {
  return new UnixctlError(`${before}${PROGRAM}: ${text}${errno ? ` (${errno})` : ''}\n`);
}

export const fullName = (dpif: Dpif): string => `${dpif.type}@${dpif.name}`;

/** `type@name`; a name alone is of type system. */
export function parseDpName(text: string): { name: string; type: string } {
  const at = text.indexOf('@');
  return at < 0 ? { name: text, type: 'system' } : { name: text.slice(at + 1), type: text.slice(0, at) || 'system' };
}

export interface DpctlOptions {
  verbose: boolean;
  statistics: boolean;
  mayCreate: boolean;
  names: boolean;
}

/** Options stand before everything else. */
export function parseDpctlOptions(args: readonly string[]): { options: DpctlOptions; rest: string[] } {
  const options = { verbose: false, statistics: false, mayCreate: false, names: false };
  let names: boolean | undefined;
  const rest = [...args];
  while (rest[0]?.startsWith('-') && rest[0] !== '-') {
    const arg = rest.shift()!;
    if (arg === '--statistics') options.statistics = true;
    else if (arg === '--may-create') options.mayCreate = true;
    else if (arg === '--more') options.verbose = true;
    else if (arg === '--names') names = true;
    else if (arg === '--no-names') names = false;
    else if (arg.startsWith('--') && arg !== '--clear') throw new UnixctlError(`Unrecognized option ${arg}`);
    else if (!arg.startsWith('--'))
      for (const letter of arg.slice(1)) {
        if (letter === 'm') options.verbose = true;
        else if (letter === 's') options.statistics = true;
        else throw new UnixctlError(`Unrecognized option -${letter}`);
      }
  }
  options.names = names ?? options.verbose;
  return { options, rest };
}

export function portNames(dpif: Dpif): (port: OdpPort) => string | undefined {
  const names = new Map<OdpPort, string>([...dpif.ports()].map((p) => [p.odpPort, p.name]));
  return (port) => names.get(port);
}

/** A flow as `dump-flows` shows it. `opts.verbose`: also its identifier and what it is wildcarded of. */
export function formatDpFlow(dpif: Dpif, flow: DpFlow, opts: OdpTextOptions, nowMs: number): string {
  const ufid = opts.verbose ? `${ufidText(flow.ufid)}, ` : '';
  const layer = opts.verbose ? ', dp:ovs' : '';
  return (
    `${ufid}${formatOdpFlow(flow.exact ?? flow.key, flow.mask, opts)}, ` +
    `${formatOdpStats(dpif.flowStats(flow), nowMs)}${layer}, actions:${formatOdpActions(flow.actions, opts)}`
  );
}

/** Over the datapaths: finds the one that a command means. */
export class Datapaths {
  readonly #all: () => Iterable<Dpif>;

  constructor(all: () => Iterable<Dpif>) {
    this.#all = all;
  }

  all(): Dpif[] {
    return [...this.#all()];
  }

  find(text: string): Dpif | undefined {
    const { name, type } = parseDpName(text);
    return this.all().find((d) => d.name === name && d.type === type);
  }

  /** The one with that name, which a command was given. */
  open(text: string, failure = 'opening datapath'): Dpif {
    const dpif = this.find(text);
    if (dpif) return dpif;
    const known = this.all().some((d) => d.type === parseDpName(text).type);
    throw dpctlError(failure, known ? 'No such device' : 'Address family not supported by protocol');
  }

  /** Takes the datapath off the front of the arguments, when it stands there; the only one there is otherwise. `max`: how many arguments there may be. */
  optional(args: string[], max: number): Dpif {
    const named = args[0] === undefined ? undefined : this.find(args[0]);
    if (named) {
      args.shift();
      return named;
    }
    const all = this.all();
    if (args.length < max && all.length === 1) return all[0]!;
    const reason =
      args.length >= max ? '' : all.length === 0 ? 'no datapaths exist' : 'multiple datapaths, specify one';
    throw dpctlError('datapath not found', EINVAL, reason && `${PROGRAM}: ${reason}\n`);
  }
}

function showPort(number: number, name: string, type: string, config: ReadonlyMap<string, string> | undefined): string {
  if (type === 'system') return `  port ${number}: ${name}\n`;
  const settings = [...(config ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => `${k}=${v}`);
  return `  port ${number}: ${name} (${type}${settings.length ? `: ${settings.join(', ')}` : ''})\n`;
}

function showStats(dpif: Dpif, port: OdpPort): string {
  const s = dpif.portStats(port);
  const human = (n: bigint) => {
    const units = ['KiB', 'MiB', 'GiB', 'TiB'];
    let i = -1;
    let v = Number(n);
    while (v >= 1024 && i < units.length - 1) {
      v /= 1024;
      i++;
    }
    return i < 0 ? '' : ` (${v.toFixed(1)} ${units[i]})`;
  };
  return (
    `    RX packets:${s.rxPackets} errors:${s.rxErrors} dropped:${s.rxDropped} overruns:? frame:?\n` +
    `    TX packets:${s.txPackets} errors:${s.txErrors} dropped:${s.txDropped} aborted:? carrier:?\n` +
    '    collisions:?\n' +
    `    RX bytes:${s.rxBytes}${human(s.rxBytes)}  TX bytes:${s.txBytes}${human(s.txBytes)}\n`
  );
}

/** Port 0 is the datapath's own, which no bridge has. */
function show(dpif: Dpif, options: DpctlOptions): string {
  const s = dpif.stats();
  const own = dpif.type === 'netdev' ? 'tap' : 'dummy-internal';
  const ports = [...dpif.ports()].sort((a, b) => a.odpPort - b.odpPort);
  return (
    `${fullName(dpif)}:\n  lookups: hit:${s.hit} missed:${s.missed} lost:${s.lost}\n  flows: ${s.flows}\n` +
    showPort(0, dpif.name, own, undefined) +
    ports
      .map((p) => {
        const type = p.type === 'internal' && dpif.type !== 'netdev' ? 'dummy-internal' : p.type;
        return (
          showPort(p.odpPort, p.name, type, p.netdev.config?.()) +
          (options.statistics ? showStats(dpif, p.odpPort) : '')
        );
      })
      .join('')
  );
}

const FLOW_TYPES = ['ovs', 'tc', 'dpdk', 'offloaded', 'non-offloaded', 'partially-offloaded', 'all'];

/** Whether flows of this datapath are among those asked for: none of them is offloaded. */
function wantsOwnFlows(types: string | undefined): boolean {
  if (types === undefined) return true;
  const list = types.split(',').filter((t) => t !== '');
  const bad = list.find((t) => !FLOW_TYPES.includes(t));
  if (bad !== undefined) throw dpctlError(`Failed to parse type (${bad})`, EINVAL);
  return list.some((t) => t === 'ovs' || t === 'all' || t === 'non-offloaded');
}

function parseFilter(text: string, dpif: Dpif): Match {
  const ports = [...dpif.ports()];
  try {
    return parseExactMatch(text, {
      numberOf: (name) => ports.find((p) => p.name === name)?.odpPort as OfpPort | undefined,
      nameOf: (n) => ports.find((p) => p.odpPort === (n as number))?.name,
    });
  } catch (e) {
    if (e instanceof FlowTextError) throw dpctlError(`Failed to parse filter (${e.message})`);
    throw e;
  }
}

/** The flow's values where it looks at them, under the filter's mask, are the filter's. */
function passes(flow: DpFlow, filter: Match | undefined): boolean {
  if (!filter) return true;
  const masked = new Flow();
  masked.copyFrom(flow.key);
  masked.maskWith(flow.mask);
  return masked.equalsMasked(filter.flow, filter.wc);
}

function dumpFlows(paths: Datapaths, deps: DpctlDeps, argv: readonly string[]): string {
  const { options, rest } = parseDpctlOptions(argv);
  const take = (prefix: string) => {
    const i = rest.findLastIndex((a) => a.startsWith(prefix));
    return i < 0 ? undefined : rest.splice(i, 1)[0]!.slice(prefix.length);
  };
  const [filterText, types, pmdText] = [take('filter='), take('type='), take('pmd=')];
  if (pmdText !== undefined && !/^-?\d+$/.test(pmdText)) throw new UnixctlError('');
  const dpif = paths.optional(rest, 1);
  const filter = filterText === undefined ? undefined : parseFilter(filterText, dpif);
  if (!wantsOwnFlows(types)) return '';
  const opts = { verbose: options.verbose, portName: options.names ? portNames(dpif) : undefined };
  const threads = flowsByThread(dpif);
  const nowMs = deps.nowMs();
  let text = '';
  for (const [core, flows] of threads) {
    if (pmdText !== undefined && Number(pmdText) !== core) continue;
    const lines = flows.filter((f) => passes(f, filter)).map((f) => `${formatDpFlow(dpif, f, opts, nowMs)}\n`);
    if (lines.length === 0) continue;
    if (pmdText === undefined)
      text += core < 0 ? 'flow-dump from the main thread:\n' : `flow-dump from pmd on cpu core: ${core}\n`;
    text += lines.join('');
  }
  return text;
}

/** Flows by the core that has them; where the threads share them, by the core that polls their input port. */
function flowsByThread(dpif: Dpif): Map<number, DpFlow[]> {
  const coreOf = new Map<string, number>();
  for (const t of dpif.threads()) for (const q of t.rxqs) if (!coreOf.has(q.port)) coreOf.set(q.port, t.core);
  const nameOf = portNames(dpif);
  const groups = new Map<number, DpFlow[]>();
  for (const flow of dpif.flows()) {
    const core = flow.pmd ?? coreOf.get(nameOf(flow.key.inPort as OdpPort) ?? '') ?? -1;
    const group = groups.get(core);
    if (group) group.push(flow);
    else groups.set(core, [flow]);
  }
  return groups;
}

/** `[ufid:…,]key` of a command. */
function parseKey(
  dpif: Dpif,
  text: string,
  failure: (reason: string) => UnixctlError,
): { match: Match; ufid?: string } {
  const numbers = new Map([...dpif.ports()].map((p) => [p.name, p.odpPort]));
  const [, ufid, key = text] = /^ufid:([0-9a-f-]{36}),?\s*(.*)$/is.exec(text) ?? [];
  try {
    const match = parseOdpFlow(key, (name) => numbers.get(name));
    return { match, ...(ufid && { ufid: ufid.replaceAll('-', '').toLowerCase() }) };
  } catch (e) {
    if (e instanceof OdpParseError) throw failure(e.message);
    throw e;
  }
}

/** In the datapath's classifier these are always looked at. */
function completeMask({ flow, wc }: Match): Match {
  wc.recircId = 0xffffffff;
  if (wc.vlanTci0 === 0) wc.vlanTci0 = flow.vlanTci0 ? 0x1000 : 0xffff;
  return { flow, wc };
}

function putFlow(dpif: Dpif, key: string, actionText: string, modify: boolean): void {
  const { match, ufid } = parseKey(dpif, key, (why) => dpctlError(`parsing flow key (${why})`, EINVAL));
  const { flow, wc } = completeMask(match);
  const actions = readActions(actionText);
  const sameFlow = (f: DpFlow) => (ufid ? f.ufid === ufid : f.mask.equals(wc) && f.key.equalsMasked(flow, wc));
  const existing = [...dpif.flows()].filter(sameFlow);
  if (modify) {
    if (existing.length === 0) throw dpctlError('updating flow table', 'No such file or directory');
    for (const f of existing) dpif.flowMod(f, actions);
    return;
  }
  if (existing.length > 0) throw dpctlError('updating flow table', 'File exists');
  const threads = dpif.threads().filter((t) => t.core >= 0);
  const perThread = [...dpif.flows()].some((f) => f.pmd !== undefined) || dpif.type !== 'netdev';
  const cores = perThread ? [...threads.map((t) => t.core), -1] : [-1];
  for (const core of cores) if (!dpif.flowPut(flow, wc, actions, core)) throw dpctlError('updating flow table', EINVAL);
}

function readActions(text: string): ReturnType<typeof parseOdpActions> {
  try {
    return parseOdpActions(text);
  } catch (e) {
    if (e instanceof OdpParseError) throw dpctlError('parsing actions', EINVAL);
    throw e;
  }
}

function deleteFlow(dpif: Dpif, key: string): void {
  const { match, ufid } = parseKey(dpif, key, (why) => dpctlError(why, EINVAL));
  const same = (f: DpFlow) =>
    ufid ? f.ufid === ufid : (f.exact ?? f.key).equalsMasked(match.flow, f.mask) && coversKey(f, match);
  const found = [...dpif.flows()].filter(same);
  if (found.length === 0) {
    const { message } = dpctlError('deleting flow', 'No such file or directory');
    throw new UnixctlError(ufid ? message : `${message}Perhaps you need to specify a UFID?\n`);
  }
  for (const flow of found) dpif.flowDel(flow);
}

/** The flow was made for a packet with exactly these headers. */
const coversKey = (flow: DpFlow, { flow: key, wc }: Match): boolean => (flow.exact ?? flow.key).equalsMasked(key, wc);

/** `[add|modify|delete] FLOW [ACTIONS]` a line; bad lines are told and passed over. */
function processFlows(dpif: Dpif, file: string, fallback: 'add' | 'modify' | 'delete'): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (e) {
    throw dpctlError(`Opening file "${file}" failed`, strerror(e));
  }
  let errors = '';
  text.split('\n').forEach((line, i) => {
    const words = line
      .replace(/#.*/, '')
      .trim()
      .split(/[\s]+/)
      .filter((w) => w !== '');
    if (words.length === 0) return;
    const verb = (['add', 'modify', 'delete'] as const).find((v) => v === words[0]);
    if (verb) words.shift();
    const [flow, ...actions] = words;
    const command = verb ?? fallback;
    if (flow === undefined || (command === 'delete') !== (actions.length === 0)) {
      errors += `${PROGRAM}: Failed parsing line number ${i + 1}, skipped!\n`;
      return;
    }
    try {
      if (command === 'delete') deleteFlow(dpif, flow);
      else putFlow(dpif, flow, actions.join(' '), command === 'modify');
    } catch (e) {
      if (!(e instanceof UnixctlError)) throw e;
      errors += e.message;
    }
  });
  return errors;
}

function getFlow(dpif: Dpif, text: string, options: DpctlOptions, nowMs: number): string {
  const ufid = /^ufid:([0-9a-f-]{36})$/i.exec(text)?.[1]?.replaceAll('-', '').toLowerCase();
  if (ufid === undefined) throw dpctlError('parsing flow ufid', EINVAL);
  const flow = [...dpif.flows()].find((f) => f.ufid === ufid);
  if (!flow) throw dpctlError('getting flow', 'No such file or directory');
  const opts = { verbose: options.verbose, portName: options.names ? portNames(dpif) : undefined };
  return `${formatDpFlow(dpif, flow, opts, nowMs)}\n`;
}

export function registerDpctl(registry: Registry, deps: DpctlDeps): void {
  const paths = new Datapaths(() => deps.dpifs());
  const many = Number.POSITIVE_INFINITY;
  registry.register('dpctl/dump-dps', '', 0, 0, () =>
    paths
      .all()
      .map((d) => `${fullName(d)}\n`)
      .join(''),
  );
  registry.register('dpctl/show', '[-s] [dp...]', 0, many, (args) => {
    const { options, rest } = parseDpctlOptions(args);
    const wanted =
      rest.length === 0 ? paths.all() : rest.map((name) => paths.open(name, `opening datapath ${name} failed`));
    return wanted.map((dpif) => show(dpif, options)).join('');
  });
  registry.register('dpctl/dump-flows', '[-m] [--names] [dp] [filter=..] [type=..] [pmd=..]', 0, 6, (args) =>
    dumpFlows(paths, deps, args),
  );
  for (const [command, modify] of [
    ['add-flow', false],
    ['mod-flow', true],
  ] as const)
    registry.register(`dpctl/${command}`, '[dp] flow actions', 2, many, (args) => {
      const { rest } = parseDpctlOptions(args);
      const dpif = paths.optional(rest, 3);
      putFlow(dpif, rest[0] ?? '', rest[1] ?? '', modify);
      return '';
    });
  registry.register('dpctl/get-flow', '[dp] ufid', 1, many, (args) => {
    const { options, rest } = parseDpctlOptions(args);
    const dpif = paths.optional(rest, 2);
    return getFlow(dpif, rest[0] ?? '', options, deps.nowMs());
  });
  registry.register('dpctl/del-flow', '[dp] flow', 1, many, (args) => {
    const { rest } = parseDpctlOptions(args);
    const dpif = paths.optional(rest, 2);
    deleteFlow(dpif, rest[0] ?? '');
    return '';
  });
  for (const [command, verb] of [
    ['add-flows', 'add'],
    ['mod-flows', 'modify'],
  ] as const)
    registry.register(`dpctl/${command}`, '[dp] file', 1, many, (args) => {
      const { rest } = parseDpctlOptions(args);
      const dpif = paths.optional(rest, 3);
      return processFlows(dpif, rest[0] ?? '', verb);
    });
  registry.register('dpctl/del-flows', '[dp] [file]', 0, many, (args) => {
    const { rest } = parseDpctlOptions(args);
    const dpif = paths.optional(rest, 3);
    if (rest[0] !== undefined) return processFlows(dpif, rest[0], 'delete');
    deps.flush(dpif);
    return '';
  });
  registry.register('dpctl/parse-actions', 'actions', 1, many, (args) =>
    args
      .map((text) => {
        try {
          return `${formatOdpActions(parseOdpActions(text))}\n`;
        } catch (e) {
          if (e instanceof OdpParseError) throw dpctlError('odp_actions_from_string', EINVAL);
          throw e;
        }
      })
      .join(''),
  );
  registerConntrack(registry, paths);
}

/** Connections are not tracked yet: there are none, and no limits to set. */
function registerConntrack(registry: Registry, paths: Datapaths): void {
  const many = Number.POSITIVE_INFINITY;
  const answers: readonly [string, string, (args: string[]) => string][] = [
    ['dump-conntrack', '[-m] [-s] [dp] [zone=N]', () => ''],
    ['flush-conntrack', '[dp] [zone=N] [ct-orig-tuple] [ct-reply-tuple]', () => ''],
    ['ct-stats-show', '[dp] [zone=N]', () => 'Connections Stats:\n    Total: 0\n'],
    ['ct-bkts', '[dp] [gt=N]', () => 'Total Buckets: 0\nCurrent Connections: 0\n'],
    ['ct-get-nconns', '[dp]', () => '0\n'],
  ];
  for (const [command, usage, answer] of answers)
    registry.register(`dpctl/${command}`, usage, 0, many, (args) => {
      const { rest } = parseDpctlOptions(args);
      paths.optional(rest, 5);
      return answer(rest);
    });
  const refused: readonly [string, string, string][] = [
    ['ct-get-maxconns', '[dp]', 'maxconns could not be retrieved'],
    ['ct-set-maxconns', '[dp] maxconns', 'ct set maxconns failed'],
    ['ct-get-tcp-seq-chk', '[dp]', 'ct get tcp sequence checking failed'],
    ['ct-enable-tcp-seq-chk', '[dp]', 'ct enable tcp sequence checking failed'],
    ['ct-disable-tcp-seq-chk', '[dp]', 'ct disable tcp sequence checking failed'],
    ['ct-get-limits', '[dp] [zone=N1[,N2]...]', 'failed to get conntrack limit'],
    ['ct-set-limits', '[dp] [default=L] [zone=N,limit=L]...', 'failed to set conntrack limit'],
    ['ct-del-limits', '[dp] zone=N1[,N2]...', 'failed to delete conntrack limit'],
    ['ipf-get-status', '[dp]', 'ipf status could not be retrieved'],
    ['ipf-set-enabled', '[dp] v4|v6', 'ipf enabled failed'],
    ['ipf-set-disabled', '[dp] v4|v6', 'ipf disabled failed'],
    ['ipf-set-min-frag', '[dp] v4|v6 minfragment', 'setting minimum fragment size failed'],
    ['ipf-set-max-nfrags', '[dp] maxfrags', 'ipf set max fragments failed'],
    ['cache-get-size', '[dp]', 'cache size could not be retrieved'],
    ['cache-set-size', 'dp cache <size>', 'Setting cache size failed'],
    ['offload-stats-show', '[dp]', 'retrieving offload statistics'],
  ];
  for (const [command, usage, failure] of refused)
    registry.register(`dpctl/${command}`, usage, 0, many, (args) => {
      paths.optional(parseDpctlOptions(args).rest, 9);
      throw dpctlError(failure, 'Operation not supported');
    });
}
