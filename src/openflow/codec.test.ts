import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { OFP10_VERSION } from '../../protocols/openflow.ts';
import type { RawName } from '../../protocols/openflow-messages.ts';
import { ofpPort } from '../base/types.ts';
import { vlog } from '../base/vlog.ts';
import { decode, encode, encodeError, identify } from './codec.ts';
import { fieldByName } from './field.ts';
import { parse } from './flow-text.ts';
import { catchallMatch } from './match.ts';
import { RAWS } from './message-raw.ts';
import type { FlowStats, Message, TableFeatures, TableInstructionFeatures } from './messages.ts';
import { MessageStream } from './stream.ts';

vlog.setLevels('console:off');

const GOLDEN = new URL('../../test/golden/openflow/', import.meta.url);
const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex');
const bytes = (s: string): Uint8Array => new Uint8Array(Buffer.from(s.replaceAll(' ', ''), 'hex'));

/** Flow-mods of `table_id` formats have their table in the upper byte of the command. */
function hasTableId(msg: Uint8Array): boolean {
  const at = msg[0] === 1 && msg[1] === 14 ? 56 : msg[1] === 4 && msg[15] === 13 ? 24 : -1;
  return at >= 0 && msg[at] !== 0;
}

interface Recorded {
  /** What the message was recorded with. */
  title: string;
  toSwitch: boolean;
  hex: string;
}

function recorded(file: string): Recorded[] {
  const out: Recorded[] = [];
  let title = '';
  for (const line of readFileSync(new URL(file, GOLDEN), 'utf8').split('\n')) {
    if (line.startsWith('### ')) title = line;
    const found = /^([<>]) ([0-9a-f]+)$/.exec(line);
    if (found) out.push({ title, toSwitch: found[1] === '>', hex: found[2] });
  }
  return out;
}

/** The files that were recorded from the wire. */
const FILES = readdirSync(GOLDEN).filter((f) => f.endsWith('.md') && recorded(f).length > 0);

/** The form of a message. */
function rawOf(msg: Uint8Array): RawName {
  const found = identify(msg);
  assert.ok(found.ok, hex(msg));
  return found.raw.name;
}

for (const file of FILES) {
  test(`every message of ${file} decodes, and encodes to the same bytes`, () => {
    const messages = recorded(file);
    assert.ok(messages.length > 20, `${messages.length} messages`);
    for (const m of messages) {
      const msg = bytes(m.hex);
      const flowModTableId = hasTableId(msg);
      const r = decode(msg, { flowModTableId, loose: !m.toSwitch });
      assert.ok(r.ok, `${m.title} ${m.hex}: ${r.ok || r.error.name}`);
      const { version, xid, message } = r.value;
      const again = encode(message, version, xid, { raw: rawOf(msg), flowModTableId });
      assert.deepEqual(again.map(hex), [m.hex], m.title);
    }
  });
}

/** What neither the real switch nor the real client could be brought to send. */
const NOT_RECORDED: ReadonlySet<string> = new Set([
  ...[2, 3, 4, 5, 6].flatMap((v) => [`NXT_FLOW_MOD ${v}`, `NXT_FLOW_REMOVED ${v}`]),
  ...[1, 2, 3].flatMap((v) => [`NXT_FLOW_MONITOR_PAUSED ${v}`, `NXT_FLOW_MONITOR_RESUMED ${v}`]),
  ...['ONFT13_FLOW_MONITOR_PAUSED 4', 'ONFT13_FLOW_MONITOR_RESUMED 4', 'OFPT11_TABLE_MOD 4', 'NXT_TLV_TABLE_MOD 2'],
]);

test('every form of every message is among the recorded, in every version', () => {
  const found = new Set(FILES.flatMap(recorded).map((m) => `${rawOf(bytes(m.hex))} ${bytes(m.hex)[0]}`));
  const all = RAWS.flatMap(({ name, from, to }) =>
    Array.from({ length: to - from + 1 }, (_, i) => `${name} ${from + i}`),
  );
  assert.deepEqual(
    all.filter((name) => !found.has(name)),
    all.filter((name) => NOT_RECORDED.has(name)),
  );
});

function errorOf(msg: string | Uint8Array, ctx = {}): string {
  const r = decode(typeof msg === 'string' ? bytes(msg) : msg, ctx);
  assert.ok(!r.ok, 'decoded');
  return r.error.name;
}

test('what is wrong with a message is said with the right error', () => {
  assert.equal(errorOf('09 05 0008 00000001'), 'OFPBRC_BAD_VERSION');
  assert.equal(errorOf('01 05 0008 00000001', { version: 4 }), 'OFPBRC_BAD_VERSION');
  assert.equal(errorOf('01 63 0008 00000001'), 'OFPBRC_BAD_TYPE');
  assert.equal(errorOf('01 05 0010 00000001 0000000000000000'), 'OFPBRC_BAD_LEN');
  assert.equal(errorOf('01 05 0009 00000001'), 'OFPBRC_BAD_LEN');
  assert.equal(errorOf('01 0e 0008 00000001'), 'OFPBRC_BAD_LEN');
  assert.equal(errorOf('01 10 000c 00000001 0063 0000'), 'OFPBRC_BAD_STAT');
  assert.equal(errorOf('01 04 0010 00000001 00001234 00000000'), 'OFPBRC_BAD_VENDOR');
  assert.equal(errorOf('01 04 0010 00000001 00002320 00000999'), 'OFPBRC_BAD_SUBTYPE');
});

test('requests that the real switch refuses are refused with the same error', () => {
  const lines = [...readFileSync(new URL('errors.md', GOLDEN), 'utf8').matchAll(/^((?:OFP|NX)\w+) ([0-9a-f]+)$/gm)];
  assert.ok(lines.length > 200, `${lines.length} requests`);
  for (const [, name, request] of lines) {
    const msg = bytes(request);
    assert.equal(errorOf(msg, { version: msg[0] }), name, request);
  }
});

test('an error answers with the type and code of its version, the xid and the start of the request', () => {
  const request = bytes('01 63 0008 00000007');
  assert.equal(hex(encodeError({ name: 'OFPBRC_BAD_TYPE' }, request, 1)), `010100140000000700010001${hex(request)}`);
  assert.equal(hex(encodeError({ name: 'OFPBMC_BAD_PREREQ' }, request, 4)).slice(16, 24), '00040009');
  // Nicira's, in both ways to write a vendor's error.
  const nx10 = encodeError({ name: 'NXBRC_MUST_BE_ZERO' }, request, 1);
  assert.equal(hex(nx10).slice(16, 40), 'b0c200000000232000010203');
  for (const version of [1, 2, 3, 4, 5]) {
    const r = decode(encodeError({ name: 'NXBRC_MUST_BE_ZERO' }, request, version));
    assert.ok(r.ok && r.value.message.type === 'error');
    assert.equal(r.value.message.error.name, 'NXBRC_MUST_BE_ZERO');
  }
});

/** One message of each form and version of the recorded; one that has content, if there is one. */
function samples(): Uint8Array[] {
  const best = new Map<string, string>();
  for (const { hex: one } of FILES.flatMap(recorded)) {
    const key = `${rawOf(bytes(one))} ${one.slice(0, 2)}`;
    const known = best.get(key);
    if (!known || (known.length < 80 && one.length > known.length && one.length < 1000)) best.set(key, one);
  }
  return [...best.values()].map(bytes);
}

test('a message that is cut anywhere, with its length or without, is an error or another message', () => {
  for (const whole of samples()) {
    for (let n = 0; n < whole.length; n++) {
      const part = whole.slice(0, n);
      assert.ok(!decode(part).ok, 'shorter than its header says');
      if (n < 4) continue;
      new DataView(part.buffer).setUint16(2, n);
      decode(part);
      decode(part, { loose: true });
    }
  }
});

/** Which is read in every version, but OpenFlow 1.1-1.4 can't say it. */
function bucketCommandBefore15(m: Message, version: number): boolean {
  const g = m.type === 'requestforward' ? m.request : m;
  return g.type === 'group_mod' && g.command.endsWith('_bucket') && version > 1 && version < 6;
}

test('bytes that were changed decode, or fail with an error', () => {
  const changes = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(fc.constantFrom(...samples()), changes, (msg, list) => {
      const copy = msg.slice();
      for (const [at, value] of list) if (at < copy.length) copy[at] = value;
      new DataView(copy.buffer).setUint16(2, copy.length);
      const r = decode(copy);
      // What decodes can be written again, and then is read again.
      if (!r.ok) return;
      const { version, xid, message } = r.value;
      const raw = rawOf(copy);
      if (bucketCommandBefore15(message, version)) return;
      const [again] = encode(message, Math.min(version, 6), xid, { raw });
      assert.ok(decode(again).ok, `${raw} ${hex(copy)} became ${hex(again)}`);
    }),
    { numRuns: 5000 },
  );
});

test('a long reply becomes several messages, the last without MORE', () => {
  const one: FlowStats = {
    match: catchallMatch(),
    cookie: 5n,
    tableId: 0,
    priority: 1,
    idleTimeout: 0,
    hardTimeout: 0,
    durationSec: 1,
    durationNsec: 0,
    idleAge: 3,
    hardAge: 4,
    packetCount: 7n,
    byteCount: 8n,
    flags: 0,
    importance: 0,
    actions: [{ type: 'output', port: ofpPort(4), maxLen: 0 }],
  };
  const flows = Array.from({ length: 3000 }, (_, i) => ({ ...one, priority: i }));
  const parts = encode({ type: 'flow_stats_reply', flows, more: false }, 4, 9);
  assert.ok(parts.length > 2);
  const back = parts.map((p) => {
    const r = decode(p);
    assert.ok(r.ok && r.value.message.type === 'flow_stats_reply' && p.length <= 0xffff);
    return r.value.message;
  });
  assert.deepEqual(
    back.map((m) => m.more),
    back.map((_, i) => i < back.length - 1),
  );
  assert.deepEqual(
    back.flatMap((m) => m.flows).map((s) => s.priority),
    flows.map((s) => s.priority),
  );
});

test('an empty reply is one message', () => {
  assert.equal(encode({ type: 'flow_stats_reply', flows: [], more: false }, 1, 9, { nxm: true }).length, 1);
});

function roundTrip(m: Message, version: number): Message {
  const parts = encode(m, version, 1);
  assert.equal(parts.length, 1);
  const r = decode(parts[0]);
  assert.ok(r.ok, r.ok ? '' : r.error.name);
  return r.value.message;
}

test('packet-in keeps what each format can hold', () => {
  const metadata = catchallMatch();
  metadata.flow.inPort = 3;
  metadata.wc.inPort = 0xffffffff;
  metadata.flow.reg0 = 7;
  metadata.wc.reg0 = 0xffffffff;
  for (const format of ['standard', 'nxt_packet_in', 'nxt_packet_in2'] as const) {
    for (const version of [1, 2, 3, 4, 5]) {
      const m: Message = {
        type: 'packet_in',
        packet: Uint8Array.from({ length: 60 }, (_, i) => i),
        totalLen: 60,
        bufferId: 0xffffffff,
        reason: 1,
        tableId: 2,
        cookie: 0x1234n,
        metadata,
        format,
      };
      const back = roundTrip(m, version);
      assert.ok(back.type === 'packet_in');
      assert.deepEqual([back.totalLen, back.reason, back.packet.length, back.metadata.flow.inPort], [60, 1, 60, 3]);
      if (format !== 'standard' || version >= 4) assert.deepEqual([back.cookie, back.metadata.flow.reg0], [0x1234n, 7]);
    }
  }
});

test('packet-in is cut to what the controller wants', () => {
  const m: Message = {
    type: 'packet_in',
    packet: new Uint8Array(1000),
    totalLen: 1000,
    bufferId: 0xffffffff,
    reason: 1,
    tableId: 0,
    cookie: 0n,
    metadata: catchallMatch(),
    maxLen: 100,
    format: 'nxt_packet_in2',
  };
  const back = roundTrip(m, 1);
  assert.ok(back.type === 'packet_in');
  assert.deepEqual([back.packet.length, back.totalLen], [100, 1000]);
});

test('role, asynchronous configuration and port status round-trip', () => {
  const half = { packetIn: 0x45, portStatus: 7, flowRemoved: 15, roleStatus: 1, tableStatus: 8, requestForward: 3 };
  const messages: [Message, number[]][] = [
    [{ type: 'role_request', role: 'primary', generationId: 77n }, [3, 4, 5]],
    [{ type: 'role_reply', role: 'secondary' }, [1, 2, 3, 4, 5]],
    [{ type: 'role_status', role: 'equal', reason: 1, generationId: 3n }, [5]],
    [{ type: 'get_async_reply', config: { primary: half, secondary: half } }, [5]],
    [{ type: 'set_config', frag: 'drop', missSendLen: 128 }, [4, 5, 6]],
    [{ type: 'set_config', frag: 'drop', missSendLen: 128, invalidTtlToController: true }, [1, 2, 3]],
    [{ type: 'hello', versions: 0b110010 }, [5]],
  ];
  for (const [m, versions] of messages) for (const version of versions) assert.deepEqual(roundTrip(m, version), m);
});

test('named counters of a port round-trip, as ovs-ofctl reads them', () => {
  const n = (i: number) => BigInt(i);
  const counters = { rxPackets: n(1), txPackets: n(2), rxBytes: n(3), txBytes: n(4), rxDropped: n(5), txDropped: n(6) };
  const errors = {
    rxErrors: n(7),
    txErrors: n(8),
    rxFrameErr: n(9),
    rxOverErr: n(10),
    rxCrcErr: n(11),
    collisions: n(12),
  };
  const port = { portNo: ofpPort(1), ...counters, ...errors, durationSec: 5, durationNsec: 6 };
  const m: Message = {
    type: 'port_stats_reply',
    ports: [{ ...port, custom: [{ name: 'drops', value: 7n }] }],
    more: false,
  };
  assert.deepEqual(roundTrip(m, 5), m);
  // Recorded from the real switch: type, unpadded length, vendor, subtype, pad, count, then length and name and value.
  assert.match(hex(encode(m, 5, 1)[0]), /ffff001e0000aa01000000020000000105[0-9a-f]{10}00000000000000070000$/);
});

test('table features say which actions, instructions and fields a table knows', () => {
  const f = (name: string) => fieldByName(name)!;
  const instructions: TableInstructionFeatures = {
    next: new Set([1, 2, 253]),
    instructions: new Set([1, 4]),
    write: { ofpacts: new Set(['output', 'group']), setFields: new Set([f('eth_src')]) },
    apply: { ofpacts: new Set(['output']), setFields: new Set([f('eth_src'), f('nsh_c1')]) },
  };
  const table: TableFeatures = {
    command: 'replace',
    tableId: 0,
    name: 'table0',
    metadataMatch: 0xffn,
    metadataWrite: 0xffffn,
    maxEntries: 1000000,
    anyProperties: true,
    missConfig: 'default',
    nonmiss: instructions,
    miss: { ...instructions, next: new Set([9]) },
    match: new Set([f('eth_dst'), f('tun_erspan_ver')]),
    mask: new Set([f('eth_dst')]),
    wildcard: new Set([f('eth_dst')]),
  };
  const reply = (t: TableFeatures): Message => ({ type: 'table_features_stats_reply', tables: [t], more: false });
  assert.deepEqual(roundTrip(reply(table), 4), reply(table));
  const later = reply({ ...table, supportsEviction: true, supportsVacancyEvents: false });
  for (const version of [5, 6]) assert.deepEqual(roundTrip(later, version), later);
});

test('a stream is cut at message boundaries, however it arrives', () => {
  const all = bytes('01 00 0008 00000001 01 02 000c 00000002 aabbccdd 01 05 0008 00000003');
  for (let size = 1; size <= all.length; size++) {
    const s = new MessageStream();
    const got: string[] = [];
    for (let i = 0; i < all.length; i += size) got.push(...s.push(all.subarray(i, i + size)).map(hex));
    assert.deepEqual(got, ['0100000800000001', '0102000c00000002aabbccdd', '0105000800000003']);
    assert.equal(s.pending, 0);
  }
});

test('a length below 8 breaks the stream', () => {
  const s = new MessageStream();
  assert.deepEqual(s.push(bytes('01 00 0007 00000001')), []);
  assert.ok(s.broken);
});

test('OpenFlow 1.0 says the leading ones of a mask that is no prefix, and no address bits behind them', () => {
  const round = (bytes: Uint8Array): Uint8Array => {
    const decoded = decode(bytes);
    assert.ok(decoded.ok);
    return encode(decoded.value.message, OFP10_VERSION, 1)[0];
  };
  const flowMod = parse('tcp,nw_dst=10.1.2.3/255.0.0.255,nw_src=10.0.0.0/127.0.0.0 actions=drop');
  const once = encode(flowMod, OFP10_VERSION, 1)[0];
  assert.equal(Buffer.from(once.subarray(36, 44)).toString('hex'), '000000000a000000');
  assert.deepEqual(round(once), once);
});
