import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';
import { parse } from '../openflow/flow-text.ts';
import { catchallMatch } from '../openflow/match.ts';
import type { FlowModCommand, Message } from '../openflow/messages.ts';
import {
  type FlowMonitorRequest,
  type FlowUpdate,
  FMF_ADD,
  FMF_INITIAL,
  FMF_INSTRUCTIONS,
  FMF_MODIFY,
  FMF_ONLY_OWN,
  FMF_REMOVED,
} from '../openflow/messages-monitor.ts';
import type { Bridge } from './bridge.ts';
import { applyFlowMod } from './flow-mod.ts';
import type { Ofconn } from './ofconn.ts';

/** A connection that keeps what it is told, and can be slow. */
class FakeConn {
  readonly told: string[] = [];
  readonly stream = { queued: 0 };

  reply(m: Message): void {
    if (m.type === 'flow_monitor_stats_reply') this.told.push(...m.updates.map(line));
    else this.told.push(m.type);
  }

  take(): string[] {
    return this.told.splice(0);
  }
}

function line(u: FlowUpdate): string {
  if (u.event === 'abbrev') return `abbrev ${u.xid}`;
  if (u.event === 'paused' || u.event === 'resumed') return u.event;
  const actions = u.actions.map((a) => a.type).join();
  return `${u.event} ${u.priority}${u.reason ? ` ${u.reason}` : ''}${actions ? ` ${actions}` : ''}`;
}

const EVERYTHING = FMF_INITIAL | FMF_ADD | FMF_REMOVED | FMF_MODIFY;

describe('flow monitors', () => {
  let rig: OfprotoRig;
  let br0: Bridge;
  let fake: FakeConn;
  let conn: Ofconn;
  beforeEach(async () => {
    rig = new OfprotoRig();
    br0 = await rig.bridge('br0', ['p1', 'p2']);
    br0.setFailMode('secure');
    fake = new FakeConn();
    conn = fake as unknown as Ofconn;
  });
  afterEach(() => rig.close());

  const monitors = () => br0.openflow.monitors;
  const request = (more: Partial<FlowMonitorRequest> = {}): FlowMonitorRequest => ({
    monitorId: 1,
    command: 'add',
    flags: EVERYTHING | FMF_INSTRUCTIONS,
    outPort: 0xffffffff as never,
    outGroup: 0xffffffff,
    tableId: 255,
    match: catchallMatch(),
    ...more,
  });
  const ask = (more: Partial<FlowMonitorRequest> = {}) => {
    const answer = monitors().request(conn, [request(more)]);
    return typeof answer === 'string' ? answer : answer.map(line);
  };
  const mod = (text: string, command: FlowModCommand = 'add', xid?: number) =>
    applyFlowMod(br0.flowTables, parse(text, command), xid === undefined ? undefined : { conn, xid });

  it('show the flows that are there, then each change', () => {
    mod('priority=1 actions=output:1');
    assert.deepEqual(ask(), ['initial 1 output']);
    mod('priority=2 actions=drop');
    mod('priority=2 actions=output:2', 'modify_strict');
    mod('priority=2 actions=output:2', 'modify_strict');
    mod('priority=1', 'delete_strict');
    assert.deepEqual(fake.take(), ['added 2', 'modified 2 output', 'removed 1 delete output']);
  });

  it('tell why a flow went', () => {
    ask();
    mod('priority=1,hard_timeout=2 actions=drop');
    rig.clock.warp(3000);
    br0.age();
    assert.deepEqual(fake.take(), ['added 1', 'removed 1 hard_timeout']);
  });

  it('tell the one who did it only that it was done, once a request, unless it wants to know', () => {
    ask();
    mod('priority=1 actions=drop', 'add', 7);
    mod('priority=2 actions=drop', 'add', 8);
    mod('', 'delete', 9);
    assert.deepEqual(fake.take(), ['abbrev 7', 'abbrev 8', 'abbrev 9']);
    ask({ command: 'modify', flags: EVERYTHING | FMF_ONLY_OWN });
    mod('priority=1 actions=output:1', 'add', 10);
    assert.deepEqual(fake.take(), ['added 1']);
  });

  it('look at table, match, port and kind of change', () => {
    ask({ tableId: 1, match: parse('udp', 'delete').match, outPort: 2 as never, flags: FMF_ADD });
    mod('table=1,udp,tp_dst=1 actions=output:2');
    mod('table=0,udp,tp_dst=1 actions=output:2');
    mod('table=1,tcp actions=output:2');
    mod('table=1,udp,tp_dst=2 actions=output:1');
    mod('table=1', 'delete');
    assert.deepEqual(fake.take(), ['added 32768']);
  });

  it('of one request come into being together or not at all', () => {
    assert.deepEqual(
      monitors().request(conn, [request(), request({ tableId: 255, monitorId: 1 })]),
      'OFPMOFC_MONITOR_EXISTS',
    );
    mod('priority=1 actions=drop');
    assert.deepEqual(fake.take(), []);
    assert.equal(ask({ command: 'delete' }), 'OFPMOFC_UNKNOWN_MONITOR');
    assert.equal(monitors().cancel(conn, 1), 'OFPMOFC_UNKNOWN_MONITOR');
    assert.deepEqual(ask(), ['initial 1']);
    assert.equal(monitors().cancel(conn, 1), undefined);
    mod('priority=2 actions=drop');
    assert.deepEqual(fake.take(), []);
  });

  it('tell of a large change while it is under way', () => {
    ask();
    for (let i = 0; i < 1000; i++) mod(`priority=${i} actions=drop`);
    fake.take();
    const sizes: number[] = [];
    const reply = fake.reply.bind(fake);
    fake.reply = (m) => {
      if (m.type === 'flow_monitor_stats_reply') sizes.push(m.updates.length);
      reply(m);
    };
    mod('', 'delete');
    assert.equal(fake.take().length, 1000);
    assert.ok(Math.max(...sizes) <= 256);
  });

  it('pause when the controller is slow, and then tell what has changed since', () => {
    mod('priority=1 actions=drop');
    mod('priority=2 actions=drop');
    ask({ flags: EVERYTHING });
    fake.stream.queued = 200_000;
    mod('priority=3 actions=drop');
    assert.deepEqual(fake.take(), ['added 3', 'flow_monitor_paused']);
    mod('priority=4 actions=drop');
    mod('priority=5 actions=drop');
    mod('priority=2 actions=output:1', 'modify_strict');
    mod('priority=5', 'delete_strict');
    mod('priority=1', 'delete_strict');
    assert.deepEqual(fake.take(), ['removed 1 delete'], 'what was known when it paused is told when it goes');
    fake.stream.queued = 0;
    monitors().drained(conn);
    assert.deepEqual(fake.take().sort(), ['added 4', 'flow_monitor_resumed', 'modified 2']);
    mod('priority=6 actions=drop');
    assert.deepEqual(fake.take(), ['added 6']);
  });
});
