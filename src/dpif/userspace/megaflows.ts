import type { Flow, FlowWildcards } from '../../flow/flow.ts';
import { logFlowAdd, logFlowMod } from '../dp-log.ts';
import type { DpAction, DpFlow, DpFlowStats } from '../dpif.ts';
import type { Arena } from './arena.ts';
import { actionFlags, compileActions } from './compile-actions.ts';
import type { FlowTable } from './flow-table.ts';
import type { ArenaHeap } from './heap.ts';
import type { Rcu } from './rcu.ts';
import type { UserdataTable } from './userdata-table.ts';

/** A compiled action list in the arena. */
export interface ActionBlock {
  at: number;
  /** ACTIONS_F_* */
  flags: number;
  size: number;
  userdata: number[];
}

/** A megaflow that the control thread installed. */
class UserspaceFlow implements DpFlow {
  readonly ufid: string;
  readonly key: Flow;
  readonly mask: FlowWildcards;
  readonly exact?: Flow;
  actions: readonly DpAction[];
  dead = false;
  /** Of its record in the arena. */
  readonly index: number;
  code: ActionBlock;

  constructor(
    ufid: string,
    key: Flow,
    mask: FlowWildcards,
    actions: readonly DpAction[],
    index: number,
    code: ActionBlock,
    exact: Flow | undefined,
  ) {
    this.ufid = ufid;
    this.key = key;
    this.mask = mask;
    this.actions = actions;
    this.index = index;
    this.code = code;
    if (exact) this.exact = exact;
  }
}

export interface MegaflowsDeps {
  arena: Arena;
  heap: ArenaHeap;
  rcu: Rcu;
  table: FlowTable;
  userdata: UserdataTable;
  /** The datapath has as many megaflows as it may have. */
  isFull(): boolean;
  /** Threads that may have counted. */
  nThreads(): number;
}

/** The megaflows with their action lists: what `Dpif` says of flows, over the flow table. Control thread only. */
export class Megaflows {
  readonly #deps: MegaflowsDeps;
  readonly #flows = new Map<number, UserspaceFlow>();
  #ufidSequence = 0n;
  readonly #ufidBase = BigInt(Math.floor(Math.random() * 2 ** 48)) << 80n;

  constructor(deps: MegaflowsDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#flows.size;
  }

  values(): Iterable<DpFlow> {
    return this.#flows.values();
  }

  /** See `Dpif.flowPut`. A flow that is put in by hand has the mask that was asked for, and what is said of it tells the key as it was given. */
  put(key: Flow, wanted: FlowWildcards, actions: readonly DpAction[], byHand: boolean): DpFlow | undefined {
    const { table, isFull } = this.#deps;
    const mask = byHand ? wanted : table.admit(key, wanted);
    const existing = this.#flows.get(table.find(key, mask));
    if (existing) {
      this.modify(existing, actions);
      return existing;
    }
    if (isFull()) return undefined;
    const code = this.compile(actions);
    const index = code ? table.insert(key, mask, code.at | code.flags) : 0;
    if (!code || index === 0) {
      if (code) this.#free(code);
      return undefined;
    }
    const masked = key.clone();
    masked.maskWith(mask);
    const flow = new UserspaceFlow(
      this.#newUfid(),
      masked,
      mask.clone(),
      actions,
      index,
      code,
      byHand ? key.clone() : undefined,
    );
    this.#flows.set(index, flow);
    logFlowAdd(flow);
    return flow;
  }

  /** See `Dpif.flowMod`. Without room for the new list the flow goes: its packets are asked about again, and never get what is out of date. */
  modify(flow: DpFlow, actions: readonly DpAction[]): void {
    const known = flow as UserspaceFlow;
    const code = this.compile(actions);
    if (!code) {
      this.delete(flow);
      return;
    }
    const before = known.code;
    const actionsBefore = known.actions;
    this.#deps.table.setActions(known.index, code.at | code.flags);
    known.actions = actions;
    known.code = code;
    logFlowMod(flow, actionsBefore);
    this.#deps.rcu.retire(() => this.#free(before));
  }

  /** See `Dpif.flowDel`. */
  delete(flow: DpFlow, onLate?: (final: DpFlowStats) => void): DpFlowStats {
    const known = flow as UserspaceFlow;
    const stats = this.stats(flow);
    if (known.dead) return stats;
    known.dead = true;
    this.#flows.delete(known.index);
    this.#deps.table.remove(known.index, this.#deps.nThreads(), () => {
      const final = this.stats(flow);
      if (final.packets !== stats.packets) onLate?.(final);
      this.#free(known.code);
    });
    return stats;
  }

  stats(flow: DpFlow): DpFlowStats {
    return this.#deps.table.stats((flow as UserspaceFlow).index, this.#deps.nThreads());
  }

  /** Compiles a list into the arena; undefined when there is no room. The caller owns the block. */
  compile(actions: readonly DpAction[]): ActionBlock | undefined {
    const { arena, heap } = this.#deps;
    const userdata: number[] = [];
    const words = compileActions(actions, (u) => {
      const id = this.#deps.userdata.add(u);
      userdata.push(id);
      return id;
    });
    const size = words.length * 4;
    const at = heap.alloc(size);
    if (at === undefined) {
      this.#deps.userdata.delete(userdata);
      return undefined;
    }
    arena.u32.set(words, at >> 2);
    return { at, flags: actionFlags(actions), size, userdata };
  }

  #free(code: ActionBlock): void {
    this.#deps.heap.free(code.at, code.size);
    this.#deps.userdata.delete(code.userdata);
  }

  #newUfid(): string {
    this.#ufidSequence++;
    return (this.#ufidBase | this.#ufidSequence).toString(16).padStart(32, '0');
  }
}
