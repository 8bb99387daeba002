import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseLog } from './database-log.ts';
import { ioError, OvsdbError, plainError, syntaxError } from './error.ts';
import type { Json, JsonObject } from './json.ts';
import { isObject, JsonSyntaxError, toText } from './json.ts';
import { parseJsonBytes } from './json-stream.ts';

/** The file calls that can fail in service; tests put failures in here. */
export interface LogIo {
  writeSync(fd: number, data: Buffer, offset: number, length: number, position: number): number;
  ftruncateSync(fd: number, length: number): void;
  fdatasync(fd: number, done: (error: Error | null) => void): void;
}

/** What kind of file it is: a database of its own, or a member of a cluster's log. */
export type LogMagic = 'JSON' | 'CLUSTER';
const HEADER = /^OVSDB (\S+) (\d+) ([0-9a-fA-F]{40})\n/;
const HEADER_MAX = 128;

export interface LogOptions {
  readonly create?: boolean;
  /** For reading only. */
  readonly readOnly?: boolean;
  /** Default `JSON`. */
  readonly magic?: LogMagic;
  /** What the file is called in messages; default its path. */
  readonly name?: string;
  readonly io?: LogIo;
}

/** A record of the log and where it stands. */
export interface LogRecord {
  readonly json: JsonObject;
  readonly offset: number;
}

/** The bytes of one record (ovsdb(5), "Database File Format"): a header line with the length and the SHA-1 of the JSON line that follows. */
export function composeRecord(json: Json, magic: LogMagic = 'JSON'): Buffer {
  const data = Buffer.from(`${toText(json)}\n`);
  const header = `OVSDB ${magic} ${data.length} ${createHash('sha1').update(data).digest('hex')}\n`;
  return Buffer.concat([Buffer.from(header), data]);
}

/** An append-only file of JSON records in OVSDB's standalone format. The owner is the only writer.
 *
 *  What has been written before `end` is whole; whatever follows (a torn record after a crash) is cut off before the next append. */
export class LogFile implements DatabaseLog {
  readonly path: string;
  /** What the file is called in messages. */
  readonly name: string;
  /** Where the next record goes. */
  end = 0;
  readonly isAlwaysDurable = false;
  /** Size just after the last `replace`, or where the first data began. */
  baseSize = 0;
  /** Records read and appended since the last `replace`. */
  nRecords = 0;
  private fd: number;
  private readonly io: LogIo;
  private readonly magic: LogMagic;
  private isTailClean = false;
  private syncing: Promise<void> | null = null;
  private nextSync: Promise<void> | null = null;

  private constructor(path: string, name: string, fd: number, io: LogIo, magic: LogMagic) {
    this.magic = magic;
    this.path = path;
    this.name = name;
    this.fd = fd;
    this.io = io;
  }

  /** Opens an existing file, or with `create` makes a new one that must not exist. Throws OvsdbError. */
  static open(path: string, options: LogOptions = {}): LogFile {
    const { create = false, readOnly = false, name = path, io = fs as LogIo, magic = 'JSON' } = options;
    try {
      const access = readOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR;
      // A link that leads nowhere yet is filled; O_EXCL would refuse it.
      const exclusive = create && !isDanglingLink(path) ? fs.constants.O_EXCL : 0;
      const flags = access | (create ? fs.constants.O_CREAT | exclusive : 0);
      return new LogFile(path, name, fs.openSync(path, flags, 0o640), io, magic);
    } catch (error) {
      throw ioError(error, `${name}: ${create ? 'create' : 'open'} failed`);
    }
  }

  /** Reads the whole records. `onDamage` gets what is wrong with the first one that is not; reading ends there.
   *  Throws OvsdbError when it is no standalone database at all. */
  *records(onDamage: (error: OvsdbError) => void): IterableIterator<LogRecord> {
    const bytes = this.readAll();
    if (bytes.length > 0) checkMagic(this.name, bytes, this.magic);
    let offset = 0;
    while (offset < bytes.length) {
      const record = readRecord(this.name, bytes, offset, this.magic);
      if (record instanceof OvsdbError) {
        onDamage(record);
        return;
      }
      yield { json: record.json, offset };
      offset = record.end;
      this.end = offset;
      this.nRecords++;
      if (this.nRecords <= 2) this.baseSize = offset;
    }
  }

  /** Makes the next append overwrite everything from `offset` on. */
  rewind(offset: number): void {
    this.end = offset;
    this.isTailClean = false;
  }

  private readAll(): Buffer {
    try {
      return fs.readFileSync(this.path);
    } catch (error) {
      throw ioError(error, `${this.name}: read failed`);
    }
  }

  /** Writes a record; it has reached the kernel when this returns. Throws OvsdbError (and the file is as before) when the disk refuses. */
  append(json: Json): void {
    const record = composeRecord(json, this.magic);
    try {
      if (!this.isTailClean) this.cutTail();
      writeFully(this.io, this.fd, record, this.end);
    } catch (error) {
      this.isTailClean = false;
      this.tryCutTail();
      throw ioError(error, `${this.name}: write failed`);
    }
    this.end += record.length;
    this.nRecords++;
  }

  private cutTail(): void {
    this.io.ftruncateSync(this.fd, this.end);
    this.isTailClean = true;
  }

  private tryCutTail(): void {
    try {
      this.cutTail();
    } catch {
      // The next append tries again, and refuses while it fails.
    }
  }

  /** Resolves when all that was appended so far is on the disk. Rejects with an OvsdbError. */
  sync(): Promise<void> {
    if (!this.syncing) {
      this.syncing = this.syncOnce();
      return this.syncing;
    }
    // One that has begun may have missed our bytes: wait for the next one, which all who come meanwhile share.
    this.nextSync ??= this.syncing
      .catch(() => {})
      .then(() => {
        this.nextSync = null;
        return this.sync();
      });
    return this.nextSync;
  }

  private async syncOnce(): Promise<void> {
    const fd = this.fd;
    try {
      await new Promise<void>((resolve, reject) => {
        this.io.fdatasync(fd, (error) => (error ? reject(error) : resolve()));
      });
    } catch (error) {
      // A file that `replace` has put aside was synced by it.
      if (fd === this.fd) throw ioError(error, `${this.name}: fsync failed`);
    } finally {
      this.syncing = null;
    }
  }

  replaceAll(schema: Json, content: Json): void {
    this.replace([schema, content]);
  }

  /** Replaces the whole content by `entries`, atomically: a crash leaves the old file or the new one. Throws OvsdbError. */
  replace(entries: Iterable<Json>): void {
    const target = fs.realpathSync(this.path);
    const temporary = `${target}.tmp`;
    fs.rmSync(temporary, { force: true });
    let fd = -1;
    try {
      fd = fs.openSync(temporary, 'wx+', 0o640);
      fs.fchmodSync(fd, fs.fstatSync(this.fd).mode & 0o777);
      const size = this.writeAll(fd, entries);
      fs.fdatasyncSync(fd);
      fs.renameSync(temporary, target);
      fs.closeSync(this.fd);
      this.fd = fd;
      this.end = this.baseSize = size;
      this.nRecords = 0;
      this.isTailClean = true;
    } catch (error) {
      if (fd >= 0) fs.closeSync(fd);
      fs.rmSync(temporary, { force: true });
      throw ioError(error, `${this.name}: compaction failed`);
    }
    syncDirectory(dirname(target));
  }

  private writeAll(fd: number, entries: Iterable<Json>): number {
    let size = 0;
    for (const entry of entries) {
      const record = composeRecord(entry, this.magic);
      writeFully(this.io, fd, record, size);
      size += record.length;
    }
    return size;
  }

  /** Worth compacting: large, and at least twice what compaction would leave (as Open vSwitch decides). */
  get hasGrownALot(): boolean {
    return this.nRecords >= 100 && this.end > 10 << 20 && this.end / 2 > this.baseSize;
  }

  close(): void {
    if (this.fd >= 0) fs.closeSync(this.fd);
    this.fd = -1;
  }
}

function isDanglingLink(path: string): boolean {
  return !fs.existsSync(path) && fs.lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

function writeFully(io: LogIo, fd: number, data: Buffer, position: number): void {
  for (let done = 0; done < data.length; ) {
    done += io.writeSync(fd, data, done, data.length - done, position + done);
  }
}

/** So that the new name survives a power cut. A file system that cannot do it is no reason to fail. */
function syncDirectory(path: string): void {
  try {
    const fd = fs.openSync(path, 'r');
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  } catch {
    // See above.
  }
}

function checkMagic(name: string, bytes: Buffer, magic: LogMagic): void {
  const match = HEADER.exec(bytes.toString('latin1', 0, HEADER_MAX));
  if (!match) throw plainError(`${name}: unexpected file format`);
  if (match[1] === magic) return;
  if (match[1] === 'CLUSTER') throw plainError(`${name}: cannot apply this operation to clustered database file`);
  if (match[1] === 'JSON') throw plainError(`${name}: not a clustered database`);
  throw plainError(`${name}: cannot identify file type`);
}

/** What kind of file `path` is; undefined for none of ours. Throws OvsdbError when it cannot be read. */
export function magicOf(path: string, name = path): LogMagic | undefined {
  let fd: number;
  try {
    fd = fs.openSync(path, 'r');
  } catch (error) {
    throw ioError(error, `${name}: open failed`);
  }
  const head = Buffer.alloc(HEADER_MAX);
  const length = fs.readSync(fd, head, 0, HEADER_MAX, 0);
  fs.closeSync(fd);
  const magic = HEADER.exec(head.toString('latin1', 0, length))?.[1];
  return magic === 'JSON' || magic === 'CLUSTER' ? magic : undefined;
}

function readRecord(
  name: string,
  bytes: Buffer,
  offset: number,
  magic: LogMagic,
): { json: JsonObject; end: number } | OvsdbError {
  const line = bytes.toString('latin1', offset, offset + HEADER_MAX);
  const match = HEADER.exec(line);
  if (!match || match[1] !== magic || match[2] === '0') {
    const shown = line.split('\n')[0];
    return syntaxError(undefined, `${name}: parse error at offset ${offset} in header line "${shown}"`);
  }
  const start = offset + match[0].length;
  const size = Number(match[2]);
  const end = start + size;
  if (end > bytes.length) {
    return new OvsdbError('I/O error', `${name}: error reading ${size} bytes starting at offset ${start}`, {
      ioError: 'End of file',
    });
  }
  return parseBody(name, bytes.subarray(start, end), start, match[3]!.toLowerCase());
}

function parseBody(name: string, body: Buffer, start: number, expected: string) {
  const where = `${name}: ${body.length} bytes starting at offset ${start}`;
  const actual = createHash('sha1').update(body).digest('hex');
  if (actual !== expected) {
    return syntaxError(undefined, `${where} have SHA-1 hash ${actual} but should have hash ${expected}`);
  }
  try {
    const json = parseJsonBytes(body);
    if (isObject(json)) return { json, end: start + body.length };
    return syntaxError(undefined, `${where} are not a JSON object`);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    return syntaxError(undefined, `${where} are not valid JSON (${error.message})`);
  }
}
