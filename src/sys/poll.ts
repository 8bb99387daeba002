import { checkAgain, libc, pointer } from './libc.ts';

/** poll(2) on a set that is made once. Setting, waiting and reading the result allocate nothing. */

const cPoll = libc<(fds: number, n: number, timeout: number) => number>(
  'int poll(uintptr_t fds, ulong n, int timeout)',
);

export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLERR = 8;
export const POLLHUP = 0x10;
export const POLLNVAL = 0x20;

/**
 * struct pollfd { int fd; short events; short revents }, `capacity` times. A slot that is not set is skipped by the kernel.
 * Used by one thread.
 */
export class PollSet {
  readonly capacity: number;
  readonly #fds: Int32Array;
  readonly #events: Int16Array;
  readonly #address: number;

  constructor(capacity: number) {
    const buffer = new ArrayBuffer(capacity * 8);
    this.capacity = capacity;
    this.#fds = new Int32Array(buffer);
    this.#events = new Int16Array(buffer);
    this.#address = pointer(buffer);
    for (let i = 0; i < capacity; i++) this.clear(i);
  }

  set(i: number, fd: number, events: number): void {
    this.#fds[i * 2] = fd;
    this.#events[i * 4 + 2] = events;
    this.#events[i * 4 + 3] = 0;
  }

  clear(i: number): void {
    this.set(i, -1, 0);
  }

  /**
   * Blocks this thread for up to `timeoutMs` (-1: for ever; 0: not at all) on the first `nSlots` slots. Returns how many are ready; 0 after
   * the time or a signal.
   */
  wait(timeoutMs: number, nSlots = this.capacity): number {
    const n = checkAgain(cPoll(this.#address, nSlots, timeoutMs), 'poll');
    return Math.max(n, 0);
  }

  /** What the last wait found for slot `i`: POLLIN, POLLHUP, … or 0. */
  revents(i: number): number {
    return this.#events[i * 4 + 3]!;
  }
}
