import { accessSync, constants, lstatSync, mkdirSync, readlinkSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Command } from 'commander';
import { Daemon, FatalError } from '../base/daemon.ts';
import { daemonRole } from '../base/daemon-process.ts';
import { ovsDbdir, ovsLogdir, ovsRundir } from '../base/dirs.ts';
import { strerror } from '../base/errno.ts';
import { setProgramName } from '../base/program.ts';
import { vlog } from '../base/vlog.ts';
import { startEmbeddedServer } from '../ovsdb/embedded.ts';
import { lockFile, lockHolder } from '../sys/file-lock.ts';
import { lockDatabase } from './ovsdb-lock.ts';
import { rundirPrefix, runningPid, useRundir } from './rundir.ts';
import { startVswitchd } from './vswitchd.ts';

/** `turnout up`: the switch and its database in one program. */

interface UpOptions {
  rundir?: string;
  db?: string;
  foreground?: boolean;
  remote?: string[];
  enableDummy?: boolean | string;
  verbose?: string[];
}

export async function main(argv: readonly string[]): Promise<number> {
  const command = new Command('turnout up')
    .description('Start the switch with its own database. It goes on in the background; `turnout down` ends it.')
    .option('--rundir <dir>', "folder of sockets, logs and database (default: Open vSwitch's folders)")
    .option('--db <file>', 'database file, made when it is missing (default: conf.db in the database folder)')
    .option('--remote <remote>', 'another way to reach the database, e.g. ptcp:6640:127.0.0.1', collect)
    .option('--foreground', 'stay in the foreground, with the log on the terminal')
    .option('--enable-dummy [level]', 'devices without a wire, for tests: override, system')
    .option('-v, --verbose <spec>', 'log levels, e.g. bridge:file:dbg', collect);
  command.parse([...argv], { from: 'user' });
  const options = command.opts<UpOptions>();
  setProgramName('ovs-vswitchd');
  useRundir(options.rundir);
  try {
    return await up(options);
  } catch (e) {
    process.stderr.write(`turnout up: ${(e as Error).message}\n`);
    return 1;
  }
}

const collect = (value: string, previous: string[] = []): string[] => [...previous, value];

async function up(options: UpOptions): Promise<number> {
  const pid = runningPid({ lockHolder });
  if (pid !== 0 && daemonRole() === 'command') {
    process.stdout.write(`turnout: already running in ${ovsRundir()} (pid ${pid})\n`);
    return 0;
  }
  for (const dir of [ovsRundir(), ovsLogdir(), ovsDbdir()]) makeFolder(dir);
  const daemon = new Daemon({ lockFile, lockHolder });
  daemon.detaching = options.foreground !== true;
  daemon.takeOption({ name: 'pidfile', value: undefined });
  daemon.takeOption({ name: 'log-file', value: undefined });
  daemon.takeOption({ name: 'no-chdir', value: undefined });
  // In the background only what goes wrong belongs on the terminal.
  daemon.takeOption({ name: 'verbose', value: daemon.detaching ? 'console:err' : 'console:info' });
  for (const spec of options.verbose ?? []) daemon.takeOption({ name: 'verbose', value: spec });
  const dbPath = databaseFile(options.db);
  await daemon.detach(() => process.stdout.write(welcome(dbPath)));
  daemon.start();
  return serve(options, daemon, dbPath);
}

function makeFolder(dir: string): void {
  try {
    makeParents(dir);
    accessSync(dir, constants.W_OK);
  } catch (e) {
    throw new FatalError(`${dir}: ${strerror(e)}. Another folder can be given by --rundir DIR`);
  }
}

/** Not by `recursive`: Node never returns from it in a file system that takes no folders, such as /proc. */
function makeParents(dir: string): void {
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) return;
  if (dirname(dir) !== dir) makeParents(dirname(dir));
  mkdirSync(dir);
}

function databaseFile(given: string | undefined): string {
  return followLink(given === undefined ? `${ovsDbdir()}/conf.db` : resolve(given));
}

/** Debian's conf.db is a link that leads nowhere until the database is made. */
function followLink(path: string): string {
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  return isLink ? resolve(dirname(path), readlinkSync(path)) : path;
}

/** Where `ovs-vsctl set-ssl` puts the keys. */
const SSL_TABLE = {
  privateKey: 'db:Open_vSwitch,SSL,private_key',
  certificate: 'db:Open_vSwitch,SSL,certificate',
  caCert: 'db:Open_vSwitch,SSL,ca_cert',
  bootstrapCaCert: true,
};

async function serve(options: UpOptions, daemon: Daemon, dbPath: string): Promise<number> {
  const socket = `${ovsRundir()}/db.sock`;
  const remotes = [`punix:${socket}`, 'db:Open_vSwitch,Open_vSwitch,manager_options', ...(options.remote ?? [])];
  const database = await startEmbeddedServer(
    { dbPath, remotes, tls: SSL_TABLE },
    (level, module, text) => vlog.module(module)[level](text),
    lockDatabase,
  ).catch((e: Error) => {
    throw new FatalError(e.message);
  });
  const level = options.enableDummy;
  const running = await startVswitchd(
    {
      remote: `unix:${socket}`,
      unixctl: undefined,
      dummy: level === undefined ? 'none' : level === 'override' || level === 'system' ? level : 'enabled',
      dummyNuma: undefined,
      disableSystem: false,
      disableSystemRoute: false,
      mlockall: false,
      tls: {},
      show: undefined,
    },
    () => {
      // Not by its pidfile: closing that file again would give up the lock that this process holds on it.
      if (!daemon.detaching) process.stdout.write(welcome(dbPath, process.pid));
      daemon.complete();
    },
  );
  daemon.onTerminate(async () => {
    await running.stop(true);
    await database.stop();
  });
  // Without its database the switch can't be told anything any more: better to end, and be seen to.
  database.ended.catch(() => running.stop(true));
  await running.finished;
  await database.stop().catch(() => {});
  return 0;
}

function welcome(dbPath: string, pid = runningPid({ lockHolder })): string {
  const prefix = rundirPrefix();
  const rundir = ovsRundir();
  const clientRundir = prefix === '' ? '' : `  export ${prefix.trim()}\n`;
  return `turnout: running in ${rundir} (pid ${pid})
  database  ${dbPath}
  log       ${ovsLogdir()}/ovs-vswitchd.log
Next:
${clientRundir}  ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev
  ovs-vsctl add-port br0 vhost-user1 -- set interface vhost-user1 type=dpdkvhostuser
  turnout status${prefix === '' ? '' : ` --rundir ${rundir}`}
  turnout down${prefix === '' ? '' : ` --rundir ${rundir}`}
`;
}
