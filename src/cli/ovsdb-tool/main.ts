import { closeSync, openSync, readSync } from 'node:fs';
import { absFileName, ovsDbdir, ovsPkgdatadir } from '../../base/dirs.ts';
import type { OptionSpec } from '../../base/getopt.ts';
import { parseOptions } from '../../base/getopt.ts';
import { OVS_VERSION, programName, setProgramName, versionText } from '../../base/program.ts';
import { OvsdbError, plainError } from '../../ovsdb/error.ts';
import { Execution } from '../../ovsdb/execute.ts';
import { createDatabaseFile, transactionToFile } from '../../ovsdb/file.ts';
import type { Json } from '../../ovsdb/json.ts';
import { JsonParser, JsonSyntaxError, jsonEquals, sortedText } from '../../ovsdb/json.ts';
import { schemaToJson } from '../../ovsdb/schema.ts';
import { optionsText, takeVlogOption, vlogUsage } from '../client-options.ts';
import type { OpenDatabase } from './database-file.ts';
import { readDatabase, recordsOf, rewriteDatabase, schemaOf } from './database-file.ts';
import { readSchema } from './schema-file.ts';
import { LogShower } from './show-log.ts';

/** `turnout ovsdb-tool`: the arguments of ovsdb-tool(1). Databases of a cluster are not supported. */

const OPTIONS: OptionSpec = {
  long: {
    more: 'none',
    'rbac-role': 'required',
    cid: 'required',
    'election-timer': 'required',
    verbose: 'optional',
    help: 'none',
    option: 'none',
    version: 'none',
  },
  short: { m: 'more', v: 'verbose', h: 'help', o: 'option', V: 'version' },
};

const MANY = 0x7fffffff;

const defaultDb = (): string => `${ovsDbdir()}/conf.db`;
const defaultSchema = (): string => `${ovsPkgdatadir()}/vswitch.ovsschema`;
const inCwd = (path: string): string => absFileName(process.cwd(), path);

interface Call {
  readonly args: readonly string[];
  /** How often `--more` was given. */
  readonly verbosity: number;
}

interface Command {
  readonly name: string;
  readonly args: string;
  readonly min: number;
  readonly max: number;
  /** Prints and returns the exit code (nothing: 0). Throws OvsdbError or Error. */
  run(call: Call): Promise<number | undefined> | number | undefined;
}

function say(line: string): undefined {
  process.stdout.write(`${line}\n`);
}

/** Loaded where it is needed: it takes the door to the system. */
async function databaseLock() {
  return (await import('../ovsdb-lock.ts')).lockDatabase;
}

async function create({ args: [db = defaultDb(), schemaFile = defaultSchema()] }: Call): Promise<undefined> {
  const schema = readSchema(schemaFile);
  const unlock = (await databaseLock())(inCwd(db), db);
  createDatabaseFile(db, schema);
  unlock();
}

async function compact({ args: [db = defaultDb(), target] }: Call): Promise<undefined> {
  rewriteDatabase(db, target, `compacted by ovsdb-tool ${OVS_VERSION}`, await databaseLock());
}

async function convert({ args: [db = defaultDb(), schemaFile = defaultSchema(), target] }: Call): Promise<undefined> {
  const schema = readSchema(schemaFile);
  rewriteDatabase(db, target, `converted by ovsdb-tool ${OVS_VERSION}`, await databaseLock(), schema);
}

function needsConversion({ args: [db = defaultDb(), schemaFile = defaultSchema()] }: Call): undefined {
  const [old, now] = [schemaOf(db), readSchema(schemaFile)];
  say(jsonEquals(schemaToJson(old), schemaToJson(now)) ? 'no' : 'yes');
}

function parseText(text: string): Json {
  try {
    return new JsonParser(text).parse();
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new Error(`"${text}": ${error.message}`);
  }
}

async function transact({ args }: Call, readOnly: boolean): Promise<undefined> {
  const path = args.length > 1 ? args[0]! : defaultDb();
  const unlock = readOnly ? () => {} : (await databaseLock())(inCwd(path), path);
  const database = readDatabase(path, { readOnly });
  try {
    say(sortedText(await execute(database, parseText(args.at(-1)!))));
  } finally {
    database.log.close();
    unlock();
  }
}

/** The results of a "transact" request, which has then reached the disk. */
async function execute({ db, log }: OpenDatabase, params: Json): Promise<Json> {
  const context = { readOnly: false, elapsedMs: 0, canWait: false, ownsLock: () => false };
  const outcome = new Execution(db, context).run(params);
  if (outcome.kind !== 'done') return outcome.kind === 'failed' ? outcome.results : [];
  const { txn, results } = outcome;
  try {
    txn.prepare();
    const record = transactionToFile(txn);
    if (record) log.append(record);
    if (record && outcome.durable) await log.sync();
    txn.complete();
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
    results.push(error.toJson());
  }
  return results;
}

function showLog({ args: [db = defaultDb()], verbosity }: Call): undefined {
  const shower = new LogShower(verbosity);
  for (const [number, record] of recordsOf(db).entries()) process.stdout.write(shower.record(record, number));
}

/** The word that says what kind of file it is. Throws OvsdbError. */
function magicOf(path: string): string {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw new OvsdbError('I/O error', `${path}: open failed`, { ioError: errorText(error) });
  }
  const head = Buffer.alloc(32);
  readSync(fd, head, 0, head.length, 0);
  closeSync(fd);
  const magic = /^OVSDB (\S+) /.exec(head.toString('latin1'))?.[1];
  if (magic === undefined) throw plainError(`${path}: unexpected file format`);
  return magic;
}

function errorText(error: unknown): string {
  const { code, message } = error as { code?: string; message: string };
  return code === 'ENOENT' ? 'No such file or directory' : message;
}

const hasMagic =
  (magic: string) =>
  ({ args: [db] }: Call): number =>
    magicOf(db!) === magic ? 0 : 2;

/** What only databases of a cluster have. */
function clusterOnly({ args: [db] }: Call): never {
  if (magicOf(db!) === 'JSON') throw new Error(`${db}: not a clustered database`);
  throw plainError(`${db}: clustered databases are not supported`);
}

function noClusters(): never {
  throw new Error('clustered databases are not supported');
}

const RELATIONS: Readonly<Record<string, (order: number) => boolean>> = {
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '==': (order) => order === 0,
  '>=': (order) => order >= 0,
  '>': (order) => order > 0,
  '!=': (order) => order !== 0,
};

function parseVersion(text: string): number[] {
  if (!/^\d+\.\d+\.\d+$/.test(text)) throw new Error(`${text}: not an OVSDB version number in format x.y.z`);
  return text.split('.').map(Number);
}

function compareVersions({ args }: Call): number {
  const [first, relation, second] = args as [string, string, string];
  const [a, b] = [parseVersion(first), parseVersion(second)];
  const order = a.map((part, i) => part - b[i]!).find((difference) => difference !== 0) ?? 0;
  const holds = Object.hasOwn(RELATIONS, relation) ? RELATIONS[relation]! : undefined;
  if (!holds) throw new Error(`${relation}: not a relational operator`);
  return holds(order) ? 0 : 2;
}

const COMMANDS: readonly Command[] = [
  { name: 'create', args: '[db [schema]]', min: 0, max: 2, run: create },
  { name: 'create-cluster', args: 'db contents local', min: 3, max: 3, run: noClusters },
  { name: 'join-cluster', args: 'db name local remote...', min: 4, max: MANY, run: noClusters },
  { name: 'compact', args: '[db [dst]]', min: 0, max: 2, run: compact },
  { name: 'convert', args: '[db [schema [dst]]]', min: 0, max: 3, run: convert },
  { name: 'needs-conversion', args: '', min: 0, max: 2, run: needsConversion },
  { name: 'db-name', args: '[db]', min: 0, max: 1, run: ({ args: [db = defaultDb()] }) => say(schemaOf(db).name) },
  {
    name: 'db-version',
    args: '[db]',
    min: 0,
    max: 1,
    run: ({ args: [db = defaultDb()] }) => say(schemaOf(db).version),
  },
  { name: 'db-cksum', args: '[db]', min: 0, max: 1, run: ({ args: [db = defaultDb()] }) => say(schemaOf(db).cksum) },
  { name: 'db-cid', args: 'db', min: 1, max: 1, run: clusterOnly },
  { name: 'db-sid', args: 'db', min: 1, max: 1, run: clusterOnly },
  { name: 'db-local-address', args: 'db', min: 1, max: 1, run: clusterOnly },
  { name: 'db-is-clustered', args: 'db', min: 1, max: 1, run: hasMagic('CLUSTER') },
  { name: 'db-is-standalone', args: 'db', min: 1, max: 1, run: hasMagic('JSON') },
  {
    name: 'schema-name',
    args: '[schema]',
    min: 0,
    max: 1,
    run: ({ args: [path = defaultSchema()] }) => say(readSchema(path).name),
  },
  {
    name: 'schema-version',
    args: '[schema]',
    min: 0,
    max: 1,
    run: ({ args: [path = defaultSchema()] }) => say(readSchema(path).version),
  },
  {
    name: 'schema-cksum',
    args: '[schema]',
    min: 0,
    max: 1,
    run: ({ args: [path = defaultSchema()] }) => say(readSchema(path).cksum),
  },
  { name: 'query', args: '[db] trns', min: 1, max: 2, run: (call) => transact(call, true) },
  { name: 'transact', args: '[db] trns', min: 1, max: 2, run: (call) => transact(call, false) },
  { name: 'show-log', args: '[db]', min: 0, max: 1, run: showLog },
  { name: 'check-cluster', args: 'db...', min: 1, max: MANY, run: noClusters },
  { name: 'compare-versions', args: 'a op b', min: 3, max: 3, run: compareVersions },
  { name: 'help', args: '', min: 0, max: MANY, run: () => void process.stdout.write(usage()) },
  { name: 'list-commands', args: '', min: 0, max: MANY, run: () => void process.stdout.write(commandsText()) },
  { name: 'cluster-to-standalone', args: 'db clusterdb', min: 2, max: 2, run: noClusters },
];

function commandsText(): string {
  const lines = COMMANDS.map(({ name, args }) => `  ${name.padEnd(23)} ${args}\n`);
  return `The available commands are:\n${lines.join('')}`;
}

function usage(): string {
  const name = programName();
  return `${name}: Open vSwitch database management utility
usage: ${name} [OPTIONS] COMMAND [ARG...]
  create [DB [SCHEMA]]    create DB with the given SCHEMA
  compact [DB [DST]]      compact DB in-place (or to DST)
  convert [DB [SCHEMA [DST]]]   convert DB to SCHEMA (to DST)
  db-name [DB]            report name of schema used by DB
  db-version [DB]         report version of schema used by DB
  db-cksum [DB]           report checksum of schema used by DB
  db-is-clustered DB      test whether DB is clustered
  db-is-standalone DB     test whether DB is standalone
  schema-name [SCHEMA]    report SCHEMA's name
  schema-version [SCHEMA] report SCHEMA's schema version
  schema-cksum [SCHEMA]   report SCHEMA's checksum
  compare-versions A OP B  compare OVSDB schema version numbers
  query [DB] TRNS         execute read-only transaction on DB
  transact [DB] TRNS      execute read/write transaction on DB
  [-m]... show-log [DB]   print DB's log entries
The default DB is ${defaultDb()}.
The default SCHEMA is ${defaultSchema()}.
${vlogUsage()}
Other options:
  -m, --more                  increase show-log verbosity
  --rbac-role=ROLE            RBAC role for transact and query commands
  -h, --help                  display this help message
  -V, --version               display version information
`;
}

async function run(argv: readonly string[]): Promise<number> {
  const { options, args } = parseOptions(argv, OPTIONS);
  for (const option of options) {
    if (option.name === 'help') return print(usage());
    if (option.name === 'option') return print(optionsText(OPTIONS));
    if (option.name === 'version') return print(versionText());
    takeVlogOption(option);
  }
  const [name, ...words] = args;
  if (name === undefined) throw new Error('missing command name; use --help for help');
  const command = COMMANDS.find((one) => one.name === name);
  if (!command) throw new Error(`unknown command '${name}'; use --help for help`);
  if (words.length < command.min) throw new Error(`'${name}' command requires at least ${command.min} arguments`);
  if (words.length > command.max) throw new Error(`'${name}' command takes at most ${command.max} arguments`);
  const verbosity = options.filter((option) => option.name === 'more').length;
  return (await command.run({ args: words, verbosity })) ?? 0;
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

export async function main(argv: readonly string[]): Promise<number> {
  setProgramName('ovsdb-tool');
  try {
    return await run(argv);
  } catch (error) {
    const text = error instanceof OvsdbError ? error.toString() : (error as Error).message;
    process.stderr.write(`${programName()}: ${text}\n`);
    return 1;
  }
}
