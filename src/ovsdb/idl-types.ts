/** The client side of OVSDB: a typed replica of a remote database that follows it, and transactions against it.
 *
 *  Values are natural JavaScript. How a column looks follows from its type in the schema:
 *
 *  | column type                  | value                                        |
 *  | ---------------------------- | -------------------------------------------- |
 *  | exactly one atom             | the atom                                     |
 *  | none or one atom             | the atom or `null`                           |
 *  | a set of more                | a sorted, frozen array of atoms (may be empty) |
 *  | a map                        | a `Map` (may be empty)                       |
 *
 *  Atoms: string → string, boolean → boolean, integer → number (bigint beyond 2^53), real → number, uuid → lowercase string. */
import type { Duplex } from 'node:stream';

export type Uuid = string;
export type AtomValue = number | bigint | boolean | string;
export type ColumnValue = AtomValue | null | readonly AtomValue[] | ReadonlyMap<AtomValue, AtomValue>;

/** One row as it was at one moment; never changes. Columns that are not monitored (or that the server lacks) are absent. */
export interface IdlRow {
  readonly _uuid: Uuid;
  readonly [column: string]: ColumnValue;
}

/** Column values by name, to write. A set column takes an array, `null` or (for one member) the bare atom; a map column takes a
 *  `Map` or a plain object with string keys. */
export type ColumnInput = AtomValue | null | readonly AtomValue[] | ReadonlyMap<AtomValue, AtomValue> | PlainMap;
export type PlainMap = { readonly [key: string]: AtomValue };
export type RowInput = { readonly [column: string]: ColumnInput };

/** An immutable view of the whole replica. Cheap to take: tables that did not change since are shared with the previous view. */
export interface IdlSnapshot {
  /** Grows by one with every change that was received. */
  readonly seqno: number;
  /** The rows of a monitored table by uuid; empty for a table that the server lacks. */
  table(name: string): ReadonlyMap<Uuid, IdlRow>;
  get(table: string, uuid: Uuid): IdlRow | undefined;
  /** The only row of a table such as Open_vSwitch, or undefined while it is empty. */
  first(table: string): IdlRow | undefined;
}

/** One row's change. `old` is undefined for a new row, `new` for a deleted one. */
export interface IdlChange {
  readonly table: string;
  readonly uuid: Uuid;
  readonly old?: IdlRow;
  readonly new?: IdlRow;
}

/** What became of a transaction, in the words of Open vSwitch's IDL.
 *  `unchanged`: nothing to do, nothing was sent. `success`: committed (and, with `durable`, on the disk).
 *  `try again`: a verify failed or the connection was not there or broke: decide again on a fresh snapshot.
 *  `not locked`: the lock was not held. `error`: the database refused it; `error` says why. */
export type TxnStatus = 'unchanged' | 'success' | 'try again' | 'not locked' | 'error';

export interface TxnResult {
  readonly status: TxnStatus;
  /** The server's error text, for `error`. */
  readonly error?: string;
  /** Real uuids of the inserted rows by the temporary ones that `insert` returned. */
  readonly uuids: ReadonlyMap<Uuid, Uuid>;
  /** The new value of the column given to `increment`. */
  readonly increment?: number;
}

export type Mutator = '+=' | '-=' | '*=' | '/=' | '%=' | 'insert' | 'delete';

/** Collects operations; sends them all at once with `commit`. Use it once. Names and types are checked by `commit`: a table or column
 *  that the server lacks is left out, with a warning once (an older schema lacks it); a value of the wrong type gives `error`. */
export interface IdlTxn {
  /** Adds a row and returns a temporary uuid, which may be used as a uuid in this transaction's other values. */
  insert(table: string, row: RowInput): Uuid;
  /** Sets columns of a row. Columns that already hold the value are left out; when nothing is left, nothing is sent. */
  update(table: string, uuid: Uuid, columns: RowInput): void;
  /** Changes a set, a map or a number in place, as RFC 7047 section 5.1's <mutation>. For `delete` on a map a set of keys is enough. */
  mutate(table: string, uuid: Uuid, column: string, mutator: Mutator, value: ColumnInput): void;
  delete(table: string, uuid: Uuid): void;
  /** Makes the commit end with `try again` when the column no longer holds what the replica shows now. */
  verify(table: string, uuid: Uuid, column: string): void;
  /** Adds one to an integer column; its new value comes back in the result. */
  increment(table: string, uuid: Uuid, column: string): void;
  /** A comment in the log of the database. */
  comment(text: string): void;
  /** Never rejects for what the server or the connection does: see TxnStatus. */
  commit(options?: { durable?: boolean }): Promise<TxnResult>;
}

/** What to follow of a table: `true` for all its columns, or a choice. Changes of `quiet` columns update the replica but do not call
 *  `onChange` (the columns that a client writes itself: statistics, status). */
export type MonitorColumns =
  | true
  | readonly string[]
  | { readonly columns: readonly string[]; readonly quiet?: readonly string[] };

export interface IdlOptions {
  /** `unix:PATH`, `tcp:HOST:PORT`, `ssl:HOST:PORT`; several, comma-separated, are tried in turn. Not needed with `connect`. */
  readonly remote?: string;
  /** Another way to reach the server, e.g. `() => server.connectInMemory()`. Called again for every reconnection. */
  readonly connect?: () => Promise<Duplex> | Duplex;
  /** Default `Open_vSwitch`. */
  readonly database?: string;
  readonly monitor: { readonly [table: string]: MonitorColumns };
  /** The lock to ask for, e.g. `ovs_vswitchd`. While it is set and not held, `commit` gives `not locked`. */
  readonly lock?: string;
  /** Silence after which an echo is sent, and after as much again the connection is dropped. 0 turns it off. Default 5000, on a unix
   *  socket (where a dead peer shows by itself) 0. */
  readonly probeIntervalMs?: number;
  /** Longest pause between two attempts to connect; the first is 1 s (or this, if shorter), each next twice as long. Default 8000. */
  readonly maxBackoffMs?: number;
  /** For `ssl:`: PEM files. */
  readonly tls?: { readonly privateKey?: string; readonly certificate?: string; readonly caCert?: string };
  /** Receives what vlog should log for module `ovsdb_idl` or `reconnect`. Default: silence. */
  readonly log?: (level: 'dbg' | 'info' | 'warn' | 'err', module: string, message: string) => void;
}

export type IdlState = 'idle' | 'connecting' | 'monitoring' | 'backoff' | 'stopped';

export interface Idl {
  /** Begins to connect, and reconnects until `stop`. */
  start(): void;
  /** Closes the connection; no callback is called afterwards. Unfinished commits give `try again`. */
  stop(): void;
  /** `monitoring` once the first whole replica is there. */
  readonly state: IdlState;
  /** True once a whole replica has been received; stays true while reconnecting (the replica is then the last one known). */
  readonly hasEverConnected: boolean;
  readonly seqno: number;
  snapshot(): IdlSnapshot;
  /** Calls back after each batch of changes, at most once per received message, and after a (re)connection whose first replica differs.
   *  Returns how to unsubscribe. */
  onChange(callback: (snapshot: IdlSnapshot, changes: readonly IdlChange[]) => void): () => void;
  /** Calls back when `state`, `hasLock` or `isLockContended` changed. Returns how to unsubscribe. */
  onState(callback: () => void): () => void;
  /** Resolves at the first moment when the state is `monitoring`. */
  ready(): Promise<void>;
  /** True without a lock option, or while the server says that the lock is ours. */
  readonly hasLock: boolean;
  /** True while somebody else holds the lock. */
  readonly isLockContended: boolean;
  /** Changes the lock; `null` gives it up. */
  setLock(name: string | null): void;
  txn(): IdlTxn;
  /** True when the connected server's schema has it. */
  hasColumn(table: string, column: string): boolean;
  /** Drops the connection and connects again at once. */
  forceReconnect(): void;
}
