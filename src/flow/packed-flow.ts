import { FLOW_SIZE } from '../gen/flow.ts';
import { Flow } from './flow.ts';

/** A flow to be kept by the hundred thousand: the words of it that are not zero, and where they stand. */
export class PackedFlow {
  readonly #at: Uint8Array;
  readonly #words: Uint32Array;

  constructor(flow: Flow) {
    const at: number[] = [];
    for (let i = 0; i < FLOW_SIZE / 4; i++) if (flow.u32[i] !== 0) at.push(i);
    this.#at = Uint8Array.from(at);
    this.#words = Uint32Array.from(at, (i) => flow.u32[i]);
  }

  /** A flow of the same value; how its tunnel metadata is laid out is not kept. */
  unpack(): Flow {
    const flow = new Flow();
    for (let i = 0; i < this.#at.length; i++) flow.u32[this.#at[i]] = this.#words[i];
    return flow;
  }
}
