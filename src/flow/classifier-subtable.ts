import { FLOW_MEMBERS, FLOW_SIZE, FLOW_STAGE_ENDS, type FlowMemberName } from '../gen/flow.ts';
import { Flow, FlowWildcards, type Match } from './flow.ts';
import { PrefixTrie } from './prefix-trie.ts';

/** A classifier's rules, and the subtable of those with the same mask. */

/** One clause of a conjunctive match (ovs-fields(7), "Conjunctive match fields"). `clause` counts from 0. */
export interface ClsConjunction {
  id: number;
  clause: number;
  nClauses: number;
}

/** Where a rule stands in a change of many rules that comes into force at once. */
export const STAGE_STABLE = 0;
/** It will be there after the change. */
export const STAGE_COMING = 1;
/** It will be gone after the change. */
export const STAGE_GOING = 2;
/** It comes and goes in the same change. */
export const STAGE_NEVER = 3;

/** Which side of the change lookups see; shared by the classifiers that change together. */
export class ClsView {
  next = false;
  /** A change is under way. */
  busy = false;
}

export const isIn = (rule: ClsRule, next: boolean): boolean =>
  rule.stage === STAGE_STABLE || rule.stage === (next ? STAGE_COMING : STAGE_GOING);

/** A rule of a classifier. `flow` bits outside the mask are zero. Belongs to one classifier at a time. */
export class ClsRule {
  readonly priority: number;
  /** @internal Set while it is in a classifier. */
  subtable: Subtable<ClsRule> | undefined;
  /** @internal Flow words at `subtable.words`. */
  values: Uint32Array = EMPTY;
  /** @internal */
  hash = 0;
  /** @internal The rule with the same match and the next lower priority. */
  lower: ClsRule | undefined;
  /** @internal The next match with the same hash. */
  chain: ClsRule | undefined;
  /** @internal How its match's tunnel metadata lies in the flow. */
  tunTable: Flow['tunTable'] = undefined;
  /** The clauses that it stands for; such a rule matches nothing by itself. Not to be changed while it is in a classifier. */
  conjunctions: readonly ClsConjunction[] | undefined;
  /** `STAGE_*`. */
  stage = STAGE_STABLE as 0 | 1 | 2 | 3;

  constructor(priority: number) {
    this.priority = priority;
  }

  /** A fresh copy of the match. Only while the rule is, or was last, in a classifier. */
  match(): Match {
    const flow = new Flow();
    const st = this.subtable;
    if (!st) return { flow, wc: new FlowWildcards() };
    for (let i = 0; i < st.words.length; i++) flow.u32[st.words[i]] = this.values[i];
    flow.tunTable = this.tunTable;
    return { flow, wc: st.mask.clone() };
  }
}

const EMPTY = new Uint32Array(0);
export const N_WORDS = FLOW_SIZE / 4;
export const PORTS_WORD = FLOW_MEMBERS.tp_src.offset / 4;
/** Where the stages of the lookup end. The last one begins at nd_target, as in Open vSwitch: TCP flags are looked at with the ports. */
const STAGE_WORDS = [FLOW_STAGE_ENDS[0], FLOW_STAGE_ENDS[1], FLOW_MEMBERS.nd_target.offset, FLOW_SIZE].map(
  (b) => b / 4,
);
const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Native word ↔ big-endian word. */
export const swap = (v: number): number =>
  LITTLE ? ((v << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24)) >>> 0 : v >>> 0;

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

const ANY_TYPE = -1;

/** A member whose prefixes are tracked, and the Ethertype that gives it that meaning, or ANY_TYPE. */
export interface TrieField {
  word: number;
  nWords: number;
  dlType: number;
}

export const trieField = (member: FlowMemberName): TrieField => ({
  word: FLOW_MEMBERS[member].offset / 4,
  nWords: FLOW_MEMBERS[member].size / 4,
  dlType: member.startsWith('ipv6') ? 0x86dd : member.startsWith('nw_') ? 0x0800 : ANY_TYPE,
});

/** Number of leading one-bits of a member of `mask`; 0 when its ones are not a prefix. */
export function prefixLen(mask: FlowWildcards, field: TrieField): number {
  let n = 0;
  for (let i = 0; i < field.nWords; i++) {
    const w = swap(mask.u32[field.word + i]);
    if (w !== 0 && n < i * 32) return 0;
    const ones = Math.clz32(~w);
    if ((w << ones) >>> 0 !== 0 && ones < 32) return 0;
    n += ones;
  }
  return n;
}

/** The first of a list of rules with the same match that the view has. */
export function firstIn<R extends ClsRule>(head: R | undefined, next: boolean): R | undefined {
  let rule = head;
  while (rule && !isIn(rule, next)) rule = rule.lower as R | undefined;
  return rule;
}

export class Subtable<R extends ClsRule> {
  readonly mask: FlowWildcards;
  /** Indices of the words in which the mask has ones, ascending, and the mask's words there. */
  readonly words: Uint16Array;
  readonly maskWords: Uint32Array;
  /** For each stage that has a word: the end of its words in `words`. */
  readonly stageEnds: number[] = [];
  /** For each stage but the last: how many rules have that hash of the words so far. */
  readonly indices: Map<number, number>[] = [];
  /** Heads of the lists of rules that share a match. */
  readonly heads = new Map<number, R>();
  triePlen: number[];
  /** Leading bits of tp_src and tp_dst, taken as one word, up to the last one-bit. */
  readonly portsMaskLen: number;
  readonly portsTrie = new PrefixTrie();
  /** In the order in which they came. */
  readonly all = new Set<R>();
  maxPriority = -1;
  maxCount = 0;

  constructor(mask: FlowWildcards, fields: readonly TrieField[]) {
    this.mask = mask.clone();
    const words: number[] = [];
    for (const end of STAGE_WORDS) {
      const before = words.length;
      for (let w = end === STAGE_WORDS[0] ? 0 : STAGE_WORDS[STAGE_WORDS.indexOf(end) - 1]; w < end; w++)
        if (mask.u32[w]) words.push(w);
      if (words.length > before) this.stageEnds.push(words.length);
    }
    if (!this.stageEnds.length) this.stageEnds.push(0);
    this.words = Uint16Array.from(words);
    this.maskWords = Uint32Array.from(words, (w) => mask.u32[w]);
    for (let i = 1; i < this.stageEnds.length; i++) this.indices.push(new Map());
    this.triePlen = fields.map((f) => prefixLen(mask, f));
    const ports = swap(mask.u32[PORTS_WORD]);
    this.portsMaskLen = ports === 0 ? 0 : 32 - (31 - Math.clz32(ports & -ports));
  }

  sameMask(mask: FlowWildcards): boolean {
    for (let w = 0; w < N_WORDS; w++) if (this.mask.u32[w] !== mask.u32[w]) return false;
    return true;
  }

  valuesOf(flow: Flow): Uint32Array {
    const values = new Uint32Array(this.words.length);
    for (let i = 0; i < values.length; i++) values[i] = flow.u32[this.words[i]] & this.maskWords[i];
    return values;
  }

  /** Hash of the first `end` values. */
  hashValues(values: Uint32Array, end: number): number {
    let h = 0;
    for (let i = 0; i < end; i++) h = mix(h, values[i]);
    return finish(h);
  }

  hasValues(rule: ClsRule, values: Uint32Array): boolean {
    for (let i = 0; i < values.length; i++) if (rule.values[i] !== values[i]) return false;
    return true;
  }

  find(hash: number, values: Uint32Array): R | undefined {
    for (let head = this.heads.get(hash); head; head = head.chain as R | undefined)
      if (this.hasValues(head, values)) return head;
    return undefined;
  }

  /** The best rule that matches `flow`, by the final hash. */
  findFlow(hash: number, u32: Uint32Array, next: boolean): R | undefined {
    for (let head: R | undefined = this.heads.get(hash); head; head = head.chain as R | undefined)
      if (this.#holds(head.values, u32)) return firstIn(head, next);
    return undefined;
  }

  #holds(values: Uint32Array, u32: Uint32Array): boolean {
    const { words, maskWords } = this;
    for (let i = 0; i < words.length; i++) if ((u32[words[i]] & maskWords[i]) >>> 0 !== values[i]) return false;
    return true;
  }

  /** A copy of the list of rules, which stays as it is when they come and go. */
  snapshot(): R[] {
    return [...this.all];
  }
}
