import { randomUUID } from 'node:crypto';
import type { SymbolTable } from './atom.ts';
import { parseUuid } from './atom.ts';
import type { Condition } from './condition.ts';
import { conditionFromJson, queryRows } from './condition.ts';
import type { Database, Row, Table } from './database.ts';
import { indexKey, rowToJson, uuidDatum } from './database.ts';
import { checkDatum, compareDatums, datumEquals, datumFromJson } from './datum.ts';
import { OvsdbError, syntaxError } from './error.ts';
import { getOrMake } from './get-or-make.ts';
import type { Json, JsonObject } from './json.ts';
import { isArray, isObject } from './json.ts';
import { mutate, mutationFromJson } from './mutation.ts';
import { MemberParser } from './parser.ts';
import type { Column } from './schema.ts';
import { COL_UUID, columnSetFromJson } from './schema.ts';
import { Transaction } from './transaction.ts';

export interface ExecuteContext {
  readonly readOnly: boolean;
  /** How long the transaction has been waiting so far. */
  readonly elapsedMs: number;
  /** False: a "wait" that does not hold is an error. Default true. */
  readonly canWait?: boolean;
  ownsLock(name: string): boolean;
}

export type ExecuteResult =
  /** All operations went well; `txn` is neither prepared nor complete. */
  | {
      readonly kind: 'done';
      readonly txn: Transaction;
      readonly results: Json[];
      readonly durable: boolean;
      readonly writes: boolean;
    }
  /** An operation failed; nothing is left of the transaction. */
  | { readonly kind: 'failed'; readonly results: Json }
  /** A "wait" does not hold yet. Try again after the next change, and when `timeoutMs` have gone by since the first try. */
  | { readonly kind: 'waiting'; readonly timeoutMs: number };

/** Thrown by an unsatisfied "wait" operation. */
class NotYet extends Error {}

type Result = { [key: string]: Json };

class Symbols implements SymbolTable {
  private readonly uuids = new Map<string, string>();
  private readonly created = new Set<string>();

  resolve(name: string): string {
    return getOrMake(this.uuids, name, randomUUID);
  }

  /** The uuid of the row that carries `name`; `uuid` is one that the client chose. */
  create(name: string, uuid: string | undefined): string {
    if (this.created.has(name)) {
      throw syntaxError(name, 'This "uuid-name" appeared on an earlier "insert" operation.', 'duplicate uuid-name');
    }
    this.created.add(name);
    if (uuid !== undefined) this.uuids.set(name, uuid);
    return this.resolve(name);
  }
}

/** Runs the operations of one "transact" request, `params` being its parameters (RFC 7047 section 5.2). */
export class Execution {
  private readonly db: Database;
  private readonly context: ExecuteContext;
  private readonly txn: Transaction;
  private readonly symbols = new Symbols();
  private durable = false;
  /** Some operation is one that writes. */
  private writes = false;
  private timeoutMs = Infinity;

  constructor(db: Database, context: ExecuteContext) {
    this.db = db;
    this.context = context;
    this.txn = new Transaction(db);
  }

  run(params: Json): ExecuteResult {
    const operations = checkParams(params, this.db.name);
    if (operations instanceof OvsdbError) return { kind: 'failed', results: operations.toJson() };
    const results: Json[] = [];
    for (const operation of operations) {
      try {
        results.push(this.operation(operation, results.length + 1, operations.length));
      } catch (error) {
        this.txn.abort();
        if (error instanceof NotYet) return { kind: 'waiting', timeoutMs: this.timeoutMs };
        if (!(error instanceof OvsdbError)) throw error;
        results.push(error.toJson());
        while (results.length < operations.length) results.push(null);
        return { kind: 'failed', results };
      }
    }
    return { kind: 'done', txn: this.txn, results, durable: this.durable, writes: this.writes };
  }

  /** What is wrong with how an operation is written prevails over what went wrong in it. */
  private operation(json: Json, number: number, total: number): Result {
    const parser = new MemberParser(json, `ovsdb operation ${number} of ${total}`);
    const result: Result = {};
    let op = '';
    try {
      op = parser.required('op', 'id') as string;
      this.dispatch(op, parser, result);
    } catch (error) {
      if (error instanceof OvsdbError) parser.finish();
      throw error;
    }
    parser.finish();
    this.checkMayWrite(op);
    return result;
  }

  private dispatch(op: string, parser: MemberParser, result: Result): void {
    switch (op) {
      case 'insert':
        this.insert(parser, result);
        break;
      case 'select':
        this.select(parser, result);
        break;
      case 'update':
        this.update(parser, result);
        break;
      case 'mutate':
        this.mutate(parser, result);
        break;
      case 'delete':
        this.delete(parser, result);
        break;
      case 'wait':
        this.wait(parser);
        break;
      case 'commit':
        if (parser.required('durable', 'boolean')) this.durable = true;
        break;
      case 'abort':
        throw new OvsdbError('aborted', 'aborted by request');
      case 'comment':
        this.txn.comments.push(parser.required('comment', 'string') as string);
        break;
      case 'assert':
        this.assert(parser);
        break;
      default:
        throw parser.refusal(`No operation "${op}"`);
    }
  }

  private checkMayWrite(op: string): void {
    if (READ_ONLY_OPS.has(op)) return;
    this.writes = true;
    if (this.context.readOnly) {
      throw new OvsdbError('not allowed', `${op} operation not allowed when database server is in read only mode`);
    }
    if (this.db.name.startsWith('_')) {
      throw new OvsdbError('not allowed', `${op} operation not allowed on table in reserved database ${this.db.name}`);
    }
  }

  private table(parser: MemberParser): Table {
    const name = parser.required('table', 'id') as string;
    const table = this.db.tables.get(name);
    if (!table) throw parser.refusal(`No table named ${name}.`);
    return table;
  }

  private condition(json: Json, table: Table): Condition {
    return conditionFromJson(json as readonly Json[], table.schema, this.symbols);
  }

  private query(table: Table, condition: Condition): Row[] {
    return queryRows(table, condition, this.txn.touchedUuids(table));
  }

  private insert(parser: MemberParser, result: Result): void {
    const table = this.table(parser);
    const uuidJson = parser.optional('uuid', 'string') as string | undefined;
    const name = parser.optional('uuid-name', 'id') as string | undefined;
    const rowJson = parser.required('row', 'object') as JsonObject;
    const chosen = uuidJson === undefined ? undefined : this.chosenUuid(table, uuidJson);
    const uuid = name === undefined ? (chosen ?? randomUUID()) : this.symbols.create(name, chosen);
    const row = table.newRow(uuid);
    this.fillRow(table, row, rowJson);
    row.fields[COL_UUID] = uuidDatum(uuid);
    checkDefaults(table, row);
    this.txn.insert(table, row);
    result.uuid = ['uuid', uuid];
  }

  private chosenUuid(table: Table, json: string): string {
    const uuid = parseUuid(json);
    if (uuid === undefined) throw syntaxError(json, 'bad uuid');
    if (this.txn.mayInsert(table, uuid)) return uuid;
    throw syntaxError(
      json,
      'This UUID would duplicate a UUID already present within the table or deleted within the same transaction.',
      'duplicate uuid',
    );
  }

  /** Writes the columns of `json` into `row`; returns which they were. */
  private fillRow(table: Table, row: Row, json: Json): Column[] {
    if (!isObject(json)) throw syntaxError(json, 'row must be JSON object');
    return Object.keys(json).map((name) => {
      const column = table.schema.byName.get(name);
      if (!column) throw syntaxError(json, `No column ${name} in table ${table.schema.name}.`, 'unknown column');
      row.fields[column.index] = datumFromJson(json[name]!, column.type, this.symbols);
      return column;
    });
  }

  private select(parser: MemberParser, result: Result): void {
    const table = this.table(parser);
    const where = parser.required('where', 'array');
    const columnsJson = parser.optional('columns', 'array');
    const sortJson = parser.optional('sort', 'array');
    const condition = this.condition(where, table);
    const columns = columnSetFromJson(columnsJson, table.schema);
    const sort = columnSetFromJson(sortJson, table.schema);
    const rows = distinct(this.query(table, condition), columns);
    if (sortJson !== undefined) rows.sort((a, b) => compareByColumns(a, b, sort));
    result.rows = rows.map((row) => rowToJson(row, columns));
  }

  private update(parser: MemberParser, result: Result): void {
    const table = this.table(parser);
    const where = parser.required('where', 'array');
    const rowJson = parser.required('row', 'object');
    const values = table.newRow();
    const columns = this.fillRow(table, values, rowJson);
    const immutable = columns.find((column) => !column.mutable);
    if (immutable) {
      throw syntaxError(
        parser.json,
        `Cannot update immutable column ${immutable.name} in table ${table.schema.name}.`,
        'constraint violation',
      );
    }
    const rows = this.query(table, this.condition(where, table));
    for (const row of rows) this.updateRow(table, row, values, columns);
    result.count = rows.length;
  }

  private updateRow(table: Table, row: Row, values: Row, columns: readonly Column[]): void {
    const differing = columns.filter(({ index }) => !datumEquals(row.fields[index]!, values.fields[index]!));
    if (differing.length === 0) return;
    const writable = this.txn.modify(table, row);
    for (const { index } of differing) writable.fields[index] = values.fields[index]!;
  }

  private mutate(parser: MemberParser, result: Result): void {
    const table = this.table(parser);
    const where = parser.required('where', 'array');
    const mutationsJson = parser.required('mutations', 'array') as readonly Json[];
    const mutations = mutationsJson.map((json) => mutationFromJson(json, table.schema, this.symbols));
    const rows = this.query(table, this.condition(where, table));
    for (const row of rows) {
      const writable = this.txn.modify(table, row);
      for (const mutation of mutations) {
        const { index } = mutation.column;
        writable.fields[index] = mutate(writable.fields[index]!, mutation);
      }
    }
    result.count = rows.length;
  }

  private delete(parser: MemberParser, result: Result): void {
    const where = parser.required('where', 'array');
    const table = this.table(parser);
    const rows = this.query(table, this.condition(where, table));
    for (const row of rows) this.txn.delete(table, row);
    result.count = rows.length;
  }

  private wait(parser: MemberParser): void {
    const timeout = parser.optional('timeout', 'integer') as number | undefined;
    const where = parser.required('where', 'array');
    const columnsJson = parser.optional('columns', 'array');
    const until = parser.required('until', 'string');
    const rowsJson = parser.required('rows', 'array') as readonly Json[];
    const table = this.table(parser);
    const condition = this.condition(where, table);
    const columns = columnSetFromJson(columnsJson, table.schema);
    if (timeout !== undefined) this.limitWait(timeout);
    if (until !== '==' && until !== '!=') throw syntaxError(until, '"until" must be "==" or "!="');
    const expected = new Set(rowsJson.map((json) => this.expectedKey(table, json, columns)));
    const actual = new Set(this.query(table, condition).map((row) => indexKey(row, columns)));
    const equal = expected.size === actual.size && actual.isSubsetOf(expected);
    if (equal !== (until === '==')) this.keepWaiting(timeout);
  }

  private limitWait(timeout: number): void {
    if (timeout < 0) throw syntaxError(timeout, 'timeout must be nonnegative');
    this.timeoutMs = Math.min(this.timeoutMs, timeout);
  }

  private expectedKey(table: Table, json: Json, columns: readonly Column[]): string {
    const row = table.newRow();
    this.fillRow(table, row, json);
    return indexKey(row, columns);
  }

  private keepWaiting(timeout: number | undefined): never {
    const { elapsedMs, canWait = true } = this.context;
    if (timeout === undefined || elapsedMs < timeout) {
      if (canWait) throw new NotYet();
      throw new OvsdbError('not supported', 'triggers not supported');
    }
    throw new OvsdbError(
      'timed out',
      elapsedMs > 0 ? `"wait" timed out after ${Math.floor(elapsedMs)} ms` : '"where" clause test failed',
    );
  }

  private assert(parser: MemberParser): void {
    const lock = parser.required('lock', 'id') as string;
    if (!this.context.ownsLock(lock)) throw new OvsdbError('not owner', `Asserted lock ${lock} not held.`);
  }
}

const READ_ONLY_OPS: ReadonlySet<string> = new Set(['select', 'wait', 'commit', 'abort', 'comment', 'assert']);

function checkParams(params: Json, name: string): readonly Json[] | OvsdbError {
  if (!isArray(params)) return syntaxError(params, 'array expected');
  if (params[0] !== name) return syntaxError(params, 'database name expected as first parameter');
  return params.slice(1);
}

/** A column that the client did not name has its default value, which may break a constraint. */
function checkDefaults(table: Table, row: Row): void {
  for (const { index, type } of table.schema.columns) {
    if (row.fields[index]!.keys.length === 1) checkDatum(row.fields[index]!, type);
  }
}

/** One row for each combination of values in `columns`. */
function distinct(rows: readonly Row[], columns: readonly Column[]): Row[] {
  if (columns.some((column) => column.index === COL_UUID)) return [...rows];
  const byKey = new Map<string, Row>();
  for (const row of rows) {
    const key = indexKey(row, columns);
    if (!byKey.has(key)) byKey.set(key, row);
  }
  return [...byKey.values()];
}

function compareByColumns(a: Row, b: Row, columns: readonly Column[]): number {
  for (const { index } of columns) {
    const order = compareDatums(a.fields[index]!, b.fields[index]!);
    if (order) return order;
  }
  return 0;
}

/** Executes and commits in memory at once: for tools and tests. Returns the reply's result. */
export function executeNow(db: Database, params: Json): Json {
  const result = new Execution(db, { readOnly: false, elapsedMs: 0, ownsLock: () => false }).run(params);
  if (result.kind === 'waiting') return [new OvsdbError('timed out', '"where" clause test failed').toJson()];
  if (result.kind === 'failed') return result.results;
  try {
    result.txn.prepare();
    result.txn.complete();
  } catch (error) {
    result.txn.abort();
    if (!(error instanceof OvsdbError)) throw error;
    result.results.push(error.toJson());
  }
  return result.results;
}
