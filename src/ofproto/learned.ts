import { isDeepStrictEqual } from 'node:util';
import type { FlowMod } from '../openflow/messages.ts';
import type { Bridge } from './bridge.ts';

/** A packet made a `learn` action add a flow, or shows that it is still wanted. `limit`: most flows with its cookie in the table, 0: any. */
export function learnFlow(bridge: Bridge, fm: FlowMod, limit: number): void {
  const { cls } = bridge.tables[fm.tableId];
  const rule = cls.findExactly(fm.match, fm.priority);
  if (
    rule &&
    rule.cookie === fm.newCookie &&
    rule.idleTimeout === fm.idleTimeout &&
    rule.hardTimeout === fm.hardTimeout &&
    isDeepStrictEqual(rule.actions, fm.actions)
  ) {
    rule.modifiedMs = bridge.nowMs();
    return;
  }
  const log = bridge.backend.deps.vlog('ofproto');
  if (limit && !rule) {
    let n = 0;
    for (const r of cls.rules()) if (r.cookie === fm.newCookie) n++;
    if (n >= limit) {
      log.info(`Learn limit for flow ${fm.newCookie} reached.`);
      return;
    }
  }
  const error = bridge.flowTables.flowMod(fm);
  if (error) bridge.backend.warn(`LEARN action execution failed (${error}).`);
}
