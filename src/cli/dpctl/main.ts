import type { OptionSpec } from '../../base/getopt.ts';
import { parseOptions, UsageError } from '../../base/getopt.ts';
import { programName, setProgramName, versionText } from '../../base/program.ts';
import {
  limitTime,
  optionsText,
  parseSeconds,
  takeVlogOption,
  VLOG_OPTIONS,
  VLOG_SHORT_OPTIONS,
  vlogUsage,
} from '../client-options.ts';
import { askDaemon } from '../unixctl-command.ts';

/** `turnout dpctl`: the arguments of ovs-dpctl(8). The datapath lives in the switch's process: its own `dpctl/…` commands do the work.
 *  What needs no datapath is done here. */

const OPTIONS: OptionSpec = {
  long: {
    statistics: 'none',
    clear: 'none',
    'may-create': 'none',
    'read-only': 'none',
    more: 'none',
    names: 'none',
    'no-names': 'none',
    timeout: 'required',
    help: 'none',
    option: 'none',
    version: 'none',
    ...VLOG_OPTIONS,
  },
  short: { s: 'statistics', m: 'more', t: 'timeout', h: 'help', o: 'option', V: 'version', ...VLOG_SHORT_OPTIONS },
};

/** Handed on to the switch. */
const FORWARDED = new Set(['statistics', 'clear', 'may-create', 'more', 'names', 'no-names']);

const MANY = 0x7fffffff;

/** Name, arguments, how many of them, whether it may change something. */
const COMMANDS: readonly (readonly [string, string, number, number, boolean])[] = [
  ['add-dp', 'dp [iface...]', 1, MANY, true],
  ['del-dp', 'dp', 1, 1, true],
  ['add-if', 'dp iface...', 2, MANY, true],
  ['del-if', 'dp iface...', 2, MANY, true],
  ['set-if', 'dp iface...', 2, MANY, true],
  ['dump-dps', '', 0, 0, false],
  ['show', '[-s] [dp...]', 0, MANY, false],
  ['dump-flows', '[-m] [--names] [dp] [filter=..] [type=..] [pmd=..]', 0, 6, false],
  ['add-flow', '[dp] flow actions', 2, 3, true],
  ['mod-flow', '[dp] flow actions', 2, 3, true],
  ['get-flow', '[dp] ufid', 1, 2, false],
  ['del-flow', '[dp] flow', 1, 2, true],
  ['add-flows', '[dp] file', 1, 2, true],
  ['mod-flows', '[dp] file', 1, 2, true],
  ['del-flows', '[dp] [file]', 0, 2, true],
  ['offload-stats-show', '[dp]', 0, 1, false],
  ['dump-conntrack', '[-m] [-s] [dp] [zone=N]', 0, 4, false],
  ['flush-conntrack', '[dp] [zone=N] [ct-orig-tuple] [ct-reply-tuple]', 0, 4, true],
  ['cache-get-size', '[dp]', 0, 1, false],
  ['cache-set-size', 'dp cache <size>', 3, 3, true],
  ['ct-stats-show', '[dp] [zone=N]', 0, 3, false],
  ['ct-bkts', '[dp] [gt=N]', 0, 2, false],
  ['ct-set-maxconns', '[dp] maxconns', 1, 2, true],
  ['ct-get-maxconns', '[dp]', 0, 1, false],
  ['ct-get-nconns', '[dp]', 0, 1, false],
  ['ct-enable-tcp-seq-chk', '[dp]', 0, 1, true],
  ['ct-disable-tcp-seq-chk', '[dp]', 0, 1, true],
  ['ct-get-tcp-seq-chk', '[dp]', 0, 1, false],
  ['ct-set-limits', '[dp] [default=L] [zone=N,limit=L]...', 1, MANY, false],
  ['ct-del-limits', '[dp] zone=N1[,N2]...', 1, 2, false],
  ['ct-get-limits', '[dp] [zone=N1[,N2]...]', 0, 2, false],
  ['ipf-set-enabled', '[dp] v4|v6', 1, 2, true],
  ['ipf-set-disabled', '[dp] v4|v6', 1, 2, true],
  ['ipf-set-min-frag', '[dp] v4|v6 minfragment', 2, 3, true],
  ['ipf-set-max-nfrags', '[dp] maxfrags', 1, 2, true],
  ['ipf-get-status', '[dp]', 0, 1, false],
  ['help', '', 0, MANY, false],
  ['list-commands', '', 0, MANY, false],
  ['parse-actions', 'actions', 1, MANY, false],
  ['normalize-actions', 'actions', 2, MANY, false],
];

export async function main(argv: readonly string[]): Promise<number> {
  setProgramName('ovs-dpctl');
  try {
    return await run(argv);
  } catch (e) {
    process.stderr.write(`${programName()}: ${(e as Error).message}\n`);
    return 1;
  }
}

async function run(argv: readonly string[]): Promise<number> {
  const { options, args } = parseOptions(argv, OPTIONS);
  const forwarded: string[] = [];
  let isReadOnly = false;
  let seconds: number | undefined;
  for (const option of options) {
    switch (option.name) {
      case 'help':
        return show(usage());
      case 'option':
        return show(optionsText(OPTIONS));
      case 'version':
        return show(versionText());
      case 'read-only':
        isReadOnly = true;
        break;
      case 'timeout':
        seconds = parseSeconds(option.value!);
        if (!seconds) throw new UsageError(`value ${option.value} on -t or --timeout is invalid`);
        break;
      default:
        if (FORWARDED.has(option.name)) forwarded.push(`--${option.name}`);
        else takeVlogOption(option);
    }
  }
  limitTime(seconds);
  checkCommand(args, isReadOnly);
  const [command, ...words] = args as [string, ...string[]];
  switch (command) {
    case 'help':
      return show(usage());
    case 'list-commands':
      return show(`The available commands are:\n${commandLines()}`);
    case 'parse-actions':
    case 'normalize-actions': {
      const { normalizeActions, parseActions } = await import('./normalize.ts');
      if (command === 'parse-actions') return show(words.map((text) => `${parseActions(text)}\n`).join(''));
      return show(normalizeActions(words[0]!, words[1]!, words.slice(2), forwarded.includes('--more')));
    }
    default:
      return ask(command, [...forwarded, ...words]);
  }
}

function commandLines(): string {
  return COMMANDS.map(([name, usageText]) => `  ${name.padEnd(23)} ${usageText}\n`).join('');
}

function checkCommand([name, ...words]: readonly string[], isReadOnly: boolean): void {
  if (name === undefined) throw new UsageError('missing command name; use --help for help');
  const command = COMMANDS.find(([known]) => known === name);
  if (!command) throw new UsageError(`unknown command '${name}'; use --help for help`);
  const [, , minArgs, maxArgs, writes] = command;
  if (words.length < minArgs) throw new UsageError(`'${name}' command requires at least ${minArgs} arguments`);
  if (words.length > maxArgs) throw new UsageError(`'${name}' command takes at most ${maxArgs} arguments`);
  if (writes && isReadOnly) throw new UsageError(`'${name}' command does not work in read only mode`);
}

async function ask(command: string, words: readonly string[]): Promise<number> {
  const reply = await askDaemon('ovs-vswitchd', `dpctl/${command}`, words);
  if (reply.error === undefined) return show(reply.result ?? '');
  // The switch speaks of itself: here the program is meant.
  process.stderr.write(reply.error.replace(/^ovs-vswitchd: /gm, `${programName()}: `));
  return 1;
}

function show(text: string): number {
  process.stdout.write(text);
  return 0;
}

function usage(): string {
  const name = programName();
  return `${name}: Open vSwitch datapath management utility
usage: ${name} [OPTIONS] COMMAND [ARG...]
  add-dp DP [IFACE...]     add new datapath DP (with IFACEs)
  del-dp DP                delete local datapath DP
  add-if DP IFACE...       add each IFACE as a port on DP
  set-if DP IFACE...       reconfigure each IFACE within DP
  del-if DP IFACE...       delete each IFACE from DP
  dump-dps                 display names of all datapaths
  show                     show basic info on all datapaths
  show DP...               show basic info on each DP
  dump-flows [DP]          display flows in DP
  add-flow [DP] FLOW ACTIONS add FLOW with ACTIONS to DP
  add-flows [DP] FILE        add flows from FILE
  mod-flow [DP] FLOW ACTIONS change FLOW actions to ACTIONS in DP
  mod-flows [DP] FILE        change flows from FILE
  get-flow [DP] ufid:UFID    fetch flow corresponding to UFID
  del-flow [DP] FLOW         delete FLOW from DP
  del-flows [DP] [FILE]      delete all or specified flows from DP
  cache-get-size [DP]             Show the current size for all caches
  cache-set-size DP CACHE SIZE  Set cache size for a specific cache
  dump-conntrack [DP] [zone=ZONE]  display conntrack entries for ZONE
  flush-conntrack [DP] [zone=ZONE] [ct-tuple]delete matched conntrack entries in ZONE
  ct-stats-show [DP] [zone=ZONE] [verbose] CT connections grouped by protocol
  ct-bkts [DP] [gt=N] display connections per CT bucket
The datapath is the running switch's: each command is one of its dpctl/... commands.
For COMMAND dump-flows, add-flow, add-flows, mod-flow,
mod-flows, del-flow and del-flows, DP is optional if there is
only one datapath.
${vlogUsage()}
Options for show and mod-flow:
  -s,  --statistics           print statistics for port or flow

Options for dump-flows:
  -m, --more                  increase verbosity of output
  --names                     use port names in output

Options for mod-flow:
  --may-create                create flow if it doesn't exist
  --read-only                 do not run read/write commands
  --clear                     reset existing stats to zero

Other options:
  -t, --timeout=SECS          give up after SECS seconds
  -h, --help                  display this help message
  -V, --version               display version information
`;
}
