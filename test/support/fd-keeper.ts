import assert from 'node:assert/strict';
import { LocalFdStore } from '../../src/keeper/fd-store.ts';
import { recvmsg, sendmsg } from '../../src/sys/socket.ts';

/** Both ends of a keeper, as tests play it: a socket on which a switch tells what it puts into its fd store. */

const MESSAGE_SIZE = 64;

/** A store whose puts and drops a keeper at the other end of `fd` repeats: one message each, `put KEY` with the fd. */
export class TellingFdStore extends LocalFdStore {
  readonly #keeper: number;

  constructor(keeper: number) {
    super();
    this.#keeper = keeper;
  }

  override put(key: string, fd: number): void {
    super.put(key, fd);
    sendmsg(this.#keeper, [Buffer.from(`put ${key}`.padEnd(MESSAGE_SIZE))], [fd]);
  }

  override take(key: string): number {
    const fd = super.take(key);
    if (fd >= 0) sendmsg(this.#keeper, [Buffer.from(`take ${key}`.padEnd(MESSAGE_SIZE))]);
    return fd;
  }
}

/** What the keeper does with all that has come: the fds that are left, by key. */
export function collect(keeper: number): LocalFdStore {
  const store = new LocalFdStore();
  const message = new Uint8Array(MESSAGE_SIZE);
  for (;;) {
    const { size, fds } = recvmsg(keeper, message);
    if (size <= 0) return store;
    assert.equal(size, MESSAGE_SIZE);
    const [verb, key] = Buffer.from(message).toString().trim().split(' ');
    if (verb === 'put') store.put(key!, fds[0]!);
    else store.drop(key!);
  }
}
