import { programName, setProgramName, versionText } from '../../base/program.ts';
import { runProgram } from '../attach/command.ts';
import { hasLink } from '../attach/link.ts';
import { defaultRemote, SwitchDb } from '../attach/switch-db.ts';
import type { ContainerEvent } from './engine.ts';
import { EngineError, HttpEngine } from './engine.ts';
import { DockerUsageError, parseAddPort, parseGlobalOptions, parseVlan, usage } from './options.ts';
import type { Attached, DockerDeps } from './ports.ts';
import { addPort, attachments, attachmentsOf, DockerError, removeAttachment, restore } from './ports.ts';

/** `turnout docker`: the arguments, the messages and the exit codes of ovs-docker(8), and more commands. */

interface DockerCommand {
  /** Fewer words get the usage and exit code 1. */
  readonly minWords: number;
  run(deps: DockerDeps, words: readonly string[]): Promise<number>;
}

const COMMANDS: Readonly<Record<string, DockerCommand>> = {
  'add-port': { minWords: 0, run: addPortCommand },
  'del-port': { minWords: 3, run: deletePort },
  'del-ports': { minWords: 2, run: deletePorts },
  'set-vlan': { minWords: 4, run: setVlan },
  ls: { minWords: 0, run: list },
  restore: { minWords: 0, run: restoreAll },
  watch: { minWords: 0, run: watch },
};

/** Resolves with the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  setProgramName('ovs-docker');
  try {
    return await dispatch(argv);
  } catch (error) {
    if (error instanceof DockerUsageError) complain(error.message, ' ');
    else explain(error as Error);
    return 1;
  }
}

async function dispatch(argv: readonly string[]): Promise<number> {
  const { options, rest } = parseGlobalOptions(argv);
  const [name, ...words] = rest;
  if (name === undefined || name === '-h' || name === '--help') return print(usage(programName()));
  if (name === '-V' || name === '--version') return print(versionText());
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name]! : undefined;
  if (!command) {
    complain(`unknown command "${name}" (use --help for help)`);
    return 1;
  }
  if (words.length < command.minWords) {
    print(usage(programName()));
    return 1;
  }
  // Before the database is asked: what is wrong with the words needs no switch.
  if (name === 'add-port') parseAddPort(words);
  if (name === 'set-vlan') parseVlan(words[3]!);
  const comment = `${programName()}: ${argv.join(' ')}`;
  const db = await SwitchDb.open(options.db ?? defaultRemote(), options.timeoutS * 1000, comment);
  try {
    const engine = new HttpEngine(process.env.DOCKER_HOST);
    return await command.run({ engine, db, run: runProgram, note: (text) => print(`${text}\n`) }, words);
  } finally {
    db.close();
  }
}

async function addPortCommand(deps: DockerDeps, words: readonly string[]): Promise<number> {
  await addPort(deps, parseAddPort(words));
  return 0;
}

/** The interface, or undefined with ovs-docker's complaint. */
async function mustFind(deps: DockerDeps, container: string, iface: string): Promise<Attached | undefined> {
  const found = (await attachmentsOf(deps, container)).find(({ attachment }) => attachment.iface === iface);
  if (!found) complain(`Failed to find any attached port for CONTAINER=${container} and INTERFACE=${iface}`);
  return found;
}

async function deletePort(deps: DockerDeps, [, iface, container]: readonly string[]): Promise<number> {
  const found = await mustFind(deps, container!, iface!);
  if (!found) return 1;
  await removeAttachment(deps, found);
  return 0;
}

async function deletePorts(deps: DockerDeps, [, container]: readonly string[]): Promise<number> {
  for (const found of await attachmentsOf(deps, container!)) await removeAttachment(deps, found);
  return 0;
}

async function setVlan(deps: DockerDeps, [, iface, container, vlan]: readonly string[]): Promise<number> {
  const found = await mustFind(deps, container!, iface!);
  if (!found) return 1;
  await deps.db.updatePort(found.record.name, { port: { tag: parseVlan(vlan!) } });
  return 0;
}

interface ListedPort {
  container: string;
  interface: string;
  bridge: string;
  port: string;
  type: string;
  ofport: number | null;
  vlan: number | null;
  addresses: readonly string[];
  socket: string | null;
  /** `attached`; `no link`: its veth pair is gone (`restore` makes it anew); else what the switch says is wrong. */
  state: string;
}

async function list(deps: DockerDeps, words: readonly string[]): Promise<number> {
  const [word] = words.filter((one) => one !== '--json');
  if (word !== undefined) throw new DockerUsageError(`ls: unknown option "${word}"`);
  const ports = await Promise.all(attachments(deps.db).map((one) => listed(deps, one)));
  ports.sort((a, b) => (`${a.container} ${a.interface}` < `${b.container} ${b.interface}` ? -1 : 1));
  if (words.includes('--json')) return print(`${JSON.stringify(ports, undefined, 2)}\n`);
  const head = ['CONTAINER', 'INTERFACE', 'BRIDGE', 'PORT', 'OFPORT', 'VLAN', 'ADDRESSES', 'STATE'];
  const rows = ports.map((p) => [
    ...[p.container, p.interface, p.bridge, p.port, String(p.ofport ?? '-'), String(p.vlan ?? '-')],
    p.socket ?? (p.addresses.join(',') || '-'),
    p.state,
  ]);
  return print(table([head, ...rows]));
}

async function listed({ run }: DockerDeps, { record, attachment }: Attached): Promise<ListedPort> {
  const isVeth = attachment.socket === undefined;
  const state = isVeth && !(await hasLink(run, record.name)) ? 'no link' : (record.error ?? 'attached');
  return {
    container: attachment.dockerName ?? attachment.containerId,
    interface: attachment.iface,
    bridge: record.bridge,
    port: record.name,
    type: isVeth ? 'veth' : record.type,
    ofport: record.ofport ?? null,
    vlan: record.tag ?? null,
    addresses: attachment.addresses,
    socket: attachment.socket ?? null,
    state,
  };
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd();
  return `${rows.map(line).join('\n')}\n`;
}

async function restoreAll(deps: DockerDeps, [container]: readonly string[]): Promise<number> {
  const all = container === undefined ? attachments(deps.db) : await attachmentsOf(deps, container);
  return (await restoreEach(deps, all)) ? 0 : 1;
}

/** One that cannot be made anew does not stop the others. */
async function restoreEach(deps: DockerDeps, all: readonly Attached[]): Promise<boolean> {
  let isWhole = true;
  for (const one of all) {
    try {
      if (await restore(deps, one)) deps.note(`restored ${one.attachment.iface} of ${nameOf(one)}`);
    } catch (error) {
      explain(error as Error);
      isWhole = false;
    }
  }
  return isWhole;
}

const nameOf = ({ attachment }: Attached): string => attachment.dockerName ?? attachment.containerId;

const PAUSE_MS = 1000;

/** Ends with SIGINT or SIGTERM. An engine that is restarted is asked again. */
async function watch(deps: DockerDeps): Promise<number> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  while (!stop.signal.aborted) {
    try {
      await watchOnce(deps, stop.signal);
    } catch (error) {
      if (!stop.signal.aborted) explain(error as Error);
    }
    if (!stop.signal.aborted) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return 0;
}

async function watchOnce(deps: DockerDeps, signal: AbortSignal): Promise<void> {
  let first: Promise<unknown> = Promise.resolve();
  // What happened before the engine was listened to.
  const onOpen = () => {
    deps.note('watching');
    first = restoreEach(deps, attachments(deps.db));
  };
  for await (const event of deps.engine.events(onOpen, signal)) {
    await first;
    await onEvent(deps, event);
  }
}

async function onEvent(deps: DockerDeps, { action, id }: ContainerEvent): Promise<void> {
  const all = action === 'start' ? await attachmentsOf(deps, id) : attachmentsOfGone(deps, id);
  if (action === 'start') await restoreEach(deps, all.length > 0 ? all : attachments(deps.db));
  else {
    for (const one of all) {
      await removeAttachment(deps, one);
      deps.note(`removed ${one.attachment.iface} of ${nameOf(one)}`);
    }
  }
}

function attachmentsOfGone({ db }: DockerDeps, id: string): Attached[] {
  return attachments(db).filter(({ attachment }) => attachment.dockerId === id);
}

function explain(error: Error): void {
  const isExpected = error instanceof DockerError || error instanceof EngineError;
  if (isExpected && error.cause instanceof Error) complain(error.cause.message);
  complain(error.message);
}

/** ovs-docker puts a colon behind its name; what is wrong with a command's words starts with the command itself. */
function complain(text: string, separator = ': '): void {
  process.stderr.write(`${programName()}${separator}${text}\n`);
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}
