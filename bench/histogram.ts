/** Counts of durations in buckets whose width is 1/32 of their value: quantiles to 3 %, over any number of samples, without keeping them. */

const SUB_BUCKETS = 32;
const N_BUCKETS = SUB_BUCKETS * 40;

export class Histogram {
  readonly #counts = new Float64Array(N_BUCKETS);
  #total = 0;
  #max = 0;

  /** `value` in any unit, above 0; what is under 1 counts as 1. */
  add(value: number, times = 1): void {
    this.#counts[bucketOf(value)]! += times;
    this.#total += times;
    if (value > this.#max) this.#max = value;
  }

  addAll(other: Histogram): void {
    for (let i = 0; i < N_BUCKETS; i += 1) this.#counts[i]! += other.#counts[i]!;
    this.#total += other.#total;
    this.#max = Math.max(this.#max, other.#max);
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
    this.#max = 0;
  }

  get total(): number {
    return this.#total;
  }

  get max(): number {
    return this.#max;
  }

  /** The upper edge of the bucket in which the sample of that rank lies; 0 without samples. */
  quantile(fraction: number): number {
    const rank = Math.ceil(this.#total * fraction);
    let seen = 0;
    for (let i = 0; i < N_BUCKETS; i += 1) {
      seen += this.#counts[i]!;
      if (seen >= rank && seen > 0) return Math.min(upperEdge(i), this.#max);
    }
    return 0;
  }
}

function bucketOf(value: number): number {
  if (!(value > 1)) return 0;
  const octave = Math.floor(Math.log2(value));
  const sub = Math.floor((value / 2 ** octave - 1) * SUB_BUCKETS);
  return Math.min(N_BUCKETS - 1, octave * SUB_BUCKETS + sub);
}

function upperEdge(bucket: number): number {
  return 2 ** Math.floor(bucket / SUB_BUCKETS) * (1 + ((bucket % SUB_BUCKETS) + 1) / SUB_BUCKETS);
}
