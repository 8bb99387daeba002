import type { Flow, FlowWildcards } from '../../flow/flow.ts';
import {
  ARENA_FLOW_STATS,
  ARENA_FLOW_STATS_STRIDE,
  ARENA_FLOWS,
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
  SUBTABLE__SIZE,
  SUBTABLE_BUCKET_MASK,
  SUBTABLE_BUCKETS,
  SUBTABLE_LONG,
  SUBTABLE_MASKS,
  SUBTABLE_NFLOWS,
  SUBTABLE_NWORDS,
  SUBTABLE_WORDS,
  SUBTABLES_MAX,
} from '../../gen/arena.ts';
import type { DpFlowStats } from '../dpif.ts';
import { hasTunnel } from '../odp-tunnel-text.ts';
import type { Arena } from './arena.ts';
import { Buckets } from './buckets.ts';
import { flowToKey } from './flow-key.ts';
import type { ArenaHeap } from './heap.ts';
import { MASKS_FREE, MaskAdmission, standIn } from './mask-admission.ts';
import { covers } from './masks.ts';
import type { Rcu } from './rcu.ts';
import { type Subtable, subtableAt, subtableHits, subtableIndex } from './subtable.ts';
import { listOf, SubtableLists } from './subtable-lists.ts';

/** What a simple port's megaflows may look at (src/fastpath/simple.ts), in the bytes of a key. */
const SIMPLE_MASK = new Uint8Array(KEY__SIZE);
SIMPLE_MASK.fill(0xff, KEY_IN_PORT, KEY_IN_PORT + 8); // and recirc_id
SIMPLE_MASK.fill(0xff, KEY_DL_TYPE, KEY_DL_TYPE + 2);
SIMPLE_MASK.fill(0xff, KEY_VLAN_TCI0, KEY_VLAN_TCI0 + 2);
SIMPLE_MASK.fill(0xff, KEY_NW_FRAG, KEY_NW_FRAG + 1);

const FIRST_BUCKETS = 16;

/**
 * The datapath classifier's tables in the arena, of which the control thread is the only writer. Readers follow PORT_DPCLS → subtable → bucket → flow;
 * what they may still see is freed through `Rcu`.
 */
export class FlowTable {
  readonly #arena: Arena;
  readonly #rcu: Rcu;
  readonly #flowHash: (flow: number) => number;
  readonly #subtables = new Map<string, Subtable>();
  readonly #byAt = new Map<number, Subtable>();
  readonly #lists: SubtableLists;
  readonly #buckets: Buckets;
  readonly #admission = new MaskAdmission();
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
  readonly #maskText = Buffer.from(this.#maskKey.buffer);
  readonly #key32 = new Uint32Array(this.#flowKey.buffer);
  #lastList = -1;
  readonly #lastMask = new Uint32Array(KEY__WORDS * 2);
  #lastId = '';

  /** `flowHash`: the fast path's hash of a flow record's masked key. */
  constructor(arena: Arena, heap: ArenaHeap, rcu: Rcu, flowHash: (flow: number) => number) {
    this.#arena = arena;
    this.#lists = new SubtableLists(arena, heap, rcu);
    this.#buckets = new Buckets(arena, heap);
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
    const nWords = subtable.words.length;
    return this.#buckets.search(subtable, this.#flowHash(this.#probe), (flow) =>
      this.#sameKey(flow, this.#probe, nWords),
    );
  }

  /**
   * The mask that a flow for a packet with this key and mask is to be put in with: `mask`, unless its list has so many others that this one is to wait.
   * Then it is one of those that has all its bits, the widest, or everything that the packet has: a narrower megaflow is as true, and what it costs to
   * search a port's subtables has a limit, whoever sends. A key that has no bit outside its mask is no packet's, and its mask stays.
   */
  admit(key: Flow, mask: FlowWildcards): FlowWildcards {
    const subtables = this.#lists.of(listOf(key));
    if (subtables.length < MASKS_FREE || covers(mask, key)) return mask;
    const id = this.#load(key, mask);
    if (this.#subtables.has(id) || this.#admission.admits(id, subtables.length)) return mask;
    return standIn(
      key,
      mask,
      subtables.map((s) => s.wc),
    );
  }

  /** Orders each list of subtables by their hits of late, the most first. */
  rank(): void {
    this.#lists.rank();
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
    if (!this.#buckets.place(subtable, this.#flowHash(flow), flow)) {
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
    this.#buckets.unplace(subtable, this.#flowHash(flow), flow);
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
    this.#lastId = `${list}:${this.#maskText.toString('latin1')}`;
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
    const buckets = this.#buckets.alloc(nBuckets);
    if (buckets !== undefined) return { index, buckets };
    this.#freeSubtables.push(index);
    return undefined;
  }

  #newSubtable(id: string, list: number, mask: FlowWildcards): Subtable | undefined {
    const taken = this.#takeSubtable(FIRST_BUCKETS);
    if (!taken) return undefined;
    const at = subtableAt(taken.index);
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
      hits: subtableHits(this.#arena, at),
      score: 0,
    };
    this.#writeSubtable(subtable, taken.buckets);
    if (!this.#lists.add(subtable)) {
      this.#buckets.free(taken.buckets, FIRST_BUCKETS, []);
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
    this.#lists.remove(subtable);
    const buckets = this.#arena.get(subtable.at + SUBTABLE_BUCKETS);
    this.#rcu.retire(() => {
      this.#buckets.free(buckets, subtable.nBuckets, subtable.chained);
      this.#freeSubtables.push(subtableIndex(subtable.at));
    });
  }

  /** Doubles a subtable: fills a copy of its record with the same flows and swaps it in, so that a reader sees the one or the other. */
  #grow(subtable: Subtable): void {
    const nBuckets = subtable.nBuckets * 2;
    const taken = this.#takeSubtable(nBuckets);
    if (!taken) return;
    const old = { ...subtable };
    const oldBuckets = this.#arena.get(old.at + SUBTABLE_BUCKETS);
    const flows = this.#buckets.flowsOf(old);
    subtable.at = subtableAt(taken.index);
    subtable.nBuckets = nBuckets;
    subtable.chained = [];
    subtable.hits = subtableHits(this.#arena, subtable.at);
    this.#arena.u8.copyWithin(subtable.at, old.at, old.at + SUBTABLE__SIZE);
    this.#arena.set(subtable.at + SUBTABLE_BUCKETS, taken.buckets);
    this.#arena.set(subtable.at + SUBTABLE_BUCKET_MASK, nBuckets - 1);
    const placed = flows.every(({ hash, flow }) => this.#buckets.place(subtable, hash, flow));
    if (!placed || !this.#lists.moved(subtable)) {
      this.#buckets.free(taken.buckets, nBuckets, subtable.chained);
      this.#freeSubtables.push(taken.index);
      Object.assign(subtable, old);
      return;
    }
    for (const { flow } of flows) this.#arena.publish(flowAt(flow) + FLOW_SUBTABLE, subtable.at);
    this.#byAt.delete(old.at);
    this.#byAt.set(subtable.at, subtable);
    this.#rcu.retire(() => {
      this.#buckets.free(oldBuckets, old.nBuckets, old.chained);
      this.#freeSubtables.push(subtableIndex(old.at));
    });
  }

  #sameKey(a: number, b: number, nWords: number): boolean {
    const x = (flowAt(a) + FLOW_KEY) >> 2;
    const y = (flowAt(b) + FLOW_KEY) >> 2;
    for (let i = 0; i < nWords * 2; i++) if (this.#arena.u32[x + i] !== this.#arena.u32[y + i]) return false;
    return true;
  }
}

const flowAt = (flow: number) => ARENA_FLOWS + flow * FLOW__SIZE;
const statsAt = (t: number, flow: number) => ARENA_FLOW_STATS + t * ARENA_FLOW_STATS_STRIDE + flow * FLOW_STATS__SIZE;
