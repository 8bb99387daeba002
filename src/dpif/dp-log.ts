import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import type { Flow, FlowWildcards } from '../flow/flow.ts';
import { flowFromPacket } from '../flow/packet-flow.ts';
import { formatFlow } from '../openflow/flow-format.ts';
import type { DpAction, DpFlow, DpFlowStats, Upcall } from './dpif.ts';
import { formatOdpActions } from './odp-action-text.ts';
import { formatOdpFlow, formatOdpStats } from './odp-text.ts';

/** What a datapath says at level DBG about each flow and upcall, in Open vSwitch's words; made only when somebody listens. */

const netdevLog = vlogModule('dpif_netdev');
const dpifLog = vlogModule('dpif');
const upcallLimit = new VlogRateLimit(600, 600);
const messageLimit = new VlogRateLimit(600, 600);

/** A flow's identifier as a UUID. */
export const ufidText = (ufid: string): string =>
  `ufid:${ufid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')}`;

export function logUpcall(dpName: string, { type, key, packet }: Upcall): void {
  netdevLog.dbgRl(upcallLimit, () => {
    const text = formatOdpFlow(key, undefined, { verbose: true });
    return `${dpName}: ${type} upcall:\n${text}\n${formatFlow(flowFromPacket(packet, 0))}\n`;
  });
}

const keyOf = (flow: DpFlow): Flow => flow.exact ?? flow.key;

export function logFlowAdd(flow: DpFlow): void {
  netdevLog.dbgRl(upcallLimit, () => {
    const match = formatOdpFlow(keyOf(flow), flow.mask);
    const ufid = ufidText(flow.ufid);
    return `flow_add: ${ufid} mega_${ufid} ${match}, actions:${formatOdpActions(flow.actions)}`;
  });
}

export function logFlowMod(flow: DpFlow, before: readonly DpAction[]): void {
  netdevLog.dbgRl(upcallLimit, () => {
    const match = formatOdpFlow(keyOf(flow), flow.mask);
    const ufid = ufidText(flow.ufid);
    const actions = `old_actions:${formatOdpActions(before)}, actions:${formatOdpActions(flow.actions)}`;
    return `flow_mod: ${ufid} mega_${ufid} ${match}, ${actions}`;
  });
}

/** `dpName` as `dummy@ovs-dummy`. */
export function logFlowMessage(
  dpName: string,
  operation: string,
  flow: { ufid: string; key: Flow; mask?: FlowWildcards; actions?: readonly DpAction[] },
  stats?: DpFlowStats,
  nowMs = 0,
): void {
  dpifLog.dbgRl(messageLimit, () => {
    const counters = stats ? `, ${formatOdpStats(stats, nowMs)}` : '';
    const actions = flow.actions ? `, actions:${formatOdpActions(flow.actions)}` : '';
    const key = formatOdpFlow(flow.key, flow.mask, { verbose: true });
    return `${dpName}: ${operation} ${ufidText(flow.ufid)} ${key}${counters}${actions}`;
  });
}

export function logExecute(dpName: string, prefix: string, key: Flow, actions: readonly DpAction[], mtu: number): void {
  dpifLog.dbgRl(messageLimit, () => {
    const metadata = formatOdpFlow(key, undefined, { verbose: true });
    return (
      `${dpName}: ${prefix}execute ${formatOdpActions(actions)} on packet ${formatFlow(key)}\n` +
      ` with metadata ${metadata} mtu ${mtu}`
    );
  });
}
