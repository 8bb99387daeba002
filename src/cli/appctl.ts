import type { OptionSpec } from '../base/getopt.ts';
import { parseOptions, UsageError } from '../base/getopt.ts';
import { programName, setProgramName, versionText } from '../base/program.ts';
import {
  limitTime,
  optionsText,
  parseSeconds,
  takeVlogOption,
  VLOG_OPTIONS,
  VLOG_SHORT_OPTIONS,
} from './client-options.ts';
import { askDaemon, showReply } from './unixctl-command.ts';

/** `turnout appctl`: one command to a running daemon, as ovs-appctl(8). Exit code 2 when the daemon refuses it, 1 when it can't be asked. */

const OPTIONS: OptionSpec = {
  long: {
    target: 'required',
    execute: 'none',
    help: 'none',
    option: 'none',
    version: 'none',
    timeout: 'required',
    ...VLOG_OPTIONS,
  },
  short: { t: 'target', e: 'execute', h: 'help', o: 'option', V: 'version', T: 'timeout', ...VLOG_SHORT_OPTIONS },
  // Commands have options of their own.
  stopAtFirst: true,
};

export async function main(argv: readonly string[]): Promise<number> {
  setProgramName('ovs-appctl');
  try {
    return await run(argv);
  } catch (e) {
    process.stderr.write(`${programName()}: ${(e as Error).message}\n`);
    return 1;
  }
}

async function run(argv: readonly string[]): Promise<number> {
  const { options, args } = parseOptions(argv, OPTIONS);
  let target: string | undefined;
  let seconds: number | undefined;
  for (const option of options) {
    switch (option.name) {
      case 'help':
        return show(usage());
      case 'option':
        return show(optionsText(OPTIONS));
      case 'version':
        return show(versionText());
      case 'target':
        if (target !== undefined) throw new UsageError('-t or --target may be specified only once');
        target = option.value!;
        break;
      case 'timeout':
        seconds = parseSeconds(option.value!);
        if (!seconds) throw new UsageError(`value ${option.value} on -T or --timeout is invalid`);
        break;
      default:
        takeVlogOption(option);
    }
  }
  limitTime(seconds);
  const [command, ...params] = args;
  if (command === undefined) {
    throw new UsageError('at least one non-option argument is required (use --help for help)');
  }
  target ??= 'ovs-vswitchd';
  return showReply(target, await askDaemon(target, command, params));
}

function show(text: string): number {
  process.stdout.write(text);
  return 0;
}

function usage(): string {
  return `ovs-appctl, for querying and controlling Open vSwitch daemon
usage: ovs-appctl [TARGET] COMMAND [ARG...]
Targets:
  -t, --target=TARGET  pidfile or socket to contact
Common commands:
  list-commands      List commands supported by the target
  version            Print version of the target
  vlog/list          List current logging levels
  vlog/list-pattern  List logging patterns for each destination.
  vlog/set [SPEC]
      Set log levels as detailed in SPEC, which may include:
      A valid module name (all modules, by default)
      'syslog', 'console', 'file' (all destinations, by default))
      'off', 'emer', 'err', 'warn', 'info', or 'dbg' ('dbg', bydefault)
  vlog/reopen        Make the program reopen its log file
Other options:
  --timeout=SECS     wait at most SECS seconds for a response
  -h, --help         Print this helpful information
  -V, --version      Display ovs-appctl version information
`;
}
