import { OFP10_VERSION, OFP13_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import type { RawName } from '../../protocols/openflow-messages.ts';
import { ofpPort } from '../base/types.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { portFromOfp10 } from './field.ts';
import { pullInstructions, putInstructions } from './instruction.ts';
import type { DecodeContext, EncodeContext, MessageCodec, MessageCodecs } from './message-codec.ts';
import { type FlowStats, type FlowStatsRequest, UINT64_MAX } from './messages.ts';
import { flowFlagsFromWire, flowFlagsToWire, pullNxMatchPadded, putMatch, putNxMatchPadded } from './msg-flow.ts';
import { pullOxsStats, putOxsStats, UNKNOWN32 } from './msg-flow-oxs.ts';
import { putOxmMatch } from './nx-match.ts';
import { pullOfp10Match, pullOfp11Match, putOfp10Match } from './ofp-match.ts';
import { portFromOfp11 } from './port.ts';

/** Flow and aggregate statistics, in the forms of OpenFlow 1.0, of Nicira's NXM, of 1.1-1.4 and of 1.5. */

const log = vlogModule('ofp_flow');
const rl = new VlogRateLimit(1, 5);
const OFPG_ANY = 0xffffffff;
const NX_REQUESTS: ReadonlySet<RawName> = new Set<RawName>(['NXST_FLOW_REQUEST', 'NXST_AGGREGATE_REQUEST']);

/** OpenFlow 1.0 has no "unknown" counter. */
const unknownAsZero = (n: bigint): bigint => (n === UINT64_MAX ? 0n : n);

function pullStatsRequest(r: Reader, { version, raw }: DecodeContext): FlowStatsRequest {
  if (NX_REQUESTS.has(raw)) {
    const outPort = ofpPort(portFromOfp10(r.readU16()));
    const matchLen = r.readU16();
    const tableId = r.readU8();
    r.skip(3);
    return { outPort, outGroup: OFPG_ANY, tableId, ...pullNxMatchPadded(r, matchLen, true) };
  }
  if (version === OFP10_VERSION) {
    const match = pullOfp10Match(r);
    const tableId = r.readU8();
    r.skip(1);
    const outPort = ofpPort(portFromOfp10(r.readU16()));
    return { match, cookie: 0n, cookieMask: 0n, outPort, outGroup: OFPG_ANY, tableId };
  }
  const tableId = r.readU8();
  r.skip(3);
  const outPort = portFromOfp11(r.readU32());
  const outGroup = r.readU32();
  r.skip(4);
  const [cookie, cookieMask] = [r.readU64(), r.readU64()];
  return { match: pullOfp11Match(r), cookie, cookieMask, outPort, outGroup, tableId };
}

function putStatsRequest(w: Writer, m: FlowStatsRequest, { version, raw }: EncodeContext): void {
  if (NX_REQUESTS.has(raw)) {
    w.putU16(m.outPort & 0xffff);
    const lengthAt = w.length;
    w.putU16(0);
    w.putU8(m.tableId);
    w.putZeros(3);
    putNxMatchPadded(w, lengthAt, m.match, m.cookie, m.cookieMask);
    return;
  }
  if (version === OFP10_VERSION) {
    putOfp10Match(w, m.match);
    w.putU8(m.tableId);
    w.putZeros(1);
    w.putU16(m.outPort & 0xffff);
    return;
  }
  w.putU8(m.tableId);
  w.putZeros(3);
  w.putU32(m.outPort);
  w.putU32(m.outGroup);
  w.putZeros(4);
  w.putU64(m.cookie);
  w.putU64(m.cookieMask);
  putMatch(w, m.match, version);
}

/** What follows the match is nothing that Open vSwitch knows (OpenFlow 1.5 lists the statistics that are wanted); Nicira's form has nothing. */
function pullWholeRequest(r: Reader, ctx: DecodeContext): FlowStatsRequest {
  const request = pullStatsRequest(r, ctx);
  if (!NX_REQUESTS.has(ctx.raw)) r.skip(r.left);
  return request;
}

const flowStatsRequest: MessageCodec<'flow_stats_request'> = {
  decode: (r, ctx) => ({ type: 'flow_stats_request', ...pullWholeRequest(r, ctx) }),
  encode: putStatsRequest,
};

const aggregateRequest: MessageCodec<'aggregate_stats_request'> = {
  decode: (r, ctx) => ({ type: 'aggregate_stats_request', ...pullWholeRequest(r, ctx) }),
  encode: putStatsRequest,
};

const aggregateReply: MessageCodec<'aggregate_stats_reply'> = {
  decode(r, { raw }) {
    if (raw === 'OFPST15_AGGREGATE_REPLY') {
      const { packetCount, byteCount, flowCount } = pullOxsStats(r);
      r.skip(r.left);
      return { type: 'aggregate_stats_reply', packetCount, byteCount, flowCount };
    }
    const [packetCount, byteCount, flowCount] = [r.readU64(), r.readU64(), r.readU32()];
    r.skip(4);
    return { type: 'aggregate_stats_reply', packetCount, byteCount, flowCount };
  },
  encode(w, m, { version, raw }) {
    const { packetCount, byteCount, flowCount } = m;
    if (raw === 'OFPST15_AGGREGATE_REPLY') {
      putOxsStats(w, { packetCount, byteCount, flowCount });
      return;
    }
    const standard10 = version === OFP10_VERSION && raw === 'OFPST_AGGREGATE_REPLY';
    w.putU64(standard10 ? unknownAsZero(packetCount) : packetCount);
    w.putU64(standard10 ? unknownAsZero(byteCount) : byteCount);
    w.putU32(flowCount);
    w.putZeros(4);
  },
};

/** Nicira's ages are one more than the seconds; 0: unknown. */
const ageFromWire = (n: number): number => n - 1;
const ageToWire = (n: number): number => (n < 0 ? 0 : n < 0xffff ? n + 1 : 0xffff);

/** Bytes of an element before its match. */
const HEAD = { OFPST10: 88, OFPST11: 48, OFPST15: 24 } as const;

function bad(text: string): OfDecodeError {
  log.warnRl(rl, text);
  return new OfDecodeError('OFPBRC_BAD_LEN', text);
}

function pullFlowStats(r: Reader, ctx: DecodeContext): FlowStats {
  const { raw } = ctx;
  const nx = raw === 'NXST_FLOW_REPLY';
  const head = raw === 'OFPST10_FLOW_REPLY' ? HEAD.OFPST10 : raw === 'OFPST15_FLOW_REPLY' ? HEAD.OFPST15 : HEAD.OFPST11;
  const name = nx ? 'NXST_FLOW' : 'OFPST_FLOW';
  if (r.left < head) throw bad(`${name} reply has ${r.left} leftover bytes at end`);
  const length = r.readU16();
  if (length < head) throw bad(`${name} reply claims invalid length ${length}`);
  const body = r.sub(length - 2);
  if (raw === 'OFPST15_FLOW_REPLY') return pullFlowStats15(body, ctx.version);
  const tableId = body.readU8();
  body.skip(1);
  return raw === 'OFPST10_FLOW_REPLY'
    ? pullFlowStats10(body, tableId)
    : pullFlowStats11(body, tableId, nx, ctx.version);
}

function pullFlowStats11(r: Reader, tableId: number, nx: boolean, version: number): FlowStats {
  const [durationSec, durationNsec] = [r.readU32(), r.readU32()];
  const [priority, idleTimeout, hardTimeout] = [r.readU16(), r.readU16(), r.readU16()];
  const words = [r.readU16(), r.readU16(), r.readU16()];
  const [cookie, packetCount, byteCount] = [r.readU64(), r.readU64(), r.readU64()];
  const match = nx ? pullNxMatchPadded(r, words[0], false).match : pullOfp11Match(r);
  return {
    match,
    cookie,
    tableId,
    priority,
    idleTimeout,
    hardTimeout,
    durationSec,
    durationNsec,
    idleAge: nx ? ageFromWire(words[1]) : -1,
    hardAge: nx ? ageFromWire(words[2]) : -1,
    packetCount,
    byteCount,
    flags: !nx && version >= OFP13_VERSION ? flowFlagsFromWire(words[0], version) : 0,
    importance: !nx && version >= OFP14_VERSION ? words[1] : 0,
    actions: pullInstructions(r, version),
  };
}

/** An `ofp_flow_desc`: what can be known of it stands in its statistics. */
function pullFlowStats15(r: Reader, version: number): FlowStats {
  r.skip(2);
  const tableId = r.readU8();
  r.skip(1);
  const [priority, idleTimeout, hardTimeout] = [r.readU16(), r.readU16(), r.readU16()];
  const [rawFlags, importance, cookie] = [r.readU16(), r.readU16(), r.readU64()];
  const match = pullOfp11Match(r);
  const flags = flowFlagsFromWire(rawFlags, version);
  const { durationSec, durationNsec, idleAge, packetCount, byteCount } = pullOxsStats(r);
  return {
    match,
    cookie,
    tableId,
    priority,
    idleTimeout,
    hardTimeout,
    durationSec,
    durationNsec,
    idleAge: idleAge === UNKNOWN32 ? -1 : idleAge,
    hardAge: -1,
    packetCount,
    byteCount,
    flags,
    importance,
    actions: pullInstructions(r, version),
  };
}

function pullFlowStats10(r: Reader, tableId: number): FlowStats {
  const match = pullOfp10Match(r);
  const [durationSec, durationNsec] = [r.readU32(), r.readU32()];
  const [priority, idleTimeout, hardTimeout] = [r.readU16(), r.readU16(), r.readU16()];
  r.skip(6);
  const [cookie, packetCount, byteCount] = [r.readU64(), r.readU64(), r.readU64()];
  return {
    match,
    cookie,
    tableId,
    priority,
    idleTimeout,
    hardTimeout,
    durationSec,
    durationNsec,
    idleAge: -1,
    hardAge: -1,
    packetCount,
    byteCount,
    flags: 0,
    importance: 0,
    actions: pullInstructions(r, OFP10_VERSION),
  };
}

function putFlowStats(w: Writer, s: FlowStats, { version, raw }: EncodeContext): void {
  const start = w.length;
  w.putU16(0);
  if (raw === 'OFPST15_FLOW_REPLY') putFlowStats15(w, s, version);
  else putFlowStats11(w, s, version, raw === 'NXST_FLOW_REPLY');
  putInstructions(w, s.actions, version);
  w.setU16(start, w.length - start);
}

function putFlowStats11(w: Writer, s: FlowStats, version: number, nx: boolean): void {
  const v10 = !nx && version === OFP10_VERSION;
  w.putU8(s.tableId);
  w.putZeros(1);
  if (v10) putOfp10Match(w, s.match);
  w.putU32(s.durationSec);
  w.putU32(s.durationNsec);
  w.putU16(s.priority);
  w.putU16(s.idleTimeout);
  w.putU16(s.hardTimeout);
  const wordAt = w.length;
  w.putU16(!nx && version >= OFP13_VERSION ? flowFlagsToWire(s.flags, version) : 0);
  w.putU16(nx ? ageToWire(s.idleAge) : version >= OFP14_VERSION ? s.importance : 0);
  w.putU16(nx ? ageToWire(s.hardAge) : 0);
  w.putU64(s.cookie);
  w.putU64(unknownAsZero(s.packetCount));
  w.putU64(unknownAsZero(s.byteCount));
  if (nx) putNxMatchPadded(w, wordAt, s.match);
  else if (!v10) putOxmMatch(w, s.match, version);
}

function putFlowStats15(w: Writer, s: FlowStats, version: number): void {
  w.putZeros(2);
  w.putU8(s.tableId);
  w.putZeros(1);
  w.putU16(s.priority);
  w.putU16(s.idleTimeout);
  w.putU16(s.hardTimeout);
  w.putU16(flowFlagsToWire(s.flags, version));
  w.putU16(s.importance);
  w.putU64(s.cookie);
  putOxmMatch(w, s.match, version);
  const { durationSec, durationNsec, packetCount, byteCount } = s;
  const idleAge = s.idleAge < 0 ? UNKNOWN32 : s.idleAge;
  putOxsStats(w, { durationSec, durationNsec, idleAge, packetCount, byteCount });
}

const flowStatsReply: MessageCodec<'flow_stats_reply'> = {
  decode(r, ctx) {
    const flows: FlowStats[] = [];
    while (r.left > 0) flows.push(pullFlowStats(r, ctx));
    return { type: 'flow_stats_reply', flows, more: ctx.more };
  },
  encode(w, m, ctx) {
    for (const s of m.flows) putFlowStats(w, s, ctx);
  },
  parts: (m, ctx) => m.flows.map((s) => (w) => putFlowStats(w, s, ctx)),
  tooLong: () =>
    log.warnRl(rl, 'Flow exceeded the maximum flow statistics reply size and was excluded from the response set'),
};

export const FLOW_STATS: MessageCodecs = {
  flow_stats_request: flowStatsRequest,
  flow_stats_reply: flowStatsReply,
  aggregate_stats_request: aggregateRequest,
  aggregate_stats_reply: aggregateReply,
};
