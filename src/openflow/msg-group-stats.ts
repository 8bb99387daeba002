import { OFP10_VERSION, OFP13_VERSION } from '../../protocols/openflow.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { ofpactsFromBitmap, ofpactsToBitmap } from './message-bitmaps.ts';
import { emptyCodec, type MessageCodec, type MessageCodecs } from './message-codec.ts';
import type { BucketStats, GroupFeatures, GroupStats, GroupType } from './messages-group.ts';

/** Statistics and features of groups. */

const UNKNOWN_DURATION = 0xffffffff;
const GROUP_TYPES: readonly GroupType[] = ['all', 'select', 'indirect', 'ff'];

const statsRequest: MessageCodec<'group_stats_request'> = {
  decode(r) {
    const groupId = r.readU32();
    r.skip(4);
    return { type: 'group_stats_request', groupId };
  },
  encode(w, m) {
    w.putU32(m.groupId);
    w.putZeros(4);
  },
};

const hasDuration = (version: number): boolean => version === OFP10_VERSION || version >= OFP13_VERSION;

function pullStats(r: Reader, version: number): GroupStats {
  const timed = hasDuration(version);
  const head = timed ? 40 : 32;
  if (r.left < head) throw new OfDecodeError('OFPBRC_BAD_LEN');
  const length = r.readU16();
  r.skip(2);
  const ids = { groupId: r.readU32(), refCount: r.readU32() };
  r.skip(4);
  const counts = { packetCount: r.readU64(), byteCount: r.readU64() };
  const duration = timed ? { durationSec: r.readU32(), durationNsec: r.readU32() } : {};
  const known = duration.durationSec === UNKNOWN_DURATION ? {} : duration;
  const n = Math.floor((length - head) / 16);
  const body = r.sub(n * 16);
  const buckets: BucketStats[] = [];
  while (body.left > 0) buckets.push({ packetCount: body.readU64(), byteCount: body.readU64() });
  return { ...ids, ...counts, ...known, buckets };
}

function putStats(w: Writer, s: GroupStats, version: number): void {
  const timed = hasDuration(version);
  w.putU16((timed ? 40 : 32) + 16 * s.buckets.length);
  w.putZeros(2);
  w.putU32(s.groupId);
  w.putU32(s.refCount);
  w.putZeros(4);
  w.putU64(s.packetCount);
  w.putU64(s.byteCount);
  if (timed) {
    w.putU32(s.durationSec ?? UNKNOWN_DURATION);
    w.putU32(s.durationNsec ?? UNKNOWN_DURATION);
  }
  for (const b of s.buckets) {
    w.putU64(b.packetCount);
    w.putU64(b.byteCount);
  }
}

const statsReply: MessageCodec<'group_stats_reply'> = {
  decode(r, { version, more }) {
    const groups: GroupStats[] = [];
    while (r.left > 0) groups.push(pullStats(r, version));
    return { type: 'group_stats_reply', groups, more };
  },
  encode(w, m, { version }) {
    for (const s of m.groups) putStats(w, s, version);
  },
  parts: (m, { version }) => m.groups.map((s) => (w) => putStats(w, s, version)),
};

const featuresReply: MessageCodec<'group_features_stats_reply'> = {
  decode(r, { version }) {
    const [types, capabilities] = [r.readU32(), r.readU32()];
    const maxGroups = [r.readU32(), r.readU32(), r.readU32(), r.readU32()] as const;
    const set = () => ofpactsFromBitmap(r.readU32(), version);
    const ofpacts: GroupFeatures['ofpacts'] = [set(), set(), set(), set()];
    return {
      type: 'group_features_stats_reply',
      types: new Set(GROUP_TYPES.filter((_, i) => types & (1 << i))),
      capabilities,
      maxGroups,
      ofpacts,
    };
  },
  encode(w, m, { version }) {
    w.putU32(GROUP_TYPES.reduce((bits, type, i) => (m.types.has(type) ? bits | (1 << i) : bits), 0));
    w.putU32(m.capabilities);
    for (const n of m.maxGroups) w.putU32(n);
    for (const ofpacts of m.ofpacts) w.putU32(ofpactsToBitmap(ofpacts, version));
  },
};

export const GROUP_STATS: MessageCodecs = {
  group_stats_request: statsRequest,
  group_stats_reply: statsReply,
  group_features_stats_request: emptyCodec({ type: 'group_features_stats_request' }),
  group_features_stats_reply: featuresReply,
};
