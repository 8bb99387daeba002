import type { Flow, FlowWildcards } from '../../flow/flow.ts';
import {
  ARENA_FLOW_STATS,
  ARENA_FLOW_STATS_STRIDE,
  ARENA_FLOWS,
  ARENA_PORTS,
  ARENA_SUBTABLE_HITS,
  ARENA_SUBTABLE_HITS_STRIDE,
  ARENA_SUBTABLES,
  BUCKET__SIZE,
  BUCKET_FLOWS,
  BUCKET_HASHES,
  BUCKET_NEXT,
  BUCKET_WAYS,
  FLOW__SIZE,
  FLOW_ACTIONS,
  FLOW_DEAD,
  FLOW_GEN,
  FLOW_KEY,
  FLOW_STATS__SIZE,
  FLOW_STATS_BYTES,
  FLOW_STATS_PACKETS,
  FLOW_STATS_TCP_FLAGS,
  FLOW_STATS_USED_MS,
  FLOW_SUBTABLE,
  FLOWS_MAX,
  KEY__SHORT_WORDS,
  KEY__SIZE,
  KEY__WORDS,
  KEY_DL_TYPE,
  KEY_IN_PORT,
  KEY_NW_FRAG,
  KEY_PACKET_TYPE,
  KEY_RECIRC_ID,
  KEY_TUN_ID,
  KEY_VLAN_TCI0,
  KEY_VLAN_TPID0,
  PORT__SIZE,
  PORT_DPCLS,
  PORT_DPCLS_RECIRC,
  PORT_SIMPLE,
  PORTS_MAX,
  SUBTABLE__SIZE,
  SUBTABLE_BUCKET_MASK,
  SUBTABLE_BUCKETS,
  SUBTABLE_HITS__SIZE,
  SUBTABLE_LONG,
  SUBTABLE_MASKS,
  SUBTABLE_NFLOWS,
  SUBTABLE_NWORDS,
  SUBTABLE_WORDS,
  SUBTABLES_MAX,
  THREADS_MAX,
} from '../../gen/arena.ts';
import type { DpFlowStats } from '../dpif.ts';
import { hasTunnel } from '../odp-tunnel-text.ts';
import type { Arena } from './arena.ts';
import { flowToKey } from './flow-key.ts';
import type { ArenaHeap } from './heap.ts';
import { bitsOf, covers, wholePacket } from './masks.ts';
import type { Rcu } from './rcu.ts';

/** What a simple port's megaflows may look at (src/fastpath/simple.ts), in the bytes of a key. */
const SIMPLE_MASK = new Uint8Array(KEY__SIZE);
SIMPLE_MASK.fill(0xff, KEY_IN_PORT, KEY_IN_PORT + 8); // and recirc_id
SIMPLE_MASK.fill(0xff, KEY_DL_TYPE, KEY_DL_TYPE + 2);
SIMPLE_MASK.fill(0xff, KEY_VLAN_TCI0, KEY_VLAN_TCI0 + 2);
SIMPLE_MASK.fill(0xff, KEY_NW_FRAG, KEY_NW_FRAG + 1);

const FIRST_BUCKETS = 16;
/** Masks that a list may have whatever they are for. Above, a new one has to be wanted by MASK_WANTED flows, and above MASKS_MAX there is none: `FlowTable.admit`. */
export const MASKS_FREE = 64;
export const MASKS_MAX = 256;
export const MASK_WANTED = 32;
/** Masks whose wants are counted at a time. */
const WANTS_MAX = 4096;
/** A list is ordered anew when that saves a twentieth of the subtables that are searched. */
const WORTH_RANKING = 0.95;

/**
 * Which list of subtables a flow belongs to: packets that were recirculated have lists of their own, so that they neither slow the others nor end their
 * simple match. Ports out of range (a packet of the control thread has none) share the last record.
 */
const listOf = (key: Flow): number => Math.min(key.inPort, PORTS_MAX - 1) * 2 + (key.recircId === 0 ? 0 : 1);

/** All flows of one list with one mask. */
interface Subtable {
  id: string;
  list: number;
  at: number;
  words: number[];
  /** Its mask has no bit outside SIMPLE_MASK. */
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

/**
 * The datapath classifier's tables in the arena, of which the control thread is the only writer. Readers follow PORT_DPCLS → subtable → bucket → flow;
 * what they may still see is freed through `Rcu`.
 */
export class FlowTable {
  readonly #arena: Arena;
  readonly #heap: ArenaHeap;
  readonly #rcu: Rcu;
  readonly #flowHash: (flow: number) => number;
  readonly #subtables = new Map<string, Subtable>();
  readonly #byAt = new Map<number, Subtable>();
  readonly #byList = new Map<number, Subtable[]>();
  readonly #lists = new Map<number, { at: number; size: number }>();
  /** Flows that asked for a mask which is not there, by its id. */
  readonly #wants = new Map<string, number>();
  readonly #freeFlows: number[] = [];
  readonly #freeSubtables: number[] = [];
  #nextFlow = 1;
  /** A record that no thread ever sees: `find` writes what it looks for into it. */
  readonly #probe: number;
  #nextSubtable = 0;
  #count = 0;
  readonly #maskKey = new Uint8Array(KEY__SIZE);
  readonly #flowKey = new Uint8Array(KEY__SIZE);
  readonly #mask32 = new Uint32Array(this.#maskKey.buffer);
  readonly #key32 = new Uint32Array(this.#flowKey.buffer);
  #lastList = -1;
  readonly #lastMask = new Uint32Array(KEY__WORDS * 2);
  #lastId = '';

  /** `flowHash`: the fast path's hash of a flow record's masked key. */
  constructor(arena: Arena, heap: ArenaHeap, rcu: Rcu, flowHash: (flow: number) => number) {
    this.#arena = arena;
    this.#heap = heap;
    this.#rcu = rcu;
    this.#flowHash = flowHash;
    this.#probe = this.#takeRecord();
  }

  get count(): number {
    return this.#count;
  }

  get nMasks(): number {
    return this.#subtables.size;
  }

  /** Index of the flow with this very key and mask, or 0. */
  find(key: Flow, mask: FlowWildcards): number {
    const subtable = this.#subtables.get(this.#load(key, mask));
    if (!subtable) return 0;
    this.#writeRecord(this.#probe, subtable);
    return this.#search(subtable, this.#flowHash(this.#probe), this.#probe);
  }

  /**
   * The mask that a flow for a packet with this key and mask is to be put in with: `mask`, unless its list has so many others that this one is to wait.
   * Then it is one of those that has all its bits, the widest, or everything that the packet has: a narrower megaflow is as true, and what it costs to
   * search a port's subtables has a limit, whoever sends. A key that has no bit outside its mask is no packet's, and its mask stays.
   */
  admit(key: Flow, mask: FlowWildcards): FlowWildcards {
    const subtables = this.#byList.get(listOf(key)) ?? [];
    if (subtables.length < MASKS_FREE || covers(mask, key)) return mask;
    const id = this.#load(key, mask);
    if (this.#subtables.has(id)) return mask;
    if (subtables.length < MASKS_MAX && this.#wantedEnough(id)) return mask;
    const covering = subtables.filter((s) => covers(s.wc, mask));
    if (covering.length > 0) return covering.reduce((a, b) => (bitsOf(b.wc) < bitsOf(a.wc) ? b : a)).wc;
    return wholePacket(key, mask);
  }

  #wantedEnough(id: string): boolean {
    if (this.#wants.size >= WANTS_MAX) this.#wants.clear();
    const wants = (this.#wants.get(id) ?? 0) + 1;
    if (wants < MASK_WANTED) this.#wants.set(id, wants);
    else this.#wants.delete(id);
    return wants >= MASK_WANTED;
  }

  /** Orders each list of subtables by their hits of late, the most first. */
  rank(): void {
    for (const [list, subtables] of this.#byList) {
      for (const s of subtables) this.#score(s);
      if (subtables.length < 2) continue;
      const ranked = [...subtables].sort((a, b) => b.score - a.score);
      if (searched(ranked) >= searched(subtables) * WORTH_RANKING) continue;
      this.#byList.set(list, ranked);
      if (!this.#publishList(list)) this.#byList.set(list, subtables);
    }
  }

  #score(subtable: Subtable): void {
    const hits = this.#hitsOf(subtable.at);
    subtable.score = subtable.score / 2 + ((hits - subtable.hits) >>> 0);
    subtable.hits = hits;
  }

  /** Packets that found their flow in the subtable, by all threads; modulo 2^32. */
  #hitsOf(at: number): number {
    const offset = ARENA_SUBTABLE_HITS + ((at - ARENA_SUBTABLES) / SUBTABLE__SIZE) * SUBTABLE_HITS__SIZE;
    let sum = 0;
    for (let t = 0; t < THREADS_MAX; t++) sum += this.#arena.get(offset + t * ARENA_SUBTABLE_HITS_STRIDE);
    return sum >>> 0;
  }

  /** Installs a flow whose actions stand at `actions`. Returns its index; 0 when there is no room. */
  insert(key: Flow, mask: FlowWildcards, actions: number): number {
    const id = this.#load(key, mask);
    const subtable = this.#subtables.get(id) ?? this.#newSubtable(id, listOf(key), mask);
    if (!subtable) return 0;
    // Before the record is written, which names its subtable.
    if (subtable.nFlows >= subtable.nBuckets * 4) this.#grow(subtable);
    const flow = this.#takeRecord();
    if (flow !== 0 && this.#install(flow, subtable, actions)) return flow;
    if (flow !== 0) this.#freeFlows.push(flow);
    if (subtable.nFlows === 0) this.#dropSubtable(subtable);
    return 0;
  }

  #install(flow: number, subtable: Subtable, actions: number): boolean {
    this.#writeRecord(flow, subtable);
    this.#arena.set(flowAt(flow) + FLOW_ACTIONS, actions);
    this.#arena.publish(flowAt(flow) + FLOW_DEAD, 0);
    if (!this.#place(subtable, subtable.at, this.#flowHash(flow), flow)) {
      this.#arena.set(flowAt(flow) + FLOW_DEAD, 1);
      return false;
    }
    subtable.nFlows++;
    this.#arena.set(subtable.at + SUBTABLE_NFLOWS, subtable.nFlows);
    this.#count++;
    return true;
  }

  /** Takes the flow out; its record is used again once no thread can see it, and `onFree` is called just before. */
  remove(flow: number, nThreads: number, onFree: () => void): void {
    const record = flowAt(flow);
    this.#arena.publish(record + FLOW_DEAD, 1);
    const subtable = this.#byAt.get(this.#arena.get(record + FLOW_SUBTABLE));
    if (!subtable) throw new Error(`datapath: flow ${flow} has no subtable`);
    this.#unplace(subtable, flow);
    subtable.nFlows--;
    this.#count--;
    if (subtable.nFlows === 0) this.#dropSubtable(subtable);
    this.#rcu.retire(() => {
      onFree();
      this.#arena.set(record + FLOW_GEN, (this.#arena.get(record + FLOW_GEN) + 1) >>> 0);
      for (let t = 0; t < nThreads; t++) this.#clearStats(t, flow);
      this.#freeFlows.push(flow);
    });
  }

  setActions(flow: number, actions: number): number {
    const before = this.#arena.get(flowAt(flow) + FLOW_ACTIONS);
    this.#arena.publish(flowAt(flow) + FLOW_ACTIONS, actions);
    return before;
  }

  actions(flow: number): number {
    return this.#arena.get(flowAt(flow) + FLOW_ACTIONS);
  }

  /** Sum over the first `nThreads` threads. */
  stats(flow: number, nThreads: number): DpFlowStats {
    const sum: DpFlowStats = { packets: 0n, bytes: 0n, usedMs: 0, tcpFlags: 0 };
    for (let t = 0; t < nThreads; t++) {
      const at = statsAt(t, flow);
      sum.packets += this.#arena.counter(at + FLOW_STATS_PACKETS);
      sum.bytes += this.#arena.counter(at + FLOW_STATS_BYTES);
      sum.usedMs = Math.max(sum.usedMs, this.#arena.f64[(at + FLOW_STATS_USED_MS) >> 3]!);
      sum.tcpFlags |= this.#arena.get(at + FLOW_STATS_TCP_FLAGS);
    }
    sum.tcpFlags = ((sum.tcpFlags & 0xff) << 8) | ((sum.tcpFlags >> 8) & 0xff);
    return sum;
  }

  #clearStats(t: number, flow: number): void {
    const at = statsAt(t, flow);
    // Most threads never saw the flow; writing only where it did leaves their pages untouched.
    if (this.#arena.counter(at + FLOW_STATS_PACKETS) !== 0n) this.#arena.u8.fill(0, at, at + FLOW_STATS__SIZE);
  }

  /** Puts key and mask into the scratch buffers and returns the subtable's id. */
  #load(key: Flow, mask: FlowWildcards): string {
    flowToKey(mask, this.#maskKey);
    flowToKey(key, this.#flowKey);
    // A port's tables are its own: without this the signature cache could find a flow for a packet of another port.
    this.#mask32[KEY_IN_PORT / 4] = 0xffffffff;
    this.#mask32[KEY_RECIRC_ID / 4] = 0xffffffff;
    // All packets here are Ethernet frames.
    if (key.packetType === 0) this.#maskKey.fill(0, KEY_PACKET_TYPE, KEY_PACKET_TYPE + 4);
    // Nor do packets of such ports come out of tunnels.
    if (!hasTunnel(key)) this.#maskKey.fill(0, KEY_TUN_ID, KEY__SIZE);
    // Without a first tag there is no TPID and no second tag: those bits say nothing more.
    if (key.vlanTci0 === 0 && mask.vlanTci0 === 0xffff) this.#maskKey.fill(0, KEY_VLAN_TPID0, KEY_VLAN_TPID0 + 6);
    for (let i = 0; i < KEY__WORDS * 2; i++) this.#key32[i]! &= this.#mask32[i]!;
    return this.#idOf(listOf(key));
  }

  /** The id of the mask in the scratch buffer. Flow after flow has the same one: it is written anew only when it is another's. */
  #idOf(list: number): string {
    let same = list === this.#lastList;
    for (let i = 0; same && i < KEY__WORDS * 2; i++) same = this.#mask32[i] === this.#lastMask[i];
    if (same) return this.#lastId;
    this.#lastList = list;
    this.#lastMask.set(this.#mask32);
    this.#lastId = `${list}:${String.fromCharCode(...new Uint16Array(this.#maskKey.buffer))}`;
    return this.#lastId;
  }

  #maskWords(): number[] {
    const words: number[] = [];
    for (let w = 0; w < KEY__WORDS; w++) if (this.#mask32[w * 2] || this.#mask32[w * 2 + 1]) words.push(w);
    return words;
  }

  #takeRecord(): number {
    const free = this.#freeFlows.pop();
    if (free !== undefined) return free;
    if (this.#nextFlow >= FLOWS_MAX) return 0;
    const flow = this.#nextFlow++;
    this.#arena.set(flowAt(flow) + FLOW_DEAD, 1);
    return flow;
  }

  #writeRecord(flow: number, subtable: Subtable): void {
    const record = flowAt(flow);
    this.#arena.set(record + FLOW_SUBTABLE, subtable.at);
    let at = (record + FLOW_KEY) >> 2;
    for (const w of subtable.words) {
      this.#arena.u32[at++] = this.#key32[w * 2]!;
      this.#arena.u32[at++] = this.#key32[w * 2 + 1]!;
    }
  }

  /** Number and buckets of a subtable; undefined, and nothing taken, when there is no room. */
  #takeSubtable(nBuckets: number): { index: number; buckets: number } | undefined {
    const index = this.#freeSubtables.pop() ?? (this.#nextSubtable < SUBTABLES_MAX ? this.#nextSubtable++ : undefined);
    if (index === undefined) return undefined;
    const buckets = this.#newBuckets(nBuckets);
    if (buckets !== undefined) return { index, buckets };
    this.#freeSubtables.push(index);
    return undefined;
  }

  #newSubtable(id: string, list: number, mask: FlowWildcards): Subtable | undefined {
    const taken = this.#takeSubtable(FIRST_BUCKETS);
    if (!taken) return undefined;
    const at = ARENA_SUBTABLES + taken.index * SUBTABLE__SIZE;
    const words = this.#maskWords();
    const simple = this.#maskKey.every((bits, i) => (bits & ~SIMPLE_MASK[i]!) === 0);
    const subtable: Subtable = {
      id,
      list,
      at,
      words,
      simple,
      nBuckets: FIRST_BUCKETS,
      nFlows: 0,
      chained: [],
      wc: mask.clone(),
      hits: this.#hitsOf(at),
      score: 0,
    };
    this.#writeSubtable(subtable, taken.buckets);
    const others = this.#byList.get(list) ?? [];
    this.#byList.set(list, [...others, subtable]);
    if (!this.#publishList(list)) {
      this.#byList.set(list, others);
      this.#freeBuckets(taken.buckets, FIRST_BUCKETS, []);
      this.#freeSubtables.push(taken.index);
      return undefined;
    }
    this.#subtables.set(id, subtable);
    this.#byAt.set(at, subtable);
    return subtable;
  }

  #writeSubtable(subtable: Subtable, buckets: number): void {
    const { at, words, nBuckets } = subtable;
    this.#arena.u8.fill(0, at, at + SUBTABLE__SIZE);
    this.#arena.set(at + SUBTABLE_BUCKETS, buckets);
    this.#arena.set(at + SUBTABLE_BUCKET_MASK, nBuckets - 1);
    this.#arena.set(at + SUBTABLE_NWORDS, words.length);
    this.#arena.set(at + SUBTABLE_LONG, words.some((w) => w >= KEY__SHORT_WORDS) ? 1 : 0);
    words.forEach((w, i) => {
      this.#arena.u8[at + SUBTABLE_WORDS + i] = w;
      this.#arena.set(at + SUBTABLE_MASKS + i * 8, this.#mask32[w * 2]!);
      this.#arena.set(at + SUBTABLE_MASKS + i * 8 + 4, this.#mask32[w * 2 + 1]!);
    });
  }

  #dropSubtable(subtable: Subtable): void {
    this.#subtables.delete(subtable.id);
    this.#byAt.delete(subtable.at);
    this.#byList.set(
      subtable.list,
      this.#byList.get(subtable.list)!.filter((s) => s !== subtable),
    );
    if (!this.#publishList(subtable.list)) this.#shrinkList(subtable);
    const buckets = this.#arena.get(subtable.at + SUBTABLE_BUCKETS);
    this.#rcu.retire(() => {
      this.#freeBuckets(buckets, subtable.nBuckets, subtable.chained);
      this.#freeSubtables.push((subtable.at - ARENA_SUBTABLES) / SUBTABLE__SIZE);
    });
  }

  /** Writes a list of subtables anew and swaps it in; false, and nothing changed, when there is no room. */
  #publishList(list: number): boolean {
    const subtables = this.#byList.get(list)!;
    const old = this.#lists.get(list);
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
    if (at === 0) this.#lists.delete(list);
    else this.#lists.set(list, { at, size });
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
  #shrinkList(subtable: Subtable): void {
    const { at } = this.#lists.get(subtable.list)!;
    const count = this.#arena.get(at);
    let i = 1;
    while (this.#arena.get(at + i * 4) !== subtable.at) i++;
    this.#arena.publish(at + i * 4, this.#arena.get(at + count * 4));
    this.#arena.publish(at, count - 1);
  }

  #newBuckets(n: number): number | undefined {
    const at = this.#heap.alloc(n * BUCKET__SIZE);
    if (at !== undefined) this.#arena.u8.fill(0, at, at + n * BUCKET__SIZE);
    return at;
  }

  #freeBuckets(at: number, n: number, chained: readonly number[]): void {
    this.#heap.free(at, n * BUCKET__SIZE);
    for (const bucket of chained) this.#heap.free(bucket, BUCKET__SIZE);
  }

  /** Doubles a subtable: fills a copy of its record with the same flows and swaps it in, so that a reader sees the one or the other. */
  #grow(subtable: Subtable): void {
    const nBuckets = subtable.nBuckets * 2;
    const taken = this.#takeSubtable(nBuckets);
    if (!taken) return;
    const old = { ...subtable };
    const oldBuckets = this.#arena.get(old.at + SUBTABLE_BUCKETS);
    const flows = this.#flowsOf(old);
    subtable.at = ARENA_SUBTABLES + taken.index * SUBTABLE__SIZE;
    subtable.nBuckets = nBuckets;
    subtable.chained = [];
    subtable.hits = this.#hitsOf(subtable.at);
    this.#arena.u8.copyWithin(subtable.at, old.at, old.at + SUBTABLE__SIZE);
    this.#arena.set(subtable.at + SUBTABLE_BUCKETS, taken.buckets);
    this.#arena.set(subtable.at + SUBTABLE_BUCKET_MASK, nBuckets - 1);
    const placed = flows.every(({ hash, flow }) => this.#place(subtable, subtable.at, hash, flow));
    if (!placed || !this.#publishList(subtable.list)) {
      this.#freeBuckets(taken.buckets, nBuckets, subtable.chained);
      this.#freeSubtables.push(taken.index);
      Object.assign(subtable, old);
      return;
    }
    for (const { flow } of flows) this.#arena.publish(flowAt(flow) + FLOW_SUBTABLE, subtable.at);
    this.#byAt.delete(old.at);
    this.#byAt.set(subtable.at, subtable);
    this.#rcu.retire(() => {
      this.#freeBuckets(oldBuckets, old.nBuckets, old.chained);
      this.#freeSubtables.push((old.at - ARENA_SUBTABLES) / SUBTABLE__SIZE);
    });
  }

  *#buckets(subtable: Subtable): Generator<number> {
    const first = this.#arena.get(subtable.at + SUBTABLE_BUCKETS);
    for (let i = 0; i < subtable.nBuckets; i++) yield first + i * BUCKET__SIZE;
    yield* subtable.chained;
  }

  #flowsOf(subtable: Subtable): { hash: number; flow: number }[] {
    const flows: { hash: number; flow: number }[] = [];
    for (const bucket of this.#buckets(subtable)) {
      for (let way = 0; way < BUCKET_WAYS; way++) {
        const flow = this.#arena.get(bucket + BUCKET_FLOWS + way * 4);
        if (flow) flows.push({ hash: this.#arena.get(bucket + BUCKET_HASHES + way * 4), flow });
      }
    }
    return flows;
  }

  #firstBucket(at: number, hash: number): number {
    const mask = this.#arena.get(at + SUBTABLE_BUCKET_MASK);
    return this.#arena.get(at + SUBTABLE_BUCKETS) + ((hash & mask) >>> 0) * BUCKET__SIZE;
  }

  /** Writes the flow into a free way of its bucket or of a chained one; false when the heap is full. */
  #place(subtable: Subtable, at: number, hash: number, flow: number): boolean {
    let bucket = this.#firstBucket(at, hash);
    for (;;) {
      for (let way = 0; way < BUCKET_WAYS; way++) {
        if (this.#arena.get(bucket + BUCKET_FLOWS + way * 4)) continue;
        this.#arena.set(bucket + BUCKET_HASHES + way * 4, hash >>> 0);
        this.#arena.publish(bucket + BUCKET_FLOWS + way * 4, flow);
        return true;
      }
      const next = this.#arena.get(bucket + BUCKET_NEXT);
      if (next) {
        bucket = next;
        continue;
      }
      const extra = this.#newBuckets(1);
      if (extra === undefined) return false;
      subtable.chained.push(extra);
      this.#arena.publish(bucket + BUCKET_NEXT, extra);
      bucket = extra;
    }
  }

  #unplace(subtable: Subtable, flow: number): void {
    let bucket = this.#firstBucket(subtable.at, this.#flowHash(flow));
    while (bucket) {
      for (let way = 0; way < BUCKET_WAYS; way++) {
        if (this.#arena.get(bucket + BUCKET_FLOWS + way * 4) !== flow) continue;
        this.#arena.publish(bucket + BUCKET_FLOWS + way * 4, 0);
        return;
      }
      bucket = this.#arena.get(bucket + BUCKET_NEXT);
    }
    throw new Error(`datapath: flow ${flow} is in no bucket`);
  }

  #search(subtable: Subtable, hash: number, like: number): number {
    let bucket = this.#firstBucket(subtable.at, hash);
    while (bucket) {
      for (let way = 0; way < BUCKET_WAYS; way++) {
        const flow = this.#arena.get(bucket + BUCKET_FLOWS + way * 4);
        if (flow && this.#sameKey(flow, like, subtable.words.length)) return flow;
      }
      bucket = this.#arena.get(bucket + BUCKET_NEXT);
    }
    return 0;
  }

  #sameKey(a: number, b: number, nWords: number): boolean {
    const x = (flowAt(a) + FLOW_KEY) >> 2;
    const y = (flowAt(b) + FLOW_KEY) >> 2;
    for (let i = 0; i < nWords * 2; i++) if (this.#arena.u32[x + i] !== this.#arena.u32[y + i]) return false;
    return true;
  }
}

/** What the packets counted in the scores cost in this order, in subtables. */
const searched = (subtables: readonly Subtable[]) => subtables.reduce((sum, s, i) => sum + (i + 1) * s.score, 0);

const flowAt = (flow: number) => ARENA_FLOWS + flow * FLOW__SIZE;
const statsAt = (t: number, flow: number) => ARENA_FLOW_STATS + t * ARENA_FLOW_STATS_STRIDE + flow * FLOW_STATS__SIZE;
