/**
 * Which hash buckets of a bond move to another member so that all carry about the same. Pure: the caller's buckets are not changed.
 * `M` is the caller's idea of a member.
 */

export interface BondBucket<M> {
  member: M | undefined;
  /** Bytes sent lately. */
  txBytes: number;
}

export interface BondShift<M> {
  /** Index of the bucket. */
  hash: number;
  bytes: number;
  from: M;
  to: M;
  /** What the two carry afterwards. */
  fromBytes: number;
  toBytes: number;
}

interface Load<M> {
  readonly member: M;
  bytes: number;
  /** Buckets with traffic, heaviest first. */
  entries: { hash: number; bytes: number }[];
}

/** Below this difference (about 1 Mbit/s), or 1/32 of the lighter load, nothing is moved. */
const MIN_OVERLOAD = 100_000;

/** What each of the members carries, heaviest first. */
export function bondLoads<M>(buckets: readonly BondBucket<M>[], members: readonly M[]): Load<M>[] {
  const loads = new Map<M, Load<M>>(members.map((member) => [member, { member, bytes: 0, entries: [] }]));
  buckets.forEach(({ member, txBytes }, hash) => {
    const load = member === undefined || txBytes === 0 ? undefined : loads.get(member);
    if (!load) return;
    load.bytes += txBytes;
    load.entries.push({ hash, bytes: txBytes });
  });
  for (const load of loads.values()) load.entries.sort((a, b) => b.bytes - a.bytes);
  return [...loads.values()].sort((a, b) => b.bytes - a.bytes);
}

/** The buckets that bring `from` and a member with `toBytes` at least a tenth nearer to each other; none when that can't be done. */
function chooseEntries<M>(from: Load<M>, toBytes: number): Load<M>['entries'] {
  if (from.entries.length < 2) return [];
  const idealDelta = Math.floor((from.bytes + toBytes) / 2) - toBytes;
  const threshold = Math.floor(idealDelta / 10);
  const chosen: Load<M>['entries'] = [];
  let delta = 0;
  for (const e of from.entries) {
    if (delta + e.bytes <= idealDelta) {
      chosen.push(e);
      delta += e.bytes;
    }
    if (idealDelta - delta < threshold) break;
  }
  if (chosen.length === 0) {
    // All are heavier than the ideal: the lightest comes nearest.
    chosen.push(from.entries.at(-1)!);
    delta = chosen[0].bytes;
  }
  const newLow = Math.min(from.bytes - delta, toBytes + delta);
  return newLow > toBytes && newLow - toBytes >= threshold ? chosen : [];
}

/** The moves that balance the `enabled` members. */
export function planRebalance<M>(buckets: readonly BondBucket<M>[], enabled: readonly M[]): BondShift<M>[] {
  const shifts: BondShift<M>[] = [];
  const bals = bondLoads(buckets, enabled);
  while (bals.length > 1) {
    const [from, to] = [bals[0], bals.at(-1)!];
    const overload = from.bytes - to.bytes;
    if (overload < Math.floor(to.bytes / 32) || overload < MIN_OVERLOAD) break;
    const chosen = chooseEntries(from, to.bytes);
    if (chosen.length === 0) {
      bals.shift();
      continue;
    }
    for (const { hash, bytes } of chosen) {
      from.bytes -= bytes;
      to.bytes += bytes;
      shifts.push({ hash, bytes, from: from.member, to: to.member, fromBytes: from.bytes, toBytes: to.bytes });
    }
    // What has moved once stays: a second move in the same run would gain nothing.
    from.entries = from.entries.filter((e) => !chosen.includes(e));
    bals.sort((a, b) => b.bytes - a.bytes);
  }
  return shifts;
}
