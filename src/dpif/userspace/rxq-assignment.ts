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

/** Who polls what, and what the operator should know about it. */
export interface RxqAssignment {
  placement: RxqPlacement[];
  /** In Open vSwitch's words. */
  warnings: string[];
}

/**
 * Gives every rxq a core: the one that its port's pmd-rxq-affinity names, when there is a PMD on it; the others go round the cores that no affinity has
 * isolated. Where all are isolated, the others are not polled. Pure.
 */
export function assignRxqs(
  rxqs: readonly NamedRxq[],
  cores: readonly number[],
  affinity: ReadonlyMap<string, ReadonlyMap<number, number>>,
): RxqAssignment {
  const wanted = (q: NamedRxq) => affinity.get(q.name)?.get(q.queue);
  const pinnedCore = (q: NamedRxq) => {
    const core = wanted(q);
    return core !== undefined && cores.includes(core) ? core : undefined;
  };
  const isolated = new Set(rxqs.map(pinnedCore));
  const shared = cores.filter((c) => !isolated.has(c));
  const warnings: string[] = [];
  let next = 0;
  const placement = rxqs.flatMap((rxq): RxqPlacement[] => {
    const pinned = pinnedCore(rxq);
    if (pinned !== undefined) return [{ rxq, core: pinned, pinned: true }];
    const absent = wanted(rxq);
    if (absent !== undefined) warnings.push(cannotBePinned(rxq, absent));
    if (shared.length > 0) return [{ rxq, core: shared[next++ % shared.length]!, pinned: false }];
    if (cores.length > 0) warnings.push(notPolled(rxq));
    return [];
  });
  return { placement, warnings };
}

const cannotBePinned = ({ name, queue }: NamedRxq, core: number): string =>
  `Core ${String(core).padStart(2)} cannot be pinned with port '${name}' rx queue ${queue}. ` +
  `Use pmd-cpu-mask to enable a pmd on core ${core}. An alternative core will be assigned.`;

const notPolled = ({ name, queue }: NamedRxq): string =>
  `No non-isolated pmd on any numa available for port '${name}' rx queue ${queue}. This rx queue will not be polled.`;
