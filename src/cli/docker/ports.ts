import { randomUUID } from 'node:crypto';
import { mkdirSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ovsRundir } from '../../base/dirs.ts';
import { addressInUse } from '../attach/addresses.ts';
import type { RunProgram } from '../attach/command.ts';
import { deleteLink, linkInside, vethSteps } from '../attach/link.ts';
import { Netns } from '../attach/netns.ts';
import type { Step } from '../attach/steps.ts';
import { applySteps } from '../attach/steps.ts';
import type { PortRecord, SwitchDb } from '../attach/switch-db.ts';
import type { Attachment } from './attachment.ts';
import { attachmentOf, externalIdsOf, isOf, linkSpecOf } from './attachment.ts';
import type { Container, Engine } from './engine.ts';
import type { AddPortOptions } from './options.ts';

/** What went wrong, in ovs-docker's words; `cause` says why. */
export class DockerError extends Error {
  override name = 'DockerError';
}

export interface DockerDeps {
  readonly engine: Engine;
  readonly db: SwitchDb;
  readonly run: RunProgram;
  /** A line of what is to be known besides. */
  note(text: string): void;
}

export interface Attached {
  readonly record: PortRecord;
  readonly attachment: Attachment;
}

export function attachments(db: SwitchDb): Attached[] {
  return db.ports().flatMap((record) => {
    const attachment = attachmentOf(record);
    return attachment ? [{ record, attachment }] : [];
  });
}

/** The interfaces of one container. The engine is asked, but need not know the container any more, nor run. */
export async function attachmentsOf({ engine, db }: DockerDeps, reference: string): Promise<Attached[]> {
  const container = await engine.inspect(reference).catch(() => undefined);
  return attachments(db).filter(({ attachment }) => isOf(attachment, reference, container));
}

/** The thirteen characters that a port's name starts with, as ovs-docker makes them. */
const newPortId = (): string => randomUUID().replaceAll('-', '').slice(0, 13);

/** A container that runs, with its network namespace; the caller closes that. */
async function runningContainer(engine: Engine, reference: string): Promise<{ container: Container; netns: Netns }> {
  const refuse = (why: string, cause?: unknown) =>
    new DockerError('Failed to get the PID of the container', { cause: new Error(why, { cause }) });
  const container = await engine.inspect(reference).catch((error: Error) => {
    throw refuse(error.message, error);
  });
  if (!container) throw refuse(`No such container: ${reference}`);
  if (!container.isRunning || container.pid === 0) throw refuse(`container ${reference} is not running`);
  const netns = openNetns(container.pid);
  if (!netns) throw refuse(`container ${reference} ended meanwhile`);
  // Only now is it certain that the pid was still the container's when its namespace was opened.
  const again = await engine.inspect(container.id);
  if (again?.pid === container.pid) return { container, netns };
  netns.close();
  throw refuse(`container ${reference} ended meanwhile`);
}

function openNetns(pid: number): Netns | undefined {
  try {
    return Netns.open(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

async function ensureBridge(db: SwitchDb, name: string, datapathType?: string): Promise<void> {
  await db.ensureBridge(name, datapathType).catch((error: Error) => {
    throw new DockerError(`Failed to create bridge ${name}`, { cause: error });
  });
}

/** Adds what `add-port` is to add. Nothing is left of it when it fails. */
export async function addPort(deps: DockerDeps, options: AddPortOptions): Promise<void> {
  const { bridge, iface, container } = options;
  const [present] = (await attachmentsOf(deps, container)).filter(({ attachment }) => attachment.iface === iface);
  if (present && !options.mayExist) {
    throw new DockerError(`Port already attached for CONTAINER=${container} and INTERFACE=${iface}`);
  }
  if (present && present.record.bridge !== bridge) {
    throw new DockerError(
      `Port already attached for CONTAINER=${container} and INTERFACE=${iface}, to bridge ${present.record.bridge}`,
    );
  }
  if (present) return;
  if (options.dpdk) await addDpdkPort(deps, options);
  else await addVethPort(deps, options);
}

async function addVethPort(deps: DockerDeps, options: AddPortOptions): Promise<void> {
  const { engine, db, run } = deps;
  const { container, netns } = await runningContainer(engine, options.container);
  try {
    const attachment = newAttachment(options, `${newPortId()}_l`, container);
    if (await linkInside({ run, netns }, options.iface)) {
      throw new DockerError(`container ${options.container} already has an interface ${options.iface}`);
    }
    const used = addressInUse(db, { bridge: options.bridge, vlan: undefined }, options.addresses);
    if (used !== undefined) throw new DockerError(used);
    await ensureBridge(db, options.bridge);
    const link = vethSteps(linkSpecOf(attachment), { run, netns });
    await applySteps([...link, portStep(deps, options.bridge, attachment, netns)]);
  } finally {
    netns.close();
  }
}

function newAttachment(options: AddPortOptions, port: string, container: Container | undefined): Attachment {
  const { iface, addresses, gateways, mac, mtu } = options;
  const names = { containerId: options.container, dockerId: container?.id, dockerName: container?.name };
  return { port, iface, ...names, addresses, gateways, mac, mtu, socket: undefined };
}

/** The switch takes the port on last, when all of it is there. */
function portStep({ db, run }: DockerDeps, bridge: string, attachment: Attachment, netns: Netns): Step {
  const { port, iface } = attachment;
  return {
    what: `add port ${port}`,
    apply: async () => {
      // A MAC that the kernel chose is to be the same after a restart.
      const mac = (await linkInside({ run, netns }, iface))?.address;
      const ids = externalIdsOf({ ...attachment, mac });
      await db.addPort({ bridge, name: port, iface: { external_ids: ids } }).catch((error: Error) => {
        throw new DockerError(`Failed to add ${port} port to bridge ${bridge}`, { cause: error });
      });
    },
    undo: () => db.deletePort(port, false),
  };
}

/** What a path of a unix socket may take (unix(7): sun_path with its final zero). */
const MAX_SOCKET_PATH = 107;

async function addDpdkPort(deps: DockerDeps, options: AddPortOptions): Promise<void> {
  const { db, engine } = deps;
  const container = await engine.inspect(options.container);
  const port = `${newPortId()}_v`;
  const socket = socketPath(options, port);
  if (Buffer.byteLength(socket) > MAX_SOCKET_PATH) {
    throw new DockerError(`socket path ${socket} is longer than ${MAX_SOCKET_PATH} bytes: give a shorter --socket-dir`);
  }
  await ensureBridge(db, options.bridge, 'netdev');
  const isClient = options.dpdk === 'client';
  const attachment = { ...newAttachment(options, port, container), socket };
  const iface = {
    type: isClient ? 'dpdkvhostuserclient' : 'dpdkvhostuser',
    ...(isClient && { options: { 'vhost-server-path': socket } }),
    external_ids: externalIdsOf(attachment),
    ...(options.mtu !== undefined && { mtu_request: options.mtu }),
  };
  await applySteps([
    ...(isClient ? [folderStep(dirname(socket))] : []),
    {
      what: `add port ${port}`,
      apply: async () => {
        await db.addPort({ bridge: options.bridge, name: port, iface }).catch((error: Error) => {
          throw new DockerError(`Failed to add ${port} port to bridge ${options.bridge}`, { cause: error });
        });
      },
      undo: () => db.deletePort(port, false),
    },
  ]);
  for (const line of mountAdvice(options, socket, container)) deps.note(line);
}

function socketPath({ dpdk, socketDir, container, iface }: AddPortOptions, port: string): string {
  if (dpdk === 'server') return join(ovsRundir(), port);
  return join(socketDir ?? join(ovsRundir(), 'containers', container.replaceAll('/', '_')), `${iface}.sock`);
}

function folderStep(folder: string): Step {
  let first: string | undefined;
  return {
    what: `make folder ${folder}`,
    apply: async () => {
      first = mkdirSync(folder, { recursive: true });
    },
    undo: async () => {
      // From the deepest up to the first that was made here; what others have put something into stays.
      for (let at = folder; first !== undefined && at.startsWith(first); at = dirname(at)) removeEmptyFolder(at);
    },
  };
}

function removeEmptyFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Not empty, or gone.
  }
}

/** What the container has to mount, and how the application reaches the socket. Pure. */
export function mountAdvice(
  options: Pick<AddPortOptions, 'dpdk' | 'container' | 'mac'>,
  socket: string,
  container: Container | undefined,
): string[] {
  const mount = options.dpdk === 'server' ? socket : dirname(socket);
  const holder = container?.mounts.find(({ source }) => source === mount || mount.startsWith(`${source}/`));
  const inside = holder ? holder.destination + socket.slice(holder.source.length) : socket;
  const vdev = [
    `--vdev=net_virtio_user0,path=${inside}`,
    ...(options.dpdk === 'client' ? ['server=1'] : []),
    ...(options.mac === undefined ? [] : [`mac=${options.mac}`]),
  ].join(',');
  const lines = [`socket: ${socket}`];
  if (!holder) lines.push(`mount: --volume ${mount}:${mount} --volume /dev/hugepages:/dev/hugepages`);
  if (container && !holder) lines.push(`note: ${options.container} does not mount ${mount}: start it anew with that`);
  return [...lines, `application: ${vdev}`];
}

/** Removes a port, its veth pair and the folder of its socket. All that is missing is as good. */
export async function removeAttachment({ db, run }: DockerDeps, { record, attachment }: Attached): Promise<void> {
  await db.deletePort(record.name);
  if (attachment.socket === undefined) await deleteLink(run, record.name);
  else if (record.type === 'dpdkvhostuserclient') removeEmptyFolder(dirname(attachment.socket));
}

/** Makes a veth pair anew whose container was restarted; false when it is there or the container does not run. */
export async function restore(deps: DockerDeps, { record, attachment }: Attached): Promise<boolean> {
  if (attachment.socket !== undefined) return false;
  const { engine, run } = deps;
  const container = await findAgain(engine, attachment);
  if (!container?.isRunning) return false;
  const { netns } = await runningContainer(engine, container.id);
  try {
    if (await linkInside({ run, netns }, attachment.iface)) return false;
    // The namespace of the container's last life may be going only now, and the pair with it.
    await deleteLink(run, record.name);
    const steps = vethSteps(linkSpecOf(attachment), { run, netns });
    await applySteps([...steps, adoptStep(deps, attachment, container)]);
  } finally {
    netns.close();
  }
  return true;
}

/** By id; a container that was made anew under its old name gets the ports of that name. */
async function findAgain(engine: Engine, attachment: Attachment): Promise<Container | undefined> {
  const { dockerId, dockerName, containerId } = attachment;
  for (const reference of [dockerId, dockerName, containerId]) {
    const container = reference === undefined ? undefined : await engine.inspect(reference);
    if (container) return container;
  }
  return undefined;
}

/** Has the switch open the device that has come back under the port's name, and notes the container's present id. */
function adoptStep({ db }: DockerDeps, attachment: Attachment, container: Container): Step {
  const ids = externalIdsOf({ ...attachment, dockerId: container.id, dockerName: container.name });
  return {
    what: `take on ${attachment.port}`,
    apply: async () => {
      await db.updatePort(attachment.port, { iface: { external_ids: ids } });
      await db.reopenPort(attachment.port);
    },
  };
}
