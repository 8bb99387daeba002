import { randomUUID } from 'node:crypto';
import type { Datum } from './datum.ts';
import { datumEquals } from './datum.ts';
import type { ColumnInput, IdlTxn, Mutator, RowInput, TxnResult, Uuid } from './idl-types.ts';
import { datumToTxnJson, rowName, valueToDatum } from './idl-values.ts';
import type { Json } from './json.ts';
import { isArray, isObject } from './json.ts';
import type { Column, Schema, TableSchema } from './schema.ts';
import type { ColumnType } from './type.ts';

type Step =
  | { readonly op: 'insert' | 'update'; readonly table: string; readonly uuid: Uuid; columns: RowInput }
  | { readonly op: 'mutate'; readonly table: string; readonly uuid: Uuid; readonly mutation: Mutation }
  | { readonly op: 'delete'; readonly table: string; readonly uuid: Uuid }
  | { readonly op: 'verify' | 'increment'; readonly table: string; readonly uuid: Uuid; readonly column: string };

interface Mutation {
  readonly column: string;
  readonly mutator: Mutator;
  readonly value: ColumnInput;
}

/** What a transaction needs of its client. */
export interface TxnHost {
  /** Undefined while not connected. */
  readonly schema: Schema | undefined;
  readonly database: string;
  readonly lock: string | null;
  readonly hasLock: boolean;
  datum(table: string, uuid: Uuid, column: string): Datum | undefined;
  warnMissing(what: string): void;
  /** Resolves with the reply's result, or undefined when none came. Rejects never. */
  transact(params: readonly Json[]): Promise<Json | undefined>;
}

interface Composed {
  readonly operations: Json[];
  /** For each inserted row the operation that inserts it. */
  readonly inserted: ReadonlyMap<Uuid, number>;
  /** The operation whose result has the incremented column. */
  readonly incremented: { readonly operation: number; readonly column: string } | undefined;
}

const NO_UUIDS: ReadonlyMap<Uuid, Uuid> = new Map();

/** The transaction that `Idl.txn()` gives. */
export class Txn implements IdlTxn {
  private readonly host: TxnHost;
  private readonly steps: Step[] = [];
  private readonly rows = new Map<string, Extract<Step, { columns: RowInput }>>();
  private readonly comments: string[] = [];
  private isCommitted = false;

  constructor(host: TxnHost) {
    this.host = host;
  }

  insert(table: string, row: RowInput): Uuid {
    const uuid = randomUUID();
    this.addRowStep('insert', table, uuid, row);
    return uuid;
  }

  update(table: string, uuid: Uuid, columns: RowInput): void {
    const earlier = this.rows.get(`${table} ${uuid}`);
    if (earlier) earlier.columns = { ...earlier.columns, ...columns };
    else this.addRowStep('update', table, uuid, columns);
  }

  private addRowStep(op: 'insert' | 'update', table: string, uuid: Uuid, columns: RowInput): void {
    const step = { op, table, uuid, columns };
    this.rows.set(`${table} ${uuid}`, step);
    this.steps.push(step);
  }

  mutate(table: string, uuid: Uuid, column: string, mutator: Mutator, value: ColumnInput): void {
    this.steps.push({ op: 'mutate', table, uuid, mutation: { column, mutator, value } });
  }

  delete(table: string, uuid: Uuid): void {
    const earlier = this.rows.get(`${table} ${uuid}`);
    this.rows.delete(`${table} ${uuid}`);
    if (earlier) this.steps.splice(this.steps.indexOf(earlier), 1);
    if (earlier?.op !== 'insert') this.steps.push({ op: 'delete', table, uuid });
  }

  verify(table: string, uuid: Uuid, column: string): void {
    this.steps.push({ op: 'verify', table, uuid, column });
  }

  increment(table: string, uuid: Uuid, column: string): void {
    this.steps.push({ op: 'increment', table, uuid, column });
  }

  comment(text: string): void {
    this.comments.push(text);
  }

  async commit(options: { durable?: boolean } = {}): Promise<TxnResult> {
    if (this.isCommitted) throw new Error('a transaction can be committed once');
    this.isCommitted = true;
    const { host } = this;
    if (host.lock !== null && !host.hasLock) return { status: 'not locked', uuids: NO_UUIDS };
    if (!host.schema) return { status: 'try again', uuids: NO_UUIDS };
    let composed: Composed;
    try {
      composed = new Composer(host, host.schema, this.steps).compose();
    } catch (error) {
      return { status: 'error', error: (error as Error).message, uuids: NO_UUIDS };
    }
    if (composed.operations.length === 0) return { status: 'unchanged', uuids: NO_UUIDS };
    const reply = await host.transact(this.params(composed, options.durable ?? false));
    const nPrefix = host.lock === null ? 0 : 1;
    return interpret(reply, composed, nPrefix);
  }

  private params({ operations }: Composed, durable: boolean): Json[] {
    const { database, lock } = this.host;
    return [
      database,
      ...(lock === null ? [] : [{ op: 'assert', lock }]),
      ...operations,
      ...(this.comments.length ? [{ op: 'comment', comment: this.comments.join('\n') }] : []),
      ...(durable ? [{ op: 'commit', durable: true }] : []),
    ];
  }
}

/** Turns steps into RFC 7047's operations. */
class Composer {
  private readonly host: TxnHost;
  private readonly schema: Schema;
  private readonly steps: readonly Step[];
  private readonly operations: Json[] = [];
  private readonly inserted = new Map<Uuid, number>();
  private readonly newRows: ReadonlySet<Uuid>;
  private incremented: { operation: number; column: string } | undefined;

  constructor(host: TxnHost, schema: Schema, steps: readonly Step[]) {
    this.host = host;
    this.schema = schema;
    this.steps = steps;
    this.newRows = new Set(steps.filter((step) => step.op === 'insert').map((step) => step.uuid));
  }

  compose(): Composed {
    // What must still hold is asked before anything is changed.
    for (const step of this.steps) if (step.op === 'verify') this.add(step);
    for (const step of this.steps) if (step.op !== 'verify') this.add(step);
    return { operations: this.operations, inserted: this.inserted, incremented: this.incremented };
  }

  private add(step: Step): void {
    const table = this.schema.tables.get(step.table);
    if (!table) {
      this.host.warnMissing(`${step.table} table in ${this.schema.name} database`);
      return;
    }
    switch (step.op) {
      case 'insert':
        this.insert(table, step.uuid, step.columns);
        break;
      case 'update':
        this.update(table, step.uuid, step.columns);
        break;
      case 'mutate':
        this.mutate(table, step.uuid, step.mutation);
        break;
      case 'delete':
        this.push({ op: 'delete', table: table.name, where: this.where(step.uuid) });
        break;
      case 'verify':
        this.verify(table, step.uuid, step.column);
        break;
      case 'increment':
        this.increment(table, step.uuid, step.column);
    }
  }

  private push(operation: Json): void {
    this.operations.push(operation);
  }

  private where(uuid: Uuid): Json {
    return [['_uuid', '==', this.isNew(uuid) ? ['named-uuid', rowName(uuid)] : ['uuid', uuid]]];
  }

  private readonly isNew = (uuid: Uuid): boolean => this.newRows.has(uuid);

  private toJson(datum: Datum, type: ColumnType): Json {
    return datumToTxnJson(datum, type, this.isNew);
  }

  private column(table: TableSchema, name: string): Column | undefined {
    const column = table.byName.get(name);
    if (!column) this.host.warnMissing(`${name} column in ${table.name} table`);
    return column;
  }

  private rowJson(table: TableSchema, input: RowInput, isWanted: (column: Column, datum: Datum) => boolean) {
    const row: { [column: string]: Json } = {};
    for (const [name, value] of Object.entries(input)) {
      const column = this.column(table, name);
      if (!column) continue;
      const datum = toDatum(table, column, value);
      if (isWanted(column, datum)) row[name] = this.toJson(datum, column.type);
    }
    return row;
  }

  private insert(table: TableSchema, uuid: Uuid, columns: RowInput): void {
    const row = this.rowJson(table, columns, () => true);
    this.inserted.set(uuid, this.operations.length);
    this.push({ op: 'insert', table: table.name, 'uuid-name': rowName(uuid), row });
  }

  private update(table: TableSchema, uuid: Uuid, columns: RowInput): void {
    const row = this.rowJson(table, columns, (column, datum) => {
      const present = this.host.datum(table.name, uuid, column.name);
      return !present || !datumEquals(present, datum);
    });
    if (Object.keys(row).length > 0) this.push({ op: 'update', table: table.name, where: this.where(uuid), row });
  }

  private mutate(table: TableSchema, uuid: Uuid, { column: name, mutator, value }: Mutation): void {
    const column = this.column(table, name);
    if (!column) return;
    const arg = this.toJson(toDatum(table, column, value), column.type);
    this.push({ op: 'mutate', table: table.name, where: this.where(uuid), mutations: [[name, mutator, arg]] });
  }

  private verify(table: TableSchema, uuid: Uuid, name: string): void {
    const column = this.column(table, name);
    const datum = this.host.datum(table.name, uuid, name);
    if (!column || !datum) return;
    const rows = [{ [name]: this.toJson(datum, column.type) }];
    const wait = { op: 'wait', table: table.name, timeout: 0, columns: [name], until: '==' };
    this.push({ ...wait, where: this.where(uuid), rows });
  }

  private increment(table: TableSchema, uuid: Uuid, name: string): void {
    if (!this.column(table, name)) return;
    const where = this.where(uuid);
    this.push({ op: 'mutate', table: table.name, where, mutations: [[name, '+=', 1]] });
    this.incremented = { operation: this.operations.length, column: name };
    this.push({ op: 'select', table: table.name, where, columns: [name] });
  }
}

function toDatum(table: TableSchema, column: Column, value: ColumnInput): Datum {
  try {
    return valueToDatum(value, column.type);
  } catch (error) {
    throw new TypeError(`${table.name}.${column.name}: ${(error as Error).message}`);
  }
}

/** What the reply to a transaction means. */
function interpret(reply: Json | undefined, composed: Composed, nPrefix: number): TxnResult {
  if (!isArray(reply)) return { status: 'try again', uuids: NO_UUIDS };
  const failure = reply.find((result) => isObject(result) && typeof result.error === 'string');
  if (isObject(failure)) return failed(failure.error as string, failure.details);
  const resultOf = (operation: number) => reply[operation + nPrefix];
  const uuids = new Map<Uuid, Uuid>();
  for (const [temporary, operation] of composed.inserted) {
    const result = resultOf(operation);
    if (isObject(result) && isArray(result.uuid)) uuids.set(temporary, result.uuid[1] as Uuid);
  }
  const increment =
    composed.incremented && incrementedValue(resultOf(composed.incremented.operation), composed.incremented.column);
  return { status: 'success', uuids, ...(increment !== undefined && { increment }) };
}

function failed(tag: string, details: Json | undefined): TxnResult {
  if (tag === 'timed out') return { status: 'try again', uuids: NO_UUIDS };
  if (tag === 'not owner') return { status: 'not locked', uuids: NO_UUIDS };
  return { status: 'error', error: typeof details === 'string' ? `${tag}: ${details}` : tag, uuids: NO_UUIDS };
}

function incrementedValue(result: Json | undefined, column: string): number | undefined {
  const row = isObject(result) && isArray(result.rows) ? result.rows[0] : undefined;
  const value = isObject(row) ? row[column] : undefined;
  return typeof value === 'number' ? value : undefined;
}
