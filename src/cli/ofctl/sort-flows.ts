import { fieldIsWild, getField, mf } from '../../openflow/field.ts';
import { isFieldPrereqOk } from '../../openflow/field-prereq.ts';
import type { FlowStats } from '../../openflow/messages.ts';
import type { SortCriterion } from './options.ts';

/** Sorting of flows by fields and priority. */

/** Below zero when `a` is first. */
function compareBy({ field, ascending }: SortCriterion, a: FlowStats, b: FlowStats): number {
  const sign = ascending ? 1 : -1;
  if (field === '') return sign * (a.priority - b.priority);
  const f = mf(field);
  const has = ({ match }: FlowStats) => isFieldPrereqOk(match.flow, f) && !fieldIsWild(match.wc, f);
  // Those without the field are last in either order.
  if (has(a) !== has(b)) return has(a) ? -1 : 1;
  return sign * Buffer.compare(getField(a.match.flow, f), getField(b.match.flow, f));
}

/** By the first criterion that tells two apart; otherwise they stay in their order. */
export function sortFlows(flows: readonly FlowStats[], criteria: readonly SortCriterion[]): FlowStats[] {
  return [...flows].sort((a, b) => {
    for (const criterion of criteria) {
      const order = compareBy(criterion, a, b);
      if (order) return order;
    }
    return 0;
  });
}
