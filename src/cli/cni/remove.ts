import { rmSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { deleteLink } from '../attach/link.ts';
import type { PortRecord } from '../attach/switch-db.ts';
import { type CniCall, idOf, portName, portOf, portsOfNetwork } from './attachment.ts';
import { hasGc, isMirrorPlugin } from './config.ts';
import { Delegate } from './delegate.ts';
import { invalidConfig } from './error.ts';
import { configurationFile } from './files.ts';
import { leaveMirrors, removeEmptyMirrors } from './mirror.ts';
import { removeIfEmpty, SHORT_ID, shortFolder, withdrawSocket } from './socket.ts';

/** DEL and GC. Both do all they can, and then report the first thing that could not be done. */

export async function del(call: CniCall): Promise<void> {
  const { db, config, environment } = call;
  if (config.prevResult && isMirrorPlugin(config)) {
    const names = config.prevResult.interfaces.map(({ name }) => name);
    const port = db.ports().find(({ name }) => names.includes(name));
    if (port) await leaveMirrors(db, port.name, config.mirrors);
    return;
  }
  const port = portOf(db, config.name, idOf(environment));
  await inTurn([
    ...(config.hasPortMappings ? [() => delegated(call, 'portmap', 'DEL')] : []),
    ...(port ? [() => removePort(call, port)] : []),
    // What a plugin that was killed left: the name is the attachment's own.
    () => deleteLink(call.run, portName(idOf(environment), 'l')),
    ...(config.ipam === undefined ? [] : [() => delegated(call, config.ipam!, 'DEL')]),
  ]);
}

/** What DEL can do without the database; the runtime is to call it again. */
export async function delWithoutSwitch(call: Omit<CniCall, 'db'>): Promise<void> {
  const { config, environment, run } = call;
  await inTurn([
    () => deleteLink(run, portName(idOf(environment), 'l')),
    ...(config.ipam === undefined ? [] : [() => delegated(call, config.ipam!, 'DEL')]),
  ]);
}

/** Does all, and then throws the first error. */
async function inTurn(works: readonly (() => Promise<unknown>)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const work of works) {
    try {
      await work();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

async function delegated(call: Omit<CniCall, 'db'>, type: string, command: 'DEL' | 'GC'): Promise<void> {
  const { environment, config, run } = call;
  const plugin = await Delegate.find(type, environment, config, run);
  if (command === 'GC' && !plugin.hasGc) return;
  await plugin.call(command, { prevResult: config.prevResult });
}

/** Removes the port, its device, its socket and its mirrors. All that is missing is as good. */
export async function removePort({ db, run }: Pick<CniCall, 'db' | 'run'>, port: PortRecord): Promise<void> {
  const socket = port.externalIds.get('container_socket');
  await db.deletePort(port.name);
  await removeEmptyMirrors(db);
  if (socket !== undefined) await removeSocket({ db, run }, port, socket);
  else if (!port.externalIds.has('cni_adopted')) await deleteLink(run, port.name);
}

async function removeSocket({ db, run }: Pick<CniCall, 'db' | 'run'>, port: PortRecord, socket: string): Promise<void> {
  await withdrawSocket(socket, run);
  const [containerId = '', ifname = ''] = ['container_id', 'container_iface'].map((key) => port.externalIds.get(key));
  rmSync(configurationFile(dirname(socket), { containerId, ifname }), { force: true });
  // A pod's own volume is not ours to remove.
  if (basename(dirname(socket)) === containerId.slice(0, SHORT_ID)) removeIfEmpty(dirname(socket));
  const link = dirname(port.options.get('vhost-server-path') ?? '');
  const isUsed = db.ports().some(({ options }) => dirname(options.get('vhost-server-path') ?? '') === link);
  if (dirname(link) === shortFolder() && !isUsed) rmSync(link, { force: true });
}

/** Removes what belongs to no valid attachment of the network. */
export async function gc(call: CniCall): Promise<void> {
  const { db, config } = call;
  if (!('cni.dev/valid-attachments' in config.raw))
    throw invalidConfig('GC removes all but the attachments in "cni.dev/valid-attachments", and there is no such list');
  const valid = new Set((config.validAttachments ?? []).map((one) => `${one.containerID}\0${one.ifname}`));
  const isStale = ({ externalIds }: PortRecord) =>
    !valid.has(`${externalIds.get('container_id')}\0${externalIds.get('container_iface')}`);
  const stale = portsOfNetwork(db, config.name).filter(isStale);
  await inTurn([
    ...stale.map((port) => () => removePort(call, port)),
    ...(config.ipam === undefined ? [] : [() => collectAddresses(call, stale)]),
  ]);
}

/** A plugin of before 1.1.0 is told of each stale attachment by itself. */
async function collectAddresses(call: CniCall, stale: readonly PortRecord[]): Promise<void> {
  const { environment, config, run } = call;
  const ipam = await Delegate.find(config.ipam!, environment, config, run);
  if (hasGc(ipam.version)) return void (await ipam.call('GC'));
  await inTurn(
    stale.map(({ externalIds }) => () => {
      const env = {
        CNI_CONTAINERID: externalIds.get('container_id'),
        CNI_IFNAME: externalIds.get('container_iface'),
        CNI_NETNS: '',
      };
      return ipam.call('DEL', { env });
    }),
  );
}
