import * as fs from 'node:fs';
import { dirname, resolve } from 'node:path';
import { strerror } from '../../base/errno.ts';
import { Database } from '../../ovsdb/database.ts';
import { OvsdbError, plainError } from '../../ovsdb/error.ts';
import { applyRecord, databaseToFile } from '../../ovsdb/file.ts';
import type { JsonObject } from '../../ovsdb/json.ts';
import { composeRecord, LogFile } from '../../ovsdb/log.ts';
import type { Schema } from '../../ovsdb/schema.ts';
import { schemaFromJson, schemaToJson } from '../../ovsdb/schema.ts';

/** A database that was read from its file. */
export interface OpenDatabase {
  readonly db: Database;
  readonly log: LogFile;
}

/** The records of a standalone database. Throws OvsdbError, also for what is damaged. */
export function readRecords(log: LogFile): JsonObject[] {
  const records = [
    ...log.records((damage) => {
      throw damage;
    }),
  ];
  return records.map(({ json }) => json);
}

/** The records of the file at `path`. Throws OvsdbError. */
export function recordsOf(path: string): JsonObject[] {
  const log = LogFile.open(path, { readOnly: true });
  try {
    return readRecords(log);
  } finally {
    log.close();
  }
}

/** The schema of the database at `path`. Throws OvsdbError. */
export function schemaOf(path: string): Schema {
  const [first] = recordsOf(path);
  if (!first) throw plainError('unexpected end of file reading schema');
  return schemaFromJson(first);
}

/** Reads a database; with `schema` as if it had always had that one. The caller closes the log. Throws OvsdbError. */
export function readDatabase(
  path: string,
  options: { readonly readOnly: boolean; readonly schema?: Schema; readonly name?: string },
): OpenDatabase {
  const log = LogFile.open(path, { readOnly: options.readOnly, name: options.name ?? path });
  try {
    const [first, ...records] = readRecords(log);
    if (!first) throw plainError('unexpected end of file reading schema');
    const db = new Database(options.schema ?? schemaFromJson(first));
    for (const record of records) applyRecord(db, record, options.schema !== undefined);
    return { db, log };
  } catch (error) {
    log.close();
    throw error;
  }
}

function followLinks(path: string): string {
  try {
    return fs.realpathSync(path);
  } catch {
    return resolve(path);
  }
}

/** Locks files as Open vSwitch's tools do; returns how to let go. */
export type Lock = (path: string, name: string) => () => void;

/** Writes the database at `source` anew as one transaction, to `target` or in place; with `schema` converted to it. Throws OvsdbError or
 *  Error, and the source is as it was. */
export function rewriteDatabase(
  source: string,
  target: string | undefined,
  comment: string,
  lock: Lock,
  schema?: Schema,
): void {
  const from = followLinks(source);
  const to = target === undefined ? `${from}.tmp` : followLinks(target);
  const unlocks = target === undefined ? [lockOrFail(lock, from)] : [];
  unlocks.push(lockOrFail(lock, to));
  const { db, log } = readDatabase(from, { readOnly: true, name: source, ...(schema && { schema }) });
  log.close();
  writeDatabase(to, db, comment);
  if (target === undefined) replaceFile(to, from);
  for (const unlock of unlocks) unlock();
}

function lockOrFail(lock: Lock, path: string): () => void {
  try {
    return lock(path, path);
  } catch (error) {
    // Not an error of the database's here.
    if (error instanceof OvsdbError) throw new Error(`${error.details} (${error.ioError})`);
    throw error;
  }
}

function writeDatabase(path: string, db: Database, comment: string): void {
  const records = [composeRecord(schemaToJson(db.schema)), composeRecord(databaseToFile(db, comment, false))];
  try {
    const fd = fs.openSync(path, 'w', 0o660);
    fs.writeSync(fd, Buffer.concat(records));
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  } catch (error) {
    fs.rmSync(path, { force: true });
    throw new Error(`I/O error: ${path}: write failed (${strerror(error)})`);
  }
}

function replaceFile(from: string, to: string): void {
  try {
    fs.renameSync(from, to);
  } catch (error) {
    throw new Error(`failed to rename "${from}" to "${to}" (${strerror(error)})`);
  }
  const folder = fs.openSync(dirname(to), 'r');
  fs.fsyncSync(folder);
  fs.closeSync(folder);
}
