import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';
import { parse } from '../openflow/flow-text.ts';
import type { FlowModCommand } from '../openflow/messages.ts';
import type { Bridge } from './bridge.ts';
import { FlowModOp } from './flow-mod.ts';
import { allRules } from './flow-stats.ts';
import { change, runSteps, Slicer, type Steps } from './transaction.ts';

const FRAME =
  'eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,ttl=64,frag=no),udp(src=1,dst=2)';

describe('a change of many flows', () => {
  let rig: OfprotoRig;
  let br0: Bridge;
  beforeEach(async () => {
    rig = new OfprotoRig();
    br0 = await rig.bridge('br0', ['p1', 'p2', 'p3']);
    br0.setFailMode('secure');
    rig.flow(br0, 'priority=1 actions=output:2');
  });
  afterEach(() => rig.close());

  const op = (text: string, command: FlowModCommand = 'add') =>
    FlowModOp.init(br0.flowTables, parse(text, command)) as FlowModOp;
  /** The old flow goes, and many come, the best of which outputs to port 3. */
  const ops = () => [
    op('', 'delete'),
    ...Array.from({ length: 500 }, (_, i) => op(`priority=${i + 1} actions=output:${i === 499 ? 3 : 1}`)),
  ];
  const flows = () => [...br0.flowTables.collect(allRules())];
  const where = () => {
    rig.backend.udpif.purge();
    rig.receive('p1', FRAME);
    return Object.keys(rig.takeSent()).join();
  };

  it('comes into force at one moment, for lookups and for dumps', () => {
    const steps = change(br0.flowTables, ops());
    const seen: string[] = [];
    for (let next = steps.next(); !next.done; next = steps.next()) seen.push(`${where()} ${flows().length}`);
    seen.push(`${where()} ${flows().length}`);
    const distinct = seen.filter((s, i) => s !== seen[i - 1]);
    assert.deepEqual(distinct, ['p2 1', 'p3 500']);
    assert.ok(seen.filter((s) => s === 'p2 1').length > 5, 'packets were forwarded while it was staged');
  });

  it('that fails in the end is never seen, and leaves counters, cookies and timeouts as they were', () => {
    rig.flow(br0, 'priority=9,udp,idle_timeout=5,cookie=7 actions=output:2');
    rig.receive('p1', FRAME);
    br0.pushStats();
    const before = flows().map((r) => [r.priority, r.cookie, r.packets, r.idleTimeout]);
    const failed = runSteps(change(br0.flowTables, [...ops(), op('priority=2000 actions=group:5')]));
    assert.deepEqual(failed, { error: 'OFPBAC_BAD_OUT_GROUP', index: 501 });
    assert.deepEqual(
      flows().map((r) => [r.priority, r.cookie, r.packets, r.idleTimeout]),
      before,
    );
    assert.equal(br0.tables[0].activeCount, 2);
    rig.clock.warp(6000);
    br0.age();
    assert.equal(flows().length, 1);
  });

  it('counts packets of flows that it replaces once', () => {
    rig.receive('p1', FRAME);
    runSteps(change(br0.flowTables, [op('priority=1 actions=output:3'), op('priority=1 actions=output:1', 'modify')]));
    rig.receive('p1', FRAME);
    br0.pushStats();
    assert.deepEqual(
      flows().map((r) => r.packets),
      [2],
    );
  });

  it('may add and delete the same flow', () => {
    runSteps(
      change(br0.flowTables, [
        op('priority=5 actions=output:1'),
        op('priority=5', 'delete_strict'),
        op('priority=6 actions=drop'),
      ]),
    );
    assert.deepEqual(
      flows()
        .map((r) => r.priority)
        .sort(),
      [1, 6],
    );
  });
});

describe('the slicer', () => {
  function* work(log: string[], name: string, n: number): Steps<string> {
    for (let i = 0; i < n; i++) {
      log.push(name);
      const endMs = performance.now() + 2;
      while (performance.now() < endMs);
      yield;
    }
    return name;
  }

  it('lets others in between, and does one thing after the other', async () => {
    const log: string[] = [];
    const slicer = new Slicer();
    const done = new Promise<void>((resolve) => {
      slicer.run(
        () => work(log, 'a', 8),
        () => log.push('a done'),
      );
      slicer.run(
        () => work(log, 'b', 1),
        () => {
          log.push('b done');
          resolve();
        },
      );
    });
    assert.ok(slicer.busy && !log.includes('a done'), 'it gave the thread back');
    setImmediate(() => log.push('other'));
    await done;
    assert.ok(log.indexOf('other') < log.indexOf('a done'));
    assert.deepEqual(log.filter((l) => l !== 'other').slice(-3), ['a done', 'b', 'b done']);
  });

  it('does what is short before it returns', () => {
    const log: string[] = [];
    new Slicer().run(
      () => work(log, 'a', 0),
      (value) => log.push(value),
    );
    assert.deepEqual(log, ['a']);
  });

  it('can be made to end at once', () => {
    const log: string[] = [];
    const slicer = new Slicer();
    slicer.run(
      () => work(log, 'a', 5),
      () => log.push('done'),
    );
    slicer.drain();
    assert.equal(log.at(-1), 'done');
    assert.equal(slicer.busy, false);
  });
});
