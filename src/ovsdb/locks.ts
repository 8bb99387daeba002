import { getOrMake } from './get-or-make.ts';

/** Who may hold and wait for locks: a session, by identity. */
export interface LockHolder {
  /** Tells the holder that it now has a lock, or that it was taken away (RFC 7047 sections 4.1.9 and 4.1.10). */
  lockChanged(name: string, event: 'locked' | 'stolen'): void;
}

interface Place {
  readonly holder: LockHolder;
  readonly hasStolen: boolean;
}

/** The locks of a server (RFC 7047 section 4): the first in each queue owns it. */
export class LockTable {
  private readonly queues = new Map<string, Place[]>();

  isOwner(name: string, holder: LockHolder): boolean {
    return this.queues.get(name)?.[0]?.holder === holder;
  }

  /** Puts `holder` at the end of the queue, or with `steal` at its head. Returns whether it owns the lock. */
  request(name: string, holder: LockHolder, steal: boolean): boolean {
    const queue = getOrMake(this.queues, name, () => []);
    if (!steal) {
      queue.push({ holder, hasStolen: false });
      return queue.length === 1;
    }
    const victim = queue[0];
    // Who came in by stealing goes when it is stolen from; who waited for its turn keeps its place.
    if (victim?.hasStolen) queue.shift();
    queue.unshift({ holder, hasStolen: true });
    victim?.holder.lockChanged(name, 'stolen');
    return true;
  }

  release(name: string, holder: LockHolder): void {
    const queue = this.queues.get(name);
    const at = queue?.findIndex((place) => place.holder === holder) ?? -1;
    if (!queue || at < 0) return;
    queue.splice(at, 1);
    if (queue.length === 0) this.queues.delete(name);
    else if (at === 0) queue[0]!.holder.lockChanged(name, 'locked');
  }
}
