import { FLOW_MEMBERS, FLOW_SIZE, FLOW_STAGE_ENDS, type FlowMemberName } from '../gen/flow.ts';
import { Flow, FlowWildcards, type Match } from './flow.ts';
import { newTrieMatch, PrefixTrie, type TrieMatch, trieMayMatch } from './prefix-trie.ts';

/**
 * Tuple space search: rules with the same mask share a subtable, which is a hash over the masked words. A lookup visits the subtables
 * from the highest priority down, stage by stage, and adds to the caller's wildcards only the bits that decided it (the staged lookup,
 * the prefix tries and the ports tries of "The Design and Implementation of Open vSwitch", NSDI 2015, section 5).
 */

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

  constructor(priority: number) {
    this.priority = priority;
  }

  /** A fresh copy of the match. Only while the rule is, or was last, in a classifier. */
  match(): Match {
    const flow = new Flow();
    const st = this.subtable;
    if (!st) return { flow, wc: new FlowWildcards() };
    for (let i = 0; i < st.words.length; i++) flow.u32[st.words[i]] = this.values[i];
    return { flow, wc: st.mask.clone() };
  }
}

const EMPTY = new Uint32Array(0);
const N_WORDS = FLOW_SIZE / 4;
const PORTS_WORD = FLOW_MEMBERS.tp_src.offset / 4;
/** Where the stages of the lookup end. The last one begins at nd_target, as in Open vSwitch: TCP flags are looked at with the ports. */
const STAGE_WORDS = [FLOW_STAGE_ENDS[0], FLOW_STAGE_ENDS[1], FLOW_MEMBERS.nd_target.offset, FLOW_SIZE].map(
  (b) => b / 4,
);
const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Native word ↔ big-endian word. */
const swap = (v: number): number =>
  LITTLE ? ((v << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24)) >>> 0 : v >>> 0;

const mix = (h: number, w: number): number => {
  const k = Math.imul(w, 0xcc9e2d51);
  const x = h ^ Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  return (Math.imul((x << 13) | (x >>> 19), 5) + 0xe6546b64) | 0;
};

/** Last mixing; 30 bits, so that it stays a small integer as a Map's key. */
const finish = (h: number): number => {
  let x = h ^ (h >>> 16);
  x = Math.imul(x, 0x85ebca6b);
  x ^= x >>> 13;
  x = Math.imul(x, 0xc2b2ae35);
  return (x ^ (x >>> 16)) & 0x3fffffff;
};

/** A member whose prefixes are tracked, and the Ethertype that gives it that meaning. */
interface TrieField {
  word: number;
  nWords: number;
  dlType: number;
}

const trieField = (member: FlowMemberName): TrieField => ({
  word: FLOW_MEMBERS[member].offset / 4,
  nWords: FLOW_MEMBERS[member].size / 4,
  dlType: member.startsWith('ipv6') ? 0x86dd : 0x0800,
});

/** Number of leading one-bits of a member of `mask`; 0 when its ones are not a prefix. */
function prefixLen(mask: FlowWildcards, field: TrieField): number {
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

class Subtable<R extends ClsRule> {
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
  readonly triePlen: number[];
  /** Leading bits of tp_src and tp_dst, taken as one word, up to the last one-bit. */
  readonly portsMaskLen: number;
  readonly portsTrie = new PrefixTrie();
  nRules = 0;
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
  findFlow(hash: number, u32: Uint32Array): R | undefined {
    for (let head: R | undefined = this.heads.get(hash); head; head = head.chain as R | undefined)
      if (this.#holds(head.values, u32)) return head;
    return undefined;
  }

  #holds(values: Uint32Array, u32: Uint32Array): boolean {
    const { words, maskWords } = this;
    for (let i = 0; i < words.length; i++) if ((u32[words[i]] & maskWords[i]) >>> 0 !== values[i]) return false;
    return true;
  }

  *rules(): IterableIterator<R> {
    for (const first of this.heads.values())
      for (let head: R | undefined = first; head; head = head.chain as R | undefined)
        for (let rule: R | undefined = head; rule; rule = rule.lower as R | undefined) yield rule;
  }
}

/** One field's trie, with the lookup of the packet in hand. */
class TrieContext {
  readonly field: TrieField;
  readonly trie = new PrefixTrie();
  readonly match: TrieMatch = newTrieMatch();
  done = false;
  readonly #value: Uint32Array;

  constructor(field: TrieField) {
    this.field = field;
    this.#value = new Uint32Array(field.nWords);
  }

  valueOf(u32: Uint32Array): Uint32Array {
    for (let i = 0; i < this.field.nWords; i++) this.#value[i] = swap(u32[this.field.word + i]);
    return this.#value;
  }

  lookup(flow: Flow): void {
    this.done = true;
    if (flow.dlType === this.field.dlType) this.trie.lookup(this.valueOf(flow.u32), this.field.nWords * 32, this.match);
    else {
      this.match.plens.fill(0xffffffff);
      this.match.maskBits = 0;
    }
  }

  /** Whether the first `n` bits of the field are all ones in `wc`. */
  bitsSet(wc: FlowWildcards, n: number): boolean {
    for (let i = 0; i * 32 < n; i++) {
      const want = leading(n - i * 32);
      if ((swap(wc.u32[this.field.word + i]) & want) >>> 0 !== want) return false;
    }
    return true;
  }

  setBits(wc: FlowWildcards, n: number): void {
    for (let i = 0; i * 32 < n; i++) wc.u32[this.field.word + i] |= swap(leading(n - i * 32));
  }
}

const leading = (n: number): number => (n <= 0 ? 0 : n >= 32 ? 0xffffffff : (0xffffffff << (32 - n)) >>> 0);

export class Classifier<R extends ClsRule = ClsRule> {
  /** Highest priority first. */
  readonly #subtables: Subtable<R>[] = [];
  readonly #byMask = new Map<number, Subtable<R>[]>();
  readonly #tries: TrieContext[];
  readonly #ports = new Uint32Array(1);
  readonly #portsMatch = newTrieMatch();
  #nRules = 0;

  /** `prefixFields`: the members whose prefixes are tracked in tries. */
  constructor(prefixFields: readonly FlowMemberName[] = ['nw_dst', 'nw_src']) {
    this.#tries = prefixFields.map((f) => new TrieContext(trieField(f)));
  }

  get size(): number {
    return this.#nRules;
  }

  get nSubtables(): number {
    return this.#subtables.length;
  }

  /** Inserts `rule` under `match`; returns the rule with the same match and priority that it replaces, if any. */
  replace(rule: R, match: Match): R | undefined {
    const st = this.#findSubtable(match.wc) ?? this.#newSubtable(match.wc);
    rule.subtable = st as unknown as Subtable<ClsRule>;
    rule.values = st.valuesOf(match.flow);
    rule.hash = st.hashValues(rule.values, rule.values.length);
    const old = this.#link(st, rule);
    if (!old) this.#ruleAdded(st, rule);
    return old;
  }

  /** Takes `rule` out; false when it was not in. Its `match()` stays valid. */
  remove(rule: R): boolean {
    const st = rule.subtable as unknown as Subtable<R> | undefined;
    if (!st || !this.#unlink(st, rule)) return false;
    this.#ruleRemoved(st, rule);
    return true;
  }

  /** Whether `rule` itself (not an equal one) is in. */
  has(rule: R): boolean {
    const st = rule.subtable as unknown as Subtable<R> | undefined;
    for (let r = st?.find(rule.hash, rule.values); r; r = r.lower as R | undefined) if (r === rule) return true;
    return false;
  }

  findExactly(match: Match, priority: number): R | undefined {
    const st = this.#findSubtable(match.wc);
    if (!st) return undefined;
    const values = st.valuesOf(match.flow);
    let rule = st.find(st.hashValues(values, values.length), values);
    while (rule && rule.priority > priority) rule = rule.lower as R | undefined;
    return rule?.priority === priority ? rule : undefined;
  }

  /** The highest-priority rule that matches `flow`. Adds to `wc` the bits that were looked at. */
  lookup(flow: Flow, wc?: FlowWildcards): R | undefined {
    for (const t of this.#tries) t.done = false;
    let best: R | undefined;
    for (const st of this.#subtables) {
      if (best && st.maxPriority <= best.priority) break;
      const rule = wc ? this.#findWc(st, flow, wc) : this.#find(st, flow);
      if (rule && (!best || rule.priority > best.priority)) best = rule;
    }
    return best;
  }

  /** Every rule, in no particular order. Rules may be removed on the way, not added. */
  *rules(): IterableIterator<R> {
    for (const st of [...this.#subtables]) yield* st.rules();
  }

  /** The rules whose match is `target` or more specific (the "loose" match of OpenFlow). */
  *matching(target: Match): IterableIterator<R> {
    for (const st of [...this.#subtables]) {
      if (!covers(st.mask, target.wc)) continue;
      const at: number[] = [];
      st.words.forEach((w, i) => {
        if (target.wc.u32[w]) at.push(i);
      });
      for (const rule of st.rules()) {
        if (at.every((i) => ((rule.values[i] ^ target.flow.u32[st.words[i]]) & target.wc.u32[st.words[i]]) === 0))
          yield rule;
      }
    }
  }

  /** A rule of the same priority that some packet could match as well as `match`. */
  findOverlap(match: Match, priority: number): R | undefined {
    for (const st of this.#subtables) {
      if (st.maxPriority < priority) break;
      for (const rule of st.rules()) {
        if (rule.priority === priority && overlaps(st, rule, match)) return rule;
      }
    }
    return undefined;
  }

  #findSubtable(mask: FlowWildcards): Subtable<R> | undefined {
    return this.#byMask.get(hashMask(mask))?.find((st) => st.sameMask(mask));
  }

  #newSubtable(mask: FlowWildcards): Subtable<R> {
    const fields = this.#tries.map((t) => t.field);
    const st = new Subtable<R>(mask, fields);
    const key = hashMask(mask);
    const peers = this.#byMask.get(key);
    if (peers) peers.push(st);
    else this.#byMask.set(key, [st]);
    this.#subtables.push(st);
    return st;
  }

  #dropSubtable(st: Subtable<R>): void {
    const key = hashMask(st.mask);
    const rest = (this.#byMask.get(key) ?? []).filter((s) => s !== st);
    if (rest.length) this.#byMask.set(key, rest);
    else this.#byMask.delete(key);
    this.#subtables.splice(this.#subtables.indexOf(st), 1);
  }

  /** Puts `rule` into its place among the rules of its match. Returns the one it replaces. */
  #link(st: Subtable<R>, rule: R): R | undefined {
    const head = st.find(rule.hash, rule.values);
    if (!head) {
      rule.chain = st.heads.get(rule.hash);
      st.heads.set(rule.hash, rule);
      return undefined;
    }
    let prev: R | undefined;
    let at: R | undefined = head;
    while (at && at.priority > rule.priority) {
      prev = at;
      at = at.lower as R | undefined;
    }
    const old = at?.priority === rule.priority ? at : undefined;
    rule.lower = old ? old.lower : at;
    if (prev) prev.lower = rule;
    else this.#replaceHead(st, head, rule);
    if (old) old.lower = old.chain = undefined;
    return old;
  }

  /** Puts `to` (or nothing) where `head` stands in its hash chain. */
  #replaceHead(st: Subtable<R>, head: R, to: R | undefined): void {
    if (to) to.chain = head.chain;
    const next = to ?? (head.chain as R | undefined);
    const first = st.heads.get(head.hash)!;
    if (first === head) {
      if (next) st.heads.set(head.hash, next);
      else st.heads.delete(head.hash);
    } else {
      let before: R = first;
      while (before.chain !== head) before = before.chain as R;
      before.chain = next;
    }
    head.chain = undefined;
  }

  #unlink(st: Subtable<R>, rule: R): boolean {
    const head = st.find(rule.hash, rule.values);
    if (!head) return false;
    if (head === rule) {
      this.#replaceHead(st, head, rule.lower as R | undefined);
    } else {
      let prev: R = head;
      while (prev.lower && prev.lower !== rule) prev = prev.lower as R;
      if (prev.lower !== rule) return false;
      prev.lower = rule.lower;
    }
    rule.lower = undefined;
    return true;
  }

  #ruleAdded(st: Subtable<R>, rule: R): void {
    this.#nRules++;
    st.nRules++;
    for (let i = 0; i < st.indices.length; i++) {
      const h = st.hashValues(rule.values, st.stageEnds[i]);
      st.indices[i].set(h, (st.indices[i].get(h) ?? 0) + 1);
    }
    this.#trackPrefixes(st, rule, true);
    if (rule.priority > st.maxPriority) {
      st.maxPriority = rule.priority;
      st.maxCount = 1;
      this.#raise(st);
    } else if (rule.priority === st.maxPriority) st.maxCount++;
  }

  #ruleRemoved(st: Subtable<R>, rule: R): void {
    this.#nRules--;
    st.nRules--;
    for (let i = 0; i < st.indices.length; i++) {
      const h = st.hashValues(rule.values, st.stageEnds[i]);
      const n = st.indices[i].get(h)!;
      if (n > 1) st.indices[i].set(h, n - 1);
      else st.indices[i].delete(h);
    }
    this.#trackPrefixes(st, rule, false);
    if (st.nRules === 0) this.#dropSubtable(st);
    else if (rule.priority === st.maxPriority && --st.maxCount === 0) this.#lower(st);
  }

  #trackPrefixes(st: Subtable<R>, rule: R, add: boolean): void {
    for (let t = 0; t < this.#tries.length; t++) {
      const plen = st.triePlen[t];
      if (plen === 0) continue;
      const { field, trie } = this.#tries[t];
      const value = new Uint32Array(field.nWords);
      for (let i = 0; i < field.nWords; i++) value[i] = swap(wordOf(st, rule, field.word + i));
      if (add) trie.insert(value, plen);
      else trie.remove(value, plen);
    }
    if (st.portsMaskLen) {
      const ports = Uint32Array.of(swap(wordOf(st, rule, PORTS_WORD)));
      if (add) st.portsTrie.insert(ports, st.portsMaskLen);
      else st.portsTrie.remove(ports, st.portsMaskLen);
    }
  }

  /** Moves `st` forward after its priority rose. */
  #raise(st: Subtable<R>): void {
    const list = this.#subtables;
    let i = list.indexOf(st);
    for (; i > 0 && list[i - 1].maxPriority < st.maxPriority; i--) list[i] = list[i - 1];
    list[i] = st;
  }

  /** Finds the highest priority anew after its last rule went, and moves `st` back. */
  #lower(st: Subtable<R>): void {
    st.maxPriority = -1;
    for (const first of st.heads.values()) {
      for (let head: ClsRule | undefined = first; head; head = head.chain) {
        if (head.priority > st.maxPriority) {
          st.maxPriority = head.priority;
          st.maxCount = 1;
        } else if (head.priority === st.maxPriority) st.maxCount++;
      }
    }
    const list = this.#subtables;
    let i = list.indexOf(st);
    for (; i + 1 < list.length && list[i + 1].maxPriority > st.maxPriority; i++) list[i] = list[i + 1];
    list[i] = st;
  }

  #find(st: Subtable<R>, flow: Flow): R | undefined {
    const { words, maskWords } = st;
    const u32 = flow.u32;
    let h = 0;
    for (let i = 0; i < words.length; i++) h = mix(h, u32[words[i]] & maskWords[i]);
    return st.findFlow(finish(h), u32);
  }

  #findWc(st: Subtable<R>, flow: Flow, wc: FlowWildcards): R | undefined {
    const { words, maskWords, stageEnds } = st;
    const u32 = flow.u32;
    const last = stageEnds.length - 1;
    let h = 0;
    let i = 0;
    for (let stage = 0; stage < last; stage++) {
      const end = stageEnds[stage];
      if (this.#triesExclude(st, i, end, flow, wc)) return fold(st, i, wc);
      for (; i < end; i++) h = mix(h, u32[words[i]] & maskWords[i]);
      if (!st.indices[stage].has(finish(h))) return fold(st, i, wc);
    }
    if (this.#triesExclude(st, i, words.length, flow, wc)) return fold(st, i, wc);
    for (; i < words.length; i++) h = mix(h, u32[words[i]] & maskWords[i]);
    const rule = st.findFlow(finish(h), u32);
    if (!rule && st.portsMaskLen) return this.#foldPortsMiss(st, u32, wc);
    fold(st, words.length, wc);
    return rule;
  }

  /** True when a trie proves that nothing in the words from `start` to `end` can match; then its bits are in `wc`. */
  #triesExclude(st: Subtable<R>, start: number, end: number, flow: Flow, wc: FlowWildcards): boolean {
    for (let t = 0; t < this.#tries.length; t++) {
      const plen = st.triePlen[t];
      if (plen === 0) continue;
      const ctx = this.#tries[t];
      const w = ctx.field.word;
      if (start >= end || w < st.words[start] || w > st.words[end - 1]) continue;
      if (!ctx.done) ctx.lookup(flow);
      if (trieMayMatch(ctx.match, plen)) continue;
      const { maskBits } = ctx.match;
      if (maskBits <= plen) {
        ctx.setBits(wc, maskBits);
        return true;
      }
      if (ctx.bitsSet(wc, maskBits)) return true;
    }
    return false;
  }

  /** A miss in the last stage with ports: only as many port bits as prove it. */
  #foldPortsMiss(st: Subtable<R>, u32: Uint32Array, wc: FlowWildcards): undefined {
    const mask = st.mask.u32[PORTS_WORD];
    this.#ports[0] = swap(u32[PORTS_WORD] & mask);
    st.portsTrie.lookup(this.#ports, 32, this.#portsMatch);
    const ports = (mask & swap(leading(this.#portsMatch.maskBits))) | wc.u32[PORTS_WORD];
    fold(st, st.words.length, wc);
    wc.u32[PORTS_WORD] = ports;
  }
}

/** Adds the mask's first `end` words to `wc`. */
function fold(st: Subtable<ClsRule>, end: number, wc: FlowWildcards): undefined {
  const { words, maskWords } = st;
  for (let i = 0; i < end; i++) wc.u32[words[i]] |= maskWords[i];
}

function hashMask(mask: FlowWildcards): number {
  let h = 0;
  for (let w = 0; w < N_WORDS; w++) if (mask.u32[w]) h = mix(mix(h, w), mask.u32[w]);
  return finish(h);
}

/** Whether every bit of `target` is in `mask`. */
function covers(mask: FlowWildcards, target: FlowWildcards): boolean {
  for (let w = 0; w < N_WORDS; w++) if (target.u32[w] & ~mask.u32[w]) return false;
  return true;
}

function wordOf(st: Subtable<ClsRule>, rule: ClsRule, word: number): number {
  const i = st.words.indexOf(word);
  return i < 0 ? 0 : rule.values[i];
}

function overlaps(st: Subtable<ClsRule>, rule: ClsRule, match: Match): boolean {
  for (let i = 0; i < st.words.length; i++) {
    const w = st.words[i];
    if ((rule.values[i] ^ match.flow.u32[w]) & st.maskWords[i] & match.wc.u32[w]) return false;
  }
  return true;
}
