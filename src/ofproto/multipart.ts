import type { Ofconn } from './ofconn.ts';
import type { Steps } from './transaction.ts';

/** Long replies: made in slices, as the peer takes them. */

const SLICE_MS = 4;
/** With more than this unsent, the next slice waits. */
const QUEUE_BYTES = 256 << 10;

/** Runs work that sends replies to `conn`. Done when this returns undefined, else when the promise resolves. */
export function sendInSlices(conn: Ofconn, steps: Steps<void>): Promise<undefined> | undefined {
  if (slice(steps)) return undefined;
  return rest(conn, steps);
}

async function rest(conn: Ofconn, steps: Steps<void>): Promise<undefined> {
  do {
    await new Promise((resolve) => setImmediate(resolve));
    if (conn.stream.queued > QUEUE_BYTES) await conn.stream.drained();
    if (conn.stream.closed) return undefined;
  } while (!slice(steps));
  return undefined;
}

/** True when all is done. */
function slice(steps: Steps<void>): boolean {
  const endMs = performance.now() + SLICE_MS;
  do {
    if (steps.next().done) return true;
  } while (performance.now() < endMs);
  return false;
}

/** Sends what `items` gives in messages of up to `n` items, all but the last with the flag that more follow. */
export function* chunks<T>(
  items: Iterable<T | undefined>,
  n: number,
  send: (part: T[], more: boolean) => void,
): Steps<void> {
  let part: T[] = [];
  let looked = 0;
  for (const item of items) {
    if (++looked % n === 0) yield;
    if (item === undefined) continue;
    if (part.length === n) {
      send(part, true);
      part = [];
      yield;
    }
    part.push(item);
  }
  send(part, false);
}
