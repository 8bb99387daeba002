import type { FlowMemberName } from '../gen/flow.ts';
import {
  type ClsRule,
  ClsView,
  firstIn,
  isIn,
  PORTS_WORD,
  prefixLen,
  Subtable,
  swap,
  type TrieField,
  trieField,
} from './classifier-subtable.ts';
import type { Flow, FlowWildcards, Match } from './flow.ts';
import { finish, hashValues, type MaskShape, mix, N_WORDS, shapeOf } from './mask-shape.ts';
import { newTrieMatch, PrefixTrie, type TrieMatch, trieMayMatch } from './prefix-trie.ts';

export {
  type ClsConjunction,
  ClsRule,
  ClsView,
  STAGE_COMING,
  STAGE_GOING,
  STAGE_NEVER,
  STAGE_STABLE,
} from './classifier-subtable.ts';

/**
 * Tuple space search: rules with the same mask share a subtable, which is a hash over the masked words. A lookup visits the subtables
 * from the highest priority down, stage by stage, and adds to the caller's wildcards only the bits that decided it (the staged lookup,
 * the prefix tries and the ports tries of "The Design and Implementation of Open vSwitch", NSDI 2015, section 5).
 */

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

  valueOfRule(st: Subtable<ClsRule>, rule: ClsRule): Uint32Array {
    for (let i = 0; i < this.field.nWords; i++) this.#value[i] = swap(wordOf(st, rule, this.field.word + i));
    return this.#value;
  }

  lookup(flow: Flow): void {
    this.done = true;
    const { dlType } = this.field;
    if (dlType < 0 || flow.dlType === dlType)
      this.trie.lookup(this.valueOf(flow.u32), this.field.nWords * 32, this.match);
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
  #tries: TrieContext[];
  readonly #view: ClsView;
  readonly #ports = new Uint32Array(1);
  readonly #portsMatch = newTrieMatch();
  #nRules = 0;
  /** The last rule whose like was looked for, and the head of that match: as a rule it is put in next. */
  #soughtLike: ClsRule | undefined = undefined;
  #foundLike: R | undefined = undefined;
  /** The subtable that was found last. */
  #found: Subtable<R> | undefined = undefined;

  /** `prefixFields`: the members whose prefixes are tracked in tries. */
  constructor(prefixFields: readonly FlowMemberName[] = ['nw_dst', 'nw_src'], view = new ClsView()) {
    this.#tries = prefixFields.map((f) => new TrieContext(trieField(f)));
    this.#view = view;
  }

  /** Tracks other members' prefixes from now on. */
  setPrefixes(fields: readonly FlowMemberName[]): void {
    this.#tries = fields.map((f) => new TrieContext(trieField(f)));
    const trieFields = this.#tries.map((t) => t.field);
    for (const st of this.#subtables) {
      st.triePlen = trieFields.map((f) => prefixLen(st.mask, f));
      for (const rule of st.table.list()) this.#trackTries(st, rule, true);
    }
  }

  get size(): number {
    return this.#nRules;
  }

  get nSubtables(): number {
    return this.#subtables.length;
  }

  /** Inserts `rule` under `match`; returns the rule with the same match and priority that it replaces, if any. */
  replace(rule: R, match: Match): R | undefined {
    const old = this.findExactly(match, rule.priority);
    this.insert(rule, match);
    if (old) this.remove(old);
    return old;
  }

  /** Inserts `rule`, under `match` if it has none yet. What has the same match and priority, if anything, must be on its way out. */
  insert(rule: R, match?: Match): void {
    if (match) rule.setMatch(match);
    const st = this.#findSubtable(rule.shape!) ?? this.#newSubtable(rule.shape!);
    rule.subtable = st as unknown as Subtable<ClsRule>;
    this.#link(st, rule);
    this.#ruleAdded(st, rule);
  }

  /** Takes `rule` out; false when it was not in. */
  remove(rule: R): boolean {
    const st = rule.subtable as unknown as Subtable<R> | undefined;
    if (!st || !this.#unlink(st, rule)) return false;
    this.#ruleRemoved(st, rule);
    return true;
  }

  /** Whether `rule` itself (not an equal one) is in. */
  has(rule: R): boolean {
    const st = rule.subtable as unknown as Subtable<R> | undefined;
    for (let r = st?.table.find(rule.hash, rule.values); r; r = r.lower as R | undefined) if (r === rule) return true;
    return false;
  }

  /** Whether `rule`, which is in, is there before or (`next`) after the change under way. */
  sees(rule: R, next: boolean): boolean {
    return isIn(rule, next);
  }

  /** Whether the match of `rule`, which is in, is `target` or more specific. */
  isLoose(rule: R, target: Match): boolean {
    const st = rule.subtable as unknown as Subtable<R>;
    if (!covers(st.mask, target.wc)) return false;
    const { words } = st;
    for (let i = 0; i < words.length; i++)
      if ((rule.values[i] ^ target.flow.u32[words[i]]) & target.wc.u32[words[i]]) return false;
    return true;
  }

  /** The rule with that match and priority that is in after the change under way, if any. */
  findExactly(match: Match, priority: number): R | undefined {
    const shape = shapeOf(match.wc);
    const st = this.#findSubtable(shape);
    if (!st) return undefined;
    const values = shape.valuesOf(match.flow);
    return atPriority(st.table.find(hashValues(values, values.length), values), priority);
  }

  /** The same for the match and priority of a rule that is not in. */
  findLike(rule: ClsRule): R | undefined {
    this.#soughtLike = rule;
    this.#foundLike = this.#findSubtable(rule.shape!)?.table.find(rule.hash, rule.values);
    return atPriority(this.#foundLike, rule.priority);
  }

  /** The highest-priority rule that matches `flow`. Adds to `wc` the bits that were looked at. `flow.conjId` is as before afterwards. */
  lookup(flow: Flow, wc?: FlowWildcards): R | undefined {
    return this.#lookup(flow, wc, true);
  }

  /** `conjunctive`: whether clauses count; with a conj_id in `flow` they do not. */
  #lookup(flow: Flow, wc: FlowWildcards | undefined, conjunctive: boolean): R | undefined {
    for (const t of this.#tries) t.done = false;
    let hard: R | undefined;
    let soft: (R | undefined)[] | undefined;
    for (const st of this.#subtables) {
      if (hard && st.maxPriority <= hard.priority) break;
      const rule = wc ? this.#findWc(st, flow, wc) : this.#find(st, flow);
      if (!rule || (hard && rule.priority <= hard.priority)) continue;
      if (!rule.conjunctions) hard = rule;
      else if (conjunctive) {
        soft ??= [];
        soft.push(rule);
      }
    }
    return soft ? this.#resolve(soft, hard, flow, wc) : hard;
  }

  /** Finds out which of the clauses that matched make a whole, from the highest priority down to that of `hard`. */
  #resolve(
    clauses: (R | undefined)[],
    certain: R | undefined,
    flow: Flow,
    wc: FlowWildcards | undefined,
  ): R | undefined {
    let hard = certain;
    let soft = clauses;
    for (;;) {
      soft = soft.filter((r) => r && (!hard || r.priority > hard.priority));
      if (!soft.length) return hard;
      const priority = Math.max(...soft.map((r) => r!.priority));
      const top = soft.filter((r) => r!.priority === priority);
      const rule = this.#wholeMatch(top as R[], flow, wc);
      if (rule) return rule;
      // Rules of the same match and a lower priority come in their place.
      soft = soft.map((r) => {
        if (r!.priority !== priority) return r;
        const lower = firstIn(r!.lower as R | undefined, this.#view.next);
        if (!lower || lower.conjunctions) return lower;
        if (!hard || lower.priority > hard.priority) hard = lower;
        return undefined;
      });
    }
  }

  /** The rule that matches the id of a conjunction all of whose clauses are in `rules`. */
  #wholeMatch(rules: readonly R[], flow: Flow, wc: FlowWildcards | undefined): R | undefined {
    const seen = new Map<number, bigint>();
    for (const { conjunctions } of rules) {
      for (const { id, clause, nClauses } of conjunctions!) {
        if (nClauses > rules.length) continue;
        const clauses = (seen.get(id) ?? 0n) | (1n << BigInt(clause));
        seen.set(id, clauses);
        if (clauses !== (1n << BigInt(nClauses)) - 1n) continue;
        const rule = this.#lookupConjunction(id, flow, wc);
        if (rule) return rule;
        // As Open vSwitch: what else a rule of that clause says is not looked at any more.
        break;
      }
    }
    return undefined;
  }

  #lookupConjunction(id: number, flow: Flow, wc: FlowWildcards | undefined): R | undefined {
    const saved = flow.conjId;
    flow.conjId = id;
    const rule = this.#lookup(flow, wc, false);
    flow.conjId = saved;
    return rule;
  }

  /** Every rule, in no particular order. Rules may come and go on the way. */
  *rules(): IterableIterator<R> {
    for (const st of [...this.#subtables]) yield* st.table.list();
  }

  /** The rules whose match is `target` or more specific (the "loose" match of OpenFlow), in the view's state or the one after the change. */
  *matching(target: Match, next = this.#view.next): IterableIterator<R> {
    for (const st of [...this.#subtables]) {
      if (!covers(st.mask, target.wc)) continue;
      const at: number[] = [];
      st.words.forEach((w, i) => {
        if (target.wc.u32[w]) at.push(i);
      });
      for (const rule of st.table.list()) {
        if (!isIn(rule, next)) continue;
        if (at.every((i) => ((rule.values[i] ^ target.flow.u32[st.words[i]]) & target.wc.u32[st.words[i]]) === 0))
          yield rule;
      }
    }
  }

  /** A rule of the same priority that some packet could match as well as `match`, after the change under way. */
  findOverlap(match: Match, priority: number): R | undefined {
    for (const st of this.#subtables) {
      if (st.maxPriority < priority) break;
      for (const rule of st.table.rules()) {
        if (rule.priority === priority && isIn(rule, true) && overlaps(st, rule, match)) return rule;
      }
    }
    return undefined;
  }

  #findSubtable(shape: MaskShape): Subtable<R> | undefined {
    if (this.#found?.shape === shape) return this.#found;
    const peers = this.#byMask.get(shape.hash);
    if (peers) for (const st of peers) if (st.shape.equals(shape)) return this.#keep(st);
    return undefined;
  }

  #keep(st: Subtable<R>): Subtable<R> {
    this.#found = st;
    return st;
  }

  #newSubtable(shape: MaskShape): Subtable<R> {
    const fields = this.#tries.map((t) => t.field);
    const st = new Subtable<R>(shape, fields);
    const peers = this.#byMask.get(shape.hash);
    if (peers) peers.push(st);
    else this.#byMask.set(shape.hash, [st]);
    this.#subtables.push(st);
    return st;
  }

  #dropSubtable(st: Subtable<R>): void {
    if (this.#found === st) this.#found = undefined;
    const key = st.shape.hash;
    const rest = (this.#byMask.get(key) ?? []).filter((s) => s !== st);
    if (rest.length) this.#byMask.set(key, rest);
    else this.#byMask.delete(key);
    this.#subtables.splice(this.#subtables.indexOf(st), 1);
  }

  /** Puts `rule` into its place among the rules of its match, before those of the same priority. */
  #link(st: Subtable<R>, rule: R): void {
    const head = this.#soughtLike === rule ? this.#foundLike : st.table.find(rule.hash, rule.values);
    this.#soughtLike = undefined;
    if (!head) {
      st.table.addHead(rule);
      return;
    }
    let prev: R | undefined;
    let at: R | undefined = head;
    while (at && at.priority > rule.priority) {
      prev = at;
      at = at.lower as R | undefined;
    }
    rule.lower = at;
    if (prev) prev.lower = rule;
    else st.table.replaceHead(head, rule);
  }

  #unlink(st: Subtable<R>, rule: R): boolean {
    this.#soughtLike = undefined;
    const head = st.table.find(rule.hash, rule.values);
    if (!head) return false;
    if (head === rule) {
      st.table.replaceHead(head, rule.lower as R | undefined);
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
    st.table.append(rule);
    for (let i = 0; i < st.indices.length; i++) st.indices[i].add(hashValues(rule.values, st.stageEnds[i]));
    this.#trackPrefixes(st, rule, true);
    if (rule.priority > st.maxPriority) {
      st.maxPriority = rule.priority;
      st.maxCount = 1;
      this.#raise(st);
    } else if (rule.priority === st.maxPriority) st.maxCount++;
  }

  #ruleRemoved(st: Subtable<R>, rule: R): void {
    this.#nRules--;
    st.table.takeOff(rule);
    for (let i = 0; i < st.indices.length; i++) st.indices[i].remove(hashValues(rule.values, st.stageEnds[i]));
    this.#trackPrefixes(st, rule, false);
    if (st.table.size === 0) this.#dropSubtable(st);
    else if (rule.priority === st.maxPriority && --st.maxCount === 0) this.#lower(st);
  }

  #trackPrefixes(st: Subtable<R>, rule: R, add: boolean): void {
    this.#trackTries(st, rule, add);
    if (!st.portsMaskLen) return;
    this.#ports[0] = swap(wordOf(st, rule, PORTS_WORD));
    if (add) st.portsTrie.insert(this.#ports, st.portsMaskLen);
    else st.portsTrie.remove(this.#ports, st.portsMaskLen);
  }

  #trackTries(st: Subtable<R>, rule: R, add: boolean): void {
    for (let t = 0; t < this.#tries.length; t++) {
      const plen = st.triePlen[t];
      if (plen === 0) continue;
      const ctx = this.#tries[t];
      const value = ctx.valueOfRule(st, rule);
      if (add) ctx.trie.insert(value, plen);
      else ctx.trie.remove(value, plen);
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
    for (const rule of st.table.rules()) {
      const { priority } = rule;
      if (priority > st.maxPriority) {
        st.maxPriority = priority;
        st.maxCount = 1;
      } else if (priority === st.maxPriority) st.maxCount++;
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
    return st.findFlow(finish(h), u32, this.#view.next);
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
    const rule = st.findFlow(finish(h), u32, this.#view.next);
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

/** Of a list of rules with the same match, the one with that priority that is in after the change under way. */
function atPriority<R extends ClsRule>(head: R | undefined, priority: number): R | undefined {
  let rule = head;
  while (rule && (rule.priority > priority || (rule.priority === priority && !isIn(rule, true))))
    rule = rule.lower as R | undefined;
  return rule?.priority === priority ? rule : undefined;
}

/** Whether every bit of `target` is in `mask`. */
function covers(mask: FlowWildcards, target: FlowWildcards): boolean {
  for (let w = 0; w < N_WORDS; w++) if (target.u32[w] & ~mask.u32[w]) return false;
  return true;
}

function wordOf(st: Subtable<ClsRule>, rule: ClsRule, word: number): number {
  const { words } = st;
  for (let i = 0; i < words.length; i++) if (words[i] === word) return rule.values[i];
  return 0;
}

function overlaps(st: Subtable<ClsRule>, rule: ClsRule, match: Match): boolean {
  for (let i = 0; i < st.words.length; i++) {
    const w = st.words[i];
    if ((rule.values[i] ^ match.flow.u32[w]) & st.maskWords[i] & match.wc.u32[w]) return false;
  }
  return true;
}
