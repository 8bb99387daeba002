import type { PmdRxq } from './pmd-messages.ts';

/** A receive queue; one that is not enabled has no ring to poll. */
export type NamedRxq = PmdRxq & { name: string; queue: number; enabled: boolean };

/** Which core polls an rxq. */
export interface RxqPlacement {
  rxq: NamedRxq;
  core: number;
  /** By pmd-rxq-affinity. */
  pinned: boolean;
}

/**
 * Gives every rxq a core: the one that its port's pmd-rxq-affinity names, when there is a PMD on it; the others go round the cores that no affinity has
 * isolated. Pure.
 */
export function assignRxqs(
  rxqs: readonly NamedRxq[],
  cores: readonly number[],
  affinity: ReadonlyMap<string, ReadonlyMap<number, number>>,
): RxqPlacement[] {
  const wanted = (q: NamedRxq) => affinity.get(q.name)?.get(q.queue);
  const pinnedCore = (q: NamedRxq) => {
    const core = wanted(q);
    return core !== undefined && cores.includes(core) ? core : undefined;
  };
  const isolated = new Set(rxqs.map(pinnedCore));
  const shared = cores.filter((c) => !isolated.has(c));
  let next = 0;
  return rxqs.flatMap((rxq): RxqPlacement[] => {
    const pinned = pinnedCore(rxq);
    if (pinned !== undefined) return [{ rxq, core: pinned, pinned: true }];
    // A queue whose own core has no PMD, or for which all cores are isolated, is not polled: Open vSwitch does the same.
    if (wanted(rxq) !== undefined || shared.length === 0) return [];
    return [{ rxq, core: shared[next++ % shared.length]!, pinned: false }];
  });
}
