import type { DpAction, DpFlow, DpFlowStats } from '../dpif/dpif.ts';
import type { Flow, FlowWildcards } from '../flow/flow.ts';
import { PackedFlow } from '../flow/packed-flow.ts';
import type { Effect } from './xlate/types.ts';

/** What user space knows of a megaflow: how it came about, and how much of its traffic has been accounted for. */
export class Ukey {
  readonly dpFlow: DpFlow;
  /**
   * Headers of the packet that made it. Translated again, they look at the bits that they looked at then; those of the masked key may lead
   * a prefix trie elsewhere.
   */
  readonly #key: PackedFlow;
  readonly mask: FlowWildcards;
  /** As installed. */
  actions: readonly DpAction[];
  effects: readonly Effect[];
  /** State of the switch that it was translated from. */
  seq: number;
  readonly createdMs: number;
  /** Recirculation numbers that it holds a reference to; its own, if it has one, last. */
  recircs: readonly number[] = [];
  /** Counters up to which the effects have been credited. */
  packets = 0n;
  bytes = 0n;

  constructor(
    dpFlow: DpFlow,
    key: Flow,
    mask: FlowWildcards,
    actions: readonly DpAction[],
    effects: readonly Effect[],
    seq: number,
    nowMs: number,
  ) {
    this.dpFlow = dpFlow;
    this.#key = new PackedFlow(key);
    this.mask = mask;
    this.actions = actions;
    this.effects = effects;
    this.seq = seq;
    this.createdMs = nowMs;
  }

  /** Datapath key of the packet that made it. A new object. */
  get key(): Flow {
    return this.#key.unpack();
  }

  /** What came since the last call. */
  take(stats: DpFlowStats): { packets: number; bytes: number } {
    const delta = { packets: Number(stats.packets - this.packets), bytes: Number(stats.bytes - this.bytes) };
    this.packets = stats.packets;
    this.bytes = stats.bytes;
    return delta;
  }
}
