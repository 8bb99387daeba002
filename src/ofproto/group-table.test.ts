import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';
import { parse } from '../openflow/flow-text.ts';
import {
  type Bucket,
  type GroupMod,
  noGroupProps,
  OFPG15_BUCKET_ALL,
  OFPG15_BUCKET_FIRST,
} from '../openflow/messages-group.ts';
import type { Bridge } from './bridge.ts';
import { FlowModOp } from './flow-mod.ts';
import { allRules } from './flow-stats.ts';
import { Group } from './group.ts';
import { GroupModOp } from './group-table.ts';
import { change, type ModOp, runNow } from './transaction.ts';

const bucket = (bucketId: number, port = 1, weight = 1): Bucket => ({
  bucketId,
  weight,
  watchPort: 0xffffffff as never,
  watchGroup: 0xffffffff,
  actions: [{ type: 'output', port: port as never, maxLen: 0 }],
});

const mod = (
  command: GroupMod['command'],
  groupId: number,
  buckets: Bucket[] = [],
  more: Partial<GroupMod> = {},
): GroupMod => ({
  type: 'group_mod',
  command,
  groupType: 'all',
  groupId,
  commandBucketId: OFPG15_BUCKET_ALL,
  buckets,
  props: noGroupProps(),
  ...more,
});

describe('groups', () => {
  let rig: OfprotoRig;
  let br0: Bridge;
  beforeEach(async () => {
    rig = new OfprotoRig();
    br0 = await rig.bridge('br0', ['p1', 'p2']);
    br0.setFailMode('secure');
  });
  afterEach(() => rig.close());

  const groupTable = () => br0.openflow.groupTable;
  const flowTables = () => br0.flowTables;
  const forwarded: GroupMod[] = [];
  const op = (m: GroupMod) => new GroupModOp(groupTable(), flowTables(), m, (f) => forwarded.push(f));
  const run = (...ops: ModOp[]) => runNow(flowTables(), ops);
  const flow = (text: string) => FlowModOp.init(flowTables(), parse(text, 'add')) as FlowModOp;
  const ids = (id: number) =>
    groupTable()
      .get(id)
      ?.buckets.map((b) => b.bucketId);
  const nFlows = () => [...flowTables().collect(allRules())].length;

  it('are added once, modified when they are there, and add_or_mod does either', () => {
    assert.equal(run(op(mod('modify', 1))), 'OFPGMFC_UNKNOWN_GROUP');
    assert.equal(run(op(mod('add', 1, [bucket(0)]))), undefined);
    assert.equal(run(op(mod('add', 1))), 'OFPGMFC_GROUP_EXISTS');
    assert.equal(run(op(mod('add', 0xffffff01))), 'OFPGMFC_INVALID_GROUP');
    assert.equal(run(op(mod('add_or_mod', 1, [bucket(4), bucket(5)]))), undefined);
    assert.equal(run(op(mod('add_or_mod', 2))), undefined);
    assert.deepEqual([ids(1), ids(2)], [[4, 5], []]);
  });

  it('have buckets put in and taken out by number, first and last', () => {
    const edit = (command: 'insert_bucket' | 'remove_bucket', commandBucketId: number, ...n: number[]) =>
      run(
        op(
          mod(
            command,
            1,
            n.map((i) => bucket(i)),
            { commandBucketId },
          ),
        ),
      );
    run(op(mod('add', 1, [bucket(1), bucket(2)], { groupType: 'select' })));
    assert.equal(edit('insert_bucket', OFPG15_BUCKET_FIRST, 7), undefined);
    assert.equal(edit('insert_bucket', 1, 8, 9), undefined);
    assert.deepEqual(ids(1), [7, 1, 8, 9, 2]);
    assert.equal(edit('insert_bucket', 1, 8), 'OFPGMFC_BUCKET_EXISTS');
    assert.equal(edit('insert_bucket', 77, 10), 'OFPGMFC_UNKNOWN_BUCKET');
    assert.equal(edit('remove_bucket', 8), undefined);
    assert.equal(edit('remove_bucket', 8), 'OFPGMFC_UNKNOWN_BUCKET');
    assert.deepEqual(ids(1), [7, 1, 9, 2]);
    assert.equal(groupTable().get(1)?.type, 'select');
  });

  it('take the flows that name them along, also from inside other actions', () => {
    assert.equal(run(flow('actions=group:1')), 'OFPBAC_BAD_OUT_GROUP');
    run(op(mod('add', 1, [bucket(0)])), op(mod('add', 2, [bucket(0)])));
    run(
      flow('priority=1 actions=group:1'),
      flow('priority=2 actions=write_actions(group:1)'),
      flow('priority=3 actions=group:2'),
    );
    assert.equal(groupTable().get(1)?.rules.size, 2);
    run(op(mod('modify', 1, [bucket(3)])));
    assert.equal(groupTable().get(1)?.rules.size, 2);
    run(op(mod('delete', 1)));
    assert.deepEqual([nFlows(), groupTable().get(1)], [1, undefined]);
  });

  it('leave no trace of a bundle that fails', () => {
    run(op(mod('add', 1, [bucket(0)])), flow('priority=1 actions=group:1'));
    const before = groupTable().get(1);
    const failed = run(
      op(mod('modify', 1, [bucket(9)])),
      op(mod('add', 2, [bucket(0)])),
      flow('priority=2 actions=group:2'),
      op(mod('delete', 1)),
      op(mod('add', 1, [bucket(5)])),
      op(mod('delete', 0xfffffffc)),
      op(mod('modify', 2)),
    );
    assert.equal(failed, 'OFPGMFC_UNKNOWN_GROUP');
    assert.equal(groupTable().get(1), before);
    assert.equal(groupTable().get(2), undefined);
    assert.deepEqual([nFlows(), before?.rules.size], [1, 1]);
  });

  it('come into force with the flows of the same bundle, not before', () => {
    const flows = Array.from({ length: 200 }, (_, i) => flow(`priority=${i} actions=group:1`));
    const steps = change(flowTables(), [op(mod('add', 1, [bucket(0)])), ...flows]);
    const seen: string[] = [];
    for (let next = steps.next(); ; next = steps.next()) {
      seen.push(`${groupTable().get(1)?.id} ${nFlows()}`);
      if (next.done) break;
    }
    assert.deepEqual(
      seen.filter((s, i) => s !== seen[i - 1]),
      ['undefined 0', '1 200'],
    );
  });

  it('say what they were changed to, for the other controllers', () => {
    forwarded.length = 0;
    const by = { conn: {} as never, xid: 1 };
    runNow(flowTables(), [op(mod('add', 1, [bucket(1)]))], by);
    runNow(flowTables(), [op(mod('insert_bucket', 1, [bucket(2)], { commandBucketId: OFPG15_BUCKET_FIRST }))], by);
    assert.deepEqual(
      forwarded.map((f) => [f.groupExisted, f.newBuckets?.map((b) => b.bucketId)]),
      [
        [false, [1]],
        [true, [2, 1]],
      ],
    );
  });
});

describe('a select group', () => {
  const of = (weights: number[], method = '', param = 0n) => {
    const log: string[] = [];
    const times = { createdMs: 0, modifiedMs: 0 };
    const props = { selectionMethod: method, selectionMethodParam: param, fields: [] };
    const buckets = weights.map((w, i) => bucket(i, 1, w));
    return { group: new Group(7, 'select', buckets, props, times, (text) => log.push(text)), log };
  };

  it('shares hash values out by weight', () => {
    const { group, log } = of([1, 2, 1]);
    assert.ok(group.selection.method === 'dp_hash');
    const hits = [0, 1, 2].map(
      (i) => group.selection.method === 'dp_hash' && group.selection.hashMap.filter((b) => b.bucketId === i).length,
    );
    assert.deepEqual(hits, [4, 8, 4]);
    assert.deepEqual(log.slice(0, 3), [
      'Constructing select group 7',
      'No selection method specified. Trying dp_hash.',
      '  Minimum weight: 1, total weight: 4',
    ]);
    assert.equal(log.at(-1), 'Use dp_hash with 16 hash values using algorithm 1.');
  });

  it('hashes by itself where weights are too far apart, all are zero, or it was asked to', () => {
    assert.equal(of([1, 1000]).group.selection.method, 'default');
    assert.equal(of([0, 0]).group.selection.method, 'default');
    assert.equal(of([1, 1], 'hash').group.selection.method, 'default');
    const asked = of([1, 1], 'dp_hash', (1n << 32n) | 5n).group.selection;
    assert.deepEqual(asked.method === 'dp_hash' && [asked.alg, asked.basis, asked.hashMask], [1, 5, 15]);
  });
});
