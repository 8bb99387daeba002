/** A CNI runtime for tests: calls plugins with an environment and a configuration, as libcni does. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { command } from '../../../bench/peers/process.ts';
import type { Netns } from './netns.ts';
import type { Switch } from './switch.ts';

const OURS = join(dirname(fileURLToPath(import.meta.url)), '../../../compat/cni');
/** Debian's containernetworking-plugins. */
export const CNI_PLUGINS = '/usr/lib/cni';
const PLUGIN = join(OURS, 'turnout');

// biome-ignore lint/suspicious/noExplicitAny: JSON that the tests take apart.
export type Json = any;

export interface CniAnswer {
  status: number;
  /** What was on stdout, or undefined when nothing was. */
  json: Json;
  stderr: string;
}

export interface Attachment {
  containerId: string;
  ifname: string;
  netns: string;
}

export const attachment = (netns: Netns, containerId: string, ifname = 'eth0'): Attachment => ({
  containerId,
  ifname,
  netns: `/run/netns/${netns.name}`,
});

/** Calls the plugin in the switch's namespace, or with `prefix` elsewhere. `env` replaces variables. */
export async function callPlugin(
  sw: Switch,
  verb: string,
  config: object | string,
  to?: Attachment,
  env: NodeJS.ProcessEnv = {},
  prefix: string[] = sw.netns.prefix,
): Promise<CniAnswer> {
  const cni = {
    CNI_COMMAND: verb,
    CNI_PATH: `${CNI_PLUGINS}:${OURS}`,
    ...(to && { CNI_CONTAINERID: to.containerId, CNI_NETNS: to.netns, CNI_IFNAME: to.ifname }),
  };
  const input = typeof config === 'string' ? config : JSON.stringify(config);
  const { status, stdout, stderr } = await command([...prefix, PLUGIN], {
    env: { ...sw.env, ...cni, ...env },
    input,
  });
  return { status, json: stdout === '' ? undefined : JSON.parse(stdout), stderr };
}
