import { FIELDS, type MatchField } from '../../protocols/fields.ts';
import { OFP14_VERSION, OFP15_VERSION } from '../../protocols/openflow.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { actionNumbers, instructionNumbers, ofpactsFromBitmap } from './message-bitmaps.ts';
import type { DecodeContext, MessageCodec, MessageCodecs } from './message-codec.ts';
import { type Prop, pullProps, putProp, unknownProp } from './message-prop.ts';
import type {
  TableActionFeatures,
  TableFeatures,
  TableFeaturesCommand,
  TableInstructionFeatures,
} from './messages-table.ts';
import { TC_EVICTION, TC_VACANCY_EVENTS } from './msg-table.ts';
import { newOxmEntry, putOxmHeader, readOxmHeader } from './oxm.ts';

/** Table features (OpenFlow 1.3+): what a table can do, as sets in properties. */

const log = vlogModule('ofp_table');
const rl = new VlogRateLimit(1, 5);

/** Properties; those of the table-miss flow have the next number. */
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
const REQUIRED = Object.values(PROP);
const SETFIELDS = [PROP.WRITE_SETFIELD, PROP.APPLY_SETFIELD] as const;
const ACTIONS = [PROP.WRITE_ACTIONS, PROP.APPLY_ACTIONS] as const;

const COMMANDS: readonly TableFeaturesCommand[] = ['replace', 'modify', 'enable', 'disable'];
const OFPTT_ALL = 255;
const HEAD_SIZE = 64;

/** Headers of 4 bytes and more, without padding between them. */
function pullNumbers(r: Reader): number[] {
  const out: number[] = [];
  while (r.left > 0) {
    if (r.left < 4) throw new OfDecodeError('OFPBPC_BAD_LEN');
    out.push(r.readU16());
    const length = r.readU16();
    if (length < 4) throw new OfDecodeError('OFPBPC_BAD_LEN');
    r.skip(length - 4);
  }
  return out;
}

function pullInstructionNumbers(r: Reader, loose: boolean): Set<number> {
  const known = (n: number) => n >= 1 && n <= 6;
  const numbers = pullNumbers(r);
  if (!loose && !numbers.every(known)) throw new OfDecodeError('OFPBIC_UNKNOWN_INST');
  return new Set(numbers.filter(known));
}

function pullNextTables(r: Reader): Set<number> {
  const tables = r.rest();
  if (tables.includes(OFPTT_ALL)) throw new OfDecodeError('OFPBPC_BAD_VALUE');
  return new Set(tables);
}

const entry = newOxmEntry();

interface Fields {
  exact: Set<MatchField>;
  masked: Set<MatchField>;
}

function pullFields(r: Reader, loose: boolean, masks: boolean): Fields {
  const out: Fields = { exact: new Set(), masked: new Set() };
  while (r.left > 0) {
    readOxmHeader(r, entry);
    if (entry.field) (entry.hasMask ? out.masked : out.exact).add(entry.field);
    else if (!loose) throw new OfDecodeError('OFPBMC_BAD_FIELD');
  }
  if (!masks && out.masked.size) throw new OfDecodeError('OFPBMC_BAD_MASK');
  return out;
}

/** What a table's properties say, by their type. */
interface Found {
  seen: Set<number>;
  numbers: Map<number, Set<number>>;
  actions: Map<number, TableActionFeatures['ofpacts']>;
  fields: Map<number, Set<MatchField>>;
  masked: Set<MatchField>;
}

const of = (list: readonly number[], type: number): boolean => list.includes(type & ~1);

function readProp(found: Found, p: Prop, { version, loose }: DecodeContext): void {
  const { type, body } = p;
  if (p.experimenter || type > PROP.APPLY_SETFIELD + 1 || type === PROP.MATCH + 1 || type === PROP.WILDCARDS + 1) {
    unknownProp(log, loose, 'table features', p);
    return;
  }
  if (of([PROP.INSTRUCTIONS], type)) found.numbers.set(type, pullInstructionNumbers(body, loose));
  else if (of([PROP.NEXT_TABLES], type)) found.numbers.set(type, pullNextTables(body));
  else if (of(ACTIONS, type)) {
    const bits = pullNumbers(body).reduce((all, n) => (n < 32 ? all | (1 << n) : all), 0);
    found.actions.set(type, ofpactsFromBitmap(bits, version));
  } else {
    const { exact, masked } = pullFields(body, loose, type === PROP.MATCH);
    found.fields.set(type, exact);
    if (type === PROP.MATCH) found.masked = masked;
  }
}

function readProps(r: Reader, ctx: DecodeContext): Found {
  const found: Found = {
    seen: new Set(),
    numbers: new Map(),
    actions: new Map(),
    fields: new Map(),
    masked: new Set(),
  };
  for (const p of pullProps(r)) {
    if (!p.experimenter && p.type < 32) {
      if (found.seen.has(p.type)) throw new OfDecodeError('OFPTFFC_BAD_FEATURES', `property ${p.type} twice`);
      found.seen.add(p.type);
    }
    readProp(found, p, ctx);
  }
  return found;
}

function checkRequired({ seen }: Found, any: boolean, version: number): void {
  const missing = REQUIRED.filter((type) => !seen.has(type));
  if (missing.length === 0 || (!any && version >= OFP15_VERSION)) return;
  const [first] = missing;
  const what = `${missing.length} required properties, including property ${first}`;
  log.warnRl(rl, `table features message missing ${what}`);
  throw new OfDecodeError('OFPTFFC_BAD_FEATURES', what);
}

/** What the table-miss flow can do is what the others can, unless its own properties say else. */
function instructionsOf(found: Found, miss: 0 | 1): TableInstructionFeatures {
  const pick = <T>(map: Map<number, T>, type: number): T | undefined => map.get(type + miss) ?? map.get(type);
  const actions = (i: 0 | 1): TableActionFeatures => ({
    ofpacts: pick(found.actions, ACTIONS[i]) ?? new Set(),
    setFields: pick(found.fields, SETFIELDS[i]) ?? new Set(),
  });
  return {
    next: pick(found.numbers, PROP.NEXT_TABLES) ?? new Set(),
    instructions: pick(found.numbers, PROP.INSTRUCTIONS) ?? new Set(),
    write: actions(0),
    apply: actions(1),
  };
}

function pullTable(r: Reader, ctx: DecodeContext): TableFeatures {
  const { version } = ctx;
  const left = r.left;
  if (left < HEAD_SIZE) throw new OfDecodeError('OFPBPC_BAD_LEN');
  const length = r.readU16();
  if (length < HEAD_SIZE || length % 8 || length > left) throw new OfDecodeError('OFPBPC_BAD_LEN');
  const body = r.sub(length - 2);
  const [tableId, commandNumber] = [body.readU8(), body.readU8()];
  const command = version >= OFP15_VERSION ? COMMANDS[commandNumber] : 'replace';
  if (!command) throw new OfDecodeError('OFPTFFC_BAD_COMMAND');
  if (tableId === OFPTT_ALL) throw new OfDecodeError('OFPTFFC_BAD_TABLE');
  body.skip(4);
  const head = { name: body.string(32), metadataMatch: body.readU64(), metadataWrite: body.readU64() };
  const capabilities = body.readU32();
  const maxEntries = body.readU32();
  const anyProperties = body.left > 0;
  const found = readProps(body, ctx);
  checkRequired(found, anyProperties, version);
  return {
    command,
    tableId,
    ...head,
    maxEntries,
    anyProperties,
    missConfig: 'default',
    ...(version < OFP14_VERSION
      ? {}
      : {
          supportsEviction: (capabilities & TC_EVICTION) !== 0,
          supportsVacancyEvents: (capabilities & TC_VACANCY_EVENTS) !== 0,
        }),
    nonmiss: instructionsOf(found, 0),
    miss: instructionsOf(found, 1),
    ...matchesOf(found),
  };
}

/** A field that can be masked can be matched and wildcarded; one that can't be matched can't be wildcarded. */
function matchesOf({ fields, masked }: Found): Pick<TableFeatures, 'match' | 'mask' | 'wildcard'> {
  const none = new Set<MatchField>();
  const match = (fields.get(PROP.MATCH) ?? none).union(masked);
  const wildcard = (fields.get(PROP.WILDCARDS) ?? none).union(masked).intersection(match);
  return { match, mask: masked, wildcard };
}

function putNumbers(w: Writer, type: number, numbers: Iterable<number>): void {
  putProp(w, type, () => {
    for (const n of [...numbers].sort((a, b) => a - b)) {
      w.putU16(n);
      w.putU16(4);
    }
  });
}

function putFields(
  w: Writer,
  type: number,
  fields: ReadonlySet<MatchField>,
  version: number,
  masks?: ReadonlySet<MatchField>,
): void {
  putProp(w, type, () => {
    for (const f of FIELDS) if (fields.has(f)) putOxmHeader(w, f, version, masks?.has(f) ?? false);
  });
}

const numbersOf = (a: TableActionFeatures, version: number): number[] =>
  actionNumbers(version)
    .filter(([, type]) => a.ofpacts.has(type))
    .map(([n]) => n);

function putInstructionFeatures(w: Writer, t: TableInstructionFeatures, miss: number, version: number): void {
  putNumbers(w, PROP.INSTRUCTIONS + miss, instructionNumbers(t.instructions, version));
  putProp(w, PROP.NEXT_TABLES + miss, () => {
    for (const n of [...t.next].sort((a, b) => a - b)) w.putU8(n);
  });
  putNumbers(w, PROP.WRITE_ACTIONS + miss, numbersOf(t.write, version));
  putFields(w, PROP.WRITE_SETFIELD + miss, t.write.setFields, version);
  putNumbers(w, PROP.APPLY_ACTIONS + miss, numbersOf(t.apply, version));
  putFields(w, PROP.APPLY_SETFIELD + miss, t.apply.setFields, version);
}

function putTable(w: Writer, t: TableFeatures, version: number): void {
  const start = w.length;
  w.putU16(0);
  w.putU8(t.tableId);
  w.putU8(version >= OFP15_VERSION ? COMMANDS.indexOf(t.command ?? 'replace') : 0);
  w.putZeros(4);
  w.putString(t.name, 32);
  w.putU64(t.metadataMatch);
  w.putU64(t.metadataWrite);
  const capabilities = (t.supportsEviction ? TC_EVICTION : 0) | (t.supportsVacancyEvents ? TC_VACANCY_EVENTS : 0);
  w.putU32(version >= OFP14_VERSION ? capabilities : 0);
  w.putU32(t.maxEntries);
  if (t.anyProperties !== false) putProps(w, t, version);
  w.setU16(start, w.length - start);
}

function putProps(w: Writer, t: TableFeatures, version: number): void {
  putInstructionFeatures(w, t.nonmiss, 0, version);
  putInstructionFeatures(w, t.miss, 1, version);
  putFields(w, PROP.MATCH, t.match, version, t.mask);
  putFields(w, PROP.WILDCARDS, t.wildcard, version);
}

function pullTables(r: Reader, ctx: DecodeContext): TableFeatures[] {
  const tables: TableFeatures[] = [];
  while (r.left > 0) tables.push(pullTable(r, ctx));
  return tables;
}

const request: MessageCodec<'table_features_stats_request'> = {
  decode: (r, ctx) => ({ type: 'table_features_stats_request', tables: pullTables(r, ctx), more: ctx.more }),
  encode(w, m, { version }) {
    for (const t of m.tables) putTable(w, t, version);
  },
  parts: (m, { version }) => m.tables.map((t) => (w) => putTable(w, t, version)),
};

/** A reply is read as a controller does: with what is not understood left out. */
const reply: MessageCodec<'table_features_stats_reply'> = {
  decode: (r, ctx) => ({
    type: 'table_features_stats_reply',
    tables: pullTables(r, { ...ctx, loose: true }),
    more: ctx.more,
  }),
  encode(w, m, { version }) {
    for (const t of m.tables) putTable(w, t, version);
  },
  parts: (m, { version }) => m.tables.map((t) => (w) => putTable(w, t, version)),
};

export const TABLE_FEATURES: MessageCodecs = {
  table_features_stats_request: request,
  table_features_stats_reply: reply,
};
