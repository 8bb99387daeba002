import { UnixctlError } from '../base/unixctl.ts';
import { parseMac } from '../openflow/address-text.ts';
import { allBridges, type Backends } from './appctl-bridges.ts';
import { BOND_BUCKETS, type Bond, bondHashMac } from './bond.ts';
import type { CommandRegistry } from './config.ts';
import { macNumber } from './mac-learning.ts';
import type { Bundle } from './port-bundle.ts';

/** `bond/…` and `lacp/…`, in the words of ovs-vswitchd(8). */

const bundlesOf = (backends: Backends): Bundle[] =>
  allBridges(backends).flatMap((bridge) => [...bridge.links.bundles.values()]);

const bonds = (backends: Backends): Bond[] => bundlesOf(backends).flatMap((b) => b.bond ?? []);

function findBond(backends: Backends, name: string): Bond {
  const bond = bonds(backends).find((b) => b.name === name);
  if (!bond) throw new UnixctlError('no such bond');
  return bond;
}

function answer(reply: string | { error: string }): string {
  if (typeof reply === 'string') return reply;
  throw new UnixctlError(reply.error);
}

export function registerBond(registry: CommandRegistry, backends: Backends): void {
  registry.register('bond/list', '', 0, 0, () => {
    const lines = bonds(backends).map((bond) => bond.list());
    return `bond\ttype\trecircID\tmembers\n${lines.join('')}`;
  });
  registry.register('bond/show', '[port]', 0, 1, ([name]) => {
    for (const backend of backends()) backend.pushStats();
    return (name === undefined ? bonds(backends) : [findBond(backends, name)]).map((b) => b.show()).join('');
  });
  registry.register('bond/migrate', 'port hash member', 3, 3, ([name, hash, member]) => {
    const reply = answer(findBond(backends, name!).migrate(hash!, member!));
    runAll(backends);
    return reply;
  });
  for (const word of ['member', 'slave']) registerMemberCommands(registry, backends, word);
  registry.register('bond/hash', 'mac [vlan] [basis]', 1, 3, (args) => bondHash(args));
}

/** `slave` is what members were called before. */
function registerMemberCommands(registry: CommandRegistry, backends: Backends, word: string): void {
  const register = (command: string, act: (bond: Bond, member: string) => string | { error: string }) =>
    registry.register(`bond/${command}-${word}`, 'port member', 2, 2, ([name, member]) => {
      const reply = answer(act(findBond(backends, name!), member!));
      runAll(backends);
      return reply;
    });
  register('set-active', (bond, member) => bond.setActive(member));
  register('enable', (bond, member) => bond.enableMember(member, true));
  register('disable', (bond, member) => bond.enableMember(member, false));
}

/** What follows from a command is done when its reply is out. */
function runAll(backends: Backends): void {
  for (const bridge of allBridges(backends)) bridge.links.requestRun();
}

function bondHash([mac, vlan = '0', basis = '0']: readonly string[]): string {
  if (!/^\s*\d/.test(vlan)) throw new UnixctlError('invalid vlan');
  if (!/^\s*\d/.test(basis)) throw new UnixctlError('invalid basis');
  const address = parseMac(mac!);
  if (!address) throw new UnixctlError('invalid mac');
  const hash = bondHashMac(macNumber(address), Number.parseInt(vlan, 10) & 0xffff, Number.parseInt(basis, 10) >>> 0);
  return `${hash % BOND_BUCKETS}`;
}

export function registerLacp(registry: CommandRegistry, backends: Backends): void {
  const select = (name: string | undefined) => {
    const all = bundlesOf(backends).flatMap((b) => b.lacpState ?? []);
    const found = name === undefined ? all : all.filter((lacp) => lacp.name === name);
    if (name !== undefined && found.length === 0) throw new UnixctlError('no such lacp object');
    return found;
  };
  registry.register('lacp/show', '[port]', 0, 1, ([name]) =>
    select(name)
      .map((lacp) => lacp.show())
      .join(''),
  );
  registry.register('lacp/show-stats', '[port]', 0, 1, ([name]) =>
    select(name)
      .map((lacp) => lacp.showStats())
      .join(''),
  );
}
