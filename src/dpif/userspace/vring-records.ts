import { ARENA_VRINGS, VRING__SIZE, VRINGS_MAX } from '../../gen/arena.ts';
import { NetdevError } from '../../netdev/netdev.ts';

/** Which VRING records are in use. Control thread only. */
export class VringRecords {
  readonly #free: number[] = [];
  #next = 0;

  /** Offset of a record; `name`: of the port, for the error's text. */
  take(name: string): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#next >= VRINGS_MAX) throw new NetdevError(`${name}: no more than ${VRINGS_MAX} rings are possible`);
    return ARENA_VRINGS + this.#next++ * VRING__SIZE;
  }

  /** No thread uses it any more. */
  release(at: number): void {
    this.#free.push(at);
  }
}
