import { FLOW_SIZE } from '../gen/flow.ts';
import type { Flow, FlowWildcards } from './flow.ts';

/** The words of a flow that a mask looks at. Matches of many rules share one, so that each of them keeps its values alone. */

export const N_WORDS = FLOW_SIZE / 4;

export const mix = (h: number, w: number): number => {
  const k = Math.imul(w, 0xcc9e2d51);
  const x = h ^ Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  return (Math.imul((x << 13) | (x >>> 19), 5) + 0xe6546b64) | 0;
};

/** Last mixing; 30 bits, so that it stays a small integer as a Map's key. */
export const finish = (h: number): number => {
  let x = h ^ (h >>> 16);
  x = Math.imul(x, 0x85ebca6b);
  x ^= x >>> 13;
  x = Math.imul(x, 0xc2b2ae35);
  return (x ^ (x >>> 16)) & 0x3fffffff;
};

/** Words of a flow at a shape's places, as signed numbers: V8 keeps those in the array itself. */
export type MatchValues = readonly number[];

export class MaskShape {
  /** Indices of the words in which the mask has ones, ascending, and the mask's words there. */
  readonly words: Uint16Array;
  readonly maskWords: Uint32Array;
  readonly hash: number;

  constructor(mask: FlowWildcards, hash: number) {
    const words: number[] = [];
    for (let w = 0; w < N_WORDS; w++) if (mask.u32[w]) words.push(w);
    this.words = Uint16Array.from(words);
    this.maskWords = Uint32Array.from(words, (w) => mask.u32[w]);
    this.hash = hash;
  }

  isOf(mask: FlowWildcards): boolean {
    const { words, maskWords } = this;
    let i = 0;
    for (let w = 0; w < N_WORDS; w++) {
      if (i < words.length && words[i] === w) {
        if (mask.u32[w] !== maskWords[i++]) return false;
      } else if (mask.u32[w] !== 0) return false;
    }
    return true;
  }

  equals(other: MaskShape): boolean {
    if (this === other) return true;
    if (this.hash !== other.hash || this.words.length !== other.words.length) return false;
    for (let i = 0; i < this.words.length; i++)
      if (this.words[i] !== other.words[i] || this.maskWords[i] !== other.maskWords[i]) return false;
    return true;
  }

  valuesOf(flow: Flow): MatchValues {
    const { words, maskWords } = this;
    const values = new Array<number>(words.length);
    for (let i = 0; i < words.length; i++) values[i] = flow.u32[words[i]] & maskWords[i];
    return values;
  }

  /** Writes the mask into `wc`, which has no bits yet. */
  expand(wc: FlowWildcards): void {
    for (let i = 0; i < this.words.length; i++) wc.u32[this.words[i]] = this.maskWords[i];
  }
}

/** Hash of the first `end` values. */
export function hashValues(values: MatchValues, end: number): number {
  let h = 0;
  for (let i = 0; i < end; i++) h = mix(h, values[i]);
  return finish(h);
}

export function hashMask(mask: FlowWildcards): number {
  let h = 0;
  for (let w = 0; w < N_WORDS; w++) if (mask.u32[w]) h = mix(mix(h, w), mask.u32[w]);
  return finish(h);
}

/** With more masks than this the table starts anew: what is in use stays so, and is shared no longer. */
const MAX_SHARED = 4096;
const shared = new Map<number, MaskShape>();
let last: MaskShape | undefined;

/** The shape of a mask; the same one for the same mask, as a rule. */
export function shapeOf(mask: FlowWildcards): MaskShape {
  if (last?.isOf(mask)) return last;
  const hash = hashMask(mask);
  const known = shared.get(hash);
  if (known?.isOf(mask)) last = known;
  else {
    last = new MaskShape(mask, hash);
    if (shared.size >= MAX_SHARED) shared.clear();
    shared.set(hash, last);
  }
  return last;
}
