import type { OdpPort } from '../base/types.ts';
import { UnixctlError } from '../base/unixctl.ts';
import { OdpParseError, parseOdpFlow, splitTop } from '../dpif/odp-parse.ts';
import { composePacket } from '../flow/compose.ts';
import { limitVlans } from '../flow/extract.ts';
import type { Flow } from '../flow/flow.ts';
import { flowFromPacket } from '../flow/packet-flow.ts';
import { FLOW_MEMBERS } from '../gen/flow.ts';
import { checkActions } from '../openflow/action-check.ts';
import { parseExactFlow } from '../openflow/exact-flow.ts';
import { FlowTextError, parseActions } from '../openflow/flow-text.ts';
import type { Bridge } from './bridge.ts';
import type { CommandRegistry } from './config.ts';
import { packetWildcards } from './flow-format.ts';
import { bridgeFlow } from './megaflow.ts';
import type { OfprotoBackend } from './ofproto-backend.ts';
import { N_TABLES } from './oftable.ts';
import { portNames } from './trace-format.ts';
import { formatCtState, type TraceRequest, traceFlow } from './trace-run.ts';
import { lookupIngress } from './xlate/lookup.ts';

/** `ofproto/trace` and `ofproto/trace-packet-out`: their arguments. */

interface TraceArgs {
  words: string[];
  generate: boolean;
  names: boolean;
  consistent: boolean;
  payload: Uint8Array | undefined;
  ctStates: number[];
}

const L7_MAX = 64000;

function optionValue(option: string, rest: string[]): string {
  const value = rest.shift();
  if (value === undefined) throw new UnixctlError(`Missing argument for option ${option}`);
  return value;
}

function payloadFromHex(text: string): Uint8Array {
  const { bytes, end } = readHex(text);
  if (end !== text.length) throw new UnixctlError('Trailing garbage in packet data');
  return bytes;
}

function payloadOfSize(text: string): Uint8Array {
  const n = Number.parseInt(text, 10) || 0;
  if (n > L7_MAX || n < 0) throw new UnixctlError(`${text}: too much L7 data`);
  return Uint8Array.from({ length: n }, (_, i) => i);
}

const CS_NEW = 0x01;
const CS_ESTABLISHED = 0x02;
const CS_REPLY_DIR = 0x08;
const CS_INVALID = 0x10;
const CS_TRACKED = 0x20;
/** Names of connection states, by bit; some have two. */
const CT_STATE_BITS: Readonly<Record<string, number>> = {
  new: CS_NEW,
  est: CS_ESTABLISHED,
  rel: 0x04,
  rpl: CS_REPLY_DIR,
  inv: CS_INVALID,
  trk: CS_TRACKED,
  snat: 0x40,
  dnat: 0x80,
};

/** What no packet's state can be. */
const CT_RULES: readonly (readonly [(s: number) => boolean, string])[] = [
  [(s) => s !== 0 && !(s & CS_TRACKED), 'If "trk" is unset, no other flags are set'],
  [
    (s) => (s & CS_INVALID) !== 0 && (s & ~(CS_TRACKED | CS_INVALID)) !== 0,
    'when "inv" is set, only "trk" may also be set',
  ],
  [(s) => (s & CS_NEW) !== 0 && (s & CS_ESTABLISHED) !== 0, '"new" and "est" are mutually exclusive'],
  [(s) => (s & CS_NEW) !== 0 && (s & CS_REPLY_DIR) !== 0, '"new" and "rpy" are mutually exclusive'],
];

function parseCtState(text: string): number {
  let state = 0;
  for (const word of text.split(/[, ]+/).filter(Boolean)) {
    const bit = CT_STATE_BITS[word];
    if (!bit) throw new UnixctlError(`${word}: unknown connection tracking state flag`);
    state |= bit;
  }
  const wrong = CT_RULES.filter(([breaks]) => breaks(state));
  if (wrong.length)
    throw new UnixctlError(
      wrong.map(([, why]) => `${formatCtState(state)}: invalid connection state: ${why}\n`).join(''),
    );
  return state;
}

function takeOptions(args: readonly string[], packetOut: boolean): TraceArgs {
  const taken: TraceArgs = {
    words: [],
    generate: false,
    names: false,
    consistent: false,
    payload: undefined,
    ctStates: [],
  };
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (/^--?generate$/.test(arg)) taken.generate = true;
    else if (/^--?names$/.test(arg)) taken.names = true;
    else if (packetOut && /^--?consistent$/.test(arg)) taken.consistent = true;
    else if (arg === '--l7') taken.payload = payloadFromHex(optionValue(arg, rest));
    else if (arg === '--l7-len') taken.payload = payloadOfSize(optionValue(arg, rest));
    else if (arg === '--ct-next') taken.ctStates.push(parseCtState(optionValue(arg, rest)));
    else if (arg.startsWith('-')) throw new UnixctlError(`${arg}: unknown option`);
    else if (taken.words.length >= 3) throw new UnixctlError('too many arguments');
    else taken.words.push(arg);
  }
  return taken;
}

/** Pairs of hexadecimal digits, with space between them; `end`: where they stop. */
function readHex(text: string): { bytes: Uint8Array; end: number } {
  const bytes: number[] = [];
  const pair = /[ \t\r\n]*([0-9a-fA-F]{2})/y;
  let end = 0;
  for (let m = pair.exec(text); m; m = pair.exec(text)) {
    bytes.push(Number.parseInt(m[1], 16));
    end = pair.lastIndex;
  }
  while (' \t\r\n'.includes(text[end] ?? '-')) end++;
  return { bytes: Uint8Array.from(bytes), end };
}

const ETH_HEADER = 14;

/** A whole frame in hexadecimal, or why it is none. */
function packetFromHex(text: string): Uint8Array | string {
  const { bytes, end } = readHex(text);
  if (end !== text.length) return 'Trailing garbage in packet data';
  return bytes.length < ETH_HEADER ? 'Packet data too short for Ethernet' : bytes;
}

/** The backend that a datapath's name means; without one, the only one there is. */
function findBackend(backends: Iterable<OfprotoBackend>, name: string | undefined): OfprotoBackend | undefined {
  const all = [...backends];
  if (name === undefined) return all.length === 1 ? all[0] : undefined;
  const type = name.replace(/^ovs-/, '');
  return all.find(({ dpif }) => dpif.type === type || dpif.name === name || `${dpif.type}@${dpif.name}` === name);
}

interface Start {
  bridge: Bridge;
  flow: Flow;
}

/** From where on a text is no datapath flow. */
function odpSyntaxError(text: string, parse: (item: string) => unknown): string {
  let at = 0;
  try {
    for (const item of splitTop(text)) {
      at = text.indexOf(item, at);
      parse(item);
      at += item.length;
    }
  } catch {
    // The item at `at` is it.
  }
  return `syntax error at ${text.slice(at)}`;
}

/** A datapath flow, taken to the bridge that it enters by; a text: why it is none. */
function fromOdpFlow(backend: OfprotoBackend | undefined, text: string): Start | string {
  const ports = new Map<string, OdpPort>();
  for (const p of backend?.dpif.ports() ?? []) ports.set(p.name, p.odpPort);
  const parse = (item: string) => parseOdpFlow(item, (name) => ports.get(name));
  let flow: Flow;
  try {
    ({ flow } = parse(text));
  } catch (e) {
    if (!(e instanceof OdpParseError)) throw e;
    return odpSyntaxError(text, parse);
  }
  if (!backend) throw new UnixctlError('Cannot find the datapath');
  limitVlans(flow);
  const from = lookupIngress(flow, backend.recircs, (odp) => backend.portOf(odp, flow));
  if (typeof from === 'string') throw new UnixctlError(from);
  return { bridge: from.bridge as Bridge, flow: bridgeFlow(flow, from) };
}

function fromOpenflow(backends: Iterable<OfprotoBackend>, name: string, text: string): Start {
  let bridge: Bridge | undefined;
  for (const backend of backends) bridge ??= backend.bridge(name);
  if (!bridge) throw new UnixctlError(`${name}: unknown bridge`);
  try {
    return { bridge, flow: parseExactFlow(text, portNames(bridge), bridge.tunTable) };
  } catch (e) {
    if (!(e instanceof FlowTextError)) throw e;
    throw new UnixctlError(`Bad openflow flow syntax: ${e.message}`);
  }
}

const METADATA_END = FLOW_MEMBERS.dl_dst.offset;

/** The headers of a packet with the metadata of `flow`. */
function withMetadata(packet: Uint8Array, flow: Flow): Flow {
  const parsed = flowFromPacket(packet, flow.inPort, undefined, flow.packetType);
  const { packetType } = parsed;
  parsed.u8.set(flow.u8.subarray(0, METADATA_END));
  parsed.packetType = packetType;
  return parsed;
}

/** What the words before the actions of trace-packet-out, or all of trace's, ask for. */
function parseRequest(backends: Iterable<OfprotoBackend>, args: TraceArgs): TraceRequest {
  const { words, generate, names, payload, ctStates } = args;
  let packet: Uint8Array | undefined;
  if (!generate && words.length > 1) {
    const hex = packetFromHex(words.at(-1)!);
    if (typeof hex !== 'string') {
      packet = hex;
      words.pop();
    } else if (words.length > 2) throw new UnixctlError(hex);
  }
  if (words.length < 1 || words.length > 2) throw new UnixctlError('Syntax error');
  const text = words.at(-1)!;
  const name = words.length === 2 ? words[0] : undefined;
  const found = fromOdpFlow(findBackend(backends, name), text);
  if (typeof found === 'string' && name === undefined)
    throw new UnixctlError(`${found} (or the bridge name was omitted)`);
  const { bridge, flow } = typeof found === 'string' ? fromOpenflow(backends, name!, text) : found;
  const request = { bridge, names, ctStates };
  if (generate) return { ...request, flow, packet: composePacket(flow, payload && [...payload]) };
  return packet ? { ...request, packet, flow: withMetadata(packet, flow) } : { ...request, flow };
}

/** A frame from text: a datapath flow, or one of ovs-ofctl (`netdev-dummy/receive`). Throws with what is wrong. */
export function flowToPacket(text: string, size?: number): Uint8Array {
  let flow: Flow;
  try {
    ({ flow } = parseOdpFlow(text));
  } catch {
    flow = parseExactFlow(text);
  }
  const packet = composePacket(flow);
  if (size === undefined || size <= packet.length) return packet;
  const padded = new Uint8Array(size);
  padded.set(packet);
  return padded;
}

function tracePacketOut(backends: Iterable<OfprotoBackend>, args: readonly string[]): string {
  const text = args.at(-1)!;
  let actions: ReturnType<typeof parseActions>;
  try {
    actions = parseActions(text);
  } catch (e) {
    if (!(e instanceof FlowTextError)) throw e;
    throw new UnixctlError(e.message);
  }
  const options = takeOptions(args.slice(0, -1), true);
  const request = parseRequest(backends, options);
  const { bridge, flow } = request;
  const match = { flow: flow.clone(), wc: packetWildcards(flow) };
  const bounds = { nTables: N_TABLES, tableId: 0, allowInconsistent: !options.consistent };
  const bad = checkActions(actions, match, bounds) ?? bridge.openflow.checkReferences(actions);
  if (bad) throw new UnixctlError(`Bad actions: ${bad}`);
  return traceFlow({ ...request, actions });
}

export function registerTrace(registry: CommandRegistry, backends: () => Iterable<OfprotoBackend>): void {
  const syntax = '{[dp_name] odp_flow | bridge br_flow} [OPTIONS...] [-generate|packet]';
  registry.register('ofproto/trace', syntax, 1, Number.POSITIVE_INFINITY, (args) =>
    traceFlow(parseRequest([...backends()], takeOptions(args, false))),
  );
  registry.register(
    'ofproto/trace-packet-out',
    `[-consistent] ${syntax} actions`,
    2,
    Number.POSITIVE_INFINITY,
    (args) => tracePacketOut([...backends()], args),
  );
}
