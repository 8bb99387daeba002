import type { Flow, FlowWildcards } from '../../flow/flow.ts';
import { bitsOf, coveredBy, wholePacket } from './masks.ts';

/** Masks that a list may have whatever they are for. Above, a new one has to be wanted by MASK_WANTED flows, and above MASKS_MAX there is none. */
export const MASKS_FREE = 64;
export const MASKS_MAX = 256;
export const MASK_WANTED = 32;
/** Masks whose wants are counted at a time. */
const WANTS_MAX = 4096;

/**
 * Which mask a megaflow gets: what it costs to search a port's subtables has a limit, whoever sends. A narrower megaflow than translation asked for is as
 * true. Control thread only.
 */
export class MaskAdmission {
  /** Flows that asked for a mask which is not there, by its id. */
  readonly #wants = new Map<string, number>();

  /** Whether a list with `n` masks takes the one with this id; each time that it does not is a want of it. */
  admits(id: string, n: number): boolean {
    if (n < MASKS_FREE) return true;
    return n < MASKS_MAX && this.#wantedEnough(id);
  }

  #wantedEnough(id: string): boolean {
    if (this.#wants.size >= WANTS_MAX) this.#wants.clear();
    const wants = (this.#wants.get(id) ?? 0) + 1;
    if (wants < MASK_WANTED) this.#wants.set(id, wants);
    else this.#wants.delete(id);
    return wants >= MASK_WANTED;
  }
}

/** What a packet with this key gets in place of `mask`: the widest of the masks that are there and have all its bits, or everything that the packet has. */
export function standIn(key: Flow, mask: FlowWildcards, there: Iterable<FlowWildcards>): FlowWildcards {
  let best: FlowWildcards | undefined;
  const hasAll = coveredBy(mask);
  for (const wc of there) if (hasAll(wc) && (!best || bitsOf(wc) < bitsOf(best))) best = wc;
  return best ?? wholePacket(key, mask);
}
