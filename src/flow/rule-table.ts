import type { MatchValues } from './mask-shape.ts';

/** What a table of rules keeps in the rules themselves. */
export interface TableRule {
  /** Words of a flow, and their hash. */
  values: MatchValues;
  hash: number;
  /** The next match in the same bucket. */
  chain: TableRule | undefined;
  /** Where the rule stands in the list. */
  place: number;
}

/** So many holes are left in a list whatever its size. */
const HOLES_MIN = 16;

/**
 * The rules of a subtable: found by their match through the first rule of each ("head"), and listed in the order in which they came. Chains are
 * linked in the rules and the list is an array: a rule costs 16 to 30 bytes here, and a copy of the list doesn't touch the rules, which lie all
 * over the heap.
 */
export class RuleTable<R extends TableRule> {
  /** Chains of heads; as many buckets as heads, or up to twice as many. */
  #buckets: (TableRule | undefined)[] = new Array(4).fill(undefined);
  #nHeads = 0;
  /** The list, with holes where rules were taken off. */
  #list: (R | undefined)[] = [];
  /** How many rules there are. */
  size = 0;

  /** The head of the rules with that match. */
  find(hash: number, values: MatchValues): R | undefined {
    for (let head = this.chainOf(hash); head; head = head.chain as R | undefined)
      if (head.hash === hash && sameValues(head.values, values)) return head;
    return undefined;
  }

  /** The first head of those among which one with that hash would be. */
  chainOf(hash: number): R | undefined {
    return this.#buckets[hash & (this.#buckets.length - 1)] as R | undefined;
  }

  /** Adds the head of a new match. */
  addHead(rule: R): void {
    if (++this.#nHeads > this.#buckets.length) this.#grow();
    const at = rule.hash & (this.#buckets.length - 1);
    rule.chain = this.#buckets[at];
    this.#buckets[at] = rule;
  }

  /** Puts `to` (or nothing) where `head` stands. */
  replaceHead(head: R, to: R | undefined): void {
    const next = to ?? head.chain;
    if (to) to.chain = head.chain;
    else this.#nHeads--;
    const at = head.hash & (this.#buckets.length - 1);
    let before = this.#buckets[at]!;
    if (before === head) this.#buckets[at] = next;
    else {
      while (before.chain !== head) before = before.chain!;
      before.chain = next;
    }
    head.chain = undefined;
  }

  /** Adds a rule to the list. */
  append(rule: R): void {
    rule.place = this.#list.length;
    this.#list.push(rule);
    this.size++;
  }

  /** Takes a rule off the list. */
  takeOff(rule: R): void {
    this.#list[rule.place] = undefined;
    this.size--;
    if (this.#list.length - this.size > this.size + HOLES_MIN) this.#closeHoles();
  }

  #closeHoles(): void {
    this.#list = this.list();
    for (const [i, rule] of this.#list.entries()) rule!.place = i;
  }

  /** A copy of the list, which stays as it is when rules come and go. */
  list(): R[] {
    if (this.size === this.#list.length) return this.#list.slice() as R[];
    return this.#list.filter((rule) => rule !== undefined);
  }

  /** The rules of the list one after another; none may come or go meanwhile. */
  *rules(): IterableIterator<R> {
    for (const rule of this.#list) if (rule) yield rule;
  }

  #grow(): void {
    const old = this.#buckets;
    const buckets = new Array<TableRule | undefined>(old.length * 2).fill(undefined);
    const mask = buckets.length - 1;
    for (const first of old) {
      let next: TableRule | undefined;
      for (let head = first; head; head = next) {
        next = head.chain;
        const at = head.hash & mask;
        head.chain = buckets[at];
        buckets[at] = head;
      }
    }
    this.#buckets = buckets;
  }
}

function sameValues(a: MatchValues, b: MatchValues): boolean {
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
