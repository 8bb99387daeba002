import { FatalError } from '../base/daemon.ts';
import { parseOptions, UsageError } from '../base/getopt.ts';
import { programName, setProgramName, versionText } from '../base/program.ts';
import { resolveTarget, unixctlCall } from '../base/unixctl-client.ts';

/** `turnout appctl`: one command to a running daemon, as ovs-appctl(8). Exit code 2 when the daemon refuses it, 1 when it can't be asked. */

const OPTIONS = {
  long: { target: 'required', timeout: 'required', help: 'none', version: 'none' },
  short: { t: 'target', T: 'timeout', h: 'help', V: 'version' },
  stopAtFirst: true,
} as const;

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
  const value = (name: string) => options.findLast((o) => o.name === name)?.value;
  const [command, ...params] = args;
  if (options.some((o) => o.name === 'help')) return show(usage());
  if (options.some((o) => o.name === 'version')) return show(versionText());
  if (command === undefined) {
    throw new UsageError('at least one non-option argument is required (use --help for help)');
  }
  const target = value('target') ?? 'ovs-vswitchd';
  startTimeout(value('timeout'));
  const reply = await unixctlCall(resolveTarget(target), command, params);
  if (reply.error !== undefined) {
    process.stderr.write(`${reply.error}${programName()}: ${target}: server returned an error\n`);
    return 2;
  }
  return show(reply.result ?? '');
}

/** As by SIGALRM, which ends the real one. */
function startTimeout(text: string | undefined): void {
  if (text === undefined) return;
  const seconds = Number(text);
  if (!Number.isInteger(seconds) || seconds < 0) throw new FatalError(`value ${text} on -T or --timeout is invalid`);
  if (seconds > 0) setTimeout(() => process.kill(process.pid, 'SIGALRM'), seconds * 1000).unref();
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
  vlog/set [SPEC]    Set log levels as SPEC says: [MODULE][:DESTINATION][:LEVEL]
  vlog/reopen        Make the program reopen its log file
Other options:
  --timeout=SECS     wait at most SECS seconds for a response
  -h, --help         Print this helpful information
  -V, --version      Display ovs-appctl version information
`;
}
