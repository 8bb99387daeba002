import { ofpPort } from '../../base/types.ts';
import { parseActionsText } from '../../openflow/action-parse.ts';
import { decode } from '../../openflow/codec.ts';
import { FlowTextError } from '../../openflow/field-text.ts';
import {
  type FlowTextCommand,
  formatFlowStats,
  type ParsedFlow,
  parseFlow,
  parseFlowMod,
} from '../../openflow/flow-text.ts';
import { parseGroupMod } from '../../openflow/group-text.ts';
import { catchallMatch } from '../../openflow/match.ts';
import type { FlowModCommand, FlowStats, FlowStatsRequest, Message, PacketOut } from '../../openflow/messages.ts';
import { OFP_NO_BUFFER } from '../../openflow/messages.ts';
import { parseFrame, parsePacketOut } from '../../openflow/packet-out-text.ts';
import { type PortNames, parsePort } from '../../openflow/port.ts';
import { hexDump } from '../../openflow/print/text.ts';
import {
  P_ANY,
  P_OF10_NXM,
  P_OF10_NXM_TID,
  P_OF10_STD,
  P_OF10_STD_TID,
  P_OF13_UP,
  type Protocol,
  type Protocols,
  protocolsOfVersions,
} from '../../openflow/protocol.ts';
import { bundleTransact } from './bundle.ts';
import {
  dumpTransaction,
  eachReply,
  encodeRequest,
  openForMod,
  openSwitch,
  parsing,
  setProtocolForDump,
  transactNoreply,
} from './client.ts';
import { type OfctlCommand, type OfctlContext, out, outMessage } from './context.ts';
import { Fatal, fatalErrno } from './fatal.ts';
import { readLines } from './input.ts';
import { namesToAccept, namesToShow, showsNames } from './names.ts';
import { allowBundles } from './options.ts';
import type { Vconn } from './vconn.ts';

/** Commands about flow entries. */

/** Parses every line of a file. What is wrong ends the program, with the line's number. */
export function parseLines<T>(name: string, parse: (line: string) => T): T[] {
  return readLines(name).map(({ text, number }) => {
    try {
      return parse(text);
    } catch (e) {
      if (e instanceof FlowTextError) throw new Fatal(`${name}:${number}: ${e.message}`);
      throw e;
    }
  });
}

export const commonProtocols = (items: readonly { protocols: Protocols }[]): Protocols =>
  items.reduce((all, { protocols }) => all & protocols, P_ANY);

async function sendFlowMods(c: OfctlContext, target: string, flows: readonly ParsedFlow[]): Promise<void> {
  const usable = commonProtocols(flows);
  if (c.options.bundle) {
    await sendBundle(
      c,
      target,
      flows.map((f) => f.fm),
      usable,
    );
    return;
  }
  const { vconn, protocol } = await openForMod(c, target, usable);
  let dump = '';
  for (const { fm } of flows) {
    const request = encodeRequest(vconn, fm, protocol);
    if (c.options.verbosity === 5) dump += hexDump(request, true);
    else if (c.options.verbosity > 5) dump += `0x${Buffer.from(request).toString('hex').replace(/^0+/, '') || '0'}\n`;
    await transactNoreply(c, vconn, request);
  }
  out(dump);
  vconn.close();
}

/** All messages as one bundle. */
export async function sendBundle(
  c: OfctlContext,
  target: string,
  messages: readonly Message[],
  usable: Protocols,
): Promise<void> {
  const { vconn, protocol } = await openForMod(c, target, usable & P_OF13_UP);
  await bundleTransact(
    c,
    vconn,
    messages.map((m) => encodeRequest(vconn, m, protocol)),
  );
  vconn.close();
}

/** A command with a flow, or with `-` for lines of stdin. */
const flowMod =
  (commandOf: (c: OfctlContext) => FlowModCommand): OfctlCommand =>
  async (c) => {
    const [target, text = ''] = c.args;
    const command = commandOf(c);
    if (text === '-') return flowModFile(c, command === 'add' ? 'any' : command);
    const names = await namesToAccept(c, target);
    await sendFlowMods(c, target, [parsing(() => parseFlowMod(text, command, names))]);
  };

async function flowModFile(c: OfctlContext, command: FlowTextCommand): Promise<void> {
  const [target, file] = c.args;
  const names = await namesToAccept(c, target);
  const flows = parseLines(file, (line) => parseFlowMod(line, command, names));
  await sendFlowMods(c, target, flows);
}

interface Dump {
  vconn: Vconn;
  protocol: Protocol;
  request: FlowStatsRequest;
}

/** A statistics request names a table in every format. */
function withoutTables(protocols: Protocols): Protocols {
  const std = protocols & P_OF10_STD_TID ? P_OF10_STD : 0;
  return protocols | std | (protocols & P_OF10_NXM_TID ? P_OF10_NXM : 0);
}

async function prepareDump(c: OfctlContext): Promise<Dump> {
  const [target, text = ''] = c.args;
  const names = text === '' ? undefined : await namesToAccept(c, target);
  const { fm, protocols } = parsing(() => parseFlow(text, 'match', names));
  const { match, cookie, cookieMask, outPort, outGroup, tableId } = fm;
  const vconn = await openSwitch(c, target);
  const protocol = await setProtocolForDump(c, vconn, withoutTables(protocols));
  return { vconn, protocol, request: { match, cookie, cookieMask, outPort, outGroup, tableId } };
}

/** Every flow that a request asks for. */
export async function fetchFlows(vconn: Vconn, protocol: Protocol, request: FlowStatsRequest): Promise<FlowStats[]> {
  const flows: FlowStats[] = [];
  const bytes = encodeRequest(vconn, { type: 'flow_stats_request', ...request }, protocol);
  await eachReply(vconn, bytes, (msg) => {
    const result = decode(msg);
    if (!result.ok || result.value.message.type !== 'flow_stats_reply') throw fatalErrno('EPROTO', 'dump flows');
    for (const flow of result.value.message.flows) flows.push(flow);
  });
  return flows;
}

const dumpFlows: OfctlCommand = async (c) => {
  const { sort, stats } = c.options;
  const { vconn, request, protocol } = await prepareDump(c);
  if (!sort.length && !showsNames(c) && stats) {
    await dumpTransaction(c, vconn, encodeRequest(vconn, { type: 'flow_stats_request', ...request }, protocol));
  } else {
    let flows = await fetchFlows(vconn, protocol, request);
    if (sort.length) flows = (await import('./sort-flows.ts')).sortFlows(flows, sort);
    const names = await namesToShow(c, c.args[0]);
    outMessage(flows.map((f) => ` ${formatFlowStats(f, stats, names)}\n`).join(''));
  }
  vconn.close();
};

const dumpAggregate: OfctlCommand = async (c) => {
  const { vconn, request, protocol } = await prepareDump(c);
  await dumpTransaction(c, vconn, encodeRequest(vconn, { type: 'aggregate_stats_request', ...request }, protocol));
  vconn.close();
};

const OFPP_NONE = 0xffffffff;

/** The old syntax: IN_PORT ACTIONS PACKET… */
async function packetOutWords(c: OfctlContext): Promise<void> {
  const [target, port, text, ...packets] = c.args;
  const names = await namesToAccept(c, target);
  const { actions, protocols } = parsing(() => parseActionsText(text, names));
  const inPort = parsePort(port) ?? parsePort(port, names);
  if (inPort === undefined) throw new Fatal(`${target}: unknown port \`${port}'`);
  const { vconn, protocol } = await openForMod(c, target, protocols);
  for (const digits of packets) {
    const metadata = catchallMatch();
    metadata.flow.inPort = inPort;
    metadata.wc.inPort = OFPP_NONE;
    const packet = parsing(() => parseFrame(digits));
    const message: PacketOut = { type: 'packet_out', packet, bufferId: OFP_NO_BUFFER, metadata, inPort, actions };
    await transactNoreply(c, vconn, encodeRequest(vconn, message, protocol));
  }
  vconn.close();
}

const packetOut: OfctlCommand = async (c) => {
  const [target, text] = c.args;
  if (c.args.length > 3) return packetOutWords(c);
  if (c.args.length !== 2) throw new Fatal(`Too many arguments (${c.args.length + 1})`);
  const names = await namesToAccept(c, target);
  const { packetOut: message, protocols } = parsing(() => parsePacketOut(text, names));
  const { vconn, protocol } = await openForMod(c, target, protocols);
  await transactNoreply(c, vconn, encodeRequest(vconn, message, protocol));
  vconn.close();
};

/** One line of a bundle's file: what it is about is its first word (or the beginning of it). */
function parseBundleLine(s: string, names: PortNames | undefined): { message: Message; protocols: Protocols } {
  const line = s.replace(/^[ \t\r\n]+/, '');
  const word = /^[^, \t\r\n]*/.exec(line)![0];
  const rest = line.slice(word.length);
  if ('flow'.startsWith(word)) {
    const { fm, protocols } = parseFlowMod(rest, 'any', names);
    return { message: fm, protocols };
  }
  if ('group'.startsWith(word)) {
    const { group, protocols } = parseGroupMod(rest, undefined, names);
    return { message: group, protocols };
  }
  if ('packet-out'.startsWith(word)) {
    const { packetOut: message, protocols } = parsePacketOut(rest, names);
    return { message, protocols };
  }
  throw new FlowTextError(`Unsupported bundle message type: ${word}`);
}

const bundle: OfctlCommand = async (c) => {
  const [target, file] = c.args;
  const names = await namesToAccept(c, target);
  const items = parseLines(file, (line) => parseBundleLine(line, names));
  const before = c.options.versions;
  allowBundles(c.options);
  if (c.options.versions !== before) c.options.protocols = protocolsOfVersions(c.options.versions);
  await sendBundle(
    c,
    target,
    items.map((i) => i.message),
    commonProtocols(items),
  );
};

export const COMMANDS = {
  'dump-flows': dumpFlows,
  'dump-aggregate': dumpAggregate,
  'add-flow': flowMod(() => 'add'),
  'add-flows': (c: OfctlContext) => flowModFile(c, 'any'),
  'mod-flows': flowMod((c) => (c.options.strict ? 'modify_strict' : 'modify')),
  'del-flows': flowMod((c) => (c.options.strict ? 'delete_strict' : 'delete')),
  'packet-out': packetOut,
  bundle,
};

export const OFPP_ANY = ofpPort(OFPP_NONE);
