import { formatActions, formatMatch } from '../openflow/flow-text.ts';
import { FF_SEND_FLOW_REM, type FlowMod } from '../openflow/messages.ts';
import type { PortNames } from '../openflow/port.ts';
import type { Bridge } from './bridge.ts';
import type { Rule } from './rule.ts';
import type { TraceFormat, TraceNode, XBridge, XlateOfpact } from './xlate/types.ts';

/** What a trace is made of, as text. */

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

/** Names of a bridge's ports. */
export function portNames(bridge: Bridge): PortNames {
  return {
    nameOf: (port) => bridge.bridgePort(port)?.name,
    numberOf: (name) => bridge.portByName(name)?.ofpPort,
  };
}

function actionText(a: XlateOfpact, names?: PortNames): string {
  if (a.type === 'unroll_xlate') return `unroll_xlate(table=${a.tableId}, cookie=${a.cookie})`;
  return formatActions([a], names);
}

const hex = (n: bigint): string => `0x${n.toString(16)}`;

function ruleText(rule: Rule, names: PortNames | undefined): string {
  const match = formatMatch(rule.match(), undefined, names);
  const cookie = rule.cookie ? `, cookie ${hex(rule.cookie)}` : '';
  return `${match ? `${match}, ` : ''}priority ${rule.priority}${cookie}`;
}

/** A flow that `learn` adds. */
function learnedText(fm: FlowMod): string {
  const match = formatMatch(fm.match);
  const cookie = fm.newCookie ? ` cookie=${hex(fm.newCookie)}` : '';
  const idle = fm.idleTimeout ? ` idle=${fm.idleTimeout}` : '';
  const hard = fm.hardTimeout ? ` hard=${fm.hardTimeout}` : '';
  const rem = fm.flags & FF_SEND_FLOW_REM ? ' send_flow_rem' : '';
  const timeouts = `${cookie}${idle}${hard}${rem}`;
  return `table=${fm.tableId}${match ? ` ${match}` : ''} priority=${fm.priority}${timeouts} actions=${formatActions(fm.actions)}`;
}

/** How translation writes what it meets; `names`: ports by name. */
export function traceFormat(names: boolean): TraceFormat {
  const namesOf = (bridge: XBridge) => (names ? portNames(bridge as Bridge) : undefined);
  return {
    action: (a, bridge) => actionText(a, namesOf(bridge)),
    actions: (list) => list.map((a) => actionText(a)).join(','),
    rule: (rule, bridge) => ruleText(rule, namesOf(bridge)),
    learned: learnedText,
  };
}
