/** How a userspace datapath is made, and what it reads of other_config by itself. */

export interface UserspaceDpifOptions {
  name?: string;
  /** What the database calls it, default `netdev`: `dummy` and `system` stand for it with --enable-dummy. */
  type?: string;
  /** The number that a port shall have by its name, when it is free and nothing else is asked for. */
  preferPort?: (name: string) => number | undefined;
  /** Called for what an operator should know: a guest that broke its ring, a PMD that could not start. */
  warn?: (message: string) => void;
  /** Cores that PMDs may use when `pmd-cpu-mask` is not set. */
  defaultCores?: readonly number[];
  /** Time of what this thread itself forwards; PMDs go by the real clock, on performance.now()'s scale. */
  clock?: { monotonicMs(): number };
  /** Megaflows that may be there at a time. */
  maxFlows?: number;
}

const VLAN_LIMIT_MAX = 2;

/** 0 is as many as there can be. */
export function vlanLimitOf(text: string | undefined): number {
  const n = text !== undefined && /^\d+$/.test(text) ? Number(text) : 1;
  return n === 0 ? VLAN_LIMIT_MAX : Math.min(n, VLAN_LIMIT_MAX);
}
