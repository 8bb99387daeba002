import { ZERO_UUID } from './atom.ts';
import type { TxnRow } from './transaction.ts';

/** Most transactions that are kept. */
const MAX_LENGTH = 100;

interface Entry {
  readonly id: string;
  readonly changes: readonly TxnRow[];
  readonly nAtoms: number;
}

/** The last transactions of a database by their ids, so that a client that comes back hears only of what it missed. It never takes more
 *  than about the memory of the database itself. */
export class TxnHistory {
  /** Of the last transaction; zero before the first. */
  lastId: string;
  private entries: Entry[] = [];
  /** Members of all columns of all the versions of rows that are kept. */
  nAtoms = 0;

  constructor(lastId: string = ZERO_UUID) {
    this.lastId = lastId;
  }

  get length(): number {
    return this.entries.length;
  }

  /** `dbAtoms` is the size of the database. */
  add(id: string, changes: readonly TxnRow[], dbAtoms: number): void {
    const nAtoms = changes.reduce((sum, change) => sum + atomsOf(change), 0);
    this.entries.push({ id, changes, nAtoms });
    this.nAtoms += nAtoms;
    this.lastId = id;
    while (this.entries.length > MAX_LENGTH || (this.entries.length > 1 && this.nAtoms > dbAtoms)) {
      this.nAtoms -= this.entries.shift()!.nAtoms;
    }
  }

  /** The transactions after `id`, or undefined when it is not among those that are kept. */
  since(id: string): readonly Entry[] | undefined {
    if (id === ZERO_UUID) return undefined;
    if (id === this.lastId) return [];
    const at = this.entries.findIndex((entry) => entry.id === id);
    return at < 0 ? undefined : this.entries.slice(at + 1);
  }
}

function atomsOf({ old, now }: TxnRow): number {
  let n = 0;
  for (const row of [old, now]) {
    for (const { keys, values } of row?.fields ?? []) n += keys.length + (values?.length ?? 0);
  }
  return n;
}
