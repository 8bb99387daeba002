import { existsSync } from 'node:fs';
import { ofpPort } from '../../base/types.ts';
import type { Ofpact } from '../../openflow/actions.ts';
import { FlowTextError } from '../../openflow/field-text.ts';
import { formatActions, formatMatch, parseFlow } from '../../openflow/flow-text.ts';
import { catchallMatch, type Match } from '../../openflow/match.ts';
import { FF_EMERG, FF_SEND_FLOW_REM, type FlowMod, OFP_NO_BUFFER } from '../../openflow/messages.ts';
import type { PortNames } from '../../openflow/port.ts';
import { P_ANY, type Protocol, type Protocols } from '../../openflow/protocol.ts';
import { bundleTransact } from './bundle.ts';
import { encodeRequest, openSwitch, setProtocolForDump, transactNoreply } from './client.ts';
import { type OfctlCommand, type OfctlContext, out } from './context.ts';
import { Exit, Fatal, fatalErrno } from './fatal.ts';
import { fetchFlows } from './flow-commands.ts';
import { preprocessedLines, readInput } from './input.ts';
import { namesToAccept, namesToShow } from './names.ts';
import { commonLayout, remapTunMetadata } from './tun-metadata-layout.ts';
import type { Vconn } from './vconn.ts';

/** `replace-flows` and `diff-flows`: flows of two sources side by side. */

/** One source's version of a flow. */
interface FlowVersion {
  cookie: bigint;
  idleTimeout: number;
  hardTimeout: number;
  importance: number;
  flags: number;
  actions: Ofpact[];
}

/** A flow by table, match and priority, in one source or in both. */
interface Entry {
  tableId: number;
  match: Match;
  priority: number;
  versions: [FlowVersion | undefined, FlowVersion | undefined];
}

/** Flows of both sources. */
class FlowSet {
  readonly #pending: { side: 0 | 1; entry: Omit<Entry, 'versions'>; version: FlowVersion }[] = [];

  put(side: 0 | 1, tableId: number, priority: number, match: Match, version: FlowVersion): void {
    this.#pending.push({ side, version, entry: { tableId, priority, match } });
  }

  /** Flows with the same table, match and priority together; by table, within it in the order in which they came. */
  entries(): Entry[] {
    const entries = new Map<string, Entry>();
    const layout = commonLayout(this.#pending.map((p) => p.entry.match));
    for (const { side, entry, version } of this.#pending) {
      const match = layout ? remapTunMetadata(entry.match, layout) : entry.match;
      const key = `${entry.tableId} ${formatMatch(match, entry.priority)}`;
      const found = entries.get(key) ?? { ...entry, match, versions: [undefined, undefined] };
      found.versions[side] = version;
      entries.set(key, found);
    }
    return [...entries.values()].sort((a, b) => a.tableId - b.tableId);
  }
}

/** Flags are not compared: a switch does not tell them in every version. */
function sameVersion(a: FlowVersion, b: FlowVersion): boolean {
  return (
    a.cookie === b.cookie &&
    a.idleTimeout === b.idleTimeout &&
    a.hardTimeout === b.hardTimeout &&
    a.importance === b.importance &&
    formatActions(a.actions) === formatActions(b.actions)
  );
}

function readFile(name: string, side: 0 | 1, set: FlowSet, names: PortNames | undefined): Protocols {
  let text: string;
  try {
    text = readInput(name).toString('utf8');
  } catch (e) {
    throw fatalErrno((e as NodeJS.ErrnoException).code ?? 'EIO', `${name}: open`);
  }
  let usable: Protocols = P_ANY;
  for (const line of preprocessedLines(text)) {
    try {
      const { fm: flow, protocols } = parseFlow(line.text, 'add', names);
      usable &= protocols;
      const tableId = flow.tableId === 255 ? 0 : flow.tableId;
      const flags = flow.flags & (FF_SEND_FLOW_REM | FF_EMERG);
      set.put(side, tableId, flow.priority, flow.match, { ...versionOf(flow), cookie: flow.newCookie, flags });
    } catch (e) {
      if (e instanceof FlowTextError) throw new Fatal(`${name}:${line.number}: ${e.message}`);
      throw e;
    }
  }
  return usable;
}

const versionOf = (f: Omit<FlowVersion, 'cookie' | 'flags'>) => ({
  idleTimeout: f.idleTimeout,
  hardTimeout: f.hardTimeout,
  importance: f.importance,
  actions: f.actions,
});

const OFPP_ANY = ofpPort(0xffffffff);
const OFPG_ANY = 0xffffffff;

async function readSwitch(vconn: Vconn, protocol: Protocol, side: 0 | 1, set: FlowSet): Promise<void> {
  const request = {
    match: catchallMatch(),
    cookie: 0n,
    cookieMask: 0n,
    outPort: OFPP_ANY,
    outGroup: OFPG_ANY,
    tableId: 255,
  };
  for (const f of await fetchFlows(vconn, protocol, request))
    set.put(side, f.tableId, f.priority, f.match, { ...versionOf(f), cookie: f.cookie, flags: 0 });
}

function flowModOf(e: Entry, side: 0 | 1, command: 'add' | 'delete_strict'): FlowMod {
  const v = e.versions[side]!;
  return {
    type: 'flow_mod',
    command,
    match: e.match,
    priority: e.priority,
    tableId: e.tableId,
    cookie: 0n,
    cookieMask: 0n,
    newCookie: v.cookie,
    modifyCookie: true,
    idleTimeout: v.idleTimeout,
    hardTimeout: v.hardTimeout,
    importance: v.importance,
    flags: v.flags,
    bufferId: OFP_NO_BUFFER,
    outPort: OFPP_ANY,
    outGroup: OFPG_ANY,
    actions: command === 'add' ? v.actions : [],
  };
}

const FILE = 0;
const SWITCH = 1;

/** Table by table: first what the file does not have goes, then what it has comes. */
function replacements(set: FlowSet, readd: boolean): FlowMod[] {
  const entries = set.entries();
  const tables = [...new Set(entries.map((e) => e.tableId))];
  return tables.flatMap((tableId) => {
    const here = entries.filter((e) => e.tableId === tableId);
    const gone = here.filter((e) => !e.versions[FILE]);
    const wanted = here.filter(({ versions: [file, now] }) => file && (readd || !now || !sameVersion(now, file)));
    return [...gone.map((e) => flowModOf(e, SWITCH, 'delete_strict')), ...wanted.map((e) => flowModOf(e, FILE, 'add'))];
  });
}

const replaceFlows: OfctlCommand = async (c) => {
  const [target, file] = c.args;
  const set = new FlowSet();
  const usable = readFile(file, FILE, set, await namesToAccept(c, target));
  const vconn = await openSwitch(c, target);
  const protocol = await setProtocolForDump(c, vconn, usable);
  await readSwitch(vconn, protocol, SWITCH, set);
  const requests = replacements(set, c.options.readd).map((m) => encodeRequest(vconn, m, protocol));
  if (c.options.bundle) await bundleTransact(c, vconn, requests);
  else await transactNoreply(c, vconn, ...requests);
  vconn.close();
};

/** A file's or a switch's; the latter's names are shown. */
async function readSource(c: OfctlContext, source: string, side: 0 | 1, set: FlowSet): Promise<PortNames | undefined> {
  if (/^[/.]/.test(source) || (!source.includes(':') && existsSync(source))) {
    readFile(source, side, set, undefined);
    return undefined;
  }
  const vconn = await openSwitch(c, source);
  const protocol = await setProtocolForDump(c, vconn, P_ANY);
  await readSwitch(vconn, protocol, side, set);
  vconn.close();
  return namesToShow(c, source);
}

function versionText(e: Entry, side: 0 | 1, names: PortNames | undefined): string {
  const v = e.versions[side];
  if (!v) return '';
  const table = e.tableId ? `table=${e.tableId} ` : '';
  const items = [
    v.cookie ? ` cookie=0x${v.cookie.toString(16)}` : '',
    v.idleTimeout ? ` idle_timeout=${v.idleTimeout}` : '',
    v.hardTimeout ? ` hard_timeout=${v.hardTimeout}` : '',
    v.importance ? ` importance=${v.importance}` : '',
  ];
  const match = formatMatch(e.match, e.priority, names);
  return `${side === 0 ? '-' : '+'}${table}${match}${items.join('')} actions=${formatActions(v.actions, names)}\n`;
}

const diffFlows: OfctlCommand = async (c) => {
  const set = new FlowSet();
  const first = await readSource(c, c.args[0], 0, set);
  const names = (await readSource(c, c.args[1], 1, set)) ?? first;
  const different = set.entries().filter(({ versions: [a, b] }) => !a || !b || !sameVersion(a, b));
  out(different.map((e) => versionText(e, 0, names) + versionText(e, 1, names)).join(''));
  if (different.length) throw new Exit(2);
};

export const COMMANDS = { 'replace-flows': replaceFlows, 'diff-flows': diffFlows };
