/** Arguments in GNU getopt_long's manner, in the wording that Open vSwitch's users know. */

/** Whether a long option takes an argument. */
export type OptionArgument = 'none' | 'required' | 'optional';

export interface OptionSpec {
  /** Long names with what they take. */
  long: Readonly<Record<string, OptionArgument>>;
  /** Short letters: the long name each stands for. */
  short?: Readonly<Record<string, string>>;
  /** The first word that is no option ends the options, as for ovs-appctl, whose commands may have options of their own. */
  stopAtFirst?: boolean;
}

export interface ParsedOption {
  name: string;
  value: string | undefined;
}

/** What can't be parsed; the message is what the program prints behind its name. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** Splits `argv` into options, in order, and the remaining arguments. Long names may be abbreviated while that is unambiguous. */
export function parseOptions(argv: readonly string[], spec: OptionSpec): { options: ParsedOption[]; args: string[] } {
  const options: ParsedOption[] = [];
  const args: string[] = [];
  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') return { options, args: [...args, ...rest] };
    if (word.startsWith('--')) options.push(parseLong(word, rest, spec));
    else if (word.startsWith('-') && word !== '-') parseShort(word, rest, spec, options);
    else if (spec.stopAtFirst) return { options, args: [word, ...rest] };
    else args.push(word);
  }
  return { options, args };
}

function parseLong(word: string, rest: string[], spec: OptionSpec): ParsedOption {
  const [, given, value] = /^--([^=]*)(?:=([\s\S]*))?$/.exec(word)!;
  const name = findLong(given!, spec);
  const takes = spec.long[name];
  if (takes === 'none' && value !== undefined) throw new UsageError(`option '--${name}' doesn't allow an argument`);
  if (takes !== 'required' || value !== undefined) return { name, value };
  if (rest.length === 0) throw new UsageError(`option '--${name}' requires an argument`);
  return { name, value: rest.shift() };
}

function findLong(given: string, spec: OptionSpec): string {
  if (Object.hasOwn(spec.long, given)) return given;
  const matches = Object.keys(spec.long).filter((name) => name.startsWith(given));
  if (matches.length === 0) throw new UsageError(`unrecognized option '--${given}'`);
  if (matches.length > 1) {
    const possibilities = matches.map((m) => ` '--${m}'`).join('');
    throw new UsageError(`option '--${given}' is ambiguous; possibilities:${possibilities}`);
  }
  return matches[0]!;
}

function parseShort(word: string, rest: string[], spec: OptionSpec, options: ParsedOption[]): void {
  for (let i = 1; i < word.length; i++) {
    const letter = word[i]!;
    const name = spec.short?.[letter];
    if (name === undefined) throw new UsageError(`invalid option -- '${letter}'`);
    const takes = spec.long[name];
    const tail = word.slice(i + 1);
    if (takes === 'none') {
      options.push({ name, value: undefined });
      continue;
    }
    if (tail !== '' || takes === 'optional') options.push({ name, value: tail === '' ? undefined : tail });
    else if (rest.length > 0) options.push({ name, value: rest.shift() });
    else throw new UsageError(`option requires an argument -- '${letter}'`);
    return;
  }
}
