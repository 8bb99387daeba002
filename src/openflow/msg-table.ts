import { FIELDS, type MatchField } from '../../protocols/fields.ts';
import { OFP10_VERSION, OFP11_VERSION, OFP12_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import { OFPAT11 } from '../../protocols/openflow-actions.ts';
import type { OfpactType } from './actions.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { mf } from './field.ts';
import type { MessageCodec, MessageCodecs } from './message-codec.ts';
import type {
  TableActionFeatures,
  TableFeatures,
  TableInstructionFeatures,
  TableMiss,
  TableStats,
} from './messages.ts';
import { type OxmEntry, oxmHeaderOf, putOxmHeader, readOxmHeader } from './oxm.ts';

/** Table statistics (four shapes) and table features (OpenFlow 1.3+). */

const common11: readonly (readonly [number, OfpactType])[] = [
  [OFPAT11.OUTPUT, 'output'],
  [OFPAT11.SET_MPLS_TTL, 'set_mpls_ttl'],
  [OFPAT11.DEC_MPLS_TTL, 'dec_mpls_ttl'],
  [OFPAT11.PUSH_VLAN, 'push_vlan'],
  [OFPAT11.POP_VLAN, 'strip_vlan'],
  [OFPAT11.PUSH_MPLS, 'push_mpls'],
  [OFPAT11.POP_MPLS, 'pop_mpls'],
  [OFPAT11.SET_QUEUE, 'set_queue'],
  [OFPAT11.GROUP, 'group'],
  [OFPAT11.SET_NW_TTL, 'set_ip_ttl'],
  [OFPAT11.DEC_NW_TTL, 'dec_ttl'],
];
/** Actions by their number in a bitmap. */
const ACTIONS11: readonly (readonly [number, OfpactType])[] = [
  ...common11,
  [OFPAT11.SET_VLAN_VID, 'set_vlan_vid'],
  [OFPAT11.SET_VLAN_PCP, 'set_vlan_pcp'],
  [OFPAT11.SET_DL_SRC, 'set_eth_src'],
  [OFPAT11.SET_DL_DST, 'set_eth_dst'],
  [OFPAT11.SET_NW_SRC, 'set_ipv4_src'],
  [OFPAT11.SET_NW_DST, 'set_ipv4_dst'],
  [OFPAT11.SET_NW_TOS, 'set_ip_dscp'],
  [OFPAT11.SET_NW_ECN, 'set_ip_ecn'],
  [OFPAT11.SET_TP_SRC, 'set_l4_src_port'],
  [OFPAT11.SET_TP_DST, 'set_l4_dst_port'],
  [OFPAT11.SET_MPLS_LABEL, 'set_mpls_label'],
  [OFPAT11.SET_MPLS_TC, 'set_mpls_tc'],
];
const ACTIONS12: readonly (readonly [number, OfpactType])[] = [...common11, [OFPAT11.SET_FIELD, 'set_field']];

const actionMap = (version: number) => (version === OFP11_VERSION ? ACTIONS11 : ACTIONS12);

function actionBits(a: TableActionFeatures, version: number): number {
  return actionMap(version).reduce((bits, [n, type]) => (a.ofpacts.has(type) ? bits | (1 << n) : bits), 0) >>> 0;
}

const instructionBits = (i: TableInstructionFeatures): number => [...i.instructions].reduce((b, n) => b | (1 << n), 0);

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

const MISS_WIRE: Readonly<Record<TableMiss, number>> = { default: 0, controller: 0, continue: 1, drop: 2 };

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
  w.putU32(actionBits(t.nonmiss.write, OFP11_VERSION));
  w.putU32(actionBits(t.nonmiss.apply, OFP11_VERSION));
  w.putU32(MISS_WIRE[t.missConfig]);
  putTail(w, s, t);
}

function putTableStats12(w: Writer, s: TableStats, t: TableFeatures): void {
  putHead(w, s, t, 7);
  w.putU64(oxmBits(t.match));
  w.putU64(oxmBits(t.wildcard));
  w.putU32(actionBits(t.nonmiss.write, OFP12_VERSION));
  w.putU32(actionBits(t.nonmiss.apply, OFP12_VERSION));
  w.putU64(oxmBits(t.nonmiss.write.setFields));
  w.putU64(oxmBits(t.nonmiss.apply.setFields));
  w.putU64(t.metadataMatch);
  w.putU64(t.metadataWrite);
  w.putU32(instructionBits(t.nonmiss));
  w.putU32(MISS_WIRE[t.missConfig]);
  putTail(w, s, t);
}

function putTableStats13(w: Writer, s: TableStats): void {
  w.putU8(s.tableId);
  w.putZeros(3);
  w.putU32(s.activeCount);
  w.putU64(s.lookupCount);
  w.putU64(s.matchedCount);
}

/** A table of which nothing is known, for versions whose statistics also hold features. */
const NO_ACTIONS: TableActionFeatures = { ofpacts: new Set(), setFields: new Set() };
const NO_INSTRUCTIONS: TableInstructionFeatures = {
  next: new Set(),
  instructions: new Set(),
  write: NO_ACTIONS,
  apply: NO_ACTIONS,
};
function unknownTable(tableId: number): TableFeatures {
  return {
    tableId,
    name: '',
    metadataMatch: 0n,
    metadataWrite: 0n,
    maxEntries: 0,
    missConfig: 'default',
    supportsEviction: false,
    supportsVacancyEvents: false,
    nonmiss: NO_INSTRUCTIONS,
    miss: NO_INSTRUCTIONS,
    match: new Set(),
    mask: new Set(),
    wildcard: new Set(),
  };
}

/** Bytes before max_entries, active_count, lookup_count and matched_count. */
const STATS_HEAD: Readonly<Record<number, number>> = { [OFP10_VERSION]: 40, [OFP11_VERSION]: 64, [OFP12_VERSION]: 104 };

function pullTableStats(r: Reader, version: number): TableStats {
  const tableId = r.readU8();
  const head = STATS_HEAD[version];
  r.skip(head === undefined ? 3 : head - 1 + 4);
  return { tableId, activeCount: r.readU32(), lookupCount: r.readU64(), matchedCount: r.readU64() };
}

function putTable(w: Writer, s: TableStats, t: TableFeatures, version: number): void {
  if (version === OFP10_VERSION) putTableStats10(w, s, t);
  else if (version === OFP11_VERSION) putTableStats11(w, s, t);
  else if (version === OFP12_VERSION) putTableStats12(w, s, t);
  else putTableStats13(w, s);
}

const tableStatsReply: MessageCodec<'table_stats_reply'> = {
  decode(r, { version, more }) {
    const tables: TableStats[] = [];
    while (r.left > 0) tables.push(pullTableStats(r, version));
    return { type: 'table_stats_reply', tables, more };
  },
  encode(w, m, ctx) {
    for (const part of tableStatsParts(m, ctx)) part(w);
  },
  parts: (m, ctx) => tableStatsParts(m, ctx),
};

function tableStatsParts(
  m: { tables: TableStats[]; features?: TableFeatures[] },
  { version }: { version: number },
): ((w: Writer) => void)[] {
  return m.tables.map((s, i) => (w) => putTable(w, s, m.features?.[i] ?? unknownTable(s.tableId), version));
}

/** Properties of table features; the table-miss ones have the next number. */
const PROP = {
  INSTRUCTIONS: 0,
  NEXT_TABLES: 2,
  WRITE_ACTIONS: 4,
  APPLY_ACTIONS: 6,
  MATCH: 8,
  WILDCARDS: 10,
  WRITE_SETFIELD: 12,
  APPLY_SETFIELD: 14,
} as const;

function prop(w: Writer, type: number, put: () => void): void {
  const start = w.length;
  w.putU16(type);
  w.putU16(0);
  put();
  w.setU16(start + 2, w.length - start);
  w.padTo(8, start);
}

function putNumbers(w: Writer, type: number, numbers: Iterable<number>): void {
  prop(w, type, () => {
    for (const n of [...numbers].sort((a, b) => a - b)) {
      w.putU16(n);
      w.putU16(4);
    }
  });
}

function putFieldsProp(
  w: Writer,
  type: number,
  fields: ReadonlySet<MatchField>,
  version: number,
  masks?: ReadonlySet<MatchField>,
): void {
  prop(w, type, () => {
    for (const f of FIELDS) if (fields.has(f)) putOxmHeader(w, f, version, masks?.has(f) ?? false);
  });
}

const actionNumbers = (a: TableActionFeatures, version: number): number[] =>
  actionMap(version)
    .filter(([, type]) => a.ofpacts.has(type))
    .map(([n]) => n);

function putInstructionFeatures(w: Writer, t: TableInstructionFeatures, miss: number, version: number): void {
  putNumbers(w, PROP.INSTRUCTIONS + miss, t.instructions);
  prop(w, PROP.NEXT_TABLES + miss, () => {
    for (const n of [...t.next].sort((a, b) => a - b)) w.putU8(n);
  });
  putNumbers(w, PROP.WRITE_ACTIONS + miss, actionNumbers(t.write, version));
  putFieldsProp(w, PROP.WRITE_SETFIELD + miss, t.write.setFields, version);
  putNumbers(w, PROP.APPLY_ACTIONS + miss, actionNumbers(t.apply, version));
  putFieldsProp(w, PROP.APPLY_SETFIELD + miss, t.apply.setFields, version);
}

function putTableFeatures(w: Writer, t: TableFeatures, version: number): void {
  const start = w.length;
  w.putU16(0);
  w.putU8(t.tableId);
  w.putZeros(5);
  w.putString(t.name, 32);
  w.putU64(t.metadataMatch);
  w.putU64(t.metadataWrite);
  w.putU32(version >= OFP14_VERSION ? (t.supportsEviction ? 4 : 0) | (t.supportsVacancyEvents ? 8 : 0) : 0);
  w.putU32(t.maxEntries);
  putInstructionFeatures(w, t.nonmiss, 0, version);
  putInstructionFeatures(w, t.miss, 1, version);
  putFieldsProp(w, PROP.MATCH, t.match, version, t.mask);
  putFieldsProp(w, PROP.WILDCARDS, t.wildcard, version);
  w.setU16(start, w.length - start);
}

const entry: OxmEntry = { field: undefined, hasMask: false, length: 0, badLength: false };

/** What has been read of a table's properties. */
class PropertyReader {
  readonly #version: number;
  readonly fields = new Map<number, Set<MatchField>>();
  readonly mask = new Set<MatchField>();
  readonly numbers = new Map<number, Set<number>>();

  constructor(version: number) {
    this.#version = version;
  }

  read(type: number, r: Reader): void {
    const base = type >> 1;
    if (base === PROP.NEXT_TABLES >> 1) this.numbers.set(type, new Set(r.rest()));
    else if (type === PROP.MATCH || type === PROP.WILDCARDS || base >= PROP.WRITE_SETFIELD >> 1)
      this.#readFields(type, r);
    else this.#readNumbers(type, r);
  }

  #readNumbers(type: number, r: Reader): void {
    const out = new Set<number>();
    while (r.left >= 4) {
      out.add(r.readU16());
      const length = r.readU16();
      if (length < 4) throw new OfDecodeError('OFPBPC_BAD_LEN');
      r.skip(length - 4);
    }
    this.numbers.set(type, out);
  }

  #readFields(type: number, r: Reader): void {
    const out = new Set<MatchField>();
    while (r.left >= 4) {
      readOxmHeader(r, entry);
      if (!entry.field) continue;
      out.add(entry.field);
      if (type === PROP.MATCH && entry.hasMask) this.mask.add(entry.field);
    }
    this.fields.set(type, out);
  }

  instructions(miss: number): TableInstructionFeatures {
    const numbers = (type: number) => this.numbers.get(type + miss) ?? this.numbers.get(type) ?? new Set<number>();
    const fields = (type: number) => this.fields.get(type + miss) ?? this.fields.get(type) ?? new Set<MatchField>();
    const actions = (type: number): Set<OfpactType> => {
      const wanted = numbers(type);
      return new Set(
        actionMap(this.#version)
          .filter(([n]) => wanted.has(n))
          .map(([, a]) => a),
      );
    };
    return {
      next: numbers(PROP.NEXT_TABLES),
      instructions: numbers(PROP.INSTRUCTIONS),
      write: { ofpacts: actions(PROP.WRITE_ACTIONS), setFields: fields(PROP.WRITE_SETFIELD) },
      apply: { ofpacts: actions(PROP.APPLY_ACTIONS), setFields: fields(PROP.APPLY_SETFIELD) },
    };
  }
}

function pullTableFeatures(r: Reader, version: number): TableFeatures {
  const length = r.readU16();
  if (length < 64) throw new OfDecodeError('OFPBPC_BAD_LEN');
  const body = r.sub(length - 2);
  const tableId = body.readU8();
  body.skip(5);
  const head = { name: body.string(32), metadataMatch: body.readU64(), metadataWrite: body.readU64() };
  const capabilities = body.readU32();
  const maxEntries = body.readU32();
  const props = new PropertyReader(version);
  while (body.left >= 4) {
    const type = body.readU16();
    const size = body.readU16();
    if (size < 4) throw new OfDecodeError('OFPBPC_BAD_LEN');
    if (type < 16) props.read(type, body.sub(size - 4, 'OFPBPC_BAD_LEN'));
    else body.skip(size - 4);
    body.skip(Math.min(body.left, -size & 7));
  }
  return {
    tableId,
    ...head,
    maxEntries,
    missConfig: 'default',
    supportsEviction: version >= OFP14_VERSION && (capabilities & 4) !== 0,
    supportsVacancyEvents: version >= OFP14_VERSION && (capabilities & 8) !== 0,
    nonmiss: props.instructions(0),
    miss: props.instructions(1),
    match: props.fields.get(PROP.MATCH) ?? new Set(),
    mask: props.mask,
    wildcard: props.fields.get(PROP.WILDCARDS) ?? new Set(),
  };
}

const tableFeaturesReply: MessageCodec<'table_features_stats_reply'> = {
  decode(r, { version, more }) {
    const tables: TableFeatures[] = [];
    while (r.left > 0) tables.push(pullTableFeatures(r, version));
    return { type: 'table_features_stats_reply', tables, more };
  },
  encode(w, m, { version }) {
    for (const t of m.tables) putTableFeatures(w, t, version);
  },
  parts: (m, { version }) => m.tables.map((t) => (w) => putTableFeatures(w, t, version)),
};

const tableFeaturesRequest: MessageCodec<'table_features_stats_request'> = {
  decode(r, { version, more }) {
    const tables: TableFeatures[] = [];
    while (r.left > 0) tables.push(pullTableFeatures(r, version));
    return { type: 'table_features_stats_request', tables, more };
  },
  encode(w, m, { version }) {
    for (const t of m.tables) putTableFeatures(w, t, version);
  },
  parts: (m, { version }) => m.tables.map((t) => (w) => putTableFeatures(w, t, version)),
};

export const TABLE: MessageCodecs = {
  table_stats_request: { decode: () => ({ type: 'table_stats_request' }), encode: () => undefined },
  table_stats_reply: tableStatsReply,
  table_features_stats_request: tableFeaturesRequest,
  table_features_stats_reply: tableFeaturesReply,
};
