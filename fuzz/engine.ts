/** The coverage-guided loop: mutate an input of the corpus, run it, keep it when it reached what none reached before. */
import { random } from '../test/support/random.ts';
import { mutate } from './mutate.ts';

/** A parser under test. */
export interface Target {
  name: string;
  /** Runs one input. Whatever it throws is a finding: refusals that the contract names are caught inside. */
  run(input: Uint8Array): void;
  /** Inputs to begin with, beside those of the corpus. */
  seeds: readonly Uint8Array[];
  /** Words of the input's language. */
  tokens?: readonly string[];
  maxLength?: number;
}

export interface Finding {
  input: Uint8Array;
  error: unknown;
}

export interface FuzzResult {
  runs: number;
  /** Sites reached. */
  reached: number;
  /** Inputs that reached something new; the first ones are the seeds. */
  corpus: Uint8Array[];
  finding?: Finding;
}

export interface FuzzOptions {
  seed: number;
  /** Asked after each batch of runs. */
  goOn(runs: number): boolean;
  coverage(): Uint8Array;
}

const MAX_LENGTH = 4096;
const BATCH = 64;

/** A counter's class: how often a site was reached, coarsely, as one bit. */
const CLASSES = Uint8Array.from({ length: 256 }, (_, n) => {
  if (n < 4) return n === 0 ? 0 : 1 << (n - 1);
  if (n < 8) return 8;
  if (n < 16) return 16;
  if (n < 32) return 32;
  return n < 128 ? 64 : 128;
});

/** What was reached so far: the classes seen of each site. */
class Reached {
  #seen = new Uint8Array(0);
  count = 0;

  /** Takes the counters in and clears them; true when there is something new. */
  take(hits: Uint8Array): boolean {
    if (hits.length > this.#seen.length) {
      const grown = new Uint8Array(hits.length);
      grown.set(this.#seen);
      this.#seen = grown;
    }
    let isNew = false;
    for (let i = 0; i < hits.length; i++) {
      const bit = CLASSES[hits[i]];
      if ((this.#seen[i] | bit) === this.#seen[i]) continue;
      if (this.#seen[i] === 0) this.count++;
      this.#seen[i] |= bit;
      isNew = true;
    }
    hits.fill(0);
    return isNew;
  }
}

export function fuzz(target: Target, start: readonly Uint8Array[], options: FuzzOptions): FuzzResult {
  const rnd = random(options.seed);
  const tokens = (target.tokens ?? []).map((word) => new TextEncoder().encode(word));
  const reached = new Reached();
  const corpus: Uint8Array[] = [];
  let runs = 0;
  const tryOne = (input: Uint8Array): Finding | undefined => {
    runs++;
    try {
      target.run(input);
    } catch (error) {
      return { input, error };
    }
    if (reached.take(options.coverage())) corpus.push(input);
    return undefined;
  };
  const result = (finding?: Finding): FuzzResult => ({
    runs,
    reached: reached.count,
    corpus,
    ...(finding ? { finding } : {}),
  });
  for (const input of [new Uint8Array(), ...target.seeds, ...start]) {
    const finding = tryOne(input);
    if (finding) return result(finding);
  }
  while (options.goOn(runs)) {
    for (let i = 0; i < BATCH; i++) {
      // The newest inputs lead furthest.
      const pick = rnd(2) ? corpus.length - 1 - rnd(Math.min(corpus.length, 32)) : rnd(corpus.length);
      const other = corpus[rnd(corpus.length)];
      const finding = tryOne(mutate(rnd, corpus[pick], tokens, other, target.maxLength ?? MAX_LENGTH));
      if (finding) return result(finding);
    }
  }
  return result();
}
