import { NX_NAT_F_DST, NX_NAT_F_SRC } from '../../protocols/openflow-actions.ts';
import { formatIpv4, formatIpv6 } from '../base/address.ts';
import type { OfpPort } from '../base/types.ts';
import type { DpAction } from '../dpif/dpif.ts';
import { formatOdpActions } from '../dpif/odp-action-text.ts';
import type { Flow } from '../flow/flow.ts';
import type { Ofpact, OfpactOf } from '../openflow/actions.ts';
import { formatMatch } from '../openflow/flow-text.ts';
import type { PortNames } from '../openflow/port.ts';
import type { Bridge, BridgeBackend } from './bridge.ts';
import { formatFlow } from './flow-format.ts';
import { withInPort } from './megaflow.ts';
import { OFPP_UNSET } from './ports.ts';
import { formatTrace, portNames, traceFormat } from './trace-format.ts';
import { type RecircNode, type SlowReason, type TraceNode, XLATE_ERRORS, type XlateOut } from './xlate/types.ts';
import { xlateActions } from './xlate/xlate.ts';

/** A trace: the way of a packet through the tables, in the words of ovs-vswitchd(8). */

const SLOW_EXPLANATIONS: Readonly<Record<SlowReason, string>> = {
  lacp: 'Consists of LACP packets',
  controller: 'Sends "packet-in" messages to the OpenFlow controller',
  action: 'Uses action(s) not supported by datapath',
  match: 'Matches fields that the datapath does not support',
};
const SLOW_ORDER = Object.keys(SLOW_EXPLANATIONS) as SlowReason[];

export interface TraceRequest {
  bridge: Bridge;
  /** `inPort` is an OpenFlow port. */
  flow: Flow;
  packet?: Uint8Array | undefined;
  names?: boolean | undefined;
  /** Run these instead of looking up the flow (ofproto/trace-packet-out). */
  actions?: readonly Ofpact[] | undefined;
  /** What connection tracking says of the packet, each time that it comes back. */
  ctStates?: readonly number[] | undefined;
}

/** Traces a packet. With `packet`, its side effects happen, but for outputs. */
export function traceFlow(request: TraceRequest): string {
  const { bridge } = request;
  const queue: RecircNode[] = [];
  const ctStates = [...(request.ctStates ?? [])];
  let text = traceOnce(request, queue);
  for (let node = queue.shift(); node; node = queue.shift()) {
    text += recircHeader(node, ctStates);
    text += traceOnce({ ...request, flow: node.flow, packet: node.packet }, queue);
    bridge.recircs.unref(node.recircId);
  }
  return text;
}

function traceOnce({ bridge, flow, packet, names, actions }: TraceRequest, recircQueue: RecircNode[]): string {
  const { backend } = bridge;
  const shown = names ? portNames(bridge) : undefined;
  const nodes: TraceNode[] = [];
  const out = xlateActions({
    bridge,
    flow,
    packet,
    actions: actions?.length ? actions : undefined,
    dontSend: packet === undefined,
    learnNow: packet !== undefined,
    recircQueue,
    trace: { nodes, format: traceFormat(names ?? false) },
  });
  const text = `Flow: ${formatFlow(flow, shown)}\n${formatTrace(nodes)}${resultText(backend, flow, out, shown)}`;
  if (packet && !out.error) runSideEffects(backend, bridge, flow, packet, out);
  bridge.recircs.unrefAll(out.recircs);
  return text;
}

function resultText(backend: BridgeBackend, flow: Flow, out: XlateOut, names: PortNames | undefined): string {
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
  const reasons = SLOW_ORDER.filter((r) => out.slow.has(r)).map((r) => `\n  - ${SLOW_EXPLANATIONS[r]}.`);
  return `${text}\nThis flow is handled by the userspace slow path because it:${reasons.join('')}`;
}

const CT_STATES = ['new', 'est', 'rel', 'rpl', 'inv', 'trk', 'snat', 'dnat'];
const CS_NEW = 0x01;
const CS_TRACKED = 0x20;

export const formatCtState = (state: number): string => CT_STATES.filter((_, i) => state & (1 << i)).join('|') || '0';

const RULER = '='.repeat(79);

/** Says that the packet comes back, and sets what is new of it. */
function recircHeader(node: RecircNode, ctStates: number[]): string {
  const { flow, nat, recircId } = node;
  const state = ctStates.shift();
  flow.ctState = state ?? CS_TRACKED | CS_NEW;
  const said =
    state === undefined
      ? ' - resume conntrack with default ct_state=trk|new (use --ct-next to customize)'
      : ` - resume conntrack with ct_state=${formatCtState(state)}`;
  const id = `recirc(0x${recircId.toString(16)})`;
  return `\n\n${RULER}\n${id}${said}\n${nat ? natText(flow, nat) : ''}${RULER}\n\n`;
}

/** Takes the first address and port of the range. */
function natText(flow: Flow, { flags, range }: OfpactOf<'nat'>): string {
  const before = addressText(flow, range.addrMin);
  const { addrMin, portMin } = range;
  const ip = (b: Uint8Array) => new DataView(b.buffer, b.byteOffset).getUint32(0);
  if (flags & NX_NAT_F_SRC) {
    if (addrMin?.length === 4) flow.nwSrc = ip(addrMin);
    else if (addrMin) flow.ipv6Src = addrMin;
    if (addrMin && portMin) flow.tpSrc = portMin;
  }
  if (flags & NX_NAT_F_DST) {
    if (addrMin?.length === 4) flow.nwDst = ip(addrMin);
    else if (addrMin) flow.ipv6Dst = addrMin;
    if (addrMin && portMin) flow.tpDst = portMin;
  }
  const after = addressText(flow, addrMin);
  return `Replacing src/dst IP/ports to simulate NAT:\n Initial flow: ${before}\n Modified flow: ${after}\n`;
}

function addressText(flow: Flow, like: Uint8Array | undefined): string {
  const ports = [`tp_src=${flow.tpSrc}`, `tp_dst=${flow.tpDst}`];
  if (like?.length === 4)
    return `nw_src=${formatIpv4(flow.nwSrc)},${ports[0]},nw_dst=${formatIpv4(flow.nwDst)},${ports[1]}`;
  if (like?.length !== 16) return '';
  return `ipv6_src=[${formatIpv6(flow.ipv6Src)}],${ports[0]},ipv6_dst=[${formatIpv6(flow.ipv6Dst)}],${ports[1]}`;
}

const withoutOutputs = (actions: readonly DpAction[]): DpAction[] =>
  actions
    .filter((a) => a.type !== 'output' && a.type !== 'recirc')
    .map((a) => (a.type === 'clone' ? { ...a, actions: withoutOutputs(a.actions) } : a));

/** Learns, and sends packet-ins. */
function runSideEffects(backend: BridgeBackend, bridge: Bridge, flow: Flow, packet: Uint8Array, out: XlateOut): void {
  backend.creditOne(
    out.effects.filter((e) => e.type === 'learn' || e.type === 'learn_flow' || e.type === 'fin'),
    packet.length,
  );
  const actions = withoutOutputs(out.actions);
  const odp = bridge.bridgePort(flow.inPort as OfpPort)?.odpPort ?? 0xffffffff;
  if (actions.length) backend.dpif.execute(packet, withInPort(flow, odp), actions);
}
