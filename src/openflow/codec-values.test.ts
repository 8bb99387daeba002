import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RawName } from '../../protocols/openflow-messages.ts';
import { ofpPort } from '../base/types.ts';
import { vlog } from '../base/vlog.ts';
import type { Ofpact } from './actions.ts';
import { decode, encode } from './codec.ts';
import { fieldByName } from './field.ts';
import { catchallMatch, type Match } from './match.ts';
import { rawsOf } from './message-raw.ts';
import type { Message } from './messages.ts';
import { type Bucket, type GroupMod, noGroupProps, OFPG_ANY, OFPG15_BUCKET_ALL } from './messages-group.ts';
import type { MeterMod } from './messages-meter.ts';
import type { FlowMonitorRequest, FlowUpdate } from './messages-monitor.ts';
import type { Continuation, CtMatch, CtTuple } from './messages-nicira.ts';

/** Random messages are written and read back, in every form and version that they have. */

vlog.setLevels('console:off');

const u8 = fc.nat(0xff);
const u16 = fc.nat(0xffff);
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const port = fc.constantFrom(1, 2, 0xfeff, 0xfffffffe).map(ofpPort);
const portOrAny = fc.constantFrom(1, 0xfffffffe, 0xffffffff).map(ofpPort);
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 });
const list = <T>(one: fc.Arbitrary<T>) => fc.array(one, { maxLength: 3 });

const match: fc.Arbitrary<Match> = fc.option(fc.nat(0xfe00), { nil: undefined }).map((inPort) => {
  const m = catchallMatch();
  if (inPort === undefined) return m;
  m.flow.inPort = inPort;
  m.wc.inPort = 0xffffffff;
  return m;
});
const actions: fc.Arbitrary<Ofpact[]> = list(
  fc.oneof(
    port.map((p): Ofpact => ({ type: 'output', port: p, maxLen: 0 })),
    fc.nat(0xff).map((n): Ofpact => ({ type: 'set_queue', queue: n })),
  ),
);
const bucket: fc.Arbitrary<Bucket> = fc.record({
  weight: u16,
  watchPort: portOrAny,
  watchGroup: fc.constantFrom(7, OFPG_ANY),
  bucketId: fc.nat(1000),
  actions,
});
const buckets = fc
  .uniqueArray(bucket, { maxLength: 3, selector: (b) => b.bucketId })
  .map((all) => all.map((b) => ({ ...b, actions: b.actions })));

const FIELDS = ['ip_src', 'ip_dst', 'tcp_src'].map((name) => fieldByName(name)!);
const props = fc.oneof(
  fc.constant(noGroupProps()),
  u64.map((selectionMethodParam) => ({ selectionMethod: 'dp_hash', selectionMethodParam, fields: [] })),
  fc
    .subarray(FIELDS)
    .map((all) =>
      all.toSorted((a, b) => a.id - b.id).map((field) => ({ field, mask: new Uint8Array(field.nBytes).fill(0xf0) })),
    )
    .map((fields) => ({ selectionMethod: 'hash', selectionMethodParam: 3n, fields })),
);
const selectGroup: fc.Arbitrary<GroupMod> = fc.record({
  type: fc.constant('group_mod' as const),
  command: fc.constantFrom('add' as const, 'modify' as const, 'add_or_mod' as const),
  groupType: fc.constant('select' as const),
  groupId: u32,
  commandBucketId: fc.constant(OFPG15_BUCKET_ALL),
  buckets,
  props,
});
/** What OpenFlow 1.1-1.4 can say: buckets by position, no properties. */
const plainGroup = selectGroup.map(
  (m): GroupMod => ({ ...m, buckets: m.buckets.map((b, i) => ({ ...b, bucketId: i })), props: noGroupProps() }),
);
const bands = list(
  fc.oneof(
    fc.record({ type: fc.constant('drop' as const), rate: u32, burstSize: u32, precLevel: fc.constant(0) }),
    fc.record({ type: fc.constant('dscp_remark' as const), rate: u32, burstSize: u32, precLevel: u8 }),
  ),
);
const meterMod: fc.Arbitrary<MeterMod> = fc.record({
  type: fc.constant('meter_mod' as const),
  command: fc.constantFrom('add' as const, 'modify' as const),
  meterId: u32,
  flags: fc.constantFrom(1, 2, 5, 13),
  bands,
});

const tuple = fc.record({ srcPort: u16, dstPort: u16, ends: fc.tuple(u8, u8) }).map(({ srcPort, dstPort, ends }) => {
  const address = (n: number) =>
    Uint8Array.from({ length: 16 }, (_, i) => (n ? [0xfd, ...Array(14).fill(0), n][i] : 0));
  return { src: address(ends[0]), dst: address(ends[1]), srcPort, dstPort } satisfies CtTuple;
});
/** The kind of addresses is that of the last that was read. */
const ctMatch: fc.Arbitrary<CtMatch> = fc
  .record({ ipProto: fc.constantFrom(6, 17), orig: tuple, reply: tuple })
  .map((m) => {
    const addresses = [m.orig, m.reply].flatMap((t) => [t.src, t.dst]).filter((a) => a.some((b) => b));
    return { ...m, l3Type: addresses.length ? 10 : 0 };
  });

const continuation: fc.Arbitrary<Continuation> = fc.record(
  {
    bridge: fc.uuid(),
    stack: list(fc.uint8Array({ minLength: 1, maxLength: 127 })),
    mirrors: u32,
    conntracked: fc.boolean(),
    actions: list(fc.record({ tableId: u8, cookie: u64, actions: actions.filter((a) => a.length > 0) })),
    actionSet: actions,
    odpPort: fc.integer({ min: 1, max: 0xffffffff }),
  },
  { requiredKeys: ['bridge', 'stack', 'mirrors', 'conntracked', 'actions', 'actionSet'] },
);
const packet = fc.uint8Array({ minLength: 1, maxLength: 40 });

const full = {
  idleTimeout: u16,
  hardTimeout: u16,
  tableId: u8,
  priority: u16,
  cookie: u64,
  match,
  actions,
};
const removedReason = fc.constantFrom(
  'idle_timeout' as const,
  'hard_timeout' as const,
  'delete' as const,
  'eviction' as const,
);
const update: fc.Arbitrary<FlowUpdate> = fc.oneof(
  fc.record({ event: fc.constantFrom('added' as const, 'modified' as const), ...full }),
  fc.record({ event: fc.constant('removed' as const), reason: removedReason, ...full }),
  fc.record({ event: fc.constant('abbrev' as const), xid: u32 }),
);
const monitor: fc.Arbitrary<FlowMonitorRequest> = fc.record({
  monitorId: u32,
  command: fc.constant('add' as const),
  flags: fc.constantFrom(0x02, 0x1f, 0x4e),
  outPort: portOrAny,
  outGroup: fc.constant(OFPG_ANY),
  tableId: u8,
  match,
});

const half = fc.record({
  packetIn: fc.constantFrom(0, 0x06, 0x41 | 0x02),
  portStatus: fc.nat(7),
  flowRemoved: fc.nat(0x3f),
  roleStatus: fc.nat(7),
  tableStatus: fc.constantFrom(0, 0x08, 0x18),
  requestForward: fc.nat(3),
});
const vacancy = fc
  .tuple(fc.nat(100), fc.nat(100))
  .map(([a, b]) => ({ vacancyDown: Math.min(a, b), vacancyUp: Math.max(a, b), vacancy: 0 }));

const CASES: Record<string, { versions: number[]; message: fc.Arbitrary<Message> }> = {
  'group-mods of 1.5': { versions: [1, 6], message: selectGroup },
  'group-mods of 1.1-1.4': { versions: [2, 3, 4, 5], message: plainGroup },
  'group descriptions': {
    versions: [1, 6],
    message: list(selectGroup).map((all) => ({
      type: 'group_desc_stats_reply',
      groups: all.map(({ groupType, groupId, buckets: b, props: p }) => ({ groupType, groupId, buckets: b, props: p })),
      more: false,
    })),
  },
  'group statistics': {
    versions: [1, 4, 5, 6],
    message: list(
      fc.record({
        groupId: u32,
        refCount: u32,
        packetCount: u64,
        byteCount: u64,
        durationSec: fc.nat(1000),
        durationNsec: u32,
        buckets: list(fc.record({ packetCount: u64, byteCount: u64 })),
      }),
    ).map((groups) => ({ type: 'group_stats_reply', groups, more: true })),
  },
  'meter-mods': { versions: [4, 5, 6], message: meterMod },
  'meter statistics': {
    versions: [4, 5, 6],
    message: list(
      fc.record({
        meterId: u32,
        flowCount: u32,
        packetInCount: u64,
        byteInCount: u64,
        durationSec: u32,
        durationNsec: u32,
        bands: list(fc.record({ packetCount: u64, byteCount: u64 })),
      }),
    ).map((meters) => ({ type: 'meter_stats_reply', meters, more: false })),
  },
  'forwarded group-mods': {
    versions: [1, 6],
    message: fc.record({ type: fc.constant('requestforward' as const), xid: u32, request: selectGroup }),
  },
  'forwarded meter-mods': {
    versions: [4, 5, 6],
    message: fc.record({ type: fc.constant('requestforward' as const), xid: u32, request: meterMod }),
  },
  'table-mods': {
    versions: [5, 6],
    message: fc.record({
      type: fc.constant('table_mod' as const),
      tableId: u8,
      miss: fc.constant('default' as const),
      eviction: fc.boolean(),
      evictionFlags: u32,
      vacancy: fc.constant(true),
      tableVacancy: vacancy,
    }),
  },
  'table status': {
    versions: [5, 6],
    message: fc.record({
      type: fc.constant('table_status' as const),
      reason: fc.constantFrom('vacancy_down' as const, 'vacancy_up' as const),
      desc: fc.record({
        tableId: u8,
        eviction: fc.boolean(),
        evictionFlags: u32,
        vacancy: fc.boolean(),
        tableVacancy: vacancy,
      }),
    }),
  },
  'asynchronous configuration': {
    versions: [5, 6],
    message: fc.record({
      type: fc.constant('set_async_config' as const),
      config: fc.record({ primary: half, secondary: half }),
    }),
  },
  'flow monitors': {
    versions: [1, 2, 3, 4, 5, 6],
    message: list(monitor).map((monitors) => ({ type: 'flow_monitor_stats_request', monitors, more: false })),
  },
  'flow updates': {
    versions: [1, 2, 3, 4, 5, 6],
    message: list(update).map((updates) => ({ type: 'flow_monitor_stats_reply', updates, more: false })),
  },
  'paused and resumed monitors': {
    versions: [1, 2, 3, 4],
    message: fc.constantFrom({ type: 'flow_monitor_paused' } as const, { type: 'flow_monitor_resumed' } as const),
  },
  'flow-removed': {
    versions: [3, 4, 5, 6],
    message: fc.record({
      type: fc.constant('flow_removed' as const),
      match,
      cookie: u64,
      priority: u16,
      reason: removedReason,
      tableId: u8,
      durationSec: fc.nat(1000),
      durationNsec: u32,
      idleTimeout: u16,
      hardTimeout: u16,
      packetCount: u64,
      byteCount: u64,
    }),
  },
  'TLV tables': {
    versions: [1, 2, 3, 4, 5, 6],
    message: fc.record({
      type: fc.constant('nxt_tlv_table_mod' as const),
      command: fc.constantFrom('add' as const, 'delete' as const, 'clear' as const),
      mappings: list(
        fc.record({ optionClass: u16, optionType: u8, optionLen: fc.nat(31).map((n) => n * 4), index: fc.nat(63) }),
      ),
    }),
  },
  'conntrack flushes': {
    versions: [1, 4, 6],
    message: fc.record(
      { type: fc.constant('ct_flush' as const), zoneId: u16, match: ctMatch },
      { requiredKeys: ['type', 'match'] },
    ),
  },
  resumes: {
    versions: [1, 4, 6],
    message: fc
      .record({ packet, reason: fc.nat(2), tableId: u8, cookie: u64, metadata: match, continuation })
      .map((m) => ({
        type: 'nxt_resume',
        ...m,
        totalLen: m.packet.length + 2,
        bufferId: 0xffffffff,
      })),
  },
  'queue configurations': {
    versions: [1, 2, 3, 4, 5, 6],
    message: list(
      fc.record({ queueId: u32, minRate: fc.nat(1000), maxRate: fc.nat(1000) }, { requiredKeys: ['queueId'] }),
    )
      .filter((all) => all.length > 0)
      .map((all) => ({
        type: 'queue_get_config_reply',
        portNo: ofpPort(3),
        queues: all.map((q) => ({ ...q, portNo: ofpPort(3) })),
      })),
  },
  'port-mods': {
    versions: [2, 3, 4, 5, 6],
    message: fc.record({
      type: fc.constant('port_mod' as const),
      portNo: port,
      hwAddr: mac,
      config: fc.constantFrom(0, 0x21),
      mask: fc.constant(0x65),
      advertise: u16,
    }),
  },
};

/** Forms that cannot say everything. */
const LOSSY: ReadonlySet<RawName> = new Set<RawName>(['NXT_FLOW_REMOVED', 'NXT_SET_ASYNC_CONFIG']);

/** fast-check's records have no prototype. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const proto = Object.getPrototypeOf(value);
  if (proto !== null && proto !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
}

/** `more` is what a reply of one part lacks. */
const expected = (m: Message, got: Message): unknown =>
  plain('more' in got && !('more' in m) ? { ...m, more: got.more } : m);

for (const [name, { versions, message }] of Object.entries(CASES)) {
  test(`${name} are read as they were written`, () => {
    fc.assert(
      fc.property(message, fc.constantFrom(...versions), u32, (m, version, xid) => {
        for (const { name: raw } of rawsOf(m.type, version)) {
          const [msg, ...others] = encode(m, version, xid, { raw });
          assert.deepEqual(others, []);
          const r = decode(msg);
          assert.ok(r.ok, `${raw}: ${r.ok || r.error.name}`);
          assert.equal(r.value.xid, xid);
          if (!LOSSY.has(raw)) assert.deepEqual(r.value.message, expected(m, r.value.message), raw);
        }
      }),
      { numRuns: 300 },
    );
  });
}

test('OpenFlow 1.4 says with the monitor itself that it ends, pauses and goes on', () => {
  const says = (m: Message) => {
    const r = decode(encode(m, 5, 1)[0]);
    assert.ok(r.ok);
    return r.value.message;
  };
  assert.deepEqual(says({ type: 'flow_monitor_paused' }), {
    type: 'flow_monitor_stats_reply',
    updates: [{ event: 'paused' }],
    more: false,
  });
  const end = says({ type: 'flow_monitor_cancel', monitorId: 9 });
  assert.ok(end.type === 'flow_monitor_stats_request');
  assert.deepEqual([end.monitors[0].monitorId, end.monitors[0].command], [9, 'delete']);
});

test('before OpenFlow 1.5 what edits buckets is said as the group that it makes', () => {
  const one = (bucketId: number): Bucket => ({
    weight: 1,
    watchPort: ofpPort(0xffffffff),
    watchGroup: OFPG_ANY,
    bucketId,
    actions: [],
  });
  const m: GroupMod = {
    type: 'group_mod',
    command: 'insert_bucket',
    groupType: 'select',
    groupId: 1,
    commandBucketId: 3,
    buckets: [one(9)],
    props: noGroupProps(),
  };
  assert.throws(() => encode(m, 4, 1), /needs OpenFlow 1.5/);
  const r = decode(encode({ ...m, newBuckets: [one(0), one(1)] }, 4, 1)[0]);
  assert.ok(r.ok && r.value.message.type === 'group_mod');
  assert.deepEqual([r.value.message.command, r.value.message.buckets], ['modify', [one(0), one(1)]]);
  for (const [groupExisted, command] of [
    [true, 'modify'],
    [false, 'add'],
  ] as const) {
    const known = decode(encode({ ...m, command: 'add_or_mod', groupExisted }, 4, 1)[0]);
    assert.ok(known.ok && known.value.message.type === 'group_mod');
    assert.equal(known.value.message.command, command);
  }
});
