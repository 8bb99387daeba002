import type { Flow } from '../../flow/flow.ts';
import { ARENA_PORTS, PORT__SIZE, PORT_DPCLS, PORT_DPCLS_RECIRC, PORT_SIMPLE, PORTS_MAX } from '../../gen/arena.ts';
import type { Arena } from './arena.ts';
import type { ArenaHeap } from './heap.ts';
import type { Rcu } from './rcu.ts';
import { type Subtable, subtableHits } from './subtable.ts';

/** A list is ordered anew when that saves a twentieth of the subtables that are searched. */
const WORTH_RANKING = 0.95;

/**
 * Which list of subtables a flow belongs to: packets that were recirculated have lists of their own, so that they neither slow the others nor end their
 * simple match. Ports out of range (a packet of the control thread has none) share the last record.
 */
export const listOf = (key: Flow): number => Math.min(key.inPort, PORTS_MAX - 1) * 2 + (key.recircId === 0 ? 0 : 1);

/**
 * The subtables of each port in the order in which they are searched: a word with their number and one with the offset of each, which the port's record
 * names. A list that changes is written anew and swapped in; the old one is freed through `Rcu`. Control thread only.
 */
export class SubtableLists {
  readonly #arena: Arena;
  readonly #heap: ArenaHeap;
  readonly #rcu: Rcu;
  readonly #members = new Map<number, readonly Subtable[]>();
  /** Where the list lies that threads read; absent: it is empty. */
  readonly #published = new Map<number, { at: number; size: number }>();

  constructor(arena: Arena, heap: ArenaHeap, rcu: Rcu) {
    this.#arena = arena;
    this.#heap = heap;
    this.#rcu = rcu;
  }

  /** The subtables of a list, in order. */
  of(list: number): readonly Subtable[] {
    return this.#members.get(list) ?? [];
  }

  /** Adds a subtable at the end of its list; false, and nothing changed, when there is no room. */
  add(subtable: Subtable): boolean {
    return this.#replace(subtable.list, [...this.of(subtable.list), subtable]);
  }

  /** Takes a subtable out of its list: no new search sees it. */
  remove(subtable: Subtable): void {
    const { list } = subtable;
    const left = this.of(list).filter((s) => s !== subtable);
    if (this.#replace(list, left)) return;
    this.#members.set(list, left);
    this.#shrink(subtable);
  }

  /** A subtable has moved to another record; false when there is no room to say so. */
  moved(subtable: Subtable): boolean {
    return this.#publish(subtable.list, this.of(subtable.list));
  }

  /** Orders each list by the hits of late, the most first. */
  rank(): void {
    for (const [list, subtables] of this.#members) {
      for (const s of subtables) this.#score(s);
      if (subtables.length < 2) continue;
      const ranked = [...subtables].sort((a, b) => b.score - a.score);
      if (searched(ranked) < searched(subtables) * WORTH_RANKING) this.#replace(list, ranked);
    }
  }

  #score(subtable: Subtable): void {
    const hits = subtableHits(this.#arena, subtable.at);
    subtable.score = subtable.score / 2 + ((hits - subtable.hits) >>> 0);
    subtable.hits = hits;
  }

  #replace(list: number, subtables: readonly Subtable[]): boolean {
    if (!this.#publish(list, subtables)) return false;
    this.#members.set(list, subtables);
    return true;
  }

  #publish(list: number, subtables: readonly Subtable[]): boolean {
    const old = this.#published.get(list);
    const size = 4 + subtables.length * 4;
    const at = subtables.length === 0 ? 0 : this.#heap.alloc(size);
    if (at === undefined) return false;
    if (at !== 0) {
      this.#arena.set(at, subtables.length);
      subtables.forEach((s, i) => {
        this.#arena.set(at + 4 + i * 4, s.at);
      });
    }
    this.#swapIn(list, at, subtables.length > 0 && subtables.every((s) => s.simple));
    if (at === 0) this.#published.delete(list);
    else this.#published.set(list, { at, size });
    if (old) this.#rcu.retire(() => this.#heap.free(old.at, old.size));
    return true;
  }

  /** A port is not simple any more before its list says so, and simple again after it. */
  #swapIn(list: number, at: number, simple: boolean): void {
    const record = ARENA_PORTS + (list >> 1) * PORT__SIZE;
    if (list & 1) {
      this.#arena.publish(record + PORT_DPCLS_RECIRC, at);
      return;
    }
    if (!simple) this.#arena.publish(record + PORT_SIMPLE, 0);
    this.#arena.publish(record + PORT_DPCLS, at);
    if (simple) this.#arena.publish(record + PORT_SIMPLE, 1);
  }

  /**
   * Takes a subtable out of its list in place: the last entry takes its place, and stays in its own for a reader who is on the way there
   * with the old count. For when there is no room for a new list.
   */
  #shrink(subtable: Subtable): void {
    const { at } = this.#published.get(subtable.list)!;
    const count = this.#arena.get(at);
    let i = 1;
    while (this.#arena.get(at + i * 4) !== subtable.at) i++;
    this.#arena.publish(at + i * 4, this.#arena.get(at + count * 4));
    this.#arena.publish(at, count - 1);
  }
}

/** What the packets counted in the scores cost in this order, in subtables. */
const searched = (subtables: readonly Subtable[]) => subtables.reduce((sum, s, i) => sum + (i + 1) * s.score, 0);
