import type { OdpPort, OfpPort } from '../base/types.ts';
import { UnixctlError } from '../base/unixctl.ts';
import type { DpAction } from '../dpif/dpif.ts';
import { formatOdpActions } from '../dpif/odp-action-text.ts';
import { parseOdpFlow } from '../dpif/odp-parse.ts';
import { composePacket } from '../flow/compose.ts';
import type { Flow } from '../flow/flow.ts';
import { flowFromPacket } from '../flow/packet-flow.ts';
import { FLOW_MEMBERS } from '../gen/flow.ts';
import { FlowTextError, formatAction, formatActions, formatMatch, parseMatch } from '../openflow/flow-text.ts';
import type { PortNames } from '../openflow/port.ts';
import type { Bridge } from './bridge.ts';
import type { CommandRegistry } from './config.ts';
import { formatFlow } from './flow-format.ts';
import { withInPort } from './megaflow.ts';
import type { OfprotoBackend } from './ofproto-backend.ts';
import { OFPP_UNSET } from './ports.ts';
import type { Rule } from './rule.ts';
import { type SlowReason, type TraceNode, XLATE_ERRORS, type XlateOut } from './xlate/types.ts';
import { xlateActions } from './xlate/xlate.ts';

/** `ofproto/trace`: the way of a packet through the tables, in the words of ovs-vswitchd(8). */

const SLOW_EXPLANATIONS: Readonly<Record<SlowReason, string>> = {
  controller: 'Sends "packet-in" messages to the OpenFlow controller',
  action: 'Uses action(s) not supported by datapath',
  match: 'Matches fields that the datapath does not support',
  lacp: 'Consists of LACP packets',
};

const isTerminal = (node: TraceNode): boolean =>
  node.type !== 'bridge' && node.type !== 'table' && node.type !== 'thaw';

function nodeText(node: TraceNode, indent: string): string {
  switch (node.type) {
    case 'detail':
      return `${indent} -> ${node.text}\n`;
    case 'warn':
      return `${indent} >> ${node.text}\n`;
    case 'error':
      return `${indent} >>>> ${node.text} <<<<\n`;
    case 'bridge':
      return `${indent}${node.text}\n${indent}${'-'.repeat(node.text.length)}\n`;
    default:
      return `${indent}${node.text}\n`;
  }
}

/** The tree as text; what ends a branch is not indented further, so that long chains of tables stay readable. */
export function formatTrace(nodes: readonly TraceNode[], level = 0): string {
  return nodes
    .map((node, i) => {
      const more = i < nodes.length - 1 || isTerminal(node) ? 1 : 0;
      const text = nodeText(node, ' '.repeat((level + more) * 4));
      return (node.type === 'bridge' ? '\n' : '') + text + formatTrace(node.subs, level + more + more);
    })
    .join('');
}

const ruleText = (names: PortNames | undefined) => (rule: Rule) => {
  const match = formatMatch(rule.match(), undefined, names);
  const cookie = rule.cookie ? `, cookie 0x${rule.cookie.toString(16)}` : '';
  return `${match ? `${match}, ` : ''}priority ${rule.priority}${cookie}`;
};

function portNames(bridge: Bridge): PortNames {
  return {
    nameOf: (port) => bridge.bridgePort(port)?.name,
    numberOf: (name) => bridge.portByName(name)?.ofpPort,
  };
}

export interface TraceRequest {
  bridge: Bridge;
  /** `inPort` is an OpenFlow port. */
  flow: Flow;
  packet?: Uint8Array | undefined;
  names?: boolean | undefined;
}

/** Traces a packet. With `packet`, its side effects happen, but for outputs. */
export function traceFlow({ bridge, flow, packet, names }: TraceRequest): string {
  const backend = bridge.backend as OfprotoBackend;
  const shown = names ? portNames(bridge) : undefined;
  const nodes: TraceNode[] = [];
  const out = xlateActions({
    bridge,
    flow,
    packet,
    dontSend: packet === undefined,
    trace: {
      nodes,
      format: {
        action: (a) => formatAction(a, shown),
        actions: (list) => formatActions(list, shown),
        rule: ruleText(shown),
      },
    },
    recircId: (state) => backend.recircId(state),
  });
  if (packet && !out.error) runSideEffects(backend, bridge, flow, packet, out);
  return `Flow: ${formatFlow(flow, shown)}\n${formatTrace(nodes)}${resultText(backend, flow, out, shown)}`;
}

function resultText(backend: OfprotoBackend, flow: Flow, out: XlateOut, names: PortNames | undefined): string {
  const initial = flow.clone();
  initial.actsetOutput = OFPP_UNSET;
  const finalFlow = initial.equals(out.flow) ? 'unchanged' : formatFlow(out.flow, names);
  const masked = flow.clone();
  masked.maskWith(out.wc);
  const megaflow = formatMatch({ flow: masked, wc: out.wc }, undefined, names);
  const dpNames = names && new Map([...backend.dpif.ports()].map((p) => [p.odpPort, p.name] as const));
  const actions = formatOdpActions(out.actions, { portName: dpNames && ((port) => dpNames.get(port)) });
  const text = `\nFinal flow: ${finalFlow}\nMegaflow: ${megaflow}\nDatapath actions: ${actions}`;
  if (out.error) return `${text}\nTranslation failed (${XLATE_ERRORS[out.error]}), packet is dropped.\n`;
  if (out.slow.size === 0) return text;
  const reasons = [...out.slow].map((reason) => `\n  - ${SLOW_EXPLANATIONS[reason]}.`);
  return `${text}\nThis flow is handled by the userspace slow path because it:${reasons.join('')}`;
}

const withoutOutputs = (actions: readonly DpAction[]): DpAction[] =>
  actions
    .filter((a) => a.type !== 'output' && a.type !== 'recirc')
    .map((a) => (a.type === 'clone' ? { ...a, actions: withoutOutputs(a.actions) } : a));

/** Learns addresses and sends packet-ins. */
function runSideEffects(backend: OfprotoBackend, bridge: Bridge, flow: Flow, packet: Uint8Array, out: XlateOut): void {
  backend.creditOne(
    out.effects.filter((e) => e.type === 'learn'),
    packet.length,
  );
  const actions = withoutOutputs(out.actions);
  const odp = bridge.bridgePort(flow.inPort as OfpPort)?.odpPort ?? 0xffffffff;
  if (actions.length) backend.dpif.execute(packet, withInPort(flow, odp), actions);
}

interface TraceArgs {
  words: string[];
  generate: boolean;
  names: boolean;
  payload: number[] | undefined;
}

function takeOptions(args: readonly string[]): TraceArgs {
  const taken: TraceArgs = { words: [], generate: false, names: false, payload: undefined };
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (/^--?generate$/.test(arg)) taken.generate = true;
    else if (/^--?names$/.test(arg)) taken.names = true;
    else if (arg === '--l7' || arg === '--l7-len' || arg === '--ct-next') {
      const value = rest.shift();
      if (value === undefined) throw new UnixctlError(`Missing argument for option ${arg}`);
      if (arg === '--l7') taken.payload = [...Buffer.from(value, 'hex')];
      else if (arg === '--l7-len') taken.payload = new Array<number>(Math.min(Number(value), 64000)).fill(0);
    } else if (arg.startsWith('-')) throw new UnixctlError(`${arg}: unknown option`);
    else if (taken.words.length >= 3) throw new UnixctlError('too many arguments');
    else taken.words.push(arg);
  }
  return taken;
}

/** A whole frame in hexadecimal, or undefined. */
function packetFromHex(text: string): Uint8Array | undefined {
  const digits = text.replace(/\s/g, '');
  if (!/^([0-9a-f]{2})+$/i.test(digits) || digits.length < 28) return undefined;
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

/** The backend that a datapath's name means; without one, the only one there is. */
function findBackend(backends: Iterable<OfprotoBackend>, name: string | undefined): OfprotoBackend | undefined {
  const all = [...backends];
  if (name === undefined) return all.length === 1 ? all[0] : undefined;
  const type = name.replace(/^ovs-/, '');
  return all.find(({ dpif }) => dpif.type === type || dpif.name === name || `${dpif.type}@${dpif.name}` === name);
}

/** A datapath flow, taken to the bridge that it enters by; undefined when the text is none. */
function fromOdpFlow(backend: OfprotoBackend | undefined, text: string): { bridge: Bridge; flow: Flow } | undefined {
  const ports = new Map<string, OdpPort>();
  for (const p of backend?.dpif.ports() ?? []) ports.set(p.name, p.odpPort);
  let flow: Flow;
  try {
    ({ flow } = parseOdpFlow(text, (name) => ports.get(name)));
  } catch {
    return undefined;
  }
  if (!backend) throw new UnixctlError('Cannot find the datapath');
  const port = backend.portOf(flow.inPort);
  if (!port) throw new UnixctlError(`no OpenFlow port for datapath port ${flow.inPort}`);
  return { bridge: port.bridge as Bridge, flow: withInPort(flow, port.ofpPort) };
}

function fromOpenflow(backends: Iterable<OfprotoBackend>, name: string, text: string): { bridge: Bridge; flow: Flow } {
  let bridge: Bridge | undefined;
  for (const backend of backends) bridge ??= backend.bridge(name);
  if (!bridge) throw new UnixctlError(`${name}: unknown bridge`);
  try {
    return { bridge, flow: exactFlow(text, portNames(bridge)) };
  } catch (e) {
    if (!(e instanceof FlowTextError)) throw e;
    throw new UnixctlError(`Bad openflow flow syntax: ${e.message}`);
  }
}

/** A flow of `ovs-ofctl` syntax as one packet's headers. */
function exactFlow(text: string, names?: PortNames): Flow {
  const { flow } = parseMatch(text, names);
  if (flow.vlanTci0 && !flow.vlanTpid0) flow.vlanTpid0 = 0x8100;
  return flow;
}

const METADATA_END = FLOW_MEMBERS.dl_dst.offset;

function parseRequest(backends: Iterable<OfprotoBackend>, args: readonly string[]): TraceRequest {
  const { words, generate, names, payload } = takeOptions(args);
  let packet = !generate && words.length > 1 ? packetFromHex(words.at(-1)!) : undefined;
  if (packet) words.pop();
  else if (words.length > 2) throw new UnixctlError('Error parsing packet: expected hex string');
  if (words.length < 1) throw new UnixctlError('Syntax error');
  const text = words.at(-1)!;
  const name = words.length === 2 ? words[0] : undefined;
  const found = fromOdpFlow(findBackend(backends, name), text);
  if (!found && name === undefined) throw new UnixctlError(`${text}: syntax error (or the bridge name was omitted)`);
  const { bridge, flow } = found ?? fromOpenflow(backends, name!, text);
  if (generate) packet = composePacket(flow, payload);
  if (!packet || generate) return { bridge, flow, packet, names };
  const parsed = flowFromPacket(packet, flow.inPort);
  parsed.u8.set(flow.u8.subarray(0, METADATA_END));
  return { bridge, flow: parsed, packet, names };
}

/** A frame from text: a datapath flow, or one of ovs-ofctl (`netdev-dummy/receive`). Throws with what is wrong. */
export function flowToPacket(text: string, size?: number): Uint8Array {
  let flow: Flow;
  try {
    ({ flow } = parseOdpFlow(text));
  } catch {
    flow = exactFlow(text);
  }
  const packet = composePacket(flow);
  if (size === undefined || size <= packet.length) return packet;
  const padded = new Uint8Array(size);
  padded.set(packet);
  return padded;
}

export function registerTrace(registry: CommandRegistry, backends: () => Iterable<OfprotoBackend>): void {
  registry.register(
    'ofproto/trace',
    '{[dp_name] odp_flow | bridge br_flow} [OPTIONS...] [-generate|packet]',
    1,
    Number.POSITIVE_INFINITY,
    (args) => traceFlow(parseRequest([...backends()], args)),
  );
}
