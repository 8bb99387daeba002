import { absFileName, ovsDbdir, ovsPkgdatadir } from '../../base/dirs.ts';
import type { OptionSpec } from '../../base/getopt.ts';
import { parseOptions } from '../../base/getopt.ts';
import { OVS_VERSION, programName, setProgramName, versionText } from '../../base/program.ts';
import { vlogModule } from '../../base/vlog.ts';
import { parseUuid, ZERO_UUID } from '../../ovsdb/atom.ts';
import type { ClusterHeader } from '../../ovsdb/cluster-file.ts';
import { createClusterFile, joinClusterFile, openClusterFile, readClusterHeader } from '../../ovsdb/cluster-file.ts';
import { OvsdbError } from '../../ovsdb/error.ts';
import { Execution } from '../../ovsdb/execute.ts';
import { createDatabaseFile, databaseToFile, transactionToFile } from '../../ovsdb/file.ts';
import type { Json } from '../../ovsdb/json.ts';
import { JsonParser, JsonSyntaxError, jsonEquals, sortedText } from '../../ovsdb/json.ts';
import { magicOf } from '../../ovsdb/log.ts';
import { isId } from '../../ovsdb/parser.ts';
import type { Schema } from '../../ovsdb/schema.ts';
import { persistentSchemaJson, schemaToJson } from '../../ovsdb/schema.ts';
import { optionsText, takeVlogOption, vlogUsage } from '../client-options.ts';
import type { OpenDatabase } from './database-file.ts';
import { readDatabase, recordsOf, rewriteDatabase, schemaOf } from './database-file.ts';
import { readSchema } from './schema-file.ts';
import { LogShower } from './show-log.ts';

/** `turnout ovsdb-tool`: the arguments of ovsdb-tool(1). Of clusters, those of one server are supported. */

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
  /** `--cid`. */
  readonly cid: string | undefined;
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

const hasMagic =
  (magic: string) =>
  ({ args: [db] }: Call): number =>
    magicOf(db!) === magic ? 0 : 2;

/** What the header of a clustered database says. */
function headerOf(path: string): ClusterHeader {
  if (magicOf(path) === 'JSON') throw new Error(`${path}: not a clustered database`);
  return readClusterHeader(path);
}

function clusterId({ args: [db] }: Call): number | undefined {
  const id = headerOf(db!).clusterId;
  if (id !== undefined) return say(id);
  process.stderr.write(`${db}: cluster ID not yet known\n`);
  return 2;
}

/** The contents may be a schema or a standalone database. */
async function createCluster({ args: [db, source, address] }: Call): Promise<undefined> {
  const { schema, content } = contentsOf(source!);
  const unlock = (await databaseLock())(inCwd(db!), db!);
  createClusterFile(db!, schema.name, address!, withoutEphemeral(schema, source!), content);
  unlock();
}

function contentsOf(source: string): { readonly schema: Schema; readonly content: Json } {
  try {
    return { schema: readSchema(source), content: {} };
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
  }
  const { db, log } = readDatabase(source, { readOnly: true });
  log.close();
  return { schema: db.schema, content: databaseToFile(db, `created from ${source}`) };
}

/** Clusters have no columns that are not written to the file. */
function withoutEphemeral(schema: Schema, source: string): Json {
  const json = persistentSchemaJson(schema);
  const changed = [...schema.tables.values()].flatMap((table) =>
    table.columns.slice(2).flatMap((column) => (column.persistent ? [] : [{ table, column }])),
  );
  const [first] = changed;
  if (first) {
    vlogModule('ovsdb').warn(
      `${source}: changed ${changed.length} columns in '${schema.name}' database from ephemeral to persistent, including ` +
        `'${first.column.name}' column in '${first.table.name}' table, because clusters do not support ephemeral columns`,
    );
  }
  return json;
}

async function joinCluster({ args: [db, name, address, ...remotes], cid }: Call): Promise<undefined> {
  if (!isId(name!)) {
    throw new Error(`${name}: not a valid schema name (use "schema-name" command to find the correct name)`);
  }
  const unlock = (await databaseLock())(inCwd(db!), db!);
  joinClusterFile(db!, name!, address!, remotes, cid);
  unlock();
}

/** What a clustered database holds becomes a standalone one. */
async function clusterToStandalone({ args: [db, source] }: Call): Promise<undefined> {
  const cluster = openClusterFile(source!, (text) => vlogModule('ovsdb').warn(text));
  cluster.log.close();
  const unlock = (await databaseLock())(inCwd(db!), db!);
  createDatabaseFile(db!, cluster.db.schema);
  const { log } = readDatabase(db!, { readOnly: false });
  log.append(databaseToFile(cluster.db, 'converted by ovsdb-tool'));
  log.close();
  unlock();
}

function noClusters(): never {
  throw new Error('clusters of more than one server are not supported');
}

function nameOf(path: string): string {
  return magicOf(path) === 'CLUSTER' ? readClusterHeader(path).name : schemaOf(path).name;
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
  { name: 'create-cluster', args: 'db contents local', min: 3, max: 3, run: createCluster },
  { name: 'join-cluster', args: 'db name local remote...', min: 4, max: MANY, run: joinCluster },
  { name: 'compact', args: '[db [dst]]', min: 0, max: 2, run: compact },
  { name: 'convert', args: '[db [schema [dst]]]', min: 0, max: 3, run: convert },
  { name: 'needs-conversion', args: '', min: 0, max: 2, run: needsConversion },
  { name: 'db-name', args: '[db]', min: 0, max: 1, run: ({ args: [db = defaultDb()] }) => say(nameOf(db)) },
  {
    name: 'db-version',
    args: '[db]',
    min: 0,
    max: 1,
    run: ({ args: [db = defaultDb()] }) => say(schemaOf(db).version),
  },
  { name: 'db-cksum', args: '[db]', min: 0, max: 1, run: ({ args: [db = defaultDb()] }) => say(schemaOf(db).cksum) },
  { name: 'db-cid', args: 'db', min: 1, max: 1, run: clusterId },
  { name: 'db-sid', args: 'db', min: 1, max: 1, run: ({ args: [db] }) => say(headerOf(db!).serverId) },
  { name: 'db-local-address', args: 'db', min: 1, max: 1, run: ({ args: [db] }) => say(headerOf(db!).localAddress) },
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
  { name: 'cluster-to-standalone', args: 'db clusterdb', min: 2, max: 2, run: clusterToStandalone },
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
  create-cluster DB CONTENTS LOCAL
    create clustered DB with given CONTENTS and LOCAL address
  [--cid=UUID] join-cluster DB NAME LOCAL REMOTE...
    join clustered DB with given NAME and LOCAL and REMOTE addrs
  compact [DB [DST]]      compact DB in-place (or to DST)
  convert [DB [SCHEMA [DST]]]   convert DB to SCHEMA (to DST)
  db-name [DB]            report name of schema used by DB
  db-version [DB]         report version of schema used by DB
  db-cksum [DB]           report checksum of schema used by DB
  db-cid DB               report cluster ID of clustered DB
  db-sid DB               report server ID of clustered DB
  db-local-address DB     report local address of clustered DB
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
  const cidText = options.findLast((option) => option.name === 'cid')?.value;
  const cid = cidText === undefined ? undefined : parseUuid(cidText);
  if (cidText !== undefined && (cid === undefined || cid === ZERO_UUID))
    throw new Error(`${cidText}: not a valid UUID`);
  return (await command.run({ args: words, verbosity, cid })) ?? 0;
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
