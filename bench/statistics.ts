/** Order statistics of a few measurements. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** The value below which `fraction` of `values` lie, between neighbours by proportion. `values` must hold one at least. */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * fraction;
  const low = sorted[Math.floor(at)];
  const high = sorted[Math.ceil(at)];
  return low + (high - low) * (at - Math.floor(at));
}

export function spread(values: readonly number[]): Spread {
  return { median: quantile(values, 0.5), min: Math.min(...values), max: Math.max(...values) };
}
