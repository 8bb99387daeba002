import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { Ofpact } from '../openflow/actions.ts';
import type { FlowRemovedReason } from '../openflow/messages.ts';
import {
  type FlowMonitorRequest,
  type FlowUpdate,
  type FlowUpdateFull,
  FMF_ADD,
  FMF_INITIAL,
  FMF_INSTRUCTIONS,
  FMF_MODIFY,
  FMF_ONLY_OWN,
  FMF_REMOVED,
} from '../openflow/messages-monitor.ts';
import {
  ALL_TABLES,
  type FlowTables,
  hasOutGroup,
  hasOutPort,
  type MonitorEvent,
  outputsTo,
  type RuleCriteria,
} from './flow-tables.ts';
import type { Ofconn } from './ofconn.ts';
import { N_TABLES } from './oftable.ts';
import type { Rule } from './rule.ts';
import type { Requester } from './transaction.ts';

/** Flow monitors: controllers that want to be told what changes in the flow tables (NXST_FLOW_MONITOR; OpenFlow 1.4 section 7.3.5.17). */

/** What one connection monitors. */
interface ConnMonitors {
  readonly byId: Map<number, FlowMonitorRequest>;
  /** Since when it is paused, as a sequence number; 0: it is not. */
  paused: number;
  /** Not sent yet. */
  updates: FlowUpdate[];
  abbreviated: boolean;
}

/** Above so many unsent bytes a connection's updates are paused. */
const PAUSE_BYTES = 128 << 10;

const UPDATE_FLAG = { added: FMF_ADD, modified: FMF_MODIFY, removed: FMF_REMOVED } as const;

const criteria = (m: FlowMonitorRequest): RuleCriteria => ({
  match: m.match,
  tableId: m.tableId,
  cookie: 0n,
  cookieMask: 0n,
  outPort: m.outPort,
  outGroup: m.outGroup,
});

function fullUpdate(rule: Rule, event: FlowUpdateFull['event'], flags: number): FlowUpdateFull {
  return {
    event,
    idleTimeout: rule.idleTimeout,
    hardTimeout: rule.hardTimeout,
    tableId: rule.tableId,
    priority: rule.priority,
    cookie: rule.cookie,
    match: rule.match(),
    actions: flags & FMF_INSTRUCTIONS ? (rule.actions as Ofpact[]) : [],
  };
}

export class FlowMonitors {
  readonly #tables: () => FlowTables;
  readonly #conns = new Map<Ofconn, ConnMonitors>();
  /** Numbers changes, so that it can be said whether one came before a pause. */
  #seqno = 1;
  /** Updates that wait for `flush`. */
  waiting = 0;

  constructor(tables: () => FlowTables) {
    this.#tables = tables;
  }

  get any(): boolean {
    return this.#conns.size > 0;
  }

  /** Changes a connection's monitors; the flows that the new ones show first. One that fails leaves none of the new ones. */
  request(conn: Ofconn, requests: readonly FlowMonitorRequest[]): FlowUpdate[] | OfErrorName {
    const mine = this.#of(conn);
    const added: FlowMonitorRequest[] = [];
    for (const m of requests) {
      const error = this.#apply(mine, m);
      if (error) {
        for (const a of added) mine.byId.delete(a.monitorId);
        this.#forgetIdle(conn);
        return error;
      }
      if (m.command !== 'delete') added.push(m);
    }
    this.#forgetIdle(conn);
    return this.#refresh(
      added.filter((m) => m.flags & FMF_INITIAL),
      0,
    );
  }

  #apply(mine: ConnMonitors, m: FlowMonitorRequest): OfErrorName | undefined {
    if (m.tableId !== ALL_TABLES && m.tableId >= N_TABLES) return 'OFPBRC_BAD_TABLE_ID';
    const known = mine.byId.has(m.monitorId);
    if (m.command === 'add' ? known : !known) return known ? 'OFPMOFC_MONITOR_EXISTS' : 'OFPMOFC_UNKNOWN_MONITOR';
    if (m.command === 'delete') mine.byId.delete(m.monitorId);
    else mine.byId.set(m.monitorId, m);
    return undefined;
  }

  cancel(conn: Ofconn, id: number): OfErrorName | undefined {
    const ok = this.#conns.get(conn)?.byId.delete(id);
    this.#forgetIdle(conn);
    return ok ? undefined : 'OFPMOFC_UNKNOWN_MONITOR';
  }

  gone(conn: Ofconn): void {
    this.#conns.delete(conn);
  }

  /** A flow has changed; what is to be told waits for `flush`. */
  report(
    rule: Rule,
    event: MonitorEvent,
    reason: FlowRemovedReason | undefined,
    by: Requester | undefined,
    oldActions: readonly Ofpact[] | undefined,
  ): void {
    if (rule.hidden) return;
    if (event === 'added') rule.addSeqno = rule.modifySeqno = this.#seqno++;
    else if (event === 'modified') rule.modifySeqno = this.#seqno++;
    for (const [conn, mine] of this.#conns) this.#tell(conn, mine, rule, event, reason, by, oldActions);
  }

  #tell(
    conn: Ofconn,
    mine: ConnMonitors,
    rule: Rule,
    event: MonitorEvent,
    reason: FlowRemovedReason | undefined,
    by: Requester | undefined,
    oldActions: readonly Ofpact[] | undefined,
  ): void {
    // While paused, only what was there before is reported when it goes.
    if (mine.paused && (event !== 'removed' || rule.addSeqno > mine.paused)) return;
    const flags = this.#flagsOf(mine, rule, event, oldActions);
    if (!flags) return;
    if (mine.updates.length === 0) mine.abbreviated = false;
    this.waiting++;
    if (flags & FMF_ONLY_OWN || conn !== by?.conn || mine.paused) {
      const update = fullUpdate(rule, event, flags);
      if (reason) update.reason = reason;
      mine.updates.push(update);
    } else if (!mine.abbreviated) {
      mine.updates.push({ event: 'abbrev', xid: by.xid });
      mine.abbreviated = true;
    }
  }

  /** The flags of all monitors that the change is about. */
  #flagsOf(mine: ConnMonitors, rule: Rule, event: MonitorEvent, oldActions: readonly Ofpact[] | undefined): number {
    const { cls } = this.#tables().tables[rule.tableId];
    let flags = 0;
    for (const m of mine.byId.values()) {
      if (!(m.flags & UPDATE_FLAG[event]) || (m.tableId !== ALL_TABLES && m.tableId !== rule.tableId)) continue;
      if (!hasOutPort(rule, m.outPort) && !(oldActions && outputsTo(oldActions, m.outPort))) continue;
      if (hasOutGroup(rule, m.outGroup) && cls.isLoose(rule, m.match)) flags |= m.flags;
    }
    return flags;
  }

  /** Sends what was reported; pauses connections that do not keep up. */
  flush(): void {
    this.waiting = 0;
    for (const [conn, mine] of this.#conns) {
      if (mine.updates.length) {
        const updates = mine.updates;
        mine.updates = [];
        conn.reply({ type: 'flow_monitor_stats_reply', updates, more: false }, 0);
      }
      if (mine.paused || conn.stream.queued <= PAUSE_BYTES) continue;
      mine.paused = this.#seqno++;
      conn.reply({ type: 'flow_monitor_paused' }, 0);
    }
  }

  /** The connection has sent all that was queued: goes on with its updates, if they are paused. */
  drained(conn: Ofconn): void {
    const mine = this.#conns.get(conn);
    if (!mine?.paused) return;
    const updates = this.#refresh([...mine.byId.values()], mine.paused);
    mine.paused = 0;
    if (updates.length) conn.reply({ type: 'flow_monitor_stats_reply', updates, more: false }, 0);
    conn.reply({ type: 'flow_monitor_resumed' }, 0);
  }

  /** What the monitors show of flows that changed after `since`; of all of them with 0. */
  #refresh(monitors: readonly FlowMonitorRequest[], since: number): FlowUpdate[] {
    const flagsOf = new Map<Rule, number>();
    for (const m of monitors) {
      for (const rule of this.#tables().collect(criteria(m), true)) {
        let update = FMF_INITIAL;
        if (since) {
          update = rule.addSeqno > since ? FMF_ADD | FMF_MODIFY : rule.modifySeqno > since ? FMF_MODIFY : 0;
          if (!(m.flags & update)) continue;
        }
        flagsOf.set(rule, (flagsOf.get(rule) ?? 0) | update | (m.flags & FMF_INSTRUCTIONS));
      }
    }
    return [...flagsOf].map(([rule, flags]) =>
      fullUpdate(rule, flags & FMF_INITIAL ? 'initial' : flags & FMF_ADD ? 'added' : 'modified', flags),
    );
  }

  #of(conn: Ofconn): ConnMonitors {
    let mine = this.#conns.get(conn);
    if (!mine) {
      mine = { byId: new Map(), paused: 0, updates: [], abbreviated: false };
      this.#conns.set(conn, mine);
    }
    return mine;
  }

  #forgetIdle(conn: Ofconn): void {
    const mine = this.#conns.get(conn);
    if (mine && mine.byId.size === 0 && !mine.paused && !mine.updates.length) this.#conns.delete(conn);
  }
}
