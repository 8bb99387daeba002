import { close } from '../sys/fd.ts';

/**
 * Where every lasting file descriptor lives: listening and connected sockets, guests' memory, kick and call eventfds, the arena's
 * memfd. Code looks fds up by key and never owns one, so that a keeper process can stand behind this interface and hand them to the
 * next switch. Keys are paths: `vhost/<port>/listen`, `vhost/<port>/mem/0`, `vhost/<port>/kick/3`.
 */
export interface FdStore {
  /** Takes ownership of `fd`. What was under the key is closed. */
  put(key: string, fd: number): void;
  /** The fd under the key, still the store's; -1 when there is none. */
  get(key: string): number;
  /** Takes the fd out: from now on it is the caller's. -1 when there is none. */
  take(key: string): number;
  /** Closes and forgets the key, if it is there. */
  drop(key: string): void;
  /** Closes and forgets every key that starts with `prefix`. */
  dropAll(prefix: string): void;
  /** Keys that start with `prefix`, in the order they were put. */
  keys(prefix?: string): string[];
}

/** The store of a switch without a keeper: the fds live and die with the process. */
export class LocalFdStore implements FdStore {
  readonly #fds = new Map<string, number>();

  put(key: string, fd: number): void {
    if (fd < 0) throw new RangeError(`fd ${fd} for ${key}`);
    this.drop(key);
    this.#fds.set(key, fd);
  }

  get(key: string): number {
    return this.#fds.get(key) ?? -1;
  }

  take(key: string): number {
    const fd = this.get(key);
    this.#fds.delete(key);
    return fd;
  }

  drop(key: string): void {
    const fd = this.take(key);
    if (fd >= 0) close(fd);
  }

  dropAll(prefix: string): void {
    for (const key of this.keys(prefix)) this.drop(key);
  }

  keys(prefix = ''): string[] {
    return [...this.#fds.keys()].filter((key) => key.startsWith(prefix));
  }
}
