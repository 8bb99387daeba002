import { randomUUID } from 'node:crypto';
import { ZERO_UUID } from './atom.ts';
import { Database } from './database.ts';
import type { DatabaseLog } from './database-log.ts';
import { plainError } from './error.ts';
import { applyRecord } from './file.ts';
import type { Json, JsonObject } from './json.ts';
import { isArray, isObject } from './json.ts';
import { LogFile } from './log.ts';
import { MemberParser } from './parser.ts';
import { schemaFromJson } from './schema.ts';
import type { TxnRow } from './transaction.ts';
import { TxnHistory } from './txn-history.ts';

/** Files of clustered databases (ovsdb(5), "Clustered Format"), for clusters of one server: a header with a snapshot, then the entries of
 *  the Raft log and what the server noted of elections. Nothing here talks to other members. */

/** The first record. */
export interface ClusterHeader {
  readonly serverId: string;
  /** Undefined in a server that has not joined its cluster yet. */
  readonly clusterId: string | undefined;
  readonly name: string;
  readonly localAddress: string;
  /** Members' addresses by server id; undefined while joining. */
  readonly servers: { readonly [id: string]: string } | undefined;
  /** Of a server that has not joined yet: whom to ask. */
  readonly remotes: readonly string[] | undefined;
  /** The state of the database just after the entry `index`. */
  readonly snapshot: Snapshot | undefined;
}

interface Snapshot {
  readonly index: number;
  readonly term: number;
  readonly id: string;
  /** The schema and a record that makes the content. */
  readonly data: readonly Json[];
}

function headerToJson(header: ClusterHeader): JsonObject {
  const { snapshot, servers, remotes, clusterId } = header;
  return {
    server_id: header.serverId,
    ...(clusterId !== undefined && { cluster_id: clusterId }),
    local_address: header.localAddress,
    name: header.name,
    ...(remotes && { remote_addresses: remotes }),
    ...(servers && { prev_servers: servers }),
    ...(snapshot && {
      prev_index: snapshot.index,
      prev_term: snapshot.term,
      prev_data: snapshot.data,
      prev_eid: snapshot.id,
    }),
  };
}

function headerFromJson(json: Json): ClusterHeader {
  const parser = new MemberParser(json, 'raft header');
  const string = (name: string) => parser.optional(name, 'string') as string | undefined;
  const header: Omit<ClusterHeader, 'snapshot'> = {
    serverId: parser.required('server_id', 'string') as string,
    clusterId: string('cluster_id'),
    name: parser.required('name', 'string') as string,
    localAddress: parser.required('local_address', 'string') as string,
    servers: parser.optional('prev_servers', 'object') as { [id: string]: string } | undefined,
    remotes: parser.optional('remote_addresses', 'array') as readonly string[] | undefined,
  };
  const index = parser.optional('prev_index', 'integer') as number | undefined;
  const term = parser.optional('prev_term', 'integer') as number | undefined;
  const data = parser.optional('prev_data', 'array') as readonly Json[] | undefined;
  const id = string('prev_eid');
  parser.optional('prev_election_timer', 'integer');
  parser.finish();
  const snapshot = index !== undefined && data ? { index, term: term ?? 1, id: id ?? ZERO_UUID, data } : undefined;
  return { ...header, snapshot };
}

/** The header of the file at `path`. Throws OvsdbError, also for a standalone database. */
export function readClusterHeader(path: string): ClusterHeader {
  const log = LogFile.open(path, { magic: 'CLUSTER', readOnly: true });
  try {
    for (const { json } of log.records((error) => {
      throw error;
    })) {
      return headerFromJson(json);
    }
  } finally {
    log.close();
  }
  throw plainError(`${path}: unexpected end of file`);
}

function checkAddress(address: string): void {
  if (/^(unix:.+|(tcp|ssl):(\[[^\]]+\]|[^:]+):\d+)$/.test(address)) return;
  throw plainError(`${address}: invalid syntax in raft address`);
}

function writeHeader(path: string, header: ClusterHeader): void {
  const log = LogFile.open(path, { create: true, magic: 'CLUSTER' });
  log.append(headerToJson(header));
  log.close();
}

/** Makes the file of the first member of a new cluster. Throws OvsdbError. */
export function createClusterFile(path: string, name: string, localAddress: string, schema: Json, content: Json): void {
  checkAddress(localAddress);
  const serverId = randomUUID();
  writeHeader(path, {
    serverId,
    clusterId: randomUUID(),
    name,
    localAddress,
    servers: { [serverId]: localAddress },
    remotes: undefined,
    snapshot: { index: 1, term: 1, id: randomUUID(), data: [schema, content] },
  });
}

/** Makes the file of a server that is to join a cluster. Throws OvsdbError. */
export function joinClusterFile(
  path: string,
  name: string,
  localAddress: string,
  remotes: readonly string[],
  clusterId: string | undefined,
): void {
  for (const address of [localAddress, ...remotes]) checkAddress(address);
  if (remotes.includes(localAddress)) throw plainError('remote addresses cannot be the same as the local address');
  const serverId = randomUUID();
  writeHeader(path, { serverId, clusterId, name, localAddress, servers: undefined, remotes, snapshot: undefined });
}

/** The log of a cluster of which this server is the only member. */
export class ClusterLog implements DatabaseLog {
  readonly isAlwaysDurable = true;
  header: ClusterHeader;
  term: number;
  /** Of the last entry. */
  index: number;
  lastId: string;
  private readonly file: LogFile;

  constructor(file: LogFile, header: ClusterHeader, state: { term: number; index: number; lastId: string }) {
    this.file = file;
    this.header = header;
    this.term = state.term;
    this.index = state.index;
    this.lastId = state.lastId;
  }

  get name(): string {
    return this.file.name;
  }

  get hasGrownALot(): boolean {
    return this.file.hasGrownALot;
  }

  /** Elects itself: nobody else has a vote. */
  lead(): void {
    this.term++;
    const { serverId } = this.header;
    this.file.append({ term: this.term, vote: serverId });
    this.file.append({ term: this.term, leader: serverId });
  }

  append(record: Json, id: string): void {
    const index = this.index + 1;
    this.file.append({ term: this.term, index, data: [null, record], eid: id });
    // The majority of one has it.
    this.file.append({ commit_index: index });
    this.index = index;
    this.lastId = id;
  }

  sync(): Promise<void> {
    return this.file.sync();
  }

  replaceAll(schema: Json, content: Json): void {
    const snapshot = { index: this.index, term: this.term, id: this.lastId, data: [schema, content] };
    const header = { ...this.header, snapshot };
    const { serverId } = header;
    this.file.replace([
      headerToJson(header),
      { term: this.term, vote: serverId },
      { term: this.term, leader: serverId },
    ]);
    this.header = header;
  }

  /** What `cluster/status` tells. */
  status(): string {
    const { name, clusterId = '', serverId, localAddress, snapshot } = this.header;
    const nick = serverId.slice(0, 4);
    return `${nick}
Name: ${name}
Cluster ID: ${clusterId.slice(0, 4)} (${clusterId})
Server ID: ${nick} (${serverId})
Address: ${localAddress}
Status: cluster member
Role: leader
Term: ${this.term}
Leader: self
Vote: self

Election timer: 1000
Log: [${(snapshot?.index ?? 0) + 1}, ${this.index + 1}]
Entries not yet committed: 0
Entries not yet applied: 0
Connections:
Disconnections: 0
Servers:
    ${nick} (${nick} at ${localAddress}) (self)
`;
  }

  close(): void {
    this.file.close();
  }
}

export interface OpenCluster {
  readonly db: Database;
  readonly log: ClusterLog;
  readonly history: TxnHistory;
}

/** Opens the file of a cluster's only member. A damaged end is reported to `warn` and left out. Throws OvsdbError. */
export function openClusterFile(path: string, warn: (text: string) => void, name = path): OpenCluster {
  const file = LogFile.open(path, { magic: 'CLUSTER', name });
  try {
    const [first, ...records] = [...file.records((error) => warn(error.toString()))];
    if (!first) throw plainError(`${name}: unexpected end of file`);
    return replay(
      file,
      headerFromJson(first.json),
      records.map(({ json }) => json),
    );
  } catch (error) {
    file.close();
    throw error;
  }
}

function replay(file: LogFile, header: ClusterHeader, records: readonly JsonObject[]): OpenCluster {
  checkAlone(file.name, header.servers);
  const { snapshot } = header;
  if (!snapshot) throw plainError(`${file.name}: the cluster's log has no snapshot`);
  let db = databaseOf(snapshot.data);
  const history = new TxnHistory(snapshot.id);
  const state = { term: snapshot.term, index: snapshot.index, lastId: snapshot.id };
  for (const record of records) {
    if (typeof record.term === 'number') state.term = Math.max(state.term, record.term);
    if (typeof record.index !== 'number') continue;
    state.index = record.index;
    if (isObject(record.servers)) checkAlone(file.name, record.servers as { [id: string]: string });
    if (!isArray(record.data) || typeof record.eid !== 'string') continue;
    const [schema, content] = record.data as readonly [Json, Json];
    state.lastId = record.eid;
    if (schema !== null) {
      db = databaseOf(record.data);
      continue;
    }
    const changes: TxnRow[] = [];
    applyRecord(db, content as JsonObject, false, (done) => changes.push(...done));
    history.add(record.eid, changes, db.nAtoms);
  }
  return { db, log: new ClusterLog(file, header, state), history };
}

function checkAlone(name: string, servers: ClusterHeader['servers']): void {
  if (servers && Object.keys(servers).length === 1) return;
  throw plainError(`${name}: clusters of more than one server are not supported`);
}

function databaseOf([schema, content]: readonly Json[]): Database {
  const db = new Database(schemaFromJson(schema!));
  if (isObject(content)) applyRecord(db, content);
  return db;
}
