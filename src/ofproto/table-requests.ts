import type { OfErrorName } from '../../protocols/openflow-errors.ts';
import type { TableFeatures } from '../openflow/messages.ts';
import { type Request, type RequestHost, reply } from './mods.ts';
import { EVICTION_FLAGS, N_TABLES, type OfTable, TBL_INTERNAL } from './oftable.ts';
import { tableFeatures } from './table-features.ts';

/** Statistics, features and configuration of flow tables. */

const shown = (host: RequestHost): readonly OfTable[] => host.flowTables.tables.slice(0, TBL_INTERNAL);

export function tableStats(r: Request<'table_stats_request'>): undefined {
  r.host.pushStats();
  const tables = shown(r.host);
  return reply(r, {
    type: 'table_stats_reply',
    tables: tables.map((t) => ({
      tableId: t.id,
      activeCount: t.activeCount,
      lookupCount: BigInt(t.matched + t.missed),
      matchedCount: BigInt(t.matched),
    })),
    features: tables.map(tableFeatures),
    more: false,
  });
}

export function tableDesc(r: Request<'table_desc_request'>): undefined {
  return reply(r, { type: 'table_desc_reply', tables: shown(r.host).map((t) => t.desc()), more: false });
}

export function tableFeaturesReply(r: Request<'table_features_stats_request'>): OfErrorName | undefined {
  if (r.m.tables.length) {
    const error = changeFeatures(r.host, r.m.tables);
    if (error) return error;
  }
  return reply(r, { type: 'table_features_stats_reply', tables: shown(r.host).map(tableFeatures), more: false });
}

/** Only names can be changed; everything else must be as it is (OpenFlow 1.3 section 7.3.5.5.1). */
function changeFeatures(host: RequestHost, wanted: readonly TableFeatures[]): OfErrorName | undefined {
  const byId = new Map<number, TableFeatures>();
  for (const t of wanted) {
    if (byId.has(t.tableId)) {
      host.log('ofproto').info(`duplicate table ${t.tableId}`);
      return 'NXTFFC_DUP_TABLE';
    }
    byId.set(t.tableId, t);
  }
  if (byId.has(TBL_INTERNAL)) {
    host.log('ofproto').info(`can't modify hidden table ${TBL_INTERNAL}`);
    return 'OFPTFFC_EPERM';
  }
  const command = wanted[0].command ?? 'replace';
  // Tables can't be switched on and off.
  if (command === 'enable' || command === 'disable') return 'OFPTFFC_EPERM';
  if (command === 'replace' && byId.size < TBL_INTERNAL) {
    host.log('ofproto').info(`can't change number of tables from ${N_TABLES} to ${byId.size}`);
    return 'OFPTFFC_EPERM';
  }
  for (const t of wanted) {
    const error = checkFeatures(host, t);
    if (error) return error;
  }
  for (const t of wanted) host.flowTables.tables[t.tableId].setName(t.name, 1);
  return undefined;
}

function checkFeatures(host: RequestHost, t: TableFeatures): OfErrorName | undefined {
  const table = host.flowTables.tables[t.tableId];
  if (!table) return 'OFPTFFC_BAD_TABLE';
  const now = tableFeatures(table);
  const log = host.log('ofproto');
  if (t.maxEntries !== now.maxEntries) log.info("can't change max_entries");
  else if (!table.mayName(t.name, 1))
    log.info(
      `can't change name of table ${t.tableId} to ${t.name} because it is already set to ${table.givenName} via OVSDB`,
    );
  else if (t.anyProperties !== false && !isSuperset(now, t))
    log.info(`can't increase table features for table ${t.tableId}`);
  else return undefined;
  return 'OFPTFFC_EPERM';
}

const within = <T>(some: ReadonlySet<T>, all: ReadonlySet<T>): boolean => [...some].every((x) => all.has(x));

/** Whether `now` can all that `wanted` asks for. */
function isSuperset(now: TableFeatures, wanted: TableFeatures): boolean {
  const bits = (have: bigint, want: bigint) => (want & ~have) === 0n;
  if (!bits(now.metadataMatch, wanted.metadataMatch) || !bits(now.metadataWrite, wanted.metadataWrite)) return false;
  if (!within(wanted.match, now.match) || !within(wanted.mask, now.mask) || !within(wanted.wildcard, now.wildcard))
    return false;
  return (['nonmiss', 'miss'] as const).every((kind) => {
    const [have, want] = [now[kind], wanted[kind]];
    return (
      within(want.next, have.next) &&
      within(want.instructions, have.instructions) &&
      (['write', 'apply'] as const).every(
        (how) => within(want[how].ofpacts, have[how].ofpacts) && within(want[how].setFields, have[how].setFields),
      )
    );
  });
}

export function tableMod({ host, m }: Request<'table_mod'>): OfErrorName | undefined {
  const { tables } = host.flowTables;
  if (m.tableId !== 255 && m.tableId >= N_TABLES) return 'OFPTMFC_BAD_TABLE';
  if (m.evictionFlags !== undefined && m.evictionFlags !== EVICTION_FLAGS) return 'OFPTMFC_BAD_CONFIG';
  if (m.tableId === TBL_INTERNAL) return 'OFPTMFC_EPERM';
  for (const t of m.tableId === 255 ? tables.slice(0, TBL_INTERNAL) : [tables[m.tableId]]) t.modify(m);
  host.changed();
  return undefined;
}
