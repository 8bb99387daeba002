/**
 * A path-compressed binary trie of address prefixes that counts the rules at each prefix length. The classifier asks it two things of a
 * value: which prefix lengths could match, and how many leading bits prove that the others can't.
 */

/**
 * A node is five words of one array; its number is the index of the first. Node 0 is the root, so that 0 as an edge means none.
 *   0 prefix: the bits of the edge that leads here, left-aligned; the unused ones are zero
 *   1 how many they are: 1..32; 0 only at the root
 *   2 how many rules end here
 *   3, 4 the nodes behind a zero and a one; of a free node, word 3 is the next free one
 */
const PREFIX = 0;
const N_BITS = 1;
const N_RULES = 2;
const ZERO = 3;
const ONE = 4;
const NODE_WORDS = 5;

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
  const hi = i < value.length ? value[i] : 0;
  if (shift === 0) return hi;
  const lo = i + 1 < value.length ? value[i + 1] : 0;
  return ((hi << shift) | (lo >>> (32 - shift))) >>> 0;
}

const bitAt = (value: TrieValue, ofs: number): number => (value[ofs >>> 5] >>> (31 - (ofs & 31))) & 1;

/** How many of the first `n` (≤ 32) bits of two left-aligned words agree. */
const equalBits = (a: number, b: number, n: number): number => Math.min(Math.clz32(a ^ b), n);

/** Copies the rules and edges of a node. Word by word: a call of `copyWithin` takes longer. */
function moveContents(nodes: Uint32Array, from: number, to: number): void {
  nodes[to + N_RULES] = nodes[from + N_RULES];
  nodes[to + ZERO] = nodes[from + ZERO];
  nodes[to + ONE] = nodes[from + ONE];
}

export class PrefixTrie {
  #nodes = new Uint32Array(4 * NODE_WORDS);
  /** The first word that no node has had yet, and the first free node before it. */
  #end = NODE_WORDS;
  #free = 0;

  get empty(): boolean {
    return this.#nodes[ZERO] === 0 && this.#nodes[ONE] === 0;
  }

  /** Counts one rule at the first `plen` (≥ 1) bits of `value`. */
  insert(value: TrieValue, plen: number): void {
    let node = 0;
    let ofs = 0;
    while (ofs < plen) {
      const bit = bitAt(value, ofs);
      const next = this.#nodes[node + ZERO + bit];
      if (!next) {
        this.#branch(node, bit, value, ofs, plen);
        return;
      }
      const nBits = this.#nodes[next + N_BITS];
      const eq = equalBits(this.#nodes[next + PREFIX], bitsAt(value, ofs), Math.min(nBits, plen - ofs));
      if (eq < nBits) this.#split(next, eq);
      ofs += eq;
      node = next;
    }
    this.#nodes[node + N_RULES]++;
  }

  /** Undoes an `insert` with the same arguments. */
  remove(value: TrieValue, plen: number): void {
    const path: number[] = [0];
    let ofs = 0;
    while (ofs < plen) {
      const next = this.#nodes[path[path.length - 1] + ZERO + bitAt(value, ofs)];
      if (!next) throw new Error('prefix is not in the trie');
      path.push(next);
      ofs += this.#nodes[next + N_BITS];
    }
    this.#nodes[path[path.length - 1] + N_RULES]--;
    for (let i = path.length - 1; i > 0; i--) this.#tidy(path[i], path[i - 1]);
  }

  /** Looks the first `nBits` of `value` up. Writes to `out`. */
  lookup(value: TrieValue, nBits: number, out: TrieMatch): void {
    out.plens.fill(0);
    out.maskBits = 0;
    if (this.empty) return;
    const nodes = this.#nodes;
    let prev = 0;
    let node = nodes[ZERO + bitAt(value, 0)];
    let matched = 0;
    while (node) {
      const eq = equalBits(nodes[node + PREFIX], bitsAt(value, matched), nodes[node + N_BITS]);
      matched += eq;
      if (eq < nodes[node + N_BITS]) {
        out.maskBits = matched + 1;
        return;
      }
      if (nodes[node + N_RULES] > 0) out.plens[(matched - 1) >>> 5] |= 1 << (31 - ((matched - 1) & 31));
      if (matched >= nBits) {
        out.maskBits = nBits;
        return;
      }
      prev = node;
      node = nodes[node + ZERO + bitAt(value, matched)];
    }
    // Followed an edge that is not there: the bit that leads to its sibling must be known, if there is one.
    out.maskBits = nodes[prev + ZERO] || nodes[prev + ONE] ? matched + 1 : matched;
  }

  /** A node without rules and edges. */
  #newNode(prefix: number, nBits: number): number {
    let node = this.#free;
    if (node) this.#free = this.#nodes[node + ZERO];
    else {
      node = this.#end;
      this.#end += NODE_WORDS;
      if (this.#end > this.#nodes.length) {
        const more = new Uint32Array(this.#nodes.length * 2);
        more.set(this.#nodes);
        this.#nodes = more;
      }
    }
    const nodes = this.#nodes;
    nodes[node + PREFIX] = prefix;
    nodes[node + N_BITS] = nBits;
    nodes[node + N_RULES] = nodes[node + ZERO] = nodes[node + ONE] = 0;
    return node;
  }

  #freeNode(node: number): void {
    this.#nodes[node + ZERO] = this.#free;
    this.#free = node;
  }

  /** Hangs the bits of `value` from `ofs` to `plen` on `node`, with one rule at their end. */
  #branch(node: number, bit: number, value: TrieValue, from: number, plen: number): void {
    let parent = node;
    let edge = bit;
    let ofs = from;
    for (;;) {
      const nBits = Math.min(plen - ofs, 32);
      const next = this.#newNode((bitsAt(value, ofs) & leadingMask(nBits)) >>> 0, nBits);
      this.#nodes[parent + ZERO + edge] = next;
      ofs += nBits;
      if (ofs === plen) {
        this.#nodes[next + N_RULES] = 1;
        return;
      }
      parent = next;
      edge = bitAt(value, ofs);
    }
  }

  /** Cuts `node` after `at` bits; its rules and edges move to a child. */
  #split(node: number, at: number): void {
    const prefix = this.#nodes[node + PREFIX];
    const rest = this.#newNode((prefix << at) >>> 0, this.#nodes[node + N_BITS] - at);
    const nodes = this.#nodes;
    moveContents(nodes, node, rest);
    nodes[node + PREFIX] = (prefix & leadingMask(at)) >>> 0;
    nodes[node + N_BITS] = at;
    nodes[node + N_RULES] = nodes[node + ZERO] = nodes[node + ONE] = 0;
    nodes[node + ZERO + (nodes[rest + PREFIX] >>> 31)] = rest;
  }

  /** Takes away a node that leads nowhere; joins one that only leads to another with that one, when the bits fit. */
  #tidy(node: number, parent: number): void {
    const nodes = this.#nodes;
    if (nodes[node + N_RULES]) return;
    const [zero, one] = [nodes[node + ZERO], nodes[node + ONE]];
    if (zero && one) return;
    const child = zero || one;
    if (!child) {
      nodes[parent + ZERO + (nodes[node + PREFIX] >>> 31)] = 0;
      this.#freeNode(node);
      return;
    }
    if (nodes[node + N_BITS] + nodes[child + N_BITS] > 32) return;
    nodes[node + PREFIX] |= nodes[child + PREFIX] >>> nodes[node + N_BITS];
    nodes[node + N_BITS] += nodes[child + N_BITS];
    moveContents(nodes, child, node);
    this.#freeNode(child);
  }
}
