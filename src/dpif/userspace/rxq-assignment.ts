import { type RxqAlgorithm, type SchedRxq, type Schedule, scheduleRxqs } from '../rxq-schedule.ts';
import type { PmdRxq } from './pmd-messages.ts';

/** A receive queue; one that is not enabled has no ring to poll. */
export type NamedRxq = PmdRxq & { name: string; queue: number; enabled: boolean };

/** Which core polls an rxq. */
export interface RxqPlacement {
  rxq: NamedRxq;
  core: number;
}

/** What queues are assigned by. */
export interface RxqPolicy {
  algorithm: RxqAlgorithm;
  /** A queue that pmd-rxq-affinity puts on a core keeps others away from it. */
  isolate: boolean;
  affinity: ReadonlyMap<string, ReadonlyMap<number, number>>;
  /** Busy nanoseconds of a queue of late, by `rxqKey`. */
  load(key: string): number;
}

/** Who polls what, and what the operator should know about it. */
export interface RxqAssignment {
  placement: RxqPlacement[];
  isolated: ReadonlySet<number>;
  /** In Open vSwitch's words. */
  log: Schedule['log'];
}

/** A queue's name over its reconnections. */
export const rxqKey = ({ name, queue }: Pick<NamedRxq, 'name' | 'queue'>): string => `${name}:${queue}`;

/** Memory nodes are not told apart: all are node 0. */
export function schedRxq(rxq: NamedRxq, { affinity, load }: RxqPolicy): SchedRxq {
  const { name, queue, port } = rxq;
  const core = affinity.get(name)?.get(queue);
  return { port: name, portNo: port, queue, numa: 0, core, cycles: load(rxqKey(rxq)) };
}

export const schedCores = (cores: readonly number[]) => cores.map((core) => ({ core, numa: 0 }));

/** Gives every rxq a core, as the policy has it. Nothing is said of queues before there is a PMD. Pure. */
export function assignRxqs(rxqs: readonly NamedRxq[], cores: readonly number[], policy: RxqPolicy): RxqAssignment {
  if (cores.length === 0) return { placement: [], isolated: new Set(), log: [] };
  const wanted = rxqs.map((rxq) => schedRxq(rxq, policy));
  const plan = scheduleRxqs(schedCores(cores), wanted, policy.algorithm, policy.isolate);
  const placement = rxqs.flatMap((rxq, i): RxqPlacement[] => {
    const core = plan.cores[i];
    return core === undefined ? [] : [{ rxq, core }];
  });
  return { placement, isolated: plan.isolated, log: plan.log };
}
