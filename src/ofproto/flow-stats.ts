import { catchallMatch } from '../openflow/match.ts';
import type { FlowRemoved, FlowRemovedReason, FlowStats } from '../openflow/messages.ts';
import type { RuleCriteria } from './flow-tables.ts';
import type { Rule } from './rule.ts';

/** A flow as OpenFlow reports it. */

/** Flows that need no counts (`no_packet_counts`) have them all the same, as in Open vSwitch. */
const counts = (rule: Rule): { packetCount: bigint; byteCount: bigint } => ({
  packetCount: BigInt(rule.packets),
  byteCount: BigInt(rule.bytes),
});

const duration = (rule: Rule, nowMs: number): { durationSec: number; durationNsec: number } => {
  const ms = Math.max(0, nowMs - rule.createdMs);
  return { durationSec: Math.floor(ms / 1000), durationNsec: Math.round((ms % 1000) * 1e6) };
};

export function flowStats(rule: Rule, nowMs: number): FlowStats {
  const age = (sinceMs: number) => Math.min(Math.floor((nowMs - sinceMs) / 1000), 0xffff);
  return {
    match: rule.match(),
    cookie: rule.cookie,
    tableId: rule.tableId,
    priority: rule.priority,
    idleTimeout: rule.idleTimeout,
    hardTimeout: rule.hardTimeout,
    ...duration(rule, nowMs),
    idleAge: age(rule.usedMs),
    hardAge: age(rule.modifiedMs),
    ...counts(rule),
    flags: rule.flags,
    importance: rule.importance,
    actions: rule.actions as FlowStats['actions'],
  };
}

export function flowRemovedMessage(rule: Rule, reason: FlowRemovedReason, nowMs: number): FlowRemoved {
  return {
    type: 'flow_removed',
    match: rule.match(),
    cookie: rule.cookie,
    priority: rule.priority,
    reason,
    tableId: rule.tableId,
    ...duration(rule, nowMs),
    idleTimeout: rule.idleTimeout,
    hardTimeout: rule.hardTimeout,
    ...counts(rule),
  };
}

/** Criteria that every flow of a controller meets. */
export const allRules = (): RuleCriteria => ({
  match: catchallMatch(),
  tableId: 255,
  cookie: 0n,
  cookieMask: 0n,
  outPort: 0xffffffff,
  outGroup: 0xffffffff,
});
