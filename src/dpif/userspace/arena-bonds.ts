import type { OdpPort } from '../../base/types.ts';
import {
  ARENA_BOND_BYTES,
  ARENA_BOND_BYTES_STRIDE,
  ARENA_BONDS,
  BOND__SIZE,
  BOND_BUCKETS,
  BOND_BYTES__SIZE,
  BOND_KEY,
  BOND_MEMBERS,
  BONDS_MAX,
  NO_PORT,
} from '../../gen/arena.ts';
import type { Arena } from './arena.ts';
import type { Rcu } from './rcu.ts';

interface Bond {
  members: readonly (OdpPort | undefined)[];
  /** Number of its record. */
  readonly index: number;
}

export interface ArenaBondsDeps {
  arena: Arena;
  rcu: Rcu;
  /** Threads that may have sent. */
  nThreads(): number;
  warn(message: string): void;
}

/** Buckets of `lb_output` by bond, where the fast path reads them and counts what it sends (src/fastpath/spread.ts). Control thread only. */
export class ArenaBonds {
  readonly #deps: ArenaBondsDeps;
  readonly #bonds = new Map<number, Bond>();
  /** Records in use, and those that a thread may still read. */
  readonly #taken = new Set<number>();

  constructor(deps: ArenaBondsDeps) {
    this.#deps = deps;
  }

  /** See `Dpif.bondSet`. */
  set(id: number, members: readonly (OdpPort | undefined)[]): void {
    const known = this.#bonds.get(id);
    const index = known?.index ?? this.#freeIndex(id);
    if (index === undefined) {
      this.#deps.warn(`bond ${id}: no room, its packets are dropped: the datapath has ${BONDS_MAX} bonds at most`);
      return;
    }
    for (let bucket = 0; bucket < BOND_BUCKETS; bucket++)
      this.#deps.arena.publish(recordAt(index) + BOND_MEMBERS + bucket * 4, members[bucket] ?? NO_PORT);
    if (known) known.members = members;
    else {
      this.#taken.add(index);
      this.#bonds.set(id, { members, index });
      this.#deps.arena.publish(recordAt(index) + BOND_KEY, id + 1);
    }
  }

  #freeIndex(id: number): number | undefined {
    // A record's key is the id plus one: this has none.
    if (id === 0xffffffff) return undefined;
    for (let i = 0; i < BONDS_MAX; i++) {
      const index = (id + i) % BONDS_MAX;
      if (!this.#taken.has(index)) return index;
    }
    return undefined;
  }

  /** The record is another bond's once no thread can be at it. */
  delete(id: number): void {
    const bond = this.#bonds.get(id);
    if (!bond) return;
    this.#bonds.delete(id);
    this.#deps.arena.publish(recordAt(bond.index) + BOND_KEY, 0);
    this.#deps.rcu.retire(() => {
      for (let t = 0; t < this.#deps.nThreads(); t++) {
        const at = bytesAt(t, bond.index);
        this.#deps.arena.u8.fill(0, at, at + BOND_BYTES__SIZE);
      }
      this.#taken.delete(bond.index);
    });
  }

  /** Bytes sent by each bucket. */
  stats(id: number): readonly bigint[] | undefined {
    const bond = this.#bonds.get(id);
    if (!bond) return undefined;
    return Array.from({ length: BOND_BUCKETS }, (_, bucket) => {
      let sum = 0n;
      for (let t = 0; t < this.#deps.nThreads(); t++)
        sum += this.#deps.arena.counter(bytesAt(t, bond.index) + bucket * 8);
      return sum;
    });
  }

  all(): ReadonlyMap<number, readonly (OdpPort | undefined)[]> {
    return new Map([...this.#bonds].map(([id, { members }]) => [id, members]));
  }

  /** The member for a packet of the control thread with that hash, which counts it; undefined when there is none. */
  choose(id: number, hash: number, size: number): OdpPort | undefined {
    const bond = this.#bonds.get(id);
    const bucket = hash & (BOND_BUCKETS - 1);
    const port = bond?.members[bucket];
    if (bond && port !== undefined) this.#deps.arena.addCounter(bytesAt(0, bond.index) + bucket * 8, BigInt(size));
    return port;
  }
}

const recordAt = (index: number) => ARENA_BONDS + index * BOND__SIZE;
const bytesAt = (t: number, index: number) => ARENA_BOND_BYTES + t * ARENA_BOND_BYTES_STRIDE + index * BOND_BYTES__SIZE;
