import type { Flow } from '../flow/flow.ts';
import type { Subfield } from '../openflow/actions.ts';
import { getField, valueToBigInt } from '../openflow/field.ts';
import { isFieldPrereqOk } from '../openflow/field-prereq.ts';
import type { EvictionHeap, Rule } from './rule.ts';

/**
 * The overflow policy "evict" (Flow_Table.overflow_policy, Flow_Table.groups): of the largest group of flows that agree in some fields, the
 * one that has the least importance and, among those, expires first.
 */

/** Flows that agree in the fields; a heap with the next one to go in front. */
export class EvictionGroup implements EvictionHeap {
  readonly key: string;
  readonly #heap: Rule[] = [];

  constructor(key: string) {
    this.key = key;
  }

  get size(): number {
    return this.#heap.length;
  }

  get first(): Rule | undefined {
    return this.#heap[0];
  }

  rules(): readonly Rule[] {
    return this.#heap;
  }

  add(rule: Rule): void {
    rule.evictionIndex = this.#heap.length;
    this.#heap.push(rule);
    this.#up(rule);
  }

  remove(rule: Rule): void {
    const last = this.#heap.pop()!;
    if (last === rule) return;
    last.evictionIndex = rule.evictionIndex;
    this.#heap[last.evictionIndex] = last;
    this.#up(last);
    this.#down(last);
  }

  /** After every rule's priority was set anew. */
  rebuild(): void {
    this.#heap.sort((a, b) => a.evictionPriority - b.evictionPriority);
    for (const [i, r] of this.#heap.entries()) r.evictionIndex = i;
  }

  #up(rule: Rule): void {
    const heap = this.#heap;
    let i = rule.evictionIndex;
    for (; i > 0; i = (i - 1) >> 1) {
      const parent = heap[(i - 1) >> 1];
      if (parent.evictionPriority <= rule.evictionPriority) break;
      heap[i] = parent;
      parent.evictionIndex = i;
    }
    heap[i] = rule;
    rule.evictionIndex = i;
  }

  #down(rule: Rule): void {
    const heap = this.#heap;
    let i = rule.evictionIndex;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1].evictionPriority < heap[child].evictionPriority) child++;
      if (heap[child].evictionPriority >= rule.evictionPriority) break;
      heap[i] = heap[child];
      heap[i].evictionIndex = i;
      i = child;
    }
    heap[i] = rule;
    rule.evictionIndex = i;
  }
}

/** Importance counts before time: 2^32 units of about a second lie between two of its steps. */
const IMPORTANCE = 2 ** 32;

/** Small: goes early. Undefined: never goes. */
function priorityOf(rule: Rule): number | undefined {
  let expiresMs = Number.POSITIVE_INFINITY;
  if (rule.hardTimeout) expiresMs = rule.modifiedMs + rule.hardTimeout * 1000;
  if (rule.idleTimeout) expiresMs = Math.min(expiresMs, rule.usedMs + rule.idleTimeout * 1000);
  return expiresMs === Number.POSITIVE_INFINITY
    ? undefined
    : rule.importance * IMPORTANCE + Math.floor(expiresMs / 1024);
}

/** The flows of one table that may be evicted. */
export class EvictionGroups {
  readonly fields: readonly Subfield[];
  readonly #groups = new Map<string, EvictionGroup>();

  constructor(fields: readonly Subfield[]) {
    this.fields = fields;
  }

  /** Permanent flows are not taken in. */
  add(rule: Rule): void {
    const priority = priorityOf(rule);
    if (priority === undefined || rule.evictionGroup) return;
    rule.evictionPriority = priority;
    const key = this.#keyOf(rule);
    let group = this.#groups.get(key);
    if (!group) {
      group = new EvictionGroup(key);
      this.#groups.set(key, group);
    }
    rule.evictionGroup = group;
    group.add(rule);
  }

  remove(rule: Rule): void {
    const group = rule.evictionGroup;
    if (!group) return;
    rule.evictionGroup = undefined;
    group.remove(rule);
    if (group.size === 0) this.#groups.delete(group.key);
  }

  /** Undefined when every flow is permanent. Among groups of the same size, any. */
  choose(): Rule | undefined {
    let best: EvictionGroup | undefined;
    let nBest = 0;
    for (const g of this.#groups.values()) {
      if (best && g.size < best.size) continue;
      nBest = best && g.size === best.size ? nBest + 1 : 1;
      if (nBest === 1 || Math.random() * nBest < 1) best = g;
    }
    return best?.first;
  }

  /** Brings the order up to date with the flows' use. */
  refresh(): void {
    for (const group of this.#groups.values()) {
      for (const rule of group.rules()) rule.evictionPriority = priorityOf(rule) ?? Number.MAX_SAFE_INTEGER;
      group.rebuild();
    }
  }

  #keyOf(rule: Rule): string {
    if (!this.fields.length) return '';
    const { flow } = rule.match();
    return this.fields.map((sf) => fieldKey(flow, sf)).join();
  }
}

/** The bits of a subfield as text; empty when the packets that the flow matches have no such field. */
function fieldKey(flow: Flow, sf: Subfield): string {
  if (!isFieldPrereqOk(flow, sf.field)) return '';
  return `${BigInt.asUintN(sf.nBits, valueToBigInt(getField(flow, sf.field)) >> BigInt(sf.ofs))}`;
}
