import type { NamedRows } from '../../ovsdb/text-format.ts';
import type { TextTable } from '../text-table.ts';
import type { BridgeCache } from './cache.ts';
import { CtlError } from './errors.ts';
import type { Model, Row } from './model.ts';
import type { Symbols } from './symbols.ts';

/** A command's arguments and what it works on. */
export interface CtlContext {
  /** The command's name and its arguments. */
  readonly argv: readonly string[];
  /** With their dashes; the value of one without argument is undefined. */
  readonly options: ReadonlyMap<string, string | undefined>;
  readonly db: Model;
  /** Names of rows: `--id=@name`. */
  readonly symbols: Symbols & NamedRows;
  /** Nothing after this command reads what it wrote: single members of columns may be added without replacing the whole. */
  readonly isLast: boolean;
  /** The only row of Open_vSwitch. */
  readonly ovs: Row;
  readonly cache: BridgeCache;
  warn(text: string): void;
  /** Interfaces whose set-up is looked at when the switch has taken on the change. */
  expectInterface(iface: Row): void;
}

/** What a command prints: a text or a table. `try again`: it waits for a change of the database. */
export type CtlOutput = string | TextTable | 'try again' | undefined;

export interface CtlCommand {
  readonly name: string;
  readonly minArgs: number;
  readonly maxArgs: number;
  /** For --commands. */
  readonly args: string;
  /** `--name`, or `--name=` when it takes an argument, separated by commas. */
  readonly options: string;
  /** May it change the database? */
  readonly writes: boolean;
  /** Says what has to be fetched. */
  prepare?(ctx: Pick<CtlContext, 'argv' | 'options' | 'db' | 'warn'>): void;
  run?(ctx: CtlContext): CtlOutput;
  /** Rewrites the output once the transaction is through; `uuids` gives a provisional uuid's real one. */
  finish?(output: string, uuids: (uuid: string) => string): string;
}

/** A command as it was given. */
export interface CtlCall {
  readonly command: CtlCommand;
  readonly argv: readonly string[];
  readonly options: ReadonlyMap<string, string | undefined>;
}

export const UNLIMITED_ARGS = 0x7fffffff;

/** Splits what follows the options into commands at each `--`. `options` are those that stood before the first. Throws CtlError. */
export function parseCommands(
  words: readonly string[],
  options: ReadonlyMap<string, string | undefined>,
  commands: ReadonlyMap<string, CtlCommand>,
): CtlCall[] {
  const calls: CtlCall[] = [];
  let pending = options;
  let start = 0;
  for (let i = 0; i <= words.length; i++) {
    if (i < words.length && words[i] !== '--') continue;
    if (i > start) {
      calls.push(parseCommand(words.slice(start, i), pending, commands));
      pending = new Map();
    } else if (pending.size > 0) break;
    start = i + 1;
  }
  if (calls.length === 0 || pending.size > 0) throw new CtlError('missing command name (use --help for help)');
  return calls;
}

function parseCommand(
  words: readonly string[],
  given: ReadonlyMap<string, string | undefined>,
  commands: ReadonlyMap<string, CtlCommand>,
): CtlCall {
  const options = new Map(given);
  let at = 0;
  for (; at < words.length && words[at]!.startsWith('-'); at++) {
    const word = words[at]!;
    const equals = word.indexOf('=');
    const name = equals < 0 ? word : word.slice(0, equals);
    if (options.has(name)) throw new CtlError(`'${word}' option specified multiple times`);
    options.set(name, equals < 0 ? undefined : word.slice(equals + 1));
  }
  const argv = words.slice(at);
  const [name] = argv;
  if (name === undefined) throw new CtlError('missing command name (use --help for help)');
  const command = commands.get(name);
  if (!command) throw new CtlError(`unknown command '${name}'; use --help for help`);
  for (const [option, value] of options) checkOption(command, option, value);
  checkCount(command, argv);
  return { command, argv, options };
}

function checkOption(command: CtlCommand, option: string, value: string | undefined): void {
  const known = command.options.split(',').find((one) => one.replace(/=$/, '') === option);
  if (known === undefined) throw new CtlError(`'${command.name}' command has no '${option}' option`);
  if (known.endsWith('=') && value === undefined) {
    throw new CtlError(`missing argument to '${option}' option on '${command.name}' command`);
  }
  if (!known.endsWith('=') && value !== undefined) {
    throw new CtlError(`'${option}' option on '${command.name}' does not accept an argument`);
  }
}

function checkCount({ name, minArgs, maxArgs }: CtlCommand, argv: readonly string[]): void {
  const n = argv.length - 1;
  if (n < minArgs) throw new CtlError(`'${name}' command requires at least ${minArgs} arguments`);
  if (n <= maxArgs) return;
  const hint = argv.slice(1).some((word) => word.startsWith('-'))
    ? ' (note that options must precede command names and follow a "--" argument)'
    : '';
  throw new CtlError(`'${name}' command takes at most ${maxArgs} arguments${hint}`);
}
