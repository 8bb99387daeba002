import { UnixctlError } from '../base/unixctl.ts';
import type { Bridge } from './bridge.ts';
import type { OfprotoBackend } from './ofproto-backend.ts';

/** Finding bridges for the commands of ovs-appctl. */

export type Backends = () => Iterable<OfprotoBackend>;

export const byName = <T extends { name: string }>(list: Iterable<T>): T[] =>
  [...list].sort((a, b) => (a.name < b.name ? -1 : 1));

export function allBridges(backends: Backends): Bridge[] {
  return byName([...backends()].flatMap((b) => [...b.bridges()]));
}

/** Throws the error reply `no such bridge`. */
export function findBridge(backends: Backends, name: string | undefined, error = 'no such bridge'): Bridge {
  const bridge = allBridges(backends).find((b) => b.name === name);
  if (!bridge) throw new UnixctlError(error);
  return bridge;
}

/** The named bridge, or all of them. */
export const selectBridges = (backends: Backends, name: string | undefined, error?: string): Bridge[] =>
  name === undefined ? allBridges(backends) : [findBridge(backends, name, error)];
