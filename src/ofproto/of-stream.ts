import type { Socket } from 'node:net';

/** OpenFlow messages over a byte stream: framing by the header's length, and a queue with a bound. */

const HEADER_SIZE = 8;
/** Above this, the peer's requests wait until it has read its replies. */
const PAUSE_BYTES = 1 << 20;
/** Above this, messages that nobody asked for are dropped. */
const ASYNC_LIMIT_BYTES = 256 << 10;
/** Longest time on end that one connection's requests hold the thread. */
const SLICE_MS = 5;
const OFPT_ECHO_REQUEST = 2;

export interface OfStreamEvents {
  /** One whole message; a copy is needed to keep it. */
  message(msg: Uint8Array): void;
  /** Once; `reason` as errno's text, empty at the end of the stream. */
  closed(reason: string): void;
  /** All that was queued is out. */
  drained?(): void;
}

export class OfStream {
  readonly socket: Socket;
  readonly #events: OfStreamEvents;
  #rest: Uint8Array = new Uint8Array(0);
  #closed = false;
  /** How many times `hold` was called without a `release`. */
  #held = 0;
  /** Whether `#run` is on the stack, or waits for its turn. */
  #running = false;
  #waiters: (() => void)[] = [];
  /** Messages dropped because the peer reads too slowly. */
  dropped = 0;

  constructor(socket: Socket, events: OfStreamEvents) {
    this.socket = socket;
    this.#events = events;
    socket.setNoDelay?.(true);
    socket.on('data', (chunk: Uint8Array) => this.#data(chunk));
    socket.on('error', (e: NodeJS.ErrnoException) => this.close(e.code ?? e.message));
    socket.on('close', () => this.close(''));
    socket.on('drain', () => this.#drained());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Bytes that are not sent yet. */
  get queued(): number {
    return this.socket.writableLength;
  }

  /** Resolves when the queue is empty, or the stream closed. */
  drained(): Promise<void> {
    if (this.#closed || this.socket.writableLength === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Keeps requests (but echo requests) from being handled until `release`. */
  hold(): void {
    this.#held++;
  }

  release(): void {
    this.#held--;
    if (!this.#held && !this.#running) this.#run();
  }

  /** Sends messages that answer the peer. */
  send(messages: readonly Uint8Array[]): void {
    if (this.#closed) return;
    for (const m of messages) this.socket.write(m);
    if (this.socket.writableLength > PAUSE_BYTES) this.socket.pause();
  }

  /** Sends messages that the peer did not ask for; false when there was no room. */
  sendAsync(messages: readonly Uint8Array[]): boolean {
    if (this.#closed || this.socket.writableLength > ASYNC_LIMIT_BYTES) {
      this.dropped += messages.length;
      return false;
    }
    for (const m of messages) this.socket.write(m);
    return true;
  }

  /** Closes after what was sent is out. */
  close(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.socket.end();
    this.socket.destroySoon();
    this.#wake();
    this.#events.closed(reason);
  }

  #drained(): void {
    if (!this.#running && !this.#held) this.socket.resume();
    this.#wake();
    if (!this.#closed) this.#events.drained?.();
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  #data(chunk: Uint8Array): void {
    if (this.#rest.length) {
      const buf = new Uint8Array(this.#rest.length + chunk.length);
      buf.set(this.#rest);
      buf.set(chunk, this.#rest.length);
      this.#rest = buf;
      // A view of its own: Buffer's are slow to cut.
    } else this.#rest = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    if (!this.#running) this.#run();
  }

  /** Handles what has come, for a while; then others get their turn. */
  #run(): void {
    this.#running = true;
    const endMs = performance.now() + SLICE_MS;
    let at = 0;
    let more = true;
    while (more && !this.#closed) {
      const size = this.#sizeAt(at);
      if (size === 0) more = false;
      else if (this.#held && this.#rest[at + 1] !== OFPT_ECHO_REQUEST) more = false;
      else {
        this.#events.message(this.#rest.subarray(at, at + size));
        at += size;
        if (performance.now() >= endMs) break;
      }
    }
    this.#rest = this.#closed ? new Uint8Array(0) : at ? this.#rest.slice(at) : this.#rest.slice();
    if (more && !this.#closed) {
      this.socket.pause();
      setImmediate(() => this.#run());
      return;
    }
    this.#running = false;
    // What has come but can't be handled yet is enough.
    if (this.#held && this.#rest.length) this.socket.pause();
    else if (this.socket.writableLength <= PAUSE_BYTES) this.socket.resume();
  }

  /** Length of the message there; 0 when it is not whole yet. */
  #sizeAt(at: number): number {
    const buf = this.#rest;
    if (buf.length - at < HEADER_SIZE) return 0;
    const size = (buf[at + 2] << 8) | buf[at + 3];
    if (size < HEADER_SIZE) {
      this.close('EPROTO');
      return 0;
    }
    return buf.length - at < size ? 0 : size;
  }
}
