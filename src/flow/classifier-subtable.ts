import { FLOW_MEMBERS, FLOW_SIZE, FLOW_STAGE_ENDS, type FlowMemberName } from '../gen/flow.ts';
import { Flow, FlowWildcards, type Match } from './flow.ts';
import { HashCounts } from './hash-counts.ts';
import { hashValues, type MaskShape, type MatchValues, shapeOf } from './mask-shape.ts';
import { PrefixTrie } from './prefix-trie.ts';
import { RuleTable } from './rule-table.ts';

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
  subtable: Subtable<ClsRule> | undefined = undefined;
  /** @internal Which words of a flow its match is about. */
  shape: MaskShape | undefined = undefined;
  /** @internal The flow's words there. */
  values: MatchValues = NONE;
  /** @internal Of `values`. */
  hash = 0;
  /** @internal The rule with the same match and the next lower priority. */
  lower: ClsRule | undefined = undefined;
  /** @internal The links of its table: see rule-table.ts. */
  chain: ClsRule | undefined = undefined;
  place = -1;
  /** @internal How its match's tunnel metadata lies in the flow. */
  tunTable: Flow['tunTable'] = undefined;
  /** The clauses that it stands for; such a rule matches nothing by itself. Not to be changed while it is in a classifier. */
  conjunctions: readonly ClsConjunction[] | undefined = undefined;
  /** `STAGE_*`. */
  stage = STAGE_STABLE as 0 | 1 | 2 | 3;

  constructor(priority: number) {
    this.priority = priority;
  }

  /** Gives it its match. Only while it is in no classifier. */
  setMatch({ flow, wc }: Match): this {
    this.shape = shapeOf(wc);
    this.values = this.shape.valuesOf(flow);
    this.hash = hashValues(this.values, this.values.length);
    this.tunTable = flow.tunTable;
    return this;
  }

  /** The same, of a match that was taken apart. */
  setValues({ shape, values, tunTable }: { shape: MaskShape; values: MatchValues; tunTable: Flow['tunTable'] }): this {
    this.shape = shape;
    this.values = values;
    this.hash = hashValues(values, values.length);
    this.tunTable = tunTable;
    return this;
  }

  /** Gives it the match of another one. */
  matchLike(like: ClsRule): this {
    this.shape = like.shape;
    this.values = like.values;
    this.hash = like.hash;
    this.tunTable = like.tunTable;
    return this;
  }

  /** A fresh copy of the match. */
  match(): Match {
    const match = { flow: new Flow(), wc: new FlowWildcards() };
    if (!this.shape) return match;
    this.shape.expand(match.wc);
    for (let i = 0; i < this.values.length; i++) match.flow.u32[this.shape.words[i]] = this.values[i];
    match.flow.tunTable = this.tunTable;
    return match;
  }
}

const NONE: MatchValues = [];
export const PORTS_WORD = FLOW_MEMBERS.tp_src.offset / 4;
/** Where the stages of the lookup end. The last one begins at nd_target, as in Open vSwitch: TCP flags are looked at with the ports. */
const STAGE_WORDS = [FLOW_STAGE_ENDS[0], FLOW_STAGE_ENDS[1], FLOW_MEMBERS.nd_target.offset, FLOW_SIZE].map(
  (b) => b / 4,
);
const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Native word ↔ big-endian word. */
export const swap = (v: number): number =>
  LITTLE ? ((v << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24)) >>> 0 : v >>> 0;

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
  readonly shape: MaskShape;
  readonly mask = new FlowWildcards();
  readonly words: Uint16Array;
  readonly maskWords: Uint32Array;
  /** For each stage that has a word: the end of its words in `words`. */
  readonly stageEnds: number[] = [];
  /** For each stage but the last: how many rules have that hash of the words so far. */
  readonly indices: HashCounts[] = [];
  readonly table = new RuleTable<R>();
  triePlen: number[];
  /** Leading bits of tp_src and tp_dst, taken as one word, up to the last one-bit. */
  readonly portsMaskLen: number;
  readonly portsTrie = new PrefixTrie();
  maxPriority = -1;
  maxCount = 0;

  constructor(shape: MaskShape, fields: readonly TrieField[]) {
    this.shape = shape;
    this.words = shape.words;
    this.maskWords = shape.maskWords;
    shape.expand(this.mask);
    const { mask, words } = this;
    let i = 0;
    for (const end of STAGE_WORDS) {
      const before = i;
      while (i < words.length && words[i] < end) i++;
      if (i > before) this.stageEnds.push(i);
    }
    if (!this.stageEnds.length) this.stageEnds.push(0);
    for (let n = 1; n < this.stageEnds.length; n++) this.indices.push(new HashCounts());
    this.triePlen = fields.map((f) => prefixLen(mask, f));
    const ports = swap(mask.u32[PORTS_WORD]);
    this.portsMaskLen = ports === 0 ? 0 : 32 - (31 - Math.clz32(ports & -ports));
  }

  /** The best rule that matches `flow`, by the final hash. */
  findFlow(hash: number, u32: Uint32Array, next: boolean): R | undefined {
    for (let head = this.table.chainOf(hash); head; head = head.chain as R | undefined)
      if (head.hash === hash && this.#holds(head.values, u32)) return firstIn(head, next);
    return undefined;
  }

  #holds(values: MatchValues, u32: Uint32Array): boolean {
    const { words, maskWords } = this;
    for (let i = 0; i < words.length; i++) if ((u32[words[i]] & maskWords[i]) !== values[i]) return false;
    return true;
  }
}
