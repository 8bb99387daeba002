import { FLOW_SIZE } from '../gen/flow.ts';
import { Flow, FlowWildcards, type Match } from './flow.ts';

/** A match in as little memory as it takes: the words in which its mask has ones. For what is kept a while by the ten thousands. */
export class CompactMatch {
  readonly #words: Uint16Array;
  readonly #values: Uint32Array;
  readonly #masks: Uint32Array;
  readonly #tunTable: Flow['tunTable'];

  constructor({ flow, wc }: Match) {
    const words: number[] = [];
    for (let w = 0; w < FLOW_SIZE / 4; w++) if (wc.u32[w]) words.push(w);
    this.#words = Uint16Array.from(words);
    this.#values = Uint32Array.from(words, (w) => flow.u32[w]);
    this.#masks = Uint32Array.from(words, (w) => wc.u32[w]);
    this.#tunTable = flow.tunTable;
  }

  expand(): Match {
    const match = { flow: new Flow(), wc: new FlowWildcards() };
    this.#words.forEach((w, i) => {
      match.flow.u32[w] = this.#values[i];
      match.wc.u32[w] = this.#masks[i];
    });
    match.flow.tunTable = this.#tunTable;
    return match;
  }
}
