import type { FlowWildcards } from '../../flow/flow.ts';
import {
  ARENA_SUBTABLE_HITS,
  ARENA_SUBTABLE_HITS_STRIDE,
  ARENA_SUBTABLES,
  SUBTABLE__SIZE,
  SUBTABLE_HITS__SIZE,
  THREADS_MAX,
} from '../../gen/arena.ts';
import type { Arena } from './arena.ts';

/** All flows of one list with one mask, as the control thread knows them. */
export interface Subtable {
  /** Of its list and mask. */
  id: string;
  list: number;
  /** Of its record in the arena: another one when it grows. */
  at: number;
  /** Of the key, those that the mask looks at. */
  words: number[];
  /** A simple port's megaflows may have its mask (src/fastpath/simple.ts). */
  simple: boolean;
  nBuckets: number;
  nFlows: number;
  /** Overflow buckets, by offset. */
  chained: number[];
  /** As it was first asked for. */
  wc: FlowWildcards;
  /** The hits that `rank` knows of; and how many there were lately, each half as much as the one after. */
  hits: number;
  score: number;
}

export const subtableAt = (index: number): number => ARENA_SUBTABLES + index * SUBTABLE__SIZE;
export const subtableIndex = (at: number): number => (at - ARENA_SUBTABLES) / SUBTABLE__SIZE;

/** Packets that found their flow in the subtable at `at`, by all threads; modulo 2^32. */
export function subtableHits(arena: Arena, at: number): number {
  const offset = ARENA_SUBTABLE_HITS + subtableIndex(at) * SUBTABLE_HITS__SIZE;
  let sum = 0;
  for (let t = 0; t < THREADS_MAX; t++) sum += arena.get(offset + t * ARENA_SUBTABLE_HITS_STRIDE);
  return sum >>> 0;
}
