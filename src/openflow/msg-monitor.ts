import { OFP13_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import { ofpPort } from '../base/types.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { encodeActions } from './action-encode.ts';
import { OfDecodeError, Reader, type Writer } from './buffer.ts';
import { portFromOfp10 } from './field.ts';
import { pullActions, pullInstructions, putInstructions } from './instruction.ts';
import { catchallMatch } from './match.ts';
import {
  type DecodeContext,
  type EncodeContext,
  emptyCodec,
  type MessageCodec,
  type MessageCodecs,
} from './message-codec.ts';
import { checkLength, putHead, rawByName, rawsOf, rawText, readHead } from './message-raw.ts';
import type { GroupMod } from './messages-group.ts';
import type { MeterMod } from './messages-meter.ts';
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
} from './messages-monitor.ts';
import { pullNxMatchPadded, putNxMatchPadded } from './msg-flow.ts';
import { REMOVED_REASONS } from './msg-flow-removed.ts';
import { pullGroupMod, putGroupMod } from './msg-group.ts';
import { pullMeterMod, putMeterMod } from './msg-meter.ts';
import { putOxmMatch } from './nx-match.ts';
import { pullOfp11Match } from './ofp-match.ts';
import { portFromOfp11 } from './port.ts';

/** Flow monitors: Nicira's (OpenFlow 1.0-1.2), ONF extension 187 (1.3), OpenFlow 1.4+; and forwarded requests. */

const log = vlogModule('ofp_monitor');
const rl = new VlogRateLimit(1, 5);

const HEAD_SIZE = 16;
const WHEN = FMF_ADD | FMF_REMOVED | FMF_MODIFY;
const ALL_FLAGS = FMF_INITIAL | WHEN | FMF_INSTRUCTIONS | FMF_ONLY_OWN;
/** Nicira's and ONF's OWN has another bit; the others are the same. */
const NX_OWN = 1 << 5;
const NX_FLAGS = FMF_INITIAL | WHEN | FMF_INSTRUCTIONS | NX_OWN;

function checkFlags(flags: number, known: number, name: string): void {
  if (flags & WHEN && !(flags & ~known)) return;
  log.warnRl(rl, `${name}_FLOW_MONITOR has bad flags 0x${flags.toString(16)}`);
  throw new OfDecodeError('OFPMOFC_BAD_FLAGS');
}

const flagsFromNx = (flags: number): number => (flags & ~NX_OWN) | (flags & NX_OWN ? FMF_ONLY_OWN : 0);
const flagsToNx = (flags: number): number => (flags & (NX_FLAGS & ~NX_OWN)) | (flags & FMF_ONLY_OWN ? NX_OWN : 0);

const OFPG_ANY = 0xffffffff;
const OFPP_ANY = 0xffffffff;

function pullNx(r: Reader): FlowMonitorRequest {
  const [monitorId, flags, port, matchLen] = [r.readU32(), r.readU16(), r.readU16(), r.readU16()];
  const tableId = r.readU8();
  checkFlags(flags, NX_FLAGS, 'NXST');
  if (!r.zeros(5)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
  return {
    monitorId,
    command: 'add',
    flags: flagsFromNx(flags),
    outPort: ofpPort(portFromOfp10(port)),
    outGroup: OFPG_ANY,
    tableId,
    match: pullNxMatchPadded(r, matchLen, false).match,
  };
}

function pullOnf(r: Reader): FlowMonitorRequest {
  const [monitorId, flags] = [r.readU32(), r.readU16()];
  r.skip(2);
  const [port, tableId] = [r.readU32(), r.readU8()];
  checkFlags(flags, NX_FLAGS, 'ONFST');
  if (!r.zeros(3)) throw new OfDecodeError('NXBRC_MUST_BE_ZERO');
  const outPort = portFromOfp11(port);
  const match = pullOfp11Match(r);
  return { monitorId, command: 'add', flags: flagsFromNx(flags), outPort, outGroup: OFPG_ANY, tableId, match };
}

const COMMANDS = ['add', 'modify', 'delete'] as const;

function pull14(r: Reader): FlowMonitorRequest {
  const [monitorId, port, outGroup, flags] = [r.readU32(), r.readU32(), r.readU32(), r.readU16()];
  const [tableId, commandNumber] = [r.readU8(), r.readU8()];
  const command = COMMANDS[commandNumber];
  if (command === 'delete') {
    const outPort = ofpPort(OFPP_ANY);
    return { monitorId, command, flags: 0, outPort, outGroup: OFPG_ANY, tableId, match: pullOfp11Match(r) };
  }
  checkFlags(flags, ALL_FLAGS, 'OFPST');
  const outPort = portFromOfp11(port);
  const match = pullOfp11Match(r);
  if (!command) throw new OfDecodeError('OFPMOFC_BAD_COMMAND');
  return { monitorId, command, flags, outPort, outGroup, tableId, match };
}

function pullRequest(r: Reader, { raw }: DecodeContext): FlowMonitorRequest {
  if (r.left < HEAD_SIZE) throw leftover(rawText(rawByName(raw)), r.left);
  if (raw === 'NXST_FLOW_MONITOR_REQUEST') return pullNx(r);
  return raw === 'ONFST13_FLOW_MONITOR_REQUEST' ? pullOnf(r) : pull14(r);
}

function leftover(name: string, left: number): OfDecodeError {
  log.warnRl(rl, `${name} has ${left} leftover bytes at end`);
  return new OfDecodeError('OFPBRC_BAD_LEN');
}

function putNx(w: Writer, m: FlowMonitorRequest): void {
  w.putU32(m.monitorId);
  w.putU16(flagsToNx(m.flags));
  w.putU16(m.outPort & 0xffff);
  const lengthAt = w.length;
  w.putU16(0);
  w.putU8(m.tableId);
  w.putZeros(5);
  putNxMatchPadded(w, lengthAt, m.match);
}

/** Appends an ofp_match and its length without the padding at `lengthAt`. */
function putMatchWithLength(w: Writer, lengthAt: number, m: FlowMonitorRequest['match'], version: number): void {
  const start = w.length;
  putOxmMatch(w, m, version);
  w.setU16(lengthAt, w.view.getUint16(start + 2));
}

function putOnf(w: Writer, m: FlowMonitorRequest, version: number): void {
  w.putU32(m.monitorId);
  w.putU16(flagsToNx(m.flags));
  const lengthAt = w.length;
  w.putU16(0);
  w.putU32(m.outPort);
  w.putU8(m.tableId);
  w.putZeros(3);
  putMatchWithLength(w, lengthAt, m.match, version);
}

function put14(w: Writer, m: FlowMonitorRequest, version: number): void {
  w.putU32(m.monitorId);
  w.putU32(m.outPort);
  w.putU32(m.outGroup);
  w.putU16(m.flags);
  w.putU8(m.tableId);
  w.putU8(COMMANDS.indexOf(m.command));
  putOxmMatch(w, m.match, version);
}

function putRequest(w: Writer, m: FlowMonitorRequest, version: number): void {
  if (version < OFP13_VERSION) putNx(w, m);
  else if (version === OFP13_VERSION) putOnf(w, m, version);
  else put14(w, m, version);
}

const request: MessageCodec<'flow_monitor_stats_request'> = {
  decode(r, ctx) {
    const monitors: FlowMonitorRequest[] = [];
    while (r.left > 0) monitors.push(pullRequest(r, ctx));
    return { type: 'flow_monitor_stats_request', monitors, more: ctx.more };
  },
  encode(w, m, { version }) {
    for (const one of m.monitors) putRequest(w, one, version);
  },
  parts: (m, { version }) => m.monitors.map((one) => (w) => putRequest(w, one, version)),
};

/** By number: Nicira's and ONF's events, and OpenFlow 1.4's. */
const NX_EVENTS = ['added', 'removed', 'modified', 'abbrev'] as const;
const EVENTS = ['initial', 'added', 'removed', 'modified', 'abbrev', 'paused', 'resumed'] as const;
type Event = (typeof EVENTS)[number];

const UPDATE_SIZE = 24;

function pullUpdate(r: Reader, ctx: DecodeContext): FlowUpdate {
  const bad = () => leftover(rawText(rawByName(ctx.raw)), r.left);
  if (r.left < 4) throw bad();
  const { view, pos, left } = r;
  const [length, number] = [view.getUint16(pos), view.getUint16(pos + 2)];
  if (length > left || length % 8) throw bad();
  const event: Event | undefined = ctx.version >= OFP14_VERSION ? EVENTS[number] : NX_EVENTS[number];
  if (!event) {
    log.warnRl(rl, `NXST_FLOW_MONITOR reply has bad event ${number}`);
    throw new OfDecodeError('NXBRC_FM_BAD_EVENT');
  }
  const short = event === 'abbrev' || event === 'paused' || event === 'resumed';
  if (short ? length !== 8 : length < UPDATE_SIZE) throw bad();
  r.skip(4);
  const body = r.sub(length - 4);
  if (!short) return pullFull(body, event, ctx);
  const xid = body.readU32();
  return event === 'abbrev' ? { event, xid } : { event };
}

function reasonOf(event: FlowUpdateFull['event'], number: number): Pick<FlowUpdateFull, 'reason'> {
  if (event !== 'removed') return {};
  const reason = REMOVED_REASONS[number];
  if (!reason) throw new OfDecodeError('NXBRC_BAD_REASON');
  return { reason };
}

function pullFull(r: Reader, event: FlowUpdateFull['event'], { version }: DecodeContext): FlowUpdateFull {
  if (version >= OFP14_VERSION) return pullFull14(r, event, version);
  const [reasonNumber, priority, idleTimeout, hardTimeout] = [r.readU16(), r.readU16(), r.readU16(), r.readU16()];
  const [matchLen, tableId] = [r.readU16(), r.readU8()];
  r.skip(1);
  const cookie = r.readU64();
  const onf = version === OFP13_VERSION;
  if (matchLen > r.left) throw leftover(onf ? 'ONFST_FLOW_MONITOR reply' : 'NXST_FLOW_MONITOR reply', r.left);
  const match = onf ? pullOfp11Match(r) : pullNxMatchPadded(r, matchLen, false).match;
  const actions = onf ? pullInstructions(r, version) : pullActions(r, version, false);
  const head = { event, ...reasonOf(event, reasonNumber), idleTimeout, hardTimeout, tableId, priority };
  return { ...head, cookie, match, actions };
}

function pullFull14(r: Reader, event: FlowUpdateFull['event'], version: number): FlowUpdateFull {
  const [tableId, reasonNumber, idleTimeout, hardTimeout] = [r.readU8(), r.readU8(), r.readU16(), r.readU16()];
  const priority = r.readU16();
  r.skip(4);
  const cookie = r.readU64();
  const match = pullOfp11Match(r);
  const head = { event, ...reasonOf(event, reasonNumber), idleTimeout, hardTimeout, tableId, priority };
  return { ...head, cookie, match, actions: pullInstructions(r, version) };
}

const eventNumber = (event: Event, version: number): number =>
  version >= OFP14_VERSION
    ? EVENTS.indexOf(event)
    : NX_EVENTS.indexOf(event === 'initial' ? 'added' : (event as 'added'));

const reasonNumber = (u: FlowUpdateFull): number => (u.reason ? REMOVED_REASONS.indexOf(u.reason) : 0);

function putUpdate(w: Writer, u: FlowUpdate, version: number): void {
  const start = w.length;
  w.putU16(0);
  w.putU16(eventNumber(u.event, version));
  if (u.event === 'abbrev') w.putU32(u.xid);
  else if (u.event === 'paused' || u.event === 'resumed') w.putZeros(4);
  else if (version >= OFP14_VERSION) putFull14(w, u, version);
  else putFull(w, u, version);
  w.setU16(start, w.length - start);
}

function putFull(w: Writer, u: FlowUpdateFull, version: number): void {
  w.putU16(reasonNumber(u));
  w.putU16(u.priority);
  w.putU16(u.idleTimeout);
  w.putU16(u.hardTimeout);
  const lengthAt = w.length;
  w.putU16(0);
  w.putU8(u.tableId);
  w.putZeros(1);
  w.putU64(u.cookie);
  if (version === OFP13_VERSION) {
    putMatchWithLength(w, lengthAt, u.match, version);
    putInstructions(w, u.actions, version);
  } else {
    putNxMatchPadded(w, lengthAt, u.match);
    encodeActions(w, u.actions, version);
  }
}

function putFull14(w: Writer, u: FlowUpdateFull, version: number): void {
  w.putU8(u.tableId);
  w.putU8(reasonNumber(u));
  w.putU16(u.idleTimeout);
  w.putU16(u.hardTimeout);
  w.putU16(u.priority);
  w.putZeros(4);
  w.putU64(u.cookie);
  putOxmMatch(w, u.match, version);
  putInstructions(w, u.actions, version);
}

const reply: MessageCodec<'flow_monitor_stats_reply'> = {
  decode(r, ctx) {
    const updates: FlowUpdate[] = [];
    while (r.left > 0) updates.push(pullUpdate(r, ctx));
    return { type: 'flow_monitor_stats_reply', updates, more: ctx.more };
  },
  encode(w, m, { version }) {
    for (const u of m.updates) putUpdate(w, u, version);
  },
  parts: (m, { version }) => m.updates.map((u) => (w) => putUpdate(w, u, version)),
};

const cancel: MessageCodec<'flow_monitor_cancel'> = {
  decode: (r) => ({ type: 'flow_monitor_cancel', monitorId: r.readU32() }),
  encode: (w, m) => w.putU32(m.monitorId),
};

/** What OpenFlow 1.4+ says with the request or reply itself. */
export function monitorInVersion14(
  m: { type: 'flow_monitor_cancel'; monitorId: number } | { type: 'flow_monitor_paused' | 'flow_monitor_resumed' },
):
  | { type: 'flow_monitor_stats_request'; monitors: FlowMonitorRequest[] }
  | { type: 'flow_monitor_stats_reply'; updates: FlowUpdate[]; more: boolean } {
  if (m.type !== 'flow_monitor_cancel') {
    const event = m.type === 'flow_monitor_paused' ? 'paused' : 'resumed';
    return { type: 'flow_monitor_stats_reply', updates: [{ event }], more: false };
  }
  const { monitorId } = m;
  const none = { flags: 0, outPort: ofpPort(0), outGroup: 0, tableId: 0 };
  const monitor: FlowMonitorRequest = { monitorId, command: 'delete', ...none, match: catchallMatch() };
  return { type: 'flow_monitor_stats_request', monitors: [monitor] };
}

/** The message that a requestforward carries. Throws OFPBFC_MSG_*, or what is wrong with the message. */
function pullForwarded(r: Reader, version: number): { xid: number; request: GroupMod | MeterMod } {
  if (r.left < 8) throw new OfDecodeError('OFPBFC_MSG_BAD_LEN');
  const { view, pos } = r;
  const length = view.getUint16(pos + 2);
  if (length < 8 || length > r.left) throw new OfDecodeError('OFPBFC_MSG_BAD_LEN');
  if (view.getUint8(pos) !== version) throw new OfDecodeError('OFPBRC_BAD_VERSION');
  const type = view.getUint8(pos + 1);
  const xid = view.getUint32(pos + 4);
  const inner = new Reader(r.bytes(length), 8);
  const { raw } = readHead(inner, version, type);
  checkLength(raw, inner.pos, length);
  if (raw.type === 'group_mod') return { xid, request: pullGroupMod(inner, version) };
  if (raw.type === 'meter_mod') return { xid, request: pullMeterMod(inner) };
  throw new OfDecodeError('OFPBFC_MSG_UNSUP', raw.type);
}

function putForwarded(w: Writer, xid: number, request: GroupMod | MeterMod, { version }: EncodeContext): void {
  const [raw] = rawsOf(request.type, version);
  if (!raw) throw new Error(`OpenFlow version ${version} has no ${request.type}`);
  const start = w.length;
  putHead(w, raw, version, xid);
  if (request.type === 'group_mod') putGroupMod(w, request, version);
  else putMeterMod(w, request);
  w.setU16(start + 2, w.length - start);
}

const requestForward: MessageCodec<'requestforward'> = {
  decode(r, { version }) {
    const forwarded = pullForwarded(r, version);
    r.skip(r.left);
    return { type: 'requestforward', ...forwarded };
  },
  encode: (w, m, ctx) => putForwarded(w, m.xid, m.request, ctx),
};

export const MONITOR: MessageCodecs = {
  flow_monitor_stats_request: request,
  flow_monitor_stats_reply: reply,
  flow_monitor_cancel: cancel,
  flow_monitor_paused: emptyCodec({ type: 'flow_monitor_paused' }),
  flow_monitor_resumed: emptyCodec({ type: 'flow_monitor_resumed' }),
  requestforward: requestForward,
};
