import type { DpUserdata } from '../dpif.ts';

/** Numbers for what `userspace` actions carry, so that an upcall names it by a word. Control thread only. */
export class UserdataTable {
  readonly #byId = new Map<number, DpUserdata>();
  #next = 1;

  add(userdata: DpUserdata): number {
    const id = this.#next++;
    this.#byId.set(id, userdata);
    return id;
  }

  get(id: number): DpUserdata | undefined {
    return this.#byId.get(id);
  }

  delete(ids: Iterable<number>): void {
    for (const id of ids) this.#byId.delete(id);
  }
}
