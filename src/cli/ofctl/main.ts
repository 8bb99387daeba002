import { Daemon, FatalError } from '../../base/daemon.ts';
import { UsageError } from '../../base/getopt.ts';
import { programName, setProgramName, versionText } from '../../base/program.ts';
import { COMMANDS, type CommandEntry } from './commands.ts';
import { err, out } from './context.ts';
import { Exit, Fatal } from './fatal.ts';
import { optionList, parseOfctlOptions } from './options.ts';
import { ofctlUsage } from './usage.ts';

/** `turnout ofctl`, also known as ovs-ofctl: speaks OpenFlow to a switch and prints what it says. */

export async function main(argv: readonly string[]): Promise<number> {
  setProgramName('ovs-ofctl');
  try {
    return await run(argv);
  } catch (e) {
    if (e instanceof Exit) return e.code;
    if (!(e instanceof UsageError || e instanceof FatalError || e instanceof Fatal)) throw e;
    err(`${programName()}: ${e.message}\n`);
    return 1;
  }
}

async function run(argv: readonly string[]): Promise<number> {
  // Locks on pidfiles are of those commands alone that stay.
  const daemon = new Daemon({
    lockFile: (fd) => locks!.lockFile(fd),
    lockHolder: (fd) => locks!.lockHolder(fd),
  });
  const { options, args } = parseOfctlOptions(argv, daemon);
  if (options.show === 'version') out(versionText().replace('\n', '\nOpenFlow versions 0x1:0x6\n'));
  else if (options.show === 'options') out(optionList());
  else if (options.show === 'help' || args[0] === 'help') out(ofctlUsage());
  if (options.show !== undefined || args[0] === 'help') return 0;
  if (options.timeout) setTimeout(() => process.kill(process.pid, 'SIGALRM'), options.timeout * 1000).unref();
  const [name, ...rest] = args;
  if (name === 'list-commands') return listCommands();
  const entry = findCommand(name, rest.length, options.readOnly);
  if (daemon.pidfile !== undefined || entry.name === 'monitor' || entry.name === 'snoop')
    locks = await import('../../sys/file-lock.ts');
  const command = await entry.load();
  await command({ args: rest, options, daemon });
  return 0;
}

let locks: typeof import('../../sys/file-lock.ts') | undefined;

function findCommand(name: string | undefined, nArgs: number, readOnly: boolean): CommandEntry {
  if (name === undefined) throw new Fatal('missing command name; use --help for help');
  const entry = COMMANDS.find((c) => c.name === name);
  if (!entry) throw new Fatal(`unknown command '${name}'; use --help for help`);
  if (nArgs < entry.minArgs) throw new Fatal(`'${name}' command requires at least ${entry.minArgs} arguments`);
  if (nArgs > entry.maxArgs) throw new Fatal(`'${name}' command takes at most ${entry.maxArgs} arguments`);
  if (readOnly && entry.writes) throw new Fatal(`'${name}' command does not work in read only mode`);
  return entry;
}

function listCommands(): number {
  const own = [{ name: 'help' }, { name: 'list-commands' }];
  const all: readonly { name: string; usage?: string | undefined }[] = [...COMMANDS, ...own];
  const lines = all.map((c) => `  ${c.name.padEnd(23)} ${c.usage ?? ''}\n`);
  out(`The available commands are:\n${lines.join('')}`);
  return 0;
}
