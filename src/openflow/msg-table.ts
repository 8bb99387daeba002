import { OFP12_VERSION, OFP14_VERSION } from '../../protocols/openflow.ts';
import { VlogRateLimit, vlogModule } from '../base/vlog.ts';
import { OfDecodeError, type Reader, type Writer } from './buffer.ts';
import { emptyCodec, type MessageCodec, type MessageCodecs } from './message-codec.ts';
import { badProp, type Prop, propU32, pullProps, putProp, putPropU32, unknownProp } from './message-prop.ts';
import type { TableDesc, TableMiss, TableMod, TableStatusReason, TableVacancy } from './messages-table.ts';
import { TABLE_STATS } from './msg-table-stats.ts';

/** Table-mods, table descriptions and table status. */

const log = vlogModule('ofp_table');
const rl = new VlogRateLimit(1, 5);

/** `OFPTC14_*`. */
export const TC_EVICTION = 1 << 2;
export const TC_VACANCY_EVENTS = 1 << 3;
const MISS_MASK = 3;
/** By number: `OFPTC11_TABLE_MISS_*`. */
const MISS = ['controller', 'continue', 'drop'] as const;

/** What OpenFlow 1.1 and 1.2 say of a table's misses. */
export function missFromWire(config: number): TableMiss {
  const miss = MISS[config & MISS_MASK];
  if (miss) return miss;
  log.warnRl(rl, `bad table miss config ${config}`);
  return 'controller';
}

export const missToWire = (miss: TableMiss): number => (miss === 'default' ? 0 : MISS.indexOf(miss));

const PROP = { EVICTION: 2, VACANCY: 3 } as const;

function pullVacancy({ body }: Prop): TableVacancy {
  if (body.left !== 4) throw new OfDecodeError('OFPBPC_BAD_LEN');
  return { vacancyDown: body.readU8(), vacancyUp: body.readU8(), vacancy: body.readU8() };
}

function checkVacancy(v: TableVacancy): TableVacancy {
  const bad = (text: string) => badProp(log, false, 'OFPBPC_BAD_VALUE', text);
  if (v.vacancyDown > v.vacancyUp) bad('Value of vacancy_down is greater than vacancy_up');
  if (v.vacancyDown > 100 || v.vacancyUp > 100) bad('Vacancy threshold percentage should not be greater than 100');
  if (v.vacancy) bad('Vacancy value should be zero for table-mod messages');
  return v;
}

function putVacancy(w: Writer, v: TableVacancy): void {
  putProp(w, PROP.VACANCY, () => {
    w.putU8(v.vacancyDown);
    w.putU8(v.vacancyUp);
    w.putU8(v.vacancy);
    w.putZeros(1);
  });
}

const NO_VACANCY: TableVacancy = { vacancyDown: 0, vacancyUp: 0, vacancy: 0 };

const tableMod: MessageCodec<'table_mod'> = {
  decode(r, { version }) {
    const tableId = r.readU8();
    r.skip(3);
    const config = r.readU32();
    const miss = version <= OFP12_VERSION ? missFromWire(config) : 'default';
    const m: TableMod = { type: 'table_mod', tableId, miss };
    if (version < OFP14_VERSION) return m;
    m.eviction = (config & TC_EVICTION) !== 0;
    m.vacancy = (config & TC_VACANCY_EVENTS) !== 0;
    for (const p of pullProps(r)) {
      if (p.experimenter) throw new OfDecodeError('OFPBRC_BAD_TYPE');
      if (p.type === PROP.EVICTION) m.evictionFlags = propU32(p);
      else if (p.type === PROP.VACANCY) m.tableVacancy = checkVacancy(pullVacancy(p));
      else throw new OfDecodeError('OFPBRC_BAD_TYPE', `table_mod property ${p.type}`);
    }
    return m;
  },
  encode(w, m, { version }) {
    w.putU8(m.tableId);
    w.putZeros(3);
    w.putU32(version < OFP14_VERSION ? (version <= OFP12_VERSION ? missToWire(m.miss) : 0) : configOf(m));
    if (version < OFP14_VERSION) return;
    if (m.evictionFlags !== undefined) putPropU32(w, PROP.EVICTION, m.evictionFlags);
    if (m.vacancy) putVacancy(w, { ...(m.tableVacancy ?? NO_VACANCY), vacancy: 0 });
  },
};

const configOf = (t: { eviction?: boolean; vacancy?: boolean }): number =>
  (t.eviction ? TC_EVICTION : 0) | (t.vacancy ? TC_VACANCY_EVENTS : 0);

const DESC_SIZE = 8;

function pullDesc(r: Reader): TableDesc {
  const bad = (text: string) => {
    log.warnRl(rl, `OFP14_TABLE_DESC reply ${text}`);
    return new OfDecodeError('OFPBRC_BAD_LEN');
  };
  if (r.left < DESC_SIZE) throw bad(`has ${r.left} leftover bytes at end`);
  const left = r.left;
  const [length, tableId] = [r.readU16(), r.readU8()];
  r.skip(1);
  const config = r.readU32();
  if (length < DESC_SIZE || length > left) throw bad(`claims invalid length ${length}`);
  const body = r.sub(length - DESC_SIZE);
  const desc: TableDesc = {
    tableId,
    eviction: (config & TC_EVICTION) !== 0,
    vacancy: (config & TC_VACANCY_EVENTS) !== 0,
  };
  for (const p of pullProps(body)) {
    if (!p.experimenter && p.type === PROP.EVICTION) desc.evictionFlags = propU32(p);
    else if (!p.experimenter && p.type === PROP.VACANCY) desc.tableVacancy = pullVacancy(p);
    else unknownProp(log, true, 'table_desc', p);
  }
  return desc;
}

/** `complete`: with all properties, also those that are not in use (table status). */
function putDesc(w: Writer, d: TableDesc, complete = false): void {
  const start = w.length;
  w.putU16(0);
  w.putU8(d.tableId);
  w.putZeros(1);
  w.putU32(configOf(d));
  const flags = d.evictionFlags ?? (complete ? UNKNOWN_FLAGS : undefined);
  if (flags !== undefined) putPropU32(w, PROP.EVICTION, flags);
  if (d.vacancy || complete) putVacancy(w, d.tableVacancy ?? NO_VACANCY);
  w.setU16(start, w.length - start);
}
const UNKNOWN_FLAGS = 0xffffffff;

const descReply: MessageCodec<'table_desc_reply'> = {
  decode(r, { more }) {
    const tables: TableDesc[] = [];
    while (r.left > 0) tables.push(pullDesc(r));
    return { type: 'table_desc_reply', tables, more };
  },
  encode(w, m) {
    for (const d of m.tables) putDesc(w, d);
  },
  parts: (m) => m.tables.map((d) => (w) => putDesc(w, d)),
};

const STATUS_REASONS: Readonly<Record<TableStatusReason, number>> = { vacancy_down: 3, vacancy_up: 4 };

const STATUS_BY_NUMBER = new Map(Object.entries(STATUS_REASONS).map(([reason, n]) => [n, reason as TableStatusReason]));

const status: MessageCodec<'table_status'> = {
  decode(r) {
    const number = r.readU8();
    r.skip(7);
    const reason = STATUS_BY_NUMBER.get(number);
    if (!reason) throw new OfDecodeError('OFPBPC_BAD_VALUE', `table status reason ${number}`);
    const desc = pullDesc(r);
    r.skip(r.left);
    return { type: 'table_status', reason, desc };
  },
  encode(w, m) {
    w.putU8(STATUS_REASONS[m.reason]);
    w.putZeros(7);
    putDesc(w, m.desc, true);
  },
};

export const TABLE: MessageCodecs = {
  table_mod: tableMod,
  table_desc_request: emptyCodec({ type: 'table_desc_request' }),
  table_desc_reply: descReply,
  table_status: status,
  ...TABLE_STATS,
};
