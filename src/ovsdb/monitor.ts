import { ZERO_UUID } from './atom.ts';
import { anyClauseMatcher, conditionFromJson } from './condition.ts';
import type { Database, Row, Table } from './database.ts';
import { datumDiff, datumEquals, datumToJson, isDefaultDatum } from './datum.ts';
import { syntaxError } from './error.ts';
import type { Json, JsonObject } from './json.ts';
import { isArray, isObject, jsonEquals } from './json.ts';
import { MemberParser } from './parser.ts';
import type { Column } from './schema.ts';
import { COL_UUID } from './schema.ts';
import type { TxnRow } from './transaction.ts';

/** 1: "monitor" (RFC 7047); 2: "monitor_cond"; 3: "monitor_cond_since" (ovsdb-server(7)). */
export type MonitorVersion = 1 | 2 | 3;

const NOTIFICATIONS = { 1: 'update', 2: 'update2', 3: 'update3' } as const;

type Change = 'initial' | 'insert' | 'delete' | 'modify';
const CHANGES: readonly Change[] = ['initial', 'insert', 'delete', 'modify'];

interface MonitoredColumn {
  readonly column: Column;
  readonly select: ReadonlySet<Change>;
}

/** What changed in a row since the client heard of it last. */
interface Pending {
  readonly old: Row | null;
  now: Row | null;
}

interface MonitoredTable {
  readonly table: Table;
  readonly columns: MonitoredColumn[];
  /** Union of the columns'. */
  readonly select: Set<Change>;
  condition: readonly Json[];
  matches: (row: Row) => boolean;
  pending: Map<string, Pending>;
}

const ALWAYS = () => true;

/** One client's monitor. It keeps the rows that changed since the last message (two references each) and composes the message when the
 *  client is ready for it, so that a slow client costs memory for its rows, not for its messages. */
export class Monitor {
  readonly db: Database;
  readonly version: MonitorVersion;
  id: Json;
  private readonly tables = new Map<string, MonitoredTable>();
  private hasPending = false;
  /** Of the last transaction that the client knows of or was noted. */
  lastTxnId = ZERO_UUID;

  /** `requests` is RFC 7047's <monitor-requests>. Throws OvsdbError. */
  constructor(db: Database, version: MonitorVersion, id: Json, requests: Json) {
    this.db = db;
    this.version = version;
    this.id = id;
    if (!isObject(requests)) throw syntaxError(requests, 'monitor-requests must be object');
    for (const [name, request] of Object.entries(requests)) {
      const monitored = this.addTable(name);
      for (const one of isArray(request) ? request : [request]) this.addRequest(monitored, one);
    }
  }

  private addTable(name: string): MonitoredTable {
    const table = this.db.tables.get(name);
    if (!table) throw syntaxError(undefined, `no table named ${name}`);
    const monitored = {
      table,
      columns: [],
      select: new Set<Change>(),
      condition: [],
      matches: ALWAYS,
      pending: new Map(),
    };
    this.tables.set(name, monitored);
    return monitored;
  }

  private addRequest(monitored: MonitoredTable, json: Json): void {
    const { schema } = monitored.table;
    const parser = new MemberParser(json, `table ${schema.name}`);
    const where = this.version === 1 ? undefined : parser.optional('where', 'array');
    const names = parser.optional('columns', 'array') as readonly Json[] | undefined;
    const selectJson = parser.optional('select', 'object');
    parser.finish();
    const select = selectJson === undefined ? new Set(CHANGES) : parseSelect(selectJson, schema.name);
    for (const change of select) monitored.select.add(change);
    for (const column of names
      ? parseColumns(names, monitored.table)
      : schema.columns.filter((c) => c.index !== COL_UUID)) {
      if (monitored.columns.some((other) => other.column === column)) {
        throw syntaxError(names, `column ${column.name} mentioned more than once`);
      }
      monitored.columns.push({ column, select });
    }
    if (where !== undefined) this.setCondition(monitored, where as readonly Json[]);
  }

  private setCondition(monitored: MonitoredTable, where: readonly Json[]): void {
    monitored.matches = anyClauseMatcher(conditionFromJson(where, monitored.table.schema));
    monitored.condition = where;
  }

  /** The rows that the reply to the request itself carries. */
  initial(): JsonObject {
    return this.compose((monitored) => {
      if (!monitored.select.has('initial')) return undefined;
      return function* () {
        for (const now of monitored.table.rows.values()) yield { old: null, now, isInitial: true };
      };
    });
  }

  /** Takes note of a completed transaction. Returns whether there may now be something to send. */
  note(changes: Iterable<TxnRow>, id: string = ZERO_UUID): boolean {
    this.lastTxnId = id;
    for (const { table, uuid, old, now, changed } of changes) {
      const monitored = this.tables.get(table.schema.name);
      if (!monitored) continue;
      if (old && now && !concerns(monitored, changed)) continue;
      this.noteRow(monitored, uuid, old, now);
    }
    return this.hasPending;
  }

  private noteRow({ pending }: MonitoredTable, uuid: string, old: Row | null, now: Row | null): void {
    const known = pending.get(uuid);
    if (!known) pending.set(uuid, { old, now });
    else if (known.old || now) known.now = now;
    else pending.delete(uuid);
    this.hasPending = true;
  }

  /** The notification of all that happened since the last one, or undefined when the client need not hear of it. */
  flush(): { readonly method: string; readonly params: Json } | undefined {
    if (!this.hasPending) return undefined;
    this.hasPending = false;
    const updates = this.compose((monitored) => {
      if (monitored.pending.size === 0) return undefined;
      const rows = monitored.pending.values();
      monitored.pending = new Map();
      return () => rows;
    });
    return this.notification(updates);
  }

  /** What has happened in the noted transactions, for the reply to a client that comes back. */
  takePending(): JsonObject {
    this.hasPending = false;
    return this.compose((monitored) => {
      const rows = monitored.pending.values();
      monitored.pending = new Map();
      return () => rows;
    });
  }

  private notification(updates: JsonObject) {
    if (Object.keys(updates).length === 0) return undefined;
    const params = this.version === 3 ? [this.id, this.lastTxnId, updates] : [this.id, updates];
    return { method: NOTIFICATIONS[this.version], params };
  }

  /** "monitor_cond_change": takes over new conditions and the new id. `flush` first. Returns the notification of the rows that come into
   *  sight or go out of it. Throws OvsdbError, and nothing is changed. */
  changeConditions(id: Json, requests: Json) {
    if (!isObject(requests)) throw syntaxError(undefined, 'monitor-cond-change-requests must be object');
    const wheres = Object.entries(requests).map(([name, json]) => this.parseConditionChange(name, json));
    const before = new Map<MonitoredTable, (row: Row) => boolean>();
    for (const { monitored, where } of wheres) {
      if (where === undefined || jsonEquals(where, monitored.condition)) continue;
      before.set(monitored, monitored.matches);
      this.setCondition(monitored, where);
    }
    this.id = id;
    return this.notification(this.composeConditionChange(before));
  }

  private parseConditionChange(name: string, json: Json) {
    if (!this.db.tables.has(name)) throw syntaxError(undefined, `no table named ${name}`);
    const monitored = this.tables.get(name);
    if (!monitored) throw syntaxError(undefined, `no table named ${name} in monitor session`);
    if (!isArray(json)) throw syntaxError(undefined, `table ${name} no monitor-cond-change JSON array`);
    let where: readonly Json[] | undefined;
    for (const request of json) {
      const parser = new MemberParser(request, `table ${name}`);
      const columns = parser.optional('columns', 'array');
      where = parser.optional('where', 'array') as readonly Json[] | undefined;
      parser.finish();
      if (columns !== undefined) throw syntaxError(request, 'changing columns is unsupported');
      // Checked now, so that nothing has changed when a later table's is wrong.
      if (where) conditionFromJson(where, monitored.table.schema);
    }
    return { monitored, where };
  }

  private composeConditionChange(before: ReadonlyMap<MonitoredTable, (row: Row) => boolean>): JsonObject {
    return this.compose((monitored) => {
      const matched = before.get(monitored);
      if (!matched) return undefined;
      return function* () {
        for (const row of monitored.table.rows.values()) {
          const was = matched(row);
          if (was !== monitored.matches(row)) yield { old: was ? row : null, now: was ? null : row, isCertain: true };
        }
      };
    });
  }

  private compose(rowsOf: (table: MonitoredTable) => (() => Iterable<RowChange>) | undefined): JsonObject {
    const updates: { [table: string]: Json } = {};
    for (const [name, monitored] of this.tables) {
      const rows = rowsOf(monitored);
      if (!rows) continue;
      const table: { [uuid: string]: Json } = {};
      for (const change of rows()) {
        const update = this.version === 1 ? rowUpdate(monitored, change) : rowUpdate2(monitored, change);
        if (update) table[(change.now ?? change.old)!.uuid] = update;
      }
      if (Object.keys(table).length > 0) updates[name] = table;
    }
    return updates;
  }
}

interface RowChange {
  readonly old: Row | null;
  readonly now: Row | null;
  readonly isInitial?: boolean;
  /** The condition has been looked at already. */
  readonly isCertain?: boolean;
}

function parseSelect(json: Json, table: string): Set<Change> {
  const parser = new MemberParser(json, `table ${table} select`);
  const select = new Set(CHANGES.filter((change) => parser.optional(change, 'boolean') ?? true));
  parser.finish();
  return select;
}

function parseColumns(names: readonly Json[], { schema }: Table): Column[] {
  return names.map((name) => {
    if (typeof name !== 'string') throw syntaxError(names, 'array of column names expected');
    const column = schema.byName.get(name);
    if (!column) throw syntaxError(names, `${name} is not a valid column name`);
    return column;
  });
}

/** A row that only left or entered by its condition counts too: the condition may look at columns that are not monitored. */
function concerns({ columns, matches }: MonitoredTable, changed: ReadonlySet<number>): boolean {
  return matches !== ALWAYS || columns.some(({ column }) => changed.has(column.index));
}

function plainChange({ old, now, isInitial }: RowChange): Change {
  return isInitial ? 'initial' : !old ? 'insert' : !now ? 'delete' : 'modify';
}

function isModified({ column }: MonitoredColumn, { old, now }: RowChange): boolean {
  return !datumEquals(old!.fields[column.index]!, now!.fields[column.index]!);
}

/** RFC 7047's <row-update>. */
function rowUpdate({ columns, select }: MonitoredTable, change: RowChange): Json | undefined {
  const kind = plainChange(change);
  if (!select.has(kind)) return undefined;
  if (kind === 'modify' && !columns.some((column) => isModified(column, change))) return undefined;
  const before: { [column: string]: Json } = {};
  const after: { [column: string]: Json } = {};
  for (const monitored of columns) {
    if (!monitored.select.has(kind)) continue;
    const { index, name, type } = monitored.column;
    if (kind === 'delete' || (kind === 'modify' && isModified(monitored, change))) {
      before[name] = datumToJson(change.old!.fields[index]!, type);
    }
    if (kind !== 'delete') after[name] = datumToJson(change.now!.fields[index]!, type);
  }
  return {
    ...(kind === 'delete' || kind === 'modify' ? { old: before } : {}),
    ...(kind === 'delete' ? {} : { new: after }),
  };
}

/** How the change looks to somebody who sees only the rows that match. */
function conditionalChange({ matches }: MonitoredTable, change: RowChange): Change | undefined {
  const kind = plainChange(change);
  if (change.isCertain) return kind;
  const was = change.old !== null && matches(change.old);
  const is = change.now !== null && matches(change.now);
  if (was && is) return kind;
  if (is) return kind === 'modify' ? 'insert' : kind;
  return was ? 'delete' : undefined;
}

/** <row-update2> (ovsdb-server(7), "update2 notification"). */
function rowUpdate2(table: MonitoredTable, change: RowChange): Json | undefined {
  const kind = conditionalChange(table, change);
  if (!kind || !table.select.has(kind)) return undefined;
  if (kind === 'delete') return { delete: null };
  if (kind === 'modify' && !table.columns.some((column) => isModified(column, change))) return undefined;
  const row: { [column: string]: Json } = {};
  for (const monitored of table.columns) {
    const { index, name, type } = monitored.column;
    if (!monitored.select.has(kind)) continue;
    const field = change.now!.fields[index]!;
    if (kind !== 'modify') {
      if (!isDefaultDatum(field, type)) row[name] = datumToJson(field, type);
    } else if (isModified(monitored, change)) {
      row[name] = datumToJson(datumDiff(change.old!.fields[index]!, field, type), type);
    }
  }
  return { [kind]: row };
}
