import koffi from 'koffi';

/** koffi's door to uv_poll. `stop` and `start` crash after `close`. */
interface PollHandle {
  start(opts: { readable: boolean }, cb: () => void): void;
  stop(): void;
  close(): void;
}

/**
 * Tells Node's event loop to wait for a descriptor that Node itself cannot read, such as a socket that carries fds. One-shot: after
 * each report it must be armed again, so a slow handler is not called twice. Several watchers of one fd are not possible. The caller
 * closes the watcher before the fd.
 */
export class FdWatcher {
  readonly #fd: number;
  readonly #onReadable: () => void;
  #handle: PollHandle | undefined;
  #armed = false;
  #closed = false;

  /** `onReadable` is called from the event loop when there is something to read, also the peer's end. */
  constructor(fd: number, onReadable: () => void) {
    this.#fd = fd;
    this.#onReadable = onReadable;
  }

  arm(): void {
    if (this.#armed || this.#closed) return;
    this.#armed = true;
    const report = () => this.#report();
    if (this.#handle) this.#handle.start({ readable: true }, report);
    else this.#handle = koffi.node.poll(this.#fd, { readable: true, writable: false, disconnect: false }, report);
  }

  /** Stops waiting; a report on its way is dropped. */
  disarm(): void {
    if (!this.#armed || this.#closed) return;
    this.#armed = false;
    this.#handle?.stop();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#armed = false;
    this.#handle?.close();
    this.#handle = undefined;
  }

  /** koffi calls this outside Node's callback scope, where promises would not go on: pass it to an immediate. */
  #report(): void {
    this.#handle?.stop();
    setImmediate(() => {
      if (!this.#armed) return;
      this.#armed = false;
      this.#onReadable();
    });
  }
}
