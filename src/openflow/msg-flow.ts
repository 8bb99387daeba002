import { OFP10_VERSION, OFP11_VERSION, OFP12_VERSION, OFP13_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import { ofpPort } from '../base/types.ts';
import { checkActions } from './action-check.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { portFromOfp10 } from './field.ts';
import { ETH_TYPE_IP, ETH_TYPE_IPV6 } from './field-prereq.ts';
import { pullInstructions, putInstructions } from './instruction.ts';
import type { Match } from './match.ts';
import type { DecodeContext, EncodeContext, MessageCodec, MessageCodecs } from './message-codec.ts';
import {
  FF_CHECK_OVERLAP,
  FF_EMERG,
  FF_NO_BYT_COUNTS,
  FF_NO_PKT_COUNTS,
  FF_RESET_COUNTS,
  FF_SEND_FLOW_REM,
  type FlowMod,
  type FlowModCommand,
  type FlowRemoved,
  type FlowRemovedReason,
  type FlowStats,
  type FlowStatsRequest,
  UINT64_MAX,
} from './messages.ts';
import { normalizeMatch } from './normalize.ts';
import { pullNxMatch, putNxMatch, putOxmMatch } from './nx-match.ts';
import { pullOfp10Match, pullOfp11Match, putOfp10Match, putOfp11Match } from './ofp-match.ts';
import { portFromOfp11 } from './port.ts';

/** Flow-mods, flow-removed, flow and aggregate statistics, in the forms of OpenFlow 1.0, of Nicira's NXM, and of 1.1+. */

const COMMANDS: readonly FlowModCommand[] = ['add', 'modify', 'modify_strict', 'delete', 'delete_strict'];
const OFPG_ANY = 0xffffffff;
const TABLE_ANY = 255;

/** Appends a match as OpenFlow `version` has it. */
export function putMatch(w: Writer, m: Match, version: number): void {
  if (version === OFP10_VERSION) putOfp10Match(w, m);
  else if (version === OFP11_VERSION) putOfp11Match(w, m);
  else putOxmMatch(w, m, version);
}

/** Bits of the wire's flags: [wire, `FF_*`, first version, last version]. */
const FLAGS: readonly (readonly [number, number, number, number])[] = [
  [1, FF_SEND_FLOW_REM, 1, 6],
  [2, FF_CHECK_OVERLAP, 1, 6],
  [4, FF_EMERG, 1, 1],
  [4, FF_RESET_COUNTS, 3, 6],
  [8, FF_NO_PKT_COUNTS, 4, 6],
  [16, FF_NO_BYT_COUNTS, 4, 6],
];

function flagsFromWire(raw: number, version: number): number {
  let flags = 0;
  for (const [wire, flag, from, to] of FLAGS) {
    if (version < from || version > to || !(raw & wire)) continue;
    flags |= flag;
    raw &= ~wire;
  }
  if (raw) throw new OfDecodeError('OFPFMFC_BAD_FLAGS');
  return flags;
}

function flagsToWire(flags: number, version: number): number {
  let raw = 0;
  for (const [wire, flag, from, to] of FLAGS) if (version >= from && version <= to && flags & flag) raw |= wire;
  return raw;
}

type FlowModHead = Omit<FlowMod, 'type' | 'actions' | 'flags'> & { rawFlags: number };

/** A command with its table in the upper byte, when the connection has turned that on. */
function commandAndTable(raw: number, tableIds: boolean): { command: FlowModCommand; tableId: number } {
  const command = COMMANDS[tableIds ? raw & 0xff : raw];
  if (!command) throw new OfDecodeError('OFPFMFC_BAD_COMMAND');
  return { command, tableId: tableIds ? raw >> 8 : TABLE_ANY };
}

/** OFPFW_ALL of OpenFlow 1.0: without any of these the match is exact. */
const OFPFW10_ALL = 0x3fffff;

function pullFlowMod10(r: Reader, ctx: DecodeContext): FlowModHead {
  const exact = (r.peekU32() & OFPFW10_ALL) === 0;
  const match = pullOfp10Match(r);
  normalizeMatch(match);
  const newCookie = r.readU64();
  const { command, tableId } = commandAndTable(r.readU16(), ctx.flowModTableId);
  const [idleTimeout, hardTimeout, priority] = [r.readU16(), r.readU16(), r.readU16()];
  return {
    match,
    ...cookies10(newCookie, 0n, 0n),
    command,
    tableId,
    idleTimeout,
    hardTimeout,
    priority: exact ? 0xffff : priority,
    ...tail10(r),
  };
}

function cookies10(newCookie: bigint, cookie: bigint, cookieMask: bigint) {
  return { cookie, cookieMask, newCookie, modifyCookie: newCookie !== UINT64_MAX, importance: 0, outGroup: OFPG_ANY };
}

function tail10(r: Reader) {
  return { bufferId: r.readU32(), outPort: ofpPort(portFromOfp10(r.readU16())), rawFlags: r.readU16() };
}

function pullFlowModNx(r: Reader, ctx: DecodeContext): FlowModHead {
  const newCookie = r.readU64();
  const { command, tableId } = commandAndTable(r.readU16(), ctx.flowModTableId);
  const [idleTimeout, hardTimeout, priority] = [r.readU16(), r.readU16(), r.readU16()];
  const tail = tail10(r);
  const matchLen = r.readU16();
  r.skip(6);
  const { match, cookie, cookieMask } = pullNxMatchPadded(r, matchLen, true);
  if (command === 'add' && cookieMask !== 0n) throw new OfDecodeError('NXBRC_NXM_INVALID');
  return {
    match,
    ...cookies10(newCookie, cookie, cookieMask),
    command,
    tableId,
    idleTimeout,
    hardTimeout,
    priority,
    ...tail,
  };
}

/** An nx_match followed by padding to 8. */
export function pullNxMatchPadded(r: Reader, length: number, cookie: boolean, loose = false) {
  const padded = (length + 7) & ~7;
  if (padded > r.left) throw new OfDecodeError('OFPBMC_BAD_LEN');
  const out = pullNxMatch(r, length, { cookie, loose });
  r.skip(padded - length);
  return out;
}

function pullFlowMod11(r: Reader, { version }: DecodeContext): FlowModHead {
  const [cookie, cookieMask] = [r.readU64(), r.readU64()];
  const tableId = r.readU8();
  const command = COMMANDS[r.readU8()];
  const [idleTimeout, hardTimeout, priority] = [r.readU16(), r.readU16(), r.readU16()];
  const bufferId = r.readU32();
  const rawOutPort = r.readU32();
  const rawOutGroup = r.readU32();
  const rawFlags = r.readU16();
  const importance = r.readU16();
  const match = pullOfp11Match(r);
  if (!command) throw new OfDecodeError('OFPFMFC_BAD_COMMAND');
  const isDelete = command === 'delete' || command === 'delete_strict';
  if (tableId === TABLE_ANY && (version === OFP11_VERSION || !isDelete))
    throw new OfDecodeError('OFPFMFC_BAD_TABLE_ID');
  // OpenFlow 1.1: a modify that does not ask for a cookie adds the flow when there is none.
  const adds = command === 'add' || (version === OFP11_VERSION && !isDelete && cookieMask === 0n);
  return {
    match,
    priority,
    cookie: adds ? 0n : cookie,
    cookieMask: adds ? 0n : cookieMask,
    newCookie: adds ? cookie : UINT64_MAX,
    modifyCookie: false,
    command,
    tableId,
    idleTimeout,
    hardTimeout,
    importance: version >= OFP14_VERSION && command === 'add' ? importance : 0,
    bufferId,
    outPort: portFromOfp11(rawOutPort),
    outGroup: isDelete ? rawOutGroup : OFPG_ANY,
    rawFlags,
  };
}

function checkConntrackAddresses(m: Match): void {
  const { wc, flow } = m;
  const v4 = wc.ctNwSrc !== 0 || wc.ctNwDst !== 0;
  const v6 = wc.ctIpv6Src.some((b) => b) || wc.ctIpv6Dst.some((b) => b);
  if ((v4 && flow.dlType !== ETH_TYPE_IP) || (v6 && flow.dlType !== ETH_TYPE_IPV6))
    throw new OfDecodeError('OFPBAC_MATCH_INCONSISTENT');
}

const flowMod: MessageCodec<'flow_mod'> = {
  decode(r, ctx) {
    const nx = ctx.family === 'NXT';
    const pull = nx ? pullFlowModNx : ctx.version === OFP10_VERSION ? pullFlowMod10 : pullFlowMod11;
    const { rawFlags, ...head } = pull(r, ctx);
    checkConntrackAddresses(head.match);
    const actions = pullInstructions(r, ctx.version);
    const flags = flagsFromWire(rawFlags, ctx.version);
    if (flags & FF_EMERG) {
      const timeouts = head.idleTimeout || head.hardTimeout;
      throw new OfDecodeError(timeouts ? 'OFPFMFC_BAD_EMERG_TIMEOUT' : 'OFPFMFC_TABLE_FULL');
    }
    const error = checkActions(actions, head.match, {
      tableId: head.tableId,
      nTables: ctx.nTables,
      allowInconsistent: ctx.version === OFP10_VERSION,
    });
    if (error) throw new OfDecodeError(error);
    const reset = ctx.version < OFP12_VERSION && head.command === 'add' ? FF_RESET_COUNTS : 0;
    return { type: 'flow_mod', ...head, flags: flags | reset, actions };
  },
  encode(w, m, ctx) {
    if (ctx.family === 'NXT') putFlowModNx(w, m, ctx);
    else if (ctx.version === OFP10_VERSION) putFlowMod10(w, m, ctx);
    else putFlowMod11(w, m, ctx);
    putInstructions(w, m.actions, ctx.version);
  },
};

function command10(m: FlowMod, ctx: EncodeContext): number {
  const n = COMMANDS.indexOf(m.command);
  return ctx.flowModTableId ? (m.tableId << 8) | n : n;
}

function putTail10(w: Writer, m: FlowMod, version: number): void {
  w.putU16(m.idleTimeout);
  w.putU16(m.hardTimeout);
  w.putU16(m.priority);
  w.putU32(m.bufferId);
  w.putU16(m.outPort & 0xffff);
  w.putU16(flagsToWire(m.flags, version));
}

function putFlowMod10(w: Writer, m: FlowMod, ctx: EncodeContext): void {
  putOfp10Match(w, m.match);
  w.putU64(m.newCookie);
  w.putU16(command10(m, ctx));
  putTail10(w, m, ctx.version);
}

function putFlowModNx(w: Writer, m: FlowMod, ctx: EncodeContext): void {
  w.putU64(m.newCookie);
  w.putU16(command10(m, ctx));
  putTail10(w, m, ctx.version);
  const lengthAt = w.length;
  w.putU16(0);
  w.putZeros(6);
  putNxMatchPadded(w, lengthAt, m.match, m.cookie, m.cookieMask);
}

/** Appends an nx_match and its padding, and its length at `lengthAt`. */
export function putNxMatchPadded(w: Writer, lengthAt: number, m: Match, cookie = 0n, cookieMask = 0n): void {
  const start = w.length;
  w.setU16(lengthAt, putNxMatch(w, m, 0, cookie, cookieMask));
  w.padTo(8, start);
}

function putFlowMod11(w: Writer, m: FlowMod, { version }: EncodeContext): void {
  const adds =
    m.command === 'add' || (version === OFP11_VERSION && m.command.startsWith('modify') && m.cookieMask === 0n);
  w.putU64(adds ? m.newCookie : m.cookie & m.cookieMask);
  w.putU64(adds ? 0n : m.cookieMask);
  w.putU8(tableOnWire(m, version));
  w.putU8(COMMANDS.indexOf(m.command));
  w.putU16(m.idleTimeout);
  w.putU16(m.hardTimeout);
  w.putU16(m.priority);
  w.putU32(m.bufferId);
  w.putU32(m.outPort);
  w.putU32(m.outGroup);
  w.putU16(flagsToWire(m.flags, version));
  w.putU16(version >= OFP14_VERSION && m.command === 'add' ? m.importance : 0);
  putMatch(w, m.match, version);
}

/** "Any table" can be said in a delete of 1.2+ only; elsewhere it is table 0. */
function tableOnWire(m: FlowMod, version: number): number {
  const any = m.tableId === TABLE_ANY && (version === OFP11_VERSION || !m.command.startsWith('delete'));
  return any ? 0 : m.tableId;
}

const REASONS: readonly FlowRemovedReason[] = [
  'idle_timeout',
  'hard_timeout',
  'delete',
  'group_delete',
  'meter_delete',
  'eviction',
];

const reasonOf = (n: number): FlowRemovedReason => {
  const reason = REASONS[n];
  if (!reason) throw new OfDecodeError('OFPBRC_BAD_TYPE', 'flow removed reason');
  return reason;
};

function pullFlowRemoved10(r: Reader): FlowRemoved {
  const match = pullOfp10Match(r);
  const [cookie, priority, reason] = [r.readU64(), r.readU16(), reasonOf(r.readU8())];
  r.skip(1);
  const [durationSec, durationNsec, idleTimeout] = [r.readU32(), r.readU32(), r.readU16()];
  r.skip(2);
  const [packetCount, byteCount] = [r.readU64(), r.readU64()];
  return {
    type: 'flow_removed',
    match,
    cookie,
    priority,
    reason,
    tableId: 255,
    durationSec,
    durationNsec,
    idleTimeout,
    hardTimeout: 0,
    packetCount,
    byteCount,
  };
}

function pullFlowRemoved11(r: Reader, nx: boolean, version: number): FlowRemoved {
  const [cookie, priority, reason, table] = [r.readU64(), r.readU16(), reasonOf(r.readU8()), r.readU8()];
  const [durationSec, durationNsec, idleTimeout, second] = [r.readU32(), r.readU32(), r.readU16(), r.readU16()];
  const [packetCount, byteCount] = [r.readU64(), r.readU64()];
  const match = nx ? pullNxMatchPadded(r, second, false).match : pullOfp11Match(r);
  const tableId = nx ? (table === 0 ? 255 : table - 1) : table;
  const hardTimeout = nx || version < OFP12_VERSION ? 0 : second;
  return {
    type: 'flow_removed',
    match,
    cookie,
    priority,
    reason,
    tableId,
    durationSec,
    durationNsec,
    idleTimeout,
    hardTimeout,
    packetCount,
    byteCount,
  };
}

/** A reason that the version does not know is said as `delete`. */
function reasonOnWire(reason: FlowRemovedReason, version: number): number {
  const n = REASONS.indexOf(reason);
  const max = version >= OFP14_VERSION ? 5 : version >= OFP13_VERSION ? 3 : version >= OFP11_VERSION ? 3 : 2;
  return n > max ? 2 : n;
}

const flowRemoved: MessageCodec<'flow_removed'> = {
  decode: (r, { version, family }) =>
    family === 'OFPT' && version === OFP10_VERSION
      ? pullFlowRemoved10(r)
      : pullFlowRemoved11(r, family === 'NXT', version),
  encode(w, m, { version, family }) {
    const nx = family === 'NXT';
    const v10 = !nx && version === OFP10_VERSION;
    if (v10) putOfp10Match(w, m.match);
    w.putU64(m.cookie);
    w.putU16(m.priority);
    w.putU8(reasonOnWire(m.reason, version));
    w.putU8(v10 ? 0 : nx ? (m.tableId === 255 ? 0 : m.tableId + 1) : m.tableId);
    w.putU32(m.durationSec);
    w.putU32(m.durationNsec);
    w.putU16(m.idleTimeout);
    const secondAt = w.length;
    w.putU16(v10 || nx || version < OFP12_VERSION ? 0 : m.hardTimeout);
    w.putU64(v10 || nx ? unknownAsZero(m.packetCount) : m.packetCount);
    w.putU64(v10 || nx ? unknownAsZero(m.byteCount) : m.byteCount);
    if (nx) putNxMatchPadded(w, secondAt, m.match);
    else if (!v10) putMatch(w, m.match, version);
  },
};

/** OpenFlow 1.0 has no "unknown" counter. */
const unknownAsZero = (n: bigint): bigint => (n === UINT64_MAX ? 0n : n);

function pullStatsRequest(r: Reader, { version, family }: DecodeContext): FlowStatsRequest {
  if (family === 'NXSTATS_REQUEST') {
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

function putStatsRequest(w: Writer, m: FlowStatsRequest, { version, family }: EncodeContext): void {
  if (family === 'NXSTATS_REQUEST') {
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

const flowStatsRequest: MessageCodec<'flow_stats_request'> = {
  decode: (r, ctx) => ({ type: 'flow_stats_request', ...pullStatsRequest(r, ctx) }),
  encode: putStatsRequest,
};

const aggregateRequest: MessageCodec<'aggregate_stats_request'> = {
  decode: (r, ctx) => ({ type: 'aggregate_stats_request', ...pullStatsRequest(r, ctx) }),
  encode: putStatsRequest,
};

const aggregateReply: MessageCodec<'aggregate_stats_reply'> = {
  decode(r) {
    const [packetCount, byteCount, flowCount] = [r.readU64(), r.readU64(), r.readU32()];
    r.skip(4);
    return { type: 'aggregate_stats_reply', packetCount, byteCount, flowCount };
  },
  encode(w, m, { version, family }) {
    const v10 = version === OFP10_VERSION || family === 'NXSTATS_REPLY';
    w.putU64(v10 ? unknownAsZero(m.packetCount) : m.packetCount);
    w.putU64(v10 ? unknownAsZero(m.byteCount) : m.byteCount);
    w.putU32(m.flowCount);
    w.putZeros(4);
  },
};

/** Nicira's ages are one more than the seconds; 0: unknown. */
const ageFromWire = (n: number): number => n - 1;
const ageToWire = (n: number): number => (n < 0 ? 0 : n < 0xffff ? n + 1 : 0xffff);

function pullFlowStats(r: Reader, ctx: DecodeContext): FlowStats {
  const length = r.readU16();
  if (length < 48) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const body = r.sub(length - 2);
  const tableId = body.readU8();
  body.skip(1);
  if (ctx.family === 'STATS_REPLY' && ctx.version === OFP10_VERSION) return pullFlowStats10(body, tableId);
  const [durationSec, durationNsec] = [body.readU32(), body.readU32()];
  const [priority, idleTimeout, hardTimeout] = [body.readU16(), body.readU16(), body.readU16()];
  const words = [body.readU16(), body.readU16(), body.readU16()];
  const [cookie, packetCount, byteCount] = [body.readU64(), body.readU64(), body.readU64()];
  const nx = ctx.family === 'NXSTATS_REPLY';
  const match = nx ? pullNxMatchPadded(body, words[0], false).match : pullOfp11Match(body);
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
    flags: !nx && ctx.version >= OFP13_VERSION ? flagsFromWire(words[0], ctx.version) : 0,
    importance: !nx && ctx.version >= OFP14_VERSION ? words[1] : 0,
    actions: pullInstructions(body, ctx.version),
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

function putFlowStats(w: Writer, s: FlowStats, { version, family }: EncodeContext): void {
  const nx = family === 'NXSTATS_REPLY';
  const v10 = !nx && version === OFP10_VERSION;
  const start = w.length;
  w.putU16(0);
  w.putU8(s.tableId);
  w.putZeros(1);
  if (v10) putOfp10Match(w, s.match);
  w.putU32(s.durationSec);
  w.putU32(s.durationNsec);
  w.putU16(s.priority);
  w.putU16(s.idleTimeout);
  w.putU16(s.hardTimeout);
  const wordAt = w.length;
  w.putU16(!nx && version >= OFP13_VERSION ? flagsToWire(s.flags, version) : 0);
  w.putU16(nx ? ageToWire(s.idleAge) : version >= OFP14_VERSION ? s.importance : 0);
  w.putU16(nx ? ageToWire(s.hardAge) : 0);
  w.putU64(s.cookie);
  w.putU64(v10 || nx ? unknownAsZero(s.packetCount) : s.packetCount);
  w.putU64(v10 || nx ? unknownAsZero(s.byteCount) : s.byteCount);
  if (nx) putNxMatchPadded(w, wordAt, s.match);
  else if (!v10) putOxmMatch(w, s.match, version);
  putInstructions(w, s.actions, version);
  w.setU16(start, w.length - start);
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
};

export const FLOW: MessageCodecs = {
  flow_mod: flowMod,
  flow_removed: flowRemoved,
  flow_stats_request: flowStatsRequest,
  flow_stats_reply: flowStatsReply,
  aggregate_stats_request: aggregateRequest,
  aggregate_stats_reply: aggregateReply,
};
