import { readFileSync } from 'node:fs';
import { CommandFailed, runProgram } from '../attach/command.ts';
import { UndoFailed } from '../attach/steps.ts';
import { defaultRemote, SwitchDb, SwitchRefusal, SwitchUnavailable } from '../attach/switch-db.ts';
import { add } from './add.ts';
import type { CniCall } from './attachment.ts';
import { check, status } from './check.ts';
import { decodeConfig, parseConfig } from './config.ts';
import { DELEGATED } from './delegate.ts';
import { type CniEnvironment, parseEnvironment } from './environment.ts';
import {
  CNI_DECODING_FAILURE,
  CNI_INVALID_CONFIG,
  CNI_IO_FAILURE,
  CNI_KERNEL,
  CNI_NOT_AVAILABLE,
  CNI_SWITCH,
  CNI_TRY_AGAIN_LATER,
  CniError,
} from './error.ts';
import type { JsonRecord } from './json.ts';
import { del, delWithoutSwitch, gc } from './remove.ts';
import { formatResult } from './result.ts';
import { CNI_VERSIONS, NEWEST_VERSION } from './versions.ts';

/** `turnout cni`: a CNI plugin. A runtime says what it wants in the environment and on stdin; the answer is JSON on stdout. */

/** Longer than the switch needs, shorter than kubelet waits. */
const TIMEOUT_MS = 60_000;

const USAGE = `\
turnout cni: a CNI plugin (specification 0.3.0 to 1.1.0) that connects containers to a bridge.
A container runtime calls it with CNI_COMMAND (ADD, DEL, CHECK, GC, STATUS or VERSION) and
the other CNI_ variables in the environment, and a plugin configuration on stdin.
See docs/containers.md.
`;

/** Resolves with the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  if (argv.length > 0 || process.env.CNI_COMMAND === undefined) {
    process.stdout.write(USAGE);
    return argv.every((word) => word === '-h' || word === '--help') ? 0 : 1;
  }
  let raw: JsonRecord = {};
  try {
    const environment = parseEnvironment(process.env);
    raw = readConfig(environment);
    const answer = environment.command === 'VERSION' ? versions(raw) : await serve(environment, raw);
    if (answer) print(answer);
    return 0;
  } catch (error) {
    const { code, message, details } = asCniError(error as Error);
    const cniVersion = typeof raw.cniVersion === 'string' ? raw.cniVersion : NEWEST_VERSION;
    print({ cniVersion, code, msg: message, ...(details !== '' && { details }) });
    return 1;
  }
}

function print(json: JsonRecord): void {
  process.stdout.write(`${JSON.stringify(json, undefined, 2)}\n`);
}

function readConfig({ command }: CniEnvironment): JsonRecord {
  let text: string;
  try {
    text = readFileSync(0, 'utf8');
  } catch (error) {
    throw new CniError(CNI_IO_FAILURE, 'cannot read the configuration from stdin', (error as Error).message);
  }
  return command === 'VERSION' && text.trim() === '' ? {} : decodeConfig(text);
}

const versions = ({ cniVersion = NEWEST_VERSION }: JsonRecord): JsonRecord => ({
  cniVersion,
  supportedVersions: CNI_VERSIONS,
});

async function serve(environment: CniEnvironment, raw: JsonRecord): Promise<JsonRecord | undefined> {
  if (process.env[DELEGATED] !== undefined)
    throw new CniError(CNI_INVALID_CONFIG, 'the plugin is its own delegate', 'name another one in "ipam"');
  const config = parseConfig({ ...readFlatFile(raw), ...raw }, environment);
  const isStatus = environment.command === 'STATUS';
  let db: SwitchDb;
  try {
    const comment = `turnout cni: ${environment.command} ${environment.containerId} ${environment.ifname}`;
    db = await SwitchDb.open(config.remote ?? defaultRemote(), TIMEOUT_MS, comment);
  } catch (error) {
    if (isStatus) throw new CniError(CNI_NOT_AVAILABLE, 'the plugin is not available', (error as Error).message);
    if (environment.command === 'DEL') await delWithoutSwitch({ environment, config, run: runProgram });
    throw error;
  }
  try {
    return await carryOut({ environment, config, db, run: runProgram });
  } finally {
    db.close();
  }
}

async function carryOut(call: CniCall): Promise<JsonRecord | undefined> {
  switch (call.environment.command) {
    case 'ADD':
      return formatResult(await add(call), call.config.cniVersion);
    case 'DEL':
      await del(call);
      return undefined;
    case 'CHECK':
      await check(call);
      return undefined;
    case 'GC':
      await gc(call);
      return undefined;
    default:
      await status(call);
      return undefined;
  }
}

/** ovs-cni's file of settings of the host, under those of the configuration. */
const FLAT_FILES = ['/etc/kubernetes/cni/net.d/ovs.d/ovs.conf', '/etc/cni/net.d/ovs.d/ovs.conf'];
const FLAT_FIELDS = ['socket_file', 'sharedDir', 'mtu'];

function readFlatFile({ configuration_path: path }: JsonRecord): JsonRecord {
  const isGiven = typeof path === 'string' && path !== '';
  for (const file of isGiven ? [path] : FLAT_FILES) {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      if (!isGiven) continue;
      throw new CniError(CNI_IO_FAILURE, `cannot read ${file}`, (error as Error).message);
    }
    const all = decodeConfig(text);
    return Object.fromEntries(FLAT_FIELDS.flatMap((name) => (Object.hasOwn(all, name) ? [[name, all[name]]] : [])));
  }
  return {};
}

/** Everything that can go wrong has a code. */
function asCniError(error: Error): CniError {
  if (error instanceof CniError) return error;
  if (error instanceof UndoFailed) {
    return new CniError(asCniError(error.cause as Error).code, error.message);
  }
  if (error instanceof SwitchUnavailable) return new CniError(CNI_TRY_AGAIN_LATER, error.message);
  if (error instanceof SwitchRefusal) return new CniError(CNI_SWITCH, error.message);
  if (error instanceof CommandFailed) return new CniError(CNI_KERNEL, error.message);
  if (error instanceof SyntaxError) return new CniError(CNI_DECODING_FAILURE, error.message);
  return new CniError(CNI_IO_FAILURE, error.message);
}
