import type { TableDesc, TableFeatures, TableStats } from '../messages-table.ts';
import { formatTable, type PortNames } from '../port.ts';
import type { Printers } from './printer.ts';
import { TableFeaturesText } from './table-features.ts';
import { bitNames } from './text.ts';

/** Flow tables: configuration, description, features, statistics, status. */

const EVICTION = new Map([
  [1 << 0, 'OTHER'],
  [1 << 1, 'IMPORTANCE'],
  [1 << 2, 'LIFETIME'],
]);

const evictionFlags = (flags: number | undefined): string =>
  flags === undefined ? '(default)' : bitNames(flags, EVICTION, '|');
const onOff = (on: boolean): string => (on ? 'on' : 'off');

function formatDesc(d: TableDesc, names: PortNames | undefined): string {
  const v = d.vacancy ? d.tableVacancy : undefined;
  const limits = v ? ` vacancy_down=${v.vacancyDown}% vacancy_up=${v.vacancyUp}% vacancy=${v.vacancy}%` : '';
  return [
    `\n  table ${formatTable(d.tableId, names)}:\n`,
    `   eviction=${onOff(d.eviction)} eviction_flags=${evictionFlags(d.evictionFlags)}\n`,
    `   vacancy=${onOff(d.vacancy)}${limits}\n`,
  ].join('');
}

function featuresText(tables: readonly TableFeatures[]): string {
  const text = new TableFeaturesText();
  for (const f of tables) text.add(f);
  return text.finish();
}

const EMPTY_ACTIONS = { ofpacts: new Set<never>(), setFields: new Set<never>() };
const EMPTY = { next: new Set<never>(), instructions: new Set<never>(), write: EMPTY_ACTIONS, apply: EMPTY_ACTIONS };

/** What OpenFlow 1.3+ says of a table's features beside its statistics: nothing. */
const withoutFeatures = (s: TableStats): TableFeatures => ({
  tableId: s.tableId,
  name: '',
  metadataMatch: 0n,
  metadataWrite: 0n,
  maxEntries: 0,
  missConfig: 'default',
  nonmiss: EMPTY,
  miss: EMPTY,
  match: new Set(),
  mask: new Set(),
  wildcard: new Set(),
});

function statsText(tables: readonly TableStats[], features: readonly TableFeatures[] | undefined): string {
  const text = new TableFeaturesText();
  tables.forEach((s, i) => {
    text.add(features?.[i] ?? withoutFeatures(s), s);
  });
  return text.finish();
}

export const TABLES: Printers = {
  table_mod: (m, { names }) => {
    const v = m.vacancy ? m.tableVacancy : undefined;
    return [
      m.tableId === 255 ? ' table_id: ALL_TABLES' : ` table_id=${formatTable(m.tableId, names)}`,
      m.miss === 'default' ? '' : `, flow_miss_config=${m.miss}`,
      m.eviction === undefined ? '' : `, eviction=${onOff(m.eviction)}`,
      m.evictionFlags === undefined ? '' : `eviction_flags=${evictionFlags(m.evictionFlags)}`,
      m.vacancy === undefined ? '' : `, vacancy=${onOff(m.vacancy)}`,
      m.vacancy ? ` vacancy:${v?.vacancyDown ?? 0},${v?.vacancyUp ?? 0}` : '',
    ].join('');
  },
  table_stats_reply: (m) => statsText(m.tables, m.features),
  table_features_stats_request: (m) => featuresText(m.tables),
  table_features_stats_reply: (m) => featuresText(m.tables),
  table_desc_reply: (m, { names }) => m.tables.map((d) => formatDesc(d, names)).join(''),
  table_status: (m, { names }) => ` reason=${m.reason.toUpperCase()}\ntable_desc:-${formatDesc(m.desc, names)}`,
};
