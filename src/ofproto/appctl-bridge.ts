import { formatActions } from '../openflow/action-text.ts';
import { formatMatch } from '../openflow/match-text.ts';
import { type Backends, findBridge, selectBridges } from './appctl-bridges.ts';
import type { Bridge } from './bridge.ts';
import type { CommandRegistry } from './config.ts';
import type { Rule } from './rule.ts';

/** `bridge/…`: all flows, those of the switch itself too, and reconnection. */

function flowLine(rule: Rule, nowMs: number, offload: boolean): string {
  const table = rule.tableId === 0 ? '' : `table_id=${rule.tableId}, `;
  return (
    `${table}duration=${Math.floor((nowMs - rule.createdMs) / 1000)}s, ` +
    `n_packets=${rule.packets}, n_bytes=${rule.bytes}, ` +
    // Nothing is offloaded to hardware.
    `${offload ? 'n_offload_packets=0, n_offload_bytes=0, ' : ''}` +
    `${formatMatch(rule.match(), rule.priority)},actions=${formatActions(rule.actions)}\n`
  );
}

function dumpFlows(bridge: Bridge, offload: boolean): string {
  bridge.pushStats();
  const rules = bridge.tables.flatMap((table) => [...table.cls.rules()]);
  return rules.map((rule) => flowLine(rule, bridge.nowMs(), offload)).join('');
}

export function registerBridge(registry: CommandRegistry, backends: Backends): void {
  registry.register('bridge/dump-flows', '[--offload-stats] bridge', 1, 2, (args) =>
    dumpFlows(findBridge(backends, args.at(-1), 'Unknown bridge'), args.slice(0, -1).includes('--offload-stats')),
  );
  registry.register('ofproto/list-tunnels', '', 0, 0, () =>
    [...backends()].map(({ tunnels }) => tunnels.list()).join(''),
  );
  registry.register('bridge/reconnect', '[bridge]', 0, 1, ([name]) => {
    for (const bridge of selectBridges(backends, name, 'Unknown bridge')) bridge.reconnectControllers();
    return '';
  });
}
