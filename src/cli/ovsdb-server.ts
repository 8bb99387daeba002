import { spawn } from 'node:child_process';
import { coverage } from '../base/coverage.ts';
import { DAEMON_OPTIONS, DAEMON_SHORT_OPTIONS, Daemon, daemonUsage, FatalError } from '../base/daemon.ts';
import { absFileName, ovsDbdir } from '../base/dirs.ts';
import type { OptionSpec, ParsedOption } from '../base/getopt.ts';
import { parseOptions, UsageError } from '../base/getopt.ts';
import { programName, programVersion, setProgramName, versionText } from '../base/program.ts';
import { UnixctlServer } from '../base/unixctl.ts';
import { vlog, vlogModule } from '../base/vlog.ts';
import { BackupMode } from '../ovsdb/backup-mode.ts';
import { registerOvsdbCommands } from '../ovsdb/commands.ts';
import { OvsdbError } from '../ovsdb/error.ts';
import type { Relay } from '../ovsdb/relay.ts';
import { parseRelayName } from '../ovsdb/relay.ts';
import { RemoteManager } from '../ovsdb/remote-manager.ts';
import type { ExcludedTables } from '../ovsdb/replication.ts';
import { parseExcludedTables } from '../ovsdb/replication.ts';
import { OvsdbServer } from '../ovsdb/server.ts';
import type { TlsConfig } from '../ovsdb/tls.ts';
import { lockFile, lockHolder } from '../sys/file-lock.ts';
import { lockDatabase } from './ovsdb-lock.ts';
import { chooseSavedConfigPath, dropSavedConfig, loadSavedConfig, saveConfig } from './ovsdb-saved-config.ts';

const OPTIONS: OptionSpec = {
  long: {
    ...DAEMON_OPTIONS,
    remote: 'required',
    unixctl: 'required',
    run: 'required',
    help: 'none',
    version: 'none',
    'private-key': 'required',
    certificate: 'required',
    'ca-cert': 'required',
    'bootstrap-ca-cert': 'required',
    'peer-ca-cert': 'required',
    'ssl-protocols': 'required',
    'ssl-ciphers': 'required',
    'sync-from': 'required',
    'sync-exclude-tables': 'required',
    active: 'none',
    'no-dbs': 'none',
    'disable-file-column-diff': 'none',
  },
  short: { ...DAEMON_SHORT_OPTIONS, h: 'help', V: 'version', p: 'private-key', c: 'certificate', C: 'ca-cert' },
};

interface Settings {
  readonly remotes: string[];
  tls: TlsConfig;
  unixctl: string | undefined;
  run: string | undefined;
  useColumnDiff: boolean;
  syncFrom: string | undefined;
  excluded: ExcludedTables;
  isActive: boolean;
  hasDefaultDb: boolean;
  /** As they were written. */
  files: string[];
}

function usage(): string {
  const name = programName();
  return `${name}: Open vSwitch database server
usage: ${name} [OPTIONS] [DATABASE...]
where each DATABASE is a database file in ovsdb format.
The default DATABASE, if none is given, is
${ovsDbdir()}/conf.db.

JSON-RPC options (may be specified any number of times):
  --remote=REMOTE         connect or listen to REMOTE
Active JSON-RPC connection methods:
  tcp:HOST[:PORT]         PORT (default: 6640) on remote HOST
  ssl:HOST[:PORT]         SSL PORT (default: 6640) on remote HOST
  unix:FILE               Unix domain socket named FILE
Passive JSON-RPC connection methods:
  ptcp:[PORT][:IP]        listen to TCP PORT (default: 6640) on IP
  pssl:[PORT][:IP]        listen for SSL on PORT (default: 6640) on IP
  punix:FILE              listen on Unix domain socket FILE
PKI configuration (required to use SSL):
  -p, --private-key=FILE  file with private key
  -c, --certificate=FILE  file with certificate for private key
  -C, --ca-cert=FILE      file with peer CA certificate
  --bootstrap-ca-cert=FILE  file with peer CA certificate to read or create
SSL options:
  --ssl-protocols=PROTOS  list of SSL protocols to enable
  --ssl-ciphers=CIPHERS   list of SSL ciphers to enable
${daemonUsage()}
Syncing options:
  --sync-from=SERVER      sync DATABASE from active SERVER and start in
                          backup mode (except with --active)
  --sync-exclude-tables=DB:TABLE,...
                          exclude the TABLE in DB from syncing
  --active                with --sync-from, start in active mode

Other options:
  --run COMMAND           run COMMAND as subprocess then exit
  --unixctl=SOCKET        override default control socket name
  --disable-file-column-diff
                          don't use column diff in database file
  -h, --help              display this help message
  -V, --version           display version information
`;
}

const TLS_OPTIONS: { readonly [option: string]: keyof TlsConfig } = {
  'private-key': 'privateKey',
  certificate: 'certificate',
  'ca-cert': 'caCert',
  'peer-ca-cert': 'peerCaCert',
  'ssl-protocols': 'protocols',
  'ssl-ciphers': 'ciphers',
};

function excludedTables(text: string): ExcludedTables {
  const excluded = parseExcludedTables(text);
  if (typeof excluded === 'string') throw new FatalError(excluded);
  return excluded;
}

function takeOption(settings: Settings, { name, value }: ParsedOption): void {
  switch (name) {
    case 'remote':
      settings.remotes.push(value!);
      break;
    case 'unixctl':
    case 'run':
      settings[name] = value;
      break;
    case 'bootstrap-ca-cert':
      settings.tls = { ...settings.tls, caCert: value, bootstrapCaCert: true };
      break;
    case 'no-dbs':
      settings.hasDefaultDb = false;
      break;
    case 'disable-file-column-diff':
      settings.useColumnDiff = false;
      break;
    case 'sync-from':
      settings.syncFrom = value;
      break;
    case 'sync-exclude-tables':
      settings.excluded = excludedTables(value!);
      break;
    case 'active':
      settings.isActive = true;
      break;
    default: {
      const member = TLS_OPTIONS[name];
      if (member) settings.tls = { ...settings.tls, [member]: value };
    }
  }
}

function parse(argv: readonly string[], daemon: Daemon): Settings {
  const { options, args } = parseOptions(argv, OPTIONS);
  const settings: Settings = {
    remotes: [],
    tls: {},
    unixctl: undefined,
    run: undefined,
    useColumnDiff: true,
    syncFrom: undefined,
    excluded: new Map(),
    isActive: false,
    hasDefaultDb: true,
    files: args,
  };
  for (const option of options) if (!daemon.takeOption(option)) takeOption(settings, option);
  if (args.length === 0 && settings.hasDefaultDb) settings.files = [`${ovsDbdir()}/conf.db`];
  return settings;
}

/** Runs `command` in a shell; resolves with how it ended. */
function runCommand(command: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn('/bin/sh', ['-c', command], { stdio: 'inherit' });
    child.on('error', (error) => resolve(`${command}: process failed to start (${error.message})`));
    child.on('exit', (code, signal) => {
      if (code === 0) resolve(undefined);
      else resolve(`${command}: child exited, ${code === null ? `killed (${signal})` : `exit status ${code}`}`);
    });
  });
}

/** Where a database is; a relay is no file. */
function fileName(cwd: string, word: string): string {
  return parseRelayName(word) ? word : absFileName(cwd, word);
}

class Program {
  private readonly settings: Settings;
  private readonly daemon: Daemon;
  private readonly server: OvsdbServer;
  private readonly remotes: RemoteManager;
  private readonly backup: BackupMode;
  /** By what they were asked for with. */
  private readonly relays = new Map<string, Relay>();
  private readonly unixctl = new UnixctlServer(vlogModule('unixctl'));
  private finish: () => void = () => {};
  private readonly finished = new Promise<void>((resolve) => {
    this.finish = resolve;
  });

  constructor(settings: Settings, daemon: Daemon) {
    this.settings = settings;
    this.daemon = daemon;
    this.server = new OvsdbServer({
      log: (level, module, message) => vlogModule(module).log(level, message),
      isDebugging: (module) => vlogModule(module).isDbgEnabled(),
      useColumnDiff: settings.useColumnDiff,
      lockFile: lockDatabase,
    });
    this.remotes = new RemoteManager(this.server, settings.tls);
    this.backup = new BackupMode(this.server, settings);
  }

  async run(): Promise<number> {
    chooseSavedConfigPath();
    await this.daemon.detach();
    // The daemon may leave this folder; the names were meant from here.
    const cwd = process.cwd();
    this.daemon.start();
    const saved = loadSavedConfig();
    const given = this.settings.files.map((file) => [fileName(cwd, file), file] as const);
    for (const [path, name] of saved?.files ?? given) this.open(path, name);
    for (const remote of saved?.remotes ?? this.settings.remotes) this.remotes.configured.add(remote);
    const isBackup = this.settings.syncFrom !== undefined && !this.settings.isActive;
    this.server.setReadOnly(isBackup);
    const problem = await this.remotes.start();
    if (problem) throw new FatalError(problem);
    this.registerCommands();
    await this.unixctl.listen(this.settings.unixctl);
    this.daemon.onTerminate(() => this.close());
    this.daemon.complete();
    if (isBackup) this.backup.connect();
    // With --run this is a tool for one command: it keeps silent.
    if (this.settings.run === undefined) vlogModule('ovsdb_server').info(programVersion());
    const compaction = setInterval(() => this.server.compactWhereWorthwhile(), 600_000);
    const failure = await this.wait();
    clearInterval(compaction);
    this.close();
    if (failure !== undefined) throw new FatalError(failure);
    return 0;
  }

  /** Opens a database file, or a relay of another server's database. */
  private open(path: string, name: string): void {
    const relay = parseRelayName(path);
    if (relay) this.relays.set(path, this.server.addRelay(relay.name, relay.remotes, this.settings.tls));
    else this.server.openFile(path, name);
  }

  private async wait(): Promise<string | undefined> {
    if (this.settings.run === undefined) return this.finished.then(() => undefined);
    return Promise.race([runCommand(this.settings.run), this.finished.then(() => undefined)]);
  }

  private registerCommands(): void {
    vlog.registerCommands(this.unixctl);
    coverage.registerCommands(this.unixctl);
    const { server, remotes, backup } = this;
    registerOvsdbCommands(this.unixctl, { server, remotes, backup, changed: () => this.saveConfig() });
    this.unixctl.register('exit', '', 0, 0, () => {
      // After the reply has left.
      setImmediate(this.finish);
      return '';
    });
  }

  private saveConfig(): void {
    const files = [...this.server.files].map(([served, path]): [string, string] => [path, served.log?.name ?? path]);
    for (const [word, { served }] of this.relays)
      if (this.server.dbs.get(served.name) === served) files.push([word, word]);
    saveConfig({ remotes: [...this.remotes.configured], files });
  }

  private close(): void {
    dropSavedConfig();
    this.backup.disconnect();
    this.remotes.stop();
    this.server.close();
    this.unixctl.close();
  }
}

/** `turnout ovsdb-server`: the arguments of ovsdb-server(1). Resolves with the exit code. */
export async function main(argv: string[]): Promise<number> {
  setProgramName('ovsdb-server');
  try {
    const daemon = new Daemon({ lockFile, lockHolder });
    if (wants(argv, 'help')) return print(usage());
    if (wants(argv, 'version')) return print(versionText());
    return await new Program(parse(argv, daemon), daemon).run();
  } catch (error) {
    return report(error);
  }
}

function wants(argv: readonly string[], name: string): boolean {
  return parseOptions(argv, OPTIONS).options.some((option) => option.name === name);
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function report(error: unknown): number {
  if (error instanceof UsageError || error instanceof FatalError || error instanceof OvsdbError) {
    const text = error instanceof OvsdbError ? error.toString() : error.message;
    vlogModule('ovsdb_server').emer(text);
    process.stderr.write(`${programName()}: ${text}\n`);
    return 1;
  }
  throw error;
}
