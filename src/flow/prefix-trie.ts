/**
 * A path-compressed binary trie of address prefixes that counts the rules at each prefix length. The classifier asks it two things of a
 * value: which prefix lengths could match, and how many leading bits prove that the others can't.
 */

interface TrieNode {
  /** Bits of this edge, left-aligned; the unused ones are zero. */
  prefix: number;
  /** 1..32; 0 only at the root. */
  nBits: number;
  nRules: number;
  zero: TrieNode | undefined;
  one: TrieNode | undefined;
}

/** A value's first `plen` bits, as big-endian words in host order. */
export type TrieValue = Uint32Array;

/** Result of a lookup; reused by the caller. */
export interface TrieMatch {
  /** Leading bits that must be unwildcarded to make the outcome certain. */
  maskBits: number;
  /** Bit n-1 (of 128) set: rules with an n-bit prefix may match. */
  plens: Uint32Array;
}

export const newTrieMatch = (): TrieMatch => ({ maskBits: 0, plens: new Uint32Array(4) });

/** Whether rules with a prefix of `plen` (≥ 1) bits may match. */
export function trieMayMatch(m: TrieMatch, plen: number): boolean {
  return ((m.plens[(plen - 1) >>> 5] >>> (31 - ((plen - 1) & 31))) & 1) !== 0;
}

const leadingMask = (n: number): number => (n === 0 ? 0 : (0xffffffff << (32 - n)) >>> 0);

/** Up to 32 bits of `value` from bit `ofs` on, left-aligned; what follows the value reads as zero. */
function bitsAt(value: TrieValue, ofs: number): number {
  const i = ofs >>> 5;
  const shift = ofs & 31;
  const hi = value[i] ?? 0;
  if (shift === 0) return hi;
  return ((hi << shift) | ((value[i + 1] ?? 0) >>> (32 - shift))) >>> 0;
}

const bitAt = (value: TrieValue, ofs: number): number => (value[ofs >>> 5] >>> (31 - (ofs & 31))) & 1;

/** How many of the first `n` (≤ 32) bits of two left-aligned words agree. */
const equalBits = (a: number, b: number, n: number): number => Math.min(Math.clz32(a ^ b), n);

function newBranch(value: TrieValue, ofs: number, plen: number): TrieNode {
  const nBits = Math.min(plen - ofs, 32);
  const prefix = (bitsAt(value, ofs) & leadingMask(nBits)) >>> 0;
  const node: TrieNode = { prefix, nBits, nRules: 0, zero: undefined, one: undefined };
  if (ofs + nBits === plen) node.nRules = 1;
  else setEdge(node, bitAt(value, ofs + nBits), newBranch(value, ofs + nBits, plen));
  return node;
}

const edge = (node: TrieNode, bit: number): TrieNode | undefined => (bit ? node.one : node.zero);

function setEdge(node: TrieNode, bit: number, to: TrieNode | undefined): void {
  if (bit) node.one = to;
  else node.zero = to;
}

/** Cuts `node` after `at` bits; its rules and edges move to a child. */
function split(node: TrieNode, at: number): void {
  const rest: TrieNode = { ...node, prefix: (node.prefix << at) >>> 0, nBits: node.nBits - at };
  node.prefix = (node.prefix & leadingMask(at)) >>> 0;
  node.nBits = at;
  node.nRules = 0;
  node.zero = undefined;
  node.one = undefined;
  setEdge(node, rest.prefix >>> 31, rest);
}

/** Joins `node` with its only child when it has no rules of its own and the bits fit. */
function mergeDown(node: TrieNode): void {
  const child = node.zero ?? node.one;
  if (node.nRules || !child || (node.zero && node.one) || node.nBits + child.nBits > 32 || node.nBits === 0) return;
  node.prefix = (node.prefix | (child.prefix >>> node.nBits)) >>> 0;
  node.nBits += child.nBits;
  node.nRules = child.nRules;
  node.zero = child.zero;
  node.one = child.one;
}

export class PrefixTrie {
  readonly #root: TrieNode = { prefix: 0, nBits: 0, nRules: 0, zero: undefined, one: undefined };

  get empty(): boolean {
    return !this.#root.zero && !this.#root.one;
  }

  /** Counts one rule at the first `plen` (≥ 1) bits of `value`. */
  insert(value: TrieValue, plen: number): void {
    let node = this.#root;
    let ofs = 0;
    while (ofs < plen) {
      const bit = bitAt(value, ofs);
      const next = edge(node, bit);
      if (!next) {
        setEdge(node, bit, newBranch(value, ofs, plen));
        return;
      }
      const eq = equalBits(next.prefix, bitsAt(value, ofs), Math.min(next.nBits, plen - ofs));
      if (eq < next.nBits) split(next, eq);
      ofs += eq;
      node = next;
    }
    node.nRules++;
  }

  /** Undoes an `insert` with the same arguments. */
  remove(value: TrieValue, plen: number): void {
    const path: TrieNode[] = [this.#root];
    let ofs = 0;
    while (ofs < plen) {
      const next = edge(path[path.length - 1], bitAt(value, ofs));
      if (!next) throw new Error('prefix is not in the trie');
      path.push(next);
      ofs += next.nBits;
    }
    path[path.length - 1].nRules--;
    for (let i = path.length - 1; i > 0; i--) {
      const node = path[i];
      if (!node.nRules && !node.zero && !node.one) setEdge(path[i - 1], node.prefix >>> 31, undefined);
      else mergeDown(node);
    }
  }

  /** Looks the first `nBits` of `value` up. Writes to `out`. */
  lookup(value: TrieValue, nBits: number, out: TrieMatch): void {
    out.plens.fill(0);
    let prev: TrieNode | undefined;
    let node = this.empty ? undefined : edge(this.#root, bitAt(value, 0));
    let matched = 0;
    if (!this.empty) prev = this.#root;
    while (node) {
      const eq = equalBits(node.prefix, bitsAt(value, matched), node.nBits);
      matched += eq;
      if (eq < node.nBits) {
        out.maskBits = matched + 1;
        return;
      }
      if (node.nRules > 0) out.plens[(matched - 1) >>> 5] |= 1 << (31 - ((matched - 1) & 31));
      if (matched >= nBits) {
        out.maskBits = nBits;
        return;
      }
      prev = node;
      node = edge(node, bitAt(value, matched));
    }
    // Followed an edge that is not there: the bit that leads to its sibling must be known, if there is one.
    out.maskBits = prev && (prev.zero || prev.one) ? matched + 1 : matched;
  }
}
