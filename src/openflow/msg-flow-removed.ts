import { OFP10_VERSION, OFP11_VERSION, OFP14_VERSION, OFP15_VERSION } from '../../protocols/openflow.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import type { MessageCodec, MessageCodecs } from './message-codec.ts';
import { type FlowRemoved, type FlowRemovedReason, UINT64_MAX } from './messages.ts';
import { pullNxMatchPadded, putMatch, putNxMatchPadded } from './msg-flow.ts';
import { pullOxsStats, putOxsStats } from './msg-flow-oxs.ts';
import { pullOfp10Match, pullOfp11Match, putOfp10Match } from './ofp-match.ts';

/** Flow-removed: OpenFlow 1.0, Nicira's, 1.1-1.4 and 1.5 have one form each. */

export const REMOVED_REASONS: readonly FlowRemovedReason[] = [
  'idle_timeout',
  'hard_timeout',
  'delete',
  'group_delete',
  'meter_delete',
  'eviction',
];

const reasonOf = (n: number): FlowRemovedReason => {
  const reason = REMOVED_REASONS[n];
  if (!reason) throw new OfDecodeError('NXBRC_BAD_REASON', 'flow removed reason');
  return reason;
};

function pull10(r: Reader): FlowRemoved {
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

/** Of OpenFlow 1.1-1.4 and of Nicira: the latter has the match's length in place of the hard timeout. */
function pull11(r: Reader, nx: boolean): FlowRemoved {
  const [cookie, priority, reason, table] = [r.readU64(), r.readU16(), reasonOf(r.readU8()), r.readU8()];
  const [durationSec, durationNsec, idleTimeout, second] = [r.readU32(), r.readU32(), r.readU16(), r.readU16()];
  const [packetCount, byteCount] = [r.readU64(), r.readU64()];
  const match = nx ? pullNxMatchPadded(r, second, false).match : pullOfp11Match(r);
  return {
    type: 'flow_removed',
    match,
    cookie,
    priority,
    reason,
    tableId: nx ? (table === 0 ? 255 : table - 1) : table,
    durationSec,
    durationNsec,
    idleTimeout,
    hardTimeout: nx ? 0 : second,
    packetCount,
    byteCount,
  };
}

function pull15(r: Reader): FlowRemoved {
  const [tableId, reason, priority] = [r.readU8(), reasonOf(r.readU8()), r.readU16()];
  const [idleTimeout, hardTimeout, cookie] = [r.readU16(), r.readU16(), r.readU64()];
  const match = pullOfp11Match(r);
  const { durationSec, durationNsec, packetCount, byteCount } = pullOxsStats(r);
  r.skip(r.left);
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

/** OpenFlow 1.4 brought "meter_delete". */
function reasonOnWire(reason: FlowRemovedReason, version: number): number {
  const said = reason === 'meter_delete' && version < OFP14_VERSION ? 'delete' : reason;
  return REMOVED_REASONS.indexOf(said);
}

function put15(w: Writer, m: FlowRemoved, version: number): void {
  w.putU8(m.tableId);
  w.putU8(reasonOnWire(m.reason, version));
  w.putU16(m.priority);
  w.putU16(m.idleTimeout);
  w.putU16(m.hardTimeout);
  w.putU64(m.cookie);
  putMatch(w, m.match, version);
  const { durationSec, durationNsec, packetCount, byteCount } = m;
  putOxsStats(w, { durationSec, durationNsec, packetCount, byteCount });
}

/** OpenFlow 1.0 has no "unknown" counter. */
const unknownAsZero = (n: bigint): bigint => (n === UINT64_MAX ? 0n : n);

function put11(w: Writer, m: FlowRemoved, version: number, nx: boolean): void {
  const v10 = !nx && version === OFP10_VERSION;
  const count = (n: bigint) => w.putU64(v10 ? unknownAsZero(n) : n);
  if (v10) putOfp10Match(w, m.match);
  w.putU64(m.cookie);
  w.putU16(m.priority);
  w.putU8(reasonOnWire(m.reason, version));
  w.putU8(v10 ? 0 : nx ? (m.tableId + 1) & 0xff : m.tableId);
  w.putU32(m.durationSec);
  w.putU32(m.durationNsec);
  w.putU16(m.idleTimeout);
  const secondAt = w.length;
  w.putU16(v10 || nx ? 0 : m.hardTimeout);
  count(m.packetCount);
  count(m.byteCount);
  if (nx) putNxMatchPadded(w, secondAt, m.match);
  else if (version >= OFP11_VERSION) putMatch(w, m.match, version);
}

const flowRemoved: MessageCodec<'flow_removed'> = {
  decode(r, { version, raw }) {
    if (raw === 'NXT_FLOW_REMOVED') return pull11(r, true);
    if (version === OFP10_VERSION) return pull10(r);
    return version >= OFP15_VERSION ? pull15(r) : pull11(r, false);
  },
  encode(w, m, { version, raw }) {
    if (raw === 'OFPT15_FLOW_REMOVED') put15(w, m, version);
    else put11(w, m, version, raw === 'NXT_FLOW_REMOVED');
  },
};

export const FLOW_REMOVED: MessageCodecs = { flow_removed: flowRemoved };
