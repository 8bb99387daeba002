import { DAEMON_OPTIONS, Daemon, daemonUsage } from '../../base/daemon.ts';
import { ovsRundir } from '../../base/dirs.ts';
import type { OptionSpec } from '../../base/getopt.ts';
import { parseOptions } from '../../base/getopt.ts';
import { programName, setProgramName, versionText } from '../../base/program.ts';
import { OvsdbError } from '../../ovsdb/error.ts';
import type { TlsConfig } from '../../ovsdb/tls.ts';
import {
  limitTime,
  parseSeconds,
  SSL_OPTIONS,
  SSL_SHORT_OPTIONS,
  streamUsage,
  takeSslOption,
  VLOG_OPTIONS,
  VLOG_SHORT_OPTIONS,
} from '../client-options.ts';
import {
  defaultTableStyle,
  TABLE_OPTIONS,
  TABLE_SHORT_OPTIONS,
  TABLE_USAGE,
  TablePrinter,
  takeTableOption,
} from '../text-table.ts';
import type { ClientCall, ClientSettings, OpenedSession } from './session.ts';
import { ClientError, openSession } from './session.ts';

/** `turnout ovsdb-client`: the arguments of ovsdb-client(1). */

const OPTIONS: OptionSpec = {
  long: {
    help: 'none',
    version: 'none',
    timestamp: 'none',
    force: 'none',
    timeout: 'required',
    'db-change-aware': 'none',
    'no-db-change-aware': 'none',
    'leader-only': 'none',
    'no-leader-only': 'none',
    ...VLOG_OPTIONS,
    ...DAEMON_OPTIONS,
    ...SSL_OPTIONS,
    ...TABLE_OPTIONS,
  },
  short: { h: 'help', V: 'version', t: 'timeout', ...VLOG_SHORT_OPTIONS, ...SSL_SHORT_OPTIONS, ...TABLE_SHORT_OPTIONS },
};

const MANY = 0x7fffffff;

interface Command {
  readonly name: string;
  /** What is taken from the front of the arguments before the command sees them. */
  readonly needs: 'nothing' | 'server' | 'database';
  readonly min: number;
  readonly max: number;
  /** Keeps watching: may go into the background. */
  readonly stays?: boolean;
  load(): Promise<(opened: OpenedSession & ClientCall) => Promise<void>>;
}

const queries = () => import('./queries.ts');
const backups = () => import('./backup.ts');
const monitors = () => import('./monitor.ts');
const locks = () => import('./lock.ts');

const lock = (name: 'lock' | 'steal' | 'unlock'): Command => ({
  name,
  needs: 'server',
  min: 1,
  max: 1,
  stays: true,
  load: async () => (await locks()).lockCommand(name),
});

const COMMANDS: readonly Command[] = [
  { name: 'list-dbs', needs: 'server', min: 0, max: 0, load: async () => (await queries()).listDbs },
  { name: 'get-schema', needs: 'database', min: 0, max: 0, load: async () => (await queries()).getSchema },
  {
    name: 'get-schema-version',
    needs: 'database',
    min: 0,
    max: 0,
    load: async () => (await queries()).getSchemaVersion,
  },
  { name: 'get-schema-cksum', needs: 'database', min: 0, max: 0, load: async () => (await queries()).getSchemaCksum },
  { name: 'list-tables', needs: 'database', min: 0, max: 0, load: async () => (await queries()).listTables },
  { name: 'list-columns', needs: 'database', min: 0, max: 1, load: async () => (await queries()).listColumns },
  { name: 'transact', needs: 'nothing', min: 1, max: 2, load: async () => (await queries()).transact },
  { name: 'query', needs: 'nothing', min: 1, max: 2, load: async () => (await queries()).query },
  { name: 'monitor', needs: 'database', min: 1, max: MANY, stays: true, load: async () => (await monitors()).monitor },
  {
    name: 'monitor-cond',
    needs: 'database',
    min: 2,
    max: 3,
    stays: true,
    load: async () => (await monitors()).monitorCond,
  },
  {
    name: 'monitor-cond-since',
    needs: 'database',
    min: 2,
    max: 4,
    stays: true,
    load: async () => (await monitors()).monitorCondSince,
  },
  { name: 'wait', needs: 'nothing', min: 2, max: 3, load: async () => (await locks()).wait },
  { name: 'convert', needs: 'nothing', min: 1, max: 2, load: async () => (await backups()).convert },
  { name: 'needs-conversion', needs: 'nothing', min: 1, max: 2, load: async () => (await backups()).needsConversion },
  { name: 'dump', needs: 'database', min: 0, max: MANY, load: async () => (await queries()).dump },
  { name: 'backup', needs: 'database', min: 0, max: 0, load: async () => (await backups()).backup },
  { name: 'restore', needs: 'database', min: 0, max: 0, load: async () => (await backups()).restore },
  lock('lock'),
  lock('steal'),
  lock('unlock'),
  { name: 'help', needs: 'nothing', min: 0, max: MANY, load: async () => async () => void print(usage()) },
];

/** Loaded when a pidfile is asked for: it takes the door to the system. */
async function makeDaemon(argv: readonly string[]): Promise<Daemon> {
  if (!argv.some((word) => /^--(pid|det|mon|over)/.test(word))) {
    return new Daemon({ lockFile: () => true, lockHolder: () => 0 });
  }
  const { lockFile, lockHolder } = await import('../../sys/file-lock.ts');
  return new Daemon({ lockFile, lockHolder });
}

interface Parsed {
  readonly settings: ClientSettings;
  readonly words: readonly string[];
}

/** A string is to be printed instead of doing anything. */
async function parseArguments(argv: readonly string[]): Promise<Parsed | string> {
  const { options, args } = parseOptions(argv, OPTIONS);
  const daemon = await makeDaemon(argv);
  const style = defaultTableStyle();
  style.format = 'table';
  let tls: TlsConfig = {};
  let seconds: number | undefined;
  let dbChangeAware: boolean | undefined;
  for (const option of options) {
    const { name, value } = option;
    if (name === 'help') return usage();
    if (name === 'version') return versionText();
    if (name === 'timeout') {
      seconds = parseSeconds(value!);
      if (!seconds) throw new ClientError(`value ${value} on -t or --timeout is invalid`);
    } else if (name.endsWith('db-change-aware')) dbChangeAware = !name.startsWith('no-');
    else if (!daemon.takeOption(option) && !takeTableOption(style, option)) tls = takeSslOption(tls, option) ?? tls;
  }
  limitTime(seconds);
  const has = (name: string) => options.some((option) => option.name === name);
  const settings: ClientSettings = {
    tls,
    tables: new TablePrinter(style),
    daemon,
    timestamp: has('timestamp'),
    force: has('force'),
    leaderOnly: options.findLast(({ name }) => name.endsWith('leader-only'))?.name !== 'no-leader-only',
    dbChangeAware,
  };
  return { settings, words: args };
}

async function run(argv: readonly string[]): Promise<number> {
  const parsed = await parseArguments(argv);
  if (typeof parsed === 'string') return print(parsed);
  const { settings, words } = parsed;
  const [name, ...rest] = words;
  if (name === undefined) throw new ClientError('missing command name; use --help for help');
  const command = COMMANDS.find((one) => one.name === name);
  if (!command) throw new ClientError(`unknown command '${name}'; use --help for help`);
  if (command.stays) {
    await settings.daemon.detach();
    settings.daemon.start();
    settings.daemon.onTerminate(() => {});
  }
  const opened = await open(command, rest, settings);
  const args = opened?.args ?? rest;
  if (args.length < command.min || args.length > command.max) {
    throw new ClientError(`invalid syntax for '${name}' (use --help for help)`);
  }
  const handler = await command.load();
  await handler({ ...opened, args, settings } as OpenedSession & ClientCall);
  opened?.session.close();
  return 0;
}

async function open(command: Command, words: readonly string[], settings: ClientSettings) {
  if (command.needs === 'nothing') return undefined;
  return openSession(words, settings, { minArgs: command.min, needsDatabase: command.needs === 'database' });
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

export async function main(argv: readonly string[]): Promise<number> {
  setProgramName('ovsdb-client');
  try {
    return await run(argv);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const text = error instanceof OvsdbError ? error.toString() : error.message;
    process.stderr.write(`${programName()}: ${text}\n`);
    return 1;
  }
}

function usage(): string {
  const name = programName();
  return `${name}: Open vSwitch database JSON-RPC client
usage: ${name} [OPTIONS] COMMAND [ARG...]

Valid commands are:

  list-dbs [SERVER]
    list databases available on SERVER

  get-schema [SERVER] [DATABASE]
    retrieve schema for DATABASE from SERVER

  get-schema-version [SERVER] [DATABASE]
    retrieve schema for DATABASE from SERVER and report only its
    version number on stdout

  get-schema-cksum [SERVER] [DATABASE]
    retrieve schema for DATABASE from SERVER and report only its
    checksum on stdout

  list-tables [SERVER] [DATABASE]
    list tables for DATABASE on SERVER

  list-columns [SERVER] [DATABASE] [TABLE]
    list columns in TABLE (or all tables) in DATABASE on SERVER

  transact [SERVER] TRANSACTION
    run TRANSACTION (params for "transact" request) on SERVER
    and print the results as JSON on stdout

  query [SERVER] TRANSACTION
    run TRANSACTION (params for "transact" request) on SERVER,
    as read-only, and print the results as JSON on stdout

  monitor [SERVER] [DATABASE] TABLE [COLUMN,...]...
    monitor contents of COLUMNs in TABLE in DATABASE on SERVER.
    COLUMNs may include !initial, !insert, !delete, !modify
    to avoid seeing the specified kinds of changes.

  monitor-cond [SERVER] [DATABASE] CONDITION TABLE [COLUMN,...]...
    monitor contents that match CONDITION of COLUMNs in TABLE in
    DATABASE on SERVER.
    COLUMNs may include !initial, !insert, !delete, !modify
    to avoid seeing the specified kinds of changes.

  monitor-cond-since [SERVER] [DATABASE] [LASTID] CONDITION TABLE [COLUMN,...]...
    monitor contents that match CONDITION of COLUMNs in TABLE in
    DATABASE on SERVER, since change after LASTID.
    LASTID is a transaction's id; without it all is shown.
    Other arguments are the same as in monitor-cond.

  convert [SERVER] SCHEMA
    convert database on SERVER named in SCHEMA to SCHEMA.

  needs-conversion [SERVER] SCHEMA
    tests whether SCHEMA's db on SERVER needs conversion.

  monitor [SERVER] [DATABASE] ALL
    monitor all changes to all columns in all tables

  wait [SERVER] DATABASE STATE
    wait until DATABASE reaches STATE ("added" or "connected" or "removed")
    in DATBASE on SERVER.

  dump [SERVER] [DATABASE]
    dump contents of DATABASE on SERVER to stdout

  backup [SERVER] [DATABASE] > SNAPSHOT
    dump database contents in the form of a database file

  [--force] restore [SERVER] [DATABASE] < SNAPSHOT
    restore database contents from a database file

  lock [SERVER] LOCK
    create or wait for LOCK in SERVER

  steal [SERVER] LOCK
    steal LOCK from SERVER

  unlock [SERVER] LOCK
    unlock LOCK from SERVER

The default SERVER is unix:${ovsRundir()}/db.sock.
The default DATABASE is Open_vSwitch.
${streamUsage('SERVER')}${TABLE_USAGE}  --timestamp                 timestamp "monitor" output
${daemonUsage()}
Other options:
  -h, --help                  display this help message
  -V, --version               display version information
`;
}
