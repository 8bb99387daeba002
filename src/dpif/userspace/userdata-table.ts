import type { DpAction, DpUserdata } from '../dpif.ts';

/** What a `userspace` of the fast path carries: an action's data, or a list that is run on the control thread. */
export type Userdata = DpUserdata | { kind: 'slow_list'; actions: readonly DpAction[] };

/** Numbers for what `userspace` actions carry, so that an upcall names it by a word. Control thread only. */
export class UserdataTable {
  readonly #byId = new Map<number, Userdata>();
  #next = 1;

  add(userdata: Userdata): number {
    const id = this.#next++;
    this.#byId.set(id, userdata);
    return id;
  }

  get(id: number): Userdata | undefined {
    return this.#byId.get(id);
  }

  delete(ids: Iterable<number>): void {
    for (const id of ids) this.#byId.delete(id);
  }
}
