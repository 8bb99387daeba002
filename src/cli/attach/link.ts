import { isIP } from 'node:net';
import type { RunProgram } from './command.ts';
import { CommandFailed, mustRun } from './command.ts';
import type { Netns } from './netns.ts';
import type { Step } from './steps.ts';

/** The kernel's side of an attachment: a veth pair, addresses and routes, by ip(8). */

/** What an interface in a container is to be. */
export interface LinkSpec {
  /** In the host's namespace. */
  readonly hostName: string;
  /** In the container's. */
  readonly name: string;
  readonly mtu?: number | undefined;
  readonly mac?: string | undefined;
  /** IPv4 or IPv6, each with or without a prefix length. */
  readonly addresses: readonly string[];
  readonly routes: readonly RouteSpec[];
}

export interface RouteSpec {
  /** A prefix; `0.0.0.0/0` and `::/0` are the default routes. */
  readonly dst: string;
  readonly gw?: string | undefined;
  readonly mtu?: number | undefined;
  readonly advmss?: number | undefined;
  readonly priority?: number | undefined;
  readonly table?: number | undefined;
  readonly scope?: number | undefined;
}

export const isIpv6 = (address: string): boolean => isIP(address.split('/')[0]!) === 6;

/** The least MTU of IPv4 (RFC 791) and the most that a veth takes. */
const MIN_MTU = 68;
const MAX_MTU = 65535;

/** Why `name` cannot be a network interface's, or undefined. */
export function interfaceNameError(name: string): string | undefined {
  if (name === '' || name === '.' || name === '..') return `"${name}" is not an interface name`;
  if (/[\s/:\0]/.test(name)) return `interface name "${name}" has a character that the kernel refuses`;
  return Buffer.byteLength(name) > 15 ? `interface name "${name}" is longer than 15 bytes` : undefined;
}

export function addressError(address: string): string | undefined {
  const [ip, prefix, ...rest] = address.split('/');
  const version = isIP(ip!);
  const isPrefix = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 6 ? 128 : 32));
  const isAddress = version !== 0 && !ip!.includes('%') && isPrefix && rest.length === 0;
  return isAddress ? undefined : `"${address}" is not an IP address (ADDRESS or ADDRESS/PREFIX)`;
}

export function macError(mac: string): string | undefined {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac)) return `"${mac}" is not a MAC address`;
  const isGroup = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
  return isGroup || /^[0:]+$/.test(mac) ? `"${mac}" is not a MAC address that an interface can have` : undefined;
}

export function mtuError(mtu: number): string | undefined {
  const isMtu = Number.isInteger(mtu) && mtu >= MIN_MTU && mtu <= MAX_MTU;
  return isMtu ? undefined : `MTU ${mtu} is not in ${MIN_MTU} to ${MAX_MTU}`;
}

/** The commands that make a veth pair whose one end is in the container from the first moment, and set it up. Pure. */
export function vethCommands(spec: LinkSpec, netns: Pick<Netns, 'inside'>, ourPid: number): string[][] {
  const mtu = spec.mtu === undefined ? [] : ['mtu', String(spec.mtu)];
  const mac = spec.mac === undefined ? [] : ['address', spec.mac];
  const peer = ['peer', 'name', spec.hostName, ...mtu, 'netns', String(ourPid)];
  return [
    netns.inside('ip', 'link', 'add', 'name', spec.name, ...mtu, ...mac, 'type', 'veth', ...peer),
    ...setUpCommands(spec, netns),
    ['ip', 'link', 'set', 'dev', spec.hostName, 'up'],
  ];
}

/** The commands that give a link in the container its addresses and routes. Pure. */
export function setUpCommands(
  spec: Pick<LinkSpec, 'name' | 'addresses' | 'routes'>,
  netns: Pick<Netns, 'inside'>,
): string[][] {
  const inside = (...argv: string[]) => netns.inside(...argv);
  return [
    ...spec.addresses.map((address) => inside('ip', ...addressArguments(address), 'dev', spec.name)),
    inside('ip', 'link', 'set', 'dev', spec.name, 'up'),
    ...spec.routes.map((route) => inside('ip', ...routeArguments(route, spec.name))),
  ];
}

/** Nobody else can have an IPv6 address that was given out: it need not be tried first. */
function addressArguments(address: string): string[] {
  return isIpv6(address) ? ['-6', 'address', 'add', address, 'nodad'] : ['address', 'add', address];
}

function routeArguments(route: RouteSpec, dev: string): string[] {
  const numbers = { mtu: route.mtu, advmss: route.advmss, metric: route.priority, table: route.table };
  const words = Object.entries(numbers).flatMap(([word, n]) => (n === undefined ? [] : [word, String(n)]));
  const via = route.gw === undefined ? [] : ['via', route.gw];
  const scope = route.scope === undefined ? [] : ['scope', String(route.scope)];
  return [isIpv6(route.dst) ? '-6' : '-4', 'route', 'add', route.dst, ...via, 'dev', dev, ...scope, ...words];
}

export interface LinkDeps {
  readonly run: RunProgram;
  readonly netns: Netns;
}

/** The steps that make the pair; to undo the first takes all with it. */
export function vethSteps(spec: LinkSpec, { run, netns }: LinkDeps): Step[] {
  const commands = vethCommands(spec, netns, process.pid);
  const ipv6 = spec.addresses.some(isIpv6) ? [ipv6Step(spec.name, { run, netns })] : [];
  const steps = commands.map((argv): Step => commandStep(argv, run));
  const undo = () => deleteLink(run, spec.hostName);
  return [{ ...steps[0]!, undo }, ...ipv6, ...steps.slice(1)];
}

export function commandStep(argv: readonly string[], run: RunProgram): Step {
  return {
    what: argv.join(' '),
    apply: async () => {
      await mustRun(run, argv);
    },
  };
}

/** Docker switches IPv6 off in the namespaces that it makes. */
export function ipv6Step(name: string, { run, netns }: LinkDeps): Step {
  const file = `/proc/sys/net/ipv6/conf/${name}/disable_ipv6`;
  return {
    what: `allow IPv6 on ${name}`,
    apply: async () => {
      await mustRun(run, netns.inside('tee', file), { input: '0' });
    },
  };
}

/** Deletes a link of the host's namespace; none of that name is as good. */
export async function deleteLink(run: RunProgram, name: string): Promise<void> {
  const argv = ['ip', 'link', 'delete', 'dev', name];
  const ran = await run(argv);
  // It may go by itself at any moment, with the namespace of its peer.
  if (ran.status !== 0 && (await hasLink(run, name))) throw new CommandFailed(argv, ran);
}

export async function hasLink(run: RunProgram, name: string): Promise<boolean> {
  return (await run(['ip', 'link', 'show', 'dev', name])).status === 0;
}

/** A link as `ip -json` shows it. */
export interface LinkState {
  readonly ifname: string;
  readonly address: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

/** The container's link of that name with its addresses, or undefined. */
export async function linkInside({ run, netns }: LinkDeps, name: string): Promise<LinkState | undefined> {
  const { status, stdout } = await run(netns.inside('ip', '-json', 'address', 'show', 'dev', name));
  return status === 0 ? (JSON.parse(stdout) as LinkState[]).find((link) => link.ifname === name) : undefined;
}
