import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { OfprotoRig } from '../../test/support/ofproto-rig.ts';
import { decode, encode } from '../openflow/codec.ts';
import { parse } from '../openflow/flow-text.ts';
import { catchallMatch } from '../openflow/match.ts';
import { C_BUNDLES, type Message } from '../openflow/messages.ts';
import type { FlowMonitorRequest } from '../openflow/messages-monitor.ts';
import type { Bridge } from './bridge.ts';
import { PacketOutOp } from './mods.ts';
import { OfStream } from './of-stream.ts';
import { Ofconn } from './ofconn.ts';
import { OFPP_NONE } from './ports.ts';
import { handleRequest } from './requests.ts';
import { runSteps } from './transaction.ts';

/** A socket that keeps what is written to it. */
class FakeSocket extends EventEmitter {
  writableLength = 0;
  readonly written: Uint8Array[] = [];
  write(m: Uint8Array): void {
    this.written.push(m.slice());
  }
  pause(): void {}
  resume(): void {}
  end(): void {}
  destroySoon(): void {}
  destroy(): void {}
}

const any = {
  match: catchallMatch(),
  cookie: 0n,
  cookieMask: 0n,
  outPort: OFPP_NONE,
  outGroup: 0xffffffff,
  tableId: 255,
};
const REQUESTS: Message[] = [
  { type: 'echo_request', data: Uint8Array.of(1, 2, 3) },
  { type: 'features_request' },
  { type: 'get_config_request' },
  { type: 'set_config', frag: 'normal', missSendLen: 128 },
  { type: 'barrier_request' },
  { type: 'desc_stats_request' },
  { type: 'table_stats_request' },
  { type: 'flow_stats_request', ...any },
  { type: 'aggregate_stats_request', ...any },
  { type: 'port_stats_request', portNo: OFPP_NONE },
  { type: 'port_desc_stats_request', portNo: OFPP_NONE },
  { type: 'queue_stats_request', portNo: OFPP_NONE, queueId: 0xffffffff },
  { type: 'role_request', role: 'primary', generationId: 1n },
  parse('priority=5,tcp,nw_src=10.0.0.0/8,tp_dst=80 actions=mod_nw_dst:1.2.3.4,output:2,resubmit(,1)'),
  parse('in_port=1 actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],push_vlan:0x8100,set_field:5->vlan_vid,controller'),
  parse('', 'delete'),
  {
    type: 'packet_out',
    packet: new Uint8Array(60),
    bufferId: 0xffffffff,
    metadata: catchallMatch(),
    inPort: OFPP_NONE,
    actions: [{ type: 'output', port: 1 as never, maxLen: 0 }],
  },
];

const VERSIONS = [1, 2, 3, 4, 5, 6];

/** Requests as bytes, in the versions that have them. */
const samples = VERSIONS.flatMap((version) =>
  REQUESTS.flatMap((m) => {
    try {
      return encode(m, version, 7);
    } catch {
      return [];
    }
  }),
);

describe('requests', () => {
  const rig = new OfprotoRig();
  let bridge: Bridge;
  before(async () => {
    bridge = await rig.bridge('br0', ['p1', 'p2'], true);
  });
  after(() => rig.close());

  /** A connection that has agreed on a version. */
  function connection(version: number): { conn: Ofconn; socket: FakeSocket } {
    const socket = new FakeSocket();
    const stream = new OfStream(socket as unknown as Socket, { message: () => undefined, closed: () => undefined });
    const conn = new Ofconn('service', 'test', stream, 1 << version, {
      request: (c, env, raw) => handleRequest(bridge.openflow, c, env, raw),
      badVersion: () => undefined,
      error: () => undefined,
      ready: () => undefined,
      traffic: () => undefined,
      negotiated: () => undefined,
    });
    conn.receive(encode({ type: 'hello', versions: 1 << version }, version, 1)[0]);
    return { conn, socket };
  }

  it('are enough to speak of', () => assert.ok(samples.length > 60));

  it('are told of bundles from OpenFlow 1.4 on', () => {
    const answer = (version: number) => {
      const { conn, socket } = connection(version);
      conn.receive(encode({ type: 'features_request' }, version, 7)[0]!);
      const decoded = decode(socket.written.at(-1)!);
      assert.ok(decoded.ok && decoded.value.message.type === 'features_reply');
      return (decoded.value.message.capabilities & C_BUNDLES) !== 0;
    };
    assert.deepEqual(VERSIONS.map(answer), [false, false, false, false, true, true]);
  });

  it('about TLV fields are answered from the table, which has room for 256 bytes', () => {
    const ask = (m: Message) => {
      const { conn, socket } = connection(4);
      const before = socket.written.length;
      conn.receive(encode(m, 4, 7)[0]!);
      return socket.written.slice(before).map((answer) => {
        const decoded = decode(answer);
        assert.ok(decoded.ok);
        const { message } = decoded.value;
        return message.type === 'error' ? message.error.name : message.type;
      });
    };
    const mod = (command: 'add' | 'clear', n: number) =>
      ask({
        type: 'nxt_tlv_table_mod',
        command,
        mappings: Array.from({ length: n }, (_, i) => ({
          optionClass: 0xffff,
          optionType: i,
          optionLen: 124,
          index: i,
        })),
      });
    assert.deepEqual(ask({ type: 'nxt_tlv_table_request' }), ['nxt_tlv_table_reply']);
    assert.deepEqual([mod('add', 0), mod('clear', 0)], [[], []]);
    assert.deepEqual(mod('add', 3), ['NXTTMFC_TABLE_FULL']);
    assert.deepEqual(mod('add', 2), []);
    assert.deepEqual(mod('add', 1), ['NXTTMFC_ALREADY_MAPPED']);
    assert.deepEqual(mod('clear', 0), []);
  });

  it('in several parts are answered when the last one is there', () => {
    const { conn, socket } = connection(4);
    const before = socket.written.length;
    const last = encode({ type: 'desc_stats_request' }, 4, 7)[0]!;
    const first = last.slice();
    first[11] = 1;
    conn.receive(first);
    assert.equal(socket.written.length, before);
    conn.receive(last);
    assert.equal(socket.written.length, before + 1);
    const answer = decode(socket.written.at(-1)!);
    assert.ok(answer.ok && answer.value.message.type === 'desc_stats_reply');
  });

  it('wait for a peer that reads slowly, who misses packets but no flow that is gone', () => {
    const { conn, socket } = connection(4);
    const before = socket.written.length;
    const roleStatus: Message = { type: 'role_status', role: 'equal', reason: 0, generationId: 0n };
    socket.writableLength = 1 << 20;
    assert.equal(conn.notify(roleStatus), false);
    conn.tell(roleStatus);
    assert.equal(socket.written.length, before + 1);
    socket.writableLength = 1 << 28;
    conn.tell(roleStatus);
    assert.equal(socket.written.length, before + 1);
    assert.equal(conn.stream.closed, true);
  });

  it('of a connection that has gone leave no monitor behind', () => {
    const { conn } = connection(5);
    const monitor: FlowMonitorRequest = { ...any, monitorId: 1, command: 'add', flags: 0, outPort: OFPP_NONE };
    const [raw] = encode({ type: 'flow_monitor_stats_request', monitors: [monitor] }, 5, 7);
    conn.stream.close('');
    conn.receive(raw);
    assert.equal(bridge.openflow.monitors.any, false);
  });

  it('to send a packet are refused when an action does not suit it, but for OpenFlow 1.0', () => {
    const { match: metadata } = any;
    const actions = [{ type: 'strip_vlan' as const }] as never;
    const packet = Buffer.from('08004500001400000000'.padStart(44, '0').padEnd(120, '0'), 'hex');
    const m = { type: 'packet_out' as const, packet, bufferId: 0xffffffff, metadata, inPort: OFPP_NONE, actions };
    assert.equal(bridge.openflow.packetOut(m), 'OFPBAC_MATCH_INCONSISTENT');
    assert.equal(typeof bridge.openflow.packetOut(m, true), 'object');
  });

  it('that are taken back hold no recirculation number', () => {
    const held = bridge.recircs.size;
    const { match: metadata } = any;
    const { actions } = parse('ip actions=ct(table=1)');
    const packet = Buffer.from(`${'0'.repeat(24)}0800450000140000000040060000`.padEnd(120, '0'), 'hex');
    const m = { type: 'packet_out' as const, packet, bufferId: 0xffffffff, metadata, inPort: OFPP_NONE, actions };
    const op = new PacketOutOp(bridge.openflow, m);
    assert.equal(runSteps(op.start()), undefined);
    assert.equal(bridge.recircs.size, held + 1);
    runSteps(op.revert());
    assert.equal(bridge.recircs.size, held);
  });

  it('of any bytes are answered or ignored, in well-formed messages of the connection’s version', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
        fc.nat(),
        fc.boolean(),
        (sample, edits, cut, doCut) => {
          const raw = sample.slice(0, doCut ? 8 + (cut % Math.max(1, sample.length - 7)) : sample.length);
          for (const [at, value] of edits) raw[1 + (at % (raw.length - 1))] = value;
          [raw[2], raw[3]] = [raw.length >> 8, raw.length & 255];
          const { conn, socket } = connection(sample[0]);
          conn.receive(raw);
          for (const answer of socket.written) {
            assert.equal(answer[0], sample[0]);
            assert.equal((answer[2] << 8) | answer[3], answer.length);
            assert.ok(decode(answer).ok, Buffer.from(answer).toString('hex'));
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});
