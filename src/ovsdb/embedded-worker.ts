import { copyFileSync, existsSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { UnixctlCommands } from '../base/unixctl.ts';
import { registerOvsdbCommands } from './commands.ts';
import type { EmbeddedOptions, FromWorker, ToWorker } from './embedded-types.ts';
import { OvsdbError } from './error.ts';
import { createDatabaseFile } from './file.ts';
import { RemoteManager } from './remote-manager.ts';
import { schemaFromJson } from './schema.ts';
import type { ServedDb } from './served-db.ts';
import { OvsdbServer } from './server.ts';
import { VSWITCH_SCHEMA } from './vswitch-schema.ts';

/** The thread behind `startEmbeddedServer`. */

const port = parentPort!;
const options = workerData as EmbeddedOptions;

function post(message: FromWorker): void {
  port.postMessage(message);
}

/** x.y.z as one number. */
function versionNumber(version: string): number {
  const [x = 0, y = 0, z = 0] = version.split('.').map(Number);
  return (x * 1000 + y) * 1000 + z;
}

/** Takes an older database to our schema, as ovs-ctl does: with a copy of the file beside it. */
function upgrade(server: OvsdbServer, served: ServedDb): void {
  const schema = schemaFromJson(VSWITCH_SCHEMA);
  const { version, cksum } = served.db.schema;
  if (served.name !== schema.name || versionNumber(version) >= versionNumber(schema.version)) return;
  const backup = `${options.dbPath}.backup${version}-${cksum.split(' ')[0]}`;
  copyFileSync(options.dbPath, backup);
  server.convert(served, schema);
  server.log('info', 'ovsdb_server', `${options.dbPath}: converted from schema ${version}; the old file is ${backup}`);
}

async function start(): Promise<void> {
  const server = new OvsdbServer({ log: (level, module, message) => post({ kind: 'log', level, module, message }) });
  const remotes = new RemoteManager(server, options.tls ?? {});
  const commands = new UnixctlCommands();
  registerOvsdbCommands(commands, { server, remotes });
  const compaction = setInterval(() => server.compactWhereWorthwhile(), 600_000).unref();
  port.on('message', (message: ToWorker) => {
    if (message.kind === 'command') {
      void runCommand(commands, message);
      return;
    }
    clearInterval(compaction);
    remotes.stop();
    server.close();
    post({ kind: 'stopped' });
    port.close();
  });
  if (!existsSync(options.dbPath)) createDatabaseFile(options.dbPath, schemaFromJson(VSWITCH_SCHEMA));
  upgrade(server, server.openFile(options.dbPath));
  for (const remote of options.remotes) remotes.configured.add(remote);
  const problem = (await remotes.start()) || remotes.failures();
  if (problem) throw new OvsdbError('ovsdb error', problem);
  post({ kind: 'ready' });
}

async function runCommand(commands: UnixctlCommands, { id, name, args }: Extract<ToWorker, { kind: 'command' }>) {
  try {
    post({ kind: 'result', id, success: true, text: await commands.run(name, args) });
  } catch (error) {
    post({ kind: 'result', id, success: false, text: (error as Error).message });
  }
}

try {
  await start();
} catch (error) {
  post({ kind: 'failed', message: error instanceof OvsdbError ? error.toString() : String((error as Error).stack) });
  port.close();
}
