import type { OdpPort } from '../base/types.ts';

/** Buckets of `lb_output`, by bond. */

const BUCKETS = 256;

interface Bond {
  members: readonly (OdpPort | undefined)[];
  readonly bytes: bigint[];
}

export class Bonds {
  readonly #bonds = new Map<number, Bond>();

  /** See `Dpif.bondSet`. */
  set(id: number, members: readonly (OdpPort | undefined)[]): void {
    const bond = this.#bonds.get(id);
    if (bond) bond.members = members;
    else this.#bonds.set(id, { members, bytes: new Array<bigint>(BUCKETS).fill(0n) });
  }

  delete(id: number): void {
    this.#bonds.delete(id);
  }

  stats(id: number): readonly bigint[] | undefined {
    return this.#bonds.get(id)?.bytes;
  }

  all(): ReadonlyMap<number, readonly (OdpPort | undefined)[]> {
    return new Map([...this.#bonds].map(([id, { members }]) => [id, members]));
  }

  /** The member for a packet with that hash, which counts it; undefined when there is none. */
  choose(id: number, hash: number, size: number): OdpPort | undefined {
    const bond = this.#bonds.get(id);
    const bucket = hash & (BUCKETS - 1);
    const port = bond?.members[bucket];
    if (bond && port !== undefined) bond.bytes[bucket]! += BigInt(size);
    return port;
  }
}
