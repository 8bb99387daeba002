import { readFileSync } from 'node:fs';
import { ovsLogdir } from '../../base/dirs.ts';
import type { OptionArgument, OptionSpec } from '../../base/getopt.ts';
import { parseOptions } from '../../base/getopt.ts';
import { programName, setProgramName, versionText } from '../../base/program.ts';
import { vlog, vlogModule } from '../../base/vlog.ts';
import type { Json } from '../../ovsdb/json.ts';
import { isArray, isObject, sortedText } from '../../ovsdb/json.ts';
import { schemaFromJson } from '../../ovsdb/schema.ts';
import { TextError } from '../../ovsdb/text-format.ts';
import type { TlsConfig } from '../../ovsdb/tls.ts';
import { VSWITCH_SCHEMA } from '../../ovsdb/vswitch-schema.ts';
import {
  limitTime,
  optionsText,
  parseSeconds,
  SSL_OPTIONS,
  SSL_SHORT_OPTIONS,
  takeSslOption,
  takeVlogOption,
  VLOG_OPTIONS,
  VLOG_SHORT_OPTIONS,
} from '../client-options.ts';
import type { TableStyle } from '../text-table.ts';
import { defaultTableStyle, TABLE_OPTIONS, TABLE_SHORT_OPTIONS, TablePrinter, takeTableOption } from '../text-table.ts';
import { BRIDGE_COMMANDS } from './bridge-commands.ts';
import { BridgeCache } from './cache.ts';
import type { CtlCall, CtlCommand, CtlContext, CtlOutput } from './command.ts';
import { parseCommands } from './command.ts';
import { CONTROLLER_COMMANDS } from './controller-commands.ts';
import { DB_COMMANDS } from './db-commands.ts';
import { CtlError, CtlExit } from './errors.ts';
import { escapeArguments } from './escape.ts';
import type { Composed, Outcome, Row } from './model.ts';
import { composeTransaction, interpretReply, Model } from './model.ts';
import { PORT_COMMANDS } from './port-commands.ts';
import { CtlSession } from './session.ts';
import { SHOW_COMMAND } from './show.ts';
import { SWITCH_COMMANDS } from './switch-commands.ts';
import { Symbols } from './symbols.ts';
import { commandsText, defaultDb, usage } from './usage.ts';

const log = vlogModule('vsctl');
const baseLog = vlogModule('db_ctl_base');

const COMMANDS: ReadonlyMap<string, CtlCommand> = new Map(
  [...BRIDGE_COMMANDS, ...PORT_COMMANDS, ...CONTROLLER_COMMANDS, ...SWITCH_COMMANDS, ...DB_COMMANDS, SHOW_COMMAND].map(
    (command) => [command.name, command],
  ),
);

const GLOBAL_OPTIONS: Readonly<Record<string, OptionArgument>> = {
  db: 'required',
  'no-syslog': 'none',
  'no-wait': 'none',
  'dry-run': 'none',
  oneline: 'none',
  timeout: 'required',
  retry: 'none',
  help: 'none',
  commands: 'none',
  options: 'none',
  'leader-only': 'none',
  'no-leader-only': 'none',
  'shuffle-remotes': 'none',
  'no-shuffle-remotes': 'none',
  version: 'none',
  ...VLOG_OPTIONS,
  ...TABLE_OPTIONS,
  ...SSL_OPTIONS,
};

const SHORT_OPTIONS: Readonly<Record<string, string>> = {
  t: 'timeout',
  h: 'help',
  V: 'version',
  ...VLOG_SHORT_OPTIONS,
  ...TABLE_SHORT_OPTIONS,
  ...SSL_SHORT_OPTIONS,
};

/** Options of commands may stand among the others before the first command. */
function optionSpec(): OptionSpec {
  const long = { ...GLOBAL_OPTIONS };
  for (const { options } of COMMANDS.values()) {
    for (const option of options.split(',').filter((one) => one !== '')) {
      long[option.slice(2).replace('=', '')] = option.endsWith('=') ? 'required' : 'none';
    }
  }
  return { long, short: SHORT_OPTIONS, stopAtFirst: true };
}

interface Settings {
  db: string;
  isOneline: boolean;
  isDryRun: boolean;
  waits: boolean;
  retries: boolean;
  timeout: number | undefined;
  tls: TlsConfig;
  style: TableStyle;
  local: Map<string, string | undefined>;
  words: string[];
}

/** A string is to be printed instead of doing anything. */
function parseArguments(argv: readonly string[], db: Model): Settings | string {
  const { options, args } = parseOptions(argv, optionSpec());
  const settings: Settings = {
    db: defaultDb(),
    isOneline: false,
    isDryRun: false,
    waits: true,
    retries: false,
    timeout: undefined,
    tls: {},
    style: defaultTableStyle(),
    local: new Map(),
    words: args,
  };
  for (const option of options) {
    const text = takeOption(settings, option, db);
    if (text !== undefined) return text;
  }
  return settings;
}

function takeOption(settings: Settings, option: { name: string; value: string | undefined }, db: Model) {
  const { name, value } = option;
  switch (name) {
    case 'db':
      settings.db = value!;
      return undefined;
    case 'oneline':
      settings.isOneline = true;
      return undefined;
    case 'dry-run':
      settings.isDryRun = true;
      return undefined;
    case 'no-wait':
      settings.waits = false;
      return undefined;
    case 'retry':
      settings.retries = true;
      return undefined;
    case 'no-syslog':
      vlog.setLevels('vsctl:syslog:warn');
      return undefined;
    case 'timeout':
      settings.timeout = parseSeconds(value!);
      if (!settings.timeout) throw new CtlError(`value ${value} on -t or --timeout is invalid`);
      return undefined;
    case 'help':
      return usage(db);
    case 'version':
      return `${versionText()}DB Schema ${db.schema.version}\n`;
    case 'commands':
      return commandsText(COMMANDS.values());
    case 'options':
      return plainOptions(optionsText({ long: GLOBAL_OPTIONS, short: SHORT_OPTIONS }));
  }
  if (takeVlogOption(option) || takeTableOption(settings.style, option)) return undefined;
  const tls = takeSslOption(settings.tls, option);
  if (tls) settings.tls = tls;
  else if (!Object.hasOwn(GLOBAL_OPTIONS, name)) settings.local.set(`--${name}`, value);
  return undefined;
}

/** ovs-vsctl does not tell optional arguments from others. */
function plainOptions(text: string): string {
  return text.replaceAll('[ARG]', 'ARG').replace(/ +$/gm, '');
}

/** One run over a consistent view of the database, from the first command to the answer of the server. */
class Attempt {
  readonly #db: Model;
  readonly #settings: Settings;
  readonly #calls: readonly CtlCall[];
  readonly #comment: string;
  readonly #symbols = new Symbols();
  /** Interfaces that the commands make. */
  readonly #interfaces: string[] = [];
  readonly #realUuids = new Map<string, string>();
  #nextCfg: number | undefined;
  #outputs: CtlOutput[] = [];
  hasChanged = false;

  constructor(db: Model, settings: Settings, calls: readonly CtlCall[], comment: string) {
    this.#db = db;
    this.#settings = settings;
    this.#calls = calls;
    this.#comment = comment;
  }

  /** Resolves with false when it has to be done again after the next change. */
  async run(session: CtlSession): Promise<boolean> {
    try {
      const table = this.#db.table('Open_vSwitch');
      const ovs = table.rows()[0] ?? table.insert();
      if (!this.#runCommands(ovs)) return false;
      this.#symbols.check((text) => log.warn(text));
      return await this.#commit(session, ovs);
    } finally {
      this.#db.rollBack();
    }
  }

  #runCommands(ovs: Row): boolean {
    const cache = new BridgeCache(this.#db, ovs, log);
    for (const [i, { command, argv, options }] of this.#calls.entries()) {
      cache.beginCommand();
      const ctx: CtlContext = {
        argv,
        options,
        db: this.#db,
        symbols: this.#symbols,
        isLast: i === this.#calls.length - 1,
        ovs,
        cache,
        warn: (text) => warnLog(command).warn(text),
        expectInterface: (iface) => this.#interfaces.push(iface.uuid),
      };
      const output = command.run?.(ctx);
      if (output === 'try again') return false;
      this.#outputs.push(output);
    }
    return true;
  }

  async #commit(session: CtlSession, ovs: Row): Promise<boolean> {
    const composed = composeTransaction(this.#db);
    if (!composed.hasUpdates) return true;
    const { operations } = composed;
    const counter = this.#settings.waits ? operations.push(...incrementNextCfg(ovs)) - 1 : undefined;
    operations.push({ op: 'comment', comment: this.#comment });
    if (this.#settings.isDryRun) operations.push({ op: 'abort' });
    const reply = await session.transact(operations);
    if (reply === undefined) return false;
    const outcome = interpretReply(reply);
    if (outcome.kind === 'try again') return false;
    if (outcome.kind === 'error') throw refusal(outcome.json);
    this.hasChanged = true;
    this.#learn(outcome, composed, counter);
    return true;
  }

  #learn(
    { results }: Extract<Outcome, { kind: 'success' }>,
    { inserted }: Composed,
    counter: number | undefined,
  ): void {
    for (const [provisional, operation] of inserted) {
      const uuid = results[operation]?.uuid;
      if (isArray(uuid) && typeof uuid[1] === 'string') this.#realUuids.set(provisional, uuid[1]);
    }
    const row = counter === undefined ? undefined : results[counter]?.rows;
    const value = isArray(row) && isObject(row[0]) ? row[0].next_cfg : undefined;
    this.#nextCfg = typeof value === 'number' ? value : undefined;
  }

  /** What the commands have to say. */
  text(): string {
    const printer = new TablePrinter(this.#settings.style);
    const uuids = (uuid: string) => this.#realUuids.get(uuid) ?? uuid;
    const texts = this.#calls.map(({ command }, i) => {
      const output = this.#outputs[i] ?? '';
      if (typeof output !== 'string') return printer.format(output);
      const text = command.finish ? command.finish(output, uuids) : output;
      return this.#settings.isOneline ? `${onOneLine(text)}\n` : text;
    });
    return texts.join('');
  }

  /** Waits until the switch has taken on the change, and tells of interfaces that failed. */
  async waitForSwitch(session: CtlSession): Promise<void> {
    if (!this.#settings.waits || !this.hasChanged) return;
    session.enableReconnect();
    const wanted = this.#nextCfg ?? 0;
    const isDone = () =>
      this.#db
        .table('Open_vSwitch')
        .rows()
        .some((row) => (row.scalar('cur_cfg') as number) >= wanted);
    while (!isDone()) await session.changeAfter(session.seqno);
    this.#reportInterfaces();
  }

  #reportInterfaces(): void {
    const table = this.#db.table('Interface');
    const rows = this.#interfaces.map((uuid) => table.get(this.#realUuids.get(uuid) ?? ''));
    const failed = rows.filter((row) => row !== undefined).filter((row) => (row.scalar('ofport') ?? -1) === -1);
    for (const row of failed) {
      const reason = row.string('error');
      const what = `Error detected while setting up '${row.string('name')}'${reason === '' ? '' : `: ${reason}`}.`;
      complain(`${what}  See ovs-vswitchd log for details.`);
    }
    if (failed.length > 0) complain(`The default log directory is "${ovsLogdir()}".`);
  }
}

/** Commands on any table are of a module of their own. */
function warnLog(command: CtlCommand) {
  return DB_COMMANDS.includes(command) ? baseLog : log;
}

function incrementNextCfg(ovs: Row): Json[] {
  const uuid = ovs.old ? ['uuid', ovs.uuid] : ['named-uuid', `row${ovs.uuid.replaceAll('-', '_')}`];
  const target = { table: 'Open_vSwitch', where: [['_uuid', '==', uuid]] };
  return [
    { op: 'mutate', ...target, mutations: [['next_cfg', '+=', 1]] },
    { op: 'select', ...target, columns: ['next_cfg'] },
  ];
}

function refusal(json: Json): CtlError {
  const text = sortedText(json);
  if (!isObject(json) || json.error !== 'not allowed') vlogModule('ovsdb_idl').warn(`transaction error: ${text}`);
  return new CtlError(`transaction error: ${text}`);
}

function onOneLine(text: string): string {
  return text.replace(/\n$/, '').replace(/[\n\\]/g, (char) => (char === '\n' ? '\\n' : '\\\\'));
}

function complain(text: string): void {
  process.stderr.write(`${programName()}: ${text}\n`);
}

/** Who called us, for the comment in the database's log. */
function parentInfo(): string {
  const pid = process.ppid;
  let line = pid === 0 ? 'init' : '';
  try {
    if (pid !== 0) line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\n')[0]!.split('\0')[0]!;
  } catch {
    // It is gone.
  }
  return `${line} (pid ${pid})`;
}

async function run(argv: readonly string[]): Promise<number> {
  const db = new Model(schemaFromJson(VSWITCH_SCHEMA));
  const settings = parseArguments(argv, db);
  if (typeof settings === 'string') return print(settings);
  const calls = parseCommands(settings.words, settings.local, COMMANDS);
  const args = escapeArguments([programName(), ...argv]);
  log.log(calls.some(({ command }) => command.writes) ? 'info' : 'dbg', `Called as ${args}`);
  limitTime(settings.timeout);
  db.fetch('Open_vSwitch', ...(settings.waits ? ['cur_cfg'] : []));
  for (const { command, argv: words, options } of calls) {
    command.prepare?.({ argv: words, options, db, warn: (text) => warnLog(command).warn(text) });
  }
  const session = new CtlSession(settings.db, settings.tls, db, settings.retries);
  await session.open();
  const comment = `${programName()} (invoked by ${parentInfo()}): ${args}`;
  let attempt = new Attempt(db, settings, calls, comment);
  for (let { seqno } = session; !(await attempt.run(session)); { seqno } = session) {
    await session.changeAfter(seqno);
    attempt = new Attempt(db, settings, calls, comment);
  }
  print(attempt.text());
  await attempt.waitForSwitch(session);
  session.close();
  return 0;
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

/** `turnout vsctl`: the arguments of ovs-vsctl(8). Resolves with the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  setProgramName('ovs-vsctl');
  vlog.setLevels('console:warn');
  vlog.setLevels('reconnect:warn');
  try {
    return await run(argv);
  } catch (error) {
    if (error instanceof CtlExit) return error.code;
    if (!(error instanceof Error)) throw error;
    if (error instanceof CtlError || error instanceof TextError) {
      vlog.setLevels('db_ctl_base:console:off');
      baseLog.err(error.message);
    } else if (error.name !== 'UsageError' && error.constructor !== Error) throw error;
    complain(error.message);
    return 1;
  }
}
