import type { GroupProps, GroupType, Bucket as MessageBucket } from '../openflow/messages-group.ts';
import type { Rule } from './rule.ts';

/** One OpenFlow group. What describes it never changes: a modification makes another Group. Counters are numbers (exact to 2^53). */

export { OFPG_ANY } from '../openflow/messages-group.ts';
export type { GroupProps, GroupType };

/** A bucket as a group-mod describes it. */
export type BucketSpec = Readonly<MessageBucket>;

export interface Bucket extends BucketSpec {
  packets: number;
  bytes: number;
}

/** `HASH_ALG_*`: how a datapath computes dp_hash. */
export const HASH_ALG_L4 = 0;
export const HASH_ALG_SYM_L4 = 1;

/** How a `select` group picks a bucket. `dp_hash`: `hashMap[hash & hashMask]`, if that bucket is live. */
export type Selection =
  | { method: 'default' }
  | { method: 'hash' }
  | { method: 'dp_hash'; alg: number; basis: number; hashMask: number; hashMap: readonly Bucket[] };

const DEFAULT_SELECTION: Selection = { method: 'default' };

export class Group {
  readonly id: number;
  readonly type: GroupType;
  readonly buckets: readonly Bucket[];
  readonly props: GroupProps;
  readonly createdMs: number;
  readonly modifiedMs: number;
  readonly selection: Selection;
  /** Flows whose actions name it. */
  rules = new Set<Rule>();
  packets = 0;
  bytes = 0;

  /** `dbg` is told how a `select` group is going to pick. */
  constructor(
    id: number,
    type: GroupType,
    buckets: readonly BucketSpec[],
    props: GroupProps,
    times: GroupTimes,
    dbg: Dbg = () => undefined,
  ) {
    this.id = id;
    this.type = type;
    this.buckets = buckets.map((b) => ({ ...b, packets: 0, bytes: 0 }));
    this.props = props;
    this.createdMs = times.createdMs;
    this.modifiedMs = times.modifiedMs;
    this.selection = type === 'select' ? chooseSelection(this, dbg) : DEFAULT_SELECTION;
  }

  /** Counts packets that it handled; `bucket`: the one that a packet went to, all of them without it (`all` groups). */
  credit(packets: number, bytes: number, bucket?: Bucket): void {
    this.packets += packets;
    this.bytes += bytes;
    for (const b of bucket ? [bucket] : this.buckets) {
      b.packets += packets;
      b.bytes += bytes;
    }
  }
}

export interface GroupTimes {
  createdMs: number;
  modifiedMs: number;
}

type Dbg = (text: string) => void;

const MAX_HASH_VALUES = 256;
const MIN_HASH_VALUES = 16;

function chooseSelection(g: Group, dbg: Dbg): Selection {
  const { selectionMethod, selectionMethodParam: param, fields } = g.props;
  dbg(`Constructing select group ${g.id}`);
  if (selectionMethod === 'hash') {
    dbg('Selection method specified: hash.');
    if (fields.length) return { method: 'hash' };
    dbg('No hash fields. Falling back to default hash method.');
    return DEFAULT_SELECTION;
  }
  dbg(selectionMethod ? 'Selection method specified: dp_hash.' : 'No selection method specified. Trying dp_hash.');
  const hashMap = dpHashMap(g.buckets, dbg);
  if (!hashMap) {
    dbg('Falling back to default hash method.');
    return DEFAULT_SELECTION;
  }
  let [alg, basis] = [HASH_ALG_SYM_L4, 0];
  if (selectionMethod) {
    alg = Number(param >> 32n);
    basis = Number(param & 0xffff_ffffn);
    if (alg > HASH_ALG_SYM_L4) {
      dbg(`Invalid dp_hash algorithm ${alg}. Defaulting to OVS_HASH_ALG_L4`);
      alg = HASH_ALG_L4;
    }
  }
  dbg(`Use dp_hash with ${hashMap.length} hash values using algorithm ${alg}.`);
  return { method: 'dp_hash', alg, basis, hashMask: hashMap.length - 1, hashMap };
}

/** Shares hash values out to the buckets by weight, with Webster's method. Undefined when that takes too many values. */
function dpHashMap(buckets: readonly Bucket[], dbg: Dbg): Bucket[] | undefined {
  if (!buckets.length) {
    dbg("  Don't apply dp_hash method without buckets.");
    return undefined;
  }
  const weights = buckets.map((b) => b.weight).filter((w) => w > 0);
  if (!weights.length) {
    dbg('  Total weight is zero. No active buckets.');
    return undefined;
  }
  const total = weights.reduce((a, b) => a + b, 0);
  const min = Math.min(...weights);
  dbg(`  Minimum weight: ${min}, total weight: ${total}`);
  const n = Math.max(MIN_HASH_VALUES, 2 ** Math.ceil(Math.log2(Math.ceil(total / min))));
  if (n > MAX_HASH_VALUES) {
    dbg(`  Too many hash values required: ${n}`);
    return undefined;
  }
  dbg(`  Using ${n} hash values:`);
  return webster(buckets, n, total, dbg);
}

function webster(buckets: readonly Bucket[], n: number, total: number, dbg: Dbg): Bucket[] {
  const seats = buckets.map((bucket) => ({ bucket, divisor: 1, value: bucket.weight, hits: 0 }));
  const map: Bucket[] = [];
  for (let hash = 0; hash < n; hash++) {
    let winner = seats[0];
    for (const s of seats) if (s.value > winner.value) winner = s;
    winner.hits++;
    winner.divisor += 2;
    winner.value = winner.bucket.weight / winner.divisor;
    map.push(winner.bucket);
  }
  for (const { bucket, hits } of seats) {
    const target = ((n * bucket.weight) / total).toFixed(2);
    dbg(`  Bucket ${bucket.bucketId}: weight=${bucket.weight}, target=${target} hits=${hits}`);
  }
  return map;
}
