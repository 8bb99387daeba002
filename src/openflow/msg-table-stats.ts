import { FIELDS, type MatchField } from '../../protocols/fields.ts';
import { OFP10_VERSION, OFP11_VERSION, OFP12_VERSION } from '../../protocols/openflow.ts';
import type { Reader, Writer } from './buffer.ts';
import { mf } from './field.ts';
import { instructionNumbers, ofpactsFromBitmap, ofpactsToBitmap } from './message-bitmaps.ts';
import { emptyCodec, type MessageCodec, type MessageCodecs } from './message-codec.ts';
import type { TableFeatures, TableInstructionFeatures, TableMiss, TableStats } from './messages-table.ts';
import { oxmHeaderOf } from './oxm.ts';

/** Table statistics: OpenFlow 1.0, 1.1 and 1.2 mix them with features, each in its own way; 1.3 has numbers only. */

const instructionBits = (i: TableInstructionFeatures): number =>
  instructionNumbers(i.instructions, OFP12_VERSION).reduce((b, n) => b | (1 << n), 0);

/** By number, as messages of OpenFlow 1.1 and 1.2 have them. */
const MISS: readonly TableMiss[] = ['controller', 'continue', 'drop'];
const missNumber = (miss: TableMiss): number => Math.max(0, MISS.indexOf(miss));

const INSTRUCTIONS = [1, 2, 3, 4, 5, 6] as const;
const instructionsFromBits = (bits: number): Set<number> => new Set(INSTRUCTIONS.filter((n) => bits & (1 << n)));

/** Bits of `OFPFW_*` (1.0) and `OFPFMF_*` (1.1) and the fields they stand for. */
const BITS10: readonly (readonly [number, string])[] = [
  [1 << 0, 'in_port'],
  [1 << 1, 'vlan_vid'],
  [1 << 2, 'eth_src'],
  [1 << 3, 'eth_dst'],
  [1 << 4, 'eth_type'],
  [1 << 5, 'nw_proto'],
  [1 << 6, 'tcp_src'],
  [1 << 7, 'tcp_dst'],
  [0x3f << 8, 'ip_src'],
  [0x3f << 14, 'ip_dst'],
  [1 << 20, 'vlan_pcp'],
  [1 << 21, 'nw_tos'],
];
const BITS11: readonly (readonly [number, string])[] = [
  [1 << 0, 'in_port'],
  [1 << 1, 'vlan_vid'],
  [1 << 2, 'vlan_pcp'],
  [1 << 3, 'eth_type'],
  [1 << 4, 'nw_tos'],
  [1 << 5, 'nw_proto'],
  [1 << 6, 'tcp_src'],
  [1 << 7, 'tcp_dst'],
  [1 << 8, 'mpls_label'],
  [1 << 9, 'mpls_tc'],
  [1 << 11, 'eth_src'],
  [1 << 12, 'eth_dst'],
  [1 << 13, 'ip_src'],
  [1 << 14, 'ip_dst'],
  [1 << 15, 'metadata'],
];

function fieldBits(map: typeof BITS10, has: (f: MatchField) => boolean): number {
  return map.reduce((bits, [bit, name]) => (has(mf(name)) ? bits | bit : bits), 0) >>> 0;
}

/** What can be wildcarded, or can't be matched at all. */
const wildOrUnmatchable = (t: TableFeatures) => (f: MatchField) => t.wildcard.has(f) || !t.match.has(f);

function oxmBits(fields: Iterable<MatchField>): bigint {
  let bits = 0n;
  for (const f of fields) {
    const h = oxmHeaderOf(f, OFP12_VERSION);
    if (h && h.oxmClass === 0x8000 && h.number < 64) bits |= 1n << BigInt(h.number);
  }
  return bits;
}

const fieldsFromBits = (map: typeof BITS10, bits: number): Set<MatchField> =>
  new Set(map.filter(([bit]) => bits & bit).map(([, name]) => mf(name)));

/** Fields by their number in OXM's basic class. */
const oxmFields = new Map<number, MatchField>();
for (const f of FIELDS) {
  const h = oxmHeaderOf(f, OFP12_VERSION);
  if (h && h.oxmClass === 0x8000 && h.number < 64) oxmFields.set(h.number, f);
}

function fieldsFromOxmBits(bits: bigint): Set<MatchField> {
  const out = new Set<MatchField>();
  for (const [n, f] of oxmFields) if (bits & (1n << BigInt(n))) out.add(f);
  return out;
}

function putHead(w: Writer, s: TableStats, t: TableFeatures, pad: number): void {
  w.putU8(s.tableId);
  w.putZeros(pad);
  w.putString(t.name, 32);
}

function putTail(w: Writer, s: TableStats, t: TableFeatures): void {
  w.putU32(t.maxEntries);
  w.putU32(s.activeCount);
  w.putU64(s.lookupCount);
  w.putU64(s.matchedCount);
}

function putTableStats10(w: Writer, s: TableStats, t: TableFeatures): void {
  putHead(w, s, t, 3);
  w.putU32(fieldBits(BITS10, wildOrUnmatchable(t)));
  putTail(w, s, t);
}

function putTableStats11(w: Writer, s: TableStats, t: TableFeatures): void {
  putHead(w, s, t, 7);
  w.putU32(fieldBits(BITS11, wildOrUnmatchable(t)));
  w.putU32(fieldBits(BITS11, (f) => t.match.has(f)));
  w.putU32(instructionBits(t.nonmiss));
  w.putU32(ofpactsToBitmap(t.nonmiss.write.ofpacts, OFP11_VERSION));
  w.putU32(ofpactsToBitmap(t.nonmiss.apply.ofpacts, OFP11_VERSION));
  w.putU32(missNumber(t.missConfig));
  putTail(w, s, t);
}

function putTableStats12(w: Writer, s: TableStats, t: TableFeatures): void {
  putHead(w, s, t, 7);
  w.putU64(oxmBits(t.match));
  w.putU64(oxmBits(t.wildcard));
  w.putU32(ofpactsToBitmap(t.nonmiss.write.ofpacts, OFP12_VERSION));
  w.putU32(ofpactsToBitmap(t.nonmiss.apply.ofpacts, OFP12_VERSION));
  w.putU64(oxmBits(t.nonmiss.write.setFields));
  w.putU64(oxmBits(t.nonmiss.apply.setFields));
  w.putU64(t.metadataMatch);
  w.putU64(t.metadataWrite);
  w.putU32(instructionBits(t.nonmiss));
  w.putU32(missNumber(t.missConfig));
  putTail(w, s, t);
}

function putTableStats13(w: Writer, s: TableStats): void {
  w.putU8(s.tableId);
  w.putZeros(3);
  w.putU32(s.activeCount);
  w.putU64(s.lookupCount);
  w.putU64(s.matchedCount);
}

/** A table of which nothing is known. */
function unknownTable(tableId: number): TableFeatures {
  const actions = () => ({ ofpacts: new Set<never>(), setFields: new Set<never>() });
  const instructions = () => ({
    next: new Set<number>(),
    instructions: new Set<number>(),
    write: actions(),
    apply: actions(),
  });
  return {
    tableId,
    name: '',
    metadataMatch: 0n,
    metadataWrite: 0n,
    maxEntries: 0,
    missConfig: 'default',
    nonmiss: instructions(),
    miss: instructions(),
    match: new Set(),
    mask: new Set(),
    wildcard: new Set(),
  };
}

const pullTail = (r: Reader, tableId: number): TableStats => ({
  tableId,
  activeCount: r.readU32(),
  lookupCount: r.readU64(),
  matchedCount: r.readU64(),
});

interface Pulled {
  stats: TableStats;
  features?: TableFeatures;
}

function pull10(r: Reader): Pulled {
  const tableId = r.readU8();
  r.skip(3);
  const name = r.string(32);
  const match = fieldsFromBits(BITS10, r.readU32());
  const maxEntries = r.readU32();
  const features = { ...unknownTable(tableId), name, maxEntries, match, wildcard: new Set(match) };
  return { stats: pullTail(r, tableId), features };
}

function pull11(r: Reader): Pulled {
  const tableId = r.readU8();
  r.skip(7);
  const name = r.string(32);
  const wildcard = fieldsFromBits(BITS11, r.readU32());
  const match = fieldsFromBits(BITS11, r.readU32()).union(wildcard);
  const instructions = instructionsFromBits(r.readU32());
  const write = { ofpacts: ofpactsFromBitmap(r.readU32(), OFP11_VERSION), setFields: new Set<MatchField>() };
  const apply = { ofpacts: ofpactsFromBitmap(r.readU32(), OFP11_VERSION), setFields: new Set<MatchField>() };
  const nonmiss = { next: new Set<number>(), instructions, write, apply };
  const missConfig = MISS[r.readU32() & 3] ?? 'controller';
  const maxEntries = r.readU32();
  const known = { name, wildcard, match, nonmiss, miss: nonmiss, missConfig, maxEntries };
  return { stats: pullTail(r, tableId), features: { ...unknownTable(tableId), ...known } };
}

function pull12(r: Reader): Pulled {
  const tableId = r.readU8();
  r.skip(7);
  const name = r.string(32);
  const [matchBits, wildcardBits] = [r.readU64(), r.readU64()];
  const [writeActions, applyActions] = [r.readU32(), r.readU32()];
  const [writeFields, applyFields] = [r.readU64(), r.readU64()];
  const [metadataMatch, metadataWrite] = [r.readU64(), r.readU64()];
  const instructions = instructionsFromBits(r.readU32());
  const missConfig = MISS[r.readU32() & 3] ?? 'controller';
  const maxEntries = r.readU32();
  const actions = (bits: number, fields: bigint) => ({
    ofpacts: ofpactsFromBitmap(bits, OFP12_VERSION),
    setFields: fieldsFromOxmBits(fields),
  });
  const write = actions(writeActions, writeFields);
  const apply = actions(applyActions, applyFields);
  const nonmiss = { next: new Set<number>(), instructions, write, apply };
  const wildcard = fieldsFromOxmBits(wildcardBits);
  const match = fieldsFromOxmBits(matchBits).union(wildcard);
  const known = { name, metadataMatch, metadataWrite, match, wildcard, nonmiss, miss: nonmiss, missConfig, maxEntries };
  return { stats: pullTail(r, tableId), features: { ...unknownTable(tableId), ...known } };
}

function pull13(r: Reader): Pulled {
  const tableId = r.readU8();
  r.skip(3);
  return { stats: pullTail(r, tableId) };
}

function pullTable(r: Reader, version: number): Pulled {
  if (version === OFP10_VERSION) return pull10(r);
  if (version === OFP11_VERSION) return pull11(r);
  return version === OFP12_VERSION ? pull12(r) : pull13(r);
}

function putTable(w: Writer, s: TableStats, t: TableFeatures, version: number): void {
  if (version === OFP10_VERSION) putTableStats10(w, s, t);
  else if (version === OFP11_VERSION) putTableStats11(w, s, t);
  else if (version === OFP12_VERSION) putTableStats12(w, s, t);
  else putTableStats13(w, s);
}

function parts(
  m: { tables: TableStats[]; features?: TableFeatures[] },
  { version }: { version: number },
): ((w: Writer) => void)[] {
  return m.tables.map((s, i) => (w) => putTable(w, s, m.features?.[i] ?? unknownTable(s.tableId), version));
}

const reply: MessageCodec<'table_stats_reply'> = {
  decode(r, { version, more }) {
    const pulled: Pulled[] = [];
    while (r.left > 0) pulled.push(pullTable(r, version));
    const tables = pulled.map((p) => p.stats);
    const features = pulled.flatMap((p) => p.features ?? []);
    return { type: 'table_stats_reply', tables, ...(features.length ? { features } : {}), more };
  },
  encode(w, m, ctx) {
    for (const part of parts(m, ctx)) part(w);
  },
  parts,
};

export const TABLE_STATS: MessageCodecs = {
  table_stats_request: emptyCodec({ type: 'table_stats_request' }),
  table_stats_reply: reply,
};
