import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { ovsRundir } from '../../base/dirs.ts';
import { linkInside } from '../attach/link.ts';
import type { Netns } from '../attach/netns.ts';
import { mirroredPort, openNetns } from './add.ts';
import { type CniCall, idOf, portOf } from './attachment.ts';
import { isMirrorPlugin } from './config.ts';
import { Delegate } from './delegate.ts';
import { CNI_CHECK, CNI_LIMITED_CONNECTIVITY, CNI_NOT_AVAILABLE, CniError, invalidConfig } from './error.ts';
import { isInMirror } from './mirror.ts';

/** CHECK and STATUS. */

const wrong = (what: string) => new CniError(CNI_CHECK, what);

export async function check(call: CniCall): Promise<void> {
  const { config, environment, db, run } = call;
  if (!config.prevResult) throw invalidConfig('"prevResult" is missing');
  const netns = openNetns(environment.netns);
  try {
    const isMirror = isMirrorPlugin(config);
    const port = isMirror ? mirroredPort(call) : checkPort(call);
    for (const mirror of config.mirrors) {
      if (!isInMirror(db, port, mirror)) throw wrong(`port ${port} is not in mirror ${mirror.name}`);
    }
    if (!isMirror && config.kind !== 'vhostuser') await checkLink(call, netns);
  } finally {
    netns.close();
  }
  if (config.ipam === undefined) return;
  const ipam = await Delegate.find(config.ipam, environment, config, run);
  // 0.4.0 brought CHECK.
  if (ipam.version !== '0.3.0' && ipam.version !== '0.3.1') await ipam.call('CHECK', { prevResult: config.prevResult });
}

function checkPort({ db, config, environment }: CniCall): string {
  const port = portOf(db, config.name, idOf(environment));
  if (!port) throw wrong(`${environment.ifname} of container ${environment.containerId} has no port`);
  if (port.bridge !== config.bridge) throw wrong(`port ${port.name} is on bridge ${port.bridge}, not ${config.bridge}`);
  if (port.tag !== config.vlan)
    throw wrong(`port ${port.name} is in VLAN ${port.tag ?? 'none'}, not ${config.vlan ?? 'none'}`);
  if (port.trunks.join() !== config.trunk.join())
    throw wrong(`port ${port.name} has another trunk: ${port.trunks.join()}`);
  if (port.error !== undefined) throw wrong(`port ${port.name}: ${port.error}`);
  if ((port.ofport ?? -1) === -1) throw wrong(`the switch does not have port ${port.name}`);
  return port.name;
}

async function checkLink({ config, environment, run }: CniCall, netns: Netns): Promise<void> {
  const { ifname } = environment;
  const link = await linkInside({ run, netns }, ifname);
  if (!link) throw wrong(`the container has no interface ${ifname}`);
  if (!link.flags.includes('UP')) throw wrong(`${ifname} is down`);
  const { interfaces, ips, routes } = config.prevResult!;
  const index = interfaces.findIndex(({ name, sandbox }) => name === ifname && sandbox !== undefined);
  const { mac, mtu } = interfaces[index] ?? {};
  if (mac !== undefined && mac.toLowerCase() !== link.address)
    throw wrong(`${ifname} has MAC ${link.address}, not ${mac}`);
  if (mtu !== undefined && mtu !== link.mtu) throw wrong(`${ifname} has MTU ${link.mtu}, not ${mtu}`);
  const has = new Set(link.addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`));
  const missing = ips.find((ip) => ip.interface === index && !has.has(ip.address));
  if (missing) throw wrong(`${ifname} does not have address ${missing.address}`);
  for (const { dst } of routes) {
    const family = dst.includes(':') ? '-6' : '-4';
    const { stdout } = await run(netns.inside('ip', family, '-json', 'route', 'show', dst, 'table', 'all'));
    if (stdout.trim() === '' || stdout.trim() === '[]') throw wrong(`the container has no route to ${dst}`);
  }
}

/** Codes 50 and 51: without its database nothing can be added; without the switch what is there has no connection either. */
export async function status({ db, config, environment, run }: CniCall): Promise<void> {
  if (!db.hasBridge(config.bridge) && !config.makesBridge) {
    throw new CniError(CNI_NOT_AVAILABLE, 'the plugin is not available', `no bridge named ${config.bridge}`);
  }
  if (!(await isSwitchRunning())) {
    throw new CniError(CNI_LIMITED_CONNECTIVITY, 'the plugin is not available', 'ovs-vswitchd is not running');
  }
  if (config.ipam === undefined) return;
  const ipam = await Delegate.find(config.ipam, environment, config, run).catch((error: Error) => {
    throw new CniError(CNI_NOT_AVAILABLE, 'the plugin is not available', error.message);
  });
  if (ipam.hasGc) await ipam.call('STATUS');
}

/** Whether somebody listens on the switch's control socket: true from any pid namespace. */
function isSwitchRunning(): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  let pid: string;
  try {
    pid = readFileSync(`${ovsRundir()}/ovs-vswitchd.pid`, 'utf8').trim();
  } catch {
    return Promise.resolve(false);
  }
  const socket = connect(`${ovsRundir()}/ovs-vswitchd.${pid}.ctl`, () => resolve(true));
  socket.on('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}
